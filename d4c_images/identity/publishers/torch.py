"""TORCH herbaria (BRIT and others) on the Texas Advanced Computing Center's disks: `X`, `X_med` and `X_thumb` in one folder.

Other projects keep files on that host under their own rules, so only the two folders of these herbaria are taken.
"""

from __future__ import annotations

from d4c_images.identity.rule import Example, Rule, SuffixSizes, Variants

NAME = "torch"
VERSION = 1

_SIZES = SuffixSizes(folder=r"/(?:torch|brit)(?:/[^/]+)+", sizes=(("",), ("_med",), ("_thumb",)), derived="")
_VARIANTS = Variants(NAME, VERSION, _SIZES.read)
_SHEET = "https://web.corral.tacc.utexas.edu/torch/SAT/SAT0042000/SAT0042325"
_KEY = "torch:web.corral.tacc.utexas.edu/torch/SAT/SAT0042000/SAT0042325.jpg"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="TORCH herbaria at TACC (BRIT and others)",
    hosts=frozenset({"web.corral.tacc.utexas.edu"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/poppynorthing/PERE_rotation2, multimedia.csv: Audubon Core rows that name all three sizes",
    examples=(
        Example(f"{_SHEET}.JPG", _KEY),
        Example(f"{_SHEET}_med.JPG", _KEY, f"{_SHEET}.JPG"),
        Example(f"{_SHEET}_thumb.JPG", _KEY, f"{_SHEET}.JPG"),
        Example(
            "https://web.corral.tacc.utexas.edu/brit/BRIT/BRIT0873000/BRIT873434_med.jpg",
            "torch:web.corral.tacc.utexas.edu/brit/BRIT/BRIT0873000/BRIT873434.jpg",
            "https://web.corral.tacc.utexas.edu/brit/BRIT/BRIT0873000/BRIT873434.jpg",
        ),
        Example(
            "https://web.corral.tacc.utexas.edu/UAF/uam_ento/2018_05_22/tb/tn_UAM100365963.jpg",
            "https://web.corral.tacc.utexas.edu/UAF/uam_ento/2018_05_22/tb/tn_UAM100365963.jpg",
        ),
    ),
    traps=(
        (f"{_SHEET}.JPG", "https://web.corral.tacc.utexas.edu/torch/SAT/SAT0042000/SAT0042326.JPG"),
        (f"{_SHEET}.JPG", f"{_SHEET}_1.JPG"),
        (f"{_SHEET}.JPG", f"{_SHEET}_d.JPG"),
    ),
)
