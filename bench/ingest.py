"""Races `d4c-images init` against `sqlite3 .import` of the same file, and measures the memory of `init`.

`python -m bench.ingest` makes files of rows like real ones (`tests.rows.big`), runs both in turn, and prints a table and, as its
last line, one JSON object. `.import` writes every cell of every row into one plain table without an index or a check, in one
transaction: the yardstick is what SQLite needs to take the text in. `init` identifies, de-duplicates, links, counts, commits in
chunks and can be killed at any moment. Its clock includes start-up; its memory is the peak of all its processes together.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench.identity import cost_us, identifiers_of_ingest
from d4c_images.identity import identify

PROJECT = Path(__file__).resolve().parents[1]
OUT = PROJECT / "bench" / "out"
LOOK_S = 0.05  # between two looks at the memory


@dataclass(frozen=True, slots=True)
class Run:
    wall_s: float
    rss_mb: float  # peak of the sum over all processes; pages that they share count once for each
    size_mb: float  # of the database


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--many", type=int, default=20_000_000, help="rows of the second file, for memory; 0 leaves it out")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a small race that only shows that everything works")
    args = parser.parse_args()
    if args.quick:
        args.rows, args.many, args.pairs = 100_000, 0, 1
    if shutil.which("sqlite3") is None:
        sys.exit("bench.ingest needs the sqlite3 program for its yardstick; on Debian or Ubuntu: apt-get install sqlite3")
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUT, prefix="ingest-") as name:
        folder = Path(name)
        rows = make(folder / "multimedia.txt", args.rows)
        pairs = [(run_init(folder, rows), run_import(folder, rows)) for _ in range(args.pairs)]
        rows.unlink()
        many = run_init(folder, make(folder / "many.txt", args.many)) if args.many else None
    show(args, pairs, many)


def show(args: argparse.Namespace, pairs: list[tuple[Run, Run]], many: Run | None) -> None:
    table = Table(title=f"{args.rows:,} rows; medians of {len(pairs)} pairs")
    for column in ("", "wall s", "rows/s", "µs/row", "peak MB", "database MB"):
        table.add_column(column, justify="right" if column else "left")
    for name, runs in (("d4c-images init", [ours for ours, _ in pairs]), ("sqlite3 .import", [theirs for _, theirs in pairs])):
        add(table, name, args.rows, statistics.median(run.wall_s for run in runs), max(runs, key=lambda run: run.rss_mb))
    if many is not None:
        add(table, f"init, {args.many:,} rows", args.many, many.wall_s, many)
    Console(width=110).print(table)
    ratios = [ours.wall_s / theirs.wall_s for ours, theirs in pairs]
    print(f"ratio pair by pair: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    identify_us = cost_us(identify, identifiers_of_ingest())
    print(f"of it, saying which image a row is about: {identify_us:.2f} µs of CPU a row (python -m bench.identity has more)")
    commit = subprocess.run(["git", "-C", PROJECT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, commit {commit}")
    result = {
        "bench": "ingest",
        "ratio_to_sqlite_import": round(statistics.median(ratios), 3),
        "identify_us": round(identify_us, 2),
        "rss_mb_2m": round(max(ours.rss_mb for ours, _ in pairs), 1),
        "rss_mb_20m": round(many.rss_mb, 1) if many is not None else None,
    }
    print(json.dumps(result))


def add(table: Table, name: str, rows: int, wall_s: float, run: Run) -> None:
    speed = (f"{wall_s:.1f}", f"{rows / wall_s:,.0f}", f"{wall_s / rows * 1e6:.2f}")
    table.add_row(name, *speed, f"{run.rss_mb:.0f}", f"{run.size_mb:.0f}")


def make(path: Path, rows: int) -> Path:
    subprocess.run([sys.executable, "-m", "tests.rows.big", "--rows", str(rows), str(path)], check=True, cwd=PROJECT)
    return path


def run_init(folder: Path, rows: Path) -> Run:
    ledger = folder / "ledger.sqlite"
    run = watched([sys.executable, "-m", "d4c_images", "init", str(rows), "--ledger", str(ledger), "--no-progress"], ledger)
    ledger.unlink()
    return run


def run_import(folder: Path, rows: Path) -> Run:
    database = folder / "import.sqlite"
    script = f'.mode ascii\n.separator "\\t" "\\n"\n.import \'{rows}\' multimedia\n'
    run = watched(["sqlite3", str(database)], database, script)
    database.unlink()
    return run


def watched(command: list[str], database: Path, script: str | None = None) -> Run:
    """Run a command to its end and look at the memory of it and its children all the while."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=PROJECT)
    peak = [0]
    watching = threading.Thread(target=_watch, args=(process, peak))
    watching.start()
    process.communicate(script)
    wall_s = time.perf_counter() - start
    watching.join()
    if process.returncode != 0:
        sys.exit(f"bench.ingest: {command[0]} ended with {process.returncode}")
    return Run(wall_s, peak[0] / 1e6, database.stat().st_size / 1e6)


def _watch(process: subprocess.Popen[str], peak: list[int]) -> None:
    while process.poll() is None:
        try:
            family = psutil.Process(process.pid)
            peak[0] = max(peak[0], sum(_rss(one) for one in [family, *family.children(recursive=True)]))
        except psutil.Error:
            pass
        time.sleep(LOOK_S)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


if __name__ == "__main__":
    main()
