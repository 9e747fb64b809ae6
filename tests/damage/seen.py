"""What a reader has seen in a file, and what it raises as soon as it can read no further."""

from __future__ import annotations

import zlib
from dataclasses import dataclass


class Broken(Exception):
    """The format itself shows that something is wrong here."""


@dataclass(frozen=True, slots=True)
class Seen:
    picture: str | None = None
    side: str | None = None
    trace: str | None = None


def need(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


def inflated(packed: bytes, size: int) -> tuple[bytes, bool]:
    """What a zlib stream holds, up to some more than `size` bytes, and whether its end was read, with the checksum."""
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(packed, size + 1)
        if not stream.eof:
            data += stream.decompress(stream.unconsumed_tail, size + 1)
    except zlib.error as error:
        raise Broken(str(error)) from error
    return data, stream.eof
