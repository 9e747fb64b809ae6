"""What the ledger remembers of how hosts may be asked: limits, pace, bytes of late, and what people want. Decides no pace."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from d4c_images.limits import HostLimits, HostTable
from d4c_images.pace import HostPace, Speed

HOUR_S = 3600
DAY_H = 24

HOST = """
SELECT recent_ok, recent_bad, block_level, blocked_until, blocked_why, unreachable_since, n_unreachable, paused_at, paused_until
FROM host_rows WHERE host_id = ?
"""
SAVE_LIMITS = """
UPDATE host_rows SET connections = ?, min_interval_s = ?, bytes_per_s = ?, bytes_per_day = ?, politeness_group = ?
WHERE host_id = ?
"""
SAVE_PACE = """
UPDATE host_rows SET recent_ok = ?, recent_bad = ?, block_level = ?, blocked_until = ?, blocked_why = ?,
    unreachable_since = ?, n_unreachable = ?, last_answer_at = coalesce(?, last_answer_at)
WHERE host_id = ?
"""
MEMBERS = "SELECT host_id FROM host_rows WHERE politeness_group = ?"
SPEED = """
SELECT h.width, h.latency_s, h.narrowed_at FROM json_each(?) AS one CROSS JOIN host_rows AS h ON h.host_id = one.value
WHERE h.width IS NOT NULL ORDER BY h.last_answer_at DESC LIMIT 1
"""
SAVE_SPEED = "UPDATE host_rows SET width = ?, latency_s = ?, narrowed_at = ? WHERE host_id = ?"
HELD = """
SELECT max(h.blocked_until) FROM json_each(?) AS one CROSS JOIN host_rows AS h ON h.host_id = one.value
WHERE h.block_level = 0 AND h.blocked_until > ?
"""
IMAGE_BYTES = """
SELECT sum(h.received_bytes) * 1.0 / sum(h.n_requests)
FROM json_each(?) AS one CROSS JOIN host_rows AS h ON h.host_id = one.value
WHERE h.n_requests > 0
"""
BYTES_BY_HOUR = """
SELECT b.hour, sum(b.n_bytes) FROM json_each(?) AS one CROSS JOIN host_bytes AS b ON b.host_id = one.value
WHERE b.hour >= ? GROUP BY b.hour ORDER BY b.hour
"""
COUNT_BYTES = """
INSERT INTO host_bytes (host_id, hour, n_bytes) VALUES (?, ?, ?)
ON CONFLICT (host_id, hour) DO UPDATE SET n_bytes = n_bytes + excluded.n_bytes
"""


class Known(NamedTuple):
    """What a run finds of a host."""

    pace: HostPace
    paused_until: float | None  # None: not paused; infinity: until somebody says so


def load(db: sqlite3.Connection, host_id: int) -> Known:
    *pace, paused_at, paused_until = db.execute(HOST, (host_id,)).fetchone()
    return Known(HostPace(*pace), None if paused_at is None else float("inf") if paused_until is None else paused_until)


def save_limits(db: sqlite3.Connection, host_id: int, limits: HostLimits) -> None:
    """Note the limits that a run goes by: those of the host's group, where it has one."""
    values = (limits.connections, limits.min_interval_s, limits.bytes_per_s, limits.bytes_per_day, limits.group)
    db.execute(SAVE_LIMITS, (*values, host_id))


def save_pace(db: sqlite3.Connection, host_id: int, pace: HostPace, answered_at: float | None = None) -> None:
    """`answered_at`: when the host has answered, in whatever way; None where it has not."""
    until = None if pace.blocked_until is None else int(pace.blocked_until)
    since = None if pace.unreachable_since is None else int(pace.unreachable_since)
    db.execute(
        SAVE_PACE,
        (
            *(pace.recent_ok, pace.recent_bad, pace.block_level, until, pace.blocked_why, since, pace.n_unreachable),
            *(None if answered_at is None else int(answered_at), host_id),
        ),
    )


def anybody_answered_at(db: sqlite3.Connection) -> int | None:
    """When any host has last answered."""
    when: int | None = db.execute("SELECT max(last_answer_at) FROM host_rows").fetchone()[0]
    return when


# Groups, by the numbers of their hosts -----------------------------------------------------------------------------------------


def members(db: sqlite3.Connection, group: str) -> set[int]:
    """All hosts that were in a group when they were last worked on."""
    return {row[0] for row in db.execute(MEMBERS, (group,))}


def load_speed(db: sqlite3.Connection, host_ids: Collection[int]) -> Speed:
    row = db.execute(SPEED, (_listed(host_ids),)).fetchone()
    return Speed() if row is None else Speed(*row)


def save_speed(db: sqlite3.Connection, host_ids: Iterable[int], speed: Speed) -> None:
    db.executemany(SAVE_SPEED, [(speed.width, speed.latency_s, speed.narrowed_at, host_id) for host_id in host_ids])


def held_until(db: sqlite3.Connection, host_ids: Collection[int], now: float) -> int | None:
    """Until when one of them has asked to be left alone."""
    when: int | None = db.execute(HELD, (_listed(host_ids), int(now))).fetchone()[0]
    return when


def image_bytes(db: sqlite3.Connection, host_ids: Collection[int]) -> float:
    """How many bytes a request to them has brought so far; 0 where there was none yet."""
    mean: float | None = db.execute(IMAGE_BYTES, (_listed(host_ids),)).fetchone()[0]
    return mean or 0.0


def _listed(host_ids: Collection[int]) -> str:
    return json.dumps(list(host_ids))


def count_bytes(db: sqlite3.Connection, n_bytes: Iterable[tuple[int, int]], now: float) -> None:
    """Count what hosts have sent, for their limits of a day."""
    db.executemany(COUNT_BYTES, [(host_id, int(now) // HOUR_S, n) for host_id, n in n_bytes if n])


def forget_old_bytes(db: sqlite3.Connection, now: float) -> None:
    db.execute("DELETE FROM host_bytes WHERE hour < ?", (int(now) // HOUR_S - DAY_H,))


class DayBytes(NamedTuple):
    """What a group may still send now, and when it may send again, where that is nothing."""

    left: int
    again_at: float


def day_bytes(db: sqlite3.Connection, host_ids: Collection[int], per_day: float, now: float) -> DayBytes:
    """By the sum of the last 24 hours, and of the one that had begun before them: in no 24 hours is it more than `per_day`."""
    by_hour: list[tuple[int, int]] = db.execute(BYTES_BY_HOUR, (_listed(host_ids), int(now) // HOUR_S - DAY_H)).fetchall()
    left = int(per_day) - sum(n_bytes for _, n_bytes in by_hour)
    again_at, freed = now, left
    for hour, n_bytes in by_hour:
        if freed > 0:
            break
        freed += n_bytes
        again_at = float((hour + DAY_H + 1) * HOUR_S)
    return DayBytes(max(0, left), again_at)


def save_rates(db: sqlite3.Connection, rates: Iterable[tuple[int, float]]) -> None:
    """Images per second of hosts, as they were observed of late."""
    db.executemany("UPDATE host_rows SET images_per_s = ? WHERE host_id = ?", [(rate, host_id) for host_id, rate in rates])


# What people want --------------------------------------------------------------------------------------------------------------


def wanted_limits(db: sqlite3.Connection) -> HostTable:
    """What `hosts set` has said."""
    rows = db.execute("SELECT host, limits FROM wanted_limits ORDER BY host")
    return HostTable(hosts={host: json.loads(limits) for host, limits in rows})


def want_limits(db: sqlite3.Connection, host: str, limits: dict[str, Any]) -> None:
    """These values from now on, beside those that were set before."""
    row = db.execute("SELECT limits FROM wanted_limits WHERE host = ?", (host,)).fetchone()
    values = {**(json.loads(row[0]) if row else {}), **limits}
    db.execute("INSERT OR REPLACE INTO wanted_limits (host, limits) VALUES (?, ?)", (host, json.dumps(values)))


def want_no_limits(db: sqlite3.Connection, host: str, names: Collection[str]) -> None:
    """None of these values any more; none at all where no name is given."""
    row = db.execute("SELECT limits FROM wanted_limits WHERE host = ?", (host,)).fetchone()
    left = {name: value for name, value in (json.loads(row[0]) if row else {}).items() if name not in set(names)}
    if left and names:
        db.execute("UPDATE wanted_limits SET limits = ? WHERE host = ?", (json.dumps(left), host))
    else:
        db.execute("DELETE FROM wanted_limits WHERE host = ?", (host,))


def pause(db: sqlite3.Connection, host: str, now: float, until: float | None) -> None:
    """Nobody asks the host until then; None: until `resume`."""
    values = (int(now), None if until is None else int(until), host)
    db.execute("UPDATE host_rows SET paused_at = ?, paused_until = ? WHERE host = ?", values)


def resume(db: sqlite3.Connection, host: str) -> None:
    db.execute("UPDATE host_rows SET paused_at = NULL, paused_until = NULL WHERE host = ?", (host,))
