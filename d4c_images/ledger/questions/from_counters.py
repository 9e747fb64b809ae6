"""Small queries answered from the counters, instantly at any ledger size. Changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from d4c_images.ledger.queue import refetching
from d4c_images.ledger.rows.extent import Ask, left_of, number
from d4c_images.ledger.rows.names import HOST_NAME
from d4c_images.model import ErrorType, Status

IN_TALLIES = "SELECT coalesce(sum(n), 0), coalesce(sum(n) FILTER (WHERE status = 'success'), 0) FROM tallies"
IMAGE_TOTALS = "SELECT status, error_type, n, n_final, size_bytes FROM image_totals"
IMAGE_TOTALS_OF = """
SELECT t.status, t.error_type, t.n, t.n_final, t.size_bytes
FROM json_each(?) AS one CROSS JOIN host_rows AS h ON h.host = one.value CROSS JOIN tallies AS t ON t.host_id = h.host_id
"""
N_TO_REFETCH_OF = """
SELECT coalesce(sum(r.n_waiting), 0)
FROM json_each(?) AS one CROSS JOIN host_rows AS h ON h.host = one.value CROSS JOIN refetch_hosts AS r ON r.host_id = h.host_id
"""
SOME_HOSTS = "SELECT host FROM host_rows LIMIT ?"
HOSTS_COMPARED = 5_000
HOST_NUMBERS = "SELECT h.host_id FROM json_each(?) AS one CROSS JOIN host_rows AS h ON h.host = one.value"
N_LEFT = f"""
SELECT one.value, coalesce({left_of("one.value")}, 0)
    + coalesce((SELECT r.n_waiting FROM refetch_hosts AS r WHERE r.host_id = one.value AND ?), 0)
FROM json_each(?) AS one
"""  # noqa: S608 - a constant
HOST_AVAILABILITY = """
SELECT h.host_id, h.host, coalesce(h.blocked_until, 0),
    CASE WHEN h.paused_at IS NULL THEN 0 ELSE coalesce(h.paused_until, 9e999) END
FROM json_each(?) AS one CROSS JOIN host_rows AS h ON h.host_id = one.value
"""
N_BLOCKED = "SELECT count(*) FROM host_rows INDEXED BY host_blocked WHERE blocked_until > ?"
BLOCKED = "SELECT host_id, blocked_until FROM host_rows INDEXED BY host_blocked WHERE blocked_until > ?"
ARE_PAUSED = "FROM host_rows INDEXED BY host_paused WHERE paused_at IS NOT NULL AND (paused_until IS NULL OR paused_until > ?)"
N_PAUSED = f"SELECT count(*) {ARE_PAUSED}"
PAUSED = f"SELECT host_id {ARE_PAUSED}"


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """Images by what will happen to them; they add up to `total`."""

    total: int
    success: int
    raw_unprocessed: int  # of `success`: camera raw files, kept as received
    partly_read: int  # of `success`: not read in full, or kept instead of a smaller JPEG
    failed_permanent: int
    failed_exhausted: int  # transient failures whose attempts are used up
    to_retry: int  # transient failures that will be tried again
    leased: int
    pending: int
    stored_bytes: int
    to_refetch: int = 0  # of `success`: to be refetched by this run
    failures: tuple[tuple[str, int], ...] = ()  # those for good by their type, the most frequent one first

    @property
    def failed(self) -> int:
        """Failed for good."""
        return self.failed_permanent + self.failed_exhausted

    @property
    def left(self) -> int:
        return self.to_retry + self.pending + self.leased + self.to_refetch


@dataclass(frozen=True, slots=True)
class HostCount:
    host_id: int
    host: str
    n_left: int


def images_and_stored(db: sqlite3.Connection) -> tuple[int, int]:
    """How many images there are, and how many are stored, by counters that ledgers of every version have."""
    n, n_stored = db.execute(IN_TALLIES).fetchone()
    return n, n_stored


def image_counts(ask: Ask, *, refetch: bool = False, hosts: Sequence[str] = ()) -> ImageCounts:
    """Of all hosts, or of some. `refetch`: images waiting to be refetched count as left."""
    n, flags, failures, exhausted, stored_bytes = Counter[str](), Counter[str](), Counter[str](), 0, 0
    names = json.dumps(hosts)
    for status, error_type, n_images, n_final, size_bytes in ask(IMAGE_TOTALS_OF, (names,)) if hosts else ask(IMAGE_TOTALS, ()):
        n[status] += n_images
        if status == Status.SUCCESS:
            flags[error_type] += n_images
            stored_bytes += size_bytes
        elif status == Status.FAILED_TRANSIENT:
            exhausted += n_final
            failures[error_type] += n_final
        elif status == Status.FAILED_PERMANENT:
            failures[error_type] += n_images
    return ImageCounts(
        total=n.total(),
        success=n[Status.SUCCESS],
        raw_unprocessed=flags[ErrorType.RAW_UNPROCESSED],
        partly_read=flags[ErrorType.PARTLY_READ],
        failed_permanent=n[Status.FAILED_PERMANENT],
        failed_exhausted=exhausted,
        to_retry=n[Status.FAILED_TRANSIENT] - exhausted,
        leased=n[Status.LEASED],
        pending=n[Status.PENDING],
        stored_bytes=stored_bytes,
        to_refetch=_n_to_refetch(ask, names if hosts else None) if refetch else 0,
        failures=tuple((name or "?", n) for name, n in failures.most_common() if n),
    )


def _n_to_refetch(ask: Ask, names: str | None) -> int:
    return refetching.n_waiting(ask) if names is None else number(ask, N_TO_REFETCH_OF, (names,))


def host_numbers(db: sqlite3.Connection, names: Sequence[str]) -> list[int]:
    """Those of them that the ledger knows."""
    return [row[0] for row in db.execute(HOST_NUMBERS, (json.dumps(names),))]


def n_left(db: sqlite3.Connection, host_ids: Iterable[int], *, refetch: bool = False) -> list[tuple[int, int]]:
    """How many images each of these hosts has left to try; with `refetch` also those to be refetched."""
    return db.execute(N_LEFT, (refetch, json.dumps(list(host_ids)))).fetchall()


@dataclass(frozen=True, slots=True)
class HostAvailability:
    """Whether a host may be sent requests."""

    host: str
    blocked_until: float  # without the wait of its group, and as the ledger has it (`Roster.waits_until`); 0: not blocked
    paused_until: float  # 0: not paused; infinity: until resumed


def host_states(db: sqlite3.Connection, host_ids: Iterable[int]) -> dict[int, HostAvailability]:
    return {row[0]: HostAvailability(*row[1:]) for row in db.execute(HOST_AVAILABILITY, (json.dumps(list(host_ids)),))}


def n_blocked(db: sqlite3.Connection, now: float) -> int:
    """Hosts that are blocked now, without those that wait for another one of their group."""
    return number(db.execute, N_BLOCKED, (now,))


def blocked(db: sqlite3.Connection, now: float) -> Iterator[tuple[int, float]]:
    """The hosts that `n_blocked` counts, and until when each is blocked."""
    yield from db.execute(BLOCKED, (now,))


def n_paused(db: sqlite3.Connection, now: float) -> int:
    return number(db.execute, N_PAUSED, (now,))


def paused_with_work(db: sqlite3.Connection, now: float, *, refetch: bool) -> Iterator[int]:
    """Hosts that an operator has paused and that have images left."""
    cursor = db.execute(PAUSED, (now,))
    while some := [row[0] for row in cursor.fetchmany(1000)]:
        yield from (host_id for host_id, n in n_left(db, some, refetch=refetch) if n)


def host_name(db: sqlite3.Connection, host_id: int) -> str:
    name: str = db.execute(HOST_NAME, (host_id,)).fetchone()[0]
    return name


def some_hosts(ask: Ask) -> list[str]:
    """Names to compare a misspelt one with: of a large ledger, not all."""
    return [row[0] for row in ask(SOME_HOSTS, (HOSTS_COMPARED,))]


def knows_host(db: sqlite3.Connection, name: str) -> bool:
    return db.execute("SELECT 1 FROM host_rows WHERE host = ?", (name,)).fetchone() is not None
