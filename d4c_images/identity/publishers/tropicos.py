"""Missouri Botanical Garden (Tropicos): an image by its number, as a download, as a thumbnail and on two web pages.

Thumbnails and detail pictures are on `images.mobot.org`, in folders of a thousand numbers; those named by a GUID or a barcode are
ignored, since they reveal no number.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "tropicos"
VERSION = 1

_DOWNLOAD = re.compile(r"/imagedownload\.aspx\?imageid=([0-9]+)", re.IGNORECASE).fullmatch
_PAGE = re.compile(r"/(?:imagefullview\.aspx\?imageid=|image/)([0-9]+)", re.IGNORECASE).fullmatch
_FILE = re.compile(r"/tropicosimages[0-9]/(detailimages|thumbnails)/TropicosImagesVol[0-9]+/([0-9]+000)/([0-9]+)\.jpg").fullmatch
_WHOLE, _DETAIL, _THUMBNAIL, _WEB_PAGE = range(4)


def _read(url: Url) -> Variant | None:
    text = url.path + url.query
    if url.host == "images.mobot.org":
        found = _FILE(text)
        if found is None or int(found[3]) // 1000 * 1000 != int(found[2]):
            return None
        return _smaller(found[3], _DETAIL if found[1] == "detailimages" else _THUMBNAIL)
    if found := _DOWNLOAD(text):
        return Variant(found[1], (_WHOLE,))
    found = _PAGE(text)
    return found and _smaller(found[1], _WEB_PAGE)


def _smaller(number: str, rank: int) -> Variant:
    return Variant(number, (rank,), f"https://www.tropicos.org/ImageDownload.aspx?imageid={number}")


_VARIANTS = Variants(NAME, VERSION, _read)
_SITE = "www.tropicos.org"
_BEST = f"https://{_SITE}/ImageDownload.aspx?imageid=101065934"
_FOLDER = "http://images.mobot.org/tropicosimages4/thumbnails/TropicosImagesVol4/101065000"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Missouri Botanical Garden (Tropicos)",
    hosts=frozenset({_SITE, "tropicos.org", "images.mobot.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://www.tropicos.org (download, full view and thumbnail of image 101065934 stand under one record)",
    examples=(
        Example(f"http://{_SITE}/ImageDownload.aspx?imageid=100450872", "tropicos:100450872"),
        Example(_BEST, "tropicos:101065934"),
        Example(f"https://{_SITE}/ImageFullView.aspx?imageid=101065934", "tropicos:101065934", _BEST),
        Example(f"https://{_SITE}/Image/101065934", "tropicos:101065934", _BEST),
        Example(f"{_FOLDER}/101065934.jpg", "tropicos:101065934", _BEST),
        Example(
            "http://images.mobot.org/tropicosimages3/detailimages/Tropicos/131/80B7E868-D17F-4A90-8B81-FFF0BDD114D1.jpg",
            "http://images.mobot.org/tropicosimages3/detailimages/Tropicos/131/80B7E868-D17F-4A90-8B81-FFF0BDD114D1.jpg",
        ),
        Example(
            "http://images.mobot.org/tropicosthumbnails/Tropicos/225/MO-216345.jpg",
            "http://images.mobot.org/tropicosthumbnails/Tropicos/225/MO-216345.jpg",
        ),
        Example(f"http://{_SITE}/Name/101065934", f"http://{_SITE}/Name/101065934"),
    ),
    traps=(
        (f"http://{_SITE}/ImageDownload.aspx?imageid=100450872", f"http://{_SITE}/ImageDownload.aspx?imageid=100450873"),
        (f"http://{_SITE}/ImageDownload.aspx?imageid=101065934", f"http://{_SITE}/Name/101065934"),
        (_BEST, f"{_FOLDER}/101065935.jpg"),
        (_BEST, f"{_FOLDER.replace('065000', '064000')}/101065934.jpg"),
    ),
)
