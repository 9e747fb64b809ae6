"""Takes labels from an occurrence table, GBIF's or a publisher's. Knows nothing of images; checks no name against a taxonomy."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from d4c_images.model import Labels, OwnCells, RejectReason, SharedCells, TaxonCells
from d4c_images.sources.layout import term
from d4c_images.sources.media import BROKEN_UTF8, CUT_MARK, gbif_id_of
from d4c_images.sources.media_table import name_of
from d4c_images.sources.rows import Record
from d4c_images.sources.source import Source

RECORDS_AT_ONCE = 5_000
BYTES_AT_ONCE = 4 << 20
MAX_LABEL_CHARACTERS = 2_000  # of a name or a code; longer ones are cut, with a mark and a note
CHECKLIST_UNKNOWN = "checklist_unknown"

# Valid ranges: degrees, and metres above 0, which https://dwc.tdwg.org/terms/#dwc:coordinateUncertaintyInMeters excludes. Numbers
# that are too large become infinity.
RANGES = {
    "decimal_latitude": (-90.0, 90.0),
    "decimal_longitude": (-180.0, 180.0),
    "coordinate_uncertainty_in_meters": (math.nextafter(0.0, 1.0), math.nextafter(math.inf, 0.0)),
}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_FIELDS = (*TaxonCells._fields, *SharedCells._fields, *OwnCells._fields)
_KEYS = [at for at, name in enumerate(TaxonCells._fields) if name.endswith("_key") and name != "checklist_key"]
_CHECKLIST = TaxonCells._fields.index("checklist_key")
_SHARED, _OWN = len(TaxonCells._fields), len(TaxonCells._fields) + len(SharedCells._fields)
_NUMBERS = [(_FIELDS.index(name), name, *limits) for name, limits in RANGES.items()]


class LabelReader:
    """Reads labels from the columns of one table. Missing columns read as None.

    Notes count rows that were too long or do not say which record they belong to, cells that were cut (`catalog_number_cut`), cells
    that cannot be parsed (`decimal_latitude_unreadable`), which become None, and rows with taxon keys of an unknown checklist.
    """

    def __init__(self, source: Source, checklist_key: str | None = None) -> None:
        """`checklist_key` is the checklist of the taxon keys if the table does not name it, as GBIF's downloads do not."""
        self._notes: Counter[str] = Counter()
        self._source = source
        self._checklist_key = checklist_key
        layout = source.layout
        found = {name: (at,) for name, at in source.columns.index.items()} if layout is None else layout.cells
        places = [found.get(term(name), ()) for name in _FIELDS]
        self._width = max((max(some, default=-1) for some in places), default=-1) + 1
        self._first = itemgetter(*(some[0] if some else -1 for some in places))  # -1: the empty cell appended to the row
        defaults = {} if layout is None else layout.defaults
        self._others = [
            (at, some[1:], defaults.get(term(name)))
            for at, (name, some) in enumerate(zip(_FIELDS, places, strict=True))
            if len(some) > 1 or term(name) in defaults
        ]

    def take_notes(self) -> dict[str, int]:
        """The notes since the last call."""
        notes, self._notes = dict(self._notes), Counter()
        return notes

    def rows(self, offset: int, rows_done: int) -> Iterator[tuple[int, int, list[tuple[int, list[str]]]]]:
        """The rows after a place, in batches: the number of the last one, the byte after it, and the rows with their records.

        Rows that name no record are left out.
        """
        layout, dataset = self._source.layout, self._source.dataset
        if layout is None:
            yield from self._lines(offset, rows_done)
            return
        nameless = RejectReason.BAD_GBIF_ID if layout.ids_are_gbif else RejectReason.BAD_RECORD_ID
        for some in _some(self._source.records(offset, rows_done + 1)):
            self._notes.update(record.reason for record in some if record.reason is not None)
            self._note(BROKEN_UTF8, sum(record.is_broken for record in some))
            whole = [record.cells for record in some if record.reason is None]
            named = [(name.gbif_id, cells) for cells in whole if (name := name_of(cells, layout, dataset)) is not None]
            self._note(nameless, len(whole) - len(named))
            yield some[-1].row_no, some[-1].end, named

    def _lines(self, offset: int, rows_done: int) -> Iterator[tuple[int, int, list[tuple[int, list[str]]]]]:
        """GBIF's own table."""
        at, width = self._source.columns["gbifID"], self._source.columns.width
        for block in self._source.blocks(offset, rows_done + 1):
            if block.is_too_long:
                self._note(RejectReason.ROW_TOO_LONG)
                yield block.row_no, block.end, []
                continue
            data, broken = block.lines()
            rows = [line.split("\t") for line in data.decode(errors="replace").split("\n") if line]
            whole = [row for row in rows if len(row) <= width or not any(row[width:])]  # otherwise its cells are shifted
            named = [(no, row) for row in whole if len(row) > at and (no := gbif_id_of(row[at])) is not None]
            self._note(BROKEN_UTF8, len(broken))
            self._note(RejectReason.TOO_MANY_CELLS, len(rows) - len(whole))
            self._note(RejectReason.BAD_GBIF_ID, len(whole) - len(named))
            yield block.row_no - 1 + block.n_lines, block.end, named

    def labels(self, row: Sequence[str]) -> Labels:
        """The labels in a row."""
        row = [*row, *[""] * (self._width - len(row)), ""]
        first = self._first(row)
        cells: list[Any] = [cell.strip() or None for cell in first]
        for at, places, default in self._others:
            if cells[at] is None:  # of a term in several columns the first non-empty one, else the default
                cells[at] = next(filter(None, [row[place].strip() for place in places]), default)
        for at, name, low, high in _NUMBERS:
            if cells[at] is not None:
                cells[at] = self._number(cells[at], name, low, high)
        if self._others or len("".join(first)) > MAX_LABEL_CHARACTERS:
            self._cut(cells)
        if cells[_CHECKLIST] is None and any(cells[at] for at in _KEYS):
            cells[_CHECKLIST] = self._checklist_key
            self._note(CHECKLIST_UNKNOWN, self._checklist_key is None)
        return Labels(TaxonCells._make(cells[:_SHARED]), SharedCells._make(cells[_SHARED:_OWN]), OwnCells._make(cells[_OWN:]))

    def _number(self, cell: str, name: str, low: float, high: float) -> float | None:
        if _NUMBER.fullmatch(cell) and low <= (number := float(cell)) <= high:
            return number
        self._note(f"{name}_unreadable")
        return None

    def _cut(self, cells: list[Any]) -> None:
        for at, cell in enumerate(cells):
            if isinstance(cell, str) and len(cell) > MAX_LABEL_CHARACTERS:
                self._note(f"{_FIELDS[at]}_cut")
                cells[at] = cell[:MAX_LABEL_CHARACTERS] + CUT_MARK

    def _note(self, note: str, n: int = 1) -> None:
        if n:
            self._notes[note] += n


def _some(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Many rows at a time, but no more than a few MiB."""
    some: list[Record] = []
    n_bytes = 0
    for record in records:
        some.append(record)
        n_bytes += len(record.raw)
        if len(some) >= RECORDS_AT_ONCE or n_bytes >= BYTES_AT_ONCE:
            yield some
            some, n_bytes = [], 0
    if some:
        yield some
