"""What a turn is lent, in which order, and what becomes of what dead runs have left lent. The pace is the lender's business."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from d4c_images.ledger.file import connect, owner
from d4c_images.ledger.queue import lending, refetching, untried
from d4c_images.ledger.queue.lending import LOST_LANE, Asked, TurnTerms
from d4c_images.model import Claim, Turn
from tests.steward.test_lender import STARTED, ledger_of

A, B = "a.example.org", "b.example.org"
NOW = int(STARTED)
TERMS = TurnTerms(0, 3, 0.5, 10, STARTED + 60.5)


@pytest.fixture
def ledger() -> Iterator[connect.Ledger]:
    """Images 1 to 8 at one host, 9 to 12 at another."""
    with ledger_of({A: 8, B: 4}) as opened:
        db = opened.connection
        db.execute("DELETE FROM untried")
        for host_id, host, image_ids in ((1, A, range(1, 9)), (2, B, range(9, 13))):
            for image_id in image_ids:
                values = (host_id, f"http://{host}/{image_id}.jpg", image_id)
                db.execute("UPDATE image_rows SET host_id = ?, urls = ? WHERE image_id = ?", values)
            untried.put_back(db, host_id, image_ids)
        yield opened


def lend(ledger: connect.Ledger, n: int = 10, now: float = STARTED, host_id: int = 1, **more: Any) -> Turn | None:
    with ledger.transaction() as db:
        return lending.lend(db, ledger.run_id or 0, host_id, A, replace(TERMS, max_claims=n, **more), 4, now)


def numbers(turn: Turn | None) -> list[int]:
    return [] if turn is None else [claim.image_id for claim in turn.claims]


def set_row(ledger: connect.Ledger, image_id: int, **values: Any) -> None:
    """As it is after an attempt, or after it was given back: no longer one of the untried ones."""
    with ledger.transaction() as db:
        untried.drop(db, image_id, 1)
        for name, value in values.items():
            db.execute(f"UPDATE image_rows SET {name} = ? WHERE image_id = ?", (value, image_id))


def queue(ledger: connect.Ledger) -> None:
    """3 and 2 are given back, 7 and 5 are to be tried again: 7 now, 5 later. The others are untried."""
    set_row(ledger, 3, not_before=0)
    set_row(ledger, 2, not_before=0)
    set_row(ledger, 7, not_before=NOW - 5, attempts=1)
    set_row(ledger, 5, not_before=NOW + 5, attempts=3)


@pytest.mark.parametrize(
    ("n", "now", "expected"),
    [
        (1, NOW, [2]),
        (2, NOW, [2, 3]),
        (3, NOW, [2, 3, 1]),
        (6, NOW, [2, 3, 1, 4, 6, 8]),
        (7, NOW, [2, 3, 1, 4, 6, 8, 7]),
        (9, NOW, [2, 3, 1, 4, 6, 8, 7]),
        (9, NOW + 4.99, [2, 3, 1, 4, 6, 8, 7]),
        (9, NOW + 5, [2, 3, 1, 4, 6, 8, 7, 5]),
        (7, NOW + 5, [2, 3, 1, 4, 6, 8, 7]),
    ],
)
def test_what_was_given_back_comes_first_then_the_untried_then_retries(
    ledger: connect.Ledger, n: int, now: float, expected: list[int]
) -> None:
    queue(ledger)
    assert numbers(lend(ledger, n, now)) == expected


def test_what_is_lent_is_lent_to_nobody_else_and_the_rest_comes_next(ledger: connect.Ledger) -> None:
    queue(ledger)
    assert [numbers(lend(ledger, 3)) for _ in range(4)] == [[2, 3, 1], [4, 6, 8], [7], []]
    assert numbers(lend(ledger, 3, NOW + 5)) == [5]
    assert numbers(lend(ledger, host_id=2)) == [9, 10, 11, 12]


def test_a_claim_says_how_often_it_was_tried_and_whether_it_is_the_last_time(ledger: connect.Ledger) -> None:
    queue(ledger)
    turn = lend(ledger, now=NOW + 5)
    assert turn is not None
    said = {claim.image_id: (claim.attempt, claim.last_attempt) for claim in turn.claims}
    assert said == {
        2: (1, False),
        3: (1, False),
        1: (1, False),
        4: (1, False),
        6: (1, False),
        8: (1, False),
        7: (2, False),
        5: (4, True),
    }


def test_a_turn_is_what_its_terms_say(ledger: connect.Ledger) -> None:
    turn = lend(ledger, 2, lane=4, bytes_per_s=5.0, max_bytes=7)
    assert turn is not None
    assert (turn.host, turn.lane, turn.connections, turn.min_interval_s, turn.expires_at) == (A, 4, 3, 0.5, STARTED + 60.5)
    assert (turn.bytes_per_s, turn.max_bytes) == (5.0, 7)
    rows = ledger.connection.execute("SELECT lease_id, run_id, host_id, lane, lent_at, expires_at FROM leases").fetchall()
    assert rows == [(turn.lease_id, ledger.run_id, 1, 4, NOW, NOW + 60)]
    assert turn.claims == tuple(Claim(number, number, 0, (f"http://{A}/{number}.jpg",), attempt=1) for number in (1, 2))


def test_a_host_without_images_gets_no_lease(ledger: connect.Ledger) -> None:
    assert numbers(lend(ledger)) == list(range(1, 9))
    assert lend(ledger) is None
    assert ledger.connection.execute("SELECT count(*) FROM leases").fetchone() == (1,)


def test_a_probe_from_the_end_takes_the_last_untried_image_then_the_last_that_was_given_back(ledger: connect.Ledger) -> None:
    queue(ledger)
    assert [numbers(lend(ledger, 1, from_end=True)) for _ in range(4)] == [[8], [6], [4], [1]]
    assert [numbers(lend(ledger, 1, from_end=True)) for _ in range(3)] == [[3], [2], [7]], "then what there is"
    assert lend(ledger, 1, from_end=True) is None


def test_urls_that_are_too_long_for_one_turn_come_in_the_next_one(ledger: connect.Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of them is forgotten, and one image always fits."""
    with ledger.transaction() as db:
        db.execute("UPDATE image_rows SET urls = ? WHERE host_id = 1", (f"http://{A}/{'x' * 100}.jpg",))
    monkeypatch.setattr(lending, "TURN_BYTES", 300)
    assert [numbers(lend(ledger)) for _ in range(5)] == [[1, 2], [3, 4], [5, 6], [7, 8], []]
    monkeypatch.setattr(lending, "TURN_BYTES", 3)
    with ledger.transaction() as db:
        lending.take_back(db, [1, 2, 3, 4])
    assert [numbers(lend(ledger)) for _ in range(9)] == [*([number] for number in range(1, 9)), []]


@pytest.mark.parametrize(
    ("values", "refetch", "earliest"),
    [
        ({"not_before": NOW + 5}, False, NOW + 5),
        ({"not_before": 0}, False, 0),
        ({"not_before": None}, False, None),
        ({"not_before": None}, True, 0),
        ({"not_before": NOW + 5}, True, 0),
    ],
)
def test_when_a_host_may_be_asked_next(
    ledger: connect.Ledger, values: dict[str, int | None], refetch: bool, earliest: int | None
) -> None:
    assert lending.earliest(ledger.connection, 1) == 0, "there are untried ones"
    for number in range(1, 9):
        set_row(ledger, number, **(values if number == 4 else {"not_before": None}))
    assert lending.earliest(ledger.connection, 1) == values["not_before"]
    with ledger.transaction() as db:
        db.execute("UPDATE image_rows SET status = 'success', file_path = 'x', sha256 = zeroblob(32) WHERE image_id = 1")
    assert refetching.queue(ledger, STARTED, (), lambda done, total: None).n == 1
    assert lending.earliest(ledger.connection, 1, refetch=refetch) == earliest


# What the dead have left


def test_the_images_of_earlier_runs_come_back_in_pieces_and_those_of_this_run_stay(
    ledger: connect.Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "TAKE_BACK_AT_ONCE", 2)
    old = [lend(ledger, 3), lend(ledger, 2)]
    owner.take(ledger, "download", owner.this_process(), STARTED, dead=owner.this_process())
    mine, beats = lend(ledger, 1), list[int]()
    assert ledger.run_id is not None
    assert lending.take_back_left(ledger, ledger.run_id, lambda: beats.append(1)) == 5
    assert len(beats) == 3, "a sign of life with each piece"
    assert ledger.connection.execute("SELECT image_id FROM lent").fetchall() == [(6,)]
    marks = dict(ledger.connection.execute("SELECT image_id, dead_lease_id FROM image_rows WHERE host_id = 1"))
    first, second = (turn.lease_id for turn in old if turn is not None)
    assert marks == {1: first, 2: first, 3: first, 4: second, 5: second, 6: None, 7: None, 8: None}
    assert lending.leases_of_others(ledger.connection, ledger.run_id) == [first, second], "they say who may still be asking"
    assert lending.take_back_left(ledger, ledger.run_id, lambda: None) == 0
    assert mine is not None
    assert numbers(lend(ledger)) == [1, 2, 3, 4, 5, 7, 8]


def test_a_lease_that_is_taken_back_ends_and_no_other_one_does(ledger: connect.Ledger) -> None:
    one, other = lend(ledger, 2), lend(ledger, 2)
    assert one is not None
    assert other is not None
    with ledger.transaction() as db:
        assert lending.take_back(db, [one.lease_id]) == 2
        assert lending.take_back(db, [one.lease_id]) == 0
    assert lending.host_if_held(ledger.connection, one.lease_id) is None
    assert lending.host_if_held(ledger.connection, other.lease_id) == 1
    assert ledger.connection.execute("SELECT image_id, lease_id FROM lent").fetchall() == [(3, other.lease_id), (4, other.lease_id)]


def begin(ledger: connect.Ledger, command: str) -> int:
    """A run that takes the place of the one before."""
    return owner.take(ledger, command, owner.this_process(), STARTED, dead=owner.this_process())


@pytest.mark.parametrize(("command", "is_asked"), [("download", False), (owner.CLUSTER, True)])
def test_workers_on_other_nodes_may_outlive_their_run_and_those_of_its_own_node_do_not(
    ledger: connect.Ledger, command: str, is_asked: bool
) -> None:
    dead = begin(ledger, command)
    lend(ledger, 1)
    lend(ledger, 1, host_id=2)
    mine = begin(ledger, owner.CLUSTER)
    lend(ledger, 1)
    asked = lending.asked_by_the_lost(ledger.connection, mine, STARTED + 1e6)
    assert asked == ({Asked(dead, 1), Asked(dead, 2)} if is_asked else set())


def test_a_lost_worker_is_remembered_until_it_has_ended_and_no_longer(ledger: connect.Ledger) -> None:
    lost = begin(ledger, owner.CLUSTER)
    with ledger.transaction() as db:
        lending.note_lost(db, [Asked(lost, 1)], STARTED, STARTED + 30.2)
    mine = begin(ledger, "download")
    assert lending.asked_by_the_lost(ledger.connection, mine, NOW + 30.9) == {Asked(lost, 1)}
    assert lending.asked_by_the_lost(ledger.connection, mine, NOW + 31) == set()
    assert lending.asked_by_the_lost(ledger.connection, lost, NOW) == set(), "a run knows its own"


def test_of_a_host_that_was_lost_twice_the_later_end_counts_and_its_turns_stay(ledger: connect.Ledger) -> None:
    lost = begin(ledger, owner.CLUSTER)
    turn = lend(ledger, 1)
    with ledger.transaction() as db:
        lending.note_lost(db, [Asked(lost, 1), Asked(lost, 2)], STARTED, STARTED + 30)
        lending.note_lost(db, [Asked(lost, 1)], STARTED + 10, STARTED + 40)
    rows = ledger.connection.execute("SELECT host_id, lane, lent_at, expires_at FROM leases ORDER BY host_id, lane").fetchall()
    assert turn is not None
    assert rows == [(1, LOST_LANE, NOW + 10, NOW + 40), (1, 0, NOW, NOW + 60), (2, LOST_LANE, NOW, NOW + 30)]
