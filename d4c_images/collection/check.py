"""Holds ledger and files against each other, both ways. Changes neither; memory does not grow with the collection.

It is done in parts: the database file, the counters, the records, the leases, the rows and their files, the files and their rows.
After each step it marks how far it has come (`check_state`), and the next check goes on from the last mark that was saved.

Safe beside a running download, in which files appear and rows change between two looks. A row is read before its file is looked
at, a folder before the rows that its files name; whatever looks wrong is looked at again before it becomes a finding.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from itertools import islice
from pathlib import Path
from typing import Any

from d4c_images.collection.check_state import SUFFIX, CheckState, fingerprint
from d4c_images.errors import Stopped, UsageError
from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.file.snapshot import snapshot_of
from d4c_images.ledger.questions import audit
from d4c_images.ledger.questions.audit import FileRow
from d4c_images.ledger.questions.counter_audit import CounterRecount
from d4c_images.ledger.queue import wishes
from d4c_images.ledger.rows import extent, recount
from d4c_images.ledger.rows.recount import Position
from d4c_images.stores import Place, own_files, reading, shard
from d4c_images.stores.own_files import PART
from d4c_images.stores.pack import PACKS_FOLDER as PACKS
from d4c_images.stores.pack import SHARD_NAME
from d4c_images.stores.partial import numbers_of
from d4c_images.stores.shard import Sample

FINDINGS_SHOWN = 20  # findings of one kind that are told in full; all are counted
DEEPEST_STORE_FOLDER = 4  # levels of folders; the layout has two

FINAL_NAME = re.compile(r"((?:[1-9]\d{0,17}|0)-\d{2,9}(?:-r[1-9]\d{0,8})?)\.[A-Za-z0-9]+")
# What stands beside a ledger, behind its name: the files of SQLite, the reservation, copies, the state of a check; whole or half.
BESIDE_LEDGER = rf"(?:\.(?:owner|snapshot|v\d+\.backup|{SUFFIX[1:]})(?:\.\w+)*)?(?:-wal|-shm|-journal)?"
PASSES = 2  # SQLite's checks read each page twice: first the trees, then the rows
MB = 1_000_000
WATCH_EVERY_S = 1.0
CLOCKS_S = 10.0  # by which the clocks of two machines may differ


class TroubleKind(StrEnum):
    """What can be wrong."""

    DATABASE = "database damaged"
    COUNTER = "counter untrue"
    RECORD = "record untrue"
    LOST_LEASE = "lent by nobody"
    REFERENCE = "reference to nothing"
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
    kind: TroubleKind
    what: str  # one line


@dataclass(frozen=True, slots=True)
class CheckOptions:
    sha256: bool = False  # read every file
    full: bool = False  # SQLite's full check
    ledger_only: bool = False  # look at no file
    restart: bool = False  # do not go on where an earlier check has stopped


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
    counts: dict[TroubleKind, int]
    samples: tuple[Finding, ...]
    images_by_status: dict[str, int]  # rows; empty if the file itself is damaged
    records_by_status: dict[str, int]  # likewise, of gbif_ids
    went_on: str | None = None  # where an earlier check had stopped

    @property
    def ok(self) -> bool:
        return not self.counts

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = dataclasses.asdict(self)
        return values | {"ledger": str(self.ledger), "root": None if self.root is None else str(self.root), "ok": self.ok}


def check(
    ledger: Reader,
    root: Path | None,
    options: CheckOptions = CheckOptions(),
    progress: Callable[[CheckProgress], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> CheckReport:
    """Check everything, or the ledger alone; `say` gets a line if this goes on where an earlier check has stopped.

    Raises `UsageError` if `root` is no folder, `LedgerError` if the ledger cannot be read at all. `Stopped`, raised by `progress`,
    ends it; the next check goes on from there.
    """
    if options.ledger_only:
        root = None
    elif root is None or not root.is_dir():
        raise UsageError(f"there is no image root {root}")
    where = None if root is None else str(root.absolute())
    state = CheckState(ledger, {"root": where, "sha256": options.sha256, "full": options.full})
    return _Check(ledger, root or Path(), options, progress, state).run(say)


NUMBERS = (
    *("n_images", "n_former", "n_files", "n_packed", "n_records", "n_to_adopt", "n_in_work", "n_to_set_aside", "n_unused"),
    "unused_bytes",
)


@dataclass(slots=True)
class _Check:
    ledger: Reader
    root: Path
    options: CheckOptions
    progress: Callable[[CheckProgress], None]
    state: CheckState
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
    done: list[str] = field(default_factory=list)  # parts
    at: dict[str, Any] = field(default_factory=dict)  # where the part that is under way stands

    def run(self, say: Callable[[str], None]) -> CheckReport:
        audit.begin(self.ledger)
        went_on = self._go_on()
        if went_on is not None:
            say(f"going on where an earlier check has stopped ({went_on}); --restart begins anew")
        with self._kept_when_stopped():
            with self._part("database"):
                self._check_database()
            if TroubleKind.DATABASE not in self.counts:  # in a damaged file, what its rows say proves nothing
                self._check_ledger()
                if not self.options.ledger_only:
                    self._check_rows()
                    self._check_folders()
        self.state.forget()
        return CheckReport(
            ledger=self.ledger.path,
            root=None if self.options.ledger_only else self.root,
            **{name: getattr(self, name) for name in NUMBERS},
            counts=dict(self.counts),
            samples=tuple(self.samples),
            images_by_status=self.images_by_status,
            records_by_status=self.records_by_status,
            went_on=went_on,
        )

    def _found(self, kind: TroubleKind, what: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= FINDINGS_SHOWN:
            self.samples.append(Finding(kind, what))

    # How far it has come

    def _go_on(self) -> str | None:
        """Take up what an earlier check has marked; returns in words where that was."""
        mark = None if self.options.restart else self.state.load()
        if mark is None:
            return None
        for name in NUMBERS:
            setattr(self, name, mark[name])
        self.images_by_status, self.records_by_status = mark["images_by_status"], mark["records_by_status"]
        self.counts.update({TroubleKind(kind): n for kind, n in mark["counts"].items()})
        self.samples += [Finding(TroubleKind(kind), what) for kind, what in mark["samples"]]
        self.done, self.at = mark["done"], mark["at"]
        words: str = mark["words"]
        return words

    def _reached(self, progress: CheckProgress, **at: Any) -> None:
        """A step is done: everything up to here is counted, and nothing behind it."""
        of_total = "" if progress.total is None else f" of {progress.total:,}"
        self._mark(f"{progress.what}: {progress.done:,}{of_total}", at)
        self.progress(progress)

    def _mark(self, words: str, at: dict[str, Any]) -> None:
        self.at = at
        self.state.mark(
            {name: getattr(self, name) for name in NUMBERS}
            | {
                "images_by_status": self.images_by_status,
                "records_by_status": self.records_by_status,
                "counts": {kind.value: n for kind, n in self.counts.items()},
                "samples": [[finding.kind.value, finding.what] for finding in self.samples],
                "done": list(self.done),
                "at": at,
                "words": words,
            }
        )

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        """Marks a part as done behind it. (What is in the block sees to it that it is not done twice.)"""
        yield
        if name not in self.done:
            self.done.append(name)
            self._mark(f"after the {name}", {})

    @contextmanager
    def _kept_when_stopped(self) -> Iterator[None]:
        try:
            yield
        except (Stopped, KeyboardInterrupt):
            self.state.save()
            raise

    # The parts

    def _check_database(self) -> None:
        if "database" in self.done:
            return
        began, n_mb = _bytes_read(), PASSES * _size_of(self.ledger) // MB

        def show(*_: object) -> None:
            read = _bytes_read()
            known = began is not None and read is not None
            done = min((read - began) // MB, n_mb) if read is not None and began is not None else 0
            self.progress(CheckProgress("database", done, n_mb if known else None, " MB"))

        show()
        with _calling(show, WATCH_EVERY_S):
            lines = audit.database_errors(self.ledger, show, full=self.options.full)
        for line in lines:
            self._found(TroubleKind.DATABASE, line)

    def _check_ledger(self) -> None:
        with self._part("counters"):
            self._check_counters()
        with self._part("records"):
            self._check_records()
        with self._part("leases"):
            if "leases" not in self.done:
                for image_id, lease_id in audit.lost_leases(self.ledger, 1000):
                    self._found(TroubleKind.LOST_LEASE, f"image {image_id}: its lease {lease_id} does not exist")
                for line in audit.lost_references(self.ledger):
                    self._found(TroubleKind.REFERENCE, line)

    def _check_counters(self) -> None:
        """Counters and rows must be seen at one moment: while nothing is written, or else in one read transaction."""
        if "counters" in self.done or self._counted_while_nothing_is_written():
            return

        def count() -> None:
            counting = CounterRecount(self.ledger.rows)
            for step in counting.steps():
                self.progress(CheckProgress("counters", *step))
            self._compare(counting)

        # Not to be resumed: what was counted in one moment is of no use in another.
        before = self.counts.copy(), self.samples.copy()

        def count_anew() -> None:  # it is tried again after a passing I/O error
            self.counts, self.samples = before[0].copy(), before[1].copy()
            count()

        self.ledger.at_one_moment(count_anew)

    def _counted_while_nothing_is_written(self) -> bool:
        """Each step is a read of its own, so that no run is held up; False as soon as something has been written."""
        before, version = fingerprint(self.ledger), audit.data_version(self.ledger)
        kept = self.at.get("counters")
        counting = CounterRecount(self.ledger.rows)
        if kept and kept["fingerprint"] == before:
            counting = CounterRecount.of_json(self.ledger.rows, kept["counted"])

        def is_unchanged() -> bool:
            return fingerprint(self.ledger) == before and audit.data_version(self.ledger) == version

        for step in counting.steps():
            if not is_unchanged():
                return False
            progress = CheckProgress("counters", *step)
            counted = counting.as_json() if self.state.is_due() else None
            if counted is None:
                self.progress(progress)
            else:
                self._reached(progress, counters={"fingerprint": before, "counted": counted})
        found = self.counts.copy(), self.samples.copy()
        self._compare(counting)
        if not is_unchanged():
            self.counts, self.samples = found
            return False
        return True

    def _compare(self, counting: CounterRecount) -> None:
        self.images_by_status, self.records_by_status = counting.images_by_status(), counting.records_by_status()
        for line in counting.lost_references():
            self._found(TroubleKind.REFERENCE, line)
        for line in counting.untrue():
            self._found(TroubleKind.COUNTER, line)

    def _check_records(self) -> None:
        """Every record against its images, in short reads. What seems untrue is counted once more, by itself and at one moment."""
        if "records" in self.done:
            return
        total = extent.n_records(self.ledger.rows)
        position = Position.of_json(self.at["record"]) if "record" in self.at else Position()
        for step in recount.record_steps(self.ledger.rows, position):
            self.n_records += step.n_records
            for record in step.untrue:
                line = audit.record_trouble(self.ledger, record.gbif_id)
                if line is not None:
                    self._found(TroubleKind.RECORD, line)
            progress = CheckProgress("records", self.n_records, max(total, self.n_records))
            self._reached(progress, record=step.position.as_json())

    def _check_rows(self) -> None:
        """Every success row against its file."""
        if "images" in self.done:
            return
        top = extent.top_image(self.ledger.rows)
        with self._part("images"):
            for low in range(self.at.get("image_id", 0), top, audit.AUDIT_STEP_ROWS):
                upto = low + audit.AUDIT_STEP_ROWS
                self._check_some_rows(low, upto)
                self._reached(CheckProgress("images", min(top, upto), top), image_id=upto)

    def _check_some_rows(self, low: int, upto: int) -> None:
        for image in audit.stored_images(self.ledger, low, upto):
            self.n_images += 1
            if self._trouble(image) is None:
                continue
            now = audit.stored_image(self.ledger, image.image_id)
            trouble = None if now is None else self._trouble(now)
            if trouble is not None:
                self._found(trouble.kind, trouble.what)
        for image in audit.former_images(self.ledger, low, upto):
            self.n_former += 1
            trouble = self._trouble(image)
            if trouble is not None:
                self._found(trouble.kind, trouble.what)

    def _trouble(self, image: FileRow) -> Finding | None:
        if image.path is None or image.size_bytes is None or image.sha256 is None:
            return Finding(TroubleKind.NO_PATH, f"image {image.image_id}")
        place = Place(image.path, image.offset)
        what = image.path if image.offset is None else f"{image.path} at {image.offset}"
        try:
            size_bytes = self._size(place)
            if size_bytes is None:
                said = "is no file" if image.offset is None else "is no image"
                return Finding(TroubleKind.MISSING, f"{what} (image {image.image_id}) {said}")
            if size_bytes != image.size_bytes:
                return Finding(TroubleKind.SIZE, f"{what}: {size_bytes} bytes, the ledger says {image.size_bytes}")
            if self.options.sha256 and _sha256(reading.pieces(self.root, place, size_bytes)) != image.sha256:
                return Finding(TroubleKind.SHA256, f"{what}: its sha256 is not {image.sha256.hex()}")
        except (FileNotFoundError, NotADirectoryError):
            return Finding(TroubleKind.MISSING, f"{what} (image {image.image_id})")
        except OSError as error:
            return Finding(TroubleKind.UNREADABLE, f"{what}: {error.strerror}")
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
        after = self.at.get("folder")
        for prefix, names in self._walk("", 0, None if after is None else _parts(after)):
            for some in names:
                self._check_files(prefix, some)
                self.progress(CheckProgress("files", self.n_files, None))
            self._reached(CheckProgress("files", self.n_files, None), folder=prefix)

    def _check_files(self, prefix: str, names: list[str]) -> None:
        """Some files of one folder."""
        names = self._not_ours(prefix, names)
        n_files = len(names)
        if prefix == f"{PACKS}/":
            for name in filter(SHARD_NAME.fullmatch, names):
                self._check_shard(prefix + name)
            names = [name for name in names if not SHARD_NAME.fullmatch(name)]
        for name, standing in self._look(prefix, names).items():
            self._note(prefix, name, standing)
        self.n_files += n_files

    def _not_ours(self, prefix: str, names: list[str]) -> list[str]:
        """Without the ledger, what stands beside it, and the marks of runs: those are no images, and no strangers."""
        ledger, folder = self.ledger.path.absolute(), (self.root / prefix).absolute()
        if folder == wishes.folder_of(ledger):
            return []
        names = [name for name in names if not own_files.is_mark(name)]
        if folder == ledger.parent:
            own = re.compile(re.escape(ledger.name) + BESIDE_LEDGER)
            names = [name for name in names if not own.fullmatch(name)]
        return names

    def _note(self, prefix: str, name: str, standing: Standing) -> None:
        if standing is Standing.IN_WORK or self._is_newer_than_copy(self.root / prefix / name):
            self.n_in_work += 1
        elif standing is Standing.TO_ADOPT:
            self.n_to_adopt += 1
        elif standing is Standing.TO_SET_ASIDE:
            self.n_to_set_aside += 1
        elif os.path.lexists(self.root / prefix / name):  # a run may have moved on since the folder was read
            self._found(TroubleKind.LEFTOVER if standing is Standing.LEFTOVER else TroubleKind.NO_ROW, prefix + name)

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
                        self._found(TroubleKind.TORN, f"{path} behind byte {end}; what a killed worker has left, a download mends")
        except FileNotFoundError:
            pass  # nothing was in it, and a run has taken it away
        except OSError as error:
            self._found(TroubleKind.UNREADABLE, f"{path}: {error.strerror}")

    def _check_samples(self, path: str, fd: int) -> int:
        """The end of the last one."""
        n_unused, n, end = self.n_unused, 0, 0
        samples = shard.samples(fd, 0, os.fstat(fd).st_size)
        while some := list(islice(samples, audit.AUDIT_STEP_ROWS)):
            self._note_samples(path, some)
            n, end = n + len(some), some[-1].end
            self.progress(CheckProgress("packed images", self.n_packed, None))
        if 0 < n == self.n_unused - n_unused and not path.startswith(f"{PACKS}/{audit.token(self.ledger)}-"):
            self._found(TroubleKind.NO_ROW, f"{path}: no row names any of its {n} images; it is another ledger's")
        return end

    def _note_samples(self, path: str, samples: Sequence[Sample]) -> None:
        self.n_packed += len(samples)
        is_new = self._is_newer_than_copy(self.root / path)
        keys = [audit.FileName(*numbers_of(sample.stem), path, sample.offset) for sample in samples]
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
        parts = {name: match for name in names if (match := PART.fullmatch(name))}
        finals = {name: match for name in names if (match := FINAL_NAME.fullmatch(name))}
        standings = {name: Standing.UNKNOWN for name in names if name not in parts and name not in finals}
        if parts:
            leases = audit.live_leases(self.ledger)
            keys = [audit.FileName(*numbers_of(match[1]), prefix + name, None) for name, match in parts.items()]
            for (name, match), image in zip(parts.items(), audit.named_images(self.ledger, keys), strict=True):
                dead = Standing.TO_ADOPT if image.is_to_adopt else Standing.LEFTOVER
                standings[name] = Standing.IN_WORK if int(match[2]) in leases else dead
        keys = [audit.FileName(*numbers_of(match[1]), prefix + name, None) for name, match in finals.items()]
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

    def _walk(self, prefix: str, depth: int, after: tuple[str, ...] | None) -> Iterator[tuple[str, Iterator[list[str]]]]:
        """Each folder under the root, as "123/456/", in order, with the names of its files, some at a time.

        `after` is the last folder of those to be left out: it, and all that come before it. A record with a million images has as
        many files in one folder, so they are taken as the system lists them, and only those that are taken together are in order.
        """
        parts = _parts(prefix)
        if after is not None and parts < after[: len(parts)]:
            return  # with all below it
        folders: list[str] = []
        names = self._files(prefix, folders)
        if after is None or parts > after:
            yield prefix, names
        for _ in names:  # to its end, for the folders
            pass
        for name in sorted(folders):
            # Hidden folders and lost+found belong to the file system, such as its snapshots.
            if depth < DEEPEST_STORE_FOLDER and not name.startswith(".") and name != "lost+found":
                yield from self._walk(f"{prefix}{name}/", depth + 1, after)

    def _files(self, prefix: str, folders: list[str]) -> Iterator[list[str]]:
        """The names of the files of a folder, some at a time; those of folders are added to `folders`."""
        names: list[str] = []
        try:
            with os.scandir(self.root / prefix) as entries:
                for entry in entries:
                    (folders if entry.is_dir() else names).append(entry.name)
                    if len(names) == audit.AUDIT_STEP_ROWS:
                        yield sorted(names)
                        names = []
        except FileNotFoundError:
            pass  # removed meanwhile
        except OSError as error:
            self._found(TroubleKind.UNREADABLE, f"{prefix or '.'}: {error.strerror}")
        yield sorted(names)


def _parts(prefix: str) -> tuple[str, ...]:
    """Of "123/456/"; in the order of the walk a folder comes before those in it, as a tuple before a longer one."""
    return tuple(prefix.split("/")[:-1])


def _size_of(ledger: Reader) -> int:
    return (ledger.path if ledger.copied_at is None else snapshot_of(ledger.path)).stat().st_size


def _bytes_read() -> int | None:
    """What this process has read so far, from the cache or from the disk; None if the system does not say."""
    try:
        return int(Path("/proc/self/io").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None


@contextmanager
def _calling(show: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call `show` now and then from another thread: one statement of SQLite keeps this one for minutes."""
    is_over = threading.Event()

    def call() -> None:
        while not is_over.wait(every_s):
            with suppress(Stopped):  # for the thread that does the work
                show()

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _sha256(pieces: Iterator[bytes]) -> bytes:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
