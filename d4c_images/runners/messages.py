"""What coordinator and workers of a cluster say to each other, over the stream that each worker has to Dask's scheduler.

Beside these words go `Orders` to a worker, and from it `Report` and the `D4CError` that ended its work. The stream keeps their
order, so what was said before is known. Holds no behaviour.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from d4c_images.errors import D4CError
from d4c_images.model import Orders, Report
from d4c_images.runners.pipe_worker import Work

OP = "d4c"  # of a message that carries one of our words
BEATS = 10  # in the time after which silence means death


@dataclass(frozen=True, slots=True)
class Setup:
    """To a worker that has joined: what it is to do."""

    work: Callable[[], Work]
    silence_s: float  # see `Beat`


@dataclass(frozen=True, slots=True)
class Beat:
    """A worker says it again and again, with the time by its own clock, and is answered with the same.

    It may go on asking its hosts until `silence_s` after the time that has come back last: whatever the clocks and however long
    an answer was on its way, the coordinator was there then, and counts from a later moment.
    """

    at: float


@dataclass(frozen=True, slots=True)
class Die:
    """To a worker that gives no answer: end the process."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has what it needs and takes turns."""

    node: str
    clock: float  # what its steady clock shows


@dataclass(frozen=True, slots=True)
class Unfit:
    """A worker cannot work on its node, and goes."""

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class GoingHome:
    """A worker starts nothing more: its job ends."""


@dataclass(frozen=True, slots=True)
class Done:
    """A worker has told all and goes."""


ToWorker = Setup | Orders | Beat | Die
ToCoordinator = Ready | Unfit | Report | D4CError | Beat | GoingHome | Done


def message(word: ToWorker | ToCoordinator) -> dict[str, Any]:
    """As Dask carries it."""
    return {"op": OP, "word": pickle.dumps(word)}
