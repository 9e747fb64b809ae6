"""A terminal for programs under test: a pty of a given size, and the screen that a person would see. Knows none of our programs."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.patience import PATIENCE_S

CTRL_C = b"\x03"
# A session leader without a terminal gets the first one that it opens: then Ctrl-C is the kernel's, and goes to the whole group.
WITH_TERMINAL = 'tty=$1; shift; exec "$@" <"$tty" >"$tty" 2>&1'
STEP = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b\][^\x07]*\x07|([\x00-\x1f])|([^\x00-\x1f])")


class Screen:
    """What stands on a terminal: lines that were scrolled away, and those that are seen. Knows what our programs make use of."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.gone: list[str] = []
        self._rows = [[" "] * width for _ in range(height)]
        self._row = self._column = 0
        self._rest = ""

    def feed(self, text: str) -> None:
        text = self._rest + text
        cut = text.rfind("\x1b")
        self._rest = text[cut:] if cut >= 0 and not STEP.match(text, cut) else ""
        for step in STEP.finditer(text[: len(text) - len(self._rest)]):
            numbers, letter, control, shown = step.groups()
            if letter:
                self._obey(letter, numbers)
            elif control:
                self._control(control)
            elif shown:
                self._show(shown)

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._rows]

    @property
    def text(self) -> str:
        """Also what was scrolled away."""
        return "\n".join([*self.gone, *self.lines]).rstrip()

    def _show(self, letter: str) -> None:
        if self._column == self.width:
            self._column = 0
            self._down()
        self._rows[self._row][self._column] = letter
        self._column += 1

    def _control(self, control: str) -> None:
        if control == "\r":
            self._column = 0
        elif control == "\n":
            self._down()
        elif control == "\b":
            self._column = max(0, self._column - 1)

    def _down(self) -> None:
        if self._row < self.height - 1:
            self._row += 1
            return
        self.gone.append("".join(self._rows.pop(0)).rstrip())
        self._rows.append([" "] * self.width)

    def _obey(self, letter: str, numbers: str) -> None:
        n = int(numbers) if numbers.isdigit() else 0
        match letter:
            case "A":
                self._row = max(0, self._row - (n or 1))
            case "B":
                self._row = min(self.height - 1, self._row + (n or 1))
            case "H":
                self._row = self._column = 0
            case "J" if n == 2:
                self._rows = [[" "] * self.width for _ in range(self.height)]
            case "J":
                self._rows[self._row + 1 :] = [[" "] * self.width for _ in range(self.height - self._row - 1)]
                self._rows[self._row][self._column :] = [" "] * (self.width - self._column)
            case "K" if n == 2:
                self._rows[self._row] = [" "] * self.width
            case "K":
                self._rows[self._row][self._column :] = [" "] * (self.width - self._column)


class Terminal:
    """A program on a terminal. A context manager; what still runs at its end is killed."""

    def __init__(
        self, command: Sequence[str], folder: Path, environ: dict[str, str], size: tuple[int, int] = (80, 24), term: str = "xterm"
    ) -> None:
        self.screen = Screen(*size)
        self.sent = ""  # all that the program has sent, as it is
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        given = {name: value for name, value in environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", WITH_TERMINAL, "sh", os.ttyname(theirs), *command],
            cwd=folder, env={**given, "TERM": term}, start_new_session=True,
        )  # fmt: skip
        self._theirs: int | None = theirs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        if self._theirs is not None:
            os.close(self._theirs)
        if self._ours >= 0:
            os.close(self._ours)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def close(self) -> None:
        """As a window is closed: the kernel sends SIGHUP, and nothing can be written any more."""
        if self._theirs is not None:
            os.close(self._theirs)
            self._theirs = None
        os.close(self._ours)
        self._ours = -1

    def until(self, is_there: str | Callable[[Screen], object]) -> str:
        """Waits until a text, or whatever is asked for, is on the screen; gives all that was ever on it."""
        end_at = time.monotonic() + PATIENCE_S
        while not (is_there in self.screen.text if isinstance(is_there, str) else is_there(self.screen)):
            assert time.monotonic() < end_at, self.screen.text
            assert self._read(), f"the program has ended:\n{self.screen.text}"
        return self.screen.text

    def end(self) -> int:
        """Waits for the program's end; its exit code."""
        while self.process.poll() is None:
            self._read()
        while self._read(0.0):
            pass
        return self.process.returncode

    def modes(self) -> int:
        """The terminal's local modes: whether it echoes, for example."""
        modes: int = termios.tcgetattr(self._ours)[3]
        return modes

    def _read(self, wait_s: float = 0.2) -> bool:
        """False if nothing came and the program has ended."""
        if not select.select([self._ours], [], [], wait_s)[0]:
            return self.process.poll() is None
        block = os.read(self._ours, 65536).decode("utf-8", "replace")
        self.sent += block
        self.screen.feed(block)
        return True
