"""What is handed out: an sdist that passes its own tests, a wheel that runs in any environment, recipes that follow the lock."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from d4c_images import __version__
from tests.support.environment import installed_environment
from tests.support.patience import PATIENCE_S

PROJECT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
META: dict[str, Any] = PYPROJECT["project"]
DOCKERFILE = PROJECT / "packaging/Dockerfile"
APPTAINER = PROJECT / "packaging/apptainer.def"
CONDA = PROJECT / "packaging/conda/environment.yml"
DATA = PYPROJECT["tool"]["setuptools"]["data-files"]

NOT_OF_THE_TREE = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "out", "*.egg-info", "build", "dist"
)
MADE_AT_THE_TOP = {"demo-run", "collection"}  # maybe of many gigabytes
PRIVATE = (".env", "jobs/site.sh", "collection/ledger.sqlite")
BUILD = """
import sys
from setuptools import build_meta
folder = sys.argv[1]  # setuptools writes its own words there
build_meta.build_sdist(folder)
build_meta.build_wheel(folder)
"""
# A slice of the fast tests that needs data, helpers, pages, job scripts, tools, the Makefile and the publishers' server.
SLICE = (
    *("tests/test_api.py", "tests/test_settings.py", "tests/test_house_rules.py", "tests/tools", "tests/batch/test_job_scripts.py"),
    *(
        "tests/sources/test_rows.py",
        "tests/publishers/test_server.py",
        "tests/identity/test_rules.py",
        "tests/ledger/test_identify.py",
    ),
)


def names_in_lock() -> set[str]:
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    return set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))


def test_the_lock_has_all_that_pip_would_install() -> None:
    """pip install . is enough for every command; only what is for development stands apart."""
    assert set(META["dependencies"]) <= names_in_lock()
    assert set(META["optional-dependencies"]) == {"dev"}


@pytest.mark.parametrize("module", ["dask", "distributed", "cryptography"])
def test_what_several_nodes_need_comes_with_the_package(module: str) -> None:
    assert module in META["dependencies"]


def test_the_citation_says_what_the_package_says() -> None:
    """The required keys of the format's version 1.2.0, and no address or person that nobody has named."""
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    assert str(citation["version"]) == __version__
    assert citation["license"] == META["license"]
    assert citation["keywords"] == META["keywords"]
    assert citation["authors"] == META["authors"] == [{"name": "The d4c-images authors"}]
    assert citation["authors"][0]["name"] in (PROJECT / "LICENSE").read_text(encoding="utf-8")
    assert META["description"].removeprefix("A ") in citation["title"]


def test_no_address_of_the_project_is_made_up() -> None:
    """There is none yet. Whoever publishes it puts it into both files, and changes this test."""
    assert "urls" not in META
    assert "://" not in (PROJECT / "CITATION.cff").read_text(encoding="utf-8")
    assert not re.search(r"[\w.]+@[\w.]+\.\w+", (PROJECT / "SECURITY.md").read_text(encoding="utf-8"))


def test_classifiers_name_each_python_that_is_allowed() -> None:
    named = [text.rpartition(" ")[2] for text in META["classifiers"] if re.search(r":: 3\.\d+$", text)]
    first, last = (int(number) for number in re.findall(r"3\.(\d+)", META["requires-python"]))
    assert named == [f"3.{minor}" for minor in range(first, last)]


def python_of(recipe: Path) -> int:
    found = re.search(r"python[:=]3\.(\d+)", recipe.read_text(encoding="utf-8"))
    assert found, f"{recipe.name} names no Python"
    return int(found[1])


@pytest.mark.parametrize("recipe", [DOCKERFILE, APPTAINER, CONDA], ids=lambda path: path.name)
def test_a_recipe_has_a_python_of_the_lock_and_checks_hashes(recipe: Path) -> None:
    head = (PROJECT / "requirements.lock").read_text(encoding="utf-8").partition("\n")[0]
    first, last = (int(number) for number in re.findall(r"3\.(\d+)", head))
    assert first <= python_of(recipe) <= last
    text = recipe.read_text(encoding="utf-8")
    assert "--require-hashes" in text
    assert "--no-deps --no-index --no-build-isolation" in text


def test_recipes_take_files_that_exist_and_all_that_a_build_needs() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    docker = {name for names in copied for name in names.split()}
    section = APPTAINER.read_text(encoding="utf-8").partition("%files\n")[2].partition("\n\n")[0]
    apptainer = dict(line.split() for line in section.splitlines())
    assert docker == apptainer.keys()
    assert all((PROJECT / name).exists() for name in docker)
    assert all(target == f"/src/{name}" for name, target in apptainer.items())
    needed = {
        "pyproject.toml",
        META["readme"],
        *META["license-files"],
        "d4c_images",
        *(file for files in DATA.values() for file in files),
    }
    assert all(name in docker or name.partition("/")[0] in docker for name in needed)


def test_the_conda_environment_installs_the_lock() -> None:
    environment = yaml.safe_load(CONDA.read_text(encoding="utf-8"))
    options = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert options[:2] == ["--require-hashes", "--only-binary :all:"]
    assert (CONDA.parent / options[2].removeprefix("-r ")).resolve() == PROJECT / "requirements.lock"


def _left_out(folder: str, names: list[str]) -> set[str]:
    return NOT_OF_THE_TREE(folder, names) | (MADE_AT_THE_TOP if folder == str(PROJECT) else set())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a user's folder has it, with what is only his."""
    tree = tmp_path_factory.mktemp("tree") / "d4c-images"
    shutil.copytree(PROJECT, tree, ignore=_left_out, symlinks=True)
    for name in PRIVATE:
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text("D4C_CONTACT=me@example.edu\n")
    return tree


@pytest.fixture(scope="module")
def built(tree: Path) -> Path:
    """The folder of sdist and wheel."""
    folder = tree.parent / "dist"
    folder.mkdir()
    subprocess.run([sys.executable, "-c", BUILD, folder], cwd=tree, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_sdist_is_the_whole_tree_without_what_is_only_the_users(tree: Path, built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name for member in sdist if member.isfile() for name in [member.name.partition("/")[2]]}
    made = {name for name in names if name in ("PKG-INFO", "setup.cfg") or ".egg-info/" in name}
    wanted = {name for name in files_below(tree) if not name.startswith(("build/", "d4c_images.egg-info/"))}
    assert names - made == wanted - set(PRIVATE)


@pytest.mark.slow
def test_the_wheel_has_all_of_the_package_and_what_shells_and_man_read(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = {f"d4c_images/{path}" for path in files_below(PROJECT / "d4c_images") if "__pycache__" not in path}
    assert {name for name in names if name.startswith("d4c_images/")} == package
    assert "d4c_images/py.typed" in package
    data = {name.partition(".data/data/")[2] for name in names if ".data/data/" in name}
    assert data == {f"{folder}/{Path(file).name}" for folder, files in DATA.items() for file in files}


@pytest.mark.slow
def test_an_installed_program_runs_prints_jobs_and_has_types(wheel: Path, tmp_path: Path) -> None:
    python = installed_environment(tmp_path / "an environment", wheel)
    program = python.with_name("d4c-images")
    shown = subprocess.run([program, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert shown.stdout == f"d4c-images {__version__}\n"
    for folder, files in DATA.items():
        assert all((python.parents[1] / folder / Path(file).name).is_file() for file in files)

    job = subprocess.run([program, "job", "slurm", "init"], cwd=tmp_path, capture_output=True, text=True, check=True)
    (tmp_path / "init.sh").write_text(job.stdout)
    rows = ["env", "-i", "/bin/bash", "init.sh", PROJECT / "tests/rows/multimedia.txt"]
    done = subprocess.run(rows, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ledger.sqlite").is_file()

    (tmp_path / "user.py").write_text("import d4c_images\nd4c_images.open_collection(1, 'images').read(2)\n")
    command = [sys.executable, "-m", "mypy", "--python-executable", python, "--cache-dir", os.devnull, "user.py"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 'incompatible type "int"; expected "str | Path"' in checked.stdout


@pytest.mark.slow
def test_an_unpacked_sdist_passes_its_own_tests(built: Path, tmp_path: Path) -> None:
    """A slice here; docs/how-to/install.md has the command for all of them."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        sdist.extraction_filter = getattr(tarfile, "data_filter", None)  # Debian 12's Python 3.11.2 has no filters yet
        sdist.extractall(tmp_path)
    folder = tmp_path / f"d4c_images-{__version__}"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow and not system", "--hypothesis-profile", "fast", *SLICE]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE)
