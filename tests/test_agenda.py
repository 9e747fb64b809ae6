"""Who goes first when there is no room for all: those whose images take longest, but nobody waits for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from d4c_images.agenda import PATIENCE_S, Agenda
from d4c_images.limits import HostLimits
from d4c_images.pace import HostPace, Speed
from d4c_images.roster import Group, Host


def host(number: int, n_left: int, *, has_answered: bool = True) -> Host:
    group = Group(f"h{number}", HostLimits(connections=2), Speed(latency_s=1.0))
    one = Host(number, f"h{number}", group, HostPace(), n_left, has_answered=has_answered)
    group.hosts.append(one)
    return one


def test_the_host_that_ends_last_goes_first() -> None:
    agenda = Agenda()
    for number, n_left in enumerate([5, 500, 50]):
        agenda.add(host(number, n_left), 10.0)
    agenda.add(host(9, 9999), 11.0)
    order = [one.n_left for _ in range(3) if (one := agenda.pop(10.5, may_be_new=True)) is not None]
    assert order == [500, 50, 5]
    assert agenda.pop(10.5, may_be_new=True) is None, "its time has not come"
    assert agenda.next_at() == 11.0


def test_hosts_that_have_not_answered_wait_for_their_own_room() -> None:
    agenda = Agenda()
    new, known = host(1, 10**6, has_answered=False), host(2, 1)
    agenda.add(new, 0.0)
    agenda.add(known, 0.0)
    assert agenda.pop(1.0, may_be_new=False) is known
    assert agenda.pop(1.0, may_be_new=False) is None
    assert agenda.is_crowded
    assert agenda.pop(1.0, may_be_new=True) is new
    assert not agenda.is_crowded


def test_who_is_dropped_does_not_come_back() -> None:
    agenda = Agenda()
    one, other = host(1, 10), host(2, 5)
    agenda.add(one, 5.0)
    agenda.add(other, 0.0)
    assert agenda.pop(0.0, may_be_new=False) is other
    agenda.drop(one)
    assert agenda.first() is None
    agenda.add(one, 3.0)
    assert agenda.pop(3.0, may_be_new=False) is one


@given(st.lists(st.integers(1, 10**8), min_size=2, max_size=60), st.integers(1, 4), st.floats(1.0, 60.0))
def test_no_host_starves(sizes: list[int], room: int, turn_s: float) -> None:
    """For ever more hosts than room, all of which want another turn at once: each waits no longer than until all others had two."""
    agenda, now = Agenda(), 0.0
    hosts = [host(number, n_left) for number, n_left in enumerate(sizes)]
    waiting_since = dict.fromkeys(hosts, 0.0)
    longest_s = PATIENCE_S + turn_s * (2 * len(hosts) / room + 2)
    for one in hosts:
        agenda.add(one, now)
    for _ in range(4 * len(hosts)):
        lent = [one for _ in range(room) if (one := agenda.pop(now, may_be_new=True)) is not None]
        assert lent
        for one in lent:
            assert now - waiting_since[one] <= longest_s
        now += turn_s
        for one in lent:
            waiting_since[one] = now
            agenda.add(one, now)
    assert max(now - since for since in waiting_since.values()) <= longest_s
