"""When a job ends, and how it is requeued. Responses are those of Grid Engine 8.1.9 and Slurm 22.05."""

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
from d4c_images.batch.requeue import MAX_IDLE_ROUNDS, NextRound, Rounds, idle_rounds
from d4c_images.commands.session import Stop
from d4c_images.durations import show_moment
from d4c_images.errors import D4CError
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import open_ledger
from d4c_images.ledger.queue import run_ends
from d4c_images.model import Totals
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
    assert said == ["cannot requeue this job (requeue is disabled for this job): submit it again with 'sbatch SCRIPT'"]


def test_a_job_that_has_to_wait_begins_when_the_first_host_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        now = datetime(2026, 12, 4, 18, 0, 0, tzinfo=UTC).timestamp()
        for job, code, wanted in (
            (SGE, 99, [["qalter", "-a", "202612050207.01", "812"]]),
            (
                SLURM,
                0,
                [
                    ["scontrol", "show", "job", "--oneliner", "17"],
                    ["scontrol", "requeue", "17"],
                    ["scontrol", "update", "JobId=17", "StartTime=now+29221"],
                ],
            ),
        ):
            asked: list[Sequence[str]] = []
            said: list[str] = []

            def ask(command: Sequence[str], asked: list[Sequence[str]] = asked) -> str:
                asked.append(command)
                return "JobId=17 Requeue=1 Restarts=0"

            rounds = Rounds(job, requeue=True, say=said.append, is_dismissed=NOBODY, ask=ask)
            following = rounds.next_round(0, now + 29_220.5, now)
            assert (following.at, following.waits) == (now + 29_220.5, True)
            assert rounds.hand_back(following, now) == code
            assert asked == wanted
            assert said == ["everything left has to wait: job requeued, to start at 2026-12-05T02:07:00+00:00"]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("wait_s", "begins_after_s"), [(-5.0, 0.0), (0.0, 0.0), (90.0, 90.0), (7 * 86400.0, 86400.0)])
def test_a_round_is_put_off_by_a_day_at_most_and_not_into_the_past(wait_s: float, begins_after_s: float) -> None:
    rounds = Rounds(SGE, requeue=True, say=print, is_dismissed=NOBODY, ask=lambda command: "")
    following = rounds.next_round(0, START + wait_s, START)
    assert following == NextRound(START + begins_after_s, waits=begins_after_s > 0)


@pytest.mark.parametrize(
    ("job", "ask", "why"),
    [
        (SGE, lambda command: refuses(command), "requeue is disabled for this job"),
        (SLURM, lambda command: "JobId=17 Requeue=0 Restarts=0", "this job was submitted with --no-requeue"),
    ],
)
def test_a_scheduler_that_puts_no_job_off_is_named_and_the_round_waits_itself(
    job: Job, ask: scheduler.AskScheduler, why: str
) -> None:
    said: list[str] = []
    rounds = Rounds(job, requeue=True, say=said.append, is_dismissed=NOBODY, ask=ask)
    assert not rounds.may_leave(START)
    assert said == [f"cannot delay the next round ({why}): this job waits until {show_moment(START)}"]
    assert rounds.next_round(0, START + 60, START) == NextRound(START), "its own time is up: as soon as may be"
    assert Rounds(job, requeue=False, say=print, is_dismissed=NOBODY, ask=refuses).may_leave(START), "nobody comes again anyway"
    assert Rounds(None, requeue=True, say=print, is_dismissed=NOBODY, ask=refuses).may_leave(START)


def test_a_job_that_cannot_be_queued_again_says_what_to_type() -> None:
    shown = "JobId=17 Requeue=1 Command=/home/me/jobs/download.sbatch.sh --host a.example.org WorkDir=/home/me"

    def ask(command: Sequence[str]) -> str:
        return shown if command[1] == "show" else refuses(command)

    said: list[str] = []
    rounds = Rounds(SLURM, requeue=True, say=said.append, is_dismissed=NOBODY, ask=ask)
    begin = f"{datetime.fromtimestamp(START + 60):%Y-%m-%dT%H:%M:%S}"
    assert rounds.hand_back(rounds.next_round(0, START + 60, START), START) == 75
    assert said == [
        "cannot requeue this job (requeue is disabled for this job): submit it again with "
        f"'sbatch --begin={begin} /home/me/jobs/download.sbatch.sh --host a.example.org'"
    ]


def test_a_job_that_was_queued_again_but_not_put_off_says_so() -> None:
    def ask(command: Sequence[str]) -> str:
        return refuses(command) if command[1] == "update" else ""

    said: list[str] = []
    rounds = Rounds(SLURM, requeue=True, say=said.append, is_dismissed=NOBODY, ask=ask)
    assert rounds.hand_back(rounds.next_round(0, START + 60, START), START) == 0
    assert "job requeued, but its start could not be delayed (requeue is disabled for this job)" in said[0]


def test_a_round_that_waits_is_not_idle_unless_that_goes_on_for_more_than_a_week(tmp_path: Path) -> None:
    with closing(open_ledger(tmp_path / "ledger.sqlite", create=True)) as ledger:

        def one_round(at: float, n_done: int, *, waits: bool) -> int:
            owner.take(ledger, "download", owner.this_process("812"), at)
            ledger.n_done = n_done
            run_ends.note_done(ledger, Totals(), at + 3600 if waits else None)
            n_idle = idle_rounds(ledger, "download", SGE)
            owner.give_back(ledger, "ended", at)
            return n_idle

        assert [one_round(START + n, 0, waits=n % 2 == 0) for n in range(6)] == [0, 1, 0, 1, 0, 1]
        assert [one_round(START + 6 + n, 0, waits=False) for n in range(2)] == [2, 3]
        assert one_round(START + 10, 1, waits=True) == 0
        days = [one_round(START + 20 + 86400 * n, 0, waits=True) for n in range(11)]
        assert days[:9] == [0] * 9
        assert all(n >= MAX_IDLE_ROUNDS for n in days[9:]), "no host is waited for longer than that"


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
