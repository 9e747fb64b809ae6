"""Errors that end the program. An image that cannot be fetched is a `Verdict`, not an exception.

    D4CError                  exit 1
    |- UsageError             exit 2   the command line, a settings value or a file named on it is wrong
    |- SourceError            exit 2   the archive cannot be read as a GBIF download
    |  |- SourceDamaged       exit 2   ... and what was read of it before cannot be trusted
    |- LedgerError            exit 1   a newer schema, damaged, its disk full
    |  |- LedgerUnusable      exit 2   not a d4c-images ledger, or not readable or writable
    |  |- LedgerBusy          exit 1   another run owns it
    |  |  |- LedgerAwaited    exit 75  ... or may still do so: the time was up before that was known
    |  |- LedgerLocked        exit 75  somebody's transaction or query locks the file: nothing committed is lost, run again
    |  |- LedgerLost          exit 1   another process has taken it over from us
    |- StoreError             exit 1   the image root cannot be written, the disk is full, a quota is used up
    |- Stopped                exit 75  stopped by a signal: run the same command again

Every one takes a single message, so that it survives pickling unchanged. The exit code of any error, also of one that is not ours,
is decided here and nowhere else (`exit_code_of`).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from typing import TypeVar

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_WORK_LEFT = 75
"""EX_TEMPFAIL of sysexits.h: run the same command again."""
EXIT_INTERRUPTED = 130
EXIT_OUTPUT_CLOSED = 141
"""The reader of the output has gone, as in `status | head`: 128 + SIGPIPE, as of a program that the signal has ended."""

# What the system reports for a path that is missing, forbidden or of another kind; not for a full or unreachable disk.
_MISSING, _FORBIDDEN = (errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG), (errno.EACCES, errno.EPERM, errno.EROFS)
_OF_ANOTHER_KIND = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
_WRONGLY_NAMED = frozenset((*_MISSING, *_FORBIDDEN, *_OF_ANOTHER_KIND))


_NOT_TO_BE_SHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"  # controls, direction overrides
)


def printable(text: str) -> str:
    """A text that can be stored and shown, whatever path or foreign text it quotes: terminal control characters and bytes
    that are not UTF-8 (lone surrogates in Python, PEP 383) become `\\x1b` and `\\xe9`. Line feeds and tabs stay.
    """
    return _NOT_TO_BE_SHOWN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class D4CError(Exception):
    """Base of all errors that the package raises on purpose. `str(error)` is the one line that the user sees."""

    exit_code = EXIT_ERROR

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


E = TypeVar("E", bound=D4CError)


class UsageError(D4CError):
    """The command line, a setting, or a file named there is wrong."""

    exit_code = EXIT_USAGE


class SourceError(D4CError):
    """The archive cannot be read as a GBIF download."""

    exit_code = EXIT_USAGE


class SourceDamaged(SourceError):
    """The archive is damaged, and what was read of it before cannot be trusted."""


class LedgerError(D4CError):
    """The ledger is of a newer version, is damaged, or its disk is full or fails."""


class LedgerUnusable(LedgerError):
    """The named file is not a d4c-images ledger, or may not be read or written."""

    exit_code = EXIT_USAGE


class LedgerBusy(LedgerError):
    """Another run owns the ledger."""


class LedgerAwaited(LedgerBusy):
    """Another run may still own the ledger: time ran out before this was clear."""

    exit_code = EXIT_WORK_LEFT


class LedgerLocked(LedgerError):
    """Another process holds SQLite's lock. Nothing committed is lost: run the same command again."""

    exit_code = EXIT_WORK_LEFT


class LedgerLost(LedgerError):
    """Another process has taken the ledger over from this one."""


class StoreError(D4CError):
    """The image root cannot be written: a full disk, a quota, a permission."""


class Stopped(D4CError):
    """A signal came: run the same command again."""

    exit_code = EXIT_WORK_LEFT


def is_wrongly_named(error: OSError) -> bool:
    """Whether a path is missing, forbidden or of another kind: an error of whoever named it."""
    return error.errno in _WRONGLY_NAMED


def of_a_named_path(kind: type[E], message: str, error: OSError) -> E:
    """What to raise if the system refuses a path that the user has named. Its exit code says whether the name is wrong."""
    refusal = kind(message)
    refusal.exit_code = EXIT_USAGE if is_wrongly_named(error) else EXIT_ERROR
    return refusal


def words_of(error: OSError) -> str:
    """A machine error that nothing else caught, in one line: what it is about, and what the system said."""
    names = [printable(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return ": ".join([*names, error.strerror or printable(str(error))])


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An error, then what it was raised from or while handling: what a library says may hide what the system said."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def exit_code_of(error: BaseException) -> int:
    match error:
        case D4CError():
            return error.exit_code
        case BrokenPipeError():
            return EXIT_OUTPUT_CLOSED
        case KeyboardInterrupt():
            return EXIT_INTERRUPTED
        case OSError(filename=str() | bytes()) if is_wrongly_named(error):
            return EXIT_USAGE
        case _:
            return EXIT_ERROR
