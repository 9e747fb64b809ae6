"""Blocks of whole lines from a byte stream. Cuts at line feeds and nowhere else; knows nothing of columns.

`str.splitlines` would also cut at U+2028, form feeds and the like, which GBIF's files hold in the middle of cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import IO, NamedTuple

from d4c_images.errors import SourceError

BLOCK_BYTES = 1 << 19  # what becomes of it stays in the processor's cache
MAX_LINE_BYTES = 16 << 20


class Block(NamedTuple):
    """Some whole lines of the stream."""

    row_no: int  # of the first line; 1 = the first line after the header
    offset: int  # of the first line, in bytes of the unpacked stream
    n_lines: int
    data: bytes  # ends with a line feed, except at the end of a stream that lacks the last one

    @property
    def end(self) -> int:
        return self.offset + len(self.data)

    def lines(self) -> tuple[bytes, list[int]]:
        """The lines joined by single line feeds, and the positions of those that are not UTF-8."""
        data = self.data
        broken = [] if _is_utf8(data) else [at for at, line in enumerate(data.split(b"\n")) if not _is_utf8(line)]
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").removesuffix(b"\r")
        return data.removesuffix(b"\n"), broken

    def text(self) -> str:
        """The lines joined by single line feeds; bad bytes read as U+FFFD."""
        return self.lines()[0].decode(errors="replace")

    def offsets(self) -> list[int]:
        """Where each line begins."""
        return list(accumulate((len(line) + 1 for line in self.data.split(b"\n")), initial=self.offset))

    def head(self, n_lines: int) -> Block:
        """The first lines only."""
        end = 0
        for _ in range(n_lines):
            end = self.data.find(b"\n", end) + 1
            if end == 0:
                return self
        return self._replace(data=self.data[:end], n_lines=n_lines)


def blocks(stream: IO[bytes], offset: int, row_no: int) -> Iterator[Block]:
    """All lines from here to the end of the stream, which stands at `offset`, the beginning of row `row_no`.

    Raises `SourceError` on a line that no table can have.
    """
    pieces: list[bytes] = []
    held = 0
    while data := stream.read(BLOCK_BYTES):
        cut = data.rfind(b"\n") + 1
        if cut == 0:
            pieces.append(data)
            held += len(data)
            if held > MAX_LINE_BYTES:
                limit = MAX_LINE_BYTES >> 20
                raise SourceError(f"row {row_no:,} at byte {offset:,} is longer than {limit} MiB: this is no table of GBIF")
            continue
        lines = b"".join([*pieces, data[:cut]])
        block = Block(row_no, offset, lines.count(b"\n"), lines)
        yield block
        row_no += block.n_lines
        offset = block.end
        pieces = [data[cut:]]
        held = len(pieces[0])
    last = b"".join(pieces)
    if last:
        yield Block(row_no, offset, 1, last)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
