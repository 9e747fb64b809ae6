"""Moscow State University's herbarium: a sheet, and the number of its photo; `?original` asks for the whole scan."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "msu"
VERSION = 1

_PHOTO = re.compile(r"/open/public/item/([^/]+/img/[0-9]+)\.jpg(\?original)?").fullmatch


def _read(url: Url) -> Variant | None:
    photo = _PHOTO(url.path + url.query)
    if photo is None:
        return None
    return Variant(photo[1], (0,)) if photo[2] else Variant(photo[1], (1,), f"{url.text}?original")


_VARIANTS = Variants(NAME, VERSION, _read)
_SHEET = "https://plant.depo.msu.ru/open/public/item/MW0583804"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Moscow State University (Depository of Live Systems)",
    hosts=frozenset({"plant.depo.msu.ru"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://plant.depo.msu.ru (images of its GBIF data set)",
    examples=(
        Example(f"{_SHEET}/img/0.jpg?original", "msu:MW0583804/img/0"),
        Example(f"{_SHEET}/img/0.jpg", "msu:MW0583804/img/0", f"{_SHEET}/img/0.jpg?original"),
        Example(_SHEET, _SHEET),
        Example(
            "https://plant.depo.msu.ru/open/public/scan.jpg?pcode=MW0436310&fp-type=florus",
            "https://plant.depo.msu.ru/open/public/scan.jpg?pcode=MW0436310&fp-type=florus",
        ),
    ),
    traps=(
        (f"{_SHEET}/img/0.jpg?original", f"{_SHEET}/img/1.jpg?original"),
        (f"{_SHEET}/img/0.jpg?original", "https://plant.depo.msu.ru/open/public/item/MW0583805/img/0.jpg?original"),
    ),
)
