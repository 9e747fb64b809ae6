"""How much is in the ledger: highest numbers, records, images left per host. Queries that many parts use; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Ask = Callable[[str, Sequence[object]], Iterable[tuple[Any, ...]]]
"""Runs a query with its parameters: `Reader.rows`, or `execute` of a connection."""

TOP_IMAGE = "SELECT coalesce(max(image_id), 0) FROM image_rows"
TOP_HOST = "SELECT coalesce(max(host_id), 0) FROM host_rows"
N_RECORDS = "SELECT coalesce(sum(n), 0) FROM record_tallies"
SUM_LEFT = "sum(t.n - t.n_final)"
"""How many images are left to try, from counters `t` of `tallies`."""


def left_of(host_id: str) -> str:
    """SQL for the number of images that a host has left to try; NULL if it has none at all. `host_id` is SQL, too."""
    return f"(SELECT {SUM_LEFT} FROM tallies AS t WHERE t.host_id = {host_id})"  # noqa: S608 - SQL of ours


def top_image(ask: Ask) -> int:
    """The highest image_id; 0 in an empty ledger."""
    return number(ask, TOP_IMAGE)


def top_host(ask: Ask) -> int:
    """The highest host_id; 0 if there is no host yet."""
    return number(ask, TOP_HOST)


def n_records(ask: Ask) -> int:
    """From the counters, which include records still held in memory."""
    return number(ask, N_RECORDS)


def number(ask: Ask, sql: str, parameters: Sequence[object] = ()) -> int:
    """The result of a query that returns one number."""
    [(number,)] = ask(sql, parameters)
    return int(number)
