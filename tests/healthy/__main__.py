"""`python -m tests.healthy`: checks of a healthy collection beside a running download. Ends with one JSON object.

Exit code 1 if a check has found anything, or if a command has failed. A seed repeats what is drawn.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from bench.common import OUT, machine
from tests.healthy.campaign import HealthyCampaign, Options
from tests.publishers.client import Publishers

QUICK = {"images": 400, "downloaded": 150, "kills": 2, "refetched": 5, "placeholder_records": 4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None, help="of kills and checks; else one that is new each time")
    parser.add_argument("--images", type=int, default=200_000, help="in all")
    parser.add_argument("--downloaded", type=int, default=20_000, help="of them, while the checks run")
    parser.add_argument("--kills", type=int, default=12, help="of the download, at most")
    parser.add_argument("--quick", action="store_true", help="a small one")
    args = parser.parse_args()
    seed = random.randrange(10_000) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    given = {"images": args.images, "downloaded": args.downloaded, "kills": args.kills}
    options = Options(seed, **(QUICK if args.quick else given))
    OUT.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=OUT, prefix="healthy-"))
    began = time.monotonic()
    with Publishers() as publishers:
        figures = HealthyCampaign(options, folder, publishers, partial(print, flush=True)).run()
    for line in figures.trouble:
        print(f"FAILED: {line}")
    is_well = not (figures.false or figures.trouble)
    if is_well:
        shutil.rmtree(folder)
    else:
        print(f"\nwhat is left is in {folder}; the same again: python -m tests.healthy --seed {seed} --images {options.images} "
              f"--downloaded {options.downloaded} --kills {options.kills}")  # fmt: skip
    print(machine())
    print(json.dumps({
        "campaign": "healthy", "seed": seed, "images": options.images, "false_findings": len(figures.false),
        "troubles": len(figures.trouble), "minutes": round((time.monotonic() - began) / 60), "checks": figures.checks,
        "beside": figures.beside, "while_dead": figures.while_dead, "kills": figures.kills, "rounds": figures.rounds,
        "seen": figures.seen, "at_end": figures.at_end,
    }))  # fmt: skip
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
