"""Migrations of older ledgers: complete, after a backup, resumable after a kill; a half-migrated ledger is never misread."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from d4c_images.cli import main
from d4c_images.errors import LedgerBusy, LedgerError
from d4c_images.ledger.file import connect, copying, migration_steps, migrations, owner, schema, versions
from d4c_images.ledger.file.reader import open_reader
from d4c_images.ledger.file.snapshot import snapshot_of
from d4c_images.ledger.file.writing import open_and_own
from d4c_images.report import migration_progress
from d4c_images.settings import Disk
from tests.ledger.test_owner import HOLD
from tests.ledger.test_reader import not_root
from tests.publishers.client import Publishers
from tests.support import migrating, old_ledgers
from tests.support.patience import PATIENCE_S
from tests.support.program import PROJECT, Collection, multimedia, reach

FINALIZE = ("init", "--finalize-only", "--ledger", "ledger.sqlite")
MIGRATE = ("migrate", "--no-progress", "--ledger", "ledger.sqlite")


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger of version 1, made by the program of that version."""
    monkeypatch.chdir(tmp_path)
    return old_ledgers.unpack(1, tmp_path)


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def is_current(path: Path, before: old_ledgers.Rows) -> None:
    """The shape of a new ledger, and all that was there."""
    assert old_ledgers.user_version(path) == schema.SCHEMA_VERSION
    assert old_ledgers.objects(path) == versions.SHAPES[schema.SCHEMA_VERSION]
    after = old_ledgers.rows(path)
    if "labels" in before:  # until version 2 a table
        after["labels"] = old_ledgers.labels(path)
    assert {name: after[name] for name in before} == before
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*) FROM ledger_migrations WHERE finished_at IS NULL").fetchone() == (0,)


def test_each_version_migrates(path: Path, tmp_path: Path) -> None:
    for version in range(1, schema.SCHEMA_VERSION):
        old_ledgers.unpack(version, tmp_path)
        before = old_ledgers.rows(path)
        assert main(MIGRATE) == 0
        is_current(path, before)
        assert main(MIGRATE) == 0, "and that is all"
        path.unlink()


def test_what_takes_no_time_is_done_by_the_next_command_that_writes(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = old_ledgers.rows(path)
    assert main(FINALIZE) == 0
    out = capsys.readouterr()
    assert f"migrated from ledger version 1 to {schema.SCHEMA_VERSION}; backup: ledger.sqlite.v1.backup\n" in out.err
    is_current(path, before)
    backup = path.with_name("ledger.sqlite.v1.backup")
    assert (old_ledgers.user_version(backup), old_ledgers.rows(backup)) == (1, before)
    assert old_ledgers.objects(backup) == versions.SHAPES[1]
    with closing(sqlite3.connect(backup)) as db:
        assert db.execute("SELECT count(*) FROM owner").fetchone() == (0,), "whoever puts it back finds it free"
    with closing(sqlite3.connect(path)) as db:
        row = db.execute("SELECT from_version, to_version, program, backup FROM ledger_migrations").fetchone()
        assert row == (1, schema.SCHEMA_VERSION, "0.1.0", str(backup))
    assert main(FINALIZE) == 0
    assert "migrated" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_migrated_collection_is_sound_and_its_download_goes_on(tmp_path: Path, publishers: Publishers) -> None:
    collection = Collection(tmp_path)
    assert "migrated from ledger version 1" in collection.run("init", "--finalize-only")
    collection.run("check", "--sha256")
    collection.run("download", *reach(publishers), "--retry-failed")
    collection.check_invariants()
    assert collection.rows("SELECT DISTINCT status FROM images") == [("success",)]
    assert "nothing new" in collection.run("init", tmp_path / "multimedia.txt")


def test_readers_refuse_an_older_ledger_in_a_line_and_leave_it_alone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = path.read_bytes()
    for command in (["status"], ["hosts"], ["check", "--root", "images"], ["export", "out.csv"], ["unpack", "--to", "out"]):
        assert main([*command, "--ledger", "ledger.sqlite"]) == 1, command
        assert "run 'd4c-images migrate --ledger ledger.sqlite'" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_an_older_ledger_in_a_folder_that_cannot_be_written(path: Path, tmp_path: Path) -> None:
    for parent in tmp_path.parents[:3]:  # as pytest makes them: for nobody else
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(stat.S_IMODE(parent.stat().st_mode) | 0o055)
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    before = path.read_bytes()
    with not_root():
        assert not os.access(tmp_path, os.W_OK, effective_ids=True)
        with pytest.raises(LedgerError, match="has ledger version 1"):
            open_reader(path)
        for terms in (None, migrations.MigrationTerms()):
            with pytest.raises(LedgerError, match=r"cannot open .*ledger\.sqlite for writing"):
                open_and_own(path, "migrate", owner.this_process(), lambda: 1.0, print, terms=terms).__enter__()
    tmp_path.chmod(0o755)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.glob("ledger*")) == ["ledger.sqlite"]


def test_a_question_that_an_older_ledger_has_no_answer_to(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If newer versions brought nothing but tables, an older ledger is read all the same."""
    monkeypatch.setattr(migrations, "is_readable", lambda version: True)
    words = "has ledger version 1, but this d4c-images needs version .* for this .*: run 'd4c-images migrate --ledger .*'"
    with open_reader(path) as ledger:
        with pytest.raises(LedgerError, match=words):
            ledger.rows("SELECT * FROM ledger_migrations")
        with pytest.raises(LedgerError, match=words):
            ledger.at_one_moment(lambda: ledger.rows("SELECT new_column FROM images"))


def test_a_large_ledger_is_migrated_by_request_only(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its backup takes long; a download of which nobody expects that says so before it writes anything."""
    monkeypatch.setattr(migrations, "AUTOMATIC_BYTES", 100_000)
    before = path.read_bytes()
    for command in (FINALIZE, ("download", "--ledger", "ledger.sqlite")):
        assert main(command) == 1
        assert "run 'd4c-images migrate --ledger ledger.sqlite'" in capsys.readouterr().err
        assert path.read_bytes() == before
    assert main(MIGRATE) == 0
    assert old_ledgers.user_version(path) == schema.SCHEMA_VERSION


@pytest.mark.slow
def test_a_ledger_that_is_deleted_is_not_migrated_before(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "AUTOMATIC_BYTES", 100_000)
    assert main(["init", "multimedia.txt", "--reset", "--yes", "--ledger", "ledger.sqlite"]) == 0
    assert old_ledgers.objects(path) == versions.SHAPES[schema.SCHEMA_VERSION]
    assert list(tmp_path.glob("*.backup*")) == []


def test_where_the_backup_goes(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = path.read_bytes()
    (tmp_path / "there.sqlite").write_bytes(b"somebody's")
    assert main([*MIGRATE, "--backup", "there.sqlite"]) == 2
    assert "the file exists. Nothing was changed" in capsys.readouterr().err
    assert main([*MIGRATE, "--backup", "nowhere/x"]) == 2
    assert "no such folder. Nothing was changed" in capsys.readouterr().err
    assert old_ledgers.user_version(path) == 1
    assert main([*MIGRATE, "--backup", "here.sqlite"]) == 0
    assert old_ledgers.user_version(tmp_path / "here.sqlite") == 1
    path.write_bytes(old)
    assert main([*MIGRATE, "--no-backup"]) == 0
    assert list(tmp_path.glob("*.backup*")) == []


def test_a_backup_is_never_replaced(path: Path, tmp_path: Path) -> None:
    old = path.read_bytes()
    assert main(MIGRATE) == 0
    first = (tmp_path / "ledger.sqlite.v1.backup").read_bytes()
    path.write_bytes(old)
    assert main(MIGRATE) == 0
    assert (tmp_path / "ledger.sqlite.v1.backup").read_bytes() == first
    assert old_ledgers.user_version(tmp_path / "ledger.sqlite.v1.backup.2") == 1


@pytest.mark.parametrize("option", [(), ("--no-backup",)])
def test_too_little_room(
    option: tuple[str, ...], path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at before anything is written, also for a migration without a copy."""
    before = old_ledgers.rows(path)
    free = 1_000_000 if option else path.stat().st_size + 1_000_000
    monkeypatch.setattr(migrations.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert main([*MIGRATE, *option]) == 1
    assert re.search(r"was not migrated: .* needs .*, but .* has .* free\. Nothing was changed\n$", capsys.readouterr().err)
    assert (old_ledgers.user_version(path), old_ledgers.rows(path)) == (1, before)
    assert list(tmp_path.glob("*.backup*")) == []
    monkeypatch.undo()
    os.chdir(tmp_path)
    assert main(MIGRATE) == 0
    is_current(path, before)


def test_a_disk_that_is_full_in_the_middle(path: Path) -> None:
    """SQLite's own limit on the file stands for the disk: the error is the same one, SQLITE_FULL."""
    before = old_ledgers.rows(path)
    with closing(connect.open_ledger(path)) as ledger:
        owner.take(ledger, "migrate", owner.this_process(), 1.0)
        pages = ledger.connection.execute("PRAGMA page_count").fetchone()[0]
        ledger.connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(LedgerError, match="is full; nothing committed is lost"):
            migrations.migrate(ledger, None, lambda: 2.0, print)
        owner.give_back(ledger, "ended", 3.0)
    assert (old_ledgers.user_version(path), old_ledgers.rows(path)) == (1, before)
    assert main(MIGRATE) == 0
    is_current(path, before)


def test_a_backup_that_cannot_be_written(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    before = old_ledgers.rows(path)
    monkeypatch.setattr(copying.os, "fsync", full)
    assert main(MIGRATE) == 1
    assert (old_ledgers.user_version(path), old_ledgers.rows(path)) == (1, before)
    assert list(tmp_path.glob("*.backup*")) == []


def test_a_name_that_somebody_else_has_taken(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(path, "CREATE TABLE ledger_migrations (mine)")
    assert main(MIGRATE) == 1
    assert "has a table ledger_migrations of somebody's own" in capsys.readouterr().err
    assert old_ledgers.user_version(path) == 1
    change(path, "ALTER TABLE ledger_migrations RENAME TO mine")
    assert main(MIGRATE) == 0


def test_only_its_owner_migrates_a_ledger(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = old_ledgers.rows(path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for command in (MIGRATE, FINALIZE):
            assert main(command) == 1
            assert f"is in use by 'download' on host {owner.this_process().host}, pid {holder.pid}" in capsys.readouterr().err
        assert old_ledgers.user_version(path) == 1
        holder.kill()
    assert main(MIGRATE) == 0
    is_current(path, before)


def test_two_at_once_on_a_shared_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one does not even look into a file that another node may be writing at this moment."""
    monkeypatch.setenv("D4C_LEDGER_DISK", "shared")
    me = owner.this_process()
    tried = []

    def show(progress: migrations.PartProgress) -> None:
        with (
            pytest.raises(LedgerBusy, match="is in use by 'migrate'"),
            open_and_own(path, "download", me, lambda: 1.0, print, disk=Disk.SHARED),
        ):
            pass
        tried.append(progress)

    terms = migrations.MigrationTerms(show=show)
    with open_and_own(path, "migrate", me, lambda: 1.0, print, disk=Disk.SHARED, terms=terms) as ledger:
        assert ledger.connection.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)
    assert tried


def test_a_long_migration_gives_signs_of_life(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy takes minutes: without signs of life the next run would take the ledger over."""
    monkeypatch.setattr(copying, "PAGES_PER_STEP", 1)
    times = iter(range(2_000_000_000, 2_001_000_000, 10))  # later than anything in the ledger
    beats: list[int] = []

    def note(progress: migrations.PartProgress) -> None:
        beats.append(ledger.connection.execute("SELECT heartbeat_at FROM runs ORDER BY run_id DESC").fetchone()[0])

    with closing(connect.open_ledger(path)) as ledger:
        owner.take(ledger, "migrate", owner.this_process(), 2_000_000_000.0)
        migrations.migrate(ledger, migrations.MigrationTerms(show=note), lambda: float(next(times)), print)
    assert len(beats) > 20
    assert all(later - earlier <= 2 * owner.HEARTBEAT_S for earlier, later in pairwise(beats[1:]))
    assert beats[-1] - beats[1] > 100


def test_progress_of_a_migration_has_share_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(migration_progress.time, "monotonic", lambda: now)
    for live in (False, True):
        with migration_progress.MigrationProgress(Console(force_terminal=live, width=100), live=live) as view:
            for done in range(0, 1_000, 10):
                now += 1.0
                view.show(migrations.PartProgress("backup" if done < 500 else "version 3, image_rows", done, 1_000))
        out = capsys.readouterr().out
        if not live:
            lines = [line.partition(" ")[2] for line in out.splitlines()]
            rows = "version 3, image_rows"
            assert lines == ["backup: 29.0%, ETA 1 min 11 s", f"{rows}: 59.0%, ETA 41 s", f"{rows}: 89.0%, ETA 11 s"]


def test_the_statements_of_all_tables_are_those_of_the_schema() -> None:
    """What a migration creates for a table, its indexes and first rows too, is all that a new ledger gets for it."""
    tables = [name.partition(" ")[2] for name in versions.SHAPES[schema.SCHEMA_VERSION] if name.startswith("table ")]
    found = [statement for table in tables for statement in migration_steps._statements_of(table)]
    assert sorted(found) == sorted(schema.statements(schema.TABLES))


POINTS = ("backup.before_rename", "backup.after_rename", "migrate.before_begun", "migrate.begun")


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("disk", ["local", "shared"])
def test_a_migration_killed_at_a_point_is_completed_by_the_next_run(point: str, disk: str, path: Path, tmp_path: Path) -> None:
    before = old_ledgers.rows(path)
    collection = Collection(tmp_path, {"D4C_LEDGER_DISK": disk})
    collection.run("migrate", code=-signal.SIGKILL, crash_at=point)
    if disk == "local":
        assert old_ledgers.user_version(path) == (schema.SCHEMA_VERSION if point == "migrate.begun" else 1)
        assert main(["status", "--ledger", str(path)]) == int(old_ledgers.user_version(path) == 1)  # to be migrated first
    collection.run("init", "--finalize-only")
    is_current(path, before)
    assert list(tmp_path.glob("*.new*")) == []
    for backup in tmp_path.glob("*.backup*"):
        assert old_ledgers.user_version(backup) == 1
        assert old_ledgers.rows(backup) == before


# Of a migration that changes rows, as a later version may have it (tests/support/migrating.py).

ROW_POINTS = (
    "backup.after_rename",
    "migrate.before_begun",
    "migrate.begun",
    "migrate.before_step",
    "migrate.after_step",
    "migrate.before_chunk",
    "migrate.before_chunk:3",
    "migrate.after_chunk",
    "migrate.after_chunk:4",
    "migrate.after_chunk:5",
    "migrate.after_step:2",
    "migrate.before_step:2",
    "migrate.after_chunk:6",
    "migrate.before_chunk:7",
    "migrate.after_step:4",
    "migrate.before_step:3",
    "migrate.before_end",
    "migrate.after_end",
)
ENDED = {"migrate.after_end"}
NOT_BEGUN = {"backup.after_rename", "migrate.before_begun"}


def later(folder: Path, *arguments: str, crash_at: str | None = None, disk: str = "local") -> subprocess.CompletedProcess[str]:
    """The program of version 5."""
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "D4C_LEDGER_DISK": disk} | ({"D4C_CRASH_AT": crash_at} if crash_at else {})
    command = [sys.executable, "-m", "tests.support.migrating", *arguments, "--ledger", str(folder / "ledger.sqlite")]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environ, timeout=PATIENCE_S, check=False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[old_ledgers.Rows, dict[str, str]]:
    """What a migration to version 5 makes of the ledger if nobody disturbs it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    path = with_texts(old_ledgers.unpack(1, folder))
    done = later(folder, "migrate")
    assert done.returncode == 0, done.stderr
    return old_ledgers.rows(path), old_ledgers.objects(path)


def with_texts(path: Path) -> Path:
    change(path, *(f"INSERT INTO texts (text) VALUES ('text {n}')" for n in range(3)))
    return path


def test_a_migration_that_changes_rows(undisturbed: tuple[old_ledgers.Rows, dict[str, str]], path: Path) -> None:
    rows, objects = undisturbed
    before = old_ledgers.rows(with_texts(path))
    assert [row[:-1] for row in rows["image_rows"]] == before["image_rows"]
    assert all(row[-1] == row[0] for row in rows["image_rows"]), "each row once"
    assert rows["texts"] == before["texts"]
    assert "table words" not in objects


@pytest.mark.slow
def test_its_shape_is_that_of_a_new_ledger(undisturbed: tuple[old_ledgers.Rows, dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    multimedia(tmp_path / "multimedia.txt", [(1_000_000_000, "http://a.example.org/1.jpg")])
    done = later(tmp_path / "new", "init", str(tmp_path / "multimedia.txt"))
    assert done.returncode == 0, done.stderr
    objects = old_ledgers.objects(tmp_path / "new/ledger.sqlite")
    del objects["table words"]  # which the test's schema has only for the way to it
    assert objects == undisturbed[1]


@pytest.mark.slow
@pytest.mark.parametrize("point", ROW_POINTS)
def test_killed_between_rows(point: str, undisturbed: tuple[old_ledgers.Rows, dict[str, str]], path: Path, tmp_path: Path) -> None:
    """Until it has ended, programs of either version refuse it by name; the same command resumes it."""
    with_texts(path)
    assert later(tmp_path, "migrate", crash_at=point).returncode == -signal.SIGKILL
    if point in NOT_BEGUN:
        assert main(["status", "--ledger", str(path)]) == int(old_ledgers.user_version(path) == 1)  # to be migrated first
    else:
        with pytest.raises(LedgerError, match="newer d4c-images"):
            open_reader(path)
        for command in () if point in ENDED else ("status", "download", "hosts"):
            refused = later(tmp_path, command)
            assert refused.returncode == 1
            assert "is in the middle of a migration to ledger version 5" in refused.stderr
    done = later(tmp_path, "migrate")
    assert done.returncode == 0, done.stderr
    assert (old_ledgers.rows(path), old_ledgers.objects(path)) == undisturbed
    assert later(tmp_path, "status").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("point", ["migrate.begun", "migrate.before_chunk:3", "migrate.after_step:4"])
def test_killed_between_rows_on_a_shared_disk(
    point: str, undisturbed: tuple[old_ledgers.Rows, dict[str, str]], path: Path, tmp_path: Path
) -> None:
    """Readers see no copy of what is half migrated."""
    with_texts(path)
    assert later(tmp_path, "migrate", crash_at=point, disk="shared").returncode == -signal.SIGKILL
    assert not snapshot_of(path).exists()
    for command in ("status", "download"):
        refused = later(tmp_path, command, disk="shared")
        assert refused.returncode == 1
        assert "is in the middle of a migration to ledger version 5" in refused.stderr
    done = later(tmp_path, "migrate", disk="shared")
    assert done.returncode == 0, done.stderr
    assert (old_ledgers.rows(path), old_ledgers.objects(path)) == undisturbed
    assert later(tmp_path, "status", disk="shared").returncode == 0


@pytest.fixture
def version_4(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((schema, "SCHEMA_VERSION"), (schema, "TABLES"), (migrations, "MIGRATIONS")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(versions, "SHAPES", dict(versions.SHAPES))
    migrating.become_version_5()
    monkeypatch.setitem(versions.SHAPES, 5, {k: v for k, v in versions.SHAPES[5].items() if k != "table words"})


@pytest.mark.usefixtures("version_4")
def test_who_wants_to_write_is_told_to_migrate_first(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that are not migrated mean something else: readers are refused too."""
    before = path.read_bytes()
    for command in (FINALIZE, ("download", "--ledger", "ledger.sqlite"), ("status", "--ledger", "ledger.sqlite")):
        assert main(command) == 1
        assert "has ledger version 1, but this d4c-images needs version 5" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.usefixtures("version_4")
def test_a_signal_stops_between_chunks_and_the_next_call_goes_on(
    path: Path, undisturbed: tuple[old_ledgers.Rows, dict[str, str]]
) -> None:
    with_texts(path)
    shown: list[migrations.PartProgress] = []
    n_calls = 0
    while True:
        n_calls += 1
        with closing(connect.open_ledger(path)) as ledger:
            owner.take(ledger, "migrate", owner.this_process(), 1.0)
            terms = migrations.MigrationTerms(no_backup=True, show=shown.append, stop=lambda: True)
            try:
                migrations.migrate(ledger, terms, lambda: 2.0, print)
            except migrations.Stopped:
                continue
            finally:
                owner.give_back(ledger, "ended", 3.0)
        break
    assert (old_ledgers.rows(path), old_ledgers.objects(path)) == undisturbed
    assert n_calls == len(shown) + 1, "each call does one chunk; none is done twice"
    images = [progress for progress in shown if "image_rows" in progress.what]
    assert [progress.done for progress in images] == [5, 10, 15, 20, 24]
    assert {progress.total for progress in images} == {24}


@pytest.mark.usefixtures("version_4")
def test_a_walk_reads_each_row_once(path: Path) -> None:
    """Steps of SQLite's machine for twice the rows: a chunk must not cost more because there are more of them."""

    def steps(n: int) -> int:
        made = path.with_name(f"{n}.sqlite")
        shutil.copy(path, made)
        count = 0

        def one_more() -> None:
            nonlocal count
            count += 1

        with closing(connect.open_ledger(made)) as ledger:
            ledger.connection.execute(
                """WITH RECURSIVE n (n) AS (SELECT 1000 UNION ALL SELECT n + 7 FROM n LIMIT ?) INSERT INTO image_rows
                   (image_id, gbif_id, image_no, host_id, rule_id, urls) SELECT n, n, 0, 1, 1, 'x' FROM n""",
                (n,),
            )
            owner.take(ledger, "migrate", owner.this_process(), 1.0)
            ledger.connection.set_progress_handler(one_more, 100)
            migrations.migrate(ledger, migrations.MigrationTerms(no_backup=True), lambda: 2.0, lambda line: None)
        return count

    assert steps(4_000) < 2.3 * steps(2_000)
