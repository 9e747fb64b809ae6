"""The tables that people take away, as named questions: for `status --tables` and for notebooks. Writes no file.

Small ones are answered from counters. Big ones are walked in steps along their key, each step its own short read, so a running
download is not disturbed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from d4c_images.ledger import overview
from d4c_images.ledger.reader import Reader, Row

STEP_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Table:
    """A named question. `columns` maps each column to integer, real or text, in order."""

    name: str
    sql: str
    columns: dict[str, str]


SMALL = (
    Table(
        "records_by_status",
        "SELECT status, n AS n_records FROM record_tallies ORDER BY status",
        {"status": "text", "n_records": "integer"},
    ),
    Table(
        "images_by_status",
        """SELECT status, sum(n) AS n_images, sum(n_final) AS n_final, sum(size_bytes) AS size_bytes
           FROM tallies GROUP BY status""",
        {"status": "text", "n_images": "integer", "n_final": "integer", "size_bytes": "integer"},
    ),
    Table(
        "failures_by_type",
        overview.FAILURES,
        {"error_type": "text", "n_images": "integer", "n_final": "integer", "n_hosts": "integer"},
    ),
    Table(
        "failures_by_host",
        """SELECT h.host, t.status, t.error_type, t.n AS n_images, t.n_final
           FROM tallies AS t JOIN host_rows AS h ON h.host_id = t.host_id
           WHERE t.status IN ('failed_permanent', 'failed_transient') AND t.n > 0
           ORDER BY t.n DESC, h.host, t.status, t.error_type""",
        {"host": "text", "status": "text", "error_type": "text", "n_images": "integer", "n_final": "integer"},
    ),
    Table(
        "non_image_answers",
        overview.NON_IMAGE_ANSWERS.replace("LIMIT ?", ""),
        {"host": "text", "error_type": "text", "n_images": "integer", "sample": "text"},
    ),
    Table(
        "hosts",
        "SELECT * FROM hosts ORDER BY n_images DESC, host",
        {
            "host": "text",
            "politeness_group": "text",
            "connections": "integer",
            "min_interval_s": "real",
            "bytes_per_s": "real",
            "bytes_per_day": "real",
            "width": "real",
            "latency_s": "real",
            "images_per_s": "real",
            "paused_at": "integer",
            "paused_until": "integer",
            "blocked_until": "integer",
            "blocked_why": "text",
            "block_level": "integer",
            "unreachable_since": "integer",
            "last_answer_at": "integer",
            "n_requests": "integer",
            "n_retries": "integer",
            "received_bytes": "integer",
            "busy_s": "real",
            "n_images": "integer",
            "n_pending": "integer",
            "n_leased": "integer",
            "n_success": "integer",
            "n_failed_transient": "integer",
            "n_failed_permanent": "integer",
        },
    ),
    Table(
        "rejected_rows",
        "SELECT reason, sum(n) AS n_rows FROM reject_counts GROUP BY reason ORDER BY 2 DESC, 1",
        {"reason": "text", "n_rows": "integer"},
    ),
    Table(
        "runs",
        """SELECT run_id, command, host, pid, job_id, started_at, heartbeat_at, ended_at, ending, n_done FROM runs
           ORDER BY run_id""",
        {
            "run_id": "integer",
            "command": "text",
            "host": "text",
            "pid": "integer",
            "job_id": "text",
            "started_at": "integer",
            "heartbeat_at": "integer",
            "ended_at": "integer",
            "ending": "text",
            "n_done": "integer",
        },
    ),
)

IMAGES = Table(
    "images",
    "SELECT * FROM images WHERE image_id > :after ORDER BY image_id LIMIT :step",
    {
        "image_id": "integer",
        "gbif_id": "integer",
        "image_no": "integer",
        "image_key": "text",
        "urls": "text",
        "host": "text",
        "status": "text",
        "http_status": "integer",
        "error_type": "text",
        "error_detail": "text",
        "file_path": "text",
        "file_offset": "integer",
        "file_size": "integer",
        "sha256": "text",
        "original_sha256": "text",
        "media_type": "text",
        "width": "integer",
        "height": "integer",
        "etag": "text",
        "last_modified": "text",
        "robots_tag": "text",
        "attempts": "integer",
        "last_attempt_at": "integer",
        "not_before": "integer",
        "url_no": "integer",
        "rule": "text",
        "rule_version": "integer",
    },
)

LICENCES = Table("licences", "", {"license": "text", "n_links": "integer"})
LICENCES_OF_IMAGES = """
SELECT license_id, count(*) FROM image_rows WHERE image_id > :after AND image_id <= :upto AND row_no IS NOT NULL
GROUP BY license_id
"""
NEXT_STEP = """
SELECT max(gbif_id) FROM (SELECT gbif_id FROM link_rows WHERE gbif_id > :after ORDER BY gbif_id LIMIT :step)
"""
LICENCES_STEP = "SELECT license_id, count(*) FROM link_rows WHERE gbif_id > :after AND gbif_id <= :upto GROUP BY license_id"
LICENCE_TEXT = "SELECT text FROM texts WHERE text_id = ?"


def small(ledger: Reader, name: str) -> tuple[Table, list[Row]]:
    """One of the small tables, whole."""
    table = next(table for table in SMALL if table.name == name)
    return table, ledger.rows(table.sql)


def image_steps(ledger: Reader, step: int = STEP_ROWS) -> Iterator[list[Row]]:
    """All rows of the view `images`, by `image_id`, at most `step` at a time."""
    after = 0
    while rows := ledger.rows(IMAGES.sql, {"after": after, "step": step}):
        yield rows
        after = rows[-1][0]


def licence_counts(ledger: Reader, step: int = STEP_ROWS) -> list[Row]:
    """Licences as the archive gives them (None where it gives none), with the number of links, most frequent first."""
    counts: dict[int | None, int] = {}
    top = ledger.rows("SELECT coalesce(max(image_id), 0) FROM image_rows")[0][0]
    for low in range(0, top, step):
        for license_id, n in ledger.rows(LICENCES_OF_IMAGES, {"after": low, "upto": low + step}):
            counts[license_id] = counts.get(license_id, 0) + n
    after: int | None = -(2**63)
    while True:
        upto = ledger.rows(NEXT_STEP, {"after": after, "step": step})[0][0]
        if upto is None:
            break
        for license_id, n in ledger.rows(LICENCES_STEP, {"after": after, "upto": upto}):
            counts[license_id] = counts.get(license_id, 0) + n
        after = upto
    named = [(None if key is None else ledger.rows(LICENCE_TEXT, (key,))[0][0], n) for key, n in counts.items()]
    return sorted(named, key=lambda row: (-row[1], row[0] or ""))
