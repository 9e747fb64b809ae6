"""`python -m tests.damage`: whole pictures of every format, damaged in every way. Prints tables and, last, one JSON object.

Exit code 1 if a cut or a visibly damaged file became a success, or a whole picture was refused: which ones, and the command
that repeats them.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from rich.console import Console
from rich.table import Table

from bench.common import OUT, machine
from tests.damage import campaign, harm, subject
from tests.damage.campaign import Counts, Plan
from tests.damage.cases import FAMILIES, FORMATS, Scale, families_with_odds
from tests.damage.judging import Fate, Fault, Note

MOST_BYTES = 100_000_000  # of a worker (docs/adr/0033)
QUICK = Scale(every=19, times=1, odd_families=1, odd_cuts=2)
QUICK_FAMILIES = 6  # of each format


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None, help="of pictures and damage; else one that is new each time")
    parser.add_argument("--format", choices=FORMATS, default="", help="only this one")
    parser.add_argument("--only", default="", metavar="CASE", help="only cases whose names begin so, as failures name them")
    parser.add_argument("--times", type=int, default=8, help="each kind of damage to each picture")
    parser.add_argument("--every", type=int, default=1, metavar="PERCENT", help="between two cuts")
    parser.add_argument("--modes", nargs="+", choices=subject.MODES, default=subject.MODES)
    parser.add_argument("--processes", type=int, default=1, help="each with one more that has the program in it")
    parser.add_argument("--quick", action="store_true", help="a small one, of half a minute: some pictures of each format")
    parser.add_argument("--markdown", action="store_true", help="print what is missed by nature as a table for the docs, too")
    parser.add_argument("--notes", action="store_true", help="also print what is no failure, but worth a look")
    args = parser.parse_args()
    seed = random.randrange(10_000) if args.seed is None else args.seed
    scale = QUICK if args.quick else Scale(args.every, args.times)
    plan = Plan(seed, scale, tuple(args.modes), args.only, OUT / f"damage-{seed}")
    families = [name for name in FAMILIES if name.startswith(args.format) and _may_have(name, args.only)]
    if args.quick and not args.only:
        families = _some(families, seed)
    began_at = time.monotonic()
    counts = _run(families, plan, args.processes)
    show(counts, f"{len(families)} families, seed {seed}, {(time.monotonic() - began_at) / 60:.1f} minutes")
    if args.markdown:
        print("\n".join(markdown(counts.fates)))
    if args.notes:
        _list(counts.noted)
    if counts.failures:
        size = ["--quick"] if args.quick else ["--every", str(args.every), "--times", str(args.times)]
        print(f"\nwhat failed, {campaign.MOST_KEPT} files of each class (their bytes are in {plan.folder}):")
        _list(counts.failures)
        words = ["python", "-m", "tests.damage", "--seed", str(seed), *size, "--only", "CASE"]
        print(f"one of them again: {shlex.join(words)}")
    print(json.dumps(figures(counts, seed)))
    sys.exit(1 if any(counts.faults[fault] for fault in Fault) or counts.peak_bytes > MOST_BYTES else 0)


def _list(classes: dict[str, list[str]]) -> None:
    for what, names in sorted(classes.items()):
        print(f"* {len(names)} x {what}")
        for name in names[: campaign.MOST_KEPT]:
            print(f"      {name}")


def _may_have(family: str, only: str) -> bool:
    return family == only.partition(":")[0] if ":" in only else family.startswith(only)


def _some(families: list[str], seed: int) -> list[str]:
    """A few of each format, and those that get odd things; of TIFF twice as many."""
    dice = random.Random(seed)
    found = []
    for form in FORMATS:
        names = [name for name in families if name.startswith(f"{form}/")]
        some = dice.sample(names, min(len(names), QUICK_FAMILIES * (2 if form == "tiff" else 1)))
        found += dict.fromkeys((*families_with_odds(form, seed, QUICK), *some)) if names else ()
    return found


def _run(families: list[str], plan: Plan, processes: int) -> Counts:
    counts = Counts()
    if processes < 2:
        counts.add(campaign.run(families, plan))
        return counts
    shares = [families[number::processes] for number in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for one in pool.map(partial(campaign.run, plan=plan), shares):
            counts.add(one)
    return counts


def show(counts: Counts, title: str) -> None:
    table = Table(title=title, show_header=False)
    rows = [(f"files: {truth}", f"{n:,}") for truth, n in counts.cases.items()]
    rows += [(fault, f"{counts.faults[fault]:,}") for fault in Fault]
    rows += [(note, f"{counts.notes[note]:,}") for note in Note]
    rows.append(("most memory of the worker's process", f"{counts.peak_bytes / 1e6:.1f} MB, {counts.peak_case}"))
    rows.append(("most CPU of one file", f"{counts.slowest_s:.2f} s, {counts.slowest_case}"))
    for what, number in rows:
        table.add_row(what, number)
    console = Console(width=132)
    console.print(table)
    if counts.flagged:
        flagged = Table("whole pictures flagged, and why", "files")
        for what, n in counts.flagged.most_common(40):
            flagged.add_row(what, f"{n:,}")
        console.print(flagged)
    console.print(missed(counts.fates))
    print(machine())


Fates = Counter[tuple[str, str, str]]


def missed(fates: Fates) -> Table:
    table = Table(title="missed by nature, per cent of files that the damage has changed")
    table.add_column("format")
    for kind in harm.HARMS:
        table.add_column(kind, justify="right")
    for row in _missed_rows(fates):
        table.add_row(*row[:-1])
    return table


def markdown(fates: Fates) -> list[str]:
    """The same; and how many files there were."""
    names = ("", *(kind.replace("-", " ") for kind in harm.HARMS), "files")
    lines = [names, ("---", *("---:" for _ in names[1:])), *_missed_rows(fates)]
    jpegs = [(fate, n) for (group, _, fate), n in fates.items() if group in ("JPEG", "JPEG progressive", "JPEG restarts")]
    missed, seen = (sum(n for fate, n in jpegs if fate == one) for one in (Fate.MISSED, campaign.STRICTER))
    told = f"{missed:,} JPEGs were missed, {seen:,} of which have codes that a stricter reader than libjpeg refuses."
    return [*(f"| {' | '.join(line)} |" for line in lines), "", told]


def _missed_rows(fates: Fates) -> list[list[str]]:
    """Of the damaged files that were refused or whose picture has changed: per cent that became a success."""
    rows = []
    for group in sorted({group for group, _, _ in fates}, key=str.lower):
        row, n = [group], 0
        for kind in harm.HARMS:
            found, lost = (fates[group, kind, fate] for fate in (Fate.FOUND, Fate.MISSED))
            row.append(f"{100 * lost / (found + lost):.0f}" if found + lost else "-")
            n += found + lost
        rows.append([*row, f"{n:,}"])
    return rows


def figures(counts: Counts, seed: int) -> dict[str, object]:
    damage = [name for name in counts.fates if name[2] in (Fate.FOUND, Fate.MISSED)]
    rates: dict[str, float] = {}
    for group in sorted({group for group, _, _ in damage}):
        n = {fate: sum(counts.fates[name] for name in damage if name[0] == group and name[2] == fate) for fate in Fate}
        rates[group] = round(n[Fate.MISSED] / (n[Fate.FOUND] + n[Fate.MISSED]), 3)
    return {
        "campaign": "damage",
        "seed": seed,
        "files": sum(counts.cases.values()),
        **{fault.name.lower(): counts.faults[fault] for fault in Fault},
        **{note.name.lower(): counts.notes[note] for note in Note},
        "missed_by_nature": rates,
        "peak_mb": round(counts.peak_bytes / 1e6, 1),
        "slowest_s": counts.slowest_s,
    }


if __name__ == "__main__":
    main()
