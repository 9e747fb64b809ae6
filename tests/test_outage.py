"""Hosts that cannot be reached: whose fault it is, what is counted, and when one is given up."""

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
    assert why == "still in trouble after a wait: http 503 (We are moving house)"


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
