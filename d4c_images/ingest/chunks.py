"""From a source to chunks that the ledger can admit: reads, filters, identifies, hashes. Never sees the ledger."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np

from d4c_images.identity import Images, Origin, exact, identify_all, split_cell, unusable_reason
from d4c_images.ingest.interning import ManyNumbering, Numbering
from d4c_images.ingest.publisher_rows import SEVERAL_URLS, UNUSABLE_URL_AMONG_SEVERAL, Assignment, RowSpan, spans
from d4c_images.ledger.admission.chunk import Chunk, JoinedTexts, LedgerFilters, Numbers, SeenFilter, Small, Stated, hashes_of
from d4c_images.ledger.rows.hashes import key_hash
from d4c_images.model import RejectReason
from d4c_images.sources import Block
from d4c_images.sources.media import BROKEN_UTF8, MediaRows, Rejects, Sieve, unquoted

# Limits of the dictionaries; beyond them, a dictionary is cleared.
MAX_TEXTS = 1 << 17
NUMBERED_TEXT_BYTES = 12 << 20
MAX_HOSTS = 1 << 16
MAX_ORIGINS = 1 << 12  # in addition to the hosts' numbers


def chunks(assignment: Assignment, seen: LedgerFilters | None) -> Generator[Chunk, None, None]:
    """The chunks of a source, from the assignment's start to its end or limit. Raises what `Source.blocks` raises."""
    preparer = _Preparer(assignment, seen or LedgerFilters(SeenFilter(), SeenFilter()))
    limit = assignment.limit
    if limit is not None and assignment.rows_done >= limit:
        return
    if assignment.source.layout is not None:
        yield from map(preparer.pack, spans(assignment, preparer.rejects))
        return
    for block in assignment.source.blocks(assignment.offset, assignment.rows_done + 1):
        if limit is not None and block.row_no - 1 + block.n_lines >= limit:
            yield preparer.chunk(block.head(limit - block.row_no + 1))
            return
        yield preparer.chunk(block)


class _Numbered(NamedTuple):
    """The hosts, rules and texts of a span, dictionary-encoded, with the new dictionary entries: columns of a `Chunk`."""

    hosts: Small
    rules: Small
    licenses: Small
    creators: Small
    rights_holders: Small
    new_hosts: list[str]
    new_rules: list[tuple[str, int]]
    new_texts: list[str]
    hosts_restart: bool
    texts_restart: bool


class _Hashed(NamedTuple):
    """The hashes of a span's keys, the starts of its records, and which of both may be known."""

    keys: Numbers
    maybe_known: Numbers
    record_starts: Numbers
    maybe_known_records: Numbers


class _Preparer:
    """Keeps the dictionaries of hosts, rules and texts over all chunks of one source."""

    def __init__(self, assignment: Assignment, seen: LedgerFilters) -> None:
        self.rejects = Rejects(assignment.sampled)
        is_gbif = assignment.source.layout is None
        self._sieve = Sieve(assignment.source.columns, self.rejects) if is_gbif else None
        self._seen = seen
        self._last_gbif_id = 0
        self._hosts: Numbering[str] = Numbering()
        self._rules: Numbering[tuple[str, int]] = Numbering()
        self._origins: Numbering[Origin] = Numbering()
        self._of_origins: Small = np.empty((0, 2), np.int32)  # the numbers of host and rule
        self._texts: ManyNumbering[bytes] = ManyNumbering()

    def chunk(self, block: Block) -> Chunk:
        """The chunk of a block of GBIF's own table."""
        assert self._sieve is not None
        rows, images = self._identify(block, self._sieve.sift(block))
        if rows.broken:
            self.rejects.note(BROKEN_UTF8, len(np.intersect1d(rows.line_nos, rows.broken)))
        n_rows = int(np.count_nonzero(np.diff(rows.line_nos, prepend=-1)))
        return self.pack(RowSpan(block.row_no - 1 + block.n_lines, block.end, n_rows, rows.line_nos + block.row_no, rows, images))

    def pack(self, span: RowSpan) -> Chunk:
        """Encode and hash the rows of a span."""
        rows, images = span.rows, span.images
        hashed = self._hash(images.keys, rows.gbif_ids)
        numbered = self._number(rows, images)
        reject_counts, notes, samples = self.rejects.take()
        return Chunk(
            end_row=span.end_row,
            end_offset=span.end_offset,
            rows_admitted=span.rows_admitted,
            row_nos=span.row_nos,
            gbif_ids=rows.gbif_ids,
            key_hashes=hashed.keys,
            maybe_known=hashed.maybe_known,
            record_starts=hashed.record_starts,
            maybe_known_records=hashed.maybe_known_records,
            urls=_joined(images.urls),
            image_keys=_joined(self._keys_besides_urls(images, numbered.rules)),
            hosts=numbered.hosts,
            rules=numbered.rules,
            references=_references(rows),
            licenses=numbered.licenses,
            creators=numbered.creators,
            rights_holders=numbered.rights_holders,
            new_hosts=numbered.new_hosts,
            new_rules=numbered.new_rules,
            new_texts=numbered.new_texts,
            texts_restart=numbered.texts_restart,
            hosts_restart=numbered.hosts_restart,
            reject_counts=reject_counts,
            note_counts=notes,
            reject_samples=samples,
            record_names=span.record_names,
            evidence=span.evidence,
            stated=[Stated(at, key_hash(key), key_hash(text), text) for at, key, text in span.stated],
        )

    def _number(self, rows: MediaRows, images: Images) -> _Numbered:
        texts_restart = len(self._texts) > MAX_TEXTS or self._texts.size_bytes > NUMBERED_TEXT_BYTES
        if texts_restart:
            self._texts.clear()
        hosts_restart = len(self._hosts) > MAX_HOSTS
        if hosts_restart:
            self._hosts.clear()
        if hosts_restart or len(self._origins) > MAX_ORIGINS:
            self._origins.clear()
            self._of_origins = self._of_origins[:0]
        hosts, rules = self._hosts_and_rules(images.origins)
        licenses, creators, rights_holders = self._texts.numbers((rows.licenses, rows.creators, rows.rights_holders))
        return _Numbered(
            hosts=hosts,
            rules=rules,
            licenses=licenses,
            creators=creators,
            rights_holders=rights_holders,
            new_hosts=self._hosts.take_new(),
            new_rules=self._rules.take_new(),
            new_texts=[unquoted(text.decode(errors="replace")) for text in self._texts.take_new()],
            hosts_restart=hosts_restart,
            texts_restart=texts_restart,
        )

    def _hash(self, keys: Sequence[bytes], gbif_ids: Numbers) -> _Hashed:
        """Hash the keys, and find out which keys and records may be known."""
        hashes = hashes_of(keys)
        starts = np.flatnonzero(np.diff(gbif_ids, prepend=self._last_gbif_id))
        if len(gbif_ids):
            self._last_gbif_id = int(gbif_ids[-1])
        return _Hashed(
            keys=hashes,
            maybe_known=self._seen.key_hashes.add(hashes),
            record_starts=starts,
            maybe_known_records=starts[self._seen.gbif_ids.add(gbif_ids[starts])],
        )

    def _hosts_and_rules(self, origins: Sequence[Origin]) -> tuple[Small, Small]:
        """The numbers of the host and of the rule of each image."""
        numbers = self._origins.numbers(origins)
        new = [(self._hosts[host], self._rules[rule, version]) for host, rule, version in self._origins.take_new()]
        if new:
            self._of_origins = np.concatenate([self._of_origins, np.array(new, np.int32)])
        hosts, rules = self._of_origins.T
        return hosts[numbers], rules[numbers]

    def _keys_besides_urls(self, images: Images, rules: Small) -> list[bytes]:
        """The keys of images; empty if the key is the URL itself, as only the exact rule makes it."""
        keys = images.keys.copy()
        for at in np.flatnonzero(rules == self._rules.get((exact.NAME, exact.VERSION), -1)).tolist():
            if keys[at] == images.urls[at]:
                keys[at] = b""
        return keys

    def _identify(self, block: Block, rows: MediaRows) -> tuple[MediaRows, Images]:
        """The rows that name an image, and their images; a row with several URLs is repeated for each."""
        images, odd = identify_all(rows.identifiers)
        if not odd:
            return rows, images
        positions: list[int] = []
        found, done = Images([], [], []), 0
        for at in odd:
            positions += range(done, at)
            found.extend(images, done, at)
            done = at + 1
            pieces = split_cell(rows.identifiers[at].decode(errors="replace"))
            mine, first = (images, at) if len(pieces) == 1 else (identify_all(list(map(str.encode, pieces)))[0], 0)
            usable = [one for one in range(first, first + len(pieces)) if mine.keys[one]]
            if not usable:
                reason = unusable_reason(pieces[0]) or RejectReason.MALFORMED_URL
                self.rejects.add(block, int(rows.line_nos[at]), reason, int(rows.gbif_ids[at]))
                continue
            if len(pieces) > 1:
                self.rejects.note(SEVERAL_URLS)
                if len(usable) < len(pieces):
                    self.rejects.note(UNUSABLE_URL_AMONG_SEVERAL)
            positions += repeat(at, len(usable))
            for one in usable:
                found.extend(mine, one, one + 1)
        positions += range(done, len(rows.identifiers))
        found.extend(images, done, len(rows.identifiers))
        return rows.pick(positions), found


def _joined(texts: Sequence[bytes]) -> JoinedTexts:
    return JoinedTexts(b"\t".join(texts), np.fromiter(map(len, texts), np.int32, len(texts)))


def _references(rows: MediaRows) -> JoinedTexts:
    """The pages to refer to."""
    found = _joined(rows.references)
    text = found.joined.decode(errors="replace")
    if not any(one in text for one in '" \N{REPLACEMENT CHARACTER}'):  # tested on all at once: few downloads have any
        return found
    return _joined([unquoted(reference).encode() for reference in text.split("\t")])
