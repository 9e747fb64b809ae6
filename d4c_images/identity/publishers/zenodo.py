"""Zenodo (and Plazi's figures there): the record's number and the file's name, in the four forms its pages and API have used.

Plazi calls every figure `figure.png`: the name alone does not identify it. IIIF URLs of Zenodo are the IIIF rule's.
"""

from __future__ import annotations

import re

from d4c_images.identity.pattern import UUID
from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "zenodo"
VERSION = 1

_API = re.compile(r"/api/records/([0-9]+)/files/([^/]+)/content").fullmatch
_PAGE = re.compile(r"/records?/([0-9]+)/files/([^/?]+)(?:\?download=1)?").fullmatch
_BUCKET = re.compile(rf"/api/files/({UUID})/([^/?]+)(?:\?download=1)?").fullmatch


def _read(url: Url) -> Variant | None:
    text = url.path + url.query
    file = _PAGE(text) or _API(text) or _BUCKET(text)
    # All of them return the same file; the older form costs one more redirect.
    return file and Variant(f"{file[1]}/{file[2]}", (int(url.path.startswith("/record/")), len(url.text)))


_VARIANTS = Variants(NAME, VERSION, _read)
RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Zenodo (figures of Plazi)",
    hosts=frozenset({"zenodo.org", "www.zenodo.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://developers.zenodo.org (links of a record's files)",
    examples=(
        Example("https://zenodo.org/record/3696514/files/figure.png", "zenodo:3696514/figure.png"),
        Example("https://zenodo.org/records/3696514/files/figure.png?download=1", "zenodo:3696514/figure.png"),
        Example("https://zenodo.org/api/records/4589980/files/figure.png/content", "zenodo:4589980/figure.png"),
        Example(
            "https://zenodo.org/api/files/cbb44724-0c2f-4f4c-9a0c-3f6d8a0f0a11/figure.png",
            "zenodo:cbb44724-0c2f-4f4c-9a0c-3f6d8a0f0a11/figure.png",
        ),
        Example("https://zenodo.org/record/3696514", "https://zenodo.org/record/3696514"),
        Example(
            "https://zenodo.org/record/3696514/files/plates.zip/preview?page=2",
            "https://zenodo.org/record/3696514/files/plates.zip/preview?page=2",
        ),
    ),
    traps=(
        ("https://zenodo.org/record/3696514/files/figure.png", "https://zenodo.org/record/3696515/files/figure.png"),
        ("https://zenodo.org/record/3696514/files/figure.png", "https://zenodo.org/record/3696514/files/figure2.png"),
        ("https://zenodo.org/record/199559/files/figure.png", "https://zenodo.org/record/199561/files/figure.png"),
    ),
)
