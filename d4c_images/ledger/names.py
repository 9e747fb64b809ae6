"""Numbers of rules and hosts. Forgets nothing and renames nothing; loads nothing big: each download begins with it."""

from __future__ import annotations

import sqlite3


def rule_id_of(db: sqlite3.Connection, name: str, version: int) -> int:
    """The number of a rule, which is made where it is new."""
    row = db.execute("SELECT rule_id FROM rules WHERE name = ? AND version = ?", (name, version)).fetchone()
    if row is None:
        row = db.execute("INSERT INTO rules (name, version) VALUES (?, ?) RETURNING rule_id", (name, version)).fetchone()
    rule_id: int = row[0]
    return rule_id


def host_id_of(db: sqlite3.Connection, host: str) -> int:
    """The number of a host, which is made where it is new."""
    row = db.execute("SELECT host_id FROM host_rows WHERE host = ?", (host,)).fetchone()
    if row is None:
        row = db.execute("INSERT INTO host_rows (host) VALUES (?) RETURNING host_id", (host,)).fetchone()
    number: int = row[0]
    return number
