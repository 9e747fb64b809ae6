"""CyberFlora Louisiana (LSU, NLU, NO): `X_L`, `X_WR` and `X_TN` in one folder; a bare `X` or `X_1` is another file.

The letters are sizes here and nowhere else: `_l` is a lateral view at other museums.
"""

from __future__ import annotations

from d4c_images.identity.rule import Example, Rule, SuffixSizes, Variants

NAME = "cyberflora"
VERSION = 1

_SIZES = SuffixSizes(folder=r"/images/LSUCollections(?:/[^/]+)*", sizes=(("_L",), ("_WR",), ("_TN",)), derived="_L")
_VARIANTS = Variants(NAME, VERSION, _SIZES.read)
_SHEET = "https://cyberfloralouisiana.com/images/LSUCollections/Vascular/LSU/00/087/LSU00087572"
_KEY = "cyberflora:cyberfloralouisiana.com/images/LSUCollections/Vascular/LSU/00/087/LSU00087572.jpg"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="CyberFlora Louisiana (LSU herbarium)",
    domains=frozenset({"cyberfloralouisiana.com"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/poppynorthing/PERE_rotation2, multimedia.csv: Audubon Core rows that name all three sizes",
    examples=(
        Example(f"{_SHEET}_L.JPG", _KEY),
        Example(f"{_SHEET}_WR.JPG", _KEY, f"{_SHEET}_L.JPG"),
        Example(f"{_SHEET}_TN.JPG", _KEY, f"{_SHEET}_L.JPG"),
        Example(f"{_SHEET}.JPG", f"{_SHEET}.JPG"),
    ),
    traps=(
        (f"{_SHEET}_L.JPG", "https://cyberfloralouisiana.com/images/LSUCollections/Vascular/NO/0/099/NO0099117_L.JPG"),
        (f"{_SHEET}_L.JPG", f"{_SHEET}_1_L.JPG"),
        (f"{_SHEET}_L.JPG", f"{_SHEET}_1.JPG"),
    ),
)
