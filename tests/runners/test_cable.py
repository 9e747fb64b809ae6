"""A cable is pulled between the coordinator and its workers, who still reach the publishers. Needs root: a network of its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cluster.nodes import start_workers
from tests.publishers.client import Publishers
from tests.runners.test_nodes import (
    HOSTS,
    SILENCE_S,
    SOON,
    await_line,
    await_requests,
    init,
    is_complete,
    no_host_saw_more_than_its_limit,
)
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, reach

pytestmark = pytest.mark.system

NODE = f"d4c-head-{os.getpid() % 10_000}"
OURS, THEIRS = f"d4co{os.getpid() % 10_000}", f"d4ct{os.getpid() % 10_000}"  # both ends of the cable


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def head() -> Iterator[str]:
    """A node with a cable to this one; the name of its network."""
    ip("netns", "add", NODE)
    try:
        ip("link", "add", OURS, "type", "veth", "peer", "name", THEIRS, "netns", NODE)
        ip("addr", "add", "10.83.0.1/24", "dev", OURS)
        ip("link", "set", OURS, "up")
        ip("-n", NODE, "addr", "add", "10.83.0.2/24", "dev", THEIRS)
        ip("-n", NODE, "link", "set", THEIRS, "up")
        ip("-n", NODE, "link", "set", "lo", "up")
        yield NODE
    finally:
        with suppress(subprocess.CalledProcessError):
            ip("link", "del", OURS)
        ip("netns", "del", NODE)


def test_the_cable_of_the_coordinator_is_pulled_and_mended(head: str, tmp_path: Path, publishers: Publishers) -> None:
    """Workers go on for a moment, then end all requests; they join again when the cable is back. Each request in flight is made
    again, and no other. Images go into shards: those of workers that were cut off are whole in the end."""
    n, in_flight = 120, HOSTS  # who has never answered is asked one thing at a time
    collection = Collection(tmp_path, SOON)
    init(collection, n)
    job = start_workers(tmp_path / "cluster", "--processes", 2)
    publishers.behave("*.example.org=hang_before_headers")
    options = [*reach(publishers), "--retry-wait", "1s", "--store", "pack"]
    options += ["--cluster", tmp_path / "cluster", "--interface", THEIRS]
    words = ["ip", "netns", "exec", head, *collection.command("download", *options)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=Path(__file__).parents[2], env=os.environ | SOON
    ) as run:
        await_requests(publishers, in_flight, run)
        ip("link", "set", OURS, "down")
        pulled_at = time.monotonic()
        while sum(host["connections_now"] for host in publishers.counters()["hosts"].values()):
            assert time.monotonic() < pulled_at + 2 * SILENCE_S + 1
            time.sleep(0.05)
        lasted_s = time.monotonic() - pulled_at
        await_line("lost contact with", run)
        publishers.behave_well()
        ip("link", "set", OURS, "up")
        output, _ = run.communicate(timeout=PATIENCE_S)
        assert run.returncode == 0, output
    text, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, text
    is_complete(collection, n)
    assert publishers.counters()["requests"] == n + in_flight
    no_host_saw_more_than_its_limit(publishers)
    print(f"requests ended {lasted_s:.1f} s after the cable was pulled; {in_flight} of {n} images were asked twice")
