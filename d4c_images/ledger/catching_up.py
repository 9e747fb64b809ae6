"""Makes records and keys again from their images, where a process died that held them in memory. For whoever is about to write.

Loads no more than it needs: each download begins with it.
"""

from __future__ import annotations

from d4c_images.ledger.connect import Ledger
from d4c_images.ledger.tally import Tally
from d4c_images.model import RecordStatus

CAUGHT_UP = "SELECT recorded_image_id, keyed_image_id FROM caught_up"
TOP_IMAGE = "SELECT coalesce(max(image_id), 0) FROM image_rows"
CATCH_UP = """
INSERT OR IGNORE INTO gbif_ids (gbif_id, n_images, first_image_id, n_in_line)
SELECT gbif_id, count(*), min(image_id), count(*) FROM image_rows WHERE image_id > ? AND row_no IS NOT NULL
GROUP BY gbif_id ORDER BY gbif_id
"""
SET_RECORDED = "UPDATE caught_up SET recorded_image_id = ?"


def catch_up(ledger: Ledger) -> None:
    """Write what a process held in memory when it died. Whoever settles images must call this first."""
    recorded, keyed = ledger.connection.execute(CAUGHT_UP).fetchone()
    top: int = ledger.connection.execute(TOP_IMAGE).fetchone()[0]
    if top > recorded:
        _catch_up_records(ledger, recorded, top)
    if top > keyed:
        from d4c_images.ledger.keys import KeyIndex  # loads numpy

        KeyIndex(ledger)


def _catch_up_records(ledger: Ledger, recorded: int, top: int) -> None:
    with ledger.transaction() as db:
        tally = Tally()
        tally.record(db.execute(CATCH_UP, (recorded,)).rowcount, RecordStatus.PENDING)
        tally.write(db)
        db.execute(SET_RECORDED, (top,))
