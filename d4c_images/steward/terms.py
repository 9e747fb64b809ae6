"""The terms of a run: its task, how it ends, and the interfaces of runners and watchers.

Holds no behaviour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from d4c_images.ledger.questions import from_counters
from d4c_images.model import Orders, Report, Totals
from d4c_images.policy.limits import HostTable
from d4c_images.policy.pace import BlockPolicy
from d4c_images.policy.placeholder_list import MIN_RECORDS, PlaceholderList

LOST_WORKER_ASKS_S = 30.0
"""A worker on another node that is out of contact this long exits by itself, with all its requests, and is taken for dead."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run should do."""

    hosts: HostTable
    max_attempts: int = 4
    retry_base_s: float = 30.0
    retry_cap_s: float = 3600.0
    max_connections: int = 256  # of one worker, over all hosts
    max_stored: int | None = None  # end when this many images are stored, and never store more
    max_tries: int | None = None  # lend no more images than this many
    only_hosts: frozenset[str] = frozenset()
    refetch: bool = False  # also lend stored images waiting to be refetched
    deadline: float | None = None  # unix time: lend nothing after it
    grace_s: float = 60.0  # for requests in flight when the run drains
    hang_s: float = 900.0  # a worker holding a turn this long after its end is taken for hung
    lost_ask_s: float = LOST_WORKER_ASKS_S  # lost workers of a cluster run may go on sending requests for this long
    max_idle_s: float = 900.0  # end the run when everything left has to wait longer than this...
    may_leave: Callable[[float], bool] = lambda due_at: True  # ... if it is started again at this unix time; otherwise it waits
    breaker: BlockPolicy = field(default_factory=BlockPolicy)
    placeholders: PlaceholderList = field(default_factory=PlaceholderList)  # known ones
    placeholder_records: int = MIN_RECORDS  # identical bytes for this many records of a host are one


@dataclass(frozen=True, slots=True)
class Hurry:
    """Tells a run about the signal that stops it, and about the person who sent it."""

    signal_name: Callable[[], str]
    may_come: Callable[[], bool]  # whether somebody can press Ctrl-C again
    is_asked: Callable[[], bool]  # it was pressed again: do not wait for what is in flight


class Ending(StrEnum):
    DONE = "nothing left to do"
    WAITING = "all that is left has to wait"
    OUTAGE = "no host can be reached: see 'd4c-images preflight'"
    LIMIT = "the limit is reached"
    TIME = "the time is up"
    SIGNAL = "a signal came"


NO_HURRY = Hurry(lambda: str(Ending.SIGNAL), lambda: False, lambda: False)


@dataclass(frozen=True, slots=True)
class Drain:
    """A run that starts nothing more, and finishes what is in flight."""

    why: str
    until: float  # what is still in flight then is dropped
    grace_s: float
    is_attended: bool = False  # somebody can press Ctrl-C again
    drops: str | None = None  # why requests in flight are no longer waited for


@dataclass(frozen=True, slots=True)
class RunScope:
    """The part of a collection that a run is about."""

    hosts: tuple[str, ...] = ()  # only these; none: all
    max_stored: int | None = None
    max_tries: int | None = None

    def __str__(self) -> str:
        """A suffix for "images": ` of ids.si.edu`, ` of 3 hosts`, or nothing."""
        return f" of {self.hosts[0] if len(self.hosts) == 1 else f'{len(self.hosts)} hosts'}" if self.hosts else ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the run and of its hosts, for watchers.

    `n_done` of `n_in_all` is how far the run is: with a limit towards that, else towards the end of all images.
    """

    now: float
    started_at: float
    totals: Totals
    images: from_counters.ImageCounts  # of the run's hosts
    hosts: tuple[from_counters.HostCount, ...]  # with work left: those with most images first, then those expected to end last
    n_hosts: int  # with work left
    blocked: dict[str, float]  # of `hosts`: blocked until this unix time
    paused: frozenset[str] = frozenset()  # of `hosts`, by an operator
    n_blocked: int = 0  # of all the run's hosts
    n_paused: int = 0
    scope: RunScope = RunScope()
    in_flight: Mapping[str, int] = field(default_factory=dict)  # requests per host, at most: leased images, up to its connections
    drain: Drain | None = None

    @property
    def n_in_flight(self) -> int:
        return sum(self.in_flight.values())

    @property
    def is_all_paused(self) -> bool:
        """Whether all hosts with images left are paused by a person."""
        return 0 < len(self.hosts) == len(self.paused) and self.n_paused >= self.n_hosts

    @property
    def n_left(self) -> int:
        """Images that this run still has to settle, up to its limit; more if some fail."""
        left, scope = [self.images.left], self.scope
        if scope.max_stored is not None:
            left.append(scope.max_stored - self.totals.n_kept)
        if scope.max_tries is not None:
            left.append(scope.max_tries - self.totals.n_settled)
        return max(0, min(left))

    @property
    def n_done(self) -> int:
        if self.scope.max_tries is not None:
            return self.totals.n_settled
        return self.images.total - self.images.left if self.scope.max_stored is None else self.totals.n_kept

    @property
    def n_in_all(self) -> int:
        return self.n_done + self.n_left


class Watcher:
    """Called with what happens in a run; the base class does nothing. Must neither block nor raise."""

    def started(self, snapshot: Snapshot) -> None: ...
    def ticked(self, snapshot: Snapshot) -> None: ...
    def host_blocked(self, host: str, until: float, why: str) -> None: ...
    def host_shut(self, host: str, why: str) -> None: ...
    def host_given_up(self, host: str, n_images: int, why: str) -> None: ...
    def idle(self, until: float, host: str, why: str) -> None: ...
    def network_down(self, is_down: bool) -> None: ...
    def no_way_out(self, n_hosts: int, why: str) -> None:
        """None of `n_hosts` tried hosts was reached since the start: `network_down(False)` follows once one is."""

    def worker_died(self, why: str) -> None: ...
    def draining(self, drain: Drain, in_flight: Mapping[str, int]) -> None:
        """With the requests per host. Called twice if those in flight are dropped in the end."""

    def ended(self, snapshot: Snapshot, ending: Ending) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker is ready for turns."""

    worker: int


@dataclass(frozen=True, slots=True)
class Reported:
    worker: int
    report: Report


@dataclass(frozen=True, slots=True)
class Leaving:
    """A worker starts no more requests. It exits once it gets the order to drain: then it knows that no turn follows."""

    worker: int


@dataclass(frozen=True, slots=True)
class Died:
    """A worker is gone without a word. If its end cannot be observed, it may go on asking its hosts for `may_ask_s` seconds."""

    worker: int
    why: str
    may_ask_s: float = 0.0


Event = Joined | Reported | Leaving | Died


class Runner(Protocol):
    """Carries orders to workers and their reports back; decides nothing. Each worker has a unique number, never reused."""

    def send(self, worker: int, orders: Orders) -> None:
        """Hand over orders; returns at once. Orders to a worker that has just died are lost: `Died` follows."""

    def receive(self, timeout_s: float) -> list[Event]:
        """Events received, waiting at most `timeout_s` for the first one. Raises what a worker raised (`D4CError`)."""

    def kill(self, worker: int) -> None:
        """End an unresponsive worker; `Died` follows, if it can be ended at all."""

    def close(self) -> None:
        """End all workers; nothing is received after that."""
