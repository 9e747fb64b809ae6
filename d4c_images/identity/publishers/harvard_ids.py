"""Harvard Library's Image Delivery Service: `ids/view/<id>` and the IIIF service `ids/iiif/<id>` show one file of its repository.

A view of a part of the picture, turned or without colour, is a separate image, since the whole one may be requested too.
"""

from __future__ import annotations

import re

from d4c_images.identity.pattern import IIIF_SIZE
from d4c_images.identity.rule import Example, Rule, Variant, Variants, longest_side
from d4c_images.identity.url import Url

NAME = "harvard_ids"
VERSION = 1

_VIEW = re.compile(r"/ids/view/([0-9]+)(?:\?((?:(?:width|height)=[0-9]{1,5}&?){1,2}))?").fullmatch
_SERVICE = re.compile(r"/ids/iiif/([0-9]+)/(.+)").fullmatch
_WHOLE = re.compile(rf"full/({IIIF_SIZE})/0/(?:default|native)(?:\.jpg)?").fullmatch
_BEST = "full/full/0/default.jpg"
_FULL, _SIZED, _INFO = range(3)


def _read(url: Url) -> Variant | None:
    text = url.path + url.query
    if found := _VIEW(text):
        number, sides = found.groups()
        return Variant(number, (_SIZED, -longest_side(sides) if sides else -1200), _best(url, number))
    if found := _SERVICE(text):
        number, view = found.groups()
        if whole := _WHOLE(view):
            if whole[1] in ("full", "max"):
                return Variant(number, (_FULL, int(whole[1] != "full")))
            return Variant(number, (_SIZED, -longest_side(whole[1])), _best(url, number))
        if view == "info.json":
            return Variant(number, (_INFO, 0), _best(url, number))
        return Variant(f"{number}/{view}", (_SIZED, 0))
    return None


def _best(url: Url, number: str) -> str:
    return f"{url.root}/ids/iiif/{number}/{_BEST}"


_VARIANTS = Variants(NAME, VERSION, _read)
_IDS = "https://ids.lib.harvard.edu/ids"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Harvard Library (Image Delivery Service)",
    hosts=frozenset({"ids.lib.harvard.edu"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://ids.lib.harvard.edu (Image Delivery Service: view, iiif); https://github.com/harvardartmuseums/api-docs",
    examples=(
        Example(f"{_IDS}/iiif/47174896/full/full/0/native.jpg", "harvard_ids:47174896"),
        Example(f"{_IDS}/iiif/47174896/full/max/0/default.jpg", "harvard_ids:47174896"),
        Example(f"{_IDS}/iiif/47174896/full/1200,/0/default.jpg", "harvard_ids:47174896", f"{_IDS}/iiif/47174896/{_BEST}"),
        Example(f"{_IDS}/iiif/47174896/info.json", "harvard_ids:47174896", f"{_IDS}/iiif/47174896/{_BEST}"),
        Example(f"{_IDS}/view/43337862", "harvard_ids:43337862", f"{_IDS}/iiif/43337862/{_BEST}"),
        Example(f"{_IDS}/view/43337862?width=150&height=150", "harvard_ids:43337862", f"{_IDS}/iiif/43337862/{_BEST}"),
        Example(f"{_IDS}/view/43337862?xcap=1&width=150", f"{_IDS}/view/43337862?xcap=1&width=150"),
        Example(f"{_IDS}/iiif/47174896/0,0,900,900/full/0/default.jpg", "harvard_ids:47174896/0,0,900,900/full/0/default.jpg"),
    ),
    traps=(
        (f"{_IDS}/view/43337862", f"{_IDS}/view/43337863"),
        (f"{_IDS}/iiif/47174896/full/full/0/default.jpg", f"{_IDS}/iiif/47174896/0,0,900,900/full/0/default.jpg"),
        (f"{_IDS}/iiif/47174896/full/full/0/default.jpg", f"{_IDS}/iiif/47174896/full/full/90/default.jpg"),
        (f"{_IDS}/iiif/47174896/full/full/0/default.jpg", f"{_IDS}/iiif/47174896/full/full/0/gray.jpg"),
    ),
)
