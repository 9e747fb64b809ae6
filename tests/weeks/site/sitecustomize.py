"""Puts the campaign's clock in the place of the machine's. Python imports this before anything else of the program (see `site`).

The program is not changed and has no setting for it. What is timed within libcurl, SQLite or the kernel is not compressed: the
options of the campaign give such times in seconds of the machine.
"""

from __future__ import annotations

import os
import sys
import time
from multiprocessing import connection
from pathlib import Path
from typing import Any

from tests.weeks.clock import FILE, Clock

ON_MACHINE_TIME = ("d4c_images.fetch.loop", "subprocess")
"""The first keeps libcurl's timers, the second waits for other programs: neither of them goes by this clock."""


def install(clock: Clock) -> None:
    machine_monotonic, machine_sleep, machine_wait = time.monotonic, time.sleep, connection.wait
    machine_gettime, monotonic_ids = time.clock_gettime, (time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME)

    def monotonic() -> float:
        caller = sys._getframe(1).f_globals.get("__name__")
        return machine_monotonic() if caller in ON_MACHINE_TIME else clock.monotonic()

    def clock_gettime(number: int) -> float:
        if number in monotonic_ids:
            return clock.monotonic()
        return clock.time() if number == time.CLOCK_REALTIME else machine_gettime(number)

    def wait(objects: Any, timeout: float | None = None) -> Any:
        return machine_wait(objects, timeout if timeout is None else timeout / clock.speed)

    time.monotonic = monotonic
    time.monotonic_ns = lambda: int(clock.monotonic() * 1e9)
    time.time = clock.time
    time.time_ns = lambda: int(clock.time() * 1e9)
    time.clock_gettime = clock_gettime
    time.sleep = lambda seconds: machine_sleep(float(seconds) / clock.speed)
    connection.wait = wait  # type: ignore[assignment]


if FILE in os.environ:
    install(Clock(Path(os.environ[FILE])))
