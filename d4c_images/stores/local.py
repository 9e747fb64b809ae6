"""Images as files under one root, in the layout of existing collections. Decodes nothing and knows no ledger.

    <root>/<id[:3]>/<id[3:6]>/<gbif_id>-<NN>.<ext>           an image
    <root>/<id[:3]>/<id[3:6]>/<gbif_id>-<NN>-r<R>.<ext>      its bytes after its publisher has changed it for the Rth time
    <root>/<id[:3]>/<id[3:6]>/.<gbif_id>-<NN>.<lease>.part   a partial

The order of writes is the invariant: bytes, fsync of the file, rename, fsync of the folder. Only then has `put` returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from d4c_images import crash
from d4c_images.model import Blob
from d4c_images.stores import Keep, Place, partial
from d4c_images.stores.partial import (
    FilePartial,
    ImageNumbers,
    Root,
    clear_partials,
    names_in,
    naming,
    ours,
    part_name,
    stem_of,
    sync_path,
)
from d4c_images.stores.reading import holds

T = TypeVar("T")

SYNC_THREADS = 8  # the file system merges concurrent fsyncs into few commits: 2.5 times faster than one by one on ext4
KNOWN_FOLDERS = 20_000  # known to be durable; forgetting one costs an fsync


def folder_of(gbif_id: int) -> str:
    digits = str(gbif_id)
    return "/".join(part for part in (digits[:3], digits[3:6]) if part)


def sweep_part(root: Path, numbers: ImageNumbers, lease_id: int) -> None:
    """Remove an image's partial of a lease that nobody holds any more."""
    part = root / folder_of(numbers.gbif_id) / part_name(stem_of(*numbers), lease_id)
    with naming(part), suppress(FileNotFoundError, NotADirectoryError):
        part.unlink()


def remove_with_folders(root: Path, relative: str) -> None:
    """Remove a file, and the folders below the root that are empty then: they count against a quota. No error if it is gone."""
    path = root / relative
    with naming(path), suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()
    with suppress(OSError):
        for folder in path.relative_to(root).parents[:-1]:
            (root / folder).rmdir()


class LocalStore:
    """A `Store` on a file system. The root must exist."""

    def __init__(self, root: Path) -> None:
        self._top = Root(root)
        self._root = root
        self._durable: set[str] = set()  # folders whose own names are known to be durable
        self._threads = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="fsync")

    def begin(self, gbif_id: int, image_no: int, lease_id: int, revision: int = 0) -> FilePartial:
        return FilePartial(self._top, folder_of(gbif_id), stem_of(gbif_id, image_no, revision), lease_id)

    def begin_at(self, relative: str) -> FilePartial:
        """A partial for a file that is to have this path, whatever its name says; `Keep` takes the extension of the path."""
        path = Path(relative)
        return FilePartial(self._top, relative.rpartition("/")[0], path.stem, 0)

    def put(self, keeps: Sequence[Keep]) -> list[Place | None]:
        partials = [ours(keep.partial) for keep in keeps]
        crash.point("put.written")
        self._each(FilePartial.sync, partials)
        crash.point("put.synced")
        paths = [self._name(keep) for keep in keeps]
        crash.point("put.named")
        self._sync_folders({part.folder for part in partials})
        for keep, path in zip(keeps, paths, strict=True):
            if keep.may_replace and path is not None:
                self._remove_others(ours(keep.partial), path)
        return [None if path is None else Place(path) for path in paths]

    def path_of(self, relative: str) -> Path:
        return self._root / relative

    def holds(self, place: Place, size_bytes: int) -> bool:
        return holds(self._root, place, size_bytes)

    def find(self, gbif_id: int, image_no: int, revision: int = 0) -> list[str]:
        return self._finals(folder_of(gbif_id), stem_of(gbif_id, image_no, revision))

    def confirm(self, relative: str, blob: Blob) -> Place:
        sync_path(self._root / relative)
        self._sync_folders({relative.rpartition("/")[0]})
        return Place(relative)

    def remove(self, relative: str) -> None:
        path = self._root / relative
        with naming(path), suppress(FileNotFoundError):
            path.unlink()

    def clear_partials(self, gbif_id: int, image_no: int, revision: int = 0) -> None:
        clear_partials(self._root / folder_of(gbif_id), stem_of(gbif_id, image_no, revision))

    def close(self) -> None:
        self._threads.shutdown()

    def _name(self, keep: Keep) -> str | None:
        part = ours(keep.partial)
        relative = f"{part.folder}/{part.stem}.{keep.extension}"
        with naming(part.path):
            try:
                partial.rename(part.path, self._root / relative)
            except FileNotFoundError:
                return None
        return relative

    def _remove_others(self, part: FilePartial, kept: str) -> None:
        for other in self._finals(part.folder, part.stem):
            if other != kept:
                self.remove(other)

    def _finals(self, folder: str, stem: str) -> list[str]:
        return [f"{folder}/{name}" for name in names_in(self._root / folder) if name.startswith(f"{stem}.")]

    def _sync_folders(self, folders: set[str]) -> None:
        """Make the names in `folders` durable, and those of new folders too, whichever process created them."""
        parents = {parent for folder in folders - self._durable for parent in ("", folder.rpartition("/")[0])}
        self._each(sync_path, [self._root / folder for folder in sorted(folders | parents)])
        if len(self._durable) > KNOWN_FOLDERS:
            self._durable.clear()
        self._durable |= folders

    def _each(self, act: Callable[[T], None], things: Sequence[T]) -> None:
        """Run `act` on all of them, split into one slice per thread; raises the first error."""
        slices = [things[n::SYNC_THREADS] for n in range(min(SYNC_THREADS, len(things)))]
        for _ in self._threads.map(lambda part: _all(act, part), slices):
            pass


def _all(act: Callable[[T], None], things: Iterable[T]) -> None:
    for thing in things:
        act(thing)
