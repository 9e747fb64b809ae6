"""Brings an older ledger to the current version: backup, steps, resuming after a kill. Defines no step (`version_changes`).

A migration is a list of steps. Most take no time: new tables, new columns. If all steps are such, or change no more rows than one
chunk has, one transaction does everything, `user_version` included: the ledger is of one version or of the other.

A `Walk` changes rows in committed chunks, and resumes after a kill. The first transaction of a migration that has one raises
`user_version` and notes in `ledger_migrations` that it is under way; the last one notes that it has finished. In between, programs
of the older version refuse the ledger as too new, this one refuses it as unfinished, and there are no views that could show half
of each version.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

from d4c_images import __version__, crash
from d4c_images.durations import show_size
from d4c_images.errors import LedgerError, Stopped, UsageError, printable
from d4c_images.ledger.file import backup, identify, owner, schema, versions, views
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.file.identify import FoundLedger
from d4c_images.ledger.file.migration_steps import TABLE_NAMES, MigrationStep, Tables, Walk, change, create
from d4c_images.ledger.file.version_changes import MIGRATIONS

AUTOMATIC_BYTES = 1 << 30  # a larger ledger is not copied as a side effect of another command
RESERVE_BYTES = 256 << 20  # for changed rows in the log; less for a smaller ledger
LITTLE_BYTES = 1 << 20  # size of new tables and views


@dataclass(frozen=True, slots=True)
class PartProgress:
    """Progress of one part of the work: pages of a backup, or keys of a table."""

    what: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class MigrationTerms:
    """How to migrate."""

    backup: Path | None = None  # None: next to the ledger
    no_backup: bool = False
    leave_as_is: bool = False  # no migration: the ledger is going to be deleted
    show: Callable[[PartProgress], None] = lambda progress: None
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class _Place:
    """A step and its position: number `number` of the migration to `version`."""

    version: int
    number: int
    step: MigrationStep


def is_readable(version: int) -> bool:
    """Whether the content of a ledger of this version means what it means now: newer versions only added tables."""
    return all(isinstance(place.step, Tables) for place in _places(version))


def check_usable(
    path: Path, found: FoundLedger | None, terms: MigrationTerms | None, connection: sqlite3.Connection | None = None
) -> None:
    """Raise `LedgerError`, before anything is written, if the ledger needs a migration that is not done unasked.

    It is inspected through `connection`, or through one opened for it.
    """
    if found is None or terms is not None or found.version == 0:
        return
    if found.under_way:
        raise identify.unfinished(path, found.version)
    if found.version == schema.SCHEMA_VERSION:
        return
    with nullcontext(connection) if connection is not None else identify.looking_at(path) as looking:
        takes_long = not _is_done_at_once(looking, _places(found.version))
    if takes_long:
        raise identify.outdated(path, found.version, ", which changes its rows")
    if path.stat().st_size > AUTOMATIC_BYTES:
        raise identify.outdated(path, found.version, f", and its backup takes {show_size(path.stat().st_size)}")


def _is_done_at_once(connection: sqlite3.Connection, places: Sequence[_Place]) -> bool:
    """Whether no table to be walked has more rows than one chunk."""
    walks = [place.step for place in places if isinstance(place.step, Walk)]
    tables = {name for (name,) in connection.execute(TABLE_NAMES)}
    return all(
        walk.table not in tables or connection.execute(walk.count(), (walk.chunk_rows + 1,)).fetchone()[0] <= walk.chunk_rows
        for walk in walks
    )


def migrate(ledger: Ledger, terms: MigrationTerms | None, clock: Callable[[], float], say: Callable[[str], None]) -> None:
    """Bring a ledger that we own to the current version; does nothing if it is current. `terms` is None if nobody asked for it.

    Raises `LedgerError` if it must be asked for, if there is too little space, or if names are taken; then nothing has changed.
    Raises `Stopped` in the middle of a walk; the next call resumes there.
    """
    found = identify.judge(ledger.connection, ledger.path)
    check_usable(ledger.path, found, terms, ledger.connection)
    if found.version == schema.SCHEMA_VERSION and not found.under_way:
        return
    work = _Work(ledger, terms or MigrationTerms(), clock, say)
    if found.under_way:
        work.go_on()
    else:
        work.begin(found.version)


class _Work:
    """One migration of a ledger that we own."""

    def __init__(self, ledger: Ledger, terms: MigrationTerms, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self._ledger, self._terms, self._clock, self._say = ledger, terms, clock, say
        self._heart = owner.Heart(ledger, clock)

    def begin(self, version: int) -> None:
        places = _places(version)
        self._check_names(version)
        copy = self._backup_name(version)
        self._check_room(places, copy)
        if copy is not None:
            backup.write(self._ledger, copy, lambda done, total: self._show("backup", done, total))
        row = {
            "from_version": version,
            "to_version": schema.SCHEMA_VERSION,
            "program": __version__,
            "backup": printable(str(copy.absolute())) if copy else None,
            "began_at": int(self._clock()),
        }
        in_one = _is_done_at_once(self._ledger.connection, places)
        with self._ledger.transaction() as db:
            create(db, ("ledger_migrations",))
            for name in _names_of("view", version):
                db.execute(f"DROP VIEW IF EXISTS {name}")
            db.execute(
                """INSERT INTO ledger_migrations (from_version, to_version, program, backup, began_at, at_version, at_step)
                   VALUES (:from_version, :to_version, :program, :backup, :began_at, :from_version, 0)""",
                row,
            )
            db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION}")
            if in_one:
                for place in places:
                    change(db, place.step)
                self._end(db)
            crash.point("migrate.before_begun")
        crash.point("migrate.begun")
        if not in_one:
            self._take_steps(places, None)
        self._report(version, copy)

    def go_on(self) -> None:
        """Resume an interrupted migration; what a program of a version in between has done of it counts."""
        row = self._ledger.connection.execute(
            "SELECT from_version, at_version, at_step, at_key FROM ledger_migrations WHERE finished_at IS NULL"
        ).fetchone()
        from_version, at_version, at_step, at_key = row
        places = list(dropwhile(lambda place: (place.version, place.number) < (at_version, at_step), _places(from_version)))
        self._check_room(places, None)
        with self._ledger.transaction() as db:
            db.execute(
                "UPDATE ledger_migrations SET to_version = ?, program = ? WHERE finished_at IS NULL",
                (schema.SCHEMA_VERSION, __version__),
            )
            db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION}")
        self._take_steps(places, at_key)
        self._report(from_version, None)

    def _take_steps(self, places: Sequence[_Place], at_key: int | None) -> None:
        for place in places:
            if isinstance(place.step, Walk):
                self._walk(place, place.step, at_key)
            else:
                with self._ledger.transaction() as db:
                    change(db, place.step)
                    _note(db, place.version, place.number + 1, None)
                    crash.point("migrate.before_step")
            crash.point("migrate.after_step")
            at_key = None
        with self._ledger.transaction() as db:
            self._end(db)
            crash.point("migrate.before_end")
        crash.point("migrate.after_end")

    def _walk(self, place: _Place, walk: Walk, after: int | None) -> None:
        first, last = self._ledger.connection.execute(walk.span()).fetchone()
        while first is not None and (after is None or after < last):
            if after is None:
                after = first - 1
            with self._ledger.transaction() as db:
                upto = db.execute(walk.chunk_end(), (after, walk.chunk_rows)).fetchone()[0]
                walk.run(db, after, upto)
                _note(db, place.version, place.number, upto)
                crash.point("migrate.before_chunk")
            crash.point("migrate.after_chunk")
            after = upto
            self._show(f"version {place.version}, {walk.table}", after - first + 1, last - first + 1)
            if self._terms.stop():
                raise Stopped(f"a signal came: stopped while {walk.table} was migrated, all committed; run the same command again")
        with self._ledger.transaction() as db:
            _note(db, place.version, place.number + 1, None)

    def _end(self, db: sqlite3.Connection) -> None:
        for statement in schema.statements(views.VIEWS):
            db.execute(statement)
        db.execute(
            """UPDATE ledger_migrations SET finished_at = ?, at_version = NULL, at_step = NULL, at_key = NULL
               WHERE finished_at IS NULL""",
            (int(self._clock()),),
        )

    def _check_names(self, version: int) -> None:
        """Raise `LedgerError` if a user's own object has a name that a newer version needs."""
        present = {name.partition(" ")[2]: name for name in identify.objects(self._ledger.connection)}
        for name in versions.SHAPES[schema.SCHEMA_VERSION]:
            there = present.get(name.partition(" ")[2])
            if there is not None and there not in versions.SHAPES[version]:
                raise LedgerError(
                    f"{self._ledger.path} has a {there} of somebody's own, but ledger version {schema.SCHEMA_VERSION} needs that "
                    "name: rename or drop it first. Nothing was changed"
                )

    def _check_room(self, places: Sequence[_Place], copy: Path | None) -> None:
        size = _size_bytes(self._ledger)
        walks = [place.step for place in places if isinstance(place.step, Walk)]
        needed = LITTLE_BYTES + int(size * sum(walk.grows_by for walk in walks)) + (min(size, RESERVE_BYTES) if walks else 0)
        folder = self._ledger.path.absolute().parent
        if copy is not None and folder.stat().st_dev == copy.absolute().parent.stat().st_dev:
            what = " with its backup, which --backup FILE writes to another disk and --no-backup omits"
            self._check_free(folder, needed + size, what)
            return
        self._check_free(folder, needed, "")
        if copy is not None:
            self._check_free(copy.absolute().parent, size + LITTLE_BYTES, " for its backup")

    def _check_free(self, folder: Path, needed: int, what: str) -> None:
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise LedgerError(
                f"{self._ledger.path} was not migrated: 'd4c-images migrate' needs {show_size(needed)}{what}, but {folder} has "
                f"{show_size(free)} free. Nothing was changed"
            )

    def _backup_name(self, version: int) -> Path | None:
        if self._terms.no_backup:
            return None
        name = self._terms.backup or backup.free_name(self._ledger.path, version)
        if not name.absolute().parent.is_dir() or name.exists():
            why = "the file exists" if name.exists() else "no such folder"
            raise UsageError(f"cannot write the backup {name}: {why}. Nothing was changed")
        return name

    def _show(self, what: str, done: int, total: int) -> None:
        self._heart.beat_if_due()
        self._terms.show(PartProgress(what, done, total))

    def _report(self, version: int, copy: Path | None) -> None:
        kept = f"; backup: {copy}" if copy else ""
        self._say(f"{self._ledger.path}: migrated from ledger version {version} to {schema.SCHEMA_VERSION}{kept}")


def _places(version: int) -> list[_Place]:
    """All steps that a ledger of this version needs, in order."""
    return [
        _Place(migration.version, number, step)
        for migration in MIGRATIONS
        if migration.version > version
        for number, step in enumerate(migration.steps)
    ]


def _names_of(kind: str, version: int) -> list[str]:
    return [name.partition(" ")[2] for name in versions.SHAPES[version] if name.startswith(f"{kind} ")]


def _note(db: sqlite3.Connection, version: int, step: int, key: int | None) -> None:
    db.execute(
        "UPDATE ledger_migrations SET at_version = ?, at_step = ?, at_key = ? WHERE finished_at IS NULL", (version, step, key)
    )


def _size_bytes(ledger: Ledger) -> int:
    pages, page_size = (ledger.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages) * int(page_size)
