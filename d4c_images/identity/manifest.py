"""What image URLs does a IIIF JSON document name? Reads info.json and Presentation manifests; asks nobody, never raises.

Real documents stray from the specifications: `motivation: "Painting"`, a service as object or as list, authorisation services
among the image services, `@id` beside `id`. Whatever is not understood is passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

from d4c_images.identity.iiif import full_views
from d4c_images.identity.url import usable_url

MAX_BYTES = 5 * 1024**2
_MAX_URLS = 16
_MAX_NESTING = 8

_IMAGE_API = re.compile(r"iiif\.io/api/image|image-api|ImageService[123]?\Z|level[012](?:\.json)?\Z")
_API_VERSION = re.compile(r"(?:api/image/|ImageService|image-api/)([123])")
_OTHER_SERVICE = re.compile(r"auth|search|AccessTokenService|CookieService|LogoutService", re.IGNORECASE)

Json = dict[str, Any]


def image_urls_of_manifest(body: bytes, url: str) -> tuple[str, ...]:
    """URLs of one picture, best first; empty where the document names none.

    `body` is a IIIF info.json (Image API 1 to 3) or a manifest (Presentation API 2 or 3), `url` where it came from. Of a
    manifest with several canvases the first one with a picture counts.
    """
    if len(body) > MAX_BYTES:
        return ()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(document, dict):
        return ()
    if _is_service_description(document):
        found: Iterator[str] = _service_urls(document, url.partition("?")[0].removesuffix("/info.json"))
    else:
        found = _first_picture(document)
    wanted = dict.fromkeys(one for one in (_absolute(url, one) for one in found) if one is not None)
    return tuple(wanted)[:_MAX_URLS]


def _absolute(url: str, reference: str) -> str | None:
    try:
        absolute = usable_url(urljoin(url, reference))
    except ValueError:  # such as `http://[`
        return None
    return absolute if absolute and absolute.startswith(("http:", "https:")) else None


def _is_service_description(document: Json) -> bool:
    if "items" in document or "sequences" in document:
        return False
    measured = "width" in document and "height" in document and _id(document) is not None
    return measured or _describes_image_api(document)


def _first_picture(document: Json) -> Iterator[str]:
    """The URLs of the first canvas that has any."""
    for canvas in _canvases(document):
        urls = [url for annotation in _annotations(canvas) for url in _body_urls(annotation, 0)]
        if urls:
            return iter(urls)
    return iter(())


def _canvases(document: Json) -> Iterator[Json]:
    if _kind(document).endswith("collection"):
        return
    yield from _dicts(document.get("items"))  # version 3
    for sequence in _dicts(document.get("sequences")):  # version 2
        yield from _dicts(sequence.get("canvases"))


def _annotations(canvas: Json) -> Iterator[Any]:
    """The bodies of the annotations that paint this canvas."""
    for page in _dicts(canvas.get("items")):
        for annotation in _dicts(page.get("items")):
            if _paints(annotation):
                yield annotation.get("body")
    for annotation in _dicts(canvas.get("images")):
        if _paints(annotation):
            yield annotation.get("resource")


def _paints(annotation: Json) -> bool:
    motivations = _words(annotation.get("motivation"))
    return not motivations or any(word.lower().endswith("painting") for word in motivations)


def _body_urls(body: Any, nesting: int) -> Iterator[str]:
    """Service URLs first, then the body's own; of a choice, in the order given (the default stands first)."""
    if nesting > _MAX_NESTING:
        return
    if isinstance(body, str):
        yield body
    for one in _dicts(body):
        choices = (one.get("items"), one.get("default"), one.get("item"))
        if any(choices):
            for choice in choices:
                yield from _body_urls(choice, nesting + 1)
            continue
        for service in _dicts(one.get("service")):
            if _is_image_service(service) and (base := _id(service)):
                yield from _service_urls(service, base)
        if (own := _id(one)) and _looks_like_picture(one):
            yield own


def _looks_like_picture(body: Json) -> bool:
    media_type, kind = body.get("format"), _kind(body)
    if isinstance(media_type, str) and "/" in media_type:
        return media_type.lower().startswith("image/")
    return not kind or kind.endswith("image")


def _service_urls(service: Json, fallback: str) -> Iterator[str]:
    """What to ask an image service for. A server of level 0 serves only the sizes it lists."""
    base = (_id(service) or fallback).rstrip("/").removesuffix("/info.json")
    version = _api_version(service)
    limited = any(service.get(limit) for limit in ("maxWidth", "maxHeight", "maxArea"))
    full = full_views(base, api_version=version)
    yield from reversed(full) if limited and version == 2 else full
    sizes = [(size["width"], size["height"]) for size in _dicts(service.get("sizes")) if _is_size(size)]
    if sizes and any("level0" in word for word in _words(service.get("profile"))):
        width, height = max(sizes)
        yield f"{base}/full/{width},{height if version == 3 else ''}/0/default.jpg"


def _is_size(size: Json) -> bool:
    return all(type(size.get(side)) is int and 0 < size[side] < 10**7 for side in ("width", "height"))


def _is_image_service(service: Json) -> bool:
    words = _service_words(service)
    if any(_IMAGE_API.search(word) for word in words):
        return True
    return not any(_OTHER_SERVICE.search(word) for word in words)


def _describes_image_api(document: Json) -> bool:
    return any(_IMAGE_API.search(word) for word in _service_words(document)) and _id(document) is not None


def _api_version(service: Json) -> int | None:
    for word in _service_words(service):
        if found := _API_VERSION.search(word):
            return int(found[1])
    return None


def _service_words(service: Json) -> list[str]:
    return [word for name in ("@context", "type", "@type", "profile", "protocol") for word in _words(service.get(name))]


def _words(value: Any) -> list[str]:
    """The strings of a value that may be a string or a list that holds some."""
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _dicts(value: Any) -> list[Json]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]


def _kind(thing: Json) -> str:
    words = _words(thing.get("type")) + _words(thing.get("@type"))
    return words[0].lower() if words else ""


def _id(thing: Json) -> str | None:
    for name in ("id", "@id"):
        value = thing.get(name)
        if isinstance(value, str) and value:
            return value
    return None
