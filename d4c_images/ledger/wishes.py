"""What a person wants of hosts, left beside the ledger for the one process that writes it. Touches no host itself.

The ledger has one writer, which may be at work for days on another node. So a wish is a file in a folder beside the ledger, written
under another name first; the writer takes wishes in the order in which they were left, in a transaction, and removes them after
it. Each says how things are to be, not what is to change: to take one twice, after a kill in between, changes nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from d4c_images.errors import LedgerError
from d4c_images.ledger import pacing
from d4c_images.ledger.connect import Ledger

PAUSE, RESUME, SET, UNSET = "pause", "resume", "set", "unset"


@dataclass(frozen=True, slots=True)
class Wish:
    """One of `pause`, `resume`, `set` and `unset`, for some hosts; limits also for all hosts below a domain."""

    what: str
    hosts: tuple[str, ...]
    until: float | None = None  # of a pause; None: until it is resumed
    limits: dict[str, Any] = field(default_factory=dict)  # to set
    names: tuple[str, ...] = ()  # of the limits to unset; none: all


def folder_of(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}.wishes")


def leave(ledger: Path, wish: Wish) -> None:
    """Raises `LedgerError` where nothing can be written beside the ledger."""
    folder = folder_of(ledger)
    name = f"{time.time_ns():020}-{os.getpid()}"
    try:
        folder.mkdir(exist_ok=True)
        new = folder / f"{name}.new"
        new.write_text(json.dumps(asdict(wish)), encoding="utf-8")
        new.rename(folder / f"{name}.json")
    except OSError as error:
        raise LedgerError(f"cannot leave a wish beside the ledger, in {folder}: {error.strerror}") from None


def take(ledger: Ledger, now: float) -> bool:
    """Write down all wishes that are there. Says whether there were any."""
    paths = _waiting(ledger.path)
    if not paths:
        return False
    wishes = [wish for path in paths if (wish := _read(path)) is not None]
    with ledger.transaction() as db:
        for wish in wishes:
            _fulfil(db, wish, now)
    for path in paths:
        path.unlink(missing_ok=True)
    return True


def forget(ledger: Path) -> None:
    """Remove what was left for a ledger that is to be no more."""
    for path in _waiting(ledger):
        path.unlink(missing_ok=True)


def _waiting(ledger: Path) -> Sequence[Path]:
    try:
        return sorted(path for path in folder_of(ledger).iterdir() if path.suffix == ".json")
    except OSError:
        return []


def _read(path: Path) -> Wish | None:
    """None for a file that is none of ours."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Wish(values["what"], tuple(values["hosts"]), values["until"], values["limits"], tuple(values["names"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _fulfil(db: sqlite3.Connection, wish: Wish, now: float) -> None:
    for host in wish.hosts:
        if wish.what == PAUSE:
            pacing.pause(db, host, now, wish.until)
        elif wish.what == RESUME:
            pacing.resume(db, host)
        elif wish.what == SET:
            pacing.want_limits(db, host, wish.limits)
        elif wish.what == UNSET:
            pacing.want_no_limits(db, host, wish.names)
