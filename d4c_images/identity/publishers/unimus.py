"""Norwegian university museums: a media number as `id`, and the size as `type`. Ignores requests by file name."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "unimus"
VERSION = 1

# `orig` is what was archived, often a TIFF; `jpeg` is made from it.
_SIZES = ("orig", "jpeg", "small")
_PATH = "/felles/bilder/web_hent_bilde.php"
_NUMBER = re.compile(r"[0-9]{1,12}").fullmatch


def _read(url: Url) -> Variant | None:
    arguments = url.arguments() if url.path == _PATH else None
    if arguments is None or not arguments.keys() <= {"id", "type"} or not _NUMBER(number := arguments.get("id", "")):
        return None
    size = arguments.get("type")
    if size == "orig":
        return Variant(number, (0,))
    if size is not None and size not in _SIZES:
        return None
    return Variant(number, (_SIZES.index(size) if size else len(_SIZES),), f"{url.root}{_PATH}?id={number}&type=orig")


_VARIANTS = Variants(NAME, VERSION, _read)
_ROOT = "https://www.unimus.no/felles/bilder/web_hent_bilde.php"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Norwegian university museums (UNIMUS)",
    hosts=frozenset({"www.unimus.no", "unimus.no"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://www.unimus.no (code of the museums' migration to Specify: `id` is the media group, `type=orig` its original)",
    examples=(
        Example(f"{_ROOT}?id=15729818&type=jpeg", "unimus:15729818", f"{_ROOT}?id=15729818&type=orig"),
        Example(
            "http://www.unimus.no/felles/bilder/web_hent_bilde.php?id=12109017&type=jpeg&",
            "unimus:12109017",
            "http://www.unimus.no/felles/bilder/web_hent_bilde.php?id=12109017&type=orig",
        ),
        Example(f"{_ROOT}?id=12109017&type=orig", "unimus:12109017"),
        Example(f"{_ROOT}?type=small&id=12109017", "unimus:12109017", f"{_ROOT}?id=12109017&type=orig"),
        Example(f"{_ROOT}?filename=a.tif&type=jpeg", f"{_ROOT}?filename=a.tif&type=jpeg"),
        Example("https://www.unimus.no/photos/image.php?id=5", "https://www.unimus.no/photos/image.php?id=5"),
    ),
    traps=(
        (f"{_ROOT}?id=15729818&type=jpeg", f"{_ROOT}?id=15729819&type=jpeg"),
        (f"{_ROOT}?id=15729818&type=jpeg", f"{_ROOT}?id=15729818&type=pdf"),
    ),
)
