"""San Diego Natural History Museum (SD, Baja Flora): a viewer page and a scan under one number. The sites number separately.

The viewer is a web page; the only picture address that the site publishes is the thumbnail, so that comes first.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "sdplantatlas"
VERSION = 1

_SCAN = re.compile(r"/SynGetScanZoom\.aspx\?(Thumbnail=Y&)?ID=([0-9]+)(&Thumbnail=Y)?", re.IGNORECASE).fullmatch
_VIEWER = re.compile(r"/HiResDisplay/HiResZoomDisplay\.aspx\?H=([0-9]+)", re.IGNORECASE).fullmatch


def _read(url: Url) -> Variant | None:
    address, site = url.path + url.query, url.host.removeprefix("www.")
    if scan := _SCAN(address):
        return Variant(f"{site}/{scan[2]}", (int(bool(scan[1] or scan[3])),))
    if viewer := _VIEWER(address):
        return Variant(f"{site}/{viewer[1]}", (2,), f"{url.root}/SynGetScanZoom.aspx?Thumbnail=Y&ID={viewer[1]}")
    return None


_VARIANTS = Variants(NAME, VERSION, _read)

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="San Diego Natural History Museum herbarium (SD) and Baja Flora",
    domains=frozenset({"bajaflora.org", "sdplantatlas.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/poppynorthing/PERE_rotation2, multimedia.csv: 60 Audubon Core rows that name viewer and thumbnail",
    examples=(
        Example(
            "https://bajaflora.org/HiResDisplay/HiResZoomDisplay.aspx?H=101575",
            "sdplantatlas:bajaflora.org/101575",
            "https://bajaflora.org/SynGetScanZoom.aspx?Thumbnail=Y&ID=101575",
        ),
        Example(
            "https://BajaFlora.org/SynGetScanZoom.aspx?Thumbnail=Y&ID=101575",
            "sdplantatlas:bajaflora.org/101575",
            "https://bajaflora.org/SynGetScanZoom.aspx?Thumbnail=Y&ID=101575",
        ),
        Example("https://bajaflora.org/SynGetScanZoom.aspx?ID=101575&Thumbnail=Y", "sdplantatlas:bajaflora.org/101575"),
        Example(
            "https://sdplantatlas.org/HiResDisplay/HiResZoomDisplay.aspx?H=155820",
            "sdplantatlas:sdplantatlas.org/155820",
            "https://sdplantatlas.org/SynGetScanZoom.aspx?Thumbnail=Y&ID=155820",
        ),
    ),
    traps=(
        (
            "https://bajaflora.org/HiResDisplay/HiResZoomDisplay.aspx?H=101575",
            "https://bajaflora.org/HiResDisplay/HiResZoomDisplay.aspx?H=101576",
        ),
        (
            "https://bajaflora.org/SynGetScanZoom.aspx?Thumbnail=Y&ID=155820",
            "https://sdplantatlas.org/SynGetScanZoom.aspx?Thumbnail=Y&ID=155820",
        ),
        (
            "https://bajaflora.org/SynGetScanZoom.aspx?Thumbnail=Y&ID=101575",
            "https://bajaflora.org/SynGetScanZoom.aspx?Thumbnail=Y&ID=1015750",
        ),
    ),
)
