"""The state of a body, over one request or several, and how an interrupted one is resumed. Sends no request itself.

The rules are RFC 9110's: sections 8.8 (validators), 13.1.5 (If-Range), 14 (ranges).
"""

from __future__ import annotations

import email.utils
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from d4c_images.fetch.coding import names_coding
from d4c_images.model import OwnCode

HEAD_BYTES = 64 * 1024
TAIL_BYTES = 1024
WRITE_BYTES = 64 * 1024  # each write releases the GIL, and waits to get it back
STRONG_DATE_S = 60  # a file changed this shortly before the answer may change again within the same second

_MAY_GO_ON = frozenset({OwnCode.BROKEN, OwnCode.STALLED, OwnCode.TIMEOUT})
_CONTENT_RANGE = re.compile(r"(?:bytes)?[\s:=]*([0-9]{1,18})\s*-\s*([0-9]{1,18})\s*/\s*([0-9]{1,18})", re.IGNORECASE)


class Sink(Protocol):
    """Where a body is written. `write` is called only once a body with a 2xx code arrives."""

    @property
    def path(self) -> Path: ...

    def write(self, body: bytes, /) -> object: ...

    def abort(self) -> None:
        """Discard what was written; `write` starts over."""


class Body:
    """A body being written into a sink, which may raise anything. Small chunks are buffered."""

    __slots__ = ("_first", "_hash", "_n_first", "_n_unwritten", "_sink", "_unwritten", "size_bytes", "tail")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._empty()

    def _empty(self) -> None:
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        self.tail = b""
        self._first: list[bytes] = []
        self._n_first = 0
        self._unwritten: list[bytes] = []
        self._n_unwritten = 0

    @property
    def head(self) -> bytes:
        return b"".join(self._first)

    def add(self, chunk: bytes) -> None:
        self.look(chunk)
        self._unwritten.append(chunk)
        self._n_unwritten += len(chunk)
        if self._n_unwritten >= WRITE_BYTES:
            self.write()

    def look(self, chunk: bytes) -> None:
        """Count a chunk, and keep the body's start and end; that is all for a body that is not stored."""
        self.size_bytes += len(chunk)
        if self._n_first < HEAD_BYTES:
            self._first.append(chunk[: HEAD_BYTES - self._n_first])
            self._n_first += len(self._first[-1])
        self.tail = chunk[-TAIL_BYTES:] if len(chunk) >= TAIL_BYTES else (self.tail + chunk)[-TAIL_BYTES:]

    def write(self) -> None:
        """Write what is buffered."""
        if self._unwritten:
            block = b"".join(self._unwritten)
            self._unwritten.clear()
            self._n_unwritten = 0
            self._hash.update(block)
            self._sink.write(block)

    def start_over(self) -> None:
        self._sink.abort()
        self._empty()

    def sha256(self) -> bytes:
        """Of what has been written."""
        return self._hash.digest()


class Unfinished(NamedTuple):
    """An interrupted body, and how to request the rest of it."""

    body: Body
    validator: str  # for If-Range: identifies the same bytes
    total_bytes: int | None  # of the whole, if the server has said

    @property
    def overlap(self) -> bytes:
        """The end of what is there. It is requested again: if the server sends anything else here, this is not the same body."""
        return self.body.tail

    @property
    def first_byte(self) -> int:
        return self.body.size_bytes - len(self.overlap)

    def is_continued_by(self, headers: Mapping[str, str]) -> bool:
        """Whether a 206 with these headers brings the rest, judging by the headers."""
        span = content_range(headers)
        if span is None or span.first != self.first_byte or self.total_bytes not in (None, span.total):
            return False
        if not _is_plain(headers) or headers.get("content-type", "").lower().startswith("multipart/"):
            return False
        named = headers.get("etag" if self.validator.startswith('"') else "last-modified")
        return named is None or named.strip() == self.validator


class ByteRange(NamedTuple):
    """A part of a body. Positions count from 0."""

    first: int
    last: int
    total: int


def content_range(headers: Mapping[str, str]) -> ByteRange | None:
    """The range that a 206 claims; None if it is missing, makes no sense, or does not give the total."""
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if found is None:
        return None
    span = ByteRange(*map(int, found.groups()))
    return span if span.first <= span.last < span.total else None


def part_in(code: int, headers: Mapping[str, str], size_bytes: int) -> tuple[int, str | None]:
    """The code of an answer with `size_bytes` to a request for the whole, and why it is not the whole: 200 for a 206 with
    everything, 206 for a 200 with exactly the range that it names. A Content-Range that does not fit the bytes is ignored.
    """
    span = content_range(headers)
    if code == 206 and span is not None and span.first == 0 and size_bytes == span.total:
        return 200, None
    if code in (200, 203) and span is not None and size_bytes == span.last - span.first + 1 < span.total:
        return 206, f"bytes {span.first:,} to {span.last:,} of {span.total:,} received, but no range was requested"
    if code == 206:
        named = headers.get("content-range", "")[:200]
        return 206, f"{size_bytes:,} bytes received as a part ({named or 'no Content-Range'}), but no range was requested"
    return code, None


def unfinished(body: Body, headers: Mapping[str, str], code: int, error: OwnCode, before: Unfinished | None) -> Unfinished | None:
    """How to resume a body of an answer of `code` that ended in `error`; None if the server does not support that, or has not sent
    what it takes. `before` is what this request was resuming.
    """
    if error not in _MAY_GO_ON:
        return None
    if before is not None and code == 206:
        span = content_range(headers)
        return before._replace(total_bytes=span.total) if span else None
    validator = _validator(headers)
    sends_parts = "bytes" in headers.get("accept-ranges", "").lower() and _is_plain(headers)
    if code not in (200, 203) or validator is None or not sends_parts:
        return None
    length = headers.get("content-length", "")
    return Unfinished(body, validator, int(length) if length.isdecimal() and len(length) < 19 else None)


def _validator(headers: Mapping[str, str]) -> str | None:
    """A strong ETag, else a modification date that is as good as one."""
    etag = headers.get("etag", "").strip()
    if len(etag) >= 2 and etag[0] == etag[-1] == '"' and etag.isascii() and etag.isprintable():
        return etag
    changed, answered = (_time(headers.get(name)) for name in ("last-modified", "date"))
    if etag or changed is None or answered is None or answered - changed < STRONG_DATE_S:
        return None
    return headers["last-modified"].strip()


def _time(date: str | None) -> float | None:
    try:
        parsed = email.utils.parsedate_tz(date or "")
        return None if parsed is None else email.utils.mktime_tz(parsed)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def _is_plain(headers: Mapping[str, str]) -> bool:
    return not names_coding(headers.get("content-encoding", ""))
