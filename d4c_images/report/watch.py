"""Shows a report repeatedly, until Ctrl-C: in place on a terminal, one below the other in a pipe. Reads no ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console, Group
from rich.text import Text

from d4c_images.errors import LedgerError
from d4c_images.report.layout import put

Lines = Callable[[], Sequence[Text]]


def watch(report: Lines, console: Console, every_s: float) -> None:
    """The last report stays on the terminal."""
    lines: Sequence[Text] = ()
    is_in_place = console.is_terminal and not console.is_dumb_terminal
    try:
        if not is_in_place:
            for lines in _reports(report):
                put([*lines, Text()], console)
                time.sleep(every_s)
        with console.screen() as screen:
            for lines in _reports(report):
                screen.update(Group(*lines[: console.height]))
                time.sleep(every_s)
    except KeyboardInterrupt:
        put(lines if is_in_place else (), console)


def _reports(report: Lines) -> Iterator[Sequence[Text]]:
    """A ledger that cannot be read for a moment does not end it; one that cannot be read at first does."""
    last = report()
    yield last
    while True:
        try:
            last = report()
        except LedgerError as error:
            yield [*last, Text(f"refresh failed: {error}", "red")]
        else:
            yield last
