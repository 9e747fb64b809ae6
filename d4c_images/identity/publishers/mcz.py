"""Museum of Comparative Zoology, Harvard: a photo in `large/`, its thumbnail in `thumbnails/` next to it, or in `thumbs/` below it.

The letters at the end of a name (`_d`, `_v`, `_hl`, `_dx`) are views of the specimen. The IIIF service knows photos by a number
that is in no file path; its URLs are left to the rule for IIIF.
"""

from __future__ import annotations

import re

from d4c_images.identity.pattern import PICTURE
from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "mcz"
VERSION = 1

_THUMBNAIL = re.compile(r"(/specimen_images/(?:(?!thumb)[^/]+/)+)(?:thumbnails/([^/]+)|thumbs/([^/]+))").fullmatch
_PHOTO = re.compile(rf"/specimen_images/(?:[^/]+/)+[^/]+\.{PICTURE}").fullmatch


def _read(url: Url) -> Variant | None:
    if url.query or not _PHOTO(url.path):
        return None
    if found := _THUMBNAIL(url.path):
        folder, beside, below = found.groups()
        path = f"{folder}large/{beside}" if beside else f"{folder}{below}"
        return Variant(path.removeprefix("/"), (1,), url.root + path)
    return Variant(url.path.removeprefix("/"), (0,))


_VARIANTS = Variants(NAME, VERSION, _read)
_HERPS = "http://mczbase.mcz.harvard.edu/specimen_images/herpetology"
_DAY = "https://mczbase.mcz.harvard.edu/specimen_images/ent-lepidoptera/images/2009_07_31"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Museum of Comparative Zoology, Harvard University",
    hosts=frozenset({"mczbase.mcz.harvard.edu"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/MCZbase/MCZbase (previews in thumbs/); large/ and thumbnails/ stand under one gbifID",
    examples=(
        Example(f"{_HERPS}/large/R147039_A_festae_dx.jpg", "mcz:specimen_images/herpetology/large/R147039_A_festae_dx.jpg"),
        Example(
            f"{_HERPS}/thumbnails/R147039_A_festae_dx.jpg",
            "mcz:specimen_images/herpetology/large/R147039_A_festae_dx.jpg",
            f"{_HERPS}/large/R147039_A_festae_dx.jpg",
        ),
        Example(f"{_DAY}/IMG_012764.JPG", "mcz:specimen_images/ent-lepidoptera/images/2009_07_31/IMG_012764.JPG"),
        Example(
            f"{_DAY}/thumbs/IMG_012764.JPG",
            "mcz:specimen_images/ent-lepidoptera/images/2009_07_31/IMG_012764.JPG",
            f"{_DAY}/IMG_012764.JPG",
        ),
        Example(
            "https://mczbase.mcz.harvard.edu/specimen_images/entomology/paleo/large/PALE-7514_Apis_henshawi.jpg",
            "mcz:specimen_images/entomology/paleo/large/PALE-7514_Apis_henshawi.jpg",
        ),
        Example("http://mczbase.mcz.harvard.edu/guid/MCZ:IZ:78844", "http://mczbase.mcz.harvard.edu/guid/MCZ:IZ:78844"),
        Example("http://mczbase.mcz.harvard.edu/media/1272114", "http://mczbase.mcz.harvard.edu/media/1272114"),
    ),
    traps=(
        (f"{_HERPS}/large/R142422_A_statisticus_H_hl.jpg", f"{_HERPS}/large/R142422_A_statisticus_H_hd.jpg"),
        (f"{_HERPS}/large/R142422_A_statisticus_H_v.jpg", f"{_HERPS}/large/R142422_A_statisticus_H_hv.jpg"),
        (f"{_HERPS}/thumbnails/R93722_R_beddomei_S_hv.jpg", f"{_HERPS}/large/R93722_R_beddomei_S_hl.jpg"),
        (f"{_DAY}/IMG_012764.JPG", f"{_DAY.replace('07_31', '08_01')}/thumbs/IMG_012764.JPG"),
        (f"{_HERPS}/large/A1.jpg", f"{_HERPS.replace('herpetology', 'mammalogy')}/thumbnails/A1.jpg"),
    ),
)
