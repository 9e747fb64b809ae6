"""The tests' own tools: what they claim must be able to fail."""

from __future__ import annotations

import pytest

from tests.support.sweep import holds_for_each


def is_even(number: int) -> None:
    assert number % 2 == 0


def test_a_sweep_names_each_case_that_fails() -> None:
    with pytest.raises(AssertionError, match=r"(?s)2 of 3 cases:\n\(1,\): AssertionError.*\('x',\): TypeError") as failed:
        holds_for_each([(1,), (2,), ("x",)], is_even)
    assert "(2,)" not in str(failed.value)


def test_a_sweep_over_no_case_fails() -> None:
    with pytest.raises(AssertionError, match="proves nothing"):
        holds_for_each([], is_even)
