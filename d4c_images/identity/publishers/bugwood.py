"""Bugwood (Forestry Images, Invasive.org and their sisters): one series of seven-digit numbers, in a folder for the size."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "bugwood"
VERSION = 1

_PHOTO = re.compile(r"/images/(192x128|384x256|768x512|1536x1024|3072x2048)/([0-9]{7})\.jpg").fullmatch
_BIGGEST = "1536x1024"  # that is public


def _read(url: Url) -> Variant | None:
    photo = None if url.query else _PHOTO(url.path)
    if photo is None:
        return None
    size, number = photo.groups()
    rank = (-int(size.partition("x")[0]), len(url.host))
    return Variant(number, rank, "" if rank[0] <= -1536 else f"{url.root}/images/{_BIGGEST}/{number}.jpg")


_VARIANTS = Variants(NAME, VERSION, _read)
_IMAGES = "https://bugwoodcloud.org/images"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Bugwood Images (University of Georgia)",
    domains=frozenset(
        {"bugwoodcloud.org", "forestryimages.org", "insectimages.org", "invasive.org", "ipmimages.org", "weedimages.org"}
    ),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://images.bugwood.org (image numbers, and the sizes that its pages link)",
    examples=(
        Example(f"{_IMAGES}/768x512/0454058.jpg", "bugwood:0454058", f"{_IMAGES}/1536x1024/0454058.jpg"),
        Example(
            "http://www.forestryimages.org/images/384x256/5558367.jpg",
            "bugwood:5558367",
            "http://www.forestryimages.org/images/1536x1024/5558367.jpg",
        ),
        Example(f"{_IMAGES}/1536x1024/5377064.jpg", "bugwood:5377064"),
        Example(
            "https://www.invasive.org/browse/detail.cfm?imgnum=5377064", "https://www.invasive.org/browse/detail.cfm?imgnum=5377064"
        ),
    ),
    traps=(
        (f"{_IMAGES}/768x512/5573033.jpg", f"{_IMAGES}/768x512/5573034.jpg"),
        (f"{_IMAGES}/768x512/0656092.jpg", f"{_IMAGES}/768x512/656092.jpg"),
    ),
)
