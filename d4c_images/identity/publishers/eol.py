"""Encyclopedia of Life: a file's path; crops and smaller copies have their size before the extension."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "eol"
VERSION = 1

# content.eol.org: `.98x68`, `.130x130`, `.260x190`, `.580x360` and so on, and the original without.
_FILE = re.compile(
    r"(/data/media/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{1,2}/[^/]+?)(?:\.([0-9]{2,4})x[0-9]{2,4})?(\.[A-Za-z]{3,4})"
).fullmatch
# media.eol.org, before 2018: `_98_68` to `_580_360`, the original `_orig`, and a copy without.
_OLD_FILE = re.compile(
    r"(/content/[0-9]{4}/[0-9]{2}/[0-9]{2}/[0-9]{2}/[0-9]{5})(?:_(orig|[0-9]{2,3})(?:_[0-9]{2,3})?)?(\.jpg)"
).fullmatch


def _read(url: Url) -> Variant | None:
    file = None if url.query else _FILE(url.path) or _OLD_FILE(url.path)
    if file is None:
        return None
    stem, size, extension = file.groups()
    photo = f"{stem[1:]}{extension}"
    if stem.startswith("/content/"):
        rank = (-9999 if size == "orig" else -int(size or 5000), len(url.root))
        return Variant(photo, rank) if size == "orig" else Variant(photo, rank, f"{url.root}{stem}_orig{extension}")
    return Variant(photo, (-int(size), 0), f"{url.root}{stem}{extension}") if size else Variant(photo, (-9999, 0))


_VARIANTS = Variants(NAME, VERSION, _read)
_MOLE = "https://content.eol.org/data/media/84/e0/a5/7.CalPhotos_0000_0000_0109_1987"
_OLD = "http://media.eol.org/content/2016/08/08/11/40276"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Encyclopedia of Life",
    domains=frozenset({"eol.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/EOL/eol_website and https://github.com/EOL/eol (content servers: sizes of an image)",
    examples=(
        Example(f"{_MOLE}.98x68.jpg", f"eol:{_MOLE[24:]}.jpg", f"{_MOLE}.jpg"),
        Example(f"{_MOLE}.jpg", f"eol:{_MOLE[24:]}.jpg"),
        Example(f"{_OLD}_580_360.jpg", "eol:content/2016/08/08/11/40276.jpg", f"{_OLD}_orig.jpg"),
        Example(f"{_OLD}_orig.jpg", "eol:content/2016/08/08/11/40276.jpg"),
        Example(f"{_OLD}.jpg", "eol:content/2016/08/08/11/40276.jpg", f"{_OLD}_orig.jpg"),
        Example("https://eol.org/pages/1276240", "https://eol.org/pages/1276240"),
    ),
    traps=(
        (f"{_MOLE}.98x68.jpg", f"{_MOLE.replace('1987', '1988')}.98x68.jpg"),
        (f"{_MOLE}.98x68.jpg", f"{_MOLE.replace('/a5/', '/a6/')}.98x68.jpg"),
        (f"{_OLD}_580_360.jpg", f"{_OLD.replace('/11/', '/12/')}_580_360.jpg"),
        (f"{_OLD}_580_360.jpg", f"{_OLD[:-1]}7_580_360.jpg"),
    ),
)
