"""The rules of the house, as far as a program can tell: layers, environment, exceptions, SQL, docstrings, pages, names."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from d4c_images import settings
from d4c_images.cli import build_parser
from d4c_images.settings import Settings
from tests.support.sweep import holds_for_each
from tools import generate_docs, rooms
from tools.rooms import breaches, imported, room_of

PROJECT = Path(__file__).parent.parent
modules = functools.cache(rooms.modules)  # parsed when a test asks, since all workers of the tests collect this

PURE = next(layer.rooms for layer in rooms.LAYERS if layer.name == "pure")
IMPURE = {
    *("time", "os", "random", "secrets", "uuid", "sqlite3", "logging", "socket", "ssl", "subprocess", "threading", "asyncio"),
    *("http", "http.client", "urllib.request", "requests", "urllib3", "pycurl", "tempfile", "shutil", "pathlib", "io"),
}

# Where an unforeseen error must not end more than it has to: an image, its smaller copy; one message; the end of the program.
MAY_CATCH_ALL = {"d4c_images/worker/attempts.py", "d4c_images/decode/decoder.py", "d4c_images/notify/slack.py", "d4c_images/cli.py"}
MAY_READ_ENVIRONMENT = {"d4c_images/settings.py", "d4c_images/crash.py"}
MAY_ASK_SQL = {"d4c_images/ingest/ingest.py"}  # one small question each
SQL = re.compile(
    r"\s*(SELECT\s.*\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|PRAGMA|CREATE\s+TABLE)\s", re.S
)


def test_layers() -> None:
    def check(module: str, tree: ast.Module) -> None:
        assert room_of(module) in rooms.LEVEL, "a new room: say in tools/rooms.py which layer it belongs to"
        if module != "d4c_images/__init__.py":  # the way in for notebooks, which loads what it needs when it is called
            assert breaches(module, tree) == []

    holds_for_each(modules().items(), check)


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("d4c_images/policy/judge.py", "from d4c_images.ledger.admission import admit"),
        ("d4c_images/fetch/fetcher.py", "from d4c_images import decode"),
        ("d4c_images/ledger/admission/admit.py", "def f():\n    import d4c_images.stores.local"),
        ("d4c_images/collection/check.py", "from ..cli import main"),
        ("d4c_images/steward/steward.py", "from d4c_images.runners.inline import X"),
        ("d4c_images/worker/loop.py", "from tests.publishers import client"),
        ("d4c_images/worker/loop.py", "from d4c_images.steward import terms"),
        ("d4c_images/collection/check.py", "import d4c_images.report.render"),
    ],
)
def test_a_breach_of_the_layers_is_seen(module: str, code: str) -> None:
    assert breaches(module, ast.parse(code))


def test_pure_modules_touch_nothing() -> None:
    def check(module: str, tree: ast.Module) -> None:
        names = set(imported(module, tree))
        roots = names | {name.rpartition(".")[0] for name in names} | {name.split(".")[0] for name in names}
        assert not roots & IMPURE

    holds_for_each(((module, tree) for module, tree in modules().items() if room_of(module) in PURE), check)


def test_every_module_says_what_it_is() -> None:
    def check(module: str, tree: ast.Module) -> None:
        text = ast.get_docstring(tree)
        assert text
        assert text.splitlines()[0].rstrip().endswith("."), "the first line is a sentence"

    holds_for_each(modules().items(), check)


def test_only_settings_reads_the_environment() -> None:
    readers = {
        module
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and {a.name for a in node.names} & {"environ", "getenv"})
    }
    assert readers <= MAY_READ_ENVIRONMENT


def test_unforeseen_errors_are_caught_in_few_places() -> None:
    catchers = {
        module
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    }
    assert catchers <= MAY_CATCH_ALL


def test_sql_stands_in_the_ledger_only() -> None:
    speakers = {
        module
        for module, tree in modules().items()
        if room_of(module) != "ledger"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
    }
    assert speakers <= MAY_ASK_SQL


NOT_FOR_A_START = {"numpy", "rich", "requests", "pycurl", "PIL", "pandas", "pyarrow", "d4c_images.identity.registry"}


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("d4c_images.cli", NOT_FOR_A_START),
        ("d4c_images.steward.steward", NOT_FOR_A_START),
        ("d4c_images.report.progress", NOT_FOR_A_START),
        ("d4c_images.worker.loop", NOT_FOR_A_START - {"pycurl"} | {"sqlite3"}),
    ],
)
def test_nobody_loads_what_it_does_not_need(module: str, spared: set[str]) -> None:
    """All of it together is half a second before the first request."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert not spared & set(done.stdout.split())


def test_names_that_say_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "handler", "common", "misc"}
    assert not {module for module in modules() if vague & set(re.split(r"[/_.]", module))}


def test_every_command_and_option_has_help() -> None:
    for name, parser in generate_docs.commands(build_parser(Settings())).items():
        assert parser.description, name
        for action in parser._actions:
            assert action.help, f"{name} {action.dest}"


@pytest.mark.parametrize("path", generate_docs.PAGES, ids=lambda path: path.name)
def test_generated_pages_are_current(path: Path) -> None:
    is_current = path.read_text(encoding="utf-8") == generate_docs.PAGES[path]()  # not in the assert: a diff would be pages long
    assert is_current, "make docs"


def test_the_page_of_the_settings_names_them_all() -> None:
    text = (PROJECT / "docs/reference/settings.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)`", text, re.MULTILINE) == list(settings.NAMES)


def pages() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=PROJECT, capture_output=True, text=True)
    return [PROJECT / line for line in listed.stdout.splitlines()] or sorted(PROJECT.glob("*.md")) + sorted(
        PROJECT.glob("docs/**/*.md")
    )


def test_links_lead_somewhere() -> None:
    def check(page: Path) -> None:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)\s#]+)", text):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"

    holds_for_each(((page,) for page in pages()), check)


def test_lock_files_name_hashes_and_no_address() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (PROJECT / name).read_text(encoding="utf-8")
        assert "://" not in text
        for requirement in re.split(r"\n(?=\w)", text.partition("\n")[2].strip()):
            assert re.match(r"[\w.-]+==\S+", requirement), requirement
            assert "--hash=sha256:" in requirement, requirement


def test_no_test_is_skipped() -> None:
    marks = re.compile(r"pytest\.(mark\.)?(ski" + r"p|xfai" + "l)")
    assert [path.name for path in PROJECT.glob("tests/**/*.py") if marks.search(path.read_text(encoding="utf-8"))] == []
