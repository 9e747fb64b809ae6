"""Arguments that several commands have, and how their texts are read. Runs nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from d4c_images.durations import parse_size, parse_span
from d4c_images.errors import UsageError
from d4c_images.policy.placeholder_list import MIN_RECORDS
from d4c_images.settings import Settings

Subparsers = Any  # argparse does not export the type of what add_subparsers returns
T = TypeVar("T")

SHOWN_AGAIN_S = 5.0


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False, []) else super()._get_help_string(action)


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
    """`drains`: on a signal the command ends in good order, by a `session.Stop`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text.split(".")[0].lower(), description=text, formatter_class=_Help
    )
    parser.set_defaults(run=run, drains=drains)
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show where an error comes from")
    if ledger:
        parser.add_argument("--ledger", type=Path, default=settings.ledger, metavar="FILE", help="the SQLite ledger")
    if root:
        parser.add_argument("--root", type=Path, default=settings.root, metavar="DIR", help="the folder that holds the images")
    return parser


def add_placeholder_terms(parser: argparse._ActionsContainer, name: str) -> None:
    parser.add_argument(
        name,
        type=positive,
        default=MIN_RECORDS,
        metavar="N",
        help="records that get the same bytes from one host before these are taken for a placeholder",
    )
    parser.add_argument("--placeholders-file", type=Path, metavar="FILE", help="placeholders that you know, in TOML")


def add_progress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="a live view on a terminal; without one, in a pipe and if TERM=dumb, a log line now and then",
    )


def add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch",
        nargs="?",
        type=span,
        const=SHOWN_AGAIN_S,
        metavar="SPAN",
        help=f"show it again every SPAN ({SHOWN_AGAIN_S:g}s if none is given) until Ctrl-C",
    )


def check_watch(args: argparse.Namespace, others: Mapping[str, bool]) -> None:
    """Raises `UsageError` if there is also an option that asks for something else than to look."""
    for name, is_given in others.items():
        if args.watch is not None and is_given:
            raise UsageError(f"--watch and {name} exclude each other")
    if args.watch == 0:
        raise UsageError("--watch needs a span of more than 0s")


def add_end(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--until", metavar="TIME", help="start nothing after 18:30 or 2027-01-31T18:30")
    parser.add_argument("--for", dest="span", type=span, metavar="SPAN", help="start nothing after 11h30m from now (or 11:30:00)")
    parser.add_argument("--grace", type=span, default="60s", metavar="SPAN", help="for what is in flight when the run ends early")


def add_requeue(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--requeue",
        action="store_true",
        help="in a job of SGE or Slurm: while work is left and gets done, have the job queued again",
    )


def positive(text: str) -> int:
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no number") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def span(text: str) -> float:
    return _argument(parse_span, text)


def size(text: str) -> int:
    return _argument(parse_size, text)


def _argument(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
