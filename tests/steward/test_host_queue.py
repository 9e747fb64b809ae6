"""Who goes first when there is no room for all: those whose images take longest, but nobody waits for ever."""

from __future__ import annotations

import tracemalloc
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.steward.compact_heap import LEAST_PRUNED
from d4c_images.steward.host_queue import PASSED_OVER_S, Agenda


def add(agenda: Agenda, number: int, when: float, least_s: float = 1.0, *, has_answered: bool = True) -> None:
    agenda.add(number, when, least_s, has_answered=has_answered)


def test_the_host_that_ends_last_goes_first() -> None:
    agenda = Agenda()
    for number, least_s in enumerate([5.0, 500.0, 50.0], 1):
        add(agenda, number, 10.0, least_s)
    add(agenda, 9, 11.0, 9999.0)
    assert [agenda.pop(10.5, may_be_new=True) for _ in range(3)] == [2, 3, 1]
    assert agenda.pop(10.5, may_be_new=True) is None, "its time has not come"
    assert agenda.next_at() == 11.0


def test_of_hosts_that_are_passed_over_every_second_place_goes_to_the_one_that_waits_longest() -> None:
    """The other places still go to the hosts that end last: else a long queue would be served in the order of arrival alone."""
    agenda = Agenda()
    for number in range(1, 7):
        add(agenda, number, float(number), least_s=float(10 * number))
    assert agenda.pop(6.5, may_be_new=True) == 6, "nobody is passed over yet"
    late = 7.0 + PASSED_OVER_S
    assert [agenda.pop(late, may_be_new=True) for _ in range(5)] == [5, 1, 4, 2, 3]


def test_hosts_that_have_not_answered_wait_for_their_own_room() -> None:
    agenda = Agenda()
    add(agenda, 1, 0.0, 1e6, has_answered=False)
    add(agenda, 2, 0.0)
    assert agenda.pop(1.0, may_be_new=False) == 2
    assert agenda.pop(1.0, may_be_new=False) is None
    assert agenda.is_crowded
    assert agenda.pop(1.0, may_be_new=True) == 1
    assert not agenda.is_crowded


def test_who_is_dropped_does_not_come_back() -> None:
    agenda = Agenda()
    add(agenda, 1, 5.0)
    add(agenda, 2, 0.0)
    assert agenda.pop(0.0, may_be_new=False) == 2
    agenda.drop(1)
    assert agenda.first() is None
    add(agenda, 1, 3.0)
    assert agenda.pop(3.0, may_be_new=False) == 1


def test_many_at_once_are_as_one_by_one() -> None:
    """Those whose time has come, by how long they take; the others when theirs comes; and who is added again, only once."""
    agenda, n = Agenda(), 20_000
    host_ids = np.arange(1, n + 1, dtype=np.int32)
    least_s = np.random.default_rng(1).permutation(n).astype(float)
    whens = np.where(host_ids % 2, 0.0, 100.0)
    agenda.add_all(array("i", host_ids), array("d", whens), array("d", least_s))
    for number in (1, 2, 3):
        add(agenda, number, 50.0, 7.0)
    first = [agenda.pop(1.0, may_be_new=True) for _ in range(n // 2)]
    assert first == [number for number in (1 + np.argsort(-least_s)).tolist() if number % 2]
    assert agenda.pop(1.0, may_be_new=True) is None
    assert (agenda.next_at(), agenda.is_crowded) == (50.0, False)
    second = [agenda.pop(100.0, may_be_new=True) for _ in range(n // 2)]
    assert sorted(filter(None, second)) == list(range(2, n + 1, 2))
    assert agenda.pop(200.0, may_be_new=True) is None


def test_what_no_longer_counts_is_not_kept() -> None:
    """Hosts that come and go, again and again, where most wait for ever."""
    agenda = Agenda()
    for number in range(1, 501):
        add(agenda, number, 0.0, 1e9)
    for n in range(30_000):
        add(agenda, 3000 + n % 100, float(n))
        assert agenda.pop(float(n), may_be_new=False)
    heaps = [agenda._later, *(heap for crowd in agenda._crowds for heap in (crowd._longest, crowd._oldest))]
    assert max(map(len, heaps)) <= 2 * LEAST_PRUNED


@pytest.mark.slow
def test_a_million_hosts_that_wait_take_some_dozen_bytes_each() -> None:
    peaks = []
    for n in (200_000, 400_000):
        tracemalloc.start()
        agenda = Agenda()
        agenda.add_all(array("i", range(1, n + 1)), array("d", bytes(8 * n)), array("d", np.random.default_rng(1).random(n)))
        assert agenda.pop(1.0, may_be_new=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 150 * 400_000
    assert peaks[1] < 2.3 * peaks[0]


@given(st.lists(st.integers(1, 10**8), min_size=2, max_size=60), st.integers(1, 4), st.floats(1.0, 60.0))
def test_no_host_starves(sizes: list[int], room: int, turn_s: float) -> None:
    """For ever more hosts than room, all of which want another turn at once: each waits no longer than until all others had two."""
    agenda, now = Agenda(), 0.0
    hosts = list(range(1, len(sizes) + 1))
    waiting_since = dict.fromkeys(hosts, 0.0)
    longest_s = PASSED_OVER_S + turn_s * (2 * len(hosts) / room + 2)
    for one in hosts:
        add(agenda, one, now, sizes[one - 1])
    for _ in range(4 * len(hosts)):
        lent = [one for _ in range(room) if (one := agenda.pop(now, may_be_new=True)) is not None]
        assert lent
        for one in lent:
            assert now - waiting_since[one] <= longest_s
        now += turn_s
        for one in lent:
            waiting_since[one] = now
            add(agenda, one, now, sizes[one - 1])
    assert max(now - since for since in waiting_since.values()) <= longest_s
