"""Moves a collection to another image root, also on another file system: copies it, and removes the old copy later.

The old root stays the ledger's, whole and readable, until every byte that a row names is durable and verified at the new one. The
ledger is switched by the command (`last_root`), in one transaction. What no row names stays where it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from d4c_images import crash
from d4c_images.collection.findings import Finding, Reason
from d4c_images.collection.moved import (
    MOVED_AT_ONCE_BYTES,
    MOVING_THREADS,
    Moved,
    MoveWatch,
    finding,
    groups,
    problem_of,
    unreadable,
    wrong_size,
)
from d4c_images.collection.verified_copies import Copy, all_or_none, copy_verified, put_copies
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import relocating
from d4c_images.ledger.queue.relocating import NamedBytes, Survey
from d4c_images.stores import Keep, Place, reading
from d4c_images.stores.local import LocalStore, remove_with_folders
from d4c_images.stores.pack import PACKS_FOLDER, shard_names
from d4c_images.stores.partial import names_in, naming, sync_path
from d4c_images.stores.quarantine import QUARANTINE_FOLDER

HOLE_BYTES = 4096


def copy_root(ledger: Ledger, old: Path, new: Path, found: Survey, watch: MoveWatch, token: str) -> Moved:
    """Copy everything that rows name, and what is in quarantine, to the same paths below `new`; verified and durable.

    What is there already is read and compared instead. Raises `StoreError`; run again, it goes on.
    """
    copying = _Copying(ledger, old, new, watch)
    try:
        copying.shards({f"{PACKS_FOLDER}/{name}" for name in shard_names(old, token)} | found.users.keys())
        copying.quarantine()
        copying.rows()
    finally:
        copying.close()
    return copying.done


class _Copying:
    def __init__(self, ledger: Ledger, old: Path, new: Path, watch: MoveWatch) -> None:
        self._ledger, self._old, self._new, self._watch = ledger, old, new, watch
        self._store = LocalStore(new)
        self._pool = ThreadPoolExecutor(MOVING_THREADS)
        self._copied: set[str] = set()  # shards, by this run
        self._copied_anew: set[str] = set()
        self.done = Moved()

    def close(self) -> None:
        self._pool.shutdown()
        self._store.close()

    def shards(self, paths: set[str]) -> None:
        """Whole, so that no offset changes. Their images are compared with their rows afterwards, at the new root."""
        for path in sorted(paths):
            if _size(self._new / path) != _size(self._old / path):
                self._copy_whole(path)
            self._watch(self.done)

    def quarantine(self) -> None:
        for name in names_in(self._old / QUARANTINE_FOLDER):
            if not name.startswith(".") and not (self._new / QUARANTINE_FOLDER / name).exists():
                self._copy_whole(f"{QUARANTINE_FOLDER}/{name}")
            self._watch(self.done)

    def rows(self) -> None:
        to = str(self._new.absolute())
        for upto, rows in relocating.stored_in_steps(self._ledger.connection.execute, relocating.copied_upto(self._ledger, to)):
            n_left = self.done.n_left
            places: dict[tuple[str, int | None], NamedBytes] = {}
            for one in sorted(rows, key=lambda one: one.is_same):  # each place once: two threads must not write one file
                places.setdefault((one.path, one.offset), one)
            for group in groups(places.values()):
                self._copy_group(group)
                self._watch(self.done)
            if not n_left and not self.done.n_left:  # otherwise the next run looks at them again
                relocating.note_copied(self._ledger, to, upto)
            self._watch(self.done)

    def _copy_group(self, group: Sequence[NamedBytes]) -> None:
        put = put_copies(self._pool, self._store, self._copy, group)
        crash.point("convert.copied")
        for one, at, is_new in put:
            if is_new:
                self.done.count(one)
            elif isinstance(at, Finding) and not self._is_mended(one):
                self.done.leave(one, at)
            elif one.path in self._copied:
                self.done.count(one)
            elif not one.is_same:
                self.done.found(one)

    def _copy(self, one: NamedBytes) -> Copy:
        there = Place(one.path, one.offset)
        if one.size_bytes is None or one.sha256 is None:
            return finding(one, Reason.NO_FILE_NAME, "no size or SHA-256 in the ledger")
        if one.offset is not None:
            return problem_of(self._new, one) or there
        if _size(self._new / one.path) == one.size_bytes:
            if one.is_same:  # compared for the image whose file it is
                return there
            if problem_of(self._new, one) is None:
                sync_path(self._new / one.path)  # named by a process that was killed before it was durable, or by rsync
                sync_path((self._new / one.path).parent)
                return there
        keep = Keep(self._store.begin_at(one.path), Path(one.path).suffix.removeprefix("."))
        try:
            found = (self._old / one.path).stat().st_size
        except OSError as error:
            return unreadable(one, error)
        if found != one.size_bytes:
            return wrong_size(one, found)
        return copy_verified(self._old, one, keep) or keep

    def _is_mended(self, one: NamedBytes) -> bool:
        """Whether an image in a shard is as it should be after its shard was copied once more: at the old root it is."""
        if one.offset is None or one.path in self._copied_anew or problem_of(self._old, one) is not None:
            return False
        self._copied_anew.add(one.path)
        self._copy_whole(one.path)
        return problem_of(self._new, one) is None

    def _copy_whole(self, path: str) -> None:
        size_bytes = _size(self._old / path)
        if size_bytes is None:
            return  # a finding of its images
        keep, watched = Keep(self._store.begin_at(path), Path(path).suffix.removeprefix(".")), 0
        with all_or_none([keep]):
            for piece in _all_of(self._old / path, size_bytes):
                keep.partial.write(piece)
                watched += len(piece)
                if watched >= MOVED_AT_ONCE_BYTES:
                    watched = 0
                    self._watch(self.done)
            self._store.put([keep])
        self._copied.add(path)
        crash.point("convert.shard_copied")


def _all_of(path: Path, size_bytes: int) -> Iterator[bytes]:
    """All bytes of a shard, with zeros for what cannot be read: the images there are then found to be damaged, and no others."""
    with naming(path), path.open("rb", buffering=0) as file:
        fd = file.fileno()
        for at in range(0, size_bytes, reading.CHUNK_BYTES):
            n = min(reading.CHUNK_BYTES, size_bytes - at)
            try:
                yield os.pread(fd, n, at).ljust(n, b"\0")
            except OSError:
                yield b"".join(_block_of(fd, low, min(HOLE_BYTES, at + n - low)) for low in range(at, at + n, HOLE_BYTES))


def _block_of(fd: int, at: int, n: int) -> bytes:
    try:
        return os.pread(fd, n, at).ljust(n, b"\0")
    except OSError:
        return bytes(n)


def remove_root(ledger: Ledger, old: Path, new: Path, watch: MoveWatch, token: str) -> Moved:
    """Remove from `old` what rows name and `new` has, in the same size; folders that are empty then, too.

    For after the switch alone. Raises `StoreError`; run again, it goes on.
    """
    done = Moved()
    for _, rows in relocating.stored_in_steps(ledger.connection.execute):
        for one in rows:
            if one.offset is None and not one.is_same and _remove(old, new, one.path):
                done.count(one)
        crash.point("convert.old_removed")
        watch(done)
    for name in shard_names(old, token):
        done.n_shards_removed += _remove(old, new, f"{PACKS_FOLDER}/{name}")
        watch(done)
    for name in names_in(old / QUARANTINE_FOLDER):
        _remove(old, new, f"{QUARANTINE_FOLDER}/{name}")
    with suppress(OSError):
        old.rmdir()
    return done


def _remove(old: Path, new: Path, path: str) -> bool:
    with naming(old / path):
        try:
            mine, theirs = (old / path).stat(), (new / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
    if mine.st_size != theirs.st_size or (mine.st_dev, mine.st_ino) == (theirs.st_dev, theirs.st_ino):
        return False
    remove_with_folders(old, path)
    return True


def _size(path: Path) -> int | None:
    """None if there is nothing. Raises `StoreError`."""
    with naming(path):
        try:
            return path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
