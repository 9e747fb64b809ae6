"""The job scripts: they find the program, pass every option on, and become it, so that signals reach it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from d4c_images.batch.job_scripts import JOB_COMMANDS, JobTerms, script
from d4c_images.cli import build_parser, main
from d4c_images.errors import UsageError
from d4c_images.settings import Scheduler, Settings
from tests.support.environment import bare_environment
from tests.support.patience import PATIENCE_S
from tools.generate_docs import job_scripts

PROJECT = Path(__file__).parents[2]
SCRIPTS = sorted((PROJECT / "jobs").glob("*.*.sh"))

SHELLCHECK = Path(sys.executable).parent / "shellcheck"

STUB = """#!/bin/sh
printf '%s\\n' "$$" "$D4C_LEDGER" "$@" > called
trap 'echo got USR2 >> called; exit 75' USR2
[ -e stay ] && { : > ready; while :; do sleep 0.02; done; }
exit 75
"""


def command_of(script: Path) -> str:
    name = script.name.partition(".")[0]
    return "download" if name == "coordinator" else name


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder as a user submits from, with a stub in the program's place that writes down how it was called."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "d4c-images").write_text(STUB)
    (tmp_path / "bin" / "d4c-images").chmod(0o755)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "site.sh").write_text(
        f'export PATH={shlex.quote(str(tmp_path / "bin"))}:"$PATH" D4C_LEDGER="/a b/ledger"\n'
    )
    return tmp_path


def test_they_are_what_the_program_prints() -> None:
    """`make docs` writes them."""
    wanted = job_scripts()
    assert sorted(wanted) == SCRIPTS
    for path, text in wanted.items():
        assert path.read_text() == text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_options_are_passed_on_and_the_exit_code_comes_back(script: Path, workplace: Path) -> None:
    extra = ["--ledger", "with space", "--host=*", ""]
    done = subprocess.run(
        ["/bin/bash", str(script), *extra], cwd=workplace, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stderr) == (75, "")
    _, ledger, command, *arguments = (workplace / "called").read_text().split("\n")[:-1]
    assert (ledger, command) == ("/a b/ledger", command_of(script))
    assert arguments[-len(extra) :] == extra
    given = arguments[: -len(extra)]
    names = {"init": ["x.zip"], "export": ["x.parquet"]}.get(command, [])
    build_parser(Settings()).parse_args([command, *given, *names])  # what the script itself adds is understood


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_environment_of_the_project_is_found(script: Path, elsewhere: bool, workplace: Path, tmp_path: Path) -> None:
    (workplace / "jobs" / "site.sh").unlink()
    (workplace / ".venv").mkdir()
    (workplace / "bin").rename(workplace / ".venv" / "bin")
    folder = workplace
    environment = {"PATH": os.environ["PATH"]}
    if elsewhere:
        folder = tmp_path / "else where"
        folder.mkdir()
        environment["D4C_HOME"] = str(workplace)
    done = subprocess.run(
        ["/bin/bash", str(script)], cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stderr) == (75, "")
    assert (folder / "called").read_text().split("\n")[2] == command_of(script)


@pytest.mark.parametrize("script", [script for script in SCRIPTS if command_of(script) != "status"], ids=lambda script: script.name)
def test_a_signal_to_the_job_reaches_the_program(script: Path, workplace: Path) -> None:
    (workplace / "stay").touch()
    with subprocess.Popen(["/bin/bash", str(script)], cwd=workplace, stderr=subprocess.PIPE) as job:
        while not (workplace / "ready").exists():
            assert job.poll() is None, job.stderr and job.stderr.read()
            os.sched_yield()
        os.kill(job.pid, signal.SIGUSR2)
        assert job.wait(PATIENCE_S) == 75
    called = (workplace / "called").read_text().split("\n")
    assert called[0] == str(job.pid), "the program has taken the shell's place"
    assert "got USR2" in called


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_house_style(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert 10 <= len(lines) <= 40
    assert os.access(script, os.X_OK)
    assert lines[-1].startswith(f"exec d4c-images {command_of(script)} ")
    assert lines[-1].endswith('"$@"')
    if ".qsub." in script.name and command_of(script) != "status":
        assert "#$ -notify" in lines, "without it SGE kills without a word"


@pytest.mark.parametrize("scheduler", list(Scheduler))
@pytest.mark.parametrize("command", JOB_COMMANDS)
def test_shellcheck_finds_nothing(scheduler: Scheduler, command: str, tmp_path: Path) -> None:
    terms = JobTerms(86400.0, 16, "night-1", "proj", "long.q", "me@example.org", 9, ("--host", "a b'c", "--limit=5"))
    text = script(scheduler, command, terms)
    (tmp_path / "job.sh").write_text(text)
    (tmp_path / "printed.sh").write_text(script(scheduler, command, replace(terms, interpreter="/home/me/my env/bin/python")))
    files = [str(tmp_path / "job.sh"), str(tmp_path / "printed.sh")]
    found = subprocess.run([str(SHELLCHECK), *files], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "24:00:00" in text
    assert ("=1-9\n" in text or " 1-9\n" in text) == (command in ("work", "check"))
    assert "16" in text


@pytest.mark.parametrize(("scheduler", "variable"), [(Scheduler.SGE, "SGE_TASK_ID"), (Scheduler.SLURM, "SLURM_ARRAY_TASK_ID")])
def test_a_check_as_a_job_array_does_a_part_in_each_job(scheduler: Scheduler, variable: str, workplace: Path) -> None:
    assert "--part" not in script(scheduler, "check", JobTerms())
    job = workplace / "job.sh"
    job.write_text(script(scheduler, "check", JobTerms(tasks=30, options=("--sha256",))))
    environ = {**os.environ, variable: "3"}
    subprocess.run(["bash", str(job), "--json"], cwd=workplace, env=environ, check=False, timeout=PATIENCE_S)
    assert (workplace / "called").read_text().splitlines()[2:] == ["check", "--no-progress", "--sha256", "--part", "3/30", "--json"]


def test_shell_scripts_of_the_project_pass_shellcheck() -> None:
    folders = ("tools", "demo", "tests/cluster", "jobs")
    scripts = [PROJECT / ".ci/run", *(path for folder in folders for path in (PROJECT / folder).glob("*.sh"))]
    found = subprocess.run([str(SHELLCHECK), "-x", *map(str, scripts)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("word", ["two words", "a\n#$ -l x", "-x", "$(id)", ""])
def test_a_word_that_would_change_the_script_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="is not allowed in a job script"):
        script(Scheduler.SLURM, "download", JobTerms(project=word))


def test_the_command_prints_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["job", "slurm", "download", "--time", "2d", "--cores", "16", "--options=--host 'a b' --max-edge 1024"]) == 0
    text = capsys.readouterr().out
    assert "#SBATCH --time=48:00:00\n" in text
    assert "#SBATCH --cpus-per-task=16\n" in text
    assert text.endswith("""--grace 25s --host 'a b' --max-edge 1024 "$@"\n""")
    assert main(["job", "sge", "init", "--options='"]) == 2


@pytest.mark.parametrize("scheduler", list(Scheduler))
def test_what_an_environment_prints_runs_in_it_with_nothing_else_set(scheduler: Scheduler, tmp_path: Path) -> None:
    """Neither PATH nor an activated environment, as in a job; what lies about in the folder of submission is not imported."""
    python = bare_environment(tmp_path / "my env")
    folder = tmp_path / "of submission"
    (folder / "d4c_images").mkdir(parents=True)
    (folder / "d4c_images" / "__main__.py").write_text("raise SystemExit('the wrong one')")
    (folder / "argparse.py").write_text("raise SystemExit('the wrong one')")
    printed = subprocess.run(
        [python, "-m", "d4c_images", "job", str(scheduler), "status"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (folder / "my.sh").write_text(printed.stdout)
    job = ["env", "-i", "/bin/bash", "my.sh", "--ledger", "not there"]
    done = subprocess.run(job, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("d4c-images: no ledger at not there"), done.stderr


@pytest.mark.parametrize("scheduler", list(Scheduler))
@pytest.mark.parametrize("command", JOB_COMMANDS)
def test_the_comment_of_a_printed_script_names_no_file_of_a_clone(scheduler: Scheduler, command: str) -> None:
    text = script(scheduler, command, JobTerms(interpreter="/opt/python"))
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    assert [line for line in comments if "jobs/" in line or ".venv" in line or ".sh" in line] == []


def test_a_script_of_the_folder_names_no_machine() -> None:
    for path in SCRIPTS:
        assert sys.prefix not in path.read_text(), path.name
