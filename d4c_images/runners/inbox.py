"""Orders on their way to a worker in the same process, from another thread. Knows nothing of what is in them."""

from __future__ import annotations

import queue

from d4c_images.model import Orders, Turn


class Inbox:
    """What a worker is fed from (`worker.Feed`)."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Orders] = queue.SimpleQueue()
        self._drain = self._closed = False

    def put(self, orders: Orders) -> None:
        self._orders.put(orders)

    def __call__(self, wait_s: float) -> Orders:
        """Orders that have come in, merged, waiting at most `wait_s` for the first."""
        turns: list[Turn] = []
        try:
            orders = self._orders.get(timeout=wait_s) if wait_s > 0 else self._orders.get_nowait()
            while True:
                turns += orders.turns
                self._drain |= orders.drain
                self._closed |= orders.closed
                orders = self._orders.get_nowait()
        except queue.Empty:
            return Orders(tuple(turns), self._drain, self._closed)
