"""Opens the ledger for the process that writes, as its disk allows. Queries nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from d4c_images.errors import LedgerError, LedgerLocked, LedgerLost, Stopped, UsageError, printable
from d4c_images.ledger.admission.recovery import catch_up
from d4c_images.ledger.file import connect, filesystem, identify, migrations, owner
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.file.filesystem import Reservation
from d4c_images.ledger.file.liveness import SILENT_PATIENCE, Patience
from d4c_images.ledger.file.snapshot import Snapshots
from d4c_images.settings import Disk


class _Hold:
    """The `Guard` of a ledger on a shared disk: its reservation file, and the snapshot for readers."""

    def __init__(self, ledger: Ledger, reservation: Reservation, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self._reservation = reservation
        self._last_beat_at = clock()
        self._clock = clock
        self._snapshots = Snapshots(ledger.path, ledger.connection, clock, self._beat_if_due, say)
        self._has_begun = False

    def begin_copies(self) -> None:
        """Called late: what a killed process left is finished first, so that readers see it."""
        self._has_begun = True
        self._snapshots.refresh_if_due()

    def check(self) -> None:
        self._reservation.check()

    def beat(self, now: float) -> None:
        self._last_beat_at = now
        self._reservation.beat(now)
        if self._has_begun:
            self._snapshots.refresh_if_due()

    def _beat_if_due(self) -> None:
        now = self._clock()
        if now - self._last_beat_at >= owner.HEARTBEAT_S:
            self._last_beat_at = now
            self._reservation.beat(now)


@contextmanager
def open_and_own(
    path: Path,
    command: str,
    process: owner.Process,
    clock: Callable[[], float],
    say: Callable[[str], None],
    *,
    disk: Disk | None = None,
    create: bool = False,
    terms: migrations.MigrationTerms | None = None,
    patience: Patience = SILENT_PATIENCE,
) -> Iterator[Ledger]:
    """The ledger, opened for writing and owned by `process` until the end of the block. `say` gets lines worth reading.

    `disk` overrides what the kernel's file system name suggests. An older ledger is migrated on `terms` if given; otherwise only
    if that takes seconds. Raises what `connect.open_ledger`, `owner.take` and `migrations.migrate` raise, and `LedgerError` if a
    shared disk has no working locks.
    """
    folder = path.absolute().parent
    shared = folder.is_dir() and (disk or filesystem.disk_of(path)) is Disk.SHARED
    if not shared and folder.is_dir() and (create or path.exists()):
        filesystem.check_locks(folder, Disk.LOCAL)
    may_be_torn = shared and filesystem.may_be_held(path, process)  # a read while another node writes may be torn
    if not may_be_torn:
        migrations.check_usable(path, identify.inspect(path, may_be_new=create), terms)
    reservation = None
    if shared and (create or path.exists()):
        filesystem.check_locks(folder)
        reservation = Reservation(path, command, process, clock(), patience)
    try:
        if may_be_torn:
            migrations.check_usable(path, identify.inspect(path, may_be_new=create), terms)
        ledger = connect.open_ledger(path, create=create, on_shared_disk=shared)
        try:
            dead = None if reservation is None else reservation.dead
            with _explained(path):
                owner.take(ledger, command, process, clock(), patience=patience, dead=dead)
            with _explained(path), _ending(ledger, clock):
                ledger.guard = reservation  # no copies for readers in the middle of a migration
                is_kept = terms is None or not terms.leave_as_is
                if is_kept:
                    migrations.migrate(ledger, terms, clock, say)
                hold = None if reservation is None else _Hold(ledger, reservation, clock, say)
                ledger.guard = hold
                if is_kept:
                    catch_up(ledger, owner.Heart(ledger, clock).beat_if_due)
                if hold is not None:
                    hold.begin_copies()
                yield ledger
        finally:
            ledger.close()
    except BaseException:
        if reservation is not None:
            with suppress(LedgerError, OSError):  # as in `_ending`
                reservation.give_back()
        raise
    if reservation is not None:
        reservation.give_back()


@contextmanager
def _ending(ledger: Ledger, clock: Callable[[], float]) -> Iterator[None]:
    """Record how the run ended, whatever happens."""
    try:
        yield
    except Stopped as stopped:
        owner.give_back(ledger, str(stopped)[:500], clock())
        raise
    except UsageError as refused:  # nothing was begun: a name on the command line is wrong
        owner.give_back(ledger, f"refused: {refused}"[:500], clock())
        raise
    except BrokenPipeError:
        owner.give_back(ledger, "ended early: nobody reads its output any more", clock())
        raise
    except (LedgerLost, LedgerLocked):  # nothing can be written: our claim is left to the next run, as if we had died
        raise
    except BaseException as error:
        with suppress(LedgerError, OSError):  # of one failure the second is not the reason; the next run finds us dead
            owner.give_back(ledger, printable(f"died: {error}")[:500], clock())
        raise
    else:
        owner.give_back(ledger, ledger.ending, clock())


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """One clear line for what SQLite finds wrong with the file while it is only read; transactions say so themselves."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if type(error) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
            raise  # a statement of ours is wrong, not the file
        raise connect.explain(error, path) from error
