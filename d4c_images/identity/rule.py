"""What an identity rule is, and the forms that most rules have. Contains no rule and no publisher.

`Variants` makes a rule from a function that reads a URL as one variant of a photo; `SuffixSizes` is such a function for files whose
name ends in a word for their size.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from d4c_images.identity.url import Url, parts
from d4c_images.model import Image

Rank = tuple[int, ...]
"""The position of a candidate among the candidates of its image; smaller is better."""


class Example(NamedTuple):
    """One row of a rule's table; a test checks it and the reference page shows it."""

    identifier: str
    key: str
    best: str = ""  # the first candidate; "" if it is the identifier itself


SHORTCUT_PREFIX = 27  # length of the lookup key of shortcuts: that of the shortest one


class Shortcut(NamedTuple):
    """A fast path to the same answer, for the URLs of most rows in a download, which need no processing."""

    prefix: str  # of such URLs; at least `SHORTCUT_PREFIX` characters
    photo: str  # a pattern for the rest; its group is the end of the key
    key: str  # the part of the key before that, after the rule's name
    host: str


@dataclass(frozen=True, slots=True)
class Rule:
    """How the URLs of one publisher, of one media server or of one protocol name an image.

    `match` takes a normalised URL and returns the image, or None if the rule does not apply, so that the next rule is tried. Its
    answer depends on nothing but the URL; its keys begin with `<name>:`; its candidates are in the order of `rank`, and include the
    URL. `rank` is None for URLs that `match` would refuse. A change of any key needs a new `version`.

    A rule is applied to hosts claimed by `hosts` or `domains`, and to any URL that contains one of `hints`.
    """

    name: str
    version: int
    publisher: str  # whose images, or which software: the title on the reference page
    match: Callable[[Url], Image | None]
    rank: Callable[[Url], Rank | None]
    examples: tuple[Example, ...]
    source: str  # where the publisher or the specification documents it
    hosts: frozenset[str] = frozenset()  # as in `Url.host`
    domains: frozenset[str] = frozenset()  # these and all their subdomains, without ports
    hints: tuple[str, ...] = ()  # literal substrings of path and query
    traps: tuple[tuple[str, str], ...] = ()  # pairs of URLs of two different photos
    shortcuts: tuple[Shortcut, ...] = ()

    def claims(self, host: str) -> bool:
        """Whether the host is claimed by the rule."""
        return host in self.hosts or any(host == domain or host.endswith("." + domain) for domain in self.domains)


class Variant(NamedTuple):
    """What the URL says: which photo, how good a version of it, and where a better one is."""

    photo: str  # the part of the key after `<rule name>:`
    rank: Rank  # smaller is better; URLs of equal rank are ordered by scheme and text
    better: str = ""  # a URL of the same photo with a smaller rank that the publisher offers


_NUMBER = re.compile(r"[0-9]+")
_make = tuple.__new__  # creates a named tuple at half the cost, for millions of calls


def longest_side(size: str) -> int:
    """The largest number in `!600,400`, `width=150&height=100` and the like; 0 if there is none."""
    return max(map(int, _NUMBER.findall(size)), default=0)


@dataclass(frozen=True, slots=True)
class Variants:
    """`match` and `rank` of a rule, from a function that reads a URL, or returns None if it does not apply."""

    name: str
    version: int
    read: Callable[[Url], Variant | None]

    def match(self, url: Url) -> Image | None:
        variant = self.read(url)
        if variant is None:
            return None
        key = f"{self.name}:{variant.photo}"
        if not variant.better:
            return _make(Image, (key, (url.text,), url.host, self.name, self.version))
        return Image(key, (variant.better, url.text), parts(variant.better).host, self.name, self.version)

    def rank(self, url: Url) -> Rank | None:
        variant = self.read(url)
        return None if variant is None else (*variant.rank, int(url.scheme != "https"))


# Files whose name ends in a word for their size: `X_lg.jpg`, `X.jpg`, `X_tn.jpg`. Which words are sizes differs
# between publishers (`_l` is *large* at one and *lateral* at another), so each rule names its own.
_EXTENSION = r"\.(?:jpe?g|png|gif|tiff?|JPE?G|PNG|GIF|TIFF?)"
_JPEG = re.compile(r"\.jpe?g", re.IGNORECASE).fullmatch
_IIIF_NAMES = ("/default.", "/native.", "/color.", "/gray.", "/bitonal.")  # such hosts also run IIIF servers


@dataclass(frozen=True, slots=True)
class SuffixSizes:
    """Reads such a URL. The photo is host and path without the size; scheme and case of `.jpg` are ignored."""

    folder: str  # pattern of the path up to the last slash, without it
    sizes: tuple[tuple[str, ...], ...]  # words by rank, best first; "" is the name without a word
    derived: str | None = None  # the word of a better file that exists next to every smaller one
    _split: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        words = sorted((word for step in self.sizes for word in step), key=len, reverse=True)
        pattern = rf"(?P<base>{self.folder}/[^/]+?)(?P<size>{'|'.join(map(re.escape, words))})(?P<ext>{_EXTENSION})"
        object.__setattr__(self, "_split", re.compile(pattern))

    def read(self, url: Url) -> Variant | None:
        path = url.path
        found = None if url.query else self._split.fullmatch(path)
        if found is None or path[path.rfind("/") :].startswith(_IIIF_NAMES):
            return None
        base, size, extension = found.groups()
        step, better = self._step(size), ""
        if self.derived is not None and step > self._step(self.derived):
            other = base + self.derived + extension
            again = self._split.fullmatch(other)
            if again is not None and again["base"] == base:  # false if the name itself ends in such a word
                better = url.root + other
        return Variant(url.host + base + (".jpg" if _JPEG(extension) else extension), (step,), better)

    def _step(self, size: str) -> int:
        return next(step for step, words in enumerate(self.sizes) if size in words)
