"""Runs workers as processes of this node, each with a pipe to the steward. Restarts those that die; decides nothing else."""

from __future__ import annotations

import itertools
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait

from d4c_images.errors import D4CError
from d4c_images.model import Orders, Report
from d4c_images.runners.pipe_worker import Work
from d4c_images.steward.terms import Died, Event, Joined, Reported
from d4c_images.system import child_process

MAX_DEATHS = 10  # in a row, without a report in between
CLOSE_S = 5.0  # for all workers to end before they are killed
WORKER_PROGRAM = f"""{child_process.WITH_OUR_PATH}
from d4c_images.runners.pipe_worker import serve
serve()
"""


@dataclass(slots=True)
class _Seat:
    process: subprocess.Popen[bytes]
    pipe: Connection
    outbox: queue.SimpleQueue[Orders | None]
    postman: threading.Thread
    is_closed: bool = False  # told to end: its exit is not a death


class ProcessRunner:
    """`n_workers` processes that each run `setup()(feed)`."""

    def __init__(self, n_workers: int, setup: Callable[[], Work]) -> None:
        """`setup` runs in each worker process; it must be picklable (a module-level function, or a `functools.partial` of one)."""
        self._setup = setup
        self._deaths = 0
        self._numbers = itertools.count()
        self._seats: dict[int, _Seat] = {}
        self._new = [self._start() for _ in range(n_workers)]

    def send(self, worker: int, orders: Orders) -> None:
        seat = self._seats.get(worker)
        if seat is not None:
            seat.is_closed |= orders.closed
            seat.outbox.put(orders)

    def receive(self, timeout_s: float) -> list[Event]:
        pipes = {seat.pipe: number for number, seat in self._seats.items()}
        ready = wait(list(pipes), 0.0 if self._new else timeout_s)
        events: list[Event] = [Joined(number) for number in self._new]
        self._new = []
        for pipe in ready:
            events += self._read(pipes[pipe])  # type: ignore[index]
        return events

    def kill(self, worker: int) -> None:
        self._seats[worker].process.kill()

    def close(self) -> None:
        for number in self._seats:
            self.send(number, Orders(drain=True, closed=True))
        killer = threading.Timer(CLOSE_S, self._kill_all)
        killer.start()
        for seat in self._seats.values():
            seat.process.wait()  # without a timeout: with one, `subprocess` polls
            _give_up(seat)
        killer.cancel()

    def _kill_all(self) -> None:
        for seat in self._seats.values():
            seat.process.kill()

    def _read(self, number: int) -> Iterator[Event]:
        """All messages of one worker."""
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
            del self._seats[number]
            why = _end(seat)
            if not seat.is_closed:
                yield Died(number, why)
                yield Joined(self._replace(why))

    def _replace(self, why: str) -> int:
        self._deaths += 1
        if self._deaths > MAX_DEATHS:
            raise D4CError(f"worker processes keep dying ({why}); see the job log")
        return self._start()

    def _start(self) -> int:
        number = next(self._numbers)
        ours, theirs = Pipe()
        process = child_process.start(["-c", WORKER_PROGRAM, str(theirs.fileno())], theirs.fileno())
        theirs.close()
        assert process.stdin is not None
        try:
            with process.stdin as stdin:
                pickle.dump(sys.path, stdin)
                pickle.dump((os.getpid(), self._setup), stdin)
        except BrokenPipeError:
            pass  # it has died already; `receive` will notice
        outbox: queue.SimpleQueue[Orders | None] = queue.SimpleQueue()
        postman = threading.Thread(target=_carry, args=(outbox, ours), name=f"orders to worker {number}", daemon=True)
        postman.start()
        self._seats[number] = _Seat(process, ours, outbox, postman)
        return number


def _end(seat: _Seat) -> str:
    """Wait for a process that has closed its pipe; returns how it ended."""
    try:
        code = seat.process.wait(timeout=10)
    except subprocess.TimeoutExpired:  # it has closed its pipe, but is alive
        seat.process.kill()
        code = seat.process.wait()
    _give_up(seat)
    return child_process.ending(code)


def _carry(outbox: queue.SimpleQueue[Orders | None], pipe: Connection) -> None:
    """Send from a thread: a pipe holds some 200 KB, less than two long turns, and two blocked ends would be a deadlock."""
    while (orders := outbox.get()) is not None:
        try:
            pipe.send(orders)
        except OSError:
            return  # it has died; `receive` will notice


def _give_up(seat: _Seat) -> None:
    """Close the pipe of a process that has ended."""
    seat.outbox.put(None)
    seat.postman.join()
    seat.pipe.close()
