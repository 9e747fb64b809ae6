"""The command line: arguments, help and exit codes. What a command does is wired in `commands`."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from d4c_images import __version__, commands
from d4c_images.durations import parse_size, parse_span
from d4c_images.errors import D4CError, UsageError
from d4c_images.job_scripts import COMMANDS
from d4c_images.placeholder_list import MIN_RECORDS
from d4c_images.settings import Scheduler, Settings, load_settings

EPILOG = """exit codes: 0 nothing left to do; 75 work is left, run the same command again; 2 usage; 1 anything else.
Options beat the environment, the environment beats .env, .env beats the defaults."""


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False, []) else super()._get_help_string(action)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors become one line on standard error."""
    debug = "--debug" in (sys.argv[1:] if argv is None else argv)
    try:
        settings = load_settings()
        args = build_parser(settings).parse_args(argv)
        command: Callable[[argparse.Namespace, Settings], int] = args.run
        return command(args, settings)
    except D4CError as error:
        if debug:
            traceback.print_exc()
        print(f"d4c-images: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: no second complaint at exit
        return 1
    except KeyboardInterrupt:
        print("d4c-images: interrupted; nothing committed is lost", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            raise
        print(f"d4c-images: internal error: {type(error).__name__}: {error} (--debug shows where)", file=sys.stderr)
        return 1


def build_parser(settings: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="d4c-images",
        description="From a GBIF download to a complete, verified, citable image collection.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"d4c-images {__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_init(subparsers, settings)
    _add_download(subparsers, settings)
    _add_status(subparsers, settings)
    _add_check(subparsers, settings)
    _add_placeholders(subparsers, settings)
    _add_identify(subparsers, settings)
    _add_job(subparsers, settings)
    _add_notify_test(subparsers, settings)
    return parser


Subparsers = Any  # argparse does not export the type of what add_subparsers returns
T = TypeVar("T")


def _command(
    subparsers: Subparsers,
    name: str,
    run: Callable[[argparse.Namespace, Settings], int],
    text: str,
    settings: Settings,
    *,
    ledger: bool = True,
    root: bool = False,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text.split(".")[0].lower(), description=text, formatter_class=_Help
    )
    parser.set_defaults(run=run)
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show where an error comes from")
    if ledger:
        parser.add_argument("--ledger", type=Path, default=settings.ledger, metavar="FILE", help="the SQLite ledger")
    if root:
        parser.add_argument("--root", type=Path, default=settings.root, metavar="DIR", help="the folder that holds the images")
    return parser


def _add_init(subparsers: Subparsers, settings: Settings) -> None:
    parser = _command(
        subparsers,
        "init",
        commands.init,
        "Read a GBIF download or a publisher's archive into the ledger. One row per distinct image; run it again to go on after "
        "an interruption.",
        settings,
    )
    parser.add_argument(
        "source",
        nargs="?",
        type=Path,
        metavar="SOURCE",
        help="a GBIF download or a publisher's Darwin Core Archive (zip or folder), or a bare table of media",
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="read no more than N rows of each table")
    parser.add_argument(
        "--verbatim", action="store_true", help="also read the publishers' own media rows that a GBIF download carries"
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="whose records a publisher's table tells of, where their ids are mere numbers; by default as the archive's metadata "
        "say, else the file's name",
    )
    parser.add_argument(
        "--labels", action="store_true", help="also take names, taxon keys and catalogue numbers from the table of occurrences"
    )
    parser.add_argument(
        "--reset", action="store_true", help="begin a new ledger; asks before it deletes the old one (images stay)"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--finalize-only", action="store_true", help="recount the status of every record from its images")
    _add_requeue(parser)
    _add_progress(parser)


def _add_download(subparsers: Subparsers, settings: Settings) -> None:
    parser = _command(
        subparsers,
        "download",
        commands.download,
        "Fetch, verify and store the images that the ledger still lacks. Works until nothing is left, the time is up or a signal "
        "comes; the same command goes on where it stopped.",
        settings,
        root=True,
    )
    what = parser.add_argument_group("what")
    what.add_argument("--limit", type=_positive, metavar="N", help="try no more than N images")
    what.add_argument("--host", action="append", default=[], metavar="NAME", help="only this host; may be repeated")
    what.add_argument(
        "--retry-failed",
        nargs="?",
        const="all",
        choices=("all", "transient"),
        help="first give failed images new attempts: all of them, or only those that failed transiently too often",
    )
    what.add_argument(
        "--max-edge", type=_positive, metavar="PX", help="keep a JPEG of at most this edge instead of the original"
    )
    when = parser.add_argument_group("how long")
    when.add_argument("--until", metavar="TIME", help="start nothing after 18:30 or 2027-01-31T18:30")
    when.add_argument(
        "--for", dest="span", type=_span, metavar="SPAN", help="start nothing after 11h30m from now (or 11:30:00)"
    )
    when.add_argument(
        "--grace", type=_span, default="60s", metavar="SPAN", help="for what is in flight when the run ends early"
    )
    when.add_argument(
        "--max-idle", type=_span, default="15m", metavar="SPAN", help="end when everything left has to wait longer than this"
    )
    when.add_argument(
        "--give-up-after",
        type=_span,
        default="1d",
        metavar="SPAN",
        help="give a host up that could not be reached for so long while others answered (seven times as long where none did)",
    )
    _add_requeue(when)
    how = parser.add_argument_group("how")
    how.add_argument(
        "--processes",
        type=_positive,
        default=settings.processes,
        metavar="N",
        help="worker processes; by default one per core that the scheduler granted",
    )
    how.add_argument("--max-connections", type=_positive, default=256, metavar="N", help="of one worker process, over all hosts")
    how.add_argument("--hosts-file", type=Path, default=settings.hosts_file, metavar="FILE", help="limits per host, in TOML")
    how.add_argument("--max-attempts", type=_positive, default=4, metavar="N", help="per image, for failures that may pass")
    how.add_argument(
        "--retry-wait", type=_span, default="30s", metavar="SPAN", help="before the second attempt; doubles each time"
    )
    how.add_argument("--connect-timeout", type=_span, default="20s", metavar="SPAN", help="for a connection to stand")
    how.add_argument("--timeout", type=_span, default="10m", metavar="SPAN", help="for one request in all")
    how.add_argument("--stall-timeout", type=_span, default="30s", metavar="SPAN", help="with next to no bytes coming in")
    how.add_argument("--max-size", type=_size, default="2G", metavar="SIZE", help="of one body")
    how.add_argument(
        "--connect-to",
        action="append",
        default=[],
        metavar="HOST:PORT:HOST:PORT",
        help="as curl's option: connect elsewhere, keep the URL; may be repeated",
    )
    how.add_argument(
        "--cacert", type=Path, metavar="FILE", help="as curl's option: certificates to trust instead of the system's"
    )
    _add_placeholder_terms(how, "--placeholder-records")
    watch = parser.add_argument_group("who watches")
    watch.add_argument(
        "--notify-every", type=_positive, default=100_000, metavar="N", help="images between two milestone messages"
    )
    _add_progress(parser)


def _add_status(subparsers: Subparsers, settings: Settings) -> None:
    parser = _command(
        subparsers,
        "status",
        commands.status,
        "Show how far the collection is. At once, whatever its size; disturbs no run.",
        settings,
    )
    parser.add_argument("--json", action="store_true", help="the same for scripts")
    parser.add_argument("--tables", type=Path, metavar="DIR", help="write the tables as CSV and Parquet into this folder")


def _add_check(subparsers: Subparsers, settings: Settings) -> None:
    parser = _command(
        subparsers,
        "check",
        commands.check,
        "Hold ledger and files against each other, both ways. Changes nothing; exit code 1 on findings.",
        settings,
        root=True,
    )
    parser.add_argument("--sha256", action="store_true", help="read every file and compare its hash")
    parser.add_argument("--full", action="store_true", help="SQLite's full integrity check instead of the quick one")
    parser.add_argument("--json", action="store_true", help="the findings for scripts")
    _add_progress(parser)


def _add_placeholders(subparsers: Subparsers, settings: Settings) -> None:
    parser = _command(
        subparsers,
        "placeholders",
        commands.placeholders,
        "Find pictures that stand for images which are not there: the same bytes for many records of one host. Their files are set "
        "aside, their images failed; --allow takes that back.",
        settings,
        root=True,
    )
    parser.add_argument(
        "--allow", action="append", default=[], metavar="SHA256", help="these bytes are no placeholder; may be repeated"
    )
    _add_placeholder_terms(parser, "--records")


def _add_placeholder_terms(parser: argparse._ActionsContainer, name: str) -> None:
    parser.add_argument(
        name,
        type=_positive,
        default=MIN_RECORDS,
        metavar="N",
        help="records that get the same bytes from one host before these are taken for a placeholder",
    )
    parser.add_argument("--placeholders-file", type=Path, metavar="FILE", help="placeholders that you know, in TOML")


def _add_identify(subparsers: Subparsers, settings: Settings) -> None:
    parser = _command(
        subparsers,
        "identify",
        commands.identify,
        "Say which image a URL is about: the rule that decides, the key, the URLs to try and why. Asks no server.",
        settings,
        ledger=False,
    )
    parser.add_argument(
        "urls", nargs="*", metavar="URL", help="as it stands in an identifier cell; a cell may hold several URLs"
    )
    parser.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="count what the rules make of a file instead: a download, an archive, any table with a column of URLs, a list of URLs",
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="read no more than N rows of the file")
    parser.add_argument("--verbose", action="store_true", help="also print each row of the file")
    parser.add_argument("--json", action="store_true", help="the same for scripts")


def _add_job(subparsers: Subparsers, settings: Settings) -> None:
    parser = _command(
        subparsers,
        "job",
        commands.job,
        "Print a job script for Grid Engine or Slurm, ready to look at, edit and submit. Submits nothing.",
        settings,
        ledger=False,
    )
    parser.add_argument("scheduler", choices=[str(one) for one in Scheduler], help="Grid Engine or Slurm")
    parser.add_argument("command", choices=COMMANDS, help="what the job does")
    parser.add_argument("--time", type=_span, metavar="SPAN", help="the job's limit: 12:00:00 or 2d; else what suits the command")
    parser.add_argument("--cores", type=_positive, metavar="N", help="cores on one node; download uses a process for each")
    parser.add_argument("--name", metavar="NAME", help="of the job")
    parser.add_argument("--project", metavar="NAME", help="the project (SGE) or account (Slurm) that pays")
    parser.add_argument("--queue", metavar="NAME", help="the queue (SGE) or partition (Slurm)")
    parser.add_argument("--mail", metavar="ADDRESS", help="who is told when the job ends or fails")
    parser.add_argument("--options", metavar="TEXT", help='of the command: --options="--host a.org --limit 9"')


def _add_notify_test(subparsers: Subparsers, settings: Settings) -> None:
    _command(
        subparsers,
        "notify-test",
        commands.notify_test,
        "Send one message to Slack and say whether it arrived.",
        settings,
        ledger=False,
    )


def _add_progress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="a live view; by default on a terminal only, in a job log a line now and then",
    )


def _add_requeue(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--requeue",
        action="store_true",
        help="in a job of SGE or Slurm: while work is left and gets done, have the job queued again",
    )


def _positive(text: str) -> int:
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no number") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _span(text: str) -> float:
    return _argument(parse_span, text)


def _size(text: str) -> int:
    return _argument(parse_size, text)


def _argument(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
