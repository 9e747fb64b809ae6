"""What an operator wants of hosts, left next to the ledger for the one process that writes it. Changes no host itself.

The ledger has one writer, which may run for days on another node. So a wish is a file in a folder next to the ledger, written under
another name first; the writer takes wishes in the order they were left, in short transactions, and removes each after its last one.
Each states how things should be, not what to change, so it is idempotent: to take one twice, after a kill in between, changes
nothing.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from d4c_images.errors import LedgerError, of_a_named_path
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import pacing, shut_doors
from d4c_images.ledger.queue.pacing import HOSTS_A_STEP
from d4c_images.ledger.rows.extent import top_host
from d4c_images.policy.limits import is_domain, is_pattern
from d4c_images.system.small_files import json_of

PAUSE, RESUME, SET, UNSET = "pause", "resume", "set", "unset"
WISHES_MOST_BYTES = 64 << 20  # of one wish, which may name a million hosts
WISH_FILE = re.compile(r"([0-9]{20})-[0-9]+\.json")


@dataclass(frozen=True, slots=True)
class Wish:
    """One of `pause`, `resume`, `set` and `unset`, for some hosts: by name, and by patterns as in `limits.HostTable`."""

    what: str
    hosts: tuple[str, ...]
    until: float | None = None  # of a pause; None: until resumed
    limits: dict[str, Any] = field(default_factory=dict)  # to set
    names: tuple[str, ...] = ()  # of the limits to unset; empty: all


def folder_of(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}.wishes")


def leave(ledger: Path, wish: Wish) -> Path:
    """Write the wish as a file for the ledger's writer. Raises `LedgerError` if the folder next to the ledger is not writable."""
    folder = folder_of(ledger)
    last = max((int(found[1]) for path in _waiting(ledger) if (found := WISH_FILE.fullmatch(path.name))), default=0)
    name = f"{max(time.time_ns(), last + 1):020}-{os.getpid()}"  # after those waiting, even if the clock was set back
    new = folder / f"{name}.new"
    try:
        folder.mkdir(exist_ok=True)
        while True:
            new.write_text(json.dumps(asdict(wish)), encoding="utf-8")
            try:
                return new.rename(folder / f"{name}.json")
            except FileNotFoundError:  # swept by a process that has just taken the ledger
                continue
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise of_a_named_path(LedgerError, f"cannot write the change to {folder}: {error.strerror}", error) from None


def take_all(ledger: Ledger, now: float, alive: Callable[[], object] = lambda: None) -> list[Wish]:
    """Apply all waiting wishes, one after the other, and return them; one that cannot be read now goes on waiting. `alive()` is
    called in between.
    """
    taken = []
    for path in _waiting(ledger.path):
        try:
            wish = _read(path)
        except OSError:  # the disk's word, not the wish's: it stays for the next time
            continue
        if wish is not None:
            _fulfil(ledger, wish, now, alive)
            taken.append(wish)
        path.unlink(missing_ok=True)
        alive()
    return taken


def pauses(ledger: Ledger, hosts: Collection[str], alive: Callable[[], object]) -> Iterator[tuple[int, float | None]]:
    """Hosts with these names or matching these patterns, and until when each is paused. `alive()` is called in between."""
    db = ledger.connection
    for name in hosts:
        if not is_pattern(name) and (pause := pacing.pause_of(db, name)) is not None:
            yield pause
    if any(map(is_pattern, hosts)):  # other hosts stay as they are
        for low in range(0, top_host(db.execute), HOSTS_A_STEP):
            yield from pacing.pauses(db, low, low + HOSTS_A_STEP)
            alive()


def forget(ledger: Path) -> None:
    """Remove what was left for a ledger that is about to be deleted."""
    for path in _waiting(ledger):
        path.unlink(missing_ok=True)


def sweep(ledger: Path) -> None:
    """Remove what killed commands have not finished writing; `leave` retries if its file is swept."""
    for left in folder_of(ledger).glob("*.new"):
        left.unlink(missing_ok=True)


def _waiting(ledger: Path) -> Sequence[Path]:
    try:
        return sorted(path for path in folder_of(ledger).iterdir() if path.suffix == ".json")
    except OSError:
        return []


def _read(path: Path) -> Wish | None:
    """None for a file that is not ours. Raises `OSError`."""
    try:
        values = json_of(path, WISHES_MOST_BYTES)
        return Wish(values["what"], tuple(values["hosts"]), values["until"], values["limits"], tuple(values["names"]))
    except (ValueError, KeyError, TypeError):
        return None


def _fulfil(ledger: Ledger, wish: Wish, now: float, alive: Callable[[], object]) -> None:
    """In committed steps: pausing a million hosts must not be a transaction of minutes."""
    if wish.what in (SET, UNSET):
        with ledger.transaction() as db:
            for host in wish.hosts:
                _limit(db, wish, host)
        return
    names = [host for host in wish.hosts if not is_pattern(host)]
    for at in range(0, len(names), HOSTS_A_STEP):
        with ledger.transaction() as db:
            if wish.what == PAUSE:
                pacing.pause(db, names[at : at + HOSTS_A_STEP], now, wish.until)
            elif wish.what == RESUME:
                pacing.resume(db, names[at : at + HOSTS_A_STEP])
                shut_doors.open_named(db, names[at : at + HOSTS_A_STEP], now)
        alive()
    for pattern in filter(is_pattern, wish.hosts):
        if wish.what == RESUME:
            with ledger.transaction() as db:
                shut_doors.open_like(db, pacing.glob_of(pattern), now)
        for low in range(0, top_host(ledger.connection.execute), HOSTS_A_STEP):
            with ledger.transaction() as db:
                if wish.what == PAUSE:
                    pacing.pause_many(db, pattern, low, low + HOSTS_A_STEP, now, wish.until)
                elif wish.what == RESUME:
                    pacing.resume_many(db, pattern, low, low + HOSTS_A_STEP)
            alive()


def _limit(db: sqlite3.Connection, wish: Wish, host: str) -> None:
    """A setting for a pattern is one entry. Unsetting it also unsets every name that it matches, unless it is a domain's."""
    if wish.what == SET:
        pacing.want_limits(db, host, wish.limits)
        return
    names = [host]
    if is_pattern(host) and not is_domain(host):
        names = [name for name in pacing.all_wanted(db) if fnmatchcase(name, host)]
    for name in names:
        pacing.want_no_limits(db, name, wish.names)
