"""Checks one claim against a whole table within one test: a thousand cheap cases cost more as a thousand tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def thinned(cases: Iterable[Any], every: int) -> list[Any]:
    """All cases for `parametrize`, of which each `every`th belongs to the fast suite, too: the others are marked as slow."""
    return [case if number % every == 0 else _slow(case) for number, case in enumerate(cases)]


def _slow(case: Any) -> Any:
    """Of one argument, or a `pytest.param` of any number."""
    if hasattr(case, "marks"):
        return pytest.param(*case.values, marks=[*case.marks, pytest.mark.slow], id=case.id)
    return pytest.param(case, marks=pytest.mark.slow)


def crossed(*axes: Iterable[Any]) -> list[Any]:
    """All combinations for `parametrize`. The fast suite has those that differ from the first one in one place at most."""
    values = [list(axis) for axis in axes]
    combinations = itertools.product(*(range(len(axis)) for axis in values))
    return [
        pytest.param(
            *(axis[at] for axis, at in zip(values, places, strict=True)),
            marks=[pytest.mark.slow] if sum(at > 0 for at in places) > 1 else [],
        )
        for places in combinations
    ]


def holds_for_each(cases: Iterable[tuple[object, ...]], check: Callable[..., None]) -> None:
    """Call `check` with every case; fail once, with each case that it did not hold for and why."""
    n_cases, failures = 0, []
    for case in cases:
        n_cases += 1
        try:
            check(*case)
        except Exception as error:  # an unforeseen one fails its case, too
            failures.append(f"{case!r}: {type(error).__name__}: {error}")
    assert n_cases, "a table without a row proves nothing"
    assert not failures, f"{len(failures)} of {n_cases} cases:\n" + "\n".join(failures)
