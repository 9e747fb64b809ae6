"""TaxonWorks: the fingerprint of an image file. Records link to its metadata, which is JSON; the file is below `file/sha/`.

A `scale_to_box` cuts a box out, and a drawer's photo has one box for each specimen in it: the box is part of the identity, the size
it is scaled to is not. `project_token` is a key to the project's public data and stays in every candidate.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "taxonworks"
VERSION = 1

_IMAGE = re.compile(
    r"(?P<api>.*/api/v1/images/)(?P<file>file/sha/)?(?P<print>[0-9a-f]{32,64})"
    r"(?:/scale_to_box/(?P<box>(?:[0-9]{1,6}/){3}[0-9]{1,6})/(?P<width>[0-9]{1,6})/[0-9]{1,6})?(?P<token>(?:\?project_token=[A-Za-z0-9_-]+)?)"
).fullmatch
_FILE, _METADATA = range(2)


def _read(url: Url) -> Variant | None:
    image = _IMAGE(url.path + url.query)
    if image is None:
        return None
    box = image["box"]
    if box is not None:
        return Variant(f"{url.host}/{image['print']}/{box}", (_FILE, -int(image["width"]))) if image["file"] else None
    better = "" if image["file"] else f"{url.root}{image['api']}file/sha/{image['print']}{image['token']}"
    return Variant(f"{url.host}/{image['print']}", (_METADATA if better else _FILE, int(not image["token"])), better)


_VARIANTS = Variants(NAME, VERSION, _read)
_API = "https://sfg.taxonworks.org/api/v1/images"
_PRINT = "aa7639596f6a04744668dbec7c7493a3"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="TaxonWorks",
    hints=("/api/v1/images/",),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/SpeciesFileGroup/taxonworks (lib/shared and the API's images: file/sha, scale_to_box)",
    examples=(
        Example(f"{_API}/{_PRINT}", f"taxonworks:sfg.taxonworks.org/{_PRINT}", f"{_API}/file/sha/{_PRINT}"),
        Example(f"{_API}/file/sha/{_PRINT}", f"taxonworks:sfg.taxonworks.org/{_PRINT}"),
        Example(f"{_API}/file/sha/{_PRINT}?project_token=abcDEF123", f"taxonworks:sfg.taxonworks.org/{_PRINT}"),
        Example(
            f"{_API}/file/sha/{_PRINT}/scale_to_box/0/0/588/780/300/400?project_token=abcDEF123",
            f"taxonworks:sfg.taxonworks.org/{_PRINT}/0/0/588/780",
        ),
        Example(f"{_API}/847941", f"{_API}/847941"),
    ),
    traps=(
        (f"{_API}/{_PRINT}", f"{_API}/{_PRINT[:-1]}4"),
        (
            f"{_API}/file/sha/{_PRINT}/scale_to_box/0/0/588/780/300/400",
            f"{_API}/file/sha/{_PRINT}/scale_to_box/588/0/588/780/300/400",
        ),
        (f"{_API}/file/sha/{_PRINT}", f"{_API}/file/sha/{_PRINT}/scale_to_box/0/0/588/780/588/780"),
    ),
)
