"""Writes chunks of rows to the ledger: one image per key in the whole ledger, one link per record and image. Reads no files.

A call of `Admission.admit` is one transaction that ends with the archive's checkpoint, so a kill loses at most one call's work, and
the ledger does not show where one ended and the next began. Nearly every row brings a new image of a new record; those are
inserted column by column. Rows whose image is already known are left to `duplicates`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter

import numpy as np

from d4c_images import crash
from d4c_images.ledger.admission import archives, duplicates, new_untried
from d4c_images.ledger.admission.bulk import Floats
from d4c_images.ledger.admission.chunk import (
    EVERYTHING_MAY_BE_KNOWN,
    FILTER_BITS,
    JOINED_ROWS,
    TOO_MANY_URLS,
    Chunk,
    LedgerFilters,
    Numbers,
    SeenFilter,
)
from d4c_images.ledger.admission.duplicates import Flags, RowGroup
from d4c_images.ledger.admission.joining import Joining
from d4c_images.ledger.admission.keys import KeyIndex
from d4c_images.ledger.admission.new_images import NewImages
from d4c_images.ledger.admission.records import Arrivals, Effect, Records
from d4c_images.ledger.admission.text_column import TextColumn
from d4c_images.ledger.admission.texts import TextIds
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.rows import names, variants
from d4c_images.ledger.rows.extent import top_image
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import Evidence, Status

INSERT_LINK = """
INSERT INTO link_rows (gbif_id, image_no, image_id, is_first, license_id, creator_id, rights_holder_id, references_url, row_no,
    archive_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
MAX_HELD_ROWS = 3 << 17  # keys, and records, held in memory, including those being written
ROW_BYTES = 250  # approximate size of a source row
ROWS_WORTH_A_FILTER = 8  # images in the ledger per row to come: above this, looking every row up is cheaper than loading a filter

# Rows are appended, and what must be inserted elsewhere comes sorted: a page once written is not needed again.
SMALL_CACHE = "PRAGMA cache_size = -8192"


@dataclass(frozen=True, slots=True)
class Admitted:
    """What one call of `admit` wrote."""

    rows: int
    images: int  # new ones
    links: int  # new ones


class Admission:
    """Admits the chunks of one archive, in their order. Unusable once `admit` has raised."""

    def __init__(self, ledger: Ledger, archive_id: int) -> None:
        ledger.connection.execute(SMALL_CACHE)
        self._ledger = ledger
        self._archive_id = archive_id
        self._keys = KeyIndex(ledger)
        self._records = Records(ledger)
        self._host_ids = np.empty(0, np.int64)
        self._rule_ids = np.empty(0, np.int64)
        self._texts = TextIds()
        self._new_images = NewImages(ledger.connection, archive_id)
        self._next_image_id = top_image(ledger.connection.execute) + 1

    def seen(self, bytes_left: int) -> LedgerFilters | None:
        """Filters of what the ledger already knows, for a source with this many bytes left to read; None if nothing is left.

        Reading all keys and ids takes 0.8 µs per image; without them each row is looked up, for a few µs. So the cost of a small
        source does not depend on the ledger's size. In a very large ledger a filter would rule nothing out.
        """
        n_images = self._next_image_id - 1
        if n_images == 0:
            return None
        if n_images > min(bytes_left // ROW_BYTES * ROWS_WORTH_A_FILTER, FILTER_BITS // 2):
            return EVERYTHING_MAY_BE_KNOWN
        key_hashes, gbif_ids = SeenFilter(), SeenFilter()
        self._keys.tell(key_hashes)
        self._records.tell(gbif_ids)
        return LedgerFilters(key_hashes, gbif_ids)

    def flush(self) -> None:
        """Write what is held in memory. Call it at the end; a process that dies without it loses nothing."""
        self._keys.flush()
        self._records.flush(self._next_image_id - 1)

    def admit(self, chunks: list[Chunk], now: float) -> Admitted:
        """Write the rows and the checkpoint behind them in one transaction. Removes all chunks but the last from the list."""
        with self._ledger.transaction() as db:
            admitted = self._write_rows(db, chunks, int(now))
            crash.point("admit.before_checkpoint")
            self._write_checkpoint(db, chunks[-1], admitted)
            owner.sign(self._ledger, now)
            crash.point("admit.before_commit")
        crash.point("admit.after_commit")
        self._keys.pour(MAX_HELD_ROWS)
        self._records.pour(self._next_image_id - 1, MAX_HELD_ROWS)
        return admitted

    def _write_checkpoint(self, db: sqlite3.Connection, last: Chunk, admitted: Admitted) -> None:
        archives.checkpoint(
            db,
            self._archive_id,
            last.end_row,
            last.end_offset,
            admitted=admitted.rows,
            images=admitted.images,
            links=admitted.links,
        )

    def _write_rows(self, db: sqlite3.Connection, chunks: list[Chunk], now: int) -> Admitted:
        for chunk in chunks:
            archives.add_rejects(db, self._archive_id, chunk.reject_counts, chunk.note_counts, chunk.reject_samples)
            if chunk.record_names:
                variants.write_names(db, chunk.record_names)
        n_rows = sum(chunk.rows_admitted for chunk in chunks)
        group = self._gather(db, chunks)
        del chunks[:-1]  # the group holds their content now: no need to keep it twice
        if group is None:
            return Admitted(n_rows, 0, 0)
        tally = Tally()
        joining = self._join(db, group)
        matches = duplicates.match(db, group, self._keys)
        old = matches.positions()
        is_new = np.ones(len(group.urls), bool)
        is_new[old] = False
        image_ids = matches.image_ids(is_new, self._next_image_id)
        repeated, effects = self._meet_known(db, group, matches, image_ids, tally) if old else (set(), {})
        arrivals = Arrivals(group.gbif_ids, group.record_starts, group.maybe_known_records, image_ids, old, repeated, effects)
        image_nos, linked = self._records.add(db, arrivals, tally, now)
        if linked:
            self._write_links(db, group, linked, image_ids, image_nos, set(old))
        duplicates.note_picture_links(db, group, matches, linked)
        self._write_images(group, is_new, image_nos, linked)
        duplicates.write_twins(db, matches, image_ids)
        joining.write(image_ids, now)
        for at, said in group.evidence.items():
            variants.write(db, int(image_ids[at]), said)
        self._list(db, image_ids[is_new], group.host_ids[is_new], group.key_hashes[is_new], tally)
        tally.write(db)
        return Admitted(n_rows, int(np.count_nonzero(is_new)), len(group.urls) - len(repeated))

    def _join(self, db: sqlite3.Connection, group: RowGroup) -> Joining:
        """Give rows that show the same picture as another row of their record that row's image."""
        joining = Joining(db, self._keys, group)
        joining.join()
        if joining.n_joined:
            archives.add_rejects(db, self._archive_id, {}, {JOINED_ROWS: joining.n_joined}, ())
        return joining

    def _meet_known(
        self, db: sqlite3.Connection, group: RowGroup, matches: duplicates.Matches, image_ids: Numbers, tally: Tally
    ) -> tuple[set[int], dict[int, Effect]]:
        """Known images gain candidates, and their links gain texts. Returns what `duplicates.repeated_links` does."""
        n_beyond = duplicates.add_candidates(db, group, matches, tally)
        if n_beyond:
            archives.add_rejects(db, self._archive_id, {}, {TOO_MANY_URLS: n_beyond}, ())
        return duplicates.repeated_links(db, group, matches, image_ids)

    def _list(self, db: sqlite3.Connection, image_ids: Numbers, host_ids: Numbers, key_hashes: Numbers, tally: Tally) -> None:
        """List the new images as untried, and remember their keys."""
        new_untried.add(db, image_ids, host_ids)
        for host_id, n_images in zip(*_counted(host_ids), strict=True):
            tally.image(n_images, host_id, Status.PENDING, None, final=False)
        self._keys.add(key_hashes, image_ids)
        self._next_image_id += len(image_ids)
        if top_image(db.execute) + 1 != self._next_image_id:
            raise AssertionError("the ledger has numbered the images otherwise")

    def _write_images(self, group: RowGroup, is_new: Flags, image_nos: Numbers, linked: Sequence[int]) -> None:
        """Write the new images; SQLite numbers them in order. The links of those in `linked` are stored elsewhere."""
        link = (group.license_ids, group.creator_ids, group.rights_holder_ids, group.row_nos.astype(np.float64))
        columns = (group.gbif_ids, image_nos, group.host_ids, group.rule_ids, *link)
        is_linked = np.zeros(len(is_new), bool)
        is_linked[linked] = True
        self._new_images.write(columns, (group.image_keys, group.urls, group.references), is_new, is_linked)

    def _write_links(
        self,
        db: sqlite3.Connection,
        group: RowGroup,
        linked: Sequence[int],
        image_ids: Numbers,
        image_nos: Numbers,
        old: set[int],
    ) -> None:
        """Write the links that do not continue the run of their record's first image."""
        rows = [
            (
                group.gbif_id(at),
                int(image_nos[at]),
                int(image_ids[at]),
                at not in old,
                *group.provenance(at),
                int(group.row_nos[at]),
                self._archive_id,
            )
            for at in linked
        ]
        rows.sort(key=itemgetter(0, 1))
        db.executemany(INSERT_LINK, rows)

    def _learn_hosts(self, db: sqlite3.Connection, chunk: Chunk) -> Numbers:
        """The ledger's number of each host that the chunks number from 0."""
        if chunk.hosts_restart:
            self._host_ids = self._host_ids[:0]
        if chunk.new_hosts:
            self._host_ids = np.append(self._host_ids, np.array(names.host_ids_of(db, chunk.new_hosts), np.int64))
        return self._host_ids

    def _gather(self, db: sqlite3.Connection, chunks: Sequence[Chunk]) -> RowGroup | None:
        """The chunks' columns end to end, with the ledger's numbers; None if no row is to be admitted."""
        texts: list[list[Floats]] = []
        hosts: list[Numbers] = []
        for chunk in chunks:
            hosts.append(self._learn_hosts(db, chunk)[chunk.hosts])
            rule_ids = [names.rule_id_of(db, name, version) for name, version in chunk.new_rules]
            self._rule_ids = np.append(self._rule_ids, np.array(rule_ids, np.int64)) if rule_ids else self._rule_ids
            self._texts.learn(db, chunk.new_texts, restart=chunk.texts_restart)
            text_ids = self._texts.ids
            texts.append([text_ids[numbers] for numbers in (chunk.licenses, chunk.creators, chunk.rights_holders)])
        chunks = [chunk for chunk in chunks if len(chunk.gbif_ids)]
        if not chunks:
            return None
        license_ids, creator_ids, rights_holder_ids = (np.concatenate(columns) for columns in zip(*texts, strict=True))
        starts = [0, *accumulate(len(chunk.gbif_ids) for chunk in chunks)]
        # The previous transaction may have ended in the middle of a record.
        record_starts = _with_first(_positions(starts, [chunk.record_starts for chunk in chunks]))
        maybe_known_records = _with_first(_positions(starts, [chunk.maybe_known_records for chunk in chunks]))
        return RowGroup(
            row_nos=np.concatenate([chunk.row_nos for chunk in chunks]),
            gbif_ids=np.concatenate([chunk.gbif_ids for chunk in chunks]),
            key_hashes=np.concatenate([chunk.key_hashes for chunk in chunks]),
            maybe_known=_positions(starts, [chunk.maybe_known for chunk in chunks]),
            record_starts=record_starts,
            maybe_known_records=maybe_known_records,
            urls=TextColumn([chunk.urls for chunk in chunks]),
            image_keys=TextColumn([chunk.image_keys for chunk in chunks]),
            host_ids=np.concatenate(hosts),
            rule_ids=self._rule_ids[np.concatenate([chunk.rules for chunk in chunks])],
            references=TextColumn([chunk.references for chunk in chunks]),
            license_ids=license_ids,
            creator_ids=creator_ids,
            rights_holder_ids=rights_holder_ids,
            evidence=_evidence(starts, chunks),
            stated=[one._replace(at=start + one.at) for start, chunk in zip(starts, chunks, strict=False) for one in chunk.stated],
            chunk_starts=starts[:-1],
        )


def _counted(numbers: Numbers) -> tuple[list[int], list[int]]:
    """The distinct numbers, and how often each occurs."""
    found, times = np.unique(numbers, return_counts=True)
    return found.tolist(), times.tolist()


def _evidence(starts: Sequence[int], chunks: Sequence[Chunk]) -> dict[int, dict[str, Evidence]]:
    """What publishers declare about the candidates at each position, by URL."""
    found: dict[int, dict[str, Evidence]] = {}
    for start, chunk in zip(starts, chunks, strict=False):
        for at, said in chunk.evidence:
            found.setdefault(start + at, {})[said.url] = said
    return found


def _positions(starts: Sequence[int], positions: Sequence[Numbers]) -> Numbers:
    """Positions within chunks as positions in the concatenation."""
    return np.concatenate([start + some for start, some in zip(starts, positions, strict=False)])


def _with_first(positions: Numbers) -> Numbers:
    return positions if len(positions) and positions[0] == 0 else np.append(0, positions)
