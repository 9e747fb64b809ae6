"""What a rule of identity is. Holds no rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from d4c_images.identity.url import Url
from d4c_images.model import Image

Rank = tuple[int, ...]
"""Where a candidate stands among the candidates of its image; smaller is better."""


class Example(NamedTuple):
    """One row of a rule's table; a test checks it and the reference page shows it."""

    identifier: str
    key: str
    best: str = ""  # the first candidate; "" where it is the identifier itself


SHORTCUT_PREFIX = 27  # characters, by which a shortcut is found: the shortest one's


class Shortcut(NamedTuple):
    """A quick way to the same answer, for URLs that most rows of a download hold and that nothing has to be done to."""

    prefix: str  # of such URLs; at least `SHORTCUT_PREFIX` characters
    photo: str  # a pattern of what follows; what its group matches is the end of the key
    key: str  # what stands before that in the key, behind the rule's name
    host: str


@dataclass(frozen=True, slots=True)
class Rule:
    """How the URLs of one publisher, of one media server or of one protocol name an image.

    `match` gets a normalised URL and gives the image, or None where the rule says nothing of this URL and the next rule is asked.
    Its answer depends on nothing but the URL; its keys begin with `<name>:`; its candidates are in the order of `rank`, and the URL
    is one of them. `rank` gives None for URLs that `match` would refuse. A change of any key needs a new `version`.

    A rule is asked about a host that `hosts` or `domains` claim, and about any URL that holds one of `hints`.
    """

    name: str
    version: int
    publisher: str  # whose images, or which software: the title on the reference page
    match: Callable[[Url], Image | None]
    rank: Callable[[Url], Rank | None]
    examples: tuple[Example, ...]
    source: str  # where the publisher or the specification says so
    hosts: frozenset[str] = frozenset()  # as in `Url.host`
    domains: frozenset[str] = frozenset()  # these and all their subdomains, without ports
    hints: tuple[str, ...] = ()  # literal substrings of path and query
    traps: tuple[tuple[str, str], ...] = ()  # pairs of URLs of two different photos
    shortcuts: tuple[Shortcut, ...] = ()

    def claims(self, host: str) -> bool:
        """Whether the host is one of the rule's own."""
        return host in self.hosts or any(host == domain or host.endswith("." + domain) for domain in self.domains)
