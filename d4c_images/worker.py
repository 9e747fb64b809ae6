"""Works turns: fetches what is claimed, has it judged, decoded and kept, and reports. Never sees the ledger, decides no pace.

A lane is one host's queue in this worker. Turns of one lane follow each other on the same connections, which are closed when
the lane has no turn left. All lanes share one event loop; decoding and fsync run in threads beside it. An outcome that says
`success` is reported only after `Store.put` has returned: the order that invariant I1 hangs on.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from d4c_images import crash, documents
from d4c_images.errors import D4CError
from d4c_images.examine import Examiner, Found
from d4c_images.fetch import Fetcher, Request, host_of
from d4c_images.judge import Policy, judge
from d4c_images.lanes import Attempt, Job, Lane
from d4c_images.model import (
    ErrorType,
    Failure,
    Move,
    Orders,
    Outcome,
    OwnCode,
    PublishedHash,
    Reply,
    Report,
    Status,
    Unfolding,
    Verdict,
)  # fmt: skip
from d4c_images.stores import Keep, Store

Feed = Callable[[float], Orders]
"""Waits at most so many seconds for orders; `drain` and `closed` stay true once they were."""

IDLE_S = 0.25  # wait for orders while there is nothing to do
LOOK_S = 0.05  # look for orders, and at every lane, so often while there is
REPORT_S = 0.5
GROUP = 32  # images made durable together ...
GROUP_S = 0.05  # ... or what has come together in this time: a kill costs what is not yet kept
MAX_WAITING = 64  # images fetched, but not yet kept: nothing more is asked for then, since a kill would cost them all ...
WAITING_S = 0.25  # ... and no more than are decoded in this time
FIRST_EXAMINE_S = 0.02  # what an image takes to decode, before one has been
TROUBLES = 5  # in a row: the host is not asked any further in this turn
DECODE_THREADS = 2
ERRANDS_S = 0.01  # short work for the threads is gathered for so long ...
ERRANDS = 8  # ... or until there is so much of it

# A candidate that failed like this may do better next time; the next candidate is asked only if there is no next time.
_KEEPS_CANDIDATE = frozenset({ErrorType.TIMEOUT, ErrorType.CONNECTION_BROKEN, ErrorType.TRUNCATED})


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the time comes from."""

    monotonic: Callable[[], float] = time.monotonic
    time: Callable[[], float] = time.time


def work(feed: Feed, store: Store, fetcher: Fetcher, examiner: Examiner, policy: Policy, clock: Clock) -> Iterator[Report]:
    """Work on turns until the feed says `closed` and none is left. Yields what has become of their claims, again and again.

    `drain` releases what has not been started; `drain` with `closed` gives up what is in flight as well. Raises `StoreError`
    where images cannot be kept.
    """
    worker = _Worker(store, fetcher, examiner, policy, clock)
    try:
        yield from worker.run(feed)
    finally:
        worker.close()


class _Errand(NamedTuple):
    """What a thread is to do for an attempt, and what happens with the result."""

    then: Callable[..., None]
    attempt: Attempt
    act: Callable[[], Any]
    future: Future[Any]


class _Worker:
    def __init__(self, store: Store, fetcher: Fetcher, examiner: Examiner, policy: Policy, clock: Clock) -> None:
        self._store = store
        self._fetcher = fetcher
        self._examiner = examiner
        self._policy = policy
        self._clock = clock
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._open: set[Attempt] = set()  # without an outcome yet
        self._stirred: set[Lane] = set()  # lanes where something has happened
        self._look_at = 0.0
        self._report_at = 0.0
        self._n_beside = 0  # attempts in a decoding thread, or on the way there
        self._errands: list[_Errand] = []
        self._errands_since = 0.0
        self._verified: list[Attempt] = []
        self._verified_since = 0.0
        self._putting: list[Attempt] = []
        self._decoders = ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode")
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="keep")
        self._news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._has_decoder = False
        self._examine_s = FIRST_EXAMINE_S

    def run(self, feed: Feed) -> Iterator[Report]:
        closed = False
        while not closed or self._lanes:
            now = self._clock.monotonic()
            if now >= self._look_at or not self._lanes:
                orders = feed(0.0 if self._lanes else IDLE_S)
                closed = orders.closed
                self._take(orders)
                self._end_turns(orders)
                self._look_at = now + LOOK_S
                self._stirred.update(self._lanes.values())
            self._start_all(now)
            if self._lanes and not self._has_decoder:  # loaded while the first servers think about their answers
                self._has_decoder = True
                self._decoders.submit(self._examiner.decoder)
            yield from self._reports()
            if self._lanes:
                self._advance()

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.connections.close()
        self._decoders.shutdown(cancel_futures=True)
        self._keeper.shutdown(cancel_futures=True)
        for attempt in self._open:
            attempt.part.abort()

    # orders

    def _take(self, orders: Orders) -> None:
        for turn in orders.turns:
            key = (turn.host, turn.lane)
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = Lane(key, self._fetcher.connections(turn.connections))
            lane.connections.resize(turn.connections)
            lane.jobs.append(Job(turn, deque(turn.claims)))

    def _end_turns(self, orders: Orders) -> None:
        now = self._clock.time()
        for lane in self._lanes.values():
            for job in lane.jobs:
                if orders.drain or now >= job.turn.expires_at:
                    self._end(lane, job)
            if orders.drain and orders.closed:
                for request, attempt in lane.in_flight.items():
                    lane.connections.cancel(request)
                    self._settle(attempt)
                lane.in_flight.clear()

    def _end(self, lane: Lane, job: Job) -> None:
        """Start nothing more of this turn."""
        job.outcomes += [Outcome(claim.image_id) for claim in job.unstarted]
        job.unstarted.clear()
        for attempt in [attempt for attempt in lane.ready if attempt.job is job]:
            lane.ready.remove(attempt)
            self._hand_back(attempt)

    # requests

    def _start_all(self, now: float) -> None:
        for lane in self._stirred:
            self._start_due(lane, now)

    def _start_due(self, lane: Lane, now: float) -> None:
        while self._has_room() and lane.has_work():
            turn = lane.jobs[-1].turn
            if len(lane.in_flight) >= turn.connections:
                return
            if now < lane.next_start:
                self._look_at = min(self._look_at, lane.next_start)
                return
            attempt = lane.ready.popleft() if lane.ready else self._begin(lane)
            if attempt is not None:
                lane.next_start = now + turn.min_interval_s
                self._ask(attempt)

    def _has_room(self) -> bool:
        n_decoded_soon = max(2 * DECODE_THREADS, round(DECODE_THREADS * WAITING_S / self._examine_s))
        return self._n_beside < n_decoded_soon and self._n_beside + len(self._verified) + len(self._putting) < MAX_WAITING

    def _begin(self, lane: Lane) -> Attempt | None:
        """The next claim, or None where it can do without a request for now."""
        job = next(job for job in lane.jobs if job.unstarted)
        claim = job.unstarted.popleft()
        job.n_open += 1
        part = self._store.begin(claim.gbif_id, claim.image_no, job.turn.lease_id)
        url_no = min(claim.url_no, len(claim.urls) - 1)
        attempt = Attempt(claim, job, lane, part, claim.redirect_url or claim.urls[url_no], url_no, claim.hops)
        attempt.failure = claim.failure
        self._open.add(attempt)
        if claim.may_be_stored:
            self._beside(self._on_looked, attempt, self._examiner.look, self._store, claim)
            return None
        if host_of(attempt.url) not in (None, lane.host):
            self._move(attempt)
            return None
        return attempt

    def _ask(self, attempt: Attempt) -> None:
        url = attempt.url
        attempt.is_upgraded = attempt.lane.answers_by_https and url.startswith("http://")
        if attempt.is_upgraded:
            url = "https" + url.removeprefix("http")
        request = Request(url, attempt.part, attempt, attempt.hops)
        attempt.lane.in_flight[request] = attempt
        attempt.lane.connections.start(request)

    def _space(self, attempt: Attempt, reply: Reply) -> None:
        """Count the interval from when the request went out: to a server, a connection that took long brings two near together."""
        interval_s = attempt.job.turn.min_interval_s
        if interval_s:
            sent_at = self._clock.monotonic() - (reply.elapsed_s - reply.sent_after_s)
            attempt.lane.next_start = max(attempt.lane.next_start, sent_at + interval_s)

    def _go_on(self, attempt: Attempt, url: str, url_no: int, hops: int) -> None:
        """Ask `url` next: here, where it is on this host, else in its own host's queue."""
        attempt.url, attempt.url_no, attempt.hops = url, url_no, hops
        if host_of(url) in (None, attempt.lane.host):
            attempt.lane.ready.append(attempt)
        else:
            self._move(attempt)

    def _move(self, attempt: Attempt) -> None:
        """Have the ledger remember where to go on."""
        redirect_url = None if attempt.url == attempt.claim.urls[attempt.url_no] else attempt.url
        host = host_of(attempt.url) or attempt.lane.host
        self._settle(attempt, move=Move(host, attempt.url_no, redirect_url, attempt.hops, _to_carry(attempt.failure)))

    def _ask_plainly(self, attempt: Attempt) -> None:
        """By http, as its URL says: not all of the host's URLs are to be had by https."""
        attempt.lane.answers_by_https = False
        attempt.part.abort()
        attempt.lane.ready.append(attempt)

    def _hand_back(self, attempt: Attempt) -> None:
        """What the attempt has learned so far goes back with it."""
        if attempt.n_requests:
            self._move(attempt)
        else:
            self._settle(attempt)

    # what comes back

    def _advance(self) -> None:
        now = self._clock.monotonic()
        timeout_s = self._look_at - now
        if self._errands:
            timeout_s = min(timeout_s, self._errands_since + ERRANDS_S - now)
        if self._verified and not self._putting:
            timeout_s = min(timeout_s, self._verified_since + GROUP_S - now)
        for request, reply in self._fetcher.poll(max(0.0, timeout_s)):
            attempt: Attempt = request.key
            if attempt.lane.in_flight.pop(request, None) is not None:
                self._guarded(attempt, self._on_reply, attempt, reply)
                self._start_due(attempt.lane, self._clock.monotonic())
        while not self._news.empty():
            self._news.get()()
        self._send_errands()
        self._put_due()

    def _guarded(self, attempt: Attempt, step: Callable[..., None], *args: Any) -> None:
        """One image that surprises us must not end the work on all others."""
        self._stirred.add(attempt.lane)
        try:
            step(*args)
        except D4CError:
            raise
        except Exception as error:
            verdict = Verdict(Status.FAILED_TRANSIENT, ErrorType.OTHER, f"{type(error).__name__}: {error}"[:2000])
            self._settle(attempt, verdict=verdict, http_status=attempt.reply.code if attempt.reply else OwnCode.OTHER)

    def _on_reply(self, attempt: Attempt, reply: Reply) -> None:
        attempt.reply = reply
        attempt.n_requests += 1
        attempt.received_bytes += reply.size_bytes
        attempt.elapsed_s += reply.elapsed_s
        self._space(attempt, reply)
        if reply.redirect_url is not None:
            if reply.code in (301, 308) and reply.redirect_url == "https" + attempt.url.removeprefix("http"):
                attempt.lane.answers_by_https = True
            if attempt.is_upgraded and reply.redirect_url == attempt.url:  # it sends us from https back to http: no hop, then
                self._ask_plainly(attempt)
                return
            if attempt.hops < self._fetcher.options.limits.max_redirects:
                self._go_on(attempt, reply.redirect_url, attempt.url_no, attempt.hops + 1)
                return
            reply = replace(reply, code=OwnCode.TOO_MANY_REDIRECTS, redirect_url=None)
        verdict = judge(reply, self._policy, self._clock.time())
        if verdict.status is Status.SUCCESS:
            attempt.lane.n_troubles = 0
            self._beside(self._on_examined, attempt, self._examiner.examine, reply, attempt.part, _published(attempt))
        elif documents.may_be_document(reply, verdict):
            self._beside(self._on_read, attempt, documents.read, reply, verdict, attempt.claim.urls[attempt.url_no], attempt.url_no)
        elif attempt.is_upgraded and not verdict.host_trouble:
            self._ask_plainly(attempt)
        else:
            self._failed(attempt, verdict, reply.code)

    def _on_read(self, attempt: Attempt, future: Future[Unfolding | Verdict]) -> None:
        """A document says what is to be asked instead: that is for the ledger, which knows what is there already."""
        read, code = future.result(), attempt.reply.code if attempt.reply else OwnCode.OTHER
        if isinstance(read, Verdict):
            if attempt.is_upgraded and not read.host_trouble:
                self._ask_plainly(attempt)
            else:
                self._failed(attempt, read, code)
            return
        attempt.lane.n_troubles = 0
        if attempt.failure is not None:
            read = replace(read, otherwise=attempt.failure.verdict, failure=_to_carry(attempt.failure))
        self._settle(attempt, unfolding=read, http_status=code)

    def _on_looked(self, attempt: Attempt, future: Future[Found | None]) -> None:
        attempt.found = future.result()
        if attempt.found is None:
            self._go_on(attempt, attempt.url, attempt.url_no, attempt.hops)
        else:
            self._settle(attempt, verdict=attempt.found.verdict, blob=attempt.found.blob, url_no=attempt.url_no, adopted=True)

    def _on_examined(self, attempt: Attempt, future: Future[Found | Verdict]) -> None:
        found = future.result()
        if isinstance(found, Verdict):
            self._failed(attempt, found, attempt.reply.code if attempt.reply else OwnCode.OTHER)
            return
        attempt.found = found
        if not self._verified:
            self._verified_since = self._clock.monotonic()
        self._verified.append(attempt)

    def _failed(self, attempt: Attempt, verdict: Verdict, code: int) -> None:
        lane = attempt.lane
        attempt.failure = _more_hopeful(attempt.failure, Failure(verdict, code, attempt.url_no))
        if verdict.try_next or (attempt.claim.last_attempt and verdict.error_type in _KEEPS_CANDIDATE and not verdict.unreachable):
            self._ask_next(attempt)
        else:
            self._give_up(attempt)
        lane.n_troubles = lane.n_troubles + 1 if verdict.host_trouble else 0
        is_overload = verdict.host_trouble and (verdict.wait_s is not None or code in (429, 503))
        is_shut = verdict.unreachable or verdict.error_type == ErrorType.RATE_LIMITED
        if is_overload or is_shut or lane.n_troubles >= TROUBLES:
            self._end_host(lane.host)

    def _ask_next(self, attempt: Attempt) -> None:
        """Go on with the next candidate, if there is one."""
        attempt.part.abort()
        url_no = attempt.url_no + 1
        if url_no < len(attempt.claim.urls):
            self._go_on(attempt, attempt.claim.urls[url_no], url_no, 0)
        else:
            self._give_up(attempt)

    def _give_up(self, attempt: Attempt) -> None:
        failure = attempt.failure
        if failure is None:
            raise ValueError("no candidate left, and none has failed")
        self._settle(attempt, verdict=failure.verdict, http_status=failure.code, url_no=failure.url_no)

    def _end_host(self, host: str) -> None:
        for lane in self._lanes.values():
            if lane.host == host:
                lane.n_troubles = 0
                self._stirred.add(lane)
                for job in lane.jobs:
                    self._end(lane, job)

    # keeping and telling

    def _beside(self, then: Callable[..., None], attempt: Attempt, act: Callable[..., Any], *args: Any) -> None:
        """Run `act` in a thread, then `then(attempt, future)` here."""
        self._n_beside += 1
        if not self._errands:
            self._errands_since = self._clock.monotonic()
        self._errands.append(_Errand(then, attempt, partial(act, *args), Future()))

    def _send_errands(self) -> None:
        """Several at once where each is short: to wake a thread, and to be woken by it, costs as much as a small picture."""
        now = self._clock.monotonic()
        more_may_come = any(lane.in_flight for lane in self._lanes.values()) and self._examine_s < ERRANDS_S
        if not self._errands or (more_may_come and len(self._errands) < ERRANDS and now < self._errands_since + ERRANDS_S):
            return
        errands, self._errands = self._errands, []
        for part in (errands[n::DECODE_THREADS] for n in range(DECODE_THREADS)) if len(errands) > 1 else (errands,):
            self._decoders.submit(self._run_errands, part).add_done_callback(
                lambda future: self._tell(partial(self._come_back, future))
            )

    def _run_errands(self, errands: list[_Errand]) -> list[_Errand]:
        for errand in errands:
            start = self._clock.monotonic()
            try:
                errand.future.set_result(errand.act())
            except BaseException as error:
                errand.future.set_exception(error)
            self._examine_s += (self._clock.monotonic() - start - self._examine_s) / 16
        return errands

    def _come_back(self, future: Future[list[_Errand]]) -> None:
        for errand in future.result():
            self._n_beside -= 1
            self._guarded(errand.attempt, errand.then, errand.attempt, errand.future)

    def _tell(self, news: Callable[[], None]) -> None:
        """From any thread: have `news` called by the loop."""
        self._news.put(news)
        self._fetcher.wake()

    def _put_due(self) -> None:
        """Make a group durable. One group at a time: what comes in meanwhile is the next group."""
        if not self._verified or self._putting:
            return
        may_grow = self._n_beside or any(lane.in_flight for lane in self._lanes.values())
        is_young = self._clock.monotonic() < self._verified_since + GROUP_S
        if may_grow and is_young and len(self._verified) < GROUP:
            return
        group = self._putting = self._verified
        self._verified = []
        keeps = [Keep(one.part, _found(one).extension, one.claim.may_be_stored) for one in group]
        future = self._keeper.submit(self._store.put, keeps)
        future.add_done_callback(lambda future: self._tell(partial(self._on_put, future)))

    def _on_put(self, future: Future[list[str | None]]) -> None:
        crash.point("put.done")
        group, self._putting = self._putting, []
        for attempt, path in zip(group, future.result(), strict=True):
            if path is None:  # a newer lease has taken it away, and will tell
                self._settle(attempt)
                continue
            found = _found(attempt)
            code = attempt.reply.code if attempt.reply else None
            blob = replace(found.blob, path=path)
            matches = found.hash_matches
            self._settle(attempt, verdict=found.verdict, blob=blob, http_status=code, url_no=attempt.url_no, hash_matches=matches)

    def _reports(self) -> Iterator[Report]:
        now = self._clock.monotonic()
        is_due = now >= self._report_at
        if is_due:
            self._report_at = now + REPORT_S
        lanes = list(self._lanes.values()) if is_due else list(self._stirred)
        self._stirred.clear()
        for lane in lanes:
            finished = [job for job in lane.jobs if job.finished]
            lane.jobs = [job for job in lane.jobs if not job.finished]
            if finished and not lane.jobs:
                lane.connections.close()  # before the steward may lend the host to somebody else
                del self._lanes[lane.key]
            for job in finished:
                yield Report(job.turn.lease_id, tuple(job.outcomes), finished=True)
            for job in lane.jobs:
                is_news = job.is_half_done and not job.has_said_half  # at once: then the steward lends the turn that follows
                if job.outcomes and (is_due or is_news):
                    job.has_said_half |= is_news
                    outcomes, job.outcomes = tuple(job.outcomes), []
                    yield Report(job.turn.lease_id, outcomes)

    def _settle(self, attempt: Attempt, **what: Any) -> None:
        """The attempt is over: with a verdict, with a move, or with neither, which gives the claim back as it was."""
        attempt.part.abort()
        attempt.job.n_open -= 1
        self._open.remove(attempt)
        self._stirred.add(attempt.lane)
        headers = attempt.reply.headers if attempt.reply else {}
        attempt.job.outcomes.append(
            Outcome(
                attempt.claim.image_id,
                requests=attempt.n_requests,
                received_bytes=attempt.received_bytes,
                elapsed_s=attempt.elapsed_s,
                etag=headers.get("etag"),
                last_modified=headers.get("last-modified"),
                **what,
            )
        )


def _more_hopeful(before: Failure | None, now: Failure) -> Failure:
    """Which of two failures of one attempt decides: what may pass, before what will not; then what speaks of the host."""
    if before is None or before.verdict.status is Status.FAILED_PERMANENT:
        return now
    if now.verdict.status is Status.FAILED_TRANSIENT and now.verdict.host_trouble:
        return replace(now, url_no=before.url_no)  # the better candidate may do better next time
    return replace(before, verdict=replace(before.verdict, host_trouble=before.verdict.host_trouble or now.verdict.host_trouble))


def _published(attempt: Attempt) -> PublishedHash | None:
    """The hash that belongs to the candidate that was asked."""
    return next((one for one in attempt.claim.hashes if one.url_no == attempt.url_no), None)


def _found(attempt: Attempt) -> Found:
    if attempt.found is None:
        raise ValueError("nothing was found")
    return attempt.found


def _to_carry(failure: Failure | None) -> Failure | None:
    """What the image's next host must know of. Not a failure for good: whatever comes is no worse."""
    return None if failure is None or failure.verdict.status is Status.FAILED_PERMANENT else failure
