"""Counts what packed bytes unpack to, without unpacking them: LZW and PackBits as TIFF has them. Finds codes that are none.

libtiff stops as soon as it has as many bytes as it wants, so it does not see that a damaged stream goes on behind them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

Numbers = NDArray[numpy.int64]

_CLEAR, _END, _FIRST = 256, 257, 258
_MOST_CODES = 4096 + 1024 - _FIRST  # between two clear codes, as libtiff has it
_NUMBER = numpy.arange(_MOST_CODES + 1)
_WIDTH = 9 + (_NUMBER >= 254) + (_NUMBER >= 766) + (_NUMBER >= 1790)  # bits of the code, by its number behind a clear code
_START = numpy.concatenate(([0], numpy.cumsum(_WIDTH)[:-1]))


@dataclass(frozen=True, slots=True)
class Counted:
    n_bytes: int
    is_ended: bool  # by an end code, or the end of the data
    is_valid: bool = True  # up to there


def lzw(packed: bytes, most_bytes: int) -> Counted | None:
    """TIFF 6.0, section 13. Stops behind `most_bytes`. None if it is LZW of another kind, whose bits run the other way."""
    if packed[:1] == b"\0" and packed[1:2] and packed[1] & 1:
        return None
    data = numpy.frombuffer(packed + bytes(3), numpy.uint8)
    at, total, n_bits = 0, 0, 8 * len(packed)
    while total <= most_bytes:
        n = int(numpy.searchsorted(_START + _WIDTH, n_bits - at, side="right"))
        codes = _codes(data, at, n)
        stops = numpy.flatnonzero((codes == _CLEAR) | (codes == _END))
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
        at += int(_START[n_plain] + _WIDTH[n_plain])
    return Counted(total, False)


def _codes(data: NDArray[numpy.uint8], at: int, n: int) -> Numbers:
    """The next codes, if none of them clears the table."""
    bits = at + _START[:n]
    byte = bits >> 3
    first, second, third = (data[byte + n].astype(numpy.int64) for n in range(3))
    three = first << 16 | second << 8 | third
    found: Numbers = three >> (24 - (bits & 7) - _WIDTH[:n]) & (1 << _WIDTH[:n]) - 1
    return found


def _unpacked_bytes(codes: Numbers) -> int:
    """A code below 256 is one byte. Another one means as many as the code that was read when it was made, and one more."""
    n = len(codes)
    before = numpy.append(numpy.where(codes < _CLEAR, n, codes - _FIRST), n)
    lengths = numpy.ones(n + 1, numpy.int64)
    lengths[n] = 0
    while (before != n).any():
        lengths += lengths[before]
        before = before[before]
    return int(lengths.sum())


def pack_bits(packed: bytes, wanted_bytes: int) -> Counted:
    """TIFF 6.0, section 9. Ends with the last run that is wanted, behind which there is at most padding."""
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
