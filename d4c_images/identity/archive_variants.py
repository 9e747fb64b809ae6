"""Several URLs of one picture, as stated in a publisher's archive: which is best, and which rows belong together. Pure.

In Audubon Core the columns of one row are variants of one picture, so a common row is evidence, whereas in a GBIF download only the
URL is. The key is that of what the row declares to be the picture (its `accessURI`, unless that is a web page); a better URL of the
same row is tried first, but does not rename the picture. Rows are joined only if an identifier of the picture says so and nothing
contradicts it: a false merge costs a photo, a missed one costs a request.

Sources: Audubon Core (https://ac.tdwg.org/termlist/), Symbiota `DwcArchiverMedia.php`, iDigBio's media records.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from d4c_images.identity import exact
from d4c_images.identity.registry import image_of, rank_of
from d4c_images.identity.url import parts, usable_url
from d4c_images.model import Evidence, Image

BEST, ACCESS, GOOD, MEDIUM, LOWER, THUMBNAIL = "best", "access", "good", "medium", "lower", "thumbnail"
OFFLINE = "offline"
EDGES = {BEST: 10_000_000, ACCESS: 1_000_000, GOOD: 1600, MEDIUM: 800, LOWER: 400, THUMBNAIL: 200}
"""The long edge, in pixels, assumed for a variant without a stated size. The first two exceed any stated size."""
DEFAULT_EDGE = EDGES[ACCESS]
MAX_JOINED = 64  # rows of one picture: an identifier shared by more rows does not identify a picture
SAME_SHAPE = 0.03  # how far the proportions of two variants of one picture may differ

_ROLES = (
    ("offline", OFFLINE), ("thumb", THUMBNAIL), ("best", BEST), ("original", BEST), ("fullsize", BEST), ("good", GOOD),
    ("medium", MEDIUM), ("lower", LOWER), ("lowquality", LOWER), ("preview", LOWER),
)  # fmt: skip
_HASHES = {"md5": 32, "sha1": 40, "sha256": 64}
_PICTURE_NAME = re.compile(r"\.(?:jpe?g|png|gif|tiff?|bmp|webp|jp2|dng|cr2|nef|heic)\b", re.IGNORECASE)
_PAGE = re.compile(
    r"\.(?:html?|cfm|jsp|xhtml)(?:[?#]|$)|(?:View|Viewer|Details?|Display)\.(?:aspx?|php)(?:[?#]|$)"
    r"|/observations/\d+/?$|/occurrences?/[0-9a-f-]+/?$|/viewer/?(?:[?#]|$)|/individual/index\.php|/MediaSearch",
    re.IGNORECASE,
)
_SYMBOL = re.compile(r"(?:^|[^a-z])(?:logo|icon|placeholder|no[-_]?(?:image|photo|picture)|not[-_]?available)", re.IGNORECASE)
_UUID = re.compile(r"(?:urn:uuid:)?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


class StatedUrl(NamedTuple):
    """One URL of a row."""

    url: str  # as in the cell
    role: str
    is_access: bool  # the row declares it to be the picture
    width: int | None = None
    height: int | None = None
    hash_function: str | None = None
    hash_value: str | None = None

    @property
    def edge(self) -> int:
        """The long edge in pixels, as stated or as implied by its role."""
        return max(self.width or 0, self.height or 0) or EDGES[self.role]


class Statement(NamedTuple):
    """What one row says about a picture."""

    variants: tuple[StatedUrl, ...]
    guids: frozenset[str] = frozenset()  # identifiers of the picture, not of its record
    derived_from: str = ""
    role: str | None = None  # if the row itself says which variant it is
    words: tuple[str, ...] = ()  # title, caption and the like


def role_of(text: str) -> str | None:
    """The role in a cell of `ac:variant` or `variantLiteral`; None if it names none."""
    plain = re.sub(r"[^a-z]", "", re.split(r"[/#:]", text.strip())[-1].lower())
    return next((role for word, role in _ROLES if word in plain), None)


def hash_of(function: str, value: str) -> tuple[str, str] | None:
    """A published hash as (md5, sha1 or sha256; hexadecimal digits), however both are spelled; None if it is no such hash."""
    digits = value.strip().lower()
    for prefix in ("hash://", "urn:"):
        digits = digits.removeprefix(prefix)
    head, _, tail = digits.replace("/", ":").rpartition(":")
    name = re.sub(r"[^a-z0-9]", "", re.split(r"[/#:]", function.strip())[-1].lower()) or re.sub(r"[^a-z0-9]", "", head)
    digits = re.sub(r"^0x|[\s-]", "", tail)
    name = {"sha": "sha1", "sha2": "sha256"}.get(name, name)
    if re.fullmatch(r"[0-9a-f]+", digits) is None or _HASHES.get(name) != len(digits):
        return None
    return name, digits


def is_page(url: str) -> bool:
    """Whether a URL looks like that of a page about a picture, rather than of a picture."""
    return _PICTURE_NAME.search(url) is None and _PAGE.search(url) is not None


def _is_only_page(url: str, image: Image) -> bool:
    """A page, if no rule knows which picture it shows."""
    return image.rule == exact.NAME and is_page(url)


def is_symbol(url: str) -> bool:
    """Whether the file is named like a logo, an icon or a placeholder."""
    return _SYMBOL.search(url.partition("?")[0].rpartition("/")[2]) is not None


def picture_of(statements: Iterable[Statement]) -> tuple[Image, list[Evidence]] | None:
    """The image that some rows are about and what they say about its candidates; None if none of their URLs is usable.

    The order of the rows does not matter. Evidence that says no more than "this is the picture" is left out.
    """
    found: list[tuple[int, StatedUrl, str, Image]] = []
    for number, statement in enumerate(dict.fromkeys(statements)):
        for variant in dict.fromkeys(variant for variant in statement.variants if variant.role != OFFLINE):
            url = usable_url(variant.url)
            if url is not None:
                found.append((number, variant, url, image_of(parts(url))))
    pictures = [one for one in found if not _is_only_page(*one[2:]) and (one[1].is_access or not is_symbol(one[2]))]
    found = pictures or [one for one in found if one[1].is_access] or found  # a page with a logo is at least its own
    if not found:
        return None
    found.sort(key=lambda one: (-one[1].edge, list(EDGES).index(one[1].role), one[2]))
    named = next((image for _, variant, _, image in found if variant.is_access), found[0][3])
    said: dict[str, Evidence] = {}
    for number in dict.fromkeys(one[0] for one in found):
        for url, evidence in _said((variant, url, image) for at, variant, url, image in found if at == number).items():
            said[url] = unite(said[url], evidence) if url in said else evidence
    edges = {url: said[url].edge if url in said else DEFAULT_EDGE for *_, image in found for url in image.urls}
    urls = in_order(edges)
    return Image(named.key, urls, parts(urls[0]).host, named.rule, named.version), [one for _, one in sorted(said.items())]


def _said(found: Iterable[tuple[StatedUrl, str, Image]]) -> dict[str, Evidence]:
    """What one row says about its candidates, by URL, beyond "this is the picture"; the biggest variants come first."""
    edges: dict[str, int] = {}
    said: dict[str, Evidence] = {}
    for variant, url, image in found:
        for candidate in image.urls:
            edges[candidate] = max(edges.get(candidate, 0), variant.edge)
        given = url if url in image.urls else image.urls[0]
        evidence = Evidence(
            given, variant.role, variant.edge, variant.width, variant.height, variant.hash_function, variant.hash_value
        )
        said[given] = unite(said[given], evidence) if given in said else evidence
    for url, edge in edges.items():
        said[url] = said[url]._replace(edge=edge) if url in said else Evidence(url, "derived", edge)
    return {url: one for url, one in said.items() if one.edge != DEFAULT_EDGE or one.hash_function is not None}


def in_order(edges: Mapping[str, int]) -> tuple[str, ...]:
    """Candidates, best first: by size, then by their hosts' rules, then by name."""
    if len(set(edges.values())) == len(edges):  # the usual case; computing ranks takes time
        return tuple(sorted(edges, key=lambda url: -edges[url]))
    return tuple(sorted(edges, key=lambda url: (-edges[url], rank_of(parts(url)), url)))


def unite(one: Evidence, other: Evidence) -> Evidence:
    """What two rows say about one URL; symmetric. Hashes that differ cancel each other out."""
    first = min(one, other, key=lambda evidence: (-evidence.edge, evidence.role, evidence.width or 0, evidence.height or 0))
    hashes = {(said.hash_function, said.hash_value) for said in (one, other) if said.hash_function is not None}
    function, value = (None, None) if not hashes else hashes.pop() if len(hashes) == 1 else (DISAGREE, None)
    return first._replace(hash_function=function, hash_value=value)


DISAGREE = "rows disagree"


def joined(statements: Sequence[Statement]) -> list[list[int]]:
    """The rows of one record by picture: positions, each row in one group, in the order of the groups' first rows.

    The grouping does not depend on the order of the rows.
    """
    by_url: dict[object, list[int]] = {}  # rows with one URL are one picture, whatever else they say
    for at, statement in enumerate(statements):
        access = _access(statement)
        by_url.setdefault(at if access is None else access.url, []).append(at)
    units = list(by_url.values())
    said = [list(dict.fromkeys(statements[at] for at in unit)) for unit in units]
    groups = [[number] for number in range(len(units))]  # the group of each unit; units of one group share the list
    holders: dict[str, set[int]] = {}
    for number, unit in enumerate(said):
        for guid in {guid for statement in unit for guid in statement.guids}:
            holders.setdefault(guid, set()).add(number)
    for number, unit in enumerate(said):
        for statement in unit:
            if statement.derived_from in holders:
                holders[statement.derived_from].add(number)
    for _, members in sorted(holders.items()):
        if not 1 < len(members) <= MAX_JOINED:
            continue
        together = sorted({other for number in members for other in groups[number]})
        if len(together) <= MAX_JOINED and _is_one_picture([said[number] for number in together]):
            for number in together:
                groups[number] = together
    rows = [sorted(at for one in group for at in units[one]) for number, group in enumerate(groups) if group[0] == number]
    return sorted(rows)


MAX_WRITTEN = 4_000
"""Limit, in characters, for remembering a statement; a row with a longer one is joined only with its neighbours."""
MAX_COMPARED = 60
"""Characters of an identifier or a title up to which it is kept for comparison; a longer one is replaced by a digest."""


def written(statement: Statement) -> str | None:
    """A row's statement as a text to be remembered; None if no later row can be joined to it, since it has only URLs.

    Takes some 250 characters for a row of three URLs and a UUID.
    """
    access = {variant.url for variant in statement.variants if variant.is_access}
    has_size = any(variant.is_access and variant.width and variant.height for variant in statement.variants)
    guids = sorted(map(_digest, statement.guids - access))
    if not (guids or statement.derived_from or statement.role or has_size):
        return None
    folder = statement.variants[0].url.rpartition("/")[0]
    variants: list[list[object]] = []
    for variant in statement.variants:
        n_alike = len(folder) if variants and variant.url.startswith(folder) else 0
        cells: list[object] = [n_alike, variant.url[n_alike:], variant.role, int(variant.is_access), *variant[3:]]
        while cells[-1] is None:
            cells.pop()
        variants.append(cells)
    words = _digest("\n".join(statement.words)) if any(statement.words) else ""
    names_itself = int(access <= statement.guids)
    whole = (variants, guids, names_itself, _digest(statement.derived_from), statement.role, words)
    text = json.dumps(whole, separators=(",", ":"))
    return text if len(text) <= MAX_WRITTEN else None


def read(text: str) -> Statement:
    """The statement from which `written` made a text. Long identifiers and words are digests, only good for comparison."""
    variants, guids, names_itself, derived_from, role, words = json.loads(text)
    first = variants[0][1]
    made = tuple(StatedUrl(first[:n] + rest, of, bool(is_access), *more) for n, rest, of, is_access, *more in variants)
    if names_itself:
        guids += [_digest(variant.url) for variant in made if variant.is_access]
    return Statement(made, frozenset(guids), derived_from, role, (words,))


def _digest(text: str) -> str:
    if len(text) <= MAX_COMPARED:
        return text
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=12).hexdigest()


def _is_one_picture(units: Sequence[Sequence[Statement]]) -> bool:
    if any(len(unit) > MAX_JOINED for unit in units):
        return False
    return all(_are_variants(ours, theirs) for ours, theirs in combinations(units, 2))


def _are_variants(ours: Sequence[Statement], theirs: Sequence[Statement]) -> bool:
    """Whether the rows of two URLs say that these are two sizes of one picture, and nothing contradicts it."""
    verdicts = {_may_be_variants(one, other) for one in ours for other in theirs}
    return True in verdicts and False not in verdicts


def _may_be_variants(one: Statement, other: Statement) -> bool | None:
    """Whether two rows of one record with a common identifier describe two sizes of one picture: each says which, or the identifier
    is a UUID of the picture and nothing contradicts it. None if nothing supports it, either."""
    ours, theirs = _access(one), _access(other)
    if ours is None or theirs is None:
        return None
    if one.role is not None and other.role is not None:
        if one.role == other.role:
            return False
        return THUMBNAIL in (one.role, other.role) or _same_shape(ours, theirs) is not False
    same_shape = _same_shape(ours, theirs)
    if same_shape is False:
        return False
    if same_shape:
        return (ours.width, ours.height) != (theirs.width, theirs.height)
    if one.words != other.words and any(one.words) and any(other.words):
        return False
    return True if any(_UUID.fullmatch(guid) for guid in one.guids & other.guids) else None


def _access(statement: Statement) -> StatedUrl | None:
    return next((variant for variant in statement.variants if variant.is_access), None)


def _same_shape(one: StatedUrl, other: StatedUrl) -> bool | None:
    """None if a size is unknown."""
    if not (one.width and one.height and other.width and other.height):
        return None
    ours, theirs = one.width / one.height, other.width / other.height
    return abs(ours - theirs) <= SAME_SHAPE * max(ours, theirs)
