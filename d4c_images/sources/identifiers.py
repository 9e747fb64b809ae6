"""The URLs of any table or list, to see what the rules make of them. Joins no rows and judges no URL.

Reads what `init` reads, and other inputs that people have at hand: a table with URLs but without ids, a list with one URL per line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from d4c_images.errors import SourceError
from d4c_images.identity import split_cell
from d4c_images.sources.archive import open_media
from d4c_images.sources.header import MAX_HEADER_BYTES
from d4c_images.sources.layout import LINK_TERMS, term
from d4c_images.sources.media import reason_of_kind
from d4c_images.sources.media_table import MediaReader
from d4c_images.sources.source import Source

MAX_CELL_CHARACTERS = 1 << 20
URL_COLUMNS = ("accessuri", "identifier", *LINK_TERMS[1:], "url")
"""Columns with a URL, best first, spelled as by `layout.term`."""
RECORD_COLUMNS = ("gbifid", "coreid", "record", "id", "occurrenceid")


class IdentifierCell(NamedTuple):
    """One URL of a table, or the reason why a row has none."""

    row_no: int  # 1 = the first row after the header
    record: str  # the id in the table, "" if it has none
    text: str
    reason: str | None = None


def identifier_cells(path: Path, every: bool = False) -> Iterator[IdentifierCell]:
    """The URLs of a download, an archive, a table or a list: the best one of each row, or each one.

    Raises `UsageError` if there is no such file, `SourceError` if it contains no URLs.
    """
    try:
        sources = open_media(path)
    except SourceError:
        if not path.is_file() or not _names_urls(path):
            raise
        yield from _of_file(path, every)
        return
    for source in sources:
        yield from _of_gbif(source) if source.layout is None else _of_publisher(source, every)


def _of_gbif(source: Source) -> Iterator[IdentifierCell]:
    wanted = {name: at for name, at in source.columns.index.items() if name in ("gbifid", "identifier", "type", "format")}
    lines = (line for block in source.blocks() for line in block.text().split("\n"))
    for row_no, line in enumerate(lines, 1):
        row = line.split("\t")
        cells = {name: row[at] for name, at in wanted.items() if at < len(row)}
        yield from _cells(row_no, cells, ("identifier",), every=False)


def _of_publisher(source: Source, every: bool) -> Iterator[IdentifierCell]:
    assert source.layout is not None
    reader = MediaReader(source.layout, source.kind, source.dataset)
    for record in source.records():
        row = reader.row(record)
        if isinstance(row, str):
            yield IdentifierCell(record.row_no, "", "", row)
            continue
        name = str(row.gbif_id) if row.name is None else row.name.record_id
        for statement in row.statements:
            urls = dict.fromkeys(variant.url for variant in statement.variants)
            for url in list(urls) if every else list(urls)[:1]:
                yield IdentifierCell(record.row_no, name, url)


def _names_urls(path: Path) -> bool:
    header = _header(path)
    return not {term(cell) for cell in header[1]}.isdisjoint(URL_COLUMNS) or _is_url(header[0])


def _header(path: Path) -> tuple[str, list[str]]:
    """The first line, and its cells."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        line = lines.readline(MAX_HEADER_BYTES).rstrip("\r\n")
    separator = _separator(line)
    return line, line.split("\t") if separator == "\t" else next(csv.reader([line], delimiter=separator), [])


def _separator(header: str) -> str:
    return max("\t,;", key=header.count)


def _is_url(line: str) -> bool:
    return line.lstrip().lower().startswith(("http://", "https://", "ftp://", "//"))


def _of_file(path: Path, every: bool) -> Iterator[IdentifierCell]:
    first, names = _header(path)
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        if _is_url(first):
            yield from (IdentifierCell(row_no, "", line.strip()) for row_no, line in enumerate(lines, 1) if line.strip())
            return
        csv.field_size_limit(MAX_CELL_CHARACTERS)
        separator, terms = _separator(first), list(map(term, names))
        tabs = (line.rstrip("\r\n").split("\t") for line in lines)
        rows = tabs if separator == "\t" else csv.reader(lines, delimiter=separator)
        try:
            next(rows)
            for row_no, row in enumerate(rows, 1):
                cells: dict[str, str] = {}
                for name, cell in zip(terms, row, strict=False):
                    cells.setdefault(name, cell)
                yield from _cells(row_no, cells, URL_COLUMNS, every)
        except csv.Error as error:
            raise SourceError(f"{path}: {error}") from None


def _cells(row_no: int, cells: dict[str, str], names: Sequence[str], every: bool) -> Iterator[IdentifierCell]:
    """The URLs of a row, from cells by column name."""
    record = next((cells[name] for name in RECORD_COLUMNS if cells.get(name)), "")
    texts = list(dict.fromkeys(cells[name] for name in names if cells.get(name, "").strip()))
    reason = reason_of_kind(cells.get("type", ""), cells.get("format", ""), texts[0] if texts else "")
    if reason is not None:
        yield IdentifierCell(row_no, record, "", reason)
        return
    for text in texts if every else texts[:1]:
        yield from (IdentifierCell(row_no, record, piece) for piece in split_cell(text))
