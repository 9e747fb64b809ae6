"""Orders on their way to a worker: merged, whatever their source. Does not look at their content."""

from __future__ import annotations

import queue
from collections.abc import Callable

from d4c_images.model import Orders


class MergedOrders:
    """A worker's feed (`model.Feed`). `take` waits up to the given seconds for the next orders; None if there are none."""

    def __init__(self, take: Callable[[float], Orders | None]) -> None:
        self._take = take
        self._lasting = Orders()  # orders that remain in force

    def __call__(self, wait_s: float) -> Orders:
        """The orders received, merged, waiting at most `wait_s` for the first."""
        orders = self._lasting
        while (more := self._take(wait_s)) is not None:
            orders, wait_s = orders.then(more), 0.0
        self._lasting = orders.lasting()
        return orders


class Inbox:
    """Orders from another thread of the same process; a worker's feed."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Orders] = queue.SimpleQueue()
        self._merged = MergedOrders(self._next)

    def put(self, orders: Orders) -> None:
        self._orders.put(orders)

    def __call__(self, wait_s: float) -> Orders:
        return self._merged(wait_s)

    def _next(self, wait_s: float) -> Orders | None:
        try:
            return self._orders.get(timeout=wait_s) if wait_s > 0 else self._orders.get_nowait()
        except queue.Empty:
            return None
