"""Whether Dask can be imported with the user's Dask settings. Imports it; sets none."""

from __future__ import annotations

from d4c_images.errors import UsageError

# What Dask raises on import, or on reading a setting, if the settings are invalid.
TROUBLE = (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
TIMES = ("distributed.scheduler.worker-ttl", "distributed.comm.timeouts.connect", "distributed.comm.timeouts.tcp")


def check() -> None:
    """Raises `UsageError`, in one line."""
    name = ""
    try:
        from d4c_images.runners.dask_config import seconds_of

        for name in TIMES:
            seconds_of(name)
    except TROUBLE as error:
        words = " ".join(str(error).split())[:300]
        raise UsageError(
            f"invalid Dask configuration (~/.config/dask, /etc/dask, DASK_...): {f'{name}: ' if name else ''}{words}"
        ) from error
