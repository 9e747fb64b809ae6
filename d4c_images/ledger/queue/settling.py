"""Settles what became of lent images. Lends nothing and fetches nothing.

Invariants kept here: a settlement counts only under a lease that is still held (I3); no image row is ever deleted (I4); a record's
status follows its images in the same transaction, except for records that show an image together with very many others
(ledger/queue/deferred.py).
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from d4c_images.identity import parts
from d4c_images.ledger.queue import expand_documents, followers, lending, pacing, placeholders, refetching, shards
from d4c_images.ledger.queue.carried import packed
from d4c_images.ledger.queue.mark_placeholders import Marked
from d4c_images.ledger.rows import lent, variants
from d4c_images.ledger.rows.names import host_id_of
from d4c_images.ledger.rows.rollup import RecordChanges
from d4c_images.ledger.rows.states import is_final
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import Blob, ErrorType, Failure, Outcome, OwnCode, Report, Status, Totals, Unfolding, Verdict
from d4c_images.policy.pace import News
from d4c_images.system import clocks

LENT_IMAGES = """
SELECT i.image_id, i.gbif_id, i.host_id, i.status, i.attempts, i.error_type, i.last_attempt_at, i.urls, i.url_no
FROM json_each(?) AS held CROSS JOIN image_rows AS i ON i.image_id = held.value
"""
SETTLE = """
UPDATE image_rows SET redirect_url = NULL, hops = 0, carried_failure = NULL,
    status = ?, host_id = ?, not_before = ?, attempts = ?, last_attempt_at = ?, dead_lease_id = ?, url_no = ?, http_status = ?,
    error_type = ?, error_detail = ?,
    file_path = ?, file_offset = ?, file_size = ?, sha256 = ?, original_sha256 = ?, media_type = ?, width = ?, height = ?,
    etag = ?, last_modified = ?, robots_tag = ?
WHERE image_id = ?
"""
RELEASE = "UPDATE image_rows SET not_before = ?, dead_lease_id = coalesce(?, dead_lease_id) WHERE image_id = ?"
MOVE_TO_HOST = """
UPDATE image_rows SET not_before = ?, host_id = ?, url_no = ?, redirect_url = ?, hops = ?, carried_failure = ? WHERE image_id = ?
"""
NO_BLOB = (None,) * 8
COUNT_HOST = """
UPDATE host_rows SET n_requests = n_requests + ?, n_retries = n_retries + ?, received_bytes = received_bytes + ?,
    busy_s = busy_s + ?
WHERE host_id = ?
"""
SAMPLE_PAGE = """
INSERT OR REPLACE INTO page_samples (host_id, error_type, image_id, seen_at, sample) VALUES (?, ?, ?, ?, ?)
"""
PORTION_ROWS = 20_000
PORTION_BYTES = 8 << 20
ROWS_OF_A_PICTURE = 4  # the image, its key, where it comes from, a link


@dataclass(frozen=True, slots=True)
class RetryTerms:
    """When a transient failure is retried. `wait_s(attempts)` is the wait in seconds after that many attempts."""

    max_attempts: int
    wait_s: Callable[[int], float]


@dataclass(slots=True)
class Settled:
    """What `settle` wrote, for progress and pace."""

    totals: Totals = field(default_factory=Totals)
    hosts: dict[int, News] = field(default_factory=dict)
    moved_to: set[int] = field(default_factory=set)  # hosts whose queue has grown
    n_unfolded: int = 0  # documents that were read
    ended_leases: set[int] = field(default_factory=set)
    stored: list[int] = field(default_factory=list)  # images that are stored now


def portions(reports: Iterable[Report]) -> Iterator[list[Report]]:
    """Splits the reports, so that no transaction has to settle more than about `PORTION_ROWS` rows or `PORTION_BYTES`.

    A report that exceeds this is divided: its lease ends with the last part.
    """
    portion: list[Report] = []
    n_rows = n_bytes = 0
    for report in reports:
        outcomes: list[Outcome] = []
        hold_s = report.hold_s  # passed once, with the first part
        for outcome in report.outcomes:
            rows, size_bytes = _weight(outcome)
            if (n_rows or n_bytes) and (n_rows + rows > PORTION_ROWS or n_bytes + size_bytes > PORTION_BYTES):
                if outcomes:
                    portion.append(replace(report, outcomes=tuple(outcomes), finished=False, hold_s=hold_s))
                    hold_s = 0.0
                yield portion
                portion, outcomes, n_rows, n_bytes = [], [], 0, 0
            outcomes.append(outcome)
            n_rows, n_bytes = n_rows + rows, n_bytes + size_bytes
        is_whole = len(outcomes) == len(report.outcomes)
        portion.append(report if is_whole else replace(report, outcomes=tuple(outcomes), hold_s=hold_s))
    if portion:
        yield portion


def _weight(outcome: Outcome) -> tuple[int, int]:
    """Rows and bytes that an outcome changes, roughly."""
    detail = outcome.verdict.detail if outcome.verdict else None
    if outcome.unfolding is None:
        return 1, len(detail or "")
    images = outcome.unfolding.images
    return 20 + ROWS_OF_A_PICTURE * len(images), sum(len(image.key) + sum(map(len, image.urls)) for image in images)


def settle(
    db: sqlite3.Connection, reports: Iterable[Report], retry: RetryTerms, now: float, watch: placeholders.Watch | None = None
) -> Settled:
    """Write outcomes; those whose lease is no longer held change nothing. `watch` then looks for placeholders."""
    settled = Settled()
    settlement = _Settlement(db, retry, int(now), settled, watch)
    for report in reports:
        settlement.report(report)
    settlement.write()
    settlement.unfold()
    if watch is not None and settled.stored:
        _count_marked(settled, watch.look(db, settled.stored, int(now)))
    return settled


def _count_marked(settled: Settled, marked: Marked) -> None:
    settled.totals.n_success -= marked.n
    settled.totals.n_failed += marked.n
    settled.totals.stored_bytes -= marked.size_bytes


def _is_attempt(outcome: Outcome) -> bool:
    """False if the host could not be reached: that counts for the host, not for the image."""
    return outcome.verdict is not None and not outcome.verdict.unreachable


def _row(outcome: Outcome, verdict: Verdict, after: _After, died_under: int | None, now: int) -> tuple[Any, ...]:
    """The parameters of `SETTLE`. `died_under` is the lease of a worker that this image killed."""
    return (
        *(verdict.status.value, after.host_id, after.not_before, after.attempts, now),
        died_under,
        *(outcome.url_no, outcome.http_status),
        *(verdict.error_type, None if verdict.detail is None else verdict.detail[:2000]),
        *(_stored_as(outcome.blob) if outcome.blob else NO_BLOB),
        *(outcome.etag, outcome.last_modified, outcome.robots_tag),
        outcome.image_id,
    )


def _stored_as(blob: Blob) -> tuple[Any, ...]:
    """Its columns, in `SETTLE`'s order."""
    file = (blob.path, blob.offset, blob.size_bytes, blob.sha256, blob.original_sha256)
    return *file, blob.media_type, blob.width, blob.height


class _Held(NamedTuple):
    """A row of `LENT_IMAGES`: an image lent under the lease in question."""

    image_id: int
    gbif_id: int
    host_id: int
    status: str
    attempts: int
    error_type: str | None
    last_attempt_at: int | None
    urls: str
    url_no: int


class _After(NamedTuple):
    """Where an image waits after an attempt, if at all."""

    host_id: int
    not_before: int | None  # None: not retried automatically; an image waiting for another follows that one
    attempts: int


class _Settlement:
    """The state of one `settle` call: differences that are written once, at its end."""

    def __init__(
        self, db: sqlite3.Connection, retry: RetryTerms, now: int, settled: Settled, watch: placeholders.Watch | None
    ) -> None:
        self._db = db
        self._watch = watch
        self._retry = retry
        self._now = now
        self._settled = settled
        self._tally = Tally()
        self._records, self._room = RecordChanges(), expand_documents.LinkBudget()
        self._host_counts: dict[int, list[float]] = {}
        self._unfoldings: list[tuple[int, Outcome, Unfolding, _Held]] = []
        self._stored: list[int] = []
        self._settled_rows: list[tuple[Any, ...]] = []  # for `SETTLE`
        self._in_shards: list[tuple[str, int]] = []

    def report(self, report: Report) -> None:
        outcomes = {outcome.image_id: outcome for outcome in report.outcomes}
        image_ids = lent.take(self._db, report.lease_id, outcomes)
        self._settled.totals.n_late += len(outcomes) - len(image_ids)
        for held in map(_Held._make, self._db.execute(LENT_IMAGES, (json.dumps(image_ids),)).fetchall()):
            outcome = outcomes[held.image_id]
            if held.status == Status.SUCCESS:
                self._again(report.lease_id, outcome, held)
            else:
                self._one(report.lease_id, outcome, held)
        if report.hold_s:
            self._hold(report)
        if report.finished:
            ended = self._db.execute("DELETE FROM leases WHERE lease_id = ?", (report.lease_id,)).rowcount
            if ended:
                self._settled.ended_leases.add(report.lease_id)

    def write(self) -> None:
        self._db.executemany(SETTLE, self._settled_rows)
        self._settled_rows.clear()
        followers.follow(self._db, self._stored, self._records, self._tally, self._now)
        self._records.write(self._db, self._tally, self._now)
        self._tally.write(self._db)
        self._db.executemany(COUNT_HOST, [(*counts, host_id) for host_id, counts in self._host_counts.items()])
        pacing.count_bytes(self._db, ((host_id, int(counts[2])) for host_id, counts in self._host_counts.items()), self._now)
        shards.note(self._db, self._in_shards)
        self._host_counts, self._stored, self._in_shards = {}, [], []

    def unfold(self) -> None:
        """Documents come last, when all other outcomes are written: records that gain an image count its current state."""
        for lease_id, outcome, unfolding, held in self._unfoldings:
            holder = expand_documents.DocumentHolder(held.image_id, held.gbif_id, packed(unfolding.failure))
            done = expand_documents.unfold(self._db, unfolding, holder, self._now, self._room)
            if done.host_id is not None:
                self._tally.image(1, done.host_id, held.status, held.error_type, final=False)
                self._settled.moved_to.add(done.host_id)
                self._news(held.host_id).n_ok += 1
            else:
                verdict = done.verdict or unfolding.otherwise
                ended = replace(outcome, unfolding=None, verdict=verdict, blob=done.blob, url_no=unfolding.url_no)
                self._attempt(lease_id, ended, verdict, held)
            self._settled.moved_to |= done.new_host_ids
            self._settled.n_unfolded += 1
            self.write()

    def _one(self, lease_id: int, outcome: Outcome, held: _Held) -> None:
        self._tally.image(-1, held.host_id, Status.LEASED, held.error_type, final=False)
        self._count_requests(held.host_id, outcome, is_retry=_is_attempt(outcome) and held.attempts > 0)
        if outcome.verdict is not None and not _is_attempt(outcome):
            not_before = self._now + max(1, round(self._retry.wait_s(1)))
            self._db.execute(RELEASE, (not_before, None, outcome.image_id))
            self._tally.image(1, held.host_id, held.status, held.error_type, final=False)
            self._count_answer(held.host_id, Failure(outcome.verdict, outcome.http_status or 0, outcome.url_no))
        elif outcome.verdict is not None:
            self._attempt(lease_id, outcome, outcome.verdict, held)
        elif outcome.move is not None:
            move = outcome.move
            new_host_id = host_id_of(self._db, move.host)
            carried = packed(move.failure)
            not_before = 0
            if move.wait_s:  # later runs must keep it, too, even with a clock set forward meanwhile
                not_before = math.ceil(clocks.now.for_others(self._now + 1 + move.wait_s))
            to = (move.url_no, move.redirect_url, move.hops)
            self._db.execute(MOVE_TO_HOST, (not_before, new_host_id, *to, carried, outcome.image_id))
            self._tally.image(1, new_host_id, held.status, held.error_type, final=False)
            if move.failure is not None:
                self._count_answer(held.host_id, move.failure, is_again=held.attempts > 0)
            elif new_host_id != held.host_id and outcome.requests:  # it has answered, even if only with another address
                self._news(held.host_id).n_ok += 1
            self._settled.moved_to.add(new_host_id)
        elif outcome.unfolding is not None:
            self._unfoldings.append((lease_id, outcome, outcome.unfolding, held))
        else:
            died = outcome.http_status == OwnCode.WORKER_DIED
            self._db.execute(RELEASE, (0, lease_id if died else None, outcome.image_id))
            self._tally.image(1, held.host_id, held.status, held.error_type, final=False)

    def _again(self, lease_id: int, outcome: Outcome, held: _Held) -> None:
        """For a stored image that is being refetched."""
        host_id, verdict = lending.host_of(self._db, lease_id), outcome.verdict
        self._count_requests(host_id, outcome, is_retry=False)
        if verdict is None or verdict.unreachable or verdict.is_shut_out:
            new_host_id = refetching.give_back(self._db, lease_id, host_id, outcome)
            if new_host_id != host_id:
                self._settled.moved_to.add(new_host_id)
                self._news(host_id).n_ok += outcome.requests > 0  # otherwise it was only passed on, after a wait
        elif verdict.status != Status.SUCCESS:
            refetching.fail(self._db, lease_id, outcome, verdict, self._now)
            self._settled.totals.n_not_again += 1
        elif outcome.blob is None:
            refetching.renew(self._db, outcome, self._now)
            self._settled.totals.n_same += 1
        else:
            self._changed(lease_id, outcome, verdict, held)
        if verdict is not None:
            answer = Failure(verdict, outcome.http_status or 0, 0)
            self._count_answer(host_id, answer, outcome.elapsed_s / max(1, outcome.requests))
            self._settled.totals.n_settled += not (verdict.unreachable or verdict.is_shut_out)
            self._settled.totals.n_adopted += outcome.adopted

    def _changed(self, lease_id: int, outcome: Outcome, verdict: Verdict, held: _Held) -> None:
        blob = outcome.blob
        assert blob is not None
        if outcome.hash_matches is not None:
            url = held.urls.split("\n")[held.url_no]
            variants.note_comparison(self._db, outcome.image_id, url, matches=outcome.hash_matches)
        if self._watch is not None and self._watch.knows(self._db, held.host_id, blob):
            refused = Verdict(Status.FAILED_PERMANENT, ErrorType.PLACEHOLDER, f"sha256 {blob.sha256.hex()}")
            refetching.fail(self._db, lease_id, outcome, refused, self._now)
            placeholders.list_file(self._db, outcome.image_id, blob)
            self._settled.totals.n_not_again += 1
            return
        if blob.offset is not None:
            self._in_shards.append((blob.path, blob.offset + blob.size_bytes))
        refetching.replace(self._db, outcome, verdict, self._tally, self._now)
        self._settled.stored.append(outcome.image_id)
        self._settled.totals.n_changed += 1
        self._settled.totals.stored_bytes += blob.size_bytes

    def _attempt(self, lease_id: int, outcome: Outcome, verdict: Verdict, held: _Held) -> None:
        """An attempt has ended: write it, and count it for the image's host, its records and the run."""
        after = self._after(outcome, verdict, held)
        died_under = lease_id if outcome.http_status == OwnCode.WORKER_DIED else None
        self._settled_rows.append(_row(outcome, verdict, after, died_under, self._now))
        self._note_bytes(outcome, held)
        final = is_final(verdict.status, after.not_before)
        self._count_image(outcome, verdict, held, after.host_id, final=final)
        self._sample(held.host_id, outcome)
        answer = Failure(verdict, outcome.http_status or 0, outcome.url_no)
        request_s = outcome.elapsed_s / max(1, outcome.requests)
        self._count_answer(held.host_id, answer, request_s, is_again=held.attempts > 0)

    def _after(self, outcome: Outcome, verdict: Verdict, held: _Held) -> _After:
        attempts = held.attempts + (not verdict.is_shut_out)
        may_come_back = verdict.is_shut_out or attempts < self._retry.max_attempts
        if verdict.status != Status.FAILED_TRANSIENT or verdict.error_type == ErrorType.SAME_IMAGE or not may_come_back:
            return _After(held.host_id, None, attempts)
        wait_s = 0.0 if verdict.is_shut_out else self._retry.wait_s(attempts)  # in that case its host waits
        # The candidate's own host, usually this one. A redirect may be short-lived, and another host's failure may not be final.
        host_id = host_id_of(self._db, parts(held.urls.split("\n")[outcome.url_no]).host)
        if host_id != held.host_id:
            self._settled.moved_to.add(host_id)
        return _After(host_id, self._now + max(1, round(wait_s)), attempts)

    def _note_bytes(self, outcome: Outcome, held: _Held) -> None:
        """What the bytes say apart from their row: whether they match the published hash, how far their shard reaches."""
        if outcome.hash_matches is not None:
            url = held.urls.split("\n")[outcome.url_no]
            variants.note_comparison(self._db, outcome.image_id, url, matches=outcome.hash_matches)
        blob = outcome.blob
        if blob is not None and blob.offset is not None:
            self._in_shards.append((blob.path, blob.offset + blob.size_bytes))

    def _count_image(self, outcome: Outcome, verdict: Verdict, held: _Held, host_id: int, *, final: bool) -> None:
        """Count it for its host, its records and the run."""
        succeeded = verdict.status == Status.SUCCESS
        size_bytes = outcome.blob.size_bytes if outcome.blob else 0
        self._tally.image(1, host_id, verdict.status, verdict.error_type, final=final, size_bytes=size_bytes)
        if final or held.last_attempt_at is None:
            self._records.image(outcome.image_id, held.gbif_id, n_success=int(succeeded), n_failed=int(final and not succeeded))
        totals = self._settled.totals
        if succeeded:
            self._stored.append(outcome.image_id)
            self._settled.stored.append(outcome.image_id)
        totals.n_settled += not verdict.is_shut_out
        totals.n_adopted += outcome.adopted
        totals.stored_bytes += size_bytes
        totals.n_success += succeeded
        totals.n_failed += final and not succeeded and verdict.error_type != ErrorType.SAME_IMAGE
        totals.n_retry += not final and not verdict.is_shut_out

    def _count_answer(self, host_id: int, answer: Failure, request_s: float = 0.0, *, is_again: bool = False) -> None:
        """Count an answer for the host's pace; a success is an answer too, and then its request took `request_s`."""
        news, verdict = self._news(host_id), answer.verdict
        if verdict.host_trouble:
            news.trouble(answer, is_again=is_again)
        elif verdict.status == Status.SUCCESS:
            news.success(request_s)
        elif answer.code == OwnCode.PRIVATE_ADDRESS:
            news.n_unasked += 1
        else:
            news.n_ok += 1
        if verdict.wait_s is not None:
            news.retry_after_s = max(verdict.wait_s, news.retry_after_s or 0.0)

    def _sample(self, host_id: int, outcome: Outcome) -> None:
        verdict = outcome.verdict
        if verdict and verdict.detail and verdict.error_type in (ErrorType.INVALID_CONTENT_TYPE, ErrorType.NOT_AN_IMAGE):
            self._db.execute(SAMPLE_PAGE, (host_id, verdict.error_type, outcome.image_id, self._now, verdict.detail[:500]))

    def _hold(self, report: Report) -> None:
        """A host wants no request for some time, whatever becomes of the images it was lent for."""
        host_id = lending.host_if_held(self._db, report.lease_id)
        if host_id is not None:
            news = self._news(host_id)
            news.retry_after_s = max(report.hold_s, news.retry_after_s or 0.0)

    def _news(self, host_id: int) -> News:
        news = self._settled.hosts.get(host_id)
        if news is None:
            news = self._settled.hosts[host_id] = News()
        return news

    def _count_requests(self, host_id: int, outcome: Outcome, *, is_retry: bool) -> None:
        counts = self._host_counts.setdefault(host_id, [0, 0, 0, 0.0])
        counts[0] += outcome.requests
        counts[1] += is_retry
        counts[2] += outcome.received_bytes
        counts[3] += outcome.elapsed_s
        self._settled.totals.received_bytes += outcome.received_bytes
        if outcome.received_bytes or outcome.hold_s or outcome.interval_s:
            news = self._news(host_id)
            news.received_bytes += outcome.received_bytes
            news.interval_s = max(news.interval_s, outcome.interval_s)
            news.rest_s = max(news.rest_s, outcome.rest_s)
            if outcome.hold_s:
                news.retry_after_s = max(outcome.hold_s, news.retry_after_s or 0.0)
