"""Names the image of a URL, with the rules of all publishers, and puts the candidates of one image into order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from d4c_images.identity import exact
from d4c_images.identity.rule import SHORTCUT_PREFIX
from d4c_images.identity.rules import HINTS, RULES, RULES_OF_HOST, image_of
from d4c_images.identity.url import Url, parts, usable_url
from d4c_images.identity.variants import DEFAULT_EDGE, in_order
from d4c_images.model import Image

_SHORTCUTS = {rule.shortcut.prefix: rule.shortcut.match for rule in RULES if rule.shortcut is not None}

# A URL that is plainly normal already, as nearly all are; everything else takes the longer way through `usable_url`. No `%`,
# `;` or `#`, no port, no user, a common top-level domain, short labels, no tracking: so none of the cases there can apply.
_plain = re.compile(
    r"(https?)://((?:[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?\.){1,6}(?:[a-z]{2}|com|org|net|edu|gov|museum|info))"
    r"(/[A-Za-z0-9._~!$&'()*+,=:@/-]{0,1500})((?:\?(?!.*(?:utm_|clid=))[A-Za-z0-9._~!$&'()*+,=:@/?-]{0,1500})?)"
).fullmatch
_make = tuple.__new__


def identify(identifier: str) -> Image | None:
    """The image that one URL is about, or None where it is none (`unusable_reason` says why).

    An ftp URL is an image too; that it is not fetched is a verdict, not a matter of identity.
    """
    shortcut = _SHORTCUTS.get(identifier[:SHORTCUT_PREFIX])
    if shortcut is not None and (image := shortcut(identifier)) is not None:
        return image
    plain = _plain(identifier)
    if plain is None or "/." in identifier:
        url = usable_url(identifier)
        return None if url is None else image_of(parts(url))
    host = plain[2]
    if RULES_OF_HOST[host]:
        return image_of(_make(Url, (identifier, *plain.groups())))
    for hint in HINTS:
        if hint in identifier:
            return image_of(_make(Url, (identifier, *plain.groups())))
    return _make(Image, (identifier, (identifier,), host, exact.NAME, exact.VERSION))


def merge(urls_a: Iterable[str], urls_b: Iterable[str], edges: Mapping[str, int] = MappingProxyType({})) -> tuple[str, ...]:
    """The candidates of one image from two rows, best first.

    `edges` says how big publishers say some of them are. The order hangs on the set of URLs and on what is said of them alone.
    """
    return in_order({url: edges.get(url, DEFAULT_EDGE) for url in (*urls_a, *urls_b)})
