"""Runs workers as processes of this node, each with a pipe to the steward. Restarts those that die; decides nothing else."""

from __future__ import annotations

import ctypes
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait

from d4c_images.errors import D4CError
from d4c_images.model import Orders, Report, Turn
from d4c_images.run import DRAIN_SIGNALS, Died, Event, Reported

Feed = Callable[[float], Orders]
Work = Callable[[Feed], Iterator[Report]]
"""What a worker process does: built from a picklable setup, fed with orders, yields reports until it is told to close."""

MAX_DEATHS = 10  # in a row, without a single report between them
CLOSE_S = 5.0  # for all workers to end, before they are killed
PR_SET_PDEATHSIG = 1
CHILD = """
import pickle, sys
sys.path = pickle.load(sys.stdin.buffer)
from d4c_images.runners.processes import serve
serve()
"""


@dataclass(slots=True)
class _Seat:
    process: subprocess.Popen[bytes]
    pipe: Connection
    outbox: queue.SimpleQueue[Orders | None]
    postman: threading.Thread
    is_closed: bool = False  # told to end: that it ends is no death
    has_ended: bool = False


class ProcessRunner:
    """`n_workers` processes that each run `setup()(feed)`."""

    def __init__(self, n_workers: int, setup: Callable[[], Work]) -> None:
        """`setup` is called in each worker process; it must pickle (a module-level function or a `functools.partial` of one)."""
        self._setup = setup
        self._deaths = 0
        self._seats = [self._start(number) for number in range(n_workers)]

    @property
    def n_workers(self) -> int:
        return len(self._seats)

    def send(self, worker: int, orders: Orders) -> None:
        seat = self._seats[worker]
        seat.is_closed |= orders.closed
        seat.outbox.put(orders)

    def receive(self, timeout_s: float) -> list[Event]:
        pipes = {seat.pipe: number for number, seat in enumerate(self._seats) if not seat.has_ended}
        return [event for pipe in wait(list(pipes), timeout_s) for event in self._read(pipes[pipe])]  # type: ignore[index]

    def kill(self, worker: int) -> None:
        self._seats[worker].process.kill()

    def close(self) -> None:
        for number in range(self.n_workers):
            self.send(number, Orders(drain=True, closed=True))
        end_at = time.monotonic() + CLOSE_S
        for seat in self._seats:
            try:
                seat.process.wait(timeout=max(0.0, end_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                seat.process.kill()
                seat.process.wait()
            _give_up(seat)

    def _read(self, number: int) -> Iterator[Event]:
        """Everything that one worker has said."""
        seat = self._seats[number]
        try:
            while seat.pipe.poll():
                message = seat.pipe.recv()
                if isinstance(message, Report):
                    self._deaths = 0
                    yield Reported(number, message)
                else:
                    raise message
        except (EOFError, OSError):
            if seat.is_closed:
                seat.has_ended = True
            else:
                yield Died(number, self._replace(number))

    def _replace(self, number: int) -> str:
        seat = self._seats[number]
        try:
            code = seat.process.wait(timeout=10)
        except subprocess.TimeoutExpired:  # it has closed its pipe, but lives
            seat.process.kill()
            code = seat.process.wait()
        why = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        _give_up(seat)
        self._deaths += 1
        if self._deaths > MAX_DEATHS:
            raise D4CError(f"worker processes die again and again ({why}); see the job log")
        self._seats[number] = self._start(number)
        return why

    def _start(self, number: int) -> _Seat:
        ours, theirs = Pipe()
        process = _start_child(theirs.fileno())
        theirs.close()
        assert process.stdin is not None
        try:
            with process.stdin as stdin:
                pickle.dump(sys.path, stdin)
                pickle.dump((os.getpid(), self._setup), stdin)
        except BrokenPipeError:
            pass  # it has died already; `receive` will say so
        outbox: queue.SimpleQueue[Orders | None] = queue.SimpleQueue()
        postman = threading.Thread(target=_carry, args=(outbox, ours), name=f"orders to worker {number}", daemon=True)
        postman.start()
        return _Seat(process, ours, outbox, postman)


def _start_child(fd: int) -> subprocess.Popen[bytes]:
    """Not `multiprocessing.Process`: that starts one more process to keep watch, and loads the steward's program into each.

    Signals wait until the child is ready to pass over them.
    """
    old = signal.pthread_sigmask(signal.SIG_BLOCK, DRAIN_SIGNALS)
    try:
        return subprocess.Popen([sys.executable, "-c", CHILD, str(fd)], stdin=subprocess.PIPE, pass_fds=[fd])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _carry(outbox: queue.SimpleQueue[Orders | None], pipe: Connection) -> None:
    """A pipe holds some 200 KB, less than two long turns: the steward must not wait for a worker that waits for the steward."""
    while (orders := outbox.get()) is not None:
        try:
            pipe.send(orders)
        except OSError:
            return  # it has died; `receive` will say so


def _give_up(seat: _Seat) -> None:
    """Close the pipe of a process that has ended."""
    seat.outbox.put(None)
    seat.postman.join()
    seat.pipe.close()


def serve() -> None:
    """A worker process: signals are the steward's business, and it does not outlive the steward."""
    for number in DRAIN_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, DRAIN_SIGNALS)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # Linux; see prctl(2)
    pipe = Connection(int(sys.argv[1]))
    try:
        steward_pid, setup = pickle.load(sys.stdin.buffer)
    except EOFError:
        return  # the steward is gone
    if os.getppid() == steward_pid:
        _work(pipe, setup)


def _work(pipe: Connection, setup: Callable[[], Work]) -> None:
    try:
        for report in setup()(_PipeFeed(pipe)):
            pipe.send(report)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the steward is gone
    except D4CError as error:
        pipe.send(error)
    except BaseException as error:
        traceback.print_exc()
        pipe.send(D4CError(f"a worker failed: {type(error).__name__}: {error}"))


class _PipeFeed:
    """Orders from the pipe, merged."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._drain = self._closed = False

    def __call__(self, wait_s: float) -> Orders:
        end_at = time.monotonic() + wait_s
        turns: list[Turn] = []
        while self._pipe.poll(max(0.0, end_at - time.monotonic())):
            orders: Orders = self._pipe.recv()
            turns += orders.turns
            self._drain |= orders.drain
            self._closed |= orders.closed
            end_at = 0.0
        return Orders(tuple(turns), self._drain, self._closed)
