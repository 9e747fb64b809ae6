"""Makes text safe for a terminal or a log, whatever its origin and the locale. Prints nothing itself."""

from __future__ import annotations

import io
import sys


def show_what_can_be_shown() -> None:
    """Keep characters that the terminal's encoding lacks, or invalid ones, from raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def clean(text: str) -> str:
    """Untrusted text on one line, without anything that a terminal would act on or could not draw.

    Stricter than `judge.in_one_line`, which prepares text for storage: here joiners, private characters and those unknown to this
    Python's Unicode become blanks, too, since terminals draw them unpredictably.
    """
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
