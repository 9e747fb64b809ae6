"""Auckland Museum: a medium's number, and in the query how it is rendered."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rank, Rule
from d4c_images.identity.url import Url
from d4c_images.model import Image

NAME = "auckland"
VERSION = 1

_SIZES = ("original", "standard", "preview", "thumbnail")
_MEDIUM = re.compile(r"/id/media/([vp]/[0-9a-f]+)(?:\?rendering=(original|standard|preview|thumbnail)\.jpg)?").fullmatch


def _match(url: Url) -> Image | None:
    medium = _MEDIUM(url.path + url.query)
    if medium is None:
        return None
    best = f"{url.root}{url.path}?rendering=original.jpg"
    return Image(f"auckland:{medium[1]}", (url.text,) if best == url.text else (best, url.text), url.host, NAME, VERSION)


def _rank(url: Url) -> Rank | None:
    medium = _MEDIUM(url.path + url.query)
    if medium is None:
        return None
    return (_SIZES.index(medium[2]) if medium[2] else 1, not url.host.startswith("media."), url.scheme != "https", len(url.text))


RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Auckland War Memorial Museum",
    hosts=frozenset({"media.api.aucklandmuseum.com", "api.aucklandmuseum.com"}),
    match=_match,
    rank=_rank,
    source="https://github.com/AucklandMuseum/API (media and their renderings)",
    examples=(
        Example("https://media.api.aucklandmuseum.com/id/media/v/1476?rendering=original.jpg", "auckland:v/1476"),
        Example(
            "http://api.aucklandmuseum.com/id/media/v/214749?rendering=thumbnail.jpg",
            "auckland:v/214749",
            "http://api.aucklandmuseum.com/id/media/v/214749?rendering=original.jpg",
        ),
        Example(
            "http://api.aucklandmuseum.com/id/media/v/320810",
            "auckland:v/320810",
            "http://api.aucklandmuseum.com/id/media/v/320810?rendering=original.jpg",
        ),
        Example(
            "https://api.aucklandmuseum.com/id/media/v2/mediaartifact/", "https://api.aucklandmuseum.com/id/media/v2/mediaartifact/"
        ),
    ),
    traps=(
        (
            "https://media.api.aucklandmuseum.com/id/media/v/1476?rendering=original.jpg",
            "https://media.api.aucklandmuseum.com/id/media/v/1477?rendering=original.jpg",
        ),
        (
            "https://media.api.aucklandmuseum.com/id/media/v/1476?rendering=original.jpg",
            "https://media.api.aucklandmuseum.com/id/media/p/1476?rendering=original.jpg",
        ),
    ),
)
