"""What `admit` takes: some rows of a source as columns, compact enough to travel between processes. Does nothing."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from d4c_images.model import Reject

KEY_BITS = 63
FILTER_BITS = 1 << 27


@dataclass(frozen=True, slots=True)
class Chunk:
    """The rows of a source from one place to another: those to be admitted as columns of equal length, the others counted.

    Hosts, rules and texts are numbered by whoever makes the chunks, from 0, in the order of their first appearance; a chunk
    brings those that have not come before. No text of a column holds a tab, so that tabs can join them.
    """

    end_row: int  # rows of the source up to here
    end_offset: int  # bytes of the source up to here
    rows_admitted: int  # a row with several URLs counts once, and has several positions in the columns
    row_nos: array[int]
    gbif_ids: array[int]
    key_hashes: array[int]  # 63 bits
    maybe_known: array[int]  # positions whose key may have come before, in this source or in the ledger; all others have not
    record_starts: array[int]  # positions whose record is another one than in the row before
    maybe_known_records: array[int]  # those of them whose record may have come before; all others have not
    urls: str  # candidates of each image joined by line feeds; images joined by tabs
    image_keys: dict[int, str]  # by position, where the key is not the same as the candidates
    hosts: array[int]
    rules: array[int]
    references: str  # joined by tabs
    licenses: array[int]  # numbers of texts
    creators: array[int]
    rights_holders: array[int]
    new_hosts: list[str]
    new_rules: list[tuple[str, int]]
    new_texts: list[str]
    texts_restart: bool  # all texts from before are forgotten: numbers begin at 0 again with `new_texts`
    reject_counts: dict[str, int]
    note_counts: dict[str, int]
    reject_samples: list[Reject]


class SeenFilter:
    """Says of a number that it is new, or that it may have come before. Never calls one new that it has been told of.

    One bit of `FILTER_BITS` (16 MiB) per number: of 2 M numbers 1.5 % are doubtful, of 20 M 14 %, of 100 M half; those are
    looked up.
    """

    def __init__(self) -> None:
        self._bits = bytearray(FILTER_BITS // 8)

    def add(self, numbers: Sequence[int]) -> list[int]:
        """Remember numbers; returns the positions of those that may have come before."""
        bits = self._bits
        mask = FILTER_BITS - 1
        doubtful = []
        for at, number in enumerate(numbers):
            bit = number & mask
            byte = bits[bit >> 3]
            flag = 1 << (bit & 7)
            if byte & flag:
                doubtful.append(at)
            else:
                bits[bit >> 3] = byte | flag
        return doubtful


@dataclass(frozen=True, slots=True)
class Seen:
    """What the ledger knows, for whoever makes chunks."""

    key_hashes: SeenFilter
    gbif_ids: SeenFilter
