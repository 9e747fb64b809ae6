"""Copies images out of a collection, each as a file, verifying their hashes. Changes nothing in the collection."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from d4c_images import crash
from d4c_images.collection.moved import OF_THIS_PROCESS
from d4c_images.errors import StoreError
from d4c_images.ledger.questions.locations import Shelved
from d4c_images.stores import Keep, Place
from d4c_images.stores.local import LocalStore, folder_of
from d4c_images.stores.partial import stem_of
from d4c_images.stores.reading import extension_of, sha256_at, size_at
from d4c_images.stores.verified import copy_if_right, leave_nothing

UNPACKED_AT_ONCE, UNPACKED_AT_ONCE_BYTES = 32, 64 << 20  # made durable together
TOLD = 20  # problems reported in full; all are counted
OF_ONE_PATH = frozenset((errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.EACCES, errno.EPERM))
"""What the system says of one name in the target; a full or failing disk concerns all images."""


@dataclass(slots=True)
class Unpacked:
    """What has been done so far."""

    n_written: int = 0
    n_replaced: int = 0  # of these: instead of a copy that was not what the ledger says
    n_there: int = 0  # from an earlier run; their bytes have been compared
    written_bytes: int = 0
    n_troubles: int = 0
    troubles: list[str] = field(default_factory=list)

    @property
    def n_seen(self) -> int:
        return self.n_written + self.n_there + self.n_troubles

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def trouble(self, what: str) -> None:
        self.n_troubles += 1
        if self.n_troubles <= TOLD:
            self.troubles.append(what)


class _Copy(NamedTuple):
    """Of one image: a partial, or why there is none; neither if a copy was there."""

    image: Shelved
    keep: Keep | None = None
    trouble: str = ""
    replaces: bool = False


def unpack(images: Iterable[Shelved], root: Path, to: Path, progress: Callable[[Unpacked], None]) -> Unpacked:
    """Write each image as a file below `to`, in the layout of a collection of files; a copy that is there and right is skipped.

    An image that cannot be read, or does not match the ledger, becomes a problem and no file; so does one whose name is taken by
    something that cannot be replaced. Raises `StoreError` if `to` cannot be written, and what `progress` raises; no partial is left
    then, and all copies up to there are kept.
    """
    unpacking = _Unpacking(root, to)
    try:
        for group in _groups(images):
            unpacking.add(group)
            progress(unpacking.done)
    finally:
        unpacking.close()
    return unpacking.done


def _groups(images: Iterable[Shelved]) -> Iterator[list[Shelved]]:
    """Groups with each image once: an image that two records show is copied by the first."""
    group: dict[Shelved, None] = {}
    n_bytes = 0
    for image in images:
        if group and (len(group) == UNPACKED_AT_ONCE or n_bytes + (image.size_bytes or 0) > UNPACKED_AT_ONCE_BYTES):
            yield list(group)
            group, n_bytes = {}, 0
        if image not in group:
            group[image] = None
            n_bytes += image.size_bytes or 0
    if group:
        yield list(group)


class _Unpacking:
    def __init__(self, root: Path, to: Path) -> None:
        self._root, self._to, self._store = root, to, LocalStore(to)
        self.done = Unpacked()

    def close(self) -> None:
        self._store.close()

    def add(self, images: Sequence[Shelved]) -> None:
        """Copy some images. Those of a failed attempt that have their names already are then found to be there."""
        try:
            self._put(images)
        except StoreError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in OF_ONE_PATH:
                raise
            if len(images) == 1:
                self.done.trouble(f"image {images[0].image_id}: {error}")
                return
            for image in images:  # to find out which it is
                self.add([image])

    def _put(self, images: Sequence[Shelved]) -> None:
        copies: list[_Copy] = []
        try:
            copies += map(self._copy, images)
            places = iter(self._store.put([copy.keep for copy in copies if copy.keep is not None]))
        except BaseException:
            for copy in copies:
                if copy.keep is not None:
                    leave_nothing(copy.keep.partial)
            raise
        crash.point("unpack.put")
        for copy in copies:
            is_taken = copy.keep is not None and next(places) is None
            self._count(copy._replace(trouble="another process has taken its copy") if is_taken else copy)

    def _count(self, copy: _Copy) -> None:
        if copy.trouble:
            self.done.trouble(f"image {copy.image.image_id}: {copy.image.path}: {copy.trouble}")
        elif copy.keep is None:
            self.done.n_there += 1
        else:
            self.done.n_written += 1
            self.done.n_replaced += copy.replaces
            self.done.written_bytes += copy.image.size_bytes

    def _copy(self, image: Shelved) -> _Copy:
        if not (image.path and image.size_bytes and image.sha256):
            return _Copy(image, trouble="the ledger has no path, size or SHA-256 of it")
        place, partial = Place(image.path, image.offset), self._store.begin(image.gbif_id, image.image_no, 0)
        try:
            extension = extension_of(self._root, place)
            there = f"{folder_of(image.gbif_id)}/{stem_of(image.gbif_id, image.image_no)}.{extension}"
            found = self._found(there, image)
            if found:
                return _Copy(image)
            if not copy_if_right(self._root, place, image.size_bytes, image.sha256, partial):
                return _Copy(image, trouble=f"SHA-256 is not {image.sha256.hex()}")
        except OSError as error:  # while reading: while writing it is a `StoreError`
            if error.errno in OF_THIS_PROCESS:  # says nothing about this image: the next ones would be blamed as well
                raise StoreError(f"{image.path}: {error.strerror}") from error
            return _Copy(image, trouble=error.strerror or str(error))
        return _Copy(image, Keep(partial, extension), replaces=found is False)

    def _found(self, there: str, image: Shelved) -> bool | None:
        """Whether what has the copy's name is that copy, byte for byte; None if nothing has it.

        What cannot be read is not the copy: it is made anew.
        """
        place = Place(there)
        try:
            return size_at(self._to, place) == image.size_bytes and sha256_at(self._to, place, image.size_bytes) == image.sha256
        except FileNotFoundError:
            return None
        except OSError:
            return False
