"""The course of a campaign: mutants are judged by the fast tests of files that import their module; survivors of those by all other
fast tests; survivors of those by the slow ones. Tests are measured when they are first needed.

A journal in `bench/out` keeps what was judged, so that a campaign that was stopped goes on; it holds for one state of program and
tests.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.mutants.argued import Argued, reason
from tests.mutants.copies import Copies
from tests.mutants.drawing import Mutant, Project
from tests.mutants.judging import Fate, Patience, Verdict, judge
from tests.mutants.reach import Reach, Test

NEAR, FAST, SLOW = "near", "fast", "slow"


@dataclass(frozen=True, slots=True)
class Options:
    folder: Path  # for what is measured, and the journal
    kinds: Sequence[str] = (FAST, SLOW)  # of tests
    tests: str = "*"  # names of test files
    patience: Patience = field(default_factory=Patience)  # the budget is one of each kind
    processes: int = 1
    fresh: bool = False


class Journal:
    def __init__(self, project: Project, options: Options) -> None:
        name = f"{_state(project)}-{hashlib.sha256(f'{options.tests} {options.patience}'.encode()).hexdigest()[:4]}"
        self._path = options.folder / f"journal-{name}.jsonl"
        self._known: dict[str, Verdict] = {}
        if self._path.exists() and not options.fresh:
            for line in self._path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                verdict = entry["verdict"]
                self._known[entry["key"]] = Verdict(**{**verdict, "fate": Fate(verdict["fate"])})

    def get(self, key: str) -> Verdict | None:
        return self._known.get(key)

    def put(self, key: str, verdict: Verdict) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "verdict": asdict(verdict)}) + "\n")


def _state(project: Project) -> str:
    digest = hashlib.sha256()
    for folder in (project.package, "tests"):
        for path in sorted((project.root / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and Path(__file__).parent not in path.parents:
                digest.update(f"{path.relative_to(project.root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


class Campaign:
    def __init__(self, project: Project, options: Options, entries: Iterable[Argued], show: Callable[[str], None]) -> None:
        self._project = project
        self._options = options
        self._entries = list(entries)
        self._show = show
        self._journal = Journal(project, options)
        self.n_red = 0
        self.n_tests = 0

    def run(self, mutants: Sequence[Mutant]) -> dict[str, Verdict]:
        """By `Mutant.key`."""
        verdicts: dict[str, Verdict] = {}
        for one in mutants:
            entry = reason(one, self._entries)
            if entry and not entry.costs_only:
                verdicts[one.key] = Verdict(Fate.EQUIVALENT, entry.reason, 0)
        left = [one for one in mutants if one.key not in verdicts]
        copies = Copies(self._project, self._options.processes)
        try:
            reach = Reach(self._project, copies, self._options.folder / "reach", fresh=self._options.fresh)
            for judges in self._judges(reach):
                left = self._stage(left, judges, copies, verdicts) if left else []
            self.n_red, self.n_tests = len(reach.red), reach.n_tests
        finally:
            copies.close()
        return verdicts

    def _judges(self, reach: Reach) -> list[Judges]:
        files = reach.files(self._options.tests)
        stages = [Judges(NEAR, reach, files, slow=False)] if FAST in self._options.kinds else []
        return stages + [Judges(kind, reach, files, slow=kind == SLOW) for kind in self._options.kinds]

    def _stage(self, mutants: list[Mutant], judges: Judges, copies: Copies, verdicts: dict[str, Verdict]) -> list[Mutant]:
        """Have mutants judged by some of the tests. Returns those that survive."""
        left = [one for one in mutants if self._journal.get(f"{judges.name}:{one.key}") is None]
        one_at_a_time = threading.Lock()

        def of(one: Mutant) -> Verdict:
            if known := self._journal.get(f"{judges.name}:{one.key}"):
                return known
            with one_at_a_time:
                judges.measure(one, self._show)
            with copies.one() as copy:
                return judge(one, judges.of(one), copy, self._options.patience)

        for number, (one, verdict) in enumerate(copies.each(of, mutants), 1):
            if one in left:
                self._journal.put(f"{judges.name}:{one.key}", verdict)
            before = verdicts.get(one.key)
            verdicts[one.key] = _both(before, verdict) if before else verdict
            self._show(f"[{number}/{len(mutants)}] {judges.name} tests: {line(one, verdict)}")
        return [one for one in mutants if verdicts[one.key].fate is Fate.SURVIVED]


@dataclass(frozen=True)
class Judges:
    """Some of the tests: fast ones of files that import the mutant's module; all others that are fast; slow ones."""

    name: str
    reach: Reach
    files: Sequence[str]
    slow: bool

    def measure(self, mutant: Mutant, show: Callable[[str], None]) -> None:
        files = self._of_module(mutant.module) if self.name == NEAR else self.files
        self.reach.measure(files, slow=self.slow, show=show)

    def of(self, mutant: Mutant) -> list[Test]:
        if self.name == NEAR:
            near = self._of_module(mutant.module)
            tests = self.reach.of(mutant, near, slow=False)
            return tests if mutant.point.function else list(dict.fromkeys((*tests, *self.reach.all_of(near))))
        tests = self.reach.of(mutant, self.files, slow=self.slow)
        if self.name == FAST:
            tests = tests or self.reach.of_module(mutant, self.files, slow=False)
            done = set(self._of_module(mutant.module))
            return [test for test in tests if test.file not in done]
        return tests

    def _of_module(self, module: str) -> list[str]:
        return self.reach.near(module, self.files)


def _both(fast: Verdict, slow: Verdict) -> Verdict:
    return Verdict(slow.fate, slow.by, fast.n_tests + slow.n_tests, is_cut=fast.is_cut or slow.is_cut)


def line(one: Mutant, verdict: Verdict) -> str:
    by = f", by {verdict.by}" if verdict.by else f" {verdict.n_tests} tests{' (cut at the budget)' if verdict.is_cut else ''}"
    return f"{one.name} {one.edit.operator}: {verdict.fate}{by}"
