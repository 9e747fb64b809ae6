"""Mends what a check has found, in committed chunks. Decides by `repair_decisions`, and looks only at what it is to mend.

For the owner of the ledger, while no worker of it has any work. The order of writes of a chunk: files are moved and durable, then
the rows change together with the position reached. A damaged file leaves its name before its row says so: a kill in between leaves
a row without a file, which the next repair finds, and never a damaged file that could be taken for a good one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from d4c_images import crash
from d4c_images.collection.findings import LEFT_SHOWN, CheckProgress, Finding, Reason
from d4c_images.collection.repair_decisions import ROW_REASONS, Act, Bytes, FileRole, decide
from d4c_images.collection.repair_files import Adopter, FoundFile, found_files, found_samples, numbers_in, proper_path
from d4c_images.collection.repair_list import CheckNumbers, ListPosition, RepairList
from d4c_images.collection.repair_looks import Examined, LostFile, ShardContents, Strays, look, lost_files
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.questions import audit
from d4c_images.ledger.queue import deferred, mending, shards
from d4c_images.ledger.queue.mending import Adoption, FormerImage, Mended, StoredImage
from d4c_images.ledger.queue.relisting import relist
from d4c_images.ledger.rows.rollup import RollUpProgress, finalize
from d4c_images.stores import Place, Store
from d4c_images.stores.moved_away import DAMAGED_FOLDER, STRANGERS_FOLDER, Moves, sweep
from d4c_images.stores.own_files import PART
from d4c_images.stores.pack import PACKS_FOLDER
from d4c_images.stores.shard_gaps import bridge
from d4c_images.system import clocks

FINDINGS_AT_ONCE = 500
LOOK_THREADS = max(1, min(8, os.cpu_count() or 1))
IMAGE_STEP, FILE_STEP, SAMPLE_STEP = "images", "files", "packed images"
STEPS = (IMAGE_STEP, FILE_STEP, SAMPLE_STEP)
FILE_REASONS = frozenset((Reason.UNTRACKED, Reason.LEFTOVER))
STRAY_REASONS = frozenset((Reason.UNTRACKED, Reason.SIZE_MISMATCH, Reason.HASH_MISMATCH))
REASONS_FOR_PEOPLE = frozenset((Reason.UNREADABLE, Reason.DANGLING_REFERENCE))
MISCOUNTED = frozenset((Reason.COUNTER_MISMATCH, Reason.RECORD_MISMATCH))


@dataclass(slots=True)
class RepairCounts:
    """What was done, or would be."""

    n: Counter[Act] = field(default_factory=Counter)
    size_bytes: Counter[Act] = field(default_factory=Counter)
    n_damaged: int = 0  # files moved to .damaged
    left: list[Finding] = field(default_factory=list)  # the first ones of what is left to people

    def add(self, act: Act, size_bytes: int | None = 0, n: int = 1) -> None:
        self.n[act] += n
        self.size_bytes[act] += size_bytes or 0

    def leave(self, finding: Finding) -> None:
        self.add(Act.LEAVE)
        if len(self.left) < LEFT_SHOWN:
            self.left.append(finding)

    @property
    def n_mended(self) -> int:
        return sum(self.n.values()) - self.n[Act.LEAVE] - self.n[Act.NOTHING]


@dataclass(slots=True)
class _Changes:
    """What a chunk will write."""

    lost: list[StoredImage] = field(default_factory=list)
    waiting: list[StoredImage] = field(default_factory=list)
    back: list[StoredImage] = field(default_factory=list)
    repointed: list[tuple[StoredImage, str, int | None]] = field(default_factory=list)
    former: list[FormerImage] = field(default_factory=list)
    put_back: set[str] = field(default_factory=set)  # paths

    def as_mended(self) -> Mended:
        return Mended(self.lost, self.waiting, self.back, self.repointed, self.former)


@dataclass(slots=True)
class Repair:
    """One repair. Its steps are called in order; each goes on where an earlier run was killed."""

    ledger: Ledger
    root: Path
    found: RepairList
    numbers: CheckNumbers
    progress: Callable[[CheckProgress], None]  # after each chunk; what it raises ends the repair
    counts: RepairCounts = field(default_factory=RepairCounts)
    _at: ListPosition | None = None

    def begin(self) -> None:
        """Take up the position of an earlier run, if it was for the same findings. Releases images whose lease does not exist."""
        text = mending.position(self.ledger)
        kept = None if text is None else ListPosition.of_json(text)
        self._at = kept if kept is not None and kept.token == self.found.token else None
        if Reason.ORPHANED_LEASE in self.numbers.counts:
            self.counts.add(Act.RELEASE, n=mending.release_orphans(self.ledger))

    def images(self, adopter: Adopter) -> None:
        """Rows whose files are missing or damaged."""
        start = self._start(IMAGE_STEP)
        if start is not None and ROW_REASONS & self.numbers.counts.keys():
            with ThreadPoolExecutor(LOOK_THREADS, thread_name_prefix="repair") as threads:
                step = _Images(self, adopter, threads)
                for some, upto in self._chunks(IMAGE_STEP, start, ROW_REASONS):
                    self._write(step.mend(some), IMAGE_STEP, upto)
        self._reach(FILE_STEP)

    def files(self, adopter: Adopter, store: Store, *, leave_strangers: bool) -> None:
        """Files without a row."""
        start = self._start(FILE_STEP)
        if start is not None and FILE_REASONS & self.numbers.counts.keys():
            with ThreadPoolExecutor(LOOK_THREADS, thread_name_prefix="repair") as threads:
                step = _Files(self, adopter, store, threads, leave_strangers=leave_strangers)
                for some, upto in self._chunks(FILE_STEP, start, FILE_REASONS):
                    self._write(step.mend(some), FILE_STEP, upto)
        self._reach(SAMPLE_STEP)

    def samples(self, adopter: Adopter, token: str) -> None:
        """Samples of this ledger's shards that are images of rows which do not know it."""
        if not self.numbers.n_unused:
            return
        db, n = self.ledger.connection, 0
        with ThreadPoolExecutor(LOOK_THREADS, thread_name_prefix="repair") as threads:
            for _, _, some in found_samples(db.execute, self.root, token):
                seen = [one for one in threads.map(adopter.look_into, some) if one is not None]
                adopted = [one for one in seen if not adopter.is_placeholder(db, one.row, one.blob)]
                if adopted:
                    self._write(Mended(adopted=adopted), SAMPLE_STEP, 0)
                for one in adopted:
                    self.counts.add(Act.ADOPT, one.blob.size_bytes)
                n += len(some)
                self.progress(CheckProgress(SAMPLE_STEP, n, None))

    def shard_ends(self, token: str) -> list[Finding]:
        """Make torn shards readable as far as they go, before their ends are cut; returns what was found of them.

        Rows that referred to what is lost of them do so no longer.
        """
        found = [finding for finding, _ in self._of(frozenset((Reason.TORN_SHARD,)))]
        own = [finding for finding in found if finding.subject.startswith(f"{PACKS_FOLDER}/{token}-")]
        for finding in found:
            if finding not in own:
                self.counts.leave(replace(finding, detail="a torn shard of another ledger"))
        paths = {finding.subject for finding in own}
        torn = [path for path, end in shards.ends(self.ledger).items() if path in paths and self._size_of(path) < end]
        if torn:
            shards.lower(self.ledger, torn, lambda done, top: self.progress(CheckProgress("shards", done, top)))
        for path in paths:
            if self._size_of(path):
                bridge(self.root / path)
        return own

    def after_cutting(self, torn: Iterable[Finding]) -> None:
        """Whether shards are whole tar files now."""
        for finding in torn:
            if not self._size_of(finding.subject) or bridge(self.root / finding.subject):
                self.counts.add(Act.CUT)
            else:
                self.counts.leave(replace(finding, detail="has damage that is neither at its end nor between two images"))

    def ledger_itself(self, beat: Callable[[], object]) -> None:
        """What follows from the rows."""
        deferred.drain(self.ledger, beat)
        n_miscounted = sum(n for reason, n in self.numbers.counts.items() if reason in MISCOUNTED)
        if n_miscounted:
            finalize(self.ledger, self._show_recount)
            relist(self.ledger, lambda done, top: self.progress(CheckProgress("lists", done, top)))
            self.counts.add(Act.RECOUNT, n=n_miscounted)
        for finding, _ in self._of(REASONS_FOR_PEOPLE):
            self.counts.leave(finding)

    def end(self) -> None:
        mending.forget_position(self.ledger)
        self.found.forget()

    def _show_recount(self, at: RollUpProgress) -> None:
        if at.images:
            self.progress(CheckProgress("tallies", at.images, at.n_images))
        else:
            self.progress(CheckProgress("records", at.records, at.total))

    def _of(self, reasons: Collection[Reason]) -> Iterator[tuple[Finding, int]]:
        if not any(reason in self.numbers.counts for reason in reasons):
            return iter(())
        return ((finding, upto) for finding, upto in self.found.findings() if finding.reason in reasons)

    def _size_of(self, path: str) -> int:
        try:
            return (self.root / path).stat().st_size
        except FileNotFoundError:
            return 0

    def _start(self, step: str) -> int | None:
        """The offset in the list where a step begins; None if it is done."""
        if self._at is None:
            return 0
        if step == self._at.step:
            return self._at.offset
        return 0 if STEPS.index(step) > STEPS.index(self._at.step) else None

    def _chunks(self, step: str, start: int, reasons: Collection[Reason]) -> Iterator[tuple[list[Finding], int]]:
        total, done = sum(n for reason, n in self.numbers.counts.items() if reason in reasons), 0
        wanted = (one for one in self.found.findings(start) if one[0].reason in reasons)
        while some := list(islice(wanted, FINDINGS_AT_ONCE)):
            yield [finding for finding, _ in some], some[-1][1]
            done += len(some)
            self.progress(CheckProgress(step, done, max(total, done)))

    def _write(self, mended: Mended, step: str, offset: int) -> None:
        crash.point("repair.moved")
        at = ListPosition(self.found.token, step, offset)
        mending.write(self.ledger, mended, at.as_json(), int(clocks.now()))
        self._at = at
        self.ledger.n_done = self.counts.n_mended
        crash.point("repair.committed")

    def _reach(self, step: str) -> None:
        if self._start(step) == 0:
            self._write(Mended(), step, 0)


class _Images:
    """Rows whose files are missing or damaged."""

    def __init__(self, repair: Repair, adopter: Adopter, threads: ThreadPoolExecutor) -> None:
        self._root, self._ask, self._counts = repair.root, repair.ledger.connection.execute, repair.counts
        self._adopter, self._threads = adopter, threads
        self._moves, self._shards, self._strays = Moves(repair.root), ShardContents(repair.root), Strays(repair.root)
        found = (finding for finding, _ in repair.found.findings() if finding.reason in STRAY_REASONS)
        self._strays.learn(finding for finding in found if finding.offset is None)

    def mend(self, findings: list[Finding]) -> Mended:
        self._moves.check_root()
        lost, changes = lost_files(self._ask, findings), _Changes()
        for one, seen in zip(lost, self._threads.map(self._look, lost), strict=True):
            place = one.place
            self._one(one, Bytes.SOUND if place is not None and place.path in changes.put_back else seen, changes)
        self._moves.sync()
        return changes.as_mended()

    def _look(self, lost: LostFile) -> Bytes:
        return Bytes.GONE if lost.role is FileRole.CHANGED else look(self._root, lost, self._adopter.examine)

    def _one(self, lost: LostFile, seen: Bytes, changes: _Changes) -> None:
        elsewhere = self._elsewhere(lost) if seen in (Bytes.GONE, Bytes.WRONG) else None
        act = decide(lost.finding.reason, lost.role, seen, None if elsewhere is None else elsewhere[0])
        if act is Act.LEAVE:
            self._counts.leave(replace(lost.finding, detail="cannot be read"))
            return
        self._counts.add(act, lost.size_bytes)
        image = lost.image
        if act is Act.PUT_BACK and elsewhere is not None and lost.place is not None:
            self._put_back(elsewhere[1].path, lost.place.path, changes)
            changes.back += [] if image is None else [image]
        elif act is Act.REPOINT and elsewhere is not None and image is not None:
            changes.repointed.append((image, *elsewhere[1]))
            self._strays.moved(elsewhere[1].path, None)
        elif act is Act.WAIT and image is not None:
            changes.waiting.append(image)
        elif act in (Act.REFETCH, Act.DROP_FORMER):
            if seen is Bytes.WRONG:
                self._move_damaged(lost)
            changes.former += [] if lost.former is None else [lost.former]
            changes.lost += [] if image is None else [image]

    def _elsewhere(self, lost: LostFile) -> tuple[Act, Place] | None:
        """Where the right bytes are, and how they become the image's again."""
        place = lost.place
        if place is None or lost.role not in (FileRole.IMAGE, FileRole.FORMER):
            return None
        if place.offset is not None:
            offset = self._shards.find(lost)
            return None if offset is None else (Act.REPOINT, Place(place.path, offset))
        stray = self._strays.find(self._ask, lost.size_bytes, lost.sha256)
        if stray is None:
            return None
        if not self._is_of_another(place.path, lost):
            return Act.PUT_BACK, Place(stray)
        numbers, image = numbers_in(stray), lost.image
        is_its_own = numbers is not None and image is not None and numbers[:2] == (image.gbif_id, image.image_no)
        return (Act.REPOINT, Place(stray)) if is_its_own else None

    def _put_back(self, stray: str, path: str, changes: _Changes) -> None:
        if os.path.lexists(self._root / path):  # the bytes of another image, it may be
            self._strays.moved(path, self._moves.away(path, DAMAGED_FOLDER))
        crash.point("repair.put_back")
        self._moves.back(stray, path)
        self._strays.moved(stray, None)
        changes.put_back.add(path)

    def _move_damaged(self, lost: LostFile) -> None:
        """What is in a shard stays there, unused."""
        place = lost.place
        if place is None or place.offset is not None or self._is_of_another(place.path, lost):
            return
        to = self._moves.away(place.path, DAMAGED_FOLDER)
        self._strays.moved(place.path, to)
        self._counts.n_damaged += to is not None

    def _is_of_another(self, path: str, lost: LostFile) -> bool:
        """Whether the file is that of the image whose name it has, and this row refers to it by mistake."""
        numbers, one = numbers_in(path), lost.image or lost.former
        if numbers is None or one is None:
            return False
        (row,) = mending.rows_by_name(self._ask, [(numbers.gbif_id, numbers.image_no)])
        return row is not None and row.image_id != one.image_id and row.path == path


class _Files:
    """Files without a row."""

    def __init__(
        self, repair: Repair, adopter: Adopter, store: Store, threads: ThreadPoolExecutor, *, leave_strangers: bool
    ) -> None:
        self._root, self._db, self._counts = repair.root, repair.ledger.connection, repair.counts
        self._adopter, self._store, self._threads, self._leave_strangers = adopter, store, threads, leave_strangers
        self._moves = Moves(repair.root)
        self._leases = {row[0] for row in self._db.execute(audit.LEASES)}

    def mend(self, findings: list[Finding]) -> Mended:
        self._moves.check_root()
        for finding in findings:
            if finding.reason is Reason.LEFTOVER:
                self._sweep(finding)
        files = found_files(self._db.execute, [finding for finding in findings if finding.reason is Reason.UNTRACKED])
        files.sort(key=lambda file: -file.numbers.revision if file.numbers else 0)  # of several revisions, the newest is adopted
        adopted: dict[int, Adoption] = {}
        for file, (seen, examined) in zip(files, self._threads.map(self._adopter.look, files), strict=True):
            act = decide(Reason.UNTRACKED, file.role, seen)
            if act is Act.ADOPT and examined is not None and file.row is not None:
                act = self._adopt(file, examined, adopted)
            if act is Act.LEAVE or (act is Act.SET_ASIDE and self._leave_strangers):
                self._counts.leave(replace(file.finding, detail=_why_left(file)))
            elif act is Act.SET_ASIDE:
                self._set_aside(file.finding.subject)
            elif act is Act.NOTHING:
                self._counts.add(act)
        self._moves.sync()
        return Mended(adopted=list(adopted.values()))

    def _sweep(self, finding: Finding) -> None:
        match = PART.fullmatch(finding.subject.rpartition("/")[2])
        if match is not None and int(match[2]) not in self._leases:
            self._counts.add(Act.SWEEP, sweep(self._root, finding.subject))

    def _adopt(self, file: FoundFile, examined: Examined, adopted: dict[int, Adoption]) -> Act:
        """Under the name that its bytes ask for, which a copy through another system may have changed."""
        path, row, numbers = file.finding.subject, file.row, file.numbers
        assert row is not None
        assert numbers is not None
        if row.image_id in adopted or self._adopter.is_placeholder(self._db, row, examined.blob):
            return Act.SET_ASIDE
        proper = proper_path(numbers, examined.extension)
        if path != proper:
            if os.path.lexists(self._root / proper) and not (self._root / proper).samefile(self._root / path):
                return Act.SET_ASIDE
            self._moves.back(path, proper)
        stored_at = min(int((self._root / proper).stat().st_mtime), int(clocks.now()))
        place = self._store.confirm(proper, examined.blob)
        blob = replace(examined.blob, path=place.path, offset=place.offset)
        adopted[row.image_id] = Adoption(row, blob, examined.detail, stored_at)
        self._counts.add(Act.ADOPT, blob.size_bytes)
        crash.point("repair.confirmed")
        return Act.ADOPT

    def _set_aside(self, path: str) -> None:
        try:
            size_bytes = (self._root / path).lstat().st_size
        except FileNotFoundError:
            return
        self._moves.away(path, STRANGERS_FOLDER)
        self._counts.add(Act.SET_ASIDE, size_bytes)


def _why_left(file: FoundFile) -> str:
    if file.role is FileRole.FOREIGN:
        return "a shard of another ledger"
    return "no row" if file.role is FileRole.NOBODY else "cannot be read, or its row has other bytes"
