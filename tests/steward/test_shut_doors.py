"""Simulated hosts that serve one page for different images: hosts that block us wait; genuinely missing images do not."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from d4c_images.ledger.file import connect
from d4c_images.ledger.queue import refetching, wishes
from d4c_images.ledger.queue.requeue import requeue_failed
from d4c_images.model import Blob, Failure, Move, Orders, Outcome, Reply, Report, Status, Turn, Verdict
from d4c_images.policy.judge import CodePolicy, judge
from d4c_images.policy.limits import parse_hosts
from d4c_images.report.announce import Announcer
from d4c_images.steward.steward import Steward
from d4c_images.steward.terms import Ending, Event, Joined, Plan, Reported, Watcher
from d4c_images.worker.lanes import FEW_ALIKE, Lane, OpenTurn
from tests.support.simulation import STARTED, Simulation, counts, ledger_of
from tests.support.sweep import thinned

HOUR, DAY = 3600.0, 86400.0
LATENCY_S = 0.05
BRAKE = 10  # same pages in a row after which a worker gives the rest of a turn back
CHALLENGE = (
    403,
    {"cf-mitigated": "challenge", "content-type": "text/html"},
    b"<html><head><title>Just a moment...</title></head><body><noscript>Enable JavaScript to continue</noscript></body>",
)
BOT_CHECK = (
    200,
    {},
    b"<html><title>Making sure you're not a bot!</title><body><h1>Making sure you're not a bot!</h1><p>Loading...</p>",
)
MAINTENANCE = (200, {}, b"<html><title>Museum</title><body>This site is currently under maintenance. Please come again.</body>")
QUOTA = (403, {"content-type": "application/json"}, b'{"error": {"code": 403, "message": "Download quota exceeded for this day"}}')
LOG_IN = (200, {}, b"<html><title>Log in</title><body><form>User name, password</form></body>")
TERMS = (200, {}, b"<html><title>Images</title><body>Please accept the terms of use to go on. <button>I accept</button>")
PLAIN = (403, {}, b"<html><head><title>403 Forbidden</title></head><body><h1>403 Forbidden</h1><hr>nginx</body></html>")
WELCOME = (200, {}, b"<html><title>Museum</title><body>Welcome to our museum! Opening hours, tickets, and how to find us.</body>")
NOT_FOUND = (
    404,
    {},
    b"<html><title>Not found</title><body>Not found. <a href=/login>Log in</a> or contact us (captcha).</body></html>",
)
Page = tuple[int, dict[str, str], bytes]


def denied(image_id: int) -> Page:
    """What a bucket answers whoever may not list it, for a key that it does not have."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message>'
        f"<RequestId>{image_id * 7919:016X}</RequestId><HostId>{image_id * 104729:x}/Kd8s+fQ0t7vZ{image_id}=</HostId></Error>"
    )
    return 403, {"content-type": "application/xml"}, body.encode()


def verdict_of(page: Page) -> Verdict:
    code, headers, body = page
    reply = Reply(code, "http://a/", "http://a/", headers, head=body, tail=body[-1024:], size_bytes=len(body))
    return judge(reply, CodePolicy(), 0.0)


class ShutDoor:
    """What a `Publisher` serves: pictures for a number of images, then one page for a number of seconds."""

    def __init__(self, page: Page, n_given: int, shut_s: float = math.inf) -> None:
        self._page, self._n_given, self._shut_s = page, n_given, shut_s
        self._shut_at: float | None = None
        self.given: set[int] = set()

    def __call__(self, image_id: int, when: float) -> Page | None:
        if self._shut_at is None and len(self.given) >= self._n_given:
            self._shut_at = when
        if self._shut_at is not None and when < self._shut_at + self._shut_s:
            return self._page
        self.given.add(image_id)
        return None


class Rounds:
    """When the answers of a turn come in: as many at once as it has connections, or one by one once so many were alike."""

    def __init__(self, turn: Turn, start: float, latency_s: float) -> None:
        self._connections, self._latency_s, self._at, self._left = turn.connections, latency_s, start, 0
        self.n_alike = 0  # so far

    def next(self) -> float:
        if not self._left:
            self._at += self._latency_s
            self._left = 1 if self.n_alike >= FEW_ALIKE else self._connections
        self._left -= 1
        return self._at


@dataclass
class Publisher(Simulation):
    """One host; `answer(image_id, when)` gives the page for an image, None for its picture."""

    answer: Callable[[int, float], Page | None]
    n_workers: int = 2
    latency_s: float = LATENCY_S
    hurry: float = 4.0  # times as fast from one look to the next, while nothing is under way
    n_requests: int = 0
    asked_at: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.n_workers, self.latency_s)
        self._verdicts: dict[bytes, Verdict] = {}
        self._n, self._idle_s = 0, 0.25

    def send(self, worker: int, orders: Orders) -> None:
        """Answers are worked out at once, and come in one by one. What a steward ends is what has not been asked yet."""
        for lease_id in orders.end:
            self._end(lease_id)
        for turn in orders.turns:
            self.under_way[turn.lease_id] = worker, turn
            self.turns.append((self.now, turn))
            self._ask(turn)

    def _ask(self, turn: Turn) -> None:
        brake_at, rounds = None, Rounds(turn, self._free_at(turn), self.latency_s)
        for number, claim in enumerate(turn.claims):
            at = rounds.next()
            page = self.answer(claim.image_id, at) if brake_at is None or at <= brake_at else None
            if brake_at is not None and at > brake_at:
                outcome = Outcome(claim.image_id)
                at = brake_at + self.latency_s
            else:
                outcome = self._outcome(claim.image_id, page)
                rounds.n_alike = rounds.n_alike + 1 if page is not None and page[0] not in (404, 410) else 0
                if rounds.n_alike == BRAKE and brake_at is None:
                    brake_at = at
            self._n += 1
            report = Report(turn.lease_id, (outcome,), finished=number + 1 == len(turn.claims))
            heapq.heappush(self._due, (at, self._n, report))

    def _free_at(self, turn: Turn) -> float:
        """When the turn before it, in the same lane, has ended."""
        lane = (turn.host, turn.lane)
        return max([self.now, *(at for at, _, report in self._due if self._lane(report.lease_id) == lane)])

    def _end(self, lease_id: int) -> None:
        self._due = [
            (at, n, Report(lease_id, (Outcome(report.outcomes[0].image_id),), report.finished))
            if report.lease_id == lease_id and at > self.now + self.latency_s
            else (at, n, report)
            for at, n, report in self._due
        ]

    def receive(self, timeout_s: float) -> list[Event]:
        """Half a second of answers at once; where none is under way, time passes faster the longer that lasts."""
        self._idle_s = 0.25 if self._due else min(DAY / 24, self.hurry * self._idle_s)
        self.now = max(self.now, self._due[0][0]) + 0.5 if self._due else self.now + self._idle_s
        events, self.joining = self.joining, []
        while self._due and self._due[0][0] <= self.now:
            at, _, report = heapq.heappop(self._due)
            if report.finished:
                self.under_way.pop(report.lease_id, None)
            outcome = report.outcomes[0]
            if outcome.requests:
                self.n_requests += 1
                self.asked_at.append(at)
            events.append(Reported(0, report))
        return events

    def _outcome(self, image_id: int, page: Page | None) -> Outcome:
        if page is None:
            blob = Blob(f"{image_id}.jpg", 10, image_id.to_bytes(32), "image/jpeg", 1, 1)
            return Outcome(image_id, Verdict(Status.SUCCESS), blob=blob, http_status=200, requests=1, elapsed_s=self.latency_s)
        verdict = self._verdicts.get(page[2])
        if verdict is None:
            verdict = verdict_of(page)
            if len(self._verdicts) < 100:
                self._verdicts[page[2]] = verdict
        hold_s = float(page[1].get("retry-after", 0))
        return Outcome(image_id, verdict, http_status=page[0], requests=1, elapsed_s=self.latency_s, hold_s=hold_s)


class Hearing(Watcher):
    """What people are told of hosts."""

    def __init__(self) -> None:
        self.blocked: list[tuple[float, str]] = []
        self.given_up: list[tuple[int, str]] = []
        self.shut: list[str] = []

    def host_blocked(self, host: str, until: float, why: str) -> None:
        self.blocked.append((until, why))

    def host_shut(self, host: str, why: str) -> None:
        self.shut.append(why)

    def host_given_up(self, host: str, n_images: int, why: str) -> None:
        self.given_up.append((n_images, why))


TABLE = parse_hosts("[default]\nconnections = 8\n")


def run(ledger: connect.Ledger, publisher: Publisher, *, days: float = 30.0, idle_s: float = 2 * DAY) -> tuple[Ending, Hearing]:
    end_at, heard = publisher.now + days * DAY, Hearing()
    plan = Plan(TABLE, max_idle_s=idle_s, max_connections=8)
    return Steward(ledger, publisher, plan, heard, publisher.clock, lambda: publisher.now > end_at).run(), heard


def states(ledger: connect.Ledger) -> dict[tuple[str, str | None], int]:
    sql = "SELECT status, error_type, count(*) FROM images GROUP BY 1, 2"
    return {(status, error): n for status, error, n in ledger.connection.execute(sql)}


def sized(cases: dict[str, tuple[Any, ...]], *whole: str) -> list[Any]:
    """Each case as a slice of 1,000 images, and those that are named with 100,000."""
    slices = [pytest.param(*values, 1_000, id=name) for name, values in cases.items()]
    return slices + [pytest.param(*cases[name], 100_000, marks=pytest.mark.slow, id=f"{name}, whole") for name in whole]


PAGES = {
    "challenge": (CHALLENGE,),
    "bot check": (BOT_CHECK,),
    "maintenance": (MAINTENANCE,),
    "quota": (QUOTA,),
    "log-in": (LOG_IN,),
    "plain": (PLAIN,),
    "a page": (WELCOME,),
    "maintenance by 503": ((503, {}, MAINTENANCE[2]),),
    "quota by 429": ((429, {}, b"Too many requests: your daily quota is used up"),),
}


@pytest.mark.parametrize(("page", "n"), thinned(sized(PAGES, "challenge", "plain"), 2))
def test_a_door_that_shuts_for_an_hour(page: Page, n: int) -> None:
    """After 60 pictures. Nothing is lost, no image pays for it, and few requests are in vain."""
    publisher = Publisher(ShutDoor(page, 60, HOUR))
    with ledger_of({"a.org": n}) as ledger:
        ending, heard = run(ledger, publisher)
        assert (ending, states(ledger)) == (Ending.DONE, {("success", None): n})
        assert publisher.n_requests - n <= 200
        assert ledger.connection.execute("SELECT max(attempts), min(attempts) FROM images").fetchone() == (1, 1)
        assert "hosts resume a.org" in heard.blocked[0][1]
        assert heard.blocked[0][1] in heard.shut
        assert ledger.connection.execute("SELECT count(*) FROM shut_doors").fetchone() == (0,)


NEVER = {
    "signed": (CHALLENGE, 0),
    "signed, after 60": (CHALLENGE, 60),
    "plain": (PLAIN, 0),
    "plain, after 60": (PLAIN, 60),
    "a page": (WELCOME, 0),
    "a page, after 60": (WELCOME, 60),
}


@pytest.mark.parametrize(("page", "n_given", "n"), thinned(sized(NEVER, "plain", "signed, after 60", "a page"), 3))
def test_a_door_that_never_opens(page: Page, n_given: int, n: int) -> None:
    """It is asked once a day in the end, then given up: its images fail for the time being, with a reason of their own."""
    door = ShutDoor(page, n_given)
    publisher, given = Publisher(door), door.given
    with ledger_of({"a.org": n}) as ledger:
        ending, heard = run(ledger, publisher)
        assert ending is Ending.DONE
        left = n - len(given)
        assert states(ledger) == {
            key: m for key, m in {("success", None): n - left, ("failed_transient", "shut_out"): left}.items() if m
        }
        assert publisher.n_requests - len(given) <= 200
        last = [at for at in publisher.asked_at if at > STARTED + 3 * DAY]
        assert all(b - a > 0.9 * DAY for a, b in itertools.pairwise(last)), "a probe a day"
        assert 7 * DAY <= publisher.asked_at[-1] - STARTED < 9 * DAY
        assert [m for m, _ in heard.given_up] == [left]
        assert ledger.connection.execute("SELECT max(attempts) FROM images WHERE status <> 'success'").fetchone() == (0,)
        record_states = dict(ledger.connection.execute("SELECT status, count(*) FROM gbif_ids GROUP BY 1"))
        assert record_states == {key: m for key, m in {"done": n - left, "failed": left}.items() if m}


def test_a_host_that_was_given_up_gets_its_probes_again_with_its_images() -> None:
    """Its door opens only after somebody has asked for another try."""
    first, then = (Publisher(lambda image_id, when: PLAIN if when < STARTED + 10.5 * DAY else None) for _ in range(2))
    with ledger_of({"a.org": 100}) as ledger:
        run(ledger, first)
        assert states(ledger) == {("failed_transient", "shut_out"): 100}
        assert first.now < STARTED + 9 * DAY
        then.now = first.now
        requeue_failed(ledger, lambda done, total: None, permanent=False)
        run(ledger, then)
        assert states(ledger) == {("success", None): 100}


HEALTHY = {
    "404 for all": (lambda image_id: NOT_FOUND,),
    "403 of a bucket": (denied,),
    "a page instead": (lambda image_id: (200, {}, b"<html><title>No picture</title><body>We have no picture"),),
}


@pytest.mark.parametrize(
    ("page", "n"),
    sized(HEALTHY, "404 for all", "403 of a bucket"),
)
@pytest.mark.parametrize(
    "is_missing", [lambda n: hash((n, 7)) % 10 < 3, lambda n: n % 10 < 3], ids=["at random", "in rows of three"]
)
def test_a_healthy_host_with_missing_images(page: Callable[[int], Page], n: int, is_missing: Callable[[int], bool]) -> None:
    """They are missing, whatever page says so: nothing waits, and nothing is asked twice."""
    publisher = Publisher(lambda image_id, when: page(image_id) if is_missing(image_id) else None)
    with ledger_of({"a.org": n}) as ledger:
        ending, heard = run(ledger, publisher)
        assert ending is Ending.DONE
        assert sum(m for (status, _), m in states(ledger).items() if status == "failed_permanent") == sum(
            map(is_missing, range(1, n + 1))
        )
        assert publisher.n_requests == n
        assert heard.blocked == heard.shut == []
        gaps = [b - a for a, b in zip(publisher.asked_at, publisher.asked_at[1:], strict=False)]
        assert max(gaps) < 60.0


GONE = {
    "404": (NOT_FOUND, 0),
    "404, after 60": (NOT_FOUND, 60),
    "410": ((410, {}, b"gone"), 0),
}


@pytest.mark.parametrize(("page", "n_given", "n"), sized(GONE, "404, after 60"))
def test_a_host_whose_images_are_all_gone(page: Page, n_given: int, n: int) -> None:
    publisher = Publisher(lambda image_id, when: None if publisher.n_requests < n_given else page)
    with ledger_of({"a.org": n}) as ledger:
        ending, heard = run(ledger, publisher)
        assert (ending, heard.blocked) == (Ending.DONE, [])
        assert set(states(ledger)) - {("success", None)} == {("failed_permanent", f"http_{page[0]}")}
        assert publisher.n_requests == n


@pytest.mark.parametrize("is_elsewhere", thinned([False, True], 2))
def test_a_host_of_pages_ends_at_once(is_elsewhere: bool) -> None:
    """Its URLs do not say that pictures are there: links to the specimens' own pages, or by way of a resolver of such."""
    publisher = Redirecting(lambda image_id, when: WELCOME, is_direct=not is_elsewhere)
    with ledger_of({"a.org": 500}) as ledger:
        with ledger.transaction() as db:
            db.execute("UPDATE image_rows SET urls = replace(urls, '.jpg', '')")
        ending, heard = run(ledger, publisher)
        assert (ending, heard.blocked) == (Ending.DONE, [])
        assert states(ledger) == {("failed_permanent", "invalid_content_type"): 500}
        assert publisher.n_requests == 500 * (1 + is_elsewhere)
        assert publisher.now - STARTED < 60.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "n"),
    [pytest.param(0.0, 1_000, id="at the beginning"), pytest.param(0.35, 1_000, id="in the middle", marks=pytest.mark.slow)],
)
def test_missing_images_in_one_row(first: float, n: int) -> None:
    """A whole collection is missing from a bucket: the host rests now and then, for less and less of the row."""
    missing = range(int(first * n) + 1, int((first + 0.3) * n) + 1)
    publisher = Publisher(lambda image_id, when: denied(image_id) if image_id in missing else None, hurry=1.2)
    with ledger_of({"a.org": n}) as ledger:
        ending, _ = run(ledger, publisher)
        assert ending is Ending.DONE
        assert states(ledger) == {("success", None): n - len(missing), ("failed_permanent", "http_403"): len(missing)}
        assert publisher.n_requests - n <= 1000
        assert max(b - a for a, b in itertools.pairwise(publisher.asked_at)) <= 60.0


def test_a_kill_forgets_nothing() -> None:
    """The pages that come before it is understood, in a run each: the images come back all the same."""
    with ledger_of({"a.org": 200}) as ledger:
        for n_asked in (60, 64, 68):  # no more images than this: then it ends
            publisher = Publisher(lambda image_id, when: PLAIN if image_id > 60 else None, n_workers=1)
            publisher.now = STARTED + n_asked
            plan = Plan(TABLE, max_tries=n_asked - counted(ledger), max_idle_s=0.0)
            Steward(ledger, publisher, plan, Watcher(), publisher.clock, lambda: False).run()
        assert states(ledger) == {("success", None): 60, ("failed_permanent", "http_403"): 8, ("pending", None): 132}
        publisher = Publisher(lambda image_id, when: PLAIN if when < STARTED + HOUR else None)
        publisher.now = STARTED + 100
        ending, _ = run(ledger, publisher)
        assert (ending, states(ledger)) == (Ending.DONE, {("success", None): 200})
        assert ledger.connection.execute("SELECT max(attempts), n_failed FROM images, gbif_ids").fetchone() == (1, 0)


def counted(ledger: connect.Ledger) -> int:
    n: int = ledger.connection.execute("SELECT count(*) FROM image_rows WHERE attempts > 0").fetchone()[0]
    return n


def test_the_wait_outlasts_a_run() -> None:
    with ledger_of({"a.org": 100}) as ledger:
        publisher = Publisher(lambda image_id, when: CHALLENGE)
        assert run(ledger, publisher, idle_s=900.0)[0] is Ending.WAITING
        n, until = publisher.n_requests, ledger.connection.execute("SELECT blocked_until FROM hosts").fetchone()[0]
        assert n <= 15
        again = Publisher(lambda image_id, when: CHALLENGE)
        again.now = publisher.now + 1.0
        assert run(ledger, again, idle_s=10.0)[0] is Ending.WAITING
        assert again.n_requests == 0
        later = Publisher(lambda image_id, when: CHALLENGE)
        later.now = float(until)
        assert run(ledger, later, idle_s=10.0)[0] is Ending.WAITING
        assert later.n_requests == 1, "a probe, which leaves it alone for twice as long"
        assert (
            ledger.connection.execute("SELECT blocked_until FROM hosts").fetchone()[0] - until
            >= 2 * (until - publisher.asked_at[-1]) - 5
        )


@pytest.mark.parametrize("name", ["a.org", "*.org"])
@pytest.mark.parametrize("is_running", [True, False])
def test_a_person_has_a_shut_host_asked_again(name: str, is_running: bool) -> None:
    """At once, in the run that is under way as in the next one."""
    resumed_at: list[float] = []

    def answer(image_id: int, when: float) -> Page | None:
        return None if resumed_at else CHALLENGE

    publisher = Publisher(answer)
    with ledger_of({"a.org": 110}) as ledger:
        wish = wishes.Wish(wishes.RESUME, (name,))

        def resume() -> bool:
            if publisher.now > STARTED + 3 * HOUR and not resumed_at:
                wishes.leave(ledger.path, wish)
                resumed_at.append(publisher.now)
            return publisher.now > STARTED + DAY

        if is_running:
            ending = Steward(ledger, publisher, Plan(TABLE, max_idle_s=DAY), Watcher(), publisher.clock, resume).run()
        else:
            assert run(ledger, publisher, idle_s=900.0)[0] is Ending.WAITING
            publisher.joining = [Joined(0)]
            wishes.leave(ledger.path, wish)
            resumed_at.append(publisher.now)
            ending, _ = run(ledger, publisher)
        assert (ending, states(ledger)) == (Ending.DONE, {("success", None): 110})
        assert publisher.now - resumed_at[0] < 0.2 * HOUR


@dataclass
class Redirecting(Publisher):
    """A museum's host has its pictures; `answer` is what the host has that it redirects to: those that `is_redirected` names."""

    is_redirected: Callable[[int, float], bool] = lambda image_id, when: True
    n_redirects: int = 0
    is_direct: bool = False  # it has what the other host has
    chain: tuple[str, ...] = ("a.org", "login.org")
    _lanes: dict[tuple[str, int], Lane] = field(default_factory=dict)

    def _ask(self, turn: Turn) -> None:
        if turn.host == self.chain[-1] or self.is_direct:
            super()._ask(turn)
            return
        to = self.chain[self.chain.index(turn.host) + 1]
        key, brake_at = (turn.host, turn.lane), math.inf
        if not any((other.host, other.lane) == key and other is not turn for _, other in self.under_way.values()):
            self._lanes[key] = Lane(key, None)  # type: ignore[arg-type]
        lane = self._lanes[key]
        lane.jobs, rounds = [OpenTurn(turn, deque())], Rounds(turn, self._free_at(turn), self.latency_s)
        for number, claim in enumerate(turn.claims):
            at = rounds.next()
            rounds.n_alike = 0 if turn.leads_to else lane.n_led
            if at > brake_at:
                at, outcome = brake_at + self.latency_s, Outcome(claim.image_id)
            elif turn.host != self.chain[0] or self.is_redirected(claim.image_id, at):
                brake_at = at if lane.has_been_led(to) else brake_at
                move = Move(to, claim.url_no, f"http://{to}/?for={claim.image_id}", claim.hops + 1)
                outcome = Outcome(claim.image_id, move=move, requests=1, elapsed_s=self.latency_s)
            else:
                lane.has_got_picture(self.latency_s)
                outcome = self._outcome(claim.image_id, None)
            self._n += 1
            heapq.heappush(self._due, (at, self._n, Report(turn.lease_id, (outcome,), finished=number + 1 == len(turn.claims))))

    def receive(self, timeout_s: float) -> list[Event]:
        events = super().receive(timeout_s)
        outcomes = [outcome for event in events if isinstance(event, Reported) for outcome in event.report.outcomes]
        self.n_redirects += sum(outcome.move is not None and outcome.requests for outcome in outcomes)
        return events


WALLS = {"log-in": (LOG_IN,), "bot check": (BOT_CHECK,), "refusal": (PLAIN,), "terms": (TERMS,), "a page": (WELCOME,)}


@pytest.mark.parametrize("n_given", thinned([0, 60], 2))
@pytest.mark.parametrize(("page", "n"), thinned(sized(WALLS, "log-in"), 4))
def test_a_host_that_redirects_everything_to_a_page_elsewhere(page: Page, n: int, n_given: int) -> None:
    """For an hour. The page counts against the redirecting host, too: both are blocked, and no image is lost."""
    n, given, shut_at = max(n, 5_000), set[int](), list[float]()

    def is_redirected(image_id: int, when: float) -> bool:
        if len(given) >= n_given and not shut_at:
            shut_at.append(when)
        if shut_at and when < shut_at[0] + HOUR:
            return True
        given.add(image_id)
        return False

    publisher = Redirecting(lambda image_id, when: page if when < shut_at[0] + HOUR else None, is_redirected=is_redirected)
    with ledger_of({"a.org": n}) as ledger:
        ending, heard = run(ledger, publisher)
        assert (ending, states(ledger)) == (Ending.DONE, {("success", None): n})
        assert publisher.n_requests - n <= 200
        assert ledger.connection.execute("SELECT max(attempts), min(attempts) FROM images").fetchone() == (1, 1)
        why = next(why for _, why in heard.blocked if "resume a.org" in why)
        assert "to login.org: " in why
        assert "`hosts resume a.org login.org`" in why


def during(first_s: float, last_s: float) -> Callable[[int, float], bool]:
    return lambda image_id, when: STARTED + first_s <= when < STARTED + last_s


WIDE = {  # seconds until the door shuts, images, workers, connections, seconds for a request
    "two lanes": (4.1, 3_000, 2, 8, 0.05),
    "many lanes": (9.0, 9_000, 8, 64, 0.05),
    "slow answers": (19.0, 5_000, 8, 64, 0.3),
    "fast answers": (2.0, 4_000, 2, 16, 0.005),
}


@pytest.mark.slow
@pytest.mark.parametrize("page", [LOG_IN, WELCOME], ids=["log-in", "page"])
@pytest.mark.parametrize("way", ["direct", "by a redirect", "by two", "behind a redirect", "behind two"])
@pytest.mark.parametrize(("shut_s", "n", "n_workers", "connections", "latency_s"), WIDE.values(), ids=WIDE)
def test_a_door_that_shuts_while_many_lanes_ask(
    page: Page, way: str, shut_s: float, n: int, n_workers: int, connections: int, latency_s: float
) -> None:
    """At a host that gives its own pictures, that redirects from then on, or that has always redirected to where they are."""
    is_shut = during(shut_s, shut_s + HOUR)
    is_redirected = is_shut if way.startswith("by ") else lambda image_id, when: way.startswith("behind ")
    publisher = Redirecting(
        lambda image_id, when: page if is_shut(image_id, when) else None, n_workers, latency_s, is_redirected=is_redirected
    )
    publisher.is_direct = way == "direct"
    publisher.chain = ("a.org", "b.org", "login.org") if way.endswith("two") else publisher.chain
    with ledger_of({"a.org": n}) as ledger:
        table, end_at = parse_hosts(f"[default]\nconnections = {connections}\n"), STARTED + 2 * DAY
        plan = Plan(table, max_idle_s=DAY, max_connections=connections)
        Steward(ledger, publisher, plan, Watcher(), publisher.clock, lambda: publisher.now > end_at).run()
        assert states(ledger) == {("success", None): n}
        n_needed = n * (len(publisher.chain) if way.startswith("behind ") else 1)
        assert publisher.n_requests - n_needed <= (300 if way.endswith("two") else 200)


@pytest.mark.parametrize("chain", thinned([("a.org", "login.org"), ("a.org", "b.org", "login.org")], 2))
def test_a_host_whose_images_are_all_elsewhere_waits_for_nobody(chain: tuple[str, ...]) -> None:
    """Its redirects lead to pictures: from the first of those on, they may be as many in a row as they like."""
    n = 1_000
    publisher = Redirecting(lambda image_id, when: None, chain=chain)
    with ledger_of({"a.org": n}) as ledger:
        ending, heard = run(ledger, publisher)
        assert (ending, heard.blocked, counts(ledger)) == (Ending.DONE, [], {"success": n})
        assert publisher.n_requests == len(chain) * n
        assert publisher.now - STARTED < 60.0
    turns = [turn for _, turn in publisher.turns if turn.host == "a.org"]
    assert turns[-1].leads_to == chain[1]
    assert len(turns) < n // 20


def test_redirects_to_a_host_that_does_not_answer_are_held_for_a_minute_at_most() -> None:
    """That is no door: what can be had elsewhere does not wait for it."""
    n = 1_000
    publisher = Redirecting(lambda image_id, when: None, hurry=1.05, is_redirected=lambda image_id, when: image_id <= n // 2)
    ask = publisher._ask
    publisher._ask = lambda turn: None if turn.host == "login.org" else ask(turn)  # type: ignore[method-assign]
    with ledger_of({"a.org": n}) as ledger:
        run(ledger, publisher, days=0.1)
        asked = [at for at in publisher.asked_at if at < STARTED + HOUR]
        assert counts(ledger)["success"] == n - n // 2
        assert max(b - a for a, b in itertools.pairwise(asked)) <= 65.0
        assert asked[-1] - STARTED < 120.0


@pytest.mark.parametrize(
    "page", [(200, {}, b"<html><title>No picture</title><body>We have no picture"), NOT_FOUND, None], ids=["page", "404", "picture"]
)
def test_a_healthy_host_that_redirects_for_missing_images(page: Page | None) -> None:
    n = 1_000
    is_missing = [hash((number, 7)) % 10 < 3 for number in range(n + 1)]
    publisher = Redirecting(lambda image_id, when: page, is_redirected=lambda image_id, when: is_missing[image_id])
    with ledger_of({"a.org": n}) as ledger:
        ending, heard = run(ledger, publisher)
        assert (ending, heard.blocked, heard.shut) == (Ending.DONE, [], [])
        n_missing = sum(is_missing[1:])
        assert publisher.n_redirects == n_missing
        assert publisher.n_requests == n + n_missing
        assert counts(ledger) == ({"success": n} if page is None else {"success": n - n_missing, "failed_permanent": n_missing})


@pytest.mark.parametrize("page", thinned([PLAIN, LOG_IN, CHALLENGE], 3), ids=["refusal", "log-in", "challenge"])
def test_redirects_to_a_host_that_is_shut_between_pictures(page: Page) -> None:
    """What is redirected is missing. The other images go on as if nothing were."""
    n = 1_000
    publisher = Redirecting(lambda image_id, when: page, is_redirected=lambda image_id, when: image_id % 10 < 3)
    with ledger_of({"a.org": n}) as ledger:
        _, heard = run(ledger, publisher, idle_s=HOUR)
        assert not any("resume a.org" in why for why in heard.shut)
        assert counts(ledger)["success"] == n - n // 10 * 3
        [(blocked_until,)] = ledger.connection.execute("SELECT blocked_until FROM hosts WHERE host = 'a.org'")
        assert blocked_until is None


class Refusing(Publisher):
    """The images that a.org refuses go on at their next candidates, which are all at b.org."""

    def __init__(self, at_a: Callable[[int], Page | None], at_b: Callable[[int], Page | None]) -> None:
        super().__init__(lambda image_id, when: (at_a if self._is_first else at_b)(image_id))
        self._is_first = True

    def _ask(self, turn: Turn) -> None:
        self._is_first = turn.host == "a.org"
        super()._ask(turn)

    def _outcome(self, image_id: int, page: Page | None) -> Outcome:
        outcome = super()._outcome(image_id, page)
        if page is None or outcome.verdict is None or not self._is_first:
            return outcome
        refusal = Failure(outcome.verdict, page[0], 0)
        return replace(outcome, verdict=None, move=Move("b.org", 1, refusal=refusal))


@contextmanager
def two_candidates_each(n: int) -> Iterator[connect.Ledger]:
    """Images whose URLs are at a.org, then at b.org."""
    with ledger_of({"a.org": n}) as ledger:
        with ledger.transaction() as db:
            db.execute("UPDATE image_rows SET urls = urls || char(10) || replace(urls, 'a.org', 'b.org')")
        yield ledger


def test_a_page_is_seen_where_the_next_candidate_is_at_another_host() -> None:
    """The images that were refused go on there at once, and the others wait: better pictures may come."""
    n, n_given = 2_000, 60
    publisher = Refusing(lambda image_id: PLAIN if n_given < image_id else None, lambda image_id: None)
    with two_candidates_each(n) as ledger:
        run(ledger, publisher, days=0.5)
        n_moved = counts(ledger)["success"] - n_given
        assert 10 <= n_moved <= 200
        assert counts(ledger) == {"success": n_given + n_moved, "pending": n - n_given - n_moved}
        [(why,)] = ledger.connection.execute("SELECT blocked_why FROM hosts WHERE host = 'a.org'")
        assert "serves one page for different images" in why


def test_a_host_without_some_images_is_not_shut_because_their_next_candidates_are_at_a_host_that_is() -> None:
    """To go on at the next candidate is no redirect."""
    n, n_given = 1_500, 60
    publisher = Refusing(lambda image_id: NOT_FOUND if n_given < image_id else None, lambda image_id: PLAIN)
    with two_candidates_each(n) as ledger:
        _, heard = run(ledger, publisher, days=0.5)
        assert any("resume b.org" in why for why in heard.shut)
        assert not any("resume a.org" in why for why in heard.shut)
        left = "SELECT count(*) FROM images WHERE host = 'a.org' AND status <> 'success'"
        assert ledger.connection.execute(left).fetchone() == (0,), "a.org was asked for each of them"


@pytest.mark.parametrize(
    ("code", "wait_s", "name"), [(403, 7200, "a.org"), (200, 300, "*.org"), (403, 20, "a.org")], ids=["long", "short", "past"]
)
@pytest.mark.parametrize("is_running", thinned([True, False], 2))
def test_a_wait_that_a_shut_host_has_named_is_kept_when_a_person_has_it_asked(
    code: int, wait_s: int, name: str, is_running: bool
) -> None:
    """Our own waits end, also where they are longer than its own."""
    page = (code, {"retry-after": str(wait_s), **CHALLENGE[1]}, CHALLENGE[2])
    publisher, resumed_at = Publisher(lambda image_id, when: page, hurry=1.2), list[float]()
    with ledger_of({"a.org": 110}) as ledger:

        def resume() -> bool:
            """Soon behind a probe, when our own wait is the longer one."""
            is_soon = len(publisher.asked_at) >= 6 and publisher.now - publisher.asked_at[-1] > 30.0
            if is_soon and not resumed_at:
                wishes.leave(ledger.path, wishes.Wish(wishes.RESUME, (name,)))
                resumed_at.append(publisher.now)
            return len(resumed_at) > 0 and (not is_running or publisher.now > resumed_at[0] + 3 * HOUR)

        Steward(ledger, publisher, Plan(TABLE, max_idle_s=DAY), Watcher(), publisher.clock, resume).run()
        if not is_running:
            again = Publisher(lambda image_id, when: page, hurry=1.2)
            again.now = publisher.now + 1.0
            Steward(ledger, again, Plan(TABLE, max_idle_s=DAY), Watcher(), again.clock, lambda: len(again.asked_at) > 0).run()
            publisher.asked_at += again.asked_at
        before = max(at for at in publisher.asked_at if at <= resumed_at[0])
        next_at = min(at for at in publisher.asked_at if at > resumed_at[0])
        assert next_at >= before + wait_s
        assert next_at <= max(before + wait_s, resumed_at[0]) + 30.0 + 0.25 * wait_s


def test_stored_images_that_are_asked_for_again_stay_as_they_are() -> None:
    with ledger_of({"a.org": 50}) as ledger:
        run(ledger, Publisher(lambda image_id, when: None))
        refetching.queue(ledger, STARTED + DAY, (), lambda done, total: None)
        publisher = Publisher(lambda image_id, when: CHALLENGE)
        publisher.now = STARTED + DAY
        plan = Plan(TABLE, refetch=True, max_idle_s=900.0)
        Steward(ledger, publisher, plan, Watcher(), publisher.clock, lambda: False).run()
        assert states(ledger) == {("success", None): 50}
        assert publisher.n_requests <= 30
        assert ledger.connection.execute("SELECT count(*) FROM refetch_queue").fetchone()[0] >= 48


def test_people_are_told_once() -> None:
    sent: list[str] = []
    announcer = Announcer(sent.append, "herbarium", 1000)
    for _ in range(3):
        announcer.host_shut("a.org", "it shows a bot check")
    announcer.host_blocked("a.org", STARTED + DAY, "it shows a bot check")
    assert sent == [":no_entry: herbarium: a.org is blocked: it shows a bot check"]
