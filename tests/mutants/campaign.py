"""The course of a campaign: the tests are measured, mutants judged by the fast ones, and survivors of those by the slow ones.

A journal in `bench/out` keeps what was judged, so that a campaign that was stopped goes on; it holds for one state of program and
tests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.mutants.argued import Argued, reason
from tests.mutants.copies import Copies
from tests.mutants.drawing import Mutant, Project
from tests.mutants.judging import Fate, Patience, Verdict, judge
from tests.mutants.reach import Reach

FAST, SLOW = "fast", "slow"


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
            for kind in self._options.kinds:
                if left:
                    reach.measure(slow=kind == SLOW, only=self._options.tests, show=self._show)
                    self._judge(left, reach, copies, kind, verdicts)
                    left = [one for one in left if verdicts[one.key].fate is Fate.SURVIVED]
            self.n_red, self.n_tests = reach.n_red, len(reach.tests)
        finally:
            copies.close()
        return verdicts

    def _judge(self, mutants: Sequence[Mutant], reach: Reach, copies: Copies, kind: str, verdicts: dict[str, Verdict]) -> None:
        def of(one: Mutant) -> Verdict:
            key = f"{kind}:{one.key}"
            if known := self._journal.get(key):
                return known
            tests = [test for test in reach.of(one) if test.is_slow == (kind == SLOW)]
            with copies.one() as copy:
                return judge(one, tests, copy, self._options.patience)

        with ThreadPoolExecutor(copies.n) as pool:
            futures = {pool.submit(of, one): one for one in mutants}
            for number, future in enumerate(as_completed(futures), 1):
                one, verdict = futures[future], future.result()
                key = f"{kind}:{one.key}"
                if not self._journal.get(key):
                    self._journal.put(key, verdict)
                before = verdicts.get(one.key)
                verdicts[one.key] = _both(before, verdict) if before else verdict
                self._show(f"[{number}/{len(mutants)}] {kind} tests: {line(one, verdict)}")


def _both(fast: Verdict, slow: Verdict) -> Verdict:
    return Verdict(slow.fate, slow.by, fast.n_tests + slow.n_tests, is_cut=fast.is_cut or slow.is_cut)


def line(one: Mutant, verdict: Verdict) -> str:
    by = f", by {verdict.by}" if verdict.by else f" {verdict.n_tests} tests{' (cut at the budget)' if verdict.is_cut else ''}"
    return f"{one.name} {one.edit.operator}: {verdict.fate}{by}"
