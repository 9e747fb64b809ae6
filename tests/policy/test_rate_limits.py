"""What `RateLimit` headers of every vintage ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.policy.rate_limits import LONGEST_NAMED_WAIT_S, Slowdown, wish_of

NOW = 1_800_000_000.0
NOTHING = Slowdown(0.0, 0.0)
TABLE: list[tuple[dict[str, str], Slowdown]] = [
    # draft 10
    ({"ratelimit": '"default";r=0;t=30'}, Slowdown(30, 0)),
    ({"ratelimit": '"default";r=5;t=30'}, Slowdown(0, 6)),
    ({"ratelimit": '"default";r=60;t=30', "ratelimit-policy": '"default";q=100;w=60'}, NOTHING),
    ({"ratelimit": '"default";r=15;t=30', "ratelimit-policy": '"default";q=100;w=60'}, Slowdown(0, 2)),
    ({"ratelimit": '"hour";r=0;t=1800, "second";r=1;t=1'}, Slowdown(1800, 1)),
    ({"ratelimit": '"a,b";t=7;r=0;pk=:cHM=:'}, Slowdown(7, 0)),
    ({"ratelimit": "default;r=0;t=30"}, Slowdown(30, 0)),
    ({"ratelimit": '"default";r=0'}, NOTHING),
    ({"ratelimit": '"default";t=30'}, NOTHING),
    # draft 7
    ({"ratelimit": "limit=100, remaining=0, reset=50"}, Slowdown(50, 0)),
    ({"ratelimit": "limit=100,remaining=25,reset=50"}, Slowdown(0, 2)),
    ({"ratelimit": "limit=100, remaining=75, reset=50"}, NOTHING),
    ({"ratelimit": "remaining=10, reset=50"}, Slowdown(0, 5)),
    # draft 6 and before
    ({"ratelimit-limit": "10", "ratelimit-remaining": "0", "ratelimit-reset": "9"}, Slowdown(9, 0)),
    ({"ratelimit-limit": "10, 10;w=1, 1000;w=3600", "ratelimit-remaining": "2", "ratelimit-reset": "8"}, Slowdown(0, 4)),
    ({"ratelimit-remaining": "0"}, NOTHING),
    ({"ratelimit-reset": "60"}, NOTHING),
    # what everybody else has: seconds, the time since 1970, the same in milliseconds
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "60"}, Slowdown(60, 0)),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000090"}, Slowdown(90, 0)),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000090500"}, Slowdown(90.5, 0)),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1799999999"}, NOTHING),
    ({"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999", "x-ratelimit-reset": "1800003600"}, NOTHING),
    ({"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "100", "x-ratelimit-reset": "1800003600"}, Slowdown(0, 36)),
    ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": "12.7"}, Slowdown(13, 0)),  # never cut short
    # by the clock of the server that says so, here an hour ahead
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800003602", "date": "Fri, 15 Jan 2027 09:00:00 GMT"}, Slowdown(2, 0)),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800003602", "date": "a while ago"}, Slowdown(3602, 0)),
    # nonsense
    ({}, NOTHING),
    ({"ratelimit": ""}, NOTHING),
    ({"ratelimit": "unlimited"}, NOTHING),
    ({"ratelimit": '"default";r=many;t=30'}, NOTHING),
    ({"ratelimit": '"default;r=0;t=30'}, Slowdown(30, 0)),
    ({"x-ratelimit-remaining": "-1", "x-ratelimit-reset": "60"}, Slowdown(60, 0)),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "-5"}, NOTHING),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "0"}, NOTHING),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "Tue, 01 Jan 2030 00:00:00 GMT"}, NOTHING),
    ({"x-ratelimit-remaining": "none", "x-ratelimit-reset": "60"}, NOTHING),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "999999999"}, Slowdown(LONGEST_NAMED_WAIT_S, 0)),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" * 18}, Slowdown(LONGEST_NAMED_WAIT_S, 0)),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" * 400}, NOTHING),
]


@pytest.mark.parametrize(("headers", "wish"), TABLE)
def test_headers_of_a_rate_limit_become_this_wish(headers: dict[str, str], wish: Slowdown) -> None:
    assert wish_of(headers, NOW) == wish


NUMBERS = ("limit", "remaining", "reset")
NAMES = ["ratelimit", "ratelimit-policy", *(f"ratelimit-{name}" for name in NUMBERS), *(f"x-ratelimit-{name}" for name in NUMBERS)]


@given(st.dictionaries(st.sampled_from(NAMES), st.text('"=;, rtqw0123456789-.remainingset', max_size=60)))
def test_no_header_breaks_anything(headers: dict[str, str]) -> None:
    hold_s, interval_s = wish_of(headers, NOW)
    assert 0 <= hold_s <= LONGEST_NAMED_WAIT_S
    assert 0 <= interval_s <= LONGEST_NAMED_WAIT_S
