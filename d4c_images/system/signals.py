"""The signals on which a run ends in good order, noted from the first moment of the process on. Ends nothing itself.

To load a command takes up to a second. A signal of that time is noted, and the command finds it once it listens; commands that do
not listen are ended by it as by any signal. Imports nothing that takes time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# A run ends in good order on each of these, since schedulers differ in which of them they send.
DRAIN_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGHUP)

_came: list[int] = []
_before: dict[int, Any] = {}  # handlers, while signals are noted


def note() -> None:
    """Note signals from now on, but for those that whoever has started us wants to be ignored."""
    for number in DRAIN_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            _before[number] = signal.signal(number, _note)


def take() -> list[int]:
    """The signals that have come before anybody listened, for the one who listens now."""
    came = _came.copy()
    _came.clear()
    return came


def leave_to_default() -> None:
    """Note no more; the signals do what they did before, also those that have come."""
    for number, handler in _before.items():
        signal.signal(number, handler)
    _before.clear()
    while _came:
        os.kill(os.getpid(), _came.pop(0))


@contextmanager
def at_a_prompt() -> Iterator[None]:
    """While somebody is asked a question: who presses Ctrl-C wants to leave."""
    is_noting = bool(_before)
    leave_to_default()
    try:
        yield
    finally:
        if is_noting:
            note()


@contextmanager
def blocked() -> Iterator[None]:
    """They wait until the block has ended; for processes that are started in it, until these accept them."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, DRAIN_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _note(number: int, frame: object) -> None:
    _came.append(number)
