"""Fixtures that tests of several parts share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.publishers.client import Publishers

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
