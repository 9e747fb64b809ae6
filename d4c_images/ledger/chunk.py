"""What `admit` takes: some rows of a source as columns, compact enough to travel between processes. Does nothing."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from d4c_images.model import Reject

KEY_BITS = 63
FILTER_BITS = 1 << 28


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


class KeyFilter:
    """Says of a key's hash that it is new, or that it may have come before. Never calls a known one new.

    One bit of `FILTER_BITS` (32 MiB) per hash: of 2 M keys 0.7 % are doubtful, of 20 M 7 %, of 100 M 31 %; those are looked up.
    """

    def __init__(self) -> None:
        self._bits = bytearray(FILTER_BITS // 8)

    def add(self, hashes: array[int] | list[int]) -> list[int]:
        """Remember hashes; returns the positions of those that may have come before."""
        bits = self._bits
        mask = FILTER_BITS - 1
        doubtful = []
        for at, key_hash in enumerate(hashes):
            bit = key_hash & mask
            byte = bits[bit >> 3]
            flag = 1 << (bit & 7)
            if byte & flag:
                doubtful.append(at)
            else:
                bits[bit >> 3] = byte | flag
        return doubtful
