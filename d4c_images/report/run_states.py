"""How a run ended, and when its work is resumed: from rows of the ledger to facts, and to text. Asks no scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from d4c_images.durations import counted, show_moment, show_size, show_span
from d4c_images.ledger.file import liveness
from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.questions import run_list
from d4c_images.ledger.questions.run_list import RunRow
from d4c_images.system.terminal import clean

LATE_S = 300.0  # a scheduler may start a due job this much later before that is worth reporting
SHOW_JOB = {"Slurm": "squeue -j", "Grid Engine": "qstat -j"}


@dataclass(frozen=True, slots=True)
class RunState:
    """A run. `state` is running, ended or dead (it has not ended, but shows no heartbeat).

    Without `is_certain` that is a guess by two clocks: the run's process is not visible from here.
    """

    run_id: int
    state: str
    command: str
    host: str
    pid: int
    job_id: str | None
    started_at: int
    heartbeat_age_s: int
    ended_at: int | None
    took_s: int  # until its last heartbeat
    ending: str | None
    is_certain: bool
    n_done: int  # images settled, or rows ingested
    n_stored: int | None  # these three for a download that ended cleanly
    n_failed: int | None  # for good
    stored_bytes: int | None
    due_at: int | None  # nothing left may be requested earlier
    goes_on_at: int | None  # when the scheduler was asked to start the job again
    goes_on_by: str | None  # the scheduler


def run_state(run: RunRow, now: float) -> RunState:
    """`now` is unix time."""
    silence_s = max(0, int(now) - run.heartbeat_at)
    seen = liveness.lives(liveness.Process(run.host, run.pid, run.pid_started), liveness.this_process())
    alive = silence_s < liveness.DEAD_AFTER_S if seen is None else seen  # a writing command waits for the next heartbeat
    return RunState(
        run_id=run.run_id,
        state=("running" if alive else "dead") if run.owns else "ended",
        command=run.command,
        host=run.host,
        pid=run.pid,
        job_id=run.job_id,
        started_at=run.started_at,
        heartbeat_age_s=silence_s,
        ended_at=run.ended_at,
        took_s=max(0, (run.ended_at or run.heartbeat_at) - run.started_at),
        ending=run.ending,
        is_certain=seen is not None or not run.owns,
        n_done=run.n_done,
        n_stored=run.n_stored,
        n_failed=run.n_failed,
        stored_bytes=run.stored_bytes,
        due_at=run.due_at,
        goes_on_at=run.goes_on_at,
        goes_on_by=run.goes_on_by,
    )


def run_states(ledger: Reader, now: float, limit: int) -> list[RunState]:
    """The latest runs, the newest first."""
    moment = ledger.copied_at or now
    return [run_state(run, moment) for run in ledger.at_one_moment(lambda: run_list.latest_runs(ledger, limit))]


def lines_of(run: RunState) -> Iterator[str]:
    """A run in a few lines of less than 80 characters, unless names are long."""
    job = f", job {clean(run.job_id)}" if run.job_id else ""
    yield f"run {run.run_id}: {clean(run.command)} on {clean(run.host)}{job}"
    ended = "now" if run.ended_at is None else show_moment(run.ended_at)
    yield f"  {show_moment(run.started_at)} to {ended}, {show_span(run.took_s)}"
    if did := what_it_did(run):
        yield f"  {did}"
    yield f"  {how_it_ended(run)}"


def what_it_did(run: RunState) -> str | None:
    """None: its command counts nothing, or it did not get that far."""
    if run.n_stored is not None:
        return (
            f"{counted(run.n_stored, 'image')} stored ({show_size(run.stored_bytes or 0)}), {run.n_failed or 0:,} failed for good"
        )
    if run.command.startswith("download"):
        return f"{counted(run.n_done, 'image')} tried"
    noun = {"init": "row", "init --finalize-only": "record"}.get(run.command)
    return f"{counted(run.n_done, noun)} read" if noun and run.n_done else None


def how_it_ended(run: RunState) -> str:
    guess = "" if run.is_certain else "probably "
    if run.state == "running":
        return f"{guess}running, last sign of life {run.heartbeat_age_s} s ago"
    if run.state == "dead":
        return f"{guess}dead, silent for {show_span(run.heartbeat_age_s)}; run the same command again to resume"
    goes_on = "" if run.goes_on_at is None else f"; to start again at {show_moment(run.goes_on_at)} ({run.goes_on_by})"
    return f"{clean(run.ending or '?')}{goes_on}"


def who_goes_on(run: RunState, now: float) -> str | None:
    """For a download that left work: what resumes it, and when; None while it runs or if its end is unknown."""
    if run.state != "ended":
        return None
    if run.goes_on_at is not None and run.goes_on_by is not None:
        job, begins = f"job {clean(run.job_id or '?')}", f"at {show_moment(run.goes_on_at)} ({run.goes_on_by})"
        if now < run.goes_on_at + LATE_S:
            return f"{job} starts again {begins}"
        return f"{job} was to start again {begins} and has not: '{SHOW_JOB[run.goes_on_by]} {clean(run.job_id or '?')}' says why"
    waits = "" if run.due_at is None or run.due_at <= now else f"; nothing is due before {show_moment(run.due_at)}"
    return f"nobody: run 'd4c-images download' again{waits}"
