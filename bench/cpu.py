"""How much CPU does an image cost, of all processes together? Against img2dataset, and against the least that can be done.

`python -m bench.cpu` runs images of 40 KB and of 530 KB over HTTP and HTTPS, start-up included, and prints a table and, as its last
line, one JSON object. The least is `bench.libcurl_loop`: one process that writes each body to a file and decodes it once.
img2dataset is run in two ways: as its documentation says for keeping the bytes, which does not look at them; and so that it keeps
the bytes and decodes them, as ours does. The ratios without a case in their name are those of the worst case.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import entry_d4c, peers
from bench.common import OUT, PROJECT, Run, Task, count_files, machine, say, timed
from bench.race import OURS, Course
from tests.publishers.client import Publishers

LEAST = "libcurl loop, one decode"
NAMES = ("img2dataset", "img2dataset, decoding")


@dataclass(frozen=True, slots=True)
class Case:
    course: Course
    runs: Mapping[str, Sequence[Run]]  # by contestant

    @property
    def name(self) -> str:
        return f"{self.course.image_kb:.0f}kb_{self.course.scheme}"

    def cpu_ms(self, name: str) -> float:
        return statistics.median(run.cpu_s for run in self.runs[name]) / self.course.images * 1000

    def ratio_to(self, name: str) -> float | None:
        """The median over the rounds of ours / theirs in the same round."""
        if name not in self.runs:
            return None
        return statistics.median(mine.cpu_s / their.cpu_s for mine, their in zip(self.runs[OURS], self.runs[name], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs=2, default=(6000, 2000), metavar="N", help="of 40 KB, and of 530 KB")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--latency-ms", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true", help="leave img2dataset out")
    parser.add_argument("--quick", action="store_true", help="a small one that only shows that everything works")
    args = parser.parse_args()
    if args.quick:
        args.images, args.rounds, args.no_peers = (200, 50), 1, True
    sizes = zip((40, 530), args.images, strict=True)
    courses = [
        Course(images, args.connections, args.latency_ms, kb, scheme) for kb, images in sizes for scheme in ("http", "https")
    ]
    OUT.mkdir(exist_ok=True)
    contestants: dict[str, Callable[[Task], Run]] = {OURS: entry_d4c.run, LEAST: run_least}
    contestants |= {peer.name: peer.run for peer in peers.available(() if args.no_peers else NAMES)}
    cases = [measure(course, contestants, args.rounds) for course in courses]
    show(cases, args.rounds)
    figures = {f"ratio_to_img2dataset{end}": worst(cases, name) for end, name in zip(("", "_decoding"), NAMES, strict=True)}
    figures["ratio_to_curl_plus_decode"] = worst(cases, LEAST)
    by_case = {
        case.name: {
            "cpu_ms": {name: round(case.cpu_ms(name), 3) for name in case.runs},
            "ratio_to_img2dataset": _rounded(case.ratio_to(NAMES[0])),
            "ratio_to_img2dataset_decoding": _rounded(case.ratio_to(NAMES[1])),
            "ratio_to_curl_plus_decode": _rounded(case.ratio_to(LEAST)),
        }
        for case in cases
    }
    print(json.dumps({"bench": "cpu", **figures, "cases": by_case}))


def measure(course: Course, contestants: Mapping[str, Callable[[Task], Run]], rounds: int) -> Case:
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    arguments = ["--fast", "--latency-ms", str(course.latency_ms), "--image-kb", str(course.image_kb)]
    for at in range(rounds):
        for name, run in contestants.items():
            with Publishers(arguments) as publishers, tempfile.TemporaryDirectory(dir=OUT, prefix="cpu-") as folder:
                runs[name].append(run(course.task(publishers, Path(folder), name)))
            say(f"{name}, {course.scheme}", runs[name][-1], at, rounds)
    return Case(course, runs)


def run_least(task: Task) -> Run:
    root, urls = task.folder / "least", task.folder / "urls.txt"
    root.mkdir()
    urls.write_text("\n".join(task.urls))
    command = [sys.executable, "-m", "bench.libcurl_loop", "--urls", urls, "--root", root, "--cacert", task.cacert]
    command += ["--connections", task.connections, "--connect-to", f"::127.0.0.1:{task.port}"]
    return timed(command, task.folder, lambda: count_files(root), {"PYTHONPATH": str(PROJECT)})


def worst(cases: Sequence[Case], name: str) -> float | None:
    return _rounded(max((ratio for case in cases if (ratio := case.ratio_to(name)) is not None), default=None))


def show(cases: Sequence[Case], rounds: int) -> None:
    table = Table(title=f"CPU of all processes, ms per image, start-up included; medians of {rounds} rounds")
    names = list(cases[0].runs)
    for column in ("", "images", *names, "ours / least"):
        table.add_column(column, justify="right" if column else "left")
    for case in cases:
        cells = [f"{case.cpu_ms(name):.2f}" for name in names]
        table.add_row(case.name, f"{case.course.images:,}", *cells, f"{case.ratio_to(LEAST):.2f}")
    Console(width=118).print(table)
    for case in cases:
        for name, runs in case.runs.items():
            if any(run.stored != case.course.images for run in runs):
                print(f"{case.name}: {name} stored only {min(run.stored for run in runs):,}")
    print(machine())


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)


if __name__ == "__main__":
    main()
