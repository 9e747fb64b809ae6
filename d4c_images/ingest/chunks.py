"""From a source to chunks that the ledger can admit: reads, sorts out, identifies, hashes. Never sees the ledger."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np

from d4c_images.identity import ImageCells, identify_all, split_cell, unusable_reason
from d4c_images.ingest.interning import ManyNumbering, Numbering
from d4c_images.ingest.publisher_rows import SEVERAL_URLS, UNUSABLE_URL_AMONG_SEVERAL, Assignment, RowSpan, spans
from d4c_images.ledger.admission.chunk import Chunk, LedgerFilters, Numbers, SeenFilter, Small, Stated, hashes_of
from d4c_images.ledger.rows.hashes import key_hash
from d4c_images.model import RejectReason
from d4c_images.sources import Block
from d4c_images.sources.media import BROKEN_UTF8, MediaRows, Rejects, Sieve, unquoted

# What is remembered before all of it is forgotten.
MAX_TEXTS = 1 << 17
NUMBERED_TEXT_BYTES = 24 << 20
MAX_HOSTS = 1 << 16


def chunks(assignment: Assignment, seen: LedgerFilters | None) -> Generator[Chunk, None, None]:
    """The chunks of a source from the assignment's place to its end, or to its limit. Raises what `Source.blocks` raises."""
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


class _Named(NamedTuple):
    """The images of a span, as columns."""

    keys: Sequence[str]
    urls: Sequence[str]  # the candidates of each, joined by line feeds
    hosts: Sequence[str]
    rules: Sequence[str]
    versions: Sequence[int]  # of the rules


class _Numbered(NamedTuple):
    """The hosts, rules and texts of a span as numbers, and what has got its number with it: columns of a `Chunk`."""

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
    """The hashes of a span's keys, the beginnings of its records, and which of both may have come before."""

    keys: Numbers
    maybe_known: Numbers
    record_starts: Numbers
    maybe_known_records: Numbers


class _Preparer:
    """Keeps the numbering of hosts, rules and texts over all chunks of one source."""

    def __init__(self, assignment: Assignment, seen: LedgerFilters) -> None:
        self.rejects = Rejects(assignment.sampled)
        is_gbif = assignment.source.layout is None
        self._sieve = Sieve(assignment.source.columns, self.rejects) if is_gbif else None
        self._seen = seen
        self._last_gbif_id = 0
        self._hosts: Numbering[str] = Numbering()
        self._rules: Numbering[str] = Numbering()
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
        """Number and hash what the rows of a span say."""
        rows, named = span.rows, _named(span.images)
        hashed = self._hash(named.keys, rows.gbif_ids)
        numbered = self._number(rows, named)
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
            urls="\t".join(named.urls),
            image_keys="\t".join(["" if key == url else key for key, url in zip(named.keys, named.urls, strict=True)]),
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

    def _number(self, rows: MediaRows, named: _Named) -> _Numbered:
        texts_restart = len(self._texts) > MAX_TEXTS or self._texts.size_bytes > NUMBERED_TEXT_BYTES
        if texts_restart:
            self._texts.clear()
        hosts_restart = len(self._hosts) > MAX_HOSTS
        if hosts_restart:
            self._hosts.clear()
        licenses, creators, rights_holders = self._texts.numbers((rows.licenses, rows.creators, rows.rights_holders))
        return _Numbered(
            hosts=self._hosts.numbers(named.hosts),
            rules=self._rules.numbers(named.rules),
            licenses=licenses,
            creators=creators,
            rights_holders=rights_holders,
            new_hosts=self._hosts.take_new(),
            new_rules=[(rule, named.versions[named.rules.index(rule)]) for rule in self._rules.take_new()],
            new_texts=[unquoted(text.decode(errors="replace")) for text in self._texts.take_new()],
            hosts_restart=hosts_restart,
            texts_restart=texts_restart,
        )

    def _hash(self, keys: Sequence[str], gbif_ids: Numbers) -> _Hashed:
        """Hash the keys, and see which of them and of the records are new."""
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

    def _identify(self, block: Block, rows: MediaRows) -> tuple[MediaRows, Sequence[ImageCells]]:
        """The rows that name an image, and the images; a row with several URLs comes once for each."""
        images = identify_all(rows.identifiers)
        if all(images) and _is_one_url_each(rows.identifiers):
            return rows, images  # type: ignore[return-value]
        several = {at for at, cell in enumerate(rows.identifiers) if cell.find("://", 8) >= 0}
        positions: list[int] = []
        found: list[ImageCells] = []
        for at, image in enumerate(images):
            cell = rows.identifiers[at]
            pieces = split_cell(cell) if at in several else [cell]
            mine = [image] if len(pieces) == 1 else identify_all(pieces)
            usable = [one for one in mine if one is not None]
            if not usable:
                reason = unusable_reason(pieces[0]) or RejectReason.MALFORMED_URL
                self.rejects.add(block, int(rows.line_nos[at]), reason, int(rows.gbif_ids[at]))
                continue
            if len(pieces) > 1:
                self.rejects.note(SEVERAL_URLS)
                if len(usable) < len(pieces):
                    self.rejects.note(UNUSABLE_URL_AMONG_SEVERAL)
            positions += repeat(at, len(usable))
            found += usable
        return rows.pick(positions), found


def _is_one_url_each(cells: Sequence[str]) -> bool:
    """Whether each cell certainly holds one URL alone, counted over all cells together; False also if that is not certain."""
    joined = "\t" + "\t".join(cells)
    begun = joined.count("\thttps://") + joined.count("\thttp://")
    return begun == len(cells) == joined.count("://")


def _named(images: Sequence[ImageCells]) -> _Named:
    keys, candidates, hosts, rules, versions = zip(*images, strict=True) if images else ((), (), (), (), ())
    return _Named(keys, list(map("\n".join, candidates)), hosts, rules, versions)


def _references(rows: MediaRows) -> str:
    """The pages to refer to, joined by tabs."""
    references = b"\t".join(rows.references).decode(errors="replace")
    if '"' in references or " " in references:  # in all of them at once: few downloads have any
        references = "\t".join(map(unquoted, references.split("\t")))
    return references
