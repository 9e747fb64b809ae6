"""Reads a PNG (W3C, third edition) chunk by chunk: every CRC-32, every zlib stream to its Adler-32, every filter."""

from __future__ import annotations

import struct
import zlib

from tests.damage.seen import Broken, Seen, inflated, need

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_MOST = 1 << 26


def passes(width: int, height: int, bits: int, is_interlaced: bool) -> list[tuple[int, int]]:
    """Of each pass: bytes of a row with its filter, and rows."""
    found = []
    for x, y, step_x, step_y in _ADAM7 if is_interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and rows > 0:
            found.append((1 + (columns * bits + 7) // 8, rows))
    return found


def read(body: bytes) -> Seen:
    need(body.startswith(SIGNATURE), "no signature")
    at, header, packed, films, sides = 8, b"", [], {}, []
    kind = b""
    frame = b""
    while kind != b"IEND":
        need(len(body) >= at + 8, "no IEND")
        length, kind = int.from_bytes(body[at : at + 4], "big"), body[at + 4 : at + 8]
        need(at + 12 + length <= len(body), "a chunk goes beyond the end")
        data = body[at + 8 : at + 8 + length]
        is_sound = zlib.crc32(kind + data) == int.from_bytes(body[at + 8 + length : at + 12 + length], "big")
        at += 12 + length
        if kind[0] & 0x20:
            if not is_sound:
                sides.append(f"the checksum of {kind!r}")
            elif kind == b"fcTL":
                frame = data
            elif kind == b"fdAT":
                films.setdefault(frame, []).append(data[4:])
            continue
        need(is_sound, f"the checksum of {kind!r}")
        need(bool(header) or kind == b"IHDR", "IHDR is not the first chunk")
        if kind == b"IHDR":
            header = data
        elif kind == b"IDAT":
            packed.append(data)
        else:
            need(kind in (b"PLTE", b"IEND"), f"a critical chunk that nobody knows: {kind!r}")
    width, height, depth, colour, method, filtering, interlace = struct.unpack(">IIBBBBB", header)
    need(depth in DEPTHS.get(colour, ()) and width > 0 and height > 0, "an impossible header")
    need(method == filtering == 0 and interlace in (0, 1), "an impossible header")
    bits = depth * _CHANNELS[colour]
    _read_stream(b"".join(packed), passes(width, height, bits, interlace == 1))
    for told, parts in films.items():
        try:
            need(len(told) == 26, "fcTL is too short")
            _read_stream(b"".join(parts), passes(*struct.unpack(">II", told[4:12]), bits, interlace == 1))
        except Broken as error:
            sides.append(f"a frame: {error}")
    return Seen(side="; ".join(sides) or None)


def _read_stream(packed: bytes, rows_of_passes: list[tuple[int, int]]) -> None:
    size = sum(row * rows for row, rows in rows_of_passes)
    need(size <= _MOST, "too large for its bytes")
    data, has_end = inflated(packed, size)
    need(has_end, "the zlib stream has no end")
    need(len(data) >= size, "too few picture data")
    at = 0
    for row, rows in rows_of_passes:
        need(max(data[at : at + row * rows : row]) <= 4, "a filter that does not exist")
        at += row * rows
