"""Biodiversity Heritage Library: a page's number, as its whole scan or a thumbnail. Leaves the page's web page and text alone."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rank, Rule
from d4c_images.identity.url import Url
from d4c_images.model import Image

NAME = "bhl"
VERSION = 1

_PAGE = re.compile(r"/page(image|thumb)/([0-9]+)(?:,([0-9]{1,4}),([0-9]{1,4}))?").fullmatch


def _match(url: Url) -> Image | None:
    page = None if url.query else _PAGE(url.path)
    if page is None:
        return None
    best = f"{url.root}/pageimage/{page[2]}"
    return Image(f"bhl:{page[2]}", (url.text,) if page[1] == "image" else (best, url.text), url.host, NAME, VERSION)


def _rank(url: Url) -> Rank | None:
    page = None if url.query else _PAGE(url.path)
    if page is None:
        return None
    return (page[1] != "image", -max(map(int, page.groups(default="0")[2:])), url.scheme != "https", len(url.root))


RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Biodiversity Heritage Library",
    hosts=frozenset({"www.biodiversitylibrary.org", "biodiversitylibrary.org"}),
    match=_match,
    rank=_rank,
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
