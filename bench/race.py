"""Races the real `d4c-images download` against its peers on loopback, with latency added to each answer.

`python -m bench.race` prints a table, and as its last line one JSON object. The ideal is connections / latency; every share is a
share of it. Ours does everything that it does in earnest: decode, sha256, fsync, ledger; what the peers leave out stands in the
table. By plain HTTP unless told otherwise: there the peers are at their best (`make bench-fetch` has both). The server's own
capacity and CPU are printed too: it must not be what limits the race.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import entry_d4c, peers
from bench.common import OUT, Run, Task, cpu_s_of, machine, say
from tests.publishers import selftest
from tests.publishers.client import Publishers

HOSTS = 8
OURS = "d4c-images"
NAMES = ("curl -Z", "aria2c", "img2dataset", "scrapy")


@dataclass(frozen=True, slots=True)
class Course:
    """What is raced over."""

    images: int
    connections: int
    latency_ms: float
    image_kb: float
    scheme: str

    @property
    def ideal_per_s(self) -> float:
        return self.connections / (self.latency_ms / 1000)

    def task(self, publishers: Publishers, folder: Path, name: str) -> Task:
        """Ours asks 8 hosts, all on one port; peers ask one, which they need not find."""
        if name == OURS:
            urls = [f"{self.scheme}://bench{n % HOSTS}.example.org/images/{n}.jpg" for n in range(self.images)]
        else:
            urls = [f"{self.scheme}://localhost:{publishers.port}/images/{n}.jpg" for n in range(self.images)]
        return Task(urls, self.connections, folder, publishers.port, publishers.cacert)


@dataclass(frozen=True, slots=True)
class Result:
    runs: Mapping[str, Sequence[Run]]  # by contestant
    course: Course
    server_cpu_ms: float  # per image, while ours ran

    def cpu_ms(self, name: str) -> float:
        return statistics.median(run.cpu_s for run in self.runs[name]) / self.course.images * 1000

    def share(self, name: str) -> float:
        """Of the ideal: the median of the rounds."""
        rate = self.course.images / statistics.median(run.wall_s for run in self.runs[name])
        return rate / self.course.ideal_per_s

    def best_peer(self) -> float | None:
        return max((self.share(name) for name in self.runs if name != OURS), default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_course(parser, images=20_000, rounds=5)
    parser.add_argument("--scheme", choices=("http", "https"), default="http")
    parser.add_argument("--peers", nargs="*", default=list(NAMES), metavar="NAME", help=f"of {', '.join(NAMES)}")
    args = parser.parse_args()
    if args.quick:
        args.images, args.rounds, args.peers = 600, 1, [name for name in args.peers if name == "curl -Z"]
    course = Course(args.images, args.connections, args.latency_ms, args.image_kb, args.scheme)
    capacity = server_capacity(course)
    result = race([course], args.rounds, args.peers)[0]
    show(result)
    tell_server(capacity, result)
    best = result.best_peer()
    figures = {
        "share_of_ideal": round(result.share(OURS), 3),
        "best_peer_share": None if best is None else round(best, 3),
        "shares": {name: round(result.share(name), 3) for name in result.runs},
        "cpu_ms_per_image": {name: round(result.cpu_ms(name), 2) for name in result.runs},
        "images": course.images,
        "rounds": args.rounds,
        "scheme": course.scheme,
        "server_capacity_per_s": round(capacity),
    }
    print(json.dumps({"bench": "race", **figures}))


def add_course(parser: argparse.ArgumentParser, images: int, rounds: int) -> None:
    parser.add_argument("--images", type=int, default=images)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--latency-ms", type=float, default=100)
    parser.add_argument("--image-kb", type=float, default=40)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--quick", action="store_true", help="a small race that only shows that everything works")


def server_capacity(course: Course) -> float:
    """Requests per second that the server alone bears, without the latency."""
    return selftest.measure(min(20_000, 4 * course.images), image_kb=course.image_kb)["requests_per_s"]


def race(courses: Sequence[Course], rounds: int, names: Iterable[str]) -> list[Result]:
    """All contestants on each of the courses, in turn, `rounds` times."""
    contestants: dict[str, Callable[[Task], Run]] = {OURS: entry_d4c.run}
    contestants |= {peer.name: peer.run for peer in peers.available(names)}
    OUT.mkdir(exist_ok=True)
    runs: list[dict[str, list[Run]]] = [{name: [] for name in contestants} for _ in courses]
    server_cpu_s = [0.0 for _ in courses]
    for at in range(rounds):
        for number, course in enumerate(courses):
            arguments = ["--fast", "--latency-ms", str(course.latency_ms), "--image-kb", str(course.image_kb)]
            for name, run in contestants.items():
                with Publishers(arguments) as publishers, tempfile.TemporaryDirectory(dir=OUT, prefix="race-") as folder:
                    runs[number][name].append(run(course.task(publishers, Path(folder), name)))
                    if name == OURS:
                        server_cpu_s[number] += cpu_s_of(publishers.pid)
                say(f"{name}, {course.scheme}", runs[number][name][-1], at, rounds)
    return [
        Result(runs[number], course, server_cpu_s[number] / rounds / course.images * 1000) for number, course in enumerate(courses)
    ]


def show(result: Result) -> None:
    course = result.course
    title = f"{course.scheme}: {course.images:,} images of {course.image_kb:.0f} KB, {course.latency_ms:.0f} ms latency, "
    table = Table(title=f"{title}{course.connections}-way; ideal {course.ideal_per_s:.0f}/s")
    for column in ("", "images/s", "share of ideal", "CPU ms/image", "stored", "what it does not do"):
        table.add_column(column, justify="left" if column in ("", "what it does not do") else "right")
    for name, runs in result.runs.items():
        share = result.share(name)
        stored = f"{min(run.stored for run in runs):,}"
        lacks = "" if name == OURS else peers.PEERS[name].lacks
        cells = (f"{share * course.ideal_per_s:.0f}", f"{share:.3f}", f"{result.cpu_ms(name):.2f}", stored, lacks)
        table.add_row(name, *cells)
    Console(width=118).print(table)
    for name, runs in result.runs.items():
        print(f"{name}: wall s {', '.join(f'{run.wall_s:.1f}' for run in runs)}")


def tell_server(capacity: float, result: Result) -> None:
    print(f"the server alone bears {capacity:.0f} requests/s and used {result.server_cpu_ms:.2f} ms of CPU per image beside ours")
    print(machine())


if __name__ == "__main__":
    main()
