"""Looks at stored images: is the file there, of the right size, with the right bytes, and can it be decoded? Knows no ledger.

Files and images in shards take the same way. One object for one thread: it reads into one buffer.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from d4c_images.collection.findings import Reason
from d4c_images.stores import shard
from d4c_images.stores.reading import sniff_stored

if TYPE_CHECKING:
    from d4c_images.decode import Decoder

BUFFER_BYTES = 1 << 20
# A pipe that has the name of an image must not block, and a name of ours is no terminal's.
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class ImageToSee(NamedTuple):
    """What the ledger says about a stored image, and what to do about it."""

    path: str  # below the root
    offset: int | None  # in a shard
    size_bytes: int
    sha256: bytes | None  # None: its bytes need not be read
    decodes: bool


class Trouble(NamedTuple):
    number: int  # of the image, among those asked for
    reason: Reason
    detail: str


class Seen(NamedTuple):
    """The result for a group of images."""

    troubles: list[Trouble]
    n_read: int
    n_decoded: int
    read_bytes: int


class ImageLooks:
    """Looks at images below a root."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._view = memoryview(bytearray(BUFFER_BYTES))
        self._shard, self._fd = "", -1
        self._decoder: Decoder | None = None

    def see(self, images: Sequence[ImageToSee]) -> Seen:
        """Look at a group. Those of one shard are read in its order; results come in the order of the question."""
        order = sorted(range(len(images)), key=lambda n: (images[n].path, images[n].offset or 0)) if _has_shards(images) else None
        troubles, n_read, n_decoded, read_bytes = [], 0, 0, 0
        for n in order or range(len(images)):
            image = images[n]
            found = self._trouble(image)
            if found is not None:
                troubles.append(Trouble(n, *found))
            elif image.sha256 is not None or image.decodes:
                n_read += image.sha256 is not None
                n_decoded += image.decodes
                read_bytes += image.size_bytes
        self._close_shard()  # it may be gone, or longer, when the next group comes
        return Seen(sorted(troubles), n_read, n_decoded, read_bytes)

    def _trouble(self, image: ImageToSee) -> tuple[Reason, str] | None:
        try:
            if image.offset is not None:
                return self._in_shard(image, image.offset)
            if image.sha256 is None:
                found = os.stat(f"{self._root}/{image.path}")  # noqa: PTH116 - once per image
                return self._of_file(image, found) or self._of_picture(image)
            fd = os.open(f"{self._root}/{image.path}", _OPEN)
            try:
                return self._of_file(image, os.fstat(fd)) or self._of_bytes(image, fd, 0) or self._of_picture(image)
            finally:
                os.close(fd)
        except (FileNotFoundError, NotADirectoryError):
            return Reason.FILE_MISSING, "there is no such file"
        except OSError as error:
            return Reason.UNREADABLE, error.strerror or str(error)

    def _of_file(self, image: ImageToSee, found: os.stat_result) -> tuple[Reason, str] | None:
        if not stat.S_ISREG(found.st_mode):
            return Reason.FILE_MISSING, "is not a file"
        return None if found.st_size == image.size_bytes else _another_size(found.st_size, image)

    def _in_shard(self, image: ImageToSee, offset: int) -> tuple[Reason, str] | None:
        fd = self._open_shard(image.path)
        sample = shard.sample_at(fd, offset)
        if sample is None:
            return Reason.FILE_MISSING, "is not an image"
        if sample.size_bytes != image.size_bytes:
            return _another_size(sample.size_bytes, image)
        return self._of_bytes(image, fd, offset) or self._of_picture(image)

    def _of_bytes(self, image: ImageToSee, fd: int, offset: int) -> tuple[Reason, str] | None:
        """Whether the bytes are those that were stored."""
        if image.sha256 is None:
            return None
        digest, left, view = hashlib.sha256(), image.size_bytes, self._view
        while left:
            n = os.preadv(fd, [view[: min(left, BUFFER_BYTES)]], offset)
            if not n:
                return _another_size(image.size_bytes - left, image)
            digest.update(view[:n])
            left -= n
            offset += n
        return None if digest.digest() == image.sha256 else (Reason.HASH_MISMATCH, f"SHA-256 is not {image.sha256.hex()}")

    def _of_picture(self, image: ImageToSee) -> tuple[Reason, str] | None:
        if not image.decodes:
            return None
        if image.offset is None:
            return self._decoded(Path(self._root, image.path))
        fd = self._open_shard(image.path)
        with tempfile.NamedTemporaryFile(prefix="d4c-images-") as copy:
            left, offset = image.size_bytes, image.offset
            while left and (n := os.preadv(fd, [self._view[: min(left, BUFFER_BYTES)]], offset)):
                copy.write(self._view[:n])
                left -= n
                offset += n
            copy.flush()
            return self._decoded(Path(copy.name))

    def _decoded(self, path: Path) -> tuple[Reason, str] | None:
        from d4c_images.decode import Decoder
        from d4c_images.policy.judge import DecodeFault

        if self._decoder is None:
            self._decoder = Decoder()
        result = self._decoder.check(path, sniff_stored(path))
        # A limit of this program is not damage of a file.
        if result.ok or result.raw or result.reason is DecodeFault.TOO_MANY_PIXELS:
            return None
        return Reason.UNDECODABLE, " ".join((result.detail or "it cannot be decoded").split())

    def _open_shard(self, path: str) -> int:
        if path != self._shard:
            self._close_shard()
            self._fd, self._shard = os.open(f"{self._root}/{path}", _OPEN), path
        return self._fd

    def _close_shard(self) -> None:
        if self._shard:
            with suppress(OSError):
                os.close(self._fd)
            self._shard = ""


def _has_shards(images: Sequence[ImageToSee]) -> bool:
    return any(image.offset is not None for image in images)


def _another_size(size_bytes: int, image: ImageToSee) -> tuple[Reason, str]:
    return Reason.SIZE_MISMATCH, f"{size_bytes} bytes, but {image.size_bytes} in the ledger"
