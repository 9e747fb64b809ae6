"""Works off, in committed pieces, what a transaction has left for later because it concerns too many records. Settles nothing.

Two things are left: changes of an image that very many records show (`record_changes`), and links of such records to what a
document names (`link_changes`). Both are walked in the order of the records' numbers. Each piece is committed with the place that
it has reached: a kill loses nothing, and no piece is applied twice. Whoever opens the ledger for writing first works off what a
killed process has left (`catching_up`).

A record that comes to show an image takes over the counts that the other records with higher numbers have just then
(`unfold.Behind`), so new links may come at any time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from d4c_images import crash
from d4c_images.ledger import unfold
from d4c_images.ledger.connect import Ledger
from d4c_images.ledger.rollup import CountChanges, shown_by
from d4c_images.ledger.tally import Tally

PIECE = 5_000
"""Records of which one transaction changes the counts, and links that it makes."""

CHANGES = """
SELECT c.change_id, c.image_id, i.gbif_id, c.n_success, c.n_failed, c.changed_at, c.after_gbif_id
FROM record_changes AS c CROSS JOIN image_rows AS i ON i.image_id = c.image_id ORDER BY c.change_id LIMIT ?
"""
REACHED = "UPDATE record_changes SET after_gbif_id = ? WHERE change_id = ?"
COUNTED = "DELETE FROM record_changes WHERE change_id = ?"
PARENT = "SELECT parent_id, after_gbif_id, upto_gbif_id FROM link_changes ORDER BY parent_id, after_gbif_id LIMIT 1"
LINKED = "DELETE FROM link_changes WHERE parent_id = ? AND after_gbif_id = ?"
IS_LEFT = "SELECT EXISTS (SELECT 1 FROM record_changes) OR EXISTS (SELECT 1 FROM link_changes)"
# Records that have not been reached yet, among those with numbers from one to another.
BEHIND = """
SELECT DISTINCT l.gbif_id
FROM record_changes AS c CROSS JOIN image_rows AS i ON i.image_id = c.image_id
CROSS JOIN link_rows AS l INDEXED BY link_shared
ON l.image_id = c.image_id AND l.gbif_id >= max(c.after_gbif_id + 1, :first) AND l.gbif_id <= :last
WHERE l.gbif_id <> i.gbif_id
"""


def drain(ledger: Ledger, beat: Callable[[], object], stop: Callable[[], bool] = lambda: False) -> bool:
    """Work off all that is left, with `beat` after each committed piece. False if `stop` said so first: some may be left."""
    while is_left(ledger.connection):
        if stop():
            return False
        with ledger.transaction() as db:
            if not _count_some(db):
                _link_some(db)
            crash.point("following.before_commit")
        crash.point("following.committed")
        beat()
    return True


def is_left(db: sqlite3.Connection) -> bool:
    return bool(db.execute(IS_LEFT).fetchone()[0])


def behind(first: int, last: int) -> tuple[str, dict[str, int]]:
    """The question which records, `first` <= gbif_id <= `last`, some change of an image has not reached yet: their counts are to
    come. For `check`, which compares counts with images and must not call these untrue."""
    return BEHIND, {"first": first, "last": last}


def _count_some(db: sqlite3.Connection) -> bool:
    """Apply changes to the next records. False where no change is left."""
    counts, tally, room = CountChanges(), Tally(), PIECE
    changes = db.execute(CHANGES, (PIECE,)).fetchall()
    for change_id, image_id, first_gbif_id, n_success, n_failed, at, after in changes:
        gbif_ids = shown_by(db, image_id, after, first_gbif_id, room)
        for gbif_id in gbif_ids:
            counts.add(gbif_id, n_success, n_failed, at)
        if len(gbif_ids) == room:
            db.execute(REACHED, (gbif_ids[-1], change_id))
            break
        db.execute(COUNTED, (change_id,))
        room -= max(1, len(gbif_ids))
        if not room:
            break
    counts.write(db, tally)
    tally.write(db)
    return bool(changes)


def _link_some(db: sqlite3.Connection) -> None:
    """Make the next links of images that stood for documents."""
    began = db.total_changes
    while db.total_changes - began < PIECE and (row := db.execute(PARENT).fetchone()):
        parent_id, after, upto = row
        reached = unfold.link_some(db, parent_id, after, upto, PIECE)
        db.execute(LINKED, (parent_id, after))
        if reached is not None:
            unfold.leave_links(db, parent_id, reached, upto)
            return
