"""Recounts `tallies`, `record_tallies` and the lists of untried images, and compares. Writes nothing.

A recount is valid only if nothing is written from its first step to its last: the caller ensures that, by `Reader.at_one_moment`
or by checking that the file has not changed. It can be stored between two steps, and resumed in another process.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from d4c_images import durations
from d4c_images.ledger.queue import untried
from d4c_images.ledger.rows import recount
from d4c_images.ledger.rows.extent import TOP_IMAGE, n_records, top_image
from d4c_images.ledger.rows.names import HOST_NAME
from d4c_images.ledger.rows.recount import AskAll
from d4c_images.model import RecordStatus, Status

COUNTER_STEP_ROWS = 20_000
MAX_STORED_CELLS = 20_000  # above, a stored recount would be megabytes: it starts again then

TALLIES = """
SELECT host_id, status, error_type, n, n_final, size_bytes FROM tallies
WHERE (host_id, status, error_type) > (?, ?, ?) ORDER BY host_id, status, error_type LIMIT ?
"""
LISTED = f"""
SELECT host_id, block, length(places) / {untried.PLACE_BYTES} FROM untried
WHERE (host_id, block) > (?, ?) ORDER BY host_id, block LIMIT ?
"""  # noqa: S608 - a constant
TALLY = "SELECT n, n_final, size_bytes FROM tallies WHERE host_id = ? AND status = ? AND error_type = ?"
LISTED_OF = f"SELECT coalesce(sum(length(places)), 0) / {untried.PLACE_BYTES} FROM untried WHERE host_id = ?"  # noqa: S608
RECORD_TALLIES = "SELECT status, n FROM record_tallies WHERE n <> 0"
NOT_YET_RECORDED = f"""
SELECT max(0, ({TOP_IMAGE}) - recorded_image_id) FROM caught_up
"""  # noqa: S608 - a constant

_RECORD_STATUSES = (RecordStatus.PENDING, RecordStatus.PARTIAL, RecordStatus.DONE, RecordStatus.FAILED)


class TallyCell(NamedTuple):
    """Counts of one host's images with one status and error type."""

    n: int = 0
    n_final: int = 0
    size_bytes: int = 0
    n_untried: int = 0  # for a whole host, in its cell of pending images without an error


class TallyCells:
    """Cells by host, status and error type: 150 bytes each, since there may be a million hosts."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], int] = {}
        self._at: dict[int, int] = {}  # host_id << 20 | kind -> place in the columns
        self._columns = tuple(array("q") for _ in TallyCell._fields)

    def __len__(self) -> int:
        return len(self._at)

    def add(self, host_id: int, status: str, error_type: str, cell: TallyCell) -> None:
        kind = self._kinds.setdefault((sys.intern(status), sys.intern(error_type)), len(self._kinds))
        at = self._at.setdefault(host_id << 20 | kind, len(self._at))
        for column, number in zip(self._columns, cell, strict=True):
            if at == len(column):
                column.append(number)
            else:
                column[at] += number

    def get(self, host_id: int, status: str, error_type: str) -> TallyCell:
        kind = self._kinds.get((status, error_type), -1)
        at = self._at.get(host_id << 20 | kind) if kind >= 0 else None
        return TallyCell() if at is None else self._cell(at)

    def items(self) -> Iterator[tuple[tuple[int, str, str], TallyCell]]:
        kinds = list(self._kinds)
        for key, at in self._at.items():
            yield (key >> 20, *kinds[key & 0xFFFFF]), self._cell(at)

    def _cell(self, at: int) -> TallyCell:
        return TallyCell(*(column[at] for column in self._columns))


class CounterRecount:
    """One recount. Exhaust `steps` before anything else is called."""

    def __init__(self, ask: AskAll) -> None:
        self._ask = ask
        self._image_id = 0  # the images up to here are counted
        self._after = recount.BEFORE_ALL  # the records up to this id are counted
        self._cells = TallyCells()
        self._n_records = 0
        self._records = dict.fromkeys(map(str, _RECORD_STATUSES), 0)
        self._lost_hosts: set[int] = set()
        self._n_lost_rules = 0

    def steps(self) -> Iterator[tuple[int, int]]:
        """Count on, a bounded number of rows at a time: how many rows are counted, images and records, and how many there are."""
        top = top_image(self._ask)
        total = top + n_records(self._ask)
        while (step := recount.next_images(self._ask, self._image_id)) is not None:
            self._add_images(step)
            yield min(self._image_id, top), total
        while (some := recount.measure(self._ask, self._after, COUNTER_STEP_ROWS)) is not None:
            self._after = some.upto
            self._n_records += some.n_records
            for status, number in some.by_status.items():
                self._records[status] += number
            yield top + self._n_records, max(total, top + self._n_records)

    def untrue(self) -> Iterator[str]:
        """A line on each counter that differs. Call it last, and once: it consumes the counts."""
        yield from self._untrue_tallies()
        yield from self._untrue_lists()
        yield from self._untrue_record_tallies()

    def lost_references(self) -> list[str]:
        lines = [f"image_rows: host {host_id} does not exist" for host_id in sorted(self._lost_hosts)]
        if self._n_lost_rules:
            lines.append(f"image_rows: a rule of {durations.counted(self._n_lost_rules, 'image')} does not exist")
        return lines

    def images_by_status(self) -> dict[str, int]:
        """Rows by `images.status`."""
        counts = dict.fromkeys(map(str, Status), 0)
        for (_, status, _), cell in self._cells.items():
            counts[status] = counts.get(status, 0) + cell.n
        return counts

    def records_by_status(self) -> dict[str, int]:
        return dict(self._records)

    def as_json(self) -> str | None:
        """The whole state, for storing; None if it is too big for that."""
        if len(self._cells) > MAX_STORED_CELLS:
            return None
        cells = [[*key, *cell] for key, cell in self._cells.items()]
        lost = [sorted(self._lost_hosts), self._n_lost_rules]
        return json.dumps([self._image_id, self._after, self._n_records, self._records, lost, cells])

    @classmethod
    def of_json(cls, ask: AskAll, text: str) -> CounterRecount:
        self = cls(ask)
        self._image_id, self._after, self._n_records, self._records, (lost, self._n_lost_rules), cells = json.loads(text)
        self._lost_hosts = set(lost)
        for host_id, status, error_type, *numbers in cells:
            self._cells.add(host_id, status, error_type, TallyCell(*numbers))
        return self

    def _add_images(self, step: tuple[int, int]) -> None:
        for host_id, status, error_type, *numbers, n_untried, is_lost, n_lost_rules in recount.count_images(self._ask, step):
            self._cells.add(host_id, status, error_type, TallyCell(*numbers))
            if n_untried:
                self._cells.add(host_id, Status.PENDING.value, "", TallyCell(n_untried=n_untried))
            if is_lost:
                self._lost_hosts.add(host_id)
            self._n_lost_rules += n_lost_rules
        self._image_id = step[1]

    def _untrue_tallies(self) -> Iterator[str]:
        after: tuple[int, str, str] = (recount.BEFORE_ALL, "", "")
        while rows := self._ask(TALLIES, (*after, COUNTER_STEP_ROWS)):
            for host_id, status, error_type, *kept in rows:
                self._cells.add(host_id, status, error_type, TallyCell(*(-number for number in kept)))
            after = rows[-1][:3]
        for key in sorted(key for key, cell in self._cells.items() if any(cell[:3])):
            kept = [list(row) for row in self._ask(TALLY, key)] or [[0, 0, 0]]
            counted = [mine + theirs for mine, theirs in zip(self._cells.get(*key)[:3], kept[0], strict=True)]
            yield (
                f"{self._host(key[0])}, {key[1]}, {key[2] or 'no error'}: images, final images and bytes: counters "
                f"{kept[0]}, rows {counted}"
            )

    def _untrue_lists(self) -> Iterator[str]:
        after = (recount.BEFORE_ALL, recount.BEFORE_ALL)
        while rows := self._ask(LISTED, (*after, COUNTER_STEP_ROWS)):
            for host_id, _, n in rows:
                self._cells.add(host_id, Status.PENDING.value, "", TallyCell(n_untried=-n))
            after = rows[-1][:2]
        for host_id, difference in sorted((key[0], cell.n_untried) for key, cell in self._cells.items() if cell.n_untried):
            listed = self._ask(LISTED_OF, (host_id,))[0][0]
            yield f"{self._host(host_id)}: untried images: lists {listed}, rows {listed + difference}"

    def _untrue_record_tallies(self) -> list[str]:
        counted = {status: n for status, n in self._records.items() if n}
        if sum(counted.values()) != self._n_records:
            return [f"gbif_ids: {self._n_records - sum(counted.values())} rows have an unknown status"]
        kept: dict[str, int] = dict(self._ask(RECORD_TALLIES, ()))
        # During an ingest, new records are counted at once and written later (records.py); each shows one of these images.
        ahead = kept.get("pending", 0) - counted.get("pending", 0)
        if 0 < ahead <= self._ask(NOT_YET_RECORDED, ())[0][0]:
            kept["pending"] -= ahead
        return [
            f"gbifIDs that are {status}: counter {kept.get(status, 0)}, rows {counted.get(status, 0)}"
            for status in sorted(kept.keys() | counted.keys())
            if kept.get(status, 0) != counted.get(status, 0)
        ]

    def _host(self, host_id: int) -> str:
        rows = self._ask(HOST_NAME, (host_id,))
        return rows[0][0] if rows else str(host_id)
