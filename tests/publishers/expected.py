"""Reads `expected.tsv`: what the ledger must say of each behaviour once the attempts are used up. Asserts nothing itself.

The figures hold for `LIMITS`, at most two attempts (`MAX_ATTEMPTS`) and no derived candidates. `requests` counts what the
server sees for the image, on all hosts. Cells with `|` allow either; an empty cell is NULL in the ledger.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from d4c_images.model import Limits

MAX_ATTEMPTS = 2
LIMITS = Limits(connect_s=10.0, total_s=15.0, stall_s=4.0, max_bytes=20_000_000)
TABLE = Path(__file__).with_name("expected.tsv")


@dataclass(frozen=True, slots=True)
class Expected:
    behaviour: str
    url: str
    status: str
    error_types: frozenset[str | None]
    http_statuses: frozenset[int]
    requests: int
    media_type: str | None
    extension: str | None
    note: str


def expected() -> list[Expected]:
    """The table, in its order; every behaviour has at least one line."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [_expected(row) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def _expected(row: dict[str, str]) -> Expected:
    return Expected(
        behaviour=row["behaviour"],
        url=row["url"],
        status=row["status"],
        error_types=frozenset(name or None for name in row["error_type"].split("|")),
        http_statuses=frozenset(int(code) for code in row["http_status"].split("|")),
        requests=int(row["requests"]),
        media_type=row["media_type"] or None,
        extension=row["extension"] or None,
        note=row["note"],
    )
