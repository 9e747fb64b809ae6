"""What does it cost to verify a collection? `check` against parallel `sha256sum`, and its ledger part against one SELECT.

`python -m bench.check` makes two collections of stored images, `--files` of 40 kB and `--large` of 4 MB, and reads each in turn,
`--rounds` times: with `d4c-images check --sha256` (all that it does: the ledger, each row against its file, each file against the
rows), and with `sha256sum` under `xargs -P` of as many processes as there are cores, which only reads. Warm: everything was read
once before. Cold: the system's caches are dropped before each command, which only root may do and which slows down everybody else
on the machine for a while; `--no-cold` omits it.

Then it makes a ledger of each of `--rows` images (`bench.scale`), all stored, and in turn runs `check --ledger-only` and one SELECT
that sums up the same columns of the same rows of the same tables, in a process of its own.

*files/s* and *MB/s* are those of the command as a whole, start included. *Ratio* is sha256sum's time divided by ours (the aim is at
least 0.8), or our time divided by the SELECT's (the aim is at most 3): medians over the rounds, of wall clock and of CPU of all
processes. On a machine that others use too, only the second means something. MB are the peak of the resident sets of all processes
of `check` (the aim is at most 300).

The last line is one JSON object; null is what was not measured. 50 M rows take an hour and 45 GB of disk; `--keep` leaves the
ledgers in bench/out and uses those that are there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import sqlite3
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import scale
from bench.common import OUT, machine
from bench.cost import Cost, must
from bench.scale import PROGRAM, step

SMALL_BYTES, LARGE_BYTES = 40_000, 4_000_000
FILES_PER_PROCESS = 100  # that xargs gives to one sha256sum
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
SET_STORED = """
UPDATE image_rows SET status = 'success', not_before = NULL, attempts = 1, last_attempt_at = 1800000000, http_status = 200,
    file_path = ?, file_size = ?, sha256 = ?, media_type = 'image/jpeg', width = 640, height = 480
WHERE image_id = ?
"""
# `init --finalize-only` takes longer than anything else here, since each record differs; `check` says whether this is the same.
TRUE_COUNTERS = """
PRAGMA synchronous = OFF;
UPDATE gbif_ids SET n_success = n_images, n_failed = 0, status = 'done', completed_at = 1800000000;
DELETE FROM tallies;
INSERT INTO tallies (host_id, status, error_type, n, n_final, size_bytes)
    SELECT host_id, status, '', count(*), count(*), sum(file_size) FROM image_rows GROUP BY host_id, status;
DELETE FROM record_tallies;
INSERT INTO record_tallies (status, n) SELECT status, count(*) FROM gbif_ids GROUP BY status;
PRAGMA wal_checkpoint(TRUNCATE);
"""
# What `check` compares of each row, once.
SCAN = """
SELECT (SELECT count(*) + sum(host_id) + sum(rule_id) + count(status) + count(error_type) + sum(file_size) + count(not_before)
               + max(last_attempt_at) + total(gbif_id) FROM image_rows),
       (SELECT count(*) + sum(n_images) + sum(n_success) + sum(n_failed) + count(status) + total(first_image_id) + sum(n_in_line)
        FROM gbif_ids),
       (SELECT count(*) + total(gbif_id) + total(image_id) FROM link_rows),
       (SELECT count(*) + sum(n) + sum(n_final) + sum(size_bytes) FROM tallies),
       (SELECT count(*) + sum(length(places)) FROM untried)
"""
SCANNING = "import sqlite3, sys; print(sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True).execute(sys.argv[2]).fetchall())"


@dataclass(frozen=True, slots=True)
class Case:
    """Our command and its peer, each as often as there were rounds."""

    name: str
    n: int  # files, or rows
    size_bytes: int  # of all files; of the ledger
    ours: tuple[Cost, ...]
    peers: tuple[Cost, ...]

    def ratio(self, cost_name: str) -> float:
        """Our cost divided by the peer's: the median over the rounds."""
        pairs = zip(self.ours, self.peers, strict=True)
        return statistics.median(getattr(our, cost_name) / max(getattr(peer, cost_name), 1e-9) for our, peer in pairs)

    @property
    def wall_s(self) -> float:
        return statistics.median(one.wall_s for one in self.ours)

    @property
    def rss_mb(self) -> float:
        return max(one.rss_mb for one in self.ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=30_000, help="images of 40 kB")
    parser.add_argument("--large", type=int, default=300, help="images of 4 MB")
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000], help="sizes of the ledgers; none: files only")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-cold", action="store_true", help="leave the system's caches alone")
    parser.add_argument("--keep", action="store_true", help="leave the ledgers in bench/out, and use those that are there")
    parser.add_argument("--quick", action="store_true", help="small ones that only show that everything works")
    args = parser.parse_args()
    if args.quick:
        args.files, args.large, args.rows, args.rounds, args.no_cold = 200, 3, [5_000], 1, True
    OUT.mkdir(exist_ok=True)
    cold = None if args.no_cold else why_not_cold()
    files = [case for spec in ((args.files, SMALL_BYTES), (args.large, LARGE_BYTES)) if spec[0] for case in of_files(*spec, args)]
    ledgers = [of_ledger(rows, args) for rows in args.rows]
    show_files(files)
    show_ledgers(ledgers)
    if args.no_cold or cold:
        print(f"cold: not measured{f', {cold}' if cold else ''}")
    print(machine())
    small = next((case for case in files if case.name.startswith("40 kB, warm")), None)
    largest = next((case for case in ledgers if case.n == 50_000_000), None)
    line = {
        "bench": "check",
        "ratio_to_sha256sum": None if small is None else round(1 / small.ratio("wall_s"), 2),
        "ratio_to_scan_50m": None if largest is None else round(largest.ratio("wall_s"), 2),
        "rss_mb": round(max((case.rss_mb for case in [*files, *ledgers]), default=0)) or None,
    }
    print(json.dumps(line))


# -- files


def of_files(n: int, size_bytes: int, args: argparse.Namespace) -> Iterator[Case]:
    """Warm, and if possible cold, of one collection."""
    folder, size = OUT / f"check-{n}x{size_bytes}", "4 MB" if size_bytes == LARGE_BYTES else "40 kB"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with step(f"making {n:,} images of {size}"):
            names = make_collection(folder, n, size_bytes)
        ours = [*PROGRAM, "check", "--sha256", "--root", folder / "images", "--ledger", folder / "ledger.sqlite", "--no-progress"]
        peer = ["xargs", "-0", "-P", os.cpu_count() or 1, "-n", FILES_PER_PROCESS, "sha256sum"]

        def read() -> Cost:
            return must(peer, script="\0".join(names))

        read()
        yield in_turn(f"{size}, warm", (n, n * size_bytes), (lambda: must(ours), read), args.rounds)
        if not args.no_cold and why_not_cold() is None:
            yield in_turn(f"{size}, cold", (n, n * size_bytes), (lambda: must(ours), read), args.rounds, drop_caches)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_collection(folder: Path, n: int, size_bytes: int) -> list[str]:
    """Images as a download leaves them, of random bytes, and a ledger that is true to them; returns the files' names."""
    folder.mkdir(parents=True)
    ledger, table = folder / "ledger.sqlite", folder / "multimedia.txt"
    scale.write(table, n, shuffled=False)
    must([*PROGRAM, "init", table, "--ledger", ledger, "--no-progress"])
    names, body, numbers = [], random.Random(15).randbytes(size_bytes - 8), count()
    db = sqlite3.connect(ledger)
    for image_id, gbif_id, image_no in db.execute("SELECT image_id, gbif_id, image_no FROM image_rows").fetchall():
        digits = str(gbif_id)
        name = f"{digits[:3]}/{digits[3:6]}/{digits}-{image_no:02d}.jpg"
        path, whole = folder / "images" / name, next(numbers).to_bytes(8, "big") + body
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole)
        db.execute(SET_STORED, (name, size_bytes, hashlib.sha256(whole).digest(), image_id))
        names.append(str(path))
    db.execute(scale.UNLIST)
    db.commit()
    db.close()
    must([*PROGRAM, "init", "--finalize-only", "--ledger", ledger, "--no-progress"])
    return names


def why_not_cold() -> str | None:
    """None: the caches can be dropped."""
    return None if os.access(DROP_CACHES, os.W_OK) else f"since only root may write {DROP_CACHES}"


def drop_caches() -> None:
    os.sync()
    DROP_CACHES.write_text("3\n", encoding="ascii")


# -- the ledger


def of_ledger(rows: int, args: argparse.Namespace) -> Case:
    ledger = OUT / f"check-{rows}.sqlite"
    try:
        if not (args.keep and ledger.exists()):
            make_ledger(ledger, rows, args.keep)
        ours = [*PROGRAM, "check", "--ledger-only", "--ledger", ledger, "--no-progress"]
        peer = [sys.executable, "-c", SCANNING, ledger, SCAN]
        must(peer)
        size = (rows, ledger.stat().st_size)
        return in_turn(f"{rows:,} rows", size, (lambda: must(ours), lambda: must(peer)), args.rounds)
    finally:
        if not args.keep:
            _remove(ledger)


def make_ledger(ledger: Path, rows: int, keep: bool) -> None:
    """One of `bench.scale` if it is there, or a new one; all images stored, all counters true."""
    kept = OUT / f"scale-{rows}.sqlite"
    _remove(ledger)
    if keep and kept.exists():
        shutil.copyfile(kept, ledger)
    else:
        scale.make(ledger, rows, shuffled=False)
    with step("making all images stored ones, by SQL"):
        scale.store_all(ledger)
    with step("making its counters true, by SQL"):
        must([*PROGRAM, "migrate", "--no-backup", "--ledger", ledger])
        with closing(sqlite3.connect(ledger)) as db:
            db.executescript(TRUE_COUNTERS)


def _remove(ledger: Path) -> None:
    for path in ledger.parent.glob(f"{ledger.name}*"):
        path.unlink()


# -- what all share


def in_turn(
    name: str,
    size: tuple[int, int],
    commands: tuple[Callable[[], Cost], Callable[[], Cost]],
    rounds: int,
    before: Callable[[], None] = lambda: None,
) -> Case:
    """Run both, one after the other, so that what disturbs one round disturbs both. `before` is called before each."""
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    with step(f"{name}: {rounds} rounds"):
        for _ in range(rounds):
            for command, mine in zip(commands, costs, strict=True):
                before()
                mine.append(command())
    return Case(name, *size, *map(tuple, costs))


def show_files(cases: Sequence[Case]) -> None:
    table = Table(title="check --sha256 and parallel sha256sum of the same files; medians")
    for column in ("files", "number", "files/s", "MB/s", "CPU ms/file", "peak MB", "ratio: wall", "CPU"):
        table.add_column(column, justify="left" if column == "files" else "right")
    for case in cases:
        cpu_ms = statistics.median(one.cpu_s for one in case.ours) / case.n * 1e3
        speeds = [f"{case.n / case.wall_s:,.0f}", f"{case.size_bytes / case.wall_s / 1e6:,.0f}"]
        speeds += [f"{cpu_ms:.2f}", f"{case.rss_mb:.0f}"]
        table.add_row(case.name, f"{case.n:,}", *speeds, f"{1 / case.ratio('wall_s'):.2f}", f"{1 / case.ratio('cpu_s'):.2f}")
    Console(width=118).print(table)


def show_ledgers(cases: Sequence[Case]) -> None:
    table = Table(title="check --ledger-only, and one SELECT over the same rows; medians")
    for column in ("ledger", "GB", "µs/row", "CPU µs/row", "CPU µs/row of SELECT", "peak MB", "ratio: wall", "CPU"):
        table.add_column(column, justify="left" if column == "ledger" else "right")
    for case in cases:
        ours, peers = (statistics.median(one.cpu_s for one in costs) / case.n * 1e6 for costs in (case.ours, case.peers))
        cells = [f"{case.size_bytes / 1e9:.2f}", f"{case.wall_s / case.n * 1e6:.2f}", f"{ours:.2f}", f"{peers:.2f}"]
        table.add_row(case.name, *cells, f"{case.rss_mb:.0f}", f"{case.ratio('wall_s'):.2f}", f"{case.ratio('cpu_s'):.2f}")
    Console(width=118).print(table)


if __name__ == "__main__":
    main()
