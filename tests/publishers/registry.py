"""The table of behaviours: name, one-line doc, function. `evils.py` and `bodies.py` fill it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.publishers.wire import Ask, Step, Steps


@dataclass(frozen=True, slots=True)
class Behaviour:
    name: str
    doc: str
    answer: Callable[[Ask], Steps]


BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(answer: Callable[[Ask], Steps]) -> Callable[[Ask], Steps]:
    """Registers a generator of steps under its own name, with its docstring."""
    add(answer.__name__, answer.__doc__ or "", answer)
    return answer


def add(name: str, doc: str, answer: Callable[[Ask], Steps]) -> None:
    if name in BEHAVIOURS:
        raise ValueError(f"two behaviours {name!r}")
    BEHAVIOURS[name] = Behaviour(name, doc.strip(), answer)


def add_single(name: str, doc: str, make: Callable[[Ask], Step]) -> None:
    """A behaviour of one step."""
    add(name, doc, lambda ask: iter((make(ask),)))
