"""Errors that end the program. An image that cannot be fetched is a `Verdict`, not an exception.

    D4CError                  exit 1
    |- UsageError             exit 2   the command line, a settings value or a file named on it is wrong
    |- SourceError            exit 1   the archive cannot be read as a GBIF download
    |  |- SourceDamaged       exit 1   ... and what was read of it before cannot be trusted
    |- LedgerError            exit 1   not a ledger of ours, a newer schema, unreadable
    |  |- LedgerBusy          exit 1   another run owns it
    |  |  |- LedgerAwaited    exit 75  ... or may still do so: the time was up before that was known
    |  |- LedgerLocked        exit 75  somebody's transaction or query locks the file: nothing committed is lost, run again
    |  |- LedgerLost          exit 1   another process has taken it over from us
    |- StoreError             exit 1   the image root cannot be written, the disk is full, a quota is used up
    |- Stopped                exit 75  stopped by a signal: run the same command again

Every one takes a single message, so that it survives pickling unchanged.
"""

from __future__ import annotations

import re

EXIT_WORK_LEFT = 75
"""EX_TEMPFAIL of sysexits.h: run the same command again."""


_NOT_TO_BE_SHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"  # controls, direction overrides
)


def printable(text: str) -> str:
    """A text that can be stored and shown, although it may name a path or quote a stranger: terminal control characters and bytes
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

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class UsageError(D4CError):
    """The command line, a setting, or a file named there is wrong."""

    exit_code = 2


class SourceError(D4CError):
    """The archive cannot be read as a GBIF download."""


class SourceDamaged(SourceError):
    """The archive is damaged, and what was read of it before cannot be trusted."""


class LedgerError(D4CError):
    """The file is no ledger of ours, is of a newer version, or cannot be read."""


class LedgerBusy(LedgerError):
    """Another run owns the ledger."""


class LedgerAwaited(LedgerBusy):
    """Another run may still own the ledger: the time was up before that was known."""

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
