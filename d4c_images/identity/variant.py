"""A URL read as one variant of a photo: most publishers' rules need to say no more than that. Holds no publisher."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from d4c_images.identity.rule import Rank
from d4c_images.identity.url import Url, parts
from d4c_images.model import Image


class Variant(NamedTuple):
    """What the URL says: which photo, how good a picture of it, and where a better one is."""

    photo: str  # the part of the key behind `<rule name>:`
    rank: Rank  # smaller is better; URLs of one rank stand in the order of scheme and text
    better: str = ""  # a URL of the same photo and of a smaller rank that the publisher offers


_NUMBER = re.compile(r"[0-9]+")
_make = tuple.__new__  # a named tuple at half the price, for what is done millions of times


def longest_side(size: str) -> int:
    """The greatest number in `!600,400`, `width=150&height=100` and the like; 0 without any."""
    return max(map(int, _NUMBER.findall(size)), default=0)


@dataclass(frozen=True, slots=True)
class Variants:
    """`match` and `rank` of a rule, from a function that reads a URL, or says None where it has nothing to say."""

    name: str
    version: int
    read: Callable[[Url], Variant | None]

    def match(self, url: Url) -> Image | None:
        variant = self.read(url)
        if variant is None:
            return None
        key = f"{self.name}:{variant.photo}"
        if not variant.better:
            return _make(Image, (key, (url.text,), url.host, self.name, self.version))
        return Image(key, (variant.better, url.text), parts(variant.better).host, self.name, self.version)

    def rank(self, url: Url) -> Rank | None:
        variant = self.read(url)
        return None if variant is None else (*variant.rank, int(url.scheme != "https"))
