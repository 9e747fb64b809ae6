"""The batch scheduler whose job this process is: when does the job end, and how is it handed back? Knows nothing of images.

What each scheduler tells a job differs. Slurm reports the end of the job in the environment or through `scontrol`; Grid Engine
tells a job nothing about its `h_rt`, so `qstat` is queried. Without an answer within `ANSWER_TIMEOUT_S` the end is unknown, and the
caller says so. A job is requeued by the scheduler's own means: Grid Engine requeues a job whose script exits with 99, Slurm does it
through `scontrol requeue`. The next start time is set while the job runs in Grid Engine (`qalter -a`), and after requeueing in
Slurm, which cannot change the start time of a running job.
"""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Callable, Sequence
from datetime import datetime
from xml.etree import ElementTree

from d4c_images.durations import parse_span
from d4c_images.errors import D4CError, UsageError
from d4c_images.settings import Job, Scheduler
from d4c_images.system import signals

ANSWER_TIMEOUT_S = 20.0
SGE_AGAIN = 99
"""The exit code with which a script asks Grid Engine to requeue its job. Works before `h_rt`, not after it."""

# The share of a job's remaining time, and the most, that is reserved for a clean end.
MARGIN_SHARE = 0.1
MAX_MARGIN_S = 300.0

SCHEDULER_NAMES = {Scheduler.SGE: "Grid Engine", Scheduler.SLURM: "Slurm"}
LEAST_DELAY_S = 10.0  # Slurm's nodes need a moment to clean up after the previous round

AskScheduler = Callable[[Sequence[str]], str]
"""Runs a command of the scheduler and returns its output. Raises `D4CError` if there is no answer."""


def ask(command: Sequence[str]) -> str:
    try:
        with signals.blocked():  # a signal to all processes of the job must not prevent an answer
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=ANSWER_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise D4CError(f"'{' '.join(command)}' gave no answer within {ANSWER_TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise D4CError(f"'{command[0]}' could not be run: {error.strerror}") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise D4CError(f"'{' '.join(command)}' failed: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout


def end_of(job: Job, now: float, ask: AskScheduler = ask) -> float | None:
    """Unix time at which the scheduler ends the job; None if the job has no limit. Raises `D4CError` if it cannot be determined."""
    if job.scheduler is Scheduler.SLURM:
        return job.end_at or _slurm_end(ask(["scontrol", "show", "job", "--oneliner", job.job_id]), now)
    return _sge_end(job, ask, now)


def start_no_more_at(end_at: float, now: float) -> float:
    """The moment at which a job should begin to shut down."""
    return end_at - min(MAX_MARGIN_S, MARGIN_SHARE * max(0.0, end_at - now))


def begin_later(job: Job, at: float, ask: AskScheduler = ask) -> None:
    """Have the job, once requeued, start at unix time `at`, as far as that can be set while it runs.

    For Slurm, `put_off` has to follow. Raises `D4CError` if the scheduler refuses.
    """
    if job.scheduler is Scheduler.SGE:
        ask(["qalter", "-a", _sge_moment(at), job.job_id])
    elif may_be_requeued(job, ask) is False:
        raise D4CError("this job was submitted with --no-requeue")


def hand_back(job: Job, ask: AskScheduler = ask) -> int:
    """Requeue the job; returns the exit code to use. Raises `D4CError` if the scheduler refuses."""
    if job.scheduler is Scheduler.SGE:
        return SGE_AGAIN
    ask(["scontrol", "requeue", job.job_id])  # Slurm ends this very process soon
    return 0


def put_off(job: Job, delay_s: float, ask: AskScheduler = ask) -> None:
    """Have a job that was just requeued start this much later. Raises `D4CError` if the scheduler refuses."""
    if job.scheduler is Scheduler.SLURM:  # relative, so that neither time zones nor summer time matter
        ask(["scontrol", "update", f"JobId={job.job_id}", f"StartTime=now+{math.ceil(max(delay_s, LEAST_DELAY_S))}"])


def submit_again(job: Job, at: float | None, ask: AskScheduler = ask) -> str:
    """The command for a person to submit the job again, to start at unix time `at`; None: right away."""
    if job.scheduler is Scheduler.SGE:
        return " ".join(["qsub", *([] if at is None else ["-a", _sge_moment(at)]), "SCRIPT"])
    begin = [] if at is None else [f"--begin={datetime.fromtimestamp(math.ceil(at)):%Y-%m-%dT%H:%M:%S}"]
    try:
        script = re.search(r"\bCommand=(.*?)(?: WorkDir=|$)", ask(["scontrol", "show", "job", "--oneliner", job.job_id]))
    except D4CError:
        script = None
    return " ".join(["sbatch", *begin, "SCRIPT" if script is None else script[1]])


def _sge_moment(at: float) -> str:
    """Local time, as `qsub -a` reads it."""
    return f"{datetime.fromtimestamp(math.ceil(at)):%Y%m%d%H%M.%S}"


def _slurm_end(text: str, now: float) -> float | None:
    found = re.search(r"\bEndTime=(\S+)", text)
    if found is None:
        raise D4CError("scontrol reports no EndTime for this job")
    if re.search(r"\bTimeLimit=UNLIMITED\b", text) or found[1] in ("Unknown", "None"):
        return None
    try:
        return _still_to_come(datetime.fromisoformat(found[1]), 0.0, now)
    except ValueError:
        raise D4CError(f"scontrol reports an invalid EndTime '{found[1]}'") from None


def _still_to_come(shown: datetime, later_s: float, now: float) -> float:
    """`later_s` after a local time; of an ambiguous one (end of summer time), the second if the first would be past."""
    first, second = (shown.replace(fold=fold).timestamp() + later_s for fold in (0, 1))
    return second if first <= now < second else first


def _sge_end(job: Job, ask: AskScheduler, now: float) -> float | None:
    """Start of the task plus its requested limit; a queue's own limit is not visible here."""
    limits = re.findall(r"\b[hs]_rt=([0-9:]+)", ask(["qstat", "-j", job.job_id]))
    if not limits:
        return None
    try:
        return _still_to_come(_sge_start(job, ask(["qstat", "-xml", "-s", "r"])), min(map(parse_span, limits)), now)
    except (ElementTree.ParseError, UsageError, ValueError) as error:
        raise D4CError(f"unexpected output of qstat: {error}") from None


def _sge_start(job: Job, text: str) -> datetime:
    for entry in ElementTree.fromstring(text).iter("job_list"):
        started = entry.findtext("JAT_start_time")
        if entry.findtext("JB_job_number") == job.job_id and entry.findtext("tasks") == job.task_id and started:
            return datetime.fromisoformat(started)
    raise ValueError(f"job {job.job_id} is not running")


def may_be_requeued(job: Job, ask: AskScheduler = ask) -> bool | None:
    """Whether the scheduler would requeue the job; None if unknown. Raises `D4CError` as `end_of` does."""
    if job.scheduler is Scheduler.SGE:
        return None
    found = re.search(r"\bRequeue=([01])\b", ask(["scontrol", "show", "job", "--oneliner", job.job_id]))
    return None if found is None else found[1] == "1"
