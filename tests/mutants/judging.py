"""Judges mutants: runs the tests that reach one, nearest first, until one turns red. Prints nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, repeat
from typing import NamedTuple

from tests.mutants.copies import Copy
from tests.mutants.drawing import Mutant
from tests.mutants.reach import NO_TESTS, Test

TIMES = 3.0  # what a batch took without a fault, under the recorder
BATCHES_S = (4.0, 20.0, 60.0)  # of the first batches; all others are as long as the last of these
RED = re.compile(r"^(?:FAILED|ERROR) .*", re.M)


class Fate(StrEnum):
    KILLED = "killed"
    OUT_OF_TIME = "out of time"  # an endless loop: counts as killed
    SURVIVED = "survived"
    EQUIVALENT = "equivalent"  # argued in equivalent.toml


@dataclass(frozen=True, slots=True)
class Verdict:
    fate: Fate
    by: str  # the test that turned red; the reason of an equivalent one
    n_tests: int  # that were run, or would have been
    is_cut: bool = False  # tests beyond the budget were not run


@dataclass(frozen=True, slots=True)
class Patience:
    budget_s: float = 600.0  # of tests for a mutant, as they run without a fault
    limit_s: float = 60.0  # a batch of tests has this long, and some times what it takes without a fault


def judge(mutant: Mutant, tests: Sequence[Test], copy: Copy, patience: Patience) -> Verdict:
    """`tests` are those that reach the mutant, in the order in which they are run."""
    chosen = list(_within(tests, patience.budget_s))
    n_run = 0
    for batch in batches(chosen):
        n_run += len(batch)
        while batch:
            with copy.changed(mutant.module, mutant.changed):
                red = _run(batch, copy, patience.limit_s)
            if red is None:
                break
            if _run(red.tests, copy, patience.limit_s) is None:
                return Verdict(red.fate, red.by, n_run)
            batch = [test for test in batch if test not in red.tests]  # they are red by themselves now, and say nothing
    return Verdict(Fate.SURVIVED, "", n_run, is_cut=len(chosen) < len(tests))


def _within(tests: Sequence[Test], budget_s: float) -> Iterator[Test]:
    for test in tests:
        budget_s -= test.took_s
        if budget_s < 0:
            return
        yield test


def batches(tests: Sequence[Test]) -> Iterator[list[Test]]:
    """Small ones first: most faults are found by the first few tests. Fast and slow ones do not mix."""
    limits = chain(BATCHES_S, repeat(BATCHES_S[-1]))
    most_s = next(limits)
    batch: list[Test] = []
    took_s = 0.0
    for test in tests:
        if batch and (took_s + test.took_s > most_s or test.is_slow != batch[-1].is_slow):
            yield batch
            batch, took_s, most_s = [], 0.0, next(limits)
        batch.append(test)
        took_s += test.took_s
    if batch:
        yield batch


class _Red(NamedTuple):
    fate: Fate
    by: str
    tests: Sequence[Test]


def _run(batch: Sequence[Test], copy: Copy, limit_s: float) -> _Red | None:
    """What a batch says; None if all of it is green."""
    files = list(dict.fromkeys(test.file for test in batch))
    by_file = sorted(batch, key=lambda test: files.index(test.file))
    picked = copy.folder / "picked"
    picked.write_text("".join(f"{test.node_id}\n" for test in by_file), encoding="utf-8")
    most_s = limit_s + TIMES * sum(test.took_s for test in batch)
    ran = copy.pytest(["-x", *files], most_s, {"MUTANTS_PICKED": str(picked)})
    if ran.code is None:
        return _Red(Fate.OUT_OF_TIME, by_file[0].node_id if len(by_file) == 1 else f"one of {len(by_file)}", batch)
    if ran.code in (0, NO_TESTS):
        return None
    for line in RED.findall(ran.output):
        named = [test for test in batch if line.startswith((f"FAILED {test.node_id}", f"ERROR {test.node_id}"))]
        blamed = [max(named, key=lambda test: len(test.node_id))] if named else [test for test in batch if test.file in line]
        if blamed:
            return _Red(Fate.KILLED, blamed[0].node_id if named else blamed[0].file, blamed)
    if ran.code < 0 or "INTERNALERROR" in ran.output or "while loading conftest" in ran.output:
        return _Red(Fate.KILLED, f"exit code {ran.code}", batch)
    raise RuntimeError(f"no test said anything: {ran.output[-2000:]}")  # nobody is to be killed by a broken environment
