"""The status report's questions, answered from counters in milliseconds, whatever the ledger's size. Judges nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass

from d4c_images.ledger.reader import Reader
from d4c_images.limits import HostTable
from d4c_images.model import ErrorType

NON_IMAGE = (ErrorType.INVALID_CONTENT_TYPE, ErrorType.NOT_AN_IMAGE, ErrorType.PLACEHOLDER, ErrorType.MANIFEST_ERROR)

RECORDS = "SELECT status, n FROM record_tallies"
IMAGES = "SELECT status, sum(n), sum(n_final), sum(size_bytes) FROM tallies GROUP BY status"
FLAGS = "SELECT error_type, sum(n) FROM tallies WHERE status = 'success' AND error_type <> '' GROUP BY error_type"
FAILURES = """
SELECT error_type, sum(n) AS n_images, sum(n_final) AS n_final, count(DISTINCT host_id) AS n_hosts
FROM tallies WHERE status IN ('failed_permanent', 'failed_transient') AND n > 0
GROUP BY error_type ORDER BY n_images DESC, error_type
"""
NON_IMAGE_ANSWERS = f"""
SELECT h.host, t.error_type, sum(t.n) AS n_images, s.sample
FROM tallies AS t
JOIN host_rows AS h ON h.host_id = t.host_id
LEFT JOIN page_samples AS s ON s.host_id = t.host_id AND s.error_type = t.error_type
WHERE t.error_type IN ({", ".join(f"'{kind}'" for kind in NON_IMAGE)}) AND t.status IN ('failed_permanent', 'failed_transient')
GROUP BY t.host_id, t.error_type HAVING n_images > 0
ORDER BY n_images DESC, h.host, t.error_type LIMIT ?
"""  # noqa: S608 - only names from our own enumeration
HOSTS = """
SELECT h.host, sum(t.n) AS n_images,
       coalesce(sum(t.n) FILTER (WHERE t.status = 'success'), 0) AS n_success,
       coalesce(sum(t.n_final) FILTER (WHERE t.status <> 'success'), 0) AS n_failed,
       sum(t.n - t.n_final) AS n_left,
       h.n_requests, h.n_retries, h.received_bytes, h.busy_s, h.blocked_until, h.blocked_why
FROM host_rows AS h JOIN tallies AS t ON t.host_id = h.host_id
GROUP BY h.host_id
"""
WORST_HOSTS = f"""
SELECT * FROM ({HOSTS}) WHERE n_failed > 0 ORDER BY n_failed DESC, host LIMIT ?
"""  # noqa: S608 - put together from the constants above
BLOCKED_HOSTS = f"""
SELECT * FROM ({HOSTS}) WHERE blocked_until > ? ORDER BY n_left DESC, host LIMIT ?
"""  # noqa: S608 - put together from the constants above
HOST_COUNTS = """
SELECT host_id, sum(n) AS n_images, sum(n - n_final) AS n_left, coalesce(sum(n) FILTER (WHERE status = 'leased'), 0) AS n_leased
FROM tallies GROUP BY host_id HAVING n_left >= ?
"""
HOSTS_IN_WORK = f"""
SELECT h.host, h.politeness_group, t.n_images, t.n_left, t.n_leased,
       h.connections, h.min_interval_s, h.bytes_per_s, h.bytes_per_day, h.width, h.latency_s, h.images_per_s,
       h.received_bytes, h.n_requests, h.blocked_until, h.blocked_why, h.block_level, h.paused_at, h.paused_until
FROM ({HOST_COUNTS}) AS t JOIN host_rows AS h ON h.host_id = t.host_id
"""  # noqa: S608 - put together from the constants above
WANTED_LIMITS = "SELECT host, limits FROM wanted_limits"
TRAFFIC = """
SELECT count(*), coalesce(sum(n_requests), 0), coalesce(sum(n_retries), 0), coalesce(sum(received_bytes), 0),
       count(*) FILTER (WHERE blocked_until > ?)
FROM host_rows
"""
REJECTS = "SELECT reason, sum(n) FROM reject_counts GROUP BY reason ORDER BY 2 DESC, 1"
NOT_AGAIN = """
SELECT error_type, status, count(*) AS n FROM refetch_failures INDEXED BY refetch_failures_by_type
GROUP BY status, error_type ORDER BY n DESC, error_type
"""
FORMER = "SELECT count(*) FROM former_rows"
ARCHIVES = "SELECT kind, source, rows_done, offset_bytes, size_bytes, finished_at FROM archives ORDER BY archive_id"
LAST_RUN = """
SELECT r.run_id, r.command, r.host, r.pid, r.pid_started, r.job_id, r.started_at, r.heartbeat_at, r.ended_at, r.ending,
       EXISTS (SELECT 1 FROM owner AS o WHERE o.run_id = r.run_id) AS owns
FROM runs AS r WHERE r.command <> 'hosts' ORDER BY r.run_id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class ImagesByStatus:
    status: str
    n_images: int
    n_final: int  # of them: nothing more will be tried by itself
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FailureCount:
    error_type: str
    n_images: int
    n_final: int
    n_hosts: int


@dataclass(frozen=True, slots=True)
class NotAgain:
    """Stored images that could not be had when they were last asked for again."""

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
class HostState:
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
    """What the ledger has of a host's limits, pace and images. Limits and width are of its group; None: not worked on yet."""

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
    images_per_s: float | None  # as observed of late
    received_bytes: int
    n_requests: int
    blocked_until: int | None
    blocked_why: str | None
    block_level: int
    paused_at: int | None
    paused_until: int | None


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


@dataclass(frozen=True, slots=True)
class RunRow:
    run_id: int
    command: str
    host: str
    pid: int
    pid_started: str | None
    job_id: str | None
    started_at: int
    heartbeat_at: int
    ended_at: int | None
    ending: str | None
    owns: int  # 1: it has not given the ledger back


def records_by_status(ledger: Reader) -> dict[str, int]:
    return dict(ledger.rows(RECORDS))


def images_by_status(ledger: Reader) -> list[ImagesByStatus]:
    return [ImagesByStatus(*row) for row in ledger.rows(IMAGES)]


def success_flags(ledger: Reader) -> dict[str, int]:
    """Images that are there but flagged, such as `raw_unprocessed`."""
    return {flag: n for flag, n in ledger.rows(FLAGS) if n}


def failures(ledger: Reader) -> list[FailureCount]:
    return [FailureCount(*row) for row in ledger.rows(FAILURES)]


def not_again(ledger: Reader) -> list[NotAgain]:
    return [NotAgain(*row) for row in ledger.rows(NOT_AGAIN)]


def n_former(ledger: Reader) -> int:
    """How many files there are, or were, that publishers have replaced since."""
    n: int = ledger.rows(FORMER)[0][0]
    return n


def non_image_answers(ledger: Reader, limit: int) -> list[NonImageAnswer]:
    return [NonImageAnswer(*row) for row in ledger.rows(NON_IMAGE_ANSWERS, (limit,))]


def worst_hosts(ledger: Reader, limit: int) -> list[HostState]:
    """Hosts with the most final failures."""
    return [HostState(*row) for row in ledger.rows(WORST_HOSTS, (limit,))]


def blocked_hosts(ledger: Reader, now: float, limit: int) -> list[HostState]:
    return [HostState(*row) for row in ledger.rows(BLOCKED_HOSTS, (int(now), limit))]


def hosts_in_work(ledger: Reader, least_left: int = 1) -> list[HostInWork]:
    """Hosts with so many images left, or more."""
    return [HostInWork(*row) for row in ledger.rows(HOSTS_IN_WORK, (least_left,))]


def wanted_limits(ledger: Reader) -> HostTable:
    """What `hosts set` has said."""
    return HostTable(hosts={host: json.loads(limits) for host, limits in ledger.rows(WANTED_LIMITS)})


def traffic(ledger: Reader, now: float) -> Traffic:
    return Traffic(*ledger.rows(TRAFFIC, (int(now),))[0])


def rejects(ledger: Reader) -> dict[str, int]:
    return dict(ledger.rows(REJECTS))


def archives(ledger: Reader) -> list[ArchiveState]:
    return [ArchiveState(*row) for row in ledger.rows(ARCHIVES)]


def last_run(ledger: Reader) -> RunRow | None:
    rows = ledger.rows(LAST_RUN)
    return RunRow(*rows[0]) if rows else None
