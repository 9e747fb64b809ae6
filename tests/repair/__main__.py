"""`python -m tests.repair`: kills commands that must survive it. Prints a line for each trial, then one JSON object.

Exit code 1 if a promise was broken: what, and the command that repeats it. A seed repeats everything.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from bench.common import OUT
from tests.publishers.client import Publishers
from tests.repair.campaign import RepairCampaign
from tests.repair.commands import COMMANDS

QUICK_KILLS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None, help="of all moments; else one that is new each time")
    parser.add_argument("--kills", type=int, default=300, help="at least")
    parser.add_argument("--command", action="append", choices=[one.name for one in COMMANDS], help="only this one; repeatable")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_KILLS} kills")
    args = parser.parse_args()
    seed = random.randrange(10_000) if args.seed is None else args.seed
    n_kills = QUICK_KILLS if args.quick else args.kills
    print(f"seed {seed}", flush=True)
    OUT.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=OUT, prefix="repair-"))
    campaign = RepairCampaign(seed, folder, partial(print, flush=True))
    with Publishers() as publishers:
        campaign.prepare(publishers)
    found = campaign.run(n_kills, [one for one in COMMANDS if not args.command or one.name in args.command])
    if found.violations:
        only = "".join(f" --command {name}" for name in args.command or ())
        print(f"\n{len(found.violations)} promises were broken; what is left is in {folder}")
        print(f"the same again: python -m tests.repair --seed {seed} --kills {n_kills}{only}")
    else:
        shutil.rmtree(folder)
    print(json.dumps({
        "campaign": "repair", "seed": seed, "kills": sum(found.kills.values()), "kills_by_command": found.kills,
        "trials": sum(found.trials.values()), "violations": len(found.violations),
    }))  # fmt: skip
    sys.exit(1 if found.violations else 0)


if __name__ == "__main__":
    main()
