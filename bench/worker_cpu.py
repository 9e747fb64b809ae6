"""CPU of a worker per image, layer by layer: fetched; decoded too; kept durably too. One process, the server in another.

    python -m bench.worker_cpu [--images 3000] [--connections 32] [--root FOLDER]

Prints a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from d4c_images.decode import Decoder
from d4c_images.fetch import Fetcher, Request
from d4c_images.model import Claim, FetchOptions, Orders, Status, Turn
from d4c_images.policy.judge import CodePolicy
from d4c_images.policy.sniff import sniff
from d4c_images.stores.local import LocalStore
from d4c_images.worker.loop import Clock, work
from d4c_images.worker.verify import Examiner
from tests.publishers.client import Publishers

HOSTS = 8


class _Nowhere:
    path = Path("/nowhere")

    def write(self, body: bytes, /) -> object:
        return None

    def abort(self) -> None: ...


def fetched(options: FetchOptions, n_images: int, n_connections: int) -> None:
    fetcher = Fetcher(options)
    lanes = [fetcher.connections(n_connections // HOSTS) for _ in range(HOSTS)]
    started = done = 0
    while done < n_images:
        while started < n_images and started - done < n_connections:
            lanes[started % HOSTS].start(Request(f"http://h{started % HOSTS}.example.org/{started}.jpg", _Nowhere(), started))
            started += 1
        done += len(list(fetcher.poll(1.0)))
    for lane in lanes:
        lane.close()
    fetcher.close()


def decoded(path: Path, n_images: int) -> None:
    body = path.read_bytes()
    decoder = Decoder()
    for _ in range(n_images):
        assert decoder.check(path, sniff(body, body[-1024:], len(body))).ok


def worked(options: FetchOptions, root: Path, n_images: int, n_connections: int) -> None:
    def turn(lane: int) -> Turn:
        host = f"h{lane}.example.org"
        claims = tuple(Claim(n, 1_000_000_000 + n, 0, (f"http://{host}/{n}.jpg",), attempt=1) for n in range(lane, n_images, HOSTS))
        return Turn(lane, host, 0, n_connections // HOSTS, 0.0, time.time() + 600, claims)

    orders = [Orders(tuple(turn(lane) for lane in range(HOSTS)))]
    store, fetcher = LocalStore(root), Fetcher(options)
    reports = work(lambda _: orders.pop() if orders else Orders(closed=True), store, fetcher, Examiner(), CodePolicy(), Clock())
    verdicts = [outcome.verdict for report in reports for outcome in report.outcomes]
    n_success = sum(verdict is not None and verdict.status is Status.SUCCESS for verdict in verdicts)
    assert n_success == n_images, n_success
    store.close()
    fetcher.close()


def measured(act: Callable[[], None], n_images: int) -> tuple[float, float]:
    """CPU milliseconds per image, images per second."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    act()
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * cpu_s / n_images, n_images / wall_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--root", type=Path, help="folder for the images (default: a temporary one)")
    given = parser.parse_args()
    n_images, n_connections = given.images, given.connections
    server = Publishers(("--fast", "--latency-ms", str(given.latency_ms)))
    with server, tempfile.TemporaryDirectory(dir=given.root) as folder:
        options = FetchOptions(connect_to=(server.connect_to,), cacert=server.cacert)
        results = {
            "fetch": measured(lambda: fetched(options, n_images, n_connections), n_images),
            "whole": measured(lambda: worked(options, Path(folder), n_images, n_connections), n_images),
        }
        sample = next(Path(folder).rglob("*.jpg"))
        results["decode"] = measured(lambda: decoded(sample, n_images // 4), n_images // 4)
        size_kb = sample.stat().st_size / 1000
    print(f"{n_images} JPEGs of {size_kb:.0f} KB, {n_connections} connections to {HOSTS} hosts")
    for name, (cpu_ms, images_per_s) in results.items():
        print(f"  {name:8}{cpu_ms:8.2f} ms CPU per image{images_per_s:9.0f} images/s")
    print(json.dumps({"bench": "worker_cpu", **{f"{name}_cpu_ms": round(cpu_ms, 3) for name, (cpu_ms, _) in results.items()}}))


if __name__ == "__main__":
    main()
