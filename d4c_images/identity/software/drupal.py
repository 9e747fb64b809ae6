"""Drupal: an uploaded picture below `sites/.../files`, and copies of it in `styles/<name>/public` each with a token `itok`."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "drupal"
VERSION = 1

_PICTURE = r"[^?]+\.(?i:jpe?g|png|gif|tiff?|webp)"
_FILES = r"(/(?:[^/?]+/)*sites/[^/?]+/files/)"
_COPY = re.compile(rf"{_FILES}styles/[^/?]+/public/({_PICTURE})(?:\?(?:h=[0-9a-f]+&)?itok=[A-Za-z0-9_-]+)?")
_ORIGINAL = re.compile(rf"{_FILES}(?!styles/)({_PICTURE})")
_CONVERTED = re.compile(r"(?<=\.jpg|\.JPG|\.png|\.PNG|\.gif|jpeg)\.webp\Z")


def _read(url: Url) -> Variant | None:
    text = url.path + url.query
    if found := _ORIGINAL.fullmatch(text):
        return Variant(f"{url.host}{found[1]}{found[2]}", (0,))
    found = _COPY.fullmatch(text)
    if found is None:
        return None
    folder, name = found[1], _CONVERTED.sub("", found[2])  # newer versions write `photo.jpg.webp`
    return Variant(f"{url.host}{folder}{name}", (1,), f"{url.root}{folder}{name}")


_VARIANTS = Variants(NAME, VERSION, _read)
_SITE = "https://www.example.org/sites/default/files"
_KEY = "drupal:www.example.org/sites/default/files"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Drupal (any server)",
    hints=("/files/",),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://www.drupal.org/docs/8/core/modules/image (image styles, itok)",
    examples=(
        Example(
            f"{_SITE}/styles/large/public/images/2019/moth%20(1).jpg?itok=nB2kX_1-",
            f"{_KEY}/images/2019/moth%20(1).jpg",
            f"{_SITE}/images/2019/moth%20(1).jpg",
        ),
        Example(
            f"{_SITE}/styles/max_650x650/public/moth.jpg.webp?itok=nB2kX_1-",
            f"{_KEY}/moth.jpg",
            f"{_SITE}/moth.jpg",
        ),
        Example(f"{_SITE}/images/2019/moth.jpg", f"{_KEY}/images/2019/moth.jpg"),
        Example(f"{_SITE}/styles/large/private/moth.jpg?itok=a", f"{_SITE}/styles/large/private/moth.jpg?itok=a"),
        Example(f"{_SITE}/images/2019/moth.jpg?page=2", f"{_SITE}/images/2019/moth.jpg?page=2"),
    ),
    traps=(
        (f"{_SITE}/styles/large/public/a/moth.jpg", f"{_SITE}/styles/large/public/b/moth.jpg"),
        (f"{_SITE}/styles/large/public/moth_0.jpg", f"{_SITE}/styles/large/public/moth_1.jpg"),
        (f"{_SITE}/moth.jpg", f"{_SITE}/moth.webp"),
        (f"{_SITE}/moth.jpg", f"{_SITE.replace('default', 'other')}/moth.jpg"),
    ),
)
