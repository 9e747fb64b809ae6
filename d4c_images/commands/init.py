"""`init`: from a source to the ledger, and `--finalize-only`. Reads and decides nothing itself."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING

from d4c_images.batch.requeue import NextRound
from d4c_images.commands import arguments, session
from d4c_images.durations import counted
from d4c_images.errors import D4CError, Stopped, UsageError, printable
from d4c_images.ledger.file import beside, migrations, owner
from d4c_images.ledger.questions import from_counters
from d4c_images.ledger.queue import wishes
from d4c_images.settings import Settings
from d4c_images.system import clocks

if TYPE_CHECKING:
    from d4c_images.ingest.ingest import IngestSummary, StreamProgress
    from d4c_images.ingest.reader_process import ReaderProcess
    from d4c_images.ledger.file.connect import Ledger
    from d4c_images.ledger.rows.rollup import RollUpProgress
    from d4c_images.report.check_progress import CheckProgressView
    from d4c_images.sources import Source

COL_XR = "7ddf754f-d193-4cc9-b351-99906754a03b"  # Catalogue of Life, GBIF's taxonomy since 2026


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "init",
        run,
        "Import a GBIF download or Darwin Core Archive into the ledger. Makes one row per distinct image. Ctrl-C stops it within "
        "seconds, with all rows read so far committed; run it again to resume.",
        settings,
        drains=True,
    )
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="GBIF download or publisher's Darwin Core Archive (zip file or folder), or a bare media table",
    )
    parser.add_argument("--limit", type=arguments.positive, metavar="N", help="read at most N rows of each table")
    parser.add_argument(
        "--verbatim", action="store_true", help="also import the publishers' verbatim media rows from a GBIF download"
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="dataset that scopes the record ids if they are not globally unique (default: from the archive's EML, else the file "
        "name)",
    )
    parser.add_argument(
        "--labels",
        action="store_true",
        help="also import the occurrence table: name, taxon keys, place, date, collector, licence, ... of each record",
    )
    parser.add_argument(
        "--checklist-key",
        type=_checklist_key,
        metavar="KEY",
        help="with --labels: GBIF dataset key of the checklist that the taxon keys belong to, for tables that do not name it",
    )
    parser.add_argument(
        "--reset", action="store_true", help="start a new ledger; asks before deleting the old one (image files are kept)"
    )
    parser.add_argument("--yes", action="store_true", help="with --reset: do not ask for confirmation")
    parser.add_argument(
        "--finalize-only",
        action="store_true",
        help="recompute the status of every record from its images; run it again to resume after an interruption",
    )
    arguments.add_requeue(parser)
    arguments.add_progress(parser)


def _checklist_key(text: str) -> str:
    if not re.fullmatch(r"[!-~]{1,100}", text):
        raise argparse.ArgumentTypeError(f"{printable(text)!r} is not a checklist key, such as {COL_XR}")
    return text


def run(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.ingest.reader_process import ReaderProcess

    if args.finalize_only:
        return _finalize(args, settings)
    if args.source is None:
        raise UsageError("init needs a SOURCE: a GBIF download, a Darwin Core Archive (zip file or folder), or a media table")
    with closing(ReaderProcess()) as reader:
        return _ingest(args, settings, reader)


def _ingest(args: argparse.Namespace, settings: Settings, reader: ReaderProcess) -> int:
    from d4c_images.report.ingest_progress import nothing_usable
    from d4c_images.sources import open_labels, open_media, path_of

    if args.checklist_key is not None and not args.labels:
        raise UsageError("--checklist-key needs --labels, whose taxon keys it applies to")
    # A bad source fails here, before anything is touched.
    path = path_of(args.source)
    sources = open_media(path, verbatim=args.verbatim, dataset=args.dataset)
    labels = open_labels(path, dataset=args.dataset) if args.labels else None
    if args.reset:
        _reset(args.ledger, settings, ask=not args.yes)
    stop = session.Stop()
    rounds = session.rounds(args, settings, stop)
    deadline, _ = rounds.limits(None, 0.0, clocks.now())
    following: NextRound | None = None
    with (
        stop.listening(),
        session.owned(args.ledger, "init", settings, session.wait(stop, deadline, rounds), create=True) as ledger,
    ):
        deadline = session.ends_at(deadline, ledger)
        importing = _Import(ledger, partial(session.why_to_stop, stop, deadline), live=session.wants_progress(args, sys.stdout))
        try:
            for source, own_reader in zip(sources, chain([reader], repeat(None)), strict=False):
                importing.media(source, args.limit, own_reader)
            if labels is not None:
                importing.labels(labels, args.checklist_key)
            if any(summary.admitted for summary in importing.summaries):
                return 0
            ledger.ending = nothing_usable(path, importing.summaries)
        except Stopped as stopped:
            ledger.ending = str(stopped)
            following = session.next_round(ledger, "init", rounds)
    if following is None:
        raise D4CError(ledger.ending)
    print(f"d4c-images: {ledger.ending}", file=sys.stderr, flush=True)
    return rounds.hand_back(following, clocks.now.to_wall(clocks.now()))


class _Import:
    """Tables on their way into an owned ledger, each with its progress and its summary."""

    def __init__(self, ledger: Ledger, why_to_stop: Callable[[], str | None], *, live: bool) -> None:
        from rich.console import Console

        self._ledger, self._why_to_stop, self._live = ledger, why_to_stop, live
        self._heart = owner.Heart(ledger, clocks.now)
        self._console = Console()
        self.summaries: list[IngestSummary] = []

    def media(self, source: Source, limit: int | None, reader: ReaderProcess | None) -> None:
        from d4c_images.ingest.ingest import ingest
        from d4c_images.report.ingest_progress import summary_lines

        with self._showing("media rows") as progress:
            summary = ingest(self._ledger, source, limit, progress, clocks.now, reader=reader)
        self.summaries.append(summary)
        _print_lines(summary_lines(summary))

    def labels(self, source: Source, checklist_key: str | None) -> None:
        from d4c_images.ingest.ingest import ingest_labels
        from d4c_images.report.ingest_progress import note_lines

        with self._showing("labels") as progress:
            counts = ingest_labels(self._ledger, source, progress, clocks.now, checklist_key=checklist_key)
        _print_lines([f"{source.name}: labels of {counted(counts.admitted, 'record')}", *note_lines(counts.notes)])

    @contextmanager
    def _showing(self, what: str) -> Iterator[Callable[[StreamProgress], None]]:
        """What to call after each committed group: shows progress and beats. Raises `Stopped` if it is time to end."""
        from d4c_images.report.ingest_progress import IngestProgress

        n_rows_before = self._ledger.n_done  # of the tables before this one
        with IngestProgress(self._console, what, live=self._live) as view:

            def after_each_group(progress: StreamProgress) -> None:
                view.show(progress)
                self._heart.beat_if_due()
                self._ledger.n_done = n_rows_before + progress.rows
                why = self._why_to_stop()
                if why is not None:
                    raise Stopped(f"{why}: stopped after row {progress.rows:,}, all committed; run the same command again")

            yield after_each_group


def _print_lines(lines: Iterable[str]) -> None:
    print(printable("\n".join(lines)), flush=True)


def _finalize(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.ledger.queue import lending
    from d4c_images.ledger.rows.rollup import FINALIZE, finalize
    from d4c_images.report.check_progress import CheckProgressView

    stop = session.Stop()
    rounds = session.rounds(args, settings, stop)
    deadline, _ = rounds.limits(None, 0.0, clocks.now())
    live = session.wants_progress(args, sys.stderr)
    with stop.listening(), session.owned(args.ledger, FINALIZE, settings, session.wait(stop, deadline, rounds)) as ledger:
        deadline = session.ends_at(deadline, ledger)
        heart = owner.Heart(ledger, clocks.now)
        lending.take_back_left(ledger, ledger.run_id or 0, heart.beat_if_due)
        with ledger.transaction() as db:
            lending.take_back(db, lending.leases_of_others(db, ledger.run_id or 0))
        with CheckProgressView(live=live, doing="recounting the") as view:

            def after_each_chunk(progress: RollUpProgress) -> None:
                _show_roll_up(progress, view, is_first=not ledger.n_done)
                heart.beat_if_due()
                ledger.n_done += 1
                why = session.why_to_stop(stop, deadline)
                if why is not None:
                    n_records = f"{progress.records:,} of {counted(progress.total, 'record')}"
                    where = f"stopped after {n_records} and {counted(progress.images, 'image')}"
                    raise Stopped(f"{why}: {where}, all committed; run the same command again")

            try:
                done = finalize(ledger, after_each_chunk)
            except Stopped as stopped:
                ledger.ending = str(stopped)
                following = session.next_round(ledger, FINALIZE, rounds)
            else:
                ledger.n_done = done.records
    if ledger.ending != "ended":
        print(f"d4c-images: {ledger.ending}", file=sys.stderr, flush=True)
        return rounds.hand_back(following, clocks.now.to_wall(clocks.now()))
    print(f"{counted(done.total, 'record')} recounted, {done.corrected:,} corrected")
    return 0


def _show_roll_up(progress: RollUpProgress, view: CheckProgressView, *, is_first: bool) -> None:
    from d4c_images.collection.findings import CheckProgress

    if is_first and progress.records_before is not None:
        before = f"{counted(progress.records_before, 'record')} and {counted(progress.images_before or 0, 'image')}"
        print(f"resuming an earlier run: {before} already counted", flush=True)
    if progress.images:
        view.show(CheckProgress("images", progress.images, progress.n_images))
    else:
        view.show(CheckProgress("records", progress.records, progress.total))


def _reset(path: Path, settings: Settings, *, ask: bool) -> None:
    """Delete a ledger of ours that is not in use; images stay."""
    if not path.exists():
        return
    with session.owned(path, "init --reset", settings, terms=migrations.MigrationTerms(leave_as_is=True)) as ledger:
        n_images, n_stored = from_counters.images_and_stored(ledger.connection)
    if ask:
        if not sys.stdin.isatty():
            raise UsageError(
                f"--reset would delete {path} ({counted(n_images, 'image')}, {n_stored:,} stored): add --yes to confirm"
            )
        what = f"{path} with {counted(n_images, 'image')}, {n_stored:,} stored"
        session.confirm(f"Delete {what}? Image files are kept.", "nothing was deleted")
    for suffix in ("", *beside.SQLITE_SUFFIXES):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    for file in beside.files_of_checks(path):
        file.unlink(missing_ok=True)
    wishes.forget(path)
