"""Reads what stands around the pixels of WebP (RFC 9649) and BMP, and the codes of a run-length BMP. Their pixels show nothing."""

from __future__ import annotations

import struct

from tests.damage.seen import Seen, need

_PICTURES = (b"VP8 ", b"VP8L")


def read_webp(body: bytes) -> Seen:
    need(body[:4] == b"RIFF" and body[8:12] == b"WEBP" and len(body) >= 20, "no header")
    end = 8 + int.from_bytes(body[4:8], "little")
    need(end <= len(body) + 1, "the file is shorter than it says")
    chunks = _chunks(body, 12, min(end, len(body)))
    last = chunks[-1]
    need(end <= len(body) or (last[2] == len(body) and (last[2] - last[1]) % 2 == 1), "the file is shorter than it says")
    kinds = [kind for kind, _, _ in chunks]
    need(kinds[0] in (*_PICTURES, b"VP8X"), "no picture comes first")
    for kind, start, stop in chunks:
        if kind == b"ANMF":
            need(stop - start >= 24, "a frame is too short")
            inner = _chunks(body, start + 16, stop)
            need(any(one in _PICTURES for one, _, _ in inner), "a frame without a picture")
            for one in inner:
                _check_stream(body, *one)
        _check_stream(body, kind, start, stop)
    need(any(kind in (*_PICTURES, b"ANMF") for kind in kinds), "no picture")
    return Seen()


def _chunks(body: bytes, at: int, end: int) -> list[tuple[bytes, int, int]]:
    found = []
    while at + 8 <= end:
        length = int.from_bytes(body[at + 4 : at + 8], "little")
        need(all(0x20 <= byte < 0x7F for byte in body[at : at + 4]), "a chunk without a name")
        need(at + 8 + length <= end, "a chunk goes beyond the end")
        found.append((body[at : at + 4], at + 8, at + 8 + length))
        at += 8 + length + length % 2
    need(bool(found), "no chunk")
    return found


def _check_stream(body: bytes, kind: bytes, start: int, stop: int) -> None:
    if kind == b"VP8L":
        need(body[start : start + 1] == b"\x2f", "no signature of VP8L")
    elif kind == b"VP8 ":
        need(stop - start >= 10 and body[start + 3 : start + 6] == b"\x9d\x01\x2a", "no start code of VP8")
        tag = int.from_bytes(body[start : start + 3], "little")
        need(not tag & 1 and 10 + (tag >> 5) <= stop - start, "the first partition goes beyond its chunk")


def read_bmp(body: bytes) -> Seen:
    need(body[:2] == b"BM" and len(body) >= 26, "no header")
    size, start, header = int.from_bytes(body[2:6], "little"), *struct.unpack("<II", body[10:18])
    need(size <= len(body), "the file is shorter than it says")
    need(start <= len(body) and len(body) >= 14 + header, "the pixels lie beyond the end")
    if header == 12:
        width, height, _, bits = struct.unpack("<HHHH", body[18:26])
        packing = 0
    else:
        need(header in (40, 52, 56, 64, 108, 124), "an impossible header")
        width, height, _, bits, packing = struct.unpack("<iiHHI", body[18:34])
    need(width > 0 and height != 0 and bits in (1, 4, 8, 16, 24, 32) and packing in (0, 1, 2, 3, 6), "an impossible header")
    if packing in (1, 2):
        return Seen(trace=_read_runs(body, start, width, abs(height), packing))
    need(start + (width * bits + 31) // 32 * 4 * abs(height) <= len(body), "too few picture data")
    return Seen()


def _read_runs(body: bytes, at: int, width: int, height: int, packing: int) -> str | None:
    """Up to the end of the bitmap, or up to its last row where that mark is missing."""
    x = y = 0
    trace = None
    while y < height:
        need(at + 2 <= len(body), "too few picture data")
        count, value = body[at], body[at + 1]
        at += 2
        if count:
            x += count
        elif value == 0:
            x, y = 0, y + 1
        elif value == 1:
            return trace
        elif value == 2:
            need(at + 2 <= len(body), "too few picture data")
            x, y, at = x + body[at], y + body[at + 1], at + 2
        else:
            x += value
            n_bytes = value if packing == 1 else (value + 1) // 2
            at += n_bytes + n_bytes % 2
        if x > width + 1:
            trace = "a run goes beyond its row"
    return trace
