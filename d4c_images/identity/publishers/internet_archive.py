"""Internet Archive: pages of scanned books, by their number in the book viewer. Ignores whole books and files.

`n321` counts the displayed pages, from 0; `leaf322` is the number of the scan, which also counts what is not displayed (colour
cards, discarded scans). Neither can be computed from the other, nor can the IIIF name of a page, which holds the leaf: that takes
the book's scan data. So the two are two images, and a viewer's page leads to what the Archive itself serves under the same number.
Printed page numbers (`page/23`) are ignored: a book may use a number twice. Of two facing pages (`mode/2up`), the one in the URL
is meant.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "internet_archive"
VERSION = 1

_ITEM = r"(?P<item>[A-Za-z0-9][A-Za-z0-9._-]{2,99})"
_PAGE = r"(?P<page>(?:n|leaf)(?:0|[1-9][0-9]{0,4}))"
_VIEWER = re.compile(
    rf"/(?:stream|details|embed)/{_ITEM}(?:(?:\?ui=embed)?#|/)page/{_PAGE}(?:/mode/[a-z0-9]+)?(?:/search/[^/?#]+)?"
    r"(?:\?(?:view=theater|ui=embed))?"
).fullmatch
_IMAGE = re.compile(rf"/download/{_ITEM}/page/{_PAGE}(?:_w(?P<width>[0-9]{{1,5}}))?\.jpg").fullmatch
_WHOLE, _SCALED, _WEB_PAGE = range(3)


def _read(url: Url) -> Variant | None:
    text = url.path + url.query
    if image := _IMAGE(text):
        photo = f"{image['item']}/{image['page']}"
        if image["width"] is None:
            return Variant(photo, (_WHOLE, 0, len(url.text)))
        return Variant(photo, (_SCALED, -int(image["width"]), len(url.text)), _whole(image))
    if viewer := _VIEWER(text):
        return Variant(f"{viewer['item']}/{viewer['page']}", (_WEB_PAGE, 0, len(url.text)), _whole(viewer))
    return None


def _whole(found: re.Match[str]) -> str:
    return f"https://archive.org/download/{found['item']}/page/{found['page']}.jpg"


_VARIANTS = Variants(NAME, VERSION, _read)
_BOOK = "catalogueofdepar14unse"
_BEST = f"https://archive.org/download/{_BOOK}/page/n321.jpg"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Internet Archive (pages of books)",
    hosts=frozenset({"archive.org", "www.archive.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://openlibrary.org/dev/docs/bookurls (pages, leafs and indices)",
    examples=(
        Example(f"http://www.archive.org/stream/{_BOOK}#page/n321/mode/2up", f"internet_archive:{_BOOK}/n321", _BEST),
        Example(f"https://archive.org/details/{_BOOK}/page/n321/mode/1up?view=theater", f"internet_archive:{_BOOK}/n321", _BEST),
        Example(f"https://archive.org/stream/{_BOOK}?ui=embed#page/n321", f"internet_archive:{_BOOK}/n321", _BEST),
        Example(f"https://archive.org/download/{_BOOK}/page/n321_w800.jpg", f"internet_archive:{_BOOK}/n321", _BEST),
        Example(_BEST, f"internet_archive:{_BOOK}/n321"),
        Example(
            f"https://archive.org/details/{_BOOK}/page/leaf322",
            f"internet_archive:{_BOOK}/leaf322",
            f"https://archive.org/download/{_BOOK}/page/leaf322.jpg",
        ),
        Example(f"https://archive.org/stream/{_BOOK}#page/23/mode/2up", f"https://archive.org/stream/{_BOOK}#page/23/mode/2up"),
        Example(f"https://archive.org/details/{_BOOK}", f"https://archive.org/details/{_BOOK}"),
        Example(
            f"https://archive.org/download/{_BOOK}/page/n25_x280_y292_w668_h1080_s2.jpg",
            f"https://archive.org/download/{_BOOK}/page/n25_x280_y292_w668_h1080_s2.jpg",
        ),
    ),
    traps=(
        (f"http://www.archive.org/stream/{_BOOK}#page/n321/mode/2up", f"http://www.archive.org/stream/{_BOOK}#page/n322/mode/2up"),
        (f"http://www.archive.org/stream/{_BOOK}#page/n321/mode/2up", f"http://www.archive.org/stream/{_BOOK}#page/321/mode/2up"),
        (f"https://archive.org/details/{_BOOK}/page/n321", f"https://archive.org/details/{_BOOK}/page/leaf321"),
        (f"https://archive.org/details/{_BOOK}/page/n321", f"https://archive.org/details/{_BOOK}/{_BOOK}_1/page/n321"),
    ),
)
