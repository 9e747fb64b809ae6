"""Turns a collection of files into tar shards, and shards into files, below the same root. Fetches and decodes nothing.

The order is the invariant, in each chunk: the bytes are read and compared with their row, they are durable at their new place, the
rows name it in a committed transaction, and only then what was there before goes: a file at once, a shard when no row names it any
more. What is not as its row says stays where it is. A kill at any moment costs one chunk, which is done again; nobody has to keep
a position, because rows say what is left.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

from d4c_images import crash
from d4c_images.collection.findings import Finding, Reason
from d4c_images.collection.moved import (
    MOVING_THREADS,
    Moved,
    MoveWatch,
    finding,
    groups,
    problem_of,
    unreadable,
    wrong_size,
)
from d4c_images.collection.verified_copies import Copy, copy_verified, put_copies
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import placeholders, relocating, shards
from d4c_images.ledger.queue.relocating import NamedBytes, Relocation, Survey
from d4c_images.ledger.rows.extent import Ask
from d4c_images.model import Blob
from d4c_images.stores import Keep, Place, reading, shard
from d4c_images.stores.local import LocalStore, folder_of
from d4c_images.stores.pack import PACKS_FOLDER, PackSettings, PackStore, PlainFile, shard_names
from d4c_images.stores.partial import PARTS_FOLDER, numbers_of, sync_path
from d4c_images.stores.quarantine import Aside
from d4c_images.stores.shard import STEM, Sample
from d4c_images.stores.shard_recovery import cut_copies

SAMPLES_AT_ONCE = 5_000


def pack_files(ledger: Ledger, root: Path, packing: PackSettings, found: Survey, watch: MoveWatch) -> Moved:
    """Pack everything that is stored as a file. Raises `StoreError`; run again, it goes on.

    Files are read twice: by several threads, which wait for the disk together and find what is damaged or unreadable, and from the
    cache, as the one open shard grows. What changes in between is noticed there.
    """
    done = Moved()
    with ThreadPoolExecutor(MOVING_THREADS) as pool, closing(PackStore(root, packing)) as store:
        for _, rows in relocating.stored_in_steps(ledger.connection.execute):
            files = [one for one in rows if one.offset is None and not one.is_same]
            for group in groups(files):
                sound = []
                for one, problem in zip(group, pool.map(lambda one: _problem_of_file(root, one, found), group), strict=True):
                    if problem is None:
                        sound.append(one)
                    else:
                        done.leave(one, problem)
                _pack(ledger, store, sound, done)
                watch(done)
            watch(done)
    return done


def _problem_of_file(root: Path, one: NamedBytes, found: Survey) -> Finding | None:
    if not STEM.fullmatch(Path(one.path).stem) or not Path(one.path).suffix:
        return finding(one, Reason.NO_FILE_NAME, "not named like an image of a collection")
    if one.path in found.unlinked:
        return finding(one, Reason.DANGLING_REFERENCE, "an image without a link to it shows it, too")
    return problem_of(root, one)


def _pack(ledger: Ledger, store: PackStore, sound: Sequence[NamedBytes], done: Moved) -> None:
    if not sound:
        return
    places = store.pack([PlainFile(_blob(one), one.url) for one in sound])
    crash.point("convert.put")
    moved = []
    for one, place in zip(sound, places, strict=True):
        if place is None:
            done.leave(one, finding(one, Reason.HASH_MISMATCH, "changed while it was read"))
        else:
            moved.append(Relocation(one, *place))
    if moved:
        ends = [(path, (offset or 0) + (stored.size_bytes or 0)) for stored, path, offset in moved]
        relocating.relocate(ledger, moved, ends)
        crash.point("convert.settled")
        for stored, _, _ in moved:
            store.remove(stored.path)
            done.count(stored)
        crash.point("convert.removed")
        placeholders.forget_files(ledger, [stored.image_id for stored, _, _ in moved])


def _blob(one: NamedBytes) -> Blob:
    assert one.size_bytes is not None, "verified"
    assert one.sha256 is not None, "verified"
    return Blob(one.path, one.size_bytes, one.sha256, one.media_type or "", one.width, one.height, one.original_sha256)


def unpack_shards(ledger: Ledger, root: Path, token: str, found: Survey, watch: MoveWatch) -> Moved:
    """Make everything that is in shards a file, one shard after the other; each is removed when no row names it any more.

    So little more room is needed than for the largest shard. Raises `StoreError`; run again, it goes on.
    """
    unpacking = _Unpacking(ledger, root, token, found, watch)
    try:
        unpacking.run()
    finally:
        unpacking.close()
    return unpacking.done


class _Unpacking:
    def __init__(self, ledger: Ledger, root: Path, token: str, found: Survey, watch: MoveWatch) -> None:
        self._ledger, self._root, self._token, self._found, self._watch = ledger, root, token, found, watch
        self._ask = ledger.connection.execute
        self._store = LocalStore(root)
        self._pool = ThreadPoolExecutor(MOVING_THREADS)
        self.done = Moved()

    def close(self) -> None:
        self._pool.shutdown()
        self._store.close()

    def run(self) -> None:
        own = {f"{PACKS_FOLDER}/{name}" for name in shard_names(self._root, self._token)}
        for path in sorted(own | self._found.users.keys()):
            offsets: set[int] = set()
            for rows in self._rows_of(path):
                for group in groups(rows):
                    offsets.update(self._lay_out(group, lambda one, why: None))
                    self._watch(self.done)
            if path in own:
                self._drop_if_unused(path, offsets)
            self._watch(self.done)
        if any(self._found.users.values()):  # what a walk through its shard does not reach, because that is damaged
            self._lay_out_what_is_left(own)
        with suppress(OSError):  # they count against a quota, too
            for folder in (f"{PARTS_FOLDER}/{self._token}", PARTS_FOLDER, PACKS_FOLDER):
                (self._root / folder).rmdir()

    def _lay_out_what_is_left(self, own: set[str]) -> None:
        for _, rows in relocating.stored_in_steps(self._ask):
            for group in groups(one for one in rows if one.offset is not None and not one.is_same):
                self._lay_out(group, self.done.leave)
                self._watch(self.done)
            self._watch(self.done)
        for path in sorted(own):
            if (self._root / path).exists() and path not in self.done.shards_kept:
                self._drop_if_unused(path, set())

    def _rows_of(self, path: str) -> Iterator[list[NamedBytes]]:
        """What rows name in a shard, in its order."""
        for samples in _samples(self._root, path):
            named = relocating.stored_of(self._ask, [numbers_of(one.stem)[:2] for one in samples])
            yield [
                one
                for sample, rows in zip(samples, named, strict=True)
                for one in rows
                if (one.path, one.offset) == (path, sample.offset) and not one.is_same
            ]

    def _lay_out(self, group: Sequence[NamedBytes], leave: Callable[[NamedBytes, Finding], None]) -> list[int]:
        """Make files of some; returns their offsets."""
        put = put_copies(self._pool, self._store, self._copy, group)
        crash.point("convert.put")
        moved = []
        for one, at, _ in put:
            if isinstance(at, Place):
                moved.append(Relocation(one, at.path, None))
            else:
                leave(one, at)
        self._found.users.subtract(relocating.relocate(self._ledger, moved) if moved else {})
        crash.point("convert.settled")
        for relocation in moved:
            self.done.count(relocation.stored)
        return [relocation.stored.offset or 0 for relocation in moved]

    def _copy(self, one: NamedBytes) -> Copy:
        if one.size_bytes is None or one.sha256 is None or one.offset is None:
            return finding(one, Reason.NO_FILE_NAME, "no size or SHA-256 in the ledger")
        try:
            sample = reading.sample_at(self._root, one.path, one.offset)
        except OSError as error:
            return unreadable(one, error)
        if sample is None or not STEM.fullmatch(sample.stem) or not sample.extension:
            return wrong_size(one, None)
        if sample.size_bytes != one.size_bytes:
            return wrong_size(one, sample.size_bytes)
        gbif_id, image_no, revision = numbers_of(sample.stem)
        there = f"{folder_of(gbif_id)}/{sample.name}"
        if os.path.lexists(self._root / there):
            if problem_of(self._root, one._replace(path=there, offset=None)) is not None:
                return Finding(Reason.UNTRACKED, there, "no row names it, and it has the name of an image", one.image_id)
            return self._store.confirm(there, _blob(one))
        partial = self._store.begin(gbif_id, image_no, 0, revision)
        keep = Keep(partial, sample.extension)
        return copy_verified(self._root, one, keep) or keep

    def _drop_if_unused(self, path: str, offsets: set[int]) -> None:
        """Remove a shard that no row names, if everything in it is stored elsewhere, too. `offsets`: of what was just copied."""
        if self._found.users[path]:
            return
        try:
            is_spare = self._is_spare(path, offsets)
        except OSError:
            is_spare = False
        if not is_spare:
            self.done.shards_kept.append(path)
            return
        relocating.forget_shard(self._ledger, path)
        crash.point("convert.forgotten")
        self._store.remove(path)
        sync_path(self._root / PACKS_FOLDER)
        self.done.n_shards_removed += 1

    def _is_spare(self, path: str, offsets: set[int]) -> bool:
        """Raises `OSError`. A shard that cannot be walked to its end is not: nobody knows what is in it."""
        end, aside = 0, Aside(self._root)
        for samples in _samples(self._root, path):
            end = samples[-1].end
            rest = [one for one in samples if one.offset not in offsets]
            if not _are_elsewhere(self._ask, self._root, path, rest, aside):
                return False
            self._watch(self.done)
        size_bytes = (self._root / path).stat().st_size
        with (self._root / path).open("rb", buffering=0) as file:
            is_whole = shard.is_ended(file.fileno(), end, size_bytes)
        return is_whole and end >= shard.up(shards.ends(self._ledger).get(path, 0))


def _samples(root: Path, path: str) -> Iterator[list[Sample]]:
    """The samples of a shard, some at a time; none if it cannot be read."""
    try:
        with (root / path).open("rb", buffering=0) as file:
            samples = shard.samples(file.fileno(), 0, (root / path).stat().st_size)
            while some := list(islice(samples, SAMPLES_AT_ONCE)):
                yield some
    except OSError:
        return


def _are_elsewhere(ask: Ask, root: Path, path: str, samples: Sequence[Sample], aside: Aside) -> bool:
    """Whether the bytes of all these samples are stored at a second place: an image's own, or in quarantine."""
    named = relocating.stored_of(ask, [numbers_of(one.stem)[:2] for one in samples]) if samples else []
    for sample, rows in zip(samples, named, strict=True):
        sha256 = reading.sha256_at(root, Place(path, sample.offset), sample.size_bytes)
        others = [one for one in rows if one.sha256 == sha256 and (one.path, one.offset) != (path, sample.offset)]
        is_stored = any(_is_at(root, one) for one in others)
        if not is_stored and aside.find(sha256) is None:
            return False
    return True


def _is_at(root: Path, one: NamedBytes) -> bool:
    try:
        return reading.size_at(root, Place(one.path, one.offset)) == one.size_bytes
    except OSError:
        return False


def cut_unnamed_copies(ledger: Ledger, root: Path, token: str) -> int:
    """Take back what a killed `pack_files` has appended to a shard and no row names: the files are still there."""
    aside = Aside(root)

    def are_copies(path: str, samples: Sequence[Sample]) -> bool:
        return _are_elsewhere(ledger.connection.execute, root, path, samples, aside)

    return cut_copies(root, token, shards.ends(ledger), are_copies)
