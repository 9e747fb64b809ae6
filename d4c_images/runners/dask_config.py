"""Dask's settings as coordinator and workers need them. What a user has set in Dask's own ways stands."""

from __future__ import annotations

import logging

import dask
import distributed  # noqa: F401  (brings the defaults that ours go before)
from dask.utils import parse_timedelta

from d4c_images.steward.terms import LOST_WORKER_ASKS_S

dask.config.update_defaults(
    {
        "distributed": {
            "scheduler": {"worker-ttl": f"{LOST_WORKER_ASKS_S}s", "allowed-failures": 0},
            "comm": {"timeouts": {"connect": "20s", "tcp": "20s"}},
            "worker": {"profile": {"enabled": False}},
            # Messages that were sent would be kept otherwise, a thousand for each connection.
            "admin": {"low-level-log-length": 0},
        }
    }
)
logging.getLogger("distributed").setLevel(logging.ERROR)  # our own log says who comes and goes


def silence_s() -> float:
    """How long a worker that is out of touch with the coordinator may go on, and after which it is taken for dead."""
    return seconds_of("distributed.scheduler.worker-ttl")


def seconds_of(name: str) -> float:
    """A time among Dask's settings. Raises `ValueError`, or whatever else nonsense leads to there."""
    value = dask.config.get(name)
    seconds = parse_timedelta(value)
    if seconds is None or not 0 < seconds < float("inf"):
        raise ValueError(f"{value!r} is not a valid timeout")
    return float(seconds)
