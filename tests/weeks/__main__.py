"""`python -m tests.weeks`: a rehearsal of weeks. Prints what happens, one line each, then a table and one JSON object.

Exit code 1 if a promise was broken: what, and the seed by which the same hosts and troubles come again. The moments at which they
come depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.common import OUT, machine
from tests.weeks.campaign import Campaign, Options
from tests.weeks.plan import Size

REPEATED = ("hosts", "images", "days", "speed", "rounds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None, help="of hosts and troubles; else one that is new each time")
    parser.add_argument("--hosts", type=int, default=500)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--days", type=float, default=14.0, help="of the compressed clock, at least")
    parser.add_argument("--speed", type=float, default=60.0, help="of the compressed clock")
    parser.add_argument("--rounds", type=int, default=3, help="of all troubles")
    parser.add_argument("--keep", action="store_true", help="leave ledger, images and logs where they are")
    parser.add_argument("--quick", action="store_true", help="a small one, of half a minute: 20 hosts, 500 images")
    args = parser.parse_args()
    seed = random.randrange(10_000) if args.seed is None else args.seed
    if args.quick:
        args.hosts, args.images, args.days, args.rounds = 20, 500, 2.0, 1
    size = Size(args.hosts, args.images, busy_s=14_400.0, long_wait_s=900, work_s=240.0)
    requests = max(20, args.images // (60 * args.rounds))
    options = Options(seed, size, args.speed, args.days, rounds=args.rounds, requests=requests)
    if args.quick:
        size = replace(size, busy_s=240.0, long_wait_s=200, work_s=15.0)
        options = replace(options, size=size, job_s=900.0, quiet_s=0.7, trouble_s=0.5, max_idle="45s")
    OUT.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=OUT, prefix="weeks-"))
    campaign, began_at = Campaign(options, folder, partial(print, flush=True)), time.monotonic()
    broken = campaign.run()
    show(campaign, time.monotonic() - began_at)
    words = ["python", "-m", "tests.weeks", "--seed", str(seed), *(["--quick"] if args.quick else [])]
    if not args.quick:
        words += [word for name in REPEATED for word in (f"--{name}", str(getattr(args, name)))]
    if broken:
        print(f"\n{len(broken)} promises were broken (ledger, images and logs are in {folder}):")
        for text in broken:
            print(f"* {text}")
        print(f"the same hosts and troubles again: {shlex.join(words)}")
    elif not args.keep:
        shutil.rmtree(folder)
    print(json.dumps(figures(campaign, seed)))
    sys.exit(1 if broken else 0)


def show(campaign: Campaign, took_s: float) -> None:
    books, figures = campaign.books, campaign.figures
    hosts = books["hosts"].values()
    table = Table(title=f"{campaign.days:.1f} days in {took_s / 60:.1f} minutes, seed {campaign.options.seed}", show_header=False)
    broken = books["n_broken"]
    n_pictures, n_again = (sum(one[name] for one in hosts) for name in ("pictures", "again"))
    rows = (
        ("hosts; images", f"{len(campaign.hosts):,}; {sum(host.images for host in campaign.hosts):,}"),
        ("jobs; resubmitted by a person; ended at their limit", f"{figures.n_jobs}; {figures.n_resubmitted}; {figures.n_at_limit}"),
        ("troubles", ", ".join(f"{n} {what}" for what, n in sorted(figures.troubles.items()))),
        ("requests; whole pictures; of them sent again", f"{books['requests']:,}; {n_pictures:,}; {n_again:,}"),
        ("waits named; lost with a kill", f"{books['waits']:,}; {books['forgotten']:,}"),
        ("asked before a named wait was over", f"{broken.get('wait', 0):,}"),
        ("more connections than agreed", f"{broken.get('connections', 0):,}"),
        ("requests nearer to each other than agreed", f"{broken.get('interval', 0):,}"),
        ("answers of a shut door, most of one host", f"{max((one['door'] for one in hosts), default=0):,}"),
        ("promises broken", f"{len(figures.broken)}"),
    )
    for row in rows:
        table.add_row(*row)
    Console(width=118).print(table)
    print(machine())


def figures(campaign: Campaign, seed: int) -> dict[str, object]:
    books = campaign.books
    return {
        "campaign": "weeks",
        "seed": seed,
        "days": round(campaign.days, 1),
        "jobs": campaign.figures.n_jobs,
        "requests": books["requests"],
        "waits": books["waits"],
        "waits_broken": books["n_broken"].get("wait", 0),
        "limits_broken": books["n_broken"].get("connections", 0) + books["n_broken"].get("interval", 0),
        "promises_broken": len(campaign.figures.broken),
    }


if __name__ == "__main__":
    main()
