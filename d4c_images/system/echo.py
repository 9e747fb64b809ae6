"""Hides keys pressed while a program draws on a terminal. Reads no key, and draws nothing."""

from __future__ import annotations

import os
import termios
from typing import IO


def has_our_keys(stream: IO[str] | None) -> bool:
    """Whether this is our terminal, and what is pressed there is for this process: it is not in the background."""
    try:
        return stream is not None and stream.isatty() and os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except (OSError, ValueError):  # another session's terminal, or a stream that is closed
        return False


class QuietKeys:
    """Active between `start` and `stop`. Otherwise Enter or Ctrl-C would move the view by a line and leave a copy behind.

    Signals sent by keys are not affected. After a killed program the shell restores its terminal itself.
    """

    def __init__(self, out: IO[str]) -> None:
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
            if not has_our_keys(self._out):
                return False
            fd = self._out.fileno()
            modes = termios.tcgetattr(fd)
            if bool(modes[3] & termios.ECHO) == on:
                return False
            modes[3] ^= termios.ECHO
            termios.tcsetattr(fd, termios.TCSANOW, modes)
        except (OSError, ValueError, termios.error):  # not a terminal, or no longer one
            return False
        return True
