"""The commands of the Makefile: bare `make` lists them all, and no page names a command, file or heading that is not there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
HALVES = {"test-sge", "test-but-sge"}  # what test-system runs side by side
WIDEST = 120  # characters: a line of help fits into a terminal

# What a page names that is made by its reader or by a run.
NOT_IN_THE_TREE = {"jobs/site.sh", "d4c_images/identity/publishers/oslo_museum.py"}
IN_THE_TREE = re.compile(r"(?:tests|tools|bench|jobs|demo|docs|d4c_images)/[\w./-]+\.\w+")

PAGES = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("tests/**/*.md")]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A make of its own, also if these tests were started by another one."""
    environ = {name: value for name, value in os.environ.items() if "MAKE" not in name and name != "NAME"}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, text=True, check=False)


def make(*arguments: str) -> str:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bare_make_shows_the_help() -> None:
    assert make() == make("help")


def test_the_help_has_one_line_for_each_target() -> None:
    lines = [line for line in make("help").splitlines() if line.startswith("  ")]
    assert all(re.fullmatch(r"  [a-z-]+ +\S.*", line) and len(line) <= WIDEST for line in lines)
    shown = [line.split()[0] for line in lines]
    assert sorted(shown) == sorted(TARGETS - HALVES)


def test_no_target_is_taken_for_a_file() -> None:
    phony = {name for line in re.findall(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE) for name in line.split()}
    assert phony == TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_each_make_command_of_a_page_exists(page: Path) -> None:
    named = set(re.findall(r"`make ([a-z][a-z-]*)[` ]", page.read_text(encoding="utf-8")))
    assert named <= TARGETS


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: str(page.relative_to(PROJECT))
)
def test_each_file_that_a_page_names_exists(page: Path) -> None:
    """The changelog may name files of its time."""
    words = [word for span in re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8")) for word in span.split()]
    named = {word for word in words if IN_THE_TREE.fullmatch(word)} - NOT_IN_THE_TREE
    assert {name for name in named if not (PROJECT / name).exists()} == set()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    return {
        re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in re.findall(r"^#+ (.*)", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_each_link_to_a_heading_finds_it(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    links = re.findall(r"\]\(([^)\s:#]*)#([^)\s]+)\)", text)
    assert {
        f"{target}#{anchor}" for target, anchor in links if anchor not in anchors(page.parent / target if target else page)
    } == set()


@pytest.mark.parametrize(
    ("name", "reason"), [("", "say which one: make new-publisher NAME=example"), ("NAME=inat", "the name inat is taken; ")]
)
def test_make_new_publisher_refuses_in_one_line(name: str, reason: str) -> None:
    """Nothing is written: this is the real tree."""
    done = run("--old-file=.venv/ready-dev", f"BIN={Path(sys.executable).parent}", "new-publisher", *filter(None, [name]))
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert len(said) == 1
    assert said[0].startswith(f"new-publisher: {reason}")


def test_the_readme_links_every_page_but_the_decisions() -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)\s#]+)", text))
    pages = {path.relative_to(PROJECT).as_posix() for path in PROJECT.glob("docs/*/*.md")}
    assert {page for page in pages if not page.startswith("docs/adr/")} - linked == set()


@pytest.mark.parametrize(
    "name",
    [
        *("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite.snapshot", "images/123/456/1-00.jpg", "cluster/coordinator.json"),
        *("0012345-250101000000000.zip", "collection.parquet", "failed.csv", "tables/runs.csv", ".env", "d4c-download.o812345"),
        *("collection/ledger.sqlite", "demo-run/images/1.jpg"),
    ],
)
def test_git_ignores_what_a_user_makes_in_the_clone(name: str, tmp_path: Path) -> None:
    """In the README's way, .env, the ledger and the images may lie in the clone."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_bytes((PROJECT / ".gitignore").read_bytes())
    assert subprocess.run(["git", "-C", tmp_path, "check-ignore", "--quiet", name], check=False).returncode == 0


def test_git_ignores_nothing_of_the_project(tmp_path: Path) -> None:
    """Whose own folders have such names, too."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_bytes((PROJECT / ".gitignore").read_bytes())
    tree = [
        path for folder in ("d4c_images", "tests", "docs", "jobs", "packaging", "tools") for path in (PROJECT / folder).rglob("*")
    ]
    files = [path.relative_to(PROJECT).as_posix() for path in tree if path.is_file() and "__pycache__" not in path.parts]
    files = [name for name in files if name != "jobs/site.sh"]
    command = ["git", "-C", str(tmp_path), "check-ignore", "--stdin"]
    ignored = subprocess.run(command, input="\n".join(files), capture_output=True, text=True, check=False)
    assert ignored.stdout.splitlines() == []


@pytest.mark.parametrize(
    ("python", "reason"),
    [("/no such/python", "no such program"), ("/bin/false", "not a Python 3.11 to 3.13 with pip")],
)
def test_the_set_up_names_an_interpreter_that_is_no_good(python: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "setup.sh").write_bytes((PROJECT / "tools/setup.sh").read_bytes())
    command = ["/bin/bash", str(tmp_path / "tools" / "setup.sh"), "requirements.lock"]
    done = subprocess.run(command, env=os.environ | {"PYTHON": python}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"set-up: PYTHON={python}: {reason}\n")
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(("labels", "wanted"), [("", []), ("yes", ["--labels"])])
def test_make_run_of_an_archive_takes_labels_if_asked_to(labels: str, wanted: list[str], tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/run.sh").write_bytes((PROJECT / "demo/run.sh").read_bytes())
    program = tmp_path / ".venv/bin/d4c-images"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$@" >> called\n')
    program.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "ARCHIVE": "my.zip", "LABELS": labels}
    subprocess.run(["/bin/bash", "demo/run.sh"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    init = (tmp_path / "called").read_text().splitlines()[0].split()
    assert init == ["init", "my.zip", "--ledger", "collection/ledger.sqlite", *wanted]
