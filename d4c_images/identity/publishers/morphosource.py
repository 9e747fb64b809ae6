"""MorphoSource: a medium's number, with or without leading zeros. Without a login only its thumbnail can be had."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rank, Rule
from d4c_images.identity.url import Url
from d4c_images.model import Image

NAME = "morphosource"
VERSION = 1

_MEDIUM = re.compile(r"/(?:concern/)?media/0*([1-9][0-9]*)(/thumbnail)?").fullmatch
_ARK = re.compile(r"/ark:/87602/m4/([1-9][0-9]*)").fullmatch
_RESOLVER = "n2t.net"


def _medium(url: Url) -> re.Match[str] | None:
    if url.query:
        return None
    return _ARK(url.path) if url.host == _RESOLVER else _MEDIUM(url.path)


def _is_thumbnail(url: Url) -> bool:
    return url.path.endswith("/thumbnail")


def _match(url: Url) -> Image | None:
    medium = _medium(url)
    if medium is None:
        return None
    root = "https://www.morphosource.org" if url.host == _RESOLVER else url.root
    urls = (url.text,) if _is_thumbnail(url) else (f"{root}/media/{medium[1]:0>9}/thumbnail", url.text)
    return Image(f"morphosource:{medium[1]}", urls, urls[0].split("/")[2], NAME, VERSION)


def _rank(url: Url) -> Rank | None:
    return None if _medium(url) is None else (not _is_thumbnail(url), url.host == _RESOLVER, url.scheme != "https", len(url.text))


RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="MorphoSource",
    hosts=frozenset({"www.morphosource.org", _RESOLVER}),
    match=_match,
    rank=_rank,
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
