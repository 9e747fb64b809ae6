"""The thread pools of a worker: short work in small batches, long work apart, images made durable in groups. Knows no attempt.

Work is submitted together with a callback for its result, which is called by the loop, never in a thread.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from d4c_images import crash
from d4c_images.stores import Keep, Place, Store
from d4c_images.system import open_files

PUTS_AT_ONCE = 32  # images made durable together ...
GROUP_S = 0.05  # ... or whatever is there this long after the last group: a kill costs what is not yet durable
WAITING_S = 0.25  # backpressure: no more requests while more images wait than are decoded in this time
FIRST_EXAMINE_S = 0.02  # assumed time to decode an image, before one was measured
DECODE_THREADS = 2
ERRANDS_S = 0.01  # short work is gathered for this long ...
ERRANDS = 8  # ... or until there are this many


class Slow(NamedTuple):
    """The remaining work of a slow task, to be run off the fast pool (`Beside.run_slowly`)."""

    act: Callable[[], Any]


class _Errand(NamedTuple):
    """Work for a thread, and a callback for its result."""

    act: Callable[[], Any]
    then: Callable[[Future[Any]], None]
    future: Future[Any]


class _Kept(NamedTuple):
    """What to store, and a callback for its place."""

    keep: Keep
    then: Callable[[Place | None], None]


class Beside:
    """The threads of one worker. Used by its loop; `ring` wakes the loop, from any thread."""

    def __init__(self, store: Store, monotonic: Callable[[], float], ring: Callable[[], None]) -> None:
        self._store, self._monotonic, self._ring = store, monotonic, ring
        self._max_waiting = open_files.budget(open_files.granted()).waiting  # images fetched, but not yet stored
        self._n_out = 0  # errands in a thread or queued for one
        self._errands: list[_Errand] = []
        self._errands_since = 0.0
        self._verified: list[_Kept] = []
        self._put_at = float("-inf")  # when the last group was submitted
        self._putting: list[_Kept] = []
        self._decoders = ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode")
        self._slow = ThreadPoolExecutor(1, thread_name_prefix="slow")
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="keep")
        self._news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._examine_s = FIRST_EXAMINE_S

    def has_room(self) -> bool:
        """Backpressure: whether more may be fetched. What is fetched must soon be stored."""
        n_decoded_soon = max(2 * DECODE_THREADS, round(DECODE_THREADS * WAITING_S / self._examine_s))
        return self._n_out < n_decoded_soon and self._n_out + len(self._verified) + len(self._putting) < self._max_waiting

    def load(self, act: Callable[[], object]) -> None:
        """Run something in a thread whose result is not awaited."""
        self._decoders.submit(act)

    def run(self, act: Callable[[], Any], then: Callable[[Future[Any]], None]) -> None:
        """Run `act` in a thread, then `then` in the loop."""
        self._n_out += 1
        if not self._errands:
            self._errands_since = self._monotonic()
        self._errands.append(_Errand(act, then, Future()))

    def run_slowly(self, act: Callable[[], Any], then: Callable[[Future[Any]], None]) -> None:
        """Run `act` in the slow pool, after earlier work there, then `then` in the loop. It delays nothing else."""
        self._slow.submit(act).add_done_callback(lambda future: self._tell(partial(then, future)))

    def keep(self, keep: Keep, then: Callable[[Place | None], None]) -> None:
        """Make an image durable, in a group, then call back with its place, or None if a newer lease has taken its partial file."""
        self._verified.append(_Kept(keep, then))

    def wait_s(self, now: float) -> float:
        """Seconds until something is due here."""
        due = float("inf")
        if self._errands:
            due = self._errands_since + ERRANDS_S
        if self._verified and not self._putting:
            due = min(due, self._put_at + GROUP_S)
        return max(0.0, due - now)

    def step(self, *, more_may_come: bool) -> None:
        """Run the callbacks that are ready and submit what is due. `more_may_come`: requests are in flight."""
        while not self._news.empty():
            self._news.get()()
        self._send_errands(more_may_come)
        self._put_due(more_may_come)

    def close(self) -> None:
        for pool in (self._decoders, self._slow, self._keeper):
            pool.shutdown(cancel_futures=True)

    def _send_errands(self, more_may_come: bool) -> None:
        """Submit short errands in batches: waking a thread, and being woken by it, costs as much as a small image."""
        now = self._monotonic()
        may_wait = more_may_come and self._examine_s < ERRANDS_S
        if not self._errands or (may_wait and len(self._errands) < ERRANDS and now < self._errands_since + ERRANDS_S):
            return
        errands, self._errands = self._errands, []
        for part in (errands[n::DECODE_THREADS] for n in range(DECODE_THREADS)) if len(errands) > 1 else (errands,):
            self._decoders.submit(self._run_errands, part).add_done_callback(
                lambda future: self._tell(partial(self._come_back, future))
            )

    def _run_errands(self, errands: list[_Errand]) -> list[_Errand]:
        for errand in errands:
            start = self._monotonic()
            try:
                errand.future.set_result(errand.act())
            except BaseException as error:
                errand.future.set_exception(error)
            self._examine_s += (self._monotonic() - start - self._examine_s) / 16
        return errands

    def _come_back(self, future: Future[list[_Errand]]) -> None:
        for errand in future.result():
            self._n_out -= 1
            errand.then(errand.future)

    def _tell(self, news: Callable[[], None]) -> None:
        """Have `news` called by the loop; from any thread."""
        self._news.put(news)
        self._ring()

    def _put_due(self, more_may_come: bool) -> None:
        """Make a group durable. One group at a time: what arrives meanwhile forms the next one."""
        if not self._verified or self._putting:
            return
        now = self._monotonic()
        is_soon = now < self._put_at + GROUP_S
        if (self._n_out or more_may_come) and is_soon and len(self._verified) < PUTS_AT_ONCE:
            return
        self._put_at = now
        self._putting, self._verified = self._verified, []
        future = self._keeper.submit(self._store.put, [kept.keep for kept in self._putting])
        future.add_done_callback(lambda future: self._tell(partial(self._on_put, future)))

    def _on_put(self, future: Future[list[Place | None]]) -> None:
        crash.point("put.done")
        group, self._putting = self._putting, []
        for kept, place in zip(group, future.result(), strict=True):
            kept.then(place)
