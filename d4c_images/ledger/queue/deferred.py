"""Works off, in committed pieces, what a transaction deferred because it concerns too many records. Settles nothing.

Four things are deferred: changes of an image that very many records show (`record_changes`), links of such records to a document's
pictures (`link_changes`), images that show, or wait for, the picture that very many documents name (`follower_changes`): they
become a success or a placeholder when it does; and images that an ingest found to be the same as others (`joined_images`). All are
walked in numerical order, and each piece is committed with its checkpoint: a kill loses nothing, and nothing is applied twice.
Opening the ledger for writing first works off what a killed process left (`recovery`).

A record that starts to show an image takes over the counts that records with higher numbers have at that moment
(`record_links.Behind`), so new links may come at any time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from d4c_images import crash
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import followers, mark_placeholders, record_links, same_images
from d4c_images.ledger.rows.extent import Ask
from d4c_images.ledger.rows.rollup import CountChanges, shown_by
from d4c_images.ledger.rows.tally import Tally

RECORDS_AT_A_TIME = 5_000
"""Records whose counts one transaction changes, and links that it makes."""

CHANGES = """
SELECT c.change_id, c.image_id, i.gbif_id, c.n_success, c.n_failed, c.changed_at, c.after_gbif_id
FROM record_changes AS c CROSS JOIN image_rows AS i ON i.image_id = c.image_id ORDER BY c.change_id LIMIT ?
"""
REACHED = "UPDATE record_changes SET after_gbif_id = ? WHERE change_id = ?"
DROP_RECORD_CHANGE = "DELETE FROM record_changes WHERE change_id = ?"
PARENT = "SELECT parent_id, after_gbif_id, upto_gbif_id FROM link_changes ORDER BY parent_id, after_gbif_id LIMIT 1"
LINKED = "DELETE FROM link_changes WHERE parent_id = ? AND after_gbif_id = ?"
FOLLOWED_IMAGE = """
SELECT f.image_id, f.after_parent_id, coalesce(i.last_attempt_at, 0),
       i.status = 'failed_permanent' AND coalesce(i.error_type, '') = 'placeholder'
FROM follower_changes AS f CROSS JOIN image_rows AS i ON i.image_id = f.image_id ORDER BY f.image_id LIMIT 1
"""
FOLLOWED_UPTO = "UPDATE follower_changes SET after_parent_id = ? WHERE image_id = ?"
FOLLOWED = "DELETE FROM follower_changes WHERE image_id = ?"
IS_LEFT = """
SELECT EXISTS (SELECT 1 FROM record_changes) OR EXISTS (SELECT 1 FROM follower_changes) OR EXISTS (SELECT 1 FROM link_changes)
    OR EXISTS (SELECT 1 FROM joined_images)
"""
ALL_CHANGES = """
SELECT c.image_id, i.gbif_id, c.after_gbif_id FROM record_changes AS c CROSS JOIN image_rows AS i ON i.image_id = c.image_id
"""
NOT_REACHED = """
SELECT gbif_id FROM link_rows INDEXED BY link_shared WHERE image_id = ? AND gbif_id > ? AND gbif_id <= ? AND gbif_id <> ?
"""


def drain(ledger: Ledger, beat: Callable[[], object], stop: Callable[[], bool] = lambda: False) -> bool:
    """Work off everything, calling `beat` after each committed piece. False if `stop` ended it first: some may be left."""
    while is_left(ledger.connection):
        if stop():
            return False
        with ledger.transaction() as db:
            if not _count_some(db) and not _follow_some(db) and not same_images.give_up_some(db):
                _link_some(db)
            crash.point("following.before_commit")
        crash.point("following.committed")
        beat()
    return True


def is_left(db: sqlite3.Connection) -> bool:
    return bool(db.execute(IS_LEFT).fetchone()[0])


def behind(ask: Ask, first: int, last: int) -> set[int]:
    """The records, `first` <= gbif_id <= `last`, that some change of an image has not reached yet: their counts are outdated.

    For `check`, which compares counts with images and must not report these. It must ask for both at one moment.
    """
    found: set[int] = set()
    for image_id, first_gbif_id, after in ask(ALL_CHANGES, ()):
        found.update(row[0] for row in ask(NOT_REACHED, (image_id, max(after, first - 1), last, first_gbif_id)))
    return found


def _count_some(db: sqlite3.Connection) -> bool:
    """Apply changes to the next records. False if no change is left."""
    counts, tally, room = CountChanges(), Tally(), RECORDS_AT_A_TIME
    changes = db.execute(CHANGES, (RECORDS_AT_A_TIME,)).fetchall()
    for change_id, image_id, first_gbif_id, n_success, n_failed, at, after in changes:
        gbif_ids = shown_by(db, image_id, after, first_gbif_id, room)
        for gbif_id in gbif_ids:
            counts.add(gbif_id, n_success, n_failed, at)
        if len(gbif_ids) == room:
            db.execute(REACHED, (gbif_ids[-1], change_id))
            break
        db.execute(DROP_RECORD_CHANGE, (change_id,))
        room -= max(1, len(gbif_ids))
        if not room:
            break
    counts.write(db, tally)
    tally.write(db)
    return bool(changes)


def _follow_some(db: sqlite3.Connection) -> bool:
    """Make the next images what the image that they wait for, or show, has become. False if none is left to look at."""
    began, is_left = db.total_changes, False
    while db.total_changes - began < RECORDS_AT_A_TIME and (row := db.execute(FOLLOWED_IMAGE).fetchone()):
        image_id, after, at, is_placeholder = row
        is_left = True
        if is_placeholder:
            db.execute(FOLLOWED, (image_id,))
            mark_placeholders.mark_showing(db, image_id, after, at)  # defers what does not fit
            break
        reached = followers.follow_some(db, image_id, after, RECORDS_AT_A_TIME, at)
        if reached is None:
            db.execute(FOLLOWED, (image_id,))
        else:
            db.execute(FOLLOWED_UPTO, (reached, image_id))
            break
    return is_left


def _link_some(db: sqlite3.Connection) -> None:
    """Make the next links of images that stood for documents."""
    began = db.total_changes
    while db.total_changes - began < RECORDS_AT_A_TIME and (row := db.execute(PARENT).fetchone()):
        parent_id, after, upto = row
        reached = record_links.link_some(db, parent_id, after, upto, RECORDS_AT_A_TIME)
        db.execute(LINKED, (parent_id, after))
        if reached is not None:
            record_links.leave_links(db, parent_id, reached, upto)
            return
