"""The format of a shard: a tar file with two members for each image, in WebDataset's form. Knows no store and no ledger.

    1234567890-00.json   what is known about the image, for people who have nothing but the tar
    1234567890-00.jpg    its bytes

The JSON comes first, so that a sample ends where its image ends. Two empty blocks follow the last sample after each `put`, and the
next one overwrites them: a shard is a valid tar file at all times, except during a `put`.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from d4c_images.model import Blob
from d4c_images.stores.partial import ImageNumbers

TAR_BLOCK_BYTES = 512
END = bytes(2 * TAR_BLOCK_BYTES)
MOST_TOLD_BYTES = 64 * TAR_BLOCK_BYTES
STEM = re.compile(r"\d{1,18}-\d{2,9}(?:-r[1-9]\d{0,8})?")


class Sample(NamedTuple):
    """An image in a shard."""

    stem: str
    extension: str
    offset: int  # of the image's bytes
    size_bytes: int

    @property
    def name(self) -> str:
        return f"{self.stem}.{self.extension}"

    @property
    def end(self) -> int:
        """Where the next sample starts."""
        return up(self.offset + self.size_bytes)


def up(offset: int) -> int:
    """The start of the first block at or after `offset`."""
    return -(-offset // TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES


def padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % TAR_BLOCK_BYTES)


def head(stem: str, extension: str, size_bytes: int, mtime: int, told: bytes) -> bytes:
    """Everything before the bytes of an image: its JSON, and its own header."""
    return _header(f"{stem}.json", len(told), mtime) + told + padding(len(told)) + _header(f"{stem}.{extension}", size_bytes, mtime)


def told(numbers: ImageNumbers, blob: Blob | None, url: str | None) -> bytes:
    """The JSON of a sample: what its worker knows. Licences belong to records, and are in the ledger."""
    values: dict[str, object] = {"gbif_id": numbers.gbif_id, "image_no": numbers.image_no}
    if numbers.revision:
        values["revision"] = numbers.revision
    if url is not None:
        values["url"] = url
    if blob is not None:
        values |= {"sha256": blob.sha256.hex(), "media_type": blob.media_type, "width": blob.width, "height": blob.height}
        if blob.original_sha256 is not None and blob.original_sha256 != blob.sha256:
            values["original_sha256"] = blob.original_sha256.hex()
    return json.dumps(values, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def samples(fd: int, start: int, size: int) -> Iterator[Sample]:
    """The complete samples from `start` on, within the first `size` bytes; stops where none begins."""
    at = start
    while (about := _member(fd, at, size)) is not None:
        image = _member(fd, up(about[1] + about[2]), size)
        stem, _, extension = about[0].rpartition(".")
        if image is None or extension != "json" or image[0].rpartition(".")[0] != stem or not STEM.fullmatch(stem):
            return
        sample = Sample(stem, image[0].rpartition(".")[2], image[1], image[2])
        yield sample
        at = sample.end


def told_with(fd: int, sample: Sample) -> dict[str, Any]:
    """The JSON of a sample; empty if it cannot be read. It ends where the header of its image begins."""
    end = sample.offset - TAR_BLOCK_BYTES
    start = max(0, end - MOST_TOLD_BYTES)
    before = os.pread(fd, end - start, start)
    for at in range(len(before) - TAR_BLOCK_BYTES, -1, -TAR_BLOCK_BYTES):
        try:
            member = tarfile.TarInfo.frombuf(before[at : at + TAR_BLOCK_BYTES], "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            continue  # a block of the JSON itself
        if member.name != f"{sample.stem}.json":
            return {}
        try:
            values = json.loads(before[at + TAR_BLOCK_BYTES : at + TAR_BLOCK_BYTES + member.size])
        except ValueError:
            return {}
        return values if isinstance(values, dict) else {}
    return {}


def sample_at(fd: int, offset: int) -> Sample | None:
    """The image whose bytes begin at `offset`, according to its own header."""
    found = _member(fd, offset - TAR_BLOCK_BYTES, os.fstat(fd).st_size) if offset >= TAR_BLOCK_BYTES else None
    if found is None:
        return None
    stem, _, extension = found[0].rpartition(".")
    return Sample(stem, extension, found[1], found[2])


def is_ended(fd: int, end: int, size: int) -> bool:
    """Whether only the end of a tar file follows the samples."""
    return size == end + len(END) and os.pread(fd, len(END), end) == END


def _header(name: str, size_bytes: int, mtime: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size_bytes, mtime, 0o644
    return member.tobuf(tarfile.GNU_FORMAT)


def _member(fd: int, at: int, size: int) -> tuple[str, int, int] | None:
    """Name, offset and size of the complete member that begins at `at`."""
    try:
        member = tarfile.TarInfo.frombuf(os.pread(fd, TAR_BLOCK_BYTES, at), "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    offset = at + TAR_BLOCK_BYTES
    is_whole = member.isreg() and member.size >= 0 and up(offset + member.size) <= size
    return (member.name, offset, member.size) if is_whole else None
