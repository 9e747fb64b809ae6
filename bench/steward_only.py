"""A download whose workers say at once that every image is stored: the real steward, ledger, processes and pipes, no network.

`python -m bench.steward_only LEDGER --images N` prints one JSON object: images/s from the first turn to the last settlement,
seconds from the start of the process to the first turn, the steward's peak memory and its CPU.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import psutil

from bench.instant_worker import set_up
from d4c_images.commands import presets
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.writing import open_and_own
from d4c_images.model import Orders
from d4c_images.policy.limits import HostLimits, HostTable
from d4c_images.report.progress import LogProgress
from d4c_images.runners.processes import ProcessRunner
from d4c_images.settings import Settings
from d4c_images.steward.steward import Steward
from d4c_images.steward.terms import Plan


class Watched(ProcessRunner):
    """Notes when the first turn was lent."""

    first_turn_at: float | None = None

    def send(self, worker: int, orders: Orders) -> None:
        if self.first_turn_at is None:
            self.first_turn_at = time.time()
        super().send(worker, orders)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--presets", action="store_true", help="within the limits that come with the program")
    args = parser.parse_args()
    wide = {"open-bucket.example.org": {"connections": 32 * args.processes}}
    table = presets.host_table(None) if args.presets else HostTable(HostLimits(), wide)
    plan = Plan(table, max_tries=args.images)
    me, disk = owner.this_process(), Settings().ledger_disk
    with open_and_own(args.ledger, "download", me, time.time, print, disk=disk) as ledger:
        runner = Watched(args.processes, set_up)
        try:
            before = resource.getrusage(resource.RUSAGE_SELF)
            Steward(ledger, runner, plan, LogProgress(), time.time, lambda: False).run()
            ended_at, after = time.time(), resource.getrusage(resource.RUSAGE_SELF)
        finally:
            runner.close()
        assert ledger.n_done == args.images, ledger.n_done
        assert runner.first_turn_at is not None
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures = {
        "images_per_s": args.images / (ended_at - runner.first_turn_at),
        "start_s": runner.first_turn_at - psutil.Process().create_time(),
        "rss_mb": after.ru_maxrss / 1000,
        "cpu_us_per_image": cpu_s / args.images * 1e6,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
