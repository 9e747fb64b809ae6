"""Arguments shared by several commands, and the parsing of their values. Runs nothing."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from d4c_images.commands import examples
from d4c_images.durations import parse_size, parse_span
from d4c_images.errors import UsageError
from d4c_images.policy.placeholder_list import MIN_RECORDS
from d4c_images.settings import Settings

Subparsers = Any  # argparse does not export the type of what add_subparsers returns
T = TypeVar("T")

SHOWN_AGAIN_S = 5.0
MAX_PORT = 65535


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Appends defaults, if there are any and the text names none; keeps the line breaks of examples."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if shows_default(action) else action.help

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in text.splitlines()) if "\n" in text else super()._fill_text(text, width, indent)


def shows_default(action: argparse.Action) -> bool:
    """Whether "(default: ...)" should follow the help of this option."""
    says_one = "(default:" in (action.help or "") or isinstance(action, argparse._StoreConstAction)
    return not says_one and action.default not in (None, False, [], argparse.SUPPRESS)


def command(
    subparsers: Subparsers,
    name: str,
    run: Callable[[argparse.Namespace, Settings], int],
    text: str,
    settings: Settings,
    *,
    ledger: bool = True,
    root: bool = False,
    drains: bool = False,
) -> argparse.ArgumentParser:
    """`text` is the description; its first sentence is the summary. `drains`: a signal drains the command, by a `session.Stop`."""
    summary = text.partition(". ")[0].rstrip(".")
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=summary, description=text, epilog=examples.epilog(name), formatter_class=_Help
    )
    parser.set_defaults(run=run, drains=drains)
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show a traceback on errors")
    if ledger:
        parser.add_argument("--ledger", type=Path, default=settings.ledger, metavar="FILE", help="ledger, an SQLite file")
    if root:
        parser.add_argument(
            "--root", type=Path, default=settings.root, metavar="DIR", help="image root, the folder that holds the images"
        )
    return parser


def add_route(parser: argparse._ActionsContainer, settings: Settings) -> None:
    """Where connections lead, and which certificates are trusted."""
    parser.add_argument(
        "--connect-to",
        type=connect_to,
        action="append",
        default=[],
        metavar="HOST1:PORT1:HOST2:PORT2",
        help="connect to HOST2:PORT2 instead of HOST1:PORT1, as curl's option does; repeatable",
    )
    parser.add_argument(
        "--allow-private-hosts",
        action=argparse.BooleanOptionalAction,
        default=settings.allow_private_hosts,
        help="allow URLs that lead to loopback, private or other non-public addresses (error type private_address)",
    )
    parser.add_argument("--cacert", type=Path, metavar="FILE", help="CA certificates to trust instead of the system's")


def add_placeholder_terms(parser: argparse._ActionsContainer, name: str) -> None:
    parser.add_argument(
        name,
        type=positive,
        default=MIN_RECORDS,
        metavar="N",
        help="treat identical bytes that one host served for at least N records as a placeholder",
    )
    parser.add_argument("--placeholders-file", type=Path, metavar="FILE", help="TOML file that lists known placeholders")


def add_progress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show a live view instead of periodic log lines (default: on a terminal; pipes and TERM=dumb always get lines)",
    )


def add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch",
        nargs="?",
        type=span,
        const=SHOWN_AGAIN_S,
        metavar="SPAN",
        help=f"refresh every SPAN until Ctrl-C (default: {SHOWN_AGAIN_S:g}s)",
    )


def check_watch(args: argparse.Namespace, others: Mapping[str, bool]) -> None:
    """Raise `UsageError` if another option asks for more than a look."""
    for name, is_given in others.items():
        if args.watch is not None and is_given:
            raise UsageError(f"--watch and {name} exclude each other")
    if args.watch == 0:
        raise UsageError("--watch needs a span of more than 0s")


def add_end(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--until", metavar="TIME", help="start no new requests after TIME, e.g. 18:30 or 2027-01-31T18:30")
    parser.add_argument("--for", dest="span", type=span, metavar="SPAN", help="start no new requests after SPAN from now")
    parser.add_argument(
        "--grace", type=span, default="60s", metavar="SPAN", help="when stopping early, wait up to SPAN for requests in flight"
    )


def add_requeue(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--requeue",
        action="store_true",
        help="in a Grid Engine or Slurm job: requeue the job as long as work is left and rounds make progress; if everything left "
        "has to wait, it starts again when the first host is due",
    )


def positive(text: str) -> int:
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is less than 1")
    return number


def span(text: str) -> float:
    return _argument(parse_span, text)


def connect_to(text: str) -> str:
    from d4c_images.fetch.route import ConnectTo

    entry = ConnectTo.read(text)
    is_sound = entry is not None and all(map(_is_host, (entry.host, entry.to_host)))
    if entry is None or not is_sound or max(map(_number, (entry.port, entry.to_port))) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form HOST1:PORT1:HOST2:PORT2, each of which may be empty")
    return text


def _is_host(text: str) -> bool:
    """A part of curl's option: a name, an IPv4 address, an IPv6 address in brackets, or nothing."""
    if not text.startswith("["):
        return re.fullmatch(r"[^\s/@\[\]]*", text) is not None
    try:
        return ipaddress.ip_address(text[1:-1]).version == 6
    except ValueError:
        return False


def _number(text: str) -> int:
    return int(text or 0)


def size(text: str) -> int:
    return _argument(parse_size, text)


def _argument(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
