"""GBIF's own image cache: the record and the MD5 of a publisher's identifier, in a size of at most 1200 pixels.

The identifier cannot be recovered from its MD5, so a copy in the cache is never merged with the publisher's own image, and never
preferred to it. GBIF asks for a single connection.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "gbif-cache"
VERSION = 1

_COPY = re.compile(r"/v1/image/cache/(?:fit-in/)?(?:([0-9]{0,4})x([0-9]{0,4})/)?(occurrence/[0-9]+/media/[0-9a-f]{32})").fullmatch


def _read(url: Url) -> Variant | None:
    copy = None if url.query else _COPY(url.path)
    if copy is None:
        return None
    *sides, photo = copy.groups()
    best = f"{url.root}/v1/image/cache/{photo}"
    if best == url.text:
        return Variant(photo, (0, 0))
    return Variant(photo, (1, -max(int(side or 0) for side in sides)), best)


_VARIANTS = Variants(NAME, VERSION, _read)
_COPY_OF_A_FROG = "occurrence/2005380410/media/568639b65b65ddb9090d3d6ef1abce14"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="GBIF's image cache",
    hosts=frozenset({"api.gbif.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://techdocs.gbif.org/en/openapi/images (image cache API)",
    examples=(
        Example(
            f"https://api.gbif.org/v1/image/cache/200x/{_COPY_OF_A_FROG}",
            f"gbif-cache:{_COPY_OF_A_FROG}",
            f"https://api.gbif.org/v1/image/cache/{_COPY_OF_A_FROG}",
        ),
        Example(f"https://api.gbif.org/v1/image/cache/{_COPY_OF_A_FROG}", f"gbif-cache:{_COPY_OF_A_FROG}"),
        Example(
            f"https://api.gbif.org/v1/image/cache/10x10:200x200/{_COPY_OF_A_FROG}",
            f"https://api.gbif.org/v1/image/cache/10x10:200x200/{_COPY_OF_A_FROG}",
        ),
    ),
    traps=(
        (
            f"https://api.gbif.org/v1/image/cache/200x/{_COPY_OF_A_FROG}",
            f"https://api.gbif.org/v1/image/cache/200x/{_COPY_OF_A_FROG[:-1]}2",
        ),
        (
            f"https://api.gbif.org/v1/image/cache/200x/{_COPY_OF_A_FROG}",
            f"https://api.gbif.org/v1/image/cache/200x/{_COPY_OF_A_FROG.replace('2005380410', '2005380411')}",
        ),
    ),
)
