"""Sorts the rows of `multimedia.txt`: those that may show an image, and the rest by reason. Looks into no URL's meaning.

Works on a block of rows at a time, column by column, since a download has 10^8 rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from d4c_images.identity import identify
from d4c_images.model import MediaRecord, Reject
from d4c_images.sources.header import Columns
from d4c_images.sources.lines import Block

MAX_SAMPLES = 1000  # rows kept per reason and archive; the counts are of all rows
ROW_START_CHARACTERS = 500
MAX_GBIF_ID = 2**63 - 1

TOO_FEW_CELLS = "too_few_cells"
TOO_MANY_CELLS = "too_many_cells"
BAD_GBIF_ID = "bad_gbif_id"
NO_IDENTIFIER = "no_identifier"
TYPE_SOUND = "type_sound"
TYPE_MOVING_IMAGE = "type_moving_image"
TYPE_OTHER = "type_other"
INTERACTIVE_NOT_IIIF = "interactive_not_iiif"

BROKEN_UTF8 = "broken_utf8"

# Terms of the DCMI type vocabulary, as GBIF writes them (`StillImage`) or as a URI, a prefixed name or words.
_IMAGES = frozenset(("", "stillimage", "image"))
_OTHERS = {"sound": TYPE_SOUND, "audio": TYPE_SOUND, "movingimage": TYPE_MOVING_IMAGE, "video": TYPE_MOVING_IMAGE}
_FORMATS = {"audio": TYPE_SOUND, "video": TYPE_MOVING_IMAGE}
# GBIF marks IIIF manifests `application/ld+json` or `application/json+ld` (gbif/pipelines issue 689).
_IIIF_FORMAT = re.compile(r"ld\+json|json\+ld|iiif", re.IGNORECASE)
_IIIF_URL = re.compile(r"iiif|/manifest(?:\.json)?$", re.IGNORECASE)


class Rejects:
    """Counts of all rejected rows by reason, and a sample of them. Notes count rows that were admitted all the same."""

    def __init__(self, sampled: Mapping[str, int] | None = None) -> None:
        """`sampled` says how many rows of each reason an earlier reading of the same archive has kept."""
        self._sampled = Counter(sampled or {})
        self.counts: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.samples: list[Reject] = []
        self._block = -1  # whose lines' offsets are known
        self._offsets: list[int] = []

    def add(self, block: Block, line_no: int, line: str, reason: str, gbif_id: int | None) -> None:
        """Count row `line_no` (from 0) of a block."""
        self.counts[reason] += 1
        if self._sampled[reason] < MAX_SAMPLES:
            self._sampled[reason] += 1
            if self._block != block.offset:
                self._block, self._offsets = block.offset, block.offsets()
            offset = self._offsets[line_no]
            self.samples.append(Reject(block.row_no + line_no, offset, reason, line[:ROW_START_CHARACTERS], gbif_id))

    def take(self) -> tuple[dict[str, int], dict[str, int], list[Reject]]:
        """Counts, notes and samples since the last call."""
        taken = (dict(self.counts), dict(self.notes), self.samples)
        self.counts, self.notes, self.samples = Counter(), Counter(), []
        return taken


class MediaRows(NamedTuple):
    """The rows of a block that may show an image, as columns of equal length."""

    line_nos: Sequence[int]  # positions in the block, from 0
    gbif_ids: Sequence[int]
    identifiers: Sequence[str]
    references: Sequence[str]
    types: Sequence[str]
    formats: Sequence[str]
    licenses: Sequence[str]
    creators: Sequence[str]
    rights_holders: Sequence[str]

    def pick(self, positions: Sequence[int]) -> MediaRows:
        """Some of the rows, or some rows several times."""
        return MediaRows._make([column[at] for at in positions] for column in self)


class Sieve:
    """Sorts the blocks of one table. Rejected rows go to `rejects`."""

    def __init__(self, columns: Columns, rejects: Rejects) -> None:
        self.rejects = rejects
        self._width = columns.width
        self._gbif_id = columns["gbifID"]
        self._identifier = columns["identifier"]
        self._type = columns.get("type")
        self._format = columns.get("format")
        self._others = [columns.get(name) for name in ("references", "type", "format", "license", "creator", "rightsHolder")]

    def sift(self, block: Block, lines: Sequence[str]) -> MediaRows:
        """The usable rows among the lines of a block. Cells are as they stand in the file."""
        rows = [line.split("\t") for line in lines]
        width, id_at, url_at = self._width, self._gbif_id, self._identifier
        type_at = url_at if self._type is None else self._type
        kept = [
            at
            for at, row in enumerate(rows)
            if (len(row) == width and row[type_at] == "StillImage" and row[url_at])
            or self._is_usable(block, at, lines[at], row)
        ]
        if len(kept) < len(rows):
            rows = [rows[at] for at in kept]
        try:
            cells = [row[id_at] for row in rows]
            gbif_ids = list(map(int, cells))
            digits = "".join(cells)  # int() also takes "1_000" and digits of other scripts
            if gbif_ids and not (digits.isascii() and digits.isdigit() and min(gbif_ids) > 0 and max(gbif_ids) <= MAX_GBIF_ID):
                raise ValueError
        except ValueError:
            kept, rows, gbif_ids = self._with_good_ids(block, lines, kept, rows)
        empty = [""] * len(rows)
        references, types, formats, licenses, creators, holders = (
            empty if at is None else [row[at] for row in rows] for at in self._others
        )
        return MediaRows(kept, gbif_ids, [row[url_at] for row in rows], references, types, formats, licenses, creators, holders)

    def _is_usable(self, block: Block, at: int, line: str, row: list[str]) -> bool:
        """Whether a row that is not plainly a still image may show one; counts it by its reason where not."""
        reason = self._reason(row)
        if reason is None:
            return True
        known_id = _gbif_id(row[self._gbif_id]) if len(row) > self._gbif_id else None
        self.rejects.add(block, at, line, reason, known_id)
        return False

    def _reason(self, row: list[str]) -> str | None:
        if len(row) != self._width:
            return TOO_FEW_CELLS if len(row) < self._width else TOO_MANY_CELLS
        if _gbif_id(row[self._gbif_id]) is None:
            return BAD_GBIF_ID
        identifier = row[self._identifier].strip()
        media_format = "" if self._format is None else row[self._format].strip()
        kind = "" if self._type is None else _term(row[self._type])
        if kind == "interactiveresource":
            return None if _is_iiif(identifier, media_format) else INTERACTIVE_NOT_IIIF
        if kind not in _IMAGES:
            return _OTHERS.get(kind, TYPE_OTHER)
        if kind == "" and (other := _FORMATS.get(media_format.partition("/")[0].lower())):
            return other
        return None if identifier else NO_IDENTIFIER

    def _with_good_ids(
        self, block: Block, lines: Sequence[str], kept: list[int], rows: list[list[str]]
    ) -> tuple[list[int], list[list[str]], list[int]]:
        good = []
        for at, row in zip(kept, rows, strict=True):
            gbif_id = _gbif_id(row[self._gbif_id])
            if gbif_id is None:
                self.rejects.add(block, at, lines[at], BAD_GBIF_ID, None)
            else:
                good.append((at, row, gbif_id))
        return [at for at, _, _ in good], [row for _, row, _ in good], [gbif_id for _, _, gbif_id in good]


def records(blocks: Iterator[Block], columns: Columns, rejects: Rejects) -> Iterator[MediaRecord]:
    """The usable rows one by one, cells stripped."""
    sieve = Sieve(columns, rejects)
    for block in blocks:
        rows = sieve.sift(block, block.lines()[0])
        for line_no, gbif_id, *cells in zip(*rows, strict=True):
            yield MediaRecord(block.row_no + line_no, gbif_id, *(cell.strip() for cell in cells))


def _gbif_id(cell: str) -> int | None:
    """The number in a cell, None where it is none that GBIF could have given."""
    cell = cell.strip().strip('"')
    if not (cell.isascii() and cell.isdigit()):
        return None
    number = int(cell[:20])
    return number if 0 < number <= MAX_GBIF_ID else None


def _term(cell: str) -> str:
    """`StillImage`, `http://purl.org/dc/dcmitype/StillImage`, `dcmitype:StillImage` and `still image` are one."""
    return re.split(r"[/#:]", cell.strip().strip('"'))[-1].replace(" ", "").replace("_", "").lower()


def _is_iiif(identifier: str, media_format: str) -> bool:
    if _IIIF_FORMAT.search(media_format) or _IIIF_URL.search(identifier):
        return True
    image = identify(identifier)
    return image is not None and image.rule == "iiif"
