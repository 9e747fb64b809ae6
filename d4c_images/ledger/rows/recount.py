"""Recounts records from their images, and images by host and status, in steps of bounded size. Writes nothing.

A step visits a bounded number of rows, whatever their shape: one record may show a million images, and is then counted over several
steps. A caller that stores the `Position` after each step can resume there in another process.

Records are read in id order. A record's own run of images, and the links of a range of records, are ranges of their tables'
primary keys; no statement here may build an index or scan a big table, whatever `sqlite_stat1` says, so the join order is fixed
(LEFT JOIN, CROSS JOIN) and a unary plus keeps the planner from indexing `image_rows.gbif_id`.
"""

# ruff: noqa: S608 - statements are put together from constants

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from d4c_images.ledger.rows.lent import IS_LENT, STATUS
from d4c_images.ledger.rows.states import FAILED_FOR_GOOD, IS_FINAL, RECORD_STATUS, record_state
from d4c_images.model import RecordStatus

AskAll = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
"""Runs a statement and returns all of its (few) rows."""

RECOUNT_STEP_ROWS = 10_000
IMAGE_STEP_ROWS = 100_000
BEFORE_ALL = -(2**63)

# Over the images `i`: how many are stored, have failed for good, have been tried, and when the last attempt was.
_SUMS = f"""coalesce(sum(i.status = 'success'), 0) AS success,
       coalesce(sum({FAILED_FOR_GOOD}), 0) AS failed,
       coalesce(sum(i.last_attempt_at IS NOT NULL), 0) AS tried, max(i.last_attempt_at) AS last_attempt_at"""
_RECORD = "g.gbif_id, g.n_images, g.n_success, g.n_failed, g.status, g.completed_at"
_LINE = """i.image_id >= g.first_image_id AND i.image_id < g.first_image_id + g.n_in_line AND +i.gbif_id = g.gbif_id"""
_LINKS = "link_rows AS l INDEXED BY sqlite_autoindex_link_rows_1"  # the primary key

# The next records: up to which id, how many, how many images they claim to have in line (which bounds the rows of LINES), and how
# many have each status: four numbers of 15 bits in one, which takes half the time of four sums.
MOST_MEASURED = 0x7FFF
_STATUSES = (RecordStatus.DONE, RecordStatus.PENDING, RecordStatus.FAILED, RecordStatus.PARTIAL)
_PACKED = " ".join(f"WHEN '{status}' THEN {1 << 15 * place}" for place, status in enumerate(_STATUSES))
NTH_RECORD = """
SELECT coalesce((SELECT gbif_id FROM gbif_ids WHERE gbif_id > ?1 ORDER BY gbif_id LIMIT 1 OFFSET ?2 - 1),
                (SELECT max(gbif_id) FROM gbif_ids WHERE gbif_id > ?1))
"""
MEASURE = f"""
SELECT count(*), sum(max(n_in_line, 0)), coalesce(sum(CASE status {_PACKED} END), 0)
FROM gbif_ids WHERE gbif_id > ? AND gbif_id <= ?
"""
COUNT_LINKS = f"SELECT count(*) FROM (SELECT 1 FROM {_LINKS} WHERE l.gbif_id > ? AND l.gbif_id <= ? LIMIT ?)"
# Records of a range that disagree with their images in line; one that has further links nearly always does. Most records show one
# image: they are compared row by row, the others as groups. Most images are stored: those are recognised first, in half the time.
SINGLES = f"""
SELECT gbif_id
FROM (SELECT g.gbif_id, g.n_success, g.n_failed, g.status, +i.gbif_id = g.gbif_id AS is_own, 1 AS links,
             i.status = 'success' AS success, {FAILED_FOR_GOOD} AS failed, i.last_attempt_at IS NOT NULL AS tried
      FROM gbif_ids AS g LEFT JOIN image_rows AS i ON i.image_id = g.first_image_id
      WHERE g.gbif_id > ? AND g.gbif_id <= ? AND g.n_in_line = 1 AND g.n_images = 1)
WHERE NOT coalesce(is_own AND success AND n_success = 1 AND n_failed = 0 AND status = 'done', 0)
      AND NOT coalesce(is_own AND n_success = success AND n_failed = failed AND status = {RECORD_STATUS}, 0)
"""
LINES = f"""
SELECT {_RECORD}, count(i.image_id) AS links, {_SUMS}
FROM gbif_ids AS g LEFT JOIN image_rows AS i ON {_LINE}
WHERE g.gbif_id > ? AND g.gbif_id <= ? AND (g.n_in_line IS NOT 1 OR g.n_images IS NOT 1)
GROUP BY g.gbif_id
HAVING g.n_images IS NOT links OR g.n_success IS NOT success OR g.n_failed IS NOT failed OR g.status IS NOT {RECORD_STATUS}
"""
# The same for single records, in agreement or not.
LINES_OF = f"""
SELECT {_RECORD}, count(i.image_id), {_SUMS}
FROM json_each(?) AS wanted CROSS JOIN gbif_ids AS g ON g.gbif_id = wanted.value LEFT JOIN image_rows AS i ON {_LINE}
GROUP BY g.gbif_id
"""
SUM_LINKS = f"""
SELECT l.gbif_id, count(*), {_SUMS}
FROM {_LINKS} CROSS JOIN image_rows AS i ON i.image_id = l.image_id
WHERE l.gbif_id > ? AND l.gbif_id <= ?
GROUP BY l.gbif_id
"""
# One record with many images, piece by piece: the rows visited, the last of them, and their sums.
RECORD_IN_LINE = f"SELECT {_RECORD}, g.first_image_id, g.n_in_line FROM gbif_ids AS g WHERE g.gbif_id = ?"
LINE_PIECE = f"""
SELECT count(*), max(i.image_id), coalesce(sum(is_own), 0), {_SUMS}
FROM (SELECT r.image_id, r.gbif_id = ?4 AS is_own, CASE r.gbif_id WHEN ?4 THEN status END AS status, r.not_before,
             CASE r.gbif_id WHEN ?4 THEN last_attempt_at END AS last_attempt_at
      FROM image_rows AS r WHERE r.image_id >= max(?1 + 1, ?2) AND r.image_id < ?3 ORDER BY r.image_id LIMIT ?5) AS i
"""
LINK_PIECE = f"""
SELECT count(*), max(l.image_no), count(i.image_id), {_SUMS}
FROM (SELECT image_no, image_id FROM {_LINKS} WHERE l.gbif_id = ? AND l.image_no > ? ORDER BY l.image_no LIMIT ?) AS l
LEFT JOIN image_rows AS i ON i.image_id = l.image_id
"""

NEXT_IMAGE = "SELECT min(image_id) FROM image_rows WHERE image_id > ?"
# Images of a range by host, status and error type. Those that are simply stored, which most are in the end, are counted by host
# alone: a group by one number takes less than half the time of one by text.
_IS_PLAIN = "(i.status = 'success' AND i.error_type IS NULL)"
_LOST = """NOT EXISTS (SELECT 1 FROM host_rows AS h WHERE h.host_id = i.host_id),
       sum(i.rule_id NOT IN (SELECT rule_id FROM rules))"""
COUNT_PLAIN = f"""
SELECT host_id, 'success', '', count(*), count(*), coalesce(sum(file_size), 0), 0, {_LOST}
FROM image_rows AS i WHERE image_id > ? AND image_id <= ? AND {_IS_PLAIN} GROUP BY 1
"""
COUNT_OTHERS = f"""
SELECT host_id, {STATUS} AS status, coalesce(error_type, ''), count(*),
       sum({IS_FINAL}), coalesce(sum(file_size), 0),
       sum(i.status = 'pending' AND not_before IS NULL AND NOT {IS_LENT}) AS n_untried, {_LOST}
FROM image_rows AS i WHERE image_id > ? AND image_id <= ? AND NOT {_IS_PLAIN} GROUP BY 1, 2, 3
"""


class Counts(NamedTuple):
    """The sums over a record's images."""

    links: int = 0
    success: int = 0
    failed: int = 0
    tried: int = 0
    last_attempt_at: int | None = None

    def plus(self, other: Counts) -> Counts:
        last = max((at for at in (self.last_attempt_at, other.last_attempt_at) if at is not None), default=None)
        links, success, failed = self.links + other.links, self.success + other.success, self.failed + other.failed
        return Counts(links, success, failed, self.tried + other.tried, last)

    def state(self, completed_at: int | None) -> tuple[RecordStatus, int | None]:
        """The status of the record, and its `completed_at`."""
        return record_state(self.links, self.success, self.failed, completed_at, tried=self.tried > 0)


class Inside(NamedTuple):
    """The middle of a record with many images: those in line come first, then those in `link_rows`."""

    gbif_id: int
    is_in_line: bool
    at: int  # the last image_id, or image_no of a link, that is counted
    counts: Counts


class Position(NamedTuple):
    """How far a recount of the records is."""

    after: int = BEFORE_ALL  # the records up to this id are counted
    inside: Inside | None = None  # of the next record: the part counted so far

    def as_json(self) -> str:
        return json.dumps(self)

    @classmethod
    def of_json(cls, text: str) -> Position:
        after, inside = json.loads(text)
        if inside is None:
            return cls(after)
        gbif_id, is_in_line, at, counts = inside
        return cls(after, Inside(gbif_id, is_in_line, at, Counts._make(counts)))


class Untrue(NamedTuple):
    """A record whose row disagrees with its images."""

    gbif_id: int
    n_images: int
    n_success: int
    n_failed: int
    status: str
    completed_at: int | None
    counts: Counts

    @property
    def true_status(self) -> RecordStatus:
        return self.counts.state(None)[0]

    @property
    def is_true(self) -> bool:
        """The row agrees after all."""
        counts = (self.counts.links, self.counts.success, self.counts.failed)
        return (self.n_images, self.n_success, self.n_failed) == counts and self.status == self.true_status


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a recount of the records."""

    position: Position  # after this step
    n_records: int  # records counted completely
    by_status: dict[str, int]  # of these: the statuses of their rows, if valid
    untrue: list[Untrue]  # of these


def record_steps(ask: AskAll, position: Position, max_rows: int = RECOUNT_STEP_ROWS) -> Iterator[Step]:
    """Recount the records after `position`. A statement visits at most `max_rows` records, and as many images or links.

    While another process writes, a step may mix two states of the ledger: what is `untrue` must then be checked again.
    """
    size = max_rows
    while True:
        if position.inside is None:
            found = _next_range(ask, position.after, size, max_rows)
            if found is None:
                return
            n, upto = found.records[:2]
            if found.fits:
                size = min(_as_many(n, found.n_rows, max_rows), max_rows)
                step = _count_range(ask, position.after, found.records)
            else:
                position = Position(position.after, Inside(upto, is_in_line=True, at=BEFORE_ALL, counts=Counts()))
        if position.inside is not None:
            step = _count_piece(ask, position.after, position.inside, max_rows)
        assert step is not None
        yield step
        position = step.position


def recount_one(ask: AskAll, gbif_id: int, max_rows: int = RECOUNT_STEP_ROWS) -> Untrue | None:
    """A record's row and the sums over its images, equal or not; None if there is no such record."""
    inside = Inside(gbif_id, is_in_line=True, at=BEFORE_ALL, counts=Counts())
    while True:
        record, further = _piece(ask, inside, max_rows)
        if further is None:
            return record
        inside = further


def next_images(ask: AskAll, after: int, step: int = IMAGE_STEP_ROWS) -> tuple[int, int] | None:
    """The next range of image ids (`after` < id <= `upto`) that has at most `step` rows and at least one."""
    first = ask(NEXT_IMAGE, (after,))[0][0]
    return None if first is None else (first - 1, first - 1 + step)


def count_images(ask: AskAll, span: tuple[int, int]) -> list[tuple[Any, ...]]:
    """The images of a range by host, status and error type: their number, how many are final, their bytes, how many are untried,
    whether there is no such host, and of how many there is no such rule.

    Two statements: call it where nothing is written in between.
    """
    return ask(COUNT_PLAIN, span) + ask(COUNT_OTHERS, span)


class Measured(NamedTuple):
    """Some records, in id order."""

    n_records: int
    upto: int  # the last id
    n_in_line: int  # images that they claim to have in line
    by_status: dict[str, int]  # what their rows say, if valid


def measure(ask: AskAll, after: int, n: int) -> Measured | None:
    """The next `n` records, or `MOST_MEASURED`; None if there are no more."""
    upto = ask(NTH_RECORD, (after, min(max(n, 1), MOST_MEASURED)))[0][0]
    if upto is None:
        return None
    n_records, n_in_line, packed = ask(MEASURE, (after, upto))[0]
    by_status = {str(status): packed >> 15 * place & MOST_MEASURED for place, status in enumerate(_STATUSES)}
    return Measured(n_records, upto, n_in_line, by_status)


class _Range(NamedTuple):
    records: Measured
    fits: bool  # into one step
    n_rows: int  # images in line and links


def _next_range(ask: AskAll, after: int, size: int, max_rows: int) -> _Range | None:
    """As many records as fit into a step, at most `size`; one even if it does not fit."""
    while True:
        found = measure(ask, after, size)
        if found is None:
            return None
        n_rows = found.n_in_line
        if n_rows <= max_rows:
            n_rows += ask(COUNT_LINKS, (after, found.upto, max_rows + 1))[0][0]
        if n_rows <= max_rows or found.n_records == 1:
            return _Range(found, n_rows <= max_rows, n_rows)
        links_are_many = found.n_in_line <= max_rows  # and not counted to their end
        fewer = found.n_records // 2 if links_are_many else _as_many(found.n_records, n_rows, max_rows)
        size = min(fewer, found.n_records - 1)


def _as_many(n_records: int, n_rows: int, max_rows: int) -> int:
    """How many records should fit into a step if the next ones are like these, with some room, since they are not quite."""
    return -(-n_records * max_rows * 15 // (16 * max(n_rows, 1)))


def _count_range(ask: AskAll, after: int, found: Measured) -> Step:
    span = (after, found.upto)
    records = {row[0]: _untrue(row) for row in ask(LINES, span)}
    links = {row[0]: Counts._make(row[1:]) for row in ask(SUM_LINKS, span)}
    others = {row[0] for row in ask(SINGLES, span)} | (links.keys() - records.keys())
    if others:  # besides single images: links of records that would agree without them, or of missing records
        records |= {row[0]: _untrue(row) for row in ask(LINES_OF, (json.dumps(sorted(others)),))}
    for gbif_id in records.keys() & links.keys():
        records[gbif_id] = records[gbif_id]._replace(counts=records[gbif_id].counts.plus(links[gbif_id]))
    untrue = [record for _, record in sorted(records.items()) if not record.is_true]
    return Step(Position(found.upto), found.n_records, found.by_status, untrue)


def _count_piece(ask: AskAll, after: int, inside: Inside, max_rows: int) -> Step:
    record, further = _piece(ask, inside, max_rows)
    if further is not None:
        return Step(Position(after, further), 0, {}, [])
    if record is None:  # deleted; no run does that
        return Step(Position(inside.gbif_id), 0, {}, [])
    return Step(Position(inside.gbif_id), 1, {record.status: 1}, [] if record.is_true else [record])


def _piece(ask: AskAll, inside: Inside, max_rows: int) -> tuple[Untrue | None, Inside | None]:
    """Count the next piece of one record: returns what remains to be counted, or else the record."""
    rows = ask(RECORD_IN_LINE, (inside.gbif_id,))
    if not rows:
        return None, None
    first_image_id, n_in_line = rows[0][-2:]
    if inside.is_in_line:
        end = None if first_image_id is None else first_image_id + n_in_line
        values = (inside.at, first_image_id, end, inside.gbif_id, max_rows)
        visited, last, *sums = ask(LINE_PIECE, values)[0]
    else:
        visited, last, *sums = ask(LINK_PIECE, (inside.gbif_id, inside.at, max_rows))[0]
    counts = inside.counts.plus(Counts._make(sums))
    if visited == max_rows:
        return None, inside._replace(at=last, counts=counts)
    if inside.is_in_line:
        return None, Inside(inside.gbif_id, is_in_line=False, at=BEFORE_ALL, counts=counts)
    return _untrue((*rows[0][:6], *counts)), None


def _untrue(row: Sequence[Any]) -> Untrue:
    """From the columns of a record and its counts."""
    return Untrue._make((*row[:6], Counts._make(row[6:])))
