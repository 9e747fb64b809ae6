"""Where is the ledger stored, and can SQLite trust the place? Knows file systems and locks, not what is in the ledger.

On a local disk SQLite's write-ahead log is best: readers and the writer do not disturb each other. On a network or parallel file
system the log's shared memory does not work between nodes, and locks may fail or lie; there the one writer keeps the file locked
(`connect`), reserves it with a file that every node sees, and leaves copies for readers (`snapshot`).

A file system that is not known to be local counts as shared: FUSE, and any type not listed here.
"""

from __future__ import annotations

import fcntl
import glob
import json
import os
import subprocess
import sys
import uuid
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from d4c_images.errors import LedgerBusy, LedgerError, LedgerLost, of_a_named_path
from d4c_images.ledger.file import exclusive_name
from d4c_images.ledger.file.liveness import SILENT_PATIENCE, LedgerHolder, Patience, Process, await_end, lives
from d4c_images.ledger.file.snapshot import draft_of, snapshot_of
from d4c_images.settings import Disk
from d4c_images.system import signals
from d4c_images.system.small_files import json_of

LOCAL_TYPES = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "bcachefs", "f2fs", "jfs", "reiserfs", "exfat", "tmpfs", "ramfs", "overlay"}
)
MOUNTS = Path("/proc/self/mountinfo")

# The second process: exits with 0 if it is refused the lock that the first one holds, as it must be.
_SECOND = """
import fcntl, sys
try:
    fcntl.lockf(open(sys.argv[1], "r+b"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit(0)
sys.exit(3)
"""
REMEDY = (
    "put the ledger on a local disk of the node (--ledger $TMPDIR/ledger.sqlite, copied back at the end of the job), "
    "or have the file system mounted with working locks (Lustre: -o flock; NFS: with its lock daemon)"
)


def disk_of(path: Path, mounts: Path = MOUNTS) -> Disk:
    """The kind of disk of a file, or of the folder it will be in."""
    return Disk.LOCAL if file_system(path, mounts) in LOCAL_TYPES else Disk.SHARED


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """The file system type as the kernel names it (proc(5)): `ext4`, `nfs4`, `gpfs`, `lustre`, `fuse.sshfs`; `unknown`."""
    target = os.path.realpath(path)
    best, kind = "", "unknown"
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return kind
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = fields.split(" ")[4].encode("latin-1", "surrogateescape").decode("unicode_escape", "surrogateescape")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # of two mounts at one point, the later one hides the earlier
            best, kind = point, rest.split(" ")[0]
    return kind


def check_locks(folder: Path, disk: Disk = Disk.SHARED) -> None:
    """Raise `LedgerError`, naming the remedy, if locks do not keep a second process out of a file in this folder.

    On a local disk they do if there are any. (If there are none, SQLite takes the file for a busy one, for minutes.)
    """
    probe = folder / f".d4c-images.{os.getpid()}.lock-probe"
    try:
        with probe.open("w+b") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise LedgerError(
                    f"file locks do not work in {folder} ({file_system(folder)}: {error.strerror}), and SQLite needs them: {REMEDY}"
                ) from error
            if disk is Disk.LOCAL:
                return
            with signals.blocked():
                second = subprocess.run([sys.executable, "-S", "-c", _SECOND, str(probe)], check=False, timeout=60)
            if second.returncode == 3:
                where = f"{folder} ({file_system(folder)})"
                raise LedgerError(f"file locks in {where} do not keep others out, which would corrupt the ledger: {REMEDY}")
    except OSError as error:
        if disk is Disk.LOCAL:
            return  # opening the ledger there will say what is wrong
        what = f"cannot write to the folder of the ledger, {folder}: {error.strerror}"
        raise of_a_named_path(LedgerError, what, error) from error
    finally:
        with suppress(OSError):
            probe.unlink()


def reservation_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.owner")


def holder(path: Path) -> LedgerHolder | None:
    """Who has reserved the ledger, dead or alive; None if nobody has."""
    return _read(reservation_of(path))


def _read(file: Path) -> LedgerHolder | None:
    try:
        return LedgerHolder(**json_of(file))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return None  # torn by a crash of its node: no holder is known
    except OSError as error:
        raise LedgerError(f"cannot read {file}: {error.strerror}") from error


def may_be_held(path: Path, me: Process) -> bool:
    """Whether a process that is not known to be dead has reserved the ledger."""
    found = holder(path)
    return found is not None and lives(found.process, me) is not False


class Reservation:
    """Reserve the ledger: a file next to it tells every node. Created by linking, which only one process can win."""

    def __init__(self, path: Path, command: str, process: Process, now: float, patience: Patience = SILENT_PATIENCE) -> None:
        """Raises `LedgerBusy`, naming host, pid and job, while another living process has it (`liveness.await_end`)."""
        self._path = path
        self._file = reservation_of(path)
        self._mine = LedgerHolder(uuid.uuid4().hex, command, process.host, process.pid, process.started, process.job_id, now, now)
        self._dead = await_end(lambda: holder(path), process, path, patience)
        if self._file.exists():
            self._put_aside(self._dead)
        new = self._write(self._mine)
        try:
            exclusive_name.place(new, self._file)
        except (FileExistsError, FileNotFoundError):  # the other one has swept ours
            raise self._taken() from None
        finally:
            new.unlink(missing_ok=True)
        self._sweep()

    @property
    def dead(self) -> Process | None:
        """The dead process whose reservation this one has taken over, if any."""
        return None if self._dead is None else self._dead.process

    def check(self) -> None:
        """Raise `LedgerLost` if another process has the ledger by now: this process was taken for dead."""
        found = holder(self._path)
        if found is None or found.token != self._mine.token:
            who = f" ('{found.command}' on host {found.host}, pid {found.pid})" if found else ""
            raise LedgerLost(f"{self._path}: another process has taken over this ledger{who}; stopping")

    def beat(self, now: float) -> None:
        """Record a heartbeat. Raises `LedgerLost` as `check` does."""
        self.check()
        self._mine = LedgerHolder(**(asdict(self._mine) | {"beat_at": now}))
        self._write(self._mine).replace(self._file)

    def give_back(self) -> None:
        """However the run ended: the live file can be read again, so the copy for readers goes too."""
        try:
            self.check()
        except LedgerLost:
            return  # both belong to another process now
        snapshot_of(self._path).unlink(missing_ok=True)
        self._file.unlink(missing_ok=True)

    def _put_aside(self, other: LedgerHolder | None) -> None:
        """Remove a dead process's file. Renamed first: of two processes that see it dead, neither removes the other's new one."""
        aside = self._file.with_name(f"{self._file.name}.{uuid.uuid4().hex}")
        try:
            self._file.rename(aside)
        except FileNotFoundError:
            return
        removed = _read(aside)
        is_dead = removed is None or removed == other
        if not is_dead:  # alive after all: put it back, unless a third process has the place
            with suppress(FileExistsError, FileNotFoundError):
                exclusive_name.place(aside, self._file)
        aside.unlink(missing_ok=True)
        if not is_dead:
            raise self._taken()

    def _taken(self) -> LedgerBusy:
        return LedgerBusy(f"{self._path} was taken by another process just now")

    def _sweep(self) -> None:
        """Remove what killed processes wrote but never put in place, or put aside but never removed."""
        lefts = [left for left in self._file.parent.glob(f"{glob.escape(self._file.name)}.*") if not self._is_mine(left)]
        for left in (*lefts, draft_of(self._path)):
            with suppress(OSError):
                left.unlink()

    def _is_mine(self, aside: Path) -> bool:
        """Whether another process has put this one's own file aside, and is about to put it back."""
        found = _read(aside)
        return found is not None and found.token == self._mine.token

    def _write(self, holder: LedgerHolder) -> Path:
        new = self._file.with_name(f"{self._file.name}.{holder.token}.new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(asdict(holder), file)
            file.flush()
            os.fsync(file.fileno())
        return new
