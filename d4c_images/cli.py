"""The command line: its commands, their order, exit codes. A command's arguments and what it does are in `commands`."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence

from d4c_images import __version__
from d4c_images.commands import (
    backup,
    check,
    download,
    export,
    hosts,
    identify,
    init,
    job,
    migrate,
    notify_test,
    placeholders,
    preflight,
    restore,
    runs,
    status,
    store,
    unpack,
    work,
)
from d4c_images.commands.usage import Parser
from d4c_images.errors import D4CError, exit_code_of, printable, words_of
from d4c_images.settings import Settings, load_settings
from d4c_images.system import signals, terminal

EPILOG = """exit codes:
  0   nothing left to do (with --host or --limit: of what was asked for)
  75  work is left: run the same command again
  2   the command line, a setting or a file named there is wrong
  1   any other error

Options override environment variables, which override .env, which overrides the defaults.
'd4c-images COMMAND --help' shows the options of a command, with examples."""


COMMANDS = (
    init, preflight, download, work, status, runs, hosts, check, placeholders, unpack, store, export, backup, restore, migrate,
    identify, job, notify_test,
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors become one line on standard error."""
    terminal.show_what_can_be_shown()
    debug = "--debug" in (sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(argv)
        finally:
            terminal.flush()
    except BrokenPipeError as error:
        terminal.discard_output()  # at exit, Python would complain about unwritable output
        return exit_code_of(error)
    except KeyboardInterrupt as error:
        return _said(error, debug=debug)
    except Exception as error:
        return _said(error, debug=debug)


def _said(error: BaseException, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    print(f"d4c-images: {_in_one_line(error)}", file=sys.stderr)
    return exit_code_of(error)


def _run(argv: Sequence[str] | None) -> int:
    settings = load_settings()
    args = build_parser(settings).parse_args(argv)
    if args.drains:
        terminal.outlive_readers()
    else:
        signals.leave_to_default()
    command: Callable[[argparse.Namespace, Settings], int] = args.run
    return command(args, settings)


def _in_one_line(error: BaseException) -> str:
    match error:
        case D4CError():
            return str(error)
        case KeyboardInterrupt():
            return "interrupted; nothing committed is lost"
        case MemoryError():
            return "this process may take no more memory"
        case OSError():
            return words_of(error)
        case _:
            return f"internal error: {type(error).__name__}: {printable(str(error))} (--debug shows where)"


def build_parser(settings: Settings) -> argparse.ArgumentParser:
    parser = Parser(
        prog="d4c-images",
        description="From a GBIF download to a complete, verified, citable image collection.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"d4c-images {__version__}")
    parser.add_argument("--debug", action="store_true", help="show a traceback on errors")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(subparsers, settings)
    return parser


if __name__ == "__main__":
    sys.exit(main())
