"""A node dies and the scheduler restarts its job elsewhere: the new run takes over."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from d4c_images import cli
from d4c_images.batch.requeue import Rounds
from d4c_images.commands import session
from d4c_images.errors import LedgerAwaited, LedgerBusy
from d4c_images.ledger.file import connect, owner
from d4c_images.ledger.file.liveness import DEAD_AFTER_S, HOLDER_POLL_S
from d4c_images.settings import Job, Scheduler, Settings
from d4c_images.system import clocks
from tests.publishers.client import Publishers
from tests.support.program import PROJECT, Collection, multimedia, reach
from tests.support.waiting import Waiting

JOB = Job(Scheduler.SGE, "812", None)
QUEUED_AGAIN = 99

# The program, with three minutes made one second.
SOON = """
from d4c_images.ledger.file import liveness
liveness.DEAD_AFTER_S, liveness.HOLDER_POLL_S = 1.0, 0.1
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger whose owner was on a node that has died, in the same job."""
    path = tmp_path / "ledger.sqlite"
    with closing(connect.open_ledger(path, create=True)) as ledger:
        owner.take(ledger, "download", owner.Process("node9", 4711, "boot-9/1/1", JOB.job_id), 1000.0)
    return path


def rounds(said: list[str], *, requeue: bool = True) -> Rounds:
    return Rounds(JOB, requeue, said.append, lambda: False)


def test_the_job_waits_until_it_may_take_over(path: Path) -> None:
    waiting = Waiting()
    wait = session.Wait(waiting.patience(JOB.job_id), rounds([]))
    with session.owned(path, "download", Settings(job=JOB), wait) as ledger:
        assert ledger.connection.execute("SELECT host, ending FROM runs WHERE run_id = 1").fetchone() == ("node9", "died")
    assert DEAD_AFTER_S <= waiting.now <= DEAD_AFTER_S + 2 * HOLDER_POLL_S
    assert waiting.said[0].startswith(f"{path} was last held by 'download' on host node9, pid 4711, job 812, since ")


@pytest.mark.parametrize(("requeue", "code"), [(True, QUEUED_AGAIN), (False, 75)])
def test_a_job_whose_time_ends_before_is_queued_again(path: Path, *, requeue: bool, code: int) -> None:
    waiting, said = Waiting(), list[str]()
    patience = waiting.patience(JOB.job_id, lambda: "the time is up" if waiting.now >= 60 else None)
    with pytest.raises(LedgerAwaited, match="may still be in use by 'download' on host node9") as awaited:
        session.owned(path, "download", Settings(job=JOB), session.Wait(patience, rounds(said, requeue=requeue))).__enter__()
    assert awaited.value.exit_code == code
    assert said == ["work is left: job requeued"] * requeue
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT run_id, ending FROM runs").fetchall() == [(1, None)], "nothing was changed"
    db.close()


def test_who_waits_for_what() -> None:
    stop = session.Stop()
    with stop.listening():
        wait = session.wait(stop, clocks.now() + 3600, rounds([]))
        assert (wait.patience.is_over(), wait.patience.job_id) == (None, JOB.job_id)
        assert session.wait(stop, clocks.now() - 1).patience.is_over() == "the time is up"
        signal.raise_signal(signal.SIGTERM)
        assert wait.patience.is_over() == "SIGTERM"
    assert session.wait(session.Stop(), None, rounds([], requeue=False)).patience.job_id is None


def test_a_word_about_hosts_waits_for_nobody(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(connect.open_ledger(path)) as ledger, ledger.transaction() as db:
        db.execute("INSERT INTO host_rows (host) VALUES ('a.example.org')")
    assert cli.main(["hosts", "pause", "a.example.org", "--ledger", str(path)]) == 0
    assert "queued: a running download applies it" in capsys.readouterr().out


def test_a_living_run_of_another_job_is_in_use(path: Path) -> None:
    with closing(connect.open_ledger(path)) as theirs:
        theirs.run_id = 1
        waiting = Waiting(lambda waited_s: owner.beat(theirs, 2000.0 + waited_s))
        wait = session.Wait(waiting.patience("813"), rounds([]))
        with pytest.raises(LedgerBusy, match="is in use by 'download' on host node9") as busy:
            session.owned(path, "download", Settings(job=JOB), wait).__enter__()
    assert busy.value.exit_code == 1


@pytest.mark.slow
@pytest.mark.parametrize("disk", ["local", "shared"])
def test_a_download_whose_node_has_died(disk: str, tmp_path: Path, publishers: Publishers) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(SOON)
    job = {"JOB_ID": JOB.job_id, "SGE_TASK_ID": "undefined"}
    collection = Collection(tmp_path, {"PYTHONPATH": f"{modules}:{PROJECT}", "D4C_LEDGER_DISK": disk, **job})
    rows = [(5_000_000_000 + number, f"http://dies{number % 3}.example.org/photos/{number}.jpg") for number in range(30)]
    collection.run("init", multimedia(tmp_path / "multimedia.txt", rows))
    arguments = [*reach(publishers), "--processes", 1, "--no-progress", "--requeue"]
    collection.run("download", *arguments, crash_at="settle.committed:2", code=-9)
    elsewhere(collection)
    output = collection.run("download", *arguments)
    assert f"was last held by 'download' on host node9, pid 4711, job {JOB.job_id}, since " in output
    assert "nothing left to do" in output
    assert collection.rows("SELECT status, count(*) FROM images GROUP BY 1") == [("success", 30)]
    collection.check_invariants()
    assert not list(tmp_path.glob("ledger.sqlite.owner*"))


def elsewhere(collection: Collection) -> None:
    """Make the run that has just died one of another node."""
    with sqlite3.connect(collection.ledger) as db:
        db.execute(
            "UPDATE runs SET host = 'node9', pid = 4711, pid_started = 'boot-9/1/1' WHERE run_id = (SELECT run_id FROM owner)"
        )
    db.close()
    mark = collection.ledger.with_name("ledger.sqlite.owner")
    if mark.exists():
        values = json.loads(mark.read_text())
        mark.write_text(json.dumps(values | {"host": "node9", "pid": 4711, "started": "boot-9/1/1"}))
