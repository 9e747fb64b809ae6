"""The terms of a run: what it is asked to do, how it ends, and what the steward needs of a runner and of those who watch.

Holds no behaviour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from d4c_images.ledger.questions import from_counters
from d4c_images.model import Orders, Report, Totals
from d4c_images.policy.limits import HostTable
from d4c_images.policy.pace import BlockPolicy
from d4c_images.policy.placeholder_list import MIN_RECORDS, PlaceholderList

LOST_WORKER_ASKS_S = 30.0
"""A worker on another node that is out of touch for so long ends by itself, with all its requests, and is taken for dead."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is asked to do."""

    hosts: HostTable
    max_attempts: int = 4
    retry_base_s: float = 30.0
    retry_cap_s: float = 3600.0
    max_connections: int = 256  # of one worker, over all hosts
    max_images: int | None = None  # lend no more than this many
    only_hosts: frozenset[str] = frozenset()
    refetch: bool = False  # stored images that wait to be asked for again are lent, too
    deadline: float | None = None  # unix time: lend nothing after it
    grace_s: float = 60.0  # for requests in flight when the run drains
    hang_s: float = 900.0  # a worker that still holds a turn so long after the turn's end is taken for hung
    lost_ask_s: float = LOST_WORKER_ASKS_S  # workers of a cluster's run that died may go on asking for so long
    max_idle_s: float = 900.0  # end the run when everything left has to wait longer than this...
    may_leave: Callable[[float], bool] = lambda due_at: True  # ... if somebody begins it again at this unix time; else it waits
    breaker: BlockPolicy = field(default_factory=BlockPolicy)
    placeholders: PlaceholderList = field(default_factory=PlaceholderList)  # known ones
    placeholder_records: int = MIN_RECORDS  # the same bytes for so many records of a host are one


class Ending(StrEnum):
    DONE = "nothing left to do"
    WAITING = "all that is left has to wait"
    OUTAGE = "no host can be reached: this machine's network seems to be down"
    LIMIT = "the limit of images is reached"
    TIME = "the time is up"
    SIGNAL = "a signal came"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the run for those who watch it."""

    now: float
    started_at: float
    totals: Totals
    images: from_counters.ImageCounts
    hosts: tuple[from_counters.HostCount, ...]  # of those with work left: who has most, first, and who ends last
    n_hosts: int  # with work left
    blocked: dict[str, float]  # of `hosts`: unix time until which nobody asks it
    paused: frozenset[str] = frozenset()  # of `hosts`, by a person
    n_blocked: int = 0  # of all hosts
    n_paused: int = 0


class Watcher:
    """Told of what happens in a run; the base class does nothing. Must neither block nor raise."""

    def started(self, snapshot: Snapshot) -> None: ...
    def ticked(self, snapshot: Snapshot) -> None: ...
    def host_blocked(self, host: str, until: float, why: str) -> None: ...
    def host_shut(self, host: str, why: str) -> None: ...
    def host_given_up(self, host: str, n_images: int, why: str) -> None: ...
    def idle(self, until: float, host: str, why: str) -> None: ...
    def network_down(self, is_down: bool) -> None: ...
    def worker_died(self, why: str) -> None: ...
    def draining(self, why: str) -> None: ...
    def ended(self, snapshot: Snapshot, ending: Ending) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker is there and may be sent turns."""

    worker: int


@dataclass(frozen=True, slots=True)
class Reported:
    worker: int
    report: Report


@dataclass(frozen=True, slots=True)
class Leaving:
    """A worker starts nothing more. It goes once it has been told to drain: then it knows that no turn follows."""

    worker: int


@dataclass(frozen=True, slots=True)
class Died:
    """A worker is gone without a word. What cannot be seen to have ended may go on asking its hosts for `may_ask_s` seconds."""

    worker: int
    why: str
    may_ask_s: float = 0.0


Event = Joined | Reported | Leaving | Died


class Runner(Protocol):
    """Carries orders to workers and their reports back; decides nothing. Each worker has a number that no other ever had."""

    def send(self, worker: int, orders: Orders) -> None:
        """Hand orders over; returns at once. Orders to a worker that has just died are lost: `Died` tells."""

    def receive(self, timeout_s: float) -> list[Event]:
        """What has come in, waiting at most `timeout_s` for the first event. Raises what a worker raised (`D4CError`)."""

    def kill(self, worker: int) -> None:
        """End a worker that gives no answer; `Died` will follow, where it can be ended at all."""

    def close(self) -> None:
        """End all workers; nothing is received any more."""
