"""Do time and memory grow with the rows, or faster? Every command on tables of skewed shapes, at sizes n and 2n.

`python -m bench.shapes` (or `python -m bench.scale --shapes`) makes each table of `bench.shape_rows` at doubling sizes, runs every
command on it, and prints how much dearer each command became with twice the rows. `--only SHAPE` measures one.

How to read the figures. *Growth* is CPU(2n) / CPU(n), both without what the same command costs on a tiny table of the
same shape (start-up, imports). 2.0 is linear, 4.0 quadratic; more than `MOST_GROWTH` is marked with `!`. CPU is that of
all processes of the command: on a busy machine it wavers by some per cent, while wall clock tells nothing. A shape
grows until the command costs `--floor` seconds beyond its start-up at the smaller size, or until its largest size is
reached; a command that is still below the floor then is shown in brackets, and counts neither as good nor as bad. A
shape with a `!` is measured again, up to `--rounds` times, and the lesser cost of each command counts. *Memory* is the
peak of the resident sets of all processes together at 2n against n; more than `MOST_MEMORY` is marked with `m`: a cache
that is not full yet also looks like that, so look at the megabytes behind the table. `flat` commands do a small thing
to a ledger of n rows; there, the whole cost at 2n against n has to stay below `MOST_FLAT`.

Downloads are those of `bench.steward_only`: real steward, ledger, processes and pipes, no network. `check` finds its files:
they are made beside the ledger, with nothing but holes in them. The last line is one JSON object; `worst_shape_growth`
is the highest growth that counts.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.common import OUT, machine
from bench.cost import Cost, cost, must
from bench.shape_rows import SHAPES, Shape
from d4c_images.commands import image_root
from d4c_images.ledger.file.connect import open_ledger
from d4c_images.ledger.queue.shards import store_kind

MOST_GROWTH = 2.3
MOST_MEMORY = 1.10
MOST_FLAT = 1.15
TINY = 4
MOST_FILES = 250_000
PROGRAM = (sys.executable, "-m", "d4c_images")
FLAT = ("small inits",)


@dataclass(slots=True)
class Bench:
    """How much is to be measured."""

    floor_s: float = 1.0
    shape_s: float = 75.0  # for one shape: no larger size is begun after that
    command_s: float = 120.0  # for one command, which is ended then
    rounds: int = 3  # with 0 nothing is taken off for the start of a command
    largest: int | None = None


@dataclass(slots=True)
class Measured:
    """All costs of one shape, by size and command."""

    shape: Shape
    tiny: dict[str, Cost]
    by_size: dict[int, dict[str, Cost]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Growth:
    """Of one command between two sizes."""

    command: str
    n: int  # the smaller one
    small: Cost
    large: Cost
    base_s: float
    floor_s: float

    @property
    def ratio(self) -> float:
        if self.command in FLAT:
            return self.large.cpu_s / self.small.cpu_s
        return (self.large.cpu_s - self.base_s) / max(self.small.cpu_s - self.base_s, 1e-3)

    @property
    def memory(self) -> float:
        return self.large.rss_mb / max(self.small.rss_mb, 1e-3)

    @property
    def counts(self) -> bool:
        """Whether it costs enough for the figure to mean something. An ended command costs more than we know."""
        return self.small.cpu_s - self.base_s >= self.floor_s or self.command in FLAT or self.large.code is None

    @property
    def is_bad(self) -> bool:
        return self.counts and (self.large.code is None or self.ratio > (MOST_FLAT if self.command in FLAT else MOST_GROWTH))

    @property
    def is_large(self) -> bool:
        return self.memory > MOST_MEMORY and self.large.rss_mb - self.small.rss_mb > 3.0


# -- one ledger


@dataclass(slots=True)
class Workshop:
    """A shape at one size, in a folder of its own."""

    shape: Shape
    n: int
    folder: Path
    bench: Bench
    decided: frozenset[str] = frozenset()  # commands that need not be measured any more; those that change nothing are left out
    costs: dict[str, Cost] = field(default_factory=dict)

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.sqlite"

    @property
    def root(self) -> Path:
        return self.folder / "images"

    def run(self) -> dict[str, Cost]:
        """Every command, in an order in which each finds something to do."""
        source = self.shape.write(self.folder, self.n)
        self.program("init", "init", source)
        if self.costs["init"].code != 0:
            return self.costs
        if self.shape.is_flat:
            self.small_inits()
            return self.costs
        if self.shape.labels is not None:
            self.program("labels", "init", source, "--labels")
        self.program("status", "status", "--json")
        self.program("hosts", "hosts")
        self.instant("start", 1)
        n_images = self.number("SELECT count(*) FROM image_rows")
        if n_images > 1:
            self.instant("download", n_images - 1)
        self.program("init again", "init", self.shape.write_later(self.folder, self.n))
        if "check" not in self.decided and self.make_files():
            self.program("check", "check", "--root", self.root, codes=(0, 1))
        if has_option("check", "--ledger-only"):
            self.program("check ledger", "check", "--ledger-only")
        self.program("export", "export", self.folder / "list.parquet")
        self.program("export csv", "export", self.folder / "list.csv")
        take_for_root(self.ledger, self.root)
        self.program("placeholders", "placeholders", "--root", self.root)
        self.program("finalize", "init", "--finalize-only")
        self.program("hosts set", "hosts", "set", "*", "connections=1")
        self.program("hosts after", "hosts", "--all")
        return self.costs

    def program(self, name: str, command: str, *words: object, codes: Sequence[int] = (0,)) -> None:
        if name in self.decided and name not in ("init", "init again", "labels"):
            return
        self.note(name, [*PROGRAM, command, *words, "--ledger", self.ledger], codes)

    def instant(self, name: str, n_images: int) -> None:
        words = [sys.executable, "-m", "bench.steward_only", self.ledger, "--images", n_images, "--processes", 1, "--presets"]
        self.note(name, words, (0,))

    def note(self, name: str, words: Sequence[object], codes: Sequence[int]) -> None:
        spent = cost(words, self.bench.command_s)
        if spent.code is not None and spent.code not in codes:
            say(f"{self.shape.name}, n = {self.n:,}: {name} ended with {spent.code}: {spent.output[-300:]}")
        self.costs[name] = spent

    def small_inits(self) -> None:
        runs = [must([*PROGRAM, "init", path, "--ledger", self.ledger]) for path in self.shape.write_small(self.folder, self.n)]
        wall_s, cpu_s = sum(run.wall_s for run in runs), sum(run.cpu_s for run in runs)
        self.costs["small inits"] = Cost(wall_s, cpu_s, max(run.rss_mb for run in runs), 0)

    def number(self, sql: str) -> int:
        with sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True) as db:
            n: int = db.execute(sql).fetchone()[0]
        db.close()
        return n

    def make_files(self) -> bool:
        """The files of all stored images, with nothing in them but their size. Not where they would be too many."""
        self.root.mkdir()
        stored = "status = 'success' AND file_path IS NOT NULL"
        if self.number(f"SELECT count(*) FROM image_rows WHERE {stored}") > MOST_FILES:
            return False
        db = sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)
        for path, size in db.execute(f"SELECT file_path, file_size FROM image_rows WHERE {stored}"):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            with (self.root / path).open("wb") as file:
                os.truncate(file.fileno(), size)
        db.close()
        return True


def take_for_root(path: Path, root: Path) -> None:
    """Have a ledger whose stored images have no files take this root for its own, as somebody would who means it."""
    ledger = open_ledger(path)
    try:
        image_root.claim(ledger, root, store_kind(ledger, None).token)
    finally:
        ledger.close()


@cache
def has_option(command: str, option: str) -> bool:
    return option in must([*PROGRAM, command, "--help"]).output


# -- one shape


def measure(shape: Shape, bench: Bench) -> Measured:
    """At doubling sizes, until every command costs enough, or the shape's largest size or time is reached."""
    started = time.perf_counter()
    tinies = [one_size(shape, TINY, bench) for _ in range(bench.rounds)]
    names = dict.fromkeys(name for one in tinies for name in one)
    tiny = {name: sorted((one[name] for one in tinies if name in one), key=_cpu)[len(tinies) // 2] for name in names}
    measured, n = Measured(shape, tiny), shape.least
    largest = min(shape.most, bench.largest or shape.most)
    n = min(n, largest)
    while True:
        decided = frozenset(one.command for one in growths(measured, bench) if one.counts)
        measured.by_size[n] = one_size(shape, n, bench, decided)
        took_s = time.perf_counter() - started
        enough = len(measured.by_size) > 1 and all(one.counts for one in growths(measured, bench))
        if len(measured.by_size) > 1 and (enough or 2 * n > largest or took_s > bench.shape_s):
            break
        n *= 2
    for _ in range(bench.rounds - 1):  # what is slow by chance is not so twice
        bad = {one.n for one in growths(measured, bench) if one.is_bad}
        if not bad or time.perf_counter() - started > 3 * bench.shape_s:
            break
        for size in sorted(bad | {2 * one for one in bad}):
            again = one_size(shape, size, bench)
            costs = measured.by_size[size]
            measured.by_size[size] = {name: min(costs.get(name, one), one, key=_cpu) for name, one in (costs | again).items()}
    return measured


def _cpu(one: Cost) -> float:
    return one.cpu_s


def one_size(shape: Shape, n: int, bench: Bench, decided: frozenset[str] = frozenset()) -> dict[str, Cost]:
    started = time.perf_counter()
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUT, prefix="shapes-", ignore_cleanup_errors=True) as name:
        costs = Workshop(shape, n, Path(name), bench, decided).run()
    say(f"{shape.name}, n = {n:,}: {time.perf_counter() - started:.0f} s")
    return costs


def growths(measured: Measured, bench: Bench) -> list[Growth]:
    """Of each command at the smallest pair of sizes that counts, else at the largest pair."""
    sizes = sorted(measured.by_size)
    found: dict[str, Growth] = {}
    for n in sizes:
        large = measured.by_size.get(2 * n)
        if large is None:
            continue
        for name, small in measured.by_size[n].items():
            if name in large and not (name in found and found[name].counts) and small.code is not None:
                base_s = measured.tiny[name].cpu_s if name in measured.tiny else 0.0
                found[name] = Growth(name, n, small, large[name], base_s, bench.floor_s)
    return list(found.values())


# -- all of them


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def cell(one: Growth | None) -> str:
    if one is None:
        return ""
    if one.large.code is None:
        return f"> {one.ratio:.1f}!"
    marks = ("!" if one.is_bad else "") + ("m" if one.is_large else "")
    return f"{one.ratio:.2f}{marks}" if one.counts else f"({one.ratio:.1f}){marks.replace('!', '')}"


def show(results: Mapping[str, list[Growth]]) -> None:
    commands = list(dict.fromkeys(one.command for growth in results.values() for one in growth))
    signs = "2: linear, ( ): costs too little to tell, !: more than it may, m: so is memory"
    table = Table(title=f"growth of CPU with twice the rows; {signs}")
    for column in ("shape", *commands):
        table.add_column(column, justify="left" if column == "shape" else "right")
    for name, growth in results.items():
        by_command = {one.command: one for one in growth}
        table.add_row(name, *(cell(by_command.get(command)) for command in commands))
    Console(width=200).print(table)
    for line in details(results, lambda one: one.is_bad or one.is_large):
        print(line)


def details(results: Mapping[str, list[Growth]], wanted: Callable[[Growth], bool]) -> Iterator[str]:
    for name, growth in results.items():
        for one in filter(wanted, growth):
            ended = f" (ended after {one.large.wall_s:.0f} s)" if one.large.code is None else ""
            sizes = f"{one.n:,} and {2 * one.n:,}: {one.small.cpu_s:.2f} and {one.large.cpu_s:.2f} s of CPU{ended}"
            small = "" if one.counts else " (too small to count)"
            yield (
                f"{name}: {one.command}, {sizes} ({one.base_s:.2f} s at least), growth {one.ratio:.2f}{small}; "
                f"{one.small.rss_mb:.0f} and {one.large.rss_mb:.0f} MB"
            )


def figures(results: Mapping[str, list[Growth]]) -> dict[str, object]:
    """For the last line."""
    found = [(one, f"{name}: {one.command}") for name, growth in results.items() for one in growth]
    counted = [(one.ratio, name) for one, name in found if one.counts and one.command not in FLAT]
    ratio, worst = max(counted, default=(None, None))
    memory, largest = max(((one.memory, name) for one, name in found), default=(None, None))
    return {
        "worst_shape_growth": None if ratio is None else round(ratio, 2),
        "worst_shape": worst,
        "worst_shape_memory": None if memory is None else round(memory, 2),
        "largest_shape": largest,
        "shapes_above": sum(one.is_bad for one, _ in found),
    }


def measure_all(names: Iterable[str], bench: Bench, most_s: float) -> dict[str, list[Growth]]:
    """As many of the shapes as there is time for."""
    started, results = time.perf_counter(), dict[str, list[Growth]]()
    for name in names:
        if time.perf_counter() - started > most_s:
            say(f"no time left for {name}")
            continue
        results[name] = growths(measure(SHAPES[name], bench), bench)
        for line in details({name: results[name]}, lambda one: one.is_bad or one.is_large):
            say(line)
    return results


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", action="append", choices=sorted(SHAPES), metavar="SHAPE", help="only this shape; may be repeated")
    parser.add_argument("--floor", type=float, default=1.0, help="seconds of CPU that a command must cost beyond its start-up")
    parser.add_argument("--shape-s", type=float, default=75.0, help="no larger size of a shape is begun after so long")
    parser.add_argument("--most-minutes", type=float, default=30.0, help="no further shape is begun after so long")
    parser.add_argument("--largest", type=int, help="no size above this one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=3, help="for a shape that grows too fast")
    parser.add_argument("--verbose", action="store_true", help="print all figures")
    parser.add_argument("--list", action="store_true", help="say what shapes there are")
    parser.add_argument("--quick", action="store_true", help="one small shape, which only shows that everything works")
    args = parser.parse_args()
    if args.list:
        print("\n".join(f"{shape.name:20} {shape.says}" for shape in SHAPES.values()))
        return
    if args.quick:
        args.only, args.largest, args.rounds = ["one_record"], 100, 0
    bench = Bench(args.floor, args.shape_s, rounds=args.rounds, largest=args.largest)
    results = measure_all(args.only or SHAPES, bench, 60 * args.most_minutes)
    show(results)
    if args.verbose:
        print("\n".join(details(results, lambda one: True)))
    print(machine())
    print(json.dumps({"bench": "shapes", **figures(results)}))


if __name__ == "__main__":
    main()
