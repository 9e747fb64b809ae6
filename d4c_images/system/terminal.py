"""What may be shown on a terminal or in a log, whoever wrote it and whatever the locale. Prints nothing itself."""

from __future__ import annotations

import io
import sys


def show_what_can_be_shown() -> None:
    """A character that the terminal's encoding lacks, or that is no character at all, ends no process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def clean(text: str) -> str:
    """Text of strangers on one line, with nothing in it that a terminal would obey or could not draw.

    Stricter than `judge.in_one_line`, which makes what is stored: here joiners of letters, private characters and those that this
    Python's Unicode does not know are blanks, too, since nobody knows how a terminal draws them.
    """
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
