"""Pl@ntNet: a photo's hash behind one letter for the size (original, medium, small)."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rank, Rule
from d4c_images.identity.url import Url
from d4c_images.model import Image

NAME = "plantnet"
VERSION = 1

_SIZES = "oms"
_PHOTO = re.compile(r"/image/([oms])/([0-9a-f]{40})").fullmatch


def _match(url: Url) -> Image | None:
    photo = None if url.query else _PHOTO(url.path)
    if photo is None:
        return None
    size, sha1 = photo.groups()
    best = f"{url.root}/image/o/{sha1}"
    return Image(f"plantnet:{sha1}", (url.text,) if size == "o" else (best, url.text), url.host, NAME, VERSION)


def _rank(url: Url) -> Rank | None:
    photo = None if url.query else _PHOTO(url.path)
    return photo and (_SIZES.index(photo[1]), url.scheme != "https")


_LEAF = "171e538d4f59288686f87e378a4a1b5d9a80fe2d"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Pl@ntNet",
    hosts=frozenset({"bs.plantnet.org"}),
    match=_match,
    rank=_rank,
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
