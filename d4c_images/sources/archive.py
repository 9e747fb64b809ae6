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
from d4c_images.sources.box import READ_BYTES, Box, as_utf8, reading, some
from d4c_images.sources.header import MAX_HEADER_BYTES, Columns, read_header
from d4c_images.sources.layout import LINKS, Layout, by_header, by_meta
from d4c_images.sources.lines import Block, blocks
from d4c_images.sources.metafile import MAX_META_BYTES, TableMeta, dataset_of, read_meta
from d4c_images.sources.records import Record, records

REQUIRED = {"multimedia": ("gbifID", "identifier"), "occurrence": ("gbifID",)}
"""GBIF's own tables, each with the columns that it must have."""
MEDIA_KINDS = frozenset(("Multimedia", "Image", "Document", "Media", "Audubon"))
"""The last words of the row types that hold media (rs.gbif.org/terms/1.0, rs.tdwg.org/ac/terms, eol.org/schema/media)."""
TABLE_NAME = re.compile(r"\.(?:txt|csv|tsv|tab)$", re.IGNORECASE)
MEDIA_NAME = re.compile(r"(?:^|/)[^/]*(?:media|image|audubon|photo)[^/]*$", re.IGNORECASE)
OCCURRENCE_NAME = re.compile(r"(?:[^/]+/)?occurrences?\.(?:txt|csv|tsv|tab)", re.IGNORECASE)
VERBATIM_NAMES = re.compile(r"(?:.*/)?verbatim/(?:multimedia|audubon|image|media|document)s?\.txt")


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
            layout = self.layout
            is_utf8 = layout is None or (layout.encoding == "utf-8" and layout.line_end == "\n")
            if is_utf8 and self.member is None:
                stream.seek(offset)
                yield stream
                return
            text: IO[bytes] = stream if layout is None else as_utf8(stream, layout.encoding, layout.line_end)
            left = offset
            while left > 0 and (data := text.read(min(left, READ_BYTES))):
                left -= len(data)
            yield text


def open_source(path: Path, member: str = "multimedia") -> Source:
    """Find GBIF's own table `member` (`multimedia` or `occurrence`) in its zip or an unpacked download; a bare file is one.

    Raises `UsageError` where there is no such file, `SourceError` where it cannot be read as a GBIF download.
    """
    box = Box(Path(path))
    file_name = f"{member}.txt"
    if box.is_file:
        if member == "multimedia":
            return _gbif_source(box, "", member)
        beside = box.path.with_name(file_name)
        if not beside.is_file():
            raise SourceError(f"{box.path}: there is no {file_name} beside it")
        return _gbif_source(Box(beside), "", member)
    name = _find_gbif(box, member)
    if name is None:
        what = "the zip file" if box.is_zip else "the folder"
        hint = ": is it a Darwin Core Archive?" if box.is_zip else ""
        raise SourceError(f"{box.path}: {what} has no {file_name} (it has {some(box.names)}){hint}")
    return _gbif_source(box, name, member)


def open_media(path: Path, *, verbatim: bool = False, dataset: str | None = None) -> list[Source]:
    """All tables of media in a download of GBIF, in a publisher's archive, or in a bare table, in the order they are to be read.

    `verbatim` adds the publishers' own rows that a GBIF download carries. `dataset` names whose records these are, where ids are
    no more than numbers; by default the archive's metadata or its file name does. Raises as `open_source` does.
    """
    box = Box(Path(path))
    if box.is_file:
        return _media_of_file(box, dataset, verbatim=verbatim)
    gbif = _find_gbif(box, "multimedia")
    if gbif is not None and _is_gbif(box, gbif):
        return [_gbif_source(box, gbif, "multimedia"), *(_verbatim(box, gbif) if verbatim else [])]
    if verbatim:
        raise SourceError(f"{box.path}: --verbatim reads downloads of GBIF, and this is none")
    found = _find_meta(box)
    if found is None:
        return _media_without_meta(box, dataset or _name_of(box.path)) or [open_source(path)]  # which says what is missing
    base, tables = found
    sources = _media_by_meta(box, base, tables, dataset or _dataset(box, base))
    if not sources:
        kinds = ", ".join(dict.fromkeys(table.kind for table in tables))
        raise SourceError(f"{box.path}: its meta.xml names no table of media (it has {kinds}), and none lists associatedMedia")
    return sources


def open_labels(path: Path, *, dataset: str | None = None) -> Source:
    """The table that names the records of a download: GBIF's occurrence.txt, the core of a publisher's archive, or, where there is
    no meta.xml, a table named like occurrences."""
    box = Box(Path(path))
    gbif = "" if box.is_file else _find_gbif(box, "multimedia")
    if gbif is not None and _is_gbif(box, gbif):
        return open_source(path, member="occurrence")
    folder = Box(box.path.parent) if box.is_file else box
    found = _find_meta(folder) if not box.is_file or folder.has("meta.xml") else None
    if found is not None:
        base, tables = found
        return _source_by_meta(folder, base, tables[0], tables, "labels", dataset or _dataset(folder, base))[0]
    names = [name for name in folder.names if OCCURRENCE_NAME.fullmatch(name)]
    if not names:
        return open_source(path, member="occurrence")  # which says what is missing
    layout = _layout_by_header(folder, names[0])
    return _layout_source(folder, names[0], "labels", layout, dataset or _name_of(box.path))


def _find_gbif(box: Box, member: str) -> str | None:
    """The table of GBIF: at the root, else in the one folder that the archive consists of."""
    file_name = f"{member}.txt"
    if not box.is_zip and box.has(file_name):
        return file_name
    names = {name.removeprefix("./"): name for name in box.names}
    if file_name in names:
        return names[file_name]
    # `verbatim/multimedia.txt` holds the publisher's rows as received: it is not GBIF's.
    inside = [
        name for name in names if name.count("/") == 1 and name.endswith(f"/{file_name}") and not name.startswith("verbatim/")
    ]
    return names[inside[0]] if len(inside) == 1 else None


def _is_gbif(box: Box, name: str) -> bool:
    header = box.start(name, MAX_HEADER_BYTES).split(b"\n")[0]
    try:
        read_header(header, REQUIRED["multimedia"], "")
    except SourceError:
        return False
    return True


def _gbif_source(box: Box, name: str, kind: str) -> Source:
    path, member = box.where(name)
    title = box.title(name)
    size_bytes, fingerprint = box.size_and_print(name)
    with reading(path, member, title) as stream:
        header = stream.readline(MAX_HEADER_BYTES)
    columns = read_header(header, REQUIRED[kind], title)
    return Source(title, kind, path, member, size_bytes, fingerprint, columns, len(header))


def _verbatim(box: Box, gbif: str) -> list[Source]:
    base = gbif.rpartition("/")[0]
    names = [name for name in box.names if VERBATIM_NAMES.fullmatch(name) and name.startswith(base)]
    if not names:
        raise SourceError(f"{box.path}: it has no verbatim/multimedia.txt or the like: GBIF adds such only on request")
    return [_source_by_header(box, name, "") for name in sorted(names)]


def _media_of_file(box: Box, dataset: str | None, *, verbatim: bool) -> list[Source]:
    if verbatim:
        raise SourceError(f"{box.path}: --verbatim needs the whole download of GBIF, as a zip or a folder")
    if _is_gbif(box, ""):
        return [_gbif_source(box, "", "multimedia")]
    folder = Box(box.path.parent)
    if (folder.path / "meta.xml").is_file():
        if box.path.name == "meta.xml":
            return open_media(folder.path, dataset=dataset)
        tables = read_meta(folder.start("meta.xml", MAX_META_BYTES + 1), folder.title("meta.xml"))
        sources = _media_by_meta(folder, "", tables, dataset or _dataset(folder, ""))
        if mine := [source for source in sources if source.path.name == box.path.name]:
            return mine
    return [_source_by_header(box, "", dataset or _name_of(box.path))]


def _media_without_meta(box: Box, dataset: str) -> list[Source]:
    """Tables of a folder or zip that has no meta.xml: those whose header names columns of media."""
    sources = []
    for name in (name for name in box.names if TABLE_NAME.search(name) and not name.startswith(("__MACOSX/", "verbatim/"))):
        try:
            source = _source_by_header(box, name, dataset)
        except SourceError:
            continue
        layout = source.layout
        assert layout is not None
        if source.kind == "associated" or layout.has(*LINKS) or MEDIA_NAME.search(name):
            sources.append(source)
    return sorted(sources, key=lambda source: (source.kind == "associated", source.name))


def _find_meta(box: Box) -> tuple[str, list[TableMeta]] | None:
    """The folder of the meta.xml nearest to the root ("" or "name/"), and the tables that it describes."""
    found = [name for name in box.names if name.rpartition("/")[2] == "meta.xml" and not name.startswith("__MACOSX/")]
    if not found:
        return None
    level = min(name.count("/") for name in found)
    nearest = [name for name in found if name.count("/") == level]
    if len(nearest) > 1:
        raise SourceError(f"{box.path}: there are several archives in it ({some(nearest)}): name one of them")
    return nearest[0].removesuffix("meta.xml"), read_meta(box.start(nearest[0], MAX_META_BYTES + 1), box.title(nearest[0]))


def _media_by_meta(box: Box, base: str, tables: Sequence[TableMeta], dataset: str) -> list[Source]:
    sources = []
    for table in tables:
        terms = {re.split(r"[/#:]", one)[-1].lower() for one in (*table.terms.values(), *table.defaults)}
        has_links = not terms.isdisjoint(LINKS)
        if has_links or (table.kind in MEDIA_KINDS and "identifier" in terms):
            sources += _source_by_meta(box, base, table, tables, "media", dataset)
    for table in tables:
        if any(one.endswith("/associatedMedia") for one in table.terms.values()):
            sources += _source_by_meta(box, base, table, tables, "associated", dataset)
    return sources


def _source_by_meta(box: Box, base: str, table: TableMeta, tables: Sequence[TableMeta], kind: str, dataset: str) -> list[Source]:
    sources = []
    for location in table.locations:
        name = _member(box, base, location)
        start = box.start(name, MAX_HEADER_BYTES)
        _check_encoding(start, table.encoding, box.title(name))
        first = _text(start, table.encoding, table.line_end).split("\n")
        if len(start) == MAX_HEADER_BYTES:
            first.pop()
        places = (table.header_lines - 1, table.header_lines)
        header, row = (first[at].strip("\r") if 0 <= at < len(first) else None for at in places)
        if row and table.quote and row.count(table.quote) % 2:
            row = None  # it goes on in another line
        layout = by_meta(table, tables[0], header, row, box.title(name))
        sources.append(_layout_source(box, name, kind, layout, dataset))
    return sources


def _source_by_header(box: Box, name: str, dataset: str) -> Source:
    """A table of media without meta.xml."""
    layout = _layout_by_header(box, name)
    is_media = layout.has("identifier", *LINKS)
    if not is_media and not layout.has("associatedmedia"):
        raise SourceError(f"{box.title(name)}: the header has no column identifier, accessURI or associatedMedia")
    return _layout_source(box, name, "media" if is_media else "associated", layout, dataset)


def _layout_by_header(box: Box, name: str) -> Layout:
    title = box.title(name)
    start = box.start(name, MAX_HEADER_BYTES)
    is_utf16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if is_utf16 else "utf-8"
    first_line = start.partition(b"\n")[0]
    line_end = "\r" if not is_utf16 and b"\n" not in start and b"\r" in start else "\n"
    header = _text(start, encoding, line_end).partition("\n")[0].rstrip("\r")
    layout = by_header(header, encoding, title, line_end) if b"\x00" not in first_line or is_utf16 else None
    if layout is None:
        read_header(first_line, REQUIRED["multimedia"], title)  # says what it seems to be
        raise SourceError(f"{title}: the header names no column of media (it begins: {header[:80]!r})")
    return layout


def _layout_source(box: Box, name: str, kind: str, layout: Layout, dataset: str) -> Source:
    path, member = box.where(name)
    size_bytes, fingerprint = box.size_and_print(name)
    layout = replace(layout, may_be_short=kind == "labels")
    how = hashlib.sha256(repr((layout, dataset)).encode(errors="surrogatepass")).hexdigest()[:16]
    title = box.title(name)
    source = Source(title, kind, path, member, size_bytes, f"{fingerprint}:{how}", Columns(layout.width, {}), 0, layout, dataset)
    with source._opened(0) as stream:
        header_bytes = len(codecs.BOM_UTF8) if layout.header_lines == 0 and box.start(name, 3) == codecs.BOM_UTF8 else 0
        for _ in range(layout.header_lines):
            header_bytes += len(stream.readline(MAX_HEADER_BYTES))
    if layout.encoding != "utf-8":
        with reading(path, member, title) as stream:
            text = as_utf8(stream, layout.encoding, layout.line_end)
            size_bytes = 0
            while data := text.read(READ_BYTES):
                size_bytes += len(data)
    return replace(source, size_bytes=size_bytes, header_bytes=header_bytes)


def _member(box: Box, base: str, location: str) -> str:
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


def _text(start: bytes, encoding: str, line_end: str) -> str:
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(start).removeprefix("\ufeff")
    return text.replace("\r", "\n") if line_end == "\r" else text


def _dataset(box: Box, base: str) -> str:
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
