"""The ledger as pandas frames, for notebooks. Reads only, and imports pandas on first use.

import d4c_images
with d4c_images.open_ledger("ledger.sqlite") as ledger:
    ledger.frame("SELECT host, count(*) AS n FROM images WHERE status = 'success' GROUP BY host")
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, overload

from d4c_images.ledger.file.reader import Params, Reader, Row, open_reader
from d4c_images.ledger.questions import tables

if TYPE_CHECKING:
    import pandas as pd

DTYPES = {"integer": "Int64", "real": "Float64", "text": "string", "moment": "Int64"}  # moments as in the ledger: unix time


class LedgerFrames:
    """A ledger opened for reading. Integers with gaps stay integers (pandas' nullable types)."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @overload
    def frame(self, sql: str, params: Params = (), chunksize: None = None) -> pd.DataFrame: ...
    @overload
    def frame(self, sql: str, params: Params = (), *, chunksize: int) -> Iterator[pd.DataFrame]: ...
    def frame(self, sql: str, params: Params = (), chunksize: int | None = None) -> pd.DataFrame | Iterator[pd.DataFrame]:
        """The result of any SELECT; with `chunksize`, as frames of at most that many rows, for results that do not fit into memory.
        `params` are bound to the statement: a sequence for `?`, a mapping for `:name`.

        A chunked result keeps one read open: read it to its end, or close it, while a download runs. Raises `LedgerError` if
        SQLite refuses the statement.
        """
        if chunksize is None:
            names, rows = self._reader.table(sql, params)
            return _guessed(names, rows)
        return (_guessed(names, rows) for names, rows in self._reader.stream(sql, params, chunksize))

    def images(self, chunksize: int = tables.TABLE_STEP_ROWS) -> Iterator[pd.DataFrame]:
        """The view `images`, a frame of at most `chunksize` rows at a time; safe while a download is running."""
        return (_typed(tables.IMAGES, rows) for rows in tables.image_steps(self._reader, chunksize))

    def records_by_status(self) -> pd.DataFrame:
        """`status, n_records`: GBIF records by the state of their images."""
        return _typed(*tables.small(self._reader, "records_by_status"))

    def images_by_status(self) -> pd.DataFrame:
        """`status, n_images, n_final, size_bytes`."""
        return _typed(*tables.small(self._reader, "images_by_status"))

    def failures_by_type(self) -> pd.DataFrame:
        """`error_type, n_images, n_final, n_hosts`, most frequent first."""
        return _typed(*tables.small(self._reader, "failures_by_type"))

    def failures_by_host(self) -> pd.DataFrame:
        """`host, status, error_type, n_images, n_final`, most frequent first."""
        return _typed(*tables.small(self._reader, "failures_by_host"))

    def non_image_answers(self) -> pd.DataFrame:
        """`host, error_type, n_images, sample`: what hosts send instead of images."""
        return _typed(*tables.small(self._reader, "non_image_answers"))

    def hosts(self) -> pd.DataFrame:
        """The view `hosts`."""
        return _typed(*tables.small(self._reader, "hosts"))

    def rejected_rows(self) -> pd.DataFrame:
        """`reason, n_rows`: rejected rows of the archive."""
        return _typed(*tables.small(self._reader, "rejected_rows"))

    def licences(self) -> pd.DataFrame:
        """`license, n_links`, most frequent first. Reads every link: minutes for 10^8 of them."""
        return _typed(tables.LICENCES, tables.licence_counts(self._reader))

    def close(self) -> None:
        """Close the ledger; the end of a `with` block does so, too."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_frames(path: str | Path) -> LedgerFrames:
    """Open a ledger for reading. Raises `UsageError` if there is none, `LedgerError` if the file is not one of ours."""
    return LedgerFrames(open_reader(Path(path)))


def _guessed(names: Sequence[str], rows: Sequence[Row]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(names), dtype=object).convert_dtypes()


def _typed(table: tables.Table, rows: Sequence[Row]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(table.columns), dtype=object)
    return frame.astype({name: DTYPES[kind] for name, kind in table.columns.items()})
