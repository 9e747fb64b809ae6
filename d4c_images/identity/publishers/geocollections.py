"""SARV, the geological collections of Estonia: a file named by a UUID, below a folder of its size unless it is the original."""

from __future__ import annotations

import re

from d4c_images.identity.pattern import PICTURE, UUID
from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "geocollections"
VERSION = 1

_SIZES = (None, "large", "medium", "small")
_FILE = re.compile(rf"(?:/(large|medium|small))?(/(..)/(..)/(?=\3\4)({UUID}\.{PICTURE}))").fullmatch


def _read(url: Url) -> Variant | None:
    found = None if url.query else _FILE(url.path)
    if found is None:
        return None
    size, path, _, _, name = found.groups()
    return Variant(name, (_SIZES.index(size),), url.root + path if size else "")


_VARIANTS = Variants(NAME, VERSION, _read)
_FILES = "https://files.geocollections.info"
_FOSSIL = "fc/91/fc912711-cb4f-4aab-9bbb-c5d302542205.jpg"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Geocollections of Estonia (SARV)",
    hosts=frozenset({"files.geocollections.info"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/geocollections (getFileUrl: size, two digits, two digits, file; no size is the file itself)",
    examples=(
        Example(f"{_FILES}/medium/{_FOSSIL}", "geocollections:fc912711-cb4f-4aab-9bbb-c5d302542205.jpg", f"{_FILES}/{_FOSSIL}"),
        Example(f"{_FILES}/{_FOSSIL}", "geocollections:fc912711-cb4f-4aab-9bbb-c5d302542205.jpg"),
        Example(f"{_FILES}/img/geocase/taltech1.png", f"{_FILES}/img/geocase/taltech1.png"),
    ),
    traps=(
        (f"{_FILES}/medium/{_FOSSIL}", f"{_FILES}/medium/{_FOSSIL.replace('205.', '206.')}"),
        (f"{_FILES}/{_FOSSIL}", f"{_FILES}/{_FOSSIL.replace('jpg', 'png')}"),
    ),
)
