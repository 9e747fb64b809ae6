"""Makes text safe for a terminal or a log, whatever its origin and the locale. Prints nothing itself."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import TextIO


def show_what_can_be_shown() -> None:
    """Keep characters that the terminal's encoding lacks, or invalid ones, from raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Outliving(io.TextIOWrapper):
    """A stream whose reader may go: then the process gets one hang-up, and everything written later is dropped."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._hang_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._hang_up(error)

    def _hang_up(self, error: OSError) -> None:
        """A pipe whose reader has gone gives EPIPE, a terminal whose window was closed EIO."""
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise error
        _discard(self)
        signal.raise_signal(signal.SIGHUP)


def outlive_readers() -> None:
    """For commands that drain on signals: if the reader of their output goes (`download | head`), they drain, too."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper and stream is getattr(sys, f"__{name}__"):  # a test's replacement stays
            stream.flush()
            outliving = _Outliving(stream.buffer, stream.encoding, stream.errors, line_buffering=stream.line_buffering)
            setattr(sys, name, outliving)


def flush() -> None:
    """Raise `BrokenPipeError` here and now, not at Python's exit."""
    if sys.stdout is not None:
        sys.stdout.flush()


def discard_output() -> None:
    """Nobody reads it any more."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            _discard(stream)


def _discard(stream: TextIO) -> None:
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a test's
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def clean(text: str) -> str:
    """Untrusted text on one line, without anything that a terminal would act on or could not draw.

    Stricter than `judge.in_one_line`, which prepares text for storage: here joiners, private characters and those unknown to this
    Python's Unicode become blanks, too, since terminals draw them unpredictably.
    """
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
