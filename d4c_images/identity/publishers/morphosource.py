"""MorphoSource: a medium's number, with or without leading zeros. Without a login only its thumbnail is available."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "morphosource"
VERSION = 1

_MEDIUM = re.compile(r"/(?:concern/)?media/0*([1-9][0-9]*)(/thumbnail)?").fullmatch
_ARK = re.compile(r"/ark:/87602/m4/([1-9][0-9]*)").fullmatch
_RESOLVER = "n2t.net"


def _read(url: Url) -> Variant | None:
    if url.query:
        return None
    is_resolver = url.host == _RESOLVER
    medium = _ARK(url.path) if is_resolver else _MEDIUM(url.path)
    if medium is None:
        return None
    number = medium[1]
    if url.path.endswith("/thumbnail"):
        return Variant(number, (0, len(url.text)))
    root = "https://www.morphosource.org" if is_resolver else url.root
    return Variant(number, (1 + is_resolver, len(url.text)), f"{root}/media/{number:0>9}/thumbnail")


_VARIANTS = Variants(NAME, VERSION, _read)
RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="MorphoSource",
    hosts=frozenset({"www.morphosource.org", _RESOLVER}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://www.morphosource.org (GBIF rows with the medium's ARK and its thumbnail side by side)",
    examples=(
        Example("http://www.morphosource.org/media/000379430/thumbnail", "morphosource:379430"),
        Example(
            "http://n2t.net/ark:/87602/m4/379430",
            "morphosource:379430",
            "https://www.morphosource.org/media/000379430/thumbnail",
        ),
        Example(
            "https://www.morphosource.org/media/000058004",
            "morphosource:58004",
            "https://www.morphosource.org/media/000058004/thumbnail",
        ),
        Example("https://www.morphosource.org/projects/000379430", "https://www.morphosource.org/projects/000379430"),
    ),
    traps=(
        ("http://www.morphosource.org/media/000379430/thumbnail", "http://www.morphosource.org/media/000379431/thumbnail"),
        ("http://www.morphosource.org/media/000379430/thumbnail", "http://www.morphosource.org/media/003794300/thumbnail"),
        ("http://n2t.net/ark:/87602/m4/379430", "http://n2t.net/ark:/65665/m4/379430"),
    ),
)
