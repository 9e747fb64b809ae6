"""What the ledger remembers of hosts that answer everything with one page, and which of their images get their attempts back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from d4c_images.ledger.file import connect
from d4c_images.ledger.queue import pacing, shut_doors
from d4c_images.ledger.rows.rollup import finalize
from d4c_images.model import Sign, Turn
from d4c_images.policy.limits import HostLimits
from d4c_images.policy.pace import HostPace
from d4c_images.policy.shut_door import Door, Suspect, as_suspects, page_of
from d4c_images.steward.hosts import Host, Lease, PolitenessGroup
from d4c_images.steward.shut_doors import DoorNews, _Look
from d4c_images.system import clocks
from tests.steward.test_lender import STARTED, ledger_of

A, B = "a.example.org", "b.example.org"
NOW = int(STARTED)
FAILED = {"status": "failed_permanent", "error_type": "http_403", "attempts": 1, "last_attempt_at": NOW, "not_before": None}
AGAIN = FAILED | {"status": "failed_transient", "attempts": 2, "not_before": NOW + 500}
STORED = {"status": "success", "attempts": 1, "last_attempt_at": NOW, "file_path": "x", "sha256": bytes(32), "file_size": 1}


@pytest.fixture
def ledger() -> Iterator[connect.Ledger]:
    """Images 1, 3, 5 and 7 at one host, 2, 4, 6 and 8 at another."""
    with ledger_of({A: 4, B: 4}, shuffled=False) as opened:
        yield opened


def set_rows(ledger: connect.Ledger, rows: dict[int, dict[str, Any]]) -> None:
    """And the counts of all records, hosts and images with them."""
    for image_id, values in rows.items():
        ledger.connection.execute("DELETE FROM untried")
        for name, value in values.items():
            ledger.connection.execute(f"UPDATE image_rows SET {name} = ? WHERE image_id = ?", (value, image_id))
    finalize(ledger, lambda progress: None)


def rows(ledger: connect.Ledger, columns: str) -> dict[int, tuple[Any, ...]]:
    found = ledger.connection.execute(f"SELECT image_id, {columns} FROM image_rows")
    return {image_id: tuple(values) for image_id, *values in found}


def come_back(ledger: connect.Ledger, *suspects: tuple[int, int]) -> shut_doors.Return:
    with ledger.transaction() as db:
        return shut_doors.come_back(db, 1, [Suspect(*pair) for pair in suspects], NOW)


def test_images_that_a_page_has_failed_get_one_attempt_back_and_wait_a_moment(ledger: connect.Ledger) -> None:
    set_rows(ledger, {1: FAILED, 3: AGAIN})
    assert come_back(ledger, (1, 0), (3, 0)) == shut_doors.Return(2, 1, {1})
    after = rows(ledger, "status, error_type, attempts, not_before, url_no")
    assert after[1] == ("failed_transient", "shut_out", 0, NOW + 1, 0)
    assert after[3] == ("failed_transient", "shut_out", 1, NOW + 1, 0)
    assert finalize(ledger, lambda progress: None).corrected == 0, "records and counts have followed"
    assert ledger.connection.execute("SELECT status, n_failed FROM gbif_ids WHERE gbif_id = 1").fetchone() == ("partial", 0)


def test_what_the_page_did_not_fail_stays_as_it_is(ledger: connect.Ledger) -> None:
    """Stored, untried, lent, given up without an attempt, or of another host: none of them is touched, suspected or not."""
    unasked = FAILED | {"attempts": 0}
    set_rows(ledger, {1: STORED, 5: FAILED, 7: unasked, 2: FAILED, 4: FAILED})
    ledger.connection.execute("INSERT INTO leases (lease_id, run_id, host_id, lane, lent_at, expires_at) VALUES (9, 1, 1, 0, 0, 0)")
    ledger.connection.execute("INSERT INTO lent (image_id, lease_id) VALUES (5, 9)")
    before = rows(ledger, "*")
    assert come_back(ledger, *((number, 0) for number in range(1, 9))) == shut_doors.Return(0, 0, set())
    assert rows(ledger, "*") == before


def test_an_image_that_is_no_suspect_stays_failed(ledger: connect.Ledger) -> None:
    set_rows(ledger, {1: FAILED, 3: FAILED})
    assert come_back(ledger, (3, 0)).n == 1
    assert rows(ledger, "status")[1] == ("failed_permanent",)


def test_an_image_begins_again_with_the_candidate_that_met_the_page(ledger: connect.Ledger) -> None:
    """At the host of that, if it is another one."""
    urls = f"http://{B}/x.jpg\nhttp://{A}/x.jpg"
    set_rows(ledger, {1: FAILED | {"urls": urls, "url_no": 1}, 3: FAILED | {"urls": urls, "url_no": 1}})
    assert come_back(ledger, (1, 0), (3, 1)).host_ids == {1, 2}
    after = rows(ledger, "host_id, url_no")
    assert (after[1], after[3]) == ((2, 0), (1, 1))
    assert finalize(ledger, lambda progress: None).corrected == 0


# Over a kill


def shut_door() -> Door:
    door = Door(True, page_of(403, "blocked by us"), 12, sign=Sign.BLOCKED, code=403, text="blocked by us")
    door.suspects, door.shut_at, door.n_probes, door.named_until = as_suspects([(1, 0), (3, 1)]), STARTED, 3, 0.0
    return door


def loaded(ledger: connect.Ledger) -> dict[int, Door]:
    return dict(shut_doors.load_all(ledger.connection))


def test_a_shut_host_is_remembered_with_all_that_matters(ledger: connect.Ledger) -> None:
    set_rows(ledger, {1: STORED})
    door = shut_door()
    with ledger.transaction() as db:
        shut_doors.save(db, 1, door)
    assert loaded(ledger) == {1: door}


def test_a_host_that_has_never_given_a_picture_is_remembered_as_such(ledger: connect.Ledger) -> None:
    set_rows(ledger, {2: STORED, 1: FAILED})
    with ledger.transaction() as db:
        shut_doors.save(db, 1, shut_door())
    assert not loaded(ledger)[1].has_given
    assert [shut_doors.has_given(ledger.connection, number) for number in (1, 2, 99)] == [False, True, False]
    assert [shut_doors.has_given_by_name(ledger.connection, name) for name in (A, B, "c.example.org")] == [False, True, False]
    ledger.connection.execute("UPDATE tallies SET n = 0 WHERE status = 'success'")
    assert not shut_doors.has_given(ledger.connection, 2), "what it has given is gone"


def test_a_host_with_a_row_of_pages_is_remembered_and_one_that_is_open_is_forgotten(ledger: connect.Ledger) -> None:
    door = shut_door()
    door.shut_at, door.n_row = None, 2
    with ledger.transaction() as db:
        shut_doors.save(db, 1, door)
        assert loaded(ledger).keys() == {1}
        door.n_row = 1
        shut_doors.save(db, 1, door)
    assert loaded(ledger) == {}


def test_a_wait_that_a_shut_host_has_named_is_kept_by_the_later_clock(
    ledger: connect.Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clocks.now, "for_others", lambda moment: moment + 3600.5)
    door = shut_door()
    with ledger.transaction() as db:
        shut_doors.save(db, 1, door)
        assert loaded(ledger)[1].named_until == 0.0
        door.named_until = STARTED + 60
        shut_doors.save(db, 1, door)
    assert loaded(ledger)[1].named_until == NOW + 3661


# Somebody says that it may be asked again


@pytest.mark.parametrize("by", ["name", "pattern"])
@pytest.mark.parametrize(("named_s", "until_s"), [(0.0, None), (-1.0, None), (600.0, 600)])
def test_a_host_that_somebody_opens_is_forgotten_and_its_own_wait_is_kept(
    ledger: connect.Ledger, by: str, named_s: float, until_s: int | None
) -> None:
    door = shut_door()
    door.named_until = STARTED + named_s if named_s else 0.0
    with ledger.transaction() as db:
        for host_id in (1, 2):
            shut_doors.save(db, host_id, door)
            pacing.save_pace(db, host_id, HostPace(5.0, 6.0, 4, STARTED + 86400, "it says so"))
        if by == "name":
            shut_doors.open_named(db, ["nobody.example.org", A], STARTED)
        else:
            shut_doors.open_like(db, "a.*", STARTED)
    assert loaded(ledger).keys() == {2}
    paces = {number: pacing.load(ledger.connection, number).pace for number in (1, 2)}
    assert paces[2].blocked_until == NOW + 86400, "nobody has spoken of it"
    until = None if until_s is None else NOW + until_s
    why = None if until_s is None else "it has asked for this wait itself"
    assert (paces[1].blocked_until, paces[1].blocked_why, paces[1].block_level, paces[1].recent_ok) == (until, why, 0, 5.0)


def test_a_host_that_is_not_shut_keeps_its_block_when_somebody_opens_it(ledger: connect.Ledger) -> None:
    """That is another matter: only what was known of its pages is forgotten."""
    door = shut_door()
    door.shut_at, door.n_row = None, 5
    with ledger.transaction() as db:
        shut_doors.save(db, 1, door)
        pacing.save_pace(db, 1, HostPace(5.0, 6.0, 4, STARTED + 86400, "it says so"))
        shut_doors.open_named(db, [A], STARTED)
    assert loaded(ledger) == {}
    assert pacing.load(ledger.connection, 1).pace == HostPace(5.0, 6.0, 4, NOW + 86400, "it says so")


@pytest.mark.parametrize(
    ("is_probe", "blocked_until", "is_late"),
    [(False, STARTED + 1, True), (False, STARTED, False), (False, None, False), (True, STARTED + 600, False)],
)
def test_an_answer_is_late_if_its_host_was_shut_meanwhile_but_for_that_of_a_probe(
    is_probe: bool, blocked_until: float | None, is_late: bool
) -> None:
    """The wait that holds is then one that its own answer has named."""
    host = Host(1, A, PolitenessGroup(A, HostLimits()), HostPace(blocked_until=blocked_until))
    lease = Lease(Turn(1, A, 0, 1, 0.0, STARTED + 60, ()), host, 0, set(), STARTED - 60, is_probe)
    assert _Look(lease, DoorNews(), set(), STARTED).is_late is is_late
