"""Checks that a BMP has all the bytes, or run lengths, that its header promises for the picture. Decodes nothing.

The header's file size proves nothing: many programs write a wrong one.
"""

from __future__ import annotations

import itertools
import struct
from typing import BinaryIO

from d4c_images.decode.faults import Damaged, counted
from d4c_images.decode.shape import Shape

_UNPACKED = (0, 3, 6)  # BI_RGB, BI_BITFIELDS, BI_ALPHABITFIELDS
_BITS = (1, 2, 4, 8, 16, 24, 32)
_ALL_PACKINGS, _ALL_BITS = (*range(7), 11, 12, 13), (0, *_BITS, 64)  # that exist, supported here or not
_BITS_OF_RUNS = {1: 8, 2: 4}  # BI_RLE8, BI_RLE4
_MOST_COLOURS = 1 << 16  # that a whole file declares, even if its pixels cannot have as many
_OF_CORE, _OF_OS2 = 12, 64  # sizes of these headers; in the second, 3 and 4 mean other compressions


def walk(file: BinaryIO, size_bytes: int) -> Shape:
    head = file.read(54)
    if len(head) < 26:
        raise Damaged("The BMP file is cut off within its header.")
    offset, header_bytes = struct.unpack("<II", head[10:18])
    if header_bytes == _OF_CORE:
        width, height, _, bits = struct.unpack("<HHHH", head[18:26])
        packing, packed_bytes = 0, 0
    else:
        if len(head) < 38:
            raise Damaged("The BMP file is cut off within its header.")
        width, height, _, bits, packing, packed_bytes = struct.unpack("<iiHHII", head[18:38])
    if not width or not height:
        raise Damaged("The BMP file is damaged: it declares a picture of no pixels.")
    if packing not in _ALL_PACKINGS or bits not in _ALL_BITS:
        raise Damaged("The BMP file is damaged: its header makes no sense.")
    width, height = abs(width), abs(height)
    is_unpacked = packing in _UNPACKED and (header_bytes != _OF_OS2 or not packing)
    if is_unpacked:
        row_bytes = (width * bits + 7) // 8
        padded_bytes = -(-row_bytes // 4) * 4
        packed_bytes = height * padded_bytes
        if int.from_bytes(head[2:6], "little") <= size_bytes:  # nothing is lost: the last row's padding may never have been written
            packed_bytes -= padded_bytes - row_bytes
    n_colours = int.from_bytes(head[46:50], "little") if header_bytes != _OF_CORE and bits <= 8 else 0
    if n_colours > _MOST_COLOURS:
        raise Damaged(f"The BMP file is damaged: it declares {n_colours} colours for pixels of {bits} bits.")
    if max(offset, 14 + header_bytes) + packed_bytes > size_bytes:
        raise Damaged(f"The BMP file is cut off: it has {size_bytes} bytes, and its picture ends behind them.")
    is_usual = bits == _BITS_OF_RUNS.get(packing) and header_bytes != _OF_OS2
    if is_usual:
        file.seek(offset)
        _check_runs(file, bits, height)
    return Shape(width, height, is_usual=is_usual, is_plain=is_unpacked and bits in _BITS)


def _check_runs(file: BinaryIO, bits: int, height: int) -> None:
    """Whether the run lengths reach the last row, or their end mark. Pillow only counts pixels."""
    y = 0
    for _ in counted(itertools.count()):
        if y >= height:
            return
        code = file.read(2)
        if len(code) < 2:
            raise Damaged("The picture data of the BMP end too early.")
        count, value = code
        if count:
            continue
        if value == 0:
            y += 1
        elif value == 1:
            return
        elif value == 2:
            y += int.from_bytes(file.read(2)[1:], "little")
        else:
            n_bytes = -(-value * bits // 8)
            file.read(n_bytes + n_bytes % 2)
