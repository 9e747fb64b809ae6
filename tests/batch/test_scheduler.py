"""When does the job end, and how is it handed back? Answers as Grid Engine 8.1.9 and Slurm 22.05 have given them."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from d4c_images.batch import scheduler
from d4c_images.batch.requeue import MAX_IDLE_ROUNDS, Rounds, idle_rounds
from d4c_images.commands.session import Stop
from d4c_images.errors import D4CError
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import open_ledger
from d4c_images.settings import Job, Scheduler

SGE = Job(Scheduler.SGE, "812")
SLURM = Job(Scheduler.SLURM, "17")
NOBODY = bool  # has sent a signal: False
START = datetime(2026, 11, 21, 8, 50, 0).timestamp()

QSTAT_J = """==============================================================
job_number:                 812
owner:                      hpcuser
hard resource_list:         h_rt={h_rt}
{soft}notify:                     TRUE
"""
QSTAT_XML = """<?xml version='1.0'?>
<job_info xmlns:xsd="http://example.org/qstat.xsd">
  <queue_info>
    <job_list state="running">
      <JB_job_number>811</JB_job_number>
      <JAT_start_time>2026-11-21T01:00:00</JAT_start_time>
      <slots>1</slots>
    </job_list>
    <job_list state="running">
      <JB_job_number>812</JB_job_number>
      <JAT_start_time>2026-11-21T08:50:00</JAT_start_time>
      <slots>4</slots>
{tasks}
    </job_list>
  </queue_info>
</job_info>
"""
SCONTROL = "JobId=17 JobName=d4c-download TimeLimit={limit} StartTime=2026-11-21T08:50:00 EndTime={end} Deadline=N/A"


def sge(h_rt: str = "43200", soft: str = "", tasks: str = "") -> Callable[[Sequence[str]], str]:
    def ask(command: Sequence[str]) -> str:
        return QSTAT_XML.format(tasks=tasks) if "-xml" in command else QSTAT_J.format(h_rt=h_rt, soft=soft)

    return ask


def slurm(limit: str = "12:00:00", end: str = "2026-11-21T20:50:00") -> Callable[[Sequence[str]], str]:
    return lambda command: SCONTROL.format(limit=limit, end=end)


@pytest.mark.parametrize(
    ("job", "ask", "after_s"),
    [
        (SGE, sge(), 43200),
        (SGE, sge("12:00:00,mem_per_core=1G"), 43200),
        (SGE, sge("43200,s_rt=3600"), 3600),
        (Job(Scheduler.SGE, "812", "3"), sge(tasks="      <tasks>3</tasks>"), 43200),
        (SLURM, slurm(), 43200),
        (Job(Scheduler.SLURM, "17", end_at=START + 7), slurm(), 7),
    ],
)
def test_the_end_of_a_job(job: Job, ask: scheduler.AskScheduler, after_s: int) -> None:
    assert scheduler.end_of(job, START, ask) == START + after_s


@pytest.mark.parametrize(("hours", "end_hours"), [(-0.5, 0), (0.5, 1)])
@pytest.mark.parametrize("asked", ["scontrol", "qstat"])
def test_an_end_in_the_hour_that_the_clock_shows_twice(
    asked: str, hours: float, end_hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Summer time ends at 01:00 UTC: the clock shows 02:30 at 00:30 UTC, and again at 01:30."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
        if asked == "scontrol":
            job, ask = SLURM, slurm(end="2026-10-25T02:30:00")
        else:
            job, ask = SGE, lambda command: sge("600")(command).replace("2026-11-21T08:50:00", "2026-10-25T02:20:00")
        assert scheduler.end_of(job, first + hours * 3600, ask) == first + end_hours * 3600
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("job", "ask"),
    [(SGE, lambda command: "hard resource_list:   mem_per_core=1G\n"), (SLURM, slurm("UNLIMITED")), (SLURM, slurm(end="Unknown"))],
)
def test_a_job_without_a_limit(job: Job, ask: scheduler.AskScheduler) -> None:
    assert scheduler.end_of(job, START, ask) is None


@pytest.mark.parametrize(
    ("job", "ask"),
    [
        (SGE, lambda command: "h_rt=60" if "-j" in command else "<not xml"),
        (Job(Scheduler.SGE, "813"), sge()),
        (Job(Scheduler.SGE, "812", "2"), sge(tasks="      <tasks>3</tasks>")),
        (SGE, sge("1:2:3:4")),
        (SLURM, lambda command: "slurm_load_jobs error"),
        (SLURM, slurm(end="soon")),
    ],
)
def test_an_answer_that_nobody_can_read_ends_no_run(job: Job, ask: scheduler.AskScheduler) -> None:
    with pytest.raises(D4CError):
        scheduler.end_of(job, START, ask)
    said: list[str] = []
    rounds = Rounds(job, requeue=True, say=said.append, is_dismissed=NOBODY, ask=ask)
    assert rounds.limits(START + 99, 60, START) == (START + 99, 60)
    assert len(said) == 1
    assert "cannot determine when this job ends" in said[0]


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("print('fine')", "fine\n"),
        ("import sys; sys.exit('denied: host is no submit host')", "denied: host is no submit host"),
        ("import sys; sys.exit(3)", "exit code 3"),
    ],
)
def test_the_schedulers_own_words_are_passed_on(code: str, wanted: str) -> None:
    if wanted == "fine\n":
        assert scheduler.ask([sys.executable, "-c", code]) == wanted
    else:
        with pytest.raises(D4CError, match=wanted):
            scheduler.ask([sys.executable, "-c", code])


def test_a_scheduler_that_is_not_there_or_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(D4CError, match="could not be run: No such file"):
        scheduler.ask(["qstat-of-another-world"])
    monkeypatch.setattr(scheduler, "ANSWER_TIMEOUT_S", 0.01)
    with pytest.raises(D4CError, match="gave no answer"):
        scheduler.ask(["sleep", "60"])


@pytest.mark.parametrize(("limit_s", "margin_s", "grace_s"), [(43200, 300, 60), (600, 60, 42), (60, 6, 4.2)])
def test_a_run_ends_before_its_job(limit_s: int, margin_s: float, grace_s: float) -> None:
    rounds = Rounds(SGE, requeue=False, say=print, is_dismissed=NOBODY, ask=sge(str(limit_s)))
    deadline, grace = rounds.limits(None, 60, START)
    assert deadline == pytest.approx(START + limit_s - margin_s)
    assert grace == pytest.approx(grace_s)
    assert deadline + grace < START + limit_s
    assert rounds.limits(START + 10, 60, START)[0] == START + 10, "what the user says may come before"


def test_outside_of_a_job_the_user_alone_decides() -> None:
    rounds = Rounds(None, requeue=True, say=print, is_dismissed=NOBODY, ask=lambda command: pytest.fail("nobody to be asked"))
    assert rounds.limits(None, 60, START) == (None, 60)
    assert rounds.exit_code(0) == 75


@pytest.mark.parametrize("job", [SGE, SLURM])
@pytest.mark.parametrize(
    ("came", "comes_again"),
    [
        ([], True),
        ([signal.SIGUSR1, signal.SIGUSR1], True),  # s_rt, or --signal=B:USR1@300: time is up, nobody has deleted anything
        ([signal.SIGUSR2, signal.SIGUSR2], False),  # qdel of a job with -notify
        ([signal.SIGTERM], False),  # scancel
        ([signal.SIGUSR1, signal.SIGTERM], False),
    ],
)
def test_a_job_that_somebody_deletes_does_not_come_again(job: Job, came: list[signal.Signals], comes_again: bool) -> None:
    stop = Stop()
    with stop.listening():
        for number in came:
            signal.raise_signal(number)
    assert stop() == bool(came)
    said: list[str] = []
    rounds = Rounds(job, requeue=True, say=said.append, is_dismissed=stop.is_dismissal, ask=lambda command: "")
    assert (rounds.exit_code(0) in (0, 99)) == comes_again
    assert ("job requeued" in said[0]) == comes_again
    assert ("not requeued" in said[0]) == (not comes_again)


def refuses(command: Sequence[str]) -> str:
    raise D4CError("requeue is disabled for this job")


def test_handing_a_job_back() -> None:
    asked: list[Sequence[str]] = []

    def ask(command: Sequence[str]) -> str:
        asked.append(command)
        return ""

    assert Rounds(SGE, requeue=True, say=print, is_dismissed=NOBODY, ask=ask).exit_code(0) == 99
    assert asked == []
    assert Rounds(SLURM, requeue=True, say=print, is_dismissed=NOBODY, ask=ask).exit_code(2) == 0
    assert asked == [["scontrol", "requeue", "17"]]
    assert Rounds(SGE, requeue=False, say=print, is_dismissed=NOBODY, ask=ask).exit_code(0) == 75
    said: list[str] = []
    assert Rounds(SLURM, requeue=True, say=said.append, is_dismissed=NOBODY, ask=refuses).exit_code(0) == 75
    assert said == ["cannot requeue this job (requeue is disabled for this job): submit it again"]


def test_rounds_that_do_nothing_are_counted_over_the_jobs_of_one_number(tmp_path: Path) -> None:
    with closing(open_ledger(tmp_path / "ledger.sqlite", create=True)) as ledger:

        def one_round(job: Job, n_done: int) -> int:
            owner.take(ledger, "download", owner.this_process(job.job_id), START)
            ledger.n_done = n_done
            n_idle = idle_rounds(ledger, "download", job)
            owner.give_back(ledger, "ended", START)
            return n_idle

        assert [one_round(SGE, n) for n in (0, 5, 0, 0)] == [1, 0, 1, 2]
        assert one_round(SLURM, 0) == 1
        assert one_round(SGE, 0) == 3 == MAX_IDLE_ROUNDS
        assert one_round(SGE, 1) == 0
    said: list[str] = []
    assert Rounds(SGE, requeue=True, say=said.append, is_dismissed=NOBODY).exit_code(MAX_IDLE_ROUNDS) == 75
    assert "no progress in 3 rounds in a row" in said[0]



@pytest.mark.parametrize(("said", "may"), [("Requeue=1 Restarts=0", True), ("Requeue=0 Restarts=0", False), ("Restarts=0", None)])
def test_whether_slurm_would_queue_a_job_again(said: str, may: bool | None) -> None:
    assert scheduler.may_be_requeued(SLURM, lambda command: f"JobId=17 {said} BatchFlag=1") is may


def test_whether_grid_engine_would_is_not_said() -> None:
    assert scheduler.may_be_requeued(SGE, sge()) is None
