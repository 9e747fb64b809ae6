"""Naturalis, Leiden: the media library by a file's name and a size, and the image server of the Dutch species register.

A name is the registration number and often more: `_1`, `_d`, `_LAB`, `_preplog` are other photos. Of the formats, `large` is what
the publisher publishes; a `master` is rarely served, so it is not guessed. The image server has the original of every size.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Shortcut, Variant, Variants
from d4c_images.identity.url import Url

NAME = "naturalis"
VERSION = 1

_FORMATS = ("master", "large", "medium", "small")
_FILE = re.compile(r"(/file/id/([^/]+)/format/)(master|large|medium|small)/?").fullmatch
_IMAGE = re.compile(r"/(original|comping|thumb|[0-9]+x[0-9]+)/([^/]+\.[A-Za-z]+)").fullmatch
_BY_WORD = {"original": (0, 0), "comping": (1, 0), "thumb": (3, 0)}


def _read(url: Url) -> Variant | None:
    if url.query:
        return None
    if url.host == "medialib.naturalis.nl" and (found := _FILE(url.path)):
        path, name, size = found.groups()
        better = f"{url.root}{path}large" if size in ("medium", "small") else ""
        return Variant(name, (_FORMATS.index(size), len(url.path)), better)
    if url.host == "images.naturalis.nl" and (found := _IMAGE(url.path)):
        size, name = found.groups()
        rank = _BY_WORD.get(size) or (2, -int(size.partition("x")[0]))
        return Variant(f"images/{name}", rank, f"{url.root}/original/{name}" if size != "original" else "")
    return None


_VARIANTS = Variants(NAME, VERSION, _read)
_MEDIA = "https://medialib.naturalis.nl/file/id"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Naturalis Biodiversity Center, Leiden",
    hosts=frozenset({"medialib.naturalis.nl", "images.naturalis.nl"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    shortcuts=(Shortcut(f"{_MEDIA}/", r"([A-Za-z0-9][A-Za-z0-9_.-]*)/format/(?:master|large)/?", "", "medialib.naturalis.nl"),),
    source="https://github.com/naturalis/nba-docs (multimedia); https://github.com/naturalis/linnaeus_ng (original, thumb, WxH)",
    examples=(
        Example(f"{_MEDIA}/WAG.1530197/format/large", "naturalis:WAG.1530197"),
        Example(f"{_MEDIA}/WAG.1530197/format/small", "naturalis:WAG.1530197", f"{_MEDIA}/WAG.1530197/format/large"),
        Example(f"{_MEDIA}/L.1911711/format/master", "naturalis:L.1911711"),
        Example(f"{_MEDIA}/RMNH.MAM.63914_preplog/format/large", "naturalis:RMNH.MAM.63914_preplog"),
        Example("https://images.naturalis.nl/original/csr%2FDML_6601.jpg", "naturalis:images/csr%2FDML_6601.jpg"),
        Example(
            "http://images.naturalis.nl/510x272/134158.jpg",
            "naturalis:images/134158.jpg",
            "http://images.naturalis.nl/original/134158.jpg",
        ),
        Example(f"{_MEDIA}/WAG.1530197/format/mp3", f"{_MEDIA}/WAG.1530197/format/mp3"),
    ),
    traps=(
        (f"{_MEDIA}/WAG.1530197/format/large", f"{_MEDIA}/WAG.1530250/format/large"),
        (f"{_MEDIA}/RMNH.INS.867435_1/format/large", f"{_MEDIA}/RMNH.INS.867435_2/format/large"),
        (f"{_MEDIA}/RMNH.INS.867435/format/large", f"{_MEDIA}/RMNH.INS.867435_LAB/format/large"),
        (f"{_MEDIA}/RMNH.INS.867435_d/format/large", f"{_MEDIA}/RMNH.INS.867435_h/format/medium"),
        ("http://images.naturalis.nl/510x272/134158.jpg", "http://images.naturalis.nl/original/134158.JPG"),
    ),
)
