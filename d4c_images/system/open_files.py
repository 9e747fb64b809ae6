"""How many files a process may have open, and what a worker can do with them. Opens none.

Many systems allow 1,024 by default, and more on request; some sites allow few and no more.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

from d4c_images.durations import counted
from d4c_images.errors import UsageError

MOST = 1 << 16
MAX_IMAGES_WAITING = 64  # images fetched, but not yet stored: a kill would lose them
FILES_FOR_OTHERS = 28  # for Python, its libraries, the threads that decode and those that make images durable
PER_CONNECTION = 4  # the wake-up of its lane (2), itself, its partial file
PER_OPENING = 3  # its DNS look-up (2), and a second attempt in parallel (RFC 8305)
OPENING = 32  # connections being opened at one moment, at most
WAITING_SHARE = 4  # a fourth of the rest is for waiting images
COORDINATOR, PER_PROCESS = 32, 3  # the process with the ledger; two pipes per worker, and one more while it starts


@dataclass(frozen=True, slots=True)
class Budget:
    """What one worker may have open."""

    n_files: int
    waiting: int  # images fetched, but not yet stored
    connections: int


def granted() -> int:
    """How many files this process may have open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else soft


def grantable() -> int:
    """The number that `raise_limit` would return."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(granted(), MOST if hard == resource.RLIM_INFINITY else min(hard, MOST))


def raise_limit() -> int:
    """Raise the soft limit to the hard limit, for this process and its children; returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if granted() < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return granted()


def budget(n_files: int) -> Budget:
    """What this many files are enough for."""
    rest = max(0, n_files - FILES_FOR_OTHERS)
    waiting = min(MAX_IMAGES_WAITING, rest // WAITING_SHARE)
    rest -= waiting
    opening = min(OPENING, rest // (PER_CONNECTION + PER_OPENING))
    return Budget(n_files, waiting, (rest - opening * PER_OPENING) // PER_CONNECTION if opening == OPENING else opening)


LEAST = next(n for n in range(MOST) if budget(n).connections >= 1 and budget(n).waiting >= 2)


def check(n_files: int, n_processes: int) -> Budget:
    """Raise `UsageError`, saying what is needed, if this many worker processes cannot work with this many files."""
    most_processes = max(1, (n_files - COORDINATOR) // PER_PROCESS)
    needed = max(LEAST, COORDINATOR + PER_PROCESS * n_processes)
    if n_files < needed:
        fewer = f", or use --processes {most_processes}" if n_files >= LEAST and most_processes < n_processes else ""
        raise UsageError(
            f"{counted(n_processes, 'worker process', 'worker processes')} {'needs' if n_processes == 1 else 'need'} {needed} open "
            f"files, but the limit is {n_files}: raise it (ulimit -n){fewer}"
        )
    return budget(n_files)
