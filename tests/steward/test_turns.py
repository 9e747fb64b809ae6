"""One turn after the other, as the lender decides on it: what keeps a host from it, how wide it is, and until when it lasts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from d4c_images.ledger.file import connect
from d4c_images.model import Outcome, Report, Status, Totals, Turn, Verdict
from d4c_images.policy.limits import HostTable, parse_hosts
from d4c_images.policy.pace import BlockPolicy, HostPace, Speed
from d4c_images.policy.reachability import Silence
from d4c_images.policy.shares import LANE_CONNECTIONS
from d4c_images.steward.hosts import Host, Roster, Scope
from d4c_images.steward.lender import TURN_EXPIRES_S, Lender
from d4c_images.steward.terms import Plan
from tests.support.simulation import STARTED, ledger_of

HOSTS = ("a.example.org", "b.example.org", "c.example.org")
WIDE = "[default]\nconnections = 20\n"
GROUP = '[hosts."*.example.org"]\ngroup = "shared"\nconnections = 6\n'
GONE = Verdict(Status.FAILED_PERMANENT, "http_404")


@pytest.fixture
def ledger() -> Iterator[connect.Ledger]:
    with ledger_of(dict.fromkeys(HOSTS, 300), shuffled=False) as opened:
        yield opened


class Run:
    """A lender with one worker and three hosts, 1 to 3, all of which have answered, at a group's width of 6."""

    def __init__(self, ledger: connect.Ledger, text: str = WIDE, totals: Totals | None = None, **plan: Any) -> None:
        self.ledger, self.now = ledger, STARTED
        table = parse_hosts(text) if text else HostTable()
        self.hosts = Roster(table, Scope())
        self.hosts.go_by(ledger.connection)
        given: dict[str, Any] = {"max_connections": 64, **plan}
        totals = Totals() if totals is None else totals
        self.lender = Lender(ledger.run_id or 0, Plan(table, **given), self.hosts, Silence(BlockPolicy(), None), totals)
        self.lender.joined(0)
        with ledger.transaction() as db:
            for host_id in range(1, len(HOSTS) + 1):
                self.hosts.know(db, host_id, self.now)
                self.host(host_id).has_answered = True
                self.host(host_id).group.speed = Speed(6.0)

    def host(self, host_id: int = 1) -> Host:
        host = self.hosts.get(host_id)
        assert host is not None
        return host

    def lend(self, *host_ids: int) -> list[Turn]:
        """Turns for hosts whose time has come now."""
        for host_id in host_ids:
            self.lender.agenda.add(host_id, self.now, 1.0, has_answered=True)
        with self.ledger.transaction() as db:
            return [turn for _, turn in self.lender.lend(db, self.now)]

    def half_done(self, turn: Turn) -> None:
        """Half of its claims have an outcome."""
        for claim in turn.claims[: (len(turn.claims) + 1) // 2]:
            self.lender.leases[turn.lease_id].outstanding.discard(claim.image_id)

    def ended(self, turn: Turn) -> None:
        outcomes = tuple(Outcome(claim.image_id, GONE) for claim in turn.claims)
        self.lender.returned(Report(turn.lease_id, outcomes, finished=True), self.now)


# What keeps a host from a turn


def test_a_host_whose_group_is_held_gets_no_turn_although_it_has_lanes(ledger: connect.Ledger) -> None:
    run = Run(ledger, GROUP)
    (first,) = run.lend(1)
    run.half_done(first)
    run.host().group.held_until = run.now + 100
    assert run.lend(1) == []
    assert run.lender.agenda.due(1) == run.now + 100
    run.now += 100
    assert len(run.lend()) == 1


@pytest.mark.parametrize("until", [HostPace(blocked_until=STARTED + 100), HostPace(block_level=1, blocked_until=STARTED + 100)])
def test_a_host_that_is_to_be_left_alone_gets_no_turn_although_it_has_lanes(ledger: connect.Ledger, until: HostPace) -> None:
    run = Run(ledger)
    first = run.lend(1)[0]
    run.half_done(first)
    run.host().pace = until
    assert run.lend(1) == []
    assert run.lender.agenda.due(1) == run.now + 100


def test_a_paused_host_gets_no_turn_until_its_pause_is_over(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    run.host().paused_until = run.now + 50
    run.host().pace = HostPace(blocked_until=STARTED + 10)
    assert run.lend(1) == []
    assert run.lender.agenda.due(1) == run.now + 50
    run.host().paused_until = float("inf")
    assert run.lend(1) == []


def test_a_probe_waits_for_what_is_under_way(ledger: connect.Ledger) -> None:
    """Turns from before the host was shut are no reason to lend it more than one claim."""
    run = Run(ledger)
    turns = run.lend(1)
    for turn in turns:
        run.half_done(turn)
    run.host().pace = HostPace(block_level=1, blocked_until=run.now)
    assert run.lend(1) == []
    for turn in turns:
        run.ended(turn)
    (probe,) = run.lend(1)
    assert (len(probe.claims), probe.connections) == (1, 1)
    assert run.lender.leases[probe.lease_id].is_probe
    assert run.lend(1) == [], "one at a time"


@pytest.mark.parametrize(("block_level", "image_id"), [(1, 898), (2, 1), (3, 898)])
def test_probes_take_turns_between_the_first_image_and_the_last(ledger: connect.Ledger, block_level: int, image_id: int) -> None:
    run = Run(ledger)
    run.host().pace = HostPace(block_level=block_level, blocked_until=run.now)
    (probe,) = run.lend(1)
    assert [claim.image_id for claim in probe.claims] == [image_id]


def test_a_host_whose_redirects_lead_nobody_knows_where_is_asked_for_one_image_at_a_time(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    run.host().unsure_until = run.now + 60
    assert run.lend(1) == []
    run.now += 60
    (turn,) = run.lend()
    assert (len(turn.claims), turn.connections) == (1, 1)


@pytest.mark.parametrize("name", ["rests_until", "paid_until"])
def test_no_lane_begins_before_its_group_has_rested_and_paid(ledger: connect.Ledger, name: str) -> None:
    run = Run(ledger)
    setattr(run.host().group, name, run.now + 7)
    assert run.lend(1) == []
    run.now += 6.99
    assert run.lend() == []
    run.now += 0.01
    assert run.lend()


def test_a_group_that_has_sent_all_of_its_day_rests_and_its_lane_is_not_lent(ledger: connect.Ledger) -> None:
    run = Run(ledger, WIDE + "bytes_per_day = 1000\n")
    hour = int(STARTED) // 3600
    group = run.host().group
    for n_bytes, left in ((999, 1), (1000, None), (1001, None)):
        group.by_hour = {hour: n_bytes}
        turns = run.lend(1)
        assert [turn.max_bytes for turn in turns][:1] == ([] if left is None else [left])
        for turn in turns:
            run.ended(turn)
    assert run.host().pace.blocked_until == (hour + 25) * 3600
    resting = run.lender.take_resting()
    assert resting
    assert all(host is run.host() for host in resting)


# How wide, how long, how many


def test_hosts_that_wait_for_their_group_get_their_share_of_its_connections(ledger: connect.Ledger) -> None:
    run = Run(ledger, GROUP)
    for host_id in (1, 2, 3):
        run.hosts.stand_in_line(run.host().group, host_id)
    run.lender.call(run.host().group, run.now)
    assert {turn.host: turn.connections for turn in run.lend()} == dict.fromkeys(HOSTS, 2)


def test_a_host_alone_gets_all_that_a_lane_may_have(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    run.host().group.speed = Speed(20.0, narrowed_at=1.0)
    assert [(turn.connections, turn.at_first, turn.lane) for turn in run.lend(1)] == [
        (LANE_CONNECTIONS, None, 0),
        (LANE_CONNECTIONS, None, 1),
        (4, None, 2),
    ]
    assert run.host().group.granted == 20


def test_a_lane_does_not_grow_while_a_worker_that_is_out_of_touch_may_still_be_asking(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    group = run.host().group
    group.speed = Speed(2.0, narrowed_at=1.0)
    (first,) = run.lend(1)
    assert first.connections == 2
    run.half_done(first)
    group.speed = Speed(6.0, narrowed_at=1.0)
    group.rests_until = run.now + 30
    (second,) = run.lend(1)
    assert (second.connections, second.at_first) == (2, None)
    run.ended(first)
    run.half_done(second)
    run.now += 30
    (third, *_) = run.lend(1)
    assert third.connections == 6


@pytest.mark.parametrize(("limit_s", "asked_s", "interval_s"), [(2.0, 0.0, 2.0), (0.0, 3.0, 3.0), (2.0, 3.0, 3.0), (3.0, 2.0, 3.0)])
def test_a_turn_keeps_the_longer_of_two_intervals(
    ledger: connect.Ledger, limit_s: float, asked_s: float, interval_s: float
) -> None:
    run = Run(ledger, WIDE + f"min_interval_s = {limit_s}\n")
    run.host().group.interval_s = asked_s
    assert run.lend(1)[0].min_interval_s == interval_s


@pytest.mark.parametrize(("deadline_s", "expires_s"), [(None, TURN_EXPIRES_S), (30.0, 30.0), (1000.0, TURN_EXPIRES_S)])
def test_a_turn_ends_with_the_run_and_never_later_than_usual(
    ledger: connect.Ledger, deadline_s: float | None, expires_s: float
) -> None:
    """Nothing is begun that the end of the job would cut off."""
    run = Run(ledger, deadline=None if deadline_s is None else STARTED + deadline_s)
    assert {turn.expires_at for turn in run.lend(1)} == {STARTED + expires_s}


@pytest.mark.parametrize("limit", ["max_tries", "max_stored"])
@pytest.mark.parametrize("n", [1, 3, 11])
def test_no_more_is_lent_than_somebody_wants(ledger: connect.Ledger, limit: str, n: int) -> None:
    run = Run(ledger, **{limit: n})
    assert sum(len(turn.claims) for turn in run.lend(1, 2, 3)) == n
    assert run.lender.budget == 0
    assert run.lend(1, 2, 3) == []


def test_what_comes_back_untried_may_be_lent_again_and_what_was_tried_counts(ledger: connect.Ledger) -> None:
    run = Run(ledger, max_tries=2)
    (turn,) = run.lend(1)
    shut_out = Verdict(Status.FAILED_TRANSIENT, "shut_out", is_shut_out=True)
    first, second = (claim.image_id for claim in turn.claims)
    for outcome, budget in ((Outcome(first, GONE), 0), (Outcome(second), 1)):
        run.lender.returned(Report(turn.lease_id, (outcome,), finished=outcome.image_id == second), run.now)
        assert run.lender.budget == budget
    (turn,) = run.lend(2)
    run.lender.returned(Report(turn.lease_id, (Outcome(turn.claims[0].image_id, shut_out),), finished=True), run.now)
    assert run.lender.budget == 1


def test_with_a_limit_of_stored_images_what_failed_makes_room_and_what_is_stored_does_not(ledger: connect.Ledger) -> None:
    totals = Totals()
    run = Run(ledger, totals=totals, max_stored=2)
    (turn,) = run.lend(1)
    first, second = (claim.image_id for claim in turn.claims)
    run.lender.returned(Report(turn.lease_id, (Outcome(first, GONE),)), run.now)
    assert run.lender.budget == 1, "one is lent still"
    totals.n_success += 1
    run.lender.returned(Report(turn.lease_id, (Outcome(second, Verdict(Status.SUCCESS)),), finished=True), run.now)
    assert run.lender.budget == 1, "one is stored"


def test_what_an_ended_turn_says_nothing_of_is_not_lent_any_more(ledger: connect.Ledger) -> None:
    run = Run(ledger, max_stored=2)
    (turn,) = run.lend(1)
    run.lender.returned(Report(turn.lease_id, (), finished=True), run.now)
    assert run.lender.budget == 2


@pytest.mark.parametrize("limit", ["bytes_per_s = 1000.0", "bytes_per_day = 1000000"])
def test_where_bytes_count_no_turn_follows_before_the_one_before_is_over(ledger: connect.Ledger, limit: str) -> None:
    """What it will have brought is not known yet."""
    run = Run(ledger, WIDE + limit + "\n")
    (first, *others) = run.lend(1)
    assert others == [], "what is measured from one request to the next is kept by one lane at a time"
    run.half_done(first)
    assert run.lend(1) == []
    run.ended(first)
    assert run.lend(1)


def test_a_host_that_lasts_long_gets_shorter_turns_and_a_quick_one_longer(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    each = []
    for lasts_s in (1.0, 1.0, 9.9, 10.0, 30.0, 30.1, 31.0):
        run.host().group.speed = Speed(1.0, narrowed_at=1.0)
        (turn,) = run.lend(1)
        run.now += lasts_s
        run.ended(turn)
        each.append(run.host().claims_each)
    assert each == [4, 8, 16, 16, 16, 8, 4]


def test_the_end_of_a_lane_cuts_no_rest_of_its_group_short(ledger: connect.Ledger) -> None:
    """A worker that lost contact may be sending requests there, or another lane's interval is not over."""
    run = Run(ledger, WIDE + "min_interval_s = 2.0\n")
    (turn,) = run.lend(1)
    group = run.host().group
    group.rests_until = run.now + 30
    run.ended(turn)
    assert group.rests_until == run.now + 30
    run.now += 29
    run.lend()
    assert group.granted == 0
    run.now += 1
    (turn,) = run.lend()
    run.ended(turn)
    assert group.rests_until == run.now + 2


def test_cookies_go_along_with_their_chain_of_redirects_only(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    with ledger.transaction() as db:
        db.execute("UPDATE image_rows SET redirect_url = 'http://a.example.org/x', hops = 1 WHERE image_id = 1")
    run.lender._remember(1, ("way=a",))
    run.lender._remember(4, ("way=b",))
    cookies = {claim.image_id: claim.cookies for turn in run.lend(1) for claim in turn.claims}
    assert (cookies[1], cookies[4], cookies[7]) == (("way=a",), (), ())


def test_while_our_own_network_is_down_one_image_is_asked_for_now_and_then(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    outage = run.lender._silence.outage
    outage.down_since, outage.next_probe_at = run.now - 100, run.now
    (turn,) = run.lend(1, 2, 3)
    assert (len(turn.claims), turn.connections) == (1, 1)
    assert outage.next_probe_at > run.now
    assert not run.lender.wants_to_lend(run.now)
    outage.answered()
    assert len({turn.host for turn in run.lend(1, 2, 3)}) >= 2
