"""What a command costs: wall clock, CPU and memory of all its processes. Runs it, and judges nothing.

CPU is user and system time of the command and of every process that it has started and waited for. Memory is the peak of the sum of
their resident sets, looked at every `LOOK_S`; pages that processes share count once for each of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parents[1]
LOOK_S = 0.02
TAIL_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one command."""

    wall_s: float
    cpu_s: float
    rss_mb: float
    code: int | None  # exit code; None: it was ended after its time limit, and would have cost more
    output: str = ""  # the end of what it printed
    sys_s: float = 0.0  # of cpu_s: in the kernel
    others_cpu_s: float = 0.0  # of cpu_s: of the processes that it has started, as last seen


def cost(command: Sequence[object], most_s: float | None = None, script: str | None = None) -> Cost:
    """Run a command in the project's folder to its end, or for `most_s` seconds. `script` is what it reads."""
    started = time.perf_counter()
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=PROJECT,
        stdin=subprocess.DEVNULL if script is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that all of it can be ended at once
    )
    assert process.stdout is not None
    said: list[str] = []
    reading = threading.Thread(target=lambda: said.append(process.stdout.read()[-TAIL_CHARACTERS:]), daemon=True)  # type: ignore[union-attr]
    reading.start()
    if process.stdin is not None:
        process.stdin.write(script or "")
        process.stdin.close()
    watch = Watch(process.pid, None if most_s is None else started + most_s)
    watch.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    watch.ended.set()
    watch.join()
    reading.join(timeout=5)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    code = None if watch.timed_out else process.returncode
    cpu_s = max(usage.ru_utime + usage.ru_stime, watch.cpu_s if watch.timed_out else 0.0)
    return Cost(wall_s, cpu_s, watch.most_bytes / 1e6, code, "".join(said), usage.ru_stime, watch.others_cpu_s)


def must(command: Sequence[object], codes: Sequence[int] = (0,), script: str | None = None) -> Cost:
    """The cost of a command that has to end well."""
    spent = cost(command, script=script)
    if spent.code not in codes:
        sys.exit(f"{' '.join(map(str, command))} ended with {spent.code}:\n{spent.output}")
    return spent


class Watch(threading.Thread):
    """Looks at the memory of a process and its children until `ended` is set, and ends them once it is `end_at`."""

    def __init__(self, pid: int, end_at: float | None) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._end_at = end_at
        self.ended = threading.Event()
        self.most_bytes = 0
        self.cpu_s = self.others_cpu_s = 0.0
        self.timed_out = False

    def run(self) -> None:
        while not self.ended.wait(LOOK_S):
            sizes, cpu_s, others_s = 0, 0.0, 0.0
            for process in self._family():
                try:
                    with process.oneshot():
                        sizes += process.memory_info().rss
                        times = process.cpu_times()
                    cpu_s += times.user + times.system
                    others_s += (times.user + times.system) * (process.pid != self._process.pid)
                except psutil.Error:
                    pass  # it has ended meanwhile
            self.most_bytes, self.cpu_s = max(self.most_bytes, sizes), max(self.cpu_s, cpu_s)
            self.others_cpu_s = max(self.others_cpu_s, others_s)
            if self._end_at is not None and time.perf_counter() > self._end_at:
                self.timed_out = True
                try:
                    os.killpg(self._process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                return

    def _family(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.Error:
            return []
