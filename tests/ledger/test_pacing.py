"""What the ledger remembers of how hosts may be asked: waits in whole seconds, bytes by the hour, pauses, wanted limits."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from d4c_images.ledger.file import connect
from d4c_images.ledger.file.reader import open_reader
from d4c_images.ledger.questions import overview
from d4c_images.ledger.queue import pacing
from d4c_images.policy.limits import HostLimits
from d4c_images.policy.pace import HostPace, Speed
from tests.steward.test_lender import STARTED, ledger_of

HOUR = 3600
H = int(STARTED) // HOUR  # the hour of most of what happens here
NAMES = ("a1.example.org", "a2.example.org", "b1.example.org", "a3.example.org", "a4.example.org")


@pytest.fixture
def ledger() -> Iterator[connect.Ledger]:
    with ledger_of(dict.fromkeys(NAMES, 1), shuffled=False) as opened:
        yield opened


# Over a restart


def test_a_pace_and_a_speed_come_back_as_they_were_but_for_whole_seconds(ledger: connect.Ledger) -> None:
    pace, speed = HostPace(5.5, 2.5, 3, STARTED + 0.01, "why", STARTED + 0.99, 4), Speed(3.5, 0.25, STARTED)
    with ledger.transaction() as db:
        pacing.save_pace(db, 2, pace, STARTED + 7.9)
        pacing.save_speed(db, 2, speed)
        known = pacing.load(db, 2)
    until = int(STARTED) + 1
    assert known.pace == HostPace(5.5, 2.5, 3, until, "why", int(STARTED), 4), "asked no earlier, and as long silent as it was"
    assert known.speed == speed
    assert (known.name, known.image_bytes) == (NAMES[1], 0.0)
    answers = "SELECT last_answer_at FROM host_rows ORDER BY host_id"
    assert ledger.connection.execute(answers).fetchall() == [(None,), (int(STARTED) + 7,), (None,), (None,), (None,)]
    with ledger.transaction() as db:
        pacing.save_pace(db, 2, HostPace())
    assert ledger.connection.execute(answers).fetchall()[1] == (int(STARTED) + 7,), "no answer, no later one"
    assert pacing.load(ledger.connection, 1).pace == HostPace()
    assert pacing.load(ledger.connection, 1).speed == Speed()


def test_what_a_request_has_brought_so_far_is_its_mean(ledger: connect.Ledger) -> None:
    ledger.connection.execute("UPDATE host_rows SET received_bytes = 1000, n_requests = 4 WHERE host_id = 2")
    assert [pacing.load(ledger.connection, number).image_bytes for number in (1, 2)] == [0.0, 250.0]
    [rows] = pacing.all_hosts(ledger.connection, 0.5, refetch=False)
    first, second, *_ = map(pacing.HostRow._make, rows)
    assert (first.host_id, first.image_bytes, first.n_left, first.latency_s) == (1, 0.0, 1, 0.5)
    assert (second.host_id, second.image_bytes, second.n_left, second.latency_s) == (2, 250.0, 1, 0.5)


def test_the_speed_and_the_wait_of_a_group_do_not_touch_each_other(ledger: connect.Ledger) -> None:
    with ledger.transaction() as db:
        pacing.save_hold(db, "one", STARTED + 0.5, "it says so")
        assert pacing.load_groups(db) == {"one": pacing.KnownGroup(None, int(STARTED) + 1, "it says so")}
        pacing.save_group_speed(db, "one", Speed(4.0, 0.5, STARTED))
        pacing.save_group_speed(db, "other", Speed(2.0))
        assert pacing.load_groups(db)["one"] == pacing.KnownGroup(Speed(4.0, 0.5, STARTED), int(STARTED) + 1, "it says so")
        pacing.save_hold(db, "one", None, None)
    assert pacing.load_groups(ledger.connection) == {
        "one": pacing.KnownGroup(Speed(4.0, 0.5, STARTED), None, None),
        "other": pacing.KnownGroup(Speed(2.0), None, None),
    }


@pytest.mark.parametrize(("until", "whole"), [(None, None), (5.0, 5), (5.000001, 6), (4.999999, 5)])
def test_a_wait_is_never_shorter_in_whole_seconds(until: float | None, whole: int | None) -> None:
    assert pacing.whole(until) == whole


# Bytes of a day


@pytest.mark.parametrize(
    ("by_hour", "per_day", "left", "again_in"),
    [
        ({}, 100, 100, None),
        ({0: 99}, 100, 1, None),
        ({0: 100}, 100, 0, 25),
        ({0: 130}, 100, 0, 25),
        ({-24: 60, 0: 40}, 100, 0, 1),
        ({-24: 60, 0: 100}, 100, 0, 25),
        ({-24: 60, 0: 99}, 100, 0, 1),
        ({-24: 10, -5: 20, 0: 80}, 100, 0, 20),
        ({-24: 11, -5: 20, 0: 79}, 100, 0, 1),
        ({-25: 1000, 0: 99}, 100, 1, None),
        ({-24: 0, 0: 100}, 100, 0, 25),
        ({0: 1}, 0.5, 0, 25),
    ],
)
def test_how_many_bytes_a_day_has_left_and_when_it_has_some_again(
    by_hour: dict[int, int], per_day: float, left: int, again_in: int | None
) -> None:
    """By hours before this one; an hour counts until a whole day has passed since its end."""
    given = {H + hour: n for hour, n in by_hour.items()}
    day = pacing.day_bytes(given, per_day, STARTED)
    assert day.left == left
    if again_in is not None:
        assert day.again_at == (H + again_in) * HOUR
        assert pacing.day_bytes(dict(given), per_day, day.again_at).left > 0 or per_day < 1
        assert pacing.day_bytes(dict(given), per_day, day.again_at - 0.001).left == 0
    assert min(given, default=H) >= H - 24, "older ones are forgotten"


def test_bytes_add_up_by_host_and_hour(ledger: connect.Ledger) -> None:
    with ledger.transaction() as db:
        pacing.count_bytes(db, [(1, 5), (2, 7), (1, 6), (3, 0)], STARTED)
        pacing.count_bytes(db, [(1, 1)], (H + 1) * HOUR - 0.5)
        pacing.count_bytes(db, [(1, 2)], (H + 1) * HOUR)
    rows = ledger.connection.execute("SELECT host_id, hour, n_bytes FROM host_bytes ORDER BY 1, 2").fetchall()
    assert rows == [(1, H, 12), (1, H + 1, 2), (2, H, 7)]
    assert pacing.bytes_by_hour(ledger.connection, 1, (H + 24) * HOUR) == [(H, 12), (H + 1, 2)]
    assert pacing.bytes_by_hour(ledger.connection, 1, (H + 25) * HOUR) == [(H + 1, 2)]
    assert pacing.bytes_by_hour(ledger.connection, 4, STARTED) == []


def test_old_bytes_are_forgotten_of_the_hosts_in_question_only(ledger: connect.Ledger) -> None:
    with ledger.transaction() as db:
        for host_id in range(1, 6):
            pacing.count_bytes(db, [(host_id, 1)], (H - 25) * HOUR)
            pacing.count_bytes(db, [(host_id, 1)], (H - 24) * HOUR)
        pacing.forget_old_bytes(db, STARTED, 1, 3)
        rows = db.execute("SELECT host_id, hour - ? FROM host_bytes ORDER BY 1, 2", (H,)).fetchall()
        assert rows == [(1, -25), (1, -24), (2, -24), (3, -24), (4, -25), (4, -24), (5, -25), (5, -24)]
        pacing.forget_old_bytes(db, STARTED)
        assert db.execute("SELECT count(*) FROM host_bytes WHERE hour < ?", (H - 24,)).fetchone() == (0,)


# Pauses


def pauses(ledger: connect.Ledger) -> dict[int, float]:
    return {host_id: until for host_id, until in pacing.pauses(ledger.connection, 0, 99) if until is not None}


def test_hosts_are_paused_by_name_until_a_moment_or_until_somebody_says_so(ledger: connect.Ledger) -> None:
    with ledger.transaction() as db:
        pacing.pause(db, [NAMES[0], "nobody.example.org"], STARTED, None)
        pacing.pause(db, [NAMES[2]], STARTED, STARTED + 5.5)
    assert pauses(ledger) == {1: math.inf, 3: int(STARTED) + 6}
    assert pacing.pause_of(ledger.connection, NAMES[0]) == (1, math.inf)
    assert pacing.pause_of(ledger.connection, NAMES[1]) == (2, None)
    assert pacing.pause_of(ledger.connection, "nobody.example.org") is None
    assert [one for one, _ in pacing.pauses(ledger.connection, 1, 3)] == [2, 3]
    with ledger.transaction() as db:
        pacing.resume(db, [NAMES[0]])
    assert pauses(ledger) == {3: int(STARTED) + 6}


@pytest.mark.parametrize(
    ("low", "high", "paused"), [(0, 99, {1, 2, 4, 5}), (1, 4, {2, 4}), (0, 1, {1}), (3, 3, set()), (4, 5, {5})]
)
def test_hosts_like_a_pattern_are_paused_and_resumed_among_those_of_some_numbers(
    ledger: connect.Ledger, low: int, high: int, paused: set[int]
) -> None:
    with ledger.transaction() as db:
        pacing.pause_many(db, "a*.example.org", low, high, STARTED, None)
    assert set(pauses(ledger)) == paused
    with ledger.transaction() as db:
        pacing.pause(db, NAMES, STARTED, None)
        pacing.resume_many(db, "a*.example.org", low, high)
    assert set(pauses(ledger)) == {1, 2, 3, 4, 5} - paused


def test_another_end_of_a_pause_takes_the_place_of_the_one_before_and_the_same_is_not_written_again(ledger: connect.Ledger) -> None:
    db = ledger.connection
    for until, written in ((None, 4), (None, 0), (STARTED + 50, 4), (STARTED + 49.5, 0), (None, 4)):
        before = db.total_changes
        with ledger.transaction():
            pacing.pause_many(db, "a*", 0, 99, STARTED + 10, until)
        assert db.total_changes - before == written, until
        assert set(pauses(ledger).values()) == {math.inf if until is None else int(STARTED) + 50}


def test_of_the_hosts_that_are_paused_status_lists_the_first_ones(ledger: connect.Ledger) -> None:
    """The same ones each time, whichever is resumed first; and none whose pause is over."""
    with ledger.transaction() as db:
        for host_id, until in ((5, STARTED + 1), (4, STARTED - 1), (3, None), (2, STARTED + 3), (1, STARTED + 2)):
            db.execute("UPDATE host_rows SET paused_at = 1, paused_until = ? WHERE host_id = ?", (until, host_id))
    with open_reader(ledger.path) as reader:
        assert overview.paused_hosts(reader, STARTED, 3) == (4, NAMES[:3])
        assert overview.paused_hosts(reader, STARTED, 9) == (4, (*NAMES[:3], NAMES[4]))


@pytest.mark.parametrize(("pattern", "glob"), [("a*", "a*"), ("[!a]*", "[^a]*"), ("b?.[0-9]", "b?.[0-9]")])
def test_patterns_are_those_of_a_shell(pattern: str, glob: str) -> None:
    assert pacing.glob_of(pattern) == glob


# Limits


def test_limits_that_people_want_are_added_to_each_other_and_taken_back_by_name(ledger: connect.Ledger) -> None:
    db = ledger.connection
    pacing.want_limits(db, "a", {"connections": 1, "min_interval_s": 2.0})
    pacing.want_limits(db, "a", {"connections": 3})
    pacing.want_limits(db, "b", {"connections": 4})
    assert pacing.wanted_limits(db.execute).hosts == {"a": {"connections": 3, "min_interval_s": 2.0}, "b": {"connections": 4}}
    pacing.want_no_limits(db, "a", ["connections", "bytes_per_s"])
    pacing.want_no_limits(db, "nobody", [])
    assert pacing.wanted_limits(db.execute).hosts == {"a": {"min_interval_s": 2.0}, "b": {"connections": 4}}
    pacing.want_no_limits(db, "a", ["min_interval_s"])
    pacing.want_no_limits(db, "b", [])
    assert pacing.all_wanted(db) == []


def test_limits_that_a_run_goes_by_are_noted_of_their_host(ledger: connect.Ledger) -> None:
    limits = HostLimits(connections=3, min_interval_s=2.0, bytes_per_s=5.0, bytes_per_day=7, group="one")
    pacing.save_limits(ledger.connection, 2, limits)
    assert pacing.load(ledger.connection, 2).limits == pacing.as_saved(limits) == (3, 2.0, 5.0, 7, "one")
    assert pacing.load(ledger.connection, 1).limits != pacing.as_saved(limits)
