"""JACQ, the virtual herbaria of Vienna, Graz, Prague and many others: pictures of a specimen by its number there.

All services know picture `<specimen>/<number>`, counted from 0, in four sizes: `download`, `europeana` (1,200 pixels wide), `thumb`
(160) and `show`, which is a viewer's page. `image.php` with a number means the first one; with a name it means a file of that name,
which has no number. Without `withredirect` the services answer with the address as text. A manifest represents the first picture
and is requested first, since it lists the others.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "jacq"
VERSION = 1

_SIZES = ("manifest", "download", "europeana", "thumb", "show")
_IMAGE = re.compile(
    r"(?:/jacq-services/rest|/v1)/images/(download|europeana|thumb|show)/([0-9]+)(?:/([0-9]+))?/?(\?withredirect=(?:1|true))?"
).fullmatch
_MANIFEST = re.compile(r"(?:/jacq-services/rest|/v1)/iiif/manifest/([0-9]+)").fullmatch
_CACHED = re.compile(r"/europeana/[^/]+/([0-9]+)\.jpg").fullmatch
_FILE = re.compile(r"[A-Za-z0-9_.%-]+").fullmatch


def _read(url: Url) -> Variant | None:
    text = url.path + url.query
    if found := _IMAGE(text):
        size, specimen, number, redirects = found.groups()
        return _picture(specimen, number, size, bool(redirects))
    if found := _MANIFEST(text):
        return _picture(found[1], "0", "manifest", True)
    if url.host == "object.jacq.org" and (found := _CACHED(text)):
        return _picture(found[1], "0", "europeana", True)
    if url.host in ("www.jacq.org", "jacq.org") and url.path == "/image.php":
        return _file(url)
    return None


def _picture(specimen: str, number: str | None, size: str, redirects: bool) -> Variant:
    number = str(int(number or 0))
    rank = (_SIZES.index(size), 0 if redirects else 1)
    better = f"https://api.jacq.org/v1/images/download/{specimen}/{number}?withredirect=1" if rank > (1, 0) else ""
    return Variant(f"{specimen}:{number}", rank, better)


def _file(url: Url) -> Variant | None:
    arguments = url.arguments()
    if arguments is None or not arguments.keys() <= {"filename", "sid", "method"}:
        return None
    name, size = arguments.get("filename", ""), arguments.get("method", "")
    if size not in _SIZES[1:] or not _FILE(name):
        return None
    if name.isdigit():
        return _picture(name, "0", size, True)._replace(
            rank=(_SIZES.index(size), 2),
            better=f"https://api.jacq.org/v1/images/download/{name}/0?withredirect=1",
        )
    better = url.text.replace(f"method={size}", "method=download") if size != "download" else ""
    return Variant(name, (_SIZES.index(size), 0), better)


_VARIANTS = Variants(NAME, VERSION, _read)
_BEST = "https://api.jacq.org/v1/images/download/113465/0?withredirect=1"
_REST = "https://services.jacq.org/jacq-services/rest"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="JACQ virtual herbaria",
    hosts=frozenset({"www.jacq.org", "jacq.org", "services.jacq.org", "api.jacq.org", "object.jacq.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/jacq-system/herbarium-services (V1/ImagesController.php, ImageLinkMapper.php)",
    examples=(
        Example("http://www.jacq.org/image.php?filename=113465&method=europeana", "jacq:113465:0", _BEST),
        Example("https://www.jacq.org/image.php?filename=113465&sid=113465&method=show", "jacq:113465:0", _BEST),
        Example(f"{_REST}/images/europeana/113465?withredirect=1", "jacq:113465:0", _BEST),
        Example(f"{_REST}/images/europeana/113465", "jacq:113465:0", _BEST),
        Example("https://api.jacq.org/v1/images/download/113465/0", "jacq:113465:0", _BEST),
        Example(_BEST, "jacq:113465:0"),
        Example("https://api.jacq.org/v1/images/show/113465?withredirect=1", "jacq:113465:0", _BEST),
        Example("https://object.jacq.org/europeana/GZU/113465.jpg", "jacq:113465:0", _BEST),
        Example("https://api.jacq.org/v1/iiif/manifest/113465", "jacq:113465:0"),
        Example(f"{_REST}/images/thumb/113465/2?withredirect=1", "jacq:113465:2", _BEST.replace("/0?", "/2?")),
        Example(
            "https://www.jacq.org/image.php?filename=wu_0001234_b&sid=1234&method=europeana",
            "jacq:wu_0001234_b",
            "https://www.jacq.org/image.php?filename=wu_0001234_b&sid=1234&method=download",
        ),
        Example(
            "https://www.jacq.org/image.php?filename=113465&method=thumbs",
            "https://www.jacq.org/image.php?filename=113465&method=thumbs",
        ),
        Example("https://www.jacq.org/detail.php?ID=113465", "https://www.jacq.org/detail.php?ID=113465"),
        Example("https://api.jacq.org/v1/images/list/113465", "https://api.jacq.org/v1/images/list/113465"),
    ),
    traps=(
        (
            "http://www.jacq.org/image.php?filename=113465&method=europeana",
            "http://www.jacq.org/image.php?filename=113466&method=europeana",
        ),
        (_BEST, _BEST.replace("/0?", "/1?")),
        (f"{_REST}/images/europeana/113465?withredirect=1", f"{_REST}/images/europeana/113465/1?withredirect=1"),
        ("https://api.jacq.org/v1/iiif/manifest/1739342", "https://api.jacq.org/v1/iiif/manifest/1739343"),
        (
            "https://www.jacq.org/image.php?filename=wu_0001234&method=europeana",
            "https://www.jacq.org/image.php?filename=wu_0001234_b&method=europeana",
        ),
    ),
)
