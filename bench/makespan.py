"""How close does a run come to the shortest time that its hosts' limits allow? On a simulated GBIF, with no request too many.

`python -m bench.makespan` starts 200 hosts (`simulated_hosts`) whose sizes follow Zipf's law, with different latencies and limits;
three are dead, three answer 429 above their limit, two never answer. The bound is the time that the slowest host needs at its
full pace. The real program works on them, and then its peers, with as many connections; the servers count every request above a
limit. Timed is from the start of the command until the last image that can be had has been answered. Only Scrapy can be told a
limit for each host (`DOWNLOAD_SLOTS`); the others ask as they like, so how early they end says little: `best_peer_ratio` is that of
the best peer that breaks no limit and stores all that can be had. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import common, entry_d4c, peers
from bench.common import OUT, PROJECT, HostLimit, Task, machine
from bench.race import NAMES, OURS
from bench.simulated_hosts import COUNTS, Host

HOSTS = 200
CONNECTIONS = 512  # as our two workers have
MOST = 4  # times the bound: Scrapy, which would wait for the hosts that hang for much longer, is ended then
KINDS = dict.fromkeys((20, 60, 150), "dead") | dict.fromkeys((12, 33, 90), "throttling") | dict.fromkeys((25, 70), "hanging")
"""By the rank of their sizes; all others are well."""


@dataclass(frozen=True, slots=True)
class Run:
    makespan_s: float
    whole_s: float
    stored: int
    violations: int
    requests: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bound", type=float, default=60.0, metavar="S", help="seconds that the slowest host needs")
    parser.add_argument("--biggest", type=int, default=1500, metavar="N", help="images of the biggest host")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="*", default=list(NAMES), metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="a small one that only shows that everything works")
    args = parser.parse_args()
    patience_s = 10.0
    if args.quick:
        args.bound, args.biggest, args.rounds, patience_s = 5.0, 120, 1, 2.0
        args.peers = [name for name in args.peers if name == "curl -Z"]
    hosts = plan(args.bound, args.biggest)
    contestants: dict[str, Callable[[Task], common.Run]] = {OURS: partial(run_ours, patience_s=patience_s)}
    contestants |= {peer.name: peer.run for peer in peers.available(args.peers)}
    OUT.mkdir(exist_ok=True)
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    for at in range(args.rounds):
        for name, run in contestants.items():
            with tempfile.TemporaryDirectory(dir=OUT, prefix="makespan-") as folder, Server(Path(folder), hosts) as server:
                done = run(task_of(hosts, server.port, Path(folder), patience_s, MOST * args.bound))
                runs[name].append(measure(done, hosts, server.counts()))
            common.say(name, done, at, args.rounds)
    show(hosts, runs)


def plan(bound_s: float, biggest: int) -> list[Host]:
    """The hosts. Every fifth of the big ones has little slack; the small ones of the tail are done long before."""
    chance = random.Random(20261121)
    hosts = []
    for rank in range(1, HOSTS + 1):
        images = max(2, round(biggest / rank))
        aim_s = bound_s if rank == 1 else bound_s * chance.uniform(0.3, 0.98)
        connections = 8 if rank == 1 else chance.choice((1, 2, 2, 2, 4))
        kind = KINDS.get(rank, "well")
        by_interval = rank > 1 and (kind == "throttling" or chance.random() < 0.2)
        if by_interval:
            interval_s = min(2.0, aim_s / images)
            hosts.append(Host(f"h{rank}.bench.example", images, min(0.05, interval_s / 2), 1, round(interval_s, 3), kind))
        else:
            latency_s = min(1.5, aim_s * connections / images)
            hosts.append(Host(f"h{rank}.bench.example", images, round(latency_s, 4), connections, 0.0, kind))
    return hosts


class Server:
    """A running `bench.simulated_hosts`."""

    def __init__(self, folder: Path, hosts: list[Host]) -> None:
        (folder / "plan.json").write_text(json.dumps([asdict(host) for host in hosts]))
        command = [sys.executable, "-m", "bench.simulated_hosts", str(folder / "plan.json")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
        assert self._process.stdout is not None
        self.port: int = json.loads(self._process.stdout.readline())["port"]

    def counts(self) -> dict[str, dict[str, Any]]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request("GET", "/", headers={"Host": COUNTS})
            counts: dict[str, dict[str, Any]] = json.loads(connection.getresponse().read())
            return counts

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


def task_of(hosts: Sequence[Host], port: int, folder: Path, patience_s: float, most_s: float) -> Task:
    urls = [f"http://{host.name}/{number}.jpg" for host in hosts for number in range(host.images)]
    random.Random(7).shuffle(urls)
    limits = {host.name: HostLimit(host.connections, host.min_interval_s) for host in hosts}
    dead = frozenset(host.name for host in hosts if host.kind == "dead")
    return Task(urls, CONNECTIONS, folder, port, limits=limits, dead=dead, patience_s=patience_s, most_s=most_s)


def run_ours(task: Task, patience_s: float) -> common.Run:
    """`patience_s` is for hosts that do not answer; it does not count."""
    patience = ("--timeout", f"{patience_s}s", "--stall-timeout", f"{patience_s}s", "--retry-wait", "1s", "--max-idle", "2s")
    return entry_d4c.run(task, *patience)


def measure(done: common.Run, hosts: Sequence[Host], counts: Mapping[str, Mapping[str, Any]]) -> Run:
    well = [host.name for host in hosts if host.bound_s]
    return Run(
        makespan_s=max(counts[name]["last_answer_at"] for name in well) - done.started_at,
        whole_s=done.wall_s,
        stored=done.stored,
        violations=sum(count["above_limit"] for count in counts.values()),
        requests=sum(count["requests"] for count in counts.values()),
    )


def show(hosts: Sequence[Host], runs: Mapping[str, Sequence[Run]]) -> None:
    bound_s = max(host.bound_s for host in hosts)
    images, can_be_had = sum(host.images for host in hosts), sum(host.images for host in hosts if host.bound_s)
    title = (
        f"{images:,} images of {len(hosts)} hosts, {can_be_had:,} of them to be had; no polite run can end before {bound_s:.1f} s"
    )
    table = Table(title=title)
    for column in ("", "last image s", "ratio", "whole run s", "stored", "requests", "above a limit"):
        table.add_column(column, justify="right" if column else "left")
    for name, done in runs.items():
        middle = sorted(done, key=lambda run: run.makespan_s)[len(done) // 2]
        cells = (f"{middle.whole_s:.1f}", f"{min(run.stored for run in done):,}", f"{middle.requests:,}")
        table.add_row(
            *(name, f"{middle.makespan_s:.1f}", f"{ratio(done, bound_s):.3f}", *cells, f"{max(run.violations for run in done):,}")
        )
    Console(width=118).print(table)
    print(machine())
    fair = [
        ratio(done, bound_s)
        for name, done in runs.items()
        if name != OURS and all(run.violations == 0 and run.stored == can_be_had for run in done)
    ]
    figures = {
        "ratio_to_bound": round(ratio(runs[OURS], bound_s), 3),
        "limit_violations": sum(run.violations for run in runs[OURS]),
        "best_peer_ratio": round(min(fair), 3) if fair else None,
        "stored_share": round(min(run.stored for run in runs[OURS]) / can_be_had, 4),
        "peers": {
            name: {
                "ratio_to_bound": round(ratio(done, bound_s), 3),
                "limit_violations": max(run.violations for run in done),
                "stored_share": round(min(run.stored for run in done) / can_be_had, 4),
            }
            for name, done in runs.items()
            if name != OURS
        },
    }
    print(json.dumps({"bench": "makespan", **figures}))


def ratio(runs: Sequence[Run], bound_s: float) -> float:
    return statistics.median(run.makespan_s for run in runs) / bound_s


if __name__ == "__main__":
    main()
