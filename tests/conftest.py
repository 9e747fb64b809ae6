"""Fixtures that tests of several parts share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.publishers.client import Publishers

# No deadline for one example: other programs run on the machine too. A mutant need only be found, not explained.
settings.register_profile("here", deadline=None)
settings.register_profile("mutants", deadline=None, phases=[Phase.generate])
settings.load_profile("here")

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
