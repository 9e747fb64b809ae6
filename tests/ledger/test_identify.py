"""Whether a file is a ledger, and of which version: every command reports it by name before anything is written."""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from d4c_images.cli import build_parser, main
from d4c_images.errors import LedgerError
from d4c_images.ledger.file import connect, identify, schema, versions
from d4c_images.ledger.file.reader import open_reader
from d4c_images.settings import Settings
from tests.support import old_ledgers
from tests.support.program import multimedia
from tests.support.sweep import thinned
from tools import generate_docs, keep_ledger

WHAT_TO_DO = """the schema is not the one that ledger/file/versions.py has for this version. If that version is released: raise
SCHEMA_VERSION in schema.py and add a migration to version_changes.py. Then: python -m tools.keep_ledger (--unreleased, if
the version is in no release yet)"""

# Every command that opens a ledger, in each of its ways.
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("init", "multimedia.txt"),
    ("init", "--finalize-only"),
    ("init", "multimedia.txt", "--reset", "--yes"),
    ("download",),
    ("status",),
    ("status", "--tables", "tables"),
    ("runs",),
    ("hosts",),
    ("hosts", "pause", "a.example.org"),
    ("hosts", "set", "a.example.org", "connections=1"),
    ("check",),
    ("placeholders",),
    ("unpack", "--to", "out"),
    ("store", "convert", "--to", "pack"),
    ("export", "out.csv"),
    ("backup", "out.sqlite"),
    ("migrate",),
    ("migrate", "--no-backup"),
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    multimedia(tmp_path / "multimedia.txt", [(1_000_000_000, "http://a.example.org/1.jpg")])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(capsys: pytest.CaptureFixture[str], folder: Path, words: str) -> None:
    """By each command, in one line that names the file, and nothing in the folder changes."""
    before = state(folder)
    code = 2 if "not a d4c-images ledger" in words else 1  # the wrong file was named
    for command in COMMANDS:
        assert main([*command, "--ledger", "ledger.sqlite"]) == code, command
        error = capsys.readouterr().err.removeprefix("SLACK_WEBHOOK_URL is not set: notifications are off\n")
        assert error.count("\n") == 1, (command, error)
        assert words in error, command
        assert "ledger.sqlite" in error
        assert state(folder) == before, command


def test_the_schema_is_that_of_its_version() -> None:
    assert versions.SHAPES.get(schema.SCHEMA_VERSION) == keep_ledger.current(), WHAT_TO_DO


@pytest.mark.parametrize("text", ["TABLES", "INDEX", "VIEWS"])
def test_a_change_of_the_schema_is_seen(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if text == "VIEWS":
        monkeypatch.setattr(connect.views, "VIEWS", connect.views.VIEWS.replace("FROM former_rows;", "FROM former_rows WHERE 1;"))
    elif text == "INDEX":
        monkeypatch.setattr(schema, "TABLES", schema.TABLES + "CREATE INDEX x ON runs (host);\n")
    else:
        monkeypatch.setattr(schema, "TABLES", schema.TABLES.replace("n_named   INTEGER NOT NULL", "n_named   INTEGER"))
    assert versions.SHAPES[schema.SCHEMA_VERSION] != keep_ledger.current()


def test_a_change_of_comments_and_blanks_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = schema.TABLES.replace("-- manifest, collection", "-- what\n -- it is").replace("    ", " ")
    monkeypatch.setattr(schema, "TABLES", tables)
    assert versions.SHAPES[schema.SCHEMA_VERSION] == keep_ledger.current()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CREATE TABLE t (a,\n  b -- c\n)", "CREATE TABLE t(a, b)", True),
        ('CREATE TABLE "t" (a)', "CREATE TABLE t (a)", True),
        ("CREATE TABLE t (a /* long\n */ , b)", "CREATE TABLE t (a, b)", True),
        ("CREATE TABLE t (a DEFAULT '--x')", "CREATE TABLE t (a DEFAULT '--y')", False),
        ("CREATE TABLE t (a DEFAULT 'b  c')", "CREATE TABLE t (a DEFAULT 'b c')", False),
        ("CREATE TABLE t (a INTEGER)", "CREATE TABLE t (a TEXT)", False),
        ("CREATE TABLE t (ab)", "CREATE TABLE t (a b)", False),
    ],
)
def test_two_definitions_are_one_shape_but_for_comments_spaces_and_quotes(one: str, other: str, same: bool) -> None:
    assert (identify.normalised(one) == identify.normalised(other)) is same


def test_a_ledger_of_each_version_is_kept(tmp_path: Path) -> None:
    assert set(old_ledgers.VERSIONS) == set(versions.SHAPES) == set(range(1, schema.SCHEMA_VERSION + 1)), WHAT_TO_DO
    for version, objects in versions.SHAPES.items():
        path = old_ledgers.unpack(version, tmp_path)
        assert old_ledgers.objects(path) == objects
        assert old_ledgers.user_version(path) == version


def test_no_kept_ledger_is_large() -> None:
    assert sum(path.stat().st_size for path in old_ledgers.LEDGERS.rglob("*") if path.is_file()) < 300_000


def test_all_commands_that_open_a_ledger_are_tried() -> None:
    def opens_one(parser: argparse.ArgumentParser) -> bool:
        return any("--ledger" in action.option_strings for action in parser._actions)

    commands = generate_docs.commands(build_parser(Settings()))
    others = {"preflight", "restore"}  # one judges whatever is there, the other replaces it
    assert {name for name, parser in commands.items() if opens_one(parser)} == {command[0] for command in COMMANDS} | others


@pytest.mark.parametrize("kept", thinned(old_ledgers.EARLY, 6), ids=lambda path: path.name.partition(".")[0])
def test_each_early_shape_is_refused_by_name(kept: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old_ledgers.unpack_early(kept, here)
    commit = kept.name.partition(".")[0].partition("-")[2]
    refused(capsys, here, f"early development version of d4c-images 0.1.0 (commit {commit}, 2026-11-")


@pytest.mark.parametrize(
    ("version", "statements", "words"),
    [
        (2, [f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}"], "was written by a newer d4c-images"),
        (1, [f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}"], "was written by a newer d4c-images"),
        (2, ["PRAGMA application_id = 0"], "is an SQLite file, but not a d4c-images ledger"),
        (2, ["PRAGMA application_id = 252006673"], "is an SQLite file, but not a d4c-images ledger"),
        (1, ["PRAGMA user_version = 0"], "claims to have ledger version 0, but there is none"),
        (1, ["DROP INDEX image_queue"], "claims to have ledger version 1, but index image_queue is missing"),
        (2, ["DROP TABLE label_rows"], "claims to have ledger version 2, but table label_rows is missing"),
        (2, ["DROP TABLE ledger_migrations"], "but table ledger_migrations is missing"),
        (1, ["ALTER TABLE runs ADD COLUMN note"], "but table runs is not as in that version"),
        (1, ["ALTER TABLE runs RENAME COLUMN n_done TO n"], "but table runs is not as in that version"),
        (1, ["PRAGMA user_version = 2"], "claims to have ledger version 2, but index host_blocked is missing"),
    ],
)
@pytest.mark.parametrize("disk", thinned(["local", "shared"], 2))
def test_others_are_refused_by_name(
    version: int, statements: list[str], words: str, disk: str, here: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("monkeypatch").setenv("D4C_LEDGER_DISK", disk)
    change(old_ledgers.unpack(version, here), *statements)
    refused(request.getfixturevalue("capsys"), here, words)


def test_somebody_elses_database_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(here / "ledger.sqlite", "PRAGMA journal_mode = WAL", "CREATE TABLE images (x)", "INSERT INTO images VALUES (1)")
    refused(capsys, here, "is an SQLite file, but not a d4c-images ledger")


DIE = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA wal_autocheckpoint = 0")
db.execute("INSERT INTO texts (text) VALUES ('not folded in')")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_log_that_a_killed_process_left_is_no_reason_to_write(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The early version that made the ledger can go on with it; what is in its log is neither folded in nor lost."""
    path = old_ledgers.unpack_early(old_ledgers.EARLY[-1], here)
    done = subprocess.run([sys.executable, "-c", DIE, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    size = Path(f"{path}-wal").stat().st_size
    assert size > 0
    Path(f"{path}-shm").rename(here / "shm")  # what SQLite writes there when it looks is no content
    (here / "shm").unlink()
    before = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    for command in COMMANDS:
        assert main([*command, "--ledger", "ledger.sqlite"]) == 1, command
        assert "early development version" in capsys.readouterr().err
        assert (path.read_bytes(), Path(f"{path}-wal").read_bytes()) == before, command


OWN = (
    "CREATE TABLE my_notes (image_id, note)",
    "CREATE INDEX my_index ON image_rows (sha256)",
    "CREATE VIEW my_view AS SELECT image_id FROM images",
    "CREATE TRIGGER my_trigger AFTER UPDATE ON host_rows BEGIN INSERT INTO my_notes VALUES (new.host_id, 'host'); END",
    "ANALYZE",
)


@pytest.mark.parametrize("version", sorted(versions.SHAPES))
def test_what_people_add_of_their_own_is_tolerated(version: int, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = old_ledgers.unpack(version, here)
    change(path, *OWN)
    assert main(["init", "--finalize-only", "--ledger", "ledger.sqlite"]) == 0
    assert main(["status", "--ledger", "ledger.sqlite"]) == 0
    capsys.readouterr()
    objects = old_ledgers.objects(path)
    assert {"table my_notes", "index my_index", "view my_view", "trigger my_trigger"} <= set(objects)
    assert versions.SHAPES[schema.SCHEMA_VERSION].items() <= objects.items()
    with open_reader(path) as ledger:
        assert ledger.rows("SELECT count(*) FROM my_view") == ledger.rows("SELECT count(*) FROM image_rows")


def test_a_view_of_ours_that_somebody_dropped_is_made_again_by_a_migration(here: Path) -> None:
    path = old_ledgers.unpack(1, here)
    change(path, "DROP VIEW links", "DROP VIEW occurrence_images")
    assert main(["migrate", "--ledger", "ledger.sqlite"]) == 0
    assert old_ledgers.objects(path) == versions.SHAPES[schema.SCHEMA_VERSION]


def test_a_file_that_a_transaction_has_half_written_is_opened_before_it_is_judged(here: Path) -> None:
    """A hot journal must be rolled back first; what `inspect` would see may be torn."""
    path = old_ledgers.unpack(2, here)
    Path(f"{path}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(600))
    assert identify.inspect(path) is None
    change_id = bytearray(path.read_bytes())
    change_id[68:72] = b"else"
    path.write_bytes(change_id)
    with pytest.raises(LedgerError, match="not a d4c-images ledger"):
        identify.inspect(path)


def test_what_cannot_be_read_is_left_to_who_opens_it(here: Path) -> None:
    assert identify.inspect(here / "none") is None
    (here / "empty").touch()
    assert identify.inspect(here / "empty") is None
    torn = old_ledgers.unpack(2, here)
    os.truncate(torn, 20_000)
    assert identify.inspect(torn) is None


def test_a_new_ledger_is_made_in_an_empty_database(here: Path) -> None:
    """`sqlite3 ledger.sqlite 'VACUUM'` makes a file of one page with nothing in it."""
    change(here / "ledger.sqlite", "VACUUM")
    assert (here / "ledger.sqlite").stat().st_size > 0
    assert main(["init", "multimedia.txt", "--ledger", "ledger.sqlite"]) == 0
