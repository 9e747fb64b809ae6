"""The URLs of one image while rows add more of them: keeps the best, in order. Pure; knows no rows and no ledger.

An archive can contain a IIIF image in thousands of sizes. Each attempt tries the candidates one after another, and nobody gets to
the forty-first, so the list is bounded. What is kept depends only on the earlier rows and their order, never on how many rows
were passed at once.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping

from d4c_images.identity.archive_variants import DEFAULT_EDGE
from d4c_images.identity.registry import rank_of
from d4c_images.identity.rule import Rank
from d4c_images.identity.url import parts
from d4c_images.model import MAX_CANDIDATES

CandidateOrder = tuple[int, Rank, str]
"""Smaller is better: the long edge (negated), the rank by the host's rule, the URL."""


class Candidates:
    """The best URLs of one image; the cost of adding one does not depend on how many there are."""

    def __init__(self, urls: Iterable[str], edges: Mapping[str, int], pinned: str | None = None) -> None:
        """`edges` is the size that publishers declare for some of the URLs. `pinned` stays, however bad it is."""
        self._pinned = pinned
        self._places = {url: _place(url, edges) for url in urls}
        self._order = sorted(self._places.values())

    def __contains__(self, url: str) -> bool:
        return url in self._places

    @property
    def urls(self) -> list[str]:
        """All kept URLs, best first."""
        return [url for *_, url in self._order]

    @property
    def best(self) -> str:
        return self._order[0][2]

    def add(self, urls: Iterable[str], edges: Mapping[str, int]) -> tuple[bool, list[str]]:
        """Add one row's URLs. Returns whether a new URL is kept, and the URLs, old or new, that are no longer kept."""
        for url in edges:
            if url in self._places and self._places[url][0] != -edges[url]:
                del self._order[bisect_left(self._order, self._places[url])]
                self._put(url, edges)
        new = [url for url in dict.fromkeys(urls) if url not in self._places]
        for url in new:
            self._put(url, edges)
        dropped = []
        while len(self._order) > MAX_CANDIDATES:
            at = -2 if self._order[-1][2] == self._pinned else -1
            url = self._order.pop(at)[2]
            del self._places[url]
            dropped.append(url)
        return any(url in self._places for url in new), dropped

    def _put(self, url: str, edges: Mapping[str, int]) -> None:
        self._places[url] = place = _place(url, edges)
        insort(self._order, place)


def _place(url: str, edges: Mapping[str, int]) -> CandidateOrder:
    return -edges.get(url, DEFAULT_EDGE), rank_of(parts(url)), url
