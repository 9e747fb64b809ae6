"""Writes a table of the ledger as CSV and Parquet files. Queries nothing itself.

Memory is bounded, whatever the number and size of the rows: rows come in batches, and a row group of a Parquet file ends after a
number of rows or bytes. Every file is written under another name and renamed, so a reader sees the complete old one or the complete
new one.
"""

from __future__ import annotations

import csv
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from d4c_images.errors import UsageError
from d4c_images.ledger.file.reader import Row
from d4c_images.ledger.questions.tables import Table
from d4c_images.stores import own_files

WriteRows = Callable[[Sequence[Row]], None]

GROUP_ROWS = 50_000  # per row group: the file's list of groups stays in memory until the end, some 15 kB per group
GROUP_BYTES = 1 << 24


def check_name(path: Path) -> None:
    """Raise `UsageError` if the name's ending is of no known file type."""
    if path.suffix not in _SINKS:
        raise UsageError(f"{path}: unknown format: use {' or '.join(_SINKS)}")


def write(table: Table, steps: Iterable[Sequence[Row]], finals: Sequence[Path]) -> int:
    """Write all files in one pass over the rows, each in the format of its ending; returns the number of rows.

    Raises `OSError`; then the previous files are still there.
    """
    n_rows = 0
    drafts = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in finals]
    try:
        with ExitStack() as open_files:
            for draft, final in zip(drafts, finals, strict=True):
                own_files.sweep_drafts(final.parent, f"{final.name}.")
                open_files.enter_context(_held(draft))
            sinks = [
                open_files.enter_context(_SINKS[final.suffix](draft, table)) for draft, final in zip(drafts, finals, strict=True)
            ]
            for rows in steps:
                n_rows += len(rows)
                for sink in sinks:
                    sink(rows)
        for draft, final in zip(drafts, finals, strict=True):
            draft.replace(final)
        return n_rows
    finally:
        for draft in drafts:
            with suppress(OSError):  # it has been renamed; or the disk fails, and the next export of this name removes it
                draft.unlink()


@contextmanager
def _held(draft: Path) -> Iterator[None]:
    """Create a draft, and keep others from sweeping it while this process lives."""
    with draft.open("wb") as file:
        with suppress(OSError):  # a file system without locks: nobody else can lock it either
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextmanager
def _csv(path: Path, table: Table) -> Iterator[WriteRows]:
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(table.columns)
        moments = _moments(table)

        def sink(rows: Sequence[Row]) -> None:
            lines.writerows(_with_moments(row, moments) for row in rows) if moments else lines.writerows(rows)

        yield sink


def _moments(table: Table) -> list[int]:
    """The places of columns with moments: unix time in the ledger, of which a spreadsheet makes nothing."""
    return [place for place, kind in enumerate(table.columns.values()) if kind == "moment"]


def _with_moments(row: Row, places: Sequence[int]) -> list[Any]:
    cells = list(row)
    for place in places:
        if cells[place] is not None:
            cells[place] = _iso(int(cells[place]))
    return cells


@lru_cache(maxsize=1 << 14)
def _iso(unix_time: int) -> str:
    """`2026-11-30T18:40:01+00:00`, ISO 8601. In UTC, since tables are read elsewhere."""
    return datetime.fromtimestamp(unix_time, UTC).isoformat()


@contextmanager
def _parquet(path: Path, table: Table) -> Iterator[WriteRows]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "moment": pa.timestamp("s", "UTC")}
    moments = _moments(table)
    schema = pa.schema([(name, types[kind]) for name, kind in table.columns.items()])
    waiting: list[pa.Table] = []  # for the next row group

    def sink(rows: Sequence[Row]) -> None:
        columns = list(zip(*rows, strict=True)) or [()] * len(schema)
        for place in moments:
            columns[place] = tuple(None if moment is None else int(moment) for moment in columns[place])
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
        waiting.append(pa.Table.from_arrays(arrays, schema=schema))
        if sum(len(one) for one in waiting) >= GROUP_ROWS or sum(one.nbytes for one in waiting) >= GROUP_BYTES:
            flush()

    def flush() -> None:
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
            waiting.clear()

    # Not by its path, which pyarrow would encode as UTF-8.
    with path.open("wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield sink
        flush()


_SINKS = {".csv": _csv, ".parquet": _parquet}
