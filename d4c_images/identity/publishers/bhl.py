"""Biodiversity Heritage Library: a page's number, as its whole scan or a thumbnail. Ignores the page's web page and text."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "bhl"
VERSION = 1

_PAGE = re.compile(r"/page(image|thumb)/([0-9]+)(?:,([0-9]{1,4}),([0-9]{1,4}))?").fullmatch


def _read(url: Url) -> Variant | None:
    page = None if url.query else _PAGE(url.path)
    if page is None:
        return None
    kind, number, *sides = page.groups(default="0")
    if kind == "image":
        return Variant(number, (0, 0))
    return Variant(number, (1, -max(map(int, sides))), f"{url.root}/pageimage/{number}")


_VARIANTS = Variants(NAME, VERSION, _read)
RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Biodiversity Heritage Library",
    hosts=frozenset({"www.biodiversitylibrary.org", "biodiversitylibrary.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://www.biodiversitylibrary.org/docs/api3.html (FullSizeImageUrl and ThumbnailUrl of a page)",
    examples=(
        Example("https://www.biodiversitylibrary.org/pageimage/27274329", "bhl:27274329"),
        Example(
            "http://www.biodiversitylibrary.org/pagethumb/603998,200,300",
            "bhl:603998",
            "http://www.biodiversitylibrary.org/pageimage/603998",
        ),
        Example("https://www.biodiversitylibrary.org/page/603998", "https://www.biodiversitylibrary.org/page/603998"),
        Example("https://www.biodiversitylibrary.org/pageocr/603998", "https://www.biodiversitylibrary.org/pageocr/603998"),
    ),
    traps=(
        ("https://www.biodiversitylibrary.org/pageimage/27274329", "https://www.biodiversitylibrary.org/pageimage/27274328"),
        ("https://www.biodiversitylibrary.org/pagethumb/603998", "https://www.biodiversitylibrary.org/pageocr/603998"),
    ),
)
