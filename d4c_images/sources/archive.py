"""Finds the tables of a download (zip, folder or bare file). Reads none of their rows, and unpacks nothing to disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from d4c_images.errors import SourceError
from d4c_images.sources.container import Container, some
from d4c_images.sources.formats import refuse_other_formats
from d4c_images.sources.header import read_header
from d4c_images.sources.layout import ASSOCIATED, LINK_TERMS, OCCURRENCE_TERMS, term
from d4c_images.sources.metafile import MAX_META_BYTES, TableMeta, dataset_of, last_part, read_meta
from d4c_images.sources.source import (
    REQUIRED,
    Source,
    gbif_source,
    header_of,
    layout_by_header,
    layout_source,
    source_by_meta,
    sources_by_header,
)

MEDIA_KINDS = ("Multimedia", "Image", "Document", "Media", "Audubon")
"""Last parts of the row types for media (rs.gbif.org/terms/1.0, rs.tdwg.org/ac/terms, eol.org/schema/media)."""
TABLE_NAME = re.compile(r"\.(?:txt|csv|tsv|tab)$", re.IGNORECASE)
MEDIA_NAME = re.compile(r"(?:^|/)[^/]*(?:media|image|audubon|photo)[^/]*$", re.IGNORECASE)
OCCURRENCE_NAME = re.compile(r"(?:[^/]+/)?occurrences?\.(?:txt|csv|tsv|tab)", re.IGNORECASE)
VERBATIM_NAMES = re.compile(r"(?:.*/)?verbatim/(?:multimedia|audubon|image|media|document)s?\.txt")
AS_RECEIVED = re.compile(r"(?:^|/)verbatim(?:/|\.txt$)")
"""Publishers' data as received, which a GBIF download contains next to its interpreted data."""


def open_source(path: Path, member: str = "multimedia") -> Source:
    """Find GBIF's own table `member` (`multimedia` or `occurrence`) in a zip or an unpacked download; a bare file is that table.

    Raises `UsageError` if there is no such file, `SourceError` if it cannot be read as a GBIF download.
    """
    box = _box(Path(path))
    file_name = f"{member}.txt"
    if box.is_file:
        if member == "multimedia":
            return gbif_source(box, "", member)
        beside = box.path.with_name(file_name)
        if not beside.is_file():
            raise SourceError(f"{box.path}: no {file_name} next to it")
        return gbif_source(Container(beside), "", member)
    name = _find(box, file_name)
    if name is None:
        what = "the zip file" if box.is_zip else "the folder"
        raise SourceError(f"{box.path}: {what} contains no {file_name} (it has {some(box.names)}){_hint(box)}")
    return gbif_source(box, name, member)


def open_media(path: Path, *, verbatim: bool = False, dataset: str | None = None) -> list[Source]:
    """All media tables in a GBIF download, a publisher's archive or a bare table, in reading order.

    `verbatim` adds the publishers' own rows in a GBIF download. `dataset` scopes record ids that are not globally unique; by
    default it comes from the archive's metadata or its file name. Raises as `open_source` does, and `UsageError` if the file has a
    format that is not read.
    """
    box = _box(Path(path))
    refuse_other_formats(box)
    if box.is_file:
        return _media_of_file(box, dataset, verbatim=verbatim)
    gbif = _find_gbif(box)
    if gbif is not None:
        return [gbif_source(box, gbif, "multimedia"), *(_verbatim(box, gbif) if verbatim else [])]
    if verbatim:
        raise SourceError(f"{box.path}: --verbatim only works with a GBIF download")
    found = _find_meta(box)
    if found is None:
        return _media_without_meta(box, dataset or _name_of(box.path)) or [open_source(path)]  # which says what is missing
    base, tables = found
    sources = _media_by_meta(box, base, tables, dataset or _dataset(box, base))
    if not sources:
        raise SourceError(f"{box.path}: {_why_no_media(tables)}")
    return sources


def open_labels(path: Path, *, dataset: str | None = None) -> Source:
    """The table that names a download's records: GBIF's occurrence.txt, the core of a publisher's archive, or, without meta.xml, a
    table named like occurrences."""
    box = _box(Path(path))
    if box.is_file and _is_gbif(box, ""):
        return open_source(path, member="occurrence")
    gbif = None if box.is_file else _find_gbif(box)
    if gbif is not None:
        beside = f"{gbif.removesuffix('multimedia.txt')}occurrence.txt"
        return gbif_source(box, beside, "occurrence") if box.has(beside) else open_source(path, member="occurrence")
    folder = Container(box.path.parent) if box.is_file else box
    found = _find_meta(folder) if not box.is_file or folder.has("meta.xml") else None
    if found is not None:
        base, tables = found
        return source_by_meta(folder, base, tables[0], tables, "labels", dataset or _dataset(folder, base))[0]
    names = [name for name in folder.names if OCCURRENCE_NAME.fullmatch(name)]
    if not names:
        return open_source(path, member="occurrence")  # which says what is missing
    layout = layout_by_header(folder, names[0])
    return layout_source(folder, names[0], "labels", layout, dataset or _name_of(box.path))


def _box(path: Path) -> Container:
    """The container at the path; for a folder with nothing readable but a zip, that zip."""
    box = Container(path)
    if box.is_file or box.is_zip or box.has("multimedia.txt") or box.has("meta.xml"):
        return box
    zips = [name for name in box.names if name.lower().endswith(".zip")]
    has_tables = any(name.rpartition("/")[2] in ("multimedia.txt", "meta.xml") for name in box.names)
    if not zips or has_tables or _media_without_meta(box, ""):
        return box
    if len(zips) > 1:
        raise SourceError(f"{path}: several zip files ({some(zips)}): pass one of them")
    return Container(path / zips[0])


def _find(box: Container, file_name: str) -> str | None:
    """The table of that name nearest to the root, if there is only one; not counting those as received by GBIF."""
    if not box.is_zip and box.has(file_name):
        return file_name
    found = [name for name in box.names if name.rpartition("/")[2] == file_name and not AS_RECEIVED.search(name)]
    level = min((name.count("/") for name in found), default=0)
    nearest = [name for name in found if name.count("/") == level]
    return nearest[0] if len(nearest) == 1 else None


def _find_gbif(box: Container) -> str | None:
    """GBIF's own media table, wherever it is in the folder or zip."""
    name = _find(box, "multimedia.txt")
    return name if name is not None and _is_gbif(box, name) else None


def _is_gbif(box: Container, name: str) -> bool:
    header, _, _ = header_of(box, name)
    try:
        columns = read_header(header.encode(), REQUIRED["multimedia"], "")
    except SourceError:
        return False
    return OCCURRENCE_TERMS.isdisjoint(columns.index)


def _hint(box: Container) -> str:
    if inner := [name for name in box.names if name.lower().endswith(".zip")]:
        return f": unpack {inner[0]} and pass that"
    return ": is it a Darwin Core Archive?" if box.is_zip else ""


def _verbatim(box: Container, gbif: str) -> list[Source]:
    base = gbif.rpartition("/")[0]
    names = [name for name in box.names if VERBATIM_NAMES.fullmatch(name) and name.startswith(base)]
    if not names:
        raise SourceError(f"{box.path}: no verbatim/multimedia.txt or similar: GBIF adds it only on request")
    return [source for name in sorted(names) for source in sources_by_header(box, name, "")]


def _media_of_file(box: Container, dataset: str | None, *, verbatim: bool) -> list[Source]:
    if verbatim:
        raise SourceError(f"{box.path}: --verbatim needs the whole GBIF download, as a zip file or folder")
    if _is_gbif(box, ""):
        return [gbif_source(box, "", "multimedia")]
    folder = Container(box.path.parent)
    if (folder.path / "meta.xml").is_file():
        if box.path.name == "meta.xml":
            return open_media(folder.path, dataset=dataset)
        tables = read_meta(folder.start("meta.xml", MAX_META_BYTES + 1), folder.title("meta.xml"))
        sources = _media_by_meta(folder, "", tables, dataset or _dataset(folder, ""))
        if mine := [source for source in sources if source.path.name == box.path.name]:
            return mine
    return sources_by_header(box, "", dataset or _name_of(box.path))


def _media_without_meta(box: Container, dataset: str) -> list[Source]:
    """Tables of a folder or zip without meta.xml: those whose header names media columns."""
    sources: list[Source] = []
    for name in (name for name in box.names if TABLE_NAME.search(name) and not AS_RECEIVED.search(name)):
        try:
            found = sources_by_header(box, name, dataset)
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
        raise SourceError(f"{box.path}: several archives ({some(nearest)}): pass one of them")
    return nearest[0].removesuffix("meta.xml"), read_meta(box.start(nearest[0], MAX_META_BYTES + 1), box.title(nearest[0]))


def _media_by_meta(box: Container, base: str, tables: Sequence[TableMeta], dataset: str) -> list[Source]:
    tables_read = [table for table in tables if table.is_core or not all(map(AS_RECEIVED.search, table.locations))]
    sources = []
    for table in tables_read:
        terms = _terms(table)
        if not terms.isdisjoint(LINK_TERMS) or (_holds_media(table) and "identifier" in terms):
            sources += source_by_meta(box, base, table, tables, "media", dataset)
    for table in tables_read:
        if "associatedmedia" in _terms(table):
            sources += source_by_meta(box, base, table, tables, ASSOCIATED, dataset)
    return sources


def _terms(table: TableMeta) -> set[str]:
    return {term(one) for one in (*table.terms.values(), *table.defaults)}


def _holds_media(table: TableMeta) -> bool:
    """Whether the row type says so, or without one, the file name."""
    if table.kind:
        return table.is_a(*MEDIA_KINDS)
    return not table.is_core and all(map(MEDIA_NAME.search, table.locations))


def _why_no_media(tables: Sequence[TableMeta]) -> str:
    """What an archive contains instead of image URLs, in one line."""
    media = [table for table in tables if _holds_media(table)]
    if not media:
        kinds = ", ".join(dict.fromkeys(table.kind or "one without a rowType" for table in tables))
        return f"meta.xml describes no media table (only {kinds}) and no associatedMedia column"
    table = media[0]
    columns = [last_part(one) for one in (*table.terms.values(), *table.defaults)]
    has = f"the columns {', '.join(columns)}" if columns else "no columns"
    return (
        f"its table {table.kind or 'of media'} ({', '.join(table.locations)}) has {has}, but none with image URLs, such as "
        "identifier or accessURI"
    )


def _dataset(box: Container, base: str) -> str:
    for name in (f"{base}eml.xml", f"{base}metadata.xml"):
        if box.has(name) and (found := dataset_of(box.start(name, MAX_META_BYTES))):
            return found
    return _name_of(box.path)


def _name_of(path: Path) -> str:
    """Stands in for a missing dataset name: the archive, or a bare table with its folder."""
    path = path.resolve()
    if path.is_dir() or path.suffix.lower() == ".zip":
        return path.name.removesuffix(path.suffix) if path.is_file() else path.name
    return f"{path.parent.name}/{path.name}"
