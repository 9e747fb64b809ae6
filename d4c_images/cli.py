"""The command line: its commands, their order, exit codes. A command's arguments and what it does are in `commands`."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from d4c_images import __version__
from d4c_images.commands import (
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
    runs,
    status,
    unpack,
    work,
)
from d4c_images.errors import D4CError, printable
from d4c_images.settings import Settings, load_settings
from d4c_images.system import signals, terminal

EPILOG = """exit codes:
  0   nothing left to do (with --host or --limit: of what was asked for)
  75  work is left: run the same command again
  2   the command line, a setting or a file named there is wrong
  1   any other error

Options override environment variables, which override .env, which overrides the defaults.
'd4c-images COMMAND --help' shows the options of a command, with examples."""


COMMANDS = (init, download, work, status, runs, hosts, check, placeholders, unpack, export, migrate, identify, job, notify_test)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors become one line on standard error."""
    terminal.show_what_can_be_shown()
    debug = "--debug" in (sys.argv[1:] if argv is None else argv)
    try:
        settings = load_settings()
        args = build_parser(settings).parse_args(argv)
        if not args.drains:
            signals.leave_to_default()
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
    except (OSError, MemoryError) as error:  # of the machine, at a place where nobody has thought of it
        if debug:
            traceback.print_exc()
        print(f"d4c-images: {_said_by_the_machine(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        if debug:
            raise
        print(f"d4c-images: internal error: {type(error).__name__}: {printable(str(error))} (--debug shows where)", file=sys.stderr)
        return 1


def _said_by_the_machine(error: OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return "this process may take no more memory"
    names = [printable(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return ": ".join([*names, error.strerror or str(error)])


def build_parser(settings: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
