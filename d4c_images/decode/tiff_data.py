"""Checks the stored data of a TIFF's pictures: that they are complete, and valid for their compression.

libtiff continues after an error in a deflate stream, stops as soon as it has the bytes it wants, and only prints problems with a
JPEG or a fax code (as measured with 4.7.2), so these are not left to it. Deflate and LZMA streams are unpacked to their end, where
their checksums are; codes of LZW, PackBits and faxes are counted; strips and tiles of JPEG go through the checks of `jpeg`. Zstd is
checked only by the decoder. Uncompressed data can only be checked for length.
"""

from __future__ import annotations

import io
import lzma
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import accumulate

from PIL import Image

from d4c_images.decode import jpeg, tiff_codes, tiff_fax
from d4c_images.decode.faults import Damaged
from d4c_images.decode.tiff_pages import Compression, Tag, TiffFile, TiffPage

_DEFLATES = (Compression.DEFLATE, Compression.OLD_DEFLATE)
PACKED_BYTES = (Compression.LZW, Compression.PACKBITS, Compression.LZMA, Compression.ZSTD)  # compress bytes of any meaning

_DENSE, _MOST_DENSITY = (*_DEFLATES, Compression.LZW, Compression.PACKBITS, Compression.JPEG), 4000  # bytes per stored byte
_BLOCK = 1 << 16
_GROUP_BYTES = 1 << 20
_MOST_TABLES = 1 << 16
_HEAD_BYTES = 1 << 20
_MOST_TIMES, _MOST_SHARED_BYTES = 4, 64_000_000
_START = b"\xff\xd8"
_FAXES = (Compression.MODIFIED_HUFFMAN, Compression.GROUP_3, Compression.GROUP_4)
_BYTES_LEFT = re.compile(r"extraneous bytes before marker")  # which cameras leave, but TIFF writers do not
_UNSUPPORTED = re.compile(r"unsupported|not supported|precision|colou?r ?space|not compiled", re.IGNORECASE)
_MOST_PADDING = 8
_MOST_FAX_BYTES = 1_000_000  # of a strip or tile: takes seconds
_LZMA_BYTES, _CODES_BYTES = 12_000_000, 500_000


@dataclass(frozen=True, slots=True)
class Memory:
    taken: Callable[[int], AbstractContextManager[None]]  # waits for that many bytes; release one reservation before the next
    own_bytes: int  # a worker's
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of `check` for data without damage."""

    is_read: bool = False  # completely, to the end
    oddity: str | None = None  # libjpeg's


def check_place(tiff: TiffFile, page: TiffPage) -> bool:
    """Whether all strips or tiles are inside the file; False if they never can be. Raises `Damaged` if the file was cut."""
    if page.compression == Compression.OLD_JPEG and not tiff.is_there(*_old_jpeg(tiff, page), "the end of its picture data"):
        return False
    for number, (at, stored) in enumerate(tiff.spans(page)) if page.has_pieces else ():
        is_short = page.compression == Compression.PLAIN and stored is not None and stored < page.piece_bytes(number)
        size = page.piece_bytes(number) if stored is None else stored
        if at < 8 or not size or is_short:
            raise Damaged("A strip or tile of its picture is missing, in whole or in part.")
        if page.compression in _DENSE and page.piece_bytes(number) > _MOST_DENSITY * size:
            raise Damaged("A picture is described as larger than its data can be.")
        if not tiff.is_there(at, size, "the end of its picture data"):
            return False
    return True


def check(tiff: TiffFile, page: TiffPage, memory: Memory) -> Checked:
    """Raises `Damaged` if the data are damaged."""
    if page.compression == Compression.JPEG:
        return _check_jpegs(tiff, page, memory)
    if page.compression == Compression.OLD_JPEG:
        return _check_old_jpeg(tiff, page, memory)
    if page.compression == Compression.PLAIN:
        return Checked(is_read=True)
    if page.compression in _FAXES:
        return _check_faxes(tiff, page, memory)
    if page.compression in _DEFLATES:
        for number, at, size in _pieces(tiff, page):
            _check_deflate(tiff, at, size, page, number)
        return Checked(is_read=True)
    check_piece = _CHECKS.get(page.compression)
    if check_piece is None:
        return Checked()
    is_read = True
    for number, at, size in _pieces(tiff, page):
        need_bytes = 3 * size + _CODES_BYTES
        if page.compression == Compression.LZMA:  # only the unpacked part of its window is ever touched
            need_bytes += min(_LZMA_BYTES, 2 * page.piece_bytes(0, padded=True))
        if need_bytes > memory.most_bytes:
            is_read = False
            continue
        with memory.taken(need_bytes):
            is_read &= check_piece(tiff.read(at, size), page.piece_bytes(number), page.piece_bytes(number, padded=True))
    return Checked(is_read)


def is_too_much(tiff: TiffFile, page: TiffPage) -> bool:
    """Whether checking would take too long: strips or tiles may all refer to the same large part of a file."""
    if page.compression == Compression.PLAIN:
        return False
    return sum(size for _, _, size in _pieces(tiff, page)) > _MOST_TIMES * tiff.size_bytes + _MOST_SHARED_BYTES


def _pieces(tiff: TiffFile, page: TiffPage) -> Iterator[tuple[int, int, int]]:
    """Number, offset and size of each strip or tile, limited by the file's end and by what compressed data can need."""
    most_bytes = 2 * page.piece_bytes(0, padded=True) + _HEAD_BYTES
    for number, (at, size) in enumerate(tiff.spans(page)) if page.has_pieces else ():
        yield number, at, min(size or 0, most_bytes, max(0, tiff.size_bytes - at))


def _check_deflate(tiff: TiffFile, at: int, packed_bytes: int, page: TiffPage, number: int) -> None:
    """Inflate a piece to its end. Beyond twice the wanted size nothing is inflated: it belongs to no picture."""
    stream, data, n = zlib.decompressobj(), b"", 0
    wanted, most = page.piece_bytes(number), 2 * page.piece_bytes(number, padded=True) + _BLOCK
    left = min(packed_bytes, most)
    try:
        while not stream.eof and n <= most:
            if not data and left:
                data = tiff.read(at, min(_BLOCK, left))
                at, left = at + len(data), left - (len(data) or left)
            block = stream.decompress(data, _BLOCK)
            n, data = n + len(block), stream.unconsumed_tail
            if not (block or data or left or stream.eof):
                raise Damaged("A deflate stream ends too early.")
    except zlib.error as error:
        raise Damaged(f"A deflate stream is broken ({str(error).rpartition(': ')[2]}).") from error
    if n < wanted:
        raise Damaged(f"A deflate stream holds {n} bytes of {wanted}.")


def _check_lzma(packed: bytes, wanted: int, padded: int) -> bool:
    stream, n = lzma.LZMADecompressor(memlimit=_LZMA_BYTES), 0
    try:
        while not stream.eof and n <= 2 * padded + _BLOCK:
            block = stream.decompress(packed, _BLOCK)
            if not block and not stream.eof and stream.needs_input:
                raise Damaged("An LZMA stream ends too early.")
            n, packed = n + len(block), b""
    except lzma.LZMAError as error:
        if "limit" in str(error):
            return False
        raise Damaged("An LZMA stream is broken.") from error
    if n < wanted:
        raise Damaged(f"An LZMA stream holds {n} bytes of {wanted}.")
    return True


def _check_lzw(packed: bytes, wanted: int, padded: int) -> bool:
    """Without an end code, as some writers omit it, a few padding bits may look like codes."""
    found = tiff_codes.lzw(packed, padded + _BLOCK)
    if found is None:
        return False
    if not wanted <= found.n_bytes <= padded + (0 if found.is_ended else _MOST_PADDING):
        raise Damaged(f"LZW codes hold {found.n_bytes} bytes, not {wanted}.")
    return True


def _check_pack_bits(packed: bytes, wanted: int, padded: int) -> bool:
    found = [tiff_codes.pack_bits(packed, n) for n in {wanted, padded}]
    if not any(one.is_ended and one.n_bytes in (wanted, padded) for one in found):
        raise Damaged(f"PackBits data do not hold the {wanted} bytes that they should.")
    return True


def _check_faxes(tiff: TiffFile, page: TiffPage, memory: Memory) -> Checked:
    options, fill_order = tiff.number(page, Tag.T4_OPTIONS), tiff.number(page, Tag.FILL_ORDER)
    is_group_3 = page.compression == Compression.GROUP_3
    kind = tiff_fax.FaxPacking(
        page.piece_width, page.compression == Compression.GROUP_4, is_group_3, is_group_3 and bool(options & 1), fill_order == 2
    )
    is_read = True
    if page.bits != (1,):
        raise Damaged("A picture of fax codes is described as more than black and white.")
    for number, at, size in _pieces(tiff, page):
        if not is_read or size > _MOST_FAX_BYTES:
            return Checked()
        rows, most_rows = (page.piece_bytes(number, padded=padded) // page.row_bytes(0) for padded in (False, True))
        with memory.taken(_CODES_BYTES + 3 * size):
            try:
                tiff_fax.check(tiff.read(at, size), kind, rows, most_rows)
            except tiff_fax.Wrong as error:
                raise Damaged("The fax codes of a picture are wrong.") from error
            except tiff_fax.Unknown:
                is_read = False
    return Checked(is_read)


_CHECKS: dict[int, Callable[[bytes, int, int], bool]] = {
    Compression.LZW: _check_lzw,
    Compression.PACKBITS: _check_pack_bits,
    Compression.LZMA: _check_lzma,
}
"""Arguments: a piece's bytes, its unpacked size, and that size with a padded last strip. False if unsupported."""


def _check_jpegs(tiff: TiffFile, page: TiffPage, memory: Memory) -> Checked:
    tables = b""
    if Tag.JPEG_TABLES in page.tags:
        values = page.tags[Tag.JPEG_TABLES]
        stored = tiff.read(values.at, min(values.count, _MOST_TABLES))
        tables = stored[2 : stored.rfind(b"\xff\xd9")]
    found = Checked(is_read=True)
    for _, at, size in _pieces(tiff, page):
        one = _check_jpeg(tiff, (at, size), tables, page, memory)
        found = Checked(found.is_read and one.is_read, found.oddity or one.oddity)
    return found


def _check_jpeg(tiff: TiffFile, span: tuple[int, int], tables: bytes, page: TiffPage, memory: Memory) -> Checked:
    at, size = span
    start = tiff.read(at, min(size, _HEAD_BYTES))
    frame = jpeg.frame_of(_START + tables + start[2:]) if start.startswith(_START) else None
    if frame is None:
        raise Damaged("A strip or tile is not the JPEG that it should be.")
    need_bytes = 3 * size + len(tables) + frame.need_bytes(page.piece_width * page.piece_height)
    is_larger = frame.coefficients > frame.components * (page.piece_width + 64) * (page.piece_height + 64)
    if is_larger:
        raise Damaged("A strip or tile is a larger JPEG than it should be.")
    if need_bytes > memory.most_bytes:
        return Checked()
    with memory.taken(need_bytes):
        oddity = jpeg.complaint(_START + tables + tiff.read(at, size)[2:])
    if oddity and _BYTES_LEFT.search(oddity):
        raise Damaged(f"The JPEG data of a picture are damaged: {oddity}.")
    return Checked(oddity is None, oddity)


def _check_old_jpeg(tiff: TiffFile, page: TiffPage, memory: Memory) -> Checked:
    """The JPEG of TIFF 6.0, section 22, if it is one stream that contains the picture's data."""
    at, size = _old_jpeg(tiff, page)
    holds_data = not page.has_pieces or any(at <= start < at + size for start, _ in tiff.spans(page))
    if not at or not holds_data or tiff.read(at, 2) != _START:
        return Checked()
    return _check_jpeg(tiff, (at, size), b"", page, memory)


def _old_jpeg(tiff: TiffFile, page: TiffPage) -> tuple[int, int]:
    return tiff.number(page, Tag.OLD_JPEG_AT), tiff.number(page, Tag.OLD_JPEG_SIZE)


def is_damage(page: TiffPage, found: Checked) -> bool:
    """Whether a decoder's failure in mid-picture is due to the data: libjpeg warned about them too, or it is an ordinary fax."""
    if found.oddity is not None:
        return _UNSUPPORTED.search(found.oddity) is None
    return page.compression in _FAXES


# Data that the decoder cannot turn into a picture


def unpack(tiff: TiffFile, page: TiffPage, memory: Memory) -> bool:
    """Have libtiff unpack all pieces as plain bytes, or WebP decode them. False if that is impossible.

    Does not catch what Pillow raises if they are damaged.
    """
    if page.compression not in (*PACKED_BYTES, Compression.WEBP):
        return False
    group: list[bytes] = []
    for number, at, size_bytes in _pieces(tiff, page):
        wanted = page.piece_bytes(number)
        is_webp = page.compression == Compression.WEBP
        need_bytes = size_bytes + (20 * page.piece_width * page.piece_height if is_webp else 3 * max(wanted, _GROUP_BYTES))
        if need_bytes > memory.most_bytes:
            return False
        with memory.taken(need_bytes):
            if is_webp:
                _load(tiff.read(at, size_bytes), "WEBP")
                continue
            ends_group = number + 1 == page.n_pieces or page.piece_bytes(number + 1) != wanted
            group.append(tiff.read(at, size_bytes))
            if ends_group or len(group) * wanted > _GROUP_BYTES or sum(map(len, group)) > _GROUP_BYTES:
                _load(_grey(page.compression, wanted, group), "TIFF")
                group.clear()
    return True


def _load(body: bytes, form: str) -> None:
    with Image.open(io.BytesIO(body), formats=[form]) as picture:
        picture.load()


def _grey(compression: int, piece_bytes: int, packed: list[bytes]) -> bytes:
    """A TIFF of 8-bit grey in which each piece is a strip of one row."""
    n = len(packed)
    starts = list(accumulate(map(len, packed[:-1]), initial=8))
    lists_at = 8 + sum(map(len, packed))
    at = lists_at + 8 * n
    entries = (
        (256, 4, 1, piece_bytes), (257, 4, 1, n), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1),
        (273, 4, n, lists_at if n > 1 else starts[0]), (277, 3, 1, 1), (278, 4, 1, 1),
        (279, 4, n, lists_at + 4 * n if n > 1 else len(packed[0])),
    )  # fmt: skip
    lists = struct.pack(f"<{n}I{n}I", *starts, *map(len, packed))
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"".join((b"II*\0", struct.pack("<I", at), *packed, lists, directory))
