"""One table of a download: how it is written, by meta.xml and by its first lines, and its bytes as a stream. Finds no table."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from d4c_images.errors import SourceError
from d4c_images.sources.container import MEMBER_READ_BYTES, Container, as_utf8, reading, some
from d4c_images.sources.encoding import decoded, encoding_of, first_line, line_end_of
from d4c_images.sources.header import MAX_HEADER_BYTES, Columns, read_header
from d4c_images.sources.layout import ASSOCIATED, LINK_TERMS, OCCURRENCE_TERMS, Layout, by_header, by_meta, header_cells, term
from d4c_images.sources.lines import Block, blocks
from d4c_images.sources.metafile import TableMeta
from d4c_images.sources.rows import Record, records

REQUIRED = {"multimedia": ("gbifID", "identifier"), "occurrence": ("gbifID",)}
"""GBIF's own tables, with their required columns."""


@dataclass(frozen=True, slots=True)
class Source:
    """One table of a download. Picklable, so that another process can read it; reopened for each reading."""

    name: str  # for messages and the ledger: the path as given, with the member of a zip
    kind: str  # multimedia or occurrence: GBIF's own; media, associated (media of an occurrence table) or labels: a publisher's
    path: Path
    member: str | None  # inside a zip
    size_bytes: int  # of the unpacked stream, as UTF-8
    fingerprint: str  # the same for the same content, wherever the file is
    columns: Columns
    header_bytes: int
    layout: Layout | None = None  # of a publisher's table
    encoding: str = "utf-8"  # of GBIF's table, with its line end: "\n" unless somebody has re-saved it
    line_end: str = "\n"
    dataset: str = ""  # the dataset that scopes a publisher's record ids

    def blocks(self, offset: int = 0, row_no: int = 1) -> Iterator[Block]:
        """The table's lines after the header, or from where an earlier reading stopped.

        `offset` counts bytes of the unpacked stream; in a zip, everything before it is inflated and discarded. Raises `SourceError`
        if the stream turns out to be damaged, after every block before the damage.
        """
        offset = max(offset, self.header_bytes)
        with self._opened(offset) as stream:
            yield from blocks(stream, offset, row_no)

    def records(self, offset: int = 0, row_no: int = 1) -> Iterator[Record]:
        """The rows of a publisher's table, likewise."""
        assert self.layout is not None
        offset = max(offset, self.header_bytes)
        with self._opened(offset) as stream:
            yield from records(stream, self.layout, offset, row_no)

    @contextmanager
    def _opened(self, offset: int) -> Iterator[IO[bytes]]:
        with reading(self.path, self.member, self.name) as stream:
            how = self.layout or self
            is_utf8 = how.encoding == "utf-8" and how.line_end == "\n"
            if is_utf8 and self.member is None:
                stream.seek(offset)
                yield stream
                return
            is_plain = is_utf8 and self.layout is None
            text: IO[bytes] = stream if is_plain else as_utf8(stream, how.encoding, how.line_end)
            left = offset
            while left > 0 and (data := text.read(min(left, MEMBER_READ_BYTES))):
                left -= len(data)
            yield text


def header_of(box: Container, name: str) -> tuple[str, str, str]:
    """A table's first line without its end, its encoding, and its line end."""
    start = box.start(name, MAX_HEADER_BYTES)
    encoding = encoding_of(start)
    text = decoded(start, encoding)
    return first_line(text), encoding, line_end_of(text)


def gbif_source(box: Container, name: str, kind: str) -> Source:
    """One of GBIF's own tables; `kind` says which. Raises `SourceError` if columns are missing."""
    path, member = box.where(name)
    title = box.title(name)
    size_bytes, fingerprint = box.size_and_print(name)
    _, encoding, line_end = header_of(box, name)
    is_plain = encoding == "utf-8" and line_end == "\n"
    if not is_plain:
        fingerprint = f"{fingerprint}:{encoding}:{line_end.encode().hex()}"
    with reading(path, member, title) as stream:
        text = stream if is_plain else as_utf8(stream, encoding, line_end)
        header = text.readline(MAX_HEADER_BYTES)
        columns = read_header(header, REQUIRED[kind], title)
        if not is_plain:
            size_bytes = len(header) + _size_of(text)
    return Source(title, kind, path, member, size_bytes, fingerprint, columns, len(header), None, encoding, line_end)


def source_by_meta(
    box: Container, base: str, table: TableMeta, tables: Sequence[TableMeta], kind: str, dataset: str
) -> list[Source]:
    """The files of one table as described by meta.xml, corrected by how each begins. The first of `tables` is the core."""
    sources = []
    for location in table.locations:
        name = _member(box, base, location)
        start = box.start(name, MAX_HEADER_BYTES)
        _check_encoding(start, table.encoding, box.title(name))
        table, first = _as_written(table, start)
        if len(start) == MAX_HEADER_BYTES:
            first.pop()
        places = (table.header_lines - 1, table.header_lines)
        header, row = (first[at].strip("\r") if 0 <= at < len(first) else None for at in places)
        if row and table.quote and row.count(table.quote) % 2:
            row = None  # it continues on another line
        layout = by_meta(table, tables[0], header, row, box.title(name))
        sources.append(layout_source(box, name, kind, layout, dataset))
    return sources


def _as_written(table: TableMeta, start: bytes) -> tuple[TableMeta, list[str]]:
    """meta.xml's description of a table, corrected by how the table begins; and its first lines."""
    encoding = table.encoding
    if encoding == "utf-16" and (seen := encoding_of(start)) != "utf-8":
        encoding = seen  # if there is no byte order mark
    text = decoded(start, encoding)
    line_end = line_end_of(text, table.line_end, has_header=table.header_lines > 0)
    lines = (text.replace("\r", "\n") if line_end == "\r" else text).split("\n")
    header_lines = table.header_lines
    if header_lines == 0 and table.terms:
        cells = list(map(term, header_cells(lines[0], table.delimiter, table.quote)))
        named = sum(cells[at : at + 1] == [term(one)] for at, one in table.terms.items())
        header_lines = int(2 * named >= len(table.terms))  # ignoreHeaderLines is missing, but the header is there
    return replace(table, encoding=encoding, line_end=line_end, header_lines=header_lines), lines


def sources_by_header(box: Container, name: str, dataset: str) -> list[Source]:
    """A media table without meta.xml, or an occurrence table that lists media; one table may be both."""
    layout = layout_by_header(box, name)
    kinds = ["media"] if layout.has("identifier", *LINK_TERMS) else []
    if layout.has("associatedmedia"):
        kinds.append(ASSOCIATED)
    if not kinds:
        raise SourceError(f"{box.title(name)}: {_why_no_urls(box, name, layout)}")
    return [layout_source(box, name, kind, layout, dataset) for kind in kinds]


def _why_no_urls(box: Container, name: str, layout: Layout) -> str:
    if not layout.has(*OCCURRENCE_TERMS):
        header, _, _ = header_of(box, name)
        return f"the header has no column identifier, accessURI or associatedMedia (it begins: {header[:80]!r})"
    if layout.ids_are_gbif and layout.has("datasetkey"):
        beside = box.path.with_name("multimedia.txt")
        at = f" ({beside})" if box.is_file and beside.is_file() else ""
        return (
            "this is GBIF's occurrence table, which has no image URLs: pass the zip file or folder of the download, "
            f"or its multimedia.txt{at}"
        )
    return (
        "this is an occurrence table without a column associatedMedia (an identifier here is the record's): pass the media table "
        "or the whole archive; if a column holds image URLs, rename it to accessURI"
    )


def layout_by_header(box: Container, name: str) -> Layout:
    """How a table without meta.xml is written. Raises `SourceError` if its header has no known name."""
    title = box.title(name)
    header, encoding, line_end = header_of(box, name)
    layout = by_header(header, encoding, title, line_end) if "\x00" not in header else None
    if layout is None:
        first_line = box.start(name, MAX_HEADER_BYTES).partition(b"\n")[0]
        read_header(first_line, REQUIRED["multimedia"], title)  # raises, saying what it might be
        raise SourceError(f"{title}: the header has no media column (it begins: {header[:80]!r})")
    return layout


def layout_source(box: Container, name: str, kind: str, layout: Layout, dataset: str) -> Source:
    """A publisher's table with a known layout."""
    path, member = box.where(name)
    size_bytes, fingerprint = box.size_and_print(name)
    layout = replace(layout, may_be_short=kind == "labels")
    how = hashlib.sha256(repr((layout, dataset)).encode(errors="surrogatepass")).hexdigest()[:16]
    title = box.title(name)
    fingerprint = f"{fingerprint}:{how}"
    columns = Columns(layout.width, {})
    source = Source(title, kind, path, member, size_bytes, fingerprint, columns, 0, layout, dataset=dataset)
    with source._opened(0) as stream:
        header_bytes = len(codecs.BOM_UTF8) if layout.header_lines == 0 and box.start(name, 3) == codecs.BOM_UTF8 else 0
        for _ in range(layout.header_lines):
            header_bytes += len(stream.readline(MAX_HEADER_BYTES))
    if layout.encoding != "utf-8" or layout.line_end != "\n":
        with reading(path, member, title) as stream:
            size_bytes = _size_of(as_utf8(stream, layout.encoding, layout.line_end))
    return replace(source, size_bytes=size_bytes, header_bytes=header_bytes)


def _member(box: Container, base: str, location: str) -> str:
    """The file that meta.xml refers to."""
    wanted = base + location.removeprefix("./")
    if wanted in box.names:
        return wanted
    alike = [name for name in box.names if name.lower() == wanted.lower()]
    if len(alike) == 1:
        return alike[0]
    here = [name for name in box.names if name.startswith(base)]
    raise SourceError(f"{box.path}: meta.xml names {location}, which is missing (found: {some(here)})")


def _check_encoding(start: bytes, encoding: str, title: str) -> None:
    has_mark = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    is_wide = encoding.startswith(("utf-16", "utf-32"))
    if has_mark != is_wide and (has_mark or (start and b"\x00" not in start[:256])):
        told = encoding.upper()
        raise SourceError(f"{title}: meta.xml declares the encoding {told}, but it {'is UTF-16' if has_mark else 'has another'}")


def _size_of(text: IO[bytes]) -> int:
    """The rest of a stream, in bytes."""
    size_bytes = 0
    while data := text.read(MEMBER_READ_BYTES):
        size_bytes += len(data)
    return size_bytes
