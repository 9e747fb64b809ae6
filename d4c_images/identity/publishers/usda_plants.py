"""USDA PLANTS gallery: the folder is the size, and so is the first letter after the photo's number: `acmi2_002_lvp.jpg`.

The letters after it (`v`, `h`, `p`, `d`) mean portrait or landscape, photo or drawing, and belong to the photo.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "usda_plants"
VERSION = 1

_SIZES = ("pubs", "large", "standard", "thumbs")
_PHOTO = re.compile(r"/gallery/(pubs|large|standard|thumbs)/([a-z0-9]+_[0-9]{3}_)([plst])([a-z]{2})\.jpg").fullmatch


def _read(url: Url) -> Variant | None:
    found = None if url.query else _PHOTO(url.path)
    if found is None:
        return None
    size, number, letter, kind = found.groups()
    if not size.startswith(letter):
        return None
    return Variant(number + kind, (_SIZES.index(size),), f"{url.root}/gallery/pubs/{number}p{kind}.jpg" if size != "pubs" else "")


_VARIANTS = Variants(NAME, VERSION, _read)
_GALLERY = "http://plants.usda.gov/gallery"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="USDA PLANTS database",
    hosts=frozenset({"plants.usda.gov"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://plants.usda.gov (gallery: thumbs, standard, large, and pubs for printing); real rows",
    examples=(
        Example(f"{_GALLERY}/pubs/acmi2_006_php.jpg", "usda_plants:acmi2_006_hp"),
        Example(f"{_GALLERY}/large/acmi2_002_lvp.jpg", "usda_plants:acmi2_002_vp", f"{_GALLERY}/pubs/acmi2_002_pvp.jpg"),
        Example(f"{_GALLERY}/standard/hosp_003_shp.jpg", "usda_plants:hosp_003_hp", f"{_GALLERY}/pubs/hosp_003_php.jpg"),
        Example(f"{_GALLERY}/large/acmi2_002_svp.jpg", f"{_GALLERY}/large/acmi2_002_svp.jpg"),
    ),
    traps=(
        (f"{_GALLERY}/large/acmi2_002_lvp.jpg", f"{_GALLERY}/large/acmi2_006_lvp.jpg"),
        (f"{_GALLERY}/large/acmi2_002_lvp.jpg", f"{_GALLERY}/large/acmi2_002_lhp.jpg"),
        (f"{_GALLERY}/large/acmi2_002_lvp.jpg", f"{_GALLERY}/large/acmi2_002_lvd.jpg"),
    ),
)
