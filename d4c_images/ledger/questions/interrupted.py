"""Which partial bodies workers of earlier runs may have left: those of images still lent to them. Touches no file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.rows.lent import NEXT_REVISION

LEFT_IN_STORE = f"""
SELECT t.image_id, i.gbif_id, i.image_no,
       {NEXT_REVISION}, t.lease_id
FROM lent AS t CROSS JOIN leases AS l ON l.lease_id = t.lease_id CROSS JOIN image_rows AS i ON i.image_id = t.image_id
WHERE l.run_id <> ? AND t.image_id > ? ORDER BY t.image_id LIMIT ?
"""  # noqa: S608 - a constant
LEFT_AT_ONCE = 5_000


class Left(NamedTuple):
    """An image, its revision, and the lease under which a worker may have begun to fetch it."""

    gbif_id: int
    image_no: int
    revision: int
    lease_id: int


def by_earlier_runs(ledger: Ledger) -> Iterator[list[Left]]:
    """In batches; call it before the run has taken the images back."""
    last = 0
    while rows := ledger.connection.execute(LEFT_IN_STORE, (ledger.run_id or 0, last, LEFT_AT_ONCE)).fetchall():
        yield [Left(*row[1:]) for row in rows]
        last = rows[-1][0]
