"""Reads every Huffman code of a JPEG (ITU-T T.81), sequential or progressive, and keeps no picture.

Arithmetic coding is not read: of such a file only the structure is looked at. libjpeg passes over some codes that do not exist, and
over what follows bytes left over; what it says nothing of is no more than a trace (`read_mildly`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

import simplejpeg

from tests.damage.seen import Broken, Seen, need

_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_HUFFMAN, _ARITHMETIC = {0xC0, 0xC1, 0xC2}, {0xC9, 0xCA}
_SOI, _EOI, _SOS, _DHT, _DRI = 0xD8, 0xD9, 0xDA, 0xC4, 0xDD
_RESTARTS = range(0xD0, 0xD8)


@dataclass(slots=True)
class _Component:
    across: int  # sampling factors
    down: int
    columns: int = 0  # blocks, in a scan of its own
    rows: int = 0
    line: int = 0  # blocks in a row of whole MCUs
    known: list[bytearray] = field(default_factory=list)  # per block: which coefficients are not zero
    missing: list[int] = field(default_factory=lambda: [14] * 64)  # bits to come, or 14: all


@dataclass(slots=True)
class _Frame:
    is_progressive: bool
    components: dict[int, _Component]
    mcus: tuple[int, int]


@dataclass(slots=True)
class _File:
    tables: dict[int, list[int]] = field(default_factory=dict)  # by class << 4 | destination
    frame: _Frame | None = None
    interval: int = 0
    traces: list[str] = field(default_factory=list)


class _Bits:
    """The bits between two markers. More than there are end the reading."""

    def __init__(self, packed: bytes) -> None:
        data = packed.replace(b"\xff\x00", b"\xff")
        self.left = 8 * len(data)
        self._data, self._at, self._held, self._n_held = data, 0, 0, 0

    def symbol(self, table: list[int]) -> int:
        if self._n_held < 16:
            self._fill()
        found = table[self._held >> self._n_held - 16 & 0xFFFF]
        length = found >> 8
        if not length:
            raise Broken("a Huffman code that does not exist" if self.left >= 16 else "picture data end too early")
        self.left -= length
        if self.left < 0:
            raise Broken("picture data end too early")
        self._n_held -= length
        return found & 0xFF

    def bits(self, n: int) -> int:
        if not n:
            return 0
        if self._n_held < n:
            self._fill()
        self.left -= n
        if self.left < 0:
            raise Broken("picture data end too early")
        self._n_held -= n
        return self._held >> self._n_held & (1 << n) - 1

    def _fill(self) -> None:
        data = self._data[self._at : self._at + 4]
        self._held = (self._held & ((1 << self._n_held) - 1)) << 32 | int.from_bytes(data.ljust(4, b"\0"), "big")
        self._at += 4
        self._n_held += 32


STRICT = "a stricter reader than libjpeg sees: "
_STRUCTURE = ("no start of image", "no end of image")
_TOLD = re.compile(r"premature end|bad huffman code|bad arithmetic code|instead of RST|not a jpeg|no jpeg image", re.IGNORECASE)
_NEXT = re.compile(rb"\0*(?=\xff\xd8\xff)")


def read_mildly(body: bytes) -> Seen:
    """As `read`, but damage that libjpeg has no word for is a trace."""
    try:
        return read(body)
    except Broken as error:
        if str(error) in _STRUCTURE or libjpeg_tells(body):
            raise
        return Seen(trace=f"{STRICT}{error}")


def libjpeg_tells(body: bytes) -> bool:
    """Whether its first warning of a full decode is one of damage."""
    try:
        simplejpeg.decode_jpeg(body)
    except ValueError as error:
        return _TOLD.search(str(error)) is not None
    return False


def read(body: bytes) -> Seen:
    """Further pictures right behind the first are its sides."""
    traces, end = _read_one(body)
    side = None
    while side is None and (found := _NEXT.match(body, end)) is not None:
        try:
            end = found.end() + _read_one(body[found.end() :])[1]
        except Broken as error:
            side = f"a further picture: {error}"
    return Seen(side=side, trace="; ".join(dict.fromkeys(traces)) or None)


def _read_one(body: bytes) -> tuple[list[str], int]:
    """Traces, and where its end marker ends."""
    need(body[:2] == b"\xff\xd8", "no start of image")
    file, at, has_scan = _File(), 2, False
    while True:
        found = _MARKER.search(body, at)
        if found is None:
            raise Broken("no end of image")
        if found.start() > at:
            file.traces.append("bytes before a marker")
        marker, at = found[1][0], found.end()
        if marker == _EOI:
            break
        if marker in (0x01, _SOI) or marker in _RESTARTS:
            continue
        length = int.from_bytes(body[at : at + 2], "big")
        need(length >= 2 and at + length <= len(body), "a segment goes beyond the end")
        said, at = body[at + 2 : at + length], at + length
        if marker in _HUFFMAN or marker in _ARITHMETIC:
            need(file.frame is None, "a second frame")
            file.frame = _frame(said, marker)
        elif marker == _DHT:
            _read_tables(said, file.tables)
        elif marker == _DRI:
            need(len(said) >= 2, "a segment is too short")
            file.interval = int.from_bytes(said[:2], "big")
        elif marker == _SOS:
            need(file.frame is not None, "a scan without a frame")
            at, has_scan = _read_scan(body, at, said, file), True
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC8, 0xCC):
            raise Broken("a frame of another kind")
    need(has_scan and file.frame is not None, "no scan")
    assert file.frame is not None
    if any(any(one.missing) for one in file.frame.components.values()):
        file.traces.append("coefficients were not sent")
    return file.traces, at


def _frame(said: bytes, marker: int) -> _Frame:
    need(len(said) >= 6 and len(said) >= 6 + 3 * said[5], "a frame header is too short")
    height, width, n = int.from_bytes(said[1:3], "big"), int.from_bytes(said[3:5], "big"), said[5]
    parts = {said[at]: _Component(said[at + 1] >> 4, said[at + 1] & 15) for at in range(6, 6 + 3 * n, 3)}
    need(said[0] == 8 and width > 0 and height > 0 and n > 0, "an impossible frame")
    need(all(1 <= one.across <= 4 and 1 <= one.down <= 4 for one in parts.values()), "impossible sampling factors")
    widest, highest = max(one.across for one in parts.values()), max(one.down for one in parts.values())
    mcus = _ceil(width, 8 * widest), _ceil(height, 8 * highest)
    need(mcus[0] * mcus[1] < 200_000, "too large for its bytes")  # no picture of the campaign is as large
    for one in parts.values():
        one.columns = _ceil(_ceil(width * one.across, widest), 8)
        one.rows = _ceil(_ceil(height * one.down, highest), 8)
        one.line = mcus[0] * one.across
        one.known = [bytearray(64) for _ in range(one.line * mcus[1] * one.down)] if marker == 0xC2 else []
    return _Frame(marker == 0xC2, parts, mcus) if marker in _HUFFMAN else _Frame(False, {}, mcus)


def _ceil(number: int, by: int) -> int:
    return -(-number // by)


def _read_tables(said: bytes, tables: dict[int, list[int]]) -> None:
    at = 0
    while at < len(said):
        n = sum(said[at + 1 : at + 17])
        need(len(said) >= at + 17 + n and n <= 256 and said[at] & 0xEF < 4, "a broken Huffman table")
        tables[said[at]] = _table(said[at + 1 : at + 17], said[at + 17 : at + 17 + n])
        at += 17 + n


@lru_cache(maxsize=64)
def _table(counts: bytes, symbols: bytes) -> list[int]:
    """By the next 16 bits: length of the code << 8 | symbol; 0 where there is none."""
    table, code, at = [0] * 65536, 0, 0
    for length, count in enumerate(counts, 1):
        for symbol in symbols[at : at + count]:
            first, span = code << 16 - length, 1 << 16 - length
            need(first + span <= 65536, "a broken Huffman table")
            table[first : first + span] = [length << 8 | symbol] * span
            code += 1
        at, code = at + count, code << 1
    return table


def _read_scan(body: bytes, at: int, said: bytes, file: _File) -> int:
    frame = file.frame
    assert frame is not None
    parts: list[bytes] = []  # between restart markers
    restarts: list[int] = []
    start = at
    while True:
        found = _MARKER.search(body, at)
        if found is None:
            raise Broken("no end of image")
        parts.append(body[start : found.start()])
        at = start = found.end()
        if found[1][0] not in _RESTARTS:
            break
        restarts.append(found[1][0])
    if frame.components:  # not those of arithmetic coding
        _Scan(said, file, frame).read(parts, restarts)
    return found.start()


class _Scan:
    def __init__(self, said: bytes, file: _File, frame: _Frame) -> None:
        n = said[0] if said else 0
        need(1 <= n <= 4 and len(said) >= 4 + 2 * n, "a scan header is too short")
        named = [(said[1 + 2 * at], said[2 + 2 * at]) for at in range(n)]
        need(all(name in frame.components for name, _ in named), "a scan of no component")
        self._file, self._frame = file, frame
        self._parts = [(frame.components[name], tables) for name, tables in named]
        self._first, self._last, bits = said[1 + 2 * n : 4 + 2 * n]
        self._high, self._low = bits >> 4, bits & 15
        if not frame.is_progressive:
            self._first, self._last, self._high, self._low = 0, 63, 0, 0
        need(self._first <= self._last <= 63 and (self._first == 0 or n == 1), "an impossible scan")
        self._run = 0  # blocks that are at their end already
        for part, _ in self._parts:
            part.missing[self._first : self._last + 1] = [self._low] * (self._last - self._first + 1)

    def read(self, parts: list[bytes], restarts: list[int]) -> None:
        mcus = list(self._mcus())
        interval = self._file.interval or len(mcus)
        n_parts = -(-len(mcus) // interval)
        need(len(parts) >= n_parts, "picture data end too early")
        need(len(parts) == n_parts, "a restart marker that does not belong there")
        for number, packed in enumerate(parts):
            need(number == 0 or restarts[number - 1] & 7 == (number - 1) & 7, "restart markers out of order")
            bits = _Bits(packed)
            self._run = 0
            for blocks in mcus[number * interval : (number + 1) * interval]:
                for part, tables, block in blocks:
                    self._read_block(bits, part, tables, block)
            if bits.left >= 8:
                self._file.traces.append("bytes left over")

    def _mcus(self) -> list[list[tuple[_Component, int, int]]]:
        if len(self._parts) == 1:
            part, tables = self._parts[0]
            return [[(part, tables, y * part.line + x)] for y in range(part.rows) for x in range(part.columns)]
        across, down = self._frame.mcus
        return [
            [
                (part, tables, (y * part.down + v) * part.line + x * part.across + h)
                for part, tables in self._parts
                for v in range(part.down)
                for h in range(part.across)
            ]
            for y in range(down)
            for x in range(across)
        ]

    def _table(self, kind: int, number: int) -> list[int]:
        table = self._file.tables.get(kind << 4 | number)
        if table is None:
            raise Broken("a Huffman table is missing")
        return table

    def _read_block(self, bits: _Bits, part: _Component, tables: int, block: int) -> None:
        if not self._frame.is_progressive:
            bits.bits(self._size_of(bits.symbol(self._table(0, tables >> 4))))
            self._read_sequential(bits, self._table(1, tables & 15))
        elif self._first == 0:
            if self._high:
                bits.bits(1)
            else:
                bits.bits(self._size_of(bits.symbol(self._table(0, tables >> 4))))
        elif self._high:
            self._refine(bits, self._table(1, tables & 15), part.known[block])
        else:
            self._read_first(bits, self._table(1, tables & 15), part.known[block])

    def _size_of(self, symbol: int) -> int:
        if symbol > 11:
            self._file.traces.append("a difference that is too large")
        return symbol & 15

    def _read_sequential(self, bits: _Bits, table: list[int]) -> None:
        at = 1
        while at < 64:
            symbol = bits.symbol(table)
            size = symbol & 15
            if not size and symbol != 0xF0:
                return
            at += symbol >> 4
            bits.bits(size)
            at += 1
        if at > 64:
            self._file.traces.append("more coefficients than there are")

    def _read_first(self, bits: _Bits, table: list[int], known: bytearray) -> None:
        if self._run:
            self._run -= 1
            return
        at = self._first
        while at <= self._last:
            symbol = bits.symbol(table)
            zeros, size = symbol >> 4, symbol & 15
            if size:
                at += zeros
                bits.bits(size)
                if at < 64:
                    known[at] = 1
                at += 1
            elif zeros == 15:
                at += 16
            else:
                self._run = (1 << zeros) + bits.bits(zeros) - 1
                return
        if at > self._last + 1:
            self._file.traces.append("more coefficients than there are")

    def _refine(self, bits: _Bits, table: list[int], known: bytearray) -> None:
        at = self._first
        while at <= self._last and not self._run:
            symbol = bits.symbol(table)
            zeros, size = symbol >> 4, symbol & 15
            if size > 1:
                self._file.traces.append("a refinement of more than a bit")
            if size:
                bits.bits(1)
            elif zeros < 15:
                self._run = (1 << zeros) + bits.bits(zeros)
                break
            while at <= self._last:
                if known[at]:
                    bits.bits(1)
                elif not zeros:
                    break
                else:
                    zeros -= 1
                at += 1
            if size and at <= self._last:
                known[at] = 1
            at += 1
        if self._run:
            for place in range(at, self._last + 1):
                if known[place]:
                    bits.bits(1)
            self._run -= 1
