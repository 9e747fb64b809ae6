"""Shared by all races: the task, the clock, and a description of the machine. Knows no contestant."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import certifi

PROJECT = Path(__file__).resolve().parents[1]
OUT = PROJECT / "bench" / "out"


@dataclass(frozen=True, slots=True)
class HostLimit:
    """What a host bears."""

    connections: int
    min_interval_s: float = 0.0


@dataclass(frozen=True)
class Task:
    """What every contestant is to do: store what these URLs hold, in a folder of its own."""

    urls: Sequence[str]
    connections: int  # at once, over all hosts
    folder: Path
    port: int  # of the server that answers for every host, on loopback
    own_cacert: Path | None = None  # of that server
    limits: Mapping[str, HostLimit] = field(default_factory=dict)  # for those who can keep them
    dead: frozenset[str] = frozenset()  # hosts where nobody listens
    patience_s: float = 60.0  # for an answer
    retries: int = 2
    most_s: float | None = None  # after which one who would wait for hosts that hang is ended: what it has by then counts

    @cached_property
    def cacert(self) -> Path:
        """What every contestant trusts: all the world's authorities, as in real life, and the server's own."""
        bundle = self.folder / "ca.pem"
        own = self.own_cacert.read_bytes() if self.own_cacert else b""
        bundle.write_bytes(Path(certifi.where()).read_bytes() + own)
        return bundle

    @property
    def hosts(self) -> list[str]:
        return sorted({urlsplit(url).netloc for url in self.urls})


@dataclass(frozen=True, slots=True)
class Run:
    """One finished command."""

    wall_s: float
    cpu_s: float  # user and system, of the command and all its children
    started_at: float  # unix time
    stored: int  # files


def timed(
    command: Sequence[object],
    folder: Path,
    stored: Callable[[], int],
    environ: Mapping[str, str] | None = None,
    may_fail: bool = False,
    most_s: float | None = None,
) -> Run:
    """Run a command to its end, or for `most_s`; then `stored()` counts what is there. What it prints goes to `folder`/log.txt."""
    before, started_at, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time(), time.perf_counter()
    with (folder / "log.txt").open("wb") as log:
        words, environ = list(map(str, command)), {**os.environ, **(environ or {})}
        try:
            code = subprocess.run(words, stdout=log, stderr=log, cwd=folder, env=environ, timeout=most_s).returncode
        except subprocess.TimeoutExpired:
            code = 0
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if code != 0 and not may_fail:
        said = (folder / "log.txt").read_text(errors="replace")[-2000:]
        sys.exit(f"{command[0]} ended with {code}:\n{said}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall_s, cpu_s, started_at, stored())


def say(name: str, run: Run, at: int, rounds: int) -> None:
    """How far a series is, for whoever waits for its end."""
    print(f"round {at + 1} of {rounds}: {name}, {run.wall_s:.1f} s", file=sys.stderr, flush=True)


def cpu_s_of(pid: int) -> float:
    """User and system time of a running process so far (proc(5), /proc/pid/stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def count_files(root: Path, pattern: str = "*") -> int:
    return sum(1 for path in root.rglob(pattern) if path.is_file())


def machine() -> str:
    """Where and when, for the page that keeps the figures."""
    git = subprocess.run(["git", "-C", PROJECT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores shared with the server, "
        f"Python {platform.python_version()}, commit {git.stdout.strip() or 'unknown'}"
    )
