"""Dask's settings as coordinator and workers need them. The user's own Dask settings take precedence."""

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
            # Sent messages would otherwise be kept, a thousand per connection.
            "admin": {"low-level-log-length": 0},
        }
    }
)
logging.getLogger("distributed").setLevel(logging.ERROR)  # our own log reports who joins and leaves


def silence_s() -> float:
    """How long a worker without contact to the coordinator may go on, and after which it is taken for dead."""
    return seconds_of("distributed.scheduler.worker-ttl")


def seconds_of(name: str) -> float:
    """A duration from Dask's settings. Raises `ValueError`, or whatever else an invalid setting leads to."""
    value = dask.config.get(name)
    seconds = parse_timedelta(value)
    if seconds is None or not 0 < seconds < float("inf"):
        raise ValueError(f"{value!r} is not a valid timeout")
    return float(seconds)
