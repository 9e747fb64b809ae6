"""Identifier cells of any table or list of URLs: for looking at, not for ingest. Judges no row and no URL.

`init` reads archives by their own rules; this reads what people have at hand: a GBIF download, one table of a publisher's archive,
a spreadsheet saved as text, a list with one URL a line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from d4c_images.errors import SourceError, UsageError
from d4c_images.sources.archive import open_source
from d4c_images.sources.header import MAX_HEADER_BYTES

MAX_CELL_CHARACTERS = 1 << 20
NAMES = ("identifier", "accessuri", "bestqualityaccessuri", "goodqualityaccessuri", "mediaurl", "url")
"""Columns that hold the URL, the best first, without the prefix or address of their vocabulary."""
EVERY_NAME = (*NAMES, "thumbnailaccessuri", "thumbnailurl")
RECORDS = ("gbifid", "coreid", "record", "id", "occurrenceid")


class Cell(NamedTuple):
    """One identifier."""

    row_no: int  # 1 = the first row after the header
    record: str  # the id in the table, "" where it has none
    text: str
    type: str  # the type of media that the table says, "" where it says none


def identifier_cells(path: Path, every: bool = False) -> Iterator[Cell]:
    """The identifiers of a GBIF download, of a table with a header (tab, comma or semicolon), or of a list with one URL a line.

    With `every`, a row gives a cell for each of its columns of URLs, thumbnails included, and not only for the best one. Raises
    `UsageError` or `SourceError`.
    """
    if path.is_dir() or path.suffix.lower() == ".zip":
        source = open_source(path)
        lines = (line for block in source.blocks() for line in block.text()[0].split("\n"))
        for row_no, line in enumerate(lines, 1):
            yield from _cells(row_no, line.split("\t"), source.columns.index, every)
        return
    if not path.exists():
        raise UsageError(f"no such file: {path}")
    try:
        yield from _of_file(path, every)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    except csv.Error as error:
        raise SourceError(f"{path}: {error}") from None


def _of_file(path: Path, every: bool) -> Iterator[Cell]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        header = lines.readline(MAX_HEADER_BYTES)
        separator = max("\t,;", key=header.count)
        names = header.split(separator) if separator == "\t" else next(csv.reader([header], delimiter=separator), [])
        index: dict[str, int] = {}
        for at, name in enumerate(names):
            index.setdefault(re.split(r"[/:#]", name.strip().strip('"'))[-1].lower(), at)
        if not index.keys() & set(NAMES):
            if not re.search(r"https?://|^//", header):
                raise SourceError(f"{path}: the header names no column of URLs ({', '.join(NAMES)}; it begins: {header[:80]!r})")
            lines.seek(0)
            yield from (Cell(row_no, "", line.rstrip("\r\n"), "") for row_no, line in enumerate(lines, 1) if line.strip())
            return
        csv.field_size_limit(MAX_CELL_CHARACTERS)
        rows: Iterator[Sequence[str]]
        tabs = (line.rstrip("\r\n").split("\t") for line in lines)
        rows = tabs if separator == "\t" else csv.reader(lines, delimiter=separator)
        for row_no, row in enumerate(rows, 1):
            yield from _cells(row_no, row, index, every)


def _cells(row_no: int, row: Sequence[str], index: dict[str, int], every: bool) -> Iterator[Cell]:
    def values(names: Sequence[str]) -> list[str]:
        cells = (row[index[name]] for name in names if name in index and index[name] < len(row))
        return [cell for cell in cells if cell.strip()]

    record, kind = (next(iter(values(names)), "") for names in (RECORDS, ("type",)))
    urls = values(EVERY_NAME if every else NAMES)
    for url in dict.fromkeys(urls if every else urls[:1] or [""]):
        yield Cell(row_no, record, url, kind)
