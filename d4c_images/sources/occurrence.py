"""Takes labels from a table of occurrences, GBIF's or a publisher's. Knows nothing of images; checks no name against a taxonomy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from d4c_images.sources.archive import Source
from d4c_images.sources.layout import term
from d4c_images.sources.media import CUT_MARK, ROW_TOO_LONG
from d4c_images.sources.media_table import name_of
from d4c_images.sources.records import Record

RECORDS_AT_ONCE = 5_000
BYTES_AT_ONCE = 4 << 20
MAX_LABEL_CHARACTERS = 2_000  # of a name or a code; of what is longer only the start is kept, with a mark and a note

LABELS = (
    ("scientificName", False),
    ("taxonKey", True),
    ("acceptedTaxonKey", True),
    ("kingdomKey", True),
    ("phylumKey", True),
    ("classKey", True),
    ("orderKey", True),
    ("familyKey", True),
    ("genusKey", True),
    ("speciesKey", True),
    ("family", False),
    ("basisOfRecord", False),
    ("datasetKey", False),
    ("institutionCode", False),
    ("collectionCode", False),
    ("catalogNumber", False),
)
"""Columns of GBIF's interpreted occurrences (a publisher's core has some of them), and whether they hold numbers; the order
is that of the table `labels`."""


class LabelReader:
    """Reads labels by the columns of one table. Columns that it lacks read as None.

    Notes count rows of the table that were too long to be read, and cells of which only the start was kept (`catalog_number_cut`).
    """

    def __init__(self, source: Source) -> None:
        self._notes: Counter[str] = Counter()
        self._source = source
        layout = source.layout
        if layout is None:
            places = [source.columns.get(name) for name, _ in LABELS]
        else:
            places = [layout.cells.get(term(name), (None,))[0] for name, _ in LABELS]
        self._cells = [(at, f"{_snake(name)}_cut", is_number) for at, (name, is_number) in zip(places, LABELS, strict=True)]

    def take_notes(self) -> dict[str, int]:
        """Those since the last call."""
        notes, self._notes = dict(self._notes), Counter()
        return notes

    def rows(self, offset: int, rows_done: int) -> Iterator[tuple[int, int, list[tuple[int, list[str]]]]]:
        """The rows after a place, many at a time: the number of the last one, the byte after it, and the rows with their records.

        Rows that name no record are left out.
        """
        layout, dataset = self._source.layout, self._source.dataset
        if layout is None:
            yield from self._lines(offset, rows_done)
            return
        for some in _some(self._source.records(offset, rows_done + 1)):
            self._note(ROW_TOO_LONG, sum(record.reason == ROW_TOO_LONG for record in some))
            named = ((name_of(record.cells, layout, dataset), record.cells) for record in some if record.reason is None)
            yield some[-1].row_no, some[-1].end, [(name.gbif_id, cells) for name, cells in named if name is not None]

    def _lines(self, offset: int, rows_done: int) -> Iterator[tuple[int, int, list[tuple[int, list[str]]]]]:
        """GBIF's own table."""
        at = self._source.columns["gbifID"]
        for block in self._source.blocks(offset, rows_done + 1):
            if block.is_too_long:
                self._note(ROW_TOO_LONG)
                yield block.row_no, block.end, []
                continue
            rows = (line.split("\t") for line in block.text().split("\n"))
            named = ((_whole_number(row[at]), row) for row in rows if len(row) > at)
            yield block.row_no - 1 + block.n_lines, block.end, [(no, row) for no, row in named if no is not None]

    def labels(self, row: Sequence[str]) -> tuple[str | int | None, ...]:
        """The labels in the order of `LABELS`; None where the cell is empty or no number where one belongs."""
        return tuple(self._value(row, *cell) for cell in self._cells)

    def _value(self, row: Sequence[str], at: int | None, note: str, is_number: bool) -> str | int | None:
        cell = "" if at is None or at >= len(row) else row[at].strip()
        if is_number:
            return _whole_number(cell)
        if len(cell) > MAX_LABEL_CHARACTERS:
            self._note(note)
            cell = cell[:MAX_LABEL_CHARACTERS] + CUT_MARK
        return cell or None

    def _note(self, note: str, n: int = 1) -> None:
        if n:
            self._notes[note] += n


def _some(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Many rows at a time, but no more than a few MiB of them."""
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


def _snake(name: str) -> str:
    """As the column of the table `labels` is called."""
    return re.sub(r"(?=[A-Z])", "_", name).lower()


def _whole_number(cell: str) -> int | None:
    return int(cell) if cell.isascii() and cell.isdigit() and len(cell) < 19 else None
