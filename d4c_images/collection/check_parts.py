"""Which images and folders belong to which part of a check, and to which sample. Looks at nothing.

An image belongs to the same part whatever is added later: its number decides. So do the names of folders and shards. The N parts
of a collection are disjoint, and together they are all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

from d4c_images.errors import UsageError

BLOCK_IDS = 1_000  # consecutive numbers of images that belong to one part
FOLDERS_DEEP = 2  # folders of this level belong to a part, with all that is below them
MOST_PARTS_OF_A_CHECK = 100_000
_SPREAD = 0x9E3779B1  # odd, near 2**32 divided by the golden ratio: neighbouring numbers get into different samples


@dataclass(frozen=True, slots=True)
class Part:
    """Part `k` of `n`, from 1. The first one includes the ledger itself."""

    k: int = 1
    n: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """`3/30`. Raises `UsageError`."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        part = cls(int(found[1]), int(found[2])) if found else cls(0, 0)
        if not 1 <= part.k <= part.n <= MOST_PARTS_OF_A_CHECK:
            raise UsageError(f"'{text}' is not a part such as 3/30")
        return part

    def __str__(self) -> str:
        return f"{self.k}/{self.n}"

    @property
    def has_ledger(self) -> bool:
        return self.k == 1

    def blocks(self, after: int, top: int, step: int) -> Iterator[tuple[int, int]]:
        """Ranges of image numbers, as (over, up to), from `after` on: the end of one of them, or 0. At most `step` at a time."""
        if self.n == 1:
            yield from ((low, low + step) for low in range(after, top, step))
            return
        first = after // BLOCK_IDS
        first += (self.k - 1 - first) % self.n
        for low in range(first * BLOCK_IDS, top, self.n * BLOCK_IDS):
            yield low, low + BLOCK_IDS

    def n_upto(self, image_id: int) -> int:
        """How many numbers up to this one are in the part."""
        rounds, rest = divmod(image_id, self.n * BLOCK_IDS)
        return rounds * BLOCK_IDS + min(max(0, rest - (self.k - 1) * BLOCK_IDS), BLOCK_IDS) if self.n > 1 else image_id

    def has_folder(self, prefix: str) -> bool:
        """Whether the files of "123/456/" belong to the part: the names of its first two levels decide."""
        return self._has("/".join(prefix.split("/")[:FOLDERS_DEEP]))

    def has_shard(self, path: str) -> bool:
        return self._has(path)

    def _has(self, name: str) -> bool:
        return self.n == 1 or crc32(name.encode("utf-8", "surrogateescape")) % self.n == self.k - 1


WHOLE = Part()


@dataclass(frozen=True, slots=True)
class ImageSample:
    """One image of `n`. The samples of turns 0 to n - 1 are disjoint, and together they are all images."""

    n: int
    turn: int = 0

    def has(self, image_id: int) -> bool:
        return (image_id * _SPREAD & 0xFFFFFFFF) % self.n == self.turn


def sample_of(text: str) -> int:
    """`1%` is 100: one image of so many. Raises `UsageError`."""
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,4})?) ?%", text)
    share = float(found[1]) if found else 0.0
    if not 0.0 < share <= 100.0:
        raise UsageError(f"'{text}' is not a share such as 1% or 0.5%")
    return max(1, round(100.0 / share))
