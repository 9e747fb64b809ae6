"""What a worker has in hand: lanes, the turns worked in them, the attempts at their claims, a clock. State only, no steps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from d4c_images.fetch import Connections, Request, Unfinished
from d4c_images.model import Claim, Failure, Outcome, Reply, Report, Turn, Verdict
from d4c_images.policy import pace, shut_door
from d4c_images.stores import Partial
from d4c_images.system import clocks

FEW_ALIKE = 5  # pages, or redirects to one other host, in a row: one image at a time, until the steward has heard of it


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the time comes from."""

    monotonic: Callable[[], float] = time.monotonic
    time: Callable[[], float] = time.time  # for what servers say
    steady: Callable[[], float] = clocks.now  # for the ends of turns: the coordinator's clock, or one that it knows


@dataclass(eq=False, slots=True)
class OpenTurn:
    """A turn that is being worked."""

    turn: Turn
    unstarted: deque[Claim]
    n_open: int = 0  # claims under way
    outcomes: list[Outcome] = field(default_factory=list)  # not yet reported
    has_said_half: bool = False
    received_bytes: int = 0
    is_over: bool = False  # nothing more is asked of it, not even the rest of a body
    is_urgent: bool = False  # what there is to report is to be reported at once
    held_until: float = 0.0  # by the monotonic clock: the end of a wait that an answer has named, and that was not reported yet

    @property
    def n_left(self) -> int:
        """Claims without an outcome."""
        return len(self.unstarted) + self.n_open

    @property
    def finished(self) -> bool:
        return not self.n_left

    def report(self, now: float, *, finished: bool = False) -> Report:
        """What there is to report; `now` by the monotonic clock."""
        report = Report(self.turn.lease_id, tuple(self.outcomes), finished, max(0.0, self.held_until - now))
        self.outcomes, self.held_until, self.is_urgent = [], 0.0, False
        return report

    @property
    def is_half_done(self) -> bool:
        return 2 * self.n_left <= len(self.turn.claims)


@dataclass(eq=False, slots=True)
class Lane:
    """One host's queue in this worker."""

    key: tuple[str, int]  # host, lane
    connections: Connections
    jobs: list[OpenTurn] = field(default_factory=list)
    ready: deque[Attempt] = field(default_factory=deque)  # for their next request
    in_flight: dict[Request, Attempt] = field(default_factory=dict)
    speed: pace.Speed = field(default_factory=pace.Speed)  # how wide it is asked, within the turn's connections
    next_start: float = 0.0  # by the monotonic clock
    paid_until: float = 0.0  # likewise: the time that what has come in takes at the turn's bytes_per_s
    interval_s: float = 0.0  # between two requests, as the server's answers ask for
    n_troubles: int = 0  # in a row
    has_given: bool = False  # a picture
    page: shut_door.PageFingerprint | None = None  # that different images have brought
    n_same: int = 0  # of them, in a row
    leads_to: str = ""  # another host, by the latest redirects
    n_led: int = 0  # of them, in a row
    n_slow: int = 0  # images that take long to decode, and wait for that
    group: str = ""  # hosts that share its waits; of a host alone, its name
    answers_by_https: bool = False  # it has sent us from http to https for good: we go there at once, and save it a request

    @property
    def host(self) -> str:
        return self.key[0]

    def add(self, job: OpenTurn) -> None:
        """The turn that follows: a lane that has grown stays as wide, as far as the turn allows."""
        turn = job.turn
        self.group = turn.group or turn.host
        width = turn.connections if turn.at_first is None else max(self.speed.width, turn.at_first)
        self.speed = replace(self.speed, width=float(width))
        self.connections.resize(turn.connections)
        self.jobs.append(job)

    @property
    def is_full(self) -> bool:
        """As many requests are under way as there may be."""
        is_led = self.n_led >= FEW_ALIKE and self.jobs[-1].turn.leads_to != self.leads_to
        is_odd = FEW_ALIKE <= self.n_same < shut_door.UNSIGNED or is_led
        return len(self.in_flight) >= (1 if is_odd else min(self.jobs[-1].turn.connections, self.speed.width))

    def has_got_picture(self, took_s: float) -> None:
        """Wider by one, where that is allowed and nothing was in trouble just before."""
        if not self.n_troubles:
            news = pace.News(n_ok=1, n_success=1, success_s=took_s)
            self.speed = pace.speed_after(self.speed, news, self.jobs[-1].turn.connections, now=0.0)
        self.n_troubles, self.n_same, self.n_led, self.has_given = 0, 0, 0, True

    def has_met_page(self, code: int, verdict: Verdict, url: str) -> bool:
        """Something else has come than a picture. Says whether it is time to hear first what the steward makes of so many alike."""
        promises = self.has_given or shut_door.names_picture(url)
        is_page = shut_door.kind_of(code, verdict) is shut_door.AnswerKind.PAGE
        if not is_page or not shut_door.may_be_shut(code, verdict.sign, promises=promises):
            return False
        page = shut_door.page_of(code, verdict.detail)
        if self.page is None or not self.page.is_like(page):
            self.page, self.n_same = page, 0
        self.n_same += 1
        return self.n_same == shut_door.UNSIGNED

    def has_been_led(self, to: str) -> bool:
        """A redirect to another host has come. Says whether it is time to hear first what the steward makes of so many in a row.

        A turn that was on its way meanwhile ends as well; none does if the steward has said that they are nothing odd.
        """
        if to != self.leads_to:
            self.leads_to, self.n_led = to, 0
        self.n_led += 1
        return self.n_led >= shut_door.UNSIGNED and to != self.jobs[-1].turn.leads_to

    def rests_until(self) -> float:
        """When the next request may start, by the monotonic clock."""
        return max(self.next_start, self.paid_until)

    def has_started(self, turn: Turn, at: float) -> None:
        """A request of this lane goes out."""
        self.next_start = max(self.next_start, at + max(turn.min_interval_s, self.interval_s))

    def has_received(self, turn: Turn, n_bytes: int, sent_at: float) -> None:
        """A body has come in."""
        if turn.bytes_per_s:
            self.paid_until = max(self.paid_until, sent_at) + n_bytes / turn.bytes_per_s

    def has_work(self) -> bool:
        return bool(self.ready) or any(job.unstarted for job in self.jobs)


@dataclass(eq=False, slots=True)
class Attempt:
    """A claim under way: one candidate after the other, one request after the other."""

    claim: Claim
    job: OpenTurn
    lane: Lane
    part: Partial
    url: str  # what is asked now
    url_no: int
    hops: int
    is_upgraded: bool = False  # asked over https instead
    n_requests: int = 0
    received_bytes: int = 0
    elapsed_s: float = 0.0
    hold_s: float = 0.0  # the longest wait that its answers have named
    cookies: tuple[str, ...] = ()  # of this chain of redirects
    reply: Reply | None = None
    failure: Failure | None = None  # to be told if no other candidate succeeds
    refusal: Failure | None = None  # of the latest candidate
    unfinished: Unfinished | None = None  # the rest of this body is asked for next
    n_resumed: int = 0
    is_lost: bool = False  # what should be stored is not: the bytes are wanted, whatever they are
    is_in_brotli: bool = False  # or may be: libcurl has to undo the coding of the body
    asks_plainly: bool = False  # without a condition: the server has misunderstood it
