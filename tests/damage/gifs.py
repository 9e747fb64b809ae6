"""GIFs: single, interlaced, animated; and odd things between their blocks."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.damage.whole import Make, Whole, garbage, saved, scene, some_size, trailers


def _single(**options: object) -> Make:
    def make(dice: random.Random) -> Whole:
        body = saved(scene(dice, some_size(dice), "P"), "GIF", **options)
        return Whole(body, len(body) - 1)  # without its trailer it is whole all the same

    return make


def _grey(dice: random.Random) -> Whole:
    body = saved(scene(dice, some_size(dice), dice.choice(("1", "L"))), "GIF")
    return Whole(body, len(body) - 1)


def _film(dice: random.Random) -> Whole:
    size = some_size(dice, 100)
    pages = [scene(dice, size) for _ in range(dice.randint(2, 5))]
    body = saved(pages[0], "GIF", save_all=True, append_images=pages[1:], duration=100, loop=0, disposal=dice.randint(0, 3))
    return Whole(body, len(body) - 1)


FAMILIES: dict[str, Make] = {
    "gif/interlaced": _single(interlace=1),
    "gif/plain": _single(interlace=0),
    "gif/transparent": _single(transparency=3, comment=b"a comment"),
    "gif/grey": _grey,
    "gif/film": _film,
}


def extension(label: int, said: bytes) -> bytes:
    parts = [said[at : at + 255] for at in range(0, len(said), 255)]
    return bytes((0x21, label)) + b"".join(bytes((len(part),)) + part for part in parts) + b"\0"


def odd(dice: random.Random, body: bytes) -> Iterator[tuple[str, Whole]]:
    for name, whole in trailers(dice, body):
        yield name, Whole(whole.body, len(body) - 1)
    yield "no trailer", Whole(body[:-1])
    yield "no trailer but zeros", Whole(body[:-1] + bytes(300), len(body) - 1)
    at = 13 + (3 << (body[10] & 7) + 1 if body[10] & 0x80 else 0)
    said = {
        "comment garbage": (0xFE, garbage(dice)),
        "comment of 200 kB": (0xFE, dice.randbytes(200_000)),
        "XMP": (0xFF, b"\x0bXMP DataXMP<x/>" + garbage(dice)),
        "unknown extension": (dice.randint(0x02, 0xF0), garbage(dice)),
        "loop that is odd": (0xFF, b"NETSCAPE2.0\7"),
        "plain text that is odd": (0x01, garbage(dice)),
    }
    for name, (label, what) in said.items():
        yield name, Whole(body[:at] + extension(label, what) + body[at:])
        yield name + " behind", Whole(body[:-1] + extension(label, what) + b";")
    yield "graphic control that is short", Whole(body[:at] + b"\x21\xf9\2\0\0\0" + body[at:])
    frame = b"\x2c" + bytes(4) + b"\x10\0\x10\0\0" + b"\x08" + b"\x10" + dice.randbytes(16) + b"\0"
    yield "a second frame that is garbage", Whole(body[:-1] + frame + b";", is_shown=True)
