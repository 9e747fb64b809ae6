"""The signals that drain a run, recorded from the process's first moment on. Ends nothing itself.

Importing a command takes up to a second. A signal during that time is recorded, and the command finds it once it listens; commands
that do not listen are ended by it as by any signal. Imports nothing slow.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Each of these drains a run, since schedulers differ in which of them they send.
DRAIN_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGHUP)

_came: list[int] = []
_before: dict[int, Any] = {}  # handlers, while signals are recorded


def note() -> None:
    """Record signals from now on, except those that our parent process has set to be ignored."""
    for number in DRAIN_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            _before[number] = signal.signal(number, _note)


def take() -> list[int]:
    """The signals that came before anybody listened."""
    came = _came.copy()
    _came.clear()
    return came


def leave_to_default() -> None:
    """Stop recording; the signals have their previous effect, including those that have come."""
    for number, handler in _before.items():
        signal.signal(number, handler)
    _before.clear()
    while _came:
        os.kill(os.getpid(), _came.pop(0))


@contextmanager
def at_a_prompt() -> Iterator[None]:
    """During a prompt: Ctrl-C means to leave."""
    is_noting = bool(_before)
    leave_to_default()
    try:
        yield
    finally:
        if is_noting:
            note()


@contextmanager
def blocked() -> Iterator[None]:
    """Block signals until the block ends; for processes that are started in it, until they unblock them."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, DRAIN_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _note(number: int, frame: object) -> None:
    _came.append(number)
