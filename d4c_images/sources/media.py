"""Filters the rows of `multimedia.txt`: those that may show an image, and the rest by reason. Does not interpret URLs.

Works on a block of rows at a time, column by column, since a download has 10^8 rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import compress, repeat
from operator import contains
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from d4c_images.identity import identify, split_cell
from d4c_images.model import Reject, RejectReason
from d4c_images.sources.header import Columns
from d4c_images.sources.lines import Block, has_long_line

MAX_SAMPLES = 1000  # rows kept per reason and archive; the counts are of all rows
ROW_START_CHARACTERS = 500
MAX_TEXT_BYTES = 16 << 10  # of a licence, a creator, ...: longer cells are something else, and a download may have many of them
MAX_CELL_BYTES = 1 << 18  # of a cell with URLs
MAX_KIND_CHARACTERS = 1_000  # of a type or a format
CUT_MARK = "\u2026"  # appended to a text that was cut
MAX_GBIF_ID = 2**63 - 1
_LINE_FEED = ord("\n")


BROKEN_UTF8 = "broken_utf8"
IDENTIFIER_CUT = "identifier_cut"
TEXTS_CUT = ("references_cut", "license_cut", "creator_cut", "rights_holder_cut")

HOLE = b"\0\0"
"""Zeros in a row mark a torn copy or an unfilled sparse file; a single one is somebody's odd character."""

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_NONE: Numbers = np.empty(0, np.int64)

# Terms of the DCMI type vocabulary, as GBIF writes them (`StillImage`) or as a URI, a prefixed name or words.
_IMAGES = frozenset(("", "stillimage", "image", "jpeg", "jpg", "png", "tiff", "gif"))  # some write the format here
_FORMATS = {"audio": RejectReason.TYPE_SOUND, "video": RejectReason.TYPE_MOVING_IMAGE}
_OTHERS = _FORMATS | {"sound": RejectReason.TYPE_SOUND, "movingimage": RejectReason.TYPE_MOVING_IMAGE}
# GBIF marks IIIF manifests `application/ld+json` or `application/json+ld` (gbif/pipelines issue 689).
_IIIF_FORMAT = re.compile(r"ld\+json|json\+ld|iiif", re.IGNORECASE)
_IIIF_URL = re.compile(r"iiif|/manifest(?:\.json)?$", re.IGNORECASE)


class Rejects:
    """Counts all rejected rows by reason, and keeps a sample of them. Notes count rows that were admitted nevertheless."""

    def __init__(self, sampled: Mapping[str, int] | None = None) -> None:
        """`sampled` says how many rows per reason an earlier reading of the same archive has kept."""
        self._sampled = Counter(sampled or {})
        self.counts: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.samples: list[Reject] = []
        self._block = -1  # whose lines' offsets are known
        self._offsets: list[int] = []

    def add(self, block: Block, line_no: int, reason: str, gbif_id: int | None) -> None:
        """Count row `line_no` (from 0) of a block."""
        if self._count(reason):
            if self._block != block.offset:
                self._block, self._offsets = block.offset, block.offsets()
            offset = self._offsets[line_no]
            line = block.data[offset - block.offset : self._offsets[line_no + 1] - block.offset]
            self.samples.append(Reject(block.row_no + line_no, offset, reason, _start(line), gbif_id))

    def add_row(self, row_no: int, offset: int, row: bytes, reason: str, gbif_id: int | None) -> None:
        """Count a single row."""
        if self._count(reason):
            self.samples.append(Reject(row_no, offset, reason, _start(row), gbif_id))

    def _count(self, reason: str) -> bool:
        """Count a row; returns whether to keep it as a sample."""
        self.counts[reason] += 1
        if self._sampled[reason] >= MAX_SAMPLES:
            return False
        self._sampled[reason] += 1
        return True

    def cut(self, text: bytes, note: str) -> bytes:
        """A cell of text, or its start with a mark and a note if it is too long."""
        if len(text) <= MAX_TEXT_BYTES:
            return text
        self.note(note)
        return text[:MAX_TEXT_BYTES].decode(errors="ignore").encode() + CUT_MARK.encode()

    def cut_list(self, cell: bytes) -> bytes:
        """A cell of URLs, or the complete URLs before the limit with a note if it is too long."""
        if len(cell) <= MAX_CELL_BYTES:
            return cell
        text, is_cut = cut_urls(cell[: MAX_CELL_BYTES + 1].decode(errors="replace"))
        if is_cut:
            self.note(IDENTIFIER_CUT)
        return text.encode()

    def note(self, note: str, n: int = 1) -> None:
        if n:
            self.notes[note] += n

    def take(self) -> tuple[dict[str, int], dict[str, int], list[Reject]]:
        """Counts, notes and samples (in row order) since the last call."""
        taken = (dict(self.counts), dict(self.notes), sorted(self.samples))
        self.counts, self.notes, self.samples = Counter(), Counter(), []
        return taken


class MediaRows(NamedTuple):
    """The rows of a block that may show an image, as columns of equal length. What is only passed on stays in UTF-8."""

    line_nos: Numbers  # positions in the block, from 0
    gbif_ids: Numbers
    identifiers: Sequence[bytes]
    references: Sequence[bytes]
    licenses: Sequence[bytes]
    creators: Sequence[bytes]
    rights_holders: Sequence[bytes]
    broken: Sequence[int] = ()  # positions of lines in the block that are not UTF-8

    def pick(self, positions: Sequence[int]) -> MediaRows:
        """Some of the rows; a row may be repeated."""
        texts = ([column[at] for at in positions] for column in self[2:-1])
        return MediaRows._make([self.line_nos[positions], self.gbif_ids[positions], *texts, self.broken])


class Sieve:
    """Filters the blocks of one table. Rejected rows go to `rejects`."""

    def __init__(self, columns: Columns, rejects: Rejects) -> None:
        self.rejects = rejects
        self._width = columns.width
        self._gbif_id = columns["gbifID"]
        self._identifier = columns["identifier"]
        self._type = columns.get("type")
        self._format = columns.get("format")
        self._others = [columns.get(name) for name in ("references", "license", "creator", "rightsHolder")]

    def sift(self, block: Block) -> MediaRows:
        """The usable rows of a block. Cells are as in the file; invalid UTF-8 becomes U+FFFD."""
        if block.is_too_long:
            self.rejects.add(block, 0, RejectReason.ROW_TOO_LONG, None)
            return MediaRows._make([_NONE, _NONE, [], [], [], [], [], ()])
        data, broken = block.lines()
        cells, line_nos = self._cells(block, data)
        is_cut = has_long_line(data, MAX_TEXT_BYTES)
        urls = cells.column(self._identifier)
        if is_cut:
            urls = list(map(self.rejects.cut_list, urls))
        gbif_ids, usable = self._judge(block, line_nos, cells, urls)
        columns = [None if at is None else cells.column(at) for at in self._others]
        if not usable.all():
            line_nos, gbif_ids = line_nos[usable], gbif_ids[usable]
            urls = list(compress(urls, usable))
            columns = [None if column is None else list(compress(column, usable)) for column in columns]
        others = [[b""] * len(urls) if column is None else column for column in columns]
        if is_cut:
            others = [[self.rejects.cut(cell, note) for cell in column] for column, note in zip(others, TEXTS_CUT, strict=True)]
        return MediaRows._make([line_nos, gbif_ids, urls, *others, broken])

    def _cells(self, block: Block, data: bytes) -> tuple[_Cells, Numbers]:
        """The cells of lines with as many cells as the header, and the positions of these lines. The others are rejected."""
        has_hole = b"\0" in data and HOLE in data  # searching for one byte is much faster
        cells = None if has_hole else _cells(data, self._width, block.n_lines)
        if cells is not None:
            return cells, np.arange(block.n_lines)
        lines = data.split(b"\n")
        whole = [at for at, line in enumerate(lines) if self._has_all_cells(block, at, line)]
        cells = _cells(b"\n".join([lines[at] for at in whole]), self._width, len(whole))
        assert cells is not None
        return cells, np.array(whole, np.int64)

    def _judge(self, block: Block, line_nos: Numbers, cells: _Cells, urls: Sequence[bytes]) -> tuple[Numbers, Flags]:
        """The gbifID of each row, and whether the row may show an image. Only rows in doubt are looked at individually."""
        n = len(urls)
        types = [b""] * n if self._type is None else cells.column(self._type)
        formats = [b""] * n if self._format is None else cells.column(self._format)
        ids = cells.column(self._gbif_id)
        gbif_ids = _numbers(ids)
        usable = np.ones(n, bool)
        doubtful: Sequence[int] = range(n)
        if gbif_ids is not None:
            doubtful = [at for at, (kind, url) in enumerate(zip(types, urls, strict=True)) if kind != b"StillImage" or not url]
        for at in doubtful:
            gbif_id, *said = _texts((ids[at], types[at], formats[at], urls[at]))
            known_id = gbif_id_of(gbif_id)
            reason = RejectReason.BAD_GBIF_ID if known_id is None else reason_of_kind(*said)
            if reason is not None:
                self.rejects.add(block, int(line_nos[at]), reason, known_id)
                usable[at] = False
        if gbif_ids is None:
            gbif_ids = np.array([gbif_id_of(cell) or 0 for cell in _texts(ids)], np.int64)
        return gbif_ids, usable

    def _has_all_cells(self, block: Block, at: int, line: bytes) -> bool:
        n_cells = line.count(b"\t") + 1
        if HOLE in line:  # what is before and after it may belong to two rows
            self.rejects.add(block, at, RejectReason.NUL_BYTES, None)
            return False
        if n_cells == self._width:
            return True
        row = _texts(line.split(b"\t", self._gbif_id + 1))
        known_id = gbif_id_of(row[self._gbif_id]) if len(row) > self._gbif_id else None
        reason = RejectReason.TOO_FEW_CELLS if n_cells < self._width else RejectReason.TOO_MANY_CELLS
        self.rejects.add(block, at, reason, known_id)
        return False


def reason_of_kind(kind: str, media_format: str, identifier: str) -> RejectReason | None:
    """Why a row with these cells shows no image by its own declaration, or None if it may show one."""
    kind, media_format = _term(kind[:MAX_KIND_CHARACTERS]), media_format[:MAX_KIND_CHARACTERS].strip()
    identifier = identifier.strip()
    if kind == "interactiveresource":
        return None if _is_iiif(identifier, media_format) else RejectReason.INTERACTIVE_NOT_IIIF
    if kind not in _IMAGES:
        return _OTHERS.get(kind, RejectReason.TYPE_OTHER)
    if kind == "" and (other := _FORMATS.get(media_format.partition("/")[0].lower())):
        return other
    return None if identifier else RejectReason.NO_IDENTIFIER


def unquoted(cell: str) -> str:
    """A cell without surrounding blanks and quotes, which small downloads add to cells with quotes inside."""
    cell = cell.strip()
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        cell = cell[1:-1].replace('""', '"').strip()
    return cell


def cut_urls(cell: str) -> tuple[str, bool]:
    """A cell of URLs, or the complete URLs before the limit, and whether it was cut.

    For a single URL beyond the limit, its start is returned, which is still too long to be a URL.
    """
    if len(cell) <= MAX_CELL_BYTES:
        return cell, False
    pieces = split_cell(cell[:MAX_CELL_BYTES])
    return (cell[:MAX_CELL_BYTES], False) if len(pieces) == 1 else ("|".join(pieces[:-1]), True)


def _start(row: bytes) -> str:
    return row[: 4 * ROW_START_CHARACTERS].decode(errors="replace").rstrip("\r\n")[:ROW_START_CHARACTERS]


class _Cells(NamedTuple):
    """All cells of some rows. At the border of two rows, an item of `cells` is the last cell of one and the first of the next."""

    cells: list[bytes]
    firsts: list[bytes]  # first cell of each row
    lasts: list[bytes]
    step: int  # from one row to the next in `cells`

    def column(self, number: int) -> list[bytes]:
        return self.firsts if number == 0 else self.lasts if number == self.step else self.cells[number :: self.step]


def _cells(lines: bytes, width: int, n_rows: int) -> _Cells | None:
    """The cells of rows joined by line feeds; None unless all of them have `width` cells (at least two).

    One split at the tabs of a whole block takes a third of the time of a split per row, and half of that of splitting text.
    """
    step = width - 1
    if n_rows == 0:
        return _Cells([], [], [], step)
    cells = lines.split(b"\t")
    borders = cells[step:-1:step]
    if len(cells) != n_rows * step + 1 or not all(map(contains, borders, repeat(_LINE_FEED))):
        return None
    # So each border holds one of the `n_rows` - 1 line feeds.
    ends = b"\n".join([cells[0], *borders, cells[-1]]).split(b"\n")
    return _Cells(cells, ends[::2], ends[1::2], step)


def _texts(cells: Sequence[bytes]) -> list[str]:
    """Decode cells: together, since one by one takes twice as long."""
    return b"\t".join(cells).decode(errors="replace").split("\t") if cells else []


def _numbers(cells: Sequence[bytes]) -> Numbers | None:
    """The GBIF ids in the cells, if all hold one and all are written as GBIF writes them."""
    if not (b"".join(cells).isdigit() and all(cells)):  # int() would also accept "1_000" and digits of other scripts
        return None
    numbers: Numbers = np.fromstring(b" ".join(cells), np.int64, sep=" ")
    return numbers if numbers.min() > 0 and numbers.max() < MAX_GBIF_ID else None  # larger ones are clamped to that


def gbif_id_of(cell: str) -> int | None:
    """The number in a cell, None if GBIF could not have assigned it."""
    cell = cell.strip().strip('"')
    if not (cell.isascii() and cell.isdigit()):
        return None
    number = int(cell[:20])
    return number if 0 < number <= MAX_GBIF_ID else None


@lru_cache(maxsize=256)
def _term(cell: str) -> str:
    """`StillImage`, `http://purl.org/dc/dcmitype/StillImage`, `dcmitype:StillImage` and `still image` are equal."""
    return re.split(r"[/#:]", cell.strip().strip('"'))[-1].replace(" ", "").replace("_", "").lower()


def _is_iiif(identifier: str, media_format: str) -> bool:
    if _IIIF_FORMAT.search(media_format) or _IIIF_URL.search(identifier):
        return True
    image = identify(identifier)
    return image is not None and image.rule == "iiif"
