"""Results of checks that have ended, as their files next to the ledger have them, and what the parts of one add up to.

Each is a file in JSON Lines, `ledger.sqlite.check.3of30.1a2b3c4d.jsonl`: one object for each finding, then the summary. It stays
until a run takes the summary over and calls `forget`, or the same check ends again. Changes no ledger.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from d4c_images.collection.findings import SUMMARY, CheckScope, Finding, Reason
from d4c_images.ledger.file.beside import files_of_checks

MOST_SUMMARY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The summary of a check that has ended, of a whole collection or of one part."""

    path: Path  # of the file with all findings
    root: str | None  # None: no file was looked at
    scope: CheckScope
    began_at: float
    ended_at: float  # unix time
    n_images: int  # stored images whose files were looked at
    n_read: int  # of them, those whose bytes were read and decoded
    n_decoded: int
    read_bytes: int
    n_files: int  # files that were looked up in the ledger
    n_records: int
    counts: dict[Reason, int]  # of findings
    images_by_status: dict[str, int]  # empty for parts after the first

    @property
    def ok(self) -> bool:
        return not self.counts


def check_results(ledger: Path) -> list[CheckResult]:
    """The results next to this ledger, the oldest first. A file that is not a result is left out."""
    results = [result for path in files_of_checks(ledger, ".jsonl") if (result := _read(path)) is not None]
    return sorted(results, key=lambda result: (result.ended_at, result.scope.part, result.path.name))


def findings_of(result: CheckResult) -> Iterator[Finding]:
    """All findings of a check, in order. Raises `OSError`."""
    with result.path.open("rb") as file:
        for line in file:
            values = json.loads(line)
            if values["type"] != SUMMARY:
                yield Finding.of_dict(values)


def forget(results: Iterable[CheckResult]) -> None:
    """Remove the files of results that are recorded elsewhere. One that the same check has replaced since stays."""
    for result in results:
        if _read(result.path) == result:
            with suppress(OSError):
                result.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class JoinedResults:
    """The parts of one check that have ended: the latest result of each, in order."""

    results: tuple[CheckResult, ...]

    @property
    def parts(self) -> int:
        return self.results[0].scope.parts

    @property
    def missing(self) -> tuple[int, ...]:
        """Parts without a result."""
        return tuple(sorted(set(range(1, self.parts + 1)) - {result.scope.part for result in self.results}))

    @property
    def counts(self) -> dict[Reason, int]:
        counts: Counter[Reason] = Counter()
        for result in self.results:
            counts.update(result.counts)
        return dict(counts)

    @property
    def ok(self) -> bool:
        return not any(result.counts for result in self.results)

    def total(self, number: str) -> int:
        """The sum of a number of the parts."""
        return sum(getattr(result, number) for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        numbers = ("n_images", "n_read", "n_decoded", "read_bytes", "n_files", "n_records")
        first = self.results[0] if self.results[0].scope.part == 1 else None
        return {
            "type": SUMMARY,
            "ok": self.ok,
            "parts": self.parts,
            "parts_done": [result.scope.part for result in self.results],
            "parts_missing": list(self.missing),
            "began_at": min(result.began_at for result in self.results),
            "ended_at": max(result.ended_at for result in self.results),
            **{number: self.total(number) for number in numbers},
            "counts": self.counts,
            "images_by_status": first.images_by_status if first else {},
        }


def joined(results: Sequence[CheckResult], like: CheckResult | None = None) -> JoinedResults | None:
    """The parts of the check that `like`, or else the last result, is a part of; None if there is no result."""
    if not results:
        return None
    check = _check_of(like or results[-1])
    latest = {result.scope.part: result for result in results if _check_of(result) == check}
    return JoinedResults(tuple(latest[part] for part in sorted(latest)))


def _check_of(result: CheckResult) -> tuple[object, ...]:
    """What the parts of one check have in common."""
    scope = result.scope
    return (result.root, scope.parts, scope.sha256, scope.decode, scope.sample, scope.full, scope.ledger_only)


def _read(path: Path) -> CheckResult | None:
    with suppress(OSError, ValueError, KeyError, TypeError, IndexError):
        values = json.loads(_last_line(path))
        scope = CheckScope(**{field.name: values[field.name] for field in fields(CheckScope)})
        known = {field.name: values[field.name] for field in fields(CheckResult) if field.name not in ("path", "scope", "counts")}
        counts = {Reason(reason): n for reason, n in values["counts"].items()}
        return CheckResult(path=path, scope=scope, counts=counts, **known)
    return None


def _last_line(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MOST_SUMMARY_BYTES))
        return file.read().splitlines()[-1]
