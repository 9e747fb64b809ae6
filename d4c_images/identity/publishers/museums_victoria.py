"""Museums Victoria: a medium's number followed by its size, in one of fifty folders chosen by that number."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "museums_victoria"
VERSION = 1

_SIZES = ("large", "medium", "small", "thumbnail")
_MEDIUM = re.compile(r"(/content/media/([0-9]{1,2})/([0-9]+)-)(large|medium|small|thumbnail)\.jpg").fullmatch


def _read(url: Url) -> Variant | None:
    found = None if url.query else _MEDIUM(url.path)
    if found is None or int(found[3]) % 50 != int(found[2]):
        return None
    path, _, number, size = found.groups()
    return Variant(number, (_SIZES.index(size),), f"{url.root}{path}large.jpg" if size != "large" else "")


_VARIANTS = Variants(NAME, VERSION, _read)
_MEDIA = "https://collections.museumsvictoria.com.au/content/media"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Museums Victoria",
    hosts=frozenset({"collections.museumsvictoria.com.au"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://collections.museumsvictoria.com.au/developers (large, medium, small and thumbnail of a medium)",
    examples=(
        Example(f"{_MEDIA}/13/488013-large.jpg", "museums_victoria:488013"),
        Example(f"{_MEDIA}/12/397512-thumbnail.jpg", "museums_victoria:397512", f"{_MEDIA}/12/397512-large.jpg"),
        Example(f"{_MEDIA}/13/397512-large.jpg", f"{_MEDIA}/13/397512-large.jpg"),
    ),
    traps=(
        (f"{_MEDIA}/13/488013-large.jpg", f"{_MEDIA}/13/488063-large.jpg"),
        (f"{_MEDIA}/12/397512-thumbnail.jpg", f"{_MEDIA}/12/397562-thumbnail.jpg"),
    ),
)
