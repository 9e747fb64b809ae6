"""Hides keys pressed while a program draws on a terminal. Reads no key, and draws nothing."""

from __future__ import annotations

import os
import termios
from typing import TextIO


class QuietKeys:
    """Active between `start` and `stop`. Otherwise Enter or Ctrl-C would move the view by a line and leave a copy behind.

    Signals sent by keys are not affected. After a killed program the shell restores its terminal itself.
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
        """Returns whether anything was changed. Does nothing in the background, where it would stop us (tcsetattr(3))."""
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
