"""How a table is encoded: its character encoding and line ends, judging by its first bytes. Knows no columns."""

from __future__ import annotations

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # shares its first bytes with the next one
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 64  # bytes; any header is longer


def encoding_of(start: bytes) -> str:
    """UTF-8, unless a byte order mark says otherwise, or each ASCII letter is next to a zero, as in UTF-16 without a mark."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    even, odd = start[:_LOOKED_AT:2], start[1:_LOOKED_AT:2]
    if len(odd) > 1 and all(even) and not any(odd):
        return "utf-16-le"
    if len(odd) > 1 and all(odd) and not any(even):
        return "utf-16-be"
    return "utf-8"


def decoded(start: bytes, encoding: str) -> str:
    """The first characters; an incomplete character at the end and a byte order mark are dropped."""
    return codecs.getincrementaldecoder(encoding)(errors="replace").decode(start).removeprefix("\ufeff")


def first_line(text: str) -> str:
    """Without its line end, whatever that is."""
    return re.split("[\r\n]", text, maxsplit=1)[0]


def line_end_of(text: str, declared: str = "\n", *, has_header: bool = True) -> str:
    """The line end of a table with this start: a line feed (also after CR), CR, or LF CR.

    A CR may be part of a cell, but not of a header. Without a header, the declared one is used if the text allows it.
    """
    line, line_feed, rest = text.partition("\n")
    if not line_feed:
        return "\r" if "\r" in text else declared
    if "\r" not in text:
        return "\n"
    if "\r" in line.rstrip("\r"):
        return "\r" if has_header else declared
    if rest.startswith("\r") and not rest.startswith(("\r\n", "\r\r")):
        return "\n\r"
    return "\n" if line.endswith("\r") or declared != "\r" else declared
