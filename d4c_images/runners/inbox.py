"""Orders on their way to a worker in the same process, from another thread. Knows nothing of what is in them."""

from __future__ import annotations

import queue

from d4c_images.model import Orders


class Inbox:
    """What a worker is fed from (`model.Feed`)."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Orders] = queue.SimpleQueue()
        self._lasting = Orders()  # what stays true

    def put(self, orders: Orders) -> None:
        self._orders.put(orders)

    def __call__(self, wait_s: float) -> Orders:
        """Orders that have come in, merged, waiting at most `wait_s` for the first."""
        orders = self._lasting
        try:
            orders = orders.then(self._orders.get(timeout=wait_s) if wait_s > 0 else self._orders.get_nowait())
            while True:
                orders = orders.then(self._orders.get_nowait())
        except queue.Empty:
            self._lasting = orders.lasting()
            return orders
