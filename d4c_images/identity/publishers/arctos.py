"""Arctos: the number of the media record. `?open` leads to the file; without it, the number is a page of terms and metadata."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "arctos"
VERSION = 1

_MEDIA = re.compile(r"/media/([0-9]{1,12})/?(?:\?(open)?=?)?").fullmatch


def _read(url: Url) -> Variant | None:
    media = _MEDIA(url.path + url.query)
    if media is None:
        return None
    better = "" if media[2] else f"{url.root}/media/{media[1]}?open"
    return Variant(media[1].lstrip("0"), (int(media[2] is None),), better)


_VARIANTS = Variants(NAME, VERSION, _read)

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Arctos",
    hosts=frozenset({"arctos.database.museum"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://handbook.arctosdb.org (media); https://github.com/gbif/portal-feedback/issues/5883 (what comes without ?open)",
    examples=(
        Example("http://arctos.database.museum/media/10674456?open", "arctos:10674456"),
        Example(
            "https://arctos.database.museum/media/10520962", "arctos:10520962", "https://arctos.database.museum/media/10520962?open"
        ),
        Example(
            "http://arctos.database.museum/MediaSearch.cfm?collection_object_id=28037366",
            "http://arctos.database.museum/MediaSearch.cfm?collection_object_id=28037366",
        ),
    ),
    traps=(
        ("http://arctos.database.museum/media/10674456?open", "http://arctos.database.museum/media/10674457?open"),
        ("http://arctos.database.museum/media/10674456?open", "http://arctos.database.museum/media/106744560?open"),
        (
            "http://arctos.database.museum/media/28037366?open",
            "http://arctos.database.museum/MediaSearch.cfm?collection_object_id=28037366",
        ),
    ),
)
