"""The campaign of mutants: which faults it can put where, which it draws, and how it tells whether tests notice them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import argued, drawing, edits
from tests.mutants.__main__ import D4C, PROJECT
from tests.mutants.argued import Argued
from tests.mutants.campaign import NEAR, Campaign, Judges, Options
from tests.mutants.copies import Copies
from tests.mutants.drawing import Mutant, Project
from tests.mutants.judging import Fate, Patience, batches
from tests.mutants.reach import Reach
from tests.mutants.reach import Test as OneTest

# A line -> all that can become of it.
PYTHON: dict[str, set[str]] = {
    "x = a == b": {"x = a != b"},
    "x = a < b": {"x = a <= b", "x = a >= b"},
    "x = a >= b": {"x = a > b", "x = a < b"},
    "x = a is not None": {"x = a is None"},
    "x = a not in b": {"x = a in b"},
    "x = a < b < c": {"x = a <= b < c", "x = a >= b < c", "x = a < b <= c", "x = a < b >= c"},
    "x = a and b": {"x = a or b", "x = b", "x = a"},
    "x = (a or b) and (c)": {
        "x = (a and b) and (c)",
        "x = (b) and (c)",
        "x = (a) and (c)",
        "x = (a or b) or (c)",
        "x = (c)",
        "x = (a or b)",
    },
    "x = a or b or c": {"x = a and b or c", "x = a or b and c", "x = b or c", "x = a or c", "x = a or b"},
    "x = not (a)": {"x = (a)"},
    "x = -a": {"x = a"},
    "x = a + b": {"x = a - b"},
    "x = a // b": {"x = a * b"},
    "x = a + 'words'": set(),
    "x = isinstance(a, int | None)": set(),
    "x += a": {"x -= a", "pass"},
    "x = True": {"x = False"},
    "x = 0": {"x = 1"},
    "x = 2": {"x = 1", "x = 3"},
    "x = f(4_096)": set(),  # a size
    "x = None": set(),
    "x = 'words'": set(),
    "x = min(a, b)": {"x = max(a, b)"},
    "x = any(a)": {"x = all(a)"},
    "x = a.startswith(b)": {"x = a.endswith(b)"},
    "x = f(a, b.c)": {"x = f(b.c, a)"},
    "x = f(db, a)": set(),
    "x = f(*a, b)": set(),
    "f(a)": {"pass"},
    "log.info(a, b)": set(),
    "a.b = c": {"pass"},
    "a[b] = c": {"pass"},
    "del a[b]": {"pass"},
    "assert a == b": set(),
    "x: int = a": set(),
    "x = [a for a in b if a]": {"x = [a for a in b if True]"},
    "x = a if b else c": {"x = a if not (b) else c"},
    "x = a if b == c else d": {"x = a if b != c else d"},  # what the negated condition would do, too
    "x = é == b": {"x = é != b"},  # columns are in bytes
    'x = f"{a == b}"': set(),
    "raise a": {"pass"},
}
SQL: dict[str, set[str]] = {
    "SELECT a FROM t WHERE b = ?": {"SELECT a FROM t WHERE b <> ?", "SELECT a FROM t WHERE (b = ? OR 1)"},
    "SELECT a FROM t WHERE b <= ? AND c": {
        *(
            "SELECT a FROM t WHERE b < ? AND c",
            "SELECT a FROM t WHERE (b <= ? OR 1) AND c",
            "SELECT a FROM t WHERE b <= ? AND (c OR 1)",
        ),
    },
    "SELECT a FROM t WHERE b BETWEEN ? AND ?": set(),
    "SELECT a FROM t ORDER BY b DESC LIMIT 1": {"SELECT a FROM t ORDER BY b LIMIT 1", "SELECT a FROM t LIMIT 1"},
    "SELECT (SELECT a FROM t WHERE (b IS NULL)) FROM u": {
        "SELECT (SELECT a FROM t WHERE (b IS NOT NULL)) FROM u",
        "SELECT (SELECT a FROM t WHERE ((b IS NULL) OR 1)) FROM u",
    },
    "UPDATE t SET a = ?, b = NULL, c = 0": {"UPDATE t SET a = ?, b = b, c = 0", "UPDATE t SET a = ?, b = NULL, c = c"},
    "UPDATE t SET a = 'success'": {"UPDATE t SET a = a", "UPDATE t SET a = 'leased'"},
    "UPDATE t SET a = a + ?": {"UPDATE t SET a = a - ?"},
    "INSERT OR IGNORE INTO t (a) VALUES (?)": {"INSERT INTO t (a) VALUES (?)"},
    "SELECT max(a) FROM t LEFT JOIN u": {"SELECT min(a) FROM t LEFT JOIN u", "SELECT max(a) FROM t JOIN u"},
    "AND NOT EXISTS (SELECT 1)": {"AND EXISTS (SELECT 1)", "AND (NOT EXISTS (SELECT 1) OR 1)"},
    "SELECT a -> b FROM t": set(),
    "CREATE TABLE t (a CHECK (a = 1 AND b))": set(),
    "a sentence, and one OR another": set(),
}


def becomes(source: str) -> set[str]:
    found = {edits.applied(source, edit) for point in edits.points(source) for edit in point.edits}
    return {text.rstrip("\n") for text in found if text}


@pytest.mark.parametrize("line", PYTHON)
def test_faults_of_a_line(line: str) -> None:
    assert becomes(line) == PYTHON[line]


@pytest.mark.parametrize("statement", SQL)
def test_faults_of_a_statement(statement: str) -> None:
    assert becomes(f'X = "{statement}"') == {f'X = "{text}"' for text in SQL[statement]}


def test_placeholders_of_a_statement_are_left_alone() -> None:
    assert becomes('X = f"SELECT a FROM t WHERE NOT {b if c == d else e}"') == {
        'X = f"SELECT a FROM t WHERE {b if c == d else e}"',
        'X = f"SELECT a FROM t WHERE (NOT {b if c == d else e} OR 1)"',
    }


def test_a_condition_of_a_statement_is_negated_and_a_loop_loses_its_jumps() -> None:
    assert becomes("for a in b:\n    if a:\n        continue\n    break") == {
        "for a in b:\n    if not (a):\n        continue\n    break",
        "for a in b:\n    if a:\n        pass\n    break",
        "for a in b:\n    if a:\n        continue\n    pass",
    }


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("bool", {"def f() -> bool:\n    return not (g(a))"}),
        ("str | None", {"def f() -> str | None:\n    return None"}),
        ("str", set()),
    ],
)
def test_an_answer_is_turned_by_its_annotation(answer: str, found: set[str]) -> None:
    assert becomes(f"def f() -> {answer}:\n    return g(a)") == found


def test_numbers_that_tune_are_left_alone() -> None:
    assert becomes("WAIT_S = 60\nclass A:\n    wait_s: float = 1.5\n    n: int = 1\n") == {
        "WAIT_S = 60\nclass A:\n    wait_s: float = 1.5\n    n: int = 0",
        "WAIT_S = 60\nclass A:\n    wait_s: float = 1.5\n    n: int = 2",
    }
    assert becomes("def f():\n    return 0.5 if a < 60 else b") >= {"def f():\n    return 1.0 if a < 60 else b"}


def test_a_point_knows_the_function_around_it_or_what_is_bound_there() -> None:
    source = "A = 1\nclass B:\n    c = 1\n    def d(self):\n        def e(): return 1\n"
    assert [(point.function, point.names) for point in edits.points(source)] == [("", ("A",)), ("", ("B", "c")), ("B.d", ("B",))]


# What is drawn


def test_a_draw_depends_on_the_seed_alone_and_takes_from_everywhere() -> None:
    drawn = drawing.draw(D4C, 7, 24, "stores/*")
    assert [one.key for one in drawn] == [one.key for one in drawing.draw(D4C, 7, 24, "stores/*")]
    assert [one.key for one in drawn] != [one.key for one in drawing.draw(D4C, 8, 24, "stores/*")]
    assert len(drawn) == 24
    modules = [one.module for one in drawn]
    assert modules == sorted(modules), "strips are in the order of the modules"
    assert len(set(modules)) >= 5
    assert len({one.edit.operator for one in drawn}) >= 6


def test_what_is_drawn_differs_in_one_place_and_is_a_program() -> None:
    for one in drawing.draw(D4C, 3, 20, "fetch/*"):
        assert one.changed == one.source[: one.edit.start] + one.edit.text + one.source[one.edit.end :]
        assert one.diff[0] != one.diff[1]
        compile(one.changed, one.module, "exec")


def test_modules_are_found_by_walking_and_those_of_publishers_are_left_out() -> None:
    modules = D4C.modules()
    assert {path.partition("/")[0] for path in modules} >= {"ledger", "stores", "decode", "fetch", "identity", "sources"}
    assert not [path for path in modules if "publishers" in path or "software" in path or path.startswith(("commands/", "report/"))]


def test_functions_that_use_a_statement_are_found_also_by_way_of_another_constant(tmp_path: Path) -> None:
    project = small(tmp_path)
    users = drawing.Users(project)
    assert users.of("sums.py", ["RATE"]) == {("sums.py", "fee"), ("sums.py", "double")}
    assert users.of("twins.py", ["RATE"]) == set(), "another one of that name"
    assert users.of("sums.py", ["nobody"]) == set()


@pytest.mark.slow
def test_what_runs_when_a_module_is_loaded_is_judged_by_all_tests_that_import_it(tmp_path: Path) -> None:
    """A field's default, say: no function of the program need be reached."""
    project = small(tmp_path)
    mutants = chosen(project, "sums.py", "RATE = 3", "n += 1")
    copies = Copies(project, 1)
    try:
        reach = Reach(project, copies, tmp_path / "out")
        judges = Judges(NEAR, reach, reach.files(), slow=False)
        judges.measure(mutants[0], str)
    finally:
        copies.close()
    by_rate, by_loop = ([test.node_id.rpartition("_")[2] for test in judges.of(one)] for one in mutants)
    assert by_rate[0] == "fee"
    assert set(by_rate) > {"counted", "hasty"}
    assert by_loop == ["counted"]


# What is argued


def test_what_is_argued_still_fits_the_program() -> None:
    """With 0, the line was changed or moved: argue again, or strike it out. With 2, say which by the line above."""
    entries = argued.argued()
    assert [(entry, n) for entry in entries if (n := argued.n_places(entry, D4C)) != 1] == []
    assert all(entry.reason for entry in entries)


def test_an_argument_that_fits_no_line_is_seen() -> None:
    one = drawing.draw(D4C, 1, 1, "*durations.py")[0]
    line, becomes = one.diff
    assert argued.n_places(Argued(one.module, one.point.function, line, becomes, "why"), D4C) == 1
    assert argued.n_places(Argued(one.module, one.point.function, f"{line} # changed", becomes, "why"), D4C) == 0
    assert argued.n_places(Argued(f"moved/{one.module}", one.point.function, line, becomes, "why"), D4C) == 0


def test_an_argument_for_one_of_two_equal_lines_names_the_line_above(tmp_path: Path) -> None:
    entries = [Argued("twins.py", "twice", "return 0", "return 1", "why", above) for above in ("", "if n == 2:")]
    assert [argued.n_places(entry, small(tmp_path)) for entry in entries] == [2, 1]


# How it is judged


def test_tests_come_in_batches_that_begin_small_and_do_not_mix_fast_and_slow_ones() -> None:
    tests = [OneTest(f"t::{n}", 1.0, frozenset(), is_slow=False) for n in range(30)]
    tests += [OneTest("t::slow", 1.0, frozenset(), is_slow=True)]
    assert [len(batch) for batch in batches(tests)] == [4, 20, 6, 1]
    assert [len(batch) for batch in batches([OneTest("t::long", 99.0, frozenset(), is_slow=False)])] == [1]


SMALL = {
    "small/__init__.py": "",
    "small/sums.py": (
        "RATE = 2\n"
        "DOUBLE = (RATE, 1)\n"
        "def fee(n):\n"
        "    if n > 3:\n"
        "        return RATE\n"
        "    return 1\n"
        "def double():\n"
        "    return DOUBLE[0]\n"
        "def counted(n):\n"
        "    while n:\n"
        "        n -= 1\n"
        "def unseen(a, b):\n"
        "    return a == b\n"
        "def hasty(n):\n"
        "    if n >= 0 and n != 0:\n"
        "        return 1\n"
        "    return 0\n"
        "def moody(n):\n"
        "    return n - 1\n"
    ),
    "small/twins.py": "def twice(n):\n    if n == 1:\n        return 0\n    if n == 2:\n        return 0\n    return n\n",
    "small/__main__.py": "from small import elsewhere\nelsewhere.main()\n",
    "small/elsewhere.py": "def main():\n    if 1 < 2:\n        print('yes')\n",
    "tests/test_sums.py": (
        "import subprocess, sys\n"
        "import pytest\n"
        "from small import sums\n"
        "def test_fee():\n"
        "    assert [sums.fee(3), sums.fee(4)] == [1, 2]\n"
        "def test_counted():\n"
        "    sums.counted(3)\n"
        "def test_unseen():\n"
        "    sums.unseen(1, 1)  # and asserts nothing\n"
        "def test_hasty():\n"
        "    assert [sums.hasty(0), sums.hasty(1)] == [0, 1]\n"
        "def test_is_green_the_first_time_only():\n"
        "    assert sums.moody(2) == 1\n"
        "    with open(r'MOOD', 'x'):\n"
        "        pass\n"
        "@pytest.mark.slow\n"
        "def test_another_process():\n"
        "    done = subprocess.run([sys.executable, '-m', 'small'], capture_output=True, text=True)\n"
        "    assert done.stdout == 'yes\\n'\n"
        "def test_is_red_without_any_fault():\n"
        "    sums.unseen(1, 1)\n"
        "    assert False\n"
    ),
    "pytest.ini": "[pytest]\nmarkers =\n    slow\n    cluster\n",
}


def small(folder: Path) -> Project:
    for name, text in SMALL.items():
        path = folder / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("MOOD", str(folder / "mood")), encoding="utf-8")
    return Project(folder / "project", "small")


def chosen(project: Project, module: str, *lines: str) -> list[Mutant]:
    found = {one.diff[1]: one for one in drawing.all_mutants(project, module)}
    return [found[line] for line in lines]


@pytest.mark.slow
def test_what_tests_notice_is_killed_and_what_they_do_not_survives(tmp_path: Path) -> None:
    project = small(tmp_path)
    mutants = chosen(
        project, "sums.py",
        "if n >= 3:",  # on the boundary that a test has
        "RATE = 3",  # a constant, of the function that uses it
        "n += 1",  # never ends
        "return n + 1",  # the test that turns red does so without it, too
        "return a != b",  # a test passes by, but looks away
        "if n > 0 and n != 0:",  # the same
    )  # fmt: skip
    mutants += chosen(project, "elsewhere.py", "if 1 >= 2:")  # in a process that a slow test starts
    entries = [
        Argued("sums.py", "hasty", "if n >= 0 and n != 0:", "if n > 0 and n != 0:", "zero is sorted out by the second clause")
    ]
    options = Options(tmp_path / "out", patience=Patience(budget_s=60.0, limit_s=10.0))
    shown: list[str] = []
    campaign = Campaign(project, options, entries, shown.append)
    verdicts = campaign.run(mutants)
    assert {one.diff[1]: verdicts[one.key].fate for one in mutants} == {
        "if n >= 3:": Fate.KILLED,
        "RATE = 3": Fate.KILLED,
        "n += 1": Fate.OUT_OF_TIME,
        "return n + 1": Fate.SURVIVED,
        "return a != b": Fate.SURVIVED,
        "if n > 0 and n != 0:": Fate.EQUIVALENT,
        "if 1 >= 2:": Fate.KILLED,
    }
    assert verdicts[mutants[0].key].by == "tests/test_sums.py::test_fee"
    assert (verdicts[mutants[4].key].n_tests, campaign.n_red) == (1, 1), "a test that is red anyway kills nobody"
    assert (project.root / "small/sums.py").read_text(encoding="utf-8") == SMALL["small/sums.py"]
    again = Campaign(project, options, entries, shown.append)
    n_shown = len(shown)
    assert again.run(mutants) == verdicts
    assert not [text for text in shown[n_shown:] if text.startswith("measured")], "what was measured and judged is kept"


@pytest.mark.slow
def test_a_small_campaign_on_the_program_finds_all_of_four(tmp_path: Path) -> None:
    """As a person calls it."""
    words = "--seed 1 --count 4 --module *durations.py --tests test_durations.py --fast --json --processes 1 --out"
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutants", *words.split(" "), str(tmp_path)],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["campaign"], figures["seed"], figures["drawn"]) == ("mutants", 1, 4)
    assert (figures["killed"], figures["survived"], figures["share_killed"]) == (4, 0, 1.0), done.stderr
    assert done.returncode == 0
