"""`hosts`: lists hosts with their limits, pace and end; pauses, resumes, sets. Changes are left to the ledger's one writer."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d4c_images.commands import arguments, presets, session, usage
from d4c_images.durations import counted, parse_size, show_moment
from d4c_images.errors import D4CError, LedgerBusy, UsageError
from d4c_images.ledger.file import owner
from d4c_images.ledger.queue import wishes
from d4c_images.policy.limits import HostTable, checked, is_pattern
from d4c_images.report.as_json import json_text
from d4c_images.settings import Settings
from d4c_images.system import clocks

if TYPE_CHECKING:
    from rich.text import Text

    from d4c_images.report.hosts import HostLine

HOSTS_SHOWN = 100  # hosts in a list without `--limit`
LINES_A_TABLE = 5000
EXAMPLES = 3  # names of hosts matching a pattern that are shown
LIST, ACTIONS = "list", ("list", wishes.PAUSE, wishes.RESUME, wishes.SET, wishes.UNSET)
SETTABLE = ("connections", "min_interval_s", "bytes_per_s", "bytes_per_day")


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "hosts",
        run,
        "List, pause, resume or limit hosts. The list shows limits, rate, state and ETA; a running download picks up changes "
        "within seconds.",
        settings,
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=ACTIONS,
        default=LIST,
        metavar="ACTION",
        help="list (hosts with images left, slowest first), pause, resume, set or unset",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="NAME",
        help="host names, where `*` matches any part of a name (quote it; set and unset then cover future hosts, too); for set, "
        "followed by limits: connections=1 min_interval_s=2 bytes_per_s=100k bytes_per_day=24G (24,000,000,000 bytes; 24GiB uses "
        "powers of 1024); for unset, by names of limits (without any, all overrides are removed)",
    )
    parser.add_argument(
        "--for", dest="span", type=arguments.span, metavar="SPAN", help="duration of the pause (default: until resumed)"
    )
    parser.add_argument("--all", action="store_true", help="list all hosts, including those with nothing left")
    limit_help = f"list at most N hosts (default: {HOSTS_SHOWN}; all with --all or --json)"
    parser.add_argument("--limit", type=arguments.positive, metavar="N", help=limit_help)
    arguments.add_watch(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--hosts-file", type=Path, default=settings.hosts_file, metavar="FILE", help="TOML file with limits per host"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    table = presets.host_table(args.hosts_file)
    arguments.check_watch(args, {"--json": args.json, "--all": args.all, f"hosts {args.action}": args.action != LIST})
    if args.action == LIST:
        return _list(args, table) if args.watch is None else _watch(args, table)
    names = [word for word in args.words if not _is_limit(word, args.action)]
    if not names:
        raise UsageError(f"hosts {args.action} needs a host name")
    if args.span is not None and args.action != wishes.PAUSE:
        raise UsageError("--for only applies to 'hosts pause'")
    names = list(dict.fromkeys(map(str.lower, names)))
    meant = _meant(args.ledger, names, also_to_come=args.action in (wishes.SET, wishes.UNSET))
    words = [word for word in args.words if _is_limit(word, args.action)]
    limits = _limits(words) if args.action == wishes.SET else {}
    unset = tuple(words) if args.action == wishes.UNSET else ()
    until = None if args.span is None else time.time() + args.span
    wish = wishes.leave(args.ledger, wishes.Wish(args.action, tuple(names), until, limits, unset))
    noted = None
    try:
        with session.owned(args.ledger, "hosts", settings, session.NOT_AT_ALL) as ledger:
            wishes.take_all(ledger, time.time(), owner.Heart(ledger, clocks.now).beat_if_due)
        if wish.exists():
            noted = f"queued: {wish} could not be read now; the next download applies it"
    except LedgerBusy as busy:
        noted = f"queued: a running download applies it within seconds, otherwise the next one will ({busy})"
    except D4CError:  # nothing was announced yet
        wish.unlink(missing_ok=True)
        raise
    lasts = "" if args.action != wishes.PAUSE else " until resumed" if until is None else f" until {show_moment(until)}"
    print(f"{args.action}{lasts}: {meant}")
    if noted is not None:
        print(noted)
    return 0


def _list(args: argparse.Namespace, table: HostTable) -> int:
    from d4c_images.ledger.file.reader import open_reader
    from d4c_images.report import hosts as report

    now, choice = time.time(), report.Choice([name.lower() for name in args.words], 0 if args.all else 1)
    with open_reader(args.ledger) as ledger:
        book, host_ids = report.limits_and_order(ledger, table, choice, now)
        limit = args.limit or (len(host_ids) if args.all or args.json else HOSTS_SHOWN)
        lines = report.lines(ledger, book, map(int, host_ids[:limit]), now)
        if args.json:
            _print_json(lines)
        else:
            _print_tables(f"d4c-images hosts of {args.ledger}", lines)
            if len(host_ids) > limit:
                print(f"{len(host_ids) - limit:,} more: use --limit N or --all")
    return 0


def _watch(args: argparse.Namespace, table: HostTable) -> int:
    """As many hosts as the terminal has lines."""
    from rich.console import Console

    from d4c_images.ledger.file.reader import open_reader
    from d4c_images.report import hosts as report
    from d4c_images.report.layout import whole
    from d4c_images.report.render_hosts import section
    from d4c_images.report.watch import watch

    console = Console()

    def lines() -> list[Text]:
        now, choice = time.time(), report.Choice([name.lower() for name in args.words])
        with open_reader(args.ledger) as ledger:
            book, host_ids = report.limits_and_order(ledger, table, choice, now)
            shown = list(report.lines(ledger, book, map(int, host_ids[: args.limit or console.height]), now))
        title = f"d4c-images hosts of {args.ledger}, {show_moment(now)}: {counted(len(host_ids), 'host')} with images left"
        return whole(title, [], [section(shown)], console)

    watch(lines, console, args.watch)
    return 0


def _print_json(lines: Iterable[HostLine]) -> None:
    """Print a JSON list, one host per line, with few hosts in memory at a time."""
    mark = "[\n "
    for line in lines:
        sys.stdout.write(mark + json_text(line.as_dict(), indent=None))
        mark = ",\n "
    print("[]" if mark == "[\n " else "\n]")


def _print_tables(title: str, lines: Iterator[HostLine]) -> None:
    """One table, or several if a million hosts are listed."""
    from rich.console import Console

    from d4c_images.report.layout import show
    from d4c_images.report.render_hosts import section

    console, first = Console(), list(itertools.islice(lines, LINES_A_TABLE))
    show(title, [], [section(first)], console)
    while some := list(itertools.islice(lines, LINES_A_TABLE)):
        show("", [], [section(some, "Further hosts")], console)


def _meant(path: Path, names: Sequence[str], *, also_to_come: bool) -> str:
    """The hosts that names and patterns stand for now, in a few words."""
    from d4c_images.ledger.file.reader import open_reader
    from d4c_images.ledger.questions import from_counters, overview

    n, examples, to_come = 0, list[str](), list[str]()
    with open_reader(path) as ledger:
        for name in names:
            some = overview.some_named(ledger, name, EXAMPLES)
            if not some and also_to_come and is_pattern(name):
                to_come.append(name)
            elif not some:
                raise usage.unknown_host(name, from_counters.some_hosts(ledger.rows))
            n += len(some) if len(some) < EXAMPLES else overview.n_named(ledger, name)
            examples += some
    shown = ", ".join(list(dict.fromkeys(examples))[:EXAMPLES])
    known = shown if n <= EXAMPLES else f"{counted(n, 'host')} ({shown}, ...)"
    later = f"no host yet, and those to come that fit {', '.join(to_come)}" if to_come else ""
    return "; ".join(filter(None, (known, later)))


def _is_limit(word: str, action: str) -> bool:
    return "=" in word if action == wishes.SET else word in SETTABLE


def _limits(words: Sequence[str]) -> dict[str, Any]:
    """Values, checked like those of the hosts file."""
    if not words:
        raise UsageError(f"hosts set needs a limit: {', '.join(f'{name}=...' for name in SETTABLE)}")
    limits: dict[str, Any] = {}
    for word in words:
        name, _, text = word.partition("=")
        if name not in SETTABLE:
            raise UsageError(f"hosts set: unknown limit {name!r}; known limits: {', '.join(SETTABLE)}")
        limits[name] = _number(text, in_bytes=name.startswith("bytes"))
    return checked("hosts set:", limits)


def _number(text: str, *, in_bytes: bool) -> int | float | str:
    """An integer if it is one. Text that is not a number stays as it is, and the check refuses it."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return parse_size(text) if in_bytes else float(text)
    except (ValueError, UsageError):
        return text
