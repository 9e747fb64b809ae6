"""IIPImage (the herbarium of Geneva and many image collections): `FIF` names the picture, and so does the start of `IIIF`.

`WID` and `HEI` make it smaller, `CVT` sets the format. The names may be in lower case. A region, or one of the
many ways of changing how a picture looks, is ignored; so are tiles and descriptions.
"""

from __future__ import annotations

import re

from d4c_images.identity.pattern import IIIF_SIZE
from d4c_images.identity.rule import Example, Rule, Variant, Variants, longest_side
from d4c_images.identity.url import Url

NAME = "iip"
VERSION = 1

_SIDES = ("wid", "hei")
_SHOWN_AS = frozenset({"cvt", "qlt", *_SIDES})
_SIDE = re.compile(r"[0-9]{1,5}").fullmatch
_IIIF = re.compile(rf"\?IIIF=([^&#]+?)/(?:full/({IIIF_SIZE})/0/default\.jpg|info\.json)").fullmatch
_FULL, _SIZED, _INFO = range(3)


def _read(url: Url) -> Variant | None:
    if url.query.startswith("?IIIF="):
        return _read_iiif(url)
    arguments = url.arguments()
    if arguments is None:
        return None
    by_name = {name.lower(): value for name, value in arguments.items()}
    picture = by_name.pop("fif", "")
    if not picture or "cvt" not in by_name or len(by_name) + 1 < len(arguments) or not by_name.keys() <= _SHOWN_AS:
        return None
    sides = [by_name[side] for side in _SIDES if side in by_name]
    if not all(map(_SIDE, sides)):
        return None
    if not sides:
        return Variant(_key(url, picture), (_FULL, 0))
    pairs = [pair for pair in url.query[1:].split("&") if pair.partition("=")[0].lower() not in _SIDES]
    return Variant(_key(url, picture), (_SIZED, -max(map(int, sides))), f"{url.root}{url.path}?{'&'.join(pairs)}")


def _read_iiif(url: Url) -> Variant | None:
    found = _IIIF(url.query)
    if found is None:
        return None
    picture, size = found.groups()
    if size in ("max", "full"):
        return Variant(_key(url, picture), (_FULL, 1))
    rank = (_SIZED, -longest_side(size)) if size else (_INFO, 0)
    return Variant(_key(url, picture), rank, f"{url.root}{url.path}?IIIF={picture}/full/max/0/default.jpg")


def _key(url: Url, picture: str) -> str:
    return f"{url.host}{url.path}?{picture.replace('%2F', '/')}"


_VARIANTS = Variants(NAME, VERSION, _read)
_SHEET = "https://www.ville-ge.ch/imagezoom/?fif=cjbiip/cjb19/img_108/G00358418.ptif"
_KEY = "iip:www.ville-ge.ch/imagezoom/?cjbiip/cjb19/img_108/G00358418.ptif"
_CGI = "https://ourarchives.amane-project.jp/iipsrv/iipsrv.fcgi?IIIF=/a/b.tif"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="IIPImage servers (Conservatoire et Jardin botaniques de Genève and others)",
    hints=("?fif=", "?FIF=", "?IIIF="),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://iipimage.sourceforge.io/documentation/protocol (Internet Imaging Protocol: FIF, CVT, WID, HEI, RGN)",
    examples=(
        Example(f"{_SHEET}&cvt=jpeg", _KEY),
        Example(_SHEET.replace("fif", "FIF") + "&CVT=jpg", _KEY),
        Example(f"{_SHEET}&wid=1200&cvt=jpeg", _KEY, f"{_SHEET}&cvt=jpeg"),
        Example(f"{_CGI}/full/max/0/default.jpg", "iip:ourarchives.amane-project.jp/iipsrv/iipsrv.fcgi?/a/b.tif"),
        Example(
            f"{_CGI}/full/600,/0/default.jpg",
            "iip:ourarchives.amane-project.jp/iipsrv/iipsrv.fcgi?/a/b.tif",
            f"{_CGI}/full/max/0/default.jpg",
        ),
        Example(
            f"{_CGI}/info.json",
            "iip:ourarchives.amane-project.jp/iipsrv/iipsrv.fcgi?/a/b.tif",
            f"{_CGI}/full/max/0/default.jpg",
        ),
        Example(f"{_SHEET}&rgn=0.1,0.1,0.5,0.5&cvt=jpeg", f"{_SHEET}&rgn=0.1,0.1,0.5,0.5&cvt=jpeg"),
        Example(f"{_SHEET}&obj=IIP,1.0", f"{_SHEET}&obj=IIP,1.0"),
        Example(f"{_CGI}/0,0,900,900/max/0/default.jpg", f"{_CGI}/0,0,900,900/max/0/default.jpg"),
    ),
    traps=(
        (f"{_SHEET}&cvt=jpeg", f"{_SHEET.replace('418.', '419.')}&cvt=jpeg"),
        (f"{_SHEET}&cvt=jpeg", f"{_SHEET.replace('418.', '418_1.')}&cvt=jpeg"),
        (f"{_SHEET}&cvt=jpeg", f"{_SHEET}&rgn=0.1,0.1,0.5,0.5&cvt=jpeg"),
        (f"{_CGI}/full/max/0/default.jpg", f"{_CGI}/0,0,900,900/max/0/default.jpg"),
    ),
)
