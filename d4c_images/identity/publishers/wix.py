"""Wix, where small collections keep photos: a file's id, followed by how it is rendered. A request for a region is ignored."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "wix"
VERSION = 1

_FILE = re.compile(
    r"(/media/([0-9a-f]{6}_[0-9a-f]{32}(?:~mv2(?:_[a-z]_[0-9a-z_]+)?)?\.[a-z]+))(?:/v1/(?:fill|fit)/([^/?]+)/[^/?]+)?"
).fullmatch
_SIDE = re.compile(r"[wh]_([0-9]{1,5})")


def _read(url: Url) -> Variant | None:
    found = None if url.query else _FILE(url.path)
    if found is None:
        return None
    path, file, shown_as = found.groups()
    if shown_as is None:
        return Variant(file, (0, 0))
    return Variant(file, (1, -max(map(int, _SIDE.findall(shown_as)), default=0)), url.root + path)


_VARIANTS = Variants(NAME, VERSION, _read)
_FILES = "https://static.wixstatic.com/media/1a6385_16d2901b44884383bf034a221dc56611~mv2.jpg"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Wix (NatMIP mollusc collection and others)",
    hosts=frozenset({"static.wixstatic.com"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://dev.wix.com/docs (Wix Media: /v1/fill and /v1/fit are transformations of the file before them)",
    examples=(
        Example(
            f"{_FILES}/v1/fill/w_796,h_597,al_c,q_85,usm_0.66_1.00_0.01,enc_auto/IMG_1887(5).jpg",
            "wix:1a6385_16d2901b44884383bf034a221dc56611~mv2.jpg",
            _FILES,
        ),
        Example(_FILES, "wix:1a6385_16d2901b44884383bf034a221dc56611~mv2.jpg"),
        Example(f"{_FILES}/v1/crop/x_0,y_9,w_90,h_90/a.jpg", f"{_FILES}/v1/crop/x_0,y_9,w_90,h_90/a.jpg"),
    ),
    traps=(
        (_FILES, _FILES.replace("56611", "56612")),
        (_FILES, f"{_FILES}/v1/crop/x_0,y_9,w_90,h_90/a.jpg"),
    ),
)
