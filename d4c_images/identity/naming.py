"""Names the image of a URL, with the rules of all publishers, and orders the candidates of an image."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from d4c_images.identity import exact
from d4c_images.identity.archive_variants import DEFAULT_EDGE, in_order
from d4c_images.identity.registry import HINTS, MAX_HOSTS, RULES, RULES_OF_HOST, image_of
from d4c_images.identity.rule import SHORTCUT_PREFIX, Rule, Shortcut
from d4c_images.identity.url import Url, parts, usable_url
from d4c_images.model import Image

ImageCells = tuple[str, tuple[str, ...], str, str, int]
"""The cells of an `Image`, which is such a tuple. Creating a plain tuple costs a third."""

Origin = tuple[str, str, int]
"""What many images share: the host, the rule's name and its version."""


_NO_IMAGE: ImageCells = ("", (), "", "", 0)


class Images(NamedTuple):
    """Images as columns of equal length. Texts stay in UTF-8, as in the file."""

    keys: list[bytes]  # empty if there is no image
    urls: list[bytes]  # the candidates of each, joined by line feeds
    origins: list[Origin]

    def add(self, image: ImageCells | None) -> None:
        """Append an image; None leaves an empty entry."""
        cells = image or _NO_IMAGE
        self.keys.append(cells[0].encode())
        self.urls.append("\n".join(cells[1]).encode())
        self.origins.append(cells[2:])

    def extend(self, images: Images, start: int, end: int) -> None:
        """Append some images of another batch."""
        self.keys.extend(images.keys[start:end])
        self.urls.extend(images.urls[start:end])
        self.origins.extend(images.origins[start:end])


def _ready(rule: Rule, shortcut: Shortcut) -> tuple[Callable[[bytes, int], re.Match[bytes] | None], bytes, Origin]:
    rest = re.escape(shortcut.prefix[SHORTCUT_PREFIX:]) + shortcut.photo
    origin = (shortcut.host, rule.name, rule.version)
    return re.compile(rest.encode()).fullmatch, f"{rule.name}:{shortcut.key}".encode(), origin


_SHORTCUTS = {one.prefix[:SHORTCUT_PREFIX].encode(): _ready(rule, one) for rule in RULES for one in rule.shortcuts}

# The fast path for a URL that is obviously normal, as nearly all are; everything else goes through `usable_url`. No `%`, `;` or
# `#`, no port, no user, no dot segments, no tracking, a plain host: so none of the cases there can apply.
_plain = re.compile(
    r"(https?)://([a-z0-9.-]+)(/[A-Za-z0-9._~!$&'()*+,=:@/-]{0,1500})((?:\?[A-Za-z0-9._~!$&'()*+,=:@/?-]{0,1500})?)"
).fullmatch
_plain_host = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?\.){1,6}(?:[a-z]{2}|com|org|net|edu|gov|museum|info)"  # short labels, a common end
).fullmatch
_make = tuple.__new__


class _PlainHosts(dict[str, tuple[Rule, ...] | None]):
    """The rules that claim a host; None if the host itself needs a closer look. Computed once per host."""

    def __missing__(self, host: str) -> tuple[Rule, ...] | None:
        if len(self) >= MAX_HOSTS:
            self.clear()
        self[host] = rules = RULES_OF_HOST[host] if _plain_host(host) else None
        return rules


_PLAIN_HOSTS = _PlainHosts()


def identify(identifier: str) -> Image | None:
    """The image that one URL is about, or None if it is none (`unusable_reason` says why).

    An ftp URL is an image too; that it is not fetched is a verdict, not a matter of identity.
    """
    cells = _image_of_plain(identifier)
    return None if cells is None else Image._make(cells)


def identify_all(identifiers: Sequence[bytes]) -> tuple[Images, list[int]]:
    """The result of `identify` for each of many cells, which are in UTF-8; invalid bytes are read as U+FFFD.

    Also returns the positions of cells with no URL, or perhaps several.
    """
    images, odd = Images([], [], []), []
    add_key, add_urls, add_origin = images.keys.append, images.urls.append, images.origins.append
    shortcut_of = _SHORTCUTS.get
    for identifier in identifiers:
        shortcut = shortcut_of(identifier[:SHORTCUT_PREFIX])
        if shortcut is not None:
            match, prefix, origin = shortcut
            if photo := match(identifier, SHORTCUT_PREFIX):
                add_key(prefix + photo[1])
                add_urls(identifier)
                add_origin(origin)
                continue
        cell = identifier.decode(errors="replace")
        image = _image_of_plain(cell)
        if image is None or cell.find("://", 8) >= 0:
            odd.append(len(images.keys))
        images.add(image)
    return images, odd


def _image_of_plain(identifier: str) -> ImageCells | None:
    plain = _plain(identifier)
    if plain is None:
        return _image_of_any(identifier)
    scheme, host, path, query = plain.groups()
    rules = _PLAIN_HOSTS[host]
    if rules is None or "/." in path or (query and ("utm_" in query or "clid=" in query)):
        return _image_of_any(identifier)
    if rules:
        url = _make(Url, (identifier, scheme, host, path, query))
        return rules[0].match(url) or image_of(url)
    for hint in HINTS:
        if hint in identifier:
            return image_of(_make(Url, (identifier, scheme, host, path, query)))
    return identifier, (identifier,), host, exact.NAME, exact.VERSION


def _image_of_any(identifier: str) -> Image | None:
    """The image of a URL that may need repair."""
    url = usable_url(identifier)
    return None if url is None else image_of(parts(url))


def merge(urls_a: Iterable[str], urls_b: Iterable[str], edges: Mapping[str, int] = MappingProxyType({})) -> tuple[str, ...]:
    """The candidates of one image from two rows, best first.

    `edges` is the size that publishers declare for some of them. The order depends only on the set of URLs and these sizes.
    """
    return in_order({url: edges.get(url, DEFAULT_EDGE) for url in (*urls_a, *urls_b)})
