"""FinBIF (laji.fi): every photo has its own `MM` number; the file's name ends in its size, except for the original.

The sizes are JPEG whatever the original is, so an original derived from a size may not exist.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "laji"
VERSION = 1

_SIZES = ("full", "large", "square", "thumb")
_ENDINGS = tuple(f"_{size}" for size in _SIZES)
_PHOTO = re.compile(r"/(MM\.[0-9]+)/([^/]+?)(?:_(full|large|square|thumb))?(\.[A-Za-z0-9]+)").fullmatch


def _read(url: Url) -> Variant | None:
    photo = None if url.query else _PHOTO(url.path)
    if photo is None:
        return None
    number, name, size, extension = photo.groups()
    if size is None:
        return Variant(number, (0,))
    # A name like `a_large_full.jpg`: whether the photographer or the server wrote `_large` is unknown.
    best = "" if name.endswith(_ENDINGS) else f"{url.root}/{number}/{name}{extension}"
    return Variant(number, (1 + _SIZES.index(size),), best)


_VARIANTS = Variants(NAME, VERSION, _read)
RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Finnish Biodiversity Information Facility (laji.fi)",
    hosts=frozenset({"image.laji.fi"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/luomus/laji-api (fullURL, largeURL, squareThumbnailURL, thumbnailURL, originalURL of an image)",
    examples=(
        Example("https://image.laji.fi/MM.2865350/Psilocybe-semilanceata-20230921.jpg", "laji:MM.2865350"),
        Example(
            "https://image.laji.fi/MM.50252/MX.26447_ERISMATURE_ROUX_D'AMERIQUE_male_Annesov_thumb.jpg",
            "laji:MM.50252",
            "https://image.laji.fi/MM.50252/MX.26447_ERISMATURE_ROUX_D'AMERIQUE_male_Annesov.jpg",
        ),
        Example("http://image.laji.fi/MM.248968/JR56644_full.jpg", "laji:MM.248968", "http://image.laji.fi/MM.248968/JR56644.jpg"),
        Example("https://image.laji.fi/logo.png", "https://image.laji.fi/logo.png"),
    ),
    traps=(
        ("https://image.laji.fi/MM.248968/JR56644_full.jpg", "https://image.laji.fi/MM.248969/JR56644_full.jpg"),
        ("https://image.laji.fi/MM.24896/8.jpg", "https://image.laji.fi/MM.248968/.jpg"),
    ),
)
