"""The command line as data, read from the argument parser: what the manual page and the completions of shells are made from."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from enum import Enum

from d4c_images.cli import build_parser
from d4c_images.commands.arguments import shows_default
from d4c_images.settings import Settings


class Takes(Enum):
    """What a shell can offer after an option, or as an argument."""

    NOTHING = "nothing"
    FILE = "file"
    FOLDER = "folder"
    WORD = "word"  # one of some
    TEXT = "text"  # nobody knows


@dataclass(frozen=True, slots=True)
class Argument:
    """An option, or an argument that stands by its place (`options` is empty)."""

    options: tuple[str, ...]
    value: str  # as the help names it; empty if there is none
    takes: Takes
    words: tuple[str, ...]
    help: str
    default: str
    is_optional: bool  # the value
    is_repeated: bool


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    summary: str
    description: str
    examples: str  # what the help shows below the options
    arguments: tuple[Argument, ...]

    @property
    def options(self) -> tuple[Argument, ...]:
        return tuple(one for one in self.arguments if one.options)

    @property
    def places(self) -> tuple[Argument, ...]:
        return tuple(one for one in self.arguments if not one.options)


@dataclass(frozen=True, slots=True)
class CommandLine:
    program: str
    description: str
    options: tuple[Argument, ...]
    commands: tuple[Command, ...]


def command_line() -> CommandLine:
    """The one of the program as it is, with no settings but the defaults."""
    parser = build_parser(Settings())
    subparsers = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return CommandLine(
        parser.prog,
        parser.description or "",
        tuple(_argument(action) for action in parser._actions if action is not subparsers),
        tuple(_command(name, one) for name, one in subparsers.choices.items()),
    )


def _command(name: str, parser: argparse.ArgumentParser) -> Command:
    description = parser.description or ""
    summary = description.split(". ")[0].removesuffix(".")
    return Command(name, summary, description, parser.epilog or "", tuple(map(_argument, parser._actions)))


def _argument(action: argparse.Action) -> Argument:
    words = tuple(map(str, action.choices or ()))
    takes = _takes(action, words)
    value = action.metavar or ("{" + ",".join(words) + "}" if words else action.dest)
    return Argument(
        tuple(action.option_strings),
        "" if takes is Takes.NOTHING else str(value),
        takes,
        words,
        _help(action),
        str(action.default) if shows_default(action) else "",
        action.nargs in ("?", "*"),
        action.nargs in ("*", "+") or isinstance(action, argparse._AppendAction),
    )


def _takes(action: argparse.Action, words: tuple[str, ...]) -> Takes:
    if action.nargs == 0:
        return Takes.NOTHING
    if words:
        return Takes.WORD
    names = {"FILE": Takes.FILE, "SOURCE": Takes.FILE, "DIR": Takes.FOLDER}
    return names.get(str(action.metavar), Takes.TEXT)


def _help(action: argparse.Action) -> str:
    """As argparse shows it: a percent sign stands for a value of the action."""
    return (action.help or "") % {**vars(action), "prog": "d4c-images"}
