"""House rules that can be checked by a program: layers, environment, exceptions, SQL, docstrings, pages, names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from d4c_images import settings
from d4c_images.cli import build_parser
from d4c_images.settings import Settings
from tests.support.sweep import holds_for_each
from tools import generate_docs, rooms
from tools.rooms import breaches, imported, modules, room_of

PROJECT = Path(__file__).parent.parent

PURE = next(layer.rooms for layer in rooms.LAYERS if layer.name == "pure")
IMPURE = {
    *("time", "os", "random", "secrets", "uuid", "sqlite3", "logging", "socket", "ssl", "subprocess", "threading", "asyncio"),
    *("http", "http.client", "urllib.request", "requests", "urllib3", "pycurl", "tempfile", "shutil", "pathlib", "io"),
}

# Where an unforeseen error must not end more than it has to: an image, its smaller copy; one message; the end of the program.
MAY_CATCH_ALL = {"d4c_images/worker/attempts.py", "d4c_images/decode/decoder.py", "d4c_images/notify/slack.py", "d4c_images/cli.py"}
MAY_READ_ENVIRONMENT = {"d4c_images/settings.py", "d4c_images/crash.py"}
# Modules of fewer than 30 lines, by the last part of their names: why each is worth a door of its own.
SHORT = {
    "__init__": "a package's own door",
    "__main__": "the way into the program",
    "carried": "three modules of the queue pack and unpack a row's text by it",
    "conditional": "one rule, tested as a table",
    "crash": "knows nothing, and everything may use it",
    "dask_check": "asked before Dask is loaded",
    "dask_start": "begins a process: loads nothing by itself",
    "hashes": "shared by what loads numpy and what must not",
    "pattern": "pieces of a pattern that dozens of rules are made of",
    "read_result": "a result that five readers of formats have in common",
    "second_reader": "a thread's life, apart from what it reads",
    "shape": "likewise, before anything is decoded",
    "small_files": "belongs to no layer above",
}
SHORT_LINES = 30
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
        ("d4c_images/ledger/rows/tally.py", "from d4c_images.ledger.queue import lending"),
        ("d4c_images/ledger/queue/shards.py", "from d4c_images.ledger.questions.audit import token"),
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
    assert catchers == MAY_CATCH_ALL


def test_sql_stands_in_the_ledger_only() -> None:
    speakers = {
        module
        for module, tree in modules().items()
        if room_of(module) != "ledger"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
    }
    assert speakers == set()


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


# Names ------------------------------------------------------------------------------------------------------------------------


def is_rule(module: str, tree: ast.Module) -> bool:
    """A rule of identity: the registry asks each of them for the same names."""
    return "/identity/publishers/" in module or "/identity/software/" in module or "RULE" in dict(constants(tree))


def constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Public names that are assigned at the top of a module, type aliases too, each with its value as it is spelled."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            pairs = [(node.target, node.value)]
        else:
            continue
        for target, value in pairs:
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                parts: Iterable[tuple[ast.expr, ast.expr]] = zip(target.elts, value.elts, strict=True)
            else:
                parts = [(one, value) for one in (target.elts if isinstance(target, ast.Tuple) else [target])]
            for name, part in parts:
                if isinstance(name, ast.Name) and not name.id.startswith("_"):
                    yield name.id, ast.unparse(part)


def classes(tree: ast.Module) -> Iterator[str]:
    return (node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))


def homonyms(modules: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """Public names that mean two things: of two classes, of a class and a constant, or of a constant with two values."""
    meanings: dict[str, dict[str, set[str]]] = {}
    for module, tree in modules.items():
        if not is_rule(module, tree):
            for name in classes(tree):
                meanings.setdefault(name, {}).setdefault(f"class of {module}", set()).add(module)
            for name, value in constants(tree):
                meanings.setdefault(name, {}).setdefault(value, set()).add(module)
    return {name: set.union(*found.values()) for name, found in meanings.items() if len(found) > 1}


def test_no_public_class_or_constant_means_two_things() -> None:
    assert homonyms(modules()) == {}, "give each a name that says what it holds"


@pytest.mark.parametrize(
    ("one", "other", "are_seen"),
    [
        ("class Found: ...", "class Found: ...", True),
        ("LOOK_S = 0.2", "LOOK_S = 2.0", True),
        ("LOOK_S: float = 0.2", "FIRST, LOOK_S = 1, 2.0", True),
        ("Row = tuple[int, ...]", "class Row: ...", True),
        ("LOOK_S = 0.2", "LOOK_S = 0.2", False),
        ("_LOOK_S = 0.2", "_LOOK_S = 2.0", False),
        ("class _Feed: ...", "class _Feed: ...", False),
        ("class Unit:\n    LOOK_S = 0.2", "LOOK_S = 2.0", False),
        ("NAME, RULE = 'a', 1", "NAME = 'b'", False),
    ],
)
def test_a_homonym_is_seen(one: str, other: str, are_seen: bool) -> None:
    modules = {"d4c_images/one.py": ast.parse(one), "d4c_images/other.py": ast.parse(other)}
    assert bool(homonyms(modules)) == are_seen


def test_a_short_module_has_a_reason() -> None:
    short = {
        Path(module).stem
        for module, tree in modules().items()
        if not is_rule(module, tree) and len((PROJECT / module).read_text(encoding="utf-8").splitlines()) < SHORT_LINES
    }
    assert short == SHORT.keys(), "say in SHORT why it is worth a module of its own, or put it where it is used"


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
