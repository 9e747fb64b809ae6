"""From a claim to its outcome: one candidate after the other, one request after the other. Starts nothing on its own.

The loop (loop.py) says when a request may be sent; here it is decided which one, and what follows from its answer. A `success` is
reported only after `Store.put` has returned: invariant I1 depends on this order.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from d4c_images.errors import D4CError
from d4c_images.fetch import Fetcher, Request, host_of, may_be_brotli
from d4c_images.model import (
    ErrorType,
    Failure,
    Move,
    Outcome,
    OwnCode,
    PublishedHash,
    Reply,
    Status,
    Unfolding,
    Verdict,
)  # fmt: skip
from d4c_images.policy import conditional, next_step, rate_limits, robots, waits
from d4c_images.policy.judge import CodePolicy
from d4c_images.stores import Keep, Place, Store
from d4c_images.worker.lanes import Attempt, Clock, Lane
from d4c_images.worker.threads import Beside, Slow
from d4c_images.worker.verify import Examiner, FoundImage

CODE_FOLDER = Path(__file__).parents[1]
MOST_WAITS = 1024  # of groups; beyond that, expired ones are dropped
SAID_AGAIN_S = 1.0  # a wait reported again is shorter by this, so that it does not look new
TROUBLES = 5  # in a row: no more requests to the host in this turn


class Attempts:
    """The attempts in progress in one worker."""

    def __init__(
        self, store: Store, fetcher: Fetcher, examiner: Examiner, policy: CodePolicy, clock: Clock, beside: Beside,
        end_host: Callable[[str], None],
    ) -> None:  # fmt: skip
        """`end_host` stops a host's turns: no more of their requests are started."""
        self._store, self._fetcher, self._examiner, self._policy, self._clock = store, fetcher, examiner, policy, clock
        self._beside, self._end_host = beside, end_host
        self.open: set[Attempt] = set()  # without an outcome yet
        self.stirred: set[Lane] = set()  # lanes with news
        self._waits: dict[str, float] = {}  # group -> end of the wait that its hosts asked for, by the monotonic clock

    def begin(self, lane: Lane) -> Attempt | None:
        """Begin an attempt at the lane's next claim; None if it needs no request for now."""
        job = next(job for job in lane.jobs if job.unstarted)
        claim = job.unstarted.popleft()
        job.n_open += 1
        part = self._store.begin(claim.gbif_id, claim.image_no, job.turn.lease_id, claim.revision)
        url_no = min(claim.url_no, len(claim.urls) - 1)
        attempt = Attempt(claim, job, lane, part, claim.redirect_url or claim.urls[url_no], url_no, claim.hops)
        attempt.failure, attempt.cookies = claim.failure, claim.cookies
        self.open.add(attempt)
        if claim.stored is not None:
            place = Place(claim.stored.path, claim.stored.offset)
            self._run(attempt, self._on_compared, self._store.holds, place, claim.stored.size_bytes)
            return None
        if claim.may_be_stored:
            self._run(attempt, self._on_looked, self._examiner.look, self._store, claim)
            return None
        if host_of(attempt.url) not in (None, lane.host):
            self._move(attempt)
            return None
        return attempt

    def ask(self, attempt: Attempt) -> None:
        """Send its next request."""
        url = attempt.url
        attempt.is_upgraded = attempt.lane.answers_by_https and url.startswith("http://")
        if attempt.is_upgraded:
            url = "https" + url.removeprefix("http")
        stored = attempt.claim.stored
        is_conditional = stored is not None and not attempt.is_lost and not attempt.asks_plainly
        condition = conditional.condition(stored) if stored is not None and is_conditional else ()
        request = Request(
            url,
            attempt.part,
            attempt,
            hops=attempt.hops,
            goes_on=attempt.unfinished,
            condition=condition,
            undone_by_curl=attempt.is_in_brotli,
            cookies=attempt.cookies,
            on_wait=self._on_wait,
        )
        attempt.unfinished = None
        attempt.lane.in_flight[request] = attempt
        attempt.lane.connections.start(request)

    def hand_back(self, attempt: Attempt) -> None:
        """Return the attempt's claim with what was learned so far. An interrupted body then counts as failed."""
        if attempt.unfinished is not None:
            self._give_up(attempt)
        elif attempt.n_requests:
            self._move(attempt)
        else:
            self.settle(attempt)

    def receive(self, request: Request, reply: Reply) -> None:
        """Handle the reply to a request."""
        self._guarded(request.key, self._on_reply, request.key, request, reply)

    def settle(self, attempt: Attempt, **what: Any) -> None:
        """End the attempt: with a verdict, with a move, or with neither, which returns the claim as it was."""
        attempt.part.abort()
        attempt.job.n_open -= 1
        self.open.remove(attempt)
        self.stirred.add(attempt.lane)
        headers = attempt.reply.headers if attempt.reply else {}
        attempt.job.outcomes.append(
            Outcome(
                attempt.claim.image_id,
                requests=attempt.n_requests,
                received_bytes=attempt.received_bytes,
                elapsed_s=attempt.elapsed_s,
                etag=headers.get("etag"),
                last_modified=headers.get("last-modified"),
                robots_tag=robots.noted(headers),
                hold_s=self.still_held_s(attempt.lane) if attempt.hold_s else 0.0,
                interval_s=attempt.lane.interval_s,
                rest_s=max(0.0, attempt.lane.paid_until - self._clock.monotonic()),
                is_lost=attempt.is_lost,
                **what,
            )
        )

    # what comes back

    def _run(self, attempt: Attempt, then: Callable[..., None], act: Callable[..., Any], *args: Any) -> None:
        """Run `act` in a thread, with the body flushed to its file, the slow part in another one, then `then(attempt, future)`."""

        def flushed() -> Any:
            attempt.part.flush()
            return act(*args)

        def done(future: Future[Any]) -> None:
            slow = None if future.cancelled() or future.exception() else future.result()
            if isinstance(slow, Slow):
                attempt.lane.n_slow += 1
                self._beside.run_slowly(slow.act, done_slowly)
            else:
                self._guarded(attempt, then, attempt, future)

        def done_slowly(future: Future[Any]) -> None:
            attempt.lane.n_slow -= 1
            self._guarded(attempt, then, attempt, future)

        self._beside.run(flushed, then=done)

    def _guarded(self, attempt: Attempt, step: Callable[..., None], *args: Any) -> None:
        """An unexpected error with one image must not stop the work on all others."""
        self.stirred.add(attempt.lane)
        try:
            step(*args)
        except D4CError:
            raise
        except Exception as error:
            verdict = Verdict(Status.FAILED_TRANSIENT, ErrorType.OTHER, _unforeseen(error))
            self.settle(attempt, verdict=verdict, http_status=attempt.reply.code if attempt.reply else OwnCode.OTHER)

    def _on_reply(self, attempt: Attempt, request: Request, reply: Reply) -> None:
        now = self._clock.time()
        attempt.reply = reply
        attempt.cookies = request.cookies
        attempt.n_requests += reply.code != OwnCode.PRIVATE_ADDRESS
        attempt.received_bytes += reply.received_bytes
        attempt.elapsed_s += reply.elapsed_s
        self._space(attempt, request, reply, now)
        if request.broke_off is not None and attempt.n_resumed < self._fetcher.options.limits.resumes:
            attempt.unfinished = request.broke_off
        if reply.redirect_url is not None and next_step.is_moved_to_https(attempt.url, reply):
            attempt.lane.answers_by_https = True
        self._act(attempt, next_step.after_reply(self._question(attempt, request, reply), reply, self._policy, now), reply)

    def _question(self, attempt: Attempt, request: Request, reply: Reply) -> next_step.Question:
        """Positional arguments: one per reply, and keywords cost as much as all the rest."""
        stored = attempt.claim.stored
        return next_step.Question(
            attempt.url,
            attempt.is_upgraded,
            reply.redirect_url is not None and attempt.hops < self._fetcher.options.limits.max_redirects,
            request.starts_over,
            request.condition != (),
            reply.code == OwnCode.BAD_ENCODING and not attempt.is_in_brotli and may_be_brotli(reply.headers),
            stored is not None,
            None if stored is None or attempt.is_lost else stored.received_sha256,
        )

    def _act(self, attempt: Attempt, step: next_step.NextStep, reply: Reply) -> None:
        match step:
            case next_step.Served():
                self._has_picture(attempt, step, reply)
            case next_step.Fail():
                self._failed(attempt, step.verdict, step.code)
            case next_step.Follow():
                self._follow(attempt, step)
            case next_step.ReadDocument():
                asked = attempt.claim.urls[attempt.url_no]
                self._run(attempt, self._on_read, self._examiner.read, reply, step.verdict, asked, attempt.url_no)
            case next_step.Again():
                self._ask_again(attempt, step)

    def _has_picture(self, attempt: Attempt, served: next_step.Served, reply: Reply) -> None:
        lane = attempt.lane
        if served is not next_step.Served.NOT_MODIFIED:
            lane.has_got_picture(reply.elapsed_s)
        if served is next_step.Served.NEW:
            self._run(attempt, self._on_examined, self._examiner.examine, reply, attempt.part, _published(attempt))
        else:
            lane.n_troubles = 0
            self.settle(attempt, verdict=Verdict(Status.SUCCESS), http_status=reply.code)

    def _follow(self, attempt: Attempt, redirect: next_step.Follow) -> None:
        lane = attempt.lane
        to = host_of(redirect.url) or lane.host
        if to != lane.host and lane.has_been_led(to):
            self._end_host(lane.host)
        self._go_on(attempt, redirect.url, attempt.url_no, attempt.hops + 1, redirect.wait_s)

    def _ask_again(self, attempt: Attempt, how: next_step.Again) -> None:
        """Start the candidate over: what it has brought so far is useless."""
        match how:
            case next_step.Again.FROM_THE_START:
                attempt.n_resumed = self._fetcher.options.limits.resumes  # this time it must arrive in one piece
            case next_step.Again.BY_HTTP:
                attempt.lane.answers_by_https = False
            case next_step.Again.UNCONDITIONALLY:
                attempt.asks_plainly = True
            case next_step.Again.UNDONE_BY_LIBCURL:
                attempt.is_in_brotli = True
        attempt.part.abort()
        attempt.lane.ready.append(attempt)

    def _space(self, attempt: Attempt, request: Request, reply: Reply, now: float) -> None:
        """Count the interval from when the request was sent: if connecting took long, two would reach the server close together."""
        lane, turn = attempt.lane, attempt.job.turn
        sent_at = self._clock.monotonic() - (reply.elapsed_s - reply.sent_after_s)
        wish = rate_limits.wish_of(reply.headers, now)
        lane.interval_s = wish.interval_s
        lane.has_started(turn, sent_at)
        lane.has_received(turn, reply.received_bytes, sent_at)
        attempt.job.received_bytes += reply.received_bytes
        if not request.names_wait:  # an incomplete header may name one, too
            self._wait(attempt, max(wish.hold_s, waits.retry_after_s(reply.headers, now) or 0.0))

    def _on_wait(self, request: Request, headers: Mapping[str, str]) -> None:
        """The headers of an answer have arrived, its body has not."""
        now = self._clock.time()
        self._wait(request.key, max(rate_limits.wish_of(headers, now).hold_s, waits.retry_after_s(headers, now) or 0.0))

    def _wait(self, attempt: Attempt, wait_s: float) -> None:
        """The host wants no request for this long: stop here and now, and say so in the next report."""
        if not wait_s:
            return
        now, group = self._clock.monotonic(), attempt.lane.group
        attempt.hold_s = max(attempt.hold_s, wait_s)
        attempt.job.held_until = max(attempt.job.held_until, now + wait_s)
        self.stirred.add(attempt.lane)
        if len(self._waits) > MOST_WAITS:
            self._waits = {name: until for name, until in self._waits.items() if until > now}
        self._waits[group] = max(self._waits.get(group, 0.0), now + wait_s)

    def waits_until(self, lane: Lane) -> float:
        """Until when, by the monotonic clock, no request may be sent: a host of the lane's group has named that wait."""
        return self._waits.get(lane.group, 0.0)

    def still_held_s(self, lane: Lane) -> float:
        """The rest of a wait that was reported, shortened so that it does not look like a new one."""
        return max(0.0, self.waits_until(lane) - self._clock.monotonic() - SAID_AGAIN_S)

    def _on_read(self, attempt: Attempt, future: Future[Unfolding | Verdict]) -> None:
        """A document names what to request instead: that is up to the ledger, which knows what exists already."""
        read, reply = future.result(), attempt.reply
        assert reply is not None
        if isinstance(read, Verdict):
            self._act(attempt, next_step.without_picture(read, reply.code, is_upgraded=attempt.is_upgraded), reply)
            return
        attempt.lane.n_troubles = 0
        if attempt.failure is not None:
            read = replace(read, otherwise=attempt.failure.verdict, failure=next_step.to_carry(attempt.failure))
        self.settle(attempt, unfolding=read, http_status=reply.code)

    def _on_compared(self, attempt: Attempt, future: Future[bool]) -> None:
        attempt.is_lost = not future.result()
        if attempt.claim.may_be_stored:
            self._run(attempt, self._on_looked, self._examiner.look, self._store, attempt.claim)
        else:
            self._go_on(attempt, attempt.url, attempt.url_no, attempt.hops)

    def _on_looked(self, attempt: Attempt, future: Future[FoundImage | None]) -> None:
        found = future.result()
        if found is None:
            self._go_on(attempt, attempt.url, attempt.url_no, attempt.hops)
        else:
            self.settle(attempt, verdict=found.verdict, blob=found.blob, url_no=attempt.url_no, adopted=True)

    def _on_examined(self, attempt: Attempt, future: Future[FoundImage | Verdict]) -> None:
        found = future.result()
        if isinstance(found, Verdict):
            self._failed(attempt, found, attempt.reply.code if attempt.reply else OwnCode.OTHER)
            return
        url = attempt.reply.final_url if attempt.reply else None
        keep = Keep(attempt.part, found.extension, attempt.claim.may_be_stored, found.blob, url)
        self._beside.keep(keep, partial(self._on_kept, attempt, found))

    def _on_kept(self, attempt: Attempt, found: FoundImage, place: Place | None) -> None:
        if place is None:  # a newer lease has taken it, and will report
            self.settle(attempt)
            return
        code = attempt.reply.code if attempt.reply else None
        blob = replace(found.blob, path=place.path, offset=place.offset)
        matches = found.hash_matches
        self.settle(attempt, verdict=found.verdict, blob=blob, http_status=code, url_no=attempt.url_no, hash_matches=matches)

    def _failed(self, attempt: Attempt, verdict: Verdict, code: int) -> None:
        lane = attempt.lane
        attempt.refusal = Failure(verdict, code, attempt.url_no)
        attempt.failure = next_step.more_hopeful(attempt.failure, attempt.refusal)
        can_resume = attempt.unfinished is not None
        match next_step.after_failure(verdict, can_resume=can_resume, is_last_attempt=attempt.claim.last_attempt):
            case next_step.Recourse.RESUME:
                attempt.n_resumed += 1
                lane.ready.append(attempt)
            case next_step.Recourse.NEXT_CANDIDATE:
                self._ask_next(attempt)
            case next_step.Recourse.GIVE_UP:
                self._give_up(attempt)
        lane.n_troubles = lane.n_troubles + 1 if verdict.host_trouble else 0
        asked = attempt.claim.urls[attempt.url_no]
        if next_step.is_to_be_spared(verdict, code) or lane.n_troubles >= TROUBLES or lane.has_met_page(code, verdict, asked):
            self._end_host(lane.host)

    def _ask_next(self, attempt: Attempt) -> None:
        """Continue with the next candidate, if any."""
        attempt.part.abort()
        attempt.cookies = ()
        url_no = attempt.url_no + 1
        if url_no < len(attempt.claim.urls):
            self._go_on(attempt, attempt.claim.urls[url_no], url_no, 0)
        else:
            self._give_up(attempt)

    def _give_up(self, attempt: Attempt) -> None:
        failure = attempt.failure
        if failure is None:
            raise ValueError("no candidates left, and none failed")
        self.settle(attempt, verdict=failure.verdict, http_status=failure.code, url_no=failure.url_no)

    def _go_on(self, attempt: Attempt, url: str, url_no: int, hops: int, wait_s: float = 0.0) -> None:
        """Request `url` next: here, if it is on this host, else in its own host's queue."""
        attempt.url, attempt.url_no, attempt.hops = url, url_no, hops
        if host_of(url) in (None, attempt.lane.host):
            attempt.lane.ready.append(attempt)
        else:
            self._move(attempt, wait_s)

    def _move(self, attempt: Attempt, wait_s: float = 0.0) -> None:
        """Have the ledger remember where to continue, and when at the earliest."""
        redirect_url = None if attempt.url == attempt.claim.urls[attempt.url_no] else attempt.url
        host = host_of(attempt.url) or attempt.lane.host
        failure, cookies = next_step.to_carry(attempt.failure), attempt.cookies if redirect_url else ()
        refusal = None if redirect_url else attempt.refusal
        self.settle(attempt, move=Move(host, attempt.url_no, redirect_url, attempt.hops, failure, wait_s, cookies, refusal))


def _unforeseen(error: Exception) -> str:
    """For readers of the ledger, and for debugging."""
    if isinstance(error, OSError) and error.strerror:
        return f"local error while processing the image: {error.strerror}"
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if CODE_FOLDER in Path(frame.filename).parents]
    place = f", at line {places[-1].lineno} of {Path(places[-1].filename).relative_to(CODE_FOLDER)}" if places else ""
    return f"a bug in this program ended the attempt{place}: please report it"


def _published(attempt: Attempt) -> PublishedHash | None:
    """The published hash of the candidate that was requested."""
    return next((one for one in attempt.claim.hashes if one.url_no == attempt.url_no), None)
