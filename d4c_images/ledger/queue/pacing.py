"""What the ledger remembers for politeness: limits, pace, recent bytes, and operators' settings. Decides no pace."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from d4c_images.ledger.rows.extent import Ask, left_of, top_host
from d4c_images.policy.limits import HostLimits, HostTable
from d4c_images.policy.pace import HostPace, Speed

HOUR_S = 3600
DAY_H = 24
HOSTS_A_STEP = 20_000

HOST = """
SELECT host, recent_ok, recent_bad, block_level, blocked_until, blocked_why, unreachable_since, n_unreachable, paused_at,
    paused_until, width, latency_s, narrowed_at, received_bytes, n_requests,
    connections, min_interval_s, bytes_per_s, bytes_per_day, politeness_group
FROM host_rows WHERE host_id = ?
"""
# Read at the start of a run: all hosts, in batches by number.
HOSTS_AT_START = f"""
SELECT h.host_id, h.host, coalesce({left_of("h.host_id")}, 0)
        + coalesce((SELECT r.n_waiting FROM refetch_hosts AS r WHERE r.host_id = h.host_id AND ?), 0) AS n_left,
    coalesce(h.latency_s, ?) AS latency_s, h.received_bytes * 1.0 / max(1, h.n_requests) AS image_bytes,
    coalesce(h.blocked_until, 0) AS blocked_until, h.block_level,
    CASE WHEN h.paused_at IS NULL THEN 0 ELSE coalesce(h.paused_until, 9e999) END AS paused_until,
    h.width, h.narrowed_at, coalesce(h.last_answer_at, 0) AS last_answer_at, h.received_bytes, h.n_requests
FROM host_rows AS h WHERE h.host_id > ? AND h.host_id <= ? ORDER BY h.host_id
"""  # noqa: S608 - a constant
SAVE_LIMITS = """
UPDATE host_rows SET connections = ?, min_interval_s = ?, bytes_per_s = ?, bytes_per_day = ?, politeness_group = ?
WHERE host_id = ?
"""
SAVE_PACE = """
UPDATE host_rows SET recent_ok = ?, recent_bad = ?, block_level = ?, blocked_until = ?, blocked_why = ?,
    unreachable_since = ?, n_unreachable = ?, last_answer_at = coalesce(?, last_answer_at)
WHERE host_id = ?
"""
SAVE_SPEED = "UPDATE host_rows SET width = ?, latency_s = ?, narrowed_at = ? WHERE host_id = ?"
GROUPS = "SELECT name, width, latency_s, narrowed_at, held_until, held_why FROM politeness_groups"
SAVE_GROUP_SPEED = """
INSERT INTO politeness_groups (name, width, latency_s, narrowed_at) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET width = excluded.width, latency_s = excluded.latency_s, narrowed_at = excluded.narrowed_at
"""
SAVE_HOLD = """
INSERT INTO politeness_groups (name, held_until, held_why) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET held_until = excluded.held_until, held_why = excluded.held_why
"""
BYTES_BY_HOUR = "SELECT hour, n_bytes FROM host_bytes WHERE host_id = ? AND hour >= ?"
COUNT_BYTES = """
INSERT INTO host_bytes (host_id, hour, n_bytes) VALUES (?, ?, ?)
ON CONFLICT (host_id, hour) DO UPDATE SET n_bytes = n_bytes + excluded.n_bytes
"""


class KnownHost(NamedTuple):
    """A host as a run finds it."""

    name: str
    pace: HostPace
    paused_until: float | None  # None: not paused; infinity: until resumed
    speed: Speed
    image_bytes: float  # average per request so far; 0 if there was none yet
    limits: tuple[object, ...]  # as last used, in the order of `SAVE_LIMITS`


class HostRow(NamedTuple):
    """A row of `HOSTS_AT_START`."""

    host_id: int
    host: str
    n_left: int
    latency_s: float
    image_bytes: float
    blocked_until: int  # 0: not blocked
    block_level: int
    paused_until: float  # 0: not paused; infinity: until resumed
    width: float | None
    narrowed_at: int | None
    last_answer_at: int
    received_bytes: int
    n_requests: int


def load(db: sqlite3.Connection, host_id: int) -> KnownHost:
    row = db.execute(HOST, (host_id,)).fetchone()
    name, (paused_at, paused_until), (width, latency_s, narrowed_at) = row[0], row[8:10], row[10:13]
    return KnownHost(
        name,
        HostPace(*row[1:8]),
        _pause_end(paused_at, paused_until),
        Speed() if width is None else Speed(width, latency_s, narrowed_at),
        row[13] / row[14] if row[14] else 0.0,
        row[15:],
    )


def all_hosts(db: sqlite3.Connection, unknown_latency_s: float, *, refetch: bool) -> Iterator[list[HostRow]]:
    """Every host, in batches, as plain tuples; with `refetch`, images waiting to be refetched count as left."""
    for low in range(0, top_host(db.execute), HOSTS_A_STEP):
        rows = db.execute(HOSTS_AT_START, (refetch, unknown_latency_s, low, low + HOSTS_A_STEP)).fetchall()
        if rows:
            yield rows


def save_limits(db: sqlite3.Connection, host_id: int, limits: HostLimits) -> None:
    """Store the limits that a run applies: those of the host's group, if it has one."""
    db.execute(SAVE_LIMITS, (*as_saved(limits), host_id))


def as_saved(limits: HostLimits) -> tuple[object, ...]:
    return limits.connections, limits.min_interval_s, limits.bytes_per_s, limits.bytes_per_day, limits.group


def save_pace(db: sqlite3.Connection, host_id: int, pace: HostPace, answered_at: float | None = None) -> None:
    """`answered_at`: when the host answered, in whatever way; None if it did not."""
    until = whole(pace.blocked_until)
    since = None if pace.unreachable_since is None else int(pace.unreachable_since)
    db.execute(
        SAVE_PACE,
        (
            *(pace.recent_ok, pace.recent_bad, pace.block_level, until, pace.blocked_why, since, pace.n_unreachable),
            *(None if answered_at is None else int(answered_at), host_id),
        ),
    )


def save_speed(db: sqlite3.Connection, host_id: int, speed: Speed) -> None:
    """For a host without a group."""
    db.execute(SAVE_SPEED, (speed.width, speed.latency_s, speed.narrowed_at, host_id))


# Groups -----------------------------------------------------------------------------------------------------------------------


class KnownGroup(NamedTuple):
    """A politeness group as a run finds it."""

    speed: Speed | None
    held_until: int | None
    held_why: str | None


def load_groups(db: sqlite3.Connection) -> dict[str, KnownGroup]:
    """All groups with stored state, by name."""
    return {
        name: KnownGroup(None if width is None else Speed(width, latency_s, narrowed_at), held_until, held_why)
        for name, width, latency_s, narrowed_at, held_until, held_why in db.execute(GROUPS)
    }


def save_group_speed(db: sqlite3.Connection, name: str, speed: Speed) -> None:
    db.execute(SAVE_GROUP_SPEED, (name, speed.width, speed.latency_s, speed.narrowed_at))


def save_hold(db: sqlite3.Connection, name: str, until: float | None, why: str | None) -> None:
    """Block all hosts of the group until then; None: unblock it."""
    db.execute(SAVE_HOLD, (name, whole(until), why))


def whole(until: float | None) -> int | None:
    """The end of a wait as stored: rounded up, so that no request is early."""
    return None if until is None else math.ceil(until)


# Bytes ------------------------------------------------------------------------------------------------------------------------


def count_bytes(db: sqlite3.Connection, n_bytes: Iterable[tuple[int, int]], now: float) -> None:
    """Count the bytes that hosts sent, for their daily limits."""
    db.executemany(COUNT_BYTES, [(host_id, int(now) // HOUR_S, n) for host_id, n in n_bytes if n])


def forget_old_bytes(db: sqlite3.Connection, now: float, low: int = 0, high: int = 1 << 62) -> None:
    """For the hosts with `low` < number <= `high`."""
    db.execute("DELETE FROM host_bytes WHERE host_id > ? AND host_id <= ? AND hour < ?", (low, high, int(now) // HOUR_S - DAY_H))


def bytes_by_hour(db: sqlite3.Connection, host_id: int, now: float) -> list[tuple[int, int]]:
    """What a host has sent in the last 24 hours and in the hour that had begun before them: hour, bytes."""
    return db.execute(BYTES_BY_HOUR, (host_id, int(now) // HOUR_S - DAY_H)).fetchall()


class DayBytes(NamedTuple):
    """How many bytes a group may still send now, and when it may send again if that is none."""

    left: int
    again_at: float


def day_bytes(by_hour: dict[int, int], per_day: float, now: float) -> DayBytes:
    """From the sum over the last 24 hours and the hour that had begun before them: no 24 hours bring more than `per_day`.

    Hours that no longer count are removed from `by_hour`.
    """
    for hour in [hour for hour in by_hour if hour < int(now) // HOUR_S - DAY_H]:
        del by_hour[hour]
    left = int(per_day) - sum(by_hour.values())
    again_at, freed = now, left
    for hour, n_bytes in sorted(by_hour.items()):
        if freed > 0:
            break
        freed += n_bytes
        again_at = float((hour + DAY_H + 1) * HOUR_S)
    return DayBytes(max(0, left), again_at)


def save_rates(db: sqlite3.Connection, rates: Iterable[tuple[int, float]]) -> None:
    """Recently observed images per second of hosts."""
    db.executemany("UPDATE host_rows SET images_per_s = ? WHERE host_id = ?", [(rate, host_id) for host_id, rate in rates])


# What people want --------------------------------------------------------------------------------------------------------------


WANTED_LIMITS = "SELECT host, limits FROM wanted_limits ORDER BY host"


def wanted_limits(ask: Ask) -> HostTable:
    """What `hosts set` has stored."""
    return HostTable(hosts={host: json.loads(limits) for host, limits in ask(WANTED_LIMITS, ())})


def want_limits(db: sqlite3.Connection, host: str, limits: dict[str, Any]) -> None:
    """Set these values from now on, in addition to those set before."""
    row = db.execute("SELECT limits FROM wanted_limits WHERE host = ?", (host,)).fetchone()
    values = {**(json.loads(row[0]) if row else {}), **limits}
    db.execute("INSERT OR REPLACE INTO wanted_limits (host, limits) VALUES (?, ?)", (host, json.dumps(values)))


def all_wanted(db: sqlite3.Connection) -> list[str]:
    """The hosts and patterns with settings."""
    return [row[0] for row in db.execute("SELECT host FROM wanted_limits")]


def want_no_limits(db: sqlite3.Connection, host: str, names: Collection[str]) -> None:
    """Remove these values; all of them if no name is given."""
    row = db.execute("SELECT limits FROM wanted_limits WHERE host = ?", (host,)).fetchone()
    left = {name: value for name, value in (json.loads(row[0]) if row else {}).items() if name not in set(names)}
    if left and names:
        db.execute("UPDATE wanted_limits SET limits = ? WHERE host = ?", (json.dumps(left), host))
    else:
        db.execute("DELETE FROM wanted_limits WHERE host = ?", (host,))


BLOCKED_FOR = "SELECT host_id FROM host_rows WHERE blocked_why = ?"
# Pauses of hosts by name, and of the hosts with first < number <= second that match a pattern. None of them rewrites a row that
# already has that state.
PAUSE_HOST = "UPDATE host_rows SET paused_at = ?, paused_until = ? WHERE host = ?"
RESUME_HOST = "UPDATE host_rows SET paused_at = NULL, paused_until = NULL WHERE host = ?"
OF_MANY = "host_id > ? AND host_id <= ? AND host GLOB ?"
PAUSE_MANY = f"""
UPDATE host_rows SET paused_at = ?, paused_until = ? WHERE {OF_MANY} AND (paused_at IS NULL OR paused_until IS NOT ?)
"""  # noqa: S608 - a constant
RESUME_MANY = f"""
UPDATE host_rows SET paused_at = NULL, paused_until = NULL WHERE {OF_MANY} AND paused_at IS NOT NULL
"""  # noqa: S608 - a constant
PAUSES = "SELECT host_id, paused_at, paused_until FROM host_rows WHERE host_id > ? AND host_id <= ?"
PAUSE_OF = "SELECT host_id, paused_at, paused_until FROM host_rows WHERE host = ?"


def pause(db: sqlite3.Connection, hosts: Iterable[str], now: float, until: float | None) -> None:
    """Pause these hosts until then; None: until `resume`."""
    db.executemany(PAUSE_HOST, [(int(now), whole(until), host) for host in hosts])


def resume(db: sqlite3.Connection, hosts: Iterable[str]) -> None:
    db.executemany(RESUME_HOST, [(host,) for host in hosts])


def pause_many(db: sqlite3.Connection, pattern: str, low: int, high: int, now: float, until: float | None) -> None:
    """The same for all hosts matching the pattern (`glob_of`), among those with `low` < number <= `high`."""
    end = whole(until)
    db.execute(PAUSE_MANY, (int(now), end, low, high, glob_of(pattern), end))


def resume_many(db: sqlite3.Connection, pattern: str, low: int, high: int) -> None:
    db.execute(RESUME_MANY, (low, high, glob_of(pattern)))


def pauses(db: sqlite3.Connection, low: int, high: int) -> Iterator[tuple[int, float | None]]:
    """Until when each host is paused, for those with `low` < number <= `high`."""
    return map(_pause, db.execute(PAUSES, (low, high)))


def pause_of(db: sqlite3.Connection, host: str) -> tuple[int, float | None] | None:
    row = db.execute(PAUSE_OF, (host,)).fetchone()
    return None if row is None else _pause(row)


def _pause(row: tuple[int, int | None, int | None]) -> tuple[int, float | None]:
    host_id, *pause = row
    return host_id, _pause_end(*pause)


def _pause_end(paused_at: int | None, until: int | None) -> float | None:
    """None: not paused; infinity: until resumed."""
    return None if paused_at is None else float("inf") if until is None else until


def blocked_for(db: sqlite3.Connection, why: str) -> list[int]:
    """Hosts that are blocked for this reason."""
    return [row[0] for row in db.execute(BLOCKED_FOR, (why,))]


def glob_of(pattern: str) -> str:
    """An `fnmatch` pattern in SQLite's GLOB syntax."""
    return pattern.replace("[!", "[^")
