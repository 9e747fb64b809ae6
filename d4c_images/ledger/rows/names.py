"""Interns rules and hosts. Removes and renames nothing; imports nothing big: each download starts with it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from d4c_images.ledger.rows.extent import top_host

KNOWN_HOSTS = "SELECT h.host, h.host_id FROM json_each(?) AS wanted CROSS JOIN host_rows AS h ON h.host = wanted.value"
HOST_NAME = "SELECT host FROM host_rows WHERE host_id = ?"


def rule_id_of(db: sqlite3.Connection, name: str, version: int) -> int:
    """The number of a rule; a new one is added."""
    row = db.execute("SELECT rule_id FROM rules WHERE name = ? AND version = ?", (name, version)).fetchone()
    if row is None:
        row = db.execute("INSERT INTO rules (name, version) VALUES (?, ?) RETURNING rule_id", (name, version)).fetchone()
    rule_id: int = row[0]
    return rule_id


def host_id_of(db: sqlite3.Connection, host: str) -> int:
    """The number of a host; a new one is added."""
    row = db.execute("SELECT host_id FROM host_rows WHERE host = ?", (host,)).fetchone()
    if row is None:
        row = db.execute("INSERT INTO host_rows (host) VALUES (?) RETURNING host_id", (host,)).fetchone()
    number: int = row[0]
    return number


def host_ids_of(db: sqlite3.Connection, hosts: Sequence[str]) -> list[int]:
    """The numbers of many hosts. New ones are added in order."""
    known: dict[str, int] = dict(db.execute(KNOWN_HOSTS, (json.dumps(sorted(set(hosts))),)))
    new = [host for host in dict.fromkeys(hosts) if host not in known]
    if new:
        first_id = top_host(db.execute) + 1
        known.update(zip(new, range(first_id, first_id + len(new)), strict=True))
        db.executemany("INSERT INTO host_rows (host_id, host) VALUES (?, ?)", [(known[host], host) for host in new])
    return [known[host] for host in hosts]
