"""Reads no more rows at a time than a transaction should touch, in number and in bytes. Knows no table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

ROWS = 5_000
BYTES = 8 << 20
"""A cell may be a megabyte: a row limit that suits short cells would admit gigabytes."""

AnyRow = TypeVar("AnyRow", bound=tuple[Any, ...])


def some(
    rows: Iterable[AnyRow], size: Callable[[AnyRow], int], most: int | None = None, most_bytes: int | None = None
) -> tuple[list[AnyRow], bool]:
    """The first rows, at least one, and whether those are all. `size` is that of a row in bytes, roughly.

    No more than `most` rows (default `ROWS`) and `most_bytes` (default `BYTES`).
    """
    most, most_bytes = most or ROWS, most_bytes or BYTES
    taken: list[AnyRow] = []
    n_bytes = 0
    for row in rows:
        if taken and (len(taken) >= most or n_bytes + size(row) > most_bytes):
            return taken, False
        taken.append(row)
        n_bytes += size(row)
    return taken, True
