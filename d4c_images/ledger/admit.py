"""Writes chunks of rows down: one image per key in the whole ledger, one link per record and image. Reads no files.

A call of `Admission.admit` is one transaction that ends with the archive's checkpoint, so a kill loses at most one of them, and
the ledger does not show where one ended and the next began. Nearly every row brings a new image of a new record; those go in
column by column. Rows whose image has come before are for `known` to look at.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from d4c_images import crash
from d4c_images.ledger import archives, bulk, known
from d4c_images.ledger.chunk import Chunk
from d4c_images.ledger.connect import Ledger
from d4c_images.ledger.keys import MAX_HELD, KeyIndex
from d4c_images.ledger.known import Effect, Group
from d4c_images.ledger.lending import host_id_of
from d4c_images.ledger.names import TextIds, rule_id_of
from d4c_images.ledger.rollup import record_status
from d4c_images.ledger.tally import Tally
from d4c_images.model import RecordStatus, Status

INSERT_IMAGES = "INSERT INTO image_rows (image_id, gbif_id, image_no, host_id, rule_id, image_key, urls) VALUES"
NEXT_IMAGE_ID = "SELECT coalesce(max(image_id), 0) + 1 FROM image_rows"
INSERT_LINKS = """INSERT INTO link_rows (gbif_id, image_no, image_id, is_first, license_id, creator_id, rights_holder_id,
    references_url, archive_id, row_no) VALUES"""
INSERT_RECORDS = "INSERT OR IGNORE INTO gbif_ids (gbif_id, n_images) VALUES"
RECORDS = """
SELECT g.gbif_id, g.n_images, g.n_success, g.n_failed, g.status, g.completed_at
FROM json_each(?) AS wanted CROSS JOIN gbif_ids AS g ON g.gbif_id = wanted.value
"""
UPDATE_RECORD = "UPDATE gbif_ids SET n_images = ?, n_success = ?, n_failed = ?, status = ?, completed_at = ? WHERE gbif_id = ?"
BEAT = "UPDATE runs SET heartbeat_at = ? WHERE run_id = ?"

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Admitted:
    """What one call of `admit` has written down."""

    rows: int
    images: int  # new ones
    links: int  # new ones


class Admission:
    """Admits the chunks of one archive, in their order. Of no use any more once `admit` has raised."""

    def __init__(self, ledger: Ledger, archive_id: int, keys: KeyIndex) -> None:
        self._ledger = ledger
        self._archive_id = archive_id
        self._keys = keys
        self._host_ids: list[int] = []
        self._rule_ids: list[int] = []
        self._texts = TextIds()
        self._next_image_id: int = ledger.connection.execute(NEXT_IMAGE_ID).fetchone()[0]
        self._expect_new_records = True

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
        known_at = matches.positions()
        image_ids = matches.image_ids(n, self._next_image_id)
        repeated: set[int] = set()
        effects: dict[int, Effect] = {}
        if known_at:
            known.add_candidates(db, group, matches, tally)
            repeated, effects = known.repeated_links(db, group, matches, image_ids)
        linked = _without(n, repeated)
        gbif_ids = _pick(group.gbif_ids, linked)
        image_nos = self._write_records(db, gbif_ids, effects, tally, now)
        new = _without(n, known_at)
        new_ids = _pick(image_ids, new)
        no_at = image_nos if not repeated else dict(zip(linked, image_nos, strict=True))
        _write_images(db, group, new, new_ids, [no_at[at] for at in new])
        is_first = bytearray(b"\x01") * n
        for at in known_at:
            is_first[at] = 0
        columns = (is_first, group.license_ids, group.creator_ids, group.rights_holder_ids, group.references)
        bulk.insert(
            db,
            INSERT_LINKS,
            (
                gbif_ids,
                image_nos,
                _pick(image_ids, linked),
                *(_pick(column, linked) for column in columns),
                [self._archive_id] * len(linked),
                _pick(group.row_nos, linked),
            ),
        )
        known.write_twins(db, matches, image_ids)
        for host_id, n_images in Counter(_pick(group.host_ids, new)).items():
            tally.image(n_images, host_id, Status.PENDING, None, final=False)
        tally.write(db)
        self._keys.add(_pick(group.key_hashes, new), new_ids)
        self._next_image_id += len(new_ids)
        return Admitted(n_rows, len(new_ids), len(linked))

    def _gather(self, db: sqlite3.Connection, chunks: Sequence[Chunk]) -> Group:
        """The chunks' columns end to end, in the ledger's numbers."""
        group = Group(array("q"), array("q"), array("q"), [], [], {}, [], [], [], [], [], [])
        for chunk in chunks:
            self._host_ids += [host_id_of(db, host) for host in chunk.new_hosts]
            self._rule_ids += [rule_id_of(db, name, version) for name, version in chunk.new_rules]
            self._texts.learn(db, chunk.new_texts, restart=chunk.texts_restart)
            if not chunk.urls:
                continue
            start = len(group.urls)
            group.row_nos += chunk.row_nos
            group.gbif_ids += chunk.gbif_ids
            group.key_hashes += chunk.key_hashes
            group.maybe_known += map(start.__add__, chunk.maybe_known)
            group.urls += chunk.urls.split("\t")
            group.image_keys.update((start + at, key) for at, key in chunk.image_keys.items())
            group.host_ids += map(self._host_ids.__getitem__, chunk.hosts)
            group.rule_ids += map(self._rule_ids.__getitem__, chunk.rules)
            group.references += [text or None for text in chunk.references.split("\t")]
            text_id = self._texts.ids.__getitem__
            group.license_ids += map(text_id, chunk.licenses)
            group.creator_ids += map(text_id, chunk.creators)
            group.rights_holder_ids += map(text_id, chunk.rights_holders)
        return group

    def _write_records(
        self, db: sqlite3.Connection, gbif_ids: Sequence[int], effects: Mapping[int, Effect], tally: Tally, now: int
    ) -> list[int]:
        """Make the records of the links to come, or let them grow. Returns each link's `image_no`."""
        if not gbif_ids:
            return []
        # Nearly always the first record alone has come before: the last transaction ended in the middle of it. So the others
        # are inserted unseen, and looked for only where that goes wrong.
        before = _image_counts(db, gbif_ids[:1] if self._expect_new_records else set(gbif_ids))
        image_nos, counts = _numbered(gbif_ids, before)
        db.execute("SAVEPOINT records")
        if _insert_records(db, counts, before) < len(counts) - len(before):
            db.execute("ROLLBACK TO records")
            before = _image_counts(db, set(gbif_ids))
            image_nos, counts = _numbered(gbif_ids, before)
            _insert_records(db, counts, before)
        db.execute("RELEASE records")
        self._expect_new_records = len(before) < 2
        tally.record(len(counts) - len(before), RecordStatus.PENDING)
        _update_records(db, counts, before, effects, tally, now)
        return image_nos


def _write_images(
    db: sqlite3.Connection, group: Group, new: Sequence[int], image_ids: Sequence[int], image_nos: Sequence[int]
) -> None:
    keys: list[str | None] = [None] * len(group.urls)
    for at, key in group.image_keys.items():
        if key != group.urls[at]:
            keys[at] = key
    columns = (group.host_ids, group.rule_ids, keys, group.urls)
    bulk.insert(
        db, INSERT_IMAGES, (image_ids, _pick(group.gbif_ids, new), image_nos, *(_pick(column, new) for column in columns))
    )


def _numbered(gbif_ids: Sequence[int], before: Mapping[int, int]) -> tuple[list[int], dict[int, int]]:
    """The `image_no` of each link, and how many images each record has with them."""
    counts = dict(before)
    image_nos = []
    for gbif_id in gbif_ids:
        image_no = counts.get(gbif_id, 0)
        image_nos.append(image_no)
        counts[gbif_id] = image_no + 1
    return image_nos, counts


def _image_counts(db: sqlite3.Connection, gbif_ids: Iterable[int]) -> dict[int, int]:
    """How many images the records have that are in the ledger."""
    return {row[0]: row[1] for row in db.execute(RECORDS, (json.dumps(list(gbif_ids)),))}


def _insert_records(db: sqlite3.Connection, counts: Mapping[int, int], before: Mapping[int, int]) -> int:
    """Insert the records that were not there before; returns how many of them really were not."""
    new = {gbif_id: n for gbif_id, n in counts.items() if gbif_id not in before}
    return bulk.insert(db, INSERT_RECORDS, (list(new), list(new.values()))) if new else 0


def _update_records(
    db: sqlite3.Connection,
    counts: Mapping[int, int],
    before: Mapping[int, int],
    effects: Mapping[int, Effect],
    tally: Tally,
    now: int,
) -> None:
    """Make true what the new links change: records that were there grow, and images that were tried before count at once."""
    touched = {*effects, *before}
    if not touched:
        return
    updates = []
    nothing = Effect()
    for gbif_id, _, n_success, n_failed, old, completed_at in db.execute(RECORDS, (json.dumps(list(touched)),)).fetchall():
        effect = effects.get(gbif_id, nothing)
        n_success += effect.n_success
        n_failed += effect.n_failed
        status = record_status(counts[gbif_id], n_success, n_failed, tried=effect.tried or old != RecordStatus.PENDING)
        ended = status in (RecordStatus.DONE, RecordStatus.FAILED)
        updates.append((counts[gbif_id], n_success, n_failed, status.value, (completed_at or now) if ended else None, gbif_id))
        if status != old:
            tally.record(-1, old)
            tally.record(1, status)
    db.executemany(UPDATE_RECORD, updates)


def _without(n: int, left_out: Iterable[int]) -> Sequence[int]:
    """The positions from 0 to n - 1 that are not left out."""
    out = set(left_out)
    return [at for at in range(n) if at not in out] if out else range(n)


def _pick(column: Sequence[_Value], positions: Sequence[int]) -> Sequence[_Value]:
    """The cells at these positions; all of them where the positions are a range."""
    return column if isinstance(positions, range) else [column[at] for at in positions]
