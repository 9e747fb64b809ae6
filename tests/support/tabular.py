r"""Reads the tables in `tests/tables`: tab-separated, `#` begins a comment line; `\t`, `\n`, `\0`, `\\`, `\uXXXX` escape."""

from __future__ import annotations

import re
from pathlib import Path

_ESCAPES = {"t": "\t", "n": "\n", "0": "\0", "\\": "\\"}


def rows(name: str) -> list[tuple[str, ...]]:
    lines = (Path(__file__).parents[1] / "tables" / name).read_text(encoding="utf-8").split("\n")
    return [tuple(_unescaped(cell) for cell in line.split("\t")) for line in lines if line and not line.startswith("#")]


def _unescaped(cell: str) -> str:
    return re.sub(r"\\(?:u([0-9a-f]{4})|([tn0\\]))", lambda m: chr(int(m[1], 16)) if m[1] else _ESCAPES[m[2]], cell)
