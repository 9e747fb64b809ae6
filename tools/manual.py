"""The manual page d4c-images(1) as roff (man(7)), from the argument parser and .env.example. Writes nothing."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from d4c_images import __version__
from tools.command_line import Argument, Command, CommandLine

WIDTH = 72  # escapes make lines longer
ENVIRONMENT = Path(__file__).parent.parent / ".env.example"


def page(line: CommandLine, exit_codes: Sequence[tuple[str, str]]) -> str:
    """The whole page."""
    return "\n".join([*_head(line), *_commands(line), *_tail(exit_codes), ""])


def _head(line: CommandLine) -> Iterator[str]:
    yield '.\\" Made by "make docs" from the argument parser; a test compares the two.'
    yield f'.TH D4C-IMAGES 1 "" "d4c-images {__version__}" "User Commands"'
    yield from (".SH NAME", f"{_roff(line.program)} \\- a resumable bulk downloader for the images of a GBIF download")
    yield from (".SH SYNOPSIS", f".B {_roff(line.program)}", ".I COMMAND", "[\\fIOPTION\\fR .\\|.\\|.\\&]")
    yield from (".SH DESCRIPTION", _text(line.description))
    yield from (".PP", "Options override the environment, the environment overrides")
    yield from (".IR .env ,", ".I .env", "in the working directory overrides the defaults.")
    yield ".SH OPTIONS"
    for option in line.options:
        yield from _argument(option)


def _commands(line: CommandLine) -> Iterator[str]:
    yield ".SH COMMANDS"
    for command in line.commands:
        yield f".SS {_roff(' '.join([line.program, command.name, *map(_place, command.places)]))}"
        yield _text(command.description)
        for argument in command.arguments:
            if "--help" not in argument.options:
                yield from _argument(argument)
        yield from _examples(command)


def _examples(command: Command) -> Iterator[str]:
    if command.examples:
        yield from (".PP", ".nf", *(_roff(line) or "\\&" for line in command.examples.splitlines()), ".fi")


def _place(argument: Argument) -> str:
    name = f"{argument.value} ..." if argument.is_repeated else argument.value
    return f"[{name}]" if argument.is_optional else name


def _argument(argument: Argument) -> Iterator[str]:
    yield ".TP"
    if argument.options:
        value = f" \\fI{_roff(argument.value)}\\fR" if argument.value else ""
        if argument.is_optional:
            value = f" [{value.strip()}]"
        yield ", ".join(f"\\fB{_roff(name)}\\fR{value}" for name in argument.options)
    else:
        yield f"\\fI{_roff(_place(argument))}\\fR"
    default = f" (default: {argument.default})" if argument.default else ""
    yield _text(argument.help + default)


def _tail(exit_codes: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield ".SH EXIT STATUS"
    for code, meaning in exit_codes:
        yield from (".TP", f".B {code}", _text(meaning.replace("`", "")))
    yield ".SH ENVIRONMENT"
    for comment, name in re.findall(r"((?:^#.*\n)+)^(\w+)=", ENVIRONMENT.read_text(encoding="utf-8"), re.MULTILINE):
        yield from (".TP", f".B {name}", _text(" ".join(line.lstrip("# ") for line in comment.splitlines())))
    yield from (".SH FILES", ".TP", ".I .env", "Settings, one", ".IR NAME = VALUE", "a line, read in the working directory.")
    yield from (
        ".TP",
        ".I ledger.sqlite",
        "The ledger, an SQLite database.",
        ".TP",
        ".I images",
        "The folder that holds the images.",
    )
    yield from (".SH SEE ALSO", ".BR sqlite3 (1),", ".BR curl (1),", ".BR sbatch (1),", ".BR qsub (1)")


def _text(text: str) -> str:
    """A paragraph, in lines that roff fills anew."""
    return "\n".join(map(_roff, textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)))


def _roff(text: str) -> str:
    """Text as it is: no control line, no escape, hyphens that can be copied into a shell."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    text = text.replace("`", "\\(ga").replace('"', "\\(dq")
    return f"\\&{text}" if text.startswith(".") else text
