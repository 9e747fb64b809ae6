"""FSI Server (JBRJ's Jabot and Reflora, BGBM and others): `source` names the file, everything else how it is rendered.

A request for a region, or with effects, is ignored.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "fsi"
VERSION = 1

_PATH = "/fsi/server"
_SHOWN_AS = frozenset({"width", "height", "quality", "profile", "format", "rect"})
_EDGE = re.compile(r"[0-9]{1,5}").fullmatch
_WHOLE = ("", "0,0,1,1", "0%2C0%2C1%2C1")


def _picture(url: Url) -> tuple[str, dict[str, str]] | None:
    """The file's name and the parameters that say how it is rendered."""
    arguments = url.arguments() if url.path == _PATH else None
    if arguments is None or arguments.pop("type", "") != "image" or arguments.get("rect", "") not in _WHOLE:
        return None
    source = arguments.pop("source", "")
    return (source.replace("%2F", "/"), arguments) if source and arguments.keys() <= _SHOWN_AS else None


def _read(url: Url) -> Variant | None:
    picture = _picture(url)
    if picture is None:
        return None
    source, shown_as = picture
    edges = [int(edge) for side in ("width", "height") if _EDGE(edge := shown_as.get(side, ""))]
    # Without a size the server chooses one, so any size above a thumbnail's is better.
    return Variant(f"{url.host}/{source}", (-max(edges, default=1000), len(url.text)))


_VARIANTS = Variants(NAME, VERSION, _read)
_JBRJ = "http://imagens3.jbrj.gov.br/fsi/server?type=image"
_BGBM = "http://mediastorage.bgbm.org/fsi/server?type=image&source=B%2FSZ%2F00%2F00%2F35%2FB_SZ_0000352.tif"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="FSI Server (Jardim Botânico do Rio de Janeiro, BGBM and others)",
    hints=("/fsi/server?",),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://docs.neptunelabs.com (FSI Server: request parameters of type=image)",
    examples=(
        Example(f"{_JBRJ}&source=rb/1/37/81/25/01378125.jpg", "fsi:imagens3.jbrj.gov.br/rb/1/37/81/25/01378125.jpg"),
        Example(
            f"{_JBRJ}&source=rb/1/37/81/25/01378125.jpg&width=300&height=100&profile=jpeg&quality=20",
            "fsi:imagens3.jbrj.gov.br/rb/1/37/81/25/01378125.jpg",
        ),
        Example(
            "http://imagens1.jbrj.gov.br/fsi/server?type=image&width=375&height=600&rect=0,0,1,1&profile=fsi&source=hvpr%2Fmnhn%2FP00128420.jpg&",
            "fsi:imagens1.jbrj.gov.br/hvpr/mnhn/P00128420.jpg",
        ),
        Example(
            "http://jbrj-public.s3.amazonaws.com/fsi/server?type=image&source=DZI/alcb/0/2/alcb00002036.dzi",
            "fsi:jbrj-public.s3.amazonaws.com/DZI/alcb/0/2/alcb00002036.dzi",
        ),
        Example(f"{_BGBM}&width=1900&quality=95&profile=jpeg", "fsi:mediastorage.bgbm.org/B/SZ/00/00/35/B_SZ_0000352.tif"),
        Example(f"{_BGBM}&rect=0.1,0,0.8,1", f"{_BGBM}&rect=0.1,0,0.8,1"),
        Example(f"{_BGBM}&effects=colorize(10,50,0)", f"{_BGBM}&effects=colorize(10,50,0)"),
    ),
    traps=(
        (
            "http://imagens3.jbrj.gov.br/fsi/server?type=image&source=rb/0/13/11/84/00131184.jpg",
            "http://imagens3.jbrj.gov.br/fsi/server?type=image&source=rb/0/13/11/84/00131184-1.jpg",
        ),
        (f"{_JBRJ}&source=rb/1/40/17/34/01401734.JPG", f"{_JBRJ}&source=rb/1/40/17/34/01401734.jpg"),
        (f"{_JBRJ}&source=rb/a.jpg", "http://imagens2.jbrj.gov.br/fsi/server?type=image&source=rb/a.jpg"),
        (f"{_BGBM}&width=1900&quality=95&profile=jpeg", f"{_BGBM.replace('352', '355')}&width=1900&quality=95&profile=jpeg"),
    ),
)
