"""Reads a PNG to its end in little memory: checks every checksum, and inflates all picture data; or splits it into bands.

PNG is the one format whose data prove that they are complete: each chunk has a CRC-32 and the deflate stream an Adler-32 (PNG
specification, sections 5.3 and 10.1). Only palette indices are not checked.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile

from d4c_images.decode.faults import Damaged, NoPicture, Unread, counted

READ_AT_ONCE_BYTES = 1 << 18
_CUT = "The PNG file is cut off."
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type, as the depths
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # x, y, steps


@dataclass(frozen=True, slots=True)
class Header:
    width: int
    height: int
    bits_per_pixel: int
    interlaced: bool

    def row_bytes(self, width: int) -> int:
        """Of one filtered row: a byte for the filter type, then the pixels."""
        return 1 + (width * self.bits_per_pixel + 7) // 8

    def size_bytes(self) -> int:
        """Of all picture data, inflated."""
        if not self.interlaced:
            return self.row_bytes(self.width) * self.height
        total = 0
        for x, y, step_x, step_y in _ADAM7:
            columns, rows = (self.width - x + step_x - 1) // step_x, (self.height - y + step_y - 1) // step_y
            total += rows * self.row_bytes(columns) if columns > 0 and rows > 0 else 0
        return total


def read(path: Path) -> None:
    """Raises `Damaged` if a PNG ends too early or is damaged anywhere, including its metadata. Anything may follow IEND."""
    with path.open("rb") as file:
        header, at = header_of(file), 0
        try:
            for block in inflated(file, header.size_bytes()):
                if not header.interlaced:
                    _check_filters(block, at, header.row_bytes(header.width))
                at += len(block)
        except zlib.error as error:
            raise Damaged("The picture data of the PNG are damaged: they cannot be inflated.") from error
    if at < header.size_bytes():
        raise Damaged("The picture data of the PNG end before the picture does.")


def header_of(file: BinaryIO) -> Header:
    """Reads up to the end of the header. Raises `Damaged`; `NoPicture` or `Unread` if the file is complete and of another kind."""
    start = file.read(33)
    if start[12:16] != b"IHDR" or start[8:12] != b"\0\0\0\x0d":
        file.seek(8)
        for _ in _chunks(file):
            pass
        raise Unread("The PNG file is whole, but of a kind that is not decoded here.")
    if len(start) < 33:
        raise Damaged(_CUT)
    if zlib.crc32(start[12:29]) != int.from_bytes(start[29:], "big"):
        raise Damaged("The header of the PNG is damaged: its checksum is wrong.")
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", start[16:29])
    if not width or not height or depth not in _DEPTHS.get(colour, ()):
        raise NoPicture("The PNG file declares a picture that cannot be: no pixels, or no such colours.")
    return Header(width, height, depth * _CHANNELS[colour], interlace == 1)


def inflated(file: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    """The filtered rows, in blocks of at most `READ_AT_ONCE_BYTES` bytes; reads the whole file after its header.

    Anything packed beyond `size_bytes` is not inflated: it belongs to no picture, and may be any amount.
    """
    stream, n = zlib.decompressobj(), 0
    for kind, data in _chunks(file):
        while kind == b"IDAT" and data and not stream.eof and n <= size_bytes:
            block = stream.decompress(data, READ_AT_ONCE_BYTES)
            n, data = n + len(block), stream.unconsumed_tail
            yield block
    while not stream.eof and n <= size_bytes:
        block = stream.decompress(b"", READ_AT_ONCE_BYTES)
        if not block:
            raise Damaged("The picture data of the PNG end too early.")
        n += len(block)
        yield block


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    return counted(_all_chunks(file))


def _all_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The chunks up to IEND, kind and data, in blocks of at most `READ_AT_ONCE_BYTES`; each checksum is verified after its data."""
    while True:
        start = file.read(8)
        if len(start) < 8:
            raise Damaged(_CUT)
        left, kind = int.from_bytes(start[:4], "big"), start[4:]
        checksum = zlib.crc32(kind)
        while left:
            data = file.read(min(left, READ_AT_ONCE_BYTES))
            if not data:
                raise Damaged(_CUT)
            left -= len(data)
            checksum = zlib.crc32(data, checksum)
            yield kind, data
        declared = file.read(4)
        if len(declared) < 4:
            raise Damaged(_CUT)
        if int.from_bytes(declared, "big") != checksum:
            raise Damaged("The PNG file is damaged: the checksum of a part is wrong.")
        yield kind, b""  # also for a chunk without data
        if kind == b"IEND":
            return


def _check_filters(block: bytes, at: int, row_bytes: int) -> None:
    types = block[-at % row_bytes :: row_bytes]
    if types and max(types) > 4:
        raise Damaged("The picture data of the PNG are damaged: a row has an unknown filter.")


# metadata

_NOTES = frozenset({b"IHDR", b"cICP", b"cHRM", b"eXIf", b"gAMA", b"sRGB", b"tRNS"})
_MOST_CHUNKS, _MOST_NOTE_BYTES = 1_000_000, 1 << 20


def notes(file: BinaryIO) -> dict[bytes, bytes]:
    """The chunks that say how to interpret the picture, wherever they are: the first of each kind. Checksums are not verified."""
    found: dict[bytes, bytes] = {}
    at = 8
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        start = file.read(8)
        size_bytes, kind = int.from_bytes(start[:4], "big"), start[4:]
        if kind in _NOTES and kind not in found and size_bytes <= _MOST_NOTE_BYTES:
            found[kind] = file.read(size_bytes)
        if len(start) < 8 or kind == b"IEND":
            break
        at += 12 + size_bytes
    return found


# bands

BAND_PIXELS = 500_000
_COLOUR_OF_BYTES = {1: 0, 2: 4, 3: 2, 4: 6}  # colour types of 8 bits that have so many bytes for each pixel


def comes_in_bands(file: BinaryIO) -> bool:
    """False if it is interlaced, or has six or eight bytes per pixel."""
    header = header_of(file)
    return not header.interlaced and (header.bits_per_pixel + 7) // 8 in _COLOUR_OF_BYTES


def bands(picture: ImageFile.ImageFile, file: BinaryIO, multiple: int) -> Iterator[tuple[int, Image.Image]]:
    """Some rows at a time: their start, and a picture of them. Their number is a `multiple`, except in the last band.

    A row may be stored as its difference from the one above (PNG specification, section 9), so each band is appended to the last
    row of the previous one, in a PNG with as many bytes per pixel; Pillow decodes that, and its bytes are the band's.
    """
    header = header_of(file)
    pixel_bytes = (header.bits_per_pixel + 7) // 8
    row_bytes = header.row_bytes(header.width)
    at_once = max(1, BAND_PIXELS // header.width // multiple) * multiple
    mode, args, palette = picture.mode, picture.tile[0].args, picture.palette
    raw_mode = args[0] if isinstance(args, tuple) else args
    above = bytes(row_bytes)
    for y, rows in _grouped(inflated(file, header.size_bytes()), row_bytes, at_once, header.height):
        n = len(rows) // row_bytes
        stored = _png((row_bytes - 1) // pixel_bytes, n + 1, _COLOUR_OF_BYTES[pixel_bytes], above + rows)
        with Image.open(io.BytesIO(stored), formats=["PNG"]) as machine:
            plain = machine.tobytes()
        above = b"\0" + plain[-(row_bytes - 1) :]
        band = Image.frombytes(mode, (header.width, n), plain[row_bytes - 1 :], "raw", raw_mode)
        if palette is not None:
            band.palette = palette.copy()
        band.info |= {name: picture.info[name] for name in ("transparency",) if name in picture.info}
        yield y, band


def _grouped(blocks: Iterator[bytes], row_bytes: int, at_once: int, height: int) -> Iterator[tuple[int, bytes]]:
    """Blocks of any size regrouped into whole rows, `at_once` per group except the last."""
    rows, y = bytearray(), 0
    for block in blocks:
        rows += block
        while y < height and len(rows) >= (n := min(at_once, height - y)) * row_bytes:
            yield y, bytes(rows[: n * row_bytes])
            del rows[: n * row_bytes]
            y += n
    if y < height:
        raise Damaged("The picture data of the PNG end too early.")


def _png(width: int, height: int, colour: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
