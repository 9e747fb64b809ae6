"""Writes the report's tables into a folder, each as CSV and as Parquet. Constant memory, whatever the number of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from d4c_images.errors import D4CError
from d4c_images.export import files
from d4c_images.ledger import tables
from d4c_images.ledger.reader import Reader, Row


def write_tables(ledger: Reader, folder: Path) -> Iterator[Path]:
    """Write every table into `folder`, which is made where it is missing; yields each file when it is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for table in tables.SMALL:
            yield from _write(folder, table, [ledger.rows(table.sql)])
        yield from _write(folder, tables.LICENCES, [tables.licence_counts(ledger)])
        yield from _write(folder, tables.IMAGES, tables.image_steps(ledger))
    except OSError as error:
        raise D4CError(f"cannot write the tables into {folder}: {error.strerror or error}") from error


def _write(folder: Path, table: tables.Table, steps: Iterable[Sequence[Row]]) -> list[Path]:
    finals = [folder / f"{table.name}.csv", folder / f"{table.name}.parquet"]
    files.write(table, steps, finals)
    return finals
