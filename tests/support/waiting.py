"""Waiting without delay: a clock that advances only by sleeping, and events that happen in the meantime."""

from __future__ import annotations

from collections.abc import Callable

from d4c_images.ledger.file.liveness import Patience


class Waiting:
    """`each` is called after each sleep, with the seconds waited so far."""

    def __init__(self, each: Callable[[float], None] = lambda waited_s: None) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self._each = each

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._each(self.now)

    def patience(self, job_id: str | None = None, is_over: Callable[[], str | None] = lambda: None) -> Patience:
        return Patience(self.said.append, is_over, job_id, lambda: self.now, self.sleep)
