"""Royal Botanic Garden Edinburgh: the older image server, which names a file by its path and a size in pixels by `kind`.

The file's number is not the specimen's, and one barcode has several files, so nothing links it to the IIIF service of
`iiif.rbge.org.uk`, which is left to the rule for IIIF. A `kind` such as `100-square` is a crop.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "rbge"
VERSION = 1

_DEFAULT_EDGE = 600
_BASE64 = re.compile(r"[A-Za-z0-9+/]+").fullmatch
_KIND = re.compile(r"[0-9]{1,5}|original|").fullmatch


def _read(url: Url) -> Variant | None:
    arguments = url.arguments() if url.path == "/image_server.php" else None
    if arguments is None or not arguments.keys() <= {"kind", "path_base64"}:
        return None
    path = arguments.get("path_base64", "").replace("%2B", "+").replace("%2F", "/").replace("%3D", "=").rstrip("=")
    kind = arguments.get("kind", "")
    if not _BASE64(path) or not _KIND(kind):
        return None
    return Variant(path, (0, 0) if kind == "original" else (1, -int(kind or _DEFAULT_EDGE)))


_VARIANTS = Variants(NAME, VERSION, _read)
_SERVER = "http://repo.rbge.org.uk/image_server.php"
_FERN = "L2hlcmJhcml1bV9zcGVjaW1lbl9zY2Fucy9FMDAvMzMwLzcxMC8xMzcyOTguanBn"
_PLANT = "L2l0ZW1faW1hZ2VzL2FjY2Vzc2lvbnMvMTkvOTQvMjIvNzIvUGhvdG9fNTFjMWNlNzM5ZDE2Zi5qcGc"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Royal Botanic Garden Edinburgh",
    hosts=frozenset({"repo.rbge.org.uk"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="image_server.php of https://repo.rbge.org.uk (kind is the longest edge or `original`, the path names the file)",
    examples=(
        Example(f"{_SERVER}?kind=1500&path_base64={_FERN}", f"rbge:{_FERN}"),
        Example(f"https://repo.rbge.org.uk/image_server.php?path_base64={_FERN}&kind=4000", f"rbge:{_FERN}"),
        Example(f"{_SERVER}?path_base64={_FERN}", f"rbge:{_FERN}"),
        Example(f"{_SERVER}?kind=1500&path_base64={_PLANT}=", f"rbge:{_PLANT}"),
        Example(f"{_SERVER}?kind=original&path_base64={_PLANT}%3D", f"rbge:{_PLANT}"),
        Example(f"{_SERVER}?kind=100-square&path_base64={_FERN}", f"{_SERVER}?kind=100-square&path_base64={_FERN}"),
        Example("https://iiif.rbge.org.uk/herb/iiif/E00010016/manifest", "iiif:iiif.rbge.org.uk/herb/iiif/E00010016"),
        Example("http://data.rbge.org.uk/herb/E00680767", "http://data.rbge.org.uk/herb/E00680767"),
    ),
    traps=(
        (
            f"{_SERVER}?kind=1500&path_base64={_FERN}",
            f"{_SERVER}?kind=1500&path_base64=L2hlcmJhcml1bV9zcGVjaW1lbl9zY2Fucy9FMDAvMzMwLzcwOS8xMzcyOTUuanBn",
        ),
        (f"{_SERVER}?kind=1500&path_base64={_FERN}", f"{_SERVER}?kind=1500&path_base64={_FERN.lower()}"),
        (f"{_SERVER}?kind=1500&path_base64={_FERN}", f"{_SERVER}?kind=100-square&path_base64={_FERN}"),
    ),
)
