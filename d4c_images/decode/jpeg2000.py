"""Has a JPEG 2000 decoded at a lower resolution where the full one takes too much memory. Decodes nothing itself.

All packets are still walked through to the end (ISO 15444-1, annex B), so a cut file is seen; only the finest details are not
decoded. They have no checksum, and a full decode sees no damage in them either.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from d4c_images.decode import need

_HEAD = 1 << 16
_START, _CODING_STYLE, _START_OF_TILE = b"\xff\x4f\xff\x51", b"\xff\x52", b"\xff\x90"


def shrink(picture: Any, path: Path, most_bytes: int, least_edge: int = 1) -> int:
    """Set the resolution at which `picture` will be loaded: the highest that takes at most `most_bytes`, if there is one, and has
    a long edge of `least_edge`. Returns the bytes that it will take."""
    file_bytes = need.of_file("JPEG2000", path)
    pixel_bytes = need.of_whole(picture, path) - file_bytes
    levels = _levels(path)
    lower = 0
    while lower < levels and file_bytes + (pixel_bytes >> 2 * lower) > most_bytes and max(picture.size) >> lower + 1 >= least_edge:
        lower += 1
    picture.reduce = lower
    return file_bytes + (pixel_bytes >> 2 * lower)


def _levels(path: Path) -> int:
    """How often the resolution can be halved (ISO 15444-1, A.6.1); 0 where that is not found."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    at = head.find(_START) + 2
    while 2 <= at < len(head) - 10 and head[at : at + 2] not in (_CODING_STYLE, _START_OF_TILE):
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return head[at + 9] if head[at : at + 2] == _CODING_STYLE and len(head) > at + 9 else 0
