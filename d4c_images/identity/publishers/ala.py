"""Atlas of Living Australia: one photo under many paths of its image service, all with the photo's UUID. Leaves tiles alone."""

from __future__ import annotations

import re

from d4c_images.identity.pattern import UUID
from d4c_images.identity.rule import Example, Rule
from d4c_images.identity.url import Url
from d4c_images.identity.variant import Variant, Variants

NAME = "ala"
VERSION = 1

_PHOTO = re.compile(
    rf"(?:/image/|/store/[0-9a-f]/[0-9a-f]/[0-9a-f]/[0-9a-f]/)({UUID})/(original|large|thumbnail(?:_[a-z]+)?)"
).fullmatch
_PROXY = re.compile(rf"(?:/image)?/(proxyImage(?:Thumbnail(?:Large)?)?)\?(?:imageId|id)=({UUID})").fullmatch
_PAGE = re.compile(rf"/image/({UUID})").fullmatch

_SIZES = {"original": 0, "proxyImage": 1, "large": 2, "thumbnail_large": 2, "proxyImageThumbnailLarge": 2, "page": 9}
_SMALL = 3


def _read(url: Url) -> Variant | None:
    text = url.path + url.query
    if found := _PHOTO(text):
        uuid, size = found.groups()
    elif found := _PROXY(text):
        size, uuid = found.groups()
    elif found := _PAGE(text):
        uuid, size = found[1], "page"
    else:
        return None
    rank = (_SIZES.get(size, _SMALL), len(url.path))
    return Variant(uuid, rank) if size == "original" else Variant(uuid, rank, f"{url.root}/image/{uuid}/original")


_VARIANTS = Variants(NAME, VERSION, _read)
_BUG = "308bdad7-7363-4d49-a3c6-cd0081224ab6"
_BEST = f"https://images.ala.org.au/image/{_BUG}/original"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Atlas of Living Australia",
    hosts=frozenset({"images.ala.org.au"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/AtlasOfLivingAustralia/image-service (UrlMappings.groovy)",
    examples=(
        Example(f"https://images.ala.org.au/image/proxyImageThumbnailLarge?imageId={_BUG}", f"ala:{_BUG}", _BEST),
        Example(f"http://images.ala.org.au/image/proxyImageThumbnail?imageId={_BUG}", f"ala:{_BUG}", _BEST.replace("s:", ":")),
        Example(f"https://images.ala.org.au/image/proxyImage?imageId={_BUG}", f"ala:{_BUG}", _BEST),
        Example(f"https://images.ala.org.au/image/{_BUG}", f"ala:{_BUG}", _BEST),
        Example(f"https://images.ala.org.au/image/{_BUG}/thumbnail_large", f"ala:{_BUG}", _BEST),
        Example(f"https://images.ala.org.au/store/6/b/a/4/{_BUG}/original", f"ala:{_BUG}"),
        Example(f"https://images.ala.org.au/image/{_BUG}/tms/3/1/2.png", f"https://images.ala.org.au/image/{_BUG}/tms/3/1/2.png"),
        Example(f"https://images.ala.org.au/ws/image/{_BUG}", f"https://images.ala.org.au/ws/image/{_BUG}"),
    ),
    traps=(
        (
            "https://images.ala.org.au/image/proxyImageThumbnailLarge?imageId=308bdad7-7363-4d49-a3c6-cd0081224ab6",
            "https://images.ala.org.au/image/proxyImageThumbnailLarge?imageId=5d6b6960-6581-4fce-a029-c9b17f409599",
        ),
        (f"https://images.ala.org.au/image/{_BUG}/tms/3/1/2.png", f"https://images.ala.org.au/image/{_BUG}/original"),
    ),
)
