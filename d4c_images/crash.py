"""Named crash points, where a test kills the process. Costs one comparison, and does nothing unless a point is armed."""

from __future__ import annotations

import os
import signal

# Read once, here and not in `settings`: it is not a user's setting, and a point may be passed before there are settings.
_armed, _, _passes = os.environ.get("D4C_CRASH_AT", "").partition(":")
_passes_left = int(_passes or 1)


def point(name: str) -> None:
    """Die as by `kill -9` if `D4C_CRASH_AT` is `name`, or at the n-th pass if it is `name:n`."""
    if name == _armed:
        _die_when_due()


def _die_when_due() -> None:
    global _passes_left
    _passes_left -= 1
    if _passes_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
