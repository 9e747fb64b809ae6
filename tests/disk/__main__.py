"""`python -m tests.disk`: every call of every command that writes fails once. Prints tables and, last, one JSON object.

Exit code 1 if a command did not stop cleanly, lost something or did not go on: which, and the command that repeats it.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.disk import campaign
from tests.disk.calls import Fault, parse_fault
from tests.disk.jobs import NAMES, job_of
from tests.publishers.client import Publishers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None, help="of a sample; else one that is new each time")
    parser.add_argument("--sample", type=int, default=None, metavar="N", help="of each command only N faults, at as many places")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="COMMAND", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--fault", type=parse_fault, default=None, metavar="FAULT", help="this one, as failures name it")
    parser.add_argument("--for", dest="most_s", type=float, default=float("inf"), metavar="S", help="begin no more after S seconds")
    args = parser.parse_args()
    seed = random.randrange(10_000) if args.seed is None else args.seed
    counts: Counter[str] = Counter()
    ended_at = time.monotonic() + args.most_s
    folder = Path(tempfile.mkdtemp(prefix="d4c-disk-"))
    try:
        with Publishers() as publishers:
            for number, name in enumerate(args.only):
                left_s = (ended_at - time.monotonic()) / (len(args.only) - number)
                _run(campaign.Stage(job_of(name), folder, publishers), args, random.Random(f"{seed} {name}"), counts, left_s)
    finally:
        shutil.rmtree(folder)
    print(json.dumps({"campaign": "disk-faults", "seed": seed, "sample": args.sample, **counts}))
    sys.exit(1 if counts["failures"] or not counts["faults"] else 0)


def _run(stage: campaign.Stage, args: argparse.Namespace, dice: random.Random, counts: Counter[str], most_s: float) -> None:
    """One command. Without a sample it goes on behind the calls of the run without faults, until none fires any more."""
    ended_at = time.monotonic() + most_s
    faults: list[Fault] = [args.fault] if args.fault else campaign.all_faults(stage.heard)
    if args.sample is not None and args.fault is None:
        faults = campaign.some_faults(stage.heard, args.sample, dice)
    codes: Counter[int] = Counter()
    for fault in faults:
        if time.monotonic() > ended_at:
            counts["not_begun"] += 1
            continue
        verdict = stage.judge(fault)
        if verdict.fired is None:
            counts["not_fired"] += 1
            continue
        counts["faults"] += 1
        counts["failures"] += bool(verdict.wrong)
        codes[verdict.code] += 1
        for wrong in verdict.wrong:
            print(f"{stage.job.name} {fault} ({verdict.fired}; exit {verdict.code}): {wrong}\n      {verdict.line}", flush=True)
        if args.fault:
            print(verdict.output)
    calls = sum(stage.heard.counts.values())
    ends = ", ".join(f"{n:,} x {code}" for code, n in sorted(codes.items()))
    print(f"{stage.job.name}: {calls:,} calls; {sum(codes.values()):,} faults; exit codes {ends}", flush=True)


if __name__ == "__main__":
    main()
