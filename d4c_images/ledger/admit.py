"""Writes chunks of rows down: one image per key in the whole ledger, one link per record and image. Reads no files.

A call of `Admission.admit` is one transaction that ends with the archive's checkpoint, so a kill loses at most one of them, and
the ledger does not show where one ended and the next began. Nearly every row brings a new image of a new record; those go in
column by column. Rows whose image has come before are for `known` to look at.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, compress

import numpy as np

from d4c_images import crash
from d4c_images.ledger import archives, bulk, known, listing
from d4c_images.ledger.chunk import Chunk, Numbers, Seen, SeenFilter
from d4c_images.ledger.connect import Ledger
from d4c_images.ledger.keys import KeyIndex
from d4c_images.ledger.known import Group
from d4c_images.ledger.lending import host_id_of
from d4c_images.ledger.names import TextIds, rule_id_of
from d4c_images.ledger.records import Arrivals, Effect, Records
from d4c_images.ledger.tally import Tally
from d4c_images.model import Status

INSERT_IMAGES = """
INSERT INTO image_rows (gbif_id, image_no, host_id, rule_id, image_key, urls, license_id, creator_id,
    rights_holder_id, references_url, row_no, archive_id) VALUES"""
INSERT_LINK = """
INSERT INTO link_rows (gbif_id, image_no, image_id, is_first, license_id, creator_id, rights_holder_id, references_url, row_no,
    archive_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
MAX_HELD = 1 << 19  # keys, and records, in memory

# Rows go in at the end, and what goes elsewhere goes in order: pages that were written are not needed again.
SMALL_CACHE = "PRAGMA cache_size = -8192"
NEXT_IMAGE_ID = "SELECT coalesce(max(image_id), 0) + 1 FROM image_rows"
BEAT = "UPDATE runs SET heartbeat_at = ? WHERE run_id = ?"


@dataclass(frozen=True, slots=True)
class Admitted:
    """What one call of `admit` has written down."""

    rows: int
    images: int  # new ones
    links: int  # new ones


class Admission:
    """Admits the chunks of one archive, in their order. Of no use any more once `admit` has raised."""

    def __init__(self, ledger: Ledger, archive_id: int) -> None:
        ledger.connection.execute(SMALL_CACHE)
        self._ledger = ledger
        self._archive_id = archive_id
        self._keys = KeyIndex(ledger)
        self._records = Records(ledger)
        self._host_ids: list[int] = []
        self._rule_ids: list[int] = []
        self._texts = TextIds()
        self._next_image_id: int = ledger.connection.execute(NEXT_IMAGE_ID).fetchone()[0]

    def seen(self) -> Seen | None:
        """What the ledger knows already; None where that is nothing."""
        if self._next_image_id == 1:
            return None
        seen = Seen(SeenFilter(), SeenFilter())
        self._keys.tell(seen.key_hashes)
        self._records.tell(seen.gbif_ids)
        return seen

    def flush(self) -> None:
        """Write what is held in memory. To be called at the end; a process that dies without it loses nothing."""
        self._keys.flush()
        self._records.flush(self._next_image_id - 1)

    def admit(self, chunks: Sequence[Chunk], now: float) -> Admitted:
        """Write the rows and the checkpoint behind them in one transaction."""
        with self._ledger.transaction() as db:
            admitted = self._write_rows(db, chunks, int(now))
            crash.point("admit.before_checkpoint")
            self._write_checkpoint(db, chunks[-1], admitted)
            db.execute(BEAT, (int(now), self._ledger.run_id))
            crash.point("admit.before_commit")
        crash.point("admit.after_commit")
        self._keys.flush(at_least=MAX_HELD)
        self._records.flush(self._next_image_id - 1, at_least=MAX_HELD)
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

    def _write_rows(self, db: sqlite3.Connection, chunks: Sequence[Chunk], now: int) -> Admitted:
        for chunk in chunks:
            archives.add_rejects(db, self._archive_id, chunk.reject_counts, chunk.note_counts, chunk.reject_samples)
        n_rows = sum(chunk.rows_admitted for chunk in chunks)
        group = self._gather(db, chunks)
        n = len(group.urls)
        if n == 0:
            return Admitted(n_rows, 0, 0)
        tally = Tally()
        matches = known.match(db, group, self._keys)
        old = matches.positions()
        image_ids = matches.image_ids(n, self._next_image_id)
        repeated: set[int] = set()
        effects: dict[int, Effect] = {}
        if old:
            known.add_candidates(db, group, matches, tally)
            repeated, effects = known.repeated_links(db, group, matches, image_ids)
        arrivals = Arrivals(group.gbif_ids, group.record_starts, group.maybe_known_records, image_ids, old, repeated, effects)
        image_nos, linked = self._records.add(db, arrivals, tally, now)
        if linked:
            self._write_links(db, group, linked, image_ids, image_nos, set(old))
        is_new = bytearray(b"\x01") * n
        for at in old:
            is_new[at] = 0
        self._write_images(db, group, is_new, image_nos)
        known.write_twins(db, matches, image_ids)
        for host_id, n_images in Counter(compress(group.host_ids, is_new)).items():
            tally.image(n_images, host_id, Status.PENDING, None, final=False)
        tally.write(db)
        n_new = n - len(old)
        host_ids = np.array(group.host_ids, np.int64)[np.frombuffer(is_new, bool)]
        listing.add(db, np.arange(self._next_image_id, self._next_image_id + n_new), host_ids)
        hashes = group.key_hashes[np.frombuffer(is_new, bool)]
        self._keys.add(hashes, np.arange(self._next_image_id, self._next_image_id + n_new))
        self._next_image_id += n_new
        if db.execute(NEXT_IMAGE_ID).fetchone()[0] != self._next_image_id:
            raise AssertionError("the ledger has numbered the images otherwise")
        return Admitted(n_rows, n_new, n - len(repeated))

    def _write_images(self, db: sqlite3.Connection, group: Group, is_new: bytearray, image_nos: Sequence[int]) -> None:
        """Write the new images; SQLite gives them the next ids, in their order."""
        columns: tuple[Sequence[object], ...] = (
            group.gbif_ids,
            image_nos,
            group.host_ids,
            group.rule_ids,
            group.image_keys,
            group.urls,
            group.license_ids,
            group.creator_ids,
            group.rights_holder_ids,
            group.references,
            group.row_nos,
        )
        bulk.insert(db, INSERT_IMAGES, [list(compress(column, is_new)) for column in columns], self._archive_id)

    def _write_links(
        self,
        db: sqlite3.Connection,
        group: Group,
        linked: Sequence[int],
        image_ids: Sequence[int],
        image_nos: Sequence[int],
        old: set[int],
    ) -> None:
        """Write links that do not stand in line with their record's first one; the images' own rows then hold none."""
        provenance = (group.license_ids, group.creator_ids, group.rights_holder_ids, group.references, group.row_nos)
        rows = [
            (
                group.gbif_ids[at],
                image_nos[at],
                image_ids[at],
                at not in old,
                *(column[at] for column in provenance),
                self._archive_id,
            )
            for at in linked
        ]
        db.executemany(INSERT_LINK, rows)
        for at in linked:
            for column in provenance:
                column[at] = None

    def _gather(self, db: sqlite3.Connection, chunks: Sequence[Chunk]) -> Group:
        """The chunks' columns end to end, in the ledger's numbers."""
        full = [chunk for chunk in chunks if chunk.urls]
        starts = [0, *accumulate(len(chunk.gbif_ids) for chunk in full)]
        group = Group(
            row_nos=_end_to_end([chunk.row_nos for chunk in full]).tolist(),
            gbif_ids=_end_to_end([chunk.gbif_ids for chunk in full]).tolist(),
            key_hashes=_end_to_end([chunk.key_hashes for chunk in full]),
            maybe_known=[start + at for start, chunk in zip(starts, full, strict=False) for at in chunk.maybe_known],
            record_starts=_end_to_end([chunk.record_starts + start for start, chunk in zip(starts, full, strict=False)]),
            maybe_known_records=_end_to_end(
                [chunk.maybe_known_records + start for start, chunk in zip(starts, full, strict=False)]
            ),
        )
        # The transaction before this one may have ended in the middle of a record.
        group.record_starts = np.union1d(group.record_starts, [0])
        group.maybe_known_records = np.union1d(group.maybe_known_records, [0])
        for chunk in chunks:
            self._host_ids += [host_id_of(db, host) for host in chunk.new_hosts]
            self._rule_ids += [rule_id_of(db, name, version) for name, version in chunk.new_rules]
            self._texts.learn(db, chunk.new_texts, restart=chunk.texts_restart)
            if not chunk.urls:
                continue
            group.urls += chunk.urls.split("\t")
            group.image_keys += [key or None for key in chunk.image_keys.split("\t")]
            group.host_ids += map(self._host_ids.__getitem__, chunk.hosts)
            group.rule_ids += map(self._rule_ids.__getitem__, chunk.rules)
            group.references += [text or None for text in chunk.references.split("\t")]
            text_id = self._texts.ids.__getitem__
            group.license_ids += map(text_id, chunk.licenses)
            group.creator_ids += map(text_id, chunk.creators)
            group.rights_holder_ids += map(text_id, chunk.rights_holders)
        return group


def _end_to_end(columns: Sequence[Numbers]) -> Numbers:
    return np.concatenate(columns) if columns else np.array([], np.int64)
