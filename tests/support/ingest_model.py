"""What `ingest` must make of some rows, written for being obvious: one row at a time, everything in dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from d4c_images.identity import identify, merge, split_cell, unusable_reason

COLUMNS = (
    "gbifID", "type", "format", "identifier", "references", "title", "description", "source", "audience", "created", "creator",
    "contributor", "publisher", "license", "rightsHolder",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of multimedia.txt, as far as the ledger has to do with it."""

    gbif_id: int
    identifier: str
    type: str = "StillImage"
    references: str = ""
    license: str = ""
    creator: str = ""
    rights_holder: str = ""

    def line(self, columns: Sequence[str] = COLUMNS) -> str:
        cells = {
            "gbifID": str(self.gbif_id),
            "type": self.type,
            "identifier": self.identifier,
            "references": self.references,
            "license": self.license,
            "creator": self.creator,
            "rightsHolder": self.rights_holder,
        }
        return "\t".join(cells.get(column, "") for column in columns)


def table(rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> bytes:
    return "".join(line + "\n" for line in ["\t".join(columns), *(row.line(columns) for row in rows)]).encode()


@dataclass
class Model:
    """The ledger as it must be."""

    images: dict[str, list[str]] = field(default_factory=dict)  # key -> candidates; the order is that of image_id
    links: dict[tuple[int, str], list[str]] = field(default_factory=dict)  # (gbif_id, key) -> provenance
    rejects: dict[str, int] = field(default_factory=dict)

    def admit(self, rows: Iterable[Row]) -> None:
        for row in rows:
            reason = self._admit(row)
            if reason is not None:
                self.rejects[reason] = self.rejects.get(reason, 0) + 1

    def _admit(self, row: Row) -> str | None:
        if row.type == "Sound":
            return "type_sound"
        if not row.identifier:
            return "no_identifier"
        images = [image for piece in split_cell(row.identifier) if (image := identify(piece)) is not None]
        if not images:
            return unusable_reason(row.identifier)
        for image in images:
            known = self.images.setdefault(image.key, list(image.urls))
            if not set(image.urls) <= set(known):
                self.images[image.key] = list(merge(known, image.urls))
            cells = [row.license, row.creator, row.rights_holder, row.references]
            link = self.links.setdefault((row.gbif_id, image.key), cells)
            for at, cell in enumerate(cells):
                link[at] = link[at] or cell
        return None

    def image_rows(self) -> list[tuple[int, str, str]]:
        """image_id, key, candidates."""
        return [(at, key, "\n".join(urls)) for at, (key, urls) in enumerate(self.images.items(), start=1)]

    def link_rows(self) -> list[tuple[object, ...]]:
        """gbif_id, image_no, image_id, license, creator, rights holder, references; in the order of the first two."""
        ids = {key: at for at, key in enumerate(self.images, start=1)}
        n_images: dict[int, int] = {}
        rows: list[tuple[object, ...]] = []
        for (gbif_id, key), cells in self.links.items():
            image_no = n_images.get(gbif_id, 0)
            n_images[gbif_id] = image_no + 1
            rows.append((gbif_id, image_no, ids[key], *(cell or None for cell in cells)))
        return sorted(rows, key=lambda row: row[:2])  # type: ignore[arg-type, return-value]
