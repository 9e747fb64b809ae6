"""The completions of shells and the manual page, as their shells and man read them; both say what the argument parser says."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S
from tools.command_line import command_line

PROJECT = Path(__file__).parents[2]
PACKAGING = PROJECT / "packaging"
BASH = PACKAGING / "bash/d4c-images"
MANUAL = PACKAGING / "man/d4c-images.1"
COMMANDS = [command.name for command in command_line().commands]

# Calls the function as readline does, and shows what it offers and what it leaves to readline.
CALL = """
compopt() { echo "$@"; }
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_d4c_images
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered(*words: str) -> list[str]:
    done = subprocess.run(["bash", "-c", CALL, "bash", BASH, "d4c-images", *words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["downl"], ["download"]),
        (["--ver"], ["--version"]),
        (["--debug", "expo"], ["export"]),
        (["download", "--st"], ["--stall-timeout", "--store"]),
        (["download", "--store", ""], ["files", "pack"]),
        (["download", "--store", "=", "p"], ["pack"]),
        (["download", "--store", "="], ["files", "pack"]),
        (["download", "--retry-failed", "t"], ["transient"]),
        (["download", "--retry-failed", "--store", ""], ["files", "pack"]),
        (["download", "--retry-failed", "--max-ed"], ["--max-edge"]),
        (["download", "--limit", ""], [""]),
        (["download", "--ledger", "a"], ["-o default", ""]),
        (["download", "--root", "a"], ["-o dirnames", ""]),
        (["init", ""], ["-o default", ""]),
        (["init", "--limit", "5", ""], ["-o default", ""]),
        (["hosts", "p"], ["pause"]),
        (["hosts", "--ledger", "pause", "res"], ["resume"]),
        (["hosts", "pause", "a"], [""]),
        (["hosts", "pause", "a", "b"], [""]),
        (["job", ""], ["sge", "slurm"]),
        (["job", "slurm", "--cores", "4", "do"], ["download"]),
        (["job", "slurm", "download", ""], ["-h"]),
        (["status", "--ledger", "download", "--js"], ["--json"]),
        (["nonsense", ""], [""]),
    ],
    ids=" ".join,
)
def test_bash_is_offered_what_fits(words: list[str], wanted: list[str]) -> None:
    assert offered(*words)[: len(wanted)] == wanted


def test_bash_knows_every_command_and_option() -> None:
    assert offered("") == COMMANDS
    script = "\n".join(f"_d4c_images_options {name}; echo $words" for name in COMMANDS)
    done = subprocess.run(["bash", "-c", f"source {shlex.quote(str(BASH))}; {script}"], capture_output=True, text=True, check=True)
    wanted = [" ".join(name for option in command.options for name in option.options) for command in command_line().commands]
    assert done.stdout.splitlines() == wanted


def test_bash_syntax_and_style() -> None:
    found = subprocess.run([Path(sys.executable).parent / "shellcheck", BASH], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@contextmanager
def terminal(*command: str, **environment: str) -> Iterator[int]:
    """A program on a terminal of its own; its end of the line."""
    pid, line = pty.fork()
    if pid == 0:
        os.execvpe(command[0], list(command), {"PATH": os.environ["PATH"], "TERM": "dumb", **environment})
    try:
        yield line
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(line)


def await_text(line: int, pattern: str) -> str:
    """What a terminal has shown once it shows that."""
    text = ""
    while not re.search(pattern, text):
        assert select.select([line], [], [], PATIENCE_S)[0], f"waited in vain for {pattern!r} after {text!r}"
        text += os.read(line, 4096).decode(errors="replace")
    return text


def test_bash_completes_on_a_terminal(tmp_path: Path) -> None:
    """Readline's own part, too: a name of a file with a space is quoted."""
    (tmp_path / "my download.zip").touch()
    with terminal("bash", "--norc", "--noprofile", "-i", PS1="$ ", HOME=str(tmp_path), INPUTRC="/dev/null") as line:
        os.write(line, f"cd {shlex.quote(str(tmp_path))} && source {shlex.quote(str(BASH))} && echo rea''dy\n".encode())
        await_text(line, "\nready|\rready")
        os.write(line, b"d4c-images ini\t")
        await_text(line, "d4c-images init ")
        os.write(line, b"my\t")
        await_text(line, r"my\\ download\.zip ")


def text_of_the_manual() -> str:
    """Without the escapes of roff that the page uses."""
    text = MANUAL.read_text(encoding="utf-8")
    return re.sub(r"\\f[BIR]|\\&", "", text).replace("\\-", "-").replace("\\(aq", "'")


def test_the_manual_has_every_command_option_setting_and_exit_code() -> None:
    text = text_of_the_manual()
    for command in command_line().commands:
        _, found, section = text.partition(f"\n.SS d4c-images {command.name}")
        assert found, command.name
        section = re.split(r"\n\.S[SH] ", section)[0]
        named = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", "\n".join(re.findall(r"^\.TP\n(.*)", section, re.MULTILINE))))
        assert named == {name for option in command.options for name in option.options} - {"-h", "--help"}
    for name in re.findall(r"^(\w+)=", (PROJECT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE):
        assert f"\n.B {name}\n" in text
    page = (PROJECT / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert re.findall(r"^\.B (\d+)$", text, re.MULTILINE) == re.findall(r"^\| (\d+) \| ", page, re.MULTILINE)


def test_no_word_of_the_manual_is_taken_for_a_request() -> None:
    """A line that begins with a dot or an apostrophe and is none of those that the page uses would vanish."""
    requests = set(re.findall(r"^[.'](\S+)", MANUAL.read_text(encoding="utf-8"), re.MULTILINE))
    assert requests <= {'\\"', "TH", "SH", "SS", "TP", "PP", "B", "I", "BR", "IR", "nf", "fi"}


@pytest.fixture(scope="module")
def shells() -> None:
    subprocess.run([PROJECT / "tests/cluster/install.sh", "zsh", "fish", "mandoc", "man-db"], check=True, timeout=PATIENCE_S)


CASES = [
    ("d4c-images downl", ["download"]),
    ("d4c-images download --stor", ["--store"]),
    ("d4c-images download --store p", ["pack"]),
    ("d4c-images job sl", ["slurm"]),
    ("d4c-images job slurm coor", ["coordinator"]),
    ("d4c-images hosts res", ["resume"]),
    ("d4c-images init my", ["my.zip"]),
    ("d4c-images export --ledger my", ["my.zip"]),
]


@pytest.mark.system
@pytest.mark.parametrize(("typed", "wanted"), CASES)
def test_fish_is_offered_what_fits(shells: None, typed: str, wanted: list[str], tmp_path: Path) -> None:
    (tmp_path / "my.zip").touch()
    script = f"source {shlex.quote(str(PACKAGING / 'fish/d4c-images.fish'))}; complete -C {shlex.quote(typed)}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert done.stderr == ""
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == wanted


@pytest.mark.system
@pytest.mark.parametrize(("typed", "wanted"), CASES)
def test_zsh_completes(shells: None, typed: str, wanted: list[str], tmp_path: Path) -> None:
    (tmp_path / "my.zip").touch()
    with terminal("zsh", "-f", "-i", PS1="$ ", HOME=str(tmp_path)) as line:
        start = f"cd {shlex.quote(str(tmp_path))}; fpath=({shlex.quote(str(PACKAGING / 'zsh'))} $fpath); autoload -Uz compinit"
        os.write(line, f"{start}; compinit -D -u; echo rea''dy\n".encode())
        await_text(line, "\nready|\rready")
        os.write(line, f"{typed}\t".encode())
        whole = " ".join([*typed.split()[:-1], *wanted])
        await_text(line, re.escape(whole))


@pytest.mark.system
def test_man_and_mandoc_find_nothing_wrong_with_the_manual(shells: None) -> None:
    """It has no date, since nobody writes down when a version came out."""
    done = subprocess.run(["man", "--warnings=all", "--local-file", MANUAL], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "d4c-images download" in done.stdout
    lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", MANUAL], capture_output=True, text=True, check=False)
    assert [line for line in lint.stdout.splitlines() if "missing date" not in line] == []
