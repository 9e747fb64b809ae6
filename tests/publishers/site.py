"""What each URL holds while its publisher is well: images by extension, IIIF images, info.json, manifests. No misbehaviour."""

from __future__ import annotations

import functools
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from tests.publishers import pictures, rawfiles
from tests.publishers.wire import Ask

FULL_SIZE = (1000, 1400)  # of every IIIF image: a herbarium sheet in small
_IIIF_IMAGE = re.compile(
    r"(?P<base>/.+)/(?P<region>full|square|(?:pct:)?[\d.,]+)/(?P<size>\^?(?:full|max|!?\d*,\d*|pct:[\d.]+)|res:0)"
    r"/(?P<rotation>!?\d+)/(?P<quality>default|native|color|gray|bitonal)(?:\.(?P<form>\w+))?"
)
_MANIFEST = re.compile(r"(?P<base>/.+?)/?manifest(?:\.json)?")


@dataclass(frozen=True, slots=True)
class Thing:
    body: bytes
    media_type: str


@functools.lru_cache(maxsize=256)
def thing_at(scheme: str, host: str, target: str) -> Thing:
    """What a GET of this URL ought to bring; the same bytes every time."""
    url = f"{scheme}://{host}{target}"
    path = unquote(target.partition("?")[0])
    if path.endswith("/info.json"):
        return _json(info_json(url.partition("?")[0].removesuffix("/info.json"), version_of(path)))
    if match := _MANIFEST.fullmatch(path):
        return _json(manifest(f"{scheme}://{host}", match["base"], version_of(path)))
    if match := _IIIF_IMAGE.fullmatch(path):
        size = iiif_size(match["size"])
        if match["form"] in ("png", "tif", "webp", "gif", "jp2"):
            media_type = pictures.PICTURES[match["form"]][0]
            return Thing(_MAKERS_OF_SIZE[match["form"]](url, size), media_type)
        return Thing(pictures.jpeg(url, size), "image/jpeg")
    tail = path.rpartition("/")[2].rpartition(".")[2].lower()
    if tail in rawfiles.RAW_FILES:
        media_type, make = rawfiles.RAW_FILES[tail]
        return Thing(make(url), media_type)
    if tail in ("jpg", "jpeg") or tail not in pictures.PICTURES:
        return Thing(pictures.jpeg(url, kind=_jpeg_kind(url)), "image/jpeg")
    media_type, make = pictures.PICTURES[tail]
    return Thing(make(url), media_type)


def thing(ask: Ask) -> Thing:
    return thing_at(ask.scheme, ask.host, ask.target)


_MAKERS_OF_SIZE = {
    "png": pictures.png,
    "tif": pictures.tiff,
    "webp": pictures.webp,
    "gif": pictures.gif,
    "jp2": pictures.jp2,
}


def _jpeg_kind(url: str) -> str:
    """Mostly baseline, as in the field; now and then what else cameras and museums make."""
    return {0: "progressive", 1: "exif_rotated", 2: "icc", 3: "grey"}.get(zlib.crc32(b"kind" + url.encode()) % 20, "baseline")


def iiif_size(size: str) -> tuple[int, int]:
    """Pixels of a IIIF size parameter (Image API 2.1 and 3.0, section "Size") of a `FULL_SIZE` image; never upscaled."""
    width, height = FULL_SIZE
    size = size.removeprefix("^")
    if size in ("full", "max", "res:0"):
        return FULL_SIZE
    if size.startswith("pct:"):
        share = min(1.0, float(size.removeprefix("pct:")) / 100)
    else:
        given_w, _, given_h = size.removeprefix("!").partition(",")
        shares = [int(given) / edge for given, edge in ((given_w, width), (given_h, height)) if given]
        share = min(1.0, *shares) if shares else 1.0
    return max(1, round(width * share)), max(1, round(height * share))


def version_of(path: str) -> int:
    """IIIF 2 where the path says so, else 3."""
    return 2 if re.search(r"/(?:v?2|2\.\d|iiif2)/", path) else 3


def info_json(image_id: str, version: int) -> dict[str, object]:
    width, height = FULL_SIZE
    size: dict[str, object] = {"width": width, "height": height}
    if version == 2:
        context = "http://iiif.io/api/image/2/context.json"
        profile = ["http://iiif.io/api/image/2/level2.json"]
        return {"@context": context, "@id": image_id, "protocol": "http://iiif.io/api/image", **size, "profile": profile}
    return {
        "@context": "http://iiif.io/api/image/3/context.json",
        "id": image_id,
        "type": "ImageService3",
        "protocol": "http://iiif.io/api/image",
        "profile": "level2",
        **size,
    }


def manifest(origin: str, base: str, version: int, canvases: int = 1, images_at: str = "") -> dict[str, object]:
    """A Presentation manifest of `origin` + `base`, whose image services are `origin/image-api{base}/1` and so on."""
    numbers = range(1, canvases + 1)
    at = f"{origin}{base}"
    services = [f"{images_at or origin}/image-api{base.rstrip('/')}/{number}" for number in numbers]
    return _manifest_v2(at, services) if version == 2 else _manifest_v3(at, services)


def collection(at: str, version: int, manifests: Sequence[str] = (), collections: Sequence[str] = ()) -> dict[str, object]:
    """A Presentation collection of these documents."""
    if version == 2:
        return {
            "@context": "http://iiif.io/api/presentation/2/context.json",
            "@id": at,
            "@type": "sc:Collection",
            "manifests": [{"@id": one, "@type": "sc:Manifest", "label": "A sheet"} for one in manifests],
            "collections": [{"@id": one, "@type": "sc:Collection", "label": "A drawer"} for one in collections],
        }
    items = [{"id": one, "type": "Manifest", "label": {"en": ["A sheet"]}} for one in manifests]
    items += [{"id": one, "type": "Collection", "label": {"en": ["A drawer"]}} for one in collections]
    context = "http://iiif.io/api/presentation/3/context.json"
    return {"@context": context, "id": at, "type": "Collection", "items": items}


def _manifest_v3(at: str, services: list[str]) -> dict[str, object]:
    width, height = FULL_SIZE
    size = {"width": width, "height": height}
    items = []
    for number, service in enumerate(services, 1):
        body = {
            "id": f"{service}/full/max/0/default.jpg",
            "type": "Image",
            "format": "image/jpeg",
            "service": [{"id": service, "type": "ImageService3", "profile": "level2"}],
            **size,
        }
        canvas = f"{at}/canvas/{number}"
        note = {"id": f"{canvas}/a", "type": "Annotation", "motivation": "painting", "body": body, "target": canvas}
        page = {"id": f"{canvas}/p", "type": "AnnotationPage", "items": [note]}
        items.append({"id": canvas, "type": "Canvas", **size, "items": [page]})
    context = "http://iiif.io/api/presentation/3/context.json"
    return {"@context": context, "id": f"{at}/manifest", "type": "Manifest", "label": {"en": ["A sheet"]}, "items": items}


def _manifest_v2(at: str, services: list[str]) -> dict[str, object]:
    width, height = FULL_SIZE
    size = {"width": width, "height": height}
    canvases = []
    for number, service in enumerate(services, 1):
        resource = {
            "@id": f"{service}/full/full/0/default.jpg",
            "@type": "dctypes:Image",
            "format": "image/jpeg",
            "service": {
                "@context": "http://iiif.io/api/image/2/context.json",
                "@id": service,
                "profile": "http://iiif.io/api/image/2/level2.json",
            },
            **size,
        }
        canvas = f"{at}/canvas/{number}"
        image = {"@type": "oa:Annotation", "motivation": "sc:painting", "resource": resource, "on": canvas}
        canvases.append({"@id": canvas, "@type": "sc:Canvas", "label": str(number), **size, "images": [image]})
    return {
        "@context": "http://iiif.io/api/presentation/2/context.json",
        "@id": f"{at}/manifest",
        "@type": "sc:Manifest",
        "label": "A sheet",
        "sequences": [{"@type": "sc:Sequence", "canvases": canvases}],
    }


def _json(value: dict[str, object]) -> Thing:
    return Thing(json.dumps(value, indent=1).encode(), "application/ld+json")
