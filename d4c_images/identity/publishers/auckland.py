"""Auckland Museum: a medium's number; the query says how it is rendered."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "auckland"
VERSION = 1

_SIZES = ("original", "standard", "preview", "thumbnail")
_MEDIUM = re.compile(r"/id/media/([vp]/[0-9a-f]+)(?:\?rendering=(original|standard|preview|thumbnail)\.jpg)?").fullmatch


def _read(url: Url) -> Variant | None:
    medium = _MEDIUM(url.path + url.query)
    if medium is None:
        return None
    number, size = medium.groups()
    rank = (_SIZES.index(size) if size else 1, int(not url.host.startswith("media.")))
    return Variant(number, rank) if size == "original" else Variant(number, rank, f"{url.root}{url.path}?rendering=original.jpg")


_VARIANTS = Variants(NAME, VERSION, _read)
RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Auckland War Memorial Museum",
    hosts=frozenset({"media.api.aucklandmuseum.com", "api.aucklandmuseum.com"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
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
