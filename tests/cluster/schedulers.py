"""Submits jobs to a real Grid Engine or Slurm on this machine and asks what has become of them. Needs root to start them."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import tempfile
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parents[1]
PATIENCE_S = 240.0
LOOK_S = 0.2


class Cluster(Protocol):
    """One scheduler. Jobs are named by the number that it gives them."""

    kind: str  # qsub, sbatch: the scripts in jobs/ are named by it

    @abstractmethod
    def submit(self, script: Path, folder: Path, arguments: list[str], limit_s: int = 3600, array: str = "") -> str: ...
    @abstractmethod
    def cancel(self, job: str) -> None: ...
    @abstractmethod
    def is_there(self, job: str) -> bool: ...
    @abstractmethod
    def begins_at(self, job: str) -> datetime | None:
        """Of a job that waits for its time: when that is; None: it does not."""

    @abstractmethod
    def begin_now(self, job: str) -> None:
        """Have a job begin whose time is yet to come."""

    @abstractmethod
    def exit_codes(self, job: str) -> list[int]:
        """Of an ended job, one per task and round."""


@contextmanager
def running(name: str) -> Iterator[Cluster]:
    """A scheduler that runs; who leaves last ends it. Tests in several processes share it."""
    lock = Path(tempfile.gettempdir()) / f"d4c-{name}"
    with lock.with_suffix(".users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with lock.with_suffix(".up").open("w") as one_at_a_time:
            fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
            subprocess.run([FOLDER / f"{name}.sh", "up"], check=True)
        yield CLUSTERS[name]
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        subprocess.run([FOLDER / f"{name}.sh", "down"], check=True)


def await_true(what: str, condition: Callable[[], object]) -> None:
    """A scheduler calls nobody back: look again and again, for a few minutes at most."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(LOOK_S)


def await_end(cluster: Cluster, job: str) -> None:
    await_true(f"job {job} ends", lambda: not cluster.is_there(job))


class Sge(Cluster):
    kind = "qsub"

    def submit(self, script: Path, folder: Path, arguments: list[str], limit_s: int = 3600, array: str = "") -> str:
        options = ["-terse", "-q", "d4c.q", "-l", f"h_rt={limit_s}", *(["-t", array] if array else [])]
        return _run(["qsub", *options, str(script), *arguments], folder).strip().partition(".")[0]

    def cancel(self, job: str) -> None:
        _run(["qdel", job])

    def is_there(self, job: str) -> bool:
        return _do(["qstat", "-j", job]).returncode == 0

    def begins_at(self, job: str) -> datetime | None:
        if not re.search(r"^ *\d+ .* R?q +\d", _run(["qstat", "-u", "*"]), re.MULTILINE):  # it runs still
            return None
        found = re.search(r"^execution_time: +(.*\S)", _do(["qstat", "-j", job]).stdout, re.MULTILINE)
        return None if found is None else datetime.strptime(found[1], "%a %b %d %H:%M:%S %Y")

    def begin_now(self, job: str) -> None:
        _run(["qalter", "-a", f"{datetime.now():%Y%m%d%H%M.%S}", job])

    def exit_codes(self, job: str) -> list[int]:
        await_true(f"the accounting of job {job}", lambda: _do(["qacct", "-j", job]).returncode == 0)
        return [int(code) for code in re.findall(r"^exit_status +(\d+)", _run(["qacct", "-j", job]), re.MULTILINE)]


class Slurm(Cluster):
    kind = "sbatch"

    def submit(self, script: Path, folder: Path, arguments: list[str], limit_s: int = 3600, array: str = "") -> str:
        options = ["--parsable", f"--time={-(-limit_s // 60)}", *([f"--array={array}", "--output=%x.o%A.%a"] if array else [])]
        return _run(["sbatch", *options, str(script), *arguments], folder).strip()

    def cancel(self, job: str) -> None:
        _run(["scancel", job])

    def is_there(self, job: str) -> bool:
        """Also lets a requeued job start within 4 s: Slurm makes it wait for two minutes, so that no node refuses it."""
        shown = _do(["scontrol", "show", "job", job]).stdout
        for start in re.findall(r"Reason=BeginTime .*?\bStartTime=(\d\S+)", shown, re.DOTALL):
            if timedelta(seconds=60) < datetime.fromisoformat(start) - datetime.now() < timedelta(seconds=150):
                _do(["scontrol", "update", f"jobid={job}", "StartTime=now+4"])
        states = re.findall(r"\bJobState=(\w+)", shown)
        return not states or not set(states) <= {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"}

    def begins_at(self, job: str) -> datetime | None:
        shown = _do(["scontrol", "show", "job", "--oneliner", job]).stdout
        found = re.search(r"\bJobState=PENDING Reason=BeginTime .*\bStartTime=(\d\S+)", shown)
        return None if found is None else datetime.fromisoformat(found[1])

    def begin_now(self, job: str) -> None:
        _run(["scontrol", "update", f"jobid={job}", "StartTime=now+4"])

    def exit_codes(self, job: str) -> list[int]:
        return [int(code) for code in re.findall(r"\bExitCode=(\d+):", _run(["scontrol", "show", "job", job]))]


CLUSTERS: dict[str, Cluster] = {"sge": Sge(), "slurm": Slurm()}


def _run(command: list[str], folder: Path | None = None) -> str:
    done = _do(command, folder)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def _do(command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"SGE_ROOT": "/var/lib/gridengine", "SGE_CELL": "default"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, env=environ, check=False)
