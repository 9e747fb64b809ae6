"""One function per command: builds the parts that it needs, runs them, says how it ended. The only place that chooses parts.

`cli` has the arguments; what happens is in the layers below. Parts that only some commands need are imported there: what talks to
servers takes 17 MB, which `init` has better use for.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from d4c_images import pace
from d4c_images.durations import parse_moment
from d4c_images.errors import EXIT_WORK_LEFT, D4CError, Stopped, StoreError, UsageError
from d4c_images.ledger import connect, owner, questions
from d4c_images.ledger.writing import open_and_own
from d4c_images.model import USER_AGENT, FetchOptions, Limits
from d4c_images.placeholder_list import PlaceholderList, parse_placeholders, sha256_of
from d4c_images.rounds import Rounds, idle_rounds
from d4c_images.run import DRAIN_SIGNALS, Ending, Plan, Runner, Snapshot, Watcher
from d4c_images.settings import Scheduler, Settings

if TYPE_CHECKING:
    from d4c_images.ingest import Progress
    from d4c_images.ledger.rollup import RollUpProgress
    from d4c_images.report.announce import Announcer

DECODING_S = 300.0  # more than a worker needs to decode and to keep what it has fetched, on a bad day


# -- download


def download(args: argparse.Namespace, settings: Settings) -> int:
    rounds = _rounds(args, settings)
    deadline, grace_s = rounds.limits(_deadline(args.until, args.span, datetime.now()), args.grace, time.time())
    hosts = _host_table(args.hosts_file)
    if args.cacert is not None and not args.cacert.is_file():
        raise UsageError(f"no such file of CA certificates: {args.cacert}")
    root, fetch = _image_root(args.root), _fetch_options(args, settings)
    plan = Plan(
        hosts=hosts,
        max_attempts=args.max_attempts,
        retry_base_s=args.retry_wait,
        max_connections=args.max_connections,
        max_images=args.limit,
        only_hosts=frozenset(host.lower() for host in args.host),
        deadline=deadline,
        grace_s=grace_s,
        hang_s=args.timeout + DECODING_S,
        max_idle_s=args.max_idle,
        placeholders=_placeholder_list(args.placeholders_file),
        placeholder_records=args.placeholder_records,
        breaker=pace.Policy(give_up_s=args.give_up_after, give_up_alone_s=7 * args.give_up_after),
    )
    stop = _Stop()
    with stop.listening(), _owned(args.ledger, "download", settings) as ledger:
        _check_hosts(ledger, plan.only_hosts)
        runner = _workers(args.processes, root, fetch, args.max_edge)  # first: they load their parts while we load ours
        try:
            _set_aside(ledger, root, stop)
            ending = _run(args, settings, ledger, runner, plan, stop)
        finally:
            runner.close()
        _set_aside(ledger, root, lambda: ending in (Ending.SIGNAL, Ending.TIME))
        ledger.ending = str(ending)
        left = questions.image_counts(ledger.connection).left
        n_idle = idle_rounds(ledger, "download", settings.job)
    if not left or (plan.only_hosts and ending is Ending.DONE):
        return 0
    return EXIT_WORK_LEFT if ending is Ending.LIMIT else rounds.exit_code(n_idle)


def _rounds(args: argparse.Namespace, settings: Settings) -> Rounds:
    return Rounds(settings.job, args.requeue, partial(print, flush=True))


def _workers(n: int, root: Path, fetch: FetchOptions, max_edge: int | None) -> Runner:
    from d4c_images.runners.processes import ProcessRunner
    from d4c_images.runners.worker_setup import WorkerSetup

    return ProcessRunner(n, WorkerSetup(root, fetch, max_edge))


def _run(
    args: argparse.Namespace, settings: Settings, ledger: connect.Ledger, runner: Runner, plan: Plan, stop: Callable[[], bool]
) -> Ending:
    """The run itself, with those who watch it."""
    from d4c_images.ledger.requeue import requeue_failed
    from d4c_images.notify import notifier_for
    from d4c_images.steward import Steward

    watchers = _Watchers()
    watchers.add(_progress_of_download(args))
    notifier = notifier_for(settings.slack_webhook_url, lambda text: print(text, file=sys.stderr, flush=True))
    announcer = _announcer(args, settings, notifier.send)
    watchers.add(announcer)
    try:
        if args.retry_failed:
            heart = owner.Heart(ledger, time.time)
            n = requeue_failed(ledger, lambda done, total: heart.beat_if_due(), permanent=args.retry_failed == "all")
            print(f"{n:,} failed images get new attempts", flush=True)
        return Steward(ledger, runner, plan, watchers, time.time, stop).run()
    except BaseException as error:
        announcer.died(str(error) or type(error).__name__)
        raise
    finally:
        watchers.close()
        notifier.close()


def _progress_of_download(args: argparse.Namespace) -> Watcher:
    if not _wants_progress(args, sys.stdout):
        from d4c_images.report.progress import LogProgress

        return LogProgress()
    from rich.console import Console

    from d4c_images.report.live import LiveProgress

    return LiveProgress(Console())


def _deadline(until: str | None, span_s: float | None, now: datetime) -> float | None:
    """Unix time of the earlier of `--until` and `--for`."""
    moments = []
    if until is not None:
        moments.append(parse_moment(until, now).timestamp())
    if span_s is not None:
        moments.append(now.timestamp() + span_s)
    return min(moments, default=None)


def _host_table(path: Path | None) -> pace.HostTable:
    """The presets of the package under the user's own file."""
    presets = pace.parse_hosts((Path(__file__).parent / "hosts.toml").read_text(encoding="utf-8"))
    if path is None:
        return presets
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the hosts file {path}: {error}") from None
    try:
        return pace.parse_hosts(text).over(presets)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _placeholder_list(path: Path | None) -> PlaceholderList:
    """What the package knows, and the user's own file."""
    presets = parse_placeholders((Path(__file__).parent / "placeholders.toml").read_text(encoding="utf-8"))
    if path is None:
        return presets
    try:
        return parse_placeholders(path.read_text(encoding="utf-8")).over(presets)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the placeholders file {path}: {error}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _set_aside(ledger: connect.Ledger, root: Path, stop: Callable[[], bool]) -> None:
    """Take the files of placeholders out of the collection. Loads nothing where there are none."""
    from d4c_images.ledger.placeholders import to_set_aside

    if to_set_aside(ledger, 1):
        from d4c_images.setting_aside import set_aside
        from d4c_images.stores.aside import Aside
        from d4c_images.stores.local import LocalStore

        store, heart = LocalStore(root), owner.Heart(ledger, time.time)

        def is_over() -> bool:
            heart.beat_if_due()
            return stop()

        try:
            n = set_aside(ledger, store, Aside(root), is_over)
        finally:
            store.close()
        print(f"{n:,} files of placeholders were set aside", flush=True)


def _image_root(root: Path) -> Path:
    """The root, made where it is missing, after trying to write into it. Raises `StoreError`."""
    probe = root / f".d4c-images.{os.getpid()}.probe"
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StoreError(f"the image root {root} cannot be written: {error.strerror}") from None
    return root


def _fetch_options(args: argparse.Namespace, settings: Settings) -> FetchOptions:
    limits = Limits(connect_s=args.connect_timeout, total_s=args.timeout, stall_s=args.stall_timeout, max_bytes=args.max_size)
    return FetchOptions(
        limits=limits, user_agent=_user_agent(settings.contact), connect_to=tuple(args.connect_to), cacert=args.cacert
    )


def _user_agent(contact: str | None) -> str:
    """Honest, and with an address where the publisher can reach us."""
    return f"{USER_AGENT} (+{contact})" if contact else USER_AGENT


def _announcer(args: argparse.Namespace, settings: Settings, send: Callable[[str], None]) -> Announcer:
    from d4c_images.report.announce import Announcer

    job = f", job {settings.job_id}" if settings.job_id else ""
    return Announcer(send, f"{args.ledger.name} on {socket.gethostname()}{job}", args.notify_every)


def _check_hosts(ledger: connect.Ledger, names: frozenset[str]) -> None:
    for name in sorted(names):
        if not questions.knows_host(ledger.connection, name):
            raise UsageError(f"the ledger knows no host '{name}'")


# -- init


def init(args: argparse.Namespace, settings: Settings) -> int:
    from rich.console import Console

    from d4c_images.ingest import ingest, ingest_labels
    from d4c_images.report.ingest_progress import IngestProgress, summary_lines
    from d4c_images.sources import open_labels, open_media

    if args.finalize_only:
        return _finalize(args, settings)
    if args.source is None:
        raise UsageError("init needs a SOURCE: a GBIF download or a publisher's archive (zip or folder), or a table of media")
    # A bad source ends here, before anything is touched.
    sources = open_media(args.source, verbatim=args.verbatim, dataset=args.dataset)
    labels = open_labels(args.source, dataset=args.dataset) if args.labels else None
    if args.reset:
        _reset(args.ledger, settings, ask=not args.yes)
    rounds = _rounds(args, settings)
    deadline, _ = rounds.limits(None, 0.0, time.time())
    console = Console()
    stop = _Stop()
    with stop.listening(), _owned(args.ledger, "init", settings, create=True) as ledger:
        live = _wants_progress(args, sys.stdout)
        heart = owner.Heart(ledger, time.time)

        def after_each_group(show: Callable[[Progress], None], progress: Progress) -> None:
            show(progress)
            heart.beat_if_due()
            ledger.n_done = progress.rows
            why = "a signal came" if stop() else "the time is up" if deadline and time.time() >= deadline else None
            if why is not None:
                raise Stopped(f"{why}: stopped after row {progress.rows:,}, all committed; run the same command again")

        try:
            for source in sources:
                with IngestProgress(console, "media rows", live=live) as view:
                    summary = ingest(ledger, source, args.limit, partial(after_each_group, view.show), time.time)
                print("\n".join(summary_lines(summary)), flush=True)
            if labels is not None:
                with IngestProgress(console, "labels", live=live) as view:
                    n_labels = ingest_labels(ledger, labels, partial(after_each_group, view.show), time.time)
                print(f"{labels.name}: labels of {n_labels:,} records", flush=True)
            return 0
        except Stopped as stopped:
            ledger.ending = str(stopped)
            n_idle = idle_rounds(ledger, "init", settings.job)
    print(f"d4c-images: {ledger.ending}", file=sys.stderr, flush=True)
    return rounds.exit_code(n_idle)


def _finalize(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.ledger import lending
    from d4c_images.ledger.rollup import finalize

    last, told = time.monotonic(), 0

    def show(progress: RollUpProgress) -> None:
        nonlocal last, told
        heart.beat_if_due()
        if time.monotonic() - last >= 30 or told < progress.records == progress.total:
            last, told = time.monotonic(), progress.records
            print(f"{progress.records:,} of {progress.total:,} records, {progress.corrected:,} corrected", flush=True)

    with _owned(args.ledger, "init --finalize-only", settings) as ledger:
        heart = owner.Heart(ledger, time.time)
        with ledger.transaction() as db:
            lending.take_back(db, lending.leases_of_others(db, ledger.run_id or 0))
        done = finalize(ledger, show)
    print(f"the status of {done.total:,} records is true to their images; {done.corrected:,} were corrected")
    return 0


def _reset(path: Path, settings: Settings, *, ask: bool) -> None:
    """Delete a ledger of ours that nobody uses; images stay."""
    if not path.exists():
        return
    with _owned(path, "init --reset", settings) as ledger:
        images = questions.image_counts(ledger.connection)
    if ask:
        if not sys.stdin.isatty():
            raise UsageError(
                f"--reset would delete {path} ({images.total:,} images, {images.success:,} stored): add --yes to mean it"
            )
        answer = input(f"Delete {path} with {images.total:,} images, {images.success:,} of them stored? The files stay. [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            raise D4CError("nothing was deleted")
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


# -- status, check, job, notify-test


def status(args: argparse.Namespace, settings: Settings) -> int:
    from rich.console import Console

    from d4c_images.ledger.reader import open_reader
    from d4c_images.report.export_tables import write_tables
    from d4c_images.report.render import show_status
    from d4c_images.report.status import status_report

    with open_reader(args.ledger) as ledger:
        report = status_report(ledger, time.time())
        if args.tables is not None:
            for path in write_tables(ledger, args.tables):
                print(path, file=sys.stderr)
    if args.json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        show_status(report, Console())
    return 0


def check(args: argparse.Namespace, settings: Settings) -> int:
    from rich.console import Console

    from d4c_images.ledger.reader import open_reader
    from d4c_images.report import check as checking
    from d4c_images.report.check_progress import CheckProgressView
    from d4c_images.report.render import show_check

    live = _wants_progress(args, sys.stderr)
    with open_reader(args.ledger) as ledger, CheckProgressView(live=live) as view:
        report = checking.check(ledger, args.root, checking.CheckOptions(sha256=args.sha256, full=args.full), view.show)
    if args.json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        show_check(report, Console())
    return 0 if report.ok else 1


def job(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.job_scripts import Terms, script

    try:
        options = tuple(shlex.split(args.options or ""))
    except ValueError as error:
        raise UsageError(f"--options={args.options}: {error}") from None
    terms = Terms(args.time, args.cores, args.name, args.project, args.queue, args.mail, options)
    print(script(Scheduler(args.scheduler), args.command, terms), end="")
    return 0


def notify_test(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.notify.slack import send_and_wait

    if settings.slack_webhook_url is None:
        raise UsageError("SLACK_WEBHOOK_URL is not set: put it into .env or the environment")
    send_and_wait(settings.slack_webhook_url, f"d4c-images on {socket.gethostname()}: this is a test")
    print("the message has arrived")
    return 0


# -- placeholders


def placeholders(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.ledger import placeholders as marking
    from d4c_images.setting_aside import allow
    from d4c_images.stores.aside import Aside
    from d4c_images.stores.local import LocalStore

    allowed, listed = [sha256_of(text) for text in args.allow], _placeholder_list(args.placeholders_file)
    root = _image_root(args.root)
    last = time.monotonic()

    def show(what: str, done: int, total: int) -> None:
        nonlocal last
        heart.beat_if_due()
        if time.monotonic() - last >= 30:
            last = time.monotonic()
            print(f"{what}: {done:,} of {total:,} images", flush=True)

    with _owned(args.ledger, "placeholders", settings) as ledger:
        heart = owner.Heart(ledger, time.time)
        _set_aside(ledger, root, lambda: False)
        for sha256 in allowed:
            store = LocalStore(root)
            try:
                n = allow(ledger, store, Aside(root), sha256, int(time.time()))
            finally:
                store.close()
            print(f"{n:,} images are successes again: {sha256.hex()} is no placeholder", flush=True)
        if not allowed:
            n = marking.find(ledger, listed, args.records, int(time.time()), show)
            print(f"{n:,} images were found to be placeholders", flush=True)
            _set_aside(ledger, root, lambda: False)
        for host, sha256_hex, state, n_marked in marking.overview(ledger):
            print(f"{state:12} {sha256_hex}  {n_marked:>9,}  {host}")
    return 0


# -- identify


def identify(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.report.identities import explained, surveyed

    if bool(args.urls) == (args.file is not None):
        raise UsageError("identify needs URLs, or a table (--file)")
    if args.file is None:
        print(explained(args.urls, as_json=args.json))
    else:
        print(surveyed(args.file, args.limit, verbose=args.verbose, as_json=args.json))
    return 0


# -- parts that several commands need


class _Stop:
    """Turns true with the first signal; further ones change nothing, since schedulers send them twice."""

    def __init__(self) -> None:
        self._came = False

    def __call__(self) -> bool:
        return self._came

    @contextmanager
    def listening(self) -> Iterator[None]:
        old = {number: signal.signal(number, self._on_signal) for number in DRAIN_SIGNALS}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: object) -> None:
        self._came = True


class _Watchers(Watcher):
    """Several watchers as one."""

    def __init__(self) -> None:
        self._all: list[Watcher] = []

    def add(self, watcher: Watcher) -> None:
        self._all.append(watcher)

    def started(self, snapshot: Snapshot) -> None:
        for watcher in self._all:
            watcher.started(snapshot)

    def ticked(self, snapshot: Snapshot) -> None:
        for watcher in self._all:
            watcher.ticked(snapshot)

    def host_blocked(self, host: str, until: float, why: str) -> None:
        for watcher in self._all:
            watcher.host_blocked(host, until, why)

    def host_given_up(self, host: str, n_images: int, why: str) -> None:
        for watcher in self._all:
            watcher.host_given_up(host, n_images, why)

    def idle(self, until: float, host: str, why: str) -> None:
        for watcher in self._all:
            watcher.idle(until, host, why)

    def network_down(self, is_down: bool) -> None:
        for watcher in self._all:
            watcher.network_down(is_down)

    def worker_died(self, why: str) -> None:
        for watcher in self._all:
            watcher.worker_died(why)

    def draining(self, why: str) -> None:
        for watcher in self._all:
            watcher.draining(why)

    def ended(self, snapshot: Snapshot, ending: Ending) -> None:
        for watcher in self._all:
            watcher.ended(snapshot, ending)

    def close(self) -> None:
        for watcher in self._all:
            watcher.close()


def _owned(
    path: Path, command: str, settings: Settings, *, create: bool = False
) -> AbstractContextManager[connect.Ledger]:
    """The ledger, opened for writing and owned by this process until the end of the block."""
    me = owner.this_process(settings.job_id)
    say = partial(print, file=sys.stderr, flush=True)
    return open_and_own(path, command, me, time.time, say, disk=settings.ledger_disk, create=create)


def _wants_progress(args: argparse.Namespace, out: TextIO) -> bool:
    return bool(out.isatty() if args.progress is None else args.progress)
