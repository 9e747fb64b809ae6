"""How fast may a host be asked? Waits, and the breaker on the share of trouble."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.model import Failure, OwnCode, Status, Verdict
from d4c_images.policy.limits import HostLimits
from d4c_images.policy.pace import (
    ONE_EVENT_S,
    BlockPolicy,
    HostPace,
    News,
    Speed,
    after_batch,
    allowed,
    held_back,
    least_s,
    retry_wait_s,
    speed_after,
)

POLICY = BlockPolicy()
NOW = 1_700_000_000.0
FRESH = HostPace()
BUSY = Failure(Verdict(Status.FAILED_TRANSIENT, "server_error", "Bad gateway", host_trouble=True), 502, 0)


def after(pace: HostPace, n_ok: int = 0, n_bad: int = 0, retry_after_s: float | None = None, now: float = NOW) -> HostPace:
    news = News(n_ok, retry_after_s=retry_after_s)
    for _ in range(n_bad):
        news.trouble(BUSY)
    return after_batch(pace, news, now, POLICY)


# Waits of one image -----------------------------------------------------------------------------------------------------------


def test_waits_double_and_are_spread() -> None:
    assert [retry_wait_s(attempt, 60, 3600, 0.5) for attempt in (1, 2, 3, 4)] == [30, 60, 120, 240]
    assert [retry_wait_s(attempt, 60, 3600, 0.0) for attempt in (1, 2, 3, 4)] == [6, 6, 6, 6], "not at once, all the same"
    assert retry_wait_s(9, 60, 3600, 0.999) == pytest.approx(3596.4)


@given(st.integers(-5, 10_000), st.floats(0.001, 1e4), st.floats(0.001, 1e6), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_nothing_and_never_above_the_cap(attempt: int, base_s: float, cap_s: float, u: float) -> None:
    wait_s = retry_wait_s(attempt, base_s, cap_s, u)
    assert 0 < wait_s <= cap_s
    assert retry_wait_s(attempt + 1, base_s, cap_s, u) >= wait_s


# The breaker ------------------------------------------------------------------------------------------------------------------


def test_500_errors_among_two_million_successes_never_block() -> None:
    pace = FRESH
    for _ in range(500):
        pace = after(pace, n_ok=3_800, n_bad=1)
        assert allowed(pace, NOW) is None
    assert pace.block_level == 0
    assert pace.recent_ok + pace.recent_bad <= POLICY.window


def test_an_outage_blocks_a_host_that_was_well() -> None:
    pace = after(FRESH, n_ok=1_000_000)
    batches = 0
    while allowed(pace, NOW) is None:
        pace = after(pace, n_bad=10)
        batches += 1
    assert 5 <= batches <= 15
    assert pace.blocked_until == NOW + 60
    assert "recent requests failed" in (pace.blocked_why or "")


@pytest.mark.parametrize(
    ("n_ok", "n_bad", "blocked"), [(0, 9, False), (0, 10, True), (9, 10, False), (10, 10, True), (11, 10, False)]
)
def test_the_share_decides_once_there_are_enough(n_ok: int, n_bad: int, blocked: bool) -> None:
    assert (after(FRESH, n_ok, n_bad).blocked_until is not None) is blocked
    one_by_one = FRESH
    for _ in range(n_ok):
        one_by_one = after(one_by_one, n_ok=1)
    for _ in range(n_bad):
        one_by_one = after(one_by_one, n_bad=1)
    assert (one_by_one.blocked_until is not None) is blocked


def test_a_success_never_blocks() -> None:
    pace = after(FRESH, n_ok=9, n_bad=10)
    assert after(pace, n_ok=1).blocked_until is None


def test_a_blocked_host_gets_nothing_then_one_probe_then_all() -> None:
    pace = after(FRESH, n_bad=10)
    assert allowed(pace, NOW + 59.9) == 0
    assert allowed(pace, NOW + 60) == 1
    well = after(pace, n_ok=1, now=NOW + 61)
    assert well == HostPace(recent_ok=1)
    assert allowed(well, NOW + 61) is None


def test_a_failed_probe_blocks_for_twice_as_long_up_to_an_hour() -> None:
    pace, now, waits = after(FRESH, n_bad=10), NOW, []
    for _ in range(10):
        assert pace.blocked_until is not None
        waits.append(pace.blocked_until - now)
        now = pace.blocked_until
        pace = after(pace, n_bad=1, now=now)
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]


def test_answers_to_requests_under_way_change_nothing() -> None:
    pace = after(FRESH, n_bad=10)
    assert after(pace, n_bad=16, now=NOW + 5) == pace
    assert after(pace, n_ok=3, now=NOW + 5) == pace, "a straggler is no probe"


def test_a_turn_without_an_answer_does_not_open_a_blocked_host() -> None:
    pace = after(FRESH, n_bad=10)
    assert after(pace, now=NOW + 100) == pace
    assert allowed(after(pace, now=NOW + 100), NOW + 100) == 1


def test_retry_after_holds_the_host_and_is_no_mark_against_it() -> None:
    pace = after(FRESH, n_bad=16, retry_after_s=120)
    assert (pace.block_level, pace.recent_bad, pace.blocked_until) == (0, 0, NOW + 120)
    assert allowed(pace, NOW + 119) == 0
    assert allowed(pace, NOW + 120) is None, "no probe: the host has said when"
    later = after(pace, n_ok=1, now=NOW + 121)
    assert later.blocked_until is None
    assert later.blocked_why is None


def test_a_single_short_retry_after_is_obeyed_to_the_second() -> None:
    pace = after(FRESH, n_ok=5, n_bad=1, retry_after_s=7)
    assert (pace.block_level, pace.blocked_until) == (0, NOW + 7)


def test_endless_short_retry_afters_end_in_a_block() -> None:
    pace, now = FRESH, NOW
    for _ in range(10):
        pace = after(pace, n_bad=1, retry_after_s=1, now=now)
        now += 2
    assert pace.block_level == 1
    assert allowed(pace, now) == 0


def test_the_longer_wait_wins() -> None:
    blocked = after(FRESH, n_bad=10)
    assert after(blocked, n_bad=1, retry_after_s=30, now=NOW + 1).blocked_until == NOW + 60
    assert after(blocked, n_bad=1, retry_after_s=300, now=NOW + 1).blocked_until == NOW + 301
    held = after(FRESH, n_bad=1, retry_after_s=300)
    assert after(held, n_bad=1, retry_after_s=5, now=NOW + 1).blocked_until == NOW + 300


def test_troubles_do_not_cut_a_named_wait_short() -> None:
    """Those of requests that were under way when the host named it."""
    held = after(FRESH, n_bad=1, retry_after_s=600)
    shut = after(held, n_bad=10, now=NOW + 1)
    assert (shut.block_level, shut.blocked_until) == (1, NOW + 600)
    assert allowed(shut, NOW + 599) == 0


def test_a_probe_answered_by_retry_after_keeps_the_level() -> None:
    blocked = after(FRESH, n_bad=10)
    pace = after(blocked, n_bad=1, retry_after_s=500, now=NOW + 60)
    assert (pace.block_level, pace.blocked_until) == (1, NOW + 560)
    assert allowed(pace, NOW + 560) == 1, "still to be probed"


def test_a_probe_that_has_named_a_wait_before_it_is_told_opens_the_host() -> None:
    blocked = after(FRESH, n_bad=10)
    named = after(blocked, retry_after_s=500, now=NOW + 60)
    assert (named.block_level, named.blocked_until) == (1, NOW + 560)
    opened = after_batch(named, News(n_ok=1, is_probe=True), NOW + 65, POLICY)
    assert (opened.block_level, opened.blocked_until, opened.blocked_why) == (0, NOW + 560, "asked for 8 min 20 s")
    assert after_batch(named, News(n_ok=1), NOW + 65, POLICY) == named, "of a request that was under way before"
    assert after_batch(named, News(n_bad=1, is_probe=True), NOW + 65, POLICY).block_level == 2


BATCHES = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.none() | st.floats(0.01, 1e5), st.floats(0, 5000)), max_size=30
)


@given(BATCHES)
def test_no_host_is_shut_for_ever_or_forgotten(batches: list[tuple[int, int, float | None, float]]) -> None:
    pace, now = FRESH, NOW
    for n_ok, n_bad, retry_after_s, pause_s in batches:
        now += pause_s
        pace = after(pace, n_ok, n_bad, retry_after_s, now)
        assert pace.recent_ok >= 0
        assert pace.recent_bad >= 0
        assert (pace.blocked_until is None) == (pace.blocked_why is None)
        assert pace.blocked_until is None or pace.blocked_until <= now + max(3600, 1e5)
        assert (pace.block_level > 0) <= (pace.blocked_until is not None), "a level without a block would never be probed"
        if retry_after_s:
            assert allowed(pace, now) == 0
    after_all = max(now, pace.blocked_until or 0)
    assert allowed(pace, after_all) != 0
    assert allowed(after(pace, n_ok=1, now=after_all), after_all) is None


def test_a_host_that_never_answers_in_time_is_shut_sooner() -> None:
    """Ten answers of 500 cost seconds, ten time-outs minutes."""
    silent = Failure(Verdict(Status.FAILED_TRANSIENT, "timeout", host_trouble=True), OwnCode.STALLED, 0)
    pace, n = FRESH, 0
    while allowed(pace, NOW) is None:
        news = News()
        news.trouble(silent)
        pace, n = after_batch(pace, news, NOW, POLICY), n + 1
    assert n == 4
    assert after(FRESH, n_ok=1, n_bad=3).blocked_until is None


def again(pace: HostPace, n_bad: int, failure: Failure = BUSY) -> HostPace:
    """Images fail that have failed before."""
    news = News()
    for _ in range(n_bad):
        news.trouble(failure, is_again=True)
    return after_batch(pace, news, NOW, POLICY)


def test_images_that_fail_again_are_no_mark_against_a_host_that_works() -> None:
    pace = after(FRESH, n_ok=1)
    for _ in range(1000):
        pace = again(pace, n_bad=1)
    assert (pace.recent_ok, pace.recent_bad, pace.blocked_until) == (1, 0, None)
    pace = after(pace, n_bad=30)
    assert allowed(pace, NOW) == 0, "images that fail for the first time are one"
    assert allowed(again(FRESH, n_bad=10), NOW) == 0, "and so is everything where nothing has worked yet"
    probed = again(pace, n_bad=1)
    assert probed == pace, "under way when it was shut"
    shut = after_batch(pace, News(n_bad=1, n_again=1), NOW + 60, POLICY)
    assert shut.block_level == 2, "or since it was shut"


@pytest.mark.parametrize(
    ("failure", "n"),
    [
        (Failure(Verdict(Status.FAILED_TRANSIENT, "rate_limited", host_trouble=True), 429, 0), 10),
        (Failure(Verdict(Status.FAILED_TRANSIENT, "connect", host_trouble=True, unreachable=True), OwnCode.CONNECT, 0), 3),
    ],
)
def test_what_is_about_no_image_counts_each_time(failure: Failure, n: int) -> None:
    pace = after(FRESH, n_ok=10)
    assert allowed(again(pace, n, failure), NOW) == 0


def test_a_wait_that_a_host_of_the_group_asks_for() -> None:
    pace = held_back(FRESH, 30, NOW, "b01.example.org")
    assert (pace.blocked_until, pace.blocked_why, pace.block_level) == (NOW + 30, "b01.example.org asked for 30 s", 0)


# The width of a group ---------------------------------------------------------------------------------------------------------

OVERLOADS = [
    Failure(Verdict(Status.FAILED_TRANSIENT, "rate_limited", host_trouble=True), 429, 0),
    Failure(Verdict(Status.FAILED_TRANSIENT, "server_error", host_trouble=True), 503, 0),
    Failure(Verdict(Status.FAILED_TRANSIENT, "timeout", host_trouble=True), OwnCode.TIMEOUT, 0),
    Failure(Verdict(Status.FAILED_TRANSIENT, "server_error", wait_s=5.0, host_trouble=True), 500, 0),
]


def pictures(n: int, took_s: float) -> News:
    news = News()
    for _ in range(n):
        news.success(took_s)
    return news


def test_a_healthy_host_soon_gets_all_that_it_bears() -> None:
    speed, widths = Speed(), []
    for _ in range(5):
        speed = speed_after(speed, pictures(int(speed.width), 0.3), 16, NOW)
        widths.append(speed.width)
    assert widths == [2, 4, 8, 16, 16]


def test_after_trouble_it_grows_by_one_a_round() -> None:
    speed = speed_after(Speed(16.0, 0.3), _news(OVERLOADS[0]), 16, NOW)
    assert speed.width == 8
    for _ in range(3):
        speed = speed_after(speed, pictures(int(speed.width), 0.3), 16, NOW + 60)
    assert 10 < speed.width <= 11


@pytest.mark.parametrize("failure", OVERLOADS)
def test_signs_of_overload_halve_it_once_for_each_event(failure: Failure) -> None:
    once = speed_after(Speed(8.0), _news(failure), 8, NOW)
    assert once.width == 4
    assert speed_after(once, _news(failure), 8, NOW + ONE_EVENT_S / 2).width == 4
    assert speed_after(once, _news(failure), 8, NOW + ONE_EVENT_S).width == 2
    assert speed_after(Speed(1.0), _news(failure), 8, NOW).width == 1


def test_a_storm_of_fast_errors_is_no_fast_host() -> None:
    gone, broken = News(n_ok=1000), News()
    for _ in range(1000):
        broken.trouble(Failure(Verdict(Status.FAILED_TRANSIENT, "server_error", host_trouble=True), 500, 0))
    for news in (gone, broken, News(n_ok=1000, n_success=10, success_s=0.01)):
        assert speed_after(Speed(2.0, 0.5), news, 16, NOW) == Speed(2.0, 0.5)


def test_a_host_that_gets_slower_gets_no_more() -> None:
    speed = Speed(4.0, 0.3)
    assert speed_after(speed, pictures(4, 1.5), 16, NOW).width == 4
    assert speed_after(speed, pictures(4, 0.4), 16, NOW).width == 8
    for _ in range(200):
        speed = speed_after(speed, pictures(4, 1.5), 16, NOW)
    assert speed.width == 16, "that is how it is now"


NEWS = st.one_of(
    st.builds(pictures, st.integers(1, 600), st.floats(0.001, 600)),
    st.builds(lambda failures: _news(*failures), st.lists(st.sampled_from([*OVERLOADS, BUSY]), min_size=1, max_size=20)),
    st.builds(lambda n: News(n_ok=n), st.integers(0, 500)),
)


@given(st.lists(st.tuples(NEWS, st.integers(1, 256), st.floats(0, 100)), max_size=40))
def test_the_width_keeps_its_bounds_and_never_grows_on_trouble(batches: list[tuple[News, int, float]]) -> None:
    speed, now, most = Speed(), NOW, 256
    for news, limit, pause_s in batches:
        most, now = min(most, limit), now + pause_s  # limits may be lowered
        after = speed_after(speed, news, most, now)
        assert after.width >= 1
        assert after.width <= max(most, speed.width)
        assert not news.n_success or news.n_bad or after.width <= most
        if news.n_bad or not news.n_success:
            assert after.width <= speed.width
        assert after.width <= 2 * speed.width
        speed = after


def _news(*failures: Failure) -> News:
    news = News()
    for failure in failures:
        news.trouble(failure)
    return news


def test_the_least_time_of_what_is_left() -> None:
    assert least_s(100, HostLimits(connections=4), 2.0, 0) == 50
    assert least_s(100, HostLimits(connections=4, min_interval_s=3), 2.0, 0) == 300
    assert least_s(100, HostLimits(connections=4, bytes_per_s=1000), 2.0, 5000) == 500
    assert least_s(100, HostLimits(connections=4, bytes_per_day=864_000_000), 2.0, 5000) == 50
    assert least_s(100, HostLimits(connections=4, bytes_per_day=86_400), 2.0, 5000) == 500_000
    assert 0 < least_s(100, HostLimits(), None, 0) < 100


# At the very boundaries


@pytest.mark.parametrize(
    ("width", "most", "after_it"), [(16.0, 16, 8.0), (16.0, 4, 2.0), (3.0, 16, 1.5), (1.5, 16, 1.0), (1.0, 16, 1.0)]
)
def test_half_of_what_the_limits_allow_and_never_less_than_one(width: float, most: int, after_it: float) -> None:
    assert speed_after(Speed(width, 0.3), _news(OVERLOADS[0]), most, NOW) == Speed(after_it, 0.3, NOW)


def test_a_clock_that_was_set_back_makes_no_event_last_for_ever() -> None:
    narrowed = Speed(8.0, 0.3, NOW + 3600)
    assert speed_after(narrowed, _news(OVERLOADS[0]), 16, NOW).width == 4


@pytest.mark.parametrize(("n_success", "n_ok", "wider"), [(5, 10, True), (5, 11, False), (1, 1, True), (1, 2, True), (1, 3, False)])
def test_half_of_the_answers_have_to_be_pictures(n_success: int, n_ok: int, wider: bool) -> None:
    news = News(n_ok=n_ok, n_success=n_success, success_s=0.3 * n_success)
    assert (speed_after(Speed(2.0, 0.3), news, 16, NOW).width > 2.0) is wider


def test_one_trouble_among_any_number_of_pictures_leaves_the_width_as_it_is() -> None:
    news = pictures(100, 0.3)
    news.trouble(BUSY)
    assert speed_after(Speed(2.0, 0.3), news, 16, NOW) == Speed(2.0, 0.3)


@pytest.mark.parametrize(
    ("usual_s", "took_s", "wider"), [(0.3, 0.649, True), (0.3, 0.651, False), (0.001, 0.05, True), (0.001, 0.06, False)]
)
def test_what_is_slower_than_usual(usual_s: float, took_s: float, wider: bool) -> None:
    assert (speed_after(Speed(2.0, usual_s), pictures(2, took_s), 16, NOW).width > 2.0) is wider


def test_the_usual_follows_what_is_faster_soon_and_what_is_slower_late() -> None:
    assert speed_after(Speed(2.0, 0.8), pictures(2, 0.4), 16, NOW).latency_s == pytest.approx(0.7)
    assert speed_after(Speed(2.0, 0.4), pictures(2, 0.72), 16, NOW).latency_s == pytest.approx(0.41)


@pytest.mark.parametrize(("n", "after_it"), [(1, 4.25), (2, 4.5), (4, 5.0), (400, 5.0)])
def test_once_narrowed_it_grows_by_a_share_of_one_for_each_picture(n: int, after_it: float) -> None:
    assert speed_after(Speed(4.0, 0.3, NOW - 100), pictures(n, 0.3), 16, NOW).width == pytest.approx(after_it)


@pytest.mark.parametrize(("n", "after_it"), [(1, 5.0), (3, 7.0), (4, 8.0), (400, 8.0)])
def test_before_it_was_ever_narrowed_it_grows_by_one_for_each_picture_up_to_twice_as_much(n: int, after_it: float) -> None:
    assert speed_after(Speed(4.0, 0.3), pictures(n, 0.3), 16, NOW).width == after_it


def test_a_wait_that_a_host_has_named_needs_no_probe_and_one_that_we_have_set_does() -> None:
    assert allowed(HostPace(blocked_until=NOW), NOW) is None
    assert allowed(HostPace(blocked_until=NOW), NOW - 0.001) == 0
    assert allowed(HostPace(blocked_until=NOW, block_level=1), NOW) == 1
    assert allowed(HostPace(blocked_until=NOW, block_level=1), NOW - 0.001) == 0


@pytest.mark.parametrize(("retry_after_s", "level"), [(59.9, 1), (60.0, 0), (60.1, 0)])
def test_a_wait_takes_the_place_of_a_block_where_it_is_as_long(retry_after_s: float, level: int) -> None:
    pace = after(FRESH, n_bad=10, retry_after_s=retry_after_s)
    assert (pace.block_level, pace.blocked_until) == (level, NOW + max(60.0, retry_after_s))


def test_a_wait_that_still_holds_is_not_ended_by_a_good_answer() -> None:
    held = after(FRESH, n_ok=1, retry_after_s=600)
    assert after(held, n_ok=50, now=NOW + 599.9).blocked_until == NOW + 600
    assert after(held, n_ok=1, now=NOW + 600).blocked_until is None


def test_a_wait_that_ends_at_the_same_moment_is_no_new_one() -> None:
    held = after(FRESH, n_ok=1, retry_after_s=600)
    again = held_back(held, 590, NOW + 10, "b.example.org")
    assert again == held
    assert held_back(held, 590.5, NOW + 10, "b.example.org").blocked_why == "b.example.org asked for 9 min 50 s"


def test_a_window_of_answers_is_kept_whole_and_fades_beyond_it() -> None:
    assert after(FRESH, n_ok=100).recent_ok == 100
    assert after(FRESH, n_ok=101).recent_ok == 50.5
    pace = after(FRESH, n_ok=90, n_bad=20)
    assert (pace.recent_ok, pace.recent_bad) == (45, 10)


@pytest.mark.parametrize("failure", [BUSY, *OVERLOADS])
def test_what_makes_trouble_an_overload(failure: Failure) -> None:
    news = _news(failure)
    assert (news.n_bad, news.n_overload) == (1, int(failure is not BUSY))
    assert news.is_reachable
    assert news.has_answer == (failure.code != OwnCode.TIMEOUT)


def test_a_host_that_is_not_there_is_overloaded_and_has_not_answered() -> None:
    news = _news(Failure(Verdict(Status.FAILED_TRANSIENT, "connect", host_trouble=True, unreachable=True), OwnCode.CONNECT, 0))
    assert (news.n_overload, news.n_unreachable, news.is_reachable, news.has_answer) == (1, 1, False, False)
    news.trouble(BUSY)
    assert (news.is_reachable, news.has_answer) == (True, True)


def test_addresses_that_nobody_may_ask_say_that_there_is_nothing_to_be_careful_about() -> None:
    assert News(n_unasked=1).has_answer
    assert not News(n_unasked=1).is_reachable
    assert not News(n_unasked=1, n_bad=1, n_unreachable=1).has_answer
    assert not News().has_answer
