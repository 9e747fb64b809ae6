"""IIIF: every Image API URL of one service, its info.json and its manifest are one image. Sends nothing and reads no JSON.

The photo is what the service's identifier names; region, size, rotation, quality and format make views of it. So all views share a
key, and the views rank below the whole picture. A crop alone therefore brings the whole picture: more than was asked for, but never
another photo.

The identifier stays as written (`%2F` in it is not `/`; Image API 3.0 section 9), except that `%3A` and `:` are equal. A URL with a
query is not a IIIF URL. A manifest at `<service>/manifest` shares the service's key, as at RBGE, Meise, BGBM and Zenodo; a manifest
anywhere else is an image of its own by the exact rule. What it contains is learnt when it is fetched (`manifest`).

A manifest in a row is requested first, since only it can list further pictures. The service's info.json is requested if the whole
picture is refused, before smaller views: it says which sizes the server offers.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from d4c_images.identity.rule import Example, Rank, Rule
from d4c_images.identity.url import Url, parts
from d4c_images.model import Image

NAME = "iiif"
VERSION = 1

_VIEW = re.compile(
    r"(?P<base>/.+)"
    r"/(?P<region>full|square|pct:[0-9.,]+|[0-9]+,[0-9]+,[0-9]+,[0-9]+)"
    r"/(?P<size>\^?(?:full|max|!?[0-9]{1,9},[0-9]{1,9}|[0-9]{1,9},|,[0-9]{1,9}|pct:[0-9]{1,9}(?:\.[0-9]*)?)|res:[0-9]{1,2})"
    r"/(?P<rotation>!?[0-9]+(?:\.[0-9]+)?)"
    r"/(?P<quality>default|native|colou?r|gr[ae]y|bitonal)(?:\.(?P<format>[A-Za-z0-9]{2,4}))?"
).fullmatch
_RESOLVER = re.compile(r"(?P<base>/.+)/(?P<kind>info\.json|manifest(?:\.json)?)").fullmatch
_VERSION_IN_PATH = re.compile(r"/iiif(?:/image)?/(?:v|image/)?([123])(?:\.[0-9])?/", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+")

_COLOURS = {"default": 0, "color": 1, "colour": 1, "native": 2, "gray": 3, "grey": 3, "bitonal": 4}
_FORMATS = {"jpg": 0, "jpeg": 0, "tif": 1, "tiff": 1, "jp2": 2, "png": 3, "webp": 4, None: 5, "gif": 6, "pdf": 7}
_FULL = ("full", "max", "res:0")
_INFO_JSON: Rank = (0, 0, 0, 0, 0, 9)  # after whole pictures at full resolution, before smaller ones
_MANIFEST: Rank = (-1,)

# What documents are named: `/manifest`, `/manifest.json`, `/iiif/manifest/1739342`, `/iiif/collection/top`, `?manifest=...`
_DOCUMENT = re.compile(r"/(?:info\.json|manifests?|manifest\.json|collection\.json|iiif[^/]*/(?:.+/)?collections?)(?:/|\Z)").search


class _View(NamedTuple):
    base: str  # path of the service
    region: str
    size: str
    rotation: str
    quality: str
    format: str | None

    @property
    def is_whole(self) -> bool:
        """Upright, in colour, of the whole picture."""
        return self.region == "full" and self.rotation.strip("0.") == "" and _COLOURS[self.quality] < 3

    @property
    def is_best(self) -> bool:
        return self.is_whole and self.size in _FULL and _FORMATS.get(self.format, 7) < 6


def _view(url: Url) -> _View | None:
    if url.query:
        return None
    found = _VIEW(url.path)
    if found is None and "%" in url.path:
        # Clients that encode more than necessary write `%5Emax`, `!1920%2C1920`, `pct%3A50`.
        head, *tail = url.path.rsplit("/", 4)
        words = [unquote(one) for one in tail]
        found = _VIEW("/".join((head, *words))) if len(words) == 4 and not any("/" in word for word in words) else None
    return found and _View._make(found.groups())


def _match(url: Url) -> Image | None:
    view = _view(url)
    if view is not None:
        service = url.root + view.base
        if view.is_best:
            return _image(url, view.base, (url.text,))
        urls = (*full_views(service, view.quality == "native"), f"{service}/info.json", url.text)
        # A whole picture in a less useful format gets further candidates.
        return _image(url, view.base, tuple(sorted(urls, key=_order)) if view.is_whole and view.size in _FULL else urls)
    resolver = None if url.query else _RESOLVER(url.path)
    if resolver is None:
        return None
    base = resolver["base"]
    # One request to a manifest shows what exists; two guesses at a service that may not exist show nothing.
    return _image(url, base, (*full_views(url.root + base), url.text) if resolver["kind"] == "info.json" else (url.text,))


def _image(url: Url, base: str, urls: tuple[str, ...]) -> Image:
    return Image(f"iiif:{url.host}{base.replace('%3A', ':')}", urls, url.host, NAME, VERSION)


def _order(text: str) -> tuple[Rank | None, str]:
    return _rank(parts(text)), text


def full_views(service: str, native: bool = False, api_version: int | None = None) -> tuple[str, ...]:
    """URLs at which a service should serve the whole picture at full resolution, best first.

    Image API 3 only knows `max`; 2.0 and 1 only know `full`; 2.1 both, where `full` is unscaled and `max` what the server is
    willing to serve. `native` is the quality of version 1. Without `api_version`, the path may show it.
    """
    api_version = api_version or _api_version(service)
    if native or api_version == 1:
        return (f"{service}/full/full/0/native.jpg",)
    most, full = f"{service}/full/max/0/default.jpg", f"{service}/full/full/0/default.jpg"
    return {3: (most,), 2: (full, most)}.get(api_version or 0, (most, full))


def is_reduced_view(text: str) -> bool:
    """Whether a normalised URL asks an image service for less than it may have."""
    view = _view(parts(text))
    return view is not None and not view.is_best


def names_document(text: str) -> bool:
    """Whether a normalised URL is named like a document, so that a page in its place is a temporary fault."""
    url = parts(text)
    return _DOCUMENT(url.path.lower()) is not None or "manifest" in url.query.lower()


def _api_version(service: str) -> int | None:
    found = _VERSION_IN_PATH.search(service + "/")
    return int(found[1]) if found else None


def _rank(url: Url) -> Rank | None:
    """A manifest; whole pictures, biggest first; then lesser views; then crops."""
    view = _view(url)
    insecure = url.scheme != "https"
    if view is None:
        resolver = None if url.query else _RESOLVER(url.path)
        if resolver is None:
            return None
        return (*(_INFO_JSON if resolver["kind"] == "info.json" else _MANIFEST), insecure)
    crop = 0 if view.region == "full" else 1 if view.region == "square" else 2
    turned = view.rotation.strip("0.") != ""
    colour = _COLOURS[view.quality]
    wrapping = _FORMATS.get(view.format and view.format.lower(), 7)
    return (
        crop,
        turned,
        max(0, colour - 2),
        wrapping > 5,
        *_size_rank(view.size, _api_version(view.base)),
        wrapping,
        colour,
        insecure,
    )


def _size_rank(size: str, api_version: int | None) -> tuple[int, int]:
    if size == "res:0":  # University of Michigan's own term for full resolution
        return 0, 0
    if size in ("max", "full"):
        preferred = "full" if api_version in (1, 2) else "max"
        return 0, int(size != preferred)
    if size.startswith("res:"):
        return 2, int(size[4:])
    if size.startswith("pct:"):
        return 1, -40 * int(size[4:].partition(".")[0])  # assuming a width of 4,000 pixels
    if size.startswith("^"):  # upscaled
        return 1, 1
    return 1, -max(map(int, _NUMBER.findall(size)))


_ARK = "https://images.collections.yale.edu/iiif/2/ypm:b14c4b2e-4f11-4d8e-a1a5-d3ff2b2a0d4e"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="IIIF (any server)",
    hints=("/default", "/native", "/color", "/colour", "/gray", "/grey", "/bitonal", "/info.json", "/manifest"),
    match=_match,
    rank=_rank,
    source="IIIF Image API 2.1 and 3.0, sections 2 to 4 (https://iiif.io/api/image/3.0/)",
    examples=(
        Example(
            "https://iiif.rbge.org.uk/herb/iiif/E01152744/full/1600,/0/default.jpg",
            "iiif:iiif.rbge.org.uk/herb/iiif/E01152744",
            "https://iiif.rbge.org.uk/herb/iiif/E01152744/full/max/0/default.jpg",
        ),
        Example("https://iiif.rbge.org.uk/herb/iiif/E00010016/manifest", "iiif:iiif.rbge.org.uk/herb/iiif/E00010016"),
        Example("https://iiif.mcz.harvard.edu/iiif/3/3812681/full/max/0/default.jpg", "iiif:iiif.mcz.harvard.edu/iiif/3/3812681"),
        Example("https://ids.lib.harvard.edu/ids/iiif/48304233/full/full/0/native.jpg", "harvard_ids:48304233"),
        Example(
            "https://repository.library.brown.edu/iiif/image/bdr:389817/full/,1875/0/default.jpg",
            "iiif:repository.library.brown.edu/iiif/image/bdr:389817",
            "https://repository.library.brown.edu/iiif/image/bdr:389817/full/max/0/default.jpg",
        ),
        Example(
            "https://quod.lib.umich.edu/cgi/i/image/api/image/herb00ic:1004008:MICH-V-1004008A/full/res:0/0/native.jpg",
            "iiif:quod.lib.umich.edu/cgi/i/image/api/image/herb00ic:1004008:MICH-V-1004008A",
        ),
        Example(f"{_ARK}/full/!1920,1920/0/default.jpg", f"iiif:{_ARK[8:]}", f"{_ARK}/full/full/0/default.jpg"),
        Example(f"{_ARK}/318,157,2927,1350/1950,900/0/default.jpg", f"iiif:{_ARK[8:]}", f"{_ARK}/full/full/0/default.jpg"),
        Example(f"{_ARK}/info.json", f"iiif:{_ARK[8:]}", f"{_ARK}/full/full/0/default.jpg"),
        Example("https://herbarium.bgbm.org/data/iiif/BW01605010/manifest.json", "bgbm:BW01605010"),
    ),
)
