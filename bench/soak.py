"""Do memory, open files or latency of a long run grow while its publishers keep failing?

`python -m bench.soak` has the real program download 200,000 images, which takes half an hour, from hosts that now and then
reset, answer 503, send too little, send HTML, or hang. Once every few seconds it looks at the processes and at the ledger. It
prints the means of the four quarters of the run (without the first and the last 5 % of its requests) and a straight line
through the samples; the last line is one JSON object. What is bounded fills for a while: SQLite's cache (16 MB), a worker's
known folders. What leaks never stops.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench import entry_d4c
from bench.common import OUT, Task, machine
from tests.publishers.client import Publishers

HOSTS = 16
CONNECTIONS = 64
STEADY = (0.05, 0.95)  # of the requests: before, all is loaded; behind, what failed is waited for
# Shares are of all URLs, each rule's above the one before: 1 % resets, 1 % hangs in the body, and so on. x1/url: only at first.
FAULTS = (
    "*=reset_mid_body x1/url 1%",
    "*=hang_mid_body x1/url 2%",
    "*=hang_before_headers x1/url 3%",
    "*=http_503 x1/url 5%",
    "*=close_mid_body x1/url 7%",
    "*=truncated_matching_length 8%",
    "*=html_as_jpeg 9%",
    "*=http_404 10%",
    "*=drip:1.5 14%",
)


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float  # since the start
    n_requests: int  # until then
    steward_mb: float
    workers_mb: float  # of all of them together
    n_fds: float  # of all processes
    latency_ms: float  # mean of the requests since the sample before


FIGURES: dict[str, Callable[[Sample], float]] = {
    "rss_mb": lambda sample: sample.steward_mb + sample.workers_mb,
    "steward_mb": lambda sample: sample.steward_mb,
    "workers_mb": lambda sample: sample.workers_mb,
    "open_files": lambda sample: sample.n_fds,
    "latency_ms": lambda sample: sample.latency_ms,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--latency-ms", type=float, default=150.0, metavar="MS", help="of an answer that is none of the slow ones")
    parser.add_argument("--look", type=float, default=5.0, metavar="S", help="seconds between two samples")
    parser.add_argument("--quick", action="store_true", help="a small one that only shows that everything works")
    args = parser.parse_args()
    patience_s, wait_s = 4, 2
    if args.quick:
        args.images, args.latency_ms, args.look, patience_s, wait_s = 400, 400.0, 0.1, 1, 1
    options = ("--stall-timeout", f"{patience_s}s", "--retry-wait", f"{wait_s}s", "--max-attempts", "3", "--max-idle", "60s")
    options += ("--for", f"{60 + args.images // 50}s")  # hosts that are taken for sick are left alone, longer each time
    OUT.mkdir(exist_ok=True)
    rules = [word for rule in FAULTS for word in ("--behave", rule)]
    with (
        Publishers([*rules, "--latency-ms", str(args.latency_ms)]) as publishers,
        tempfile.TemporaryDirectory(dir=OUT, prefix="soak-") as name,
    ):
        urls = [f"https://soak{number % HOSTS}.example.org/images/{number}.jpg" for number in range(args.images)]
        task = Task(urls, CONNECTIONS, Path(name), publishers.port, publishers.cacert)
        entry_d4c.prepare(task)
        samples = watch(task, options, args.look)
        outcome = counts(task)
    show(samples, outcome, args.latency_ms)


def watch(task: Task, options: Sequence[str], look_s: float) -> list[Sample]:
    """Run the program to its end, and sample it meanwhile."""
    samples: list[Sample] = []
    with (
        (task.folder / "log.txt").open("wb") as log,
        closing(sqlite3.connect(f"file:{entry_d4c.ledger_of(task)}?mode=ro", uri=True)) as db,
    ):
        process = psutil.Popen(list(map(str, entry_d4c.command(task, *options))), stdout=log, stderr=log, cwd=task.folder)
        started, before = time.monotonic(), (0, 0.0)
        while True:
            try:
                process.wait(look_s)
                return samples
            except psutil.TimeoutExpired:
                pass
            steward_mb, workers_mb, n_fds = looked(process)
            at_s = time.monotonic() - started
            busy_s, n_requests = db.execute("SELECT sum(busy_s), sum(n_requests) FROM host_rows").fetchone()
            since_requests, since_busy_s = before
            if n_requests > since_requests:
                latency_ms = 1000 * (busy_s - since_busy_s) / (n_requests - since_requests)
                samples.append(Sample(at_s, n_requests, steward_mb, workers_mb, n_fds, latency_ms))
                before = n_requests, busy_s


def looked(steward: psutil.Process) -> tuple[float, float, int]:
    """Memory of the steward and of its workers, in MB, and open files of all; what has just ended counts nothing."""
    rss_mb: list[float] = []
    n_fds = 0
    for one in (steward, *steward.children(recursive=True)):
        try:
            rss_mb.append(one.memory_info().rss / 1e6)
            n_fds += one.num_fds()
        except psutil.Error:
            pass
    return rss_mb[0] if rss_mb else 0.0, sum(rss_mb[1:]), n_fds


def counts(task: Task) -> dict[str, int]:
    with closing(sqlite3.connect(entry_d4c.ledger_of(task))) as db:
        return dict(db.execute("SELECT coalesce(error_type, status), count(*) FROM images GROUP BY 1 ORDER BY 2 DESC"))


def show(samples: Sequence[Sample], outcome: dict[str, int], latency_ms: float) -> None:
    first, last = (share * samples[-1].n_requests for share in STEADY)
    steady = [sample for sample in samples if first <= sample.n_requests <= last]
    quarters = [steady[len(steady) * n // 4 : len(steady) * (n + 1) // 4] for n in range(4)]
    minutes = samples[-1].at_s / 60
    table = Table(title=f"{sum(outcome.values()):,} images in {minutes:.1f} minutes, {latency_ms:.0f} ms latency")
    for column in ("", "1st quarter", "2nd", "3rd", "4th", "4th / 1st", "4th / 3rd", "line: per hour"):
        table.add_column(column, justify="right" if column else "left")
    figures: dict[str, float] = {}
    for name, figure in FIGURES.items():
        means = [statistics.fmean(map(figure, quarter)) for quarter in quarters]
        slope = statistics.linear_regression([one.at_s / 3600 for one in steady], list(map(figure, steady))).slope
        ratios = means[3] / means[0], means[3] / means[2]
        table.add_row(name, *(f"{mean:,.1f}" for mean in means), *(f"{one:.3f}" for one in ratios), f"{slope:+,.1f}")
        figures |= {f"{name}_first_quarter": round(means[0], 1), f"{name}_last_quarter": round(means[3], 1)}
        figures |= {f"{name}_ratio": round(ratios[0], 3), f"{name}_ratio_second_half": round(ratios[1], 3)}
        figures[f"{name}_per_hour"] = round(slope, 1)
    Console(width=118).print(table)
    print("what became of the images:", ", ".join(f"{n:,} {what}" for what, n in outcome.items()))
    print(machine())
    whole = {"images": sum(outcome.values()), "minutes": round(minutes, 1), "stored": outcome.get("success", 0)}
    print(json.dumps({"bench": "soak", **whole, "peak_rss_mb": round(max(map(FIGURES["rss_mb"], samples))), **figures}))


if __name__ == "__main__":
    main()
