"""New York Botanical Garden: a photo, and its thumbnail `.thumb.jpg` next to it. Nothing else in a name is a size."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "nybg"
VERSION = 1

_PHOTO = re.compile(r"/(images[0-9]?/(?:[0-9]+/)+[^/]+?)(\.thumb)?(\.(?:jpg|JPG))").fullmatch


def _read(url: Url) -> Variant | None:
    found = None if url.query else _PHOTO(url.path)
    if found is None:
        return None
    photo, thumb, extension = found.groups()
    return Variant(photo + extension, (1,), f"{url.root}/{photo}{extension}") if thumb else Variant(photo + extension, (0,))


_VARIANTS = Variants(NAME, VERSION, _read)
_IMAGES = "http://sweetgum.nybg.org/images3"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="New York Botanical Garden",
    hosts=frozenset({"sweetgum.nybg.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://sweetgum.nybg.org (C. V. Starr Virtual Herbarium; both files stand in one row of its archive)",
    examples=(
        Example(f"{_IMAGES}/2673/350/03244329.jpg", "nybg:images3/2673/350/03244329.jpg"),
        Example(
            f"{_IMAGES}/2673/350/03244329.thumb.jpg",
            "nybg:images3/2673/350/03244329.jpg",
            f"{_IMAGES}/2673/350/03244329.jpg",
        ),
        Example("https://sweetgum.nybg.org/images3/1967/024/02513824.jpg", "nybg:images3/1967/024/02513824.jpg"),
        Example("http://sweetgum.nybg.org/vh/specimen.php?irn=1478224", "http://sweetgum.nybg.org/vh/specimen.php?irn=1478224"),
    ),
    traps=(
        (f"{_IMAGES}/2673/350/03244329.jpg", f"{_IMAGES}/2673/350/03244329_a.jpg"),
        (f"{_IMAGES}/2673/350/03244329.jpg", f"{_IMAGES}/2673/349/03244329.thumb.jpg"),
        (f"{_IMAGES}/2673/350/03244329.jpg", f"{_IMAGES.replace('3', '2')}/2673/350/03244329.jpg"),
    ),
)
