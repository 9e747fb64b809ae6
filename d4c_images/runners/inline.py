"""Runs one worker in this process, in a thread: for tests and small jobs. No process, no pipe."""

from __future__ import annotations

import queue
import threading

from d4c_images.model import Orders
from d4c_images.runners.inbox import Inbox
from d4c_images.runners.pipe_worker import Work
from d4c_images.steward.terms import Event, Joined, Reported


class InlineRunner:
    """One worker next to the steward. What the worker raises is raised by `receive`."""

    def __init__(self, work: Work) -> None:
        self._inbox = Inbox()
        self._said: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self._said.put(Joined(0))
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def send(self, worker: int, orders: Orders) -> None:
        self._inbox.put(orders)

    def receive(self, timeout_s: float) -> list[Event]:
        events: list[Event] = []
        try:
            said = self._said.get(timeout=timeout_s)
            while True:
                if isinstance(said, BaseException):
                    raise said
                events.append(said)
                said = self._said.get_nowait()
        except queue.Empty:
            return events

    def kill(self, worker: int) -> None:
        """Threads cannot be killed: a worker that hangs here hangs."""

    def close(self) -> None:
        self.send(0, Orders(drain=True, closed=True))
        self._thread.join(timeout=10)

    def _run(self, work: Work) -> None:
        try:
            for report in work(self._inbox):
                self._said.put(Reported(0, report))
        except BaseException as error:
            self._said.put(error)
