"""What a generator makes: a picture that is whole by construction, perhaps with odd things around it."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image, ImageDraw


@dataclass(frozen=True, slots=True)
class Whole:
    body: bytes
    needed: int = 0  # bytes; what stands behind them belongs to no picture. 0: all
    is_soft: bool = False  # what stands behind them can show a cut all the same
    is_shown: bool = False  # the odd thing breaks a rule of the format, so it may pass for damage on the way: no refusal for good
    is_kept: bool = False  # a reader of the whole file would see that odd thing, and the picture is to be kept all the same
    told: str = ""  # what was drawn for it
    group: str = ""  # whose damage is counted together, if that is not the whole format

    @property
    def needed_bytes(self) -> int:
        return self.needed or len(self.body)


Make = Callable[[random.Random], Whole]
Odds = Callable[[random.Random, bytes], Iterator[tuple[str, Whole]]]
Size = tuple[int, int]


def scene(dice: random.Random, size: Size, mode: str = "RGB") -> Image.Image:
    """Some leaves on grainy paper."""
    grain = [Image.frombytes("L", size, dice.randbytes(size[0] * size[1])) for _ in range(3)]
    picture = Image.new("RGB", size, (dice.randint(180, 245), dice.randint(180, 235), dice.randint(160, 215)))
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y = dice.randint(0, size[0]), dice.randint(0, size[1])
        colour = (dice.randint(0, 120), dice.randint(60, 200), dice.randint(0, 90))
        draw.ellipse((x, y, x + dice.randint(4, 1 + size[0] // 2), y + dice.randint(4, 1 + size[1] // 3)), fill=colour)
    picture = Image.blend(picture, Image.merge("RGB", grain), 0.12)
    return picture if mode == "RGB" else picture.convert(mode)


def some_size(dice: random.Random, most: int = 160) -> Size:
    return dice.randint(most // 2, most), dice.randint(most // 2, most)


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def garbage(dice: random.Random) -> bytes:
    """Of any length up to some kB: random bytes, text, zeros, a stretch of a page."""
    n = dice.choice((0, 1, 7, 64, 500, 3000))
    return dice.choice((dice.randbytes(n), bytes(n), b"<html>no</html>" * (n // 15), b"x" * n, b"\xff\xd8\xff\xd9" * (n // 4)))


def trailers(dice: random.Random, body: bytes) -> Iterator[tuple[str, Whole]]:
    """Behind the end: what cameras, phones and servers leave there."""
    samsung = b"\0\0\x01\x0a" + dice.randbytes(400) + b"SEFHe\0\0\0\x01\0\0\0" + dice.randbytes(20) + b"SEFT"
    more = {
        "1100 zeros": bytes(1100),
        "70000 zeros": bytes(70_000),
        "one zero": b"\0",
        "a line feed": b"\r\n",
        "a text": b"<!-- served by cache 7 -->\n" * 3,
        "random bytes": dice.randbytes(dice.randint(1, 5000)),
        "samsung": samsung,
        "itself": body,
    }
    for name, end in more.items():
        yield f"behind it {name}", Whole(body + end, len(body))
