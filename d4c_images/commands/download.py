"""`download`: wires the steward, its workers and the watchers. Fetches and decides nothing itself."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from d4c_images import __version__
from d4c_images.batch.requeue import NOBODY, NextRound, Rounds
from d4c_images.commands import arguments, download_options, image_root, preflight, session, usage
from d4c_images.durations import counted, show_moment
from d4c_images.errors import EXIT_WORK_LEFT, D4CError
from d4c_images.ledger.file import connect, owner
from d4c_images.ledger.questions import from_counters
from d4c_images.ledger.queue import run_ends
from d4c_images.model import FetchOptions
from d4c_images.policy import contact
from d4c_images.runners.rendezvous import MeetingPlace
from d4c_images.settings import Settings
from d4c_images.steward.terms import Ending, Plan, Runner, RunScope, Watcher
from d4c_images.system import certificates, clocks, open_files

if TYPE_CHECKING:
    from d4c_images.report.announce import Announcer
    from d4c_images.runners.worker_setup import WorkerSetup
    from d4c_images.stores.pack import PackSettings

ONLY_PAUSED = "only paused hosts are left: job not requeued; run 'd4c-images hosts resume', then submit it again"
OUTAGE_WAIT_S = 3600.0  # between two rounds of a job whose network was there once and is away


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "download",
        run,
        "Fetch, verify and store images. Runs until nothing is left, the time is up or it is interrupted; run the same command "
        "again to resume. Ctrl-C lets requests in flight finish, for up to --grace; pressed again, it drops them.",
        settings,
        root=True,
        drains=True,
    )
    download_options.add_options(parser, settings)


def run(args: argparse.Namespace, settings: Settings) -> int:
    stop = session.Stop()
    rounds = session.rounds(args, settings, stop)
    deadline, grace_s = rounds.limits(session.deadline(args, datetime.fromtimestamp(clocks.now())), args.grace, clocks.now())
    if args.cluster is None or args.cacert is not None:  # other nodes have certificates of their own
        certificates.n_roots(certificates.bundle(args.cacert))  # without any, each image would lose an attempt
    fetch = download_options.fetch_options(args, settings)
    plan = download_options.plan_of(args, fetch.limits, deadline, grace_s)
    is_limited = plan.max_stored is not None or plan.max_tries is not None  # a limit is for one run
    plan = _within_machine(args, fetch, plan)
    command = "download" if args.cluster is None else owner.CLUSTER
    with stop.listening(), session.owned(args.ledger, command, settings, session.wait(stop, deadline, rounds)) as ledger:
        plan = replace(plan, deadline=session.ends_at(deadline, ledger))
        if not is_limited:
            plan = replace(plan, may_leave=session.may_leave(ledger, command, rounds))
        _check_hosts(ledger, plan.only_hosts)
        root = image_root.claim(ledger, args.root, args.new_root)
        if settings.contact is None:  # warns once it is certain that requests will be sent
            print(contact.NO_CONTACT, file=sys.stderr, flush=True)
        preflight.before_download(ledger.connection.execute, args.ledger, root, settings)
        packing = session.packing(ledger, args.store, args.shard_size)
        token = session.sweep_marks(ledger, root)
        setup = _setup(args, root, fetch, packing, plan)
        with _runner(args, root, setup, token) as runner:  # first: its workers import their parts while we import ours
            session.sweep_parts(ledger, root)
            session.mend_shards(ledger, root)
            session.set_files_aside(ledger, root, stop)
            ending = _work(args, settings, ledger, runner, plan, stop)
        session.sweep_parts(ledger, root)
        session.mend_shards(ledger, root)
        session.set_files_aside(ledger, root, lambda: ending in (Ending.SIGNAL, Ending.TIME))
        ledger.ending = stop.signal_name() if ending is Ending.SIGNAL else str(ending)
        ask, hosts = ledger.connection.execute, sorted(plan.only_hosts)
        left = from_counters.image_counts(ask, refetch=plan.refetch, hosts=hosts).left
        is_done = not left or (plan.only_hosts and ending is Ending.DONE)
        is_over = is_done or is_limited or ending is Ending.LIMIT  # all that it was asked to do
        following = NOBODY if is_over else next_round(ledger, command, rounds, ending)
        due_at = run_ends.due_at(ledger)
    if is_done:
        _send_home(args.cluster)
    _send_away(args.cluster, following)
    wall = clocks.now.to_wall(clocks.now())
    code = 0 if is_done or ending is Ending.LIMIT else rounds.hand_back(following, wall)
    if following.at is None or code == EXIT_WORK_LEFT:
        _say_next(code, left, RunScope(tuple(hosts)), None if due_at is None or due_at <= wall else due_at)
    return code


def _within_machine(args: argparse.Namespace, fetch: FetchOptions, plan: Plan) -> Plan:
    """The plan, as far as this machine can follow it. Warns if it can open few files, or if a certificate is not to be verified."""
    room = open_files.check(open_files.raise_limit(), args.processes if args.cluster is None else 1)
    if room.connections < plan.max_connections:
        print(
            f"open files are limited to {room.n_files} (ulimit -n): {counted(room.connections, 'connection')} per worker",
            flush=True,
        )
        plan = replace(plan, max_connections=room.connections)
    for host in sorted(fetch.insecure_hosts):
        print(f"warning: the TLS certificate of {host} is not verified (--insecure-host)", flush=True)
    if args.cluster is not None:
        session.check_extra()
        from d4c_images.runners import dask_check

        dask_check.check()
        from d4c_images.runners.dask_config import silence_s

        plan = replace(plan, lost_ask_s=silence_s())
    return plan


def next_round(ledger: connect.Ledger, command: str, rounds: Rounds, ending: Ending) -> NextRound:
    """Who goes on with what a run that has ended like this leaves; written down for reports."""
    due_at, job = run_ends.due_at(ledger), rounds.awaited_job
    if job is not None and ending is Ending.WAITING and due_at is None:
        return NextRound(None, why_not=ONLY_PAUSED)
    if job is not None and ending is Ending.OUTAGE:
        noted = None  # there may be no way out of this node at all: such a round counts as one without progress
        if run_ends.has_worked(ledger, command, job):
            noted = due_at = due_at or clocks.now.to_wall(clocks.now()) + OUTAGE_WAIT_S
        run_ends.note_due(ledger, noted)
    return session.next_round(ledger, command, rounds, due_at)


def _say_next(code: int, left: int, scope: RunScope, due_at: float | None) -> None:
    """Say what to do after this run; `left` are the images of its scope, so the line says which these are."""
    words = sys.argv[1:]
    command = f": d4c-images {shlex.join(words)}" if "download" in words else ""
    if code == EXIT_WORK_LEFT:
        when = "run the same command again to resume" if due_at is None else f"run the same command again at {show_moment(due_at)}"
        print(f"exit code {code}: work is left; {when}{command}", flush=True)
    elif left:
        remaining = f"{counted(left, 'image')}{scope} left{'' if scope.hosts else ' in the ledger'}"
        print(f"exit code {code}: done as requested; {remaining}", flush=True)
    else:
        nothing = f"no images{scope} left" if scope.hosts else "nothing left to do"
        print(f"exit code {code}: {nothing}; 'd4c-images status' shows the result", flush=True)


def _setup(args: argparse.Namespace, root: Path, fetch: FetchOptions, packing: PackSettings | None, plan: Plan) -> WorkerSetup:
    from d4c_images.runners.worker_setup import WorkerSetup

    return WorkerSetup(root.absolute(), fetch, args.max_edge, packing, args.respect_robots_tag, connections=plan.max_connections)


@contextmanager
def _runner(args: argparse.Namespace, root: Path, setup: WorkerSetup, token: str) -> Iterator[Runner]:
    if args.cluster is None:
        from d4c_images.runners.processes import ProcessRunner

        with closing(ProcessRunner(args.processes, replace(setup, clock=clocks.now))) as runner:
            yield runner
        return
    from d4c_images.runners.dask import DaskRunner
    from d4c_images.stores import own_files

    place = MeetingPlace(args.cluster)
    with own_files.signed(root, token) as sign:
        setup = replace(setup, sign=sign)
        with closing(DaskRunner(place, str(args.ledger.absolute()), setup, session.say_when, args.interface)) as runner:
            yield runner


def _send_home(cluster: Path | None) -> None:
    """Nothing is left: workers need not wait for the next coordinator."""
    if cluster is None:
        return
    try:
        MeetingPlace(cluster).say_over(secrets.token_hex(8))
    except D4CError as error:  # the work is done anyway
        print(f"cannot tell the workers that nothing is left: {error}", file=sys.stderr, flush=True)


def _send_away(cluster: Path | None, following: NextRound) -> None:
    """Nothing is to be done for a while: workers need not hold their nodes until then."""
    if cluster is None or following.at is None or not following.waits:
        return
    try:
        MeetingPlace(cluster).say_away(following.at)
    except D4CError as error:  # they wait for the next coordinator
        print(f"workers are not told how long they have to wait: {error}", file=sys.stderr, flush=True)


def _work(
    args: argparse.Namespace, settings: Settings, ledger: connect.Ledger, runner: Runner, plan: Plan, stop: session.Stop
) -> Ending:
    """The run itself, with its watchers."""
    from d4c_images.ledger.queue.requeue import requeue_failed
    from d4c_images.notify import notifier_for
    from d4c_images.report.watchers import Watchers
    from d4c_images.steward.steward import Steward

    watchers = Watchers()
    watchers.add(_progress(args, settings))
    notifier = notifier_for(settings.slack_webhook_url, lambda text: print(text, file=sys.stderr, flush=True))
    announcer = _announcer(args, settings, notifier.send)
    watchers.add(announcer)
    try:
        if args.retry_failed:
            heart = owner.Heart(ledger, clocks.now)
            n = requeue_failed(
                ledger,
                lambda done, total: heart.beat_if_due(),
                permanent=args.retry_failed == "all",
                only_hosts=plan.only_hosts,
            )
            print(f"new attempts for {counted(n, 'failed image')}", flush=True)
        if args.refetch is not None:
            _queue_refetches(ledger, clocks.now() - args.refetch, plan.only_hosts)
        return Steward(ledger, runner, plan, watchers, clocks.now, stop, hurry=stop.hurry).run()
    except BaseException as error:
        announcer.died(str(error) or type(error).__name__)
        raise
    finally:
        watchers.close()
        notifier.close()


def _queue_refetches(ledger: connect.Ledger, before: float, only_hosts: frozenset[str]) -> None:
    from d4c_images.ledger.queue import refetching

    heart = owner.Heart(ledger, clocks.now)
    due = refetching.queue(ledger, before, only_hosts, lambda done, total: heart.beat_if_due())
    whole = f", {due.n_unconditional:,} of them in full (no ETag or Last-Modified)" if due.n_unconditional else ""
    print(f"{counted(due.n, 'stored image')} to revalidate{whole}", flush=True)


def _progress(args: argparse.Namespace, settings: Settings) -> Watcher:
    job = f", job {settings.job_id}" if settings.job_id else ""
    head = (
        f"d4c-images {__version__} download on {socket.gethostname()}, pid {os.getpid()}{job}: ledger {args.ledger.absolute()}, "
        f"images in {args.root.absolute()}"
    )
    if not session.wants_progress(args, sys.stdout):
        from d4c_images.report.progress import LogProgress

        return LogProgress(head=head)
    from rich.console import Console

    from d4c_images.report.live import LiveProgress

    return LiveProgress(Console(), head)


def _announcer(args: argparse.Namespace, settings: Settings, send: Callable[[str], None]) -> Announcer:
    from d4c_images.report.announce import Announcer

    job = f", job {settings.job_id}" if settings.job_id else ""
    return Announcer(send, f"{args.ledger.name} on {socket.gethostname()}{job}", args.notify_every)


def _check_hosts(ledger: connect.Ledger, names: frozenset[str]) -> None:
    for name in sorted(names):
        if not from_counters.knows_host(ledger.connection, name):
            raise usage.unknown_host(name, from_counters.some_hosts(ledger.connection.execute))
