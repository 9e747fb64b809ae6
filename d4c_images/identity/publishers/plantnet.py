"""Pl@ntNet: a photo's hash after one letter for the size (original, medium, small)."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "plantnet"
VERSION = 1

_SIZES = "oms"
_PHOTO = re.compile(r"/image/([oms])/([0-9a-f]{40})").fullmatch


def _read(url: Url) -> Variant | None:
    photo = None if url.query else _PHOTO(url.path)
    if photo is None:
        return None
    size, sha1 = photo.groups()
    return Variant(sha1, (0,)) if size == "o" else Variant(sha1, (_SIZES.index(size),), f"{url.root}/image/o/{sha1}")


_VARIANTS = Variants(NAME, VERSION, _read)
_LEAF = "171e538d4f59288686f87e378a4a1b5d9a80fe2d"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Pl@ntNet",
    hosts=frozenset({"bs.plantnet.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://my.plantnet.org (images of its identification API: url.o, url.m, url.s)",
    examples=(
        Example(f"https://bs.plantnet.org/image/o/{_LEAF}", f"plantnet:{_LEAF}"),
        Example(f"https://bs.plantnet.org/image/m/{_LEAF}", f"plantnet:{_LEAF}", f"https://bs.plantnet.org/image/o/{_LEAF}"),
        Example(f"http://bs.plantnet.org/image/s/{_LEAF}", f"plantnet:{_LEAF}", f"http://bs.plantnet.org/image/o/{_LEAF}"),
        Example("https://bs.plantnet.org/image/o/abc123.jpg", "https://bs.plantnet.org/image/o/abc123.jpg"),
    ),
    traps=(
        (
            "https://bs.plantnet.org/image/m/171e538d4f59288686f87e378a4a1b5d9a80fe2d",
            "https://bs.plantnet.org/image/m/e03c4945dbb3f1d56e0693e7d95ab8df86140ee6",
        ),
    ),
)
