"""The result of a check: findings with their reasons and remedies, progress, and the report. Looks at nothing itself.

`Findings` is the only place where findings are added. All are counted; the first ones of each reason are kept in full.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

FINDINGS_SHOWN = 20  # findings per reason shown in full; all are counted


class Reason(StrEnum):
    """What is wrong: a closed list."""

    DATABASE_DAMAGED = "database_damaged"
    COUNTER_MISMATCH = "counter_mismatch"
    RECORD_MISMATCH = "record_mismatch"
    ORPHANED_LEASE = "orphaned_lease"
    DANGLING_REFERENCE = "dangling_reference"
    NO_FILE_NAME = "no_file_name"
    FILE_MISSING = "file_missing"
    SIZE_MISMATCH = "size_mismatch"
    HASH_MISMATCH = "hash_mismatch"
    UNDECODABLE = "undecodable"
    UNREADABLE = "unreadable"
    TORN_SHARD = "torn_shard"
    UNTRACKED = "untracked"
    LEFTOVER = "leftover"


REPAIR = "d4c-images check --repair"
REMEDIES = {
    Reason.DATABASE_DAMAGED: "d4c-images restore",
    Reason.COUNTER_MISMATCH: "d4c-images init --finalize-only",
    Reason.RECORD_MISMATCH: "d4c-images init --finalize-only",
    Reason.ORPHANED_LEASE: REPAIR,
    Reason.DANGLING_REFERENCE: "d4c-images restore",
    Reason.NO_FILE_NAME: REPAIR,
    Reason.FILE_MISSING: REPAIR,
    Reason.SIZE_MISMATCH: REPAIR,
    Reason.HASH_MISMATCH: REPAIR,
    Reason.UNDECODABLE: REPAIR,
    Reason.UNREADABLE: REPAIR,
    Reason.TORN_SHARD: REPAIR,
    Reason.UNTRACKED: REPAIR,
    Reason.LEFTOVER: REPAIR,
}
"""The command that mends what is wrong for each reason."""


@dataclass(frozen=True, slots=True)
class Finding:
    reason: Reason
    subject: str  # path below the image root; empty for the ledger itself
    detail: str  # one line without tabs
    image_id: int | None = None
    offset: int | None = None  # of the image, in the file of `subject`

    @property
    def remedy(self) -> str:
        """The command that mends it."""
        return REMEDIES[self.reason]


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
    counts: dict[Reason, int]
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

    hear: Callable[[Finding], None] | None = None  # for who wants them all
    counts: Counter[Reason] = field(default_factory=Counter)
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

    def add(self, finding: Finding) -> None:
        self.counts[finding.reason] += 1
        if self.hear is not None:
            self.hear(finding)
        if self.counts[finding.reason] <= FINDINGS_SHOWN:
            self.samples.append(finding)

    def of_ledger(self, reason: Reason, detail: str, image_id: int | None = None) -> None:
        """Add a finding about the ledger itself."""
        self.add(Finding(reason, "", detail, image_id))

    def so_far(self) -> tuple[Counter[Reason], list[Finding]]:
        """For `take_back`, in case the following findings turn out to be invalid."""
        return self.counts.copy(), self.samples.copy()

    def take_back(self, so_far: tuple[Counter[Reason], list[Finding]]) -> None:
        self.counts, self.samples = so_far[0].copy(), so_far[1].copy()

    def as_json(self) -> dict[str, Any]:
        """Plain values, from which `take_up` continues."""
        return {name: getattr(self, name) for name in NUMBERS} | {
            "images_by_status": self.images_by_status,
            "records_by_status": self.records_by_status,
            "counts": {reason.value: n for reason, n in self.counts.items()},
            "samples": [dataclasses.asdict(finding) for finding in self.samples],
        }

    def take_up(self, mark: Mapping[str, Any]) -> None:
        """Continue from the `as_json` of an earlier check."""
        for name in NUMBERS:
            setattr(self, name, mark[name])
        self.images_by_status, self.records_by_status = mark["images_by_status"], mark["records_by_status"]
        self.counts.update({Reason(reason): n for reason, n in mark["counts"].items()})
        self.samples += [Finding(**kept | {"reason": Reason(kept["reason"])}) for kept in mark["samples"]]

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
