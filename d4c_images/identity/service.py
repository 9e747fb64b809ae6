"""Which requests to a IIIF image service return the whole picture in the largest available size? Sends nothing.

A description is an info.json (Image API 1.0 to 3.0) or what a manifest says about a service. Sizes follow Image API 2.1 and 3.0,
sections 4.2 and 5, and their compliance documents. Pictures are never assembled from tiles: that would be dozens of requests for a
file that the publisher has not made.
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Size = tuple[int, int]

_IMAGE_API = re.compile(r"iiif\.io/api/image|image-api|ImageService[123]?\Z|level[012](?:\.json)?\Z")
_API_VERSION = re.compile(r"(?:api/image/|ImageService|image-api/)([123])")
_OTHER_SERVICE = re.compile(r"auth|search|AccessTokenService|CookieService|LogoutService|ProbeService", re.IGNORECASE)
_LEVEL = re.compile(r"level_?([012])(?:\.json)?\Z")
_FORMATS = {"jpg": "jpg", "jpeg": "jpg", "png": "png", "tif": "tif", "tiff": "tif", "webp": "webp", "jp2": "jp2"}
_MOST_SIZES = 3
_MAX_SIDE = 10**7


@dataclass(frozen=True, slots=True)
class Service:
    """An image service, as far as it is described."""

    base: str  # its URL, without a slash at the end
    version: int | None  # of the Image API; 2 stands for 2.0 and 2.1
    level: int | None
    size: Size | None  # of the whole picture
    limit: Size | None  # the biggest whole picture that is served, if that is smaller
    listed: tuple[Size, ...]  # promised sizes of the whole picture, biggest first
    formats: tuple[str, ...]  # to request, best first
    quality: str


def describes_service(document: Json) -> bool:
    """Whether a document describes an image service itself."""
    is_measured = _size(document) is not None and id_of(document) is not None
    return is_measured or any(_IMAGE_API.search(word) for word in _service_words(document))


def is_image_service(service: Json) -> bool:
    """Whether one of a picture's services serves images, as opposed to log-in or search."""
    service_words = _service_words(service)
    is_other = any(_OTHER_SERVICE.search(word) for word in service_words)
    return not is_other or any(_IMAGE_API.search(word) for word in service_words)


def read_service(description: Json, base: str) -> Service:
    """The description of the service at `base`. What is not understood is skipped."""
    service_words = _service_words(description)
    version = next((int(found[1]) for word in service_words if (found := _API_VERSION.search(word))), None)
    levels = [int(found[1]) for word in words(description.get("profile")) if (found := _LEVEL.search(word))]
    more = [description, *dicts(description.get("profile"))]  # version 2 has its limits in the profile, 3 next to it
    size = _size(description)
    listed = {one for one in map(_size, dicts(description.get("sizes"))) if one is not None}
    if levels == [0] and size is not None and (tile := _whole_tile(description, size)) is not None:
        listed.add(tile)
    return Service(
        base=base.rstrip("/").removesuffix("/info.json").rstrip("/"),
        version=version,
        level=levels[0] if levels else None,
        size=size,
        limit=_limit(size, more),
        listed=tuple(sorted(listed, key=lambda one: (one[0] * one[1], one), reverse=True)),
        formats=_formats_to_ask(description, more),
        quality=_quality(version, more),
    )


def service_urls(service: Service) -> Iterator[str]:
    """URLs of the whole picture, the most promising first; may contain duplicates.

    In 2.1, `full` is the picture as it is and `max` what the server is willing to serve; 3.0 only knows `max`, versions before 2.1
    only `full`. If limits are declared, some servers refuse requests for more, so the size itself is requested too.
    """
    version = service.version
    within = []
    if service.limit is not None and service.level != 0:
        within = [f"{service.limit[0]},"]
    if version == 3:
        sizes = ["max", *within]
    elif version == 2:
        sizes = ["max", *within, "full"] if service.limit else ["full", "max"]
    elif version == 1:
        sizes = ["full", *within]
    else:
        sizes = ["max", *within, "full"]
    for form in service.formats:
        yield f"{service.base}/full/{sizes[0]}/0/{service.quality}.{form}"
    for size in sizes[1:]:
        yield f"{service.base}/full/{size}/0/{service.quality}.{service.formats[-1]}"
    for size in _listed_to_ask(service):
        yield f"{service.base}/full/{size}/0/{service.quality}.{service.formats[-1]}"


def _listed_to_ask(service: Service) -> Iterator[str]:
    """The biggest promised sizes, each in its version's canonical form, and once in the other form too."""
    for number, (width, height) in enumerate(service.listed[:_MOST_SIZES]):
        forms = [f"{width},{height}", f"{width},"]
        if service.version != 3:
            forms.reverse()
        yield from forms if number == 0 else forms[:1]


def _limit(size: Size | None, more: list[Json]) -> Size | None:
    """The size to which `maxWidth`, `maxHeight` and `maxArea` limit a picture; None if they do not."""
    if size is None:
        return None
    width, height = size
    max_width, max_height, max_area = (_least(more, name) for name in ("maxWidth", "maxHeight", "maxArea"))
    if max_width is not None and max_height is None:
        max_height = max_width  # Image API 2.1 and 3.0, section 5.2
    share = min(
        1.0,
        max_width / width if max_width else 1.0,
        max_height / height if max_height else 1.0,
        math.sqrt(max_area / (width * height)) if max_area else 1.0,
    )
    if share >= 1.0:
        return None

    def is_refused(allowed: int) -> bool:
        tall = max(1, round(height * allowed / width))
        return (max_height is not None and tall > max_height) or (max_area is not None and allowed * tall > max_area)

    most = max(1, math.floor(width * share))
    allowed = max(1, bisect.bisect_left(range(1, most + 1), True, key=is_refused))
    return allowed, max(1, round(height * allowed / width))


def _least(more: list[Json], name: str) -> int | None:
    return min((value for one in more if (value := _side(one.get(name), 10**12))), default=None)


def _whole_tile(description: Json, size: Size) -> Size | None:
    """The biggest size at which one tile contains the whole picture: even a static server has it."""
    found = []
    for tiles in (*dicts(description.get("tiles")), _tiles_of_version_1(description)):
        width = _side(tiles.get("width"))
        height = _side(tiles.get("height")) or width
        factors = [factor for factor in _list(tiles.get("scaleFactors")) if _side(factor)]
        for factor in factors:
            shown = math.ceil(size[0] / factor), math.ceil(size[1] / factor)
            if width and height and shown[0] <= width and shown[1] <= height:
                found.append(shown)
    return max(found, default=None)


def _tiles_of_version_1(description: Json) -> Json:
    return {
        "width": description.get("tile_width"),
        "height": description.get("tile_height"),
        "scaleFactors": description.get("scale_factors"),
    }


def _formats_to_ask(description: Json, more: list[Json]) -> tuple[str, ...]:
    """What the publisher prefers, if anything, and JPEG, which every server supports unless it says otherwise."""
    preferred = [_FORMATS[word] for word in words(description.get("preferredFormats")) if word in _FORMATS]
    told = [_FORMATS.get(word) for one in more for word in words(one.get("formats"))]
    others = [one for one in told if one is not None]
    last = "jpg" if "jpg" in others or not others else others[0]
    return tuple(dict.fromkeys((*preferred[:1], last)))


def _quality(version: int | None, more: list[Json]) -> str:
    if version != 1:
        return "default"
    told = [word for one in more for word in words(one.get("qualities"))]
    return "default" if "default" in told and "native" not in told else "native"


def _size(thing: Json) -> Size | None:
    width, height = _side(thing.get("width")), _side(thing.get("height"))
    return (width, height) if width and height else None


def _side(value: Any, most: int = _MAX_SIDE) -> int | None:
    return value if type(value) is int and 0 < value < most else None


def _service_words(service: Json) -> list[str]:
    return [word for name in ("@context", "type", "@type", "profile", "protocol") for word in words(service.get(name))]


def id_of(thing: Json) -> str | None:
    """The URL that a thing gives for itself."""
    for name in ("id", "@id"):
        value = thing.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def words(value: Any) -> list[str]:
    """The strings in a value that may be a string or a list."""
    return [one for one in _list(value) if isinstance(one, str)]


def dicts(value: Any) -> list[Json]:
    """The objects in a value that may be an object or a list."""
    return [one for one in _list(value) if isinstance(one, dict)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
