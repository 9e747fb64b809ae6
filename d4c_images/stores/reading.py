"""Reads the bytes of images from any store: files and shards. Changes nothing. Raises `OSError`, unless stated otherwise."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from d4c_images.policy.sniff import Sniffed, sniff, sniff_tiff
from d4c_images.stores import Place, shard
from d4c_images.stores.partial import naming
from d4c_images.stores.shard import Sample

CHUNK_BYTES = 1 << 20
SNIFFED_HEAD_BYTES, SNIFFED_TAIL_BYTES = 1 << 16, 1024  # as much as a download keeps of a body


def pieces(root: Path, place: Place, size_bytes: int) -> Iterator[bytes]:
    """The bytes of an image, at most 1 MiB at a time; an error if there are fewer than `size_bytes`."""
    with (root / place.path).open("rb", buffering=0) as file:
        file.seek(place.offset or 0)
        while size_bytes:
            piece = file.read(min(size_bytes, CHUNK_BYTES))
            if not piece:
                raise OSError(errno.EIO, f"is {size_bytes} bytes too short", place.path)
            size_bytes -= len(piece)
            yield piece


def sample_at(root: Path, path: str, offset: int) -> Sample | None:
    """The shard's own record of the image that begins at `offset`; None if there is none."""
    fd = os.open(root / path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return shard.sample_at(fd, offset)
    finally:
        os.close(fd)


def size_at(root: Path, place: Place) -> int | None:
    """The size of an image; None if something else is there, or a shard has no image there."""
    if place.offset is not None:
        sample = sample_at(root, place.path, place.offset)
        return None if sample is None else sample.size_bytes
    found = (root / place.path).stat()
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def sha256_of(body: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for piece in body:
        digest.update(piece)
    return digest.digest()


def sha256_at(root: Path, place: Place, size_bytes: int) -> bytes:
    return sha256_of(pieces(root, place, size_bytes))


def holds(root: Path, place: Place, size_bytes: int) -> bool:
    """Whether an image of this size is there. Raises `StoreError` if that cannot be determined."""
    with naming(root / place.path):
        try:
            return size_at(root, place) == size_bytes
        except (FileNotFoundError, NotADirectoryError):
            return False


def extension_of(root: Path, place: Place) -> str:
    """The extension of the image's name, without a dot; an error if the shard has no image there."""
    if place.offset is None:
        return Path(place.path).suffix.removeprefix(".")
    sample = sample_at(root, place.path, place.offset)
    if sample is None:
        raise OSError(errno.EIO, f"has no image at {place.offset}", place.path)
    return sample.extension


def sniff_stored(path: Path) -> Sniffed:
    """What the bytes of a file claim to be."""
    with path.open("rb") as file:
        head, size_bytes = file.read(SNIFFED_HEAD_BYTES), os.fstat(file.fileno()).st_size
        file.seek(max(0, size_bytes - SNIFFED_TAIL_BYTES))
        tail = file.read(SNIFFED_TAIL_BYTES)
    return sniff_file(path, head, tail, size_bytes)


def sniff_file(path: Path, head: bytes, tail: bytes, size_bytes: int) -> Sniffed:
    """As `sniff`, but reads a TIFF's directories elsewhere in the file if necessary."""
    sniffed = sniff(head, tail, size_bytes)
    if not sniffed.needs_ifd:
        return sniffed
    with path.open("rb") as file:

        def read_at(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        return sniff_tiff(read_at, size_bytes)
