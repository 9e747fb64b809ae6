"""Omeka: a file's random name in a folder for its size. Everything but the original is a JPEG, whatever the original is.

Omeka Classic has `original`, `fullsize`, `thumbnails` and `square_thumbnails`, Omeka S `original`, `large`, `medium` and `square`.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "omeka"
VERSION = 1

_SIZES = {"original": 0, "fullsize": 1, "large": 1, "medium": 2, "thumbnails": 2, "square_thumbnails": 3, "square": 3}
_FILE = re.compile(rf"((?:/[^/?]+)*/files)/({'|'.join(_SIZES)})/([0-9a-f]{{32}}|[0-9a-f]{{40}})(\.[A-Za-z0-9]{{2,4}})").fullmatch


def _read(url: Url) -> Variant | None:
    file = None if url.query else _FILE(url.path)
    if file is None:
        return None
    folder, size, name, extension = file.groups()
    photo, rank = f"{url.host}{folder}/{name}", (_SIZES[size], len(extension))
    return Variant(photo, rank) if size == "original" else Variant(photo, rank, f"{url.root}{folder}/original/{name}{extension}")


_VARIANTS = Variants(NAME, VERSION, _read)
_CLASSIC, _CLASSIC_FILE = "http://blacklib1969.swarthmore.edu/files", "1db37712ad7c32467bfefa24de41c804.jpg"
_S, _S_FILE = "https://collections.example.edu/omeka-s/files", "0b7a0d2c5a434c259e3a7f2d5b6a9a1100ff00aa"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Omeka Classic and Omeka S (any server)",
    hints=("/files/",),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://omeka.org/classic/docs/Admin/Settings/Image_Derivative_Sizes/ and https://omeka.org/s/docs/developer/",
    examples=(
        Example(
            f"{_CLASSIC}/square_thumbnails/{_CLASSIC_FILE}",
            "omeka:blacklib1969.swarthmore.edu/files/1db37712ad7c32467bfefa24de41c804",
            f"{_CLASSIC}/original/{_CLASSIC_FILE}",
        ),
        Example(f"{_CLASSIC}/original/{_CLASSIC_FILE}", "omeka:blacklib1969.swarthmore.edu/files/1db37712ad7c32467bfefa24de41c804"),
        Example(
            f"{_S}/large/{_S_FILE}.jpg",
            f"omeka:collections.example.edu/omeka-s/files/{_S_FILE}",
            f"{_S}/original/{_S_FILE}.jpg",
        ),
        Example(f"{_S}/original/{_S_FILE}.tif", f"omeka:collections.example.edu/omeka-s/files/{_S_FILE}"),
        Example(f"{_CLASSIC}/original/herbarium-sheet-12.jpg", f"{_CLASSIC}/original/herbarium-sheet-12.jpg"),
    ),
    traps=(
        (f"{_CLASSIC}/fullsize/{_CLASSIC_FILE}", f"{_CLASSIC}/fullsize/{_CLASSIC_FILE.replace('804', '805')}"),
        (f"{_S}/large/{_S_FILE}.jpg", f"{_S.replace('omeka-s', 'other')}/large/{_S_FILE}.jpg"),
    ),
)
