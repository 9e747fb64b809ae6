"""Fixtures that tests of several parts share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.publishers.client import Publishers
from tests.support.properties import FAST, SHARE

# Other programs run on the machine too: no deadline for one example, and no health of slow ones. The examples are the same each
# time, so that what has passed here passes elsewhere; `--hypothesis-profile explore` draws new ones. A mutant need only be found.
# A property that says how many examples it takes says so by `examples(n)`, of which "make test-fast" draws a share.
ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("here", ANY_SPEED, derandomize=True, database=None)
settings.register_profile("explore", ANY_SPEED)
settings.register_profile(FAST, ANY_SPEED, derandomize=True, database=None, max_examples=100 // SHARE)
settings.register_profile("mutants", ANY_SPEED, derandomize=True, database=None, phases=[Phase.generate])
settings.load_profile("here")

# Under nohup, or in the background of a script, these are ignored here and in all that is started from here. What has a handler is
# ignored here alone.
for one in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(one) is signal.SIG_IGN:
        signal.signal(one, lambda *_: None)

ROWS = Path(__file__).parent / "rows"


@pytest.fixture(scope="session")
def publishers_process() -> Iterator[Publishers]:
    """The publishers' server, once per test session. Tests take `publishers`."""
    with Publishers() as running:
        yield running


@pytest.fixture
def publishers(publishers_process: Publishers) -> Publishers:
    """The publishers' server with all hosts well and all counters at zero."""
    publishers_process.reset()
    return publishers_process
