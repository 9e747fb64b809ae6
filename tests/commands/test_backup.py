"""`backup` and `restore`: one moment of the ledger, whole or absent; nothing of the old one is lost, or applied to the new one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from d4c_images.collection import backup
from d4c_images.collection.backup import CopyStep
from d4c_images.durations import show_moment
from d4c_images.errors import LedgerBusy, LedgerError, LedgerLost
from d4c_images.ledger.file import backup_folder, backup_note, connect, copying, drafts, identify, owner, replacing, schema
from d4c_images.ledger.file.reader import open_reader
from d4c_images.ledger.file.snapshot import snapshot_of
from d4c_images.ledger.file.writing import open_and_own
from d4c_images.report import copy_progress
from d4c_images.settings import Disk
from d4c_images.system import clocks
from tests.ledger.test_owner import HOLD
from tests.support import old_ledgers
from tests.support.patience import PATIENCE_S
from tests.support.program import PROJECT, Collection
from tests.support.sample_ledger import NOW, make_ledger

N_TEXTS = 3_000

# Commits one transaction, is killed with it in its log, and has told so before.
HOT = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA wal_autocheckpoint = 0")
db.execute("INSERT INTO texts (text) VALUES (?)", (sys.argv[2],))
os.kill(os.getpid(), signal.SIGKILL)
"""
READ = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("SELECT count(*) FROM texts").fetchone()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """A small ledger with a bit of everything, its write-ahead log empty."""
    made = Collection(tmp_path)
    make_ledger(made.ledger).close()
    return made


def texts(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [text for (text,) in db.execute("SELECT text FROM texts ORDER BY text_id")]


def add_text(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO texts (text) VALUES (?)", (text,))


def hot(path: Path, text: str) -> None:
    """Leave a transaction in the log of a killed process, as a node that lost its power does."""
    done = subprocess.run([sys.executable, "-c", HOT, path, text], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def made(collection: Collection, folder: str = "backups/") -> Path:
    output = collection.call("backup", folder, "--json")
    return collection.folder / json.loads(output)["backup"]


def make_at(collection: Collection, now: float, show: Callable[[CopyStep], None] = lambda step: None) -> Path:
    folder = collection.folder / "backups"
    folder.mkdir(exist_ok=True)
    with open_reader(collection.ledger) as ledger:
        return backup.make(ledger, folder, now, show).path


# What is in it ----------------------------------------------------------------------------------------------------------------


def test_a_backup_is_one_moment_and_is_not_begun_again_whoever_writes_meanwhile(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PAGES_PER_STEP", 5)
    steps: list[int] = []
    with closing(sqlite3.connect(collection.ledger, isolation_level=None)) as writer:
        before = texts(collection.ledger)

        def write(step: CopyStep) -> None:
            if step.what == "copy":
                assert step.done > max(steps, default=0), "begun again"
                steps.append(step.done)
                writer.execute("BEGIN IMMEDIATE")
                writer.execute("INSERT INTO texts (text) VALUES (?)", (f"text {len(steps)}",))
                writer.execute("UPDATE host_rows SET n_requests = n_requests + 1")
                writer.execute("COMMIT")
                writer.execute("PRAGMA wal_checkpoint(PASSIVE)")

        path = make_at(collection, NOW, write)
    assert len(steps) > 5
    assert texts(path) == before
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT min(n_requests) FROM host_rows").fetchone() == (10,)
    assert len(texts(collection.ledger)) == len(before) + len(steps), "the writer was not held up"


def test_a_backup_is_a_single_file_that_nobody_owns(collection: Collection) -> None:
    with open_and_own(collection.ledger, "download", owner.this_process(), lambda: NOW, print):
        path = made(collection)
    assert names(path.parent) == {path.name, f"{path.name}.sha256"}
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert db.execute("SELECT count(*) FROM owner").fetchone() == (0,)
        ((command, ending),) = db.execute("SELECT command, ending FROM runs WHERE run_id > 1").fetchall()
    assert (command, ending) == ("download", "was running when this copy of the ledger was made")


def test_the_hash_beside_it_is_one_that_sha256sum_checks(collection: Collection) -> None:
    path = made(collection)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", f"{path.name}.sha256"], cwd=path.parent, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path.name}: OK\n", "")


def test_its_name_has_the_moment_in_utc_and_a_second_one_of_that_second_gets_a_number(collection: Collection) -> None:
    first, second = make_at(collection, NOW), make_at(collection, NOW)
    assert (first.name, second.name) == ("ledger-20270115T080000Z.sqlite", "ledger-20270115T080000Z-2.sqlite")


def test_a_backup_is_readable_by_those_who_may_read_the_ledger(collection: Collection) -> None:
    collection.ledger.chmod(0o640)
    path = made(collection)
    assert path.stat().st_mode & 0o777 == 0o640
    path.chmod(0o440)  # a backup that nobody shall change by mistake
    collection.ledger.unlink()
    collection.call("restore", path)
    assert collection.ledger.stat().st_mode & 0o777 == 0o640


def test_an_existing_file_is_never_replaced(collection: Collection) -> None:
    path = collection.folder / "mine"
    path.write_text("my file")
    assert "a backup replaces nothing" in collection.call("backup", path, code=2)
    assert path.read_text() == "my file"
    assert {name for name in names(collection.folder) if "mine" in name} == {"mine"}


@pytest.mark.slow
def test_on_a_shared_disk_a_run_s_copy_for_readers_is_backed_up_with_its_own_time(collection: Collection) -> None:
    with open_and_own(collection.ledger, "download", owner.this_process(), clocks.now, print, disk=Disk.SHARED) as ledger:
        copied_at = int(snapshot_of(collection.ledger).stat().st_mtime)
        with ledger.transaction() as db:
            db.execute("INSERT INTO texts (text) VALUES ('later')")
        output = json.loads(collection.call("backup", "backups/", "--json"))
    assert output["taken_at"] == show_moment(copied_at)
    assert "later" not in texts(collection.folder / output["backup"])
    assert backup.verify(collection.folder / output["backup"], lambda step: None)[1] is not None


def test_a_ledger_that_nobody_has_opened_since_a_kill_is_backed_up_with_its_log(collection: Collection) -> None:
    hot(collection.ledger, "in the log")
    assert texts(made(collection))[-1] == "in the log"


# Whole or absent --------------------------------------------------------------------------------------------------------------


def test_without_space_one_line_says_how_much_is_missing_and_nothing_is_left(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (collection.folder / "backups").mkdir()
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda folder: SimpleNamespace(free=500_000))
    output = collection.call("backup", "backups", code=1)
    assert output.count("\n") == 1
    assert re.search(r"it takes 1\.\d MB", output)
    assert "has 500 kB free" in output
    assert names(collection.folder / "backups") == set()


@pytest.mark.slow
@pytest.mark.parametrize("limit", [4_096, 100_000])
def test_a_disk_that_becomes_full_leaves_nothing(collection: Collection, limit: int) -> None:
    (collection.folder / "backups").mkdir()
    code = f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    code += "from d4c_images.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "backup", "backups", "--ledger", "ledger.sqlite"]
    done = subprocess.run(command, cwd=collection.folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert names(collection.folder / "backups") == set()


def test_a_signal_leaves_nothing(collection: Collection) -> None:
    class Signal(Exception):
        """As a `Stopped` is raised, at any step."""

    for n in range(6):
        left = n

        def stop(step: CopyStep) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Signal

        try:
            make_at(collection, NOW, stop)
        except Signal:
            assert names(collection.folder / "backups") == set(), n
        else:
            assert n > 2
            return
    raise AssertionError("it has more steps than that")


def test_a_copy_that_is_not_what_the_ledger_was_gets_no_name(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_pages = copying.copy_pages

    def damaging(source: sqlite3.Connection, new: Path, show: copying.Show) -> None:
        copy_pages(source, new, show)
        with closing(sqlite3.connect(new)) as db, db:
            db.execute("UPDATE image_totals SET n = n + 1")

    monkeypatch.setattr(copying, "copy_pages", damaging)
    assert "the backup is not what the ledger was" in collection.call("backup", "backups/", code=1)
    assert names(collection.folder / "backups") == set()


def test_a_copy_that_the_disk_has_damaged_gets_no_name(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    make_durable = copying.make_durable

    def damaging(path: Path) -> None:
        make_durable(path)
        with path.open("rb+") as file:
            file.seek(3 * connect.PAGE_SIZE_BYTES)
            file.write(b"\xff" * 500)

    monkeypatch.setattr(copying, "make_durable", damaging)
    assert "the backup is damaged, and was removed" in collection.call("backup", "backups/", code=1)
    assert names(collection.folder / "backups") == set()


BACKUP_POINTS = ("backup.begun", "backup.copied", "backup.verified", "backup.noted", "backup.named", "backup.forgotten")


@pytest.mark.slow
@pytest.mark.parametrize("point", BACKUP_POINTS)
def test_a_killed_backup_leaves_no_half_file_and_the_next_one_sweeps(collection: Collection, point: str) -> None:
    folder = collection.folder / "backups"
    first = made(collection)
    collection.run("backup", "backups", "--keep", 1, code=-signal.SIGKILL, crash_at=point)
    for path in folder.glob("*.sqlite"):
        assert backup.verify(path, lambda step: None)[1] is not None, "what has a name is whole, and has its note"
    n_named = {"backup.named": 2}.get(point, 1)
    assert len(list(folder.glob("*.sqlite"))) == n_named
    assert first.exists() == (point != "backup.forgotten")
    last = collection.folder / json.loads(collection.run("backup", "backups", "--keep", 1, "--json"))["backup"]
    assert names(folder) == {last.name, f"{last.name}.sha256"}


def test_what_a_living_backup_writes_is_not_swept_and_not_written_by_another(collection: Collection) -> None:
    folder = collection.folder / "backups"
    folder.mkdir()
    with drafts.draft(folder / "b.sqlite") as new:
        new.write_bytes(b"half")
        (folder / "b.sqlite.sha256").write_bytes(backup_note.text(backup_note.BackupNote("x", 1, 3, 1, 1, 4, "0" * 64), "b.sqlite"))
        backup_folder.sweep(folder)
        assert (new.read_bytes(), (folder / "b.sqlite.sha256").exists()) == (b"half", True)
        assert "is being written by another process" in collection.call("backup", "backups/b.sqlite", code=1)
    backup_folder.sweep(folder)
    assert names(folder) == set()


# Verify -----------------------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_anywhere_is_found_by_verify_and_refused_by_restore(collection: Collection) -> None:
    path = made(collection)
    assert "the hash is right" in collection.call("backup", "--verify", path)
    body, before = path.read_bytes(), collection.ledger.read_bytes()
    for at in (0, 19, 100, len(body) // 2, len(body) - 1):
        damaged = bytearray(body)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        assert "is damaged" in collection.call("backup", "--verify", path, code=1), at
        assert "is damaged" in collection.call("restore", path, "--replace", code=1), at
    path.write_bytes(body[:-4096])
    assert "is damaged: it has" in collection.call("restore", path, "--replace", code=1)
    assert collection.ledger.read_bytes() == before
    assert names(collection.folder) == {"ledger.sqlite", "backups"}


def test_a_backup_without_a_note_is_verified_by_sqlite(collection: Collection) -> None:
    path = made(collection)
    backup_note.note_of(path).unlink()
    assert "SQLite finds it sound" in collection.call("backup", "--verify", path)
    with path.open("rb+") as file:
        file.seek(3 * connect.PAGE_SIZE_BYTES)
        file.write(b"\xff" * 500)
    assert "is damaged" in collection.call("backup", "--verify", path, code=1)
    assert "is damaged" in collection.call("restore", path, "--replace", code=1)


def test_a_backup_that_somebody_has_written_to_is_no_backup_any_more(collection: Collection) -> None:
    path = made(collection)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    hot(path, "a note of mine")
    assert "has been written to since" in collection.call("restore", path, "--replace", code=1)


# Keep -------------------------------------------------------------------------------------------------------------------------


def test_keep_removes_the_oldest_of_this_ledger_and_nothing_else(collection: Collection) -> None:
    folder = collection.folder / "backups"
    mine = [make_at(collection, NOW + 86_400 * n) for n in range(5)]
    (collection.folder / "other").mkdir()
    other = Collection(collection.folder / "other")
    with open_and_own(other.ledger, "init", owner.this_process(), lambda: NOW, print, create=True):
        pass
    with open_reader(other.ledger) as ledger:
        foreign = backup.make(ledger, folder, NOW - 86_400 * 9, lambda step: None).path
    strangers = {"ledger-20200101T000000Z.sqlite", "README", "x.sha256", "y.sha256"}
    for name in strangers:
        (folder / name).write_text("# d4c-images backup of mine\n" if name == "README" else "abc  x\n")
    output = collection.call("backup", "backups", "--keep", 3)
    assert [line.rpartition("/")[2] for line in output.splitlines() if line.startswith("removed")] == [
        path.name for path in (mine[2], mine[1], mine[0])
    ]
    left = names(folder)
    assert {path.name for path in (*mine[3:], foreign)} | strangers < left
    assert not {f"{path.name}.sha256" for path in mine[:3]} & left
    assert len([name for name in left if name.startswith("ledger-20") and name.endswith(".sqlite")]) == 3 + 1 + 1


def test_the_new_backup_stays_though_the_clock_was_set_back_and_damaged_ones_do_not_count(collection: Collection) -> None:
    folder = collection.folder / "backups"
    later = [make_at(collection, NOW + 10**9 + n) for n in range(3)]
    with later[2].open("rb+") as file:
        file.truncate(8192)
    output = json.loads(collection.call("backup", "backups", "--keep", 2, "--json"))
    assert output["removed"] == [f"backups/{later[0].name}"]
    assert output["damaged"] == [f"backups/{later[2].name}"]
    assert {path.name for path in folder.glob("*.sqlite")} == {Path(output["backup"]).name, later[1].name, later[2].name}


# Restore ----------------------------------------------------------------------------------------------------------------------


def test_a_lost_ledger_is_put_back_and_the_log_that_it_left_is_not_applied_to_it(collection: Collection) -> None:
    path, before = made(collection), texts(collection.ledger)
    hot(collection.ledger, "after the backup")
    for n in range(N_TEXTS):  # so much that pages of the log differ from those of the backup
        if n % 1_000 == 0:
            hot(collection.ledger, f"{n} {'x' * 4_000}")
    collection.ledger.unlink()
    output = collection.call("restore", path)
    assert texts(collection.ledger) == before
    with closing(sqlite3.connect(collection.ledger)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert path.exists(), "the backup stays"
    (kept,) = [name for name in names(collection.folder) if name.endswith("-wal")]
    assert kept.startswith("ledger.sqlite.replaced-")
    assert [line.strip() for line in output.splitlines() if line.startswith("  d4c-images")] == [
        "d4c-images check --repair --ledger " + str(collection.ledger), "d4c-images download --ledger " + str(collection.ledger),
    ]  # fmt: skip


def test_a_replaced_ledger_is_kept_with_what_was_in_its_log(collection: Collection) -> None:
    path, before = made(collection), texts(collection.ledger)
    hot(collection.ledger, "after the backup")
    for name in (".snapshot", ".check"):
        collection.ledger.with_name(f"ledger.sqlite{name}").write_text("of the old one")
    assert "ledger.sqlite exists: --replace" in collection.call("restore", path, code=2)
    output = json.loads(collection.call("restore", path, "--replace", "--json"))
    kept = Path(output["kept"])
    assert (texts(collection.ledger), texts(kept)) == (before, [*before, "after the backup"])
    assert names(collection.folder) == {
        "ledger.sqlite", "backups", kept.name, f"{kept.name}.snapshot", f"{kept.name}.check",
    }  # fmt: skip


def test_a_ledger_that_is_no_longer_one_is_kept_too(collection: Collection) -> None:
    path, before = made(collection), texts(collection.ledger)
    for n, damage in enumerate((b"", b"not a ledger", collection.ledger.read_bytes()[:20_000])):
        collection.ledger.write_bytes(damage)
        (collection.folder / "ledger.sqlite-wal").write_bytes(b"of the damaged one")
        kept = Path(json.loads(collection.call("restore", path, "--replace", "--json"))["kept"])
        assert (texts(collection.ledger), kept.read_bytes()) == (before, damage), n
        assert not (collection.folder / "ledger.sqlite-wal").exists()


@pytest.fixture
def holding(collection: Collection) -> Iterator[Callable[[str], None]]:
    """Another process with the ledger open, until the end of the test."""
    processes = []

    def hold(code: str) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(collection.ledger)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=PROJECT,
        )  # fmt: skip
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline()

    yield hold
    for process in processes:
        process.communicate()


def test_a_ledger_that_a_run_owns_is_not_replaced(collection: Collection, holding: Callable[[str], None]) -> None:
    path = made(collection)
    holding(HOLD)
    before = names(collection.folder)
    assert "is in use by 'download' on host" in collection.call("restore", path, "--replace", code=1)
    assert names(collection.folder) == before
    with pytest.raises(LedgerBusy):  # a run that has begun while the backup was copied
        replacing.put_in_place(path, collection.ledger, me())


def test_a_ledger_that_somebody_reads_is_not_replaced(
    collection: Collection, holding: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacing, "REPLACE_BUSY_TIMEOUT_S", 0.0)
    path = made(collection)
    holding(READ)
    assert "is open in another process" in collection.call("restore", path, "--replace", code=75)
    assert not [name for name in names(collection.folder) if "replaced" in name or drafts.DRAFT_SUFFIX in name]


def me() -> replacing.Restorer:
    from d4c_images.ledger.file.liveness import SILENT_PATIENCE

    return replacing.Restorer(owner.this_process(), NOW, SILENT_PATIENCE, None)


def test_a_run_that_was_opening_the_old_ledger_does_not_write_a_log_beside_the_new_one(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, judge = made(collection), identify.judge

    def slow(connection: sqlite3.Connection, ledger: Path, *, may_be_new: bool = False) -> identify.FoundLedger:
        found = judge(connection, ledger, may_be_new=may_be_new)
        monkeypatch.setattr(identify, "judge", judge)
        shutil.copy(path, collection.folder / "new")
        (collection.folder / "new").rename(collection.ledger)
        return found

    monkeypatch.setattr(identify, "inspect", lambda *_, **__: None)
    monkeypatch.setattr(identify, "judge", slow)
    with pytest.raises(LedgerLost, match="replaced while it was opened"):
        connect.open_ledger(collection.ledger)
    assert (collection.folder / "ledger.sqlite-wal").stat().st_size == 0


def test_what_gets_the_name_of_a_backup_or_of_the_ledger_is_on_the_disk_before_and_its_name_after(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rename, replace, fsync = made(collection), Path.rename, Path.replace, os.fsync
    on_disk: dict[tuple[int, int], object] = {}  # the bytes of a file, the names in a folder, when it was last made durable
    named: list[Path] = []

    def key(found: os.stat_result) -> tuple[int, int]:
        return found.st_dev, found.st_ino

    def durable(number: int) -> None:
        found = os.fstat(number)
        is_folder = stat.S_ISDIR(found.st_mode)
        on_disk[key(found)] = set(os.listdir(number)) if is_folder else os.pread(number, found.st_size, 0)
        fsync(number)

    def named_by(call: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def watched(old: Path, new: Path) -> Path:
            if old.name.endswith(drafts.DRAFT_SUFFIX):
                assert on_disk.get(key(old.stat())) == old.read_bytes(), f"{new.name} has bytes that a power cut would lose"
                named.append(new.absolute())
            return call(old, new)

        return watched

    monkeypatch.setattr(os, "fsync", durable)
    monkeypatch.setattr(Path, "rename", named_by(rename))
    monkeypatch.setattr(Path, "replace", named_by(replace))
    collection.call("backup", "backups/second.sqlite")
    collection.call("restore", path, "--replace")
    assert [one.name for one in named] == ["second.sqlite.sha256", "second.sqlite", "ledger.sqlite"]
    for one in named:
        names_on_disk = on_disk[key(one.parent.stat())]
        assert isinstance(names_on_disk, set)
        assert one.name in names_on_disk, f"a power cut would lose the name {one.name}"


RESTORE_POINTS = ("restore.copied", "restore.kept", "restore.cleared", "restore.in_place")


@pytest.mark.slow
@pytest.mark.parametrize("point", RESTORE_POINTS)
@pytest.mark.parametrize("is_lost", [False, True], ids=["replaced", "lost"])
def test_a_killed_restore_leaves_the_old_ledger_or_the_new_one_and_loses_neither(
    collection: Collection, point: str, is_lost: bool
) -> None:
    path, old = made(collection), texts(collection.ledger)
    hot(collection.ledger, "after the backup")
    new = [*old, "after the backup"]
    if is_lost:
        collection.ledger.unlink()
    collection.run("restore", path, "--replace", code=-signal.SIGKILL, crash_at=point)
    is_done = point == "restore.in_place"
    if is_done or not is_lost:
        assert texts(collection.ledger) == (old if is_done else new)
    else:
        assert not collection.ledger.exists()
    collection.run("restore", path, "--replace")
    assert texts(collection.ledger) == old
    assert not list(collection.folder.glob(f".*{drafts.DRAFT_SUFFIX}"))
    kept = [one for one in collection.folder.glob("*.replaced-*") if not one.name.endswith(("-wal", "-shm"))]
    if not is_lost:
        assert new in [texts(one) for one in kept]
        assert all(one.stat().st_nlink == 1 for one in (*kept, collection.ledger)), "no two names of one file"


def test_leases_of_a_restored_ledger_are_none_that_its_workers_had_after_the_backup(collection: Collection) -> None:
    path = made(collection)
    for ledger in (path, collection.ledger):
        with closing(sqlite3.connect(ledger)) as db:
            (last,) = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'leases'").fetchone()
        assert last == 5
    collection.call("restore", path, "--replace")
    with closing(sqlite3.connect(collection.ledger)) as db:
        db.execute("INSERT INTO leases (run_id, host_id, lane, lent_at, expires_at) VALUES (1, 1, 0, 1, 1)")
        assert db.execute("SELECT max(lease_id) FROM leases").fetchone() == (5 + replacing.LEASES_PER_RESTORE + 1,)


def test_a_backup_of_an_older_version_is_restored_and_migrate_is_named(tmp_path: Path) -> None:
    for version in range(1, schema.SCHEMA_VERSION):
        old = old_ledgers.unpack(version, tmp_path).rename(tmp_path / f"v{version}.backup")
        collection = Collection(tmp_path)
        output = collection.call("restore", old, "--replace")
        assert f"d4c-images migrate --ledger {collection.ledger}" in output
        assert old_ledgers.user_version(collection.ledger) == version
        collection.call("migrate", "--no-backup")


def test_what_is_no_backup_is_refused(collection: Collection) -> None:
    (collection.folder / "words").write_text("no ledger")
    for given, code, words in (
        ("nosuch", 2, "nosuch"),
        ("words", 2, "is not an SQLite file"),
        ("ledger.sqlite", 2, "is the ledger itself"),
        (".", 2, "cannot read the backup ."),
    ):
        assert words in collection.call("restore", given, "--replace", code=code)
    assert names(collection.folder) == {"ledger.sqlite", "words"}


def test_a_restore_without_space_changes_nothing(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(collection)
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1))
    assert "no space for" in collection.call("restore", path, "--replace", code=1)
    assert names(collection.folder) == {"ledger.sqlite", "backups"}


def test_a_ledger_of_which_nobody_can_say_who_made_it_can_be_backed_up(tmp_path: Path) -> None:
    connect.open_ledger(tmp_path / "ledger.sqlite", create=True).close()
    collection = Collection(tmp_path)
    path = made(collection)
    with pytest.raises(LedgerError):
        backup.verify(tmp_path / "nosuch", lambda step: None)
    assert backup.verify(path, lambda step: None)[1] is not None


def test_progress_has_bytes_per_second_and_the_time_left() -> None:
    assert copy_progress.figures_of(CopyStep("copy", 1_500_000_000, 25_000_000_000), 10.0) == (
        "1.5 GB of 25.0 GB (6.0 %), 150 MB/s, ETA 2 min 37 s"
    )
    assert copy_progress.figures_of(CopyStep("copy", 0, 25_000_000_000), 0.0) == "0 B of 25.0 GB (0.0 %)"
    assert copy_progress.figures_of(CopyStep("verify", 5, None), 10.0) == ""
    with copy_progress.CopyProgress(live=False) as view:
        assert view.line() is None
        view.show(CopyStep("hash", 5, 10))
        assert " hashing: 5 B of 10 B (50.0 %)" in str(view.line())
