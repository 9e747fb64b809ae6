"""What each command of the campaign is given, and the checks that several of them share."""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.program import PROGRAM, Collection

MOVED_ROOT = """UPDATE checkpoints SET position = json_set(position, '$.path', '{place}', '$.inode', {inode}) WHERE name = 'root'"""
SUFFIXES_OF_LEFTOVERS = (".part", ".d4c-copy", ".probe")


class Violation(Exception):
    """A promise that a killed command has broken."""


@dataclass(slots=True)
class Trial:
    """A collection in a folder of its own, and what was in it before the command."""

    folder: Path
    dice: random.Random
    kept: dict[str, Any] = field(default_factory=dict)  # what a command's own checks remember; `variant`: which one is killed

    @property
    def collection(self) -> Collection:
        return Collection(self.folder)

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.sqlite"

    @property
    def beside(self) -> Path:
        """Where the command puts what it makes."""
        return self.folder / "made"


@dataclass(frozen=True, slots=True)
class Killed:
    """A command of the campaign."""

    name: str
    prepare: Callable[[Trial], None]
    words: Callable[[Trial], Sequence[str]]  # without --ledger and --root
    after_kill: Callable[[Trial], None]  # raises `Violation`
    at_end: Callable[[Trial], None]
    with_root: bool = False
    module: str = PROGRAM[-1]


def must(holds: bool, promise: str) -> None:
    if not holds:
        raise Violation(promise)


def dump(path: Path, without: tuple[str, ...] = ("runs", "owner", "sqlite_sequence")) -> str:
    """A digest of all rows of a ledger, except who has written when. Raises `Violation` if it is damaged."""
    found = hashlib.sha256()
    try:
        with closing(sqlite3.connect(path)) as db:
            must(db.execute("PRAGMA quick_check").fetchall() == [("ok",)], f"{path.name} is sound")
            names = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
            for name in (one for one in names if one not in without):
                found.update(name.encode())
                for row in db.execute(f"SELECT * FROM {name}"):
                    found.update(repr(row).encode())
    except sqlite3.DatabaseError as error:
        raise Violation(f"{path.name} is sound ({error})") from error
    return found.hexdigest()


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if path.name.endswith(SUFFIXES_OF_LEFTOVERS)]


def copy_of(template: Path, folder: Path, dice: random.Random) -> Trial:
    """As if the download had been made there: a ledger knows its image root by its path and inode."""
    shutil.copytree(template, folder)
    trial = Trial(folder, dice)
    if trial.ledger.exists() and trial.collection.root.exists():
        place, inode = trial.collection.root, trial.collection.root.stat().st_ino
        trial.collection.sql(MOVED_ROOT.format(place=place, inode=inode))
    return trial
