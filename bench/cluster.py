"""What does a worker on another node cost more than one beside the steward, and what does a lost one cost?

`python -m bench.cluster` hands turns of 64 images to a worker that says at once that all are stored, and takes its reports: by pipe
(the default runner), by Dask's stream (`download --cluster`), and as a Dask task for each turn, which is what we do not do. The
figure is CPU, of steward and worker together. Then the real program downloads with 1, 2 and 4 worker processes of 16 connections
each, joined by TLS on loopback, and once more while one of two workers is killed. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
from distributed import Client, as_completed
from distributed.security import Security
from rich.console import Console
from rich.table import Table

from bench.common import OUT
from bench.instant_worker import set_up
from d4c_images.model import Claim, Orders, Outcome, Report, Status, Turn, Verdict
from d4c_images.runners.dask import DaskRunner
from d4c_images.runners.processes import ProcessRunner
from d4c_images.runners.rendezvous import MeetingPlace
from d4c_images.steward.terms import Joined, Reported, Runner
from tests.cluster.nodes import start_workers, workers_at
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, multimedia, reach

CLAIMS = 64  # of a turn
IN_FLIGHT = 2  # turns: the one under way and the one behind it
HOSTS = 64
CONNECTIONS = 16  # of one worker
LATENCY_MS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=2000)
    parser.add_argument("--images", type=int, default=1500, help="for each worker")
    parser.add_argument("--quick", action="store_true", help="a small one that only shows that everything works")
    args = parser.parse_args()
    if args.quick:
        args.turns, args.images = 50, 60
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUT, prefix="cluster-") as name:
        folder = Path(name)
        cpu_ms = cpu_per_turn(folder / "turns", args.turns)
        rates = {n: rate(folder / f"of-{n}", n, n * args.images) for n in (1, 2, 4)}
        killed = kill_one(folder / "killed", 2 * args.images)
    table = Table("CPU ms for a turn of 64 images", "images/s with 1, 2, 4 workers", "requests twice after a kill")
    costs = ", ".join(f"{how} {ms:.2f}" for how, ms in cpu_ms.items())
    table.add_row(costs, ", ".join(f"{one:.0f}" for one in rates.values()), f"{killed} of at most {CONNECTIONS} in flight")
    Console(width=132).print(table)
    figures = {"bench": "cluster", "turns": args.turns, "turn_cpu_ms": {how: round(ms, 3) for how, ms in cpu_ms.items()}}
    figures["images_per_s"] = {str(n): round(one, 1) for n, one in rates.items()}
    print(json.dumps(figures | {"duplicates_after_kill": killed, "in_flight": CONNECTIONS}))


# -- what a turn costs


def cpu_per_turn(folder: Path, n: int) -> dict[str, float]:
    """Milliseconds of steward and worker together, by how the turn travels."""
    costs = {}
    with closing(ProcessRunner(1, set_up)) as runner:
        costs["pipe"] = cpu_ms_of(lambda: pass_turns(runner, n), runner, n)
    place = MeetingPlace(folder)
    with workers_at(place.folder), closing(DaskRunner(place, "a benchmark", set_up, print)) as runner:
        costs["stream"] = cpu_ms_of(lambda: pass_turns(runner, n), runner, n)
        with client_of(place) as client:
            costs["task"] = cpu_ms_of(lambda: run_tasks(client, n), None, n)
    return costs


def cpu_ms_of(act: Callable[[], None], runner: Runner | None, n: int) -> float:
    """Of this process and all that it has started."""
    while runner is not None and not any(isinstance(event, Joined) for event in runner.receive(1.0)):
        pass
    me = psutil.Process()
    processes = [me, *me.children(recursive=True)]
    before = sum(sum(process.cpu_times()[:2]) for process in processes)
    act()
    return 1000 * (sum(sum(process.cpu_times()[:2]) for process in processes) - before) / n


def pass_turns(runner: Runner, n: int) -> None:
    sent = back = 0
    while back < n:
        while sent < n and sent - back < IN_FLIGHT:
            runner.send(0, Orders(turns=(turn(sent),)))
            sent += 1
        back += sum(isinstance(event, Reported) and event.report.finished for event in runner.receive(1.0))


@contextmanager
def client_of(place: MeetingPlace) -> Iterator[Client]:
    there = place.invitation()
    assert there is not None
    key = {"tls_client_cert": there.certificate, "tls_client_key": there.key}
    with Client(there.address, security=Security(require_encryption=True, tls_ca_file=there.certificate, **key)) as client:
        yield client


def run_tasks(client: Client, n: int) -> None:
    """As few in flight as there are turns, none kept once its result is there."""
    running = as_completed([client.submit(all_stored, turn(number), pure=False) for number in range(IN_FLIGHT)])
    sent = IN_FLIGHT
    for future in running:
        assert future.result().finished
        if sent < n:
            running.add(client.submit(all_stored, turn(sent), pure=False, retries=0))
            sent += 1


def all_stored(turn: Turn) -> Report:
    """What a task for a turn would return."""
    stored = Verdict(Status.SUCCESS)
    return Report(turn.lease_id, tuple(Outcome(claim.image_id, stored, requests=1) for claim in turn.claims), finished=True)


def turn(number: int) -> Turn:
    claims = tuple(
        Claim(image_id, 4_000_000_000 + image_id, 0, (f"https://images.example.org/photos/{image_id}/original.jpg",), 1)
        for image_id in range(number * CLAIMS, (number + 1) * CLAIMS)
    )
    return Turn(number, "images.example.org", 0, 2, 0.0, time.time() + 120, claims)


# -- whole downloads


@contextmanager
def download(folder: Path, n_images: int) -> Iterator[tuple[Publishers, subprocess.Popen[str]]]:
    """A coordinator that waits for workers, and the publishers."""
    folder.mkdir()
    collection = Collection(folder)
    rows = ((4_000_000_000 + number, f"http://h{number % HOSTS}.example.org/{number}.jpg") for number in range(n_images))
    collection.run("init", multimedia(folder / "multimedia.txt", rows))
    with Publishers(["--fast", "--latency-ms", str(LATENCY_MS), "--image-kb", "40"]) as publishers:
        options = [*reach(publishers), "--max-connections", CONNECTIONS, "--cluster", folder / "cluster"]
        run = collection.start("download", *options)
        yield publishers, run
        output, _ = run.communicate(timeout=PATIENCE_S)
        assert run.returncode == 0, output
    collection.check_invariants()


def rate(folder: Path, n_workers: int, n_images: int) -> float:
    """Images a second, between the first tenth of the requests and the last."""
    jobs = [start_workers(folder / "cluster", "--processes", 1) for _ in range(n_workers)]
    with download(folder, n_images) as (publishers, _):
        begun, begun_at = await_requests(publishers, n_images // 10)
        done, done_at = await_requests(publishers, n_images * 9 // 10)
    for job in jobs:
        job.communicate(timeout=PATIENCE_S)
    return (done - begun) / (done_at - begun_at)


def kill_one(folder: Path, n_images: int) -> int:
    """Requests that were made twice, after one of two workers was killed in the middle."""
    jobs = [start_workers(folder / "cluster", "--processes", 1) for _ in range(2)]
    with download(folder, n_images) as (publishers, _):
        await_requests(publishers, n_images // 3)
        (worker,) = psutil.Process(jobs[0].pid).children()
        os.kill(worker.pid, signal.SIGKILL)
        await_requests(publishers, n_images)
        for job in jobs:
            job.communicate(timeout=PATIENCE_S)
        return int(publishers.counters()["requests"]) - n_images


def await_requests(publishers: Publishers, n: int) -> tuple[int, float]:
    while (seen := publishers.counters()["requests"]) < n:
        time.sleep(0.02)
    return seen, time.monotonic()


if __name__ == "__main__":
    main()
