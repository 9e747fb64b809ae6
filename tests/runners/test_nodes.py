"""A download with workers on other nodes: who may join, what a lost worker and a lost coordinator cost, and that no host suffers.

All processes are on this machine, but they are those of the program, started as jobs start them, with real encrypted connections.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client
from distributed.comm.core import connect
from distributed.security import Security

from d4c_images.errors import D4CError, UsageError
from d4c_images.model import Orders, Outcome, Report, Turn
from d4c_images.runners.dask import DaskRunner
from d4c_images.runners.dask_worker import security_of
from d4c_images.runners.pipe_worker import Feed, Work
from d4c_images.runners.rendezvous import INVITATION, Invitation, MeetingPlace
from d4c_images.runners.worker_pool import Exit
from d4c_images.steward.terms import Died, Event, Joined, Leaving, Reported
from d4c_images.system import clocks
from d4c_images.system.clocks import SteadyClock
from tests.cluster.nodes import start_workers, workers_at
from tests.publishers.client import Publishers
from tests.runners.test_runners import received
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, multimedia, reach
from tests.support.works import set_up_failure, set_up_sleeper

HOSTS = 4
CONNECTIONS = 2  # per host
SILENCE_S = 2
SOON = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{SILENCE_S}s"}  # Dask's own way to set it


def set_up_echo() -> Work:
    """A worker that tells for each turn how long, by its own clock, it lasts."""

    def work(feed: Feed) -> Iterator[Report]:
        closed = False
        while not closed:
            orders = feed(0.02)
            closed = orders.closed
            for turn in orders.turns:
                yield Report(turn.lease_id, (Outcome(0, elapsed_s=turn.expires_at - clocks.now()),), finished=True)

    return work


def set_up_fast_clock() -> Work:
    """A worker on a node whose clock is an hour ahead."""
    clocks.now = SteadyClock(clocks.now.ahead_s + 3600)
    return set_up_echo()


@pytest.fixture
def place(tmp_path: Path) -> MeetingPlace:
    return MeetingPlace(tmp_path / "cluster")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def coordinate(place: MeetingPlace, said: list[str]) -> Iterator[Callable[[Callable[[], Work]], DaskRunner]]:
    """A coordinator within this process, that gives silent workers up soon."""
    with ExitStack() as stack, dask.config.set({"distributed.scheduler.worker-ttl": f"{SILENCE_S}s"}):

        def started(setup: Callable[[], Work]) -> DaskRunner:
            stack.close()  # there is one at a time
            return stack.enter_context(closing(DaskRunner(place, "a ledger", setup, said.append)))

        yield started


def of(kind: type[Event]) -> Callable[[list[Event]], bool]:
    return lambda events: any(isinstance(event, kind) for event in events)


def invitation(place: MeetingPlace) -> Invitation:
    there = place.invitation()
    assert there is not None
    return there


# -- who may join


async def answers(address: str, security: Security) -> bool:
    """Whether a connection can be made and Dask's first question is answered."""
    try:
        comm = await connect(address, timeout=2, **security.get_connection_args("worker"))
    except OSError:
        return False
    try:
        await comm.write({"op": "identity", "reply": True})
        return isinstance(await comm.read(), dict)
    except OSError:
        return False
    finally:
        comm.abort()


def test_without_the_key_nobody_joins_or_submits(
    coordinate: Callable[[Callable[[], Work]], DaskRunner], place: MeetingPlace
) -> None:
    coordinate(set_up_echo)
    address = invitation(place).address
    assert address.startswith("tls://")
    assert asyncio.run(answers(address, security_of(invitation(place)))), "with the key"
    assert not asyncio.run(answers(address, Security.temporary())), "with a key of one's own"
    assert not asyncio.run(answers(address.replace("tls:", "tcp:"), Security())), "in the clear"
    with pytest.raises(OSError):
        Client(address.replace("tls:", "tcp:"), timeout=1)
    with pytest.raises(OSError):
        Client(address, security=Security.temporary(), timeout=1)


def listening(pid: int) -> set[int]:
    return {one.laddr.port for one in psutil.Process(pid).net_connections() if one.status == psutil.CONN_LISTEN}


@pytest.mark.slow
def test_no_port_answers_in_the_clear(
    coordinate: Callable[[Callable[[], Work]], DaskRunner], place: MeetingPlace, said: list[str]
) -> None:
    """One port for the coordinator, one for a worker; a browser gets nothing from either."""
    before = listening(os.getpid())
    runner = coordinate(set_up_echo)
    with workers_at(place.folder) as job:
        received(runner, of(Joined))
        (worker,) = psutil.Process(job.pid).children()
        ports = listening(os.getpid()) - before | listening(worker.pid)
        assert len(ports) == 2
        host = invitation(place).address.removeprefix("tls://").partition(":")[0]
        for port in ports:
            with closing(socket.create_connection((host, port), timeout=PATIENCE_S)) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                try:
                    answer = connection.recv(1024)
                except ConnectionResetError:
                    answer = b""
                assert not answer.startswith(b"HTTP")
    assert said[1:2] == ["workers: 1 on 1 node"]


def test_the_meeting_place_is_its_owners_alone(tmp_path: Path) -> None:
    place = MeetingPlace(tmp_path / "new")
    place.invite(Invitation("1", "ledger", "0", "tls://x:1", "certificate", "key"))
    assert place.folder.stat().st_mode & 0o777 == 0o700
    assert (place.folder / INVITATION).stat().st_mode & 0o777 == 0o600
    assert "key'" not in repr(place.invitation())
    place.folder.chmod(0o750)
    with pytest.raises(UsageError, match="must be accessible to you only"):
        MeetingPlace(place.folder)


def test_a_meeting_place_is_for_one_collection(tmp_path: Path) -> None:
    place = MeetingPlace(tmp_path)
    first = Invitation("1", "a ledger", "0", "tls://x:1", "certificate", "key")
    place.invite(first)
    with pytest.raises(UsageError, match="belongs to a ledger"):
        place.invite(Invitation("2", "another ledger", "0", "tls://x:1", "certificate", "key"))
    second = Invitation("2", "a ledger", "0", "tls://x:2", "certificate", "key")
    place.invite(second)  # the first one has died
    place.withdraw("1")
    assert place.invitation() == second, "it is not the first one's any more"
    place.withdraw("2")
    assert place.invitation() is None


# -- coming and going


@pytest.mark.slow
def test_the_next_worker_waits_for_the_next_coordinator(
    coordinate: Callable[[Callable[[], Work]], DaskRunner], place: MeetingPlace
) -> None:
    with workers_at(place.folder):
        for _ in range(2):
            received(coordinate(set_up_echo), of(Joined))


@pytest.mark.slow
def test_a_worker_that_leaves_says_so_and_has_not_died(
    coordinate: Callable[[Callable[[], Work]], DaskRunner], place: MeetingPlace
) -> None:
    runner = coordinate(set_up_echo)
    job = start_workers(place.folder, "--processes", 2)
    events = received(runner, lambda events: len(events) == 2)
    job.send_signal(signal.SIGUSR2)
    job.send_signal(signal.SIGUSR2)  # as Grid Engine does
    events = received(runner, lambda events: sum(isinstance(event, Leaving) for event in events) == 2)
    for event in events:
        runner.send(event.worker, Orders(drain=True))
    output, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 75, output
    assert "2 workers end: stopped" in output
    assert runner.receive(0.2) == []


@pytest.mark.slow
def test_the_deadline_of_a_turn_is_told_by_the_workers_own_clock(
    coordinate: Callable[[Callable[[], Work]], DaskRunner], place: MeetingPlace
) -> None:
    runner = coordinate(set_up_fast_clock)
    with workers_at(place.folder):
        (joined,) = received(runner, bool)
        runner.send(joined.worker, Orders(turns=(Turn(1, "a.org", 0, 1, 0.0, time.time() + 60, ()),)))
        (event,) = received(runner, of(Reported))
    assert isinstance(event, Reported)
    assert event.report.outcomes[0].elapsed_s == pytest.approx(60, abs=2)


@pytest.mark.slow
def test_a_worker_that_hangs_is_ended_and_another_comes(
    coordinate: Callable[[Callable[[], Work]], DaskRunner], place: MeetingPlace
) -> None:
    """Stopped for good, so it says no beat any more; its parent sees nothing of it."""
    runner = coordinate(set_up_sleeper)
    with workers_at(place.folder) as job:
        (joined,) = received(runner, bool)
        (worker,) = psutil.Process(job.pid).children()
        runner.send(joined.worker, Orders(turns=(Turn(1, "a.org", 0, 1, 0.0, 1e12, ()),)))
        start = time.monotonic()
        events = received(runner, of(Died))
        assert time.monotonic() - start > SILENCE_S / 2
        assert events[-1] == Died(joined.worker, f"lost contact with {socket.gethostname()}", SILENCE_S)
        worker.resume()  # it has been given up: it must end, and begin again as somebody else
        assert received(runner, of(Joined)) == [Joined(joined.worker + 1)]
        assert worker.wait(PATIENCE_S) in (Exit.AGAIN, None)


@pytest.mark.slow
def test_a_worker_that_cannot_work_goes_home_and_the_run_goes_on(
    coordinate: Callable[[Callable[[], Work]], DaskRunner], place: MeetingPlace, said: list[str]
) -> None:
    runner = coordinate(set_up_failure)
    job = start_workers(place.folder, "--processes", 1)
    output, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 1
    assert "the disk is full" in output
    assert "Traceback" not in output
    while len(said) < 2:
        assert runner.receive(0.1) == []
    assert said[1].endswith("left: the disk is full")


@pytest.mark.slow
def test_workers_whose_coordinator_never_comes_go_home(place: MeetingPlace) -> None:
    """Or only what a killed coordinator has left there."""
    security = Security.temporary()
    port = closed_port()
    keys = security.tls_scheduler_cert, security.tls_scheduler_key
    place.invite(Invitation("1", "a ledger", "0.0.1", f"tls://127.0.0.1:{port}", *keys))
    job = start_workers(place.folder, "--processes", 1, "--max-wait", "2s")
    output, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 75, output
    assert "no coordinator appeared" in output
    assert output.count(f"cannot reach the coordinator at tls://127.0.0.1:{port}: ") == 1


def closed_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def test_an_interface_that_is_not_there(place: MeetingPlace) -> None:
    with pytest.raises(D4CError, match=r"cannot serve connections to workers: .*d4c-none"):
        DaskRunner(place, "a ledger", set_up_echo, print, "d4c-none")


@pytest.mark.slow
def test_a_coordinator_of_another_version_is_refused(
    coordinate: Callable[[Callable[[], Work]], DaskRunner], place: MeetingPlace
) -> None:
    coordinate(set_up_echo)
    place.invite(replace(invitation(place), version="9.9.9"))
    job = start_workers(place.folder, "--processes", 1)
    output, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 1
    assert re.search(r"the coordinator runs d4c-images 9\.9\.9, this worker \d", output)


# -- whole downloads


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return Collection(tmp_path, SOON)


def init(collection: Collection, n: int) -> None:
    rows = [(6_000_000_000 + number, f"http://node{number % HOSTS}.example.org/photos/{number}.jpg") for number in range(n)]
    collection.load(multimedia(collection.folder / "multimedia.txt", rows))


def coordinator(
    collection: Collection, publishers: Publishers, *arguments: object, crash_at: str | None = None
) -> subprocess.Popen[str]:
    options = [*reach(publishers), "--retry-wait", "1s", "--cluster", collection.folder / "cluster", *arguments]
    return collection.start("download", *options, crash_at=crash_at)


def is_complete(collection: Collection, n: int) -> None:
    collection.check_invariants()
    assert collection.rows("SELECT status, attempts, count(*) FROM images GROUP BY 1, 2") == [("success", 1, n)]
    assert collection.files() == {str(path) for (path,) in collection.rows("SELECT file_path FROM images")}


def asked(publishers: Publishers) -> Counter[str]:
    return Counter(publishers.counters()["urls"])


def await_requests(publishers: Publishers, n: int, process: subprocess.Popen[str]) -> None:
    end_at = time.monotonic() + PATIENCE_S
    while publishers.counters()["requests"] < n:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end_at
        time.sleep(0.01)


def await_line(words: str, process: subprocess.Popen[str]) -> None:
    """The next line with these words in what a process prints."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        if words in line:
            return
        said.append(line)
    pytest.fail(f"it has ended without saying '{words}': {''.join(said)}")


def no_host_saw_more_than_its_limit(publishers: Publishers) -> None:
    seen = {host: tally["connections_max"] for host, tally in publishers.counters()["hosts"].items()}
    assert max(seen.values()) <= CONNECTIONS, seen


def children(job: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(job.pid).children()


@pytest.mark.slow
def test_two_jobs_of_workers_do_all_and_go_home(collection: Collection, publishers: Publishers) -> None:
    n = 200
    init(collection, n)
    cluster = collection.folder / "cluster"
    jobs = [start_workers(cluster, "--processes", 1) for _ in range(2)]
    run = coordinator(collection, publishers)
    output, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, output
    for job in jobs:
        text, _ = job.communicate(timeout=PATIENCE_S)
        assert job.returncode == 0, text
        assert "nothing left to do" in text
    is_complete(collection, n)
    assert publishers.counters()["requests"] == n
    no_host_saw_more_than_its_limit(publishers)
    assert [path.name for path in cluster.iterdir()] == ["over"]
    assert not list(collection.root.glob(".*"))
    assert json.dumps(collection.rows("SELECT command, ending FROM runs WHERE command <> 'init'")) == (
        '[["download --cluster", "nothing left to do"]]'
    )


@pytest.mark.slow
def test_killed_workers_cost_the_requests_that_they_had_in_flight(collection: Collection, publishers: Publishers) -> None:
    """Twice, with their hands full. Others take over after the time in which a lost worker might still be asking."""
    n, in_flight = 240, HOSTS  # who has never answered is asked one thing at a time
    init(collection, n)
    job = start_workers(collection.folder / "cluster", "--processes", 2)
    publishers.behave("*.example.org=hang_before_headers")
    run = coordinator(collection, publishers)
    for n_kills in (1, 2):
        await_requests(publishers, n_kills * in_flight, run)
        if n_kills == 2:
            publishers.behave_well()
        killed_at = time.monotonic()
        for worker in children(job):
            worker.kill()
    output, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, output
    assert time.monotonic() - killed_at > SILENCE_S
    assert output.count("lost contact with") >= 2, output  # a worker that was killed while it joined was never there
    text, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, text
    is_complete(collection, n)
    assert publishers.counters()["requests"] == n + 2 * in_flight
    no_host_saw_more_than_its_limit(publishers)


@pytest.mark.slow
def test_a_killed_coordinator_leaves_workers_that_work_for_the_next(collection: Collection, publishers: Publishers) -> None:
    n = 240
    init(collection, n)
    job = start_workers(collection.folder / "cluster", "--processes", 2)
    for crash_at in ("lend.committed:2", "settle.before_commit:2"):
        run = coordinator(collection, publishers, crash_at=crash_at)
        output, _ = run.communicate(timeout=PATIENCE_S)
        assert run.returncode == -signal.SIGKILL, output
        collection.check_invariants()
    before = asked(publishers)
    files = len(collection.files())
    run = coordinator(collection, publishers)
    output, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, output
    text, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, text
    assert "the coordinator is gone: restarting this worker" in text
    is_complete(collection, n)
    assert (asked(publishers) - before).total() == n - files, "what has its file is not asked again"
    no_host_saw_more_than_its_limit(publishers)


@pytest.mark.slow
def test_workers_that_hear_nothing_stop_asking_before_their_hosts_are_lent_again(
    collection: Collection, publishers: Publishers
) -> None:
    """The coordinator stands still, as when its node is cut off: workers must end their requests by themselves."""
    n, in_flight = 120, HOSTS  # who has never answered is asked one thing at a time
    init(collection, n)
    job = start_workers(collection.folder / "cluster", "--processes", 2)
    publishers.behave("*.example.org=hang_before_headers")
    run = coordinator(collection, publishers)
    await_requests(publishers, in_flight, run)
    run.send_signal(signal.SIGSTOP)
    stopped_at = time.monotonic()
    while sum(host["connections_now"] for host in publishers.counters()["hosts"].values()):
        assert time.monotonic() < stopped_at + 2 * SILENCE_S + 3
        time.sleep(0.05)
    publishers.behave_well()
    run.send_signal(signal.SIGCONT)
    output, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, output
    text, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, text
    assert "no message from the coordinator for 2 s" in text
    is_complete(collection, n)
    assert publishers.counters()["requests"] == n + in_flight


@pytest.mark.slow
def test_workers_come_late_and_go_early(collection: Collection, publishers: Publishers) -> None:
    """That costs not one request: who leaves in good order gives back what it has not begun."""
    n = 400
    init(collection, n)
    cluster = collection.folder / "cluster"
    publishers.behave("*.example.org=slow_first_byte:0.05")
    first = start_workers(cluster, "--processes", 1)
    run = coordinator(collection, publishers)
    await_requests(publishers, 20, run)
    second = start_workers(cluster, "--processes", 1)
    await_requests(publishers, 150, run)
    first.send_signal(signal.SIGTERM)
    text, _ = first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 75, text
    output, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, output
    assert "lost contact with" not in output
    text, _ = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 0, text
    is_complete(collection, n)
    assert publishers.counters()["requests"] == n
    no_host_saw_more_than_its_limit(publishers)


def busiest(jobs: list[subprocess.Popen[str]], publishers: Publishers) -> psutil.Process:
    """The worker with most connections to hosts."""

    def n_connections(worker: psutil.Process) -> int:
        return sum(bool(one.raddr) and one.raddr.port == publishers.port for one in worker.net_connections())

    return max((children(job)[0] for job in jobs), key=n_connections)


@pytest.mark.slow
def test_shards_of_workers_that_are_killed_and_cut_off(collection: Collection, publishers: Publishers) -> None:
    """Of three jobs' workers one is killed, and one stands still until it has been given up. What they had packed and not told is
    cut off or stays unused, and what is named is whole."""
    n = 300
    init(collection, n)
    publishers.behave("*.example.org=slow_first_byte:0.1")
    jobs = [start_workers(collection.folder / "cluster", "--processes", 1) for _ in range(3)]
    run = coordinator(collection, publishers, "--store", "pack", "--no-progress")
    await_line("workers: 3 on 1 node", run)
    await_requests(publishers, 60, run)
    busiest(jobs, publishers).kill()
    await_line("lost contact with", run)
    await_requests(publishers, publishers.counters()["requests"] + 40, run)
    cut_off = busiest(jobs, publishers)
    cut_off.suspend()
    await_line("lost contact with", run)
    cut_off.resume()  # with its shard open, and images on their way there
    output, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, output
    for job in jobs:
        text, _ = job.communicate(timeout=PATIENCE_S)
        assert job.returncode == 0, text
    is_complete(collection, n)
    assert collection.rows("SELECT count(*) FROM images WHERE file_offset IS NULL") == [(0,)]
    found = json.loads(collection.run("check", "--sha256", "--json").splitlines()[-1])
    assert (found["n_images"], found["counts"]) == (n, {})
    print(publishers.counters()["requests"] - n, "requests made twice;", found["n_unused"], "images packed twice")
    no_host_saw_more_than_its_limit(publishers)
