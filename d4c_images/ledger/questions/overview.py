"""The status report's queries, answered from counters in milliseconds at any ledger size. Judges nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from d4c_images.ledger.file.reader import Reader, Row
from d4c_images.ledger.file.views import BLOCKED_UNTIL, BLOCKED_WHY
from d4c_images.ledger.queue import pacing
from d4c_images.ledger.queue.pacing import HOSTS_A_STEP
from d4c_images.ledger.rows.extent import SUM_LEFT, left_of, number, top_host
from d4c_images.model import ErrorType
from d4c_images.policy.limits import is_pattern

NON_IMAGE = (ErrorType.INVALID_CONTENT_TYPE, ErrorType.NOT_AN_IMAGE, ErrorType.PLACEHOLDER, ErrorType.MANIFEST_ERROR)

RECORDS_BY_STATUS = "SELECT status, n FROM record_tallies"
N_FAILED = "SELECT coalesce(sum(n), 0) FROM image_totals WHERE status IN ('failed_permanent', 'failed_transient')"
FAILURES = """
SELECT error_type, sum(n) AS n_images, sum(n_final) AS n_final, count(DISTINCT host_id) AS n_hosts
FROM tallies WHERE status IN ('failed_permanent', 'failed_transient') AND n > 0
GROUP BY error_type ORDER BY n_images DESC, error_type
"""
NON_IMAGE_ANSWERS = f"""
SELECT h.host, t.error_type, t.n_images, s.sample
FROM (SELECT host_id, error_type, sum(n) AS n_images FROM tallies
      WHERE error_type IN ({", ".join(f"'{kind}'" for kind in NON_IMAGE)}) AND status IN ('failed_permanent', 'failed_transient')
      GROUP BY host_id, error_type HAVING n_images > 0 ORDER BY n_images DESC, host_id LIMIT ?) AS t
CROSS JOIN host_rows AS h ON h.host_id = t.host_id
LEFT JOIN page_samples AS s ON s.host_id = t.host_id AND s.error_type = t.error_type
ORDER BY t.n_images DESC, h.host, t.error_type
"""  # noqa: S608 - only names from our own enumeration
HOST_COUNTS = f"""
SELECT h.host, sum(t.n) AS n_images,
       coalesce(sum(t.n) FILTER (WHERE t.status = 'success'), 0) AS n_success,
       coalesce(sum(t.n_final) FILTER (WHERE t.status <> 'success'), 0) AS n_failed,
       {SUM_LEFT} AS n_left,
       h.n_requests, h.n_retries, h.received_bytes, h.busy_s, {BLOCKED_UNTIL} AS blocked_until, {BLOCKED_WHY} AS blocked_why
FROM json_each(?) AS one CROSS JOIN host_rows AS h ON h.host_id = one.value
LEFT JOIN politeness_groups AS p ON p.name = h.politeness_group
JOIN tallies AS t ON t.host_id = h.host_id
GROUP BY h.host_id
"""  # noqa: S608 - constants
WORST_HOSTS = """
SELECT host_id FROM tallies WHERE status IN ('failed_permanent', 'failed_transient')
GROUP BY host_id HAVING sum(n_final) > 0 ORDER BY sum(n_final) DESC, host_id LIMIT ?
"""
LEFT_ALONE = """
SELECT host_id FROM host_rows INDEXED BY host_blocked WHERE blocked_until > :now
UNION SELECT h.host_id FROM politeness_groups AS p
      CROSS JOIN host_rows AS h INDEXED BY host_grouped ON h.politeness_group = p.name AND h.politeness_group IS NOT NULL
      WHERE p.held_until > :now
"""
BLOCKED_HOSTS = f"""
SELECT host_id FROM ({LEFT_ALONE}) AS b
ORDER BY {left_of("b.host_id")} DESC, host_id LIMIT :n
"""  # noqa: S608 - put together from the constants above
# How long a host still has to wait, in seconds; NULL: until an operator resumes it.
WAITS_S = f"""
CASE WHEN h.paused_at IS NOT NULL AND h.paused_until IS NULL THEN NULL
     WHEN h.paused_at IS NOT NULL AND h.paused_until > :now THEN h.paused_until - :now
     ELSE max(0, coalesce({BLOCKED_UNTIL}, 0) - :now) END
"""
IMAGE_BYTES = "h.received_bytes * 1.0 / max(1, h.n_requests)"
# Estimates each host's end by the limits of the last run, as `report.hosts` does. Without data there is no estimate, except that a
# host that is blocked does not end before that does.
ENDS_LAST = f"""
SELECT h.host, {SUM_LEFT} AS n_left, {WAITS_S} + {SUM_LEFT} * CASE
    WHEN h.images_per_s > 0 THEN 1 / h.images_per_s
    ELSE max(coalesce(p.latency_s, h.latency_s, 0) / coalesce(h.connections, :connections), coalesce(h.min_interval_s, 0),
             coalesce({IMAGE_BYTES} / h.bytes_per_s, 0), coalesce({IMAGE_BYTES} * 86400 / h.bytes_per_day, 0)) END AS eta_s
FROM host_rows AS h LEFT JOIN politeness_groups AS p ON p.name = h.politeness_group
CROSS JOIN tallies AS t ON t.host_id = h.host_id
WHERE h.images_per_s > 0 OR h.latency_s IS NOT NULL OR p.latency_s IS NOT NULL OR {BLOCKED_UNTIL} > :now
GROUP BY h.host_id HAVING n_left > 0 AND eta_s IS NOT NULL ORDER BY eta_s DESC, h.host_id LIMIT 1
"""  # noqa: S608 - put together from the constants above
PAUSED_WITH_WORK = f"""
FROM host_rows AS h INDEXED BY host_paused
WHERE h.paused_at IS NOT NULL AND (h.paused_until IS NULL OR h.paused_until > ?)
  AND {left_of("h.host_id")} > 0
"""
N_PAUSED_WITH_WORK = f"SELECT count(*) {PAUSED_WITH_WORK}"
PAUSED_HOSTS = f"SELECT h.host {PAUSED_WITH_WORK} ORDER BY h.host_id LIMIT ?"
# Each host's data for estimating its end, some hosts at a time by host number.
HOST_ENDS = f"""
SELECT h.host_id, h.host, coalesce({left_of("h.host_id")}, 0) AS n_left,
       h.images_per_s, coalesce(p.latency_s, h.latency_s) AS latency_s, {IMAGE_BYTES} AS image_bytes, {WAITS_S} AS waits_s
FROM host_rows AS h LEFT JOIN politeness_groups AS p ON p.name = h.politeness_group
WHERE h.host_id > :low AND h.host_id <= :high
"""  # noqa: S608 - put together from the constants above
IS_NAMED = " AND EXISTS (SELECT 1 FROM json_each(:globs) AS one WHERE h.host GLOB one.value)"
HOSTS_IN_WORK = f"""
SELECT h.host, h.politeness_group,
       coalesce((SELECT sum(t.n) FROM tallies AS t WHERE t.host_id = h.host_id), 0) AS n_images,
       coalesce({left_of("h.host_id")}, 0) AS n_left,
       coalesce((SELECT sum(t.n) FROM tallies AS t WHERE t.host_id = h.host_id AND t.status = 'leased'), 0) AS n_leased,
       h.connections, h.min_interval_s, h.bytes_per_s, h.bytes_per_day,
       coalesce(p.width, h.width), coalesce(p.latency_s, h.latency_s), h.images_per_s,
       h.received_bytes, h.n_requests, {BLOCKED_UNTIL}, {BLOCKED_WHY}, h.block_level, h.paused_at, h.paused_until
FROM json_each(?) AS one CROSS JOIN host_rows AS h ON h.host_id = one.value
LEFT JOIN politeness_groups AS p ON p.name = h.politeness_group
"""  # noqa: S608 - put together from the constants above
N_NAMED = "SELECT count(*) FROM host_rows AS h WHERE TRUE" + IS_NAMED  # noqa: S608 - constants
SOME_NAMED = "SELECT h.host FROM host_rows AS h WHERE TRUE" + IS_NAMED + " LIMIT :n"  # noqa: S608 - constants
HOST_IDS = "SELECT h.host_id, h.host FROM json_each(?) AS one CROSS JOIN host_rows AS h ON h.host = one.value"
TRAFFIC = """
SELECT count(*), coalesce(sum(n_requests), 0), coalesce(sum(n_retries), 0), coalesce(sum(received_bytes), 0) FROM host_rows
"""
N_LEFT_ALONE = f"SELECT count(*) FROM ({LEFT_ALONE})"  # noqa: S608 - a constant
ALL_REJECTS = "SELECT reason, sum(n) FROM reject_counts GROUP BY reason ORDER BY 2 DESC, 1"
NOT_AGAIN = """
SELECT error_type, status, count(*) AS n FROM refetch_failures INDEXED BY refetch_failures_by_type
GROUP BY status, error_type ORDER BY n DESC, error_type
"""
N_FORMER = "SELECT count(*) FROM former_rows"
ARCHIVES = "SELECT kind, source, rows_done, offset_bytes, size_bytes, finished_at FROM archives ORDER BY archive_id"


@dataclass(frozen=True, slots=True)
class FailureCount:
    error_type: str
    n_images: int
    n_final: int
    n_hosts: int


@dataclass(frozen=True, slots=True)
class NotAgain:
    """Stored images that could not be fetched again at the last attempt."""

    error_type: str | None
    status: str  # failed_permanent: their publisher has refused them
    n_images: int


@dataclass(frozen=True, slots=True)
class NonImageAnswer:
    host: str
    error_type: str
    n_images: int
    sample: str | None  # the start of the latest page's text


@dataclass(frozen=True, slots=True)
class HostCounts:
    host: str
    n_images: int
    n_success: int
    n_failed: int  # for good
    n_left: int
    n_requests: int
    n_retries: int
    received_bytes: int
    busy_s: float
    blocked_until: int | None
    blocked_why: str | None


@dataclass(frozen=True, slots=True)
class HostInWork:
    """A host's limits, pace and images in the ledger. Limits and width are its group's; None if not worked on yet."""

    host: str
    group: str | None
    n_images: int
    n_left: int
    n_leased: int
    connections: int | None
    min_interval_s: float | None
    bytes_per_s: float | None
    bytes_per_day: float | None
    width: float | None
    latency_s: float | None
    images_per_s: float | None  # recently observed
    received_bytes: int
    n_requests: int
    blocked_until: int | None
    blocked_why: str | None
    block_level: int
    paused_at: int | None
    paused_until: int | None


@dataclass(frozen=True, slots=True)
class LastHost:
    """The host that a run will finish last."""

    host: str
    n_left: int
    eta_s: float


@dataclass(frozen=True, slots=True)
class Traffic:
    n_hosts: int
    n_requests: int
    n_retries: int  # attempts beyond an image's first
    received_bytes: int
    n_blocked: int


@dataclass(frozen=True, slots=True)
class ArchiveState:
    kind: str
    source: str
    rows_done: int
    offset_bytes: int
    size_bytes: int | None
    finished_at: int | None


def records_by_status(ledger: Reader) -> dict[str, int]:
    return dict(ledger.rows(RECORDS_BY_STATUS))


def failures(ledger: Reader) -> list[FailureCount]:
    return [FailureCount(*row) for row in ledger.rows(FAILURES)] if _has_failures(ledger) else []


def _has_failures(ledger: Reader) -> bool:
    """If there are none, the tallies of all hosts need not be scanned."""
    return bool(number(ledger.rows, N_FAILED))


def not_again(ledger: Reader) -> list[NotAgain]:
    return [NotAgain(*row) for row in ledger.rows(NOT_AGAIN)]


def n_former(ledger: Reader) -> int:
    """How many files publishers have replaced since they were stored."""
    return number(ledger.rows, N_FORMER)


def non_image_answers(ledger: Reader, limit: int) -> list[NonImageAnswer]:
    return [NonImageAnswer(*row) for row in ledger.rows(NON_IMAGE_ANSWERS, (limit,))] if _has_failures(ledger) else []


def worst_hosts(ledger: Reader, limit: int) -> list[HostCounts]:
    """Hosts with the most final failures."""
    rows = ledger.rows(WORST_HOSTS, (limit,)) if _has_failures(ledger) else []
    return sorted(_states(ledger, rows), key=lambda one: (-one.n_failed, one.host))


def blocked_hosts(ledger: Reader, now: float, limit: int) -> list[HostCounts]:
    rows = ledger.rows(BLOCKED_HOSTS, {"now": now, "n": limit})
    return sorted(_states(ledger, rows), key=lambda one: (-one.n_left, one.host))


def _states(ledger: Reader, rows: Sequence[Row]) -> list[HostCounts]:
    return [HostCounts(*row) for row in ledger.rows(HOST_COUNTS, (json.dumps([row[0] for row in rows]),))]


def hosts_in_work(ledger: Reader, host_ids: Sequence[int]) -> list[HostInWork]:
    """These hosts, in this order."""
    return [HostInWork(*row) for row in ledger.rows(HOSTS_IN_WORK, (json.dumps(list(host_ids)),))]


def ends_last(ledger: Reader, connections: int, now: float) -> LastHost | None:
    """Among hosts whose end can be estimated; `connections` is for a host that no run has worked on yet."""
    rows = ledger.rows(ENDS_LAST, {"connections": connections, "now": now})
    return LastHost(*rows[0]) if rows else None


def paused_hosts(ledger: Reader, now: float, limit: int) -> tuple[int, tuple[str, ...]]:
    """How many hosts with images left an operator has paused, and some of their names."""
    n = number(ledger.rows, N_PAUSED_WITH_WORK, (now,))
    return n, tuple(row[0] for row in ledger.rows(PAUSED_HOSTS, (now, limit)))


class Ends(NamedTuple):
    """Data for estimating the ends of some hosts, column by column."""

    host_id: tuple[int, ...]
    host: tuple[str, ...]
    n_left: tuple[int, ...]
    images_per_s: tuple[float | None, ...]
    latency_s: tuple[float | None, ...]
    image_bytes: tuple[float, ...]
    waits_s: tuple[float | None, ...]  # None: until an operator resumes it


def ends(ledger: Reader, names: Sequence[str], now: float) -> Iterator[Ends]:
    """For all hosts, or for those with these names or matching these patterns: some at a time, by host number."""
    globs = json.dumps([_glob(name) for name in names])
    top = top_host(ledger.rows)
    for low in range(0, top, HOSTS_A_STEP):
        span = {"now": now, "low": low, "high": low + HOSTS_A_STEP, "globs": globs}
        rows = ledger.rows(HOST_ENDS + (IS_NAMED if names else ""), span)
        if rows:
            yield Ends(*zip(*rows, strict=True))


def n_named(ledger: Reader, name: str) -> int:
    """How many hosts have this name, or match this pattern."""
    if not is_pattern(name):
        return len(ledger.rows(HOST_IDS, (json.dumps([name]),)))
    n: int = ledger.rows(N_NAMED, {"globs": json.dumps([_glob(name)])})[0][0]
    return n


def some_named(ledger: Reader, name: str, limit: int) -> list[str]:
    """Names of some of these hosts."""
    if not is_pattern(name):
        return [row[1] for row in ledger.rows(HOST_IDS, (json.dumps([name]),))]
    return [row[0] for row in ledger.rows(SOME_NAMED, {"globs": json.dumps([_glob(name)]), "n": limit})]


def _glob(name: str) -> str:
    return pacing.glob_of(name) if is_pattern(name) else name.replace("[", "[[]")


def traffic(ledger: Reader, now: float) -> Traffic:
    n_hosts, n_requests, n_retries, received_bytes = ledger.rows(TRAFFIC)[0]
    n_blocked = ledger.rows(N_LEFT_ALONE, {"now": now})[0][0]
    return Traffic(n_hosts, n_requests, n_retries, received_bytes, n_blocked)


def rejects(ledger: Reader) -> dict[str, int]:
    return dict(ledger.rows(ALL_REJECTS))


def archives(ledger: Reader) -> list[ArchiveState]:
    return [ArchiveState(*row) for row in ledger.rows(ARCHIVES)]
