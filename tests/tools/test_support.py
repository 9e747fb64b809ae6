"""The tests' own tools: what they claim must be able to fail."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sweep import crossed, holds_for_each, thinned


def is_even(number: int) -> None:
    assert number % 2 == 0


def test_a_sweep_names_each_case_that_fails() -> None:
    with pytest.raises(AssertionError, match=r"(?s)2 of 3 cases:\n\(1,\): AssertionError.*\('x',\): TypeError") as failed:
        holds_for_each([(1,), (2,), ("x",)], is_even)
    assert "(2,)" not in str(failed.value)


def in_the_fast_suite(cases: list[Any]) -> list[Any]:
    return [case for case in cases if not getattr(case, "marks", ())]


def test_all_cases_of_a_thinned_list_are_there_and_some_are_fast() -> None:
    cases = thinned(range(7), 3)
    assert [getattr(case, "values", (case,))[0] for case in cases] == list(range(7))
    assert in_the_fast_suite(cases) == [0, 3, 6]


def test_every_combination_is_there_and_every_value_is_fast_once() -> None:
    cases = crossed("ab", range(3))
    assert [case.values for case in cases] == [(letter, number) for letter in "ab" for number in range(3)]
    assert [case.values for case in in_the_fast_suite(cases)] == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]


def test_a_sweep_over_no_case_fails() -> None:
    with pytest.raises(AssertionError, match="proves nothing"):
        holds_for_each([], is_even)
