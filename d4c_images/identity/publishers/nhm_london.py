"""Natural History Museum, London: the Data Portal's media by UUID, and the older media store by the asset's SHA-1.

The portal serves `/original`, `/preview` and `/thumbnail` of each medium. Nothing links an asset to a medium. The store claims that
a preview is a TIFF if the master is; it is a JPEG.
"""

from __future__ import annotations

import re

from d4c_images.identity.pattern import UUID
from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "nhm_london"
VERSION = 1

_MEDIUM = re.compile(rf"(/media/({UUID}))(?:/(original|preview|thumbnail))?").fullmatch
_ASSET = re.compile(r"(/services/media-store/asset/([0-9a-f]{40})/contents/)(preview|thumbnail)").fullmatch
_SIZES = ("original", None, "preview", "thumbnail")


def _read(url: Url) -> Variant | None:
    if url.query:
        return None
    if url.host == "data.nhm.ac.uk" and (found := _MEDIUM(url.path)):
        path, uuid, size = found.groups()
        return Variant(uuid, (_SIZES.index(size),), f"{url.root}{path}/original" if size != "original" else "")
    if url.host == "www.nhm.ac.uk" and (found := _ASSET(url.path)):
        path, sha1, size = found.groups()
        return Variant(sha1, (_SIZES.index(size),), f"{url.root}{path}preview" if size != "preview" else "")
    return None


_VARIANTS = Variants(NAME, VERSION, _read)
_MEDIA = "https://data.nhm.ac.uk/media/aea51bf9-e7c1-4c3d-a0d1-59ade253c111"
_STORE = "http://www.nhm.ac.uk/services/media-store/asset"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Natural History Museum, London",
    hosts=frozenset({"data.nhm.ac.uk", "www.nhm.ac.uk"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/NaturalHistoryMuseum/ckanext-nhm (lib/record.py: download_url, preview_url, thumbnail_url)",
    examples=(
        Example(_MEDIA, "nhm_london:aea51bf9-e7c1-4c3d-a0d1-59ade253c111", f"{_MEDIA}/original"),
        Example(f"{_MEDIA}/preview", "nhm_london:aea51bf9-e7c1-4c3d-a0d1-59ade253c111", f"{_MEDIA}/original"),
        Example(f"{_MEDIA}/original", "nhm_london:aea51bf9-e7c1-4c3d-a0d1-59ade253c111"),
        Example(
            f"{_STORE}/bc406f7478c0a28937afc4b1203fc0c4ac9d3de0/contents/preview",
            "nhm_london:bc406f7478c0a28937afc4b1203fc0c4ac9d3de0",
        ),
        Example(
            f"{_STORE}/6e7f351788deb6b5210261849f4cebeb20aa2959/contents/thumbnail",
            "nhm_london:6e7f351788deb6b5210261849f4cebeb20aa2959",
            f"{_STORE}/6e7f351788deb6b5210261849f4cebeb20aa2959/contents/preview",
        ),
        Example(
            "https://data.nhm.ac.uk/object/8b0a8ba8-d92d-4bfc-9039-b7e4784316c0",
            "https://data.nhm.ac.uk/object/8b0a8ba8-d92d-4bfc-9039-b7e4784316c0",
        ),
    ),
    traps=(
        (_MEDIA, "https://data.nhm.ac.uk/media/f0fba266-a4ce-4ead-b43a-31dfaf4aaae8"),
        (
            f"{_STORE}/bc406f7478c0a28937afc4b1203fc0c4ac9d3de0/contents/preview",
            f"{_STORE}/347f2b93d9153d76c2b8259fbd6e8e4e515e02c1/contents/preview",
        ),
    ),
)
