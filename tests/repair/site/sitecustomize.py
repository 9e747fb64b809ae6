"""Kills the process at the n-th thing that it does to a file of the trial, just before it does it. Python imports this first.

Counted are audit events of Python (PEP 578): files below one folder that are opened, renamed, linked, removed or created, and
connections of SQLite. So a moment is a number, and comes again with the seed. What SQLite does within a statement is one moment.
`tests.repair.in_small_chunks` adds the program's crash points, which are also between two transactions.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

BELOW, AT, COUNT = (os.environ.get(f"REPAIR_{name}", "") for name in ("BELOW", "AT", "COUNT"))
EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "sqlite3.connect"}
EVENTS.add("d4c_images.crash.point")


def install() -> None:
    numbers = itertools.count(1)  # atomic: a moment of one thread is not skipped by another
    below, kill_at = os.fsencode(BELOW), int(AT or 0)

    def on_event(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS or not any(below in _name(one) for one in arguments[:2]):
            return
        n_events = next(numbers)
        if n_events == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if COUNT:
            number = os.open(COUNT, os.O_WRONLY | os.O_CREAT)
            os.pwrite(number, b"%d" % n_events, 0)
            os.close(number)

    sys.addaudithook(on_event)


def _name(argument: Any) -> bytes:
    return os.fsencode(argument) if isinstance(argument, str | bytes | os.PathLike) else b""


if BELOW:
    install()
