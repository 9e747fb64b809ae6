"""Reads all pictures of a TIFF to their end, the main one first. Decides nothing about the file's fate.

The structure is walked first, then the data of each picture are checked, then it is decoded. If the decoder refuses a picture, that
proves nothing as long as structure and data are intact: then its data are unpacked without it, as far as possible.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from d4c_images.decode import memory_cost, tiff, tiff_data
from d4c_images.decode.faults import DECODE_ERRORS, Damaged, raise_if_of_disk
from d4c_images.decode.read_result import Reading, only_first, too_large
from d4c_images.decode.tiff_data import Checked, Memory
from d4c_images.decode.tiff_pages import TiffFile, TiffPage

_MOST_PIXEL_BYTES = 8  # of a picture, per allowed pixel
_MOST_SENTENCES = 8

__all__ = ["Means", "Memory", "read"]


@dataclass(frozen=True, slots=True)
class Means:
    weigh: Callable[[int], None]  # rejects too many pixels, or what takes too long
    memory: Memory
    opened: Callable[[bytes], AbstractContextManager[Image.Image]]  # the file, with its first bytes replaced
    most_pixels: int  # of all pictures together
    most_pictures: int


def read(path: Path, means: Means) -> Reading:
    """Raises `Damaged`, and what the `means` raise."""
    found: list[Reading] = []
    with path.open("rb") as file:
        structure = TiffFile(file)
        pages = structure.walk()
        total = 0
        for n, page in enumerate(pages.pictures):
            is_left = n > 0 and (n >= means.most_pictures or total + page.pixels > means.most_pixels)
            if not tiff_data.check_place(structure, page):
                if not n:
                    raise Damaged("The data of its picture would lie far beyond the end of the file.")
                found.append(Reading(unread="the data of a further picture would lie far beyond the end of the file"))
            elif is_left:
                found.append(Reading(unread=only_first(n)))
            else:
                total += page.pixels
                means.weigh(total)
                found.append(_read_page(structure, page, file, path, means))
    main = pages.pictures[0]
    unread = _joined((*(one.unread for one in found), *pages.oddities))
    return Reading(main.width, main.height, _joined(one.oddity for one in found), unread)


def _joined(sentences: Iterable[str | None]) -> str | None:
    """Without duplicates."""
    return "; ".join(list(dict.fromkeys(filter(None, sentences)))[:_MOST_SENTENCES]) or None


def _read_page(structure: TiffFile, page: TiffPage, file: BinaryIO, path: Path, means: Means) -> Reading:
    if page.size_bytes > _MOST_PIXEL_BYTES * means.most_pixels or tiff_data.is_too_much(structure, page):
        return Reading(unread=f"not decoded: {page}, which is too much")
    checked = tiff_data.check(structure, page, means.memory)
    found = Reading(oddity=checked.oddity)
    is_opened = False
    try:
        with means.opened(structure.header_for(page)) as picture:
            is_opened = True
            return replace(found, unread=_load(picture, checked, file, path, means.memory))
    except DECODE_ERRORS as error:
        raise_if_of_disk(error)
        if is_opened and tiff_data.is_damage(page, checked):
            raise Damaged(f"The data of a picture are damaged: {checked.oddity or 'wrong fax codes'}.") from error
    is_read = checked.is_read or _is_unpacked(structure, page, means.memory)
    seen = "were read to their end" if is_read else "are there, but were not unpacked"
    return replace(found, unread=f"not decoded: {page}, which the decoder cannot make a picture of; all its data {seen}")


def _load(picture: Image.Image, checked: Checked, file: BinaryIO, path: Path, memory: Memory) -> str | None:
    """Have it decoded, in pieces if it is large and was not read to its end yet. Returns why it was not; None if it was."""
    need_bytes = memory_cost.of_whole(picture, path)
    if need_bytes > memory.own_bytes:
        if checked.is_read or _is_read_in_pieces(picture, file, memory):
            return None
        if need_bytes > memory.most_bytes:
            return too_large(picture.size, need_bytes, memory.most_bytes)
    with memory.taken(need_bytes):
        picture.load()
    return None


def _is_read_in_pieces(picture: Image.Image, file: BinaryIO, memory: Memory) -> bool:
    if not isinstance(picture, TiffImageFile):
        return False
    with memory.taken(tiff.PIECE_MEMORY_BYTES):
        try:
            for piece in tiff.pieces(picture, file):
                with Image.open(io.BytesIO(piece.body), formats=["TIFF"]) as part:
                    part.load()
        except tiff.Uncut:
            return False
    return True


def _is_unpacked(structure: TiffFile, page: TiffPage, memory: Memory) -> bool:
    """Whether the data of a picture that the decoder refuses could be unpacked separately."""
    try:
        return tiff_data.unpack(structure, page, memory)
    except DECODE_ERRORS as error:
        raise_if_of_disk(error)
        raise Damaged("The data of a picture are damaged: they cannot be unpacked.") from error
