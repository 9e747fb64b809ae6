"""What does it cost that images and settlements are on the disk before they are told? On the file system under `--root`.

`python -m bench.durable` keeps images of 40 KB in groups of 32, each group in several ways, and commits settlements to a copy of a
small ledger with each `synchronous`; it prints a table and, as its last line, one JSON object.
Docs: docs/explanation/performance.md.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.common import OUT, machine

GROUP = 32
FOLDERS = 8  # that a group's images fall into
BODY = os.urandom(40_000)
THREADS = ThreadPoolExecutor(8)
LIBC = ctypes.CDLL(None, use_errno=True)
SYNC_FILE_RANGE_WRITE = 2  # see sync_file_range(2): begins to write, waits for nothing

Sync = Callable[[Sequence[int]], None]
"""Has what stands behind these descriptors on the disk when it returns."""


def one_by_one(fds: Sequence[int]) -> None:
    for fd in fds:
        os.fsync(fd)


def by_threads(fds: Sequence[int]) -> None:
    list(THREADS.map(os.fsync, fds))


def data_by_threads(fds: Sequence[int]) -> None:
    list(THREADS.map(os.fdatasync, fds))


def begun_early(fds: Sequence[int]) -> None:
    for fd in fds:
        LIBC.sync_file_range(fd, ctypes.c_long(0), ctypes.c_long(0), SYNC_FILE_RANGE_WRITE)
    by_threads(fds)


def whole_file_system(fds: Sequence[int]) -> None:
    LIBC.syncfs(fds[0])


def nothing(fds: Sequence[int]) -> None:
    """What the peers do."""


WAYS = {
    "nothing": nothing,
    "fsync one by one": one_by_one,
    "fsync by 8 threads": by_threads,
    "fdatasync by 8 threads": data_by_threads,
    "sync_file_range, then fsync by 8 threads": begun_early,
    "syncfs": whole_file_system,
}


def keep_group(root: Path, number: int, sync: Sync) -> None:
    """Write, sync, rename, sync the folders: the order of I1."""
    folders = [root / str(n) for n in range(FOLDERS)]
    names = [folders[n % FOLDERS] / f"{number}-{n}" for n in range(GROUP)]
    fds = [os.open(f"{name}.part", os.O_WRONLY | os.O_CREAT, 0o666) for name in names]
    for fd in fds:
        os.write(fd, BODY)
    sync(fds)
    for fd in fds:
        os.close(fd)
    for name in names:
        Path(f"{name}.part").replace(name)
    fds = [os.open(folder, os.O_RDONLY) for folder in folders]
    # fdatasync of a folder need not have a new name on the disk: its size stays the same.
    (by_threads if sync is data_by_threads else sync)(fds)
    for fd in fds:
        os.close(fd)


def files(root: Path, groups: int) -> dict[str, float]:
    """Milliseconds per image of each way, the groups of all ways in turn; medians."""
    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    for name in WAYS:
        for n in range(FOLDERS):
            (root / name / str(n)).mkdir(parents=True)
    for number in range(groups):
        for name in random.sample(list(WAYS), len(WAYS)):  # what one way leaves to write is not always the same one's burden
            started = time.perf_counter()
            keep_group(root / name, number, WAYS[name])
            spent[name].append(1000 * (time.perf_counter() - started) / GROUP)
    return {name: statistics.median(times) for name, times in spent.items()}


def commits(root: Path, n: int) -> dict[str, float]:
    """Milliseconds per transaction that changes 64 rows of 200 bytes, in the ledger's two modes; medians."""
    spent = {}
    for mode, synchronous in (("WAL", "NORMAL"), ("WAL", "FULL"), ("TRUNCATE", "FULL")):
        db = sqlite3.connect(root / f"{mode}-{synchronous}.sqlite", isolation_level=None)
        db.execute("PRAGMA page_size = 8192")
        db.execute(f"PRAGMA journal_mode = {mode}")
        db.execute(f"PRAGMA synchronous = {synchronous}")
        db.execute("CREATE TABLE images (image_id INTEGER PRIMARY KEY, row TEXT)")
        db.execute("BEGIN")
        db.executemany("INSERT INTO images (row) VALUES (?)", [("x" * 200,) for _ in range(64 * n)])
        db.execute("COMMIT")
        times = []
        for number in range(n):
            started = time.perf_counter()
            db.execute("BEGIN IMMEDIATE")
            db.execute("UPDATE images SET row = 'y' || row WHERE image_id % ? = ?", (n, number))
            db.execute("COMMIT")
            times.append(1000 * (time.perf_counter() - started))
        db.close()
        spent[f"{mode} {synchronous}"] = statistics.median(times)
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=40)
    parser.add_argument("--root", type=Path, default=OUT, help="a folder on the file system in question")
    parser.add_argument("--quick", action="store_true", help="a small one that only shows that everything works")
    args = parser.parse_args()
    if args.quick:
        args.groups = 2
    args.root.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.root, prefix="durable-") as name:
        by_way = files(Path(name), args.groups)
        by_mode = commits(Path(name), args.groups)
    table = Table(title=f"images of 40 KB in groups of {GROUP} over {FOLDERS} folders; medians of {args.groups} groups")
    table.add_column("how they are made durable")
    table.add_column("ms/image", justify="right")
    for way, ms in by_way.items():
        table.add_row(way, f"{ms:.2f}")
    Console(width=110).print(table)
    for mode, ms in by_mode.items():
        print(f"a commit of 64 rows, {mode}: {ms:.1f} ms")
    print(machine())
    figures = {"ms_per_image": by_way, "ms_per_commit": by_mode}
    print(json.dumps({"bench": "durable", **{n: {k: round(v, 3) for k, v in one.items()} for n, one in figures.items()}}))


if __name__ == "__main__":
    main()
