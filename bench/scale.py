"""How fast are images lent and settled, and how soon does a run start, at 1 M and at 50 M rows? No network and no files.

`python -m bench.scale` writes a GBIF table of so many rows, half of them of one host, the rest over 2,000 hosts by Zipf's law, has
the real `init` take it in, and then runs the real steward with real worker processes and pipes; but the workers say at once that
each image is stored (`bench.instant`). So the figure is what ledger and steward can do, and no worker is what limits it. Records
come in falling order and rows of one host together, as in real tables; with `--shuffled` each settled image changes pages of its
own, the worst that a download can bring. The last line is one JSON object. 50 M rows take some 15 minutes and 15 GB of disk;
`--keep` leaves the ledgers for the next time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.contest import OUT, PROJECT, machine
from tests.program import HEADER

HOSTS = 2000
STEP_ROWS = 100_000
MEAN_RUN = 10  # rows of one host that follow each other; in real tables of 2 to 20 hosts 10 to 100
IMAGES_PER_RECORD = 9 / 8  # seven of eight records have one image, as 87 % of real ones
PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Run:
    """What `bench.instant` prints."""

    images_per_s: float
    start_s: float
    rss_mb: float  # of the steward, at its peak
    cpu_us_per_image: float  # of the steward


@dataclass(frozen=True, slots=True)
class Size:
    rows: int
    init_s: float | None  # None: the ledger was there
    ledger_gb: float
    runs: list[Run]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 50_000_000], help="sizes of the ledgers")
    parser.add_argument("--images", type=int, default=100_000, help="lent and settled in one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shuffled", action="store_true", help="rows and gbifIDs in no order")
    parser.add_argument("--keep", action="store_true", help="leave the ledgers in bench/out, and use those that are there")
    parser.add_argument("--quick", action="store_true", help="a small one that only shows that everything works")
    args = parser.parse_args()
    if args.quick:
        args.rows, args.images, args.rounds = [5_000], 1_000, 1
    OUT.mkdir(exist_ok=True)
    sizes = [measure(rows, args) for rows in args.rows]
    show(sizes, args.images)


def measure(rows: int, args: argparse.Namespace) -> Size:
    ledger = OUT / f"scale-{rows}{'-shuffled' if args.shuffled else ''}.sqlite"
    try:
        init_s = None if args.keep and ledger.exists() else make(ledger, rows, args.shuffled)
        runs = [run(ledger, args.images) for _ in range(args.rounds)]
        return Size(rows, init_s, ledger.stat().st_size / 1e9, runs)
    finally:
        if not args.keep:
            _remove(ledger)


def make(ledger: Path, rows: int, shuffled: bool) -> float:
    """A ledger with so many images, by the real `init`; returns its seconds."""
    _remove(ledger)
    table = ledger.with_suffix(".txt")
    print(f"making a ledger of {rows:,} rows", file=sys.stderr, flush=True)
    write(table, rows, shuffled)
    started = time.perf_counter()
    command = [sys.executable, "-m", "d4c_images", "init", table, "--ledger", ledger, "--no-progress"]
    subprocess.run(command, check=True, cwd=PROJECT, stdout=subprocess.DEVNULL)
    table.unlink()
    return time.perf_counter() - started


def write(path: Path, rows: int, shuffled: bool) -> None:
    """`rows` rows with a URL each."""
    dice = np.random.default_rng(20261128)
    weights = 1 / np.arange(1, HOSTS + 1)
    bounds = np.cumsum(weights) / weights.sum()
    columns = HEADER.split()
    blank = "\t" * (len(columns) - columns.index("identifier") - 1)
    with path.open("w") as out:
        out.write("\t".join(columns) + "\n")
        for start in range(0, rows, STEP_ROWS):
            numbers = np.arange(start, min(start + STEP_ROWS, rows))
            records = (numbers // IMAGES_PER_RECORD).astype(np.int64)
            # Shuffled: each number once, in no order.
            gbif_ids = 1_000_000_000 + records * 2_654_435_761 % 2**32 if shuffled else 5_400_000_000 - 80 * records
            run_of = np.cumsum(dice.random(len(numbers)) < (1 if shuffled else 1 / MEAN_RUN))
            ranks = np.searchsorted(bounds, dice.random(len(numbers) + 1))
            ranks = np.where(dice.random(len(numbers) + 1) < 0.5, -1, ranks)[run_of]
            for number, gbif_id, rank in zip(numbers.tolist(), gbif_ids.tolist(), ranks.tolist(), strict=True):
                host = "open-bucket.example.org" if rank < 0 else f"herbarium{rank}.example.org"
                out.write(f"{gbif_id}\tStillImage\timage/jpeg\thttps://{host}/photos/{number}/original.jpg{blank}\n")


def run(ledger: Path, images: int) -> Run:
    command = [sys.executable, "-m", "bench.instant", ledger, "--images", str(images), "--processes", str(PROCESSES)]
    done = subprocess.run(command, check=True, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def show(sizes: list[Size], images: int) -> None:
    table = Table(title=f"{images:,} images lent and settled in each round; medians")
    for column in ("rows", "init s", "ledger GB", "start s", "images/s", "steward's CPU µs/image", "steward's peak MB"):
        table.add_column(column, justify="right")
    figures: dict[str, float] = {}
    for size in sizes:
        start_s, rate, cpu_us, rss_mb = (_median(size, name) for name in ("start_s", "images_per_s", "cpu_us_per_image", "rss_mb"))
        cells = ["kept" if size.init_s is None else f"{size.init_s:.0f}", f"{size.ledger_gb:.2f}", f"{start_s:.2f}"]
        table.add_row(f"{size.rows:,}", *cells, f"{rate:,.0f}", f"{cpu_us:.0f}", f"{rss_mb:.0f}")
        name = f"{size.rows // 1_000_000}m" if size.rows >= 1_000_000 else str(size.rows)
        figures |= {f"images_per_s_{name}": round(rate), f"start_s_{name}": round(start_s, 2), f"rss_mb_{name}": round(rss_mb)}
    Console(width=118).print(table)
    for size in sizes:
        print(f"{size.rows:,} rows, images/s by round: {', '.join(f'{run.images_per_s:,.0f}' for run in size.runs)}")
    print(f"no network, no files: workers in {PROCESSES} processes say at once that all is stored")
    print(machine())
    print(json.dumps({"bench": "scale", **figures}))


def _median(size: Size, name: str) -> float:
    return statistics.median(getattr(run, name) for run in size.runs)


def _remove(ledger: Path) -> None:
    for end in ("", "-wal", "-shm"):
        ledger.with_name(ledger.name + end).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
