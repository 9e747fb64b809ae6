"""When may a host be asked, over how many connections? Pure: takes `now`, returns delays and numbers; no clock, no sleep, no I/O.

A circuit breaker opens when too large a share of a host's recent answers is trouble, never at a number of errors: 500 errors among
two million successes are a healthy host. A repeated failure of an image counts only if the host has not worked since it was
blocked: what is left of a host at the end are the images that it cannot deliver. After the block it gets one claim as a probe; that
unblocks the host or blocks it for twice as long. `Retry-After` blocks it for as long as it asks.

Within its limits, a politeness group's window (its number of connections) grows while images come in as fast as before and there is
no trouble, and is halved at signs of overload (AIMD). Errors never make it faster, however fast they come.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from d4c_images.durations import show_span
from d4c_images.model import ErrorType, Failure, OwnCode
from d4c_images.policy.limits import HostLimits

ASKED = "; it "  # before a host's own request, if it is blocked already
DAY_IS_OVER = "daily byte limit reached"
LATE_ANSWERS_S = 60.0  # answers within this time of an outage's start prove nothing
HOST_WORDS_CHARACTERS = 200  # limit on a host's own words in `blocked_why`
LEAST_WAIT_SHARE = 0.1  # minimum, as a share of the first wait between two attempts at an image
OVERLOADED = frozenset((429, 503, 509, 529))
ONE_EVENT_S = 5.0  # signs of overload within this time are one event: requests in flight when it began
SILENT_WEIGHT = 3.0  # weight of a timeout, for a host that has not answered recently
SLOWER = 2.0  # times the usual latency: the window stops growing
NOISE_S = 0.05  # normal variation of the latency
UNKNOWN_LATENCY_S = 0.5  # assumed for a host that has not answered yet


@dataclass(frozen=True, slots=True)
class BlockPolicy:
    """When a host is blocked, and for how long."""

    window: float = 100.0  # size of the decaying window of recent answers
    bad_share: float = 0.5
    least_tries: float = 20.0  # a share of fewer proves nothing
    least_bad_alone: float = 10.0  # this many suffice without a single success
    first_block_s: float = 60.0  # doubled with each block in a row
    most_block_s: float = 3600.0
    first_shut_s: float = 30.0  # for a host that answers everything with one page; doubled likewise
    most_shut_s: float = 86400.0  # then it is tried once a day
    least_unreachable: int = 3  # in a row, without an answer between them
    give_up_s: float = 86400.0  # give up a host unreachable for this long while others answered
    give_up_alone_s: float = 7 * 86400.0  # likewise if no other host has answered since, so that our network may be at fault
    give_up_shut_s: float = 7 * 86400.0  # give up a host that has answered everything with one page for this long


@dataclass(frozen=True, slots=True)
class HostPace:
    """State of a host's breaker; the ledger keeps it between runs."""

    recent_ok: float = 0.0
    recent_bad: float = 0.0
    block_level: int = 0  # blocks in a row without a success between them
    blocked_until: float | None = None  # unix time; past and still set: the next claim is a probe
    blocked_why: str | None = None
    unreachable_since: float | None = None  # unix time of the first of `n_unreachable`
    n_unreachable: int = 0  # failures to reach it in a row


@dataclass(frozen=True, slots=True)
class Speed:
    """Congestion window of a politeness group; the ledger keeps it between runs."""

    width: float = 1.0  # connections
    latency_s: float | None = None  # of an image when all is well
    narrowed_at: float | None = None  # unix time of the last halving; None: never yet


@dataclass(slots=True)
class News:
    """What some answers say about a host, in no particular order."""

    n_ok: int = 0  # answers of a working host, including a 404
    n_success: int = 0  # of those, with an image
    success_s: float = 0.0  # total duration of their requests
    n_unasked: int = 0  # images not requested, since their addresses are not public
    n_bad: int = 0  # verdicts with `host_trouble`
    n_unreachable: int = 0  # of those, failures to reach the host
    n_silent: int = 0  # of those, timeouts of a reachable host
    n_overload: int = 0  # of those, possible signs of overload
    n_again: int = 0  # of those, of images that failed before: if the host works, the image may be the cause
    retry_after_s: float | None = None  # the longest wait that an answer asked for
    interval_s: float = 0.0  # between two requests, as its answers ask
    rest_s: float = 0.0  # until its bytes fit into its limit per second
    received_bytes: int = 0
    troubles: Counter[str] = field(default_factory=Counter)
    words: dict[str, str] = field(default_factory=dict)  # the host's own, or libcurl's, about the latest trouble of each kind
    not_reached: Failure | None = None  # the latest
    shut_why: str | None = None  # it answers everything with one page
    is_probe: bool = False  # one of the requests was a probe

    @property
    def is_reachable(self) -> bool:
        return self.n_ok > 0 or self.n_bad > self.n_unreachable

    @property
    def has_answer(self) -> bool:
        """Whether it has answered, or has nothing to answer: then there is no reason to be careful."""
        return self.n_ok > 0 or self.n_bad > self.n_unreachable + self.n_silent or (self.n_unasked > 0 and not self.n_bad)

    def success(self, took_s: float) -> None:
        self.n_ok += 1
        self.n_success += 1
        self.success_s += took_s

    def trouble(self, failure: Failure, *, is_again: bool = False) -> None:
        """`is_again`: the image failed before."""
        verdict = failure.verdict
        self.n_bad += 1
        kind = f"http {failure.code}" if failure.code > 0 and failure.code != 200 else str(verdict.error_type)
        self.troubles[kind] += 1
        if verdict.detail:
            self.words[kind] = verdict.detail[:HOST_WORDS_CHARACTERS]
        self.n_overload += _may_be_overload(failure)
        self.n_again += is_again and not verdict.unreachable and verdict.error_type != ErrorType.RATE_LIMITED
        self.n_silent += failure.code in (OwnCode.TIMEOUT, OwnCode.STALLED)
        if verdict.unreachable:
            self.n_unreachable += 1
            self.not_reached = failure

    def commonest(self) -> str:
        """The most common trouble, with the latest words about it."""
        if not self.troubles:
            return ""
        kind = self.troubles.most_common(1)[0][0]
        return f"{kind} ({self.words[kind]})" if kind in self.words else kind


def _may_be_overload(failure: Failure) -> bool:
    """An overloaded server says so, asks for time, takes longer than we wait, or accepts no more connections."""
    verdict = failure.verdict
    says_so = verdict.error_type in (ErrorType.RATE_LIMITED, ErrorType.TIMEOUT) or failure.code in OVERLOADED
    return says_so or verdict.wait_s is not None or verdict.unreachable


def retry_wait_s(attempt: int, base_s: float, cap_s: float, u: float) -> float:
    """Seconds until the next attempt at an image whose `attempt`th attempt (1 = the first) has failed transiently.

    Full jitter, after https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/: anywhere in a window that doubles
    with each attempt up to the cap, by `u` in [0, 1), so that images that failed together do not come back together. But at least a
    tenth of the first window: otherwise the same server might get the same request at once.
    """
    doublings = min(max(attempt, 1) - 1, 60)
    return min(cap_s, max(LEAST_WAIT_SHARE * base_s, u * min(cap_s, base_s * 2.0**doublings)))


def least_s(n_left: int, limits: HostLimits, latency_s: float | None, image_bytes: float) -> float:
    """The minimum time for this many images within the limits, as far as their latency and size are known."""
    rates = [rate for rate in (limits.bytes_per_s, limits.bytes_per_day and limits.bytes_per_day / 86400) if rate]
    latency_s = UNKNOWN_LATENCY_S if latency_s is None else latency_s
    return n_left * max(latency_s / limits.connections, limits.min_interval_s, *(image_bytes / rate for rate in rates))


# The width of a group ---------------------------------------------------------------------------------------------------------


def speed_after(speed: Speed, news: News, most: int, now: float) -> Speed:
    """A group's window after more answers from one of its hosts; `most` is what its limits allow.

    Halved at signs of overload. It grows if images come in, nothing is in trouble and latency is normal: at first by one per image
    (slow start: doubling each round trip); by one per round trip once it has been halved.
    """
    if news.n_overload:
        if speed.narrowed_at is not None and 0 <= now - speed.narrowed_at < ONE_EVENT_S:
            return speed
        return replace(speed, width=max(1.0, min(most, speed.width) / 2), narrowed_at=now)
    if news.n_bad or not news.n_success or 2 * news.n_success < news.n_ok:
        return speed
    took_s = news.success_s / news.n_success
    usual_s = took_s if speed.latency_s is None else speed.latency_s
    is_slower = took_s > SLOWER * usual_s + NOISE_S
    usual_s += (took_s - usual_s) * (1 / 4 if took_s < usual_s else 1 / 32)
    width = speed.width
    if not is_slower:
        more = min(width, news.n_success) if speed.narrowed_at is None else min(1.0, news.n_success / width)
        width = max(1.0, min(most, width + more))
    return replace(speed, width=width, latency_s=usual_s)


# The breaker of a host --------------------------------------------------------------------------------------------------------


def allowed(pace: HostPace, now: float) -> int | None:
    """How many claims this host may be lent: None for any number, 0 for none yet, 1 for a probe."""
    if pace.blocked_until is None:
        return None
    if now < pace.blocked_until:
        return 0
    return 1 if pace.block_level else None


def after_batch(pace: HostPace, news: News, now: float, policy: BlockPolicy) -> HostPace:
    """The host's pace after more answers.

    If a host asks for a wait as long as a block would be, that replaces the block, and the answers do not count against the host.
    Answers to requests that were in flight when the host was blocked change nothing.
    """
    is_shut = pace.block_level > 0 and pace.blocked_until is not None
    is_late = is_shut and now < (pace.blocked_until or now) and not news.is_probe
    if news.n_ok + news.n_bad and not is_late:
        has_said = news.retry_after_s is not None and news.retry_after_s >= _block_s(pace, policy)
        pace = unreached(pace, news, now)
        if news.shut_why is not None:
            shut_s = _doubled_s(pace, policy.first_shut_s, policy.most_shut_s)
            pace = _blocked(pace, news.shut_why, now, shut_s)
        elif is_shut:
            pace = _after_probe(pace, news, has_said, now, policy)
        else:
            pace = _count(pace, news, 0 if has_said else news.n_bad, now, policy)
    return held_back(pace, news.retry_after_s, now)


def unreached(pace: HostPace, news: News, now: float) -> HostPace:
    """How long, and how many times in a row, it has been unreachable."""
    if news.is_reachable:
        return replace(pace, unreachable_since=None, n_unreachable=0)
    since = now if pace.unreachable_since is None else pace.unreachable_since
    return replace(pace, unreachable_since=since, n_unreachable=pace.n_unreachable + news.n_unreachable)


def is_lost(pace: HostPace, anybody_answered_at: float | None, now: float, policy: BlockPolicy) -> bool:
    """Whether a host that was unreachable once more is to be given up."""
    since = pace.unreachable_since
    if since is None or pace.n_unreachable < policy.least_unreachable:
        return False
    proof_s = min(LATE_ANSWERS_S, policy.give_up_s)
    others_answered = anybody_answered_at is not None and anybody_answered_at >= since + proof_s
    return now - since >= (policy.give_up_s if others_answered else policy.give_up_alone_s)


def _after_probe(pace: HostPace, news: News, has_said: bool, now: float, policy: BlockPolicy) -> HostPace:
    if news.n_ok:
        opened = HostPace(recent_ok=float(news.n_ok))
        if now < (pace.blocked_until or now):  # the headers of the probe's answer have named a wait
            why = pace.blocked_why and pace.blocked_why.rpartition(ASKED)[2]
            opened = replace(opened, blocked_until=pace.blocked_until, blocked_why=why)
        return opened
    why = f"still failing after a wait: {news.commonest()}"
    return pace if has_said else _blocked(pace, why, now, _block_s(pace, policy))


def _count(pace: HostPace, news: News, n_bad: int, now: float, policy: BlockPolicy) -> HostPace:
    ok = pace.recent_ok + news.n_ok
    if ok:
        n_bad = max(0, n_bad - news.n_again)
    bad = pace.recent_bad + n_bad
    if n_bad and ok == 0:  # each costs as much time as many answers
        bad += (SILENT_WEIGHT - 1) * news.n_silent
    if n_bad and pace.n_unreachable >= policy.least_unreachable:
        return _blocked(pace, f"cannot be reached: {news.commonest()}", now, _block_s(pace, policy))
    if n_bad and _is_sick(ok, bad, policy):
        why = f"{bad:.0f} of {ok + bad:.0f} recent requests failed, most recently with {news.commonest()}"
        return _blocked(pace, why, now, _block_s(pace, policy))
    while ok + bad > policy.window:
        ok, bad = ok / 2, bad / 2
    if pace.blocked_until is not None and now >= pace.blocked_until:
        pace = replace(pace, block_level=0, blocked_until=None, blocked_why=None)
    return replace(pace, recent_ok=ok, recent_bad=bad)


def _is_sick(ok: float, bad: float, policy: BlockPolicy) -> bool:
    if ok == 0:
        return bad >= policy.least_bad_alone
    return ok + bad >= policy.least_tries and bad >= policy.bad_share * (ok + bad)


def _block_s(pace: HostPace, policy: BlockPolicy) -> float:
    return _doubled_s(pace, policy.first_block_s, policy.most_block_s)


def _doubled_s(pace: HostPace, first_s: float, most_s: float) -> float:
    return min(most_s, first_s * 2.0 ** min(pace.block_level, 30))


def _blocked(pace: HostPace, why: str, now: float, block_s: float) -> HostPace:
    until = max(now + block_s, pace.blocked_until or 0.0)  # a wait named by the host is not cut short
    return replace(pace, recent_ok=0.0, recent_bad=0.0, block_level=pace.block_level + 1, blocked_until=until, blocked_why=why)


def held_back(pace: HostPace, retry_after_s: float | None, now: float, who: str = "") -> HostPace:
    """Obey a host that asks for a longer wait than ours; `who`: another host of its group that asked for it."""
    if not retry_after_s or (pace.blocked_until is not None and now + retry_after_s <= pace.blocked_until):
        return pace
    why = f"{who and who + ' '}asked for {show_span(retry_after_s)}"
    if pace.block_level and pace.blocked_why:
        why = f"{pace.blocked_why.partition(ASKED)[0]}{ASKED}{why}"
    return replace(pace, blocked_until=now + retry_after_s, blocked_why=why)
