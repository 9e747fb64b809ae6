"""San Diego Natural History Museum (SD, Baja Flora): a viewer page and a scan under one number. The sites count apart.

The viewer is a web page; the only address of a picture that the site publishes is the thumbnail, so that stands first.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rank, Rule
from d4c_images.identity.url import Url
from d4c_images.model import Image

NAME = "sdplantatlas"
VERSION = 1

_SCAN = re.compile(r"/SynGetScanZoom\.aspx\?(?:(Thumbnail=Y)&)?ID=([0-9]+)", re.IGNORECASE).fullmatch
_VIEWER = re.compile(r"/HiResDisplay/HiResZoomDisplay\.aspx\?H=([0-9]+)", re.IGNORECASE).fullmatch


def _match(url: Url) -> Image | None:
    address = url.path + url.query
    scan, viewer = _SCAN(address), _VIEWER(address)
    if scan is None and viewer is None:
        return None
    number = scan[2] if scan is not None else viewer[1] if viewer is not None else ""
    urls = (url.text,) if scan is not None else (f"{url.root}/SynGetScanZoom.aspx?Thumbnail=Y&ID={number}", url.text)
    return Image(f"{NAME}:{url.host.removeprefix('www.')}/{number}", urls, url.host, NAME, VERSION)


def _rank(url: Url) -> Rank | None:
    address = url.path + url.query
    scan = _SCAN(address)
    if scan is None:
        return (2, int(url.scheme != "https")) if _VIEWER(address) else None
    return (0 if scan[1] is None else 1, int(url.scheme != "https"))


RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="San Diego Natural History Museum herbarium (SD) and Baja Flora",
    domains=frozenset({"bajaflora.org", "sdplantatlas.org"}),
    match=_match,
    rank=_rank,
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
