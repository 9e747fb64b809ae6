"""`python -m tests.mutants`: small faults in the program, drawn at random, and how many of them the tests notice.

Prints a line for each, a table, the survivors with what was changed, and, last, one JSON object. Exit code 1 if less than 95 % of
those that are not equivalent were noticed.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.common import OUT, PROJECT, machine
from tests.mutants import drawing
from tests.mutants.argued import argued, reason
from tests.mutants.campaign import FAST, SLOW, Campaign, Options
from tests.mutants.drawing import Mutant, Project
from tests.mutants.judging import Fate, Patience, Verdict

WANTED = 0.95
D4C = Project(
    PROJECT,
    "d4c_images",
    pytest=("--hypothesis-profile", "mutants"),
    not_judges=("tests/test_mutants.py", "tests/mutants/test_campaign.py"),
)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # copies and tests go, too
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None, help="of the draw; else one that is new each time")
    parser.add_argument("--count", type=int, default=200, help="of mutants")
    parser.add_argument("--module", default="*", metavar="PATTERN", help="only from modules whose path below the package matches")
    parser.add_argument("--at", nargs="+", default=[], metavar="MODULE:LINE", help="all mutants of these lines instead of a draw")
    parser.add_argument("--tests", default="*", metavar="PATTERN", help="judge only by test files whose name matches")
    parser.add_argument("--fast", action="store_true", help="judge only by tests that are not marked as slow")
    parser.add_argument("--budget", type=float, default=600.0, metavar="SECONDS", help="of tests for a mutant, fast and slow each")
    parser.add_argument("--processes", type=int, default=2, help="mutants that are judged at the same time")
    parser.add_argument("--fresh", action="store_true", help="use nothing that was measured or judged before")
    parser.add_argument("--out", type=Path, default=OUT / "mutants", metavar="FOLDER", help="for what is measured and judged")
    parser.add_argument("--list", action="store_true", help="only print what is drawn")
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    args = parser.parse_args()
    seed = random.randrange(10_000) if args.seed is None else args.seed
    if args.at:
        mutants = [one for place in args.at for one in drawing.at(D4C, place)]
    else:
        mutants = drawing.draw(D4C, seed, args.count, args.module)
    if args.list:
        for one in mutants:
            show_mutant(one, one.edit.operator)
        return
    kinds = (FAST,) if args.fast else (FAST, SLOW)
    options = Options(args.out, kinds, args.tests, Patience(args.budget), args.processes, args.fresh)
    began_at = time.monotonic()
    say = partial(print, flush=True, file=sys.stderr if args.json else sys.stdout)
    campaign = Campaign(D4C, options, argued(), say)
    verdicts = campaign.run(mutants)
    if not args.json:
        print(f"\n{campaign.n_tests} tests judged; {campaign.n_red} are red without any fault, or under the recorder, and did not")
        show(mutants, verdicts, f"{len(mutants)} mutants, seed {seed}, {(time.monotonic() - began_at) / 60:.1f} minutes")
        again = ["--at", *args.at] if args.at else ["--seed", str(seed), "--count", str(args.count), "--module", args.module]
        print(f"the same again: {shlex.join(['python', '-m', 'tests.mutants', *again])}")
    found = figures(mutants, verdicts, seed)
    print(json.dumps(found))
    sys.exit(1 if found["share_killed"] < WANTED else 0)


def show_mutant(one: Mutant, words: str) -> None:
    before, after = one.diff
    print(f"{one.name} {one.point.function} ({words})\n    - {before}\n    + {after}")


def show(mutants: Sequence[Mutant], verdicts: dict[str, Verdict], title: str) -> None:
    table = Table("module", *(fate.value for fate in Fate), title=title)
    by_module = Counter((one.module, verdicts[one.key].fate) for one in mutants)
    for module in sorted({one.module for one in mutants}):
        table.add_row(module, *(str(by_module[module, fate] or "") for fate in Fate))
    Console(width=132).print(table)
    entries = argued()
    for one in mutants:
        verdict = verdicts[one.key]
        if verdict.fate is Fate.SURVIVED:
            entry = reason(one, entries)
            words = f"costs only: {entry.reason}" if entry else f"{one.edit.operator}; {verdict.n_tests} tests are green"
            show_mutant(one, words + ("; others, beyond the budget, were not run" if verdict.is_cut else ""))
    print(machine())


def figures(mutants: Sequence[Mutant], verdicts: dict[str, Verdict], seed: int) -> dict[str, Any]:
    fates = Counter(verdicts[one.key].fate for one in mutants)
    entries = argued()
    survivors = [one for one in mutants if verdicts[one.key].fate is Fate.SURVIVED]
    n_killed = fates[Fate.KILLED] + fates[Fate.OUT_OF_TIME]
    n_costs = sum(reason(one, entries) is not None for one in survivors)
    return {
        "campaign": "mutants",
        "seed": seed,
        "drawn": len(mutants),
        "killed": n_killed,
        "out_of_time": fates[Fate.OUT_OF_TIME],  # of those killed
        "survived": len(survivors),
        "cost_only": n_costs,  # of those that survived
        "cut_at_budget": sum(verdicts[one.key].is_cut for one in survivors),
        "equivalent": fates[Fate.EQUIVALENT],
        "share_killed": share(n_killed, n_killed + len(survivors)),
        "share_killed_but_cost_only": share(n_killed, n_killed + len(survivors) - n_costs),
    }


def share(part: int, whole: int) -> float:
    return round(part / whole, 3) if whole else 1.0


if __name__ == "__main__":
    main()
