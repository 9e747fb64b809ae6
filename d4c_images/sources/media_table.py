"""Turns the rows of a publisher's table into statements about pictures: which URLs, whose, under what licence. Opens no file.

Understands Simple Multimedia, Audubon Core, GBIF's older Image, EOL's media documents and `dwc:associatedMedia`, all by their
terms: one reader for all, since publishers mix them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from d4c_images.identity import archive_variants, split_cell
from d4c_images.identity.archive_variants import StatedUrl, Statement
from d4c_images.model import RecordName, RejectReason
from d4c_images.sources.layout import ASSOCIATED, LINK_TERMS, Layout, term
from d4c_images.sources.media import (
    CUT_MARK,
    HOLE,
    IDENTIFIER_CUT,
    MAX_CELL_BYTES,
    MAX_TEXT_BYTES,
    ROW_START_CHARACTERS,
    TEXTS_CUT,
    cut_urls,
    gbif_id_of,
    reason_of_kind,
    unquoted,
)
from d4c_images.sources.rows import Record

FIRST_NUMBER, N_NUMBERS = 10**17, 9 * 10**17
MAX_RECORD_ID = 500
MAX_WORDS = 1_000  # characters of a title or an identifier up to which it is kept verbatim
KEPT_ROW_BYTES = 4 * ROW_START_CHARACTERS

_COLUMN_ROLES = (
    ("bestqualityaccessuri", archive_variants.BEST),
    ("goodqualityaccessuri", archive_variants.GOOD),
    ("mediumqualityaccessuri", archive_variants.MEDIUM),
    ("lowerqualityaccessuri", archive_variants.LOWER),
    ("thumbnailaccessuri", archive_variants.THUMBNAIL),
    ("thumbnailurl", archive_variants.THUMBNAIL),
)
_WORDS = ("title", "caption", "description", "subjectorientation", "subjectpart")
_GLOBAL = re.compile(r"(?:https?|urn|ark|doi|lsid|info):|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\Z", re.IGNORECASE)
_SCHEME = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*:|//|www\.)")
_RELATIVE = re.compile(r"\.{0,2}/(?!/)|[^/\s:]+(?:/[^\s:]*)*\.(?:jpe?g|png|gif|tiff?|bmp|jp2)\Z", re.IGNORECASE)
_SOUND = re.compile(r"\.(?:mp3|wav|ogg|m4a|flac|aiff?)(?:[?#]|$)", re.IGNORECASE)
_VIDEO = re.compile(r"\.(?:mp4|mov|avi|webm|mpe?g|m4v|swf|flv)(?:[?#]|$)", re.IGNORECASE)
_CUT_OFF = re.compile(r"[a-z]+://[^/]*/?", re.IGNORECASE)  # databases truncate long lists in the middle of a URL
_JSON_URLS = (*LINK_TERMS[:2], "identifier", *LINK_TERMS[2:], "url", "uri")
_LIST_END = re.compile(r"[\s|;,]+$")


class MediaRow(NamedTuple):
    """One row that may show pictures."""

    record: Record  # without its cells, and with only as much of the raw row as a sample shows
    gbif_id: int
    name: RecordName | None  # None if `gbif_id` is GBIF's own
    statements: tuple[Statement, ...]  # more than one if a cell lists several pictures
    reference: str
    license: str
    creator: str
    rights_holder: str
    cut: tuple[str, ...] = ()  # notes: which of the texts were too long


class MediaReader:
    """Reads the rows of one table."""

    def __init__(self, layout: Layout, kind: str, dataset: str) -> None:
        self._layout = layout
        self._is_list = kind == ASSOCIATED
        self._dataset = dataset
        self._has_access = layout.has("accessuri", "mediaurl")
        self._places: dict[tuple[str, ...], tuple[list[int], str]] = {}  # by names of columns

    def row(self, record: Record) -> MediaRow | RejectReason:
        """The statements of a row; the reason if it shows no picture."""
        if record.reason is not None:
            return record.reason
        if HOLE in record.raw:
            return RejectReason.NUL_BYTES
        cells, cut = (record.cells, False) if len(record.raw) <= MAX_CELL_BYTES else self._with_short_lists(record.cells)
        name = name_of(cells, self._layout, self._dataset)
        if name is None:
            return RejectReason.BAD_GBIF_ID if self._layout.ids_are_gbif else RejectReason.BAD_RECORD_ID
        statements = self._listed(cells) if self._is_list else self._stated(cells, name.record_id)
        if isinstance(statements, str):
            return statements
        get = self._cell
        row = MediaRow(
            record._replace(cells=[], raw=record.raw[:KEPT_ROW_BYTES]),
            name.gbif_id,
            None if self._layout.ids_are_gbif else name,
            statements,
            reference=get(cells, "references", "furtherinformationurl", "attributionlinkurl"),
            license=get(cells, "license", "webstatement", "usageterms", "rights", "accessrights"),
            creator=get(cells, "creator", "photographer", "contributor", "agent"),
            rights_holder=get(cells, "rightsholder", "owner"),
            cut=(IDENTIFIER_CUT,) if cut else (),
        )
        return row if len(record.raw) <= MAX_TEXT_BYTES else _cut(row)

    def _with_short_lists(self, cells: Sequence[str]) -> tuple[list[str], bool]:
        """The cells, with URL cells cut to the limit, and whether a list of URLs was cut."""
        cells, is_cut = list(cells), False
        for name in ("associatedmedia", "accessuri", "mediaurl", "identifier"):
            for at in self._layout.cells.get(name, ()):
                cells[at], one = cut_urls(cells[at])
                is_cut |= one
        return cells, is_cut

    def gbif_id(self, record: Record) -> int | None:
        """The gbifID of a rejected row, if it has one that can be read."""
        name = name_of(record.cells, self._layout, self._dataset) if record.cells and self._layout.ids_are_gbif else None
        return None if name is None else name.gbif_id

    def _cell(self, cells: Sequence[str], *names: str) -> str:
        """The first non-empty one of these columns in this row; else meta.xml's default."""
        found = self._places.get(names)
        if found is None:
            places = [at for name in names for at in self._layout.cells.get(name, ())]
            found = self._places[names] = places, next(filter(None, map(self._layout.defaults.get, names)), "")
        for at in found[0]:
            if (text := cells[at]) and (text := _bare(text)):
                return text
        return found[1]

    def _listed(self, cells: Sequence[str]) -> tuple[Statement, ...] | RejectReason:
        """The pictures in an `associatedMedia` cell, one statement each."""
        text = self._cell(cells, "associatedmedia")
        if not text:
            return RejectReason.NO_IDENTIFIER
        urls = _urls_of_json(text)
        if urls is None:
            urls = [_LIST_END.sub("", piece) for piece in split_cell(text)]
        absolute = [url for url in urls if _SCHEME.match(url)]
        if not absolute:
            has_relative = any(_RELATIVE.match(url.strip()) for url in re.split(r"[|;,]", text))
            return RejectReason.RELATIVE_URL if has_relative else RejectReason.NO_IDENTIFIER
        pictures = ["" if _CUT_OFF.fullmatch(url) else url for url in absolute if not _SOUND.search(url) and not _VIDEO.search(url)]
        if not pictures:
            return RejectReason.TYPE_SOUND if _SOUND.search(absolute[0]) else RejectReason.TYPE_MOVING_IMAGE
        return tuple(Statement((StatedUrl(url, archive_variants.ACCESS, is_access=True),)) for url in pictures)

    def _stated(self, cells: Sequence[str], record_id: str) -> tuple[Statement, ...] | RejectReason:
        get = self._cell
        access = get(cells, "accessuri", "mediaurl")
        identifier = get(cells, "identifier")
        others = [(url, role) for name, role in _COLUMN_ROLES if (url := get(cells, name))]
        if not access and not (self._has_access and others):
            access = identifier if not self._has_access or _SCHEME.match(identifier) else ""
        reason = reason_of_kind(get(cells, "type"), get(cells, "format"), access or "".join(url for url, _ in others))
        if reason is not None:
            return reason
        role = archive_variants.role_of(get(cells, "variant")) or archive_variants.role_of(get(cells, "variantliteral"))
        if role == archive_variants.OFFLINE:
            return RejectReason.NOT_ONLINE
        usable = [(url, of) for url, of in others if _SCHEME.match(url)]
        pieces = split_cell(access) if access else []
        if access and not _SCHEME.match(access):
            if not usable:
                return RejectReason.RELATIVE_URL if _RELATIVE.match(access) else RejectReason.NOT_HTTP
            pieces = []
        if len(pieces) > 1:
            return tuple(Statement((StatedUrl(url, archive_variants.ACCESS, is_access=True),)) for url in pieces)
        published = archive_variants.hash_of(get(cells, "hashfunction"), get(cells, "hashvalue")) or (None, None)
        size = (_pixels(get(cells, "pixelxdimension", "width")), _pixels(get(cells, "pixelydimension", "height")))
        stated = [StatedUrl(url, role or archive_variants.ACCESS, True, *size, *published) for url in pieces]
        stated += [StatedUrl(url, of, is_access=False) for url, of in usable]
        if not stated:
            has_relative = any(_RELATIVE.match(url) for url, _ in others)
            return RejectReason.RELATIVE_URL if has_relative else RejectReason.NO_IDENTIFIER
        guids = {identifier, get(cells, "providermanagedid"), access} - {"", record_id}
        return (
            Statement(
                tuple(stated),
                frozenset(guids),
                get(cells, "derivedfrom"),
                role,
                tuple(get(cells, word) for word in _WORDS),
            ),
        )


def _urls_of_json(text: str) -> list[str] | None:
    """The picture URLs in a JSON cell: a list of URLs, or of objects with media terms. None for other cells."""
    if not text.startswith(("[", "{")):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    urls = []
    for one in found if isinstance(found, list) else [found]:
        cells = {term(name): str(value) for name, value in one.items() if value} if isinstance(one, dict) else {"url": str(one)}
        url = next((cells[name] for name in _JSON_URLS if name in cells), "")
        if reason_of_kind(cells.get("type", ""), cells.get("format", ""), url) is None:
            urls.append(url)
    return urls


def _cut(row: MediaRow) -> MediaRow:
    """The row with texts cut to the limit."""
    texts, notes = [], []
    for text, note in zip((row.reference, row.license, row.creator, row.rights_holder), TEXTS_CUT, strict=True):
        data = text.encode(errors="surrogatepass")
        if len(data) > MAX_TEXT_BYTES:
            notes.append(note)
            text = data[:MAX_TEXT_BYTES].decode(errors="ignore") + CUT_MARK
        texts.append(text)
    reference, license_, creator, rights_holder = texts
    statements = tuple(map(_with_short_words, row.statements))
    return row._replace(
        reference=reference,
        license=license_,
        creator=creator,
        rights_holder=rights_holder,
        statements=statements,
        cut=(*row.cut, *notes),
    )


def _with_short_words(statement: Statement) -> Statement:
    """A statement whose texts are only compared, so that a long one can be replaced by a digest."""
    return statement._replace(
        guids=frozenset(map(_short, statement.guids)),
        derived_from=_short(statement.derived_from),
        words=tuple(map(_short, statement.words)),
    )


def _short(text: str) -> str:
    if len(text) <= MAX_WORDS:
        return text
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def name_of(cells: Sequence[str], layout: Layout, dataset: str) -> RecordName | None:
    """Whose row this is; None if the cell is empty, or not a number although gbifIDs are expected."""
    record_id = _bare(cells[layout.id_index])
    if layout.ids_are_gbif:
        gbif_id = gbif_id_of(record_id)
        return None if gbif_id is None else RecordName(gbif_id, "", record_id)
    if not 0 < len(record_id) <= MAX_RECORD_ID:
        return None
    dataset = "" if _GLOBAL.match(record_id) else dataset
    return RecordName(number_of(dataset, record_id), dataset, record_id)


def number_of(dataset: str, record_id: str) -> int:
    """The number of a publisher's record in the ledger and in its file names: 18 digits, where GBIF's ids have 10.

    The first 8 bytes of BLAKE2b of both texts, joined by a line feed, so that anybody can reproduce it. A globally unique id (a
    URN, a URL, a UUID) has no dataset, and means the same record in every archive.
    """
    digest = hashlib.blake2b(f"{dataset}\n{record_id}".encode(errors="surrogatepass"), digest_size=8).digest()
    return FIRST_NUMBER + int.from_bytes(digest, "big") % N_NUMBERS


def _bare(cell: str) -> str:
    """A cell without blanks, tabs and line ends; empty for what databases write for "no value"."""
    if "\n" in cell or "\t" in cell or "\r" in cell:
        cell = " ".join(cell.split())
    cell = unquoted(cell)
    return "" if cell in ("\\N", "NULL", "null", "None") else cell


def _pixels(text: str) -> int | None:
    """A number of pixels; None if implausible."""
    found = re.fullmatch(r"(\d{1,6})(?:\.0*)?(?:\s*(?:px|pixels?))?", text.strip(), re.IGNORECASE)
    return int(found[1]) or None if found else None
