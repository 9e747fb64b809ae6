"""How near does a run come to the least time that its hosts' limits allow? On a simulated GBIF, with no request too many.

`python -m bench.makespan` starts 200 hosts (`bench.shire`) whose sizes follow Zipf's law, with different latencies and limits;
three are dead, three answer 429 above their limit, two never answer. The bound is the time that the slowest host needs at its
full pace. The real program works on them; the servers count every request above a limit. Timed is from the start of the command
until the last image that can be had has been answered. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.shire import Host
from tests.program import HEADER

PROJECT = Path(__file__).resolve().parents[1]
OUT = PROJECT / "bench" / "out"
HOSTS = 200
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
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a small one that only shows that everything works")
    args = parser.parse_args()
    patience_s = 10
    if args.quick:
        args.bound, args.biggest, patience_s = 5.0, 120, 2
    hosts = plan(args.bound, args.biggest)
    bound_s = max(host.bound_s for host in hosts)
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUT, prefix="makespan-") as name:
        folder = Path(name)
        with Server(folder, hosts) as server:
            runs = [run_ours(folder / f"round{number}", hosts, server, args.processes, patience_s) for number in range(args.rounds)]
    show(hosts, bound_s, runs)


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
            hosts.append(Host(f"h{rank}.shire.example", images, min(0.05, interval_s / 2), 1, round(interval_s, 3), kind))
        else:
            latency_s = min(1.5, aim_s * connections / images)
            hosts.append(Host(f"h{rank}.shire.example", images, round(latency_s, 4), connections, 0.0, kind))
    return hosts


class Server:
    """A running `bench.shire`."""

    def __init__(self, folder: Path, hosts: list[Host]) -> None:
        (folder / "plan.json").write_text(json.dumps([asdict(host) for host in hosts]))
        command = [sys.executable, "-m", "bench.shire", str(folder / "plan.json")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
        assert self._process.stdout is not None
        self.port: int = json.loads(self._process.stdout.readline())["port"]

    def ask(self, method: str) -> dict[str, dict[str, Any]]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request(method, "/", headers={"Host": "shire"})
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


def run_ours(folder: Path, hosts: list[Host], server: Server, processes: int, patience_s: int) -> Run:
    """`patience_s` is for hosts that do not answer; it does not count."""
    folder.mkdir()
    rows = [(f"http://{host.name}/{number}.jpg", host) for host in hosts for number in range(host.images)]
    random.Random(7).shuffle(rows)
    cells = {"type": "StillImage", "format": "image/jpeg"}
    with (folder / "multimedia.txt").open("w") as out:
        names = HEADER.split()
        out.write("\t".join(names) + "\n")
        for gbif_id, (url, _) in enumerate(rows, 4_000_000_000):
            cells |= {"gbifID": str(gbif_id), "identifier": url}
            out.write("\t".join(cells.get(column, "") for column in names) + "\n")
    limits = ["[default]", "connections = 2", "source = 'a benchmark'"]
    for host in hosts:
        limits += [f'[hosts."{host.name}"]', f"connections = {host.connections}", f"min_interval_s = {host.min_interval_s}"]
        limits += ["source = 'a benchmark'"]
    (folder / "hosts.toml").write_text("\n".join(limits))
    ledger = folder / "ledger.sqlite"
    program = [sys.executable, "-m", "d4c_images"]
    subprocess.run([*program, "init", str(folder / "multimedia.txt"), "--ledger", str(ledger)], check=True, cwd=PROJECT, stdout=-3)
    server.ask("POST")
    dead = [f"--connect-to={host.name}:80:127.0.0.1:1" for host in hosts if host.kind == "dead"]
    command = [*program, "download", "--ledger", str(ledger), "--root", str(folder / "images"), "--no-progress"]
    command += ["--hosts-file", str(folder / "hosts.toml"), "--processes", str(processes), *dead]
    command += [f"--connect-to=::127.0.0.1:{server.port}", "--timeout", f"{patience_s}s", "--stall-timeout", f"{patience_s}s"]
    command += ["--retry-wait", "1s", "--max-idle", "2s"]
    started = time.time()
    with (folder / "log").open("w") as log:
        subprocess.run(command, check=False, cwd=PROJECT, stdout=log, stderr=subprocess.STDOUT)
    whole_s = time.time() - started
    counts = server.ask("GET")
    well = [host.name for host in hosts if host.bound_s]
    with closing(sqlite3.connect(ledger)) as db:
        (stored,) = db.execute("SELECT count(*) FROM images WHERE status = 'success'").fetchone()
    if stored != sum(host.images for host in hosts if host.bound_s):
        print(f"only {stored} images are stored; the log: {(folder / 'log').read_text()[-2000:]}", file=sys.stderr)
    return Run(
        makespan_s=max(counts[name]["last_answer_at"] for name in well) - started,
        whole_s=whole_s,
        stored=stored,
        violations=sum(count["above_limit"] for count in counts.values()),
        requests=sum(count["requests"] for count in counts.values()),
    )


def show(hosts: list[Host], bound_s: float, runs: list[Run]) -> None:
    images = sum(host.images for host in hosts)
    table = Table(title=f"{images:,} images of {len(hosts)} hosts; no run can end before {bound_s:.1f} s")
    for column in ("", "last image s", "ratio", "whole run s", "stored", "requests", "above a limit"):
        table.add_column(column, justify="right" if column else "left")
    for run in runs:
        ratio = f"{run.makespan_s / bound_s:.3f}"
        cells = (f"{run.whole_s:.1f}", f"{run.stored:,}", f"{run.requests:,}", f"{run.violations:,}")
        table.add_row("d4c-images", f"{run.makespan_s:.1f}", ratio, *cells)
    Console(width=110).print(table)
    middle = sorted(runs, key=lambda run: run.makespan_s)[len(runs) // 2]
    result = {
        "bench": "makespan",
        "ratio_to_bound": round(middle.makespan_s / bound_s, 3),
        "limit_violations": sum(run.violations for run in runs),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
