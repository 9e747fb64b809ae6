"""The job scripts: they find the program, pass every option on, and become it, so that signals reach it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from d4c_images.cli import build_parser
from d4c_images.settings import Settings

PROJECT = Path(__file__).parent.parent
SCRIPTS = sorted((PROJECT / "jobs").glob("*.qsub"))

STUB = """#!/bin/sh
printf '%s\\n' "$$" "$D4C_LEDGER" "$@" > called
trap 'echo got USR2 >> called; exit 75' USR2
[ -e stay ] && { : > ready; while :; do sleep 0.02; done; }
exit 75
"""


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


def test_there_is_one_per_command() -> None:
    assert [script.stem for script in SCRIPTS] == ["check", "download", "init", "status"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_options_are_passed_on_and_the_exit_code_comes_back(script: Path, workplace: Path) -> None:
    extra = ["--ledger", "with space", "--host=*", ""]
    done = subprocess.run(
        ["/bin/bash", str(script), *extra], cwd=workplace, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (75, "")
    _, ledger, command, *arguments = (workplace / "called").read_text().split("\n")[:-1]
    assert (ledger, command) == ("/a b/ledger", script.stem)
    assert arguments[-len(extra) :] == extra
    given = arguments[: -len(extra)]
    source = ["x.zip"] if command == "init" else []
    build_parser(Settings()).parse_args([command, *given, *source])  # what the script itself adds is understood


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
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
        ["/bin/bash", str(script)], cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (75, "")
    assert (folder / "called").read_text().split("\n")[2] == script.stem


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script.stem != "status"], ids=lambda script: script.stem)
def test_a_signal_to_the_job_reaches_the_program(script: Path, workplace: Path) -> None:
    (workplace / "stay").touch()
    with subprocess.Popen(["/bin/bash", str(script)], cwd=workplace, stderr=subprocess.PIPE) as job:
        while not (workplace / "ready").exists():
            assert job.poll() is None, job.stderr and job.stderr.read()
            os.sched_yield()
        os.kill(job.pid, signal.SIGUSR2)
        assert job.wait(10) == 75
    called = (workplace / "called").read_text().split("\n")
    assert called[0] == str(job.pid), "the program has taken the shell's place"
    assert "got USR2" in called


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_house_style(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert 10 <= len(lines) <= 40
    assert os.access(script, os.X_OK)
    assert lines[-1].startswith(f"exec d4c-images {script.stem} ")
    assert lines[-1].endswith('"$@"')
    if script.stem != "status":
        assert "#$ -notify" in lines, "without it SGE kills without a word"
