"""Tela Botanica: a photo's nine-digit number followed by the size: `img:002221908O.jpg` is the original.

`XL`, `L`, `M`, `S`, `XS` and those with a number are sizes; preceded by `C` or `CR`, they are cropped to a square.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "tela_botanica"
VERSION = 1

_SIZES = ("O", "X3L", "X2L", "XL", "L", "M", "S", "XS", "X2S", "X3S")
_PHOTO = re.compile(rf"/img:([0-9]{{9}})(CR?)?({'|'.join(_SIZES)})(\.jpg)?").fullmatch


def _read(url: Url) -> Variant | None:
    found = None if url.query else _PHOTO(url.path)
    if found is None:
        return None
    number, cut, size, extension = found.groups()
    rank = (int(cut is not None), _SIZES.index(size), int(extension is None))
    better = f"{url.root}/img:{number}O{extension or ''}" if rank[:2] > (0, 0) else ""
    return Variant(number, rank, better)


_VARIANTS = Variants(NAME, VERSION, _read)
_API = "https://api.tela-botanica.org"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Tela Botanica",
    hosts=frozenset({"api.tela-botanica.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://www.tela-botanica.org (Carnet en ligne: image numbers and formats; O is the original)",
    examples=(
        Example(f"{_API}/img:002221908O.jpg", "tela_botanica:002221908"),
        Example(f"{_API}/img:002221908O", "tela_botanica:002221908"),
        Example(f"{_API}/img:002221908M.jpg", "tela_botanica:002221908", f"{_API}/img:002221908O.jpg"),
        Example(
            "http://api.tela-botanica.org/img:000275387CRS.jpg",
            "tela_botanica:000275387",
            "http://api.tela-botanica.org/img:000275387O.jpg",
        ),
        Example(f"{_API}/service:eflore:0.1/images", f"{_API}/service:eflore:0.1/images"),
    ),
    traps=(
        (f"{_API}/img:002221908O.jpg", f"{_API}/img:002221909O.jpg"),
        (f"{_API}/img:002221908CRS.jpg", f"{_API}/img:002221918CRS.jpg"),
    ),
)
