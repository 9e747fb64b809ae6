"""Stores what is known of hosts that answer different images with one page, and which images to retry. Decides nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from d4c_images.identity import parts
from d4c_images.ledger.queue import pacing
from d4c_images.ledger.rows.lent import IS_LENT
from d4c_images.ledger.rows.names import host_id_of
from d4c_images.ledger.rows.rollup import RecordChanges
from d4c_images.ledger.rows.states import is_final
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import ErrorType, Sign, Status
from d4c_images.policy.shut_door import Door, Suspect, as_suspects, page_of
from d4c_images.system import clocks

SHUT_DOORS = "SELECT host_id, n_row, sign, http_status, page, suspects, shut_at, n_probes, named_until FROM shut_doors"
SAVE = """
INSERT OR REPLACE INTO shut_doors (host_id, n_row, sign, http_status, page, suspects, shut_at, n_probes, named_until)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
FORGET_DOOR = "DELETE FROM shut_doors WHERE host_id = ?"
HAS_GIVEN = "SELECT EXISTS (SELECT 1 FROM tallies WHERE host_id = ? AND status = 'success' AND n > 0)"
SUSPECTS = f"""
SELECT i.image_id, i.gbif_id, i.host_id, i.status, i.error_type, i.not_before, i.urls
FROM json_each(?) AS suspect CROSS JOIN image_rows AS i ON i.image_id = suspect.value
WHERE i.status IN ('failed_permanent', 'failed_transient') AND i.host_id = ? AND i.attempts > 0 AND NOT {IS_LENT}
"""  # noqa: S608 - a constant
FAIL_FOR_NOW = """
UPDATE image_rows SET status = 'failed_transient', error_type = ?, attempts = attempts - 1, not_before = ?, host_id = ?, url_no = ?
WHERE image_id = ?
"""
# For a host that is shut: the end of the wait that it named, if still to come.
NAMED_WAIT = """
SELECT CASE WHEN named_until > ? THEN named_until END FROM shut_doors WHERE host_id = ? AND shut_at IS NOT NULL
"""
OPEN = "UPDATE host_rows SET blocked_until = ?, blocked_why = ?, block_level = 0 WHERE host_id = ?"
DOORS_NAMED = "SELECT d.host_id FROM shut_doors AS d CROSS JOIN host_rows AS h ON h.host_id = d.host_id WHERE h.host GLOB ?"
ITS_OWN_WISH = "it has asked for this wait itself"
ID_OF = "SELECT host_id FROM host_rows WHERE host = ?"


class Return(NamedTuple):
    """Images that are retried, and what must be updated for it."""

    n: int
    n_final: int  # of them: they had failed for good
    host_ids: set[int]  # whose queues have grown


def load_all(db: sqlite3.Connection) -> Iterator[tuple[int, Door]]:
    for host_id, n_row, sign, code, text, suspects, shut_at, n_probes, named_until in db.execute(SHUT_DOORS):
        door = Door(has_given(db, host_id), page_of(code, text), n_row, sign=Sign(sign) if sign else None, code=code, text=text)
        door.suspects, door.shut_at, door.n_probes = as_suspects(json.loads(suspects)), shut_at, n_probes
        door.named_until = float(named_until or 0)
        yield host_id, door


def has_given(db: sqlite3.Connection, host_id: int) -> bool:
    """Whether a host has ever sent an image."""
    return bool(db.execute(HAS_GIVEN, (host_id,)).fetchone()[0])


def has_given_by_name(db: sqlite3.Connection, host: str) -> bool:
    row = db.execute(ID_OF, (host,)).fetchone()
    return row is not None and has_given(db, row[0])


def save(db: sqlite3.Connection, host_id: int, door: Door) -> None:
    """Remember a host's state across kills; a state with nothing to remember is deleted."""
    if door.is_to_keep:
        shut_at = None if door.shut_at is None else int(door.shut_at)
        what = (door.n_row, door.sign, door.code, door.text, json.dumps(list(door.suspects)), shut_at, door.n_probes)
        named_until = pacing.whole(clocks.now.for_others(door.named_until) if door.named_until else None)
        db.execute(SAVE, (host_id, *what, named_until))
    else:
        db.execute(FORGET_DOOR, (host_id,))


def come_back(db: sqlite3.Connection, host_id: int, suspects: Iterable[Suspect], now: int) -> Return:
    """Give images of a host that its page failed a new attempt for each that they lost; not those that are lent."""
    begins_with = dict(suspects)
    tally, records, host_ids, n, n_final = Tally(), RecordChanges(), set[int](), 0, 0
    for image_id, gbif_id, _, status, error_type, not_before, urls in _rows(db, host_id, begins_with):
        url_no = begins_with[image_id]
        new_host_id = host_id_of(db, parts(urls.split("\n")[url_no]).host)
        db.execute(FAIL_FOR_NOW, (ErrorType.SHUT_OUT, now + 1, new_host_id, url_no, image_id))
        was_final = is_final(status, not_before)
        tally.image(-1, host_id, status, error_type, final=was_final)
        tally.image(1, new_host_id, Status.FAILED_TRANSIENT, ErrorType.SHUT_OUT, final=False)
        if was_final:
            records.image(image_id, gbif_id, n_success=0, n_failed=-1)
        host_ids.add(new_host_id)
        n, n_final = n + 1, n_final + was_final
    records.write(db, tally, now)
    tally.write(db)
    return Return(n, n_final, host_ids)


def _rows(db: sqlite3.Connection, host_id: int, image_ids: Iterable[int]) -> list[tuple[Any, ...]]:
    return db.execute(SUSPECTS, (json.dumps(list(image_ids)), host_id)).fetchall()


def open_named(db: sqlite3.Connection, hosts: Iterable[str], now: float) -> None:
    """An operator reopens these hosts: what was known of their pages is forgotten. Waits that they named are kept."""
    for host in hosts:
        row = db.execute(ID_OF, (host,)).fetchone()
        if row is not None:
            _open(db, row[0], now)


def open_like(db: sqlite3.Connection, glob: str, now: float) -> None:
    """The same for hosts matching a GLOB pattern of SQLite's."""
    for (host_id,) in db.execute(DOORS_NAMED, (glob,)).fetchall():
        _open(db, host_id, now)


def _open(db: sqlite3.Connection, host_id: int, now: float) -> None:
    wait = db.execute(NAMED_WAIT, (now, host_id)).fetchone()
    if wait is not None:
        db.execute(OPEN, (wait[0], None if wait[0] is None else ITS_OWN_WISH, host_id))
    db.execute(FORGET_DOOR, (host_id,))
