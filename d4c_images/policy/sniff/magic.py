"""What a body is by its first bytes: the table of magic numbers, and which other module knows more. Parses almost no structure.

Two short exceptions: the sizes in a RAF's header, and the segments of a JPEG up to its image data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from mmap import mmap

from d4c_images.policy.sniff.boxes import boxes_are_cut, sniff_boxes
from d4c_images.policy.sniff.kinds import Kind, ReadAt, Sniffed
from d4c_images.policy.sniff.text import sniff_text
from d4c_images.policy.sniff.tiff import is_orf_cut, sniff_tiff

_MAGIC: tuple[tuple[bytes, Sniffed], ...] = (
    (b"\xff\xd8\xff", Sniffed(Kind.IMAGE, "image/jpeg", "jpg")),
    (b"\x89PNG\r\n\x1a\n", Sniffed(Kind.IMAGE, "image/png", "png")),
    (b"GIF87a", Sniffed(Kind.IMAGE, "image/gif", "gif")),
    (b"GIF89a", Sniffed(Kind.IMAGE, "image/gif", "gif")),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Sniffed(Kind.IMAGE, "image/jp2", "jp2")),
    (b"\xff\x4f\xff\x51", Sniffed(Kind.IMAGE, "image/jp2", "jp2")),
    (b"FUJIFILMCCD-RAW", Sniffed(Kind.RAW, "image/x-fuji-raf", "raf")),
    (b"IIRO", Sniffed(Kind.RAW, "image/x-olympus-orf", "orf")),
    (b"IIRS", Sniffed(Kind.RAW, "image/x-olympus-orf", "orf")),
    (b"MMOR", Sniffed(Kind.RAW, "image/x-olympus-orf", "orf")),
    (b"IIU\x00", Sniffed(Kind.RAW, "image/x-panasonic-rw2", "rw2")),
    (b"%PDF-", Sniffed(Kind.OTHER, "application/pdf")),
    (b"%!PS", Sniffed(Kind.OTHER, "application/postscript")),
    (b"8BPS", Sniffed(Kind.OTHER, "image/vnd.adobe.photoshop")),
    (b"II\xbc", Sniffed(Kind.OTHER, "image/jxr")),
    (b"\xff\x0a", Sniffed(Kind.OTHER, "image/jxl")),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", Sniffed(Kind.OTHER, "image/jxl")),
    (b"\x00\x00\x01\x00", Sniffed(Kind.OTHER, "image/vnd.microsoft.icon")),
    (b"AT&TFORM", Sniffed(Kind.OTHER, "image/vnd.djvu")),
    (b"PK\x03\x04", Sniffed(Kind.OTHER, "application/zip")),
    (b"\x1f\x8b", Sniffed(Kind.OTHER, "application/gzip")),
    (b"7z\xbc\xaf\x27\x1c", Sniffed(Kind.OTHER, "application/x-7z-compressed")),
    (b"Rar!", Sniffed(Kind.OTHER, "application/vnd.rar")),
    (b"ID3", Sniffed(Kind.OTHER, "audio/mpeg")),
    (b"\xff\xfb", Sniffed(Kind.OTHER, "audio/mpeg")),
    (b"\xff\xf3", Sniffed(Kind.OTHER, "audio/mpeg")),
    (b"\xff\xf2", Sniffed(Kind.OTHER, "audio/mpeg")),
    (b"OggS", Sniffed(Kind.OTHER, "application/ogg")),
    (b"fLaC", Sniffed(Kind.OTHER, "audio/flac")),
    (b"\x1aE\xdf\xa3", Sniffed(Kind.OTHER, "video/webm")),
    (b"FWS", Sniffed(Kind.OTHER, "application/x-shockwave-flash")),
    (b"CWS", Sniffed(Kind.OTHER, "application/x-shockwave-flash")),
    (b"FLV\x01", Sniffed(Kind.OTHER, "video/x-flv")),
)
_TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def sniff(head: bytes, tail: bytes, size_bytes: int) -> Sniffed:
    """What a body of `size_bytes` is, from its first bytes (the fetcher keeps 64 KiB) and its last ones (1 KiB)."""
    if not size_bytes or not head:
        return Sniffed(Kind.EMPTY, "application/x-empty")
    if head.startswith(_TIFF_MAGIC):
        return sniff_tiff(_reader(head, tail, size_bytes), size_bytes)
    for magic, sniffed in _MAGIC:
        if head.startswith(magic):
            return replace(sniffed, truncated=_is_truncated(sniffed.extension, head, tail, size_bytes))
    return _sniff_riff(head) or sniff_boxes(head, size_bytes) or _sniff_bmp(head) or sniff_text(head)


def _reader(head: bytes, tail: bytes, size_bytes: int) -> ReadAt:
    tail_at = size_bytes - len(tail)

    def read_at(offset: int, length: int) -> bytes:
        if offset >= tail_at and offset + length > len(head):
            return tail[offset - tail_at : offset - tail_at + length]
        return head[offset : offset + length]

    return read_at


def _is_truncated(extension: str, head: bytes, tail: bytes, size_bytes: int) -> bool:
    if extension == "jpg" and size_bytes <= len(head):
        return head.rfind(b"\xff\xd9", start_of_scan(head)) < 0  # from the end, where it usually is
    if extension == "jp2" and head.startswith(b"\x00"):
        return boxes_are_cut(head, size_bytes)
    if extension == "raf" and len(head) >= 108:
        spans = struct.unpack(">6I", head[84:108])  # preview, header and raw data: offset and length of each
        return any(at + length > size_bytes for at, length in zip(spans[::2], spans[1::2], strict=True))
    if extension == "orf":
        return is_orf_cut(_reader(head, tail, size_bytes), size_bytes, head)
    return False


START_OF_SCAN = 0xDA


def start_of_scan(body: bytes | mmap) -> int:
    """Where a JPEG's image data begins: after its segments, one of which may hold a whole JPEG as a thumbnail."""
    at = 2
    for marker, start, end in segments(lambda at, length: body[at : at + length]):
        at = start if marker == START_OF_SCAN else end
    return at


def segments(read_at: ReadAt) -> Iterator[tuple[int, int, int]]:
    """The segments of a JPEG from its third byte on: marker, its position, and the position of the next one.

    Stops at the start of the first scan, or at whatever is not a segment. `decode.jpeg` looks for markers beyond that, too, and
    skips what is between them.
    """
    at = 2
    while len(header := read_at(at, 4)) == 4 and header[0] == 0xFF:
        marker = header[1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(header[2:], "big")
        yield marker, at, end
        if marker == START_OF_SCAN:
            return
        at = end


def _sniff_riff(head: bytes) -> Sniffed | None:
    if head[:4] != b"RIFF" or len(head) < 12:
        return None
    if head[8:12] != b"WEBP":
        kinds = {b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
        return Sniffed(Kind.OTHER, kinds.get(head[8:12], "application/octet-stream"))
    return Sniffed(Kind.IMAGE, "image/webp", "webp")


def _sniff_bmp(head: bytes) -> Sniffed | None:
    if head[:2] != b"BM" or len(head) < 26 or int.from_bytes(head[14:18], "little") not in (12, 40, 52, 56, 64, 108, 124):
        return None
    return Sniffed(Kind.IMAGE, "image/bmp", "bmp")
