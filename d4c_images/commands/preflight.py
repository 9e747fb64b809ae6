"""`preflight`: checks if this node is ready for a download. Collects facts for `policy.preflight` to judge; changes nothing."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from d4c_images import __version__
from d4c_images.commands import arguments, presets
from d4c_images.durations import counted
from d4c_images.errors import D4CError, UsageError
from d4c_images.model import FetchOptions, Limits
from d4c_images.policy import contact, preflight
from d4c_images.policy.preflight import Check, ConnectResult, Grade, ToCome
from d4c_images.report.as_json import json_text
from d4c_images.settings import Disk, Settings, granted_cores
from d4c_images.system import certificates, disk_room, memory, open_files

if TYPE_CHECKING:
    from d4c_images.ledger.file.reader import Reader
    from d4c_images.ledger.questions.from_counters import ImageCounts
    from d4c_images.ledger.rows.extent import Ask

MOST_CONNECTED = 5  # hosts to connect to
HOSTS_LOOKED_AT = 200  # to find some that may be connected to


@dataclass(frozen=True, slots=True)
class _Known:
    """Facts from the ledger for the other checks."""

    to_come: ToCome | None = None
    hosts: tuple[str, ...] = ()  # the last ones of a run that may be connected to now
    n_left_out: int = 0  # hosts that are blocked, paused or used by a run
    last_sign_at: float = 0.0
    last_root: str | None = None


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "preflight",
        run,
        "Check whether this node is ready for a download. Checks the ledger, disks, network, job and settings, and "
        f"gives a verdict. Connects to at most {MOST_CONNECTED} of the ledger's hosts and sends no request. Changes nothing; "
        "safe while a download is running. Exit code 1 if a check failed.",
        settings,
        root=True,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--offline", action="store_true", help="skip the checks that need the network")
    parser.add_argument(
        "--slack", action="store_true", help="send a message to Slack, instead of only checking that SLACK_WEBHOOK_URL is set"
    )
    parser.add_argument(
        "--processes", type=arguments.positive, default=settings.processes, metavar="N", help="worker processes of the download"
    )
    parser.add_argument("--hosts-file", type=Path, default=settings.hosts_file, metavar="FILE", help="limits per host, in TOML")
    parser.add_argument("--connect-timeout", type=arguments.span, default="20s", metavar="SPAN", help="connection timeout")
    arguments.add_route(parser, settings)


def run(args: argparse.Namespace, settings: Settings) -> int:
    from rich.console import Console

    from d4c_images.report.render_preflight import show_check

    presets.host_table(args.hosts_file)  # a bad file ends here
    console, checks = Console(), list[Check]()
    for check in _checks(args, settings):
        checks.append(check)
        if not args.json:
            show_check(check, console)
    grade, conclusion = preflight.verdict(checks), preflight.conclusion(checks)
    if args.json:
        values = {
            "verdict": grade,
            "conclusion": conclusion,
            "version": __version__,
            "host": socket.gethostname(),
            "checks": [check.as_dict() for check in checks],
        }
        print(json_text(values))
    else:
        print(f"verdict: {conclusion}")
    return 1 if grade is Grade.FAILED else 0


def _checks(args: argparse.Namespace, settings: Settings) -> Iterator[Check]:
    known = _Known()
    for found in _ledger(args):
        if isinstance(found, _Known):
            known = found
        else:
            yield found
    yield _image_root(args.root, known.last_root)
    yield from _disks(args.root, args.ledger, settings.ledger_disk, known.to_come)
    yield _locks(args.ledger, settings.ledger_disk)
    yield preflight.memory(memory.available(), args.processes)
    yield preflight.cores(granted_cores(), args.processes)
    yield _open_files(args.processes)
    yield _clock(args.ledger, known.last_sign_at)
    yield _job(settings)
    yield _contact(settings)
    yield _slack(settings, send=args.slack)
    yield from _network(args, settings, known)


def before_download(ask: Ask, ledger: Path, root: Path, settings: Settings) -> None:
    """The cheap checks: prints a warning for everything that an operator should know."""
    from d4c_images.ledger.questions import from_counters

    for check in _disks(root, ledger, settings.ledger_disk, _to_come(ask, from_counters.image_counts(ask))):
        if check.is_trouble:
            from d4c_images.report.render_preflight import sentence

            print(f"warning: {check.name}: {sentence(check)}", file=sys.stderr, flush=True)


# -- the ledger


def _ledger(args: argparse.Namespace) -> Iterator[Check | _Known]:
    from d4c_images.ledger.file import schema
    from d4c_images.ledger.file.reader import open_reader
    from d4c_images.ledger.questions import from_counters

    try:
        with open_reader(args.ledger) as ledger:
            version, images = ledger.version(), from_counters.image_counts(ledger.rows)
            held = _held(ledger)
            known = _known(ledger, args, _to_come(ledger.rows, images), is_held=held.grade is not Grade.OK)
    except D4CError as error:
        yield Check("ledger", Grade.FAILED, str(error))
        return
    copy = "" if ledger.copied_at is None else " (by the copy for readers)"
    found = f"version {version}, {images.left:,} of {counted(images.total, 'image')} left{copy}"
    if version < schema.SCHEMA_VERSION:
        yield Check("ledger", Grade.WARNING, found, f"version {schema.SCHEMA_VERSION} is needed: run 'd4c-images migrate' first")
    else:
        yield Check("ledger", Grade.OK, found)
    yield held
    yield known


def _held(ledger: Reader) -> Check:
    """Which run has the ledger."""
    from d4c_images.ledger.file import filesystem, liveness, owner

    holder = filesystem.holder(ledger.path) or owner.held_by(ledger.rows)
    if holder is None:
        return Check("owner", Grade.OK, "no run has the ledger")
    lives = liveness.lives(holder.process, liveness.this_process())
    if lives is False:
        return Check("owner", Grade.OK, f"no run has the ledger: {holder.described()} is dead")
    if lives is None:
        return Check(
            "owner",
            Grade.WARNING,
            holder.described(),
            f"a download waits up to {liveness.DEAD_AFTER_S:.0f} s to see if it is alive",
        )
    return Check("owner", Grade.WARNING, holder.described(), "a second download is refused while it runs")


def _known(ledger: Reader, args: argparse.Namespace, to_come: ToCome, *, is_held: bool) -> _Known:
    from d4c_images.ledger.file import owner
    from d4c_images.ledger.questions import last_root

    root = last_root.known(ledger.rows)
    hosts, n_left_out = ((), 0) if args.offline else _hosts(ledger, args.hosts_file, is_held=is_held)
    return _Known(to_come, hosts, n_left_out, owner.last_sign_at(ledger.rows), None if root is None else root.path)


def _to_come(ask: Ask, images: ImageCounts) -> ToCome:
    from d4c_images.ledger.queue import shards

    return ToCome(images.left, images.stored_bytes / images.success if images.success else None, shards.are_packed(ask))


def _hosts(ledger: Reader, hosts_file: Path | None, *, is_held: bool) -> tuple[tuple[str, ...], int]:
    """Some of a run's last hosts, from different groups; none that is blocked, paused or used by a run."""
    from d4c_images.report import hosts
    from d4c_images.report.hosts import State

    now = time.time()
    book, host_ids = hosts.limits_and_order(ledger, presets.host_table(hosts_file), hosts.Choice(), now)
    open_now = (State.WAITING,) if is_held else (State.WAITING, State.WORKING)
    chosen: dict[str, str] = {}
    n_left_out = 0
    for line in hosts.lines(ledger, book, map(int, host_ids[:HOSTS_LOOKED_AT]), now):
        if line.state not in open_now:
            n_left_out += 1
        elif len(chosen) < MOST_CONNECTED:
            chosen.setdefault(line.group or line.host, line.host)
    return tuple(chosen.values()), n_left_out


# -- disks


def _image_root(root: Path, last: str | None) -> Check:
    name, place = "image root", root.absolute()
    if last is not None and last != str(place):
        return Check(
            name, Grade.WARNING, f"{place}; the last run used {last}", "a download refuses a root without the stored images"
        )
    if not root.exists():
        parent = next(folder for folder in place.parents if folder.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            return Check(name, Grade.OK, f"{place} will be created")
        return Check(name, Grade.FAILED, f"{place} cannot be created: {parent} is not writable", "use another folder with --root")
    try:
        disk_room.time_of(root)
    except OSError as error:
        return Check(name, Grade.FAILED, f"{place} is not writable: {error.strerror}", "use another folder with --root")
    return Check(name, Grade.OK, f"{place} is writable")


def _disks(root: Path, ledger: Path, disk: Disk | None, to_come: ToCome | None) -> Iterator[Check]:
    from d4c_images.ledger.file import filesystem

    try:
        images = disk_room.room(root)
        yield preflight.disk("disk", images.free_bytes, to_come)
        yield preflight.inodes("inodes", images.free_inodes, to_come)
        size = ledger.stat().st_size if ledger.exists() else 0
        is_shared = (disk or filesystem.disk_of(ledger)) is Disk.SHARED
        yield preflight.ledger_disk(disk_room.room(ledger.parent).free_bytes, size, is_shared=is_shared)
    except OSError as error:
        yield Check("disk", Grade.NOT_CHECKED, f"{error.filename}: {error.strerror}")


def _locks(ledger: Path, disk: Disk | None) -> Check:
    from d4c_images.ledger.file import disk_trial, filesystem

    folder = ledger.absolute().parent
    if not folder.is_dir():
        return Check("locks", Grade.NOT_CHECKED, f"no such folder: {folder}")
    disk = disk or filesystem.disk_of(ledger)
    try:
        disk_trial.trial(folder, disk)
    except D4CError as error:
        return Check("locks", Grade.FAILED, str(error))
    log = " and the write-ahead log" if disk is Disk.LOCAL else ""
    return Check("locks", Grade.OK, f"locks{log} work ({filesystem.file_system(folder)}, {disk} disk)")


# -- this machine


def _open_files(processes: int) -> Check:
    n_files = open_files.grantable()
    try:
        room = open_files.check(n_files, processes)
    except UsageError as error:
        return Check("open files", Grade.FAILED, str(error))
    return Check("open files", Grade.OK, f"{n_files:,} allowed: {counted(room.connections, 'connection')} per worker process")


def _clock(ledger: Path, last_sign_at: float) -> Check:
    try:
        file_time = disk_room.time_of(ledger.absolute().parent)
    except OSError:
        file_time = None
    now = time.time()
    return preflight.clock(now, file_time, last_sign_at - now)


def _job(settings: Settings) -> Check:
    from d4c_images.batch import scheduler

    if settings.job is None:
        return preflight.job(None, None, None, None)
    name = f"{scheduler.SCHEDULER_NAMES[settings.job.scheduler]} job {settings.job.name}"
    now = time.time()
    try:
        end_at = scheduler.end_of(settings.job, now)
        again = scheduler.may_be_requeued(settings.job)
    except D4CError as error:
        return preflight.job(name, None, str(error), None)
    return preflight.job(name, None if end_at is None else end_at - now, None, again)


# -- settings


def _contact(settings: Settings) -> Check:
    if settings.contact is None:
        return Check(
            "contact", Grade.WARNING, "D4C_CONTACT is not set: publishers cannot write to you, and may block you instead",
            "set it to your mail address or a web page, in the environment or in .env",
        )  # fmt: skip
    try:
        contact.read(settings.contact)
    except UsageError as error:
        return Check("contact", Grade.FAILED, str(error))
    return Check("contact", Grade.OK, settings.contact)


def _slack(settings: Settings, *, send: bool) -> Check:
    if settings.slack_webhook_url is None:
        return Check("Slack", Grade.FAILED if send else Grade.OK, "SLACK_WEBHOOK_URL is not set: notifications are off")
    if not send:
        return Check("Slack", Grade.OK, "set, not tried (--slack sends a message)")
    from d4c_images.notify.slack import send_and_wait

    try:
        send_and_wait(settings.slack_webhook_url, f"d4c-images on {socket.gethostname()}: this is a test by preflight")
    except D4CError as error:
        return Check("Slack", Grade.FAILED, str(error), "see docs/how-to/slack.md")
    return Check("Slack", Grade.OK, "a message has arrived")


# -- the network


def _network(args: argparse.Namespace, settings: Settings, known: _Known) -> Iterator[Check]:
    path, n_roots, broken = args.cacert, 0, None
    try:
        path = certificates.bundle(args.cacert)
        n_roots = certificates.n_roots(path)
    except UsageError as error:
        broken = str(error)
    results: Sequence[ConnectResult] = ()
    if known.hosts and broken is None:
        from d4c_images.fetch.connect_only import connect

        options = FetchOptions(
            limits=Limits(connect_s=args.connect_timeout),
            connect_to=tuple(args.connect_to),
            cacert=path,
            allow_private_hosts=args.allow_private_hosts,
        )
        results = connect(known.hosts, options)
    yield preflight.tls_roots(str(path), n_roots, broken, results)
    if results:
        yield preflight.dns(results)
        yield preflight.way_out(results)
        return
    why = _why_no_host(args, known, broken)
    yield Check("DNS", Grade.NOT_CHECKED, why)
    yield Check("way out", Grade.NOT_CHECKED, why)


def _why_no_host(args: argparse.Namespace, known: _Known, broken: str | None) -> str:
    if args.offline:
        return "--offline"
    if broken is not None:
        return "no CA certificates"
    if known.n_left_out:
        return "all hosts with images left are blocked, paused or in use by a run"
    return "the ledger has no host with images left"
