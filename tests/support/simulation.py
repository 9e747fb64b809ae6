"""Whole runs in this process, by the clock of a test: a small ledger, workers that send nothing, and the steward on trial."""

from __future__ import annotations

import heapq
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from d4c_images.ledger.file import connect, owner
from d4c_images.ledger.rows import names
from d4c_images.model import Blob, Orders, Outcome, OwnCode, Report, Status, Turn, Verdict
from d4c_images.steward.steward import Steward
from d4c_images.steward.terms import Ending, Event, Joined, Plan, Reported, Runner, Watcher
from tests.support.ledger import New, add_rule, admit

STARTED = 1_800_000_000.0
SILENCE = Verdict(Status.FAILED_TRANSIENT, "timeout", host_trouble=True)


class Simulation:
    """Workers whose requests take `latency_s` of a simulated clock; those to hosts in `hanging` end in silence after 30 s."""

    def __init__(self, n_workers: int, latency_s: float, hanging: frozenset[str] = frozenset(), size_bytes: int = 0) -> None:
        self.joining: list[Event] = [Joined(number) for number in range(n_workers)]
        self.now = STARTED
        self.under_way: dict[int, tuple[int, Turn]] = {}  # lease -> worker, turn
        self.turns: list[tuple[float, Turn]] = []
        self.ended: set[int] = set()
        self.after_each: Callable[[], None] = lambda: None
        self._latency_s, self._hanging, self._size_bytes = latency_s, hanging, size_bytes
        self._due: list[tuple[float, int, Report]] = []

    def clock(self) -> float:
        return self.now

    def send(self, worker: int, orders: Orders) -> None:
        self.ended |= orders.end
        for turn in orders.turns:
            self.under_way[turn.lease_id] = worker, turn
            self.turns.append((self.now, turn))
            free_at = max((at for at, _, report in self._due if self._lane(report.lease_id) == (turn.host, turn.lane)), default=0.0)
            start = max(self.now, free_at)
            for number, claim in enumerate(turn.claims[: self._n_asked(turn)]):
                rounds = number // turn.connections + 1
                took_s = 30.0 if turn.host in self._hanging else self._latency_s
                at = start + rounds * max(took_s, turn.min_interval_s * (turn.connections if number else 0))
                heapq.heappush(self._due, (at, len(self.turns) * 1000 + number, self._report(turn, claim.image_id, number, took_s)))
        self.after_each()

    def _lane(self, lease_id: int) -> tuple[str, int] | None:
        return (turn.host, turn.lane) if (turn := self.under_way.get(lease_id, (0, None))[1]) is not None else None

    def _report(self, turn: Turn, image_id: int, number: int, took_s: float) -> Report:
        if turn.host in self._hanging:
            outcome = Outcome(image_id, SILENCE, http_status=OwnCode.STALLED, requests=1, elapsed_s=took_s)
        else:
            path = f"{image_id}.jpg"
            blob = Blob(path, 10, image_id.to_bytes(32), "image/jpeg", 1, 1)
            verdict = Verdict(Status.SUCCESS)
            rest_s = (number + 1) * self._size_bytes / turn.bytes_per_s if turn.bytes_per_s else 0.0
            what = {"requests": 1, "elapsed_s": took_s, "received_bytes": self._size_bytes, "rest_s": rest_s}
            outcome = Outcome(image_id, verdict, blob=blob, **what)  # type: ignore[arg-type]
        return self._told(turn, outcome, number)

    def _n_asked(self, turn: Turn) -> int:
        if turn.max_bytes is None:
            return len(turn.claims)
        return min(len(turn.claims), -(-turn.max_bytes // self._size_bytes) + turn.connections - 1)

    def _told(self, turn: Turn, outcome: Outcome, number: int) -> Report:
        """The last one gives back what the bytes of the turn did not suffice for."""
        n_asked = self._n_asked(turn)
        rest = [Outcome(claim.image_id) for claim in turn.claims[n_asked:]] if number + 1 == n_asked else []
        return Report(turn.lease_id, (outcome, *rest), finished=number + 1 == n_asked)

    def receive(self, timeout_s: float) -> list[Event]:
        self.now = max(self.now, min(self._due[0][0], self.now + 1.0)) if self._due else self.now + 1.0
        events, self.joining = self.joining, []
        while self._due and self._due[0][0] <= self.now:
            report = heapq.heappop(self._due)[2]
            if report.finished:
                self.under_way.pop(report.lease_id)
            events.append(Reported(0, report))
        return events

    def kill(self, worker: int) -> None: ...

    def close(self) -> None: ...


class Clocked(Runner, Protocol):
    """A runner that has the time of the run in its hands."""

    now: float

    def clock(self) -> float: ...


@contextmanager
def ledger_of(images: dict[str, int], started: float = STARTED, *, shuffled: bool = True) -> Iterator[connect.Ledger]:
    """Not shuffled, the hosts take turns."""
    with tempfile.TemporaryDirectory() as name:
        ledger = connect.open_ledger(Path(name) / "ledger.sqlite", create=True)
        hosts = [host for host, count in images.items() for _ in range(count)]
        if shuffled:
            random.Random(1).shuffle(hosts)
        else:
            hosts = [host for number in range(max(images.values())) for host, count in images.items() if number < count]
        with ledger.transaction() as db:
            add_rule(db)
            host_ids = {host: names.host_id_of(db, host) for host in images}
            admit(db, [New(n, n, 0, host_ids[host], f"http://{host}/{n}.jpg") for n, host in enumerate(hosts, 1)])
        owner.take(ledger, "download", owner.this_process(), started)
        try:
            yield ledger
        finally:
            ledger.close()


def run(ledger: connect.Ledger, runner: Clocked, plan: Plan, patience_s: float = 10_000.0) -> Ending:
    """How a run ends that is told to stop after `patience_s`."""
    end_at = runner.now + patience_s
    return Steward(ledger, runner, plan, Watcher(), runner.clock, lambda: runner.now > end_at).run()


def counts(ledger: connect.Ledger) -> dict[str, int]:
    """Images by their status."""
    return dict(ledger.connection.execute("SELECT status, count(*) FROM images GROUP BY 1").fetchall())
