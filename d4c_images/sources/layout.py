"""How a publisher's table is written: its encoding, its separators, and which cells hold what. Reads no rows.

Taken from meta.xml if there is one (and the file does not contradict it), else from the header line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from d4c_images.durations import counted
from d4c_images.errors import SourceError
from d4c_images.sources.metafile import TableMeta, last_part

LINK_TERMS = (
    "accessuri",
    "mediaurl",
    "bestqualityaccessuri",
    "goodqualityaccessuri",
    "mediumqualityaccessuri",
    "lowerqualityaccessuri",
    "thumbnailaccessuri",
    "thumbnailurl",
)
"""Columns whose cells are image URLs, whatever else the table contains."""
IDS = ("gbifid", "coreid", "occurrenceid", "id", "taxonid", "catalognumber")
"""Columns that identify the record in a table without meta.xml; the first one present counts."""
ASSOCIATED = "associated"
"""The kind of a source whose images are listed in `associatedMedia`, any number per row."""
OCCURRENCE_TERMS = frozenset(("basisofrecord", "associatedmedia"))
"""Columns that only an occurrence table has. Its `identifier` is the record's, not a picture's."""
RECORD_KINDS = ("Occurrence", "Event", "Taxon", "MaterialSample", "SimpleDarwinRecord")
"""Row types whose rows are records, each with its own `identifier`, which is not a picture's either."""
_DELIMITERS = "\t,;|"
_WORDS = "identifier type format license creator associatedmedia references title basisofrecord scientificname family"
_KNOWN = frozenset((*LINK_TERMS, *IDS, *_WORDS.split()))


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read a table; picklable."""

    encoding: str  # Python's name for it
    delimiter: str
    quote: str  # "" if cells are never enclosed
    line_end: str  # "\n", "\r" or "\n\r"
    header_lines: int
    width: int  # cells of a row
    id_index: int
    ids_are_gbif: bool  # the cell at `id_index` holds a gbifID
    cells: dict[str, tuple[int, ...]]  # term without its namespace, in lower case -> positions, the first non-empty one counts
    defaults: dict[str, str]  # likewise -> default for an empty or absent cell
    may_be_short: bool = False  # trailing empty cells of a row may be missing

    def has(self, *names: str) -> bool:
        return any(name in self.cells or name in self.defaults for name in names)


def term(text: str) -> str:
    """`http://rs.tdwg.org/ac/terms/accessURI`, `ac:accessURI`, `"accessURI"` are equal; so are `rights_holder`, `rightsHolder`."""
    bare = last_part(text.strip().strip("\ufeff").strip('"'))
    return re.sub(r"[^a-z0-9]", "", bare.lower())


def by_header(line: str, encoding: str, name: str, line_end: str = "\n") -> Layout | None:
    """The layout according to a header line, None if it is not a header of a table with media or records.

    A table without media of its own is a core: its `id` is what other tables refer to, whatever its occurrenceID is, and its
    `identifier` is not a picture's.
    """
    delimiter = max(_DELIMITERS, key=lambda one: len(_KNOWN & set(map(term, line.split(one)))))
    names = header_cells(line, delimiter, '"')
    terms = list(map(term, names))
    if len(_KNOWN & set(terms)) < 2:
        return None
    is_occurrences = not OCCURRENCE_TERMS.isdisjoint(terms)
    is_core = not set(LINK_TERMS) & set(terms) and (is_occurrences or "identifier" not in terms)
    ids = sorted(IDS, key=("gbifid", "coreid", "id").__contains__, reverse=True) if is_core else IDS
    id_index = next((terms.index(one) for one in ids if one in terms), None)
    if id_index is None:
        raise SourceError(f"{name}: the header has no record id ({', '.join(IDS[:-1])}; it begins: {line[:80]!r})")
    quote = "" if delimiter == "\t" else '"'
    cells = _positions(names)
    if is_occurrences:
        cells.pop("identifier", None)
    return Layout(encoding, delimiter, quote, line_end, 1, len(names), id_index, terms[id_index] == "gbifid", cells, {})


def by_meta(meta: TableMeta, core: TableMeta, header: str | None, row: str | None, name: str) -> Layout:
    """The layout according to meta.xml. `header` is the table's last header line, `row` its first row, if known.

    Raises `SourceError` if meta.xml and the table contradict each other.
    """
    id_index, is_gbif_id = _record_column(meta, name)
    width = _width(meta, id_index, header, row, name)
    if header:
        _agree(meta, header_cells(header, meta.delimiter, meta.quote), name)
    core_is_gbif = core.id_index is not None and term(core.terms.get(core.id_index, "")) == "gbifid"
    names = [""] * width
    for at, one in meta.terms.items():
        names[at] = one
    cells = _positions(names)
    defaults = {term(one): value for one, value in meta.defaults.items()}
    if meta.is_a(*RECORD_KINDS):
        cells.pop("identifier", None)
        defaults.pop("identifier", None)
    return Layout(
        encoding=meta.encoding,
        delimiter=meta.delimiter,
        quote=meta.quote,
        line_end=meta.line_end,
        header_lines=meta.header_lines,
        width=width,
        id_index=id_index,
        ids_are_gbif=is_gbif_id or (core_is_gbif and id_index == meta.id_index),
        cells=cells,
        defaults=defaults,
    )


def _record_column(meta: TableMeta, name: str) -> tuple[int, bool]:
    """The column that identifies a row's record, and whether by its name it holds gbifIDs."""
    own = [at for at, one in meta.terms.items() if term(one) == "gbifid"]
    if own:
        return min(own), True
    occurrence_ids = [at for at, one in meta.terms.items() if term(one) == "occurrenceid"]
    if occurrence_ids and meta.is_a("Occurrence") and (meta.id_index is None or not meta.is_core):
        return occurrence_ids[0], False  # the record is the occurrence itself, not the taxon or event that it belongs to
    if meta.id_index is None:
        raise SourceError(f"{name}: meta.xml does not say which column holds the record id")
    return meta.id_index, False


def _width(meta: TableMeta, id_index: int, header: str | None, row: str | None, name: str) -> int:
    """The number of cells in a row, by meta.xml and by the known lines."""
    top = max([*meta.terms, id_index, meta.id_index or 0])
    width = top + 1
    for line in filter(None, (header, row)):
        n_cells = len(header_cells(line, meta.delimiter, meta.quote))
        # Some omit trailing empty cells of a row; nobody does so in a header.
        if n_cells <= top and (line == header or n_cells <= max(1, id_index)):
            last = meta.terms.get(top, "the record")
            raise SourceError(
                f"{name}: meta.xml says that column {top} is {last}, separated by {meta.delimiter!r}, but there is a line of "
                f"{counted(n_cells, 'cell')} (it begins: {line[:60]!r})"
            )
        width = max(width, n_cells)
    return width


def header_cells(line: str, delimiter: str, quote: str) -> list[str]:
    """The cells of one line. A header with a stray quote (seen from iDigBio) is split without regard to quotes."""
    plain = line.rstrip("\r\n").split(delimiter)
    if not quote or quote not in line:
        return plain
    cells = next(csv.reader([line], delimiter=delimiter, quotechar=quote), [])
    return cells if line.count(quote) % 2 == 0 else plain


def _positions(names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The positions of each term. If one term comes in two namespaces (`dc:type`, `dcterms:type`), dcterms comes first."""
    found: dict[str, list[int]] = {}
    named = list(enumerate(names))
    for at, name in sorted(named, key=lambda one: ("dc:" in one[1] or "/elements/1.1/" in one[1], one[0])):
        if name:
            found.setdefault(term(name), []).append(at)
    return {name: tuple(places) for name, places in found.items()}


def _agree(meta: TableMeta, header: Sequence[str], name: str) -> None:
    """Check for shifted columns: the header must not give a URL column the name of another URL column."""
    links = {*LINK_TERMS, "identifier", "associatedmedia"}
    for at, one in meta.terms.items():
        ours, theirs = term(one), term(header[at]) if at < len(header) else ""
        if ours != theirs and {ours, theirs} <= links and ours in map(term, header):
            raise SourceError(
                f"{name}: meta.xml says that column {at} is {one}, but its header calls it {header[at].strip()!r}: "
                "one of the two is wrong, and URLs of different images could be mixed up"
            )
