"""Rows of a publisher's table from a byte stream, one at a time, each with its position. Knows no columns.

Cells may be quoted, contain line ends and doubled quotes, or quotes that somebody forgot to double: only the row that cannot be
parsed is lost, and parsing starts afresh with the next line.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import deque
from collections.abc import Iterator
from typing import IO, NamedTuple

from d4c_images.model import RejectReason
from d4c_images.sources.layout import Layout
from d4c_images.sources.lines import MAX_LINE_BYTES

MAX_RECORD_LINES = 200
MAX_RECORD_BYTES = 4 << 20  # before another line is added, which may be as long
READ_BYTES = 1 << 18
KEPT_BYTES = 1 << 12  # kept of a line that is too long


class Record(NamedTuple):
    """One row."""

    row_no: int  # 1 = the first row after the header
    offset: int  # of its first byte in the stream
    end: int  # of the byte after its last
    cells: list[str]  # empty if there is a `reason`
    raw: bytes
    reason: RejectReason | None = None
    is_broken: bool = False  # not all of it is valid UTF-8


def records(stream: IO[bytes], layout: Layout, offset: int, row_no: int) -> Iterator[Record]:
    """All rows from here to the end of the stream, which is positioned at `offset`, the start of `row_no`; skips empty lines."""
    csv.field_size_limit(MAX_RECORD_BYTES + MAX_LINE_BYTES)
    feed = _Feed(stream)
    while True:
        feed.begin()
        try:
            cells, reason = _cells(feed, layout)
        except StopIteration:
            return
        raw = b"".join(feed.taken)
        end = offset + len(raw) + feed.skipped_bytes
        if raw.strip():
            broken = b"\xef\xbf\xbd" not in raw and any("\ufffd" in cell for cell in cells)
            yield Record(row_no, offset, end, cells, raw, reason, broken)
            row_no += 1
        offset = end


def _cells(feed: _Feed, layout: Layout) -> tuple[list[str], RejectReason | None]:
    """The cells of the next row, or why there are none. Consumes at least one line."""
    quote = layout.quote
    line = next(feed)
    if feed.skipped_bytes:
        return [], RejectReason.ROW_TOO_LONG
    if not quote or quote not in line:
        return _fitted(line.rstrip("\r\n").split(layout.delimiter), layout)
    feed.give_back(0)
    try:
        cells, reason = _fitted(next(csv.reader(feed, delimiter=layout.delimiter, quotechar=quote, strict=True)), layout)
    except (csv.Error, _TooLongError):
        cells, reason = [], RejectReason.UNBALANCED_QUOTES
    if reason is None:
        return cells, None
    texts = feed.texts()
    has_escapes = any(f"\\{quote}" in text for text in texts)  # MySQL's way to write a quote in a cell
    if has_escapes and (row := _row(texts, layout, escapechar="\\", strict=True)) is not None:
        return row, None
    if (row := _row(texts[:1], layout)) is not None:  # a misplaced quote, but the right number of cells
        feed.give_back(1)
        return row, None
    if len(feed.taken) > 1:
        feed.give_back(1)
        return [], RejectReason.UNBALANCED_QUOTES
    return [], reason


def _row(texts: list[str], layout: Layout, *, escapechar: str | None = None, strict: bool = False) -> list[str] | None:
    """The cells of lines that form one complete row; None if they do not."""
    try:
        reader = csv.reader(texts, delimiter=layout.delimiter, quotechar=layout.quote, escapechar=escapechar, strict=strict)
        rows = list(reader)
    except csv.Error:
        return None
    cells, reason = _fitted(rows[0], layout) if len(rows) == 1 else ([], RejectReason.TOO_FEW_CELLS)
    return cells if reason is None else None


def _fitted(cells: list[str], layout: Layout) -> tuple[list[str], RejectReason | None]:
    """A row with as many cells as columns; extra empty ones are dropped."""
    width = layout.width
    if len(cells) == width:
        return cells, None
    if len(cells) < width:
        return (cells + [""] * (width - len(cells)), None) if layout.may_be_short else ([], RejectReason.TOO_FEW_CELLS)
    return ([], RejectReason.TOO_MANY_CELLS) if any(map(str.strip, cells[width:])) else (cells[:width], None)


class _TooLongError(Exception):
    pass


class _Line(NamedTuple):
    data: bytes
    skipped_bytes: int = 0  # length of the rest of the line


class _Feed:
    """Lines of a stream as text; remembers those of the current row, and can push them back.

    Of a line that is too long for any row, only the start is kept.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._waiting: deque[_Line] = deque()
        self._taken: list[_Line] = []
        self._n_bytes = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if len(self._taken) >= MAX_RECORD_LINES or self._n_bytes > MAX_RECORD_BYTES:
            raise _TooLongError
        line = self._waiting.popleft() if self._waiting else self._read()
        if not line.data:
            raise StopIteration
        if line.skipped_bytes and self._taken:  # a row of its own, not the rest of another one
            self._waiting.appendleft(line)
            raise _TooLongError
        self._taken.append(line)
        self._n_bytes += len(line.data)
        return line.data.decode(errors="replace")

    def _read(self) -> _Line:
        data = self._stream.readline(MAX_LINE_BYTES)
        if len(data) < MAX_LINE_BYTES or data.endswith(b"\n"):
            return _Line(data)
        skipped_bytes = len(data) - KEPT_BYTES
        while more := self._stream.readline(READ_BYTES):
            skipped_bytes += len(more)
            if more.endswith(b"\n"):
                break
        return _Line(data[:KEPT_BYTES], skipped_bytes)

    @property
    def taken(self) -> list[bytes]:
        return [line.data for line in self._taken]

    @property
    def skipped_bytes(self) -> int:
        """How much of the current row was not kept."""
        return sum(line.skipped_bytes for line in self._taken)

    def begin(self) -> None:
        self._taken = []
        self._n_bytes = 0

    def give_back(self, kept: int) -> None:
        """Keep the first lines of those taken; push the others back."""
        self._waiting.extendleft(reversed(self._taken[kept:]))
        self._taken = self._taken[:kept]
        self._n_bytes = sum(len(line.data) for line in self._taken)

    def texts(self) -> list[str]:
        return [line.data.decode(errors="replace") for line in self._taken]


class Recoded(io.RawIOBase):
    """Converts a byte stream to UTF-8 with line feeds.

    If rows end in CR, occasional CR LF and LF count as well; if they end in LF CR, all other CRs are dropped, too.
    """

    def __init__(self, stream: IO[bytes], encoding: str, line_end: str) -> None:
        self._stream = stream
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True) if line_end == "\r" else decoder
        self._line_end = line_end
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready and not self._ended:
            data = self._stream.read(READ_BYTES)
            self._ended = not data
            text = self._decoder.decode(data, final=self._ended)
            if self._line_end == "\n\r":
                text = text.replace("\r", "")
            self._ready = text.encode(errors="surrogatepass")
        n = min(len(buffer), len(self._ready))
        buffer[:n] = self._ready[:n]
        self._ready = self._ready[n:]
        return n
