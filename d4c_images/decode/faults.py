"""What may be wrong with a stored file (docs/adr/0051). The texts of these exceptions become `error_detail`: they are sentences."""

from __future__ import annotations

import struct
import zlib


class Damaged(Exception):
    """The file itself shows that it is cut or damaged: another transfer may bring it whole."""


class NoPicture(Exception):
    """There is certainly no picture in the file, and no other transfer would bring one."""


class Unread(Exception):
    """Whole by its structure, but the libraries here cannot decode it."""


# What Pillow, its plug-ins and zlib raise when they cannot decode a file. The types say nothing about the cause.
DECODE_ERRORS = (
    OSError, SyntaxError, EOFError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, AttributeError,
    AssertionError, struct.error, zlib.error,
)  # fmt: skip


def raise_if_of_disk(error: Exception) -> None:
    """An `OSError` with a number is the system's: the disk fails, and the file is not to blame."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error
