"""SQLite's own check, at the same time as the counters."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from d4c_images.collection import check_database
from d4c_images.collection.check import CheckOptions, check
from d4c_images.collection.check_database import DatabaseCheck
from d4c_images.collection.findings import CheckProgress, CheckReport, Reason
from d4c_images.errors import LedgerError, Stopped
from d4c_images.ledger.file.beside import files_of_checks
from d4c_images.ledger.file.reader import Reader, open_reader
from d4c_images.ledger.questions import audit
from d4c_images.ledger.questions.counter_audit import CounterRecount
from tests.support.patience import PATIENCE_S
from tests.support.sample_ledger import make_ledger, write_elsewhere

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    make_ledger(tmp_path / "ledger.sqlite").close()
    return tmp_path / "ledger.sqlite"


def checked(ledger: Path) -> CheckReport:
    with open_reader(ledger) as reader:
        return check(reader, None, CheckOptions(ledger_only=True))


def test_counters_are_counted_while_the_database_is_checked(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_counted = threading.Event()
    really = CounterRecount.steps

    def errors(reader: Reader, *, full: bool) -> list[str]:
        assert has_counted.wait(PATIENCE_S)
        return []

    def steps(self: CounterRecount) -> Iterator[tuple[int, int]]:
        yield from really(self)
        has_counted.set()

    monkeypatch.setattr(CounterRecount, "steps", steps)
    monkeypatch.setattr(audit, "database_errors", errors)
    assert checked(ledger).ok


def test_what_is_counted_in_a_damaged_database_is_no_finding(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(ledger) as db:
        db.execute("UPDATE record_tallies SET n = n + 1")
        db.execute("UPDATE gbif_ids SET n_success = n_success + 1")
    assert set(checked(ledger).counts) == {Reason.COUNTER_MISMATCH, Reason.RECORD_MISMATCH}
    monkeypatch.setattr(audit, "database_errors", lambda _, full: ["a page is wrong", "so is another"])
    report = checked(ledger)
    assert report.counts == {Reason.DATABASE_DAMAGED: 2}
    assert report.images_by_status == {}


def test_counting_that_fails_is_explained_by_the_damage_and_by_nothing_else(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def malformed(self: CounterRecount) -> Iterator[tuple[int, int]]:
        raise LedgerError("database disk image is malformed")

    monkeypatch.setattr(CounterRecount, "steps", malformed)
    with pytest.raises(LedgerError, match="malformed"):
        checked(ledger)
    monkeypatch.setattr(audit, "database_errors", lambda _, full: ["a page is wrong"])
    assert checked(ledger).counts == {Reason.DATABASE_DAMAGED: 1}


def test_a_database_that_cannot_be_read_is_not_called_sound(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Reader, *, full: bool) -> list[str]:
        raise LedgerError("disk I/O error")

    monkeypatch.setattr(audit, "database_errors", broken)
    with pytest.raises(LedgerError, match="disk I/O error"):
        checked(ledger)


def test_a_fault_of_the_program_is_not_called_sound_either(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "database_errors", lambda _, full: [][0])
    with pytest.raises(IndexError):
        checked(ledger)


def test_a_check_that_is_stopped_does_not_wait_for_the_statement(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def endless(reader: Reader, *, full: bool) -> list[str]:
        begun.set()
        reader.rows(ENDLESS)
        raise AssertionError("unreachable")

    def stop(step: CheckProgress) -> None:
        if step.what == "counters":
            assert begun.wait(PATIENCE_S)
            raise Stopped("a signal came")

    monkeypatch.setattr(audit, "database_errors", endless)
    monkeypatch.setattr(check_database, "LEAVES_WITHIN_S", PATIENCE_S)
    with open_reader(ledger) as reader, pytest.raises(Stopped):
        check(reader, None, CheckOptions(ledger_only=True), stop)
    assert not [thread for thread in threading.enumerate() if "_run" in thread.name]


def test_a_resumed_check_does_not_repeat_that_of_a_sound_database(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def errors(_: Reader, *, full: bool) -> list[str]:
        asked.append(full)
        return []

    def stop(step: CheckProgress) -> None:
        if step.what == "records":
            raise Stopped("a signal came")

    monkeypatch.setattr(audit, "database_errors", errors)
    with open_reader(ledger) as reader, pytest.raises(Stopped):
        check(reader, None, CheckOptions(ledger_only=True), stop)
    assert files_of_checks(ledger, ".state")
    assert checked(ledger).ok
    assert asked == [False]


def test_progress_counts_only_what_this_thread_reads(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()

    def errors(reader: Reader, *, full: bool) -> list[str]:
        assert may_end.wait(PATIENCE_S)
        return []

    monkeypatch.setattr(audit, "database_errors", errors)
    monkeypatch.setattr(check_database, "MB", 1)
    with open_reader(ledger) as reader, DatabaseCheck(reader, full=False) as database:
        before = database.progress()
        for _ in range(100):
            ledger.read_bytes()
        after = database.progress()
        may_end.set()
        assert database.wait(PATIENCE_S)
        assert database.progress().done == database.progress().total == 2 * ledger.stat().st_size
    assert after.done - before.done < 50 * ledger.stat().st_size


def test_a_writer_that_ends_leaves_the_log_that_the_check_reads(ledger: Path) -> None:
    with open_reader(ledger) as reader:
        with DatabaseCheck(reader, full=False) as database:
            assert database.wait(PATIENCE_S)
            assert database.errors() == []
        for text in ("while it reads", "and again"):
            write_elsewhere(ledger, text)
            assert ledger.with_name(f"{ledger.name}-wal").exists()
            assert reader.rows("SELECT count(*) FROM texts WHERE text = ?", (text,)) == [(1,)]
