"""What does each command cost at 1 M and at 50 M rows, and how fast are images lent and settled? No network and no image files.

`python -m bench.scale` writes a GBIF table of so many rows, half of them of one host, the rest over 2,000 hosts by Zipf's law, and
has the real `init` take it in. Then:

* the real steward with real worker processes and pipes lends and settles; but the workers say at once that each image is stored
  (`bench.steward_only`). So the figure is what ledger and steward can do, and no worker is what limits it.
* all other images are made stored ones by plain SQL. Counters and records are untrue then: `init --finalize-only` mends every
  record (`finalize`), and finds all of them true the second time (`finalize again`).
* `status`, `hosts`, `check --ledger-only`, `export` (Parquet) and `placeholders` run on that ledger, and at last `init` reads rows
  again that it has read before (`--again-rows` of them, from a table that differs in its last row only).

Records come in falling order and rows of one host together, as in real tables; with `--shuffled` each settled image changes pages
of its own, the worst that a download can bring.

How to read the figures. *Exponent* is log(cost ratio) / log(size ratio), of wall clock and of CPU of all processes of the
command: 1.0 is linear, 0 is "whatever the size", 2.0 quadratic. A ledger of 50 M rows does not stay in memory, so wall clock
grows a little faster than CPU on a slow disk. *Per row* is the cost of the larger size against that of the smaller one for
each row (for `finalize` and `check` each record): the aim is 1.5 at most. MB are the peak of the resident sets of all
processes of the command. A command that does not end within `--most-minutes-each` is ended and shown with ">"; one that the
program does not have is left out; what JSON has of both is null. `--shapes` also measures skewed tables, `--shapes only`
nothing else (`bench.shapes` explains their figures).

The last line is one JSON object. The default takes about an hour and 45 GB of disk; `--keep` leaves the ledgers as `init`
and the rounds of `bench.steward_only` have made them for the next time, and measures the other commands on a copy.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import shapes
from bench.common import OUT, PROJECT, machine
from bench.cost import Cost, cost, must
from tests.support.program import HEADER

HOSTS = 2000
STEP_ROWS = 100_000
MEAN_RUN = 10  # rows of one host that follow each other; in real tables of 2 to 20 hosts 10 to 100
IMAGES_PER_RECORD = 9 / 8  # seven of eight records have one image, as 87 % of real ones
PROCESSES = 2
PROGRAM = (sys.executable, "-m", "d4c_images")
BY_RECORD = ("finalize", "finalize again", "check")
RATES = {
    "finalize_rows_per_s": "finalize",
    "check_rows_per_s": "check",
    "export_rows_per_s": "export",
    "placeholders_rows_per_s": "placeholders",
    "init_again_rows_per_s": "init again",
}
"""Figures of the last line, and the commands whose rows (records) in a second of wall clock they are."""
STORE_STEP = 500_000
# As a download leaves them, but for the counters. The hash is random, since the placeholders' search counts equal ones.
STORE = """
UPDATE image_rows SET status = 'success', not_before = NULL, attempts = 1, last_attempt_at = 1800000000, http_status = 200,
    file_path = printf('%s/%s/%d-%02d.jpg', substr(gbif_id, 1, 3), substr(gbif_id, 4, 3), gbif_id, image_no),
    file_size = 40000, sha256 = randomblob(32), media_type = 'image/jpeg', width = 640, height = 480
WHERE image_id > ? AND image_id <= ? AND status = 'pending' AND image_id NOT IN (SELECT image_id FROM lent)
"""
UNLIST = "DELETE FROM untried"


@dataclass(frozen=True, slots=True)
class Run:
    """What `bench.steward_only` prints."""

    images_per_s: float
    start_s: float
    rss_mb: float  # of the steward, at its peak
    cpu_us_per_image: float  # of the steward


@dataclass(frozen=True, slots=True)
class Command:
    """What one command did and cost."""

    spent: Cost
    n: int  # rows, or records

    @property
    def ended(self) -> bool:
        return self.spent.code is not None


@dataclass(frozen=True, slots=True)
class Size:
    rows: int
    init_s: float | None  # None: the ledger was there
    ledger_gb: float
    runs: list[Run]
    commands: dict[str, Command] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.rows // 1_000_000}m" if self.rows >= 1_000_000 else str(self.rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", help="sizes of the ledgers (1 M and 50 M; with --shuffled 1 M and 10 M)")
    parser.add_argument("--images", type=int, default=100_000, help="lent and settled in one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--again-rows", type=int, default=5_000_000, help="rows that `init` reads for the second time, at most")
    parser.add_argument("--most-minutes-each", type=float, default=20.0, help="after which a command is ended")
    parser.add_argument("--lend-only", action="store_true", help="only init, lending and settling")
    parser.add_argument("--shuffled", action="store_true", help="rows and gbifIDs in no order")
    parser.add_argument("--keep", action="store_true", help="leave the ledgers in bench/out, and use those that are there")
    parser.add_argument("--quick", action="store_true", help="small ones that only show that everything works")
    parser.add_argument("--shapes", nargs="?", const="too", choices=("too", "only"), help="also skewed tables, or nothing else")
    shapes.add_options(parser)
    args = parser.parse_args()
    args.rows = args.rows or [1_000_000, 10_000_000 if args.shuffled else 50_000_000]
    if args.quick:
        args.rows, args.images, args.rounds = [5_000], 1_000, 1
    OUT.mkdir(exist_ok=True)
    sizes = [] if args.shapes == "only" else [measure(rows, args) for rows in args.rows]
    if sizes:  # before the shapes, which may take long
        show(sizes, args.images)
        show_commands(sizes)
    results = {} if args.shapes is None else shapes.measure_all(args.only or shapes.SHAPES, bench_of(args), 60 * args.most_minutes)
    if results:
        shapes.show(results)
    print(machine())
    print(json.dumps({"bench": "scale", **figures(sizes), **shapes.figures(results)}))


def bench_of(args: argparse.Namespace) -> shapes.Bench:
    return shapes.Bench(args.floor, args.shape_s, largest=args.largest)


# -- one ledger


def measure(rows: int, args: argparse.Namespace) -> Size:
    ledger = OUT / f"scale-{rows}{'-shuffled' if args.shuffled else ''}.sqlite"
    try:
        init_s = None if args.keep and ledger.exists() else make(ledger, rows, args.shuffled)
        with step(f"{args.rounds} rounds of {args.images:,} images"):
            runs = [run(ledger, args.images) for _ in range(args.rounds)]
        size_gb = ledger.stat().st_size / 1e9
        commands = {} if args.lend_only else measure_commands(ledger, rows, args)
        return Size(rows, init_s, size_gb, runs, commands)
    finally:
        if not args.keep:
            _remove(ledger)


def measure_commands(ledger: Path, rows: int, args: argparse.Namespace) -> dict[str, Command]:
    """All other commands, on the ledger itself or, where it is to be kept, on a copy."""
    used = ledger
    if args.keep:
        used = ledger.with_suffix(".used.sqlite")
        with step("copying the ledger"):
            shutil.copyfile(ledger, used)
    try:
        return Commands(used, rows, args.shuffled, 60 * args.most_minutes_each).all(min(rows, args.again_rows))
    finally:
        if args.keep:
            _remove(used)


@dataclass(slots=True)
class Commands:
    """The commands on one ledger."""

    ledger: Path
    rows: int
    shuffled: bool
    most_s: float
    done: dict[str, Command] = field(default_factory=dict)

    def all(self, again_rows: int) -> dict[str, Command]:
        with step("making all images stored ones, by SQL"):
            store_all(self.ledger)
        n_records = self.number("SELECT count(*) FROM gbif_ids")
        self.program("finalize", n_records, "init", "--finalize-only")
        if self.done["finalize"].ended:  # else it would take as long again
            self.program("finalize again", n_records, "init", "--finalize-only")
        self.program("status", self.rows, "status", "--json")
        self.program("hosts", self.rows, "hosts", "--json")
        if shapes.has_option("check", "--ledger-only"):
            self.program("check", n_records, "check", "--ledger-only", codes=(0, 1))
        listed = self.ledger.with_suffix(".parquet")
        self.program("export", self.rows, "export", listed)
        for draft in [listed, *OUT.glob(f".{listed.name}.*.part")]:
            draft.unlink(missing_ok=True)
        root = self.ledger.with_suffix(".images")
        shapes.take_for_root(self.ledger, root)
        self.program("placeholders", self.rows, "placeholders", "--root", root)
        shutil.rmtree(root)
        table = self.ledger.with_suffix(".again.txt")
        with step(f"writing {again_rows:,} rows once more"):
            write(table, again_rows, self.shuffled, end="-\n")
        self.program("init again", again_rows, "init", table)
        table.unlink()
        return self.done

    def program(self, name: str, n: int, command: str, *words: object, codes: tuple[int, ...] = (0,)) -> None:
        with step(f"{self.rows:,} rows: {name}"):
            spent = cost([*PROGRAM, command, *words, "--ledger", self.ledger], self.most_s)
        if spent.code is not None and spent.code not in codes:
            sys.exit(f"{name} ended with {spent.code}:\n{spent.output}")
        self.done[name] = Command(spent, n)

    def number(self, sql: str) -> int:
        db = sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)
        n: int = db.execute(sql).fetchone()[0]
        db.close()
        return n


def store_all(ledger: Path) -> None:
    """Make every pending image a stored one, some at a time. Counters and records are left as they were."""
    db = sqlite3.connect(ledger, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    db.execute(UNLIST)
    top: int = db.execute("SELECT coalesce(max(image_id), 0) FROM image_rows").fetchone()[0]
    for low in range(0, top, STORE_STEP):
        db.execute(STORE, (low, low + STORE_STEP))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done, and when it is done, for whoever waits."""
    started = time.perf_counter()
    shapes.say(f"{what} ...")
    yield
    shapes.say(f"{what}: {time.perf_counter() - started:.0f} s")


def make(ledger: Path, rows: int, shuffled: bool) -> float:
    """A ledger with so many images, by the real `init`; returns its seconds."""
    _remove(ledger)
    table = ledger.with_suffix(".txt")
    with step(f"writing {rows:,} rows"):
        write(table, rows, shuffled)
    with step(f"init of {rows:,} rows"):
        spent = must([*PROGRAM, "init", table, "--ledger", ledger, "--no-progress"])
    table.unlink()
    return spent.wall_s


def write(path: Path, rows: int, shuffled: bool, end: str = "") -> None:
    """`rows` rows with a URL each, and behind them `end`. A shorter table has the first rows of a longer one."""
    dice = np.random.default_rng(20261128)
    weights = 1 / np.arange(1, HOSTS + 1)
    bounds = np.cumsum(weights) / weights.sum()
    columns = HEADER.split()
    blank = "\t" * (len(columns) - columns.index("identifier") - 1)
    with path.open("w") as out:
        out.write("\t".join(columns) + "\n")
        for start in range(0, rows, STEP_ROWS):
            numbers = np.arange(start, start + STEP_ROWS)
            records = (numbers // IMAGES_PER_RECORD).astype(np.int64)
            # Shuffled: each number once, in no order.
            gbif_ids = 1_000_000_000 + records * 2_654_435_761 % 2**32 if shuffled else 5_400_000_000 - 80 * records
            run_of = np.cumsum(dice.random(len(numbers)) < (1 if shuffled else 1 / MEAN_RUN))
            ranks = np.searchsorted(bounds, dice.random(len(numbers) + 1))
            ranks = np.where(dice.random(len(numbers) + 1) < 0.5, -1, ranks)[run_of]
            cells = zip(numbers.tolist(), gbif_ids.tolist(), ranks.tolist(), strict=True)
            for number, gbif_id, rank in islice(cells, rows - start):
                host = "open-bucket.example.org" if rank < 0 else f"herbarium{rank}.example.org"
                out.write(f"{gbif_id}\tStillImage\timage/jpeg\thttps://{host}/photos/{number}/original.jpg{blank}\n")
        out.write(end)


def run(ledger: Path, images: int) -> Run:
    command = [sys.executable, "-m", "bench.steward_only", ledger, "--images", str(images), "--processes", str(PROCESSES)]
    done = subprocess.run(command, check=True, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    return Run(**json.loads(done.stdout.splitlines()[-1]))


# -- what is printed


def show(sizes: list[Size], images: int) -> None:
    table = Table(title=f"{images:,} images lent and settled in each round; medians")
    for column in ("rows", "init s", "ledger GB", "start s", "images/s", "steward's CPU µs/image", "steward's peak MB"):
        table.add_column(column, justify="right")
    for size in sizes:
        start_s, rate, cpu_us, rss_mb = (_median(size, name) for name in ("start_s", "images_per_s", "cpu_us_per_image", "rss_mb"))
        cells = ["kept" if size.init_s is None else f"{size.init_s:.0f}", f"{size.ledger_gb:.2f}", f"{start_s:.2f}"]
        table.add_row(f"{size.rows:,}", *cells, f"{rate:,.0f}", f"{cpu_us:.0f}", f"{rss_mb:.0f}")
    Console(width=118).print(table)
    for size in sizes:
        print(f"{size.rows:,} rows, images/s by round: {', '.join(f'{run.images_per_s:,.0f}' for run in size.runs)}")
    print(f"no network, no files: workers in {PROCESSES} processes say at once that all is stored")


def show_commands(sizes: list[Size]) -> None:
    """Each command at each size; behind the largest, how its cost grows from the smallest."""
    table = Table(title="wall clock, CPU and memory of all processes of each command")
    for column in ("command", "rows", "wall s", "CPU s", "µs/row", "peak MB", "exponent: wall", "CPU", "per row"):
        table.add_column(column, justify="left" if column == "command" else "right")
    for name in dict.fromkeys(name for size in sizes for name in size.commands):
        for size in sizes:
            one = size.commands.get(name)
            if one is None:
                continue
            spent, more = one.spent, "" if one.ended else "> "
            cells = [f"{more}{spent.wall_s:,.1f}", f"{more}{spent.cpu_s:,.1f}"]
            cells += [f"{spent.wall_s / one.n * 1e6:.2f}", f"{spent.rss_mb:.0f}"]
            first = sizes[0].commands.get(name)
            if size is not sizes[0] and first is not None:
                wall, cpu = exponent(first, one, "wall_s"), exponent(first, one, "cpu_s")
                cells += [f"{more}{wall:.2f}", f"{more}{cpu:.2f}", f"{more}{per_row(first, one):.2f}"]
            table.add_row(name, f"{one.n:,}", *cells)
    Console(width=118).print(table)


def exponent(small: Command, large: Command, cost_name: str) -> float:
    """1 is linear. Of rows that are the same in number, as many that `init` reads again, it is 0."""
    if small.n == large.n:
        return 0.0
    return math.log(getattr(large.spent, cost_name) / getattr(small.spent, cost_name)) / math.log(large.n / small.n)


def per_row(small: Command, large: Command) -> float:
    return (large.spent.wall_s / large.n) / (small.spent.wall_s / small.n)


def figures(sizes: list[Size]) -> dict[str, float | None]:
    """For the last line: of each size, and how the largest one compares to the smallest."""
    found: dict[str, float | None] = {}
    for size in sizes:
        start_s, rate, rss_mb = (_median(size, name) for name in ("start_s", "images_per_s", "rss_mb"))
        found |= {f"images_per_s_{size.name}": round(rate), f"start_s_{size.name}": round(start_s, 2)}
        found[f"rss_mb_{size.name}"] = round(rss_mb)
        for figure, name in RATES.items():
            one = size.commands.get(name)
            found[f"{figure}_{size.name}"] = None if one is None or not one.ended else round(one.n / one.spent.wall_s)
        for name in ("status", "hosts"):
            one = size.commands.get(name)
            found[f"{name}_s_{size.name}"] = None if one is None or not one.ended else round(one.spent.wall_s, 2)
        for name, one in size.commands.items():
            found[f"{name.replace(' ', '_')}_rss_mb_{size.name}"] = round(one.spent.rss_mb)
    if len(sizes) > 1:
        small, large = sizes[0], sizes[-1]
        for name in (*BY_RECORD, "export", "placeholders", "init again", "status", "hosts"):
            first, last = small.commands.get(name), large.commands.get(name)
            known = first is not None and last is not None and first.ended and last.ended
            key = name.replace(" ", "_")
            found[f"{key}_per_row_{large.name}_{small.name}"] = round(per_row(first, last), 2) if known else None
            found[f"{key}_exponent"] = round(exponent(first, last, "cpu_s"), 2) if known else None
    return found


def _median(size: Size, name: str) -> float:
    return statistics.median(getattr(run, name) for run in size.runs)


def _remove(ledger: Path) -> None:
    for end in ("", "-wal", "-shm", ".snapshot", ".owner"):
        ledger.with_name(ledger.name + end).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
