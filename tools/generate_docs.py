"""Writes the pages that are made from the code: docs/reference/cli.md from the argument parser. `make docs` runs it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from d4c_images.cli import build_parser
from d4c_images.settings import Settings

PAGE = Path(__file__).parent.parent / "docs/reference/cli.md"
HEAD = """# The command line

<!-- Made by `make docs` from d4c_images/cli.py; a test compares the two. -->

`d4c-images COMMAND`, the same as `python -m d4c_images COMMAND`. Options beat the environment, the
environment beats `.env`, `.env` beats the defaults ([settings](settings.md)).

| exit code | means |
|---|---|
| 0 | nothing left to do |
| 75 | work is left: run the same command again |
| 2 | the command line, a setting or a file named there is wrong |
| 1 | anything else; one line says what, `--debug` shows where |
"""


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Name and parser of each command."""
    action = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def page() -> str:
    """The whole of docs/reference/cli.md."""
    parts = [HEAD]
    for name, parser in commands(build_parser(Settings())).items():
        parts.append(f"\n## {name}\n\n{parser.description}\n")
        for group in parser._action_groups:
            rows = [_row(action) for action in group._group_actions if action.dest != "help"]
            if rows:
                title = {"positional arguments": "argument", "options": "option"}.get(group.title or "", group.title)
                parts.append(f"\n| {title} | |\n|---|---|\n" + "".join(rows))
    return "".join(parts)


def _row(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in _names(action))
    return f"| {names} | {' '.join(_text(action))} |\n"


def _names(action: argparse.Action) -> Iterator[str]:
    if not action.option_strings:
        yield str(action.metavar or action.dest)
    for option in action.option_strings:
        value = action.metavar or (",".join(map(str, action.choices)) if action.choices else None)
        if action.nargs == 0 or value is None:
            yield option
        else:
            yield f"{option} [{value}]" if action.nargs == "?" else f"{option} {value}"


def _text(action: argparse.Action) -> Iterator[str]:
    yield (action.help or "").replace("|", "\\|")
    has_default = action.default not in (None, False, [], argparse.SUPPRESS)
    if has_default and "default" not in (action.help or ""):
        yield f"(default: `{action.default}`)"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
