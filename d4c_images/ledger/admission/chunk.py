"""What `admit` takes: some rows of a source as columns, compact enough to travel between processes. Does nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from d4c_images.ledger.rows import hashes
from d4c_images.model import Evidence, RecordName, Reject

if TYPE_CHECKING:
    import sqlite3  # which who makes chunks does not load

FILTER_BITS = 1 << 26
LOAD_ROWS = 50_000  # of the ledger at a time
FILTER_TRACES = 1 << 18

TOO_MANY_URLS = "too_many_urls"  # a note: the row's image has more URLs than are kept
JOINED_ROWS = "joined_to_another_row"  # a note: the row shows the picture that another row of its record shows

Numbers = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]


class JoinedTexts(NamedTuple):
    """Texts in UTF-8, with a tab between two; none of them holds one."""

    joined: bytes
    lengths: Small  # of each, in bytes


class Stated(NamedTuple):
    """What a row of a publisher's archive says of its picture, so that rows elsewhere can be joined to it."""

    at: int  # position in the columns
    key_hash: int  # of the image that the row would be by itself
    row_hash: int  # of `text`
    text: str  # `identity.archive_variants.written`


@dataclass(frozen=True, slots=True)
class Chunk:
    """The rows of a source from one place to another: those to be admitted as columns of equal length, the others counted.

    Hosts, rules and texts are numbered by whoever makes the chunks, from 0, in the order of their first appearance; a chunk
    brings those that have not come before.
    """

    end_row: int  # rows of the source up to here
    end_offset: int  # bytes of the source up to here
    rows_admitted: int  # a row with several URLs counts once, and has several positions in the columns
    row_nos: Numbers
    gbif_ids: Numbers
    key_hashes: Numbers  # 63 bits
    maybe_known: Numbers  # positions whose key may have come before, in this source or in the ledger; all others have not
    record_starts: Numbers  # positions whose record is another one than in the row before
    maybe_known_records: Numbers  # those of them whose record may have come before; all others have not
    urls: JoinedTexts  # candidates of each image, joined by line feeds
    image_keys: JoinedTexts  # "" where the key is the same as the candidates
    hosts: Small
    rules: Small
    references: JoinedTexts  # pages to refer to; "" for none
    licenses: Small  # numbers of texts
    creators: Small
    rights_holders: Small
    new_hosts: list[str]
    hosts_restart: bool  # all hosts from before are forgotten: numbers begin at 0 again with `new_hosts`
    new_rules: list[tuple[str, int]]
    new_texts: list[str]
    texts_restart: bool  # all texts from before are forgotten: numbers begin at 0 again with `new_texts`
    reject_counts: dict[str, int]
    note_counts: dict[str, int]
    reject_samples: list[Reject]
    record_names: Sequence[RecordName] = ()  # of records that publishers have named
    evidence: Sequence[tuple[int, Evidence]] = ()  # position in the columns, and what is said of a candidate of its image
    stated: Sequence[Stated] = ()

    @property
    def size_bytes(self) -> int:
        """What its texts take in memory, about."""
        texts = (self.urls.joined, self.image_keys.joined, self.references.joined, *self.new_texts)
        said = sum(len(said.url) for _, said in self.evidence) + sum(len(stated.text) for stated in self.stated)
        return sum(map(getsizeof, texts)) + said


def hashes_of(keys: Sequence[bytes]) -> Numbers:
    """The hash of each key, which is in UTF-8."""
    whole = np.fromiter(map(xxhash.xxh3_64_intdigest, keys), np.uint64, len(keys))
    return whole.astype(np.int64) & hashes.HASH_MASK


class SeenFilter:
    """Says of a number that it is new, or that it may have come before. Never calls one new that it has been told of.

    One bit of `FILTER_BITS` (8 MiB) per number: of 2 M numbers 3 % are doubtful in the end, of 20 M 26 %, of 100 M 77 %; those are
    looked up.
    """

    def __init__(self) -> None:
        self._bits = np.zeros(FILTER_BITS // 8, np.uint8)
        self._last = np.zeros(FILTER_TRACES, np.int32)

    def add(self, numbers: Numbers) -> Numbers:
        """Remember numbers; returns the positions of those that may have come before, be it in the same call."""
        bits = numbers & (FILTER_BITS - 1)
        byte_nos, flags = bits >> 3, (1 << (bits & 7)).astype(np.uint8)
        before = self._bits[byte_nos]
        may_be_known = (before & flags) != 0
        # Of numbers that look alike in this call, all but the first: backwards, so that the first one leaves the last trace.
        positions = np.arange(len(numbers), dtype=np.int32)
        traces = numbers & (FILTER_TRACES - 1)
        self._last[traces[::-1]] = positions[::-1]
        may_be_known |= self._last[traces] != positions
        while True:  # of flags that share a byte, one gets in at a time
            self._bits[byte_nos] |= flags
            left = (self._bits[byte_nos] & flags) == 0
            if not left.any():
                break
            byte_nos, flags = byte_nos[left], flags[left]
        return np.flatnonzero(may_be_known)

    def add_all(self, cursor: sqlite3.Cursor) -> None:
        """Remember the numbers in the first column of all its rows."""
        while rows := cursor.fetchmany(LOAD_ROWS):
            self.add(np.array(rows, np.int64)[:, 0])


class NoFilter:
    """Says of every number that it may have come before."""

    def add(self, numbers: Numbers) -> Numbers:
        return np.arange(len(numbers))


@dataclass(frozen=True, slots=True)
class LedgerFilters:
    """What the ledger knows, for whoever makes chunks."""

    key_hashes: SeenFilter | NoFilter
    gbif_ids: SeenFilter | NoFilter


EVERYTHING_MAY_BE_KNOWN = LedgerFilters(NoFilter(), NoFilter())
