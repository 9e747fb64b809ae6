"""Which tests reach which functions, and how long they take: measured once with the program as it is, and kept in `bench/out`.

Each test file is measured by itself, its fast tests and its slow ones apart. What was measured is used again as long as the test
file and the list of modules stay the same; `fresh` measures anew. Tests that are red without any fault, or under the recorder, do
not judge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from tests.mutants.copies import Copies
from tests.mutants.drawing import LEFT_OUT, Mutant, Project, Users

FAST, SLOW = "not slow and not cluster", "slow and not cluster"
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
        self._modules = sorted(path.relative_to(project.root).as_posix() for path in (project.root / project.package).rglob("*.py"))
        self.n_red = 0
        self.tests: list[Test] = []

    def measure(self, *, slow: bool, only: str = "*", show: Callable[[str], None] = print) -> None:
        """Learn what the tests of one kind reach."""
        files = sorted(path.relative_to(self._project.root) for path in (self._project.root / "tests").glob("test_*.py"))
        wanted = [path for path in files if fnmatch(path.name, only) and path.name not in self._project.not_judges]
        with ThreadPoolExecutor(self._copies.n) as pool:
            for found in pool.map(partial(self._of_file, slow=slow, show=show), wanted):
                self.n_red += sum(not test["passed"] for test in found["tests"].values())
                self.tests += _tests(found, is_slow=slow)

    def _of_file(self, path: Path, *, slow: bool, show: Callable[[str], None]) -> dict[str, Any]:
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
            if ran.code not in (0, 1, NO_TESTS):
                raise RuntimeError(f"{path} does not run: {ran.output[-2000:]}")
            return _read(notes.read_text(encoding="utf-8").splitlines())

    def of(self, mutant: Mutant) -> list[Test]:
        """The tests that reach a mutant, nearest first; those that reach its module if none is known to reach its function."""
        module, point = mutant.module, mutant.point
        wanted = {(module, point.function)} if point.function else self._users.of(module, point.names)
        found = [test for test in self.tests if not wanted.isdisjoint(test.reached)]
        found = found or [test for test in self.tests if any(other == module for other, _ in test.reached)]
        return sorted(found, key=lambda test: test.rank)


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
