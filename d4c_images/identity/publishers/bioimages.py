"""Bioimages, Vanderbilt University: the folder, and a letter before the file's name, give the quality.

`gq/<photographer>/g<file>` is 1,024 pixels long, `lq/.../w<file>` 640, `tn/.../t<file>` 100. URLs of these photos on the library's
IIIF server are left to the rule for IIIF.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "bioimages"
VERSION = 1

_QUALITIES = ("gq/g", "lq/w", "tn/t")
_PHOTO = re.compile(r"/(gq|lq|tn)/([a-z]+)/([gwt])([^/]+\.jpg)").fullmatch


def _read(url: Url) -> Variant | None:
    found = None if url.query else _PHOTO(url.path)
    if found is None:
        return None
    folder, photographer, letter, file = found.groups()
    quality = f"{folder}/{letter}"
    if quality not in _QUALITIES:
        return None
    better = f"{url.root}/gq/{photographer}/g{file}" if folder != "gq" else ""
    return Variant(f"{photographer}/{file}", (_QUALITIES.index(quality),), better)


_VARIANTS = Variants(NAME, VERSION, _read)
_SITE = "http://bioimages.vanderbilt.edu"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Bioimages (Vanderbilt University)",
    hosts=frozenset({"bioimages.vanderbilt.edu"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="http://bioimages.vanderbilt.edu (service access points of an image in its RDF: gq, lq, tn)",
    examples=(
        Example(f"{_SITE}/gq/baskauf/g87880.jpg", "bioimages:baskauf/87880.jpg"),
        Example(
            f"{_SITE}/lq/baskauf/whetgla30670.jpg",
            "bioimages:baskauf/hetgla30670.jpg",
            f"{_SITE}/gq/baskauf/ghetgla30670.jpg",
        ),
        Example(f"{_SITE}/tn/thomas/t0426-01-03.jpg", "bioimages:thomas/0426-01-03.jpg", f"{_SITE}/gq/thomas/g0426-01-03.jpg"),
        Example(f"{_SITE}/baskauf/87880", f"{_SITE}/baskauf/87880"),
    ),
    traps=(
        (f"{_SITE}/gq/baskauf/g87880.jpg", f"{_SITE}/gq/thomas/g87880.jpg"),
        (f"{_SITE}/gq/thomas/g0426-01-03.jpg", f"{_SITE}/tn/thomas/t0426-01-02.jpg"),
        (f"{_SITE}/gq/baskauf/g87880.jpg", f"{_SITE}/gq/baskauf/w87880.jpg"),
    ),
)
