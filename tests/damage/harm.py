"""What happens to bytes on their way, on a disk, or in a proxy. Draws from the dice alone, and knows no format."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

FIRST = 16  # bytes that stay as they are: without them nobody takes a file for a picture
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1><p>nginx</p></body></html>\n"
Harm = Callable[[random.Random, bytes], bytes]


def cuts(length: int, every: int) -> list[int]:
    """Lengths: at each so many per cent, and lacking the last 1 to 16 bytes."""
    found = {length * share // 100 for share in range(every, 100, every)} | set(range(length - 16, length))
    return sorted(one for one in found if 2 * FIRST <= one < length)


def _block(dice: random.Random, body: bytes, size: int) -> int:
    """Where a block begins, at a boundary of its size."""
    return size * dice.randrange(1 if len(body) > size else 0, -(-len(body) // size))


def zeros(size: int) -> Harm:
    """Nothing happens to a file that would be zeros and little else."""

    def harm(dice: random.Random, body: bytes) -> bytes:
        if len(body) < 2 * size:
            return body
        at = max(FIRST, _block(dice, body, size))
        end = min(len(body), at + size)
        return body[:at] + bytes(end - at) + body[end:]

    return harm


def zeros_to_the_end(dice: random.Random, body: bytes) -> bytes:
    """As of a file whose room was taken before it was written."""
    at = dice.choice((512, 1024, 4096)) * dice.randint(1, 64) % len(body)
    at = max(2 * FIRST, at or dice.randrange(len(body)))
    return body[:at] + bytes(len(body) - at)


def swapped(dice: random.Random, body: bytes) -> bytes:
    size = dice.choice((512, 1460, 4096))
    n = len(body) // size
    if n < 3:
        size, n = len(body) // 8, 8
    one, other = sorted(dice.sample(range(1, n), 2))
    a, b = one * size, other * size
    return body[:a] + body[b : b + size] + body[a + size : b] + body[a : a + size] + body[b + size :]


def repeated(dice: random.Random, body: bytes) -> bytes:
    size = min(dice.choice((512, 1460, 4096)), len(body) // 3)
    at = dice.randrange(FIRST, len(body) - 2 * size)
    return body[: at + size] + body[at : at + size] + body[at + (2 * size if dice.random() < 0.5 else size) :]


def flipped(bits: int) -> Harm:
    def harm(dice: random.Random, body: bytes) -> bytes:
        out = bytearray(body)
        for _ in range(bits):
            out[dice.randrange(FIRST, len(body))] ^= 1 << dice.randrange(8)
        return bytes(out)

    return harm


def page(dice: random.Random, body: bytes) -> bytes:
    at = dice.randrange(2 * FIRST, max(2 * FIRST + 1, len(body) - len(PAGE)))
    return body[:at] + PAGE + body[at + (len(PAGE) if dice.random() < 0.5 else 0) :]


def lost(most: int) -> Harm:
    def harm(dice: random.Random, body: bytes) -> bytes:
        size = min(most, len(body) // 4)
        at = dice.randrange(FIRST, len(body) - size)
        return body[:at] + body[at + size :]

    return harm


def noise(dice: random.Random, body: bytes) -> bytes:
    size = min(512, len(body) // 4)
    at = dice.randrange(FIRST, len(body) - size)
    return body[:at] + dice.randbytes(size) + body[at + size :]


HARMS: dict[str, Harm] = {
    "zeros-64": zeros(64),
    "zeros-512": zeros(512),
    "zeros-4096": zeros(4096),
    "zeros-to-end": zeros_to_the_end,
    "swapped": swapped,
    "repeated": repeated,
    "flipped-1": flipped(1),
    "flipped-8": flipped(8),
    "page": page,
    "lost-1": lost(1),
    "lost-512": lost(512),
    "noise-512": noise,
}


def harmed(seed: str, name: str, body: bytes, times: int) -> Iterator[bytes]:
    """Each one differs from the whole; there are none if this harm does not suit."""
    dice = random.Random(seed)
    for _ in range(times):
        for _ in range(20):
            found = HARMS[name](dice, body)
            if found != body:
                yield found
                break
