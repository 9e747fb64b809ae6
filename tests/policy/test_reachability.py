"""Unreachable hosts: whether host or network is at fault, which attempts count, and when a host is given up."""

from __future__ import annotations

from d4c_images.model import Failure, Status, Verdict
from d4c_images.policy.outage import LONGEST_PROBE_WAIT_S, NETWORK_SILENCE_S, Outage
from d4c_images.policy.pace import BlockPolicy, HostPace, News, after_batch, allowed, is_lost
from d4c_images.policy.reachability import Silence

NOW = 1_700_000_000.0
DAY = 86400.0
POLICY = BlockPolicy()
NO_SUCH_NAME = Verdict(Status.FAILED_TRANSIENT, "dns", "Could not resolve host", host_trouble=True, unreachable=True)


def silent(n: int = 1) -> News:
    news = News()
    for _ in range(n):
        news.trouble(Failure(NO_SUCH_NAME, -4, 0))
    return news


def test_a_host_is_shut_after_few_failures_to_reach_it() -> None:
    pace = HostPace(recent_ok=80.0)
    for n in range(POLICY.least_unreachable):
        assert allowed(pace, NOW) is None, n
        pace = after_batch(pace, silent(), NOW, POLICY)
    assert allowed(pace, NOW + 59) == 0
    assert allowed(pace, NOW + 60) == 1
    assert pace.blocked_why == "cannot be reached: dns (Could not resolve host)"


def test_an_answer_between_them_begins_anew() -> None:
    pace = HostPace()
    for _ in range(10):
        pace = after_batch(pace, silent(2), NOW, POLICY)
        pace = after_batch(pace, News(n_ok=4), NOW, POLICY)
    assert (pace.block_level, pace.n_unreachable, pace.unreachable_since) == (0, 0, None)


def test_the_words_of_the_commonest_trouble_are_told() -> None:
    news = News()
    for code, words in ((503, "We are moving house"), (503, "We are moving house"), (-1, "timed out")):
        news.trouble(Failure(Verdict(Status.FAILED_TRANSIENT, "timeout", words, host_trouble=True), code, 0))
    shut = HostPace(block_level=1, blocked_until=NOW, blocked_why="x")
    why = after_batch(shut, news, NOW, POLICY).blocked_why
    assert why == "still failing after a wait: http 503 (We are moving house)"


def test_a_lost_host_has_been_silent_for_a_day_while_others_answered() -> None:
    pace = after_batch(HostPace(), silent(3), NOW, POLICY)
    assert not is_lost(pace, NOW + DAY, NOW + DAY - 1, POLICY)
    assert is_lost(pace, NOW + 3600, NOW + DAY, POLICY)
    assert not is_lost(pace, NOW + 1, NOW + DAY, POLICY), "an answer that was under way when our network went down proves nothing"
    assert not is_lost(pace, None, NOW + 6 * DAY, POLICY), "it may be our network"
    assert is_lost(pace, None, NOW + 7 * DAY, POLICY)


def test_many_silent_hosts_are_an_outage_once_it_lasts() -> None:
    outage = Outage()
    assert not any(outage.not_reached(host_id, NOW) for host_id in range(20)), "dead ones among those that are asked first"
    outage.answered()
    assert not any(outage.not_reached(host_id, NOW + 20) for host_id in range(2))
    assert not outage.not_reached(0, NOW + 20 + NETWORK_SILENCE_S), "two hosts may well be dead"
    assert outage.not_reached(2, NOW + 20 + NETWORK_SILENCE_S)
    assert not outage.may_ask(NOW + 20 + NETWORK_SILENCE_S)


def test_an_outage_is_probed_more_and_more_seldom_and_ends_with_an_answer() -> None:
    outage, now, waits = Outage(), NOW + NETWORK_SILENCE_S, []
    for host_id in range(3):
        outage.not_reached(host_id, NOW)
    assert outage.not_reached(0, now)
    for _ in range(8):
        waits.append(outage.next_probe_at - now)
        now = outage.next_probe_at
        assert outage.may_ask(now)
        outage.asked(now)
        assert not outage.may_ask(now)
        outage.not_reached(1, now)
    assert waits == [15, 30, 60, 120, 240, LONGEST_PROBE_WAIT_S, LONGEST_PROBE_WAIT_S, LONGEST_PROBE_WAIT_S]
    outage.answered()
    assert outage.may_ask(now)


def test_what_was_counted_before_an_outage_was_seen_is_taken_back() -> None:
    """Three hosts that were well are as well as before; only since when they were silent is remembered."""
    silence, well = Silence(POLICY, None), HostPace(recent_ok=50.0)
    paces = dict.fromkeys(range(3), well)
    for second in range(12):
        for host_id in range(3):
            paces |= silence.after(host_id, paces[host_id], silent(4), NOW + second)
    assert silence.outage.down_since == NOW
    assert {(pace.recent_ok, pace.block_level, pace.unreachable_since) for pace in paces.values()} == {(50.0, 0, NOW)}
    assert silence.after(0, paces[0], News(n_ok=1), NOW + 60)[0].unreachable_since is None
    assert silence.outage.down_since is None


# What one run makes of it: whose pace changes, and who is given up

ALONE = BlockPolicy(give_up_s=100.0, give_up_alone_s=1000.0)


def given(silence: Silence, host_id: int, news: News, now: float, before: HostPace | None = None) -> dict[int, HostPace]:
    return silence.after(host_id, HostPace() if before is None else before, news, now)


def test_an_answer_of_one_host_ends_everybody_s_silence_and_changes_no_other_pace() -> None:
    silence = Silence(POLICY, None)
    assert given(silence, 1, silent(), NOW).keys() == {1}
    assert silence.outage.silent == {1: NOW}
    assert given(silence, 2, News(n_ok=1), NOW + 5).keys() == {2}
    assert (silence.outage.silent, silence.answered_at) == ({}, NOW + 5)
    for host_id in (1, 3):
        assert given(silence, host_id, silent(), NOW + 11).keys() == {host_id}
    assert silence.outage.down_since is None, "two of them, since the answer"


def test_news_without_any_answer_or_silence_are_neither() -> None:
    silence = Silence(POLICY, NOW - 50)
    for news in (News(), News(n_unasked=3), News(retry_after_s=60.0)):
        assert given(silence, 1, news, NOW).keys() == {1}
    assert (silence.answered_at, silence.outage.silent, silence.lost) == (NOW - 50, {}, {})


def test_trouble_with_an_answer_is_an_answer() -> None:
    silence, news = Silence(POLICY, None), silent()
    news.trouble(Failure(Verdict(Status.FAILED_TRANSIENT, "server_error", host_trouble=True), 500, 0))
    given(silence, 1, news, NOW)
    assert (silence.answered_at, silence.outage.silent) == (NOW, {})


def test_the_host_that_shows_an_outage_brings_back_what_all_silent_ones_were() -> None:
    """As if only time had passed: how long they could not be reached is not forgotten."""
    silence, well = Silence(POLICY, None), HostPace(recent_ok=50.0)
    shut = given(silence, 1, silent(5), NOW, well)[1]
    assert shut.block_level == 1
    given(silence, 2, silent(), NOW + 5, well)
    after = given(silence, 3, silent(), NOW + NETWORK_SILENCE_S, well)
    assert after.keys() == {1, 2, 3}
    assert {(pace.block_level, pace.blocked_until, pace.recent_ok) for pace in after.values()} == {(0, None, 50.0)}
    assert [after[number].unreachable_since for number in (1, 2, 3)] == [NOW, NOW + 5, NOW + NETWORK_SILENCE_S]
    assert given(silence, 4, silent(5), NOW + 11).keys() == {4}, "once"
    assert given(silence, 4, silent(5), NOW + 12)[4].block_level == 0, "while it lasts nothing is counted"


def lost(answered_s: float | None, n: int, after_s: float) -> bool:
    silence = Silence(ALONE, None if answered_s is None else NOW + answered_s)
    pace = HostPace(unreachable_since=NOW, n_unreachable=n - 1)
    given(silence, 7, silent(), NOW + after_s, pace)
    return silence.lost.keys() == {7}


def test_a_host_is_given_up_after_a_while_if_others_have_answered_and_after_a_long_while_if_not() -> None:
    assert not lost(60.0, 3, 99.9)
    assert lost(60.0, 3, 100.0)
    assert not lost(59.9, 3, 999.9), "that answer may have been under way when our own network went down"
    assert not lost(None, 3, 999.9)
    assert lost(None, 3, 1000.0)
    assert not lost(60.0, 2, 1e6), "it was hardly asked"
    assert lost(60.0, 4, 100.0)


def test_an_outage_begins_with_the_third_host_and_not_before_it_has_lasted() -> None:
    outage = Outage()
    assert [outage.not_reached(number, NOW + at) for number, at in ((1, 0), (2, 9), (3, 9.99), (3, 10.0), (4, 11))] == [
        *(False, False, False, True, False),
    ]  # fmt: skip
    assert outage.down_since == NOW, "since the first of them"
    assert not outage.may_ask(NOW + 24.99)
    assert outage.may_ask(NOW + 25)


def test_the_same_host_again_is_no_other_host() -> None:
    outage = Outage()
    assert not any(outage.not_reached(number % 2, NOW + number) for number in range(100))


def test_one_request_at_a_time_while_it_is_down_and_any_number_while_it_is_not() -> None:
    outage = Outage()
    outage.asked(NOW)
    assert outage.may_ask(NOW)
    for number in range(3):
        outage.not_reached(number, NOW + 5 * number)
    waits, now = [], outage.next_probe_at
    for _ in range(7):
        outage.asked(now)
        waits.append(outage.next_probe_at - now)
        now = outage.next_probe_at
    assert waits == [30, 60, 120, 240, LONGEST_PROBE_WAIT_S, LONGEST_PROBE_WAIT_S, LONGEST_PROBE_WAIT_S]
    outage.answered()
    assert outage.may_ask(NOW)
    for number in range(3):
        outage.not_reached(number, now + 5 * number)
    assert outage.next_probe_at == now + 10 + 15, "the next one begins with short waits"


def test_an_outage_is_hopeless_when_it_has_lasted_or_will_have_for_longer_than_somebody_waits() -> None:
    outage = Outage()
    assert not outage.is_hopeless(NOW, 0.0)
    for number in range(3):
        outage.not_reached(number, NOW + 5 * number)
    assert not outage.is_hopeless(NOW + 10, 15.0)
    assert outage.is_hopeless(NOW + 10, 14.9), "the next look comes too late"
    assert not outage.is_hopeless(NOW + 25, 25.0)
    assert outage.is_hopeless(NOW + 25, 24.9)
