"""The result of a check: findings with their reasons and remedies, progress, and the report. Looks at nothing itself.

`Findings` is the only place where findings are added. It counts them all, and holds those that are not written down yet.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from d4c_images.errors import printable

LEFT_SHOWN = 20  # of what a command had to leave; all are counted


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


FINDING, SUMMARY = "finding", "summary"  # types of objects in JSON Lines
REPAIR = "d4c-images check --repair"
CHECK_AGAIN = "d4c-images check # once disk, mount and permissions are right"
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
    Reason.UNREADABLE: CHECK_AGAIN,
    Reason.TORN_SHARD: REPAIR,
    Reason.UNTRACKED: REPAIR,
    Reason.LEFTOVER: REPAIR,
}
"""The command that mends what is wrong for each reason; a comment in it says what people have to do first."""


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

    def line(self) -> str:
        """Reason, subject, image_id, detail and remedy, separated by tabs. Tabs, line feeds, backslashes and what is not text are
        escaped as in Python.
        """
        image = "" if self.image_id is None else str(self.image_id)
        return "\t".join((self.reason, _field(self.subject), image, _field(self.detail), self.remedy))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, in one line of ASCII."""
        return {"type": FINDING, **dataclasses.asdict(self), "remedy": self.remedy}

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> Finding:
        reason, subject, detail = Reason(values["reason"]), values["subject"], values["detail"]
        return cls(reason, subject, detail, values["image_id"], values["offset"])


def _field(text: str) -> str:
    return printable(text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n"))


@dataclass(frozen=True, slots=True)
class CheckProgress:
    what: str
    done: int
    total: int | None
    unit: str = ""
    n_bytes: int = 0  # read so far, of images


@dataclass(frozen=True, slots=True)
class CheckScope:
    """What a check looks at; it is written down with its result."""

    part: int  # from 1
    parts: int
    first_image_id: int
    last_image_id: int
    block_ids: int  # images are dealt out to parts in blocks of that many numbers; see `check_parts`
    sha256: bool
    decode: bool
    sample: int | None  # one image of that many was read or decoded; None: all
    sample_turn: int  # which one, from 0
    full: bool
    ledger_only: bool


@dataclass(frozen=True, slots=True)
class CheckReport:
    ledger: Path
    root: Path | None  # None: no file was looked at
    scope: CheckScope
    began_at: float
    ended_at: float  # unix time
    n_images: int  # success rows checked against their files
    n_former: int  # what was stored before publishers changed it, likewise
    n_read: int  # images whose bytes were read, and decoded
    n_decoded: int
    read_bytes: int
    n_files: int  # files checked against the ledger
    n_packed: int  # images in shards, likewise
    n_ignored: int  # files of systems and desktops, and those to be ignored. Not a finding
    n_records: int
    n_to_adopt: int  # left by dead workers: the next download adopts or removes them. Not a finding
    n_in_work: int  # files of active leases. Not a finding
    n_to_set_aside: int  # files of placeholders to be quarantined. Not a finding
    n_unused: int  # images in shards that no row refers to: replaced, or stored by a late worker. Not a finding
    unused_bytes: int
    counts: dict[Reason, int]
    images_by_status: dict[str, int]  # rows; empty if the file itself is damaged, and for parts after the first
    records_by_status: dict[str, int]  # likewise, of gbif_ids
    went_on: str | None = None  # where an earlier check was resumed

    @property
    def ok(self) -> bool:
        return not self.counts

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = dataclasses.asdict(self)
        scope = values.pop("scope")
        paths = {"ledger": str(self.ledger), "root": None if self.root is None else str(self.root)}
        return {"type": SUMMARY, "ok": self.ok, **values, **scope, **paths}


NUMBERS = (
    *("n_images", "n_former", "n_read", "n_decoded", "read_bytes", "n_files", "n_packed", "n_ignored", "n_records"),
    *("n_to_adopt", "n_in_work", "n_to_set_aside", "n_unused", "unused_bytes"),
)


@dataclass(slots=True)
class Findings:
    """The findings so far, and how much has been looked at."""

    counts: Counter[Reason] = field(default_factory=Counter)
    new: list[Finding] = field(default_factory=list)  # not taken yet
    n_images: int = 0
    n_former: int = 0
    n_read: int = 0
    n_decoded: int = 0
    read_bytes: int = 0
    n_files: int = 0
    n_packed: int = 0
    n_ignored: int = 0
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
        self.new.append(finding)

    def of_ledger(self, reason: Reason, detail: str, image_id: int | None = None) -> None:
        """Add a finding about the ledger itself."""
        self.add(Finding(reason, "", detail, image_id))

    def take(self) -> list[Finding]:
        """Those added since the last call."""
        new, self.new = self.new, []
        return new

    def so_far(self) -> tuple[Counter[Reason], int]:
        """For `take_back`, in case the following findings turn out to be invalid. None may be taken in between."""
        return self.counts.copy(), len(self.new)

    def take_back(self, so_far: tuple[Counter[Reason], int]) -> None:
        self.counts = so_far[0].copy()
        del self.new[so_far[1] :]

    def as_json(self) -> dict[str, Any]:
        """Plain values, from which `take_up` continues."""
        return {name: getattr(self, name) for name in NUMBERS} | {
            "images_by_status": self.images_by_status,
            "records_by_status": self.records_by_status,
            "counts": {reason.value: n for reason, n in self.counts.items()},
        }

    def take_up(self, mark: Mapping[str, Any]) -> None:
        """Continue from the `as_json` of an earlier check."""
        for name in NUMBERS:
            setattr(self, name, mark[name])
        self.images_by_status, self.records_by_status = mark["images_by_status"], mark["records_by_status"]
        self.counts.update({Reason(reason): n for reason, n in mark["counts"].items()})

    def results(self) -> dict[str, Any]:
        """Numbers and counts, as a `CheckReport` has them."""
        numbers = {name: getattr(self, name) for name in NUMBERS}
        by_status = {"images_by_status": self.images_by_status, "records_by_status": self.records_by_status}
        return {**numbers, "counts": dict(self.counts), **by_status}
