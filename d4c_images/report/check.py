"""Holds ledger and files against each other, both ways. Changes nothing; memory does not grow with the collection.

Safe beside a running download, in which files appear and rows change between two looks. A row is read before its file is looked
at, a folder before the rows that its files name; whatever looks wrong is looked at again before it becomes a finding.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from itertools import islice
from pathlib import Path
from typing import Any

from d4c_images.errors import UsageError
from d4c_images.ledger import audit
from d4c_images.ledger.audit import StoredImage
from d4c_images.ledger.reader import Reader
from d4c_images.stores import Place, reading, shard
from d4c_images.stores.pack import FOLDER as PACKS
from d4c_images.stores.pack import SHARD_NAME
from d4c_images.stores.partial import numbers_of
from d4c_images.stores.shard import Sample

SAMPLES = 20  # findings of one kind that are told in full; all are counted
DEEPEST = 4  # levels of folders; the layout has two

FINAL_NAME = re.compile(r"((?:[1-9]\d{0,17}|0)-\d{2,9}(?:-r[1-9]\d{0,8})?)\.[A-Za-z0-9]+")
PART_NAME = re.compile(r"\.(\d{1,18}-\d{1,9}(?:-r\d{1,9})?)\.(\d+)\.part")
LEDGER_SUFFIXES = ("", "-wal", "-shm", "-journal", ".owner", ".snapshot", ".snapshot.new")
CLOCKS_S = 10.0  # by which the clocks of two machines may differ


class Kind(StrEnum):
    """What can be wrong."""

    DATABASE = "database damaged"
    COUNTER = "counter untrue"
    RECORD = "record untrue"
    LOST_LEASE = "lent by nobody"
    NO_PATH = "success without a file name"
    MISSING = "file missing"
    SIZE = "file of another size"
    SHA256 = "file with other bytes"
    UNREADABLE = "cannot be read"
    TORN = "shard with a torn end"
    NO_ROW = "file without a row"
    LEFTOVER = "leftover"


class Standing(Enum):
    """How a file stands that is not simply the file of a success row."""

    UNKNOWN = auto()
    LEFTOVER = auto()  # a temporary file of a lease that has ended
    IN_WORK = auto()  # of a turn that is out
    TO_ADOPT = auto()  # left by a dead lease: the next that is lent the image looks at it
    TO_SET_ASIDE = auto()  # a placeholder's


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Kind
    what: str  # one line


@dataclass(frozen=True, slots=True)
class CheckOptions:
    sha256: bool = False  # read every file
    full: bool = False  # SQLite's full check


@dataclass(frozen=True, slots=True)
class CheckProgress:
    what: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class CheckReport:
    ledger: Path
    root: Path
    n_images: int  # success rows held against their files
    n_former: int  # what was stored before publishers changed it, likewise
    n_files: int  # files held against the ledger
    n_packed: int  # images in shards, likewise
    n_records: int
    n_to_adopt: int  # left by workers that died: the next download takes them over, or away. No finding
    n_in_work: int  # files of turns that are out. No finding
    n_to_set_aside: int  # files of placeholders that will be taken away. No finding
    n_unused: int  # images in shards that no row names any more: replaced, or kept by a worker that was too late. No finding
    unused_bytes: int
    counts: dict[Kind, int]
    samples: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return not self.counts

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = dataclasses.asdict(self)
        return values | {"ledger": str(self.ledger), "root": str(self.root), "ok": self.ok}


def check(
    ledger: Reader,
    root: Path,
    options: CheckOptions = CheckOptions(),
    progress: Callable[[CheckProgress], None] = lambda _: None,
) -> CheckReport:
    """Check everything; raises `UsageError` where `root` is no folder, `LedgerError` where the ledger cannot be read at all."""
    if not root.is_dir():
        raise UsageError(f"there is no image root {root}")
    return _Check(ledger, root, options, progress).run()


@dataclass(slots=True)
class _Check:
    ledger: Reader
    root: Path
    options: CheckOptions
    progress: Callable[[CheckProgress], None]
    counts: Counter[Kind] = field(default_factory=Counter)
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

    def run(self) -> CheckReport:
        self.progress(CheckProgress("database", 0, None))
        for line in audit.database_errors(self.ledger, full=self.options.full):
            self._found(Kind.DATABASE, line)
        if not self.counts:  # in a damaged file, what its rows say proves nothing
            self._check_ledger()
            self._check_rows()
            self._check_folders()
        return CheckReport(
            self.ledger.path,
            self.root,
            self.n_images,
            self.n_former,
            self.n_files,
            self.n_packed,
            self.n_records,
            self.n_to_adopt,
            self.n_in_work,
            self.n_to_set_aside,
            self.n_unused,
            self.unused_bytes,
            dict(self.counts),
            tuple(self.samples),
        )

    def _found(self, kind: Kind, what: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= SAMPLES:
            self.samples.append(Finding(kind, what))

    def _check_ledger(self) -> None:
        top = audit.top_image(self.ledger)
        for line in audit.untrue_counters(self.ledger, lambda done: self.progress(CheckProgress("counters", done, top))):
            self._found(Kind.COUNTER, line)
        total = audit.n_records(self.ledger)
        for n, untrue in audit.untrue_records(self.ledger):
            self.n_records += n
            for line in untrue:
                self._found(Kind.RECORD, line)
            self.progress(CheckProgress("records", self.n_records, total))
        for image_id, lease_id in audit.lost_leases(self.ledger, 1000):
            self._found(Kind.LOST_LEASE, f"image {image_id}: its lease {lease_id} does not exist")

    def _check_rows(self) -> None:
        """Every success row against its file."""
        top = audit.top_image(self.ledger)
        for low in range(0, top, audit.STEP_ROWS):
            for image in audit.stored_images(self.ledger, low, low + audit.STEP_ROWS):
                self.n_images += 1
                if self._trouble(image) is None:
                    continue
                now = audit.stored_image(self.ledger, image.image_id)
                trouble = None if now is None else self._trouble(now)
                if trouble is not None:
                    self._found(trouble.kind, trouble.what)
            for image in audit.former_images(self.ledger, low, low + audit.STEP_ROWS):
                self.n_former += 1
                trouble = self._trouble(image)
                if trouble is not None:
                    self._found(trouble.kind, trouble.what)
            self.progress(CheckProgress("images", min(top, low + audit.STEP_ROWS), top))

    def _trouble(self, image: StoredImage) -> Finding | None:
        if image.path is None or image.size_bytes is None or image.sha256 is None:
            return Finding(Kind.NO_PATH, f"image {image.image_id}")
        place = Place(image.path, image.offset)
        what = image.path if image.offset is None else f"{image.path} at {image.offset}"
        try:
            size_bytes = self._size(place)
            if size_bytes is None:
                said = "is no file" if image.offset is None else "is no image"
                return Finding(Kind.MISSING, f"{what} (image {image.image_id}) {said}")
            if size_bytes != image.size_bytes:
                return Finding(Kind.SIZE, f"{what}: {size_bytes} bytes, the ledger says {image.size_bytes}")
            if self.options.sha256 and _sha256(reading.pieces(self.root, place, size_bytes)) != image.sha256:
                return Finding(Kind.SHA256, f"{what}: its sha256 is not {image.sha256.hex()}")
        except (FileNotFoundError, NotADirectoryError):
            return Finding(Kind.MISSING, f"{what} (image {image.image_id})")
        except OSError as error:
            return Finding(Kind.UNREADABLE, f"{what}: {error.strerror}")
        return None

    def _size(self, place: Place) -> int | None:
        """Of an image, as the disk says it; None where there is something else. Raises `OSError`."""
        if place.offset is not None:
            sample = reading.sample_at(self.root, place.path, place.offset)
            return None if sample is None else sample.size_bytes
        found = (self.root / place.path).stat()
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def _check_folders(self) -> None:
        """Every file against the ledger."""
        ledger_files = {Path(f"{self.ledger.path.absolute()}{suffix}") for suffix in LEDGER_SUFFIXES}
        for prefix, names in self._walk("", 0):
            names = [name for name in names if (self.root / prefix / name).absolute() not in ledger_files]
            self.n_files += len(names)
            if prefix == f"{PACKS}/":
                for name in filter(SHARD_NAME.fullmatch, names):
                    self._check_shard(prefix + name)
                names = [name for name in names if not SHARD_NAME.fullmatch(name)]
            for name, standing in self._look(prefix, names).items():
                self._note(prefix, name, standing)
            self.progress(CheckProgress("files", self.n_files, None))

    def _note(self, prefix: str, name: str, standing: Standing) -> None:
        if standing is Standing.IN_WORK or self._is_newer_than_copy(self.root / prefix / name):
            self.n_in_work += 1
        elif standing is Standing.TO_ADOPT:
            self.n_to_adopt += 1
        elif standing is Standing.TO_SET_ASIDE:
            self.n_to_set_aside += 1
        elif os.path.lexists(self.root / prefix / name):  # a run may have moved on since the folder was read
            self._found(Kind.LEFTOVER if standing is Standing.LEFTOVER else Kind.NO_ROW, prefix + name)

    def _check_shard(self, path: str) -> None:
        """Every image of a shard against the ledger, in the order of the file."""
        try:
            with (self.root / path).open("rb", buffering=0) as file:
                end = self._check_samples(path, file.fileno())
                if self._is_torn(file.fileno(), end) and not audit.live_leases(self.ledger):
                    # A run may have gone on, and come to its end, since the last image was read.
                    for sample in shard.samples(file.fileno(), end, os.fstat(file.fileno()).st_size):
                        end = sample.end
                    if self._is_torn(file.fileno(), end) and not self._is_newer_than_copy(self.root / path):
                        self._found(Kind.TORN, f"{path} behind byte {end}; what a killed worker has left, a download mends")
        except FileNotFoundError:
            pass  # nothing was in it, and a run has taken it away
        except OSError as error:
            self._found(Kind.UNREADABLE, f"{path}: {error.strerror}")

    def _check_samples(self, path: str, fd: int) -> int:
        """The end of the last one."""
        n_unused, n, end = self.n_unused, 0, 0
        samples = shard.samples(fd, 0, os.fstat(fd).st_size)
        while some := list(islice(samples, audit.STEP_ROWS)):
            self._note_samples(path, some)
            n, end = n + len(some), some[-1].end
            self.progress(CheckProgress("packed images", self.n_packed, None))
        if 0 < n == self.n_unused - n_unused and not path.startswith(f"{PACKS}/{audit.token(self.ledger)}-"):
            self._found(Kind.NO_ROW, f"{path}: no row names any of its {n} images; it is another ledger's")
        return end

    def _note_samples(self, path: str, samples: Sequence[Sample]) -> None:
        self.n_packed += len(samples)
        is_new = self._is_newer_than_copy(self.root / path)
        keys = [(*numbers_of(sample.stem), path, sample.offset) for sample in samples]
        for sample, image in zip(samples, audit.named_images(self.ledger, keys), strict=True):
            if image.is_former or (image.status == "success" and (image.path, image.offset) == (path, sample.offset)):
                continue
            if image.is_leased or is_new:
                self.n_in_work += 1
            elif image.is_to_adopt:
                self.n_to_adopt += 1
            else:
                self.n_unused += 1
                self.unused_bytes += sample.size_bytes

    def _is_torn(self, fd: int, end: int) -> bool:
        return not shard.is_ended(fd, end, os.fstat(fd).st_size)

    def _is_newer_than_copy(self, path: Path) -> bool:
        """Where a copy of the ledger is read, it cannot know what the run beside us has begun since."""
        if self.ledger.copied_at is None:
            return False
        try:
            return path.lstat().st_mtime > self.ledger.copied_at - CLOCKS_S
        except OSError:
            return False

    def _look(self, prefix: str, names: list[str]) -> dict[str, Standing]:
        """How files stand that are not simply those of a success row."""
        parts = {name: match for name in names if (match := PART_NAME.fullmatch(name))}
        finals = {name: match for name in names if (match := FINAL_NAME.fullmatch(name))}
        standings = {name: Standing.UNKNOWN for name in names if name not in parts and name not in finals}
        if parts:
            leases = audit.live_leases(self.ledger)
            keys = [(*numbers_of(match[1]), prefix + name, None) for name, match in parts.items()]
            for (name, match), image in zip(parts.items(), audit.named_images(self.ledger, keys), strict=True):
                dead = Standing.TO_ADOPT if image.is_to_adopt else Standing.LEFTOVER
                standings[name] = Standing.IN_WORK if int(match[2]) in leases else dead
        keys = [(*numbers_of(match[1]), prefix + name, None) for name, match in finals.items()]
        for name, image in zip(finals, audit.named_images(self.ledger, keys), strict=True):
            if image.is_former or (image.status == "success" and image.path == prefix + name):
                continue
            if image.is_leased:
                standings[name] = Standing.IN_WORK
            elif image.is_to_adopt:
                standings[name] = Standing.TO_ADOPT
            elif image.is_to_set_aside:
                standings[name] = Standing.TO_SET_ASIDE
            elif image.status != "success" or image.path != prefix + name:
                standings[name] = Standing.UNKNOWN
        return standings

    def _walk(self, prefix: str, depth: int) -> Iterator[tuple[str, list[str]]]:
        """Each folder under the root, as "123/456/", with the names of its files, in order; one folder at a time in memory."""
        try:
            with os.scandir(self.root / prefix) as entries:
                found = sorted((entry.name, entry.is_dir()) for entry in entries)
        except FileNotFoundError:
            return
        except OSError as error:
            self._found(Kind.UNREADABLE, f"{prefix or '.'}: {error.strerror}")
            return
        yield prefix, [name for name, is_folder in found if not is_folder]
        for name, is_folder in found:
            # Hidden folders and lost+found belong to the file system, such as its snapshots.
            if is_folder and depth < DEEPEST and not name.startswith(".") and name != "lost+found":
                yield from self._walk(f"{prefix}{name}/", depth + 1)


def _sha256(pieces: Iterator[bytes]) -> bytes:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
