"""A cluster's worker process: waits for a coordinator, works for it, and ends with it. `worker_pool` starts the next one.

The work itself runs in a thread, as with any runner. The main thread keeps in contact with the coordinator; if it gets no answer
for too long, the process exits at once, with all its requests: its hosts may be lent to others by then.
"""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from distributed import Worker
from distributed.comm.core import connect
from distributed.security import Security

from d4c_images import __version__
from d4c_images.durations import show_moment
from d4c_images.errors import D4CError, causes_of, words_of
from d4c_images.model import Orders, Report
from d4c_images.runners import dask_config, messages  # noqa: F401 (Dask as we want it)
from d4c_images.runners.crew_log import Notes
from d4c_images.runners.inbox import Inbox
from d4c_images.runners.rendezvous import Invitation, MeetingPlace
from d4c_images.runners.worker_pool import Exit, PoolTerms
from d4c_images.stores import partial
from d4c_images.system import child_process, clocks

COORDINATOR_POLL_S = 1.0  # how often to look for a coordinator
COORDINATOR_CONNECT_S = 20.0
OF_THIS_NODE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE))


def main() -> int:
    child_process.settle_in()
    terms: PoolTerms = pickle.load(sys.stdin.buffer)
    leave = Leave()
    try:
        return wait_and_work(terms, leave)
    except OtherVersion:
        return Exit.OTHER_VERSION  # the parent reports it, once for all
    except D4CError as error:
        print(f"d4c-images: {error}", file=sys.stderr, flush=True)
        return Exit.UNFIT
    except OSError as error:  # of this node: Dask keeps its certificate in a file for a moment
        print(f"d4c-images: {words_of(error)}", file=sys.stderr, flush=True)
        return Exit.UNFIT


class OtherVersion(D4CError):
    """The coordinator's version differs from ours."""


def wait_and_work(terms: PoolTerms, leave: Leave) -> Exit:
    """Work for the first coordinator that can be reached."""
    place, end_at, told = MeetingPlace(terms.folder), time.monotonic() + terms.max_wait_s, None
    while time.monotonic() < end_at:
        if place.over() not in (None, terms.over_before):
            return Exit.OVER
        invitation = invitation_at(place)
        if invitation is not None:
            trouble = asyncio.run(what_is_in_the_way(invitation))
            if trouble is None:
                return asyncio.run(Session(invitation, leave, terms.grace_s, Notes(terms.notes_fd)).run())
            if trouble != told:
                print(f"cannot reach the coordinator at {invitation.address}: {trouble}", file=sys.stderr, flush=True)
                told = trouble
        if leave.wait(COORDINATOR_POLL_S):
            return Exit.IDLE
    return Exit.IDLE


def invitation_at(place: MeetingPlace) -> Invitation | None:
    """Raises `OtherVersion` if its format differs from ours."""
    try:
        return place.invitation()
    except D4CError as error:
        other = place.other_version()
        raise error if other is None else OtherVersion(other) from None


def security_of(invitation: Invitation) -> Security:
    """Mutual TLS: both sides use the same certificate and trust no other."""
    return Security(
        require_encryption=True,
        tls_ca_file=invitation.certificate,
        tls_worker_cert=invitation.certificate,
        tls_worker_key=invitation.key,
    )


async def what_is_in_the_way(invitation: Invitation) -> str | None:
    """Why the coordinator is out of reach. A killed one leaves its invitation behind, and Dask would retry for ever.

    None if it can be reached. Raises `OtherVersion` if its version differs.
    """
    try:
        arguments = security_of(invitation).get_connection_args("worker")
        comm = await connect(invitation.address, timeout=COORDINATOR_CONNECT_S, **arguments)
    except OSError as error:
        check_node(error)
        return str(error.__cause__ or error)
    await comm.close()
    if invitation.version != __version__:
        raise OtherVersion(f"version mismatch: the coordinator runs d4c-images {invitation.version}, this worker {__version__}")
    return None


def check_node(error: BaseException) -> None:
    """Raise `D4CError` if this node's disk or limits are the cause, not the coordinator: Dask puts its certificate into a file."""
    for cause in causes_of(error):
        if isinstance(cause, OSError) and cause.errno in OF_THIS_NODE:
            where = f"temporary files are in {tempfile.gettempdir()}"
            raise D4CError(f"this node cannot join the coordinator: {words_of(cause)} ({where})") from error


class Leave:
    """Turns true when the parent asks us to leave, or is gone: then our standard input is closed."""

    def __init__(self) -> None:
        self._event = threading.Event()
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        return self._event.wait(timeout_s)

    def _listen(self) -> None:
        while os.read(sys.stdin.fileno(), 1):  # unbuffered: the buffer's lock would be held at exit
            pass
        self._event.set()


class Session:
    """From joining a coordinator to leaving it."""

    def __init__(self, invitation: Invitation, leave: Leave, grace_s: float, notes: Notes) -> None:
        self._invitation, self._leave, self._grace_s, self._notes = invitation, leave, grace_s, notes
        self._inbox = Inbox()
        self._heard_at = time.monotonic()  # the coordinator was alive at this time
        self._exit: asyncio.Future[Exit] | None = None
        self._beating: asyncio.Task[None] | None = None

    async def run(self) -> Exit:
        self._loop = asyncio.get_running_loop()
        self._exit = self._loop.create_future()
        self._worker = _Worker(
            self._invitation.address, security=security_of(self._invitation), name=f"{socket.gethostname()}-{os.getpid()}"
        )
        self._worker.stream_handlers[messages.OP] = self._hear
        try:
            await self._worker
        except (OSError, ValueError, RuntimeError) as error:
            check_node(error)
            return Exit.AGAIN  # it has just gone
        code = await self._exit
        if self._beating is not None:
            self._beating.cancel()
            self._notes.write(is_joined=True)
        self._worker.is_bound = False
        with suppress(OSError):  # of Dask's scratch folder: the work has ended, and has said why
            await self._worker.close()
        return code

    async def _beat(self, silence_s: float) -> None:
        while True:
            self._end_if_silent(silence_s)
            self._say(messages.Beat(time.monotonic()))
            self._notes.write(is_joined=True)
            await asyncio.sleep(silence_s / messages.BEATS)

    def _end_if_silent(self, silence_s: float) -> None:
        if time.monotonic() > self._heard_at + silence_s:
            end_at_once(f"no message from the coordinator for {silence_s:.0f} s")

    def _hear(self, word: bytes) -> None:
        said: messages.ToWorker = pickle.loads(word)
        match said:
            case messages.Setup():
                self._worker.is_bound = True
                self._beating = self._loop.create_task(self._beat(said.silence_s))
                threading.Thread(target=self._work, args=(said,), name="work", daemon=True).start()
            case Orders():
                self._inbox.put(said)
            case messages.Beat():
                self._heard_at = max(self._heard_at, said.at)
            case messages.Die():
                end_at_once("the coordinator received no answer from this worker")

    def _say(self, word: messages.ToCoordinator) -> None:
        self._worker.batched_stream.send(messages.message(word))

    # in the working thread

    def _tell(self, word: messages.ToCoordinator) -> None:
        self._loop.call_soon_threadsafe(self._say, word)

    def _part(self, code: Exit) -> None:
        assert self._exit is not None
        self._loop.call_soon_threadsafe(self._exit.set_result, code)

    def _work(self, setup: messages.Setup) -> None:
        node = socket.gethostname()
        try:
            work = setup.work()
        except D4CError as error:
            print(f"d4c-images: {error}", file=sys.stderr, flush=True)
            self._tell(messages.Unfit(node, str(error)))
            self._part(Exit.UNFIT)
            return
        partial.guard(lambda: self._end_if_silent(setup.silence_s))
        self._tell(messages.Ready(node, clocks.now()))
        feed = _Feed(self._inbox, self._leave, self._grace_s, lambda: self._tell(messages.GoingHome()))
        try:
            for report in work(feed):
                feed.told(report)
                self._notes.count(report)
                self._tell(report)
            if feed.is_known_to_end:
                self._tell(messages.Done())
            self._part(Exit.AGAIN)
        except BaseException as error:
            if isinstance(error, D4CError):
                print(f"d4c-images: {error}", file=sys.stderr, flush=True)
            else:
                traceback.print_exc()
                error = D4CError(f"a worker on {node} failed: {type(error).__name__}: {error}")
            self._tell(error)
            self._part(Exit.UNFIT)


class _Feed:
    """Orders as they come in. Once this worker is to leave: drain, and close when the coordinator knows and no turn is left, or at
    the end of the grace period."""

    def __init__(self, inbox: Inbox, leave: Leave, grace_s: float, say_going: Callable[[], None]) -> None:
        self._inbox, self._leave, self._grace_s, self._say_going = inbox, leave, grace_s, say_going
        self.is_known_to_end = False  # the coordinator has confirmed that no turn follows
        self._in_hand: set[int] = set()  # leases
        self._give_up_at: float | None = None  # None: not leaving

    def told(self, report: Report) -> None:
        if report.finished:
            self._in_hand.discard(report.lease_id)

    def __call__(self, wait_s: float) -> Orders:
        orders = self._inbox(wait_s)
        self.is_known_to_end |= orders.drain or orders.closed
        self._in_hand.update(turn.lease_id for turn in orders.turns)
        if self._give_up_at is None and self._leave.wait(0):
            self._give_up_at = time.monotonic() + self._grace_s
            self._say_going()
        if self._give_up_at is None:
            return orders
        is_time_to_go = time.monotonic() > self._give_up_at or (self.is_known_to_end and not self._in_hand)
        return replace(orders, drain=True, closed=orders.closed or is_time_to_go)


class _Worker(Worker):
    """Dask's worker without its web server; it has no memory to watch and nothing to compute."""

    is_bound = False  # it works for a coordinator, and must not go on without it

    def __init__(self, address: str, **options: Any) -> None:
        super().__init__(address, protocol="tls", nthreads=1, memory_limit=0, death_timeout=COORDINATOR_CONNECT_S, **options)

    def start_http_server(self, *_: Any, **__: Any) -> None: ...

    async def close(self, *args: Any, **options: Any) -> Any:
        """Dask closes a worker that has lost its scheduler, or was given up by it."""
        if self.is_bound:
            end_at_once("the coordinator is gone")
        return await super().close(*args, **options)


def end_at_once(why: str) -> None:
    """Exit without a message to anybody: as if killed, leaving no request behind."""
    print(f"{show_moment(time.time())} {why}: restarting this worker", file=sys.stderr, flush=True)
    os._exit(Exit.AGAIN)


if __name__ == "__main__":
    sys.exit(main())
