"""What single outcomes write into the ledger, and what the steward hears of them: the row, its mark, its wait, the host's news.

The counts over many of them are the business of `test_ledger_machine.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from d4c_images.ledger.file import connect
from d4c_images.ledger.queue import lending, refetching, settling
from d4c_images.ledger.queue.mark_placeholders import Marked
from d4c_images.model import (
    Blob,
    Claim,
    ErrorType,
    Failure,
    Move,
    Outcome,
    OwnCode,
    Report,
    Status,
    Turn,
    Unfolding,
    Verdict,
)
from d4c_images.policy.pace import News
from tests.steward.test_lender import STARTED, ledger_of

A, B = "a.example.org", "b.example.org"
NOW = int(STARTED)
RETRY = settling.RetryTerms(3, lambda attempts: 100.0 * attempts)
SUCCESS = Verdict(Status.SUCCESS)
GONE = Verdict(Status.FAILED_PERMANENT, "http_404")
BUSY = Verdict(Status.FAILED_TRANSIENT, "server_error", "we are busy", host_trouble=True)
LATE = Verdict(Status.FAILED_TRANSIENT, "timeout", host_trouble=True)
TORN = Verdict(Status.FAILED_TRANSIENT, "truncated")
DEADLY = Verdict(Status.FAILED_TRANSIENT, ErrorType.OTHER, "worker processes die while they hold this image")
SILENT = Verdict(Status.FAILED_TRANSIENT, "dns", host_trouble=True, unreachable=True)
SHUT = Verdict(Status.FAILED_TRANSIENT, ErrorType.SHUT_OUT, host_trouble=True, is_shut_out=True)


@pytest.fixture
def ledger() -> Iterator[connect.Ledger]:
    """Images 1, 3 and 5 at one host, 2, 4 and 6 at another."""
    with ledger_of({A: 3, B: 3}, shuffled=False) as opened:
        yield opened


def lend(ledger: connect.Ledger, host: str = A, n: int = 3, now: float = STARTED, *, refetch: bool = False) -> Turn | None:
    host_id = 1 if host == A else 2
    terms = lending.TurnTerms(0, 1, 0.0, n, now + 60.0, refetch=refetch)
    with ledger.transaction() as db:
        return lending.lend(db, ledger.run_id or 0, host_id, host, terms, RETRY.max_attempts, now)


def lent(ledger: connect.Ledger, host: str = A, n: int = 3, now: float = STARTED, *, refetch: bool = False) -> Turn:
    turn = lend(ledger, host, n, now, refetch=refetch)
    assert turn is not None
    return turn


def settle(ledger: connect.Ledger, turn: Turn, *outcomes: Outcome, finished: bool = True, hold_s: float = 0.0) -> settling.Settled:
    """These outcomes; what else the turn held is given back untried."""
    told = {outcome.image_id for outcome in outcomes}
    rest = [Outcome(claim.image_id) for claim in turn.claims if finished and claim.image_id not in told]
    with ledger.transaction() as db:
        return settling.settle(db, [Report(turn.lease_id, (*outcomes, *rest), finished, hold_s)], RETRY, STARTED)


def row(ledger: connect.Ledger, columns: str, image_id: int = 1) -> tuple[Any, ...]:
    [found] = ledger.connection.execute(f"SELECT {columns} FROM image_rows WHERE image_id = ?", (image_id,))
    return tuple(found)


def claims(turn: Turn) -> dict[int, Claim]:
    return {claim.image_id: claim for claim in turn.claims}


def may_be_stored(turn: Turn) -> set[int]:
    return {claim.image_id for claim in turn.claims if claim.may_be_stored}


def blob(name: str = "1.jpg", **more: Any) -> Blob:
    return Blob(name, 10, bytes(32), "image/jpeg", 1, 1, **more)


# The mark that an image's file may be there already: its worker has died


def test_only_an_image_whose_worker_died_may_be_stored(ledger: connect.Ledger) -> None:
    turn = lent(ledger)
    settle(ledger, turn, Outcome(3, http_status=OwnCode.WORKER_DIED))
    assert may_be_stored(lent(ledger)) == {3}
    assert row(ledger, "dead_lease_id, attempts, last_attempt_at", 3) == (turn.lease_id, 0, None), "nobody has tried it"


def test_an_image_that_has_cost_several_workers_may_be_stored_and_others_that_failed_may_not(ledger: connect.Ledger) -> None:
    turn = lent(ledger)
    dies, late = Outcome(1, DEADLY, http_status=OwnCode.WORKER_DIED), Outcome(3, LATE, http_status=OwnCode.TIMEOUT)
    settle(ledger, turn, dies, late, Outcome(5, TORN, http_status=200))
    assert [row(ledger, "dead_lease_id, attempts", image_id) for image_id in (1, 3, 5)] == [
        (turn.lease_id, 1),
        (None, 1),
        (None, 1),
    ]
    again = lent(ledger, now=STARTED + 101)
    assert may_be_stored(again) == {1}
    assert {claim.attempt for claim in again.claims} == {2}


@pytest.mark.parametrize("given_back", [Outcome(1), Outcome(1, SILENT, http_status=OwnCode.DNS)], ids=["untried", "not reached"])
def test_a_mark_stays_until_somebody_has_looked(ledger: connect.Ledger, given_back: Outcome) -> None:
    """Under another lease the image is given back: whose file may lie there is known still."""
    turn = lent(ledger)
    settle(ledger, turn, Outcome(1, http_status=OwnCode.WORKER_DIED))
    settle(ledger, lent(ledger), given_back)
    assert row(ledger, "dead_lease_id") == (turn.lease_id,)
    assert may_be_stored(lent(ledger, now=STARTED + 1000)) == {1}


@pytest.mark.parametrize("verdict", [GONE, LATE, SUCCESS], ids=lambda verdict: verdict.error_type or "success")
def test_an_attempt_takes_the_mark_away(ledger: connect.Ledger, verdict: Verdict) -> None:
    settle(ledger, lent(ledger), Outcome(1, http_status=OwnCode.WORKER_DIED))
    found = blob() if verdict is SUCCESS else None
    settle(ledger, lent(ledger), Outcome(1, verdict, blob=found, http_status=200))
    assert row(ledger, "dead_lease_id") == (None,)


def test_what_a_dead_run_held_may_be_stored_and_waits_for_nothing(ledger: connect.Ledger) -> None:
    """Also what had waited before it was lent."""
    settle(ledger, lent(ledger), Outcome(1, LATE, http_status=OwnCode.TIMEOUT), Outcome(3, GONE, http_status=404))
    turn = lent(ledger, now=STARTED + 101)
    assert [claim.image_id for claim in turn.claims] == [5, 1]
    with ledger.transaction() as db:
        assert lending.take_back(db, [turn.lease_id]) == 2
        assert db.execute("SELECT (SELECT count(*) FROM leases), (SELECT count(*) FROM lent)").fetchone() == (0, 0)
    assert row(ledger, "dead_lease_id, not_before, attempts") == (turn.lease_id, 0, 1)
    assert may_be_stored(lent(ledger)) == {1, 5}


# What an attempt leaves behind


def test_a_failure_waits_for_as_long_as_its_attempts_ask_and_the_last_one_is_final(ledger: connect.Ledger) -> None:
    settle(ledger, lent(ledger), *(Outcome(number, GONE) for number in (3, 5)))
    waits, counted, last, now = [], [], [], STARTED
    for _ in range(3):
        turn = lent(ledger, now=now)
        settled = settle(ledger, turn, Outcome(1, LATE, http_status=OwnCode.TIMEOUT, requests=1))
        waits.append(row(ledger, "status, not_before, attempts"))
        counted.append((settled.totals.n_retry, settled.totals.n_failed))
        last.append(turn.claims[0].last_attempt)
        now = waits[-1][1]
    assert waits == [("failed_transient", NOW + 100, 1), ("failed_transient", NOW + 200, 2), ("failed_transient", None, 3)]
    assert counted == [(1, 0), (1, 0), (0, 1)]
    assert ledger.connection.execute("SELECT status, n_failed FROM gbif_ids WHERE gbif_id = 1").fetchone() == ("failed", 1)
    assert last == [False, False, True]
    assert lend(ledger, now=STARTED + 1e6) is None


def test_a_retry_is_lent_when_its_wait_is_over_and_not_a_second_earlier(ledger: connect.Ledger) -> None:
    settle(ledger, lent(ledger), *(Outcome(number, LATE, http_status=OwnCode.TIMEOUT) for number in (1, 3, 5)))
    assert lending.earliest(ledger.connection, 1) == NOW + 100
    assert lend(ledger, now=NOW + 99.99) is None
    assert [claim.image_id for claim in lent(ledger, now=NOW + 100).claims] == [1, 3, 5]
    assert lending.earliest(ledger.connection, 1) is None


def test_a_first_attempt_that_is_to_be_retried_makes_its_record_a_partial_one(ledger: connect.Ledger) -> None:
    settle(ledger, lent(ledger), Outcome(1, TORN, http_status=200))
    of_records = "SELECT status FROM gbif_ids WHERE gbif_id = (SELECT gbif_id FROM image_rows WHERE image_id = ?)"
    assert [ledger.connection.execute(of_records, (image_id,)).fetchall() for image_id in (1, 3)] == [
        [("partial",)],
        [("pending",)],
    ]


def test_a_wait_of_nothing_is_a_second(ledger: connect.Ledger) -> None:
    """What is given back at once has 0 there, and comes first."""
    with ledger.transaction() as db:
        turn = lending.lend(db, 1, 1, A, lending.TurnTerms(0, 1, 0.0, 1, NOW + 60.0), 3, NOW)
        assert turn is not None
        at_once = settling.RetryTerms(3, lambda attempts: 0.2)
        settling.settle(db, [Report(turn.lease_id, (Outcome(1, LATE, http_status=-1),), True)], at_once, NOW)
    assert row(ledger, "not_before") == (NOW + 1,)


def test_a_host_that_is_not_there_costs_no_attempt_and_its_image_waits(ledger: connect.Ledger) -> None:
    settled = settle(ledger, lent(ledger), Outcome(1, SILENT, http_status=OwnCode.DNS, requests=1))
    assert row(ledger, "status, attempts, last_attempt_at, not_before, http_status") == ("pending", 0, None, NOW + 100, None)
    assert (settled.totals.n_settled, settled.totals.n_retry, settled.totals.n_failed) == (0, 0, 0)
    assert settled.hosts[1].n_unreachable == 1
    assert settled.hosts[1].not_reached == Failure(SILENT, OwnCode.DNS, 0)
    counted = ledger.connection.execute("SELECT sum(n), sum(n_final) FROM image_totals WHERE status = 'pending'").fetchone()
    assert counted[1] == 0, "it is tried again"


def test_a_shut_host_costs_no_attempt_and_is_no_failure_however_often(ledger: connect.Ledger) -> None:
    for _ in range(5):
        turn = lent(ledger, n=1, now=STARTED + 10)
        image_id = turn.claims[0].image_id
        settled = settle(ledger, turn, Outcome(image_id, SHUT, http_status=403, requests=1))
        assert (settled.totals.n_settled, settled.totals.n_retry, settled.totals.n_failed) == (0, 0, 0)
        assert row(ledger, "status, attempts, not_before", image_id) == ("failed_transient", 0, NOW + 1)


def test_what_was_learned_of_a_chain_of_redirects_ends_with_the_attempt(ledger: connect.Ledger) -> None:
    moved = Move(A, 0, f"http://{A}/elsewhere", 3, Failure(BUSY, 503, 0))
    settle(ledger, lent(ledger), Outcome(1, move=moved, requests=1))
    turn = lent(ledger)
    claim = claims(turn)[1]
    assert (claim.redirect_url, claim.hops) == (moved.redirect_url, 3)
    assert claim.failure == Failure(replace(BUSY, host_trouble=False), 503, 0), "the trouble itself has been counted"
    settle(ledger, turn, Outcome(1, LATE, http_status=-1))
    assert row(ledger, "redirect_url, hops, carried_failure") == (None, 0, None)


def test_a_detail_is_cut_and_the_rest_of_the_row_is_what_came(ledger: connect.Ledger) -> None:
    found = blob("packs/1.tar", offset=1024, original_sha256=b"o" * 32)
    came = {"http_status": 200, "url_no": 0, "etag": '"e"', "last_modified": "m", "robots_tag": "noai"}
    settle(ledger, lent(ledger), Outcome(1, Verdict(Status.SUCCESS, "partly_read", "x" * 3000), blob=found, **came))  # type: ignore[arg-type]
    assert row(ledger, "status, error_type, length(error_detail), file_path, file_offset, file_size, original_sha256, etag,"
               " last_modified, robots_tag, http_status, last_attempt_at, not_before") == (
        *("success", "partly_read", 2000, "packs/1.tar", 1024, 10, b"o" * 32, '"e"', "m", "noai", 200, NOW, None),
    )  # fmt: skip
    assert ledger.connection.execute("SELECT * FROM shards").fetchall() == [("packs/1.tar", 1034)]


def test_a_failure_waits_at_the_host_of_the_candidate_that_decided(ledger: connect.Ledger) -> None:
    """Where that is another one than the image was asked at last."""
    ledger.connection.execute("UPDATE image_rows SET urls = ? WHERE image_id = 1", (f"http://{B}/x.jpg\nhttp://{A}/x.jpg",))
    settled = settle(ledger, lent(ledger), Outcome(1, BUSY, http_status=500, url_no=0), Outcome(3, BUSY, http_status=500))
    assert [row(ledger, "host_id", image_id) for image_id in (1, 3)] == [(2,), (1,)]
    assert settled.moved_to == {2}
    assert set(settled.hosts) == {1}, "it is the host that was asked of which that is news"


def test_an_image_that_is_another_ones_waits_for_that_one_and_not_for_a_time(ledger: connect.Ledger) -> None:
    waits = Verdict(Status.FAILED_TRANSIENT, ErrorType.SAME_IMAGE, "image 2")
    settled = settle(ledger, lent(ledger), Outcome(1, waits, http_status=200))
    assert row(ledger, "status, error_type, not_before") == ("failed_transient", "same_image", None)
    assert (settled.totals.n_retry, settled.totals.n_failed) == (0, 0), "it is none: its success is that of the other one"


def test_a_success_is_counted_as_one_and_as_nothing_else(ledger: connect.Ledger) -> None:
    settled = settle(ledger, lent(ledger), Outcome(1, SUCCESS, blob=blob(), http_status=200, adopted=True))
    assert (settled.totals.n_settled, settled.totals.n_success, settled.totals.n_failed, settled.totals.n_retry) == (1, 1, 0, 0)
    assert (settled.totals.n_adopted, settled.totals.stored_bytes, settled.stored) == (1, 10, [1])
    assert ledger.connection.execute("SELECT status, n_success FROM gbif_ids WHERE gbif_id = 1").fetchone() == ("done", 1)


def test_what_came_counts_for_the_day_of_its_host(ledger: connect.Ledger) -> None:
    settle(ledger, lent(ledger), Outcome(1, GONE, received_bytes=5), Outcome(3, LATE, received_bytes=6), Outcome(5, GONE))
    settle(ledger, lent(ledger, B), Outcome(2, GONE, received_bytes=9))
    hours = ledger.connection.execute("SELECT host_id, hour, n_bytes FROM host_bytes ORDER BY 1").fetchall()
    assert hours == [(1, NOW // 3600, 11), (2, NOW // 3600, 9)]


@pytest.mark.parametrize(("matches", "noted"), [(True, 1), (False, 0), (None, None)])
def test_what_a_hash_was_compared_with_is_noted_of_the_candidate_that_was_asked(
    ledger: connect.Ledger, matches: bool | None, noted: int | None
) -> None:
    urls = [f"http://{A}/{name}.jpg" for name in "xy"]
    db = ledger.connection
    db.execute("UPDATE image_rows SET urls = ? WHERE image_id = 1", ("\n".join(urls),))
    db.executemany("INSERT INTO variants (image_id, url, edge, role) VALUES (1, ?, 0, '')", [(url,) for url in urls])
    settle(ledger, lent(ledger), Outcome(1, SUCCESS, blob=blob(), http_status=200, url_no=1, hash_matches=matches))
    assert db.execute("SELECT hash_matches FROM variants ORDER BY url").fetchall() == [(None,), (noted,)]


@pytest.mark.parametrize("error", [ErrorType.INVALID_CONTENT_TYPE, ErrorType.NOT_AN_IMAGE, "http_404"])
def test_a_page_that_came_for_an_image_is_shown_to_people_as_a_sample(ledger: connect.Ledger, error: str) -> None:
    page = Verdict(Status.FAILED_PERMANENT, error, "Log in first. " * 100)
    settle(ledger, lent(ledger), Outcome(1, page, http_status=200), Outcome(3, replace(page, detail=None), http_status=200))
    samples = ledger.connection.execute("SELECT host_id, image_id, seen_at, length(sample) FROM page_samples").fetchall()
    assert samples == ([] if error == "http_404" else [(1, 1, NOW, 500)])


# The fence


def test_what_is_told_twice_counts_once(ledger: connect.Ledger) -> None:
    turn = lent(ledger)
    first = settle(ledger, turn, Outcome(1, GONE, http_status=404, requests=1), finished=False)
    second = settle(ledger, turn, Outcome(1, LATE, http_status=-1, requests=1), finished=False)
    assert (first.totals.n_settled, first.totals.n_late) == (1, 0)
    assert (second.totals.n_settled, second.totals.n_late, second.hosts) == (0, 1, {})
    assert row(ledger, "status, attempts") == ("failed_permanent", 1)
    assert ledger.connection.execute("SELECT sum(n_requests) FROM host_rows").fetchone() == (1,)


def test_a_lease_ends_with_its_last_report_and_no_other_one_does(ledger: connect.Ledger) -> None:
    one, other = lent(ledger, n=1), lent(ledger, n=1)
    assert not settle(ledger, one, Outcome(1, GONE), finished=False).ended_leases
    assert settle(ledger, one, Outcome(1)).ended_leases == {one.lease_id}
    assert not settle(ledger, one).ended_leases, "it has ended already"
    assert ledger.connection.execute("SELECT lease_id FROM leases").fetchall() == [(other.lease_id,)]
    assert ledger.connection.execute("SELECT image_id, lease_id FROM lent").fetchall() == [(3, other.lease_id)]


def test_a_late_wait_of_a_host_is_nobodys_news(ledger: connect.Ledger) -> None:
    turn = lent(ledger)
    assert settle(ledger, turn, finished=False, hold_s=60.0).hosts[1].retry_after_s == 60.0
    settle(ledger, turn)
    assert not settle(ledger, turn, hold_s=60.0).hosts


# News of hosts


def news(ledger: connect.Ledger, *outcomes: Outcome, hold_s: float = 0.0) -> News:
    return settle(ledger, lent(ledger), *outcomes, hold_s=hold_s).hosts[1]


@pytest.mark.parametrize("code", [429, 503, 509, 529])
def test_a_code_that_speaks_of_too_much_is_news_of_overload(ledger: connect.Ledger, code: int) -> None:
    told = news(ledger, Outcome(1, BUSY, http_status=code, requests=1, url_no=0))
    assert (told.n_bad, told.n_overload, told.n_ok, told.n_again) == (1, 1, 0, 0)
    assert told.commonest() == f"http {code} (we are busy)"


def test_a_code_that_speaks_of_a_fault_is_trouble_and_no_overload(ledger: connect.Ledger) -> None:
    told = news(ledger, Outcome(1, BUSY, http_status=500, requests=1))
    assert (told.n_bad, told.n_overload, told.troubles) == (1, 0, {"http 500": 1})


def test_an_image_that_fails_again_is_told_apart(ledger: connect.Ledger) -> None:
    settle(ledger, lent(ledger), Outcome(1, BUSY, http_status=500), *(Outcome(number, GONE) for number in (3, 5)))
    settled = settle(ledger, lent(ledger, now=STARTED + 100), Outcome(1, BUSY, http_status=500, requests=1))
    assert (settled.hosts[1].n_bad, settled.hosts[1].n_again) == (1, 1)
    assert ledger.connection.execute("SELECT n_requests, n_retries FROM host_rows WHERE host_id = 1").fetchone() == (1, 1)


def test_a_success_is_measured_by_the_request_and_other_answers_are_not(ledger: connect.Ledger) -> None:
    took = {"requests": 4, "elapsed_s": 2.0, "received_bytes": 100}
    told = news(
        ledger, Outcome(1, SUCCESS, blob=blob(), **took), Outcome(3, GONE, **took), Outcome(5, LATE, http_status=-1, **took)
    )  # type: ignore[arg-type]
    assert (told.n_success, told.success_s, told.n_ok, told.n_bad, told.n_silent) == (1, 0.5, 2, 1, 1)
    assert told.received_bytes == 300


def test_the_longest_wait_interval_and_rest_of_all_answers_count(ledger: connect.Ledger) -> None:
    asks = [
        {"hold_s": 5.0, "interval_s": 1.0, "rest_s": 9.0},
        {"hold_s": 7.0, "interval_s": 3.0},
        {"hold_s": 6.0, "interval_s": 2.0},
    ]
    told = news(ledger, *(Outcome(number, GONE, **one) for number, one in zip((1, 3, 5), asks, strict=True)))  # type: ignore[arg-type]
    assert (told.retry_after_s, told.interval_s, told.rest_s) == (7.0, 3.0, 9.0)


def test_a_wait_that_a_verdict_names_counts_beside_those_of_answers_and_reports(ledger: connect.Ledger) -> None:
    asks = replace(BUSY, wait_s=50.0)
    assert news(ledger, Outcome(1, asks, http_status=503, hold_s=49.0), hold_s=51.0).retry_after_s == 51.0
    settle(ledger, lent(ledger), *(Outcome(number, GONE) for number in (3, 5)))
    told = settle(ledger, lent(ledger, now=STARTED + 200), Outcome(1, asks, http_status=503, hold_s=49.0), hold_s=48.0)
    assert told.hosts[1].retry_after_s == 50.0


@pytest.mark.parametrize("waits", [{1: 30.0, 3: 10.0}, {1: 10.0, 3: 30.0}])
def test_the_longer_of_two_waits_that_verdicts_name_counts(ledger: connect.Ledger, waits: dict[int, float]) -> None:
    outcomes = (Outcome(number, replace(BUSY, wait_s=wait_s), http_status=503) for number, wait_s in waits.items())
    assert settle(ledger, lent(ledger), *outcomes).hosts[1].retry_after_s == 30.0


def test_an_address_that_is_not_public_is_no_answer_of_its_host(ledger: connect.Ledger) -> None:
    private = Verdict(Status.FAILED_PERMANENT, "other")
    told = news(ledger, Outcome(1, private, http_status=OwnCode.PRIVATE_ADDRESS))
    assert (told.n_unasked, told.n_ok, told.n_bad, told.is_reachable) == (1, 0, 0, False)


@pytest.mark.parametrize(
    ("move", "requests", "n_ok"),
    [
        (Move(B, 0, f"http://{B}/x", 1), 1, 1),
        (Move(B, 0, f"http://{B}/x", 1), 0, 0),
        (Move(A, 0, f"http://{A}/x", 1), 1, 0),
    ],
    ids=["to another host", "passed on unasked", "here again"],
)
def test_a_host_that_redirects_has_answered(ledger: connect.Ledger, move: Move, requests: int, n_ok: int) -> None:
    settled = settle(ledger, lent(ledger), Outcome(1, move=move, requests=requests))
    assert (settled.hosts[1].n_ok if 1 in settled.hosts else 0) == n_ok
    assert row(ledger, "host_id, attempts, last_attempt_at, not_before") == ((2 if move.host == B else 1), 0, None, 0)


def test_a_failure_that_an_image_takes_along_is_news_of_the_host_that_it_leaves(ledger: connect.Ledger) -> None:
    settled = settle(ledger, lent(ledger), Outcome(1, move=Move(B, 1, failure=Failure(BUSY, 503, 0)), requests=1))
    assert (settled.hosts[1].n_overload, settled.hosts[1].n_ok) == (1, 0)
    assert 2 not in settled.hosts


def test_an_image_that_moves_after_a_wait_is_not_lent_before(ledger: connect.Ledger) -> None:
    settle(ledger, lent(ledger), Outcome(1, move=Move(B, 0, f"http://{B}/x", 1, wait_s=30.0), requests=1))
    settle(ledger, lent(ledger, B), *(Outcome(number, GONE) for number in (2, 4, 6)))
    (not_before,) = row(ledger, "not_before")
    assert not_before >= NOW + 30
    assert lend(ledger, B, now=not_before - 0.01) is None
    assert [claim.image_id for claim in lent(ledger, B, now=not_before).claims] == [1]


# Stored images that are asked for again


@pytest.fixture
def again(ledger: connect.Ledger) -> Turn:
    """All three images of a host are stored, and lent once more."""
    settle(ledger, lent(ledger), *(Outcome(n, SUCCESS, blob=blob(f"{n}.jpg"), etag='"e"', http_status=200) for n in (1, 3, 5)))
    assert refetching.queue(ledger, STARTED + 1, (), lambda done, total: None).n == 3
    return lent(ledger, now=STARTED + 1, refetch=True)


@pytest.mark.parametrize(("code", "n_overload"), [(503, 1), (429, 1), (500, 0)])
def test_trouble_with_a_stored_image_is_the_same_news(ledger: connect.Ledger, again: Turn, code: int, n_overload: int) -> None:
    told = settle(ledger, again, Outcome(1, BUSY, http_status=code, requests=1, url_no=0)).hosts[1]
    assert (told.n_bad, told.n_overload, told.n_ok) == (1, n_overload, 0)
    assert told.commonest() == f"http {code} (we are busy)"


def test_a_stored_image_that_fails_stays_what_it_is(ledger: connect.Ledger, again: Turn) -> None:
    before = row(ledger, "*")
    settled = settle(ledger, again, Outcome(1, GONE, http_status=404, requests=1, etag='"other"'))
    assert row(ledger, "*") == before
    assert (settled.totals.n_not_again, settled.totals.n_failed, settled.totals.n_settled) == (1, 0, 1)
    [noted] = ledger.connection.execute("SELECT image_id, asked_at, status, http_status, error_type FROM refetch_failures")
    assert noted == (1, NOW, "failed_permanent", 404, "http_404")


@pytest.mark.parametrize("verdict", [None, DEADLY], ids=["given back", "as an attempt"])
def test_a_stored_image_whose_worker_died_may_have_new_bytes_and_no_other_one(
    ledger: connect.Ledger, again: Turn, verdict: Verdict | None
) -> None:
    settle(ledger, again, Outcome(1, verdict, http_status=OwnCode.WORKER_DIED), Outcome(3, LATE, http_status=OwnCode.TIMEOUT))
    marks = [row(ledger, "dead_lease_id", image_id) for image_id in (1, 3, 5)]
    assert marks == [(again.lease_id,), (None,), (None,)]
    if verdict is None:
        assert may_be_stored(lent(ledger, refetch=True)) == {1}


@pytest.mark.parametrize("verdict", [SILENT, SHUT, None], ids=["not reached", "shut", "untried"])
def test_a_stored_image_without_an_answer_waits_again(ledger: connect.Ledger, again: Turn, verdict: Verdict | None) -> None:
    settled = settle(ledger, again, Outcome(1, verdict, http_status=403 if verdict else None))
    assert (settled.totals.n_settled, settled.totals.n_not_again) == (0, 0)
    assert [claim.image_id for claim in lent(ledger, refetch=True).claims] == [1, 3, 5]
    assert ledger.connection.execute("SELECT count(*) FROM refetch_failures").fetchone() == (0,)


def test_a_stored_image_that_is_as_it_was_has_been_asked_and_has_no_mark(ledger: connect.Ledger, again: Turn) -> None:
    ledger.connection.execute("UPDATE image_rows SET dead_lease_id = 7, last_attempt_at = 5 WHERE image_id = 1")
    settled = settle(ledger, again, Outcome(1, SUCCESS, http_status=304, requests=1, etag='"other"'))
    assert row(ledger, "dead_lease_id, last_attempt_at, etag, file_path") == (None, NOW, '"e"', "1.jpg")
    assert (settled.totals.n_same, settled.totals.n_changed, settled.hosts[1].n_success) == (1, 0, 1)


def test_new_bytes_of_a_stored_image_take_its_mark_away_and_the_old_ones_are_remembered(
    ledger: connect.Ledger, again: Turn
) -> None:
    ledger.connection.execute("UPDATE image_rows SET dead_lease_id = 7, last_attempt_at = 5 WHERE image_id = 1")
    new = replace(blob("1-r1.jpg"), size_bytes=20, sha256=b"n" * 32)
    settled = settle(ledger, again, Outcome(1, SUCCESS, blob=new, http_status=200, requests=1, etag='"n"'))
    assert row(ledger, "dead_lease_id, last_attempt_at, etag, file_path, file_size") == (None, NOW, '"n"', "1-r1.jpg", 20)
    former = ledger.connection.execute("SELECT revision, replaced_at, stored_at, file_path, etag FROM former_rows").fetchall()
    assert former == [(0, NOW, 5, "1.jpg", '"e"')]
    assert (settled.totals.n_changed, settled.totals.stored_bytes, settled.stored) == (1, 20, [1])


class Knows:
    """A watch that knows some bytes as a placeholder, and finds none."""

    def __init__(self, sha256: bytes) -> None:
        self._sha256 = sha256

    def knows(self, db: object, host_id: int, found: Blob) -> bool:
        return found.sha256 == self._sha256

    def look(self, db: object, image_ids: Sequence[int], now: int) -> Marked:
        return Marked()


@pytest.mark.parametrize("is_known", [True, False])
def test_a_placeholder_takes_the_place_of_no_stored_image_and_other_bytes_do(
    ledger: connect.Ledger, again: Turn, is_known: bool
) -> None:
    new = replace(blob("1-r1.jpg"), sha256=b"n" * 32)
    watch: Any = Knows(new.sha256 if is_known else b"o" * 32)
    with ledger.transaction() as db:
        report = Report(again.lease_id, (Outcome(1, SUCCESS, blob=new, http_status=200),), finished=False)
        settled = settling.settle(db, [report], RETRY, STARTED, watch)
    assert row(ledger, "status, file_path") == ("success", "1.jpg" if is_known else "1-r1.jpg")
    assert (settled.totals.n_not_again, settled.totals.n_changed) == ((1, 0) if is_known else (0, 1))
    failures = ledger.connection.execute("SELECT image_id, error_type FROM refetch_failures").fetchall()
    assert failures == ([(1, "placeholder")] if is_known else [])


def test_a_redirect_of_a_stored_image_is_an_answer_and_one_that_is_passed_on_is_none(ledger: connect.Ledger, again: Turn) -> None:
    settled = settle(
        ledger, again,
        Outcome(1, move=Move(B, 0, f"http://{B}/x", 1), requests=1), Outcome(3, move=Move(B, 0, f"http://{B}/y", 1)),
    )  # fmt: skip
    assert (settled.hosts[1].n_ok, settled.moved_to) == (1, {2})
    there = lent(ledger, B, 9, refetch=True).claims
    assert {claim.image_id: claim.redirect_url for claim in there if claim.stored} == {1: f"http://{B}/x", 3: f"http://{B}/y"}


def test_new_bytes_in_a_shard_are_noted_like_those_of_any_image(ledger: connect.Ledger, again: Turn) -> None:
    db = ledger.connection
    db.execute("INSERT INTO variants (image_id, url, edge, role) SELECT image_id, urls, 0, '' FROM image_rows WHERE image_id = 1")
    new = replace(blob("packs/1.tar", offset=1024), sha256=b"n" * 32)
    settle(ledger, again, Outcome(1, SUCCESS, blob=new, http_status=200, hash_matches=True))
    assert db.execute("SELECT * FROM shards").fetchall() == [("packs/1.tar", 1034)]
    assert db.execute("SELECT hash_matches FROM variants").fetchall() == [(1,)]


def test_those_that_are_to_be_asked_again_are_chosen_anew_each_time(ledger: connect.Ledger, again: Turn) -> None:
    """What waited before is forgotten; what is lent, was asked lately, or is refused for good is left out."""
    settle(ledger, again, Outcome(1, GONE, http_status=404), finished=False)
    settle(ledger, again, Outcome(3, SUCCESS, http_status=304), finished=False)
    assert refetching.queue(ledger, STARTED, (), lambda done, total: None).n == 0, "5 is lent, 1 was refused, 3 was asked"
    settle(ledger, again)
    assert refetching.n_waiting(ledger.connection.execute) == 1
    assert refetching.queue(ledger, STARTED + 1, (B,), lambda done, total: None).n == 0
    assert refetching.n_waiting(ledger.connection.execute) == 0
    due = refetching.queue(ledger, STARTED + 1, (A,), lambda done, total: None)
    assert due == refetching.Due(3, 0), "by then, also what was asked and refused"
    with ledger.transaction() as db:
        assert [refetching.drop(db, 1, n) for n in (2, 5, 5)] == [2, 1, 0]
    assert refetching.n_waiting(ledger.connection.execute) == 0


# Documents, and what is too much for one transaction


def test_a_document_is_an_answer_of_its_host_and_its_image_goes_on(ledger: connect.Ledger) -> None:
    nothing = Unfolding(f"http://{A}/1.jpg", 0, "manifest", (), 0, GONE)
    settled = settle(ledger, lent(ledger), Outcome(1, unfolding=nothing, http_status=200, requests=1))
    assert (settled.n_unfolded, settled.hosts[1].n_ok) == (1, 1)
    assert row(ledger, "status, error_type, attempts") == ("failed_permanent", "http_404", 1), "it names nothing"


def sizes(portions: Sequence[Sequence[Report]]) -> list[list[tuple[int, bool, float, list[int]]]]:
    return [[(one.lease_id, one.finished, one.hold_s, [o.image_id for o in one.outcomes]) for one in part] for part in portions]


def test_a_report_that_is_too_much_is_divided_and_ends_and_waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PORTION_ROWS", 2)
    reports = [
        Report(1, tuple(Outcome(number) for number in range(1, 6)), finished=True, hold_s=60.0),
        Report(2, (Outcome(6),), finished=False),
    ]
    assert sizes(list(settling.portions(reports))) == [
        [(1, False, 60.0, [1, 2])],
        [(1, False, 0.0, [3, 4])],
        [(1, True, 0.0, [5]), (2, False, 0.0, [6])],
    ]


def test_what_just_fits_is_not_divided_and_a_byte_more_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PORTION_BYTES", 10)
    told = [Outcome(number, Verdict(Status.FAILED_TRANSIENT, "other", "x" * size)) for number, size in enumerate((4, 6, 11, 1))]
    assert sizes(list(settling.portions([Report(1, tuple(told), finished=True)]))) == [
        [(1, False, 0.0, [0, 1])],
        [(1, False, 0.0, [2])],
        [(1, True, 0.0, [3])],
    ]


def test_a_report_without_outcomes_ends_its_lease() -> None:
    assert sizes(list(settling.portions([Report(1, (), finished=True, hold_s=5.0)]))) == [[(1, True, 5.0, [])]]
