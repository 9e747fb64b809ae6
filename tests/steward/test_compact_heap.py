"""Against a sorted list: whatever is pushed comes out once, smallest first, however often the heap spills, merges and prunes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.steward import compact_heap
from d4c_images.steward.compact_heap import CompactHeap

KEYS = st.integers(0, 9).map(float)
STEPS = st.lists(st.one_of(KEYS, st.lists(KEYS, max_size=9), st.none()), max_size=60)


@given(STEPS)
def test_entries_come_in_the_order_of_their_keys(steps: list[float | list[float] | None]) -> None:
    """A number is pushed, a list is pushed at once, None takes the first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact_heap, "MAX_NEW", 3)
        patch.setattr(compact_heap, "LEAST_PRUNED", 5)
        heap = CompactHeap(lambda keys, numbers: np.ones(len(keys), bool))
        model: list[tuple[float, int]] = []
        number = 0
        for step in steps:
            if step is None:
                if (first := heap.first()) is not None:
                    model.remove(first)
                    heap.drop_first()
            elif isinstance(step, list):
                heap.extend(np.array(step), np.arange(number, number + len(step), dtype=np.int32))
                model += [(key, number + at) for at, key in enumerate(step)]
                number += len(step)
            else:
                heap.push(step, number)
                model.append((step, number))
                number += 1
            first = heap.first()
            assert len(heap) == len(model)
            assert (first is None) == (not model)
            assert first is None or (first in model and first[0] == min(model)[0])
        left = []
        while first := heap.first():
            left.append(first)
            heap.drop_first()
    assert [key for key, _ in left] == sorted(key for key, _ in model)
    assert sorted(left) == sorted(model)


def test_there_are_few_runs_whatever_their_number_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact_heap, "MAX_NEW", 3)
    heap = CompactHeap(lambda keys, numbers: np.ones(len(keys), bool))
    for number in range(4 * 500):
        heap.push(float(number), number)
    assert len(heap._runs) <= 10  # each at least twice as long as the next: log2 of 500
    n_left = [run.n_left for run in heap._runs]
    assert all(2 * short <= long for long, short in pairwise(n_left))
