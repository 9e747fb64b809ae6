"""Writes the report's tables as CSV and Parquet files. Constant memory, whatever the number of images.

Every file is written beside its place and renamed, so a reader sees the old one or the new one, whole.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from d4c_images.errors import D4CError
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


def _write(folder: Path, table: tables.Table, steps: Iterable[list[Row]]) -> list[Path]:
    """Both files from one walk over the rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string()}
    schema = pa.schema([(name, types[kind]) for name, kind in table.columns.items()])
    finals = [folder / f"{table.name}.csv", folder / f"{table.name}.parquet"]
    drafts = [folder / f".{path.name}.{os.getpid()}.part" for path in finals]
    try:
        with (
            drafts[0].open("w", newline="", encoding="utf-8") as csv_file,
            pq.ParquetWriter(drafts[1], schema, compression="zstd") as parquet,
        ):
            lines = csv.writer(csv_file)
            lines.writerow(table.columns)
            for rows in steps:
                lines.writerows(rows)
                columns = list(zip(*rows, strict=True)) or [()] * len(schema)
                arrays = [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
                parquet.write_table(pa.Table.from_arrays(arrays, schema=schema))
        for draft, final in zip(drafts, finals, strict=True):
            draft.replace(final)
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)
    return finals
