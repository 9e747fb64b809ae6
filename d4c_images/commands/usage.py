"""The command line parser: a usage error is two lines, and suggests the word that was probably meant. Runs no command."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from d4c_images.errors import EXIT_USAGE, UsageError, printable

HOST_LIKENESS = 0.8  # many host names have common endings


class Parser(argparse.ArgumentParser):
    """argparse's own, except for errors: without the whole usage, and always in the name of the command."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: error: {printable(' '.join(message.split()))}\ntry '{self.prog} --help'\n")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Raise for leftover arguments: otherwise the parent parser would, which does not know this command's options."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            unknown = next((word for word in rest if word.startswith("-")), rest[0])
            self.error(self._unknown(unknown.partition("=")[0] if unknown.startswith("-") else unknown))
        return found, rest

    def _print_message(self, message: str, file: Any = None) -> None:
        """Unlike argparse's version, not silent if the reader of the output is gone."""
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
    return UsageError(f"no host '{name}' in the ledger{did_you_mean(name, known, HOST_LIKENESS)}")


def did_you_mean(word: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """`; did you mean 'download'?`, or nothing if no known word is similar."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=likeness)
    return f"; did you mean '{close[0]}'?" if close else ""
