"""Keys that are pressed while a program draws on a terminal: they leave no mark there. Reads no key, and draws nothing."""

from __future__ import annotations

import os
import termios
from typing import TextIO


class QuietKeys:
    """Between `start` and `stop`. What is shown moves by a line if somebody presses Enter or Ctrl-C, and leaves a copy behind.

    Signals that keys send are not touched. A shell sets its terminal in order itself after a program that was killed.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._had_echo = False

    def start(self) -> None:
        self._had_echo = self._set(on=False)

    def stop(self) -> None:
        if self._had_echo:
            self._set(on=True)
            self._had_echo = False

    def _set(self, *, on: bool) -> bool:
        """Says whether anything was changed. From the background nothing is: it would stop us (tcsetattr(3))."""
        try:
            fd = self._out.fileno()
            if not self._out.isatty() or os.tcgetpgrp(fd) != os.getpgrp():
                return False
            modes = termios.tcgetattr(fd)
            if bool(modes[3] & termios.ECHO) == on:
                return False
            modes[3] ^= termios.ECHO
            termios.tcsetattr(fd, termios.TCSANOW, modes)
        except (OSError, ValueError, termios.error):  # no terminal, or none any more
            return False
        return True
