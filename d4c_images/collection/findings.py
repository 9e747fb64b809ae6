"""The result of a check: kinds of trouble, findings, progress, and the report. Looks at nothing itself.

`Findings` is the only place where findings are added. All are counted; the first ones of each kind are kept in full.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

FINDINGS_SHOWN = 20  # findings per kind shown in full; all are counted


class TroubleKind(StrEnum):
    """What can be wrong."""

    DATABASE = "database damaged"
    COUNTER = "counter mismatch"
    RECORD = "record mismatch"
    LOST_LEASE = "orphaned lease"
    REFERENCE = "dangling reference"
    NO_PATH = "no file name"
    MISSING = "file missing"
    SIZE = "size mismatch"
    SHA256 = "hash mismatch"
    UNREADABLE = "unreadable file"
    TORN = "torn shard"
    NO_ROW = "untracked file"
    LEFTOVER = "leftover"


@dataclass(frozen=True, slots=True)
class Finding:
    kind: TroubleKind
    what: str  # one line


@dataclass(frozen=True, slots=True)
class CheckProgress:
    what: str
    done: int
    total: int | None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport:
    ledger: Path
    root: Path | None  # None: no file was looked at
    n_images: int  # success rows checked against their files
    n_former: int  # what was stored before publishers changed it, likewise
    n_files: int  # files checked against the ledger
    n_packed: int  # images in shards, likewise
    n_records: int
    n_to_adopt: int  # left by dead workers: the next download adopts or removes them. Not a finding
    n_in_work: int  # files of active leases. Not a finding
    n_to_set_aside: int  # files of placeholders to be quarantined. Not a finding
    n_unused: int  # images in shards that no row refers to: replaced, or stored by a late worker. Not a finding
    unused_bytes: int
    counts: dict[TroubleKind, int]
    samples: tuple[Finding, ...]
    images_by_status: dict[str, int]  # rows; empty if the file itself is damaged
    records_by_status: dict[str, int]  # likewise, of gbif_ids
    went_on: str | None = None  # where an earlier check was resumed

    @property
    def ok(self) -> bool:
        return not self.counts

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = dataclasses.asdict(self)
        return values | {"ledger": str(self.ledger), "root": None if self.root is None else str(self.root), "ok": self.ok}


NUMBERS = (
    *("n_images", "n_former", "n_files", "n_packed", "n_records", "n_to_adopt", "n_in_work", "n_to_set_aside", "n_unused"),
    "unused_bytes",
)


@dataclass(slots=True)
class Findings:
    """The findings so far, and how much has been looked at."""

    counts: Counter[TroubleKind] = field(default_factory=Counter)
    samples: list[Finding] = field(default_factory=list)
    n_images: int = 0
    n_former: int = 0
    n_files: int = 0
    n_packed: int = 0
    n_records: int = 0
    n_to_adopt: int = 0
    n_in_work: int = 0
    n_to_set_aside: int = 0
    n_unused: int = 0
    unused_bytes: int = 0
    images_by_status: dict[str, int] = field(default_factory=dict)
    records_by_status: dict[str, int] = field(default_factory=dict)

    def add(self, kind: TroubleKind, what: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= FINDINGS_SHOWN:
            self.samples.append(Finding(kind, what))

    def so_far(self) -> tuple[Counter[TroubleKind], list[Finding]]:
        """For `take_back`, in case the following findings turn out to be invalid."""
        return self.counts.copy(), self.samples.copy()

    def take_back(self, so_far: tuple[Counter[TroubleKind], list[Finding]]) -> None:
        self.counts, self.samples = so_far[0].copy(), so_far[1].copy()

    def as_json(self) -> dict[str, Any]:
        """Plain values, from which `take_up` continues."""
        return {name: getattr(self, name) for name in NUMBERS} | {
            "images_by_status": self.images_by_status,
            "records_by_status": self.records_by_status,
            "counts": {kind.value: n for kind, n in self.counts.items()},
            "samples": [[finding.kind.value, finding.what] for finding in self.samples],
        }

    def take_up(self, mark: Mapping[str, Any]) -> None:
        """Continue from the `as_json` of an earlier check."""
        for name in NUMBERS:
            setattr(self, name, mark[name])
        self.images_by_status, self.records_by_status = mark["images_by_status"], mark["records_by_status"]
        self.counts.update({TroubleKind(kind): n for kind, n in mark["counts"].items()})
        self.samples += [Finding(TroubleKind(kind), what) for kind, what in mark["samples"]]

    def report(self, ledger: Path, root: Path | None, went_on: str | None) -> CheckReport:
        return CheckReport(
            ledger=ledger,
            root=root,
            **{name: getattr(self, name) for name in NUMBERS},
            counts=dict(self.counts),
            samples=tuple(self.samples),
            images_by_status=self.images_by_status,
            records_by_status=self.records_by_status,
            went_on=went_on,
        )
