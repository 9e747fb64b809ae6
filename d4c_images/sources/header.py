"""Which column is where, from the header line; and what a file without a usable header might be. Reads no rows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from d4c_images.errors import SourceError

MAX_HEADER_BYTES = 64 * 1024
_UTF8_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table: how many cells a row has, and which cell holds what."""

    width: int
    index: dict[str, int]  # column name in lower case -> position of its cell

    def __getitem__(self, name: str) -> int:
        return self.index[name.lower()]

    def get(self, name: str) -> int | None:
        """The position of a column, None if the table has no such column."""
        return self.index.get(name.lower())


def read_header(line: bytes, required: Iterable[str], name: str) -> Columns:
    """The columns in a header line. Their order differs between downloads and years, so only names count.

    Raises `SourceError`, saying what the file might be, if a required column is missing.
    """
    text = line.decode(errors="replace").removeprefix(_UTF8_BOM).rstrip("\r\n")
    cells = [cell.strip().strip('"').strip().lower() for cell in text.split("\t")]
    index: dict[str, int] = {}
    for at, cell in enumerate(cells):
        index.setdefault(cell, at)
    missing = [column for column in required if column.lower() not in index]
    if missing:
        raise SourceError(f"{name}: {_diagnosis(line, text, missing)}")
    return Columns(len(cells), index)


def _diagnosis(line: bytes, text: str, missing: list[str]) -> str:
    start = text.lstrip().lower()
    wanted = " and ".join(missing)
    if not line:
        return "the file is empty"
    if start.startswith("version https://git-lfs"):
        return "this is a git-LFS pointer, not the file itself: fetch it with 'git lfs pull'"
    if start.startswith("<"):
        kind = "an HTML page" if re.match(r"<!doctype html|<html|<head|<body", start) else "XML"
        return f"this is {kind}, not a table"
    if start.startswith(("{", "[")):
        return "this is JSON, not a table"
    if b"\x00" in line or line.startswith((b"\x1f\x8b", b"%PDF", b"SQLite")):
        return "this is a binary file, not a table"
    return f"the header has no column {wanted} (it begins: {text[:80]!r})"
