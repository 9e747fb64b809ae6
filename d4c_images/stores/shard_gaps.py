"""Makes a shard readable beyond a damaged header in its middle. Writes headers of 512 bytes, and moves or removes nothing.

A shard is read from its start, so one damaged header hides everything behind it, though the ledger knows where each image is. Only
damaged headers are written anew: an image whose own header was lost becomes `<stem>.damaged`, up to the next sound one. For the
owner of the ledger, after its rows refer to no image that has no header.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from d4c_images import crash
from d4c_images.stores import partial, shard
from d4c_images.stores.partial import naming, write_all
from d4c_images.stores.shard import STEM, TAR_BLOCK_BYTES, up

LOST_EXTENSION = "damaged"
UNNAMED = "0-00"


def bridge(path: Path) -> bool:
    """Bridge all gaps of a shard; whether it can then be read to its end. Raises `StoreError`."""
    with naming(path):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            size, end = os.fstat(fd).st_size, 0
            while True:
                for sample in shard.samples(fd, end, size):
                    end = sample.end
                if shard.is_ended(fd, end, size):
                    return True
                if not _bridge_one(fd, end, size):
                    return False
                crash.point("gap.bridged")
        finally:
            os.close(fd)


def _bridge_one(fd: int, at: int, size: int) -> bool:
    """Write the headers that the sample at this offset lacks; False if no sound header follows."""
    told = _named(fd, at, size)
    if told is not None and told[1] == "json":
        image_at = up(at + TAR_BLOCK_BYTES + told[2])
        following = _next(fd, image_at + TAR_BLOCK_BYTES, size)
        if following is None:
            return False
        return _write(fd, image_at, f"{told[0]}.{LOST_EXTENSION}", following[0] - image_at - TAR_BLOCK_BYTES)
    following = _next(fd, at + TAR_BLOCK_BYTES, size)
    if following is None:
        return False
    next_at, stem, extension = following
    if extension != "json":  # its JSON has no header
        return _write(fd, at, f"{stem}.json", next_at - at - TAR_BLOCK_BYTES)
    if next_at - at < 2 * TAR_BLOCK_BYTES:
        return False
    _write(fd, at + TAR_BLOCK_BYTES, f"{UNNAMED}.{LOST_EXTENSION}", next_at - at - 2 * TAR_BLOCK_BYTES)
    return _write(fd, at, f"{UNNAMED}.json", 0)


def _next(fd: int, at: int, size: int) -> tuple[int, str, str] | None:
    """The next sound header from an offset on: where, stem and extension."""
    while at < size:
        found = _named(fd, at, size)
        if found is not None:
            return at, found[0], found[1]
        at += TAR_BLOCK_BYTES
    return None


def _named(fd: int, at: int, size: int) -> tuple[str, str, int] | None:
    """Stem, extension and size of the complete member of a sample that begins there."""
    try:
        member = tarfile.TarInfo.frombuf(os.pread(fd, TAR_BLOCK_BYTES, at), "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    stem, _, extension = member.name.rpartition(".")
    is_whole = member.isreg() and member.size >= 0 and up(at + TAR_BLOCK_BYTES + member.size) <= size
    return (stem, extension, member.size) if is_whole and STEM.fullmatch(stem) else None


def _write(fd: int, at: int, name: str, size_bytes: int) -> bool:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, 0o644
    os.lseek(fd, at, os.SEEK_SET)
    write_all(fd, member.tobuf(tarfile.GNU_FORMAT))
    partial.fsync(fd)
    return True
