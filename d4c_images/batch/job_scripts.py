"""Job scripts for Grid Engine and Slurm as text to be read and edited. Submits nothing.

The scripts in `jobs/` are the output of `script` with the defaults and without an interpreter (a test compares them): they belong
to a clone and find the program in its `.venv`, on any machine. What `d4c-images job` prints names the interpreter that printed it,
so it runs wherever the package is installed.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from d4c_images.errors import UsageError
from d4c_images.settings import Scheduler


@dataclass(frozen=True, slots=True)
class JobTerms:
    """What a job asks the scheduler for."""

    time_s: float | None = None  # None: the default for the command
    cores: int | None = None
    name: str | None = None
    project: str | None = None  # SGE's project, Slurm's account
    queue: str | None = None  # Slurm's partition
    mail: str | None = None
    tasks: int | None = None  # jobs of the array, if the command has one
    options: tuple[str, ...] = ()  # of the command
    interpreter: str | None = None  # the Python that runs the package; None: the clone that the script belongs to


@dataclass(frozen=True, slots=True)
class _Template:
    """What differs between commands."""

    about: str  # lines of the comment
    command: str | None = None  # None: the one of the template's name
    tasks: int | None = None  # as many jobs, on as many nodes
    time_s: float = 12 * 3600.0
    cores: int = 1
    options: tuple[str, ...] = ()
    takes_parts: bool = False  # may be an array: each job does its part of it
    takes_rounds: bool = False  # ends before the limit and is queued again


_TEMPLATES = {
    "init": _Template(
        """Imports a GBIF download into the ledger:
  {submit} path/to/0012345-250101000000000.zip --labels
It stops before the job's time limit and resumes when the job is requeued.""",
        options=("--no-progress", "--requeue"),
        takes_rounds=True,
    ),
    "download": _Template(
        """Fetches all images that are left, with one worker process per core. Submit it once; it is requeued as needed:
  {submit}
  {submit} --host api.example.org --max-edge 1024
It stops cleanly before the job's time limit. As long as work is left and rounds make progress, the job is requeued (--requeue); if
everything left has to wait, it starts again when the first host is due.""",
        cores=4,
        options=("--no-progress", "--requeue"),
        takes_rounds=True,
    ),
    "coordinator": _Template(
        """Coordinates a download on several nodes; this job alone writes the ledger. Another script's jobs do the work:
  {submit}
  {submit_work}
It stops cleanly before the job's time limit and is requeued (--requeue); workers wait for it in the meantime.""",
        command="download",
        options=("--no-progress", "--requeue", "--cluster", "cluster"),
        takes_rounds=True,
    ),
    "work": _Template(
        """A job array with the workers of a download on several nodes, one worker process per core. Any number, at any time:
  {submit}
They wait for the coordinator, outlive it, and exit when nothing is left or before their own time limit.""",
        cores=4,
        tasks=4,
        options=("--requeue", "--cluster", "cluster"),
        takes_rounds=True,
    ),
    "status": _Template(
        """Writes the report to the job's log. Takes a second; safe while a download is running:
  {submit}
  {submit} --tables tables""",
        time_s=600.0,
    ),
    "check": _Template(
        """Verifies that ledger and files agree. Changes neither; safe while a download is running:
  {submit}
  {submit} --sha256
Exit code 0: no findings. 1: the log lists them. 75: stopped; submitted again, it resumes.""",
        options=("--no-progress",),
        takes_parts=True,
    ),
    "export": _Template(
        """Writes the list of stored images, with licences and labels. Changes nothing; safe while a download is running:
  {submit} collection.parquet""",
        options=("--no-progress",),
    ),
}
JOB_COMMANDS = tuple(_TEMPLATES)
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+,:/-]*").fullmatch

# The warning before a kill: 60 s with -notify in Grid Engine unless the queue says otherwise, 30 s (KillWait) in Slurm.
_GRACE = {Scheduler.SGE: "45s", Scheduler.SLURM: "25s"}
_TASK = {Scheduler.SGE: "SGE_TASK_ID", Scheduler.SLURM: "SLURM_ARRAY_TASK_ID"}
_SUBMIT = {Scheduler.SGE: "qsub", Scheduler.SLURM: "sbatch"}
_CLONE = """# The clone of d4c-images is the folder of submission, or the one that {elsewhere} names.
home=${{D4C_HOME:-$PWD}}
PATH=$home/.venv/bin:$PATH
"""
_ANYWHERE = """# Settings of this site, if there is such a file: below the folder of submission, or the one that {elsewhere} names.
home=${{D4C_HOME:-$PWD}}
"""
_SITE = """# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi
"""


def file_name(scheduler: Scheduler, command: str) -> str:
    """`download.qsub.sh`, `download.sbatch.sh`."""
    return f"{command}.{_SUBMIT[scheduler]}.sh"


def script(scheduler: Scheduler, command: str, terms: JobTerms) -> str:
    """The whole script. Options given after its name when it is submitted override those within. Raises `UsageError`."""
    for word in (terms.name, terms.project, terms.queue, terms.mail):
        if word is not None and not _WORD(word):
            raise UsageError(f"'{word}' is not allowed in a job script: use letters, digits and . _ @ + , : / - only")
    template = _TEMPLATES[command]
    time_s = template.time_s if terms.time_s is None else terms.time_s
    cores = terms.cores or template.cores
    directives = _sge(template, terms, time_s, cores) if scheduler is Scheduler.SGE else _slurm(template, terms, time_s, cores)
    qsub = _SUBMIT[scheduler]
    if terms.interpreter is None:
        submit, submit_work = (f"{qsub} jobs/{file_name(scheduler, name)}" for name in (command, "work"))
    else:  # the user chooses the file's name
        submit, submit_work = f"{qsub} SCRIPT", f"d4c-images job {scheduler} work > SCRIPT && {qsub} SCRIPT"
    name = terms.name or f"d4c-{command}"
    head = [line.format(name=name) for line in directives]
    about = [f"# {line}".rstrip() for line in template.about.format(submit=submit, submit_work=submit_work).split("\n")]
    home = _CLONE if terms.interpreter is None else _ANYWHERE
    elsewhere = "qsub -v D4C_HOME=/path/to/it" if scheduler is Scheduler.SGE else "the variable D4C_HOME"
    program = template.command or command
    grace = ("--grace", _GRACE[scheduler]) if program in ("download", "work") else ()
    # -P: a pandas.py or another d4c_images in the folder of submission is ignored.
    python = ("d4c-images",) if terms.interpreter is None else (terms.interpreter, "-P", "-m", "d4c_images")
    words = " ".join(shlex.quote(word) for word in (*python, program, *template.options, *grace, *terms.options))
    if template.takes_parts and terms.tasks:
        words += f' --part "${_TASK[scheduler]}/{terms.tasks}"'
    return "\n".join(
        [
            "#!/bin/bash -l",
            *head,
            "#",
            *about,
            "",
            home.format(elsewhere=elsewhere) + _SITE,
            "# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.",
            f'exec {words} "$@"',
            "",
        ]
    )


def _sge(template: _Template, terms: JobTerms, time_s: float, cores: int) -> list[str]:
    lines = ["-N {name}", "-cwd", "-j y", f"-l h_rt={_clock(time_s)}"]
    if cores > 1:
        lines.append(f"-pe omp {cores}")
    if tasks := _tasks(template, terms):
        lines.append(f"-t 1-{tasks}")
    if template.time_s > 600:
        lines.append("-notify")
    if terms.project:
        lines.append(f"-P {terms.project}")
    if terms.queue:
        lines.append(f"-q {terms.queue}")
    if terms.mail:
        lines += [f"-M {terms.mail}", "-m ae"]
    return [f"#$ {line}" for line in lines]


def _slurm(template: _Template, terms: JobTerms, time_s: float, cores: int) -> list[str]:
    tasks = _tasks(template, terms)
    output = "--output=%x.o%A.%a" if tasks else "--output=%x.o%j"
    lines = ["--job-name={name}", output, "--open-mode=append", f"--time={_clock(time_s)}", "--ntasks=1"]
    lines.append(f"--cpus-per-task={cores}")
    if tasks:
        lines.append(f"--array=1-{tasks}")
    lines.append("--requeue" if template.takes_rounds else "--no-requeue")
    if terms.project:
        lines.append(f"--account={terms.project}")
    if terms.queue:
        lines.append(f"--partition={terms.queue}")
    if terms.mail:
        lines += [f"--mail-user={terms.mail}", "--mail-type=END,FAIL"]
    return [f"#SBATCH {line}" for line in lines]


def _tasks(template: _Template, terms: JobTerms) -> int | None:
    """Jobs of the array; None: it is a single job."""
    return terms.tasks or template.tasks if template.tasks or template.takes_parts else None


def _clock(seconds: float) -> str:
    """`36:00:00`, which both schedulers read."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
