"""Takes over what checks have found, which they leave in files since they never write the ledger. Reads no such file.

A result is a row with an id of its own, inserted once: whoever is killed between this and the removal of its file, or finds the
file of a row that is there, changes nothing. Rows of more than a year ago go, so that the table stays small.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple

from d4c_images import crash
from d4c_images.ledger.file.connect import Ledger
from d4c_images.model import Verification

KEEP_S = 400 * 86400  # a year of nights, and the month in which somebody wants to compare
MOST_AT_ONCE = 1000  # rows of one transaction

KNOWN_CHECKS = "SELECT v.check_id FROM json_each(?) AS one CROSS JOIN verifications AS v ON v.check_id = one.value"
ADD_VERIFICATION = """
INSERT INTO verifications (check_id, began_at, ended_at, root, last_image_id, part, n_parts, block_ids, with_sha256, with_decode,
                           sample, sample_turn, n_images, n_read, n_decoded, n_findings, n_ledger_findings)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (check_id) DO NOTHING
"""
DROP_OLD = "DELETE FROM verifications WHERE ended_at < ?"


def take_over(ledger: Ledger, found: Sequence[Verification], now: float) -> int:
    """Record these results; returns how many are new. If there are any, all survive a power cut when this returns."""
    ids = json.dumps([one.check_id for one in found])
    known = {row[0] for row in ledger.connection.execute(KNOWN_CHECKS, (ids,))}
    new = [one for one in found if one.check_id not in known]
    for first in range(0, len(new), MOST_AT_ONCE):
        with ledger.transaction() as db:
            db.executemany(ADD_VERIFICATION, map(astuple, new[first : first + MOST_AT_ONCE]))
            db.execute(DROP_OLD, (int(now) - KEEP_S,))
            crash.point("verifications.before_commit")
        crash.point("verifications.after_commit")
    if new:
        ledger.sync()
    return len(new)
