"""What may be wrong with a stored file (docs/adr/0051). The texts of these exceptions become `error_detail`: they are sentences."""

from __future__ import annotations

import errno
import itertools
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

MOST_PARTS = 2_000_000  # walked through in one file: a time limit. Real files of gigabytes have fewer.


class Damaged(Exception):
    """The file itself shows that it is cut or damaged: another transfer may bring it whole."""


class NoPicture(Exception):
    """There is certainly no picture in the file, and another transfer would not bring one."""


class Unread(Exception):
    """Structurally complete, but the libraries here cannot decode it."""


def counted(parts: Iterable[T], most: int = MOST_PARTS) -> Iterator[T]:
    """The parts of a file during a walk. Raises `Unread` if there are too many."""
    left = iter(parts)
    yield from itertools.islice(left, most)
    for _ in left:
        raise Unread(f"not decoded: the file consists of more than {most} parts")


# What Pillow, its plug-ins and zlib raise if they cannot decode a file. The types say nothing about the cause.
DECODE_ERRORS = (
    OSError, SyntaxError, EOFError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, AttributeError,
    AssertionError, struct.error, zlib.error,
)  # fmt: skip


def raise_if_of_disk(error: Exception) -> None:
    """An `OSError` with an errno is the system's: the disk fails, and the file is not to blame; except for a wrong offset in it."""
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        raise error
