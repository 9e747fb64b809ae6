"""Checkpoint and findings of a running `check`, in files next to the ledger, so that the next one can resume. Decides no finding.

    ledger.sqlite.check.3of30.1a2b3c4d.found    its findings so far: JSON Lines
    ledger.sqlite.check.3of30.1a2b3c4d.state    the checkpoint: parts that are done, the position in others, numbers
    ledger.sqlite.check.3of30.1a2b3c4d.jsonl    findings and summary of a check that has ended (`check_results`)
    ledger.sqlite.check.3of30.sample            which sample is next

The eight digits stand for what is checked (`terms`), so that different checks, and parts of one on several nodes, never share a
file. A checkpoint is replaced atomically, every few seconds. If the folder is not writable, or the same check is running already,
nothing is kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from d4c_images.collection.check_parts import ImageSample, Part
from d4c_images.collection.findings import Finding
from d4c_images.ledger.file.beside import CHECK_SUFFIX, files_of_checks
from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.file.snapshot import snapshot_of
from d4c_images.ledger.questions import audit
from d4c_images.system import clocks
from d4c_images.system.small_files import json_of

FORMAT = 4  # earlier ones had other names for findings, and kept some of them in the checkpoint
SAVE_EVERY_S = 5.0
MAX_AGE_S = 7 * 86400.0  # after that a collection has changed too much
UNFINISHED_SUFFIX = "new"


def fingerprint(ledger: Reader) -> list[object]:
    """Changes whenever any process commits to the file that is read."""
    path = ledger.path if ledger.copied_at is None else snapshot_of(ledger.path)
    return [*_marks(path), *_marks(Path(f"{path}-wal"))]


def next_sample(ledger: Path, part: Part, n: int) -> ImageSample:
    """The sample of one image of `n` whose turn it is."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        return ImageSample(n, int(json_of(_turns(ledger, part)).get(str(n), 0)) % n)
    return ImageSample(n)


def sample_is_done(ledger: Path, part: Part, sample: ImageSample) -> None:
    """The next sample of this size is another one."""
    path, turns = _turns(ledger, part), {}
    with suppress(OSError, ValueError, TypeError):
        turns = dict(json_of(path))
    with suppress(OSError):
        _replace(path, json.dumps(turns | {str(sample.n): (sample.turn + 1) % sample.n}))


class CheckState:
    """Keeps checkpoint and findings of one check. One run can resume another only if part and `terms` are equal."""

    def __init__(self, ledger: Reader, part: Part, terms: dict[str, object], clock: Callable[[], float] = clocks.now) -> None:
        self._ledger, self._clock = ledger, clock
        # Not the device of the file: other nodes may number it differently.
        text = json.dumps({"format": FORMAT, "ledger": ledger.path.stat().st_ino, **terms}, sort_keys=True)
        name = f"{ledger.path.name}{CHECK_SUFFIX}.{part.k}of{part.n}.{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        self._base = ledger.path.absolute().with_name(name)
        self._saved_at = clock()
        self._mark: dict[str, Any] | None = None
        self._found: BinaryIO | None = None
        self._is_kept = False

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self._of("state")

    def load(self, *, restart: bool = False) -> dict[str, Any] | None:
        """The checkpoint of an earlier run, if this one may resume it.

        Findings are not verified again, so a checkpoint with findings is valid only while nobody could have repaired the ledger.
        """
        self._sweep()
        self._open()
        mark = None if restart or not self._is_kept else self._load()
        try:
            self._found_file().truncate(mark["found_bytes"] if mark else 0)
            self._found_file().seek(0, os.SEEK_END)
        except OSError:  # a disk that fails: nothing is kept, and the check begins at its beginning
            self._keep_nothing()
            return None
        return mark

    def kept(self) -> Iterator[Finding]:
        """The findings up to now, in order."""
        found = self._found_file()
        end = found.tell()
        found.seek(0)
        while found.tell() < end:
            yield Finding.of_dict(json.loads(found.readline()))
        found.seek(0, os.SEEK_END)

    def append(self, findings: Sequence[Finding]) -> None:
        """Write findings down."""
        if not findings:
            return
        try:
            self._found_file().write(b"".join(_line(finding.as_dict()) for finding in findings))
            self._found_file().flush()
        except OSError:  # a full disk
            self._keep_nothing()

    def mark(self, mark: dict[str, Any]) -> None:
        """Everything before this is counted, and nothing after it. Saved if due."""
        self._mark = mark | {"found_bytes": self._found_file().tell()}
        if self.is_due():
            self.save()

    def is_due(self) -> bool:
        """Whether the next mark will be saved."""
        return self._clock() - self._saved_at >= SAVE_EVERY_S

    def save(self) -> None:
        """Save the last mark now."""
        self._saved_at = self._clock()
        if self._mark is None or not self._is_kept:
            return
        run_id = audit.last_run(self._ledger)
        kept = {"saved_at": self._saved_at, "last_run": run_id, "mark": self._mark}
        with suppress(OSError):  # a full disk: then the next check resumes from an earlier mark
            os.fdatasync(self._found_file().fileno())
            _replace(self.path, json.dumps(kept))

    def finish(self, summary: dict[str, Any]) -> None:
        """The check has ended: keep its result instead of its state."""
        if not self._is_kept:
            return
        with suppress(OSError):
            found = self._found_file()
            found.write(_line(summary))
            found.flush()
            os.fsync(found.fileno())
            self._of("found").replace(self._of("jsonl"))
            self.path.unlink(missing_ok=True)
        self._mark = None

    def close(self) -> None:
        if self._found is not None:
            with suppress(OSError):
                self._found.close()
            self._found = None

    def _load(self) -> dict[str, Any] | None:
        try:
            kept = json_of(self.path)
            mark: dict[str, Any] = kept["mark"]
            is_fresh = -60 < self._clock() - kept["saved_at"] < MAX_AGE_S
            is_valid = not mark["counts"] or kept["last_run"] == audit.last_run(self._ledger)
            if is_fresh and is_valid and os.fstat(self._found_file().fileno()).st_size >= mark["found_bytes"]:
                return mark
        except (OSError, ValueError, KeyError, TypeError):
            pass  # there is none, or it is not ours
        return None

    def _open(self) -> None:
        """The file of findings: locked, so that two equal checks don't mix them; a nameless one if that cannot be."""
        self.close()
        path = self._of("found")
        with suppress(OSError):
            file = path.open("a+b")
            if _is_mine(file, path):
                self._found, self._is_kept = file, True
                return
            file.close()
        self._keep_nothing()

    def _keep_nothing(self) -> None:
        self.close()
        self._found, self._is_kept = tempfile.TemporaryFile(), False  # noqa: SIM115 - closed by `close`

    def _found_file(self) -> BinaryIO:
        assert self._found is not None
        return self._found

    def _of(self, ending: str) -> Path:
        return self._base.with_name(f"{self._base.name}.{ending}")

    def _sweep(self) -> None:
        """Remove what checks left that nobody resumes any more, and the checkpoint of earlier programs."""
        oldest = self._clock() - MAX_AGE_S
        newest: dict[str, float] = {}
        files = [
            path
            for path in files_of_checks(self._ledger.path)
            if path.suffix in (CHECK_SUFFIX, ".state", ".found", f".{UNFINISHED_SUFFIX}")
        ]
        for path in files:
            with suppress(OSError):
                newest[path.stem] = max(newest.get(path.stem, 0.0), path.stat().st_mtime)
        for path in files:
            if newest.get(path.stem, 0.0) < oldest or path.suffix == CHECK_SUFFIX:
                with suppress(OSError):
                    path.unlink(missing_ok=True)


def _turns(ledger: Path, part: Part) -> Path:
    return ledger.with_name(f"{ledger.name}{CHECK_SUFFIX}.{part.k}of{part.n}.sample")


def _is_mine(file: BinaryIO, path: Path) -> bool:
    """Whether nobody else writes this file, and it still has its name."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks
    return os.fstat(file.fileno()).st_ino == path.stat().st_ino


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.{os.getpid()}.{UNFINISHED_SUFFIX}")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _marks(path: Path) -> list[int]:
    """Size and time of a file; nothing for an empty or missing one."""
    try:
        found = path.stat()
    except OSError:
        return [0, 0]
    return [found.st_size, found.st_mtime_ns] if found.st_size else [0, 0]
