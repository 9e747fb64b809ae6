"""The tool that begins a rule: what it writes is registered and works, and stays red until its author has filled it in."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from d4c_images.identity import registry
from tools import new_publisher
from tools.new_publisher import REGISTRY, Refused, begin, with_line

PROJECT = Path(new_publisher.__file__).parent.parent
NAME = "oslo_museum"
DRAFTED = f"d4c_images/identity/publishers/{NAME}.py"


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=project, capture_output=True, text=True, check=False)


def listed(project: Path) -> list[str]:
    """The publishers of the registry, in the order in which they are asked."""
    text = (project / REGISTRY).read_text(encoding="utf-8")
    return re.findall(r'"(\w+)"', text.partition("PUBLISHERS = (")[2].partition(")")[0])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the tool reads and writes."""
    shutil.copytree(PROJECT / "d4c_images", tmp_path / "d4c_images", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PROJECT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(("name", "before"), [(NAME, "plantnet"), ("aaa", "antweb"), ("zzz", None)])
def test_a_new_publisher_is_listed_in_the_order_of_the_alphabet(project: Path, name: str, before: str | None) -> None:
    begin(project, name)
    names = listed(project)
    assert [other for other in names if other != name] == list(registry.PUBLISHERS)
    assert names[names.index(name) + 1 :][:1] == ([before] if before else [])


def test_a_registry_without_its_list_is_refused() -> None:
    with pytest.raises(Refused, match="no list PUBLISHERS"):
        with_line("RULES = ()\n", NAME)


def test_the_new_rule_decides_about_its_invented_host(project: Path) -> None:
    begin(project, NAME)
    code = "from d4c_images.identity import identify; print(*identify('https://oslo-museum.example.org/photos/7/thumb.jpg'))"
    done = run(project, "-c", code)
    host = "oslo-museum.example.org"
    urls = f"('https://{host}/photos/7/original.jpg', 'https://{host}/photos/7/thumb.jpg')"
    assert done.stdout == f"{NAME}:7 {urls} {host} {NAME} 1\n", done.stderr


def test_the_new_module_passes_the_linter(project: Path) -> None:
    module = begin(project, NAME)
    for command in (["check"], ["format", "--check"]):
        done = run(PROJECT, "-m", "ruff", *command, "--config", str(PROJECT / "pyproject.toml"), str(module))
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "say which one"),
        ("Oslo", "cannot be a name"),
        ("oslo-museum", "cannot be a name"),
        ("../oslo", "cannot be a name"),
        ("1oslo", "cannot be a name"),
        ("oslo museum", "cannot be a name"),
        ("import", "cannot be a name"),
        ("a" * 31, "cannot be a name"),
        ("inat", "is taken"),  # by a publisher
        ("omeka", "is taken"),  # by software
        ("iiif", "is taken"),  # by a protocol
        ("rule", "is taken"),  # by another module
    ],
)
def test_a_bad_or_taken_name_is_refused_and_nothing_is_written(project: Path, name: str, reason: str) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    with pytest.raises(Refused, match=reason) as refused:
        begin(project, name)
    assert "\n" not in str(refused.value)
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_the_tool_refuses_in_one_line_and_with_the_code_of_wrong_usage(project: Path) -> None:
    done = run(project, "-m", "tools.new_publisher", "inat")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"new-publisher: the name inat is taken; .*\n", done.stderr)


@pytest.mark.slow
def test_only_the_draft_is_red_and_all_is_green_without_it(project: Path) -> None:
    """The whole of a contributor's way: the tool, the tests of rules, and the tests again when the draft is filled in."""
    for path in PROJECT.glob("tests/**/*.py"):  # with what the two files import, wherever they are
        copy = project / path.relative_to(PROJECT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    shutil.copy(PROJECT / "pyproject.toml", project)
    rules, properties = (
        str(next(project.glob(f"tests/**/{name}")).relative_to(project))
        for name in ("test_rules.py", "test_identity_properties.py")
    )
    tests = ["-m", "pytest", "-q", "-k", f"{NAME} or registry", rules, properties]
    assert run(project, "-m", "tools.new_publisher", NAME).returncode == 0

    red = run(project, *tests)
    assert re.findall(r"^FAILED (\S+)", red.stdout, re.MULTILINE) == [f"{rules}::test_no_rule_is_a_draft[{NAME}]"]
    assert f"{DRAFTED}:1: " in red.stdout, "it names file and line"

    module = project / DRAFTED
    module.write_text(module.read_text(encoding="utf-8").replace("DRAFT ", ""), encoding="utf-8")
    green = run(project, *tests)
    assert green.returncode == 0, green.stdout
    types = run(project, "-m", "mypy", "--config-file", "pyproject.toml", DRAFTED)
    assert types.returncode == 0, types.stdout
