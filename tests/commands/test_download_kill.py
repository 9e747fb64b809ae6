"""`kill -9` of a download, at named points and at any moment: no file is believed that is not whole, nothing is lost, and little is
asked twice."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, kill_all, multimedia, reach

HOSTS = 6
CONNECTIONS = 4
N = 900
ROUNDS = 30
ANSWERED = 28  # requests of one round that get an answer: ROUNDS * ANSWERED < N
FIRST_ID = 7_000_000_000
FORMATS = ("jpg", "png", "gif", "tif", "webp", "bmp")

pytestmark = pytest.mark.slow


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """Many images of several hosts and formats, with some that fail for good and some that fail at first."""
    collection = Collection(tmp_path)
    rows = [
        (FIRST_ID + number // 2, f"http://kill{number % HOSTS}.example.org/photos/{number}.{FORMATS[number % 5]}")
        for number in range(N)
    ]
    collection.load(multimedia(tmp_path / "multimedia.txt", rows))
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


@pytest.mark.parametrize("point", ["lend.committed", "settle.before_commit", "settle.committed:2", "settle.before_commit:3"])
def test_killed_at_a_point_of_the_steward(collection: Collection, publishers: Publishers, point: str) -> None:
    collection.run("download", *options(collection, publishers), code=-9, crash_at=point)
    collection.check_invariants()
    finish(collection, publishers)


@pytest.mark.parametrize("point", ["put.written:2", "put.synced:2", "put.named:2", "put.done:2"])
def test_killed_at_a_point_of_a_worker(collection: Collection, publishers: Publishers, point: str) -> None:
    """The worker dies at the point; then everything is killed, before a new worker can make up for it."""
    process = collection.start("download", *options(collection, publishers), crash_at=point)
    assert process.stdout is not None
    assert any("a worker process died" in line for line in process.stdout)
    kill_all(process)
    collection.check_invariants()
    finish(collection, publishers)


def test_a_named_wait_outlasts_a_kill(tmp_path: Path, publishers: Publishers) -> None:
    """By the server's clock: the answer leaves it after the request has come, and the next one comes no earlier than it says."""
    publishers.behave("busy.example.org=http_503_seconds:3 x1")
    collection = Collection(tmp_path)
    rows = [(FIRST_ID + number, f"http://busy.example.org/{number}.jpg") for number in range(6)]
    collection.load(multimedia(tmp_path / "multimedia.txt", rows))
    (tmp_path / "hosts.toml").write_text("[default]\nconnections = 1\nsource = 'a test'\n")
    collection.run("download", *options(collection, publishers), code=-9, crash_at="settle.committed")
    collection.run("download", *options(collection, publishers))
    assert collection.rows("SELECT status, count(*) FROM images GROUP BY 1") == [("success", 6)]
    first, second = [at for at, *_ in publishers.log()][:2]
    assert second - first >= 3.0


def test_killed_at_any_moment(collection: Collection, publishers: Publishers) -> None:
    """Many kills in a row: whatever has its file by then is not asked again, and nothing else is asked twice.

    The server answers a few requests of each round and leaves all others without an answer, so no run can end before its kill.
    """
    chance = random.Random(20261121)
    for number in range(ROUNDS):
        files, asked = collection.files(), requests_by_url(publishers)
        publishers.behave_well()
        publishers.behave(f"*.example.org=slow_first_byte:0.01 x{ANSWERED}", "*.example.org=hang_before_headers")
        process = collection.start("download", *options(collection, publishers))
        moment = chance.randrange(ANSWERED + 1)
        if number % 3 == 0:
            await_true(lambda: len(collection.files()) == len(files) + ANSWERED, process)  # noqa: B023
        else:
            await_true(lambda: publishers.counters()["requests"] >= sum(asked.values()) + moment, process)  # noqa: B023
            time.sleep(chance.uniform(0.0, 0.03))
        kill_all(process)
        collection.check_invariants()
        asked_now = requests_by_url(publishers) - asked
        assert not asked_now.keys() & {url_of(file) for file in files}, "what has its file is not asked again"
        assert max(asked_now.values(), default=1) == 1
        if number % 3 == 0:
            assert sum(asked_now.values()) <= ANSWERED + HOSTS * CONNECTIONS
    publishers.behave_well()
    left = N - len(collection.files())
    asked = requests_by_url(publishers)
    assert left >= N - ROUNDS * ANSWERED
    finish(collection, publishers)
    print(f"{sum(asked.values()) + left - N} of {N} images were asked twice after {ROUNDS} kills")
    assert sum((requests_by_url(publishers) - asked).values()) == left


def test_workers_are_killed_and_the_run_goes_on(collection: Collection, publishers: Publishers) -> None:
    """Only the workers, twice: new ones take their place, and no image loses an attempt by it.

    The server does not answer before they have been killed, so each of them dies with its hands full.
    """
    publishers.behave("*.example.org=hang_before_headers")
    process = collection.start("download", *options(collection, publishers))
    for n_deaths in (1, 2):
        await_true(lambda: publishers.counters()["requests"] == n_deaths * HOSTS, process)  # noqa: B023
        if n_deaths == 2:
            publishers.behave_well()
        for worker in workers(process.pid):
            worker.kill()
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    assert output.count("a worker process died (killed by SIGKILL)") == 4, output
    collection.check_invariants()
    assert collection.rows("SELECT status, attempts, count(*) FROM images GROUP BY 1, 2") == [("success", 1, N)]
    assert publishers.counters()["requests"] == N + 2 * HOSTS


def await_true(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Each question is an exchange with another process or with the disk, so this is no busy loop."""
    end_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end_at


def requests_by_url(publishers: Publishers) -> Counter[str]:
    return Counter(publishers.counters()["urls"])


def url_of(file: str) -> str:
    """The URL of the image whose file this is (see `collection`)."""
    gbif_id, image_no = Path(file).stem.split("-")
    number = 2 * (int(gbif_id) - FIRST_ID) + int(image_no)
    return f"http://kill{number % HOSTS}.example.org/photos/{number}.{FORMATS[number % 5]}"


def workers(pid: int) -> list[psutil.Process]:
    """The worker processes of a run."""
    children = psutil.Process(pid).children()
    return [child for child in children if "runners.pipe_worker" in " ".join(child.cmdline())]
