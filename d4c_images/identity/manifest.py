"""What does a IIIF JSON document list? Reads info.json, manifests and collections; sends nothing, never raises.

Image API 1.0 to 3.0, Presentation API 2 and 3. Real documents deviate from the specifications: `motivation: "Painting"`, a service
as object or as list, authorisation services among the image services, `@id` next to `id`, services that give their URL as http on a
server that speaks https. Whatever is not understood is skipped.

A canvas is one picture: the first one painted on it; of a choice, the first option. A collection lists documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import urljoin

from d4c_images.identity.iiif import is_reduced_view
from d4c_images.identity.service import (
    Json,
    describes_service,
    dicts,
    id_of,
    is_image_service,
    read_service,
    service_urls,
    words,
)
from d4c_images.identity.url import parts, usable_url

MAX_BYTES = 16 * 1024**2
MAX_NAMED = 200  # per document; a herbarium sheet has a few, a whole book has hundreds
_MAX_URLS = 12
_MAX_CHARACTERS = 1 << 20  # of all returned URLs
_MAX_NESTING = 8


class DocumentKind(StrEnum):
    INFO = "info"
    MANIFEST = "manifest"
    COLLECTION = "collection"


class Named(NamedTuple):
    """A picture, or in a collection a document."""

    identifier: str  # the URL that identifies it
    urls: tuple[str, ...]  # to request it, best first


@dataclass(frozen=True, slots=True)
class Document:
    """What a document lists, in order, without duplicates."""

    kind: DocumentKind
    named: tuple[Named, ...]  # at most MAX_NAMED of them
    n_named: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a body is useless as a document."""

    detail: str
    is_broken: bool  # it may be complete another time


TOO_LONG = Fault(f"a document of more than {MAX_BYTES >> 20} MiB", is_broken=False)
_ASTRAL = re.compile(b"[\xf0-\xff]")


def read_document(body: bytes, url: str) -> Document | Fault:
    """What a body from `url` lists; a `Fault` if it lists nothing."""
    if len(body) > MAX_BYTES:
        return TOO_LONG
    document = _parsed(body)
    if isinstance(document, Fault):
        return document
    if not isinstance(document, dict):
        return Fault("JSON, but no IIIF document", is_broken=False)
    kind = _kind_of_document(document)
    if kind is None:
        return Fault("JSON, but no IIIF document", is_broken=False)
    found: dict[str, Named | None] = {}
    n_characters = 0
    for named in _named(document, kind, url):
        if named.identifier not in found:
            n_characters += sum(map(len, named.urls))
            found[named.identifier] = named if len(found) < MAX_NAMED and n_characters <= _MAX_CHARACTERS else None
    if not found:
        return Fault(f"a IIIF {kind} that names no picture", is_broken=False)
    return Document(kind, tuple(named for named in found.values() if named is not None), len(found))


def need_bytes(blocks: Iterable[bytes]) -> int:
    """The most memory that reading a document of these bytes takes, estimated from its commas and brackets.

    Measured with CPython 3.11, whose smallest list takes 56 bytes, object 64, text 50 to 80: for a book's manifest it is twice the
    actual amount.
    """
    size_bytes = n_objects = n_lists = n_others = 0
    width = 1
    for block in blocks:
        size_bytes += len(block)
        n_objects += block.count(b"{")
        n_lists += block.count(b"[")
        n_others += block.count(b",") + block.count(b":")
        if not block.isascii():  # a text is stored in the width of its widest character
            width = max(width, 4 if _ASTRAL.search(block) else 2)
    return size_bytes * (1 + 2 * width) + 240 * n_objects + 104 * n_lists + 80 * n_others


def _parsed(body: bytes) -> Any:
    """The content of a JSON text, or a `Fault`. Bytes that are not Unicode are read as Latin-1, as browsers do."""
    try:
        text = body.decode(json.detect_encoding(body))
    except UnicodeDecodeError:
        text = body.decode("latin-1")
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        return Fault("JSON, but nested too deeply for a IIIF document", is_broken=False)
    except json.JSONDecodeError as error:
        where = "is cut off" if error.pos >= len(text.rstrip()) else f"makes no sense at character {error.pos + 1:,}"
        return Fault(f"not JSON to its end: it {where}", is_broken=True)
    except ValueError:  # Python's limit for the digits of a number
        return Fault("JSON with a number too long to be read", is_broken=True)


def _kind_of_document(document: Json) -> DocumentKind | None:
    kind = _kind(document)
    if kind.endswith("collection") or any(name in document for name in ("manifests", "collections", "members")):
        return DocumentKind.COLLECTION
    if kind.endswith("manifest") or "items" in document or "sequences" in document:
        return DocumentKind.MANIFEST
    return DocumentKind.INFO if describes_service(document) else None


def _named(document: Json, kind: DocumentKind, url: str) -> Iterator[Named]:
    if kind is DocumentKind.COLLECTION:
        yield from _documents(document, url)
    elif kind is DocumentKind.MANIFEST:
        for canvas in _canvases(document):
            picture = next((one for body in _bodies(canvas) for one in _pictures(body, url, 0)), None)
            if picture is not None:
                yield picture
    else:
        yield from _described(document, url)


def _described(info: Json, url: str) -> Iterator[Named]:
    """The picture of an info.json. The URL that the service gives for itself may not be reachable, so both are tried."""
    here = usable_url(re.sub(r"(?:/info\.json)?(?:\?.*)?\Z", "", url, count=1))
    told = _absolute(url, id_of(info))
    bases = [base.rstrip("/").removesuffix("/info.json") for base in (told, here) if base]
    urls = [one for base in dict.fromkeys(bases) for one in service_urls(read_service(info, base))]
    if named := _make(urls):
        yield named


def _documents(collection: Json, url: str) -> Iterator[Named]:
    for name in ("items", "manifests", "collections", "members"):
        for member in dicts(collection.get(name)):
            kind = _kind(member)
            named = _make([_absolute(url, id_of(member))], _as_written(url, id_of(member)))
            if named is not None and (not kind or kind.endswith(("manifest", "collection"))):
                yield named


def _canvases(manifest: Json) -> Iterator[Json]:
    yield from dicts(manifest.get("items"))  # version 3
    for sequence in dicts(manifest.get("sequences"))[:1]:  # version 2: further sequences are other orders of the same canvases
        yield from dicts(sequence.get("canvases"))


def _bodies(canvas: Json) -> Iterator[Any]:
    """The bodies of the annotations that paint this canvas."""
    for page in dicts(canvas.get("items")):
        for annotation in dicts(page.get("items")):
            if _paints(annotation):
                yield annotation.get("body")
    for annotation in dicts(canvas.get("images")):
        if _paints(annotation):
            yield annotation.get("resource")


def _paints(annotation: Json) -> bool:
    motivations = words(annotation.get("motivation"))
    return not motivations or any(word.lower().endswith("painting") for word in motivations)


def _pictures(body: Any, url: str, nesting: int) -> Iterator[Named]:
    if nesting > _MAX_NESTING:
        return
    for word in words(body):
        if named := _make([_absolute(url, word)], _as_written(url, word)):
            yield named
    for one in dicts(body):
        inner = [one[name] for name in ("items", "default", "item", "source", "full") if one.get(name)]
        if inner:  # a choice, or a picture with a selector
            for other in inner:
                yield from _pictures(other, url, nesting + 1)
        elif named := _painted(one, url):
            yield named


def _painted(body: Json, url: str) -> Named | None:
    """The service's whole picture first, then the body's own URL; the service's info.json if it may reveal more."""
    own = _absolute(url, id_of(body)) if _looks_like_picture(body) else None
    services = [one for one in dicts(body.get("service")) if is_image_service(one)]
    for described in services:
        base = _absolute(url, id_of(described))
        if base is None:
            continue
        service = read_service(described, base)
        info = f"{service.base}/info.json"
        last = [info, own] if own is not None and is_reduced_view(own) else [own, info]
        return _make([*service_urls(service), *last], info)
    return _make([own], own and _as_written(url, id_of(body)))


def _make(urls: list[str | None] | list[str], identifier: str | None = None) -> Named | None:
    usable = [one for one in map(_usable, urls) if one is not None]
    if not usable:
        return None
    return Named((identifier and _usable(identifier)) or usable[0], tuple(dict.fromkeys(usable))[:_MAX_URLS])


def _usable(url: str | None) -> str | None:
    usable = usable_url(url) if url else None
    return usable if usable and usable.startswith(("http:", "https:")) else None


def _as_written(url: str, reference: str | None) -> str | None:
    """The target of a reference found in the document at `url`, as written."""
    if reference is None:
        return None
    try:
        return _usable(urljoin(url, reference))
    except ValueError:  # such as `http://[`
        return None


def _absolute(url: str, reference: str | None) -> str | None:
    """Where to request such a reference: if the document came over https, so will its targets."""
    absolute, here = _as_written(url, reference), usable_url(url)
    if not (absolute and here and absolute.startswith("http:") and here.startswith("https:")):
        return absolute
    return "https" + absolute.removeprefix("http") if parts(absolute).host == parts(here).host else absolute


def _looks_like_picture(body: Json) -> bool:
    media_type, kind = body.get("format"), _kind(body)
    if isinstance(media_type, str) and "/" in media_type:
        return media_type.lower().startswith("image/")
    return not kind or kind.endswith("image")


def _kind(thing: Json) -> str:
    found = words(thing.get("type")) + words(thing.get("@type"))
    return found[0].lower() if found else ""
