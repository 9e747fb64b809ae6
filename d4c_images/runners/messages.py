"""The messages between coordinator and workers of a cluster, over each worker's stream to Dask's scheduler. Holds no behaviour.

In addition, `Orders` go to a worker, and `Report`s and the `D4CError` that ended its work come from it. The stream is ordered, so
earlier messages have been received.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from d4c_images.errors import D4CError
from d4c_images.model import Orders, Report
from d4c_images.runners.pipe_worker import Work

OP = "d4c"  # the operation of our messages in Dask's protocol
BEATS = 10  # heartbeats within the silence that counts as death


@dataclass(frozen=True, slots=True)
class Setup:
    """To a worker that has joined: what to do."""

    work: Callable[[], Work]
    silence_s: float  # see `Beat`


@dataclass(frozen=True, slots=True)
class Beat:
    """A worker's heartbeat, with the time by its own clock; the answer repeats it.

    The worker may send requests until `silence_s` after the latest time that has come back: whatever the clocks and the delay of an
    answer, the coordinator was alive then, and counts from a later moment.
    """

    at: float


@dataclass(frozen=True, slots=True)
class Die:
    """To an unresponsive worker: exit."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker is set up and accepts turns."""

    node: str
    clock: float  # reading of its steady clock


@dataclass(frozen=True, slots=True)
class Unfit:
    """A worker cannot work on its node, and exits."""

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class GoingHome:
    """A worker starts no more requests: its job ends."""


@dataclass(frozen=True, slots=True)
class Done:
    """A worker has reported everything and exits."""


ToWorker = Setup | Orders | Beat | Die
ToCoordinator = Ready | Unfit | Report | D4CError | Beat | GoingHome | Done


def message(word: ToWorker | ToCoordinator) -> dict[str, Any]:
    """In the form that Dask carries."""
    return {"op": OP, "word": pickle.dumps(word)}
