"""Races `d4c-images init` against `sqlite3 .import` of the same file, and measures the memory of `init`.

`python -m bench.ingest` makes files of rows like real ones (`tests.rows.big`), runs both in turn, and prints a table and, as its
last line, one JSON object. `.import` writes every cell of every row into one plain table without an index or a check, in one
transaction: the yardstick is what SQLite needs to take the text in. `init` identifies, de-duplicates, links, counts, commits in
chunks and can be killed at any moment. Its clock includes start-up; its memory is the peak of all its processes together.

How to read the figures. The ratio of wall clocks differs from machine to machine (1.4 to 1.9 were seen), so what may decide is
printed too: the CPU of the writing and of the reading process and how long each waits, and the block of `machine:` lines
(`bench.probe`). A writer that waits little is what limits `init`: then the ratio of CPU counts, and a faster core helps both alike.
A writer that waits while the reader does not: the reader limits. Both wait: the disk, or a second core that is not there.
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
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.cost import Cost, must
from bench.identity import identifiers_of_ingest, identify_us
from bench.probe import probe

PROJECT = Path(__file__).resolve().parents[1]
OUT = PROJECT / "bench" / "out"


@dataclass(frozen=True, slots=True)
class Run:
    wall_s: float
    rss_mb: float  # peak of the sum over all processes; pages that they share count once for each
    size_mb: float  # of the database
    cpu_s: float  # user and system, of all processes
    sys_s: float  # of it: in the kernel
    reader_s: float  # of it: of the process that reads and identifies; 0 of one that does all by itself

    @property
    def writer_s(self) -> float:
        return self.cpu_s - self.reader_s


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
    of_identity_us = identify_us(identifiers_of_ingest())
    print(f"of it, saying which image a row is about: {of_identity_us:.2f} µs of CPU a row (python -m bench.identity has more)")
    commit = subprocess.run(["git", "-C", PROJECT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, commit {commit}")
    ours, theirs = (min(runs, key=lambda run: run.wall_s) for runs in zip(*pairs, strict=True))
    shares = f"writer {share(ours.writer_s, ours.wall_s)}, reader {share(ours.reader_s, ours.wall_s)}"
    print(f"init, the quickest: {shares}; kernel {ours.sys_s:.1f} s")
    print(f".import, the quickest: {share(theirs.cpu_s, theirs.wall_s)}; kernel {theirs.sys_s:.1f} s")
    ratio_of_cpu = ours.writer_s / theirs.cpu_s
    print(f"CPU of the writer alone against .import: {ratio_of_cpu:.2f}; what the ratio has above that is waiting and start-up")
    measured = probe(OUT)
    print("\n".join(measured.lines()))
    result = {
        "bench": "ingest",
        "ratio_to_sqlite_import": round(statistics.median(ratios), 3),
        "ratio_of_cpu": round(ratio_of_cpu, 3),
        "writer_waits": round(1 - ours.writer_s / ours.wall_s, 2),
        "reader_waits": round(1 - ours.reader_s / ours.wall_s, 2),
        "import_waits": round(1 - theirs.cpu_s / theirs.wall_s, 2),
        "machine": measured.as_dict(),
        "identify_us": round(of_identity_us, 2),
        "rss_mb_2m": round(max(ours.rss_mb for ours, _ in pairs), 1),
        "rss_mb_20m": round(many.rss_mb, 1) if many is not None else None,
    }
    print(json.dumps(result))


def share(cpu_s: float, wall_s: float) -> str:
    return f"{cpu_s:.1f} s of CPU in {wall_s:.1f} s, so it waits {max(0.0, 1 - cpu_s / wall_s):.0%}"


def add(table: Table, name: str, rows: int, wall_s: float, run: Run) -> None:
    speed = (f"{wall_s:.1f}", f"{rows / wall_s:,.0f}", f"{wall_s / rows * 1e6:.2f}")
    table.add_row(name, *speed, f"{run.rss_mb:.0f}", f"{run.size_mb:.0f}")


def make(path: Path, rows: int) -> Path:
    subprocess.run([sys.executable, "-m", "tests.rows.big", "--rows", str(rows), str(path)], check=True, cwd=PROJECT)
    return path


def run_init(folder: Path, rows: Path) -> Run:
    ledger = folder / "ledger.sqlite"
    spent = must([sys.executable, "-m", "d4c_images", "init", rows, "--ledger", ledger, "--no-progress"])
    return _run(spent, ledger)


def run_import(folder: Path, rows: Path) -> Run:
    database = folder / "import.sqlite"
    script = f'.mode ascii\n.separator "\\t" "\\n"\n.import \'{rows}\' multimedia\n'
    return _run(must(["sqlite3", database], script=script), database)


def _run(spent: Cost, database: Path) -> Run:
    """With the size of the database, which is not needed any more."""
    size_mb = database.stat().st_size / 1e6
    database.unlink()
    return Run(spent.wall_s, spent.rss_mb, size_mb, spent.cpu_s, spent.sys_s, spent.others_cpu_s)


if __name__ == "__main__":
    main()
