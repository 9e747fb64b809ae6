"""Harvard University Herbaria: a specimen's image by its UUID, an image by number, and two older stores of files.

`data.huh.harvard.edu/<uuid>/image`, `/preview` and `/thumb` lead to three sizes of the same image object. The stores name the photo
by folder and file name; a thumbnail is in `thumbs/` next to it. None of the four names can be derived from another.
"""

from __future__ import annotations

import re

from d4c_images.identity.pattern import UUID
from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "huh"
VERSION = 1

_SIZES = ("image", "preview", "thumb")
_OBJECT = re.compile(rf"/({UUID})/(image|preview|thumb)").fullmatch
_NUMBER = re.compile(r"/databases/image\.php\?id=([0-9]+)").fullmatch
_WEB_IMAGE = re.compile(r"/huhwebimages/([0-9A-F]+)/type/full/([0-9]+)\.jpg").fullmatch
# The master may be a TIFF, its thumbnail is a JPEG; the stem is the barcode and shot.
_STORED = re.compile(
    r"/image\.php\?(huhimagestorage/(?:[^/?&]+/)*?)(thumbs/thumb_)?([^/?&]+)\.(?:tiff?|jpe?g|TIFF?|JPE?G)"
).fullmatch


def _read(url: Url) -> Variant | None:
    text = url.path + url.query
    if url.host == "data.huh.harvard.edu" and (found := _OBJECT(text)):
        uuid, size = found.groups()
        return Variant(uuid, (_SIZES.index(size),), f"{url.root}/{uuid}/image" if size != "image" else "")
    if url.host == "kiki.huh.harvard.edu" and (found := _NUMBER(text)):
        return Variant(f"image/{found[1]}", (0,))
    if url.host == "s3.amazonaws.com" and (found := _WEB_IMAGE(text)):
        return Variant(f"huhwebimages/{found[1]}/{found[2]}", (0,))
    if url.host == "firuta.huh.harvard.edu" and (found := _STORED(text)):
        folder, thumb, stem = found.groups()
        return Variant(f"{folder}{stem}", (int(thumb is not None),))
    return None


_VARIANTS = Variants(NAME, VERSION, _read)
_SHEET = "https://data.huh.harvard.edu/e9d775d8-4a65-489d-936a-b0d8e88e9d8f"
_STORE = "http://firuta.huh.harvard.edu/image.php?huhimagestorage/Herbaria1/GPI-Types/HUHGPI0048/Asteraceae"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Harvard University Herbaria",
    hosts=frozenset({"data.huh.harvard.edu", "kiki.huh.harvard.edu", "firuta.huh.harvard.edu"}),
    hints=("/huhwebimages/",),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="the herbaria's own redirect (https://data.huh.harvard.edu: modes image, preview, thumb); real rows of the stores",
    examples=(
        Example(f"{_SHEET}/image", "huh:e9d775d8-4a65-489d-936a-b0d8e88e9d8f"),
        Example(f"{_SHEET}/thumb", "huh:e9d775d8-4a65-489d-936a-b0d8e88e9d8f", f"{_SHEET}/image"),
        Example(
            "http://data.huh.harvard.edu/ac603661-d61d-4395-aa51-b2dffbf630de/preview",
            "huh:ac603661-d61d-4395-aa51-b2dffbf630de",
            "http://data.huh.harvard.edu/ac603661-d61d-4395-aa51-b2dffbf630de/image",
        ),
        Example("http://kiki.huh.harvard.edu/databases/image.php?id=1259633", "huh:image/1259633"),
        Example(
            "https://s3.amazonaws.com/huhwebimages/88121474E5EE4EF/type/full/263659.jpg",
            "huh:huhwebimages/88121474E5EE4EF/263659",
        ),
        Example(f"{_STORE}/GH00282085.tif", "huh:huhimagestorage/Herbaria1/GPI-Types/HUHGPI0048/Asteraceae/GH00282085"),
        Example(
            f"{_STORE}/thumbs/thumb_GH00282085.jpg",
            "huh:huhimagestorage/Herbaria1/GPI-Types/HUHGPI0048/Asteraceae/GH00282085",
        ),
        Example(f"{_SHEET}/rdf", f"{_SHEET}/rdf"),
        Example(
            "https://kiki.huh.harvard.edu/databases/specimen_search.php?mode=details&id=1259633",
            "https://kiki.huh.harvard.edu/databases/specimen_search.php?mode=details&id=1259633",
        ),
    ),
    traps=(
        (f"{_SHEET}/image", "https://data.huh.harvard.edu/4924631e-7492-43ed-9e68-a81de2f1572a/thumb"),
        (
            "http://kiki.huh.harvard.edu/databases/image.php?id=1259633",
            "http://kiki.huh.harvard.edu/databases/image.php?id=1259634",
        ),
        (
            "https://s3.amazonaws.com/huhwebimages/88121474E5EE4EF/type/full/263659.jpg",
            "https://s3.amazonaws.com/huhwebimages/88121474E5EE4EF/type/full/263660.jpg",
        ),
        (
            "https://s3.amazonaws.com/huhwebimages/88121474E5EE4EF/type/full/460286.jpg",
            "https://s3.amazonaws.com/huhwebimages/94A28BC927D6407/type/full/460286.jpg",
        ),
        (f"{_STORE}/GH00282085.tif", f"{_STORE}/GH00282085_a.tif"),
        (f"{_STORE}/GH00282085.tif", f"{_STORE.replace('0048', '0049')}/thumbs/thumb_GH00282085.jpg"),
    ),
)
