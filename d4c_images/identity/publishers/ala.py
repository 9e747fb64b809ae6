"""Atlas of Living Australia: one photo under many paths of its image service, all with the photo's UUID. Leaves tiles alone."""

from __future__ import annotations

import re

from d4c_images.identity.pattern import UUID
from d4c_images.identity.rule import Example, Rank, Rule
from d4c_images.identity.url import Url
from d4c_images.model import Image

NAME = "ala"
VERSION = 1

_PHOTO = re.compile(
    rf"(?:/image/|/store/[0-9a-f]/[0-9a-f]/[0-9a-f]/[0-9a-f]/)({UUID})/(original|large|thumbnail(?:_[a-z]+)?)"
).fullmatch
_PROXY = re.compile(rf"(?:/image)?/(proxyImage(?:Thumbnail(?:Large)?)?)\?(?:imageId|id)=({UUID})").fullmatch
_PAGE = re.compile(rf"/image/({UUID})").fullmatch

_SIZES = ("original", "proxyImage", "large", "thumbnail_large", "proxyImageThumbnailLarge")
_SMALL, _WEB_PAGE = len(_SIZES), len(_SIZES) + 1


def _photo(url: Url) -> tuple[str, int] | None:
    """The photo's UUID and the place of this URL in the order of sizes."""
    text = url.path + url.query
    if found := _PHOTO(text):
        uuid, size = found.groups()
    elif found := _PROXY(text):
        size, uuid = found.groups()
    elif found := _PAGE(text):
        return found[1], _WEB_PAGE
    else:
        return None
    return uuid, _SIZES.index(size) if size in _SIZES else _SMALL


def _match(url: Url) -> Image | None:
    photo = _photo(url)
    if photo is None:
        return None
    uuid, size = photo
    urls = (url.text,) if size == 0 else (f"{url.root}/image/{uuid}/original", url.text)
    return Image(f"ala:{uuid}", urls, url.host, NAME, VERSION)


def _rank(url: Url) -> Rank | None:
    photo = _photo(url)
    return photo and (photo[1], url.scheme != "https", len(url.path))


_BUG = "308bdad7-7363-4d49-a3c6-cd0081224ab6"
_BEST = f"https://images.ala.org.au/image/{_BUG}/original"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Atlas of Living Australia",
    hosts=frozenset({"images.ala.org.au"}),
    match=_match,
    rank=_rank,
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
