"""What `runs` and `status` report about runs: what each did, how it ended, what resumes its work, and when."""

from __future__ import annotations

import io
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from d4c_images.cli import main
from d4c_images.durations import show_moment
from d4c_images.ledger.file import connect, owner
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.file.reader import open_reader
from d4c_images.ledger.queue import run_ends
from d4c_images.model import Totals
from d4c_images.report.render import show_status
from d4c_images.report.run_states import LATE_S
from d4c_images.report.status import StatusReport, status_report
from tests.support import old_ledgers
from tests.support.sample_ledger import make_ledger

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(make_ledger(tmp_path / "ledger.sqlite")) as ledger:  # with images that are left
        ledger.connection.execute("DELETE FROM runs")
        yield ledger


def ran(ledger: Ledger, command: str, ending: str, *, job: str | None = None, n_done: int = 0, at: float = NOW) -> None:
    ledger.n_done = 0
    owner.take(ledger, command, owner.Process("node7", 4711, "boot/1/1", job), at)
    ledger.n_done = n_done
    owner.give_back(ledger, ending, at + 60)


def downloaded(
    ledger: Ledger, *, job: str | None = None, due_at: float | None = None, begins_at: float | None = None, by: str = "Slurm"
) -> None:
    owner.take(ledger, "download", owner.Process("node7", 4711, "boot/1/1", job), NOW)
    ledger.n_done = 125
    run_ends.note_done(ledger, Totals(n_settled=125, n_success=100, n_failed=20, n_retry=5, stored_bytes=88_100_000), due_at)
    if begins_at is not None:
        run_ends.note_next(ledger, begins_at, by)
    owner.give_back(ledger, "all that is left has to wait", NOW + 3661)


def report_of(ledger: Ledger, now: float) -> StatusReport:
    with open_reader(ledger.path) as reader:
        return status_report(reader, now)


def lines_of(report: StatusReport) -> dict[str, str]:
    console = Console(file=io.StringIO())
    show_status(report, console)
    lines = console.file.getvalue().splitlines()[1:8]  # type: ignore[attr-defined]
    return {line[:10].strip(): line[10:] for line in lines}


@pytest.mark.parametrize("other", ["placeholders", "init", "init --finalize-only", "check", "migrate"])
def test_status_shows_the_last_download_whatever_ran_since(other: str, ledger: Ledger) -> None:
    downloaded(ledger)
    alone = report_of(ledger, NOW + 9000)
    assert "run" not in lines_of(alone)
    ran(ledger, other, "ended")
    ran(ledger, "hosts", "ended")
    report = report_of(ledger, NOW + 9000)
    assert (report.download, report.run and report.run.command) == (alone.download, other)
    lines = lines_of(report)
    assert lines["download"].startswith("'download' on node7, pid 4711, ")
    assert lines["run"].startswith(f"'{other}' on node7")
    values = json.loads(json.dumps(report.as_dict()))
    assert (values["download"]["command"], values["run"]["command"]) == ("download", other)
    assert (values["download"]["n_stored"], values["download"]["n_failed"], values["download"]["stored_bytes"]) == (
        100,
        20,
        88_100_000,
    )
    downloaded(ledger)
    assert "run" not in lines_of(report_of(ledger, NOW + 9000))


DUE = NOW + 30_000
DUE_TEXT = "2027-01-15T17:20:00+01:00"


@pytest.mark.parametrize(
    ("job", "due_at", "begins_at", "by", "now", "wanted"),
    [
        ("123", DUE, DUE, "Slurm", NOW + 9000, f"job 123 starts again at {DUE_TEXT} (Slurm)"),
        ("28.2", DUE, DUE, "Grid Engine", DUE + LATE_S - 1, f"job 28.2 starts again at {DUE_TEXT} (Grid Engine)"),
        (
            "123", DUE, DUE, "Slurm", DUE + LATE_S,
            f"job 123 was to start again at {DUE_TEXT} (Slurm) and has not: 'squeue -j 123' says why",
        ),
        (
            "28", DUE, DUE, "Grid Engine", DUE + LATE_S,
            f"job 28 was to start again at {DUE_TEXT} (Grid Engine) and has not: 'qstat -j 28' says why",
        ),
        ("123", DUE, None, "", NOW + 9000, f"nobody: run 'd4c-images download' again; nothing is due before {DUE_TEXT}"),
        (None, DUE, None, "", DUE + 1, "nobody: run 'd4c-images download' again"),
        (None, None, None, "", NOW + 9000, "nobody: run 'd4c-images download' again"),
    ],
)  # fmt: skip
def test_status_says_who_goes_on_and_when(
    job: str | None, due_at: float | None, begins_at: float | None, by: str, now: float, wanted: str, ledger: Ledger
) -> None:
    downloaded(ledger, job=job, due_at=due_at, begins_at=begins_at, by=by)
    assert show_moment(DUE) == DUE_TEXT
    report = report_of(ledger, now)
    assert lines_of(report)["goes on"] == wanted
    assert report.as_dict()["goes_on"] == wanted
    assert report.download is not None
    assert (report.download.due_at, report.download.goes_on_at) == (due_at, begins_at)


def test_nobody_need_go_on_while_a_download_runs_or_when_nothing_is_left(ledger: Ledger, tmp_path: Path) -> None:
    owner.take(ledger, "download", owner.this_process("7"), NOW)
    assert report_of(ledger, NOW + 1).goes_on is None
    with closing(connect.open_ledger(tmp_path / "empty.sqlite", create=True)) as empty:
        downloaded(empty)
        assert report_of(empty, NOW + 9000).goes_on is None


def test_runs_are_listed_newest_first_with_what_each_did_and_how_it_ended(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(ledger, "init", "ended", n_done=1_234, at=NOW - 3600)
    downloaded(ledger, job="123", due_at=DUE, begins_at=DUE)
    ran(ledger, "download", "died", n_done=1, at=NOW + 7200)
    ran(ledger, "placeholders", "ended", at=NOW + 10_800)
    assert main(["runs", "--ledger", str(ledger.path)]) == 0
    ids = [row[0] for row in ledger.connection.execute("SELECT run_id FROM runs ORDER BY run_id DESC")]
    began = "2027-01-15T09:00:00+01:00"
    text = capsys.readouterr().out
    assert text.splitlines() == [
        f"run {ids[0]}: placeholders on node7",
        "  2027-01-15T12:00:00+01:00 to 2027-01-15T12:01:00+01:00, 1 min 00 s",
        "  ended",
        f"run {ids[1]}: download on node7",
        "  2027-01-15T11:00:00+01:00 to 2027-01-15T11:01:00+01:00, 1 min 00 s",
        "  1 image tried",
        "  died",
        f"run {ids[2]}: download on node7, job 123",
        f"  {began} to 2027-01-15T10:01:01+01:00, 1 h 01 min",
        "  100 images stored (88.1 MB), 20 failed for good",
        f"  all that is left has to wait; to start again at {DUE_TEXT} (Slurm)",
        f"run {ids[3]}: init on node7",
        "  2027-01-15T08:00:00+01:00 to 2027-01-15T08:01:00+01:00, 1 min 00 s",
        "  1,234 rows read",
        "  ended",
    ]
    assert max(map(len, text.splitlines())) < 100
    assert main(["runs", "--json", "--limit", "3", "--ledger", str(ledger.path)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["run_id"] for row in rows] == ids[:3]
    assert rows[2] == {
        "run_id": ids[2], "state": "ended", "command": "download", "host": "node7", "pid": 4711, "job_id": "123",
        "started_at": began, "ended_at": "2027-01-15T10:01:01+01:00", "took_s": 3661, "heartbeat_age_s": rows[2]["heartbeat_age_s"],
        "ending": "all that is left has to wait", "is_certain": True, "n_done": 125, "n_stored": 100, "n_failed": 20,
        "stored_bytes": 88_100_000, "due_at": DUE_TEXT, "goes_on_at": DUE_TEXT, "goes_on_by": "Slurm",
    }  # fmt: skip


def test_a_ledger_without_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connect.open_ledger(tmp_path / "new.sqlite", create=True).close()
    assert main(["runs", "--ledger", str(tmp_path / "new.sqlite")]) == 0
    assert capsys.readouterr().out == "no runs so far\n"
    assert main(["runs", "--json", "--ledger", str(tmp_path / "new.sqlite")]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_running_and_a_dead_run(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    owner.take(ledger, "download --cluster", owner.this_process("7"), time.time())
    assert main(["runs", "--ledger", str(ledger.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert " to now, " in lines[1]
    assert lines[3].startswith("  running, last sign of life ")
    started = owner.this_process().started
    assert started is not None
    boot, _, namespace = started.split("/")
    ledger.connection.execute("UPDATE runs SET pid_started = ?", (f"{boot}/1/{namespace}",))
    assert main(["runs", "--ledger", str(ledger.path)]) == 0
    assert capsys.readouterr().out.splitlines()[3].startswith("  dead, silent for ")


def test_a_ledger_of_the_version_before_is_read_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no table of what runs have said at their end."""
    path = old_ledgers.unpack(2, tmp_path)
    before = path.read_bytes()
    with closing(sqlite3.connect(path)) as db:
        assert not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'run_ends'").fetchall()
    assert main(["runs", "--ledger", str(path)]) == 0
    assert "download on node1" in capsys.readouterr().out
    assert main(["status", "--ledger", str(path)]) == 0
    assert "goes on   nobody: run 'd4c-images download' again" in capsys.readouterr().out
    assert path.read_bytes() == before
