"""Reads the boxes of HEIF (ISO 23008-12) and JPEG 2000 (ISO 15444-1), and a codestream's markers. Their pixels show nothing."""

from __future__ import annotations

from collections.abc import Iterator

from tests.damage.seen import Broken, Seen, need

Box = tuple[bytes, int, int]  # kind, where what it holds begins and ends


def boxes(body: bytes, at: int, end: int) -> Iterator[Box]:
    while at < end:
        need(at + 8 <= end, "a box goes beyond the end")
        length, kind, head = int.from_bytes(body[at : at + 4], "big"), body[at + 4 : at + 8], 8
        if length == 1:
            length, head = int.from_bytes(body[at + 8 : at + 16], "big"), 16
        elif length == 0:
            length = end - at
        need(length >= head and at + length <= end, "a box goes beyond the end")
        yield kind, at + head, at + length
        at += length


def read_heif(body: bytes) -> Seen:
    top, end, trace = _top_boxes(body)
    need(bool(top) and top[0][0] == b"ftyp", "no ftyp")
    metas = [box for box in top if box[0] == b"meta"]
    if not metas:
        need(any(kind == b"moov" for kind, _, _ in top), "neither pictures nor a film")
        return Seen(trace=trace)
    inner = {kind: (start, stop) for kind, start, stop in boxes(body, metas[0][1] + 4, metas[0][2])}
    for kind in (b"pitm", b"iinf", b"iprp", b"iloc"):
        need(kind in inner, f"no {kind!r}")
    held = inner.get(b"idat", (0, 0))
    primary = _number(body, inner[b"pitm"][0] + 4, 2 if body[inner[b"pitm"][0]] == 0 else 4)
    side = None
    for item, method, start, length in _extents(body, *inner[b"iloc"]):
        base, limit = (held[0], held[1]) if method == 1 else (0, end)
        if base + start + length > limit:
            need(item != primary and method == 0, "an item lies beyond the end")
            side = f"item {item} lies beyond the end"
    return Seen(side=side, trace=trace)


def _top_boxes(body: bytes) -> tuple[list[Box], int, str | None]:
    """Those that are whole, and where they end: what stands behind the last may be anything."""
    found: list[Box] = []
    try:
        for box in boxes(body, 0, len(body)):
            found.append(box)
    except Broken as error:
        return found, found[-1][2] if found else 0, str(error)
    return found, len(body), None


def _number(body: bytes, at: int, size: int) -> int:
    need(at + size <= len(body), "a box is too short")
    return int.from_bytes(body[at : at + size], "big")


def _extents(body: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(item, construction method, offset, length) of each extent (ISO 14496-12, 8.11.3)."""
    version, sizes = body[at], _number(body, at + 4, 2)
    offset_size, length_size, base_size, index_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
    wide = 4 if version == 2 else 2
    n_items, at = _number(body, at + 6, wide), at + 6 + wide
    for _ in range(n_items):
        need(at < end, "a box is too short")
        item, at = _number(body, at, wide), at + wide
        method = 0
        if version in (1, 2):
            method, at = _number(body, at, 2) & 15, at + 2
        at += 2
        base, at = _number(body, at, base_size), at + base_size
        n_extents, at = _number(body, at, 2), at + 2
        for _ in range(n_extents):
            need(at < end, "a box is too short")
            at += index_size if version in (1, 2) else 0
            start, at = _number(body, at, offset_size), at + offset_size
            length, at = _number(body, at, length_size), at + length_size
            yield item, method, base + start, length


def read_cr3(body: bytes) -> Seen:
    """What stands where no box of its own begins may be anything."""
    _, end, trace = _top_boxes(body)
    need(trace is None or body[end + 4 : end + 8] not in (b"ftyp", b"moov", b"mdat", b"uuid", b"free"), str(trace))
    return Seen(trace=trace)


def read_jp2(body: bytes) -> Seen:
    if body.startswith(b"\xff\x4f"):
        _read_codestream(body, 0, len(body))
        return Seen()
    found, _, trace = _top_boxes(body)
    need(bool(found) and found[0][0] == b"jP  ", "no signature")
    streams = [box for box in found if box[0] == b"jp2c"]
    need(bool(streams), "no codestream")
    need(any(kind == b"jp2h" for kind, _, _ in found), "no header")
    _read_codestream(body, *streams[0][1:])
    return Seen(trace=trace)


def _read_codestream(body: bytes, at: int, end: int) -> None:
    need(body[at : at + 4] == b"\xff\x4f\xff\x51", "no start of a codestream")
    at += 2
    has_tile = False
    while True:
        need(at + 2 <= end, "no end of the codestream")
        marker = body[at : at + 2]
        if marker == b"\xff\xd9":
            break
        need(marker[0] == 0xFF and at + 4 <= end, "no marker where one must be")
        length = _number(body, at + 2, 2)
        if marker == b"\xff\x90":  # a part of a tile
            need(length == 10, "an impossible tile")
            part, has_tile = _number(body, at + 6, 4), True
            if part == 0:  # as far as the codestream goes
                need(body[end - 2 : end] == b"\xff\xd9", "no end of the codestream")
                break
            need(at + part <= end and part >= 14, "a tile goes beyond the end")
            _check_tile(body, at + 12, at + part)
            at += part
        else:
            need(marker[1] >= 0x4F and length >= 2 and at + 2 + length <= end, "a marker goes beyond the end")
            at += 2 + length
    need(has_tile, "no tile")


def _check_tile(body: bytes, at: int, end: int) -> None:
    """Markers up to the start of the data."""
    while body[at : at + 2] != b"\xff\x93":
        length = int.from_bytes(body[at + 2 : at + 4], "big")
        if body[at] != 0xFF or length < 2 or at + 2 + length > end:
            raise Broken("a tile without data")
        at += 2 + length
