"""A worker process of `ProcessRunner`: takes orders from a pipe, sends reports back. Knows no runner, and nothing of a run.

It imports as little as possible, since the first request of a run waits for that.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

from d4c_images.errors import D4CError, words_of
from d4c_images.model import Feed, Report
from d4c_images.runners.inbox import MergedOrders
from d4c_images.system import child_process

Work = Callable[[Feed], Iterator[Report]]
"""The work of a worker process: built from a picklable setup, fed with orders, yields reports until it gets the order to close."""


def serve() -> None:
    """The whole life of the process."""
    child_process.settle_in()
    pipe = Connection(int(sys.argv[1]))
    try:
        steward_pid, setup = pickle.load(sys.stdin.buffer)
    except EOFError:
        return  # the steward is gone
    if os.getppid() == steward_pid:
        _work(pipe, setup)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # everything is closed: Python's teardown would take as long as an answer


def _work(pipe: Connection, setup: Callable[[], Work]) -> None:
    try:
        for report in setup()(MergedOrders(lambda wait_s: pipe.recv() if pipe.poll(max(0.0, wait_s)) else None)):
            pipe.send(report)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the steward is gone
    except D4CError as error:
        pipe.send(error)
    except OSError as error:  # the machine's fault, not the program's
        pipe.send(D4CError(words_of(error)))
    except BaseException as error:
        traceback.print_exc()
        pipe.send(D4CError(f"a worker failed: {type(error).__name__}: {error}"))
