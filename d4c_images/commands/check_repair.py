"""`check --repair`: mends what the check finds. Finds and decides nothing itself.

The check reads the ledger like any other and writes its findings to a list; only then, after a question, is the ledger owned.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from d4c_images.commands import image_root, presets, session
from d4c_images.durations import counted, show_moment
from d4c_images.errors import D4CError, LedgerBusy, Stopped, UsageError, printable
from d4c_images.ledger.file import liveness, owner
from d4c_images.settings import Settings
from d4c_images.system import clocks

if TYPE_CHECKING:
    from d4c_images.collection.check import CheckOptions
    from d4c_images.collection.findings import CheckProgress
    from d4c_images.collection.repair import Repair, RepairCounts
    from d4c_images.collection.repair_list import CheckNumbers, RepairList
    from d4c_images.collection.repair_looks import Examine
    from d4c_images.ledger.file.connect import Ledger
    from d4c_images.ledger.file.reader import Reader

MOST_ENDING = 500


def add(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("repair")
    group.add_argument(
        "--repair",
        action="store_true",
        help="mend what is found: queue lost images again, adopt files that fit, move strangers and damaged files aside, recount; "
        "asks first",
    )
    group.add_argument("--dry-run", action="store_true", help="with --repair: say what would be done, and change nothing")
    group.add_argument("--yes", action="store_true", help="with --repair: do not ask for confirmation")
    group.add_argument(
        "--missing-root-is-lost",
        action="store_true",
        help="with --repair: queue the missing images again even if so many are missing that the root seems wrong or not mounted",
    )


def check_arguments(args: argparse.Namespace) -> None:
    """Before anything is begun. Raises `UsageError`."""
    if not args.repair:
        for name in ("dry_run", "yes", "missing_root_is_lost"):
            if getattr(args, name):
                raise UsageError(f"--{name.replace('_', '-')} needs --repair")
    elif args.json or args.summary:
        raise UsageError(f"--repair prints sentences, so it cannot be combined with --{'json' if args.json else 'summary'}")
    elif not (args.dry_run or args.yes or sys.stdin.isatty()):
        raise UsageError("--repair asks before it changes anything, and there is no terminal: add --yes to confirm, or --dry-run")


def run(args: argparse.Namespace, settings: Settings, options: CheckOptions) -> int:
    from d4c_images.collection.findings import Reason
    from d4c_images.ledger.file.reader import open_reader
    from d4c_images.report.check_progress import CheckProgressView
    from d4c_images.report.repair_words import left_lines

    stop, live = session.Stop(), session.wants_progress(args, sys.stderr)
    root: Path | None = None if args.ledger_only else args.root
    with stop.listening(), open_reader(args.ledger) as reader:
        if not args.dry_run:
            _refuse_beside_a_run(reader)
        with CheckProgressView(live=live) as view:
            found, numbers = _findings(reader, root, options, _Watch(stop, view.show))
        if Reason.DATABASE_DAMAGED in numbers.counts:
            found.forget()
            raise D4CError(f"{args.ledger} is damaged; nothing was changed. 'd4c-images restore' brings a backup back")
        with CheckProgressView(live=live, doing="planning the repair of the") as view:
            counts = _plan(reader, root, found, numbers, _Watch(stop, view.show))
    if not numbers.n_findings and not counts.n_mended:
        found.forget()
        print("nothing to repair")
        return 0
    are_strangers_left = _say_plan(counts, numbers, args)
    if args.dry_run:
        return 1
    if not args.yes:
        session.confirm("Do this?", "nothing was changed")
    with stop.listening(), CheckProgressView(live=live, doing="repairing the") as view:
        done = _mend(args, settings, stop, view.show, _Work(root, found, numbers, are_strangers_left))
    for line in left_lines(done):
        print(printable(line))
    return 1 if done.left else 0


@dataclass(frozen=True, slots=True)
class _Watch:
    """Shows progress, until a signal comes."""

    stop: session.Stop
    show: Callable[[CheckProgress], None]
    beat: Callable[[], object] = lambda: None

    def __call__(self, progress: CheckProgress) -> None:
        self.beat()
        self.show(progress)
        if self.stop():
            raise Stopped(f"{self.stop.signal_name()}: the repair was stopped; run the same command again to resume")


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be mended."""

    root: Path | None
    found: RepairList
    numbers: CheckNumbers
    are_strangers_left: bool


def _refuse_beside_a_run(reader: Reader) -> None:
    """Now, and not after hours of checking."""
    holder = owner.held_by(reader.rows)
    if holder is not None and liveness.lives(holder.process, liveness.this_process()):
        raise LedgerBusy(f"{reader.path} is in use by {holder.described()}")


def _findings(reader: Reader, root: Path | None, options: CheckOptions, show: _Watch) -> tuple[RepairList, CheckNumbers]:
    """From a new check, or from that of a repair that was stopped, killed or not confirmed."""
    from d4c_images.collection.check import check
    from d4c_images.collection.repair_list import CheckNumbers, RepairList

    terms = {name: str(getattr(options, name)) for name in options.__slots__ if name not in ("n_processes", "restart")}
    found = RepairList(reader.path, {**terms, "root": None if root is None else str(root.absolute())})
    numbers = found.numbers() if not options.restart and found.load() else None
    if numbers is not None:
        session.say(f"using the findings of the check of {show_moment(found.began_at)}; --restart checks again")
        return found, numbers
    found.begin()  # a check that is resumed repeats what it has found so far
    report = check(reader, root, options, show, session.say, found=found.add)
    numbers = CheckNumbers(report.n_images, report.n_files, report.n_unused, report.counts)
    found.end(numbers)
    return found, numbers


def _plan(reader: Reader, root: Path | None, found: RepairList, numbers: CheckNumbers, show: _Watch) -> RepairCounts:
    from d4c_images.collection.repair_plan import plan
    from d4c_images.ledger.questions import audit

    return plan(reader.rows, root, found, audit.token(reader) if numbers.n_unused else None, show)


def _say_plan(counts: RepairCounts, numbers: CheckNumbers, args: argparse.Namespace) -> bool:
    """What would be done; returns whether strangers stay where they are. Raises `UsageError` if the root is in doubt."""
    from d4c_images.collection.findings import Reason
    from d4c_images.collection.repair_decisions import Act, is_foreign_root, is_root_lost
    from d4c_images.report.repair_words import WHAT_TO_DO, plan_lines

    n_missing, n_strangers = numbers.counts.get(Reason.FILE_MISSING, 0), counts.n[Act.SET_ASIDE]
    are_left = is_foreign_root(n_strangers, numbers.n_files)
    print("check --repair would:" if args.dry_run else "check --repair is going to:")
    for line in plan_lines(counts):
        print(printable(f"  {line}"))
    if are_left:
        print(f"  leave {counted(n_strangers, 'stranger')} where they are: {WHAT_TO_DO[Reason.UNTRACKED]}")
    sys.stdout.flush()
    if is_root_lost(n_missing, numbers.n_images) and not args.missing_root_is_lost:
        refusal = (
            f"{n_missing:,} of {counted(numbers.n_images, 'image')} are missing in {args.root}. Is its disk mounted, and is it the "
            "right folder? If they are lost and all of them should be requested again, add --missing-root-is-lost"
        )
        if not args.dry_run:
            raise UsageError(f"{refusal}. Nothing was changed")
        print(printable(f"  refuse this: {refusal}"))
    return are_left


def _mend(
    args: argparse.Namespace, settings: Settings, stop: session.Stop, show: Callable[[CheckProgress], None], work: _Work
) -> RepairCounts:
    from d4c_images.collection.repair import Repair
    from d4c_images.ledger.questions.verified import REPAIR_RUN
    from d4c_images.report.repair_words import done_lines

    with session.owned(args.ledger, REPAIR_RUN, settings, session.wait(stop)) as ledger:
        heart = owner.Heart(ledger, clocks.now)
        repair = Repair(ledger, work.root or Path(), work.found, work.numbers, _Watch(stop, show, heart.beat_if_due))
        repair.begin()
        if work.root is not None:
            _mend_files(repair, _claimed(ledger, args), work.are_strangers_left)
        repair.ledger_itself(heart.beat_if_due)
        repair.end()
        lines = list(done_lines(repair.counts)) or ["nothing was left to repair"]
        ledger.n_done = repair.counts.n_mended
        ledger.ending = f"ended: {'; '.join(lines)}"[:MOST_ENDING]
    for line in lines:
        print(printable(line), flush=True)
    return repair.counts


def _claimed(ledger: Ledger, args: argparse.Namespace) -> Path:
    """The root, if it is the one of the last run, or if somebody has said what became of that."""
    from d4c_images.ledger.questions import last_root
    from d4c_images.ledger.queue.shards import store_kind

    known = last_root.known(ledger.connection.execute)
    code = store_kind(ledger, None).token if known is None else known.code
    return image_root.claim(ledger, args.root, code if args.missing_root_is_lost else None)


def _mend_files(repair: Repair, root: Path, are_strangers_left: bool) -> None:
    """The order in which a download does this, too: before any row changes, what killed workers left is swept."""
    from d4c_images.collection.repair_files import Adopter
    from d4c_images.ledger.queue.placeholders import Judgement
    from d4c_images.policy.placeholder_list import MIN_RECORDS
    from d4c_images.stores.pack import open_store

    ledger = repair.ledger
    token = session.sweep_marks(ledger, root)
    session.sweep_parts(ledger, root)
    adopter = Adopter(root, _examiner(), Judgement(ledger.connection, presets.placeholder_list(None), MIN_RECORDS))
    repair.images(adopter)
    store = open_store(root, session.packing(ledger))
    try:
        repair.files(adopter, store, leave_strangers=are_strangers_left)
    finally:
        store.close()
    repair.samples(adopter, token)
    torn = repair.shard_ends(token)
    session.mend_shards(ledger, root)
    repair.after_cutting(torn)
    session.set_files_aside(ledger, root, lambda: False)


def _examiner() -> Examine:
    from d4c_images.collection.repair_looks import Examined
    from d4c_images.decode import Decoder
    from d4c_images.decode.memory_budget import MemoryBudget
    from d4c_images.worker.verify import verified

    decoder = Decoder(room=MemoryBudget())

    def examine(path: Path) -> Examined | None:
        found = verified(decoder, path)
        if found is None:
            return None
        detail = "; ".join(filter(None, (found.verdict.error_type, found.verdict.detail))) or None
        return Examined(found.blob, found.extension, detail)

    return examine
