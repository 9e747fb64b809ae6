"""CollectionSpace (Berkeley's herbaria and museums, and others): a blob's id is the picture, its derivatives are sizes.

`OriginalJpeg` is the whole picture, whatever the upload was; the upload itself (`/content` alone) is often restricted, so it
is not requested if a row names a derivative.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "collectionspace"
VERSION = 1

_BLOB = re.compile(
    r"(?P<blob>(?:/[^/]+)*/(?:imageserver|cspace-services)/blobs/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}(?:-[0-9a-f]{12})?)"
    r"(?:/derivatives/(?P<size>OriginalJpeg|FullHD|Large|Medium|Small|Thumbnail))?/content"
).fullmatch
_SIZES = (None, "OriginalJpeg", "FullHD", "Large", "Medium", "Small", "Thumbnail")


def _read(url: Url) -> Variant | None:
    found = None if url.query else _BLOB(url.path)
    if found is None:
        return None
    rank = _SIZES.index(found["size"])
    better = f"{url.root}{found['blob']}/derivatives/OriginalJpeg/content" if rank > 1 else ""
    return Variant(url.host + found["blob"], (rank,), better)


_VARIANTS = Variants(NAME, VERSION, _read)
_BLOBS = "https://webapps.cspace.berkeley.edu/ucjeps/imageserver/blobs"
_KEY = "collectionspace:webapps.cspace.berkeley.edu/ucjeps/imageserver/blobs"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="CollectionSpace (University and Jepson Herbaria and others)",
    hints=("/blobs/",),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/collectionspace (services: blobs and derivatives); https://github.com/cspace-deployment/django_example_config",
    examples=(
        Example(
            f"{_BLOBS}/5dbc3c43-b765-4c10-9d5d/derivatives/Medium/content",
            f"{_KEY}/5dbc3c43-b765-4c10-9d5d",
            f"{_BLOBS}/5dbc3c43-b765-4c10-9d5d/derivatives/OriginalJpeg/content",
        ),
        Example(f"{_BLOBS}/5dbc3c43-b765-4c10-9d5d/derivatives/OriginalJpeg/content", f"{_KEY}/5dbc3c43-b765-4c10-9d5d"),
        Example(f"{_BLOBS}/5dbc3c43-b765-4c10-9d5d/content", f"{_KEY}/5dbc3c43-b765-4c10-9d5d"),
        Example(f"{_BLOBS}/5dbc3c43-b765-4c10-9d5d", f"{_BLOBS}/5dbc3c43-b765-4c10-9d5d"),
    ),
    traps=(
        (
            f"{_BLOBS}/5dbc3c43-b765-4c10-9d5d/derivatives/Medium/content",
            f"{_BLOBS}/5dbc3c43-b765-4c10-9d5e/derivatives/Medium/content",
        ),
        (
            f"{_BLOBS}/5dbc3c43-b765-4c10-9d5d/derivatives/Medium/content",
            f"{_BLOBS.replace('/ucjeps/', '/pahma/')}/5dbc3c43-b765-4c10-9d5d/derivatives/Medium/content",
        ),
    ),
)
