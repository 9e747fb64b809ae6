"""Counts what a piece of the program does: the same on every machine and at every load. No clock.

`sqlite3.connect` is led to connections that count, so that whatever the program opens while counting is counted too. Of what other
processes do nothing is seen.
"""

from __future__ import annotations

import gc
import sqlite3
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

STEPS = 100  # instructions of SQLite's virtual machine between two calls of the handler


@dataclass(slots=True)
class Work:
    """What was done."""

    steps: int = 0  # of SQLite's virtual machine
    statements: int = 0  # begun
    calls: int = 0  # of functions, generators and built-ins
    peak_bytes: int = 0  # allocated by Python on top of what there was
    failure: str = ""  # what it ended with


class Counter:
    """Counts between `start` and `stop`."""

    def __init__(self, *, python: bool) -> None:
        """`python`: also count calls and bytes, which takes several times as long."""
        self.work = Work()
        self._python = python
        self._connect = sqlite3.connect

    def start(self) -> None:
        work, connect = self.work, self._connect

        def counted() -> int:
            work.steps += STEPS
            return 0

        def begun(_statement: str) -> None:
            work.statements += 1

        def counting(*args: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*args, **options)
            connection.set_progress_handler(counted, STEPS)
            connection.set_trace_callback(begun)
            return connection

        def called(_frame: FrameType, event: str, _what: Any) -> None:
            if event in ("call", "c_call"):
                work.calls += 1

        sqlite3.connect = counting
        if self._python:
            gc.collect()  # else it depends on the tests before this one when garbage of ours goes
            tracemalloc.start()
            sys.setprofile(called)

    def stop(self) -> Work:
        if self._python:
            sys.setprofile(None)
            self.work.peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        sqlite3.connect = self._connect
        return self.work


def work_of(do: Callable[[], object], *, python: bool = True) -> Work:
    """What doing it takes."""
    counter = Counter(python=python)
    counter.start()
    try:
        do()
    finally:
        counter.stop()
    return counter.work
