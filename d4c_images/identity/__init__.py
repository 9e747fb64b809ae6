"""Which image is this row about? Pure: asks nobody, remembers nothing.

`identify` turns the identifier of a row into an `Image`: a key that is the same for every URL of one photo and different for
any two photos, and the URLs to try, best first. A false merge loses a photo for good, a missed merge costs one request; so the
default is the exact normalised URL, and only an explicit rule collapses more.

**To add a publisher**, write one module like `inat.py`: a `Rule` with its hosts, a `match`, a `rank`, the source that says so,
and a table of examples (every oddity met in the field becomes a row, also those that must *not* match). Put it in `RULES`. The
tests take the examples from there and check besides that all candidates of an image lead back to its key. A rule that changes
any key must raise its version, since the ledger remembers which rule made a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from d4c_images.identity import exact, iiif, inat
from d4c_images.identity.cells import split_cell
from d4c_images.identity.manifest import image_urls_of_manifest
from d4c_images.identity.rule import SHORTCUT_PREFIX, Example, Rank, Rule
from d4c_images.identity.url import Url, parts, unusable_reason, usable_url
from d4c_images.model import Image

__all__ = [
    "RULES",
    "Example",
    "Rank",
    "Rule",
    "Url",
    "identify",
    "image_urls_of_manifest",
    "merge",
    "parts",
    "split_cell",
    "unusable_reason",
    "usable_url",
]

RULES: tuple[Rule, ...] = (inat.RULE, iiif.RULE, exact.RULE)
"""All rules; the first one that matches decides. The last one matches everything."""

_BY_HOST = {
    host: tuple(rule for rule in RULES if not rule.hosts or host in rule.hosts)
    for host in frozenset[str]().union(*(rule.hosts for rule in RULES))
}
_SHORTCUTS = {rule.shortcut.prefix: rule.shortcut.match for rule in RULES if rule.shortcut is not None}
_ANY_HOST = tuple(rule for rule in RULES if not rule.hosts)

# A URL that is plainly normal already, as nearly all are; everything else takes the longer way through `usable_url`. No `%`,
# `;` or `#`, no port, no user, a common top-level domain, short labels: so none of the cases there can apply.
_plain = re.compile(
    r"(https?)://((?:[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?\.){1,6}(?:[a-z]{2}|com|org|net|edu|gov|museum|info))"
    r"(/[A-Za-z0-9._~!$&'()*+,=:@/-]{0,1500})((?:\?[A-Za-z0-9._~!$&'()*+,=:@/?-]{0,1500})?)"
).fullmatch
_IIIF_ENDINGS = frozenset(("info", "mani", "defa", "nati", "colo", "gray", "grey", "bito"))
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
        return None if url is None else _by_rules(parts(url))
    host = plain[2]
    ending = identifier.rfind("/") + 1
    if host in _BY_HOST or identifier[ending : ending + 4] in _IIIF_ENDINGS:
        return _by_rules(_make(Url, (identifier, *plain.groups())))
    return _make(Image, (identifier, (identifier,), host, exact.NAME, exact.VERSION))


def merge(urls_a: Iterable[str], urls_b: Iterable[str]) -> tuple[str, ...]:
    """The candidates of one image from two rows, best first. The order hangs on the set of URLs alone."""
    return tuple(sorted({*urls_a, *urls_b}, key=_order))


def _by_rules(url: Url) -> Image:
    for rule in _BY_HOST.get(url.host, _ANY_HOST):
        image = rule.match(url)
        if image is not None:
            return image
    raise AssertionError("the exact rule matches everything")


def _order(text: str) -> tuple[Rank, str]:
    url = parts(text)
    for rule in _BY_HOST.get(url.host, _ANY_HOST):
        rank = rule.rank(url)
        if rank is not None:
            return rank, text
    raise AssertionError("the exact rule ranks everything")
