"""Rocky Mountain Herbarium (Wyoming): the file's name is the photo, `Width` the size to which a script scales it."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "rocky_mountain"
VERSION = 1

_SCAN = re.compile(r"/images/jpeg\.php\?Image=([A-Za-z0-9_.-]+\.jpe?g)&Width=([0-9]{2,5})").fullmatch


def _read(url: Url) -> Variant | None:
    scan = _SCAN(url.path + url.query)
    return scan and Variant(scan[1], (-int(scan[2]),))


_VARIANTS = Variants(NAME, VERSION, _read)
_SHEET = "https://rmh.uwyo.edu/images/jpeg.php?Image=RM0021232.jpg"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Rocky Mountain Herbarium (RM)",
    hosts=frozenset({"rmh.uwyo.edu"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://rmh.uwyo.edu (links of its specimen pages, Width=2000 in GBIF)",
    examples=(
        Example(f"{_SHEET}&Width=2000", "rocky_mountain:RM0021232.jpg"),
        Example(f"{_SHEET}&Width=600", "rocky_mountain:RM0021232.jpg"),
        Example(_SHEET, _SHEET),
    ),
    traps=(
        (f"{_SHEET}&Width=2000", f"{_SHEET.replace('1232', '1233')}&Width=2000"),
        (f"{_SHEET}&Width=2000", f"{_SHEET.replace('.jpg', '_1.jpg')}&Width=2000"),
    ),
)
