"""Botanic Garden Berlin: herbarium scans by barcode as JPEGs of a width, and one IIIF manifest for all photos of a barcode.

`BW01605010_1700` is 1,700 pixels wide; `BW01605010__1_1700` is the next photo of that sheet. The manifest stands for the first one
and is asked first: it leads to the scan at full size and knows the other photos. The old server keeps thumbnails in `thumbs/`
below the scans. Its names are left apart from the barcodes.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule
from d4c_images.identity.url import Url
from d4c_images.identity.variant import Variant, Variants

NAME = "bgbm"
VERSION = 1

_SCAN = re.compile(r"/images/internal/HerbarThumbs/([A-Z]+[0-9]+(?:\([0-9]\))?(?:__[0-9]+)?)_([1-9][0-9]{2,3})").fullmatch
_MANIFEST = re.compile(r"/(?:data/iiif|object)/([A-Z]+[0-9]+)/manifest\.json").fullmatch
_OLD_SCAN = re.compile(r"/[Hh]erbarium/images/([^?]+/)([Bb]_[0-9]{2}_[0-9]{7}(?:__[0-9]+)?)\.jpg").fullmatch


def _read(url: Url) -> Variant | None:
    if url.query:
        return None
    if url.host == "image.bgbm.org" and (found := _SCAN(url.path)):
        return Variant(found[1], (1, -int(found[2])))
    if url.host == "herbarium.bgbm.org" and (found := _MANIFEST(url.path)):
        return Variant(found[1], (0, 0))
    if url.host == "ww2.bgbm.org" and (found := _OLD_SCAN(url.path)):
        folder, name = found.groups()
        scans, thumbs = folder.removesuffix("thumbs/"), folder.endswith("/thumbs/")
        name = name.replace("b", "B", 1)
        better = f"{url.root}/herbarium/images/{scans}{name}.jpg" if thumbs else ""
        return Variant(f"images/{scans}{name}", (2 if thumbs else 1, 0), better)
    return None


_VARIANTS = Variants(NAME, VERSION, _read)
_SCANS = "https://image.bgbm.org/images/internal/HerbarThumbs"
_OLD = "http://ww2.bgbm.org/herbarium/images"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Botanic Garden and Botanical Museum Berlin",
    hosts=frozenset({"image.bgbm.org", "herbarium.bgbm.org", "ww2.bgbm.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://herbarium.bgbm.org (JPEG and manifest of one barcode stand under one gbifID); real URLs of the old server",
    examples=(
        Example(f"{_SCANS}/BW01605010_1700", "bgbm:BW01605010"),
        Example(f"{_SCANS}/BW01605010__1_1700", "bgbm:BW01605010__1"),
        Example(f"{_SCANS}/BW19240010(2)_1700", "bgbm:BW19240010(2)"),
        Example(f"{_SCANS}/B100630718_1700", "bgbm:B100630718"),
        Example("https://herbarium.bgbm.org/data/iiif/BW01605010/manifest.json", "bgbm:BW01605010"),
        Example("https://herbarium.bgbm.org/object/B100190877/manifest.json", "bgbm:B100190877"),
        Example(f"{_OLD}/B/10/00/68/95/B_10_0068953.jpg", "bgbm:images/B/10/00/68/95/B_10_0068953"),
        Example(
            f"{_OLD}/B/20/00/76/52/thumbs/b_20_0076524.jpg",
            "bgbm:images/B/20/00/76/52/B_20_0076524",
            f"{_OLD}/B/20/00/76/52/B_20_0076524.jpg",
        ),
        Example(f"{_OLD}/B/-W/08/53/B_-W_08537%20-00%201__3.jpg", f"{_OLD}/B/-W/08/53/B_-W_08537%20-00%201__3.jpg"),
        Example("https://herbarium.bgbm.org/object/BW01605010", "https://herbarium.bgbm.org/object/BW01605010"),
    ),
    traps=(
        (f"{_SCANS}/BW01605010_1700", f"{_SCANS}/BW01605010__1_1700"),
        (f"{_SCANS}/BW01605010__1_1700", f"{_SCANS}/BW01605010__2_1700"),
        (f"{_SCANS}/BW01605010__1_1700", "https://herbarium.bgbm.org/data/iiif/BW01605010/manifest.json"),
        (f"{_SCANS}/BW01605010_1700", f"{_SCANS}/BW01605020_1700"),
        (f"{_SCANS}/BW19240010_1700", f"{_SCANS}/BW19240010(2)_1700"),
        (f"{_OLD}/B/10/00/68/95/B_10_0068953.jpg", f"{_OLD}/B/10/00/68/95/B_10_0068953__1.jpg"),
    ),
)
