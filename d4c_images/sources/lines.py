"""Blocks of whole lines from a byte stream. Splits at line feeds only; knows nothing of columns except tabs.

A line of any length takes bounded memory: of a line longer than `MAX_LINE_BYTES` only the start of each cell is kept.

`str.splitlines` would also split at U+2028, form feeds and the like, which occur inside cells of GBIF's files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import IO, NamedTuple

import numpy as np

BLOCK_BYTES = 1 << 18  # what is made of it fits into the CPU cache
MAX_LINE_BYTES = 4 << 20
_LINE_FEED = ord("\n")
KEPT_CELL_BYTES = (1 << 18) + 64  # of each cell of a longer line: more than anybody uses, so that a cut cell can be recognised


class Block(NamedTuple):
    """Some whole lines of the stream."""

    row_no: int  # of the first line; 1 = the first line after the header
    offset: int  # of the first line, in bytes of the unpacked stream
    n_lines: int
    data: bytes  # ends with a line feed, except at the end of a stream that lacks the last one
    cut_bytes: int = 0  # length of its only line's omitted parts
    is_too_long: bool = False  # its only line is still too long: it cannot be read

    @property
    def end(self) -> int:
        return self.offset + len(self.data) + self.cut_bytes

    def lines(self) -> tuple[bytes, list[int]]:
        """The lines joined by single line feeds, and the positions of those that are not UTF-8."""
        data = self.data
        broken = [] if _is_utf8(data) else [at for at, line in enumerate(data.split(b"\n")) if not _is_utf8(line)]
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").removesuffix(b"\r")
        return data.removesuffix(b"\n"), broken

    def text(self) -> str:
        """The lines joined by single line feeds; invalid bytes become U+FFFD."""
        return self.lines()[0].decode(errors="replace")

    def offsets(self) -> list[int]:
        """The offset of each line."""
        return list(accumulate((len(line) + 1 for line in self.data.split(b"\n")), initial=self.offset))

    def head(self, n_lines: int) -> Block:
        """A block of the first lines only."""
        if n_lines >= self.n_lines:
            return self
        end = 0
        for _ in range(n_lines):
            end = self.data.find(b"\n", end) + 1
            if end == 0:
                return self
        return self._replace(data=self.data[:end], n_lines=n_lines)


def blocks(stream: IO[bytes], offset: int, row_no: int) -> Iterator[Block]:
    """All lines from here to the end of the stream, which is positioned at `offset`, the start of row `row_no`."""
    pieces: list[bytes] = []
    held = 0
    long_line: _LongLine | None = None
    while data := stream.read(BLOCK_BYTES):
        cut = data.find(b"\n") + 1 if long_line else data.rfind(b"\n") + 1
        if long_line is not None:
            long_line.take(data[: cut or None])
            if cut == 0:
                continue
            yield (block := long_line.block(row_no, offset))
            row_no, offset, long_line = row_no + 1, block.end, None
            data = data[cut:]
            cut = data.rfind(b"\n") + 1
        if cut == 0:
            pieces.append(data)
            held += len(data)
            if held > MAX_LINE_BYTES:
                long_line = _LongLine(pieces)
                pieces, held = [], 0
            continue
        lines = b"".join([*pieces, data[:cut]])
        block = Block(row_no, offset, _n_line_feeds(lines), lines)
        yield block
        row_no += block.n_lines
        offset = block.end
        pieces = [data[cut:]]
        held = len(pieces[0])
    if long_line is not None:
        yield long_line.block(row_no, offset)
        return
    last = b"".join(pieces)
    if last:
        yield Block(row_no, offset, 1, last)


def _n_line_feeds(data: bytes) -> int:
    """Like `bytes.count`, which looks at one byte after another and takes seven times as long."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == _LINE_FEED))


def has_long_line(data: bytes, n_bytes: int) -> bool:
    """Whether one of the lines has more than `n_bytes` bytes; looks at only a few bytes."""
    at = 0
    while len(data) - at > n_bytes:
        at = data.rfind(b"\n", at, at + n_bytes + 1) + 1
        if at == 0:
            return True
    return False


class _LongLine:
    """A line too long to hold: keeps the first bytes of each cell, as long as these do not become too many either."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._cell_bytes = 0  # bytes kept of the last cell
        self._read_bytes = 0
        for piece in pieces:
            self.take(piece)

    def take(self, data: bytes) -> None:
        self._read_bytes += len(data)
        at = 0
        while at < len(data) and self._kept_bytes <= MAX_LINE_BYTES:
            end = data.find(b"\t", at)
            cell = data[at : len(data) if end < 0 else end][: KEPT_CELL_BYTES - self._cell_bytes]
            self._cell_bytes += len(cell)
            if end >= 0:
                cell, self._cell_bytes = cell + b"\t", 0
            self._kept.append(cell)
            self._kept_bytes += len(cell)
            at = len(data) if end < 0 else end + 1

    def block(self, row_no: int, offset: int) -> Block:
        is_too_long = self._kept_bytes > MAX_LINE_BYTES
        data = b"".join(self._kept[:1000] if is_too_long else self._kept)
        if not is_too_long and not data.endswith(b"\n"):
            data += b"\n"
        return Block(row_no, offset, 1, data, self._read_bytes - len(data), is_too_long)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
