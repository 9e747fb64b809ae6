"""Brigham Young University, Stanley L. Welsh Herbarium: `X_lg`, `X_sm` and `X_tn` in one folder; all three exist for each sheet."""

from __future__ import annotations

from d4c_images.identity.rule import Example, Rule, SuffixSizes, Variants

NAME = "byu"
VERSION = 1

_SIZES = SuffixSizes(folder=r"/Herbarium/img[a-z]+(?:/[^/]+)*", sizes=(("_lg",), ("_sm",), ("_tn",)), derived="_lg")
_VARIANTS = Variants(NAME, VERSION, _SIZES.read)
_SHEET = "https://bry.byu.edu/Herbarium/imgbry/01/0103/BRYV0103943"
_KEY = "byu:bry.byu.edu/Herbarium/imgbry/01/0103/BRYV0103943.jpg"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Brigham Young University herbarium (BRY)",
    hosts=frozenset({"bry.byu.edu"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/poppynorthing/PERE_rotation2, multimedia.csv: 45 Audubon Core rows that name all three sizes",
    examples=(
        Example(f"{_SHEET}_lg.jpg", _KEY),
        Example(f"{_SHEET}_sm.jpg", _KEY, f"{_SHEET}_lg.jpg"),
        Example(f"{_SHEET}_tn.jpg", _KEY, f"{_SHEET}_lg.jpg"),
    ),
    traps=(
        (f"{_SHEET}_lg.jpg", f"{_SHEET}.jpg"),
        (f"{_SHEET}_lg.jpg", "https://bry.byu.edu/Herbarium/imgbry/01/0103/BRYV0103944_lg.jpg"),
        (f"{_SHEET}_lg.jpg", f"{_SHEET}_2_lg.jpg"),
        (f"{_SHEET}_lg.jpg", "https://bry.byu.edu/Herbarium/imgbry/01/0104/BRYV0103943_lg.jpg"),
    ),
)
