"""How many examples Hypothesis draws for a property: all in `make test`, a share in `make test-fast`."""

from __future__ import annotations

from hypothesis import settings

FAST = "fast"  # the profile of `make test-fast`
SHARE = 5


def examples(n: int, fast: int | None = None) -> int:
    """`n`; in the fast profile a fifth of that, or `fast`."""
    if settings.get_current_profile_name() != FAST:
        return n
    return fast or max(2, n // SHARE)
