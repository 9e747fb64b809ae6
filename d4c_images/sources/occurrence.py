"""Takes labels from the rows of `occurrence.txt`. Knows nothing of images; checks no name against a taxonomy."""

from __future__ import annotations

from collections.abc import Sequence

from d4c_images.sources.header import Columns

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
"""Columns of GBIF's interpreted occurrences, and whether they hold numbers; the order is that of the table `labels`."""


class LabelReader:
    """Reads labels by the columns of one table. Columns that it lacks read as None."""

    def __init__(self, columns: Columns) -> None:
        self._gbif_id = columns["gbifID"]
        self._cells = [(columns.get(name), is_number) for name, is_number in LABELS]

    def gbif_id(self, row: Sequence[str]) -> int | None:
        """The record's number, None where the row has none."""
        cell = row[self._gbif_id] if len(row) > self._gbif_id else ""
        return int(cell) if cell.isascii() and cell.isdigit() and len(cell) < 19 else None

    def labels(self, row: Sequence[str]) -> tuple[str | int | None, ...]:
        """The labels in the order of `LABELS`; None where the cell is empty or no number where one belongs."""
        return tuple(_value(row, at, is_number) for at, is_number in self._cells)


def _value(row: Sequence[str], at: int | None, is_number: bool) -> str | int | None:
    cell = "" if at is None or at >= len(row) else row[at].strip()
    if not is_number:
        return cell or None
    return int(cell) if cell.isascii() and cell.isdigit() and len(cell) < 19 else None
