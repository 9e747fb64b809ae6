"""CalPhotos: four groups of four digits are the photo's number; the folder before them is the size."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "calphotos"
VERSION = 1

_PHOTO = re.compile(r"/imgs/(128x192|512x768)/([0-9]{4}_[0-9]{4}/[0-9]{4}/[0-9]{4})\.(jpe?g)").fullmatch


def _read(url: Url) -> Variant | None:
    photo = None if url.query else _PHOTO(url.path)
    if photo is None:
        return None
    size, number, extension = photo.groups()
    if size == "512x768":
        return Variant(number, (0,))
    return Variant(number, (1,), f"{url.root}/imgs/512x768/{number}.{extension}")


_VARIANTS = Variants(NAME, VERSION, _read)
RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="CalPhotos (University of California, Berkeley)",
    hosts=frozenset({"calphotos.berkeley.edu"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://calphotos.berkeley.edu/use.html (images as its pages and EOL's archive link them)",
    examples=(
        Example("http://calphotos.berkeley.edu/imgs/512x768/0000_0000/1009/1646.jpeg", "calphotos:0000_0000/1009/1646"),
        Example(
            "https://calphotos.berkeley.edu/imgs/128x192/8235_3181/2555/0081.jpeg",
            "calphotos:8235_3181/2555/0081",
            "https://calphotos.berkeley.edu/imgs/512x768/8235_3181/2555/0081.jpeg",
        ),
        Example(
            "https://calphotos.berkeley.edu/cgi/img_query?enlarge=0000+0000+1009+1646",
            "https://calphotos.berkeley.edu/cgi/img_query?enlarge=0000+0000+1009+1646",
        ),
    ),
    traps=(
        (
            "http://calphotos.berkeley.edu/imgs/512x768/8076_3101/2933/0025.jpeg",
            "http://calphotos.berkeley.edu/imgs/512x768/8076_3101/0667/0025.jpeg",
        ),
        (
            "http://calphotos.berkeley.edu/imgs/512x768/8076_3101/2933/0025.jpeg",
            "http://calphotos.berkeley.edu/imgs/512x768/8076_3102/2933/0025.jpeg",
        ),
    ),
)
