"""Carries turns to workers on other nodes: Dask's scheduler in a thread, with an encrypted stream to each worker.

Dask only knows which workers exist; it is given no task. If Dask loses contact with a task it runs it again elsewhere, while the
first copy may go on: that must not happen to a host's turn, so the steward alone decides about it.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
import queue
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.security import Security

from d4c_images import __version__
from d4c_images.durations import counted
from d4c_images.errors import D4CError, causes_of, words_of
from d4c_images.model import Orders, Report
from d4c_images.runners import dask_config, messages
from d4c_images.runners.pipe_worker import Work
from d4c_images.runners.rendezvous import Invitation, MeetingPlace
from d4c_images.steward.terms import Died, Event, Joined, Leaving, Reported
from d4c_images.system import clocks

CLOSE_S = 5.0  # for all workers to end before their connections are cut


@dataclass(slots=True)
class _Guest:
    """A worker process on some node."""

    number: int
    heard_at: float  # by the monotonic clock
    node: str | None = None  # None if not ready yet
    clock_ahead_s: float = 0.0
    is_closed: bool = False  # told to end, or has reported everything: its exit is not a death


class DaskRunner:
    """Accepts every worker that comes to the rendezvous with its key; their number may change during the run."""

    def __init__(
        self,
        place: MeetingPlace,
        ledger: str,
        setup: Callable[[], Work],
        say: Callable[[str], None],
        interface: str | None = None,
    ) -> None:
        """`setup` is picklable. `ledger` names the collection. `interface` is the network interface that workers can reach.

        Raises `UsageError` if the rendezvous belongs to another collection, `D4CError` if no port can be opened.
        """
        self._place, self._say = place, say
        self._run = secrets.token_hex(8)
        self._setup = messages.Setup(setup, dask_config.silence_s())
        self._events: queue.SimpleQueue[Event | D4CError] = queue.SimpleQueue()
        self._guests: dict[str, _Guest] = {}  # by Dask address; only the loop's thread touches it
        self._numbers = itertools.count()
        self._told = self._nodes = (0, 0)  # workers, nodes: as last reported, and now
        security = Security.temporary()
        started: Future[tuple[asyncio.AbstractEventLoop, str]] = Future()
        self._thread = threading.Thread(target=self._keep, args=(security, interface, started), name="dask scheduler", daemon=True)
        self._thread.start()
        self._loop, address = started.result()
        try:
            place.invite(
                Invitation(self._run, ledger, __version__, address, security.tls_scheduler_cert, security.tls_scheduler_key)
            )
        except D4CError:
            self.close()
            raise
        say(f"waiting for workers: d4c-images work --cluster {place.folder}")

    def send(self, worker: int, orders: Orders) -> None:
        self._loop.call_soon_threadsafe(self._send, worker, orders)

    def receive(self, timeout_s: float) -> list[Event]:
        events: list[Event] = []
        try:
            event = self._events.get(timeout=timeout_s) if timeout_s > 0 else self._events.get_nowait()
            while True:
                if isinstance(event, D4CError):
                    raise event
                events.append(event)
                event = self._events.get_nowait()
        except queue.Empty:
            pass
        if self._nodes != self._told:
            self._told = self._nodes
            n_workers, n_nodes = self._told
            self._say(f"workers: {n_workers:,} on {counted(n_nodes, 'node')}")
        return events

    def kill(self, worker: int) -> None:
        asyncio.run_coroutine_threadsafe(self._kill(worker), self._loop)

    def close(self) -> None:
        self._place.withdraw(self._run)
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    # in the thread of the loop

    def _keep(self, security: Security, interface: str | None, started: Future[tuple[asyncio.AbstractEventLoop, str]]) -> None:
        """Without the loop nobody would hear from workers any more: an error in it ends the run."""
        try:
            asyncio.run(self._serve(security, interface, started))
        except BaseException as error:
            failure = D4CError(f"cannot serve connections to workers: {_reason(error)}")
            if started.done():
                self._events.put(failure)
            else:
                started.set_exception(failure)

    async def _serve(
        self, security: Security, interface: str | None, started: Future[tuple[asyncio.AbstractEventLoop, str]]
    ) -> None:
        self._closing = asyncio.Event()
        self._scheduler = _Scheduler(interface=interface, security=security)
        self._scheduler.stream_handlers[messages.OP] = self._hear
        self._scheduler.add_plugin(_Door(self))
        await self._scheduler
        closing = asyncio.ensure_future(self._closing.wait())
        started.set_result((asyncio.get_running_loop(), self._scheduler.address))
        while not self._closing.is_set():
            await self._give_up_silent()
            await asyncio.wait([closing], timeout=self._setup.silence_s / messages.BEATS)
        end_at = time.monotonic() + CLOSE_S
        for guest in list(self._guests.values()):
            self._send(guest.number, Orders(drain=True, closed=True))
        while self._guests and time.monotonic() < end_at:
            await asyncio.sleep(0.05)
        await self._scheduler.close()

    async def _give_up_silent(self) -> None:
        now = time.monotonic()
        for address in [name for name, guest in self._guests.items() if now - guest.heard_at > self._setup.silence_s]:
            await self._scheduler.remove_worker(address, stimulus_id="silent")

    def welcome(self, address: str) -> None:
        """A worker has joined Dask; it has the key."""
        self._guests[address] = _Guest(next(self._numbers), time.monotonic())
        self._tell(address, self._setup)

    def part(self, address: str) -> None:
        """Dask has lost the worker with this address, for whatever reason."""
        guest = self._guests.pop(address)
        if guest.node is not None and not guest.is_closed:
            self._events.put(Died(guest.number, f"lost contact with {guest.node}", self._setup.silence_s))
        self._count()

    def _hear(self, worker: str, word: bytes) -> None:
        guest, said = self._guests.get(worker), pickle.loads(word)
        if guest is None:  # it has been given up
            return
        match said:
            case messages.Beat():
                guest.heard_at = time.monotonic()
                self._tell(worker, said)
            case messages.Ready():
                guest.node, guest.clock_ahead_s = said.node, said.clock - clocks.now()
                self._events.put(Joined(guest.number))
                self._count()
            case messages.Unfit():
                self._say(f"a worker on {said.node} left: {said.why}")
            case Report():
                self._events.put(Reported(guest.number, said))
            case messages.GoingHome():
                self._events.put(Leaving(guest.number))
            case messages.Done():
                guest.is_closed = True
            case D4CError():
                guest.is_closed = True
                self._events.put(said)

    def _send(self, worker: int, orders: Orders) -> None:
        address = self._address(worker)
        if address is not None:
            guest = self._guests[address]
            guest.is_closed |= orders.closed
            turns = [replace(turn, expires_at=turn.expires_at + guest.clock_ahead_s) for turn in orders.turns]
            self._tell(address, replace(orders, turns=tuple(turns)))

    async def _kill(self, worker: int) -> None:
        address = self._address(worker)
        if address is not None:
            self._tell(address, messages.Die())
            await self._scheduler.remove_worker(address, stimulus_id="no answer")

    def _address(self, worker: int) -> str | None:
        return next((address for address, guest in self._guests.items() if guest.number == worker), None)

    def _tell(self, address: str, word: messages.ToWorker) -> None:
        self._scheduler.worker_send(address, messages.message(word))

    def _count(self) -> None:
        nodes = [guest.node for guest in self._guests.values() if guest.node is not None]
        self._nodes = (len(nodes), len(set(nodes)))


def _reason(error: BaseException) -> str:
    """What the system said, if Dask's error has such a cause: Dask itself only says that it failed to start."""
    said = (words_of(cause) for cause in causes_of(error) if isinstance(cause, OSError))
    return next(said, f"{type(error).__name__}: {error}")


class _Scheduler(Scheduler):
    """Dask's scheduler without its web server, which would be open to other users of the node."""

    def __init__(self, **options: Any) -> None:
        super().__init__(protocol="tls", port=0, dashboard=False, **options)

    def start_http_server(self, *_: Any, **__: Any) -> None: ...


class _Door(SchedulerPlugin):
    """Reports workers that Dask sees join and leave."""

    def __init__(self, runner: DaskRunner) -> None:
        self._runner = runner

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        self._runner.welcome(worker)

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        self._runner.part(worker)
