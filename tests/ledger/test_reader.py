"""Reading the ledger: during a write, on read-only folders, despite transient I/O errors; files of other programs are refused."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from d4c_images.errors import LedgerError, LedgerLocked, UsageError
from d4c_images.ledger.file import reader as reader_module
from d4c_images.ledger.file import schema
from d4c_images.ledger.file.reader import open_reader
from tests.support.sample_ledger import SAMPLES, make_ledger, write_elsewhere

COUNT = "SELECT count(*) FROM image_rows"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger with ? and #.sqlite"
    make_ledger(path).close()
    return path


def test_reads_and_refuses_to_write(path: Path) -> None:
    with open_reader(path) as ledger:
        assert ledger.rows(COUNT) == [(len(SAMPLES),)]
        with pytest.raises(LedgerError, match="opened read-only"):
            ledger.rows("DELETE FROM image_rows")
        assert ledger.rows(COUNT) == [(len(SAMPLES),)]


def test_a_running_writer_is_seen_commit_by_commit(path: Path) -> None:
    writer = make_writer(path)
    with open_reader(path) as ledger:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO texts (text) VALUES ('new')")
        assert ledger.rows("SELECT count(*) FROM texts WHERE text = 'new'") == [(0,)], "uncommitted"
        writer.execute("COMMIT")
        assert ledger.rows("SELECT count(*) FROM texts WHERE text = 'new'") == [(1,)]
    writer.close()


def test_a_second_reader_of_one_process_leaves_the_first_one_its_log(path: Path) -> None:
    """Otherwise a writer that ends would take itself for the last user of the log, and remove it."""
    with open_reader(path) as first:
        with open_reader(path) as second:
            assert second.rows(COUNT) == first.rows(COUNT)
        for text in ("while it is open", "and again"):
            write_elsewhere(path, text)
            assert path.with_name(f"{path.name}-wal").exists()
            assert first.rows("SELECT count(*) FROM texts WHERE text = ?", (text,)) == [(1,)]


def test_at_one_moment_sees_one_state(path: Path) -> None:
    writer = make_writer(path)

    def ask() -> tuple[int, int]:
        before = ledger.rows(COUNT)[0][0]
        writer.execute("DELETE FROM image_rows WHERE image_id = 1")
        return before, ledger.rows(COUNT)[0][0]

    with open_reader(path) as ledger:
        before, after = ledger.at_one_moment(ask)
        assert before == after == len(SAMPLES)
        assert ledger.rows(COUNT) == [(len(SAMPLES) - 1,)], "and the moment ends"
    writer.close()


def test_stream_gives_every_row_once(path: Path) -> None:
    with open_reader(path) as ledger:
        chunks = list(ledger.stream("SELECT image_id FROM image_rows ORDER BY 1", n_rows=5))
        assert [len(rows) for _, rows in chunks] == [5, 5]
        assert [row[0] for _, rows in chunks for row in rows] == list(range(1, len(SAMPLES) + 1))
        assert list(ledger.stream("SELECT image_id AS x FROM image_rows WHERE 0")) == [(["x"], [])]


@contextmanager
def not_root() -> Iterator[None]:
    """Folders that may not be written hold for root too, if it plays somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def locked_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that anybody may read and nobody may write; its parents can be passed by anybody."""
    folder = tmp_path_factory.mktemp("readonly")
    for parent in [folder, *folder.parents][:4]:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(0o755)
    make_ledger(folder / "ledger.sqlite").close()
    (folder / "ledger.sqlite").chmod(0o444)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def test_a_read_only_folder_can_be_read(locked_folder: Path) -> None:
    with not_root():
        assert not os.access(locked_folder, os.W_OK, effective_ids=True)
        with open_reader(locked_folder / "ledger.sqlite") as ledger:
            assert ledger.rows(COUNT) == [(len(SAMPLES),)]
    assert sorted(path.name for path in locked_folder.iterdir()) == ["ledger.sqlite"]


def test_without_the_right_to_read(tmp_path: Path, path: Path) -> None:
    path.chmod(0)
    tmp_path.chmod(0o755)
    with not_root(), pytest.raises(LedgerError, match=r"cannot read .*: Permission denied"):
        open_reader(path)


class Shaky(sqlite3.Connection):
    """Fails as a shared file system does, as often as `failures` says."""

    failures: list[str] = []  # noqa: RUF012 - shared by all connections, on purpose

    def execute(self, sql: str, *rest: object) -> sqlite3.Cursor:  # type: ignore[override]
        if sql.lstrip().startswith("SELECT count(*) FROM image_rows") and Shaky.failures:
            raise sqlite3.OperationalError(Shaky.failures.pop())
        return super().execute(sql, *rest)  # type: ignore[arg-type]


@pytest.fixture
def shaky(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    connect = sqlite3.connect
    monkeypatch.setattr(reader_module.sqlite3, "connect", lambda *args, **options: connect(*args, factory=Shaky, **options))
    monkeypatch.setattr(reader_module, "WAIT_S", 0.0)
    Shaky.failures = []
    return Shaky.failures


@pytest.mark.parametrize("whole", [False, True])
def test_two_passing_io_errors_are_survived_a_third_is_not(path: Path, shaky: list[str], whole: bool) -> None:
    with open_reader(path) as ledger:

        def ask() -> list[tuple[int]]:
            return ledger.at_one_moment(lambda: ledger.rows(COUNT)) if whole else ledger.rows(COUNT)

        shaky += ["disk I/O error", "disk I/O error"]
        assert ask() == [(len(SAMPLES),)]
        shaky += ["disk I/O error"] * 3
        with pytest.raises(LedgerError, match="disk I/O error"):
            ask()
        assert shaky == []
        assert ask() == [(len(SAMPLES),)], "and the next question is answered"


def test_a_lasting_error_is_not_tried_again(path: Path, shaky: list[str]) -> None:
    shaky += ["no such thing", "database is locked"]
    with open_reader(path) as ledger:
        with pytest.raises(LedgerLocked):
            ledger.rows(COUNT)
        with pytest.raises(LedgerError, match=r"query failed on .*: no such thing"):
            ledger.at_one_moment(lambda: ledger.rows(COUNT))


def test_a_ledger_that_is_not_there_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="d4c-images init"):
        open_reader(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("content", [b"", b"gbifID\tidentifier\n", b"\0" * 5000])
def test_no_sqlite_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x"
    file.write_bytes(content)
    with pytest.raises(LedgerError, match="not an SQLite file"):
        open_reader(file)


def test_a_folder_in_place_of_a_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot read"):
        open_reader(tmp_path)


def test_somebody_elses_database(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE images (x)")
    other.close()
    with pytest.raises(LedgerError, match="not a d4c-images ledger"):
        open_reader(tmp_path / "other")


def test_a_newer_ledger(path: Path) -> None:
    writer = make_writer(path)
    writer.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    writer.close()
    with pytest.raises(LedgerError, match="newer d4c-images"):
        open_reader(path)


def test_a_truncated_ledger(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(LedgerError, match="malformed"), open_reader(path) as ledger:
        ledger.rows("SELECT * FROM images")


def make_writer(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)
