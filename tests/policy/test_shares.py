"""How many connections and claims does a lane get? One row per case, then what holds for any group, worker and line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.policy.limits import HostLimits
from d4c_images.policy.pace import Speed
from d4c_images.policy.shares import (
    LANE_CONNECTIONS,
    LEAST_CLAIMS_EACH,
    LONG_TURN_S,
    MAX_CLAIMS,
    PROBE_CLAIMS,
    SHORT_TURN_S,
    Share,
    Spare,
    claims_each_after,
    max_claims,
    of_new_lane,
    of_next_turn,
)
from d4c_images.steward.hosts import PolitenessGroup

FULL = LANE_CONNECTIONS


@pytest.mark.parametrize(
    ("spare", "widths", "expected"),
    [
        pytest.param(Spare(4, 4, 32), [], Share(4), id="all that the group has"),
        pytest.param(Spare(2, 6, 32), [], Share(6, at_first=2), id="more once pictures come in"),
        pytest.param(Spare(20, 20, 32), [], Share(FULL), id="no more than a lane may have"),
        pytest.param(Spare(3, 20, 32), [], Share(FULL, at_first=3), id="nor later"),
        pytest.param(Spare(6, 6, 2), [], Share(2), id="no more than the worker has room for"),
        pytest.param(Spare(1, 6, 2), [], Share(2, at_first=1), id="... nor later"),
        pytest.param(Spare(6, 6, 32, n_waiting=2), [], Share(2), id="a part of it if others wait"),
        pytest.param(Spare(6, 9, 32, n_waiting=2), [], Share(2), id="... and it does not grow"),
        pytest.param(Spare(2, 2, 32, n_waiting=5), [], Share(1), id="at least one if many wait"),
        pytest.param(Spare(0, 0, 32), [], None, id="none if the group has none"),
        pytest.param(Spare(-2, 0, 32), [], None, id="none if the group has been narrowed"),
        pytest.param(Spare(4, 4, 0), [], None, id="none if no worker has room"),
        pytest.param(Spare(4, 4, 32), [FULL - 1], None, id="none beside a lane that can be widened"),
        pytest.param(Spare(4, 4, 32), [FULL, FULL - 1], None, id="... even if another lane is full"),
        pytest.param(Spare(4, 4, 32), [FULL], Share(4), id="another lane beside a full one"),
        pytest.param(Spare(4, 4, 32, n_waiting=4), [FULL], None, id="no other lane if the rest is for those who wait"),
        pytest.param(Spare(5, 5, 32, n_waiting=4), [FULL], Share(1), id="another lane if they leave some"),
    ],
)
def test_a_new_lane_gets(spare: Spare, widths: list[int], expected: Share | None) -> None:
    assert of_new_lane(spare, widths, None, has_answered=True) == expected


@pytest.mark.parametrize(
    ("allowed", "has_answered", "expected"),
    [
        pytest.param(None, False, Share(1, max_claims=PROBE_CLAIMS), id="a host that has not answered yet"),
        pytest.param(1, False, Share(1, max_claims=1), id="... and is on probation"),
        pytest.param(1, True, Share(1, max_claims=1), id="a host that has answered and is on probation"),
    ],
)
def test_a_probe_gets_one_connection(allowed: int | None, has_answered: bool, expected: Share) -> None:
    assert of_new_lane(Spare(8, 8, 32), [], allowed, has_answered=has_answered) == expected


@pytest.mark.parametrize(
    ("width", "spare", "expected"),
    [
        pytest.param(4, Spare(0, 0, 32), Share(4), id="as before if nothing is left"),
        pytest.param(2, Spare(3, 3, 32), Share(5), id="wider by what is left"),
        pytest.param(2, Spare(1, 3, 32), Share(5, at_first=3), id="wider by some, and by more once pictures come in"),
        pytest.param(2, Spare(3, 3, 1), Share(3), id="no wider than its worker has room for"),
        pytest.param(2, Spare(3, 3, 0), Share(2), id="as before if its worker has no room"),
        pytest.param(6, Spare(9, 9, 32), Share(FULL), id="no wider than a lane may be"),
        pytest.param(FULL, Spare(9, 9, 32), Share(FULL), id="as before if it is full"),
        pytest.param(6, Spare(-4, -4, 32), Share(2), id="narrower if the group has been narrowed"),
        pytest.param(6, Spare(-4, 2, 32), Share(FULL, at_first=2), id="... until pictures come in"),
        pytest.param(2, Spare(-4, -4, 32), Share(1, at_first=1), id="never without a connection"),
        pytest.param(2, Spare(-4, 0, 32), Share(2, at_first=1), id="... nor at first"),
    ],
)
def test_the_next_turn_of_a_lane_gets(width: int, spare: Spare, expected: Share) -> None:
    assert of_next_turn(width, spare) == expected


@pytest.mark.parametrize(
    ("share", "claims_each", "budget", "expected"),
    [
        pytest.param(Share(4), 8, None, 32, id="some for each connection"),
        pytest.param(Share(8), 512, None, MAX_CLAIMS, id="no more than a turn may have"),
        pytest.param(Share(1, max_claims=1), 8, None, 1, id="one of a host on probation"),
        pytest.param(Share(1, max_claims=PROBE_CLAIMS), 1, None, 1, id="no more for a probe than for others"),
        pytest.param(Share(4), 8, 5, 5, id="no more than the run may still lend"),
        pytest.param(Share(4), 8, 0, 0, id="none if it may lend none"),
    ],
)
def test_a_turn_has_at_most(share: Share, claims_each: int, budget: int | None, expected: int) -> None:
    assert max_claims(share, claims_each, budget) == expected


@pytest.mark.parametrize(
    ("lasted_s", "was_full", "has_killed", "expected"),
    [
        pytest.param(SHORT_TURN_S - 1, True, False, 16, id="a short full turn: more"),
        pytest.param(SHORT_TURN_S - 1, False, False, 8, id="a short turn that had few claims: as before"),
        pytest.param(SHORT_TURN_S, True, False, 8, id="neither short nor long: as before"),
        pytest.param(LONG_TURN_S, True, False, 8, id="... up to the limit"),
        pytest.param(LONG_TURN_S + 1, True, False, 4, id="a long turn: fewer"),
        pytest.param(SHORT_TURN_S - 1, True, True, 4, id="a turn that its worker died of: fewer"),
    ],
)
def test_the_next_turn_has_for_each_connection(lasted_s: float, was_full: bool, has_killed: bool, expected: int) -> None:
    assert claims_each_after(8, lasted_s, was_full=was_full, has_killed=has_killed) == expected


def test_claims_for_each_connection_have_bounds() -> None:
    assert claims_each_after(MAX_CLAIMS, SHORT_TURN_S - 1, was_full=True, has_killed=False) == MAX_CLAIMS
    assert claims_each_after(LEAST_CLAIMS_EACH, LONG_TURN_S + 1, was_full=True, has_killed=False) == LEAST_CLAIMS_EACH


@given(st.lists(st.tuples(st.floats(0.0, 1e6), st.booleans(), st.booleans()), max_size=30))
def test_claims_for_each_connection_stay_within_bounds(turns: list[tuple[float, bool, bool]]) -> None:
    claims_each = LEAST_CLAIMS_EACH
    for lasted_s, was_full, has_killed in turns:
        claims_each = claims_each_after(claims_each, lasted_s, was_full=was_full, has_killed=has_killed)
        assert LEAST_CLAIMS_EACH <= claims_each <= MAX_CLAIMS


SPARE = st.builds(
    lambda now, more, of_worker, n_waiting: Spare(now, now + more, of_worker, n_waiting),
    st.integers(-20, 40),
    st.integers(0, 20),
    st.integers(0, 64),
    st.integers(0, 50),
)


def is_sound(share: Share) -> bool:
    """At least one connection, at first as well, and no more of them then than later."""
    return 1 <= share.connections <= LANE_CONNECTIONS and (share.at_first is None or 1 <= share.at_first <= share.connections)


@given(SPARE, st.lists(st.integers(1, LANE_CONNECTIONS), max_size=4), st.sampled_from([None, 1]), st.booleans())
def test_a_new_lane_takes_no_more_than_is_left(spare: Spare, widths: list[int], allowed: int | None, has_answered: bool) -> None:
    share = of_new_lane(spare, widths, allowed, has_answered=has_answered)
    if share is None:
        return
    assert is_sound(share)
    assert share.connections <= spare.of_worker
    assert share.connections <= max(spare.of_group, spare.of_group_later)
    assert (share.at_first or share.connections) <= spare.of_group
    assert all(width == LANE_CONNECTIONS for width in widths)
    if allowed is not None or not has_answered:
        assert share.connections == 1
        assert share.max_claims is not None
        assert share.max_claims <= PROBE_CLAIMS
    if widths:
        assert spare.of_group > spare.n_waiting, "those who wait have theirs first"
    if spare.n_waiting:
        assert share.at_first is None
        assert share.connections == 1 or share.connections * (1 + spare.n_waiting) <= spare.of_group


@given(SPARE)
def test_a_host_begins_whenever_its_group_and_a_worker_have_a_connection(spare: Spare) -> None:
    assert (of_new_lane(spare, [], None, has_answered=True) is not None) == (spare.of_group > 0 and spare.of_worker > 0)


@given(SPARE, st.integers(1, LANE_CONNECTIONS))
def test_a_lane_grows_by_no_more_than_is_left(spare: Spare, width: int) -> None:
    share = of_next_turn(width, spare)
    assert is_sound(share)
    assert share.max_claims is None
    grown = share.connections - width
    assert grown <= spare.of_worker
    assert grown <= max(0, spare.of_group_later) or share.connections == 1
    assert (share.at_first or share.connections) - width <= max(0, spare.of_group_later)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 12)), max_size=40),
)
def test_lanes_that_begin_and_go_on_never_have_more_than_their_group(
    most: int, width: int, was_narrowed: bool, moves: list[tuple[int, int, int]]
) -> None:
    """Some hosts of one group on some workers: whatever begins, goes on or ends, in any order."""
    speed = Speed(width=float(width), narrowed_at=0.0 if was_narrowed else None)
    group = PolitenessGroup("museum", HostLimits(connections=most), speed, is_shared=True)
    lanes: list[int] = []
    for move, at, of_worker in moves:
        if move == 0 and lanes:
            lanes.pop(at % len(lanes))
        elif move == 1 and lanes:
            number = at % len(lanes)
            lanes[number] = of_next_turn(lanes[number], Spare(group.width - group.granted, group.reach, of_worker)).connections
        else:
            share = of_new_lane(Spare(group.free, group.reach, of_worker, at), [], None, has_answered=True)
            lanes += [share.connections] if share is not None else []
        group.granted = sum(lanes)
        assert group.granted <= (group.width if was_narrowed else most)
