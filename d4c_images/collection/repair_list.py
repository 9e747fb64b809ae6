"""The findings of a check, written to a file next to the ledger for the repair that follows. Decides nothing.

<ledger>.check.repair: JSON Lines. The first says what was checked; then one line per finding; the last, written when the check has
ended, has its numbers. A repair that was killed goes on with the same file; each finding is verified again before anything is done.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from d4c_images.collection.findings import Finding, Reason
from d4c_images.errors import StoreError
from d4c_images.system import clocks

REPAIR_LIST_FORMAT = 1
LINES_AT_ONCE = 1_000
LIST_AGE_S = 86400.0  # after that the check is made again
DETAILED = frozenset((Reason.DATABASE_DAMAGED, Reason.DANGLING_REFERENCE, Reason.UNREADABLE))
"""Of these the details are kept, since people have to act on them."""
TAIL_BYTES_OF_LIST = 1 << 16


@dataclass(slots=True)
class CheckNumbers:
    """Of the check that found them."""

    n_images: int = 0
    n_files: int = 0
    n_unused: int = 0
    counts: dict[Reason, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "n_images": self.n_images,
            "n_files": self.n_files,
            "n_unused": self.n_unused,
            "counts": {reason.value: n for reason, n in self.counts.items()},
        }

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> Self:
        counts = {Reason(reason): int(n) for reason, n in values["counts"].items()}
        return cls(values["n_images"], values["n_files"], values["n_unused"], counts)

    @property
    def n_findings(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class ListPosition:
    """How far a repair has come in a list of findings, as the ledger keeps it."""

    token: str  # of the list
    step: str
    offset: int  # in the list, after the last finding that is mended

    def as_json(self) -> str:
        return json.dumps({"list": self.token, "step": self.step, "offset": self.offset})

    @classmethod
    def of_json(cls, text: str) -> Self:
        values = json.loads(text)
        return cls(values["list"], values["step"], int(values["offset"]))


class RepairList:
    """One such file. `terms` say what is checked: a list for other terms is not used."""

    def __init__(self, ledger: Path, terms: Mapping[str, object]) -> None:
        self.path = ledger.with_name(f"{ledger.name}.check.repair")
        found = ledger.stat()
        self._terms = {"format": REPAIR_LIST_FORMAT, "ledger": [found.st_dev, found.st_ino], **terms}
        self.token = ""
        self.began_at = 0.0
        self._new: list[str] = []

    def load(self) -> bool:
        """Take up the file that is there; whether it is for these terms, and not too old."""
        try:
            with self.path.open("rb") as file:
                head = json.loads(file.readline())
            if head["terms"] != self._terms or not 0 <= clocks.now() - head["began_at"] < LIST_AGE_S:
                return False
            self.token, self.began_at = head["token"], head["began_at"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return True

    def numbers(self) -> CheckNumbers | None:
        """None: the check has not ended."""
        with self.path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES_OF_LIST))
            last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
        try:
            values = json.loads(last)
            return CheckNumbers.of_dict(values["summary"]) if isinstance(values, dict) and "summary" in values else None
        except (ValueError, KeyError):
            return None

    def begin(self) -> None:
        """Start an empty list."""
        self.token, self.began_at = secrets.token_hex(8), clocks.now()
        head = {"token": self.token, "began_at": self.began_at, "terms": self._terms}
        self._write("wb", json.dumps(head) + "\n")

    def add(self, finding: Finding) -> None:
        """A line per finding."""
        detail = finding.detail if finding.reason in DETAILED else ""
        self._new.append(json.dumps([finding.reason, finding.subject, finding.image_id, finding.offset, detail]) + "\n")
        if len(self._new) >= LINES_AT_ONCE:
            self._flush()

    def end(self, numbers: CheckNumbers) -> None:
        self._flush()
        self._write("ab", json.dumps({"summary": numbers.as_dict()}) + "\n")

    def findings(self, offset: int = 0) -> Iterator[tuple[Finding, int]]:
        """Each finding, with the offset in the file after it; from such an offset on."""
        with self.path.open("rb") as file:
            file.seek(offset)
            for line in file:
                offset += len(line)
                try:
                    values = json.loads(line)
                except ValueError:  # cut off by a full disk
                    continue
                if isinstance(values, list):
                    reason, subject, image_id, at, detail = values
                    yield Finding(Reason(reason), subject, detail, image_id, at), offset

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)

    def _flush(self) -> None:
        self._write("ab", "".join(self._new))
        self._new.clear()

    def _write(self, mode: str, text: str) -> None:
        try:
            with self.path.open(mode, buffering=0) as file:
                file.write(text.encode("ascii"))
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error
