"""Atlas of Living Australia's image service, which other Living Atlases run too: one photo under many paths, all with its UUID.

Ignores tiles and metadata. `/image/<uuid>` alone is its web page; it is taken for one only on hosts known to run the service.
"""

from __future__ import annotations

import re

from d4c_images.identity.pattern import UUID
from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "ala"
VERSION = 1

_PHOTO = re.compile(
    rf"((?:/[a-z-]+)?)(?:/image/|/store/[0-9a-f]/[0-9a-f]/[0-9a-f]/[0-9a-f]/)({UUID})/(original|x?large|thumbnail(?:_[A-Za-z_]+)?)"
).fullmatch
_PROXY = re.compile(rf"((?:/[a-z-]+)?(?:/image)?)/(proxyImage(?:Thumbnail(?:Large)?)?)\?(?:imageId|id)=({UUID})").fullmatch
_PAGE = re.compile(rf"/image/(?:(?:view(?:er)?/)?|details\?imageId=)({UUID})").fullmatch

_SIZES = {"original": 0, "proxyImage": 1, "xlarge": 2, "large": 3, "thumbnail_large": 3, "proxyImageThumbnailLarge": 3, "page": 9}
_SMALL = 4
_AUSTRALIA = "images.ala.org.au"
_HOSTS = frozenset({_AUSTRALIA, "images.nbnatlas.org", "images.biodiversitydata.se"})


def _read(url: Url) -> Variant | None:
    text = url.path + url.query
    if found := _PHOTO(text):
        prefix, uuid, size = found.groups()
    elif found := _PROXY(text):
        prefix, size, uuid = found.groups()
        prefix = prefix.removesuffix("/image")
    elif (found := _PAGE(text)) and url.host in _HOSTS:
        prefix, uuid, size = "", found[1], "page"
    else:
        return None
    photo = uuid if url.host == _AUSTRALIA else f"{url.host}{prefix}/{uuid}"
    rank = (_SIZES.get(size, _SMALL), len(url.path))
    return Variant(photo, rank) if size == "original" else Variant(photo, rank, f"{url.root}{prefix}/image/{uuid}/original")


_VARIANTS = Variants(NAME, VERSION, _read)
_BUG = "308bdad7-7363-4d49-a3c6-cd0081224ab6"
_BEST = f"https://images.ala.org.au/image/{_BUG}/original"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Living Atlases (Australia, the United Kingdom, Sweden and others)",
    hosts=_HOSTS,
    hints=("/proxyImage", "/image/", "/store/"),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/AtlasOfLivingAustralia/image-service (UrlMappings.groovy)",
    examples=(
        Example(f"https://images.ala.org.au/image/proxyImageThumbnailLarge?imageId={_BUG}", f"ala:{_BUG}", _BEST),
        Example(f"http://images.ala.org.au/image/proxyImageThumbnail?imageId={_BUG}", f"ala:{_BUG}", _BEST.replace("s:", ":")),
        Example(f"https://images.ala.org.au/image/proxyImage?imageId={_BUG}", f"ala:{_BUG}", _BEST),
        Example(f"https://images.ala.org.au/image/{_BUG}", f"ala:{_BUG}", _BEST),
        Example(f"https://images.ala.org.au/image/details?imageId={_BUG}", f"ala:{_BUG}", _BEST),
        Example(f"https://images.ala.org.au/image/{_BUG}/thumbnail_large", f"ala:{_BUG}", _BEST),
        Example(f"https://images.ala.org.au/store/6/b/a/4/{_BUG}/original", f"ala:{_BUG}"),
        Example(f"https://images.ala.org.au/image/{_BUG}/tms/3/1/2.png", f"https://images.ala.org.au/image/{_BUG}/tms/3/1/2.png"),
        Example(
            f"https://images.nbnatlas.org/image/proxyImageThumbnail?imageId={_BUG}",
            f"ala:images.nbnatlas.org/{_BUG}",
            f"https://images.nbnatlas.org/image/{_BUG}/original",
        ),
        Example(
            f"https://atlas.example.org/images/proxyImage?imageId={_BUG}",
            f"ala:atlas.example.org/images/{_BUG}",
            f"https://atlas.example.org/images/image/{_BUG}/original",
        ),
        Example(f"https://atlas.example.org/image/{_BUG}", f"https://atlas.example.org/image/{_BUG}"),
        Example(f"https://images.ala.org.au/ws/image/{_BUG}", f"https://images.ala.org.au/ws/image/{_BUG}"),
    ),
    traps=(
        (
            "https://images.ala.org.au/image/proxyImageThumbnailLarge?imageId=308bdad7-7363-4d49-a3c6-cd0081224ab6",
            "https://images.ala.org.au/image/proxyImageThumbnailLarge?imageId=5d6b6960-6581-4fce-a029-c9b17f409599",
        ),
        (f"https://images.ala.org.au/image/{_BUG}/tms/3/1/2.png", f"https://images.ala.org.au/image/{_BUG}/original"),
        (f"https://images.ala.org.au/image/{_BUG}/original", f"https://images.nbnatlas.org/image/{_BUG}/original"),
    ),
)
