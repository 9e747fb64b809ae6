"""A memory budget that records what was taken from it; otherwise like any other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from d4c_images.decode.memory_budget import MemoryBudget


class CountedBudget(MemoryBudget):
    def __init__(self, own_bytes: int, common_bytes: int) -> None:
        super().__init__(own_bytes, common_bytes)
        self.taken_bytes: list[int] = []  # of each time

    @contextmanager
    def taken(self, need_bytes: int) -> Iterator[None]:
        self.taken_bytes.append(need_bytes)
        with super().taken(need_bytes):
            yield
