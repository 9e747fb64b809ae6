"""Child processes: how they are started, and how they set themselves up. Knows nothing of what they do."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys

from d4c_images.system import signals, terminal
from d4c_images.system.signals import DRAIN_SIGNALS

PR_SET_PDEATHSIG = 1

WITH_OUR_PATH = """
import pickle, sys
try:
    sys.path = pickle.load(sys.stdin.buffer)
except EOFError:
    sys.exit()  # the parent is gone
"""
"""The start of a child's code: it takes over its parent's module search path, which is sent first."""


def start(arguments: list[str], *fds: int) -> subprocess.Popen[bytes]:
    """Start a Python process with a pipe to its standard input, and with these file descriptors.

    Not `multiprocessing.Process`, which starts one more process as a tracker, and imports the steward's program into each child.
    Signals are blocked until the child is ready to ignore them.
    """
    with signals.blocked():
        return subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, pass_fds=fds)


def settle_in() -> None:
    """In the child: leave signals to the parent, exit with the parent, and print whatever can be printed."""
    terminal.show_what_can_be_shown()
    for number in DRAIN_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, DRAIN_SIGNALS)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # Linux; see prctl(2)


def ending(code: int) -> str:
    """How a process ended, in words."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
