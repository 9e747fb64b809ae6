"""Reads a GIF (GIF89a) block by block, and every LZW code of its frames."""

from __future__ import annotations

from tests.damage.seen import Broken, Seen, need


def read(body: bytes) -> Seen:
    need(body[:6] in (b"GIF87a", b"GIF89a") and len(body) >= 13, "no header")
    at = 13 + (3 << (body[10] & 7) + 1 if body[10] & 0x80 else 0)
    n_frames, traces = 0, []
    while True:
        if at >= len(body):
            need(n_frames > 0 and at == len(body), "no picture")
            return Seen(trace="no trailer")
        kind, at = body[at], at + 1
        try:
            if kind == 0x3B:
                need(n_frames > 0, "no picture")
                return Seen(trace="; ".join(traces) or None)
            if kind == 0x21:
                at = _sub_blocks(body, at + 1)[1]
            elif kind == 0x2C:
                at = _read_frame(body, at, traces)
                n_frames += 1
            else:
                need(kind == 0, "a block of no kind")  # zeros between blocks are harmless
        except Broken as error:
            if n_frames:
                return Seen(side=f"behind {n_frames} frames: {error}")
            raise


def _read_frame(body: bytes, at: int, traces: list[str]) -> int:
    need(len(body) >= at + 10, "a frame goes beyond the end")
    width, height = (int.from_bytes(body[at + n : at + n + 2], "little") for n in (4, 6))
    flags, at = body[at + 8], at + 9
    at += 3 << (flags & 7) + 1 if flags & 0x80 else 0
    need(at < len(body), "a frame goes beyond the end")
    least = body[at]
    need(1 <= least <= 11, "an impossible code size")
    need(width > 0 and height > 0, "a frame without pixels")
    data, at = _sub_blocks(body, at + 1)
    _read_codes(data, least, width * height, traces)
    return at


def _sub_blocks(body: bytes, at: int) -> tuple[bytes, int]:
    parts = []
    while True:
        need(at < len(body), "a block goes beyond the end")
        length = body[at]
        need(at + 1 + length <= len(body), "a block goes beyond the end")
        if not length:
            return b"".join(parts), at + 1
        parts.append(body[at + 1 : at + 1 + length])
        at += 1 + length


def _read_codes(data: bytes, least: int, pixels: int, traces: list[str]) -> None:
    clear, end = 1 << least, (1 << least) + 1
    lengths = [1] * clear + [0, 0]  # of what each code stands for
    size, held, n_held, left, before = least + 1, 0, 0, pixels, 0
    for byte in data:
        held |= byte << n_held
        n_held += 8
        while n_held >= size:
            code = held & (1 << size) - 1
            held, n_held = held >> size, n_held - size
            if code == end:
                need(left <= 0, "too few pixels")
                return
            if code == clear:
                lengths, size, before = lengths[: clear + 2], least + 1, 0
                continue
            need(code < len(lengths) or (code == len(lengths) and before > 0 and code < 4096), "a code that does not exist")
            length = lengths[code] if code < len(lengths) else before + 1
            left -= length
            if before and len(lengths) < 4096:
                lengths.append(before + 1)
            before = length
            if len(lengths) == 1 << size and size < 12:
                size += 1
            if left <= 0 and code != end:
                traces.extend(["pixels left over"] if left < 0 else [])
                return
    need(left <= 0, "too few pixels")
