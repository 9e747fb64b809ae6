"""Reads meta.xml, which says how the tables of a Darwin Core Archive are written and what their columns mean. Opens no table.

Follows the Darwin Core text guide (https://dwc.tdwg.org/text/), including its defaults. An empty attribute counts as missing,
except `fieldsEnclosedBy`, where it means that cells are never enclosed.

XML turns a literal tab, line feed or CR LF in an attribute into a blank (XML 1.0, section 3.3.3). Since a blank alone neither ends
cells or rows nor encloses anything, it is read as the character that the attribute must have had.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from d4c_images.errors import SourceError

MAX_META_BYTES = 4 << 20
MAX_ELEMENTS = 100_000
_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\f": "\f", "\\\\": "\\", "\\|": "|", '\\"': '"', "\\'": "'"}
_BARE_RECORD_END = {"\n": "\n", "\r\n": "\n", "\r": "\r", "\n\r": "\n\r"}
_ENCODINGS = {"ansi": "cp1252", "unicode": "utf-16", "utf8mb4": "utf-8"}
"""Windows' and MySQL's names for some encodings."""


@dataclass(frozen=True, slots=True)
class TableMeta:
    """One `core` or `extension` element."""

    row_type: str
    is_core: bool
    locations: tuple[str, ...]
    encoding: str  # Python's name for it
    delimiter: str
    quote: str  # "" if cells are never enclosed
    line_end: str  # "\n" (also for "\r\n"), "\r" or "\n\r"
    header_lines: int
    id_index: int | None
    terms: dict[int, str]  # position -> term, as written
    defaults: dict[str, str]  # term -> default for an empty or absent cell

    @property
    def kind(self) -> str:
        """The last part of the row type: Occurrence, Multimedia, ..."""
        return last_part(self.row_type)

    def is_a(self, *kinds: str) -> bool:
        """Whether the row type is one of these, in any namespace and case."""
        return self.kind.casefold() in map(str.casefold, kinds)


def read_meta(data: bytes, name: str) -> list[TableMeta]:
    """The tables that a meta.xml describes, the core first. Raises `SourceError` with one line if it cannot be used."""
    if len(data) > MAX_META_BYTES:
        raise SourceError(f"{name}: larger than {MAX_META_BYTES >> 20} MiB: not a meta.xml")
    try:
        root = _parsed(data.lstrip())  # a line above the XML declaration is common, and harmless
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise SourceError(f"{name}: not well-formed XML ({error})") from None
    if _local(root) != "archive":
        raise SourceError(f"{name}: XML, but not the meta.xml of a Darwin Core Archive (its root is <{_local(root)}>)")
    tables = [_table(element, name) for kind in ("core", "extension") for element in _children(root, kind)]
    if not any(table.is_core for table in tables):
        raise SourceError(f"{name}: no core table")
    return tables


def _table(element: ElementTree.Element, name: str) -> TableMeta:
    is_core = _local(element) == "core"
    row_type = element.get("rowType", "").strip()
    what = f"{name}: the table {last_part(row_type) or 'without a rowType'}"
    locations = tuple(
        (location.text or "").strip() for files in _children(element, "files") for location in _children(files, "location")
    )
    if not all(locations) or not locations:
        raise SourceError(f"{what} names no file")
    delimiter = _character(element.get("fieldsTerminatedBy") or ",", blank="\t")
    quote = _character(element.get("fieldsEnclosedBy", '"'), blank="")
    end = _character(element.get("linesTerminatedBy") or "\n", blank="\n")
    if len(delimiter) != 1 or len(quote) > 1:
        raise SourceError(f"{what}: unsupported delimiters: fieldsTerminatedBy {delimiter!r}, fieldsEnclosedBy {quote!r}")
    if end not in _BARE_RECORD_END:
        raise SourceError(f"{what}: unsupported linesTerminatedBy {end!r}")
    ids = [*_children(element, "id"), *_children(element, "coreid")]
    terms, defaults = _fields(element, what)
    return TableMeta(
        row_type=row_type,
        is_core=is_core,
        locations=locations,
        encoding=codec_of(element.get("encoding", ""), what),
        delimiter=delimiter,
        quote=quote,
        line_end=_BARE_RECORD_END[end],
        header_lines=_number(element.get("ignoreHeaderLines") or "0", f"{what}: ignoreHeaderLines"),
        id_index=_number(at, f"{what}: the index of its id") if ids and (at := ids[0].get("index")) else None,
        terms=terms,
        defaults=defaults,
    )


def _fields(element: ElementTree.Element, what: str) -> tuple[dict[int, str], dict[str, str]]:
    """The terms by position, and the values that apply to all rows."""
    terms: dict[int, str] = {}
    defaults: dict[str, str] = {}
    for field in _children(element, "field"):
        term = field.get("term", "").strip()
        if not term:
            raise SourceError(f"{what}: a field has no term")
        if index := field.get("index"):
            terms[_number(index, f"{what}: the index of {term}")] = term
        if default := field.get("default"):
            defaults[term] = default
    return terms, defaults


def last_part(uri: str) -> str:
    """`http://rs.gbif.org/terms/1.0/Multimedia`, `gbif:Multimedia` and `Multimedia/` all become Multimedia."""
    return re.split(r"[/#:]", uri.strip().rstrip("/#"))[-1]


def codec_of(encoding: str, what: str) -> str:
    """Python's name of an encoding. ASCII is read as UTF-8."""
    bare = encoding.strip()
    try:
        codec = codecs.lookup(_ENCODINGS.get(bare.lower(), bare) or "UTF-8")
    except LookupError:
        raise SourceError(f"{what} has the unknown encoding {encoding!r}") from None
    if not codec._is_text_encoding:
        raise SourceError(f"{what} has the encoding {encoding!r}, which is not a text encoding")
    return "utf-8" if codec.name in ("ascii", "utf-8-sig") else codec.name


def dataset_of(eml: bytes) -> str | None:
    """The name of the dataset in an EML document, without its version number; None if there is none."""
    try:
        root = _parsed(eml)
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    package = re.sub(r"/v[0-9.]+$", "", root.get("packageId", "").strip())
    if package:
        return package
    found = next((element for element in root.iter() if _local(element) == "alternateIdentifier"), None)
    return (found.text or "").strip() or None if found is not None else None


def _parsed(data: bytes) -> ElementTree.Element:
    """The root element. Elements are counted while parsing: each takes some hundred bytes of memory, but only four in the file."""
    elements = (element for _, element in ElementTree.iterparse(io.BytesIO(data), ("start",)))
    root: ElementTree.Element = next(elements)
    if any(n >= MAX_ELEMENTS for n, _ in enumerate(elements, 1)):
        raise ValueError(f"it has more than {MAX_ELEMENTS:,} elements")
    return root


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    return (child for child in element if _local(child) == name)


def _character(text: str, blank: str) -> str:
    """The meaning of an attribute: `\\t` as two characters is a tab, and blanks alone mean `blank`."""
    text = re.sub(r"\\.", lambda found: _ESCAPES.get(found[0], found[0]), text)
    return text if text.strip() else re.sub(" +", blank, text)


def _number(text: str, what: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise SourceError(f"{what} is {text!r}, not a number")
    return int(text)
