"""Files being written under another name, beside the one they will have. Names none, and knows nothing of their content.

.<name>.d4c-copy    locked (flock) while its process lives: what nobody locks was left by a killed one
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from d4c_images.errors import LedgerBusy

DRAFT_SUFFIX = ".d4c-copy"


def draft_for(target: Path) -> Path:
    return target.with_name(f".{target.name}{DRAFT_SUFFIX}")


@contextmanager
def draft(target: Path) -> Iterator[Path]:
    """An empty file, ours alone until the end of the block. It is removed there, unless it has been renamed.

    Raises `LedgerBusy` if another process is writing it, and `OSError`.
    """
    path = draft_for(target)
    number = _locked(path, target)
    try:
        os.ftruncate(number, 0)  # what a killed process left
        yield path
    finally:
        with suppress(OSError):
            if _is(path, number):
                path.unlink()
        os.close(number)


def sweep(folder: Path) -> None:
    """Remove what killed processes left. A leftover is harmless: failing to remove one ends nothing."""
    for path in list(folder.glob(f".*{DRAFT_SUFFIX}")):
        with suppress(OSError):
            number = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is(path, number):
                    path.unlink()
            finally:
                os.close(number)


def is_being_written(target: Path) -> bool:
    """Whether there is a draft of it. After a `sweep`: of a living process."""
    return draft_for(target).exists()


def _locked(path: Path, target: Path) -> int:
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(number)
            raise LedgerBusy(f"{target} is being written by another process") from None
        except OSError:  # a disk without such locks: nothing is swept there either
            return number
        if _is(path, number):
            return number
        os.close(number)  # swept before it was locked


def _is(path: Path, number: int) -> bool:
    """Whether the path still leads to the open file."""
    with suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(number))
    return False
