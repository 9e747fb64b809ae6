"""Which tests reach which functions, and how long they take: measured once with the program as it is, and kept in `bench/out`.

Each test file is measured by itself, its fast tests and its slow ones apart. What was measured is used again as long as the test
file and the list of modules stay the same; `fresh` measures anew. Tests that are red without any fault, or under the recorder, do
not judge.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from tests.mutants.copies import Copies
from tests.mutants.drawing import LEFT_OUT, Mutant, Project, Users

FAST, SLOW = "not slow and not system", "slow and not system"
NO_TESTS = 5  # pytest's exit code
LIMIT_S = 1800.0  # for a file

Function = tuple[str, str]  # module below the package, qualified name


@dataclass(frozen=True, slots=True)
class Test:
    """One test, as it ran with the program unchanged."""

    node_id: str
    took_s: float
    reached: frozenset[Function]
    is_slow: bool

    @property
    def file(self) -> str:
        return self.node_id.partition("::")[0]

    @property
    def rank(self) -> tuple[bool, int, str]:
        """Fast ones first; of those, the one that does the least else is the nearest."""
        return self.is_slow, len(self.reached), self.node_id


class Reach:
    def __init__(self, project: Project, copies: Copies, folder: Path, *, fresh: bool = False) -> None:
        self._project = project
        self._copies = copies
        self._folder = folder
        self._fresh = fresh
        self._users = Users(project)
        self._imported: dict[str, set[str]] = {}
        self._modules = sorted(path.relative_to(project.root).as_posix() for path in (project.root / project.package).rglob("*.py"))
        self._measured: dict[tuple[str, bool], list[Test]] = {}
        self.red: set[str] = set()

    def files(self, only: str = "*") -> list[str]:
        """Test files that judge, as paths below the root."""
        found = sorted(path.relative_to(self._project.root) for path in (self._project.root / "tests").rglob("test_*.py"))
        return [str(path) for path in found if fnmatch(path.name, only) and str(path) not in self._project.not_judges]

    def near(self, module: str, files: Iterable[str]) -> list[str]:
        """Those that import a module by itself, or only the package that it is in."""
        name = module.removesuffix(".py").replace("/", ".")
        wanted = {name, name.rpartition(".")[0]} - {""}
        return [path for path in files if wanted & self._imports(path)]

    def _imports(self, path: str) -> set[str]:
        if path not in self._imported:
            text = (self._project.root / path).read_text(encoding="utf-8")
            self._imported[path] = set(_imported(ast.parse(text), self._project.package, set(self._modules)))
        return self._imported[path]

    def measure(self, files: Iterable[str], *, slow: bool, show: Callable[[str], None] = print) -> None:
        """Learn what the tests of one kind reach."""
        wanted = [path for path in files if (path, slow) not in self._measured]
        for path, found in self._copies.each(partial(self._of_file, slow=slow, show=show), wanted):
            self.red |= {name for name, test in found["tests"].items() if not test["passed"]}
            self._measured[path, slow] = list(_tests(found, is_slow=slow))

    @property
    def n_tests(self) -> int:
        return sum(map(len, self._measured.values()))

    def _of_file(self, name: str, *, slow: bool, show: Callable[[str], None]) -> dict[str, Any]:
        path = Path(name)
        if slow and "slow" not in (self._project.root / path).read_text(encoding="utf-8"):
            return {"functions": [], "tests": {}}
        kept = self._folder / f"{path.stem}.{'slow' if slow else 'fast'}.json"
        key = self._key(path)
        if kept.exists() and not self._fresh:
            found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
            if found["key"] == key:
                return found
        found = {"key": key, **self._run(path, SLOW if slow else FAST)}
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found), encoding="utf-8")
        took_s = sum(test["took_s"] for test in found["tests"].values())
        red = [name for name, test in found["tests"].items() if not test["passed"]]
        words = f"measured {path}, {'slow' if slow else 'fast'}: {len(found['tests'])} tests, {took_s:.1f} s"
        show(f"{words}; red: {', '.join(red)}" if red else words)
        return found

    def _key(self, path: Path) -> str:
        text = (self._project.root / path).read_text(encoding="utf-8")
        return hashlib.sha256("\n".join((text, *self._modules)).encode()).hexdigest()

    def _run(self, path: Path, marks: str) -> dict[str, Any]:
        with self._copies.one() as copy:
            notes = copy.folder / "notes"
            notes.unlink(missing_ok=True)
            extra = {"MUTANTS_REACH": str(notes), "MUTANTS_PACKAGE": self._project.package}
            ran = copy.pytest(["-m", marks, str(path)], LIMIT_S, extra)
            found = _read(notes.read_text(encoding="utf-8").splitlines() if notes.exists() else ())
            if ran.code not in (0, 1, NO_TESTS) or bool(found["tests"]) == (ran.code == NO_TESTS):
                raise RuntimeError(f"{path} does not run: {ran.output[-2000:]}")
            return found

    def of(self, mutant: Mutant, files: Iterable[str], *, slow: bool) -> list[Test]:
        """The tests of some files that reach a mutant, nearest first."""
        module, point = mutant.module, mutant.point
        wanted = {(module, point.function)} if point.function else self._users.of(module, point.names)
        tests = [test for path in files for test in self._measured[path, slow]]
        return sorted((test for test in tests if not wanted.isdisjoint(test.reached)), key=lambda test: test.rank)

    def all_of(self, files: Iterable[str]) -> list[Test]:
        """All fast tests of some files: for what runs when a module is loaded."""
        return sorted((test for path in files for test in self._measured[path, False]), key=lambda test: test.rank)

    def of_module(self, mutant: Mutant, files: Iterable[str], *, slow: bool) -> list[Test]:
        """Those that reach anything of its module: for a function that is newer than what was measured."""
        tests = [test for path in files for test in self._measured[path, slow]]
        found = (test for test in tests if any(module == mutant.module for module, _ in test.reached))
        return sorted(found, key=lambda test: test.rank)


def _imported(tree: ast.Module, package: str, modules: set[str]) -> Iterator[str]:
    """Dotted names below the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[2] for alias in node.names if alias.name.startswith(f"{package}."))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == package:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if f"{full.replace('.', '/')}.py" in modules else node.module).partition(".")[2]


def _read(lines: Iterable[str]) -> dict[str, Any]:
    """What the recorder wrote down."""
    numbers: dict[str, int] = {}
    reached: dict[str, set[int]] = {}
    tests: dict[str, dict[str, Any]] = {}
    for line in lines:
        kind, test, *rest = line.split("\t")
        if kind == "ran":
            one = tests.setdefault(test, {"took_s": 0.0, "passed": True})
            one["took_s"] = round(one["took_s"] + float(rest[1]), 3)
            one["passed"] = one["passed"] and rest[0] == "passed"
        else:
            module, function = rest
            if not any(fnmatch(module, one) for one in LEFT_OUT):
                reached.setdefault(test, set()).add(numbers.setdefault(f"{module}:{function}", len(numbers)))
    for test, one in tests.items():
        one["reached"] = sorted(reached.get(test, ()))
    return {"functions": list(numbers), "for_all": sorted(reached.get("*", ())), "tests": tests}


def _tests(found: dict[str, Any], *, is_slow: bool) -> Iterable[Test]:
    functions = [tuple(name.split(":", 1)) for name in found["functions"]]
    for node_id, test in found["tests"].items():
        if test["passed"]:
            reached = frozenset(functions[number] for number in (*test["reached"], *found["for_all"]))
            yield Test(node_id, test["took_s"], reached, is_slow)
