"""Images as members of tar shards, for disks with a file quota. Knows no ledger, truncates no shard (`stores.shard_recovery`).

    <root>/packs/<token>-<number>.tar                 a shard (`stores.shard`); the token is that of the ledger
    <root>/packs/parts/<token>/.<gbif_id>-<NN>.<lease>.part   a partial

Each store creates shards of its own, under a number that nobody else can have, and only ever appends to the newest one. The order
of writes is the invariant: bytes into the shard, fsync of the shard, and of its folder if it is new. Only then has `put` returned.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from d4c_images import crash
from d4c_images.model import Blob
from d4c_images.stores import Keep, Place, Store, partial, shard
from d4c_images.stores.local import LocalStore, remove_with_folders
from d4c_images.stores.partial import (
    PARTS_FOLDER,
    FilePartial,
    Root,
    clear_partials,
    names_in,
    naming,
    numbers_of,
    ours,
    stem_of,
    sync_path,
    write_all,
)
from d4c_images.stores.reading import holds

PACKS_FOLDER = "packs"
SHARD_BYTES = 10**9
COPY_BYTES = 1 << 20
SHARD_NAME = re.compile(r"([0-9a-f]{8})-(\d+)\.tar")


@dataclass(frozen=True, slots=True)
class PackSettings:
    """How a ledger's images are packed; pickles."""

    token: str  # 8 hexadecimal digits, in each shard's name: two ledgers never touch each other's
    shard_bytes: int = SHARD_BYTES  # a shard of this size is followed by another


def shard_names(root: Path, token: str) -> list[str]:
    """The names in `packs/` of one ledger's shards, in order."""
    return [name for name in names_in(root / PACKS_FOLDER) if (found := SHARD_NAME.fullmatch(name)) and found[1] == token]


def open_store(root: Path, packing: PackSettings | None) -> Store:
    """A store of shards, or of files if there is no `packing`."""
    return LocalStore(root) if packing is None else PackStore(root, packing)


class PackStore:
    """A `Store` of tar shards. `find` returns plain files, which `confirm` packs."""

    def __init__(self, root: Path, packing: PackSettings) -> None:
        self._top = Root(root)
        self._root = root
        self._packing = packing
        self._parts = f"{PARTS_FOLDER}/{packing.token}"
        self._files = LocalStore(root)
        self._shard: _Shard | None = None
        self._one = threading.Lock()

    def begin(self, gbif_id: int, image_no: int, lease_id: int, revision: int = 0) -> FilePartial:
        return FilePartial(self._top, self._parts, stem_of(gbif_id, image_no, revision), lease_id)

    def put(self, keeps: Sequence[Keep]) -> list[Place | None]:
        for keep in keeps:
            keep.partial.flush()
        crash.point("put.written")
        bodies = [_Body(ours(keep.partial).path, ours(keep.partial).stem, keep.extension, keep.blob, keep.url) for keep in keeps]
        places = self._append(bodies)
        for keep, place in zip(keeps, places, strict=True):
            keep.partial.abort()
            if keep.may_replace and place is not None:
                self._remove_files(ours(keep.partial).stem)
        return places

    def path_of(self, relative: str) -> Path:
        return self._root / relative

    def holds(self, place: Place, size_bytes: int) -> bool:
        return holds(self._root, place, size_bytes)

    def find(self, gbif_id: int, image_no: int, revision: int = 0) -> list[str]:
        return self._files.find(gbif_id, image_no, revision)

    def confirm(self, relative: str, blob: Blob) -> Place:
        path = self._root / relative
        (place,) = self._append([_Body(path, path.stem, path.suffix.removeprefix("."), blob, None)])
        assert place is not None, "who holds the lease of an image is the only one who touches its files"
        self.remove(relative)
        return place

    def pack(self, files: Sequence[PlainFile]) -> list[Place | None]:
        """Append stored files, durably; they stay as well. None: the file is gone, or its bytes are not those of its blob."""
        bodies = [
            _Body(path, path.stem, path.suffix.removeprefix("."), file.blob, file.url, must_match=True)
            for file in files
            for path in [self._root / file.blob.path]
        ]
        return self._append(bodies)

    def remove(self, relative: str) -> None:
        """A file's folders are removed with it if they are empty then: they count against the quota."""
        remove_with_folders(self._root, relative)

    def clear_partials(self, gbif_id: int, image_no: int, revision: int = 0) -> None:
        clear_partials(self._root / self._parts, stem_of(gbif_id, image_no, revision))
        self._files.clear_partials(gbif_id, image_no, revision)

    def close(self) -> None:
        with self._one:
            if self._shard is not None:
                self._shard.close()
                self._shard = None
        self._files.close()

    def _append(self, bodies: Sequence[_Body]) -> list[Place | None]:
        """Append all of them to one shard, durably.

        After an error nothing more is appended to that shard: what the system has lost of a failed write is unknown, so only what
        was durable before counts.
        """
        with self._one:
            mine, self._shard = self._shard, None
            try:
                if mine is None:
                    mine = _Shard(self._top, self._packing.token)
                places = [mine.append(body) for body in bodies]
                crash.point("put.appended")
                mine.sync()
            except BaseException:
                if mine is not None:
                    mine.close()
                raise
            crash.point("put.synced")
            if mine.end < self._packing.shard_bytes:
                self._shard = mine
            else:
                mine.close()
            return places

    def _remove_files(self, stem: str) -> None:
        for relative in self._files.find(*numbers_of(stem)):
            self.remove(relative)


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A stored file that is to be packed."""

    blob: Blob
    url: str | None


@dataclass(frozen=True, slots=True)
class _Body:
    """A file that is to become a sample."""

    path: Path
    stem: str
    extension: str
    blob: Blob | None
    url: str | None
    must_match: bool = False  # its bytes are compared with the blob's hash as they are copied


class _Shard:
    """A shard created by this process, open for appending. Created with its first sample."""

    def __init__(self, top: Root, token: str) -> None:
        self._top = top
        self._token = token
        self._path = top.path / PACKS_FOLDER
        self._fd: int | None = None
        self._is_named = False  # its name is durable
        self.end = 0  # end of its last sample

    def append(self, body: _Body) -> Place | None:
        with naming(body.path):
            try:
                source = os.open(body.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
        try:
            return self._copy(source, body)
        finally:
            os.close(source)

    def sync(self) -> None:
        """Make durable what was appended, as a complete tar file."""
        if self._fd is None:
            return
        with naming(self._path):
            write_all(self._fd, shard.END)
            os.lseek(self._fd, self.end, os.SEEK_SET)
            partial.fsync(self._fd)
        if not self._is_named:
            sync_path(self._path.parent)
            sync_path(self._top.path)
            self._is_named = True

    def close(self) -> None:
        """An error says nothing new: what counts was made durable by `sync`, or the shard is closed because of another error."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)

    def _copy(self, source: int, body: _Body) -> Place | None:
        with naming(self._path):
            if self._fd is None:
                self._fd = self._create()
        with naming(body.path):
            size_bytes = os.fstat(source).st_size
        told = shard.told(numbers_of(body.stem), body.blob, body.url)
        before = shard.head(body.stem, body.extension, size_bytes, int(time.time()), told)
        offset = self.end + len(before)
        digest = hashlib.sha256()
        with naming(self._path):
            left = size_bytes
            while left:
                with naming(body.path):
                    piece = os.read(source, min(left, COPY_BYTES))
                if not piece:
                    raise OSError(f"{body.path} was truncated")
                left -= len(piece)
                if body.must_match:
                    digest.update(piece)
                write_all(self._fd, before + piece if left else before + piece + shard.padding(size_bytes))
                before = b""
            if before:
                write_all(self._fd, before)
            if body.must_match and (body.blob is None or digest.digest() != body.blob.sha256):
                os.ftruncate(self._fd, self.end)
                os.lseek(self._fd, self.end, os.SEEK_SET)
                return None
        self.end = shard.up(offset + size_bytes)
        return Place(str(self._path.relative_to(self._top.path)), offset)

    def _create(self) -> int:
        """Create a file under the next free number, exclusively: no other process can have created it."""
        names = shard_names(self._top.path, self._token)
        number = 1 + max((int(name[len(self._token) + 1 : -len(".tar")]) for name in names), default=-1)
        self._top.make(self._top.path / PACKS_FOLDER)
        while True:
            self._path = self._top.path / PACKS_FOLDER / f"{self._token}-{number:06d}.tar"
            try:
                return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except FileExistsError:
                number += 1
