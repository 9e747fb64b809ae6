"""Smithsonian National Museum of Natural History: EMu's media by number, in any size.

`?i=` and `?irn=` are kept apart, as are the departments (`env`), since nothing published says that they share numbers. `h`,
`w`, `thumb` and `ph` are presentation; without them the server gives the whole image (an `h=2000` in GBIF belongs to scans of 9,000
pixels). The same photo may also have an ARK, which no URL reveals (see `smithsonian`).
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Shortcut, Variant, Variants
from d4c_images.identity.url import Url

NAME = "nmnh"
VERSION = 1

_MEDIA = re.compile(r"(?:/media/(?:index\.php)?|/services/media\.php)\?(.+)").fullmatch
_ALL, _SIZED, _THUMB = range(3)


def _read(url: Url) -> Variant | None:
    found = _MEDIA(url.path + url.query)
    if found is None:
        return None
    number, env, kind, size = "", "", _ALL, 0
    for word in found[1].split("&"):
        name, _, value = word.partition("=")
        if name in ("i", "irn") and value.isdigit() and not number:
            number = word
        elif name == "env" and value.isalpha() and not env:
            env = word + "&"
        elif name in ("h", "w") and value.isdigit():
            kind, size = max(kind, _SIZED), max(size, int(value[:6]))
        elif name == "thumb":
            kind = _THUMB
        elif name != "ph":
            return None
    if not number:
        return None
    return Variant(env + number, (kind, -size), "" if kind == _ALL else f"{url.root}{url.path}?{env}{number}")


_VARIANTS = Variants(NAME, VERSION, _read)
_HOST = "collections.nmnh.si.edu"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Smithsonian National Museum of Natural History (EMu)",
    hosts=frozenset({_HOST, "collections.mnh.si.edu"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    shortcuts=tuple(
        Shortcut(f"{scheme}://{_HOST}/media/", r"(?:index\.php)?\?((?:i|irn)=[0-9]+)", "", _HOST) for scheme in ("http", "https")
    ),
    source="https://github.com/gbif/portal-feedback/issues/6158 (h=2000 beside PixelYDimension 8985 in gbif/pipelines' fixtures)",
    examples=(
        Example("https://collections.nmnh.si.edu/media/?i=12959552", "nmnh:i=12959552"),
        Example(
            "https://collections.nmnh.si.edu/media/?i=14034501&h=2000",
            "nmnh:i=14034501",
            "https://collections.nmnh.si.edu/media/?i=14034501",
        ),
        Example(
            "https://collections.nmnh.si.edu/media/?i=1529703&ph=yes&thumb=yes",
            "nmnh:i=1529703",
            "https://collections.nmnh.si.edu/media/?i=1529703",
        ),
        Example("http://collections.nmnh.si.edu/media/index.php?irn=11565320", "nmnh:irn=11565320"),
        Example(
            "https://collections.nmnh.si.edu/media/index.php?irn=9119927&h=2000",
            "nmnh:irn=9119927",
            "https://collections.nmnh.si.edu/media/index.php?irn=9119927",
        ),
        Example("https://collections.nmnh.si.edu/services/media.php?env=mammals&irn=10396971", "nmnh:env=mammals&irn=10396971"),
        Example(
            "https://collections.nmnh.si.edu/services/media.php?env=mammals&irn=10396971&thumb=yes",
            "nmnh:env=mammals&irn=10396971",
            "https://collections.nmnh.si.edu/services/media.php?env=mammals&irn=10396971",
        ),
    ),
    traps=(
        (
            "https://collections.nmnh.si.edu/services/media.php?env=mammals&irn=10396971",
            "https://collections.nmnh.si.edu/services/media.php?env=birds&irn=10396971",
        ),
        (
            "http://collections.nmnh.si.edu/media/index.php?irn=11565320",
            "http://collections.nmnh.si.edu/media/index.php?irn=11565321",
        ),
        ("https://collections.nmnh.si.edu/media/?i=11565320", "https://collections.nmnh.si.edu/media/?irn=11565320"),
        ("https://collections.nmnh.si.edu/media/?i=1529703&h=500", "https://collections.nmnh.si.edu/media/?i=1529703&page=2&h=500"),
    ),
)
