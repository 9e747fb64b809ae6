"""The only reader of the environment and of `.env`. Knows names and defaults; what a setting does is documented where it is used.

The environment overrides `.env` in the working folder, `.env` overrides the defaults; command line options override all of them,
since the command line takes its defaults from here. An empty value counts as unset. Secrets stay out of `repr`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from dotenv import dotenv_values

from d4c_images.errors import UsageError, of_a_named_path

NAMES = {
    "D4C_LEDGER": "ledger",
    "D4C_LEDGER_DISK": "ledger_disk",
    "D4C_ROOT": "root",
    "D4C_CONTACT": "contact",
    "D4C_HOSTS_FILE": "hosts_file",
    "D4C_ALLOW_PRIVATE_HOSTS": "allow_private_hosts",
    "D4C_PROCESSES": "processes",
    "SLACK_WEBHOOK_URL": "slack_webhook_url",
}
"""What a user may set, and the field of `Settings` that holds it; `.env.example` lists the same names."""

NOT_SETTINGS = ("D4C_HOME", "D4C_CRASH_AT")
"""Variables of job scripts and of tests."""

PROXY_VARIABLES = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")
"""The variables that curl reads; `.env` does not set them."""

LIKENESS = 0.75  # between a misspelt name and the right one

YES, NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")

CORES_GRANTED = ("NSLOTS", "SLURM_CPUS_PER_TASK")
"""How Grid Engine and Slurm tell a job its number of cores."""


class Disk(StrEnum):
    """The kind of disk the ledger is on."""

    LOCAL = "local"
    SHARED = "shared"


class Scheduler(StrEnum):
    SGE = "sge"
    SLURM = "slurm"


@dataclass(frozen=True, slots=True)
class Job:
    """The scheduler's job that this process belongs to."""

    scheduler: Scheduler
    job_id: str
    task_id: str | None = None  # in a Grid Engine array; for Slurm, job_id names the task: "17_3"
    end_at: float | None = None  # unix time, if the environment contains it

    @property
    def name(self) -> str:
        """Unique among all jobs, including the tasks of one array: "28.2", as Grid Engine writes it."""
        return self.job_id if self.task_id is None else f"{self.job_id}.{self.task_id}"


@dataclass(frozen=True, slots=True)
class Settings:
    ledger: Path = Path("ledger.sqlite")
    ledger_disk: Disk | None = None  # None: by the file system's type
    root: Path = Path("images")
    contact: str | None = None  # a mail address or page for the User-Agent, so that a publisher can reach us
    hosts_file: Path | None = None
    allow_private_hosts: bool = False  # URLs may lead to addresses that are not public
    processes: int = 1  # worker processes
    slack_webhook_url: str | None = field(default=None, repr=False)
    job: Job | None = None  # of the scheduler, if any

    @property
    def job_id(self) -> str | None:
        return None if self.job is None else self.job.name


def load_settings(environ: Mapping[str, str] | None = None, env_file: Path = Path(".env")) -> Settings:
    """The settings of this process. Raises `UsageError`, naming the variable, if a value is invalid."""
    environment = os.environ if environ is None else environ
    _check_spelling(environment)
    values = _read_env_file(env_file) | {name: environment[name] for name in NAMES if environment.get(name)}
    processes = _count(values, "D4C_PROCESSES")
    default = Settings()
    return Settings(
        ledger=_path(values, "D4C_LEDGER") or default.ledger,
        ledger_disk=_disk(values, "D4C_LEDGER_DISK"),
        root=_path(values, "D4C_ROOT") or default.root,
        contact=_one_line(values, "D4C_CONTACT"),
        hosts_file=_path(values, "D4C_HOSTS_FILE"),
        allow_private_hosts=_yes(values, "D4C_ALLOW_PRIVATE_HOSTS"),
        processes=processes or granted_cores(environment),
        slack_webhook_url=_web_address(values, "SLACK_WEBHOOK_URL"),
        job=_job(environment),
    )


def proxy_variables(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The proxy variables of the environment, as they are."""
    environment = os.environ if environ is None else environ
    return {name: environment[name] for name in PROXY_VARIABLES if name in environment}


def _job(environment: Mapping[str, str]) -> Job | None:
    """The scheduler's information about this job."""
    if slurm_id := environment.get("SLURM_JOB_ID"):
        end = environment.get("SLURM_JOB_END_TIME", "")
        array, slurm_task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
        if array and slurm_task:  # SLURM_JOB_ID of one task is that of the array, and requeueing it would requeue all tasks
            slurm_id = f"{array}_{slurm_task}"
        return Job(Scheduler.SLURM, slurm_id, end_at=float(end) if end.isascii() and end.isdigit() else None)
    task = environment.get("SGE_TASK_ID")  # always set; other programs set a JOB_ID as well
    if task and (sge_id := environment.get("JOB_ID")):
        return Job(Scheduler.SGE, sge_id, None if task == "undefined" else task)
    return None


def granted_cores(environ: Mapping[str, str] | None = None) -> int:
    """Cores that the scheduler gave to this job; outside a job, those that this process may use."""
    environment = os.environ if environ is None else environ
    for name in CORES_GRANTED:
        cores = _count(environment, name)
        if cores is not None:
            return cores
    return len(os.sched_getaffinity(0))


def _read_env_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        values = dotenv_values(path, interpolate=False)
    except OSError as error:
        raise of_a_named_path(UsageError, f"cannot read {path}: {error.strerror}", error) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    unknown = [name for name in values if name.startswith("D4C_") and name not in NAMES]
    if unknown:  # a typo here would silently create a new ledger in the default place
        raise UsageError(f"{path}: unknown setting {unknown[0]}; .env.example lists all settings")
    return {name: value for name, value in values.items() if name in NAMES and value}


def _check_spelling(environment: Mapping[str, str]) -> None:
    """Raise `UsageError` for a variable similar to one of our settings, but not one. Others with the prefix may be foreign."""
    unknown = sorted(name for name in environment if name.startswith("D4C_") and name not in NAMES and name not in NOT_SETTINGS)
    for name in unknown:
        meant = difflib.get_close_matches(name, NAMES, n=1, cutoff=LIKENESS)
        if meant:
            raise UsageError(f"the environment has {name}, which is no setting; did you mean {meant[0]}?")


def _count(values: Mapping[str, str], name: str) -> int | None:
    text = values.get(name, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UsageError(f"{name}={text!r} is invalid: must be a whole number, 1 or more")
    return int(text)


def _yes(values: Mapping[str, str], name: str) -> bool:
    text = values.get(name, "").strip().lower()
    if text not in ("", *YES, *NO):
        raise UsageError(f"{name}={text!r} is invalid: must be yes or no")
    return text in YES


def _disk(values: Mapping[str, str], name: str) -> Disk | None:
    text = values.get(name, "").strip().lower()
    if text and text not in list(Disk):
        raise UsageError(f"{name}={text!r} is invalid: must be {' or '.join(Disk)}")
    return Disk(text) if text else None


def _path(values: Mapping[str, str], name: str) -> Path | None:
    text = values.get(name)
    if not text:
        return None
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{name}={text!r}: {error}") from error


def _one_line(values: Mapping[str, str], name: str) -> str | None:
    text = values.get(name, "").strip()
    if not text.isprintable():
        raise UsageError(f"{name}={text!r} is invalid: must be one line of printable characters (sent in a request header)")
    return text or None


def _web_address(values: Mapping[str, str], name: str) -> str | None:
    text = values.get(name, "").strip()
    if text and not text.startswith(("https://", "http://")):
        raise UsageError(f"{name} is not a web address (its value is secret and not shown)")
    return text or None
