"""TIFF and PNG files written byte by byte from an array of samples, with any tags and chunks. Uses no library of images."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy
import numpy.typing

Array = numpy.typing.NDArray[Any]
Tags = dict[int, tuple[str, list[Any]]]  # by number: a type as `struct` names it ("R": rational, as pairs), and values
_TYPES = {"B": 1, "s": 2, "H": 3, "I": 4, "R": 5, "b": 6, "Q": 7, "h": 8, "S": 10, "f": 11}


def tiff(samples: Array, bits: int, tags: Tags, order: str = "<", packing: int = 1, rows: int = 1 << 30) -> bytes:
    """Of rows x columns x channels, in strips of `rows`; `tags` come in addition, or instead."""
    height, width, channels = samples.shape
    rows = min(rows, height)
    strips = [packed(samples[y : y + rows], bits, order) for y in range(0, height, rows)]
    strips = strips if packing == 1 else [zlib.compress(strip) for strip in strips]
    starts = [8 + sum(map(len, strips[:n])) for n in range(len(strips))]
    all_tags: Tags = {
        256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits] * channels), 259: ("H", [packing]), 273: ("I", starts),
        277: ("H", [channels]), 278: ("I", [rows]), 279: ("I", list(map(len, strips))),
    }  # fmt: skip
    body = b"".join(strips)
    body += bytes(len(body) % 2)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8 + len(body))
    return head + body + _directory(all_tags | tags, order, 8 + len(body))


def _directory(tags: Tags, order: str, at: int) -> bytes:
    entries, more = struct.pack(order + "H", len(tags)), b""
    behind = at + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        kind, values = tags[tag]
        data = b"".join(_value(kind, value, order) for value in values)
        entries += struct.pack(order + "HHI", tag, _TYPES[kind], len(values))
        entries += data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", behind + len(more))
        more += data + bytes(len(data) % 2) if len(data) > 4 else b""
    return entries + bytes(4) + more


def _value(kind: str, value: Any, order: str) -> bytes:
    if kind in "RS":
        return struct.pack(order + {"R": "II", "S": "ii"}[kind], *value)
    return struct.pack(order + {"Q": "B", "s": "B"}.get(kind, kind), value)


def packed(samples: Array, bits: int, order: str) -> bytes:
    """Each row ends at a byte; samples of fewer bits than 8, or of 12, follow each other from the highest bit on."""
    if bits in (8, 16, 32):
        return samples.astype(f"{order}{samples.dtype.kind}{bits // 8}").tobytes()
    each = (samples.reshape(len(samples), -1, 1) >> numpy.arange(bits - 1, -1, -1)) & 1
    return numpy.packbits(each.reshape(len(samples), -1).astype(numpy.uint8), axis=1).tobytes()


Chunks = Iterable[tuple[bytes, bytes]]


def png(samples: Array, bits: int, colour: int, before: Chunks = (), behind: Chunks = ()) -> bytes:
    """`colour`: PNG's colour type. `before`, `behind`: chunks on either side of the picture data."""
    height, width, _ = samples.shape
    rows = b"".join(b"\0" + packed(row[numpy.newaxis], bits, ">") for row in samples)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), *before, (b"IDAT", zlib.compress(rows)), *behind, (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in chunks)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
