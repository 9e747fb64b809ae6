"""Shared by commands that own the ledger: owning it, stopping on signals, the image root. Runs no command."""

from __future__ import annotations

import argparse
import importlib.util
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from d4c_images.batch import scheduler
from d4c_images.batch.requeue import NextRound, Rounds, idle_rounds
from d4c_images.durations import counted, parse_moment, show_moment
from d4c_images.errors import D4CError, LedgerAwaited, UsageError, printable
from d4c_images.ledger.file import beside, connect, migrations, owner
from d4c_images.ledger.file.liveness import Patience
from d4c_images.ledger.file.writing import open_and_own
from d4c_images.ledger.queue import run_ends
from d4c_images.settings import Settings
from d4c_images.steward.terms import Hurry
from d4c_images.system import clocks, signals
from d4c_images.system.echo import has_our_keys
from d4c_images.system.signals import DRAIN_SIGNALS

if TYPE_CHECKING:
    from d4c_images.stores.pack import PackSettings


class Stop:
    """Turns true with the first signal. Further ones change nothing, since schedulers send them twice, except a Ctrl-C by somebody
    who has seen what the first one does."""

    def __init__(self, *, is_attended: bool | None = None) -> None:
        """`is_attended`: somebody can press keys; None: if there is a terminal, and we are not in its background."""
        self._came: list[int] = []
        self._is_heeded = self._is_pressed_again = False
        self._attended = is_attended

    def __call__(self) -> bool:
        self._is_heeded |= bool(self._came)
        return bool(self._came)

    @property
    def hurry(self) -> Hurry:
        return Hurry(self.signal_name, self._is_attended, lambda: self._is_pressed_again)

    def signal_name(self) -> str:
        """The name of the first signal that came."""
        if not self._came:
            return "a signal came"
        name = signal.Signals(self._came[0]).name
        return "Ctrl-C" if self._came[0] == signal.SIGINT and self._is_attended() else name

    def is_dismissal(self) -> bool:
        """Whether a signal came that is more than a warning of a soft limit or a suspension (`s_rt` and suspension in Grid Engine,
        `--signal=B:USR1@300` in Slurm): all others may come from somebody who wants to end the job."""
        return any(number != signal.SIGUSR1 for number in self._came)

    @contextmanager
    def listening(self) -> Iterator[None]:
        heard = [number for number in DRAIN_SIGNALS if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN]
        old = {number: signal.signal(number, self._on_signal) for number in heard}  # except a hang-up under nohup(1)
        self._came += signals.take()
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: object) -> None:
        self._is_pressed_again |= number == signal.SIGINT and self._is_heeded and self._is_attended()
        self._came.append(number)

    def _is_attended(self) -> bool:
        return any(map(has_our_keys, (sys.stdin, sys.stdout, sys.stderr))) if self._attended is None else self._attended


def say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


def say_when(line: str) -> None:
    """In the log of a job, with the time."""
    print(f"{show_moment(clocks.now())} {printable(line)}", flush=True)


def confirm(question: str, refusal: str) -> None:
    """Ask on the terminal; the caller has made sure that there is one. Raises `D4CError` with the refusal unless it is a yes."""
    with signals.at_a_prompt():
        try:
            answer = input(f"{question} [y/N] ")
        except EOFError:  # Ctrl-D, which leaves the cursor after the question
            print()
            answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise D4CError(refusal)


@dataclass(frozen=True, slots=True)
class Wait:
    """How a command waits for a ledger whose holder may be dead, and what happens to its job if that takes too long."""

    patience: Patience
    rounds: Rounds | None = None


WAIT_AS_NEEDED = Wait(Patience(say))  # until it is known whether the holder is alive: minutes at most
NOT_AT_ALL = Wait(Patience(is_over=lambda: "not waited for"))


def why_to_stop(stop: Stop, deadline: float | None) -> str | None:
    """None: continue."""
    return stop.signal_name() if stop() else "the time is up" if deadline is not None and clocks.now() >= deadline else None


def wait(stop: Stop, deadline: float | None = None, rounds: Rounds | None = None) -> Wait:
    """As needed, until a signal or the deadline; a requeued job waits for its own earlier run in any case."""

    return Wait(Patience(say, partial(why_to_stop, stop, deadline), None if rounds is None else rounds.awaited_job), rounds)


@contextmanager
def owned(
    path: Path,
    command: str,
    settings: Settings,
    wait: Wait = WAIT_AS_NEEDED,
    *,
    create: bool = False,
    terms: migrations.MigrationTerms | None = None,
) -> Iterator[connect.Ledger]:
    """The ledger, opened for writing and owned by this process until the end of the block; `terms` are those of a migration.

    A job whose time ends while it waits is requeued, like one that leaves work: `LedgerAwaited` has its exit code.
    """
    me, disk, patience = owner.this_process(settings.job_id), settings.ledger_disk, wait.patience
    try:
        with (
            open_and_own(path, command, me, clocks.now, say, disk=disk, create=create, terms=terms, patience=patience) as ledger,
            clocks.now.leading(ledger.lead_s),
        ):
            if terms is None or not terms.leave_as_is:
                _record_checks(ledger)
            yield ledger
    except LedgerAwaited as awaited:
        if wait.rounds is not None:
            awaited.exit_code = wait.rounds.exit_code(0)
        raise


def _record_checks(ledger: connect.Ledger) -> None:
    """Record what checks have left next to the ledger. Imports nothing if there is none."""
    if beside.files_of_checks(ledger.path, ".jsonl"):
        from d4c_images.collection.verifications import record_checks

        record_checks(ledger, clocks.now.to_wall(clocks.now()))  # checks have the time of the wall


def deadline(args: argparse.Namespace, now: datetime) -> float | None:
    """Unix time of the earlier of `--until` and `--for`."""
    moments = []
    if args.until is not None:
        moments.append(parse_moment(args.until, now).timestamp())
    if args.span is not None:
        moments.append(now.timestamp() + args.span)
    return min(moments, default=None)


def ends_at(deadline: float | None, ledger: connect.Ledger) -> float | None:
    """A deadline in the clock that applies once the ledger is owned."""
    return None if deadline is None else deadline + ledger.lead_s


def check_extra() -> None:
    """Raise `UsageError` if packages for several nodes are missing: they come with the package, but not with `--no-deps`."""
    if not all(importlib.util.find_spec(name) for name in ("distributed", "cryptography")):
        raise UsageError("--cluster needs packages that are not installed: python -m pip install distributed cryptography")


def rounds(args: argparse.Namespace, settings: Settings, stop: Stop) -> Rounds:
    return Rounds(settings.job, args.requeue, partial(print, flush=True), stop.is_dismissal)


def may_leave(ledger: connect.Ledger, command: str, rounds: Rounds) -> Callable[[float], bool]:
    """What the steward asks before it ends a run whose work has to wait (`Plan.may_leave`)."""
    job = rounds.awaited_job
    is_early = job is not None and run_ends.began_early(ledger, command, job)
    return rounds.stay if is_early else rounds.may_leave


def next_round(ledger: connect.Ledger, command: str, rounds: Rounds, due_at: float | None = None) -> NextRound:
    """Who goes on with what this run leaves; written down for reports. `due_at` as in `Rounds.next_round`."""
    wall = clocks.now.to_wall(clocks.now())
    following = rounds.next_round(idle_rounds(ledger, command, rounds.job), due_at, wall)
    if rounds.job is not None and following.at is not None:
        run_ends.note_next(ledger, following.at, scheduler.SCHEDULER_NAMES[rounds.job.scheduler])
    return following


def set_files_aside(ledger: connect.Ledger, root: Path, stop: Callable[[], bool]) -> None:
    """Quarantine the files of placeholders. Imports nothing if there are none."""
    from d4c_images.ledger.queue.placeholders import to_set_aside

    if to_set_aside(ledger, 1):
        from d4c_images.collection.quarantine import set_aside
        from d4c_images.stores.local import LocalStore
        from d4c_images.stores.quarantine import Aside

        store, heart = LocalStore(root), owner.Heart(ledger, clocks.now)

        def is_over() -> bool:
            heart.beat_if_due()
            return stop()

        try:
            n = set_aside(ledger, store, Aside(root), is_over)
        finally:
            store.close()
        if n:
            print(f"{counted(n, 'placeholder file')} moved to quarantine", flush=True)


def packing(ledger: connect.Ledger, wished: str | None = None, shard_bytes: int | None = None) -> PackSettings | None:
    """How this ledger's images are packed, as requested now or last time; None: they are files."""
    from d4c_images.ledger.queue.shards import store_kind
    from d4c_images.stores.pack import SHARD_BYTES, PackSettings

    kind = store_kind(ledger, wished)
    return PackSettings(kind.token, shard_bytes or SHARD_BYTES) if kind.kind == "pack" else None


def sweep_marks(ledger: connect.Ledger, root: Path) -> str:
    """Remove the small files that killed runs left; returns the token in the names of ours."""
    from d4c_images.ledger.queue import wishes
    from d4c_images.ledger.queue.shards import store_kind
    from d4c_images.stores import own_files

    token = store_kind(ledger, None).token
    for folder in {root.absolute(), ledger.path.absolute().parent}:
        own_files.sweep(folder, token)
        own_files.sweep_drafts(folder)
    wishes.sweep(ledger.path)
    return token


def sweep_parts(ledger: connect.Ledger, root: Path) -> None:
    """Remove partials that killed workers left. Only while no worker of this ledger has any work.

    The leases say where they are; the partial of an image that is never lent again would otherwise stay for good.
    """
    from d4c_images.ledger.questions import interrupted
    from d4c_images.ledger.queue import shards
    from d4c_images.stores import own_files
    from d4c_images.stores.local import sweep_part
    from d4c_images.stores.partial import ImageNumbers

    heart = owner.Heart(ledger, clocks.now)
    for some in interrupted.by_earlier_runs(ledger):
        for left in some:
            sweep_part(root, ImageNumbers(left.gbif_id, left.image_no, left.revision), left.lease_id)
        heart.beat_if_due()
    own_files.sweep_parts(root, shards.store_kind(ledger, None).token, partial(shards.known, ledger))


def mend_shards(ledger: connect.Ledger, root: Path) -> None:
    """Repair the shards of killed workers. Only while no worker of this ledger has anything to do."""
    from d4c_images.ledger.queue import shards
    from d4c_images.stores.shard_recovery import mend

    token = shards.store_kind(ledger, None).token
    n = mend(root, token, shards.ends(ledger), partial(shards.wanted, ledger))
    if n:
        print(f"{counted(n, 'image')} found in shards but not recorded in the ledger: verified again", flush=True)


def wants_progress(args: argparse.Namespace, out: TextIO) -> bool:
    """Whether a live view is requested and possible there; otherwise lines are printed."""
    if args.progress is False or not out.isatty():
        return False
    from rich.console import Console

    return not Console(file=out).is_dumb_terminal
