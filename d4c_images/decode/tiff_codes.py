"""Counts the bytes that LZW or PackBits data unpack to, without unpacking them, in their TIFF variants. Detects invalid codes.

libtiff stops as soon as it has the bytes it wants, so it does not notice that a damaged stream continues after them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

CodeNumbers = NDArray[numpy.int32]

_CLEAR, _END, _FIRST = 256, 257, 258
_MOST_CODES = 4096 + 1024 - _FIRST  # between two clear codes, as in libtiff
_NUMBER = numpy.arange(_MOST_CODES + 1, dtype=numpy.int32)
_WIDTH = (9 + (_NUMBER >= 254) + (_NUMBER >= 766) + (_NUMBER >= 1790)).astype(numpy.int32)  # of a code, by its number, in bits
_STOP = numpy.cumsum(_WIDTH, dtype=numpy.int32)
_START = _STOP - _WIDTH
_SHIFT, _MASK = 24 - _WIDTH, (1 << _WIDTH) - 1


@dataclass(frozen=True, slots=True)
class Counted:
    n_bytes: int
    is_ended: bool  # by an end code, or the end of the data
    is_valid: bool = True  # up to there


def lzw(packed: bytes, most_bytes: int) -> Counted | None:
    """TIFF 6.0, section 13. Stops after `most_bytes`. None if it is the old LZW variant with reversed bit order."""
    if packed[:1] == b"\0" and packed[1:2] and packed[1] & 1:
        return None
    data = numpy.frombuffer(packed + bytes(3), numpy.uint8)
    at, total, n_bits = 0, 0, 8 * len(packed)
    while total <= most_bytes:
        n = int(numpy.searchsorted(_STOP, n_bits - at, side="right"))
        codes = _codes(data, at, n)
        stops = numpy.flatnonzero(codes >> 1 == _CLEAR >> 1)  # or _END
        n_plain = int(stops[0]) if len(stops) else n
        plain = codes[:n_plain]
        wrong = numpy.flatnonzero(plain >= _FIRST + _NUMBER[:n_plain])
        if len(wrong):
            return Counted(total + _unpacked_bytes(plain[: int(wrong[0])]), False, False)
        total += _unpacked_bytes(plain)
        if not len(stops):
            return Counted(total, False) if n <= _MOST_CODES else None
        if codes[n_plain] == _END:
            return Counted(total, True)
        at += int(_STOP[n_plain])
    return Counted(total, False)


def _codes(data: NDArray[numpy.uint8], at: int, n: int) -> CodeNumbers:
    """The next codes, if none of them clears the table."""
    bits = _START[:n] + (at & 7)
    byte = bits >> 3
    data = data[at >> 3 : (at >> 3) + (int(byte[-1]) if n else 0) + 3]
    first, second, third = (data.take(byte + k).astype(numpy.int32) for k in range(3))
    return (first << 16 | second << 8 | third) >> (_SHIFT[:n] - (bits & 7)) & _MASK[:n]


def _unpacked_bytes(codes: CodeNumbers) -> int:
    """A code below 256 is one byte. Any other stands for as many as the code read when it was defined, plus one."""
    n = len(codes)
    before = numpy.full(n + 1, n, numpy.int32)
    before[:n] = numpy.where(codes < _CLEAR, n, codes - _FIRST)
    lengths = numpy.ones(n + 1, numpy.int32)
    lengths[n] = 0
    while before.min() != n:
        lengths += lengths.take(before)
        before = before.take(before)
    return int(lengths.sum())


def pack_bits(packed: bytes, wanted_bytes: int) -> Counted:
    """TIFF 6.0, section 9. Ends with the last wanted run; only padding may follow."""
    at, total, size = 0, 0, len(packed)
    while total < wanted_bytes and at < size:
        n = packed[at]
        if n < 128:
            total += n + 1
            at += n + 2
        else:
            total += 257 - n if n > 128 else 0
            at += 2 if n > 128 else 1
    return Counted(total, at <= size and size - at <= 3)
