"""What `admit` takes: rows of a source as columns, compact enough to travel between processes. Holds data only."""

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
    import sqlite3  # not loaded by the process that makes chunks

FILTER_BITS = 1 << 26
LOAD_ROWS = 50_000  # of the ledger at a time
FILTER_TRACES = 1 << 18

TOO_MANY_URLS = "too_many_urls"  # a note: the row's image has more URLs than are kept
JOINED_ROWS = "joined_to_another_row"  # a note: the row shows the picture that another row of its record shows

Numbers = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]


class JoinedTexts(NamedTuple):
    """Texts in UTF-8, joined by tabs; no text contains one."""

    joined: bytes
    lengths: Small  # of each, in bytes


class Stated(NamedTuple):
    """What a row of a publisher's archive declares about its picture, so that rows elsewhere can be joined to it."""

    at: int  # position in the columns
    key_hash: int  # of the image that the row alone would be
    row_hash: int  # of `text`
    text: str  # `identity.archive_variants.written`


@dataclass(frozen=True, slots=True)
class Chunk:
    """A range of rows of a source: those to be admitted as columns of equal length, the others counted.

    Hosts, rules and texts are dictionary-encoded by the maker of the chunks, from 0, in order of first appearance; a chunk brings
    only the new entries.
    """

    end_row: int  # rows of the source up to here
    end_offset: int  # bytes of the source up to here
    rows_admitted: int  # a row with several URLs counts once, and takes several positions in the columns
    row_nos: Numbers
    gbif_ids: Numbers
    key_hashes: Numbers  # 63 bits
    maybe_known: Numbers  # positions whose key may be known, from this source or the ledger; all others are new
    record_starts: Numbers  # positions whose record differs from the previous row's
    maybe_known_records: Numbers  # those of them whose record may be known; all others are new
    urls: JoinedTexts  # candidates of each image, joined by line feeds
    image_keys: JoinedTexts  # "" where the key is the same as the candidates
    hosts: Small
    rules: Small
    references: JoinedTexts  # pages to refer to; "" if none
    licenses: Small  # numbers of texts
    creators: Small
    rights_holders: Small
    new_hosts: list[str]
    hosts_restart: bool  # earlier hosts are forgotten: numbering restarts at 0 with `new_hosts`
    new_rules: list[tuple[str, int]]
    new_texts: list[str]
    texts_restart: bool  # earlier texts are forgotten: numbering restarts at 0 with `new_texts`
    reject_counts: dict[str, int]
    note_counts: dict[str, int]
    reject_samples: list[Reject]
    record_names: Sequence[RecordName] = ()  # of records that publishers have named
    evidence: Sequence[tuple[int, Evidence]] = ()  # position in the columns, and what is declared about a candidate of its image
    stated: Sequence[Stated] = ()

    @property
    def size_bytes(self) -> int:
        """Approximate memory that its texts take."""
        texts = (self.urls.joined, self.image_keys.joined, self.references.joined, *self.new_texts)
        said = sum(len(said.url) for _, said in self.evidence) + sum(len(stated.text) for stated in self.stated)
        return sum(map(getsizeof, texts)) + said


def hashes_of(keys: Sequence[bytes]) -> Numbers:
    """The hash of each key; keys are UTF-8."""
    whole = np.fromiter(map(xxhash.xxh3_64_intdigest, keys), np.uint64, len(keys))
    return whole.astype(np.int64) & hashes.HASH_MASK


class SeenFilter:
    """A Bloom filter with one hash function: a number is new, or may have come before. A number added before is never called new.

    `FILTER_BITS` (8 MiB), one bit per number: of 2 M numbers 3 % are doubtful in the end, of 20 M 26 %, of 100 M 77 %; doubtful
    ones are looked up.
    """

    def __init__(self) -> None:
        self._bits = np.zeros(FILTER_BITS // 8, np.uint8)
        self._last = np.zeros(FILTER_TRACES, np.int32)

    def add(self, numbers: Numbers) -> Numbers:
        """Add numbers; returns the positions of those that may have come before, even in the same call."""
        bits = numbers & (FILTER_BITS - 1)
        byte_nos, flags = bits >> 3, (1 << (bits & 7)).astype(np.uint8)
        before = self._bits[byte_nos]
        may_be_known = (before & flags) != 0
        # Of numbers with equal traces in this call, all but the first: written backwards, so the first one's trace stays.
        positions = np.arange(len(numbers), dtype=np.int32)
        traces = numbers & (FILTER_TRACES - 1)
        self._last[traces[::-1]] = positions[::-1]
        may_be_known |= self._last[traces] != positions
        while True:  # of bits that share a byte, one is set per round
            self._bits[byte_nos] |= flags
            left = (self._bits[byte_nos] & flags) == 0
            if not left.any():
                break
            byte_nos, flags = byte_nos[left], flags[left]
        return np.flatnonzero(may_be_known)

    def add_all(self, cursor: sqlite3.Cursor) -> None:
        """Add the numbers in the first column of all rows."""
        while rows := cursor.fetchmany(LOAD_ROWS):
            self.add(np.array(rows, np.int64)[:, 0])


class NoFilter:
    """Says of every number that it may be known."""

    def add(self, numbers: Numbers) -> Numbers:
        return np.arange(len(numbers))


@dataclass(frozen=True, slots=True)
class LedgerFilters:
    """What the ledger knows, for the maker of chunks."""

    key_hashes: SeenFilter | NoFilter
    gbif_ids: SeenFilter | NoFilter


EVERYTHING_MAY_BE_KNOWN = LedgerFilters(NoFilter(), NoFilter())
