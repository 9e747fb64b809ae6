"""The parser of the command line: a usage error is two lines, and names the word that was probably meant. Runs no command."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from d4c_images.errors import EXIT_USAGE, UsageError, printable

HOST_LIKENESS = 0.8  # many names of hosts have their ends in common


class Parser(argparse.ArgumentParser):
    """argparse's own, but for what it says of errors: not the whole usage, and all in the name of the command."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: error: {printable(' '.join(message.split()))}\ntry '{self.prog} --help'\n")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Raises for what is left over: else the parser above would, which does not know this command's options."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            unknown = next((word for word in rest if word.startswith("-")), rest[0])
            self.error(self._unknown(unknown.partition("=")[0] if unknown.startswith("-") else unknown))
        return found, rest

    def _print_message(self, message: str, file: Any = None) -> None:
        """Not as argparse does it, which passes over a reader that has gone."""
        print(message, end="", file=file or sys.stderr)

    def _unknown(self, word: str) -> str:
        if not word.startswith("-"):
            return f"unexpected argument '{word}'"
        return f"unknown option '{word}'{did_you_mean(word, self._option_string_actions)}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        meant = did_you_mean(str(value), known) or f": choose from {', '.join(known)}"
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"unknown command '{value}'{meant}")
        raise argparse.ArgumentError(action, f"unknown value '{value}'{meant}")


def unknown_host(name: str, known: Iterable[str]) -> UsageError:
    return UsageError(f"the ledger knows no host '{name}'{did_you_mean(name, known, HOST_LIKENESS)}")


def did_you_mean(word: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """`; did you mean 'download'?`, or nothing if no known word is like it."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=likeness)
    return f"; did you mean '{close[0]}'?" if close else ""
