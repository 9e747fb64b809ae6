"""The tables that people export, as named queries: for `status --tables`, `export` and notebooks. Writes no file.

Those of `status --tables` are answered from counters: they grow with hosts and error types, not with images. Images and links are
walked in steps along their key, each step its own short read, so a running download is not disturbed. A step ends after a number
of rows or of characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter

from d4c_images.ledger.file.reader import Reader, Row
from d4c_images.ledger.questions import overview
from d4c_images.ledger.rows.extent import top_image

TABLE_STEP_ROWS = 10_000
STEP_CHARS = 1 << 22
STREAM_ROWS = 2_000  # of a small table at a time: a host's sample may have thousands of characters

RowProgress = Callable[[str, int, int | None], None]
"""What is counted, how many are done, and of how many (None if not known)."""


@dataclass(frozen=True, slots=True)
class Table:
    """A named query. `columns` maps each column to integer, real or text, in order."""

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
            "paused_at": "moment",
            "paused_until": "moment",
            "blocked_until": "moment",
            "blocked_why": "text",
            "block_level": "integer",
            "unreachable_since": "moment",
            "last_answer_at": "moment",
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
            "started_at": "moment",
            "heartbeat_at": "moment",
            "ended_at": "moment",
            "ending": "text",
            "n_done": "integer",
        },
    ),
)

IMAGES = Table(
    "images",
    "SELECT * FROM images WHERE image_id > :after AND image_id <= :upto ORDER BY image_id",
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
        "last_attempt_at": "moment",
        "not_before": "moment",
        "url_no": "integer",
        "rule": "text",
        "rule_version": "integer",
    },
)

FAILED_IMAGES = Table(
    "failed_images",
    """SELECT * FROM images
       WHERE image_id > :after AND image_id <= :upto AND status IN ('failed_permanent', 'failed_transient') ORDER BY image_id""",
    IMAGES.columns,
)

LICENCES = Table("licences", "", {"license": "text", "n_links": "integer"})
LICENCES_OF_IMAGES = """
SELECT license_id, count(*) FROM image_rows WHERE image_id > :after AND image_id <= :upto AND row_no IS NOT NULL
GROUP BY license_id
"""
# The key of the link `step` rows after the one with this key; no row if fewer are left.
LINK_STEP = """
SELECT gbif_id, image_no FROM link_rows WHERE (gbif_id, image_no) > (:gbif_id, :image_no)
ORDER BY gbif_id, image_no LIMIT 1 OFFSET :step - 1
"""
LICENCES_STEP = """
SELECT license_id, count(*) FROM link_rows
WHERE (gbif_id, image_no) > (:gbif_id, :image_no) AND (gbif_id, image_no) <= (:last_gbif_id, :last_image_no)
GROUP BY license_id
"""
LICENCE_TEXT = "SELECT text FROM texts WHERE text_id = ?"

BEFORE_ALL_LINKS = (-(2**63), -1)
BEHIND_ALL_LINKS = (2**63 - 1, 2**63 - 1)


def texts_of(table: Table) -> Callable[[Row], Row]:
    """Picks the cells of a row that may be long."""
    return itemgetter(*(place for place, kind in enumerate(table.columns.values()) if kind == "text"))


def small(ledger: Reader, name: str) -> tuple[Table, list[Row]]:
    """One of the small tables, whole."""
    table = next(table for table in SMALL if table.name == name)
    return table, ledger.rows(table.sql)


def small_steps(ledger: Reader, table: Table) -> Iterator[list[Row]]:
    """One of the small tables, in batches: a million hosts make a million rows."""
    return (rows for _, rows in ledger.stream(table.sql, n_rows=STREAM_ROWS))


def image_steps(
    ledger: Reader, step: int = TABLE_STEP_ROWS, table: Table = IMAGES, progress: RowProgress = lambda what, done, total: None
) -> Iterator[list[Row]]:
    """All rows of the view `images`, or of another query on it, by `image_id`, at most `step` at a time."""
    last = top_image(ledger.rows)
    after = 0
    texts = texts_of(table)
    while after < last:
        upto = min(after + step, last)
        rows, is_all = ledger.head(table.sql, {"after": after, "upto": upto}, STEP_CHARS, texts)
        after = upto if is_all else rows[-1][0]
        if rows:
            yield rows
        progress("images", after, last)


def link_steps(ledger: Reader, step: int = TABLE_STEP_ROWS) -> Iterator[dict[str, int]]:
    """Parameters for ranges of `link_rows` of at most `step` rows: by record and number, since one record may own all links."""
    after = BEFORE_ALL_LINKS
    while after != BEHIND_ALL_LINKS:
        found = ledger.rows(LINK_STEP, {"gbif_id": after[0], "image_no": after[1], "step": step})
        upto = found[0] if found else BEHIND_ALL_LINKS
        yield {"gbif_id": after[0], "image_no": after[1], "last_gbif_id": upto[0], "last_image_no": upto[1]}
        after = upto


def licence_counts(ledger: Reader, step: int = TABLE_STEP_ROWS) -> list[Row]:
    """Licences as the archive gives them (None if it gives none), with the number of links, most frequent first."""
    counts: dict[int | None, int] = {}
    top = top_image(ledger.rows)
    for low in range(0, top, step):
        for license_id, n in ledger.rows(LICENCES_OF_IMAGES, {"after": low, "upto": low + step}):
            counts[license_id] = counts.get(license_id, 0) + n
    for links in link_steps(ledger, step):
        for license_id, n in ledger.rows(LICENCES_STEP, links):
            counts[license_id] = counts.get(license_id, 0) + n
    named = [(None if key is None else ledger.rows(LICENCE_TEXT, (key,))[0][0], n) for key, n in counts.items()]
    return sorted(named, key=lambda row: (-row[1], row[0] or ""))
