"""Questions that hold the ledger against itself and against file names, in steps of constant size. Looks at no file.

Each step is a short read of its own. What must be seen at one moment (a counter and the rows that it counts) is asked in one
statement, or inside `Reader.at_one_moment` by a function of this module.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from d4c_images.ledger import untried
from d4c_images.ledger.lent import IS_LENT
from d4c_images.ledger.reader import Reader
from d4c_images.ledger.rollup import RECOUNT, RECOUNT_IMAGES, record_status

STEP_ROWS = 5_000

TOP_IMAGE = "SELECT coalesce(max(image_id), 0) FROM image_rows"
N_RECORDS = "SELECT coalesce(sum(n), 0) FROM record_tallies"
SUCCESSES = """
SELECT image_id, file_path, file_offset, file_size, sha256 FROM image_rows
WHERE image_id > ? AND image_id <= ? AND status = 'success'
"""
FORMER = """
SELECT image_id, file_path, file_offset, file_size, sha256 FROM former_rows
WHERE image_id > ? AND image_id <= ? AND file_path IS NOT NULL
"""
SUCCESS = "SELECT image_id, file_path, file_offset, file_size, sha256 FROM image_rows WHERE image_id = ? AND status = 'success'"
BY_NAME = f"""
SELECT i.status, i.file_path, i.file_offset, {IS_LENT}, i.dead_lease_id IS NOT NULL,
       EXISTS (SELECT 1 FROM set_aside AS s WHERE s.image_id = i.image_id AND s.file_path = wanted.value ->> 3),
       EXISTS (SELECT 1 FROM former_rows AS f
               WHERE f.image_id = i.image_id AND f.file_path = wanted.value ->> 3 AND f.file_offset IS wanted.value ->> 4),
       CASE WHEN i.status = 'success' THEN (SELECT count(*) + 1 FROM former_rows AS f WHERE f.image_id = i.image_id) ELSE 0 END
           = wanted.value ->> 2
FROM json_each(?) AS wanted
LEFT JOIN image_rows AS i ON i.image_id = coalesce(
    (SELECT r.image_id FROM gbif_ids AS g CROSS JOIN image_rows AS r
     WHERE g.gbif_id = wanted.value ->> 0 AND r.image_id >= g.first_image_id AND r.image_id < g.first_image_id + g.n_in_line
       AND r.image_no = wanted.value ->> 1),
    (SELECT l.image_id FROM link_rows AS l WHERE l.gbif_id = wanted.value ->> 0 AND l.image_no = wanted.value ->> 1))
ORDER BY wanted.key
"""  # noqa: S608 - constants
LEASES = "SELECT lease_id FROM leases"
TOKEN = "SELECT token FROM store"
LOST = "SELECT image_id, lease_id FROM lent WHERE lease_id NOT IN (SELECT lease_id FROM leases) LIMIT ?"
TALLIES = (
    "SELECT host_id, status, error_type, n, n_final, size_bytes FROM tallies WHERE n <> 0 OR n_final <> 0 OR size_bytes <> 0"
)
HOST_NAMES = "SELECT host_id, host FROM host_rows"
RECORD_TALLIES = "SELECT status, n FROM record_tallies WHERE n <> 0"
COUNT_RECORDS = """
SELECT coalesce(sum(status = 'pending'), 0), coalesce(sum(status = 'partial'), 0), coalesce(sum(status = 'done'), 0),
       coalesce(sum(status = 'failed'), 0), count(*)
FROM gbif_ids
"""
NOT_YET_RECORDED = """
SELECT max(0, (SELECT coalesce(max(image_id), 0) FROM image_rows) - recorded_image_id) FROM caught_up
"""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """What a success row says of its file."""

    image_id: int
    path: str | None
    offset: int | None
    size_bytes: int | None
    sha256: bytes | None


@dataclass(frozen=True, slots=True)
class NamedImage:
    """The row that a file's name speaks of; `status` is None where there is none."""

    status: str | None
    path: str | None
    offset: int | None
    is_leased: bool
    has_dead_lease: bool
    is_to_set_aside: bool  # a placeholder whose file is still there
    is_former: bool  # the file has what was stored before its publisher changed it
    is_next: bool  # the name is that of the revision that would be stored next

    @property
    def is_to_adopt(self) -> bool:
        """A worker that died has kept it: the next download takes it over."""
        return self.has_dead_lease and self.is_next


def database_errors(ledger: Reader, *, full: bool) -> list[str]:
    """What SQLite finds wrong with the file itself; empty where nothing is."""
    rows = ledger.rows("PRAGMA integrity_check" if full else "PRAGMA quick_check")
    return [] if rows == [("ok",)] else [row[0] for row in rows]


def top_image(ledger: Reader) -> int:
    top: int = ledger.rows(TOP_IMAGE)[0][0]
    return top


def stored_images(ledger: Reader, after: int, upto: int) -> list[StoredImage]:
    """The successes with `after` < image_id <= `upto`."""
    return [StoredImage(*row) for row in ledger.rows(SUCCESSES, (after, upto))]


def former_images(ledger: Reader, after: int, upto: int) -> list[StoredImage]:
    """What was stored for these before their publishers changed them, as far as it was there then."""
    return [StoredImage(*row) for row in ledger.rows(FORMER, (after, upto))]


def stored_image(ledger: Reader, image_id: int) -> StoredImage | None:
    """The row as it is now; None where it is no success any more."""
    rows = ledger.rows(SUCCESS, (image_id,))
    return StoredImage(*rows[0]) if rows else None


def named_images(ledger: Reader, names: Sequence[tuple[int, int, int, str, int | None]]) -> list[NamedImage]:
    """For each (gbif_id, image_no, revision, path, offset), in order, the row that it names."""
    if not names:
        return []
    rows = ledger.rows(BY_NAME, (json.dumps(names),))
    return [NamedImage(*row[:3], *map(bool, row[3:])) for row in rows]


def live_leases(ledger: Reader) -> set[int]:
    """Leases that are out; as many as there are turns, thousands at most."""
    return {row[0] for row in ledger.rows(LEASES)}


def token(ledger: Reader) -> str | None:
    """What stands in the names of this ledger's shards; None where there are none."""
    rows = ledger.rows(TOKEN)
    return rows[0][0] if rows else None


def lost_leases(ledger: Reader, limit: int) -> list[tuple[int, int]]:
    """(image_id, lease_id) of images that are lent under a lease that does not exist: nobody would ever bring them back."""
    return ledger.rows(LOST, (limit,))


def n_records(ledger: Reader) -> int:
    n: int = ledger.rows(N_RECORDS)[0][0]
    return n


def untrue_records(ledger: Reader, step: int = STEP_ROWS) -> Iterator[tuple[int, list[str]]]:
    """For each step, how many records were recounted and a line on each whose counts or status differ from its images."""
    last = -(2**63)
    while rows := ledger.rows(RECOUNT, (last, step)):
        last = rows[-1][0]
        untrue = []
        for gbif_id, n_images, n_success, n_failed, old, _, links, success, failed, tried, _ in rows:
            status = record_status(links, success, failed, tried=tried > 0)
            if (n_images, n_success, n_failed, old) != (links, success, failed, status):
                untrue.append(
                    f"gbifID {gbif_id}: {old}, {n_images} images, {n_success} stored, {n_failed} failed; "
                    f"by its images {status.value}, {links}, {success}, {failed}"
                )
        yield len(rows), untrue


def untrue_counters(ledger: Reader, progress: Callable[[int], None], step: int = 40 * STEP_ROWS) -> list[str]:
    """A line on each counter that differs from a recount. `progress` gets the image_id reached.

    A running download cannot fold its write-ahead log back meanwhile, so the log grows.
    """
    return ledger.at_one_moment(lambda: [*_untrue_tallies(ledger, progress, step), *_untrue_record_tallies(ledger)])


def _untrue_tallies(ledger: Reader, progress: Callable[[int], None], step: int) -> list[str]:
    counted: dict[tuple[int, str, str], list[int]] = {}
    waiting: Counter[int] = Counter()
    top = top_image(ledger)
    for low in range(0, top, step):
        for host_id, status, error_type, *figures, n_untried in ledger.rows(RECOUNT_IMAGES, (low, low + step)):
            waiting[host_id] += n_untried
            cell = counted.setdefault((host_id, status, error_type), [0, 0, 0])
            cell[:] = [old + new for old, new in zip(cell, figures, strict=True)]
        progress(min(top, low + step))
    kept = {(host_id, status, error_type): figures for host_id, status, error_type, *figures in ledger.rows(TALLIES)}
    wrong = sorted(key for key in kept.keys() | counted.keys() if kept.get(key, [0, 0, 0]) != counted.get(key, [0, 0, 0]))
    listed: Counter[int] = Counter(dict(ledger.rows(untried.COUNT)))
    unlisted = sorted(host_id for host_id in waiting.keys() | listed.keys() if waiting[host_id] != listed[host_id])
    hosts: dict[int, str] = dict(ledger.rows(HOST_NAMES)) if wrong or unlisted else {}
    nothing = [0, 0, 0]
    return [
        f"{hosts.get(key[0], key[0])}, {key[1]}, {key[2] or 'no error'}: images, final ones and bytes by the counters "
        f"{kept.get(key, nothing)}, by the rows {counted.get(key, nothing)}"
        for key in wrong
    ] + [
        f"{hosts.get(host_id, host_id)}: untried images by its lists {listed[host_id]}, by the rows {waiting[host_id]}"
        for host_id in unlisted
    ]


def _untrue_record_tallies(ledger: Reader) -> list[str]:
    *by_status, total = ledger.rows(COUNT_RECORDS)[0]
    counted = {status: n for status, n in zip(("pending", "partial", "done", "failed"), by_status, strict=True) if n}
    if sum(by_status) != total:
        return [f"gbif_ids: {total - sum(by_status)} rows have an unknown status"]
    kept: dict[str, int] = dict(ledger.rows(RECORD_TALLIES))
    # While rows come in, new records are counted at once and written later (ledger/records.py); each shows one of these images.
    ahead = kept.get("pending", 0) - counted.get("pending", 0)
    if 0 < ahead <= ledger.rows(NOT_YET_RECORDED)[0][0]:
        kept["pending"] -= ahead
    return [
        f"gbifIDs that are {status}: counter {kept.get(status, 0)}, rows {counted.get(status, 0)}"
        for status in sorted(kept.keys() | counted.keys())
        if kept.get(status, 0) != counted.get(status, 0)
    ]
