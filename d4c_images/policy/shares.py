"""How many connections and claims a lane gets, from what its host's group and its worker have left. Pure: lends nothing.

A lane is one worker's share of a host. A host without an answer so far, or on probation, gets one connection and a claim or two.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

LANE_CONNECTIONS = 8  # at most, so that a group with many keeps several workers busy
PROBE_CLAIMS = 2  # for a host that has not answered yet: with the first answer, the next turn is lent
MAX_CLAIMS = 512  # of one turn
LEAST_CLAIMS_EACH = 2  # for each connection of a turn
LONG_TURN_S = 30.0  # a host's turns shrink if they last longer than this
SHORT_TURN_S = 10.0  # ... and grow if they last less


class Spare(NamedTuple):
    """Unused connections, and who else wants them."""

    of_group: int  # now; negative if the group has been narrowed below what is in use
    of_group_later: int  # once images come in, up to the window that the group may reach: no fewer than `of_group`
    of_worker: int
    n_waiting: int = 0  # hosts of the group waiting for a connection


class Share(NamedTuple):
    """What a lane gets for its next turn."""

    connections: int  # at most
    at_first: int | None = None  # fewer, until images come in; the worker widens by itself. None: all of them at once
    max_claims: int | None = None  # None: as many as its connections can use


def of_new_lane(spare: Spare, widths: Collection[int], allowed: int | None, *, has_answered: bool) -> Share | None:
    """The share of a new lane, next to the host's other lanes of these `widths`; None if none should start.

    `allowed` is what the host's circuit breaker admits (`pace.allowed`): None for any number of claims.
    """
    if spare.of_worker <= 0 or any(width < LANE_CONNECTIONS for width in widths):  # such a lane is widened before another begins
        return None
    if spare.of_group <= (spare.n_waiting if widths else 0):
        return None
    if allowed is not None or not has_answered:
        return Share(1, max_claims=PROBE_CLAIMS if allowed is None else allowed)
    bound = min(LANE_CONNECTIONS, spare.of_worker)
    first = min(bound, max(1, spare.of_group // (1 + spare.n_waiting)))
    most = first if spare.n_waiting else min(bound, spare.of_group_later)
    return Share(most, _if_fewer(first, most))


def of_next_turn(width: int, spare: Spare) -> Share:
    """The share of a lane of this `width` that continues: wider if there is room, narrower if its group has been narrowed."""
    room = min(LANE_CONNECTIONS - width, spare.of_worker)
    most = max(1, width + min(room, spare.of_group_later))
    return Share(most, _if_fewer(width + min(room, spare.of_group), most))


def max_claims(share: Share, claims_each: int, budget: int | None) -> int:
    """The number of claims of one turn. `budget`: of the whole run, None for no limit."""
    return min(n for n in (claims_each * share.connections, MAX_CLAIMS, share.max_claims, budget) if n is not None)


def claims_each_after(claims_each: int, lasted_s: float, *, was_full: bool, has_killed: bool) -> int:
    """Claims per connection of a host's next turn, after one that lasted `lasted_s`. `has_killed`: its worker died of it."""
    if has_killed or lasted_s > LONG_TURN_S:
        return max(LEAST_CLAIMS_EACH, claims_each // 2)
    if lasted_s < SHORT_TURN_S and was_full:
        return min(MAX_CLAIMS, claims_each * 2)
    return claims_each


def _if_fewer(first: int, most: int) -> int | None:
    return max(1, first) if first < most else None
