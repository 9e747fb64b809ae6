"""One run at a time: a live owner is respected, a dead one is replaced, and a run that lost its ledger stops."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from d4c_images.batch.requeue import idle_rounds
from d4c_images.errors import LedgerBusy, LedgerError, LedgerLocked, LedgerLost, UsageError
from d4c_images.ledger.file import connect, owner, schema
from d4c_images.ledger.file.liveness import DEAD_AFTER_S, HOLDER_POLL_S
from d4c_images.settings import Job, Scheduler
from tests.support.waiting import Waiting

HOLD = """
import sys, time
from pathlib import Path
from d4c_images.ledger.file import connect, owner
ledger = connect.open_ledger(Path(sys.argv[1]))
owner.take(ledger, "download", owner.this_process("812"), time.time())
print("held", flush=True)
sys.stdin.read()
"""


DEAD = [None, *(owner.Process("node17", number, f"boot-{number}/1/1", "812") for number in range(3))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    connect.open_ledger(path, create=True).close()
    return path


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def test_the_other_is_named(path: Path, holder: subprocess.Popen[str]) -> None:
    ledger = connect.open_ledger(path)
    with pytest.raises(LedgerBusy, match=rf"'download' on host .+, pid {holder.pid}, job 812, since "):
        owner.take(ledger, "download", owner.this_process(), 0)
    ledger.close()


def test_the_claim_of_a_killed_process_is_taken_over(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    ledger = connect.open_ledger(path)
    owner.take(ledger, "download", owner.this_process(), 100.0)
    runs = ledger.connection.execute("SELECT pid, ending FROM runs ORDER BY run_id").fetchall()
    assert runs == [(holder.pid, "died"), (os.getpid(), None)]
    ledger.close()


def test_a_number_used_again_is_not_the_old_process(path: Path) -> None:
    """Our own number with another start time: such a claim is a dead process's."""
    ledger = connect.open_ledger(path)
    me = owner.this_process()
    assert me.started is not None
    boot, _, namespace = me.started.split("/")
    owner.take(ledger, "download", owner.Process(me.host, me.pid, f"{boot}/1/{namespace}"), 100.0)
    owner.take(ledger, "download", me, 101.0)
    ledger.close()


def test_a_ledger_that_is_moved_away_is_noticed(path: Path) -> None:
    """SQLite writes on into a file without a name; the run must not end as if all were well."""
    ledger = connect.open_ledger(path)
    owner.take(ledger, "download", owner.this_process(), 100.0)
    heart = owner.Heart(ledger, iter([100.0, 101.0, 100.0 + owner.HEARTBEAT_S, 100.0 + owner.HEARTBEAT_S]).__next__)
    path.rename(path.with_name("elsewhere.sqlite"))
    heart.beat_if_due()
    with pytest.raises(LedgerLost, match="was deleted, moved or replaced"):
        heart.beat_if_due()
    with pytest.raises(LedgerLost, match="was deleted, moved or replaced"):
        owner.give_back(ledger, "ended", 101.0)
    ledger.close()


def test_what_is_committed_is_on_the_disk_after_a_heartbeat(path: Path, tmp_path: Path) -> None:
    """A power cut may take the write-ahead log with it: the file alone must hold what was committed before the beat."""
    ledger = connect.open_ledger(path)
    run_id = owner.take(ledger, "download", owner.this_process(), 100.0)
    heart = owner.Heart(ledger, iter([100.0, 101.0, 100.0 + owner.HEARTBEAT_S]).__next__)

    def without_the_log() -> list[int]:
        copy = tmp_path / "copy.sqlite"
        copy.write_bytes(path.read_bytes())
        with sqlite3.connect(copy) as db:
            return [row[0] for row in db.execute("SELECT run_id FROM owner")]

    assert not heart.beat_if_due()
    assert without_the_log() == []
    assert heart.beat_if_due()
    assert without_the_log() == [run_id]
    ledger.close()


@pytest.mark.parametrize("their_clock", [0.0, 3600.0, -3600.0])
@pytest.mark.parametrize("host", ["node17", socket.gethostname()])
def test_another_machine_is_alive_while_it_gives_signs(path: Path, host: str, their_clock: float) -> None:
    """Whatever its clock says, and whatever it is called."""
    first, second = connect.open_ledger(path), connect.open_ledger(path)
    me = owner.this_process()
    owner.take(first, "download", owner.Process(host, me.pid, "boot-17/1/1"), 1000.0 + their_clock)

    def lives_for_ten_minutes(waited_s: float) -> None:
        if waited_s < 600 and waited_s % owner.HEARTBEAT_S < HOLDER_POLL_S:
            owner.beat(first, 1000.0 + their_clock + waited_s)

    waiting = Waiting(lives_for_ten_minutes)
    while waiting.now < 580:
        with pytest.raises(LedgerBusy, match=f"in use by 'download' on host {re.escape(host)}, pid {me.pid}, since"):
            owner.take(second, "download", me, 1000.0, patience=waiting.patience())
    owner.take(second, "download", me, 1000.0, patience=waiting.patience())
    assert waiting.now <= 600 + DEAD_AFTER_S + 2 * HOLDER_POLL_S
    with pytest.raises(LedgerLost, match="taken over this ledger"), first.transaction() as db:
        db.execute("DELETE FROM runs")
    assert second.connection.execute("SELECT ending FROM runs").fetchall() == [("died",), (None,)]
    first.close()
    second.close()


def test_a_sign_of_life_at_the_last_moment_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes after the last look, before the claim is written down."""
    first, second = connect.open_ledger(path), connect.open_ledger(path)
    owner.take(first, "download", owner.Process("node17", 4711, "boot-17/1/1"), 1000.0)
    await_end = owner.await_end

    def then_beats(*arguments: Any) -> Any:
        found = await_end(*arguments)
        owner.beat(first, 1100.0)
        return found

    monkeypatch.setattr(owner, "await_end", then_beats)
    with pytest.raises(LedgerBusy, match="host node17"):
        owner.take(second, "download", owner.this_process(), 1000.0, patience=Waiting().patience())
    with first.transaction():
        pass
    first.close()
    second.close()


def test_given_back_means_free(path: Path) -> None:
    first, second = connect.open_ledger(path), connect.open_ledger(path)
    owner.take(first, "init", owner.this_process(), 1.0)
    owner.give_back(first, "ended", 2.0)
    owner.take(second, "download", owner.this_process(), 3.0)
    first.close()
    second.close()


def test_what_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no ledger at"):
        connect.open_ledger(tmp_path / "none.sqlite")
    (tmp_path / "text.sqlite").write_text("gbifID\ttype\n" * 100)
    with pytest.raises(LedgerError, match="not an SQLite file"):
        connect.open_ledger(tmp_path / "text.sqlite", create=True)
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(LedgerError, match="not a d4c-images ledger"):
        connect.open_ledger(tmp_path / "other.sqlite", create=True)
    assert (tmp_path / "text.sqlite").read_text().startswith("gbifID")


def test_a_newer_ledger_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(LedgerError, match="newer d4c-images"):
        connect.open_ledger(path)


def test_a_ledger_that_stays_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "WRITER_BUSY_TIMEOUT_S", 0.05)
    ledger = connect.open_ledger(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for action in (
        lambda: owner.take(ledger, "download", owner.this_process(), 1.0),
        lambda: owner.beat(ledger, 1.0),
        lambda: owner.give_back(ledger, "ended", 1.0),
    ):
        with pytest.raises(LedgerLocked, match="is still locked"):
            action()
    other.close()
    ledger.close()


def test_a_full_disk(path: Path) -> None:
    """SQLite's own limit on the file stands for the disk: the error is the same one, SQLITE_FULL."""
    ledger = connect.open_ledger(path)
    owner.take(ledger, "download", owner.this_process(), 1.0)
    pages = ledger.connection.execute("PRAGMA page_count").fetchone()[0]
    ledger.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    rows = [(f"{number}" * 1000,) for number in range(1000)]
    with pytest.raises(LedgerError, match="is full; nothing committed is lost"), ledger.transaction() as db:
        db.executemany("INSERT INTO texts (text) VALUES (?)", rows)
    assert ledger.connection.execute("SELECT count(*) FROM texts").fetchone() == (0,)
    owner.give_back(ledger, "ended", 2.0)
    ledger.close()


def test_a_run_whose_node_died_has_not_been_idle(path: Path) -> None:
    """What it has got done was written down with its heartbeats: a chain of jobs does not end after three nodes."""
    ledger = connect.open_ledger(path)
    for number in range(3):
        owner.take(ledger, "download", owner.Process("node17", number, f"boot-{number}/1/1", "812"), 1000.0, dead=DEAD[number])
        ledger.n_done = 5
        owner.beat(ledger, 1100.0 + number)
    owner.take(ledger, "download", owner.this_process("812"), 2000.0, dead=DEAD[3])
    ledger.n_done = 0
    assert idle_rounds(ledger, "download", Job(Scheduler.SGE, "812")) == 1, "this one, so far"
    ledger.close()


@pytest.mark.parametrize("step_s", [3600.0, 86400.0])
def test_time_goes_on_in_a_ledger_whose_clock_was_set_back(path: Path, step_s: float) -> None:
    """Waits that an earlier run has written down are as long as they were meant to be."""
    ledger = connect.open_ledger(path)
    owner.take(ledger, "download", owner.this_process(), 100_000.0)
    owner.beat(ledger, 100_050.0)
    owner.give_back(ledger, "ended", 100_060.0)
    assert ledger.lead_s == 0
    owner.take(ledger, "download", owner.this_process(), 100_061.0 - step_s)
    assert ledger.lead_s == step_s - 1
    owner.beat(ledger, 100_050.0 - step_s)
    owner.give_back(ledger, "ended", 100_090.0 - step_s)
    times = ledger.connection.execute("SELECT started_at, heartbeat_at, ended_at FROM runs ORDER BY run_id").fetchall()
    assert times == [(100_000, 100_060, 100_060), (100_060, 100_061, 100_061)]
    owner.take(ledger, "download", owner.this_process(), 200_000.0)
    assert ledger.lead_s == 0
    ledger.close()


def test_a_sign_of_life_is_that_of_the_run_that_gives_it_and_of_no_other(path: Path) -> None:
    ledger = connect.open_ledger(path)
    for number in range(3):
        owner.take(ledger, "download", owner.Process("node17", number, f"boot-{number}/1/1", "812"), 1000.0, dead=DEAD[number])
    ledger.n_done = 7
    owner.beat(ledger, 1100.0)
    rows = "SELECT heartbeat_at, n_done, ended_at FROM runs ORDER BY run_id"
    assert ledger.connection.execute(rows).fetchall() == [(1000, 0, 1000), (1000, 0, 1000), (1100, 7, None)]
    with ledger.transaction():
        owner.sign(ledger, 1100.0)
    assert ledger.connection.execute(rows).fetchall()[2] == (1101, 7, None), "it changes, whatever the clock says"
    ledger.close()


def test_given_back_is_the_run_that_gives_it_back_and_no_other(path: Path) -> None:
    ledger = connect.open_ledger(path)
    owner.take(ledger, "init", DEAD[1] or owner.this_process(), 1000.0)
    ledger.n_done = 3
    owner.give_back(ledger, "ended", 1005.0)
    owner.take(ledger, "download", owner.this_process(), 1010.0)
    ledger.n_done = 4
    owner.give_back(ledger, "time is up", 1020.0)
    rows = ledger.connection.execute("SELECT ended_at, ending, n_done FROM runs ORDER BY run_id").fetchall()
    assert rows == [(1005, "ended", 3), (1020, "time is up", 4)]
    assert owner.holder(ledger) is None
    ledger.close()


def test_a_heart_beats_when_it_is_time_and_not_before(path: Path) -> None:
    ledger, now = connect.open_ledger(path), [1000.0]
    owner.take(ledger, "download", owner.this_process(), now[0])
    heart, beats = owner.Heart(ledger, lambda: now[0]), []
    for now[0] in (1014.9, 1015.0, 1015.1, 1029.9, 1030.0):
        beats.append(heart.beat_if_due())
    assert beats == [False, True, False, False, True]
    assert ledger.connection.execute("SELECT heartbeat_at FROM runs").fetchall() == [(1030,)]
    ledger.close()


def test_idle_rounds_are_those_since_the_last_that_did_something_of_this_job_and_command(path: Path) -> None:
    ledger = connect.open_ledger(path)
    for command, job, n_done in (
        ("download", "812", 0), ("download", "812", 1), ("download", "812", 0), ("init", "812", 9), ("download", "7", 9),
        ("download", "812", 0),
    ):  # fmt: skip
        owner.take(ledger, command, owner.this_process(job), 1.0)
        ledger.n_done = n_done
        owner.give_back(ledger, "ended", 2.0)
        ledger.n_done = 0
    owner.take(ledger, "download", owner.this_process("812"), 3.0)
    assert idle_rounds(ledger, "download", Job(Scheduler.SGE, "812")) == 3
    ledger.close()


def test_a_ledger_in_a_folder_that_is_not_there_gets_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "ledger.sqlite"
    with pytest.raises(UsageError, match=f"cannot create the ledger {path}: no such folder: {path.parent}"):
        connect.open_ledger(path, create=True)
    (tmp_path / "a file").touch()
    with pytest.raises(UsageError, match="no such folder"):
        connect.open_ledger(tmp_path / "a file" / "ledger.sqlite", create=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a file"]
    empty = tmp_path / "empty.sqlite"
    empty.touch()
    connect.open_ledger(empty, create=True).close()
    connect.open_ledger(empty).close()


def test_a_run_that_is_taken_over_has_died_and_what_is_known_of_others_stays(path: Path) -> None:
    ledger = connect.open_ledger(path)
    owner.take(ledger, "init", owner.this_process(), 1000.0)
    owner.give_back(ledger, "ended", 1010.0)
    owner.take(ledger, "download", DEAD[1] or owner.this_process(), 1020.0)
    ledger.connection.execute("INSERT INTO runs (command, host, pid, started_at, heartbeat_at) VALUES ('check', 'x', 1, 5, 5)")
    owner.take(ledger, "download", owner.this_process(), 1030.0, dead=DEAD[1])
    rows = ledger.connection.execute("SELECT command, ended_at, ending FROM runs ORDER BY run_id").fetchall()
    assert rows == [("init", 1010, "ended"), ("download", 1030, "died"), ("check", None, None), ("download", None, None)]
    ledger.close()


def test_who_watches_over_a_ledger_elsewhere_hears_each_sign_of_life(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Guard:
        beats: ClassVar[list[float]] = []

        def check(self) -> None: ...

        def beat(self, now: float) -> None:
            self.beats.append(now)

    ledger = connect.open_ledger(path)
    owner.take(ledger, "download", owner.this_process(), 1000.0)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "guard", Guard())
        owner.beat(ledger, 1015.0)
        owner.beat(ledger, 1030.0)
    assert Guard.beats == [1015.0, 1030.0]
    ledger.close()
