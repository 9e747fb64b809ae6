"""Checks of a node as lines: grade, subject, findings and advice. Checks nothing.

On a terminal they are folded to its width; in a log a check is one line, so that it can be searched.
"""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text

from d4c_images.policy.preflight import Check, Grade
from d4c_images.system.terminal import clean

GRADE_WIDTH, CHECK_WIDTH = 13, 13
ARROW = "-> "  # before advice
LEAST_WIDTH = 20  # of the findings, on any terminal
STYLES = {Grade.OK: "green", Grade.WARNING: "yellow", Grade.FAILED: "red", Grade.NOT_CHECKED: "dim"}


def show_check(check: Check, console: Console) -> None:
    if console.is_terminal:
        for line in _folded(check, console.width):
            console.print(line, no_wrap=True, crop=True)
    else:
        print(one_line(check), file=console.file, flush=True)


def one_line(check: Check) -> str:
    return f"{check.grade:<{GRADE_WIDTH}}{check.name:<{CHECK_WIDTH}}{clean(sentence(check))}"


def sentence(check: Check) -> str:
    """Findings and advice."""
    return f"{check.found}; {check.advice}" if check.advice else check.found


def _folded(check: Check, width: int) -> list[Text]:
    indent = GRADE_WIDTH + CHECK_WIDTH
    room = max(LEAST_WIDTH, width - indent)
    lines = textwrap.wrap(clean(check.found), room, break_on_hyphens=False) or [""]
    lines += textwrap.wrap(clean(check.advice), room, break_on_hyphens=False, initial_indent=ARROW, subsequent_indent="   ")
    head = Text.assemble((f"{check.grade:<{GRADE_WIDTH}}", STYLES[check.grade]), f"{check.name:<{CHECK_WIDTH}}")
    return [head + Text(lines[0]), *(Text(" " * indent + line) for line in lines[1:])]
