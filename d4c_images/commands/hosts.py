"""`hosts`: lists hosts with their limits, pace and end; pauses, resumes, sets. What changes is left to the ledger's one writer."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from d4c_images.commands import arguments, presets, session
from d4c_images.durations import parse_size
from d4c_images.errors import LedgerBusy, UsageError
from d4c_images.ledger import wishes
from d4c_images.limits import HostLimits, HostTable, checked
from d4c_images.settings import Settings

LIST, ACTIONS = "list", ("list", wishes.PAUSE, wishes.RESUME, wishes.SET, wishes.UNSET)
SETTABLE = ("connections", "min_interval_s", "bytes_per_s", "bytes_per_day")


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "hosts",
        run,
        "Show hosts with their limits, pace, state and end; pause and resume them, set limits. Also while a download runs, which "
        "takes changes up within seconds.",
        settings,
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=ACTIONS,
        default=LIST,
        metavar="ACTION",
        help="list (what is left, the host that ends last first), pause, resume, set, unset",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="NAME",
        help="hosts, `*` for any part of a name (quote it); after set and unset also limits: connections=1 min_interval_s=2 "
        "bytes_per_s=100k bytes_per_day=24G; unset without one takes all back",
    )
    parser.add_argument("--for", dest="span", type=arguments.span, metavar="SPAN", help="of a pause; else until resume")
    parser.add_argument("--all", action="store_true", help="also list hosts with nothing left")
    parser.add_argument("--json", action="store_true", help="the list for scripts")
    parser.add_argument("--hosts-file", type=Path, default=settings.hosts_file, metavar="FILE", help="limits per host, in TOML")


def run(args: argparse.Namespace, settings: Settings) -> int:
    table = presets.host_table(args.hosts_file)
    if args.action == LIST:
        return _list(args, table)
    names = [word for word in args.words if not _is_limit(word, args.action)]
    if not names:
        raise UsageError(f"hosts {args.action} needs the name of a host")
    if args.span is not None and args.action != wishes.PAUSE:
        raise UsageError("--for says how long to pause")
    known = _known_names(args.ledger)
    hosts = _named(names, known, below_domains=args.action in (wishes.SET, wishes.UNSET))
    words = [word for word in args.words if _is_limit(word, args.action)]
    limits = _limits(words) if args.action == wishes.SET else {}
    unset = tuple(words) if args.action == wishes.UNSET else ()
    until = None if args.span is None else time.time() + args.span
    wishes.leave(args.ledger, wishes.Wish(args.action, tuple(hosts), until, limits, unset))
    print(f"{args.action}: {', '.join(hosts)}")
    try:
        with session.owned(args.ledger, "hosts", settings) as ledger:
            wishes.take(ledger, time.time())
    except LedgerBusy as busy:
        print(f"noted: a download takes this up within seconds, anything else leaves it to the next one ({busy})")
    return 0


def _list(args: argparse.Namespace, table: HostTable) -> int:
    from rich.console import Console

    from d4c_images.ledger import overview
    from d4c_images.ledger.reader import open_reader
    from d4c_images.report import hosts as report
    from d4c_images.report.render import show
    from d4c_images.report.render_hosts import section

    with open_reader(args.ledger) as ledger:
        least_left = 0 if args.all else 1
        rows, wanted = ledger.at_one_moment(lambda: (overview.hosts_in_work(ledger, least_left), overview.wanted_limits(ledger)))
    table = wanted.over(table)

    def limits_of(host: overview.HostInWork) -> HostLimits:
        limits = table.limits(host.host)
        return limits if limits.group is None else table.group_limits(limits.group)

    shown = set(report.matching((row.host for row in rows), args.words or ("*",)))
    lines = report.host_lines((row for row in rows if row.host in shown), limits_of, time.time())
    if args.json:
        print(json.dumps([line.as_dict() for line in lines], indent=2))
    else:
        show(f"d4c-images hosts of {args.ledger}", [], [section(lines)], Console())
    return 0


def _known_names(path: Path) -> list[str]:
    from d4c_images.ledger import overview
    from d4c_images.ledger.reader import open_reader

    with open_reader(path) as ledger:
        return [row.host for row in overview.hosts_in_work(ledger, least_left=0)]


def _named(names: Sequence[str], known: Sequence[str], *, below_domains: bool) -> list[str]:
    """The hosts that are meant. Limits may also be those of all hosts below a domain, as in the hosts file."""
    from d4c_images.report.hosts import matching

    hosts: list[str] = []
    for name in map(str.lower, names):
        found = matching(known, [name])
        if not found:
            raise UsageError(f"the ledger knows no host '{name}'")
        is_domain = below_domains and name.startswith("*.") and "*" not in name[2:]
        hosts += [name] if is_domain else found
    return list(dict.fromkeys(hosts))


def _is_limit(word: str, action: str) -> bool:
    return "=" in word if action == wishes.SET else word in SETTABLE


def _limits(words: Sequence[str]) -> dict[str, Any]:
    """Values, checked as those of the hosts file are."""
    if not words:
        raise UsageError(f"hosts set needs a limit: {', '.join(f'{name}=...' for name in SETTABLE)}")
    limits: dict[str, Any] = {}
    for word in words:
        name, _, text = word.partition("=")
        if name not in SETTABLE:
            raise UsageError(f"hosts set: {name!r} is none of {', '.join(SETTABLE)}")
        limits[name] = _number(text, in_bytes=name.startswith("bytes"))
    return checked("hosts set:", limits)


def _number(text: str, *, in_bytes: bool) -> int | float | str:
    """A whole number where it is one; what is no number is told by the check."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return parse_size(text) if in_bytes else float(text)
    except (ValueError, UsageError):
        return text
