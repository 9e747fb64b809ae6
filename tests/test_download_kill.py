"""`kill -9` of a download, at named points and at any moment: no file is believed that is not whole, nothing is lost, and little is
asked twice."""

from __future__ import annotations

import random
import re
from pathlib import Path

import psutil
import pytest

from tests.program import Collection, kill_all, multimedia, reach
from tests.publishers.client import Publishers

HOSTS = 6
CONNECTIONS = 4
N = 900
ROUNDS = 30
FORMATS = ("jpg", "png", "gif", "tif", "webp", "bmp")

pytestmark = pytest.mark.slow


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """Many images of several hosts and formats, with some that fail for good and some that fail at first."""
    collection = Collection(tmp_path)
    rows = [
        (7_000_000_000 + number // 2, f"http://kill{number % HOSTS}.example.org/photos/{number}.{FORMATS[number % 5]}")
        for number in range(N)
    ]
    collection.run("init", multimedia(tmp_path / "multimedia.txt", rows))
    (tmp_path / "hosts.toml").write_text(f"[default]\nconnections = {CONNECTIONS}\nsource = 'a test'\n")
    return collection


def options(collection: Collection, publishers: Publishers) -> list[object]:
    hosts = collection.folder / "hosts.toml"
    return [*reach(publishers), "--hosts-file", hosts, "--processes", 2, "--retry-wait", "1s", "--no-progress"]


def finish(collection: Collection, publishers: Publishers) -> None:
    collection.run("download", *options(collection, publishers))
    collection.check_invariants()
    assert collection.rows("SELECT status, count(*) FROM images GROUP BY 1") == [("success", N)]
    assert collection.files() == {str(path) for (path,) in collection.rows("SELECT file_path FROM images")}
    assert not list(collection.root.rglob(".*.part"))
    assert collection.rows("SELECT DISTINCT status FROM gbif_ids") == [("done",)]


@pytest.mark.parametrize("point", ["lend.committed", "settle.before_commit", "settle.committed:3", "settle.before_commit:4"])
def test_killed_at_a_point_of_the_steward(collection: Collection, publishers: Publishers, point: str) -> None:
    collection.run("download", *options(collection, publishers), code=-9, crash_at=point)
    collection.check_invariants()
    finish(collection, publishers)


@pytest.mark.parametrize("point", ["put.written:2", "put.synced:2", "put.named:2", "put.done:2"])
def test_killed_at_a_point_of_a_worker(collection: Collection, publishers: Publishers, point: str) -> None:
    """The worker dies at the point; then everything is killed, before a new worker can make up for it."""
    process = collection.start("download", *options(collection, publishers), crash_at=point)
    assert process.stdout is not None
    for line in process.stdout:
        if "a worker process died" in line:
            break
    kill_all(process)
    collection.check_invariants()
    finish(collection, publishers)


def test_killed_at_any_moment(collection: Collection, publishers: Publishers) -> None:
    """Many kills in a row; the sum of all requests tells how much was asked twice."""
    publishers.behave("*.example.org=slow_first_byte:0.02")
    chance = random.Random(20261121)
    for _ in range(ROUNDS):
        process = collection.start("download", *options(collection, publishers))
        assert process.stdout is not None
        for line in process.stdout:
            if re.search(r" start: ", line):
                break
        try:
            process.wait(timeout=chance.uniform(0.0, 0.6))
        except Exception:
            pass
        kill_all(process)
        collection.check_invariants()
    finish(collection, publishers)
    asked = publishers.counters()["requests"]
    print(f"{asked - N} of {N} images were asked twice after {ROUNDS} kills")
    assert asked <= N + ROUNDS * HOSTS * CONNECTIONS, f"{asked - N} requests too many"


def test_a_worker_is_killed_and_the_run_goes_on(collection: Collection, publishers: Publishers) -> None:
    """Only a worker, several times: a new one takes its place, and no image loses an attempt by it."""
    publishers.behave("*.example.org=slow_first_byte:0.02")
    process = collection.start("download", *options(collection, publishers))
    assert process.stdout is not None
    output = []
    for line in process.stdout:
        output.append(line)
        if " start: " in line or ("a worker process died" in line and len(output) < 5):
            first_worker(process.pid).kill()
    process.communicate()
    assert process.returncode == 0, output
    assert sum("a worker process died (killed by SIGKILL)" in line for line in output) >= 3
    collection.check_invariants()
    assert collection.rows("SELECT status, attempts, count(*) FROM images GROUP BY 1, 2") == [("success", 1, N)]
    assert publishers.counters()["requests"] <= N + 4 * HOSTS * CONNECTIONS


def first_worker(pid: int) -> psutil.Process:
    """The first worker process of a run, once it is there."""
    while True:
        for child in psutil.Process(pid).children():
            if "runners.processes" in " ".join(child.cmdline()):
                return child
