"""Botanic Garden Berlin: herbarium scans by barcode as JPEGs of a given width, and one IIIF manifest for all photos of a barcode.

`BW01605010_1700` is 1,700 pixels wide; `BW01605010__1_1700` is the next photo of that sheet. The manifest represents the first
photo and is requested first: it leads to the scan at full size and lists the other photos. They are IIIF services that name the
file: `B!20!01!60!16!B_20_0160165.jpg` is B200160165, `B_-W_01605 -01 0__1.jpg` is BW01605010__1, so the row of such a photo can be
found again. The old server has files with these names too, and thumbnails in `thumbs/`; whether they are today's scans is unknown,
so they are separate images.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from d4c_images.identity.pattern import IIIF_SIZE
from d4c_images.identity.rule import Example, Rule, Variant, Variants, longest_side
from d4c_images.identity.url import Url

NAME = "bgbm"
VERSION = 1

_SCAN = re.compile(r"/images/internal/HerbarThumbs/([A-Z]+[0-9]+(?:\([0-9]\))?(?:__[0-9]+)?)_([1-9][0-9]{2,3})").fullmatch
_MANIFEST = re.compile(r"/(?:data/iiif|object)/([A-Z]+[0-9]+)/manifest\.json").fullmatch
_SERVICE = re.compile(r"(/iiif/[23]/(B(?:!|%21).+?)/)([^/]+/[^/]+/[^/]+/[^/]+|info\.json)").fullmatch
_WHOLE = re.compile(rf"full/({IIIF_SIZE})/0/default\.jpg").fullmatch
_BY_NUMBER = re.compile(r"B/([0-9]{2})/(..)/(..)/(..)/B_\1_(\2\3\4[0-9])((?:__[0-9]+)?)\.jpg").fullmatch
_WILLDENOW = re.compile(r"B/-W/(..)/(..)/B_-W_(\1\2[0-9]) -([0-9]{2}) ([0-9])((?:\([0-9]\))?(?:__[0-9]+)?)\.jpg").fullmatch
_OLD_SCAN = re.compile(r"/[Hh]erbarium/images/([^?]+/)([Bb]_[0-9]{2}_[0-9]{7}(?:__[0-9]+)?)\.jpg").fullmatch


def _read(url: Url) -> Variant | None:
    if url.query:
        return None
    if url.host == "image.bgbm.org" and (found := _SCAN(url.path)):
        return Variant(found[1], (2, -int(found[2])))
    if url.host == "pictures.bgbm.org" and (found := _SERVICE(url.path)):
        return _read_service(url, *found.groups())
    if url.host == "herbarium.bgbm.org" and (found := _MANIFEST(url.path)):
        return Variant(found[1], (0, 0))
    if url.host == "ww2.bgbm.org" and (found := _OLD_SCAN(url.path)):
        folder, name = found.groups()
        scans, thumbs = folder.removesuffix("thumbs/"), folder.endswith("/thumbs/")
        name = name.replace("b", "B", 1)
        better = f"{url.root}/herbarium/images/{scans}{name}.jpg" if thumbs else ""
        return Variant(f"images/{scans}{name}", (int(thumbs), 0), better)
    return None


def _read_service(url: Url, service: str, identifier: str, view: str) -> Variant | None:
    code = _code_of_file(unquote(identifier).replace("!", "/"))
    if code is None:
        return None
    best = f"{url.root}{service}full/max/0/default.jpg"
    if view == "info.json":
        return Variant(code, (3, 0), best)
    whole = _WHOLE(view)
    if whole is None:
        return Variant(f"{code}/{view}", (3, 0))
    if whole[1] in ("max", "full"):
        return Variant(code, (1, int(whole[1] != "max")))
    return Variant(code, (2, -longest_side(whole[1])), best)


def _code_of_file(path: str) -> str | None:
    """The barcode in the name of a herbarium file, followed by the photo's number."""
    if found := _BY_NUMBER(path):
        return f"B{found[1]}{found[5]}{found[6]}"
    found = _WILLDENOW(path)
    return found and f"BW{found[3]}{found[4]}{found[5]}{found[6]}"


_VARIANTS = Variants(NAME, VERSION, _read)
_SCANS = "https://image.bgbm.org/images/internal/HerbarThumbs"
_PICTURES = "https://pictures.bgbm.org/iiif/3"
_OLD = "http://ww2.bgbm.org/herbarium/images"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Botanic Garden and Botanical Museum Berlin",
    hosts=frozenset({"image.bgbm.org", "herbarium.bgbm.org", "pictures.bgbm.org", "ww2.bgbm.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://herbarium.bgbm.org (JPEG and manifest of one barcode stand under one gbifID); https://api.jacq.org/v1/images/list",
    examples=(
        Example(f"{_SCANS}/BW01605010_1700", "bgbm:BW01605010"),
        Example(f"{_SCANS}/BW01605010__1_1700", "bgbm:BW01605010__1"),
        Example(f"{_SCANS}/BW19240010(2)_1700", "bgbm:BW19240010(2)"),
        Example(f"{_SCANS}/B100630718_1700", "bgbm:B100630718"),
        Example("https://herbarium.bgbm.org/data/iiif/BW01605010/manifest.json", "bgbm:BW01605010"),
        Example("https://herbarium.bgbm.org/object/B100190877/manifest.json", "bgbm:B100190877"),
        Example(f"{_PICTURES}/B!20!01!60!16!B_20_0160165.jpg/full/max/0/default.jpg", "bgbm:B200160165"),
        Example(
            f"{_PICTURES}/B!20!01!60!16!B_20_0160165.jpg/full/1200,/0/default.jpg",
            "bgbm:B200160165",
            f"{_PICTURES}/B!20!01!60!16!B_20_0160165.jpg/full/max/0/default.jpg",
        ),
        Example(
            f"{_PICTURES}/B!-W!01!60!B_-W_01605%20-01%200__1.jpg/info.json",
            "bgbm:BW01605010__1",
            f"{_PICTURES}/B!-W!01!60!B_-W_01605%20-01%200__1.jpg/full/max/0/default.jpg",
        ),
        Example(
            f"{_PICTURES}/B!20!01!60!16!B_20_0160165.jpg/0,0,900,900/max/0/default.jpg",
            "bgbm:B200160165/0,0,900,900/max/0/default.jpg",
        ),
        Example(
            f"{_PICTURES}/Cichorieae!Lactuca_serriola_Bc_08.jpg/full/max/0/default.jpg",
            "iiif:pictures.bgbm.org/iiif/3/Cichorieae!Lactuca_serriola_Bc_08.jpg",
        ),
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
        (
            f"{_PICTURES}/B!20!01!60!16!B_20_0160165.jpg/full/max/0/default.jpg",
            f"{_PICTURES}/B!20!01!60!16!B_20_0160165__1.jpg/full/max/0/default.jpg",
        ),
        (
            f"{_PICTURES}/B!20!01!60!16!B_20_0160165.jpg/full/max/0/default.jpg",
            f"{_PICTURES}/B!20!01!60!16!B_20_0160165.jpg/0,0,900,900/max/0/default.jpg",
        ),
        (f"{_SCANS}/B100068953_1700", f"{_OLD}/B/10/00/68/95/B_10_0068953.jpg"),
        (f"{_OLD}/B/10/00/68/95/B_10_0068953.jpg", f"{_OLD}/B/10/00/68/95/B_10_0068953__1.jpg"),
    ),
)
