"""Small questions that are answered from the counters, at once, whatever the ledger's size. Changes nothing."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from d4c_images.ledger import refetching

IMAGES_BY_STATUS = "SELECT status, sum(n), sum(n_final) FROM tallies GROUP BY status"
HOSTS_WITH_WORK = """
SELECT h.host_id, h.host, sum(t.n) AS n_left
FROM (SELECT host_id, n - n_final AS n FROM tallies UNION ALL SELECT host_id, n_waiting FROM refetch_hosts WHERE ?) AS t
JOIN host_rows AS h ON h.host_id = t.host_id
GROUP BY h.host_id HAVING n_left > 0 ORDER BY n_left DESC, h.host
"""


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """Images by what will become of them; they add up to `total`."""

    total: int
    success: int
    failed: int  # for good: permanent, or no attempts left
    to_retry: int  # failed before, will be tried again
    pending: int
    leased: int
    to_refetch: int = 0  # of `success`: asked for again by this run

    @property
    def left(self) -> int:
        return self.to_retry + self.pending + self.leased + self.to_refetch


@dataclass(frozen=True, slots=True)
class HostCount:
    host_id: int
    host: str
    n_left: int


def image_counts(db: sqlite3.Connection, *, refetch: bool = False) -> ImageCounts:
    """`refetch`: those that wait to be asked for again count as left."""
    counts = {status: (n, n_final) for status, n, n_final in db.execute(IMAGES_BY_STATUS)}
    transient, exhausted = counts.get("failed_transient", (0, 0))
    return ImageCounts(
        total=sum(n for n, _ in counts.values()),
        success=counts.get("success", (0, 0))[0],
        failed=counts.get("failed_permanent", (0, 0))[0] + exhausted,
        to_retry=transient - exhausted,
        pending=counts.get("pending", (0, 0))[0],
        leased=counts.get("leased", (0, 0))[0],
        to_refetch=refetching.n_waiting(db) if refetch else 0,
    )


def hosts_with_work(db: sqlite3.Connection, *, refetch: bool = False) -> list[HostCount]:
    """Hosts that have images left to try, the ones with most of them first; with `refetch` also those to be asked for again."""
    return [HostCount(*row) for row in db.execute(HOSTS_WITH_WORK, (refetch,))]


def host_name(db: sqlite3.Connection, host_id: int) -> str:
    name: str = db.execute("SELECT host FROM host_rows WHERE host_id = ?", (host_id,)).fetchone()[0]
    return name


def knows_host(db: sqlite3.Connection, name: str) -> bool:
    return db.execute("SELECT 1 FROM host_rows WHERE host = ?", (name,)).fetchone() is not None
