"""Explains in words what `identify` does with a cell. Decides nothing itself."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from d4c_images.identity.cells import split_cell
from d4c_images.identity.registry import RULES, image_of
from d4c_images.identity.rule import Rule
from d4c_images.identity.url import bare, parts, unescape, unusable_reason, usable_url, without_tracking
from d4c_images.model import Image


class Role(StrEnum):
    """Where a candidate comes from."""

    GIVEN = "given"  # in the row
    DERIVED = "derived"  # derived from the publisher's URL scheme
    THUMB = "thumb"  # in the row, and named like a small version
    MANIFEST = "manifest"  # leads to images, but is not one


class Candidate(NamedTuple):
    """One URL to try."""

    url: str
    role: Role


class Explanation(NamedTuple):
    """What became of one URL of a cell."""

    text: str  # as in the cell
    url: str | None  # normalised
    changes: tuple[str, ...]  # what normalising did
    reason: str | None  # why it is unusable; then all following fields are empty
    image: Image | None
    rule: Rule | None
    candidates: tuple[Candidate, ...]


RULE_BY_NAME = {rule.name: rule for rule in RULES}
_THUMB = re.compile(r"(?:^|[/_.=?&-])(?:thumb(?:nail)?s?|tn|square)(?=[/_.=&,?-]|$)", re.IGNORECASE)
_MANIFEST = re.compile(r"/(?:info\.json|manifest(?:\.json)?)$")
_WRITTEN = re.compile(r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?//(?:[^/?#\\]*@)?(?P<host>[^/?#\\]*)(?P<rest>.*)", re.DOTALL)


def explain(cell: str) -> list[Explanation]:
    """What becomes of each URL of an identifier cell."""
    return [_explain(piece) for piece in split_cell(cell)]


def _explain(text: str) -> Explanation:
    url = usable_url(text)
    if url is None:
        return Explanation(text, None, (), unusable_reason(text), None, None, ())
    image = image_of(parts(url))
    candidates = tuple(Candidate(one, _role(one, url, one == image.urls[0])) for one in image.urls)
    return Explanation(text, url, changes(text, url), None, image, RULE_BY_NAME[image.rule], candidates)


def _role(candidate: str, given: str, is_best: bool) -> Role:
    if _MANIFEST.search(candidate):
        return Role.MANIFEST
    if candidate != given:
        return Role.DERIVED
    return Role.THUMB if not is_best and _THUMB.search(candidate.partition("://")[2]) else Role.GIVEN


def changes(text: str, url: str) -> tuple[str, ...]:
    """What normalising changed between the text of a cell and its URL."""
    found = []
    clear, stripped = unescape(text), bare(text)
    if clear != text:
        found.append("entities such as &amp; undone")
    if stripped != clear:
        found.append("blanks, quotes or control characters removed")
    written = _WRITTEN.match(stripped)
    if written is None or written["scheme"] is None:
        found.append("scheme added")
        written = _WRITTEN.match(stripped if written is not None else "//" + stripped)
    if written is None:
        return tuple(found)
    scheme, host, rest = written["scheme"] or "", written["host"], written["rest"]
    normal = parts(url)
    if scheme != scheme.lower() or host != host.lower():
        found.append("scheme and host in lower case")
    if not host.isascii():
        found.append("host in its ASCII form")
    elif host.lower() != normal.host:
        found.append("default port or trailing dot dropped")
    before, mark, _ = rest.partition("#")
    before = before if before.startswith("/") else "/" + before
    after, kept, _ = (normal.path + normal.query).partition("#")
    if mark and not kept:
        in_name = "%23" in after and "%23" not in rest
        found.append("# of the name encoded" if in_name else "fragment dropped")
        after = after.partition("%23")[0] if in_name else after
    path, question, query = before.partition("?")
    if (asked := without_tracking(question + query)) != question + query:
        found.append("tracking parameters dropped")
        before = path + asked
    if re.search(r"/\.\.?(?:/|$)", before.partition("?")[0]):
        found.append("dot segments resolved")
    elif before != after:
        found.append("percent-encoding made regular")
    return tuple(found)
