"""Walks through the blocks of a GIF and decodes each picture individually, one byte per pixel. Composes no animation."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from d4c_images.decode.faults import Damaged, counted
from d4c_images.decode.mapped import FileBytes

MOST_BLOCKS = 20_000_000  # a time limit, some seconds
_EXTENSION, _PICTURE, _TRAILER = 0x21, 0x2C, 0x3B
_PADDING = re.compile(rb"\0++")
_CUT = "The GIF file is cut off."


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a GIF."""

    left: int
    top: int
    width: int
    height: int
    is_interlaced: bool
    start: int  # of its LZW data: the initial code size, then blocks of up to 255 bytes
    end: int


def size_of(body: FileBytes, first: Picture) -> tuple[int, int]:
    """Width and height of the screen, which is at least as large as the first picture."""
    width, height = int.from_bytes(body[6:8], "little"), int.from_bytes(body[8:10], "little")
    return max(width, first.left + first.width), max(height, first.top + first.height)


def pictures(body: FileBytes) -> Iterator[Picture]:
    """The pictures in order; the blocks of the whole file are walked through. Anything after the trailer is ignored.

    A file that ends after a picture without a trailer is complete: not all programs write one. Raises `Damaged`.
    """
    if len(body) < 13:
        raise Damaged(_CUT)
    at, n_pictures = 13 + _table_bytes(body[10]), 0
    steps = counted(itertools.count(), MOST_BLOCKS)
    while True:
        if at >= len(body):
            if at > len(body) or not n_pictures:
                raise Damaged(_CUT)
            return
        kind = body[at]
        if kind == _TRAILER:
            if not n_pictures:
                raise Damaged("The GIF file ends before its first picture.")
            return
        if kind == _EXTENSION:
            at = _behind_blocks(body, at + 2, steps)
        elif kind == _PICTURE:
            picture = _picture(body, at, steps)
            at, n_pictures = picture.end, n_pictures + 1
            yield picture
        elif padding := _PADDING.match(body, at):
            at = padding.end()
        else:
            raise Damaged("The GIF file is damaged: something that is no block stands between its blocks.")


def _table_bytes(flags: int) -> int:
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0


def _picture(body: FileBytes, at: int, steps: Iterator[int]) -> Picture:
    if at + 10 > len(body):
        raise Damaged(_CUT)
    left, top, width, height = (int.from_bytes(body[n : n + 2], "little") for n in range(at + 1, at + 9, 2))
    flags = body[at + 9]
    start = at + 10 + _table_bytes(flags)
    return Picture(left, top, width, height, bool(flags & 0x40), start, _behind_blocks(body, start + 1, steps))


def _behind_blocks(body: FileBytes, at: int, steps: Iterator[int]) -> int:
    """The end of the length-prefixed blocks that start at `at`, after the empty block that terminates them."""
    size = len(body)
    while at < size:
        next(steps)
        length = body[at]
        at += 1 + length
        if not length:
            return at
    raise Damaged(_CUT)


def check(body: FileBytes, picture: Picture) -> None:
    """Decode a picture. Raises `Damaged` if its codes are invalid or end before its last pixel."""
    if not picture.width or not picture.height:
        return
    try:
        Image.new("P", (picture.width, picture.height)).frombytes(
            body[picture.start + 1 : picture.end], "gif", (body[picture.start], picture.is_interlaced, -1)
        )
    except (ValueError, OSError) as error:
        raise Damaged("The picture data of the GIF are damaged or end too early.") from error
