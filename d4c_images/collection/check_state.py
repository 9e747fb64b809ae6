"""The checkpoint of a `check`, in a small file next to the ledger, so that the next one can resume. Decides no finding.

The file is JSON: what is checked (`terms`), which parts are done, the position in each other part, and the numbers and findings so
far. It is replaced atomically, every few seconds, and removed at the end. If the folder is not writable, nothing is kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.file.snapshot import snapshot_of
from d4c_images.ledger.questions import audit
from d4c_images.system import clocks
from d4c_images.system.small_files import json_of

SUFFIX = ".check"
FORMAT = 3  # earlier ones had other names for findings
SAVE_EVERY_S = 5.0
MAX_AGE_S = 7 * 86400.0  # after that a collection has changed too much


def state_path(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}{SUFFIX}")


def fingerprint(ledger: Reader) -> list[object]:
    """Changes whenever any process commits to the file that is read."""
    path = ledger.path if ledger.copied_at is None else snapshot_of(ledger.path)
    return [*_marks(path), *_marks(Path(f"{path}-wal"))]


class CheckState:
    """Keeps the state of one check. One run can resume another only if their `terms` are equal."""

    def __init__(self, ledger: Reader, terms: dict[str, object], clock: Callable[[], float] = clocks.now) -> None:
        self._ledger, self._clock = ledger, clock
        self._path = state_path(ledger.path)
        found = ledger.path.stat()
        self._terms = {"format": FORMAT, "ledger": [found.st_dev, found.st_ino], **terms}
        self._saved_at = clock()
        self._mark: dict[str, Any] | None = None

    def load(self) -> dict[str, Any] | None:
        """The checkpoint of an earlier run, if this one may resume it.

        Findings are not verified again, so a checkpoint with findings is valid only while nobody could have repaired the ledger.
        """
        try:
            kept = json_of(self._path)
            age_s = self._clock() - kept["saved_at"]
            is_same = kept["terms"] == self._terms and -60 < age_s < MAX_AGE_S
            if is_same and (not kept["mark"]["counts"] or kept["last_run"] == audit.last_run(self._ledger)):
                mark: dict[str, Any] = kept["mark"]
                return mark
        except (OSError, ValueError, KeyError, TypeError):
            pass  # there is none, or it is not ours
        return None

    def mark(self, mark: dict[str, Any]) -> None:
        """Everything before this is counted, and nothing after it. Saved if due."""
        self._mark = mark
        if self.is_due():
            self.save()

    def is_due(self) -> bool:
        """Whether the next mark will be saved."""
        return self._clock() - self._saved_at >= SAVE_EVERY_S

    def save(self) -> None:
        """Save the last mark now."""
        self._saved_at = self._clock()
        if self._mark is None:
            return
        run_id = audit.last_run(self._ledger)
        kept = {"terms": self._terms, "saved_at": self._saved_at, "last_run": run_id, "mark": self._mark}
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        try:
            new.write_text(json.dumps(kept), encoding="utf-8")
            new.replace(self._path)
        except OSError:  # a read-only folder, a full disk: then the next check starts over
            self._remove(new)

    def forget(self) -> None:
        self._mark = None
        self._remove(self._path)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            pass


def _marks(path: Path) -> list[int]:
    """Size and time of a file; nothing for an empty or missing one."""
    try:
        found = path.stat()
    except OSError:
        return [0, 0]
    return [found.st_size, found.st_mtime_ns] if found.st_size else [0, 0]
