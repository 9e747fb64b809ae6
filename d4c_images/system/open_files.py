"""How many files a process may have open at once, and what a worker can do with so many. Opens none.

Many systems grant 1,024 at first, and more to who asks; some sites grant few and no more.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

from d4c_images.errors import UsageError

MOST = 1 << 16
MAX_IMAGES_WAITING = 64  # images fetched, but not yet kept: more of them would be lost by a kill
FILES_FOR_OTHERS = 28  # for Python, its libraries, the threads that decode and those that make images durable
PER_CONNECTION = 4  # the wake-up of its lane (2), itself, the body on its way
PER_OPENING = 3  # its look-up (2), and a second one that is tried beside it (RFC 8305)
OPENING = 32  # as many, or fewer, are opened at one moment
WAITING_SHARE = 4  # of the rest a fourth is for images that wait
COORDINATOR, PER_PROCESS = 32, 3  # the process that has the ledger; each worker is two pipes to it, and one more while it starts


@dataclass(frozen=True, slots=True)
class Budget:
    """What one worker may have open."""

    n_files: int
    waiting: int  # images fetched, but not yet kept
    connections: int


def granted() -> int:
    """How many files this process may have open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else soft


def grantable() -> int:
    """How many `raise_limit` would come to."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(granted(), MOST if hard == resource.RLIM_INFINITY else min(hard, MOST))


def raise_limit() -> int:
    """Take what this process, and those that it starts, may have; returns how many files that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if granted() < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return granted()


def budget(n_files: int) -> Budget:
    """What so many files are enough for."""
    rest = max(0, n_files - FILES_FOR_OTHERS)
    waiting = min(MAX_IMAGES_WAITING, rest // WAITING_SHARE)
    rest -= waiting
    opening = min(OPENING, rest // (PER_CONNECTION + PER_OPENING))
    return Budget(n_files, waiting, (rest - opening * PER_OPENING) // PER_CONNECTION if opening == OPENING else opening)


LEAST = next(n for n in range(MOST) if budget(n).connections >= 1 and budget(n).waiting >= 2)


def check(n_files: int, n_processes: int) -> Budget:
    """Raises `UsageError`, saying what is needed, if so many worker processes cannot work with so few files."""
    most_processes = max(1, (n_files - COORDINATOR) // PER_PROCESS)
    needed = max(LEAST, COORDINATOR + PER_PROCESS * n_processes)
    if n_files < needed:
        fewer = f", or use --processes {most_processes}" if n_files >= LEAST and most_processes < n_processes else ""
        raise UsageError(
            f"{n_processes} worker processes need {needed} open files, and the limit is {n_files}: raise it (ulimit -n){fewer}"
        )
    return budget(n_files)
