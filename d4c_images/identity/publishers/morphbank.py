"""Morphbank: an image by number, as `tiff`, `jpeg` (of the same size), `jpg` and `thumb`. Without a type it is a web page."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "morphbank"
VERSION = 1

_TYPES = ("tiff", "tif", "jpeg", "jpg", "thumb")
_IMAGE = re.compile(r"/\?id=([0-9]+)(?:&imgType=(tiff?|jpeg|jpg|thumb))?").fullmatch
_PICTURES = "images.morphbank.net"  # here, a URL without a type is an image too


def _read(url: Url) -> Variant | None:
    found = _IMAGE(url.path + url.query)
    if found is None or (found[2] is None and url.host != _PICTURES):
        return None
    number, kind = found.groups()
    rank = _TYPES.index(kind or "jpeg")
    better = f"{url.root}/?id={number}&imgType=jpeg" if rank > _TYPES.index("jpeg") else ""
    return Variant(number, (rank, int(kind is None)), better)


_VARIANTS = Variants(NAME, VERSION, _read)
_SITE = "http://www.morphbank.net/"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Morphbank",
    hosts=frozenset({"www.morphbank.net", "morphbank.net", _PICTURES}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="http://www.morphbank.net (manual, using the ids returned: imgType is one of tiff, jpeg, jpg, thumb)",
    examples=(
        Example(f"{_SITE}?id=466838&imgType=jpeg", "morphbank:466838"),
        Example(f"{_SITE}?id=466838&imgType=thumb", "morphbank:466838", f"{_SITE}?id=466838&imgType=jpeg"),
        Example(f"{_SITE}?id=466838&imgType=jpg", "morphbank:466838", f"{_SITE}?id=466838&imgType=jpeg"),
        Example(f"{_SITE}?id=466838&imgType=tiff", "morphbank:466838"),
        Example("http://images.morphbank.net/?id=135233", "morphbank:135233"),
        Example(f"{_SITE}?id=466838", f"{_SITE}?id=466838"),
        Example(f"{_SITE}?id=466838&imgType=jpeg&imgSize=200", f"{_SITE}?id=466838&imgType=jpeg&imgSize=200"),
    ),
    traps=(
        (f"{_SITE}?id=466838&imgType=jpeg", f"{_SITE}?id=466839&imgType=jpeg"),
        ("http://images.morphbank.net/?id=135233", "http://images.morphbank.net/?id=135231"),
    ),
)
