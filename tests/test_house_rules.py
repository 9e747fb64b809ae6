"""The rules of the house, as far as a program can tell: layers, environment, exceptions, SQL, docstrings, pages, names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from d4c_images import settings
from d4c_images.cli import build_parser
from d4c_images.settings import Settings
from tools import generate_docs

PROJECT = Path(__file__).parent.parent
PACKAGE = PROJECT / "d4c_images"
MODULES = {path.relative_to(PROJECT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}

# The first part of a module's name below d4c_images says its layer. Imports go downward, or stay within one part of L2;
# within the other layers, modules may use each other.
LAYERS = {
    0: {
        *("model", "errors", "settings", "durations", "crash", "clocks", "contact", "signals", "child", "open_files"),
        *("terminal", "small_files"),
    },
    1: {
        *("identity", "sniff", "judge", "pace", "limits", "ratelimit", "placeholder_list", "outage", "again", "robots"),
        *("compact_heap", "waits", "door", "signs", "next_step", "shares"),
    },
    2: {"sources", "ledger", "fetch", "decode", "stores", "notify", "scheduler"},
    3: {
        "ingest",
        "prepare",
        "reading",
        "stating",
        "numbering",
        "worker",
        "attempts",
        "beside",
        "examine",
        "documents",
        "run",
        "lanes",
        "steward",
        "roster",
        "survey",
        "agenda",
        "lender",
        "conclusions",
        "setting_aside",
        "unpacking",
        "collection",
        "silence",
        "report",
        "export",
        *("rounds", "doors"),
    },
    4: {"runners", "job_scripts", "commands", "cli", "__main__", "__init__"},
}
LAYER_OF = {part: layer for layer, parts in LAYERS.items() for part in parts}

IMPURE = {
    *("time", "os", "random", "secrets", "uuid", "sqlite3", "logging", "socket", "ssl", "subprocess", "threading", "asyncio"),
    *("http", "http.client", "urllib.request", "requests", "urllib3", "pycurl", "tempfile", "shutil", "pathlib", "io"),
}

# Where an unforeseen error must not end more than it has to: an image, its smaller copy; one message; the end of the program.
MAY_CATCH_ALL = {"d4c_images/attempts.py", "d4c_images/decode/decoder.py", "d4c_images/notify/slack.py", "d4c_images/cli.py"}
MAY_READ_ENVIRONMENT = {"d4c_images/settings.py", "d4c_images/crash.py"}
MAY_ASK_SQL = {"d4c_images/ingest.py"}  # one small question each
SQL = re.compile(
    r"\s*(SELECT\s.*\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|PRAGMA|CREATE\s+TABLE)\s", re.S
)


def part_of(module: str) -> str:
    """`d4c_images/ledger/admit.py` and `d4c_images.ledger.admit` are of the part `ledger`."""
    parts = module.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imported(module: str, tree: ast.Module) -> Iterator[str]:
    """Full names of all that a module imports, also inside functions; relative imports are resolved."""
    package = module.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            yield from (f"{source}.{alias.name}" for alias in node.names)


def breaches(module: str, tree: ast.Module) -> list[str]:
    mine = part_of(module)
    found = []
    for name in imported(module, tree):
        if name.split(".")[0] in ("tests", "bench", "tools"):
            found.append(f"{module} imports {name}")
        if not name.startswith("d4c_images"):
            continue
        theirs = part_of(name)
        if theirs not in LAYER_OF:
            theirs = "__init__"  # d4c_images.__version__ and the like
        if mine == theirs or theirs == "__init__":
            continue
        if LAYER_OF[theirs] > LAYER_OF[mine] or (LAYER_OF[theirs] == LAYER_OF[mine] == 2):
            found.append(f"{module} (L{LAYER_OF[mine]}) imports {name} (L{LAYER_OF[theirs]})")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_layers(module: str) -> None:
    assert part_of(module) in LAYER_OF, "a new module: say in LAYERS where it belongs"
    if module != "d4c_images/__init__.py":  # the way in for notebooks, which loads what it needs when it is called
        assert breaches(module, MODULES[module]) == []


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("d4c_images/judge.py", "from d4c_images.ledger import admit"),
        ("d4c_images/fetch/fetcher.py", "from d4c_images import decode"),
        ("d4c_images/ledger/admit.py", "def f():\n    import d4c_images.stores.local"),
        ("d4c_images/report/check.py", "from ..cli import main"),
        ("d4c_images/steward.py", "from d4c_images.runners.inline import X"),
        ("d4c_images/worker.py", "from tests.publishers import client"),
    ],
)
def test_a_breach_of_the_layers_is_seen(module: str, code: str) -> None:
    assert breaches(module, ast.parse(code))


@pytest.mark.parametrize("module", [module for module in MODULES if LAYER_OF.get(part_of(module)) == 1])
def test_pure_modules_touch_nothing(module: str) -> None:
    names = set(imported(module, MODULES[module]))
    roots = names | {name.rpartition(".")[0] for name in names} | {name.split(".")[0] for name in names}
    assert not roots & IMPURE


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is(module: str) -> None:
    text = ast.get_docstring(MODULES[module])
    assert text
    assert text.splitlines()[0].rstrip().endswith("."), "the first line is a sentence"


def test_only_settings_reads_the_environment() -> None:
    readers = {
        module
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and {a.name for a in node.names} & {"environ", "getenv"})
    }
    assert readers <= MAY_READ_ENVIRONMENT


def test_unforeseen_errors_are_caught_in_few_places() -> None:
    catchers = {
        module
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    }
    assert catchers <= MAY_CATCH_ALL


def test_sql_stands_in_the_ledger_only() -> None:
    speakers = {
        module
        for module, tree in MODULES.items()
        if part_of(module) != "ledger"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
    }
    assert speakers <= MAY_ASK_SQL


NOT_FOR_A_START = {"numpy", "rich", "requests", "pycurl", "PIL", "pandas", "pyarrow", "d4c_images.identity.rules"}


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("d4c_images.cli", NOT_FOR_A_START),
        ("d4c_images.steward", NOT_FOR_A_START),
        ("d4c_images.report.progress", NOT_FOR_A_START),
        ("d4c_images.worker", NOT_FOR_A_START - {"pycurl"} | {"sqlite3"}),
    ],
)
def test_nobody_loads_what_it_does_not_need(module: str, spared: set[str]) -> None:
    """All of it together is half a second before the first request."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert not spared & set(done.stdout.split())


def test_names_that_say_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "handler", "common", "misc"}
    assert not {module for module in MODULES if vague & set(re.split(r"[/_.]", module))}


def test_every_command_and_option_has_help() -> None:
    for name, parser in generate_docs.commands(build_parser(Settings())).items():
        assert parser.description, name
        for action in parser._actions:
            assert action.help, f"{name} {action.dest}"


@pytest.mark.parametrize("path", generate_docs.PAGES, ids=lambda path: path.name)
def test_generated_pages_are_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generate_docs.PAGES[path](), "make docs"


def test_the_page_of_the_settings_names_them_all() -> None:
    text = (PROJECT / "docs/reference/settings.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)`", text, re.MULTILINE) == list(settings.NAMES)


def pages() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=PROJECT, capture_output=True, text=True)
    return [PROJECT / line for line in listed.stdout.splitlines()] or sorted(PROJECT.glob("*.md")) + sorted(
        PROJECT.glob("docs/**/*.md")
    )


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s#]+)", text):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


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
