"""A body on its way into a store, as a file under a temporary name; and what all file system stores share. Stores no image.

The system calls behind invariant I1 are called by name here, so that a test can watch and disturb them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from d4c_images.errors import StoreError
from d4c_images.stores import Partial

PARTS_FOLDER = "packs/parts"  # partials on their way into shards, one folder per ledger; before the first release directly in here
SMALL_BODY_BYTES = 64 * 1024  # a one-piece body up to this size stays in memory until `flush`

fsync = os.fsync
rename = os.replace
write = os.write


_guard: Callable[[], object] | None = None


def guard(check: Callable[[], object]) -> None:
    """Have `check` called in this process before a file for a body is created.

    For workers that may be suspended and resume after others have done their work: the cleanup after them cannot include
    what they would create later. So `check` ends the process in that case.
    """
    global _guard
    _guard = check


class ImageNumbers(NamedTuple):
    """The numbers in the name of an image's file."""

    gbif_id: int
    image_no: int
    revision: int = 0  # of the bytes


def stem_of(gbif_id: int, image_no: int, revision: int = 0) -> str:
    return f"{gbif_id}-{image_no:02d}" + (f"-r{revision}" if revision else "")


def part_name(stem: str, lease_id: int) -> str:
    return f".{stem}.{lease_id}.part"


def numbers_of(stem: str) -> ImageNumbers:
    gbif_id, image_no, *revision = stem.split("-")
    return ImageNumbers(int(gbif_id), int(image_no), int(revision[0].removeprefix("r")) if revision else 0)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an operating system error into a `StoreError` that names the path."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{os.fspath(path)}: {error.strerror or error}") from error


def write_all(fd: int, body: bytes | memoryview) -> None:
    view = memoryview(body)
    while view:
        view = view[write(fd, view) :]


def sync_path(path: Path) -> None:
    """Make a file or a folder durable."""
    with naming(path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fsync(fd)
        finally:
            os.close(fd)


class Root:
    """The root, distinguished from another folder of the same name: images must not go to an empty mount point."""

    def __init__(self, path: Path) -> None:
        with naming(path):
            if not path.is_dir():
                raise StoreError(f"no such image folder: {path}")
            self.path = path
            self._id = self._find()

    def make(self, folder: Path) -> None:
        """Create a folder below the root, but never the root."""
        with naming(self.path):
            found = self._find()
        if found != self._id:
            raise StoreError(f"{self.path}: the image folder was moved, deleted or unmounted")
        with naming(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def _find(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


class FilePartial:
    """The `Partial` of stores on a file system: `<folder>/.<gbif_id>-<NN>.<lease>.part`."""

    __slots__ = ("_fd", "_held", "_root", "folder", "path", "stem")

    def __init__(self, root: Root, folder: str, stem: str, lease_id: int) -> None:
        self._root = root
        self.folder = folder
        self.stem = stem
        self.path = root.path / folder / part_name(stem, lease_id)
        self._fd: int | None = None
        self._held = b""  # written, but not in the file yet

    def write(self, body: bytes, /) -> None:
        if self._fd is None and not self._held and len(body) <= SMALL_BODY_BYTES:
            self._held = body
            return
        self.flush()
        self._append(body)

    def flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._append(held)

    def rewrite(self, body: bytes, /) -> None:
        self._held = b""
        with naming(self.path):
            if self._fd is not None:
                os.ftruncate(self._fd, 0)
                os.lseek(self._fd, 0, os.SEEK_SET)
        self._append(body)

    def abort(self) -> None:
        self._held = b""
        if self._fd is None:
            return
        with naming(self.path), suppress(FileNotFoundError):
            try:
                self._close()
            finally:
                self.path.unlink()

    def sync(self) -> None:
        """Make the bytes durable. Through the descriptor that wrote them: writeback errors are reported only there."""
        self.flush()
        with naming(self.path):
            fsync(self._opened())  # an empty body is unexpected but legal here
            self._close()

    def _append(self, body: bytes) -> None:
        with naming(self.path):
            write_all(self._opened(), body)

    def _opened(self) -> int:
        if self._fd is None:
            self._fd = self._create()
        return self._fd

    def _create(self) -> int:
        if _guard is not None:
            _guard()
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


def names_in(folder: Path) -> list[str]:
    """Sorted; empty if there is no such folder."""
    with naming(folder):
        try:
            return sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths
        except FileNotFoundError:
            return []


def clear_partials(folder: Path, stem: str) -> None:
    for name in names_in(folder):
        if name.startswith(f".{stem}.") and name.endswith(".part"):
            with naming(folder / name), suppress(FileNotFoundError):
                (folder / name).unlink()


def ours(partial: Partial) -> FilePartial:
    if not isinstance(partial, FilePartial):
        raise TypeError("a partial of another store")
    return partial
