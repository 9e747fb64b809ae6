"""Discover Life: `img` names the photo, `res` its width in pixels, `mx` the largest."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "discoverlife"
VERSION = 1

_NAME = re.compile(r"I_[A-Z]+[0-9]+").fullmatch
_WIDTH = re.compile(r"[0-9]{2,4}").fullmatch


def _read(url: Url) -> Variant | None:
    arguments = url.arguments() if url.path == "/mp/20p" else None
    if arguments is None or arguments.keys() != {"img", "res"} or not _NAME(arguments["img"]):
        return None
    photo, width = arguments["img"], arguments["res"]
    if width == "mx":
        return Variant(photo, (0, 0))
    return Variant(photo, (1, -int(width)), f"{url.root}/mp/20p?img={photo}&res=mx") if _WIDTH(width) else None


_VARIANTS = Variants(NAME, VERSION, _read)
_PHOTO = "http://www.discoverlife.org/mp/20p?img=I_MWS60624"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Discover Life",
    hosts=frozenset({"www.discoverlife.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://www.discoverlife.org (its archive for the Encyclopedia of Life names photos by img and res=mx)",
    examples=(
        Example(f"{_PHOTO}&res=mx", "discoverlife:I_MWS60624"),
        Example(f"{_PHOTO}&res=320", "discoverlife:I_MWS60624", f"{_PHOTO}&res=mx"),
        Example("http://www.discoverlife.org/mp/20p?see=I_MWS60624", "http://www.discoverlife.org/mp/20p?see=I_MWS60624"),
    ),
    traps=((f"{_PHOTO}&res=mx", "http://www.discoverlife.org/mp/20p?img=I_MWS10894&res=mx"),),
)
