"""Splits a TIFF into pieces that Pillow can decode one after the other: each a small TIFF of some of its strips or tiles.

Strips and tiles are compressed individually (TIFF 6.0, sections 3 and 15), so a piece needs no other. Decodes nothing itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import gcd
from typing import BinaryIO, Literal

from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile
from PIL.TiffTags import LONG as TYPE_LONG

from d4c_images.decode.tiff_pages import Compression, Tag

PIECE_PIXELS = 500_000
PIECE_MEMORY_BYTES = 8_000_000  # memory while such a piece is decoded
_BLOCK = 1 << 18
_MOST_PACKED = 4_000_000  # bytes of one piece, however it is compressed
_OF_A_PLANE = (Tag.COMPRESSION, Tag.FILL_ORDER, 317)
_OF_ALL = (
    *_OF_A_PLANE, Tag.BITS, Tag.PHOTOMETRIC, Tag.SAMPLES, Tag.T4_OPTIONS, 293, 320, 332, 334, 338, 339, Tag.JPEG_TABLES,
    529, Tag.SUBSAMPLING, 531, 532,
)  # fmt: skip
_DEFLATES = (Compression.DEFLATE, Compression.OLD_DEFLATE)
_MIN_IS_BLACK, _YCBCR = 1, 6


class Uncut(ValueError):
    """Cannot be split into small enough pieces."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A TIFF of its own, and the position of its first pixel in the whole."""

    x: int
    y: int
    body: bytes


def pieces(picture: TiffImageFile, file: BinaryIO, multiple: int = 1) -> Iterator[Piece]:
    """All pieces of `picture`'s current page; `file` is the same file. If the page is planar, those of each plane.

    Strips are joined to a `multiple` of rows, if possible. Raises `EOFError` if the file ends too early, `Uncut` if strips or tiles
    are too large.
    """
    sheet = _Sheet(picture, file)
    for plane in range(sheet.n_planes):
        yield from sheet.tiles(plane) if sheet.is_tiled else sheet.strips(plane, multiple)


def lies_in_planes(picture: TiffImageFile) -> bool:
    return bool(picture.tag_v2.get(Tag.PLANAR, 1) == 2 and picture.tag_v2.get(Tag.SAMPLES, 1) > 1)


class _Sheet:
    """One page and how it is stored."""

    def __init__(self, picture: TiffImageFile, file: BinaryIO) -> None:
        tags = picture.tag_v2
        self._tags, self._file = tags, file
        self._width, self._height = int(tags[Tag.WIDTH]), int(tags[Tag.HEIGHT])
        self._packing = int(tags.get(Tag.COMPRESSION, Compression.PLAIN))
        self._in_planes = lies_in_planes(picture)
        samples = int(tags.get(Tag.SAMPLES, 1))
        self.n_planes = samples if self._in_planes else 1
        self._pixel_bits = int(tags.get(Tag.BITS, (1,))[0]) * (1 if self._in_planes else samples)
        self.is_tiled = Tag.TILE_OFFSETS in tags
        offsets, sizes = (Tag.TILE_OFFSETS, Tag.TILE_SIZES) if self.is_tiled else (Tag.STRIP_OFFSETS, Tag.STRIP_SIZES)
        self._offsets, self._sizes = tags.get(offsets, ()), tags.get(sizes, ())
        is_subsampled = self._packing == Compression.PLAIN and tags.get(Tag.PHOTOMETRIC) == _YCBCR
        if self._packing == Compression.OLD_JPEG or is_subsampled or len(self._sizes) != len(self._offsets):
            raise Uncut("stored in an unusual way")

    def tiles(self, plane: int) -> Iterator[Piece]:
        width, height = int(self._tags[Tag.TILE_WIDTH]), int(self._tags[Tag.TILE_HEIGHT])
        if width * height > 4 * PIECE_PIXELS:
            raise Uncut(f"tiles of {width} x {height}")
        across, down = -(-self._width // width), -(-self._height // height)
        at_once = max(1, PIECE_PIXELS // (width * height))
        for row in range(down):
            for column in range(0, across, at_once):
                first = (plane * down + row) * across + column
                packed = [self._packed(number) for number in range(first, first + min(at_once, across - column))]
                shape = {Tag.WIDTH: len(packed) * width, Tag.HEIGHT: height, Tag.TILE_WIDTH: width, Tag.TILE_HEIGHT: height}
                yield Piece(column * width, row * height, self._tiff(shape, packed, Tag.TILE_OFFSETS, Tag.TILE_SIZES))

    def strips(self, plane: int, multiple: int) -> Iterator[Piece]:
        rows = min(int(self._tags.get(Tag.ROWS_PER_STRIP, self._height)), self._height)
        if self._width * rows > PIECE_PIXELS:
            yield from self._parts_of_strips(plane, rows, multiple)
            return
        n = -(-self._height // rows)
        step = multiple // gcd(multiple, rows)
        at_once = max(1, PIECE_PIXELS // (self._width * rows) // step * step)
        for first in range(0, n, at_once):
            packed = [self._packed(plane * n + number) for number in range(first, min(first + at_once, n))]
            y = first * rows
            yield self._strip(y, min(len(packed) * rows, self._height - y), rows, packed)

    def _parts_of_strips(self, plane: int, rows: int, multiple: int) -> Iterator[Piece]:
        """Parts of strips that are too large to be decoded at once."""
        if self._packing not in (Compression.PLAIN, *_DEFLATES):
            raise Uncut(f"strips of {self._width} x {rows}")
        row_bytes = (self._width * self._pixel_bits + 7) // 8
        at_once = max(1, PIECE_PIXELS // self._width // multiple * multiple)
        n = -(-self._height // rows)
        for number in range(n):
            top, left = number * rows, min(rows, self._height - number * rows)
            read = self._plain if self._packing == Compression.PLAIN else self._inflated
            for part in read(plane * n + number, left * row_bytes, at_once * row_bytes):
                part_rows = len(part) // row_bytes
                packed = part if self._packing == Compression.PLAIN else zlib.compress(part, 0)
                yield self._strip(top, part_rows, part_rows, [packed])
                top += part_rows

    def _plain(self, number: int, size_bytes: int, part_bytes: int) -> Iterator[bytes]:
        self._file.seek(self._offset(number))
        for at in range(0, size_bytes, part_bytes):
            part = self._file.read(min(part_bytes, size_bytes - at))
            if len(part) < min(part_bytes, size_bytes - at):
                raise EOFError("TIFF: the file ends within its picture data")
            yield part

    def _inflated(self, number: int, size_bytes: int, part_bytes: int) -> Iterator[bytes]:
        stream, part, left, data = zlib.decompressobj(), bytearray(), size_bytes, b""
        self._file.seek(self._offset(number))
        packed_left = int(self._sizes[number])
        while left > 0:
            if not data and packed_left:
                data = self._file.read(min(_BLOCK, packed_left))
                packed_left -= len(data) or packed_left
            wanted = min(part_bytes, left) - len(part)
            more = stream.decompress(data, wanted)
            data = stream.unconsumed_tail
            if not more and not data and not packed_left:
                raise EOFError("TIFF: picture data end too early")
            part += more
            if len(part) == min(part_bytes, left):
                yield bytes(part)
                left -= len(part)
                part.clear()

    def _offset(self, number: int) -> int:
        if number >= len(self._offsets):
            raise EOFError("TIFF: strips or tiles are missing")
        return int(self._offsets[number])

    def _packed(self, number: int) -> bytes:
        """A strip or a tile as stored. Its size may be wrong: the decoder has the last word."""
        self._file.seek(self._offset(number))
        size_bytes = int(self._sizes[number])
        if size_bytes > _MOST_PACKED:
            raise Uncut(f"a strip or tile of {size_bytes} bytes")
        data = self._file.read(size_bytes)
        if not data:
            raise EOFError("TIFF: the file ends before its picture data")
        return data

    def _strip(self, y: int, height: int, rows: int, packed: list[bytes]) -> Piece:
        shape = {Tag.WIDTH: self._width, Tag.HEIGHT: height, Tag.ROWS_PER_STRIP: rows}
        return Piece(0, y, self._tiff(shape, packed, Tag.STRIP_OFFSETS, Tag.STRIP_SIZES))

    def _tiff(self, shape: dict[Tag, int], packed: list[bytes], offsets: int, sizes: int) -> bytes:
        prefix = self._tags.prefix
        order: Literal["little", "big"] = "little" if prefix == b"II" else "big"
        head = prefix + (42).to_bytes(2, order) + (8).to_bytes(4, order)
        directory = ImageFileDirectory_v2(head)
        for tag in _OF_A_PLANE if self._in_planes else _OF_ALL:
            if tag in self._tags:
                directory.tagtype[tag] = self._tags.tagtype[tag]
                directory[tag] = self._tags[tag]
        if self._in_planes:
            directory[Tag.PHOTOMETRIC], directory[Tag.SAMPLES], directory[Tag.BITS] = _MIN_IS_BLACK, 1, self._pixel_bits
        for tag, value in shape.items():
            directory.tagtype[tag] = TYPE_LONG
            directory[tag] = value
        starts = list(accumulate((len(data) for data in packed[:-1]), initial=0))
        for tag, values in ((offsets, starts), (sizes, [len(data) for data in packed])):
            directory.tagtype[tag] = TYPE_LONG
            directory[tag] = tuple(values)
        if offsets == Tag.TILE_OFFSETS:  # strip data are assumed to follow the directory
            begin = len(head) + len(directory.tobytes(len(head)))
            directory[offsets] = tuple(begin + start for start in starts)
        return b"".join((head, directory.tobytes(len(head)), *packed))
