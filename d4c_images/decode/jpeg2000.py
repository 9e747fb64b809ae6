"""Has a JPEG 2000 decoded at a lower resolution if the full one takes too much memory. Decodes nothing itself.

All packets are still walked through to the end (ISO 15444-1, annex B), so a cut file is detected; only the finest details are not
decoded. They have no checksum, and a full decode detects no damage in them either.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from d4c_images.decode import memory_cost
from d4c_images.decode.faults import DECODE_ERRORS, Unread, raise_if_of_disk
from d4c_images.decode.window import Window

_HEAD = 1 << 16
_START, _CODING_STYLE, _START_OF_TILE = b"\xff\x4f\xff\x51", b"\xff\x52", b"\xff\x90"


def shrink(picture: Any, path: Path, most_bytes: int, least_edge: int = 1) -> int:
    """Set the resolution at which `picture` will be loaded: the highest that takes at most `most_bytes`, if possible, and whose
    long edge is at least `least_edge`. Returns the bytes that it will take."""
    lower = lower_of(picture.size, path, most_bytes, least_edge)
    bytes_needed = need_bytes(picture.size, path, lower)
    _halve(picture, lower)
    return bytes_needed


def lower_of(size: tuple[int, int], path: Path, most_bytes: int, least_edge: int = 1) -> int:
    """How many times to halve the resolution so that a decode takes at most `most_bytes`, if possible."""
    levels, lower = _levels(path), 0
    while lower < levels and need_bytes(size, path, lower) > most_bytes and max(size) >> lower + 1 >= least_edge:
        lower += 1
    return lower


def need_bytes(size: tuple[int, int], path: Path, lower: int) -> int:
    """For a decode whose resolution is halved `lower` times."""
    return memory_cost.of_file("JPEG2000", path) + (memory_cost.of_pixels("JPEG2000", size) >> 2 * lower)


def load(path: Path, end: int, lower: int) -> None:
    """Decode the picture in the first `end` bytes of a file: OpenJPEG stumbles over what follows. Raises `Unread` if Pillow does
    not recognise the kind of picture, and other exceptions if its data cannot be decoded."""
    with path.open("rb") as file:
        try:
            picture: Any = Image.open(io.BufferedReader(Window(file, end)), formats=["JPEG2000"])
        except DECODE_ERRORS as error:
            raise_if_of_disk(error)
            raise Unread("The JPEG 2000 file is whole by its structure, but of a kind that is not decoded here.") from error
        with picture:
            _halve(picture, lower)
            picture.load()


def _halve(picture: Any, lower: int) -> None:
    """Have it decoded at a lower resolution. OpenJPEG rounds width and height up, Pillow's `load` to the nearest, and then reports
    broken data: so the size is adjusted to one that both halve to the same."""
    picture.reduce = lower
    picture._size = tuple(-(-edge >> lower) << lower for edge in picture.size)


def _levels(path: Path) -> int:
    """How often the resolution can be halved (ISO 15444-1, A.6.1); 0 if not found."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    at = head.find(_START) + 2
    while 2 <= at < len(head) - 10 and head[at : at + 2] not in (_CODING_STYLE, _START_OF_TILE):
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return head[at + 9] if head[at : at + 2] == _CODING_STYLE and len(head) > at + 9 else 0
