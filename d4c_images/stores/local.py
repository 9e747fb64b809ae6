"""Images as files under one root, in the layout that existing collections have. Decodes nothing and knows no ledger.

    <root>/<id[:3]>/<id[3:6]>/<gbif_id>-<NN>.<ext>           an image
    <root>/<id[:3]>/<id[3:6]>/.<gbif_id>-<NN>.<lease>.part   one on its way

The order of writes is the invariant: bytes, fsync of the file, rename, fsync of the folder. Only then has `put` returned.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from d4c_images import crash
from d4c_images.errors import StoreError
from d4c_images.stores import Keep, Partial

T = TypeVar("T")

SYNC_THREADS = 8  # the file system joins concurrent fsyncs into few commits: 2.5 times faster than one by one on ext4
KNOWN_FOLDERS = 20_000  # remembered as durable; forgetting one costs an fsync

# The three calls whose order carries invariant I1, by name so that a test can watch and disturb them.
fsync = os.fsync
rename = os.replace
write = os.write


def folder_of(gbif_id: int) -> str:
    digits = str(gbif_id)
    return "/".join(part for part in (digits[:3], digits[3:6]) if part)


def stem_of(gbif_id: int, image_no: int) -> str:
    return f"{gbif_id}-{image_no:02d}"


@contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the operating system says into a `StoreError` that names the path."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{os.fspath(path)}: {error.strerror or error}") from error


class _Root:
    """The root, and a way to tell it from another folder of its name: images must not go where a file system is not mounted."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise StoreError(f"{path}: no such directory for images")
        self.path = path
        self._id = self._find()

    def make(self, folder: Path) -> None:
        """Make a folder below the root, but never the root."""
        if self._find() != self._id:
            raise StoreError(f"{self.path}: the folder of images has been moved, deleted or unmounted")
        folder.mkdir(parents=True, exist_ok=True)

    def _find(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


class LocalPartial:
    """A file under a temporary name in the folder of its final one."""

    __slots__ = ("_fd", "_root", "folder", "path", "stem")

    def __init__(self, root: _Root, gbif_id: int, image_no: int, lease_id: int) -> None:
        self._root = root
        self.folder = folder_of(gbif_id)
        self.stem = stem_of(gbif_id, image_no)
        self.path = root.path / self.folder / f".{self.stem}.{lease_id}.part"
        self._fd: int | None = None

    def write(self, body: bytes, /) -> None:
        with _naming(self.path):
            if self._fd is None:
                self._fd = self._create()
            view = memoryview(body)
            while view:
                view = view[write(self._fd, view) :]

    def rewrite(self, body: bytes, /) -> None:
        with _naming(self.path):
            if self._fd is not None:
                os.ftruncate(self._fd, 0)
                os.lseek(self._fd, 0, os.SEEK_SET)
        self.write(body)

    def abort(self) -> None:
        if self._fd is None:
            return
        self._close()
        with _naming(self.path), suppress(FileNotFoundError):
            self.path.unlink()

    def sync(self) -> None:
        """The bytes are on the disk. On the descriptor that wrote them: an error in writing back is told only there."""
        with _naming(self.path):
            if self._fd is None:
                self._fd = self._create()  # an image of no bytes is nobody's wish, but not for us to refuse
            fsync(self._fd)
            self._close()

    def _create(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            return os.open(self.path, flags, 0o666)
        except FileNotFoundError:
            self._root.make(self.path.parent)
            return os.open(self.path, flags, 0o666)

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class LocalStore:
    """A `Store` on a file system. The root must exist."""

    def __init__(self, root: Path) -> None:
        self._top = _Root(root)
        self._root = root
        self._durable: set[str] = set()  # folders whose own names are known to be on the disk
        self._threads = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="fsync")

    def begin(self, gbif_id: int, image_no: int, lease_id: int) -> LocalPartial:
        return LocalPartial(self._top, gbif_id, image_no, lease_id)

    def put(self, keeps: Sequence[Keep]) -> list[str | None]:
        partials = [_ours(keep.partial) for keep in keeps]
        crash.point("put.written")
        self._each(LocalPartial.sync, partials)
        crash.point("put.synced")
        paths = [self._name(keep) for keep in keeps]
        crash.point("put.named")
        self._sync_folders({partial.folder for partial in partials})
        for keep, path in zip(keeps, paths, strict=True):
            if keep.may_replace and path is not None:
                self._remove_others(_ours(keep.partial), path)
        return paths

    def path_of(self, relative: str) -> Path:
        return self._root / relative

    def find(self, gbif_id: int, image_no: int) -> list[str]:
        return self._finals(folder_of(gbif_id), stem_of(gbif_id, image_no))

    def confirm(self, relative: str) -> None:
        self._sync_path(self._root / relative)
        self._sync_folders({relative.rpartition("/")[0]})

    def remove(self, relative: str) -> None:
        path = self._root / relative
        with _naming(path), suppress(FileNotFoundError):
            path.unlink()

    def clear_partials(self, gbif_id: int, image_no: int) -> None:
        folder = folder_of(gbif_id)
        start = f".{stem_of(gbif_id, image_no)}."
        for name in self._names(folder):
            if name.startswith(start) and name.endswith(".part"):
                self.remove(f"{folder}/{name}")

    def close(self) -> None:
        self._threads.shutdown()

    def _name(self, keep: Keep) -> str | None:
        partial = _ours(keep.partial)
        relative = f"{partial.folder}/{partial.stem}.{keep.extension}"
        with _naming(partial.path):
            try:
                rename(partial.path, self._root / relative)
            except FileNotFoundError:
                return None
        return relative

    def _remove_others(self, partial: LocalPartial, kept: str) -> None:
        for other in self._finals(partial.folder, partial.stem):
            if other != kept:
                self.remove(other)

    def _finals(self, folder: str, stem: str) -> list[str]:
        return [f"{folder}/{name}" for name in self._names(folder) if name.startswith(f"{stem}.")]

    def _names(self, folder: str) -> list[str]:
        with _naming(self._root / folder):
            try:
                return sorted(path.name for path in (self._root / folder).iterdir())
            except FileNotFoundError:
                return []

    def _sync_folders(self, folders: set[str]) -> None:
        """The names in `folders` are on the disk, and those of new folders too: whichever process may have made them."""
        parents = {parent for folder in folders - self._durable for parent in ("", folder.rpartition("/")[0])}
        self._each(self._sync_path, [self._root / folder for folder in sorted(folders | parents)])
        if len(self._durable) > KNOWN_FOLDERS:
            self._durable.clear()
        self._durable |= folders

    def _sync_path(self, path: Path) -> None:
        with _naming(path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fsync(fd)
            finally:
                os.close(fd)

    def _each(self, act: Callable[[T], None], things: Sequence[T]) -> None:
        """`act` on all of them over the threads, in as many slices as there are threads; raises the first error."""
        slices = [things[n::SYNC_THREADS] for n in range(min(SYNC_THREADS, len(things)))]
        for _ in self._threads.map(lambda part: _all(act, part), slices):
            pass


def _all(act: Callable[[T], None], things: Iterable[T]) -> None:
    for thing in things:
        act(thing)


def _ours(partial: Partial) -> LocalPartial:
    if not isinstance(partial, LocalPartial):
        raise TypeError("a partial of another store")
    return partial
