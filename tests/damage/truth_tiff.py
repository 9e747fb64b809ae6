"""Reads a TIFF (6.0, BigTIFF, Adobe's notes): its directories, and each strip or tile by the rules of its packing.

Plain pixels show nothing but a length; of fax packings (2, 3, 4), of Zstandard and of what nobody knows no code is read here.
"""

from __future__ import annotations

import lzma
import struct
from dataclasses import dataclass

from tests.damage import truth_jpeg
from tests.damage.seen import Broken, Seen, inflated, need

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_SUB_IFDS, _EXIF, _GPS = 330, 34665, 34853
_MOST = 1 << 26


@dataclass(frozen=True, slots=True)
class _Directory:
    tags: dict[int, list[int] | None]  # None: not numbers
    next_at: int
    blobs: dict[int, bytes]  # of the type "undefined"


@dataclass(frozen=True, slots=True)
class _Tiff:
    body: bytes
    order: str
    is_big: bool

    def number(self, at: int, size: int) -> int:
        need(at >= 0 and at + size <= len(self.body), "a directory goes beyond the end")
        return int.from_bytes(self.body[at : at + size], "little" if self.order == "<" else "big")

    def directory(self, at: int) -> _Directory:
        count_size, entry_size, wide = (8, 20, 8) if self.is_big else (2, 12, 4)
        n = self.number(at, count_size)
        need(0 < n < 4096, "a directory without entries")
        end = at + count_size + n * entry_size
        need(end + wide <= len(self.body), "a directory goes beyond the end")
        tags: dict[int, list[int] | None] = {}
        blobs: dict[int, bytes] = {}
        for start in range(at + count_size, end, entry_size):
            tag, kind, count = self.number(start, 2), self.number(start + 2, 2), self.number(start + 4, wide)
            size, value_at = _SIZES.get(kind, 1) * count, start + 4 + wide
            if size > wide:
                value_at = self.number(value_at, wide)
            need(value_at + size <= len(self.body), f"the values of tag {tag} lie beyond the end")
            code = _CODES.get(kind)
            values = self.body[value_at : value_at + size]
            tags[tag] = list(struct.unpack(f"{self.order}{count}{code}", values)) if code and count < 100_000 else None
            if kind == 7:
                blobs[tag] = values
        return _Directory(tags, self.number(end, wide), blobs)


_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _opened(body: bytes, magics: tuple[bytes, ...] = _MAGICS) -> tuple[_Tiff, int]:
    need(len(body) >= 8 and body[:4] in magics, "no header")
    tiff = _Tiff(body, "<" if body[:2] == b"II" else ">", 0x2B in body[2:4])
    return tiff, tiff.number(8, 8) if tiff.is_big else tiff.number(4, 4)


def read(body: bytes) -> Seen:
    tiff, at = _opened(body)
    first = tiff.directory(at)
    _read_page(tiff, first)
    try:
        _read_sides(tiff, first, {at})
    except Broken as error:
        return Seen(side=str(error))
    return Seen()


def read_lengths(body: bytes) -> Seen:
    """As far as a camera's raw file goes: no directory and no piece lies beyond the end. Else it may be a maker's own."""
    try:
        tiff, at = _opened(body, (*_MAGICS, b"IIRO"))
        first = tiff.directory(at)
        pages = [first, *(tiff.directory(sub) for sub in first.tags.get(_SUB_IFDS) or ())]
        pieces = [piece for one in pages for piece in _pieces(one)]
    except Broken as error:
        if str(error) == "a directory goes beyond the end":
            raise
        return Seen(trace=str(error))
    for number, (start, size) in enumerate(pieces):
        need(start + size <= len(body), f"piece {number} lies beyond the end")
    return Seen()


def _read_sides(tiff: _Tiff, first: _Directory, known: set[int]) -> None:
    for tag in (_SUB_IFDS, _EXIF, _GPS):
        for at in first.tags.get(tag) or ():
            one = tiff.directory(at)
            if tag == _SUB_IFDS:
                _read_page(tiff, one)
    at = first.next_at
    while at:
        need(at not in known, "directories in a ring")
        known.add(at)
        page = tiff.directory(at)
        _read_page(tiff, page)
        at = page.next_at


def _pieces(page: _Directory) -> list[tuple[int, int]]:
    for offsets, sizes in ((324, 325), (273, 279)):
        starts, lengths = page.tags.get(offsets), page.tags.get(sizes)
        if starts is not None:
            need(lengths is not None, "strips without lengths")
            return list(zip(starts, lengths or [], strict=False))  # one list may have more than the picture has pieces
    raise Broken("neither strips nor tiles")


def _one(page: _Directory, tag: int, otherwise: int) -> int:
    values = page.tags.get(tag, [otherwise])
    return values[0] if values else otherwise


def _read_page(tiff: _Tiff, page: _Directory) -> None:
    width, height = _one(page, 256, 0), _one(page, 257, 0)
    samples = _one(page, 277, 1)
    bits = page.tags.get(258) or [1]
    pixel_bits = sum(bits) if len(bits) >= samples else bits[0] * samples
    in_planes = _one(page, 284, 1) == 2 and samples > 1
    pixel_bits = bits[0] if in_planes else pixel_bits
    need(0 < width < 1 << 24 and 0 < height < 1 << 24 and 0 < pixel_bits <= 512, "an impossible page")
    is_tiled = 324 in page.tags
    across, down = (_one(page, 322, 0), _one(page, 323, 0)) if is_tiled else (width, min(_one(page, 278, height), height))
    need(across > 0 and down > 0, "an impossible page")
    n_across, n_down = -(-width // across), -(-height // down)
    pieces = _pieces(page)
    need(len(pieces) >= n_across * n_down * (samples if in_planes else 1), "strips or tiles are missing")
    packing = _one(page, 259, 1)
    for number, (start, size) in enumerate(pieces[: n_across * n_down * (samples if in_planes else 1)]):
        rows = down if is_tiled else min(down, height - number % n_down * down)
        need(start + size <= len(tiff.body), f"piece {number} lies beyond the end")
        packed = tiff.body[start : start + size]
        try:
            size = (across * pixel_bits + 7) // 8 * rows
            if packing == 1 and _one(page, 262, 1) == 6:
                x, y = page.tags.get(530) or (2, 2)
                size = -(-across // x) * -(-rows // y) * (x * y + 2)
            _read_piece(packed, packing, size, page)
        except Broken as error:
            raise Broken(f"piece {number}: {error}") from error


def _read_piece(packed: bytes, packing: int, size: int, page: _Directory) -> None:
    need(size <= _MOST, "too large for its bytes")
    if packing == 1:
        need(len(packed) >= size, "too few picture data")
    elif packing in (8, 32946):
        _read_zlib(packed, size)
    elif packing == 5:
        _read_lzw(packed, size)
    elif packing == 32773:
        _read_packbits(packed, size)
    elif packing == 34925:
        try:
            need(len(lzma.decompress(packed)) >= size, "too few picture data")
        except (lzma.LZMAError, EOFError) as error:
            raise Broken(str(error)) from error
    elif packing == 7:
        tables = page.blobs.get(347, b"")
        truth_jpeg.read_mildly(tables[:-2] + packed[2:] if tables else packed)


def _read_zlib(packed: bytes, size: int) -> None:
    data, has_end = inflated(packed, size)
    need(len(data) >= size, "too few picture data")
    need(has_end or len(data) > size, "the zlib stream has no end")


def _read_lzw(packed: bytes, size: int) -> None:
    """TIFF 6.0, section 13. Some writers leave the end code out."""
    lengths, width, held, n_held, left, before = [1] * 256 + [0, 0], 9, 0, 0, size, 0
    for byte in packed:
        held, n_held = (held << 8 | byte) & 0xFFFFFF, n_held + 8
        if n_held < width:
            continue
        n_held -= width
        code = held >> n_held & (1 << width) - 1
        if code == 257 or left <= 0:
            break
        if code == 256:
            lengths, width, before = lengths[:258], 9, 0
            continue
        need(code < len(lengths) or (code == len(lengths) and before > 0), "a code that does not exist")
        length = lengths[code] if code < len(lengths) else before + 1
        left -= length
        if before:
            need(len(lengths) < 4097, "more codes than there are")
            lengths.append(before + 1)
        before = length
        width = 9 if len(lengths) < 511 else 10 if len(lengths) < 1023 else 11 if len(lengths) < 2047 else 12
    need(left <= 0, "too few picture data")


def _read_packbits(packed: bytes, size: int) -> None:
    at = 0
    while size > 0:
        need(at < len(packed), "too few picture data")
        count = packed[at]
        if count < 128:
            need(at + 2 + count <= len(packed), "too few picture data")
            at, size = at + 2 + count, size - count - 1
        else:
            at, size = at + (1 if count == 128 else 2), size - (0 if count == 128 else 257 - count)
