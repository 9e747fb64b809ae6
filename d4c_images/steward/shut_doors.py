"""Hosts that answer different images with one page: rewrites reports before settling, so that these images wait. Lends nothing.

`shut_door` decides by the answers of one host; here they are put in order, images that failed before the page was recognised get
their attempts back, and what must survive a kill is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from sqlite3 import Connection

from d4c_images.identity import parts
from d4c_images.ledger.queue import pacing
from d4c_images.ledger.queue import shut_doors as table
from d4c_images.model import Claim, ErrorType, Failure, Move, Outcome, Report, Status, Verdict
from d4c_images.policy import shut_door as rules
from d4c_images.policy.judge import MAX_DETAIL
from d4c_images.policy.pace import ASKED, DAY_IS_OVER, BlockPolicy, News
from d4c_images.policy.shut_door import Answer, AnswerKind, Door
from d4c_images.steward.hosts import Lease

HOSTS_REMEMBERED = 20_000  # beyond that, the oldest are forgotten unless they are shut
LEAST_PROBES = 3  # failed ones before a host is given up: one after a pause of weeks is not enough
UNSURE_S = 60.0  # the longest that a host waits for the first answers of the host it redirects everything to


@dataclass(slots=True)
class DoorNews:
    """What some reports have shown."""

    shut: dict[int, str] = field(default_factory=dict)  # hosts to be blocked, and why
    for_people: set[int] = field(default_factory=set)  # those of them that an operator should look at
    lost: dict[int, Failure] = field(default_factory=dict)  # those of them shut for too long: they are given up
    n_back: int = 0  # images that are no longer final failures
    moved_to: set[int] = field(default_factory=set)  # hosts whose queues have grown
    redirected: dict[int, Verdict] = field(default_factory=dict)  # by image: the verdict on a redirect to a shut host
    recalled: set[int] = field(default_factory=set)  # hosts whose page was wrongly believed
    unsure: dict[int, float] = field(default_factory=dict)  # by host: `Host.unsure_until` from now on
    trusted: dict[int, str] = field(default_factory=dict)  # by host: `Host.leads_to` from now on
    shut_out: dict[int, set[int]] = field(default_factory=dict)  # by host: images whose answers say nothing about them


class Doors:
    """The state of one run; what must last is in the ledger."""

    def __init__(self, policy: BlockPolicy) -> None:
        self._policy = policy
        self._least_probes = LEAST_PROBES if policy.give_up_shut_s else 0
        self._doors: dict[int, Door] = {}
        self._changed: set[int] = set()
        self._numbers: dict[str, int] = {}  # of hosts that have sent a page
        self._leads: dict[int, _Lead] = {}  # by host: its latest answers are redirects
        self._targets: dict[str, _Target] = {}  # the hosts they lead to

    def begin(self, db: Connection) -> None:
        self._doors.update(table.load_all(db))
        self._numbers = {pacing.load(db, host_id).name: host_id for host_id in self._doors}

    def forget_opened(self, db: Connection) -> list[int]:
        """An operator has reopened hosts. Returns the numbers of those that were shut."""
        kept = dict(table.load_all(db))
        opened = [host_id for host_id, door in self._doors.items() if door.is_shut and host_id not in kept]
        for host_id in opened:
            del self._doors[host_id]
        return opened

    def read(self, db: Connection, reports: list[Report], leases: Mapping[int, Lease], now: float) -> tuple[list[Report], DoorNews]:
        """The reports as they should be settled. The outcomes in a report are in the order of their answers."""
        seen, gave = DoorNews(), set[int]()
        for report in reports:
            lease = leases.get(report.lease_id)
            if lease is not None:
                self._look(db, report, _Look(lease, seen, gave, now))
        for name in {lease.host.name for report in reports if (lease := leases.get(report.lease_id)) is not None}:
            self._decide(name, seen, now)
        for host_id in seen.recalled.union(seen.shut):
            self._recall(db, host_id, seen, now)
        for host_id in self._changed:
            table.save(db, host_id, self._doors[host_id])
        self._changed.clear()
        if not seen.shut_out:
            return reports, seen
        return [_rewritten(report, leases.get(report.lease_id), seen) for report in reports], seen

    def tell(self, seen: DoorNews, news_of: Mapping[int, News]) -> None:
        """Pass it on to the pace of hosts."""
        for host_id, why in seen.shut.items():
            if host_id in news_of:
                news_of[host_id].shut_why = why

    def _look(self, db: Connection, report: Report, look: _Look) -> None:
        host_id = look.lease.host.host_id
        hold_s = max(report.hold_s, *(outcome.hold_s for outcome in report.outcomes), 0.0)
        if hold_s:
            look.named_until = look.now + hold_s
        for outcome in report.outcomes:
            verdict = outcome.verdict
            if outcome.requests:
                self._hear(host_id, outcome, look)
            if outcome.move is not None:
                self._moved(db, host_id, outcome, outcome.move, look)
            elif verdict is None or verdict.status is Status.SUCCESS:
                if (verdict is not None or outcome.unfolding is not None) and outcome.requests:
                    if host_id in self._doors:
                        self._picture(host_id, look)
                    else:
                        look.gave.add(host_id)
            elif rules.kind_of(outcome.http_status or 0, verdict) is AnswerKind.PAGE:
                self._page(db, outcome, outcome.http_status or 0, verdict, look)
        if look.named_until and (door := self._doors.get(host_id)) is not None:
            door.named_until = max(door.named_until, look.named_until)
            if door.is_shut:
                self._changed.add(host_id)

    def _picture(self, host_id: int, look: _Look) -> None:
        door = self._doors[host_id]
        if door.is_shut and (look.is_late or host_id in look.seen.shut):
            return
        was_kept = door.is_to_keep
        door.picture()
        if was_kept:
            self._changed.add(host_id)

    def _moved(self, db: Connection, host_id: int, outcome: Outcome, move: Move, look: _Look) -> None:
        """A redirect to a shut host says no more about the image than the page there. A different redirect ends a run of them."""
        if move.refusal is not None and rules.kind_of(move.refusal.code, move.refusal.verdict) is AnswerKind.PAGE:
            self._page(db, outcome, move.refusal.code, move.refusal.verdict, look)  # the image itself is moved on all the same
        if not outcome.requests or move.redirect_url is None:
            return
        lead = self._lead(db, host_id, move.host, look)
        there_id = self._numbers.get(move.host, 0)
        there = self._doors.get(there_id)
        is_believed = there is not None and there.is_uniform and not self._promises(db, host_id, outcome, move, look)
        if is_believed and lead.n_row >= rules.UNSIGNED and not lead.is_trusted:
            lead.is_trusted, look.seen.trusted[host_id], look.seen.unsure[host_id] = True, move.host, 0.0
        if there is not None and not is_believed and (there.is_shut or there.is_uniform):
            detail = f"{rules.TO}{move.host}: {there.text}"[:MAX_DETAIL]
            verdict = Verdict(Status.FAILED_TRANSIENT, ErrorType.OTHER, detail, sign=there.sign)
            look.seen.redirected[outcome.image_id] = verdict
            self._page(db, outcome, rules.REDIRECT, verdict, look, n_before=lead.n_row - 1)
            if self._doors[host_id].is_shut and there.is_uniform:
                there.shuts_another = True
                look.seen.recalled.add(there_id)
                look.seen.shut_out.setdefault(there_id, set()).update(suspect.image_id for suspect in there.suspects)
        elif (door := self._doors.get(host_id)) is not None and door.code == rules.REDIRECT:
            self._picture(host_id, look)

    def _promises(self, db: Connection, host_id: int, outcome: Outcome, move: Move, look: _Look) -> bool:
        """Whether a host that redirects to a page has sent images, or has URLs that name some."""
        claim = look.claim(outcome.image_id)
        if claim is not None and move.url_no < len(claim.urls) and rules.names_picture(claim.urls[move.url_no]):
            return True
        return host_id in look.gave or table.has_given(db, host_id)

    def _lead(self, db: Connection, host_id: int, to: str, look: _Look) -> _Lead:
        """One more redirect in a row. If nothing is known about the host they lead to, that must be found out first."""
        lead, seen = self._leads.get(host_id), look.seen
        if lead is None or lead.to != to:
            self._end_lead(host_id, seen)
            lead = self._leads[host_id] = _Lead(look.lease.host.name, to)
        lead.n_row += 1
        if lead.n_row < rules.UNSIGNED:
            return lead
        target = self._target(db, to)
        if target.is_known and not target.is_door and (own := self._targets.get(lead.name)) is not None:
            own.is_well = True
        target.led_by.add(host_id)
        if target.is_known and not (target.is_door or lead.is_trusted):
            lead.is_trusted, seen.trusted[host_id] = True, to
        elif not target.is_known:
            if lead.rests_until is None:
                lead.rests_until = seen.unsure[host_id] = look.now + UNSURE_S
            elif look.now >= lead.rests_until:  # it does not answer, so it is not a shut door
                target.is_known = True
                seen.unsure |= dict.fromkeys(target.led_by, 0.0)
        return lead

    def _end_lead(self, host_id: int, seen: DoorNews) -> None:
        lead = self._leads.pop(host_id, None)
        if lead is not None and lead.n_row >= rules.UNSIGNED:
            seen.unsure[host_id], seen.trusted[host_id] = 0.0, ""
            if lead.to in self._targets:
                self._targets[lead.to].led_by.discard(host_id)

    def _target(self, db: Connection, name: str) -> _Target:
        target = self._targets.get(name)
        if target is None:
            if len(self._targets) >= HOSTS_REMEMBERED:
                del self._targets[next(iter(self._targets))]
            is_well = table.has_given_by_name(db, name)
            target = self._targets[name] = _Target(is_well, is_well)
        return target

    def _hear(self, host_id: int, outcome: Outcome, look: _Look) -> None:
        """An answer other than a redirect to another host ends a run of those; it may be news about a host others redirect to."""
        if outcome.move is None or outcome.move.redirect_url is None:
            self._end_lead(host_id, look.seen)
        target = self._targets.get(look.lease.host.name)
        verdict = outcome.verdict
        if target is not None and (outcome.unfolding is not None or (verdict is not None and not verdict.unreachable)):
            target.n_answers += 1
            gives = outcome.unfolding is not None or (verdict is not None and verdict.status is Status.SUCCESS)
            target.is_well |= gives or outcome.http_status in rules.MISSING_CODES

    def _decide(self, name: str, seen: DoorNews, now: float) -> None:
        """Decide whether redirects to this host lead to images, as far as known. Hosts that redirect there continue, or wait."""
        target = self._targets.get(name)
        if target is None:
            return
        door = self._doors.get(self._numbers.get(name, 0))
        is_door = door is not None and (door.is_shut or door.is_uniform)
        is_new = not target.is_known and (is_door or target.is_well or target.n_answers >= rules.UNSIGNED)
        target.is_known |= is_new
        if is_door and not target.is_door:
            seen.unsure |= dict.fromkeys(target.led_by, now)
            seen.trusted |= dict.fromkeys(target.led_by, "")
            for host_id in target.led_by:
                self._leads[host_id].is_trusted = False
        elif is_new:
            seen.unsure |= dict.fromkeys(target.led_by, 0.0)
            for between in [self._leads[host_id].name for host_id in target.led_by]:
                if between in self._targets:  # a host that redirects there is as good as its target
                    self._targets[between].is_well = True
                    self._decide(between, seen, now)
        target.is_door = is_door

    def _page(
        self, db: Connection, outcome: Outcome, code: int, verdict: Verdict, look: _Look, *, n_before: int = 0
    ) -> None:  # fmt: skip
        host_id = look.lease.host.host_id
        door = self._doors.get(host_id)
        is_evidence = rules.may_be_shut(code, verdict.sign, promises=True)
        if door is None:
            if not is_evidence:
                return
            door = self._meet(db, host_id, has_given=host_id in look.gave)
            if len(self._numbers) > 2 * HOSTS_REMEMBERED:
                self._numbers = {name: number for name, number in self._numbers.items() if number in self._doors}
            self._numbers[look.lease.host.name] = host_id
        was_kept = door.is_to_keep
        claim = look.claim(outcome.image_id)
        if verdict.sign is not None and not door.is_led_to and claim is not None and claim.redirect_url is not None:
            door.is_led_to = table.has_given_by_name(db, parts(claim.urls[claim.url_no]).host)
        url_no, is_stored = (claim.url_no, claim.stored is not None) if claim else (outcome.url_no, False)
        answer = Answer(outcome.image_id, url_no, code, verdict, is_stored, _is_of_picture(outcome, claim), n_before)
        if door.is_shut:
            self._shut(host_id, door, answer, look)
            return
        if not is_evidence:
            return
        if door.met(answer, look.now):
            look.seen.unsure[host_id] = 0.0  # its own block is longer
            look.named_until = max(look.named_until, look.named_before)
            look.seen.shut_out.setdefault(host_id, set()).update(suspect.image_id for suspect in door.suspects)
            self._shut(host_id, door, answer, look)
        if was_kept or door.is_to_keep:
            self._changed.add(host_id)

    def _shut(self, host_id: int, door: Door, answer: Answer, look: _Look) -> None:
        """One more answer from a shut host."""
        is_probe = not look.is_late and host_id not in look.seen.shut and door.shut_at != look.now
        if door.is_about_images(answer):
            if is_probe:
                door.open()
                self._changed.add(host_id)
            return
        if not is_probe or answer.code != rules.REDIRECT:  # a redirected probe continues: the target must be tried, too
            look.seen.shut_out.setdefault(host_id, set()).add(answer.image_id)
        if is_probe:
            door.n_probes += 1
            door.sign, door.code, door.text = answer.verdict.sign, answer.code, answer.verdict.detail or ""
        look.seen.shut.setdefault(host_id, rules.in_words(door, look.lease.host.name))
        self._changed.add(host_id)
        if door.sign in rules.STRONG or door.n_probes:
            look.seen.for_people.add(host_id)
        if look.now - (door.shut_at or look.now) >= self._policy.give_up_shut_s and door.n_probes >= self._least_probes:
            look.seen.lost[host_id] = Failure(_shut_out(answer.verdict), answer.code, 0)

    def _meet(self, db: Connection, host_id: int, *, has_given: bool) -> Door:
        if len(self._doors) >= HOSTS_REMEMBERED:
            old = next((known for known, door in self._doors.items() if not door.is_shut), None)
            if old is not None:
                del self._doors[old]
                self._changed.discard(old)
        door = self._doors[host_id] = Door(has_given or table.has_given(db, host_id))
        return door

    def _recall(self, db: Connection, host_id: int, seen: DoorNews, now: float) -> None:
        """Images that the page failed in earlier reports are retried."""
        door = self._doors[host_id]
        if not door.suspects:
            return
        back = table.come_back(db, host_id, door.suspects, int(now))
        seen.n_back += back.n_final
        seen.moved_to |= back.host_ids
        door.suspects.clear()


@dataclass(slots=True)
class _Lead:
    """Consecutive redirects of one host."""

    name: str  # of that host
    to: str
    n_row: int = 0
    is_trusted: bool = False  # the target is known not to be a shut door
    rests_until: float | None = None  # no more requests until the target has answered, or until then


@dataclass(slots=True)
class _Target:
    """A host that another one redirects to."""

    is_well: bool  # it has sent images or said that some are missing, or redirects to such a host
    is_known: bool  # that, or that it does not answer, or sends only pages
    is_door: bool = False
    n_answers: int = 0
    led_by: set[int] = field(default_factory=set)  # hosts whose recent answers, many in a row, are redirects to it


@dataclass(slots=True)
class _Look:
    """One report while it is being read."""

    lease: Lease
    seen: DoorNews
    gave: set[int]  # hosts that have sent an image and have no stored state
    now: float
    named_until: float = 0.0  # the end of the longest wait the host has named
    _claims: dict[int, Claim] | None = None

    @property
    def is_late(self) -> bool:
        """The request was in flight when the host was shut. A probe is not late: its wait was named by its own answer."""
        return not self.lease.is_probe and self.now < (self.lease.host.pace.blocked_until or 0.0)

    @property
    def named_before(self) -> float:
        """The end of the wait that the host named in earlier reports, unless one of our blocks has replaced it."""
        pace = self.lease.host.pace
        is_named = (not pace.block_level and pace.blocked_why != DAY_IS_OVER) or ASKED in (pace.blocked_why or "")
        return pace.blocked_until or 0.0 if is_named else 0.0

    def claim(self, image_id: int) -> Claim | None:
        if self._claims is None:
            self._claims = {claim.image_id: claim for claim in self.lease.turn.claims}
        return self._claims.get(image_id)


def _is_of_picture(outcome: Outcome, claim: Claim | None) -> bool:
    """Whether the answered URL names an image. If another host's redirect led here, that host's URL counts."""
    refusal = outcome.move and outcome.move.refusal
    url_no = outcome.url_no if refusal is None else refusal.url_no
    if claim is None or claim.redirect_url is not None or url_no >= len(claim.urls):
        return False
    return rules.names_picture(claim.urls[url_no])


def _shut_out(verdict: Verdict) -> Verdict:
    return replace(
        verdict, status=Status.FAILED_TRANSIENT, error_type=ErrorType.SHUT_OUT, host_trouble=True, try_next=False, is_shut_out=True
    )


def _rewritten(report: Report, lease: Lease | None, seen: DoorNews) -> Report:
    shut_out = None if lease is None else seen.shut_out.get(lease.host.host_id)
    if lease is None or not shut_out:
        return report
    begins_with = {claim.image_id: claim.url_no for claim in lease.turn.claims}
    return replace(
        report,
        outcomes=tuple(
            _waiting(outcome, begins_with.get(outcome.image_id, outcome.url_no), seen) if outcome.image_id in shut_out else outcome
            for outcome in report.outcomes
        ),
    )


def _waiting(outcome: Outcome, url_no: int, seen: DoorNews) -> Outcome:
    """The outcome of an image whose host is shut."""
    if outcome.move is not None and outcome.image_id in seen.redirected:
        verdict = _shut_out(seen.redirected[outcome.image_id])
        return replace(outcome, move=None, verdict=verdict, http_status=rules.REDIRECT, url_no=url_no)
    if outcome.verdict is None or outcome.verdict.status is Status.SUCCESS:
        return outcome
    return replace(outcome, verdict=_shut_out(outcome.verdict), url_no=url_no)
