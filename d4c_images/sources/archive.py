"""Finds the tables of a download (zip, folder or bare file) and opens them as byte streams. Unpacks nothing to disk."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from d4c_images.errors import SourceError
from d4c_images.sources.container import MEMBER_READ_BYTES, Container, as_utf8, reading, some
from d4c_images.sources.encoding import decoded, encoding_of, first_line, line_end_of
from d4c_images.sources.formats import refuse_other_formats
from d4c_images.sources.header import MAX_HEADER_BYTES, Columns, read_header
from d4c_images.sources.layout import ASSOCIATED, LINK_TERMS, OCCURRENCE_TERMS, Layout, by_header, by_meta, header_cells, term
from d4c_images.sources.lines import Block, blocks
from d4c_images.sources.metafile import MAX_META_BYTES, TableMeta, dataset_of, last_part, read_meta
from d4c_images.sources.rows import Record, records

REQUIRED = {"multimedia": ("gbifID", "identifier"), "occurrence": ("gbifID",)}
"""GBIF's own tables, each with the columns that it must have."""
MEDIA_KINDS = ("Multimedia", "Image", "Document", "Media", "Audubon")
"""The last words of the row types that hold media (rs.gbif.org/terms/1.0, rs.tdwg.org/ac/terms, eol.org/schema/media)."""
TABLE_NAME = re.compile(r"\.(?:txt|csv|tsv|tab)$", re.IGNORECASE)
MEDIA_NAME = re.compile(r"(?:^|/)[^/]*(?:media|image|audubon|photo)[^/]*$", re.IGNORECASE)
OCCURRENCE_NAME = re.compile(r"(?:[^/]+/)?occurrences?\.(?:txt|csv|tsv|tab)", re.IGNORECASE)
VERBATIM_NAMES = re.compile(r"(?:.*/)?verbatim/(?:multimedia|audubon|image|media|document)s?\.txt")
AS_RECEIVED = re.compile(r"(?:^|/)verbatim(?:/|\.txt$)")
"""What a download of GBIF has from the publishers as they sent it, beside what GBIF has made of it."""


@dataclass(frozen=True, slots=True)
class Source:
    """One table of a download. Pickles, so that another process can read it; opened anew for each reading."""

    name: str  # for messages and the ledger: the path as given, with the member of a zip
    kind: str  # multimedia or occurrence: GBIF's own; media, associated (media of an occurrence table) or labels: a publisher's
    path: Path
    member: str | None  # inside a zip
    size_bytes: int  # of the unpacked stream, as UTF-8
    fingerprint: str  # the same for the same content, wherever the file lies
    columns: Columns
    header_bytes: int
    layout: Layout | None = None  # of a publisher's table
    encoding: str = "utf-8"  # of GBIF's table, and what ends its lines: "\n" but where somebody has saved it anew
    line_end: str = "\n"
    dataset: str = ""  # whose records a publisher's table tells of

    def blocks(self, offset: int = 0, row_no: int = 1) -> Iterator[Block]:
        """The table's lines after the header, or from a place where an earlier reading has stopped.

        `offset` counts bytes of the unpacked stream; in a zip, what stands before it is inflated and thrown away. Raises
        `SourceError` where the stream turns out to be damaged, after every block before the damage.
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


def open_source(path: Path, member: str = "multimedia") -> Source:
    """Find GBIF's own table `member` (`multimedia` or `occurrence`) in its zip or an unpacked download; a bare file is one.

    Raises `UsageError` where there is no such file, `SourceError` where it cannot be read as a GBIF download.
    """
    box = _box(Path(path))
    file_name = f"{member}.txt"
    if box.is_file:
        if member == "multimedia":
            return _gbif_source(box, "", member)
        beside = box.path.with_name(file_name)
        if not beside.is_file():
            raise SourceError(f"{box.path}: there is no {file_name} beside it")
        return _gbif_source(Container(beside), "", member)
    name = _find(box, file_name)
    if name is None:
        what = "the zip file" if box.is_zip else "the folder"
        raise SourceError(f"{box.path}: {what} has no {file_name} (it has {some(box.names)}){_hint(box)}")
    return _gbif_source(box, name, member)


def open_media(path: Path, *, verbatim: bool = False, dataset: str | None = None) -> list[Source]:
    """All tables of media in a download of GBIF, in a publisher's archive, or in a bare table, in the order they are to be read.

    `verbatim` adds the publishers' own rows that a GBIF download carries. `dataset` names whose records these are, where ids are
    no more than numbers; by default the archive's metadata or its file name does. Raises as `open_source` does, and `UsageError`
    where the file is of a format that is not read.
    """
    box = _box(Path(path))
    refuse_other_formats(box)
    if box.is_file:
        return _media_of_file(box, dataset, verbatim=verbatim)
    gbif = _find_gbif(box)
    if gbif is not None:
        return [_gbif_source(box, gbif, "multimedia"), *(_verbatim(box, gbif) if verbatim else [])]
    if verbatim:
        raise SourceError(f"{box.path}: --verbatim reads downloads of GBIF, and this is none")
    found = _find_meta(box)
    if found is None:
        return _media_without_meta(box, dataset or _name_of(box.path)) or [open_source(path)]  # which says what is missing
    base, tables = found
    sources = _media_by_meta(box, base, tables, dataset or _dataset(box, base))
    if not sources:
        raise SourceError(f"{box.path}: {_why_no_media(tables)}")
    return sources


def open_labels(path: Path, *, dataset: str | None = None) -> Source:
    """The table that names the records of a download: GBIF's occurrence.txt, the core of a publisher's archive, or, where there is
    no meta.xml, a table named like occurrences."""
    box = _box(Path(path))
    if box.is_file and _is_gbif(box, ""):
        return open_source(path, member="occurrence")
    gbif = None if box.is_file else _find_gbif(box)
    if gbif is not None:
        beside = f"{gbif.removesuffix('multimedia.txt')}occurrence.txt"
        return _gbif_source(box, beside, "occurrence") if box.has(beside) else open_source(path, member="occurrence")
    folder = Container(box.path.parent) if box.is_file else box
    found = _find_meta(folder) if not box.is_file or folder.has("meta.xml") else None
    if found is not None:
        base, tables = found
        return _source_by_meta(folder, base, tables[0], tables, "labels", dataset or _dataset(folder, base))[0]
    names = [name for name in folder.names if OCCURRENCE_NAME.fullmatch(name)]
    if not names:
        return open_source(path, member="occurrence")  # which says what is missing
    layout = _layout_by_header(folder, names[0])
    return _layout_source(folder, names[0], "labels", layout, dataset or _name_of(box.path))


def _box(path: Path) -> Container:
    """What the path names; of a folder with nothing but a zip to be read, that zip."""
    box = Container(path)
    if box.is_file or box.is_zip or box.has("multimedia.txt") or box.has("meta.xml"):
        return box
    zips = [name for name in box.names if name.lower().endswith(".zip")]
    has_tables = any(name.rpartition("/")[2] in ("multimedia.txt", "meta.xml") for name in box.names)
    if not zips or has_tables or _media_without_meta(box, ""):
        return box
    if len(zips) > 1:
        raise SourceError(f"{path}: there are several zip files in it ({some(zips)}): name one of them")
    return Container(path / zips[0])


def _find(box: Container, file_name: str) -> str | None:
    """The table of that name that lies nearest to the root, where there is one such; none of those as GBIF has received them."""
    if not box.is_zip and box.has(file_name):
        return file_name
    found = [name for name in box.names if name.rpartition("/")[2] == file_name and not AS_RECEIVED.search(name)]
    level = min((name.count("/") for name in found), default=0)
    nearest = [name for name in found if name.count("/") == level]
    return nearest[0] if len(nearest) == 1 else None


def _find_gbif(box: Container) -> str | None:
    """GBIF's own table of media, wherever in the folder or zip it lies."""
    name = _find(box, "multimedia.txt")
    return name if name is not None and _is_gbif(box, name) else None


def _is_gbif(box: Container, name: str) -> bool:
    header, _, _ = _header(box, name)
    try:
        columns = read_header(header.encode(), REQUIRED["multimedia"], "")
    except SourceError:
        return False
    return OCCURRENCE_TERMS.isdisjoint(columns.index)


def _header(box: Container, name: str) -> tuple[str, str, str]:
    """The first line of a table without its end, the table's encoding, and what ends its lines."""
    start = box.start(name, MAX_HEADER_BYTES)
    encoding = encoding_of(start)
    text = decoded(start, encoding)
    return first_line(text), encoding, line_end_of(text)


def _hint(box: Container) -> str:
    if inner := [name for name in box.names if name.lower().endswith(".zip")]:
        return f": unpack {inner[0]} and name that"
    return ": is it a Darwin Core Archive?" if box.is_zip else ""


def _gbif_source(box: Container, name: str, kind: str) -> Source:
    path, member = box.where(name)
    title = box.title(name)
    size_bytes, fingerprint = box.size_and_print(name)
    _, encoding, line_end = _header(box, name)
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


def _verbatim(box: Container, gbif: str) -> list[Source]:
    base = gbif.rpartition("/")[0]
    names = [name for name in box.names if VERBATIM_NAMES.fullmatch(name) and name.startswith(base)]
    if not names:
        raise SourceError(f"{box.path}: it has no verbatim/multimedia.txt or the like: GBIF adds such only on request")
    return [source for name in sorted(names) for source in _sources_by_header(box, name, "")]


def _media_of_file(box: Container, dataset: str | None, *, verbatim: bool) -> list[Source]:
    if verbatim:
        raise SourceError(f"{box.path}: --verbatim needs the whole download of GBIF, as a zip or a folder")
    if _is_gbif(box, ""):
        return [_gbif_source(box, "", "multimedia")]
    folder = Container(box.path.parent)
    if (folder.path / "meta.xml").is_file():
        if box.path.name == "meta.xml":
            return open_media(folder.path, dataset=dataset)
        tables = read_meta(folder.start("meta.xml", MAX_META_BYTES + 1), folder.title("meta.xml"))
        sources = _media_by_meta(folder, "", tables, dataset or _dataset(folder, ""))
        if mine := [source for source in sources if source.path.name == box.path.name]:
            return mine
    return _sources_by_header(box, "", dataset or _name_of(box.path))


def _media_without_meta(box: Container, dataset: str) -> list[Source]:
    """Tables of a folder or zip that has no meta.xml: those whose header names columns of media."""
    sources: list[Source] = []
    for name in (name for name in box.names if TABLE_NAME.search(name) and not AS_RECEIVED.search(name)):
        try:
            found = _sources_by_header(box, name, dataset)
        except SourceError:
            continue
        for source in found:
            layout = source.layout
            assert layout is not None
            if source.kind == ASSOCIATED or layout.has(*LINK_TERMS) or MEDIA_NAME.search(name):
                sources.append(source)
    return sorted(sources, key=lambda source: (source.kind == ASSOCIATED, source.name))


def _find_meta(box: Container) -> tuple[str, list[TableMeta]] | None:
    """The folder of the meta.xml nearest to the root ("" or "name/"), and the tables that it describes."""
    found = [name for name in box.names if name.rpartition("/")[2] == "meta.xml"]
    if not found:
        return None
    level = min(name.count("/") for name in found)
    nearest = [name for name in found if name.count("/") == level]
    if len(nearest) > 1:
        raise SourceError(f"{box.path}: there are several archives in it ({some(nearest)}): name one of them")
    return nearest[0].removesuffix("meta.xml"), read_meta(box.start(nearest[0], MAX_META_BYTES + 1), box.title(nearest[0]))


def _media_by_meta(box: Container, base: str, tables: Sequence[TableMeta], dataset: str) -> list[Source]:
    tables_read = [table for table in tables if table.is_core or not all(map(AS_RECEIVED.search, table.locations))]
    sources = []
    for table in tables_read:
        terms = _terms(table)
        if not terms.isdisjoint(LINK_TERMS) or (_holds_media(table) and "identifier" in terms):
            sources += _source_by_meta(box, base, table, tables, "media", dataset)
    for table in tables_read:
        if "associatedmedia" in _terms(table):
            sources += _source_by_meta(box, base, table, tables, ASSOCIATED, dataset)
    return sources


def _terms(table: TableMeta) -> set[str]:
    return {term(one) for one in (*table.terms.values(), *table.defaults)}


def _holds_media(table: TableMeta) -> bool:
    """Whether the row type says so, or where there is none, the name of the file."""
    if table.kind:
        return table.is_a(*MEDIA_KINDS)
    return not table.is_core and all(map(MEDIA_NAME.search, table.locations))


def _why_no_media(tables: Sequence[TableMeta]) -> str:
    """What an archive has in place of URLs of images, in one line."""
    media = [table for table in tables if _holds_media(table)]
    if not media:
        kinds = ", ".join(dict.fromkeys(table.kind or "one without a rowType" for table in tables))
        return f"its meta.xml names no table of media (it has {kinds}), and none lists associatedMedia"
    table = media[0]
    columns = [last_part(one) for one in (*table.terms.values(), *table.defaults)]
    has = f"the columns {', '.join(columns)}" if columns else "no columns"
    return (
        f"its table {table.kind or 'of media'} ({', '.join(table.locations)}) has {has}, and none of them holds URLs of images, as "
        "identifier or accessURI would"
    )


def _source_by_meta(
    box: Container, base: str, table: TableMeta, tables: Sequence[TableMeta], kind: str, dataset: str
) -> list[Source]:
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
            row = None  # it goes on in another line
        layout = by_meta(table, tables[0], header, row, box.title(name))
        sources.append(_layout_source(box, name, kind, layout, dataset))
    return sources


def _as_written(table: TableMeta, start: bytes) -> tuple[TableMeta, list[str]]:
    """What meta.xml says of a table, corrected by how the table begins; and its first lines."""
    encoding = table.encoding
    if encoding == "utf-16" and (seen := encoding_of(start)) != "utf-8":
        encoding = seen  # where there is no byte order mark
    text = decoded(start, encoding)
    line_end = line_end_of(text, table.line_end, has_header=table.header_lines > 0)
    lines = (text.replace("\r", "\n") if line_end == "\r" else text).split("\n")
    header_lines = table.header_lines
    if header_lines == 0 and table.terms:
        cells = list(map(term, header_cells(lines[0], table.delimiter, table.quote)))
        named = sum(cells[at : at + 1] == [term(one)] for at, one in table.terms.items())
        header_lines = int(2 * named >= len(table.terms))  # ignoreHeaderLines was left out, and the header was not
    return replace(table, encoding=encoding, line_end=line_end, header_lines=header_lines), lines


def _sources_by_header(box: Container, name: str, dataset: str) -> list[Source]:
    """A table of media without meta.xml, or of occurrences that list media; one table may be both."""
    layout = _layout_by_header(box, name)
    kinds = ["media"] if layout.has("identifier", *LINK_TERMS) else []
    if layout.has("associatedmedia"):
        kinds.append(ASSOCIATED)
    if not kinds:
        raise SourceError(f"{box.title(name)}: {_why_no_urls(box, name, layout)}")
    return [_layout_source(box, name, kind, layout, dataset) for kind in kinds]


def _why_no_urls(box: Container, name: str, layout: Layout) -> str:
    if not layout.has(*OCCURRENCE_TERMS):
        header, _, _ = _header(box, name)
        return f"the header has no column identifier, accessURI or associatedMedia (it begins: {header[:80]!r})"
    if layout.ids_are_gbif and layout.has("datasetkey"):
        beside = box.path.with_name("multimedia.txt")
        at = f" ({beside})" if box.is_file and beside.is_file() else ""
        return (
            "this is GBIF's table of occurrences, which holds no URLs of images: give init the zip or the folder of the download, "
            f"or its multimedia.txt{at}"
        )
    return (
        "this is a table of occurrences without a column associatedMedia (its identifier, if it has one, is the record's): give "
        "init the table of media or the whole archive; if a column holds URLs of images, call it accessURI"
    )


def _layout_by_header(box: Container, name: str) -> Layout:
    title = box.title(name)
    header, encoding, line_end = _header(box, name)
    layout = by_header(header, encoding, title, line_end) if "\x00" not in header else None
    if layout is None:
        first_line = box.start(name, MAX_HEADER_BYTES).partition(b"\n")[0]
        read_header(first_line, REQUIRED["multimedia"], title)  # says what it seems to be
        raise SourceError(f"{title}: the header names no column of media (it begins: {header[:80]!r})")
    return layout


def _layout_source(box: Container, name: str, kind: str, layout: Layout, dataset: str) -> Source:
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
    """The file that meta.xml means."""
    wanted = base + location.removeprefix("./")
    if wanted in box.names:
        return wanted
    alike = [name for name in box.names if name.lower() == wanted.lower()]
    if len(alike) == 1:
        return alike[0]
    here = [name for name in box.names if name.startswith(base)]
    raise SourceError(f"{box.path}: its meta.xml names {location}, which is not there (there is {some(here)})")


def _check_encoding(start: bytes, encoding: str, title: str) -> None:
    has_mark = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    is_wide = encoding.startswith(("utf-16", "utf-32"))
    if has_mark != is_wide and (has_mark or (start and b"\x00" not in start[:256])):
        told = encoding.upper()
        raise SourceError(f"{title}: meta.xml says that it is written in {told}, but it {'is UTF-16' if has_mark else 'is not'}")


def _size_of(text: IO[bytes]) -> int:
    """What is left of a stream, in bytes."""
    size_bytes = 0
    while data := text.read(MEMBER_READ_BYTES):
        size_bytes += len(data)
    return size_bytes


def _dataset(box: Container, base: str) -> str:
    for name in (f"{base}eml.xml", f"{base}metadata.xml"):
        if box.has(name) and (found := dataset_of(box.start(name, MAX_META_BYTES))):
            return found
    return _name_of(box.path)


def _name_of(path: Path) -> str:
    """What stands for a dataset that nobody names: the archive, or a bare table with its folder."""
    path = path.resolve()
    if path.is_dir() or path.suffix.lower() == ".zip":
        return path.name.removesuffix(path.suffix) if path.is_file() else path.name
    return f"{path.parent.name}/{path.name}"
