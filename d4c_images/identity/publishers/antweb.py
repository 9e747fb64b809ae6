"""AntWeb: specimen, view and number of the shot; the last word of the name is the size. The view is part of the identity."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "antweb"
VERSION = 1

_SIZES = ("high", "med", "low", "thumbview")
_PHOTO = re.compile(r"/images/([^/]+)/(\1_[a-z]{1,3}_[0-9]+)_(high|med|low|thumbview)\.jpg").fullmatch


def _read(url: Url) -> Variant | None:
    photo = None if url.query else _PHOTO(url.path)
    if photo is None:
        return None
    specimen, shot, size = photo.groups()
    rank = (_SIZES.index(size), int(not url.host.startswith("static.")))
    return Variant(shot, rank) if size == "high" else Variant(shot, rank, f"{url.root}/images/{specimen}/{shot}_high.jpg")


_VARIANTS = Variants(NAME, VERSION, _read)
RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="AntWeb (California Academy of Sciences)",
    hosts=frozenset({"static.antweb.org", "www.antweb.org", "antweb.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://www.antweb.org (its API lists _high, _med, _low and _thumbview of every shot)",
    examples=(
        Example("https://static.antweb.org/images/casent0650521/casent0650521_p_1_high.jpg", "antweb:casent0650521_p_1"),
        Example(
            "http://www.antweb.org/images/14d618c/14d618c_d_1_thumbview.jpg",
            "antweb:14d618c_d_1",
            "http://www.antweb.org/images/14d618c/14d618c_d_1_high.jpg",
        ),
        Example(
            "https://www.antweb.org/images/psw7796-21/psw7796-21_d_1_med.jpg",
            "antweb:psw7796-21_d_1",
            "https://www.antweb.org/images/psw7796-21/psw7796-21_d_1_high.jpg",
        ),
        Example(
            "https://www.antweb.org/images/casent0106394/casent0106394_d.tif",
            "https://www.antweb.org/images/casent0106394/casent0106394_d.tif",
        ),
    ),
    traps=(
        (
            "https://www.antweb.org/images/casent0106394/casent0106394_d_1_high.jpg",
            "https://www.antweb.org/images/casent0106394/casent0106394_p_1_high.jpg",
        ),
        (
            "https://www.antweb.org/images/casent0106394/casent0106394_d_1_high.jpg",
            "https://www.antweb.org/images/casent0106394/casent0106394_d_2_high.jpg",
        ),
    ),
)
