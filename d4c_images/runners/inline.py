"""Runs one worker in the steward's own thread: for tests and small jobs. No process, no pipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from d4c_images.model import Orders, Report
from d4c_images.run import Event, Reported

if TYPE_CHECKING:
    from d4c_images.runners.processes import Work


class InlineRunner:
    """The worker goes one report further each time something is received."""

    n_workers = 1

    def __init__(self, work: Work) -> None:
        self._orders: list[Orders] = []
        self._drain = self._closed = False
        self._reports: Iterator[Report] = work(self._feed)

    def send(self, worker: int, orders: Orders) -> None:
        self._orders.append(orders)

    def receive(self, timeout_s: float) -> list[Event]:
        report = next(self._reports, None)
        return [] if report is None else [Reported(0, report)]

    def close(self) -> None:
        self._closed = self._drain = True
        for _ in self._reports:
            pass

    def _feed(self, wait_s: float) -> Orders:
        turns = [turn for orders in self._orders for turn in orders.turns]
        self._drain |= any(orders.drain for orders in self._orders)
        self._closed |= any(orders.closed for orders in self._orders)
        self._orders.clear()
        return Orders(tuple(turns), self._drain, self._closed)
