"""How fast, how wide and when may a host be asked? Gets `now` and returns seconds; has no clock, sleeps not, asks nobody.

A host is shut for a while when too large a share of its recent answers is trouble, never for a number of errors: 500 errors
among two million successes are a healthy host. After the while it gets one claim as a probe; that opens it or shuts it for
twice as long. `Retry-After` shuts it for as long as it asks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from d4c_images.model import Failure

ASKED = "; it "  # before a host's own wish, where it is shut already
LATE_ANSWERS_S = 60.0  # that come in so long after a network went down prove nothing
MOST_WORDS = 200  # of a host's own words in `blocked_why`


@dataclass(frozen=True, slots=True)
class Policy:
    """When a host is shut, and for how long."""

    window: float = 100.0  # recent answers that count; older ones fade as new ones come
    bad_share: float = 0.5
    least_tries: float = 20.0  # below them a share says nothing
    least_bad_alone: float = 10.0  # enough without a single success
    first_block_s: float = 60.0  # doubled with each block in a row
    most_block_s: float = 3600.0
    least_unreachable: int = 3  # in a row, without an answer between them
    give_up_s: float = 86400.0  # a host that could not be reached for so long, while others answered, is given up
    give_up_alone_s: float = 7 * 86400.0  # ... and where nobody else has answered since, so that our network may be at fault


@dataclass(frozen=True, slots=True)
class HostPace:
    """What is remembered of a host; the ledger keeps it between runs."""

    recent_ok: float = 0.0
    recent_bad: float = 0.0
    block_level: int = 0  # blocks in a row without a success between them
    blocked_until: float | None = None  # unix time; past and still set: the next claim is a probe
    blocked_why: str | None = None
    unreachable_since: float | None = None  # unix time of the first of `n_unreachable`
    n_unreachable: int = 0  # failures to reach it in a row


@dataclass(slots=True)
class News:
    """What some answers say about a host, in no particular order."""

    n_ok: int = 0  # answers of a host that works, a 404 among them
    n_bad: int = 0  # verdicts with `host_trouble`
    n_unreachable: int = 0  # those of them where it was not there to be asked
    retry_after_s: float | None = None  # the longest wait that one of them asked for
    troubles: Counter[str] = field(default_factory=Counter)
    words: dict[str, str] = field(default_factory=dict)  # the host's own, or libcurl's, of the latest trouble of a kind
    not_reached: Failure | None = None  # the latest

    @property
    def has_answer(self) -> bool:
        return self.n_ok > 0 or self.n_bad > self.n_unreachable

    def trouble(self, failure: Failure) -> None:
        verdict = failure.verdict
        self.n_bad += 1
        kind = f"http {failure.code}" if failure.code > 0 and failure.code != 200 else str(verdict.error_type)
        self.troubles[kind] += 1
        if verdict.detail:
            self.words[kind] = verdict.detail[:MOST_WORDS]
        if verdict.unreachable:
            self.n_unreachable += 1
            self.not_reached = failure

    def commonest(self) -> str:
        """The commonest trouble, with the latest words about it."""
        if not self.troubles:
            return ""
        kind = self.troubles.most_common(1)[0][0]
        return f"{kind} ({self.words[kind]})" if kind in self.words else kind


def retry_wait_s(attempt: int, base_s: float, cap_s: float, u: float) -> float:
    """Seconds until the next try of an image whose `attempt`th try (1 = the first) has failed for the time being.

    Doubles with each attempt up to the cap; `u` in [0, 1) spreads it between a half and the whole, so that images that failed
    together do not come back together.
    """
    doublings = min(max(attempt, 1) - 1, 60)
    return min(cap_s, base_s * 2.0**doublings) * (0.5 + 0.5 * u)


def allowed(pace: HostPace, now: float) -> int | None:
    """How many claims this host may be lent: None any number, 0 none yet, 1 as a probe."""
    if pace.blocked_until is None:
        return None
    if now < pace.blocked_until:
        return 0
    return 1 if pace.block_level else None


def after_batch(pace: HostPace, news: News, now: float, policy: Policy) -> HostPace:
    """The host's pace after some more answers.

    Where a host asks for a wait that is as long as a block would be, it takes the block's place, and the answers are no mark
    against the host. Answers to requests that were under way when the host was shut change nothing.
    """
    is_shut = pace.block_level > 0 and pace.blocked_until is not None
    if news.n_ok + news.n_bad and not (is_shut and now < (pace.blocked_until or now)):
        has_said = news.retry_after_s is not None and news.retry_after_s >= _block_s(pace, policy)
        pace = unreached(pace, news, now)
        if is_shut:
            pace = _after_probe(pace, news, has_said, now, policy)
        else:
            pace = _count(pace, news, 0 if has_said else news.n_bad, now, policy)
    return _held_back(pace, news.retry_after_s, now)


def unreached(pace: HostPace, news: News, now: float) -> HostPace:
    """How long, and how many times in a row, it could not be reached."""
    if news.has_answer:
        return replace(pace, unreachable_since=None, n_unreachable=0)
    since = now if pace.unreachable_since is None else pace.unreachable_since
    return replace(pace, unreachable_since=since, n_unreachable=pace.n_unreachable + news.n_unreachable)


def is_lost(pace: HostPace, anybody_answered_at: float | None, now: float, policy: Policy) -> bool:
    """Whether a host that could not be reached once more is to be given up."""
    since = pace.unreachable_since
    if since is None or pace.n_unreachable < policy.least_unreachable:
        return False
    proof_s = min(LATE_ANSWERS_S, policy.give_up_s)
    others_answered = anybody_answered_at is not None and anybody_answered_at >= since + proof_s
    return now - since >= (policy.give_up_s if others_answered else policy.give_up_alone_s)


def _after_probe(pace: HostPace, news: News, has_said: bool, now: float, policy: Policy) -> HostPace:
    if news.n_ok:
        return HostPace(recent_ok=float(news.n_ok))
    return pace if has_said else _blocked(pace, f"still in trouble after a wait: {news.commonest()}", now, policy)


def _count(pace: HostPace, news: News, n_bad: int, now: float, policy: Policy) -> HostPace:
    ok, bad = pace.recent_ok + news.n_ok, pace.recent_bad + n_bad
    if n_bad and pace.n_unreachable >= policy.least_unreachable:
        return _blocked(pace, f"cannot be reached: {news.commonest()}", now, policy)
    if n_bad and _is_sick(ok, bad, policy):
        why = f"{bad:.0f} of {ok + bad:.0f} recent answers were trouble, lately {news.commonest()}"
        return _blocked(pace, why, now, policy)
    while ok + bad > policy.window:
        ok, bad = ok / 2, bad / 2
    if pace.blocked_until is not None and now >= pace.blocked_until:
        pace = replace(pace, block_level=0, blocked_until=None, blocked_why=None)
    return replace(pace, recent_ok=ok, recent_bad=bad)


def _is_sick(ok: float, bad: float, policy: Policy) -> bool:
    if ok == 0:
        return bad >= policy.least_bad_alone
    return ok + bad >= policy.least_tries and bad >= policy.bad_share * (ok + bad)


def _block_s(pace: HostPace, policy: Policy) -> float:
    return min(policy.most_block_s, policy.first_block_s * 2.0 ** min(pace.block_level, 30))


def _blocked(pace: HostPace, why: str, now: float, policy: Policy) -> HostPace:
    until = now + _block_s(pace, policy)
    return replace(pace, recent_ok=0.0, recent_bad=0.0, block_level=pace.block_level + 1, blocked_until=until, blocked_why=why)


def _held_back(pace: HostPace, retry_after_s: float | None, now: float) -> HostPace:
    """Obey the host's own word, where it asks for longer than we would wait anyway."""
    if not retry_after_s or (pace.blocked_until is not None and now + retry_after_s <= pace.blocked_until):
        return pace
    why = f"asked for {retry_after_s:.0f} s (Retry-After)"
    if pace.block_level and pace.blocked_why:
        why = f"{pace.blocked_why.partition(ASKED)[0]}{ASKED}{why}"
    return replace(pace, blocked_until=now + retry_after_s, blocked_why=why)
