"""Moscow State University's herbarium: a sheet, and the number of its photo; `?original` asks for the whole scan."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rank, Rule
from d4c_images.identity.url import Url
from d4c_images.model import Image

NAME = "msu"
VERSION = 1

_PHOTO = re.compile(r"/open/public/item/([^/]+/img/[0-9]+)\.jpg(\?original)?").fullmatch


def _match(url: Url) -> Image | None:
    photo = _PHOTO(url.path + url.query)
    if photo is None:
        return None
    urls = (url.text,) if photo[2] else (f"{url.text}?original", url.text)
    return Image(f"msu:{photo[1]}", urls, url.host, NAME, VERSION)


def _rank(url: Url) -> Rank | None:
    photo = _PHOTO(url.path + url.query)
    return photo and (photo[2] is None, url.scheme != "https")


_SHEET = "https://plant.depo.msu.ru/open/public/item/MW0583804"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Moscow State University (Depository of Live Systems)",
    hosts=frozenset({"plant.depo.msu.ru"}),
    match=_match,
    rank=_rank,
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
