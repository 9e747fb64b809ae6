"""Macaulay Library (and eBird): an asset's number and the requested width. Ignores sounds, videos and web pages."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rank, Rule
from d4c_images.identity.url import Url
from d4c_images.model import Image

NAME = "macaulay"
VERSION = 1

_WIDEST = 2400  # pixels; the widest its servers make, and what eBird's own pages request
_WORDS = {"original": 9999, "large": 1200, "medium": 640, "small": 320}
_PHOTO = re.compile(r"/api/(v[12])/asset/([0-9]+)(?:/([0-9]{2,4}|original|large|medium|small)/?)?").fullmatch


def _match(url: Url) -> Image | None:
    photo = None if url.query else _PHOTO(url.path)
    if photo is None:
        return None
    api, number, size = photo.groups()
    widest = f"{url.root}/api/{api}/asset/{number}/{_WIDEST}"
    urls: tuple[str, ...] = (url.text,)
    if size == "original":  # restricted
        urls = (url.text, widest)
    elif size is not None and _width(size) < _WIDEST:  # without a size it may be a sound: derive nothing
        urls = (widest, url.text)
    return Image(f"macaulay:{number}", urls, url.host, NAME, VERSION)


def _rank(url: Url) -> Rank | None:
    photo = None if url.query else _PHOTO(url.path)
    if photo is None:
        return None
    api, _, size = photo.groups()
    return (-_width(size), size is None, api != "v2", url.scheme != "https", len(url.root))


def _width(size: str | None) -> int:
    """In pixels, for ranking only."""
    return _WORDS[size] if size in _WORDS else int(size or 0)


_ASSET = "https://cdn.download.ams.birds.cornell.edu/api/v1/asset"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Macaulay Library and eBird",
    hosts=frozenset({"cdn.download.ams.birds.cornell.edu", "download.ams.birds.cornell.edu"}),
    match=_match,
    rank=_rank,
    source="https://www.macaulaylibrary.org (its gallery asks for widths of 160 to 2400 pixels)",
    examples=(
        Example(f"{_ASSET}/320005481/1800", "macaulay:320005481", f"{_ASSET}/320005481/2400"),
        Example(f"{_ASSET}/320005481/large", "macaulay:320005481", f"{_ASSET}/320005481/2400"),
        Example(
            "https://cdn.download.ams.birds.cornell.edu/api/v2/asset/612763581/900",
            "macaulay:612763581",
            "https://cdn.download.ams.birds.cornell.edu/api/v2/asset/612763581/2400",
        ),
        Example(
            "https://download.ams.birds.cornell.edu/api/v1/asset/320005481",
            "macaulay:320005481",
        ),
        Example(f"{_ASSET}/72059761/mp3", f"{_ASSET}/72059761/mp3"),
        Example(f"{_ASSET}/72059761/audio", f"{_ASSET}/72059761/audio"),
    ),
    traps=(
        (f"{_ASSET}/320005481/1800", f"{_ASSET}/320005482/1800"),
        (f"{_ASSET}/72059761/mp3", f"{_ASSET}/72059761/1200"),
    ),
)
