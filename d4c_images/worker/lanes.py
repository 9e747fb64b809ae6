"""What a worker is working on: lanes, their turns, the attempts at their claims, a clock. State only, no steps."""

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

FEW_ALIKE = 5  # pages, or redirects to one other host, in a row: then one image at a time, until the steward has been informed


@dataclass(frozen=True, slots=True)
class Clock:
    """Source of time."""

    monotonic: Callable[[], float] = time.monotonic
    time: Callable[[], float] = time.time  # for what servers say
    steady: Callable[[], float] = clocks.now  # for the ends of turns: the coordinator's clock, or one in step with it


@dataclass(eq=False, slots=True)
class OpenTurn:
    """A turn being worked."""

    turn: Turn
    unstarted: deque[Claim]
    n_open: int = 0  # claims in progress
    outcomes: list[Outcome] = field(default_factory=list)  # not yet reported
    has_said_half: bool = False
    received_bytes: int = 0
    is_over: bool = False  # no more requests for it, not even for the rest of a body
    is_urgent: bool = False  # report at once
    held_until: float = 0.0  # by the monotonic clock: the end of a wait named by an answer and not yet reported

    @property
    def n_left(self) -> int:
        """Claims without an outcome."""
        return len(self.unstarted) + self.n_open

    @property
    def finished(self) -> bool:
        return not self.n_left

    def report(self, now: float, *, finished: bool = False) -> Report:
        """A report of everything not yet reported; `now` by the monotonic clock."""
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
    ready: deque[Attempt] = field(default_factory=deque)  # ready for their next request
    in_flight: dict[Request, Attempt] = field(default_factory=dict)
    speed: pace.Speed = field(default_factory=pace.Speed)  # its congestion window, within the turn's connections
    next_start: float = 0.0  # by the monotonic clock
    paid_until: float = 0.0  # likewise: the time that received bytes take at the turn's bytes_per_s
    interval_s: float = 0.0  # between two requests, as the server's answers ask
    n_troubles: int = 0  # in a row
    has_given: bool = False  # it has sent an image
    page: shut_door.PageFingerprint | None = None  # received for different images
    n_same: int = 0  # such pages in a row
    leads_to: str = ""  # another host, according to the latest redirects
    n_led: int = 0  # such redirects in a row
    n_slow: int = 0  # slow images waiting to be decoded
    group: str = ""  # hosts that share its waits; for a single host, its name
    answers_by_https: bool = False  # it redirects permanently from http to https: we go there directly, saving a request

    @property
    def host(self) -> str:
        return self.key[0]

    def add(self, job: OpenTurn) -> None:
        """Add the next turn: a lane that has grown keeps its width, as far as the turn allows."""
        turn = job.turn
        self.group = turn.group or turn.host
        width = turn.connections if turn.at_first is None else max(self.speed.width, turn.at_first)
        self.speed = replace(self.speed, width=float(width))
        self.connections.resize(turn.connections)
        self.jobs.append(job)

    @property
    def is_full(self) -> bool:
        """Whether as many requests are in flight as allowed."""
        is_led = self.n_led >= FEW_ALIKE and self.jobs[-1].turn.leads_to != self.leads_to
        is_odd = FEW_ALIKE <= self.n_same < shut_door.UNSIGNED or is_led
        return len(self.in_flight) >= (1 if is_odd else min(self.jobs[-1].turn.connections, self.speed.width))

    def has_got_picture(self, took_s: float) -> None:
        """Widen by one, if allowed and there was no recent trouble."""
        if not self.n_troubles:
            news = pace.News(n_ok=1, n_success=1, success_s=took_s)
            self.speed = pace.speed_after(self.speed, news, self.jobs[-1].turn.connections, now=0.0)
        self.n_troubles, self.n_same, self.n_led, self.has_given = 0, 0, 0, True

    def has_met_page(self, code: int, verdict: Verdict, url: str) -> bool:
        """Something other than an image arrived. Returns whether to wait for the steward's decision on so many alike."""
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
        """A redirect to another host arrived. Returns whether to wait for the steward's decision on so many in a row.

        A turn that was already on its way ends as well; none does if the steward has declared these redirects normal.
        """
        if to != self.leads_to:
            self.leads_to, self.n_led = to, 0
        self.n_led += 1
        return self.n_led >= shut_door.UNSIGNED and to != self.jobs[-1].turn.leads_to

    def rests_until(self) -> float:
        """When the next request may start, by the monotonic clock."""
        return max(self.next_start, self.paid_until)

    def has_started(self, turn: Turn, at: float) -> None:
        """A request of this lane is sent."""
        self.next_start = max(self.next_start, at + max(turn.min_interval_s, self.interval_s))

    def has_received(self, turn: Turn, n_bytes: int, sent_at: float) -> None:
        """A body has been received."""
        if turn.bytes_per_s:
            self.paid_until = max(self.paid_until, sent_at) + n_bytes / turn.bytes_per_s

    def has_work(self) -> bool:
        return bool(self.ready) or any(job.unstarted for job in self.jobs)


@dataclass(eq=False, slots=True)
class Attempt:
    """A claim in progress: one candidate after the other, one request after the other."""

    claim: Claim
    job: OpenTurn
    lane: Lane
    part: Partial
    url: str  # the current request's URL
    url_no: int
    hops: int
    is_upgraded: bool = False  # requested over https instead
    n_requests: int = 0
    received_bytes: int = 0
    elapsed_s: float = 0.0
    hold_s: float = 0.0  # the longest wait named by its answers
    cookies: tuple[str, ...] = ()  # of this redirect chain
    reply: Reply | None = None
    failure: Failure | None = None  # to be reported if no other candidate succeeds
    refusal: Failure | None = None  # of the latest candidate
    unfinished: Unfinished | None = None  # the rest of this body is requested next
    n_resumed: int = 0
    is_lost: bool = False  # the stored file is missing: any bytes are wanted
    is_in_brotli: bool = False  # or may be: libcurl must decode the body's content coding
    asks_plainly: bool = False  # unconditionally: the server misunderstood the condition
