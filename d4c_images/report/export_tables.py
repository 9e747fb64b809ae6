"""Writes the report's tables into a folder, each as CSV and as Parquet. Writes no list of images: `export` does that.

The tables grow with hosts, not with images. Memory is constant, for any number of hosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from d4c_images.errors import D4CError, of_a_named_path
from d4c_images.export import files
from d4c_images.ledger.file.reader import Reader, Row
from d4c_images.ledger.questions import tables


def write_tables(ledger: Reader, folder: Path) -> Iterator[Path]:
    """Write every table into `folder`, which is created if missing; yields each file once it is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for table in tables.SMALL:
            yield from _write(folder, table, tables.small_steps(ledger, table))
    except OSError as error:
        raise of_a_named_path(D4CError, f"cannot write the tables into {folder}: {error.strerror or error}", error) from error


def _write(folder: Path, table: tables.Table, steps: Iterable[Sequence[Row]]) -> list[Path]:
    finals = [folder / f"{table.name}.csv", folder / f"{table.name}.parquet"]
    files.write(table, steps, finals)
    return finals
