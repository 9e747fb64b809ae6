"""Requeued jobs whose hosts are all unavailable: the real program with fake schedulers (`tests/cluster` has real ones)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from d4c_images.batch.requeue import NextRound, Rounds
from d4c_images.commands import download, session, work
from d4c_images.errors import D4CError
from d4c_images.ledger.file import connect, owner
from d4c_images.ledger.queue import run_ends
from d4c_images.model import Totals
from d4c_images.runners.rendezvous import Invitation, MeetingPlace
from d4c_images.settings import Job, Scheduler
from d4c_images.steward.terms import Ending
from d4c_images.system import clocks
from tests.publishers import pictures
from tests.support.program import Collection, multimedia
from tests.support.scripted import Asked, Scripted, answer

JOB_ID = {"slurm": "SLURM_JOB_ID", "sge": "JOB_ID"}
WORDS = """#!/bin/sh
echo "$(basename "$0") $*" >> "$ASKED"
case "$*" in *"$REFUSED"*) echo "denied: by this site" >&2; exit 1 ;; esac
case "$*" in *show*) echo "JobId=17 Requeue=1 TimeLimit=UNLIMITED EndTime=Unknown Command=/home/me/download.sh WorkDir=/x" ;; esac
"""


@dataclass
class Site:
    """A collection of one image, and schedulers that write down what they are asked, and refuse one thing."""

    collection: Collection
    asked_file: Path

    @property
    def asked(self) -> list[str]:
        return self.asked_file.read_text().splitlines()


def site_at(folder: Path, scheduler: str, refused: str = "nothing") -> Site:
    programs, asked = folder / "bin", folder / "asked"
    programs.mkdir()
    asked.touch()
    for name in ("scontrol", "qalter", "qstat"):
        (programs / name).write_text(WORDS)
        (programs / name).chmod(0o755)
    environ = {
        JOB_ID[scheduler]: "17",
        "PATH": f"{programs}:{os.environ['PATH']}",
        "ASKED": str(asked),
        "REFUSED": refused,
        "SGE_TASK_ID": "undefined",
        "D4C_CONTACT": "me@example.org",
    }
    collection = Collection(folder, environ)
    collection.load(multimedia(folder / "multimedia.txt", [(1_000_000_000, "http://a.example.org/1.jpg")]))
    return Site(collection, asked)


def away(wait_s: int, times: int = 10) -> list[int]:
    """Answers to the first so many requests."""
    return [wait_s] * times


def publisher(waits: list[int]) -> Scripted:
    def answers(asked: Asked) -> bytes:
        return answer(503, f"Retry-After: {waits.pop()}") if waits else answer(200, body=pictures.jpeg("a"))

    return Scripted(answers)


def options(server: Scripted) -> list[str]:
    return ["--connect-to", server.connect_to, "--processes", "1", "--max-idle", "1s", "--no-progress", "--requeue"]


@pytest.mark.parametrize(("scheduler", "code", "name"), [("slurm", 0, "Slurm"), ("sge", 99, "Grid Engine")])
def test_a_job_whose_hosts_are_away_begins_again_when_the_first_is_due(
    scheduler: str, code: int, name: str, tmp_path: Path
) -> None:
    site = site_at(tmp_path, scheduler)
    began = int(time.time())
    with publisher(away(3600)) as server:
        log = site.collection.run("download", *options(server), code=code)
    status = json.loads(site.collection.call("status", "--json"))
    due_at, goes_on_at = (datetime.fromisoformat(status["download"][name]).timestamp() for name in ("due_at", "goes_on_at"))
    assert began + 3600 <= due_at <= time.time() + 3700
    assert status["download"]["goes_on_by"] == name
    assert abs(goes_on_at - due_at) <= 1
    assert status["goes_on"].startswith("job 17 starts again at ")
    assert log.count("everything left has to wait: job requeued, to start at ") == 1, log
    assert "nothing done" not in log
    if scheduler == "sge":
        moment = time.strftime("%Y%m%d%H%M.%S", time.localtime(due_at))
        assert site.asked[-1] == f"qalter -a {moment} 17"
    else:
        assert [line.split("now+")[0] for line in site.asked[-2:]] == ["scontrol requeue 17", "scontrol update JobId=17 StartTime="]
        assert 3400 < int(site.asked[-1].split("now+")[1]) <= due_at - began + 1


@pytest.mark.slow
def test_a_job_that_cannot_be_put_off_waits_itself_until_the_host_is_due(tmp_path: Path) -> None:
    site = site_at(tmp_path, "sge", refused="-a")
    with publisher(away(4, times=1)) as server:
        log = site.collection.run("download", *options(server), code=0)
    assert "cannot delay the next round ('qalter -a " in log
    assert "denied: by this site): this job waits until " in log
    assert "nothing left to do" in log
    assert site.collection.rows("SELECT status FROM images") == [("success",)]


@pytest.mark.slow
def test_a_signal_ends_the_wait_in_a_job(tmp_path: Path) -> None:
    site = site_at(tmp_path, "sge", refused="-a")
    with publisher(away(3600)) as server:
        job = site.collection.start("download", *options(server))
        assert job.stdout is not None
        lines = list[str]()
        while "this job waits until" not in (line := job.stdout.readline()):
            assert line, "".join(lines)
            lines.append(line)
        job.terminate()
        log = job.communicate()[0]
    assert job.returncode == 75, log
    assert "not requeued" in log
    assert "'d4c-images download' again; nothing is due before " in site.collection.call("status")


def test_a_job_that_cannot_be_queued_again_says_what_to_type(tmp_path: Path) -> None:
    site = site_at(tmp_path, "slurm", refused="requeue")
    with publisher(away(3600)) as server:
        log = site.collection.run("download", *options(server), code=75)
    assert "denied: by this site): submit it again with 'sbatch --begin=2" in log
    assert " /home/me/download.sh'\n" in log
    assert "exit code 75: work is left; run the same command again at 2" in log


@pytest.mark.slow
def test_a_job_that_only_waits_for_a_person_is_not_queued_again(tmp_path: Path) -> None:
    site = site_at(tmp_path, "slurm")
    site.collection.call("hosts", "pause", "a.example.org")
    with publisher([]) as server:
        log = site.collection.run("download", *options(server), code=75)
        assert server.asked == []
    assert "only paused hosts are left: job not requeued; run 'd4c-images hosts resume', then submit it again" in log
    assert not [line for line in site.asked if "requeue" in line]


@pytest.mark.parametrize("n_done", [0, 5])
def test_an_outage_is_waited_for_by_a_job_that_has_worked_before_and_by_no_other(n_done: int, tmp_path: Path) -> None:
    """A site without a way out is for a person to look at; a network that is away on a Saturday comes back."""
    job, asked = Job(Scheduler.SGE, "17"), list[str]()

    def ask(command: Sequence[str]) -> str:
        asked.append(command[0])
        return ""

    rounds = Rounds(job, requeue=True, say=print, is_dismissed=bool, ask=ask)
    with closing(connect.open_ledger(tmp_path / "ledger.sqlite", create=True)) as ledger:
        for number, done in enumerate((n_done, 0, 0)):
            owner.take(ledger, "download", owner.this_process("17"), clocks.now())
            ledger.n_done = done
            run_ends.note_done(ledger, Totals(), None)
            following = download.next_round(ledger, "download", rounds, Ending.OUTAGE)
            owner.give_back(ledger, "ended", clocks.now())
            if n_done:
                assert following.waits
                assert following.at == pytest.approx(time.time() + download.OUTAGE_WAIT_S, abs=60)
            else:
                assert (following.waits, following.at is None) == (False, number == 2), "at once, but not more than twice"
        assert asked == (["qalter"] * 3 if n_done else [])
        rows = ledger.connection.execute("SELECT due_at, goes_on_at FROM run_ends").fetchall()
        assert [due_at is not None for due_at, _ in rows] == [bool(n_done)] * 3
        assert [goes_on_at is not None for _, goes_on_at in rows] == [True, True, bool(n_done)]


@pytest.mark.parametrize(
    ("begins", "waits_itself"),
    [
        ([0, 3600], False),
        ([0, 120, 3720], False),  # once may have been a person
        ([0, 120, 240], True),
        ([0, 120, 3720, 3840], False),
    ],
)
def test_a_job_that_is_started_too_early_again_and_again_waits_itself(
    begins: list[float], waits_itself: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each round but the last one has asked to be started an hour after its beginning."""
    rounds, began = Rounds(Job(Scheduler.SGE, "17"), requeue=True, say=print, is_dismissed=bool, ask=lambda command: ""), 1e9
    with closing(connect.open_ledger(tmp_path / "ledger.sqlite", create=True)) as ledger:
        for at in begins:
            owner.take(ledger, "download", owner.this_process("17"), began + at)
            may_leave = session.may_leave(ledger, "download", rounds)
            run_ends.note_next(ledger, began + at + 3600, "Grid Engine")
            owner.give_back(ledger, "ended", began + at)
    assert may_leave(2e9) == (not waits_itself)
    assert ("this job is started before the time it asks for: it waits until" in capsys.readouterr().out) == waits_itself


@pytest.mark.parametrize("n_done", [0, 5])
def test_after_an_outage_a_job_starts_when_its_hosts_are_due_and_counts_that_only_if_it_has_never_worked(
    n_done: int, tmp_path: Path
) -> None:
    """Several hosts that are silent, and nobody else to ask, look like an outage."""
    rounds = Rounds(Job(Scheduler.SGE, "17"), requeue=True, say=print, is_dismissed=bool, ask=lambda command: "")
    with closing(connect.open_ledger(tmp_path / "ledger.sqlite", create=True)) as ledger:
        begins = []
        for done in (n_done, 0, 0, 0):
            owner.take(ledger, "download", owner.this_process("17"), clocks.now())
            ledger.n_done = done
            due_at = float(round(time.time() + 1800))
            run_ends.note_done(ledger, Totals(), due_at)
            following = download.next_round(ledger, "download", rounds, Ending.OUTAGE)
            owner.give_back(ledger, "ended", clocks.now())
            begins.append(following.at == due_at)
        assert begins == ([True] * 4 if n_done else [True, True, False, False])


@pytest.fixture
def place(tmp_path: Path) -> MeetingPlace:
    return MeetingPlace(tmp_path / "cluster")


def crew_of(job: Job | None, asked: list[str], *, refuses: bool = False) -> Rounds:
    def ask(command: Sequence[str]) -> str:
        asked.append(" ".join(command))
        if refuses:
            raise D4CError("denied")
        return ""

    return Rounds(job, requeue=True, say=asked.append, is_dismissed=bool, ask=ask)


def test_workers_give_their_node_back_while_the_coordinator_is_away_for_long(place: MeetingPlace) -> None:
    asked, job = list[str](), Job(Scheduler.SGE, "28", "2")
    until = float(round(time.time() + 7200))
    assert not work.Away(place, crew_of(job, asked))(), "nobody has said so"
    soon, nobody, away = (work.Away(place, crew_of(one, asked)) for one in (job, None, job))
    place.say_away(time.time() + work.WORTH_LEAVING_S - 30)
    assert not soon(), "it is back soon"
    place.say_away(until)
    assert not nobody(), "and nobody would begin us again"
    assert asked == []
    assert away()
    assert away()
    assert away.until == until
    assert asked == [f"qalter -a {time.strftime('%Y%m%d%H%M.%S', time.localtime(until))} 28"]
    place.invite(Invitation("run", "ledger", "1", "tls://10.0.0.1:1", "", ""))
    assert place.away_until() is None, "the next coordinator is here"


def test_workers_whose_job_cannot_be_put_off_wait_for_the_coordinator(place: MeetingPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    monkeypatch.setattr(work, "AWAY_LOOK_S", 0.0)
    away = work.Away(place, crew_of(Job(Scheduler.SGE, "28", "2"), asked, refuses=True))
    place.say_away(time.time() + 7200)
    assert [away() for _ in range(3)] == [False] * 3
    assert len(asked) == 2, "one question, and one line"
    assert "cannot delay the next round (denied)" in asked[1]


def test_workers_that_begin_while_the_coordinator_is_said_to_be_away_wait_for_it_some_minutes(
    place: MeetingPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have had all of them begin early, and the coordinator is not quite there."""
    asked, now = list[str](), [1000.0]
    monkeypatch.setattr(clocks, "elapsed", lambda: now[0])
    place.say_away(time.time() + 7200)
    away = work.Away(place, crew_of(Job(Scheduler.SGE, "28", "2"), asked))
    seen = []
    for now[0] in (1000.0, 1299.0, 1305.0):
        seen.append(away())
    assert seen == [False, False, True]


def test_a_coordinator_that_is_put_off_says_so_to_its_workers(place: MeetingPlace, capsys: pytest.CaptureFixture[str]) -> None:
    download._send_away(place.folder, NextRound(5.0))
    assert place.away_until() is None
    download._send_away(place.folder, NextRound(5.0, waits=True))
    assert place.away_until() == 5.0
    place.folder.chmod(0o755)
    download._send_away(place.folder, NextRound(6.0, waits=True))
    assert "workers are not told how long they have to wait: " in capsys.readouterr().err


@pytest.mark.slow
def test_a_download_with_a_limit_is_for_one_run(tmp_path: Path) -> None:
    site = site_at(tmp_path, "sge")
    with publisher(away(3600)) as server:
        site.collection.run("download", *options(server), "--limit", "5", code=75)
    assert not [line for line in site.asked if line.startswith("qalter")]
