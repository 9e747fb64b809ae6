"""University of Colorado herbarium (COLO): `X` and its thumbnail `X_tn` in one folder."""

from __future__ import annotations

from d4c_images.identity.rule import Example, Rule, SuffixSizes, Variants

NAME = "colorado"
VERSION = 1

_SIZES = SuffixSizes(folder=r"(?:/botany)?/COLO_[A-Z]+(?:/[^/]+)*", sizes=(("",), ("_tn",)), derived="")
_VARIANTS = Variants(NAME, VERSION, _SIZES.read)
_SHEET = "https://botanydb.colorado.edu/COLO_V/01926/01926559"
_KEY = "colorado:botanydb.colorado.edu/COLO_V/01926/01926559.jpg"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="University of Colorado herbarium (COLO)",
    hosts=frozenset({"botanydb.colorado.edu"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/poppynorthing/PERE_rotation2, multimedia.csv: 23 Audubon Core rows that name both",
    examples=(
        Example(f"{_SHEET}.jpg", _KEY),
        Example(f"{_SHEET}_tn.jpg", _KEY, f"{_SHEET}.jpg"),
        Example(
            "https://botanydb.colorado.edu/botany/COLO_V/02567/02567493_tn.jpg",
            "colorado:botanydb.colorado.edu/botany/COLO_V/02567/02567493.jpg",
            "https://botanydb.colorado.edu/botany/COLO_V/02567/02567493.jpg",
        ),
    ),
    traps=(
        (f"{_SHEET}.jpg", "https://botanydb.colorado.edu/COLO_V/01926/01926468.jpg"),
        (f"{_SHEET}.jpg", f"{_SHEET}_2.jpg"),
        (f"{_SHEET}.jpg", "https://botanydb.colorado.edu/COLO_B/01926/01926559.jpg"),
        (f"{_SHEET}.jpg", "https://botanydb.colorado.edu/botany/COLO_V/01926/01926559.jpg"),
    ),
)
