"""What IIIF servers do: documents of every kind, and image services that give less than everything.

With the behaviours of documents, images under `/image-api/` are served well, and all other paths of the host hold the document.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from urllib.parse import unquote

from tests.publishers import site
from tests.publishers.registry import add_single, behaviour
from tests.publishers.wire import Ask, Steps, page, whole

_VIEW = re.compile(r"/(?P<region>[^/]+)/(?P<size>[^/]+)/0/(?:default|native)\.jpg\Z")
_LEVELS = {2: "http://iiif.io/api/image/2/level{}.json", 3: "level{}"}


@behaviour
def manifest_multi(ask: Ask) -> Steps:
    """A IIIF Presentation 3 manifest of ARG canvases (3); images are served well."""
    yield _image(ask) or _manifest(ask, version=3, canvases=ask.number(3))


@behaviour
def manifest_v2(ask: Ask) -> Steps:
    """A IIIF Presentation 2 manifest of ARG canvases (1); images are served well."""
    yield _image(ask) or _manifest(ask, version=2, canvases=ask.number(1))


@behaviour
def manifest_elsewhere(ask: Ask) -> Steps:
    """A manifest of three canvases whose image services are on host ARG (images.test)."""
    yield _image(ask) or _manifest(ask, version=3, canvases=3, images_at=f"{ask.scheme}://{ask.arg or 'images.test'}")


@behaviour
def manifest_encoded(ask: Ask) -> Steps:
    """A manifest of two canvases whose services have identifiers with %2F and %3A in them; a decoded one is not found."""
    if "/image-api/" not in ask.path:
        found = _text_of_manifest(ask, version=2, canvases=2)
        yield _json(ask, re.sub(r"(/image-api)[^\"]*/(\d)(?=[/\"])", r"\1/ark%3A%2F65665%2F\2", found))
    elif "/image-api/ark%3A%2F65665%2F" in ask.path:
        yield _good(ask)
    else:
        yield page(ask, 404, "No such identifier")


@behaviour
def manifest_empty(ask: Ask) -> Steps:
    """A IIIF manifest without a single canvas."""
    yield _manifest(ask, version=3, canvases=0)


@behaviour
def manifest_sound(ask: Ask) -> Steps:
    """A well-formed manifest whose only canvas is a sound."""
    found = _text_of_manifest(ask, version=3, canvases=1)
    found = re.sub(r'"service": \[.*?\], ', "", found).replace('"type": "Image"', '"type": "Sound"')
    yield _json(ask, found.replace("image/jpeg", "audio/mpeg"))


@behaviour
def manifest_truncated(ask: Ask) -> Steps:
    """Half of a manifest whose Content-Length agrees."""
    found = _text_of_manifest(ask, version=3, canvases=3)
    yield _json(ask, found[: len(found) // 2])


@behaviour
def manifest_grows(ask: Ask) -> Steps:
    """A manifest of one canvas more at each request of it, two at first; images are served well."""
    yield _image(ask) or _manifest(ask, version=3, canvases=1 + ask.nth)


@behaviour
def collection(ask: Ask) -> Steps:
    """A collection of ARG manifests (3), each of two canvases; images are served well."""
    if ask.path.endswith("/manifest"):
        yield _manifest(ask, version=3, canvases=2)
    else:
        at = f"{ask.scheme}://{ask.host}"
        names = [f"{at}/sheets/{number}/manifest" for number in range(1, ask.number(3) + 1)]
        yield _image(ask) or _json(ask, json.dumps(site.collection(ask.url, 3, names)))


@behaviour
def collection_loop(ask: Ask) -> Steps:
    """Two collections that name themselves and each other, and one manifest each."""
    if ask.path.endswith("/manifest"):
        yield _manifest(ask, version=2, canvases=1)
    else:
        at = f"{ask.scheme}://{ask.host}"
        here, other = ("b", "a") if ask.path.endswith("/b") else ("a", "b")
        both = [f"{at}/iiif/collection/{one}" for one in (here, other)]
        yield _image(ask) or _json(ask, json.dumps(site.collection(ask.url, 2, [f"{at}/{here}/manifest"], both)))


@behaviour
def collection_endless(ask: Ask) -> Steps:
    """A collection of three collections of three collections, and so on for ever."""
    deeper = [f"{ask.url}/{number}" for number in range(3)]
    yield _json(ask, json.dumps(site.collection(ask.url, 3, (), deeper)))


@behaviour
def collection_empty(ask: Ask) -> Steps:
    """A collection of nothing."""
    yield _json(ask, json.dumps(site.collection(ask.url, 3)))


@behaviour
def iiif_max_width(ask: Ask) -> Steps:
    """A service of Image API 2 that refuses with 403 what is wider than ARG pixels (500), `max` too."""
    yield _service(ask, 2, 2, 403, limit=ask.number(500))


@behaviour
def iiif_max_width_3(ask: Ask) -> Steps:
    """A service of Image API 3 that gives no more than ARG pixels of width (500), and refuses to be asked for more."""
    yield _service(ask, 3, 1, 501, limit=ask.number(500))


@behaviour
def iiif_level0(ask: Ask) -> Steps:
    """A static service of Image API ARG (3) that has the sizes that it lists, and nothing else."""
    yield _service(ask, ask.number(3), 0, 404, sizes=[125, 250, 500])


@behaviour
def iiif_tiles_only(ask: Ask) -> Steps:
    """A static service of Image API 2 that has tiles and says nothing of sizes."""
    yield _service(ask, 2, 0, 404, tiles=True)


def _service(
    ask: Ask, version: int, level: int, refusal: int, *, limit: int = 0, sizes: list[int] | None = None, tiles: bool = False
) -> bytes:
    width, height = site.FULL_SIZE
    tall = {wide: round(height * wide / width) for wide in (limit, *(sizes or ()), 125)}
    if ask.path.endswith("/info.json"):
        found = site.info_json(ask.url.removesuffix("/info.json"), version)
        limits = {"maxWidth": limit} if limit else {}
        profile = _LEVELS[version].format(level)
        found |= {"profile": [profile, limits]} if version == 2 else {"profile": profile, **limits}
        if sizes:
            found["sizes"] = [{"width": wide, "height": tall[wide]} for wide in sizes]
        if tiles:
            found["tiles"] = [{"width": 256, "scaleFactors": [1, 2, 4, 8]}]
        return _json(ask, json.dumps(found))
    view = _VIEW.search(unquote(ask.path))
    if view is None:
        return page(ask, 404, "No such thing")
    size = view["size"]
    if limit:
        if size == "max" and version == 3:
            return _good(replace(ask, target=ask.target.replace("/max/", f"/!{limit},{limit}/")))
        wide = width if size in ("full", "max") else int(size.partition(",")[0])
        return _good(ask) if wide <= limit else page(ask, refusal, "The requested pixel area exceeds the maximum threshold")
    has = {f"{wide},{tall[wide]}" if version == 3 else f"{wide}," for wide in (sizes or [125])}
    return _good(ask) if size in has else page(ask, refusal, "No such file")


def _image(ask: Ask) -> bytes | None:
    return _good(ask) if ask.path.startswith("/image-api/") else None


def _good(ask: Ask) -> bytes:
    it = site.thing(ask)
    return whole(ask, it.body, it.media_type)


def _manifest(ask: Ask, version: int, canvases: int, images_at: str = "") -> bytes:
    return _json(ask, _text_of_manifest(ask, version, canvases, images_at))


def _text_of_manifest(ask: Ask, version: int, canvases: int, images_at: str = "") -> str:
    base = ask.path.removesuffix("/manifest").removesuffix("/manifest.json")
    return json.dumps(site.manifest(f"{ask.scheme}://{ask.host}", base, version, canvases, images_at))


def _json(ask: Ask, text: str) -> bytes:
    return whole(ask, text.encode(), "application/ld+json")


add_single("manifest_html", "A login page where a manifest was.", lambda ask: page(ask, 200, "Please log in"))
