"""A second connection to the ledger, in a thread of its own, so that two reads take place at the same time. Has no queries."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from d4c_images.ledger.file.reader import Params, Reader, Row


class SecondReader:
    """A context manager. It may see a later state of the ledger than the first connection."""

    def __init__(self, first: Reader) -> None:
        self._reader = first.another()
        self._thread = ThreadPoolExecutor(1, "second reader")

    def begin(self, sql: str, params: Params = ()) -> Callable[[], list[Row]]:
        """Begin to read all rows of a small result; what is returned waits for them, or raises `LedgerError`."""
        return self._thread.submit(self._reader.rows, sql, params).result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.submit(self._reader.close)  # SQLite wants a connection closed by the thread that opened it
        self._thread.shutdown()
