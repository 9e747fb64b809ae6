"""Content codings (RFC 9110 section 8.4): detects how a body is coded, by its bytes, and decodes it. Knows no request and no reply.

Servers label plain files `gzip`, packed ones not at all, and write `UTF-8` or `binary` in place of a coding. So the header only
helps if the bytes leave it open. Each step yields at most `DECODED_AT_ONCE_BYTES`, however much a body inflates to.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

from d4c_images.model import OwnCode
from d4c_images.policy.sniff import Kind, sniff

LOOK_BYTES = 1024  # for detection
DECODED_AT_ONCE_BYTES = 64 * 1024
MOST_LAYERS = 3  # nested codings
MOST_MEMBERS = 10_000  # of one gzip file (RFC 1952 section 2.2): an empty one only costs time

_OTHER_NAMES = {"x-gzip": "gzip", "x-compress": "compress", "x-deflate": "deflate", "zlib": "deflate", "brotli": "br"}
_NO_CODING = frozenset({"", "identity", "none"})
_REAL = frozenset({"gzip", "deflate", "br", "zstd", "compress"})  # of IANA's registry, what servers use
_UNREADABLE = frozenset({"br", "zstd", "compress"})  # not decoded here; brotli has no magic number
_GZIP = b"\x1f\x8b\x08"
_GZIP_BITS, _ZLIB_BITS, _RAW_BITS = 31, 15, -15  # of zlib's windowBits


def named_codings(header: str) -> tuple[str, ...]:
    """The codings that a Content-Encoding names, in the order in which they were applied, or unknown words."""
    words = (word.partition(";")[0].strip(" \t\"'").lower() for word in header.split(",", 20)[:20])
    return tuple(_OTHER_NAMES.get(word, word) for word in words if word not in _NO_CODING)


def names_coding(header: str) -> bool:
    """Whether a Content-Encoding names an existing coding."""
    return not _REAL.isdisjoint(named_codings(header))


def may_be_brotli(headers: Mapping[str, str]) -> bool:
    return "br" in named_codings(headers.get("content-encoding", ""))


def unpacker(named: tuple[str, ...], start: bytes) -> Unpacker | None:
    """A decoder for a body that begins with `start`; None if header and first byte say it is plain, as nearly all are."""
    return Unpacker(named) if named or start[:1] in (b"\x1f", b"x") else None


class Unpacker:
    """Takes a body as it arrives and yields its plain bytes. An error becomes its `fault`, never an exception."""

    __slots__ = ("_bits", "_inner", "_is_decided", "_n_layers", "_n_members", "_named", "_start", "_stream", "fault", "taken_bytes")

    def __init__(self, named: tuple[str, ...], n_layers: int = MOST_LAYERS) -> None:
        self._named = named
        self._n_layers = n_layers
        self._is_decided = False
        self._start = b""  # not looked at yet; after a gzip member: the possible start of another one
        self._bits = 0
        self._n_members = 0
        self._stream: zlib._Decompress | None = None  # None: plain
        self._inner: Unpacker | None = None
        self.fault: tuple[OwnCode, str] | None = None
        self.taken_bytes = 0  # as received

    @property
    def is_plain(self) -> bool:
        return self._is_decided and self._stream is None and self.fault is None

    @property
    def is_proven_whole(self) -> bool:
        """Whether the coding itself proves, by a checksum, that the body is complete."""
        return self._stream is not None and self._stream.eof and self._bits != _RAW_BITS and self.fault is None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        self.taken_bytes += len(chunk)
        if not self._is_decided:
            self._start += chunk
            if len(self._start) < LOOK_BYTES:
                return
            chunk = self._decide()
        yield from self._unpacked(chunk)

    def end(self) -> Iterator[bytes]:
        """No more input."""
        if not self._is_decided:
            yield from self._unpacked(self._decide())
        if self._stream is not None and not self._stream.eof and self.fault is None:
            self.fault = OwnCode.BROKEN, "the compressed body is truncated"
        if self._inner is not None:
            yield from self._inner.end()
            self.fault = self.fault or self._inner.fault

    def _decide(self) -> bytes:
        """Decide on the coding by the start of the body, which is returned."""
        start, self._start, self._is_decided = self._start, b"", True
        sniffed = sniff(start, b"", len(start))
        is_unknown = sniffed.media_type == "application/octet-stream"
        if self._n_layers and start.startswith(_GZIP):
            self._open(_GZIP_BITS)
        elif not start or not (is_unknown or sniffed.kind is Kind.TEXT):
            pass
        elif self._n_layers and _is_zlib(start):
            self._open(_ZLIB_BITS)
        elif self._n_layers and "deflate" in self._named and _inflates(start, _RAW_BITS):
            self._open(_RAW_BITS)
        elif self._named and (is_unknown or not _UNREADABLE.isdisjoint(self._named)):
            self.fault = OwnCode.BAD_ENCODING, f"the body cannot be decoded as {', '.join(self._named)[:200]} (Content-Encoding)"
        return start

    def _open(self, bits: int) -> None:
        self._bits = bits
        self._stream = zlib.decompressobj(bits)
        done = "gzip" if bits == _GZIP_BITS else "deflate"
        left = list(self._named)
        if done in left:
            left.remove(done)
        self._inner = Unpacker(tuple(left), self._n_layers - 1)

    def _unpacked(self, chunk: bytes) -> Iterator[bytes]:
        if self._inner is None:
            yield chunk
            return
        try:
            for piece in self._inflated(chunk):
                yield from self._inner.feed(piece)
                if self._inner.fault is not None:
                    self.fault = self._inner.fault
                    return
        except zlib.error:
            self.fault = OwnCode.BROKEN, "the compressed body is corrupt"

    def _inflated(self, chunk: bytes) -> Iterator[bytes]:
        while self._stream is not None and self.fault is None:
            if self._stream.eof:
                chunk = self._start + chunk
                self._start = chunk[: len(_GZIP)] if len(chunk) < len(_GZIP) else b""
                if self._bits != _GZIP_BITS or not chunk.startswith(_GZIP):
                    return  # padding, as for gzip(1)
                self._n_members += 1
                if self._n_members > MOST_MEMBERS:
                    self.fault = OwnCode.BROKEN, "the compressed body has too many parts"
                    return
                self._stream = zlib.decompressobj(self._bits)
            data = self._stream.decompress(chunk, DECODED_AT_ONCE_BYTES)
            chunk = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if data:
                yield data
            if not chunk and len(data) < DECODED_AT_ONCE_BYTES:
                return


def _is_zlib(start: bytes) -> bool:
    """Whether there is an RFC 1950 header, followed by something that inflates."""
    has_header = start[0] & 0x0F == 8 and start[0] >> 4 <= 7 and int.from_bytes(start[:2], "big") % 31 == 0
    return len(start) > 2 and has_header and _inflates(start, _ZLIB_BITS)


def _inflates(start: bytes, bits: int) -> bool:
    try:
        zlib.decompressobj(bits).decompress(start, LOOK_BYTES)
    except zlib.error:
        return False
    return True
