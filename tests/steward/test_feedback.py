"""How responses change the state of a host and its group: blocks, notifications, the last response, the weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from d4c_images.ledger.file import connect
from d4c_images.ledger.queue import pacing
from d4c_images.model import Failure, Status, Verdict
from d4c_images.policy.limits import HostTable, parse_hosts
from d4c_images.policy.pace import DAY_IS_OVER, BlockPolicy, HostPace, News, Speed
from d4c_images.policy.reachability import Silence
from d4c_images.steward import feedback
from d4c_images.steward.feedback import Drawn
from d4c_images.steward.hosts import Host, Roster, Scope
from tests.steward.test_lender import STARTED, ledger_of

HOSTS = ("a.example.org", "b.example.org", "c.example.org", "d.example.org")
GROUPED = parse_hosts('[hosts."*.example.org"]\ngroup = "shared"\nconnections = 8\n')
ALONE = parse_hosts("[default]\nconnections = 8\n")
SILENT = Failure(Verdict(Status.FAILED_TRANSIENT, "dns", host_trouble=True, unreachable=True), -4, 0)
LATE = Failure(Verdict(Status.FAILED_TRANSIENT, "timeout", host_trouble=True), -1, 0)
BUSY = Failure(Verdict(Status.FAILED_TRANSIENT, "rate_limited", host_trouble=True), 429, 0)
TURNED_AWAY = Failure(Verdict(Status.FAILED_TRANSIENT, "server_error", host_trouble=True), 500, 0)


@pytest.fixture
def ledger() -> Iterator[connect.Ledger]:
    with ledger_of(dict.fromkeys(HOSTS, 2), shuffled=False) as opened:
        yield opened


class Run:
    """Hosts of a run, numbered from 1, and what it knows of their silence."""

    def __init__(self, ledger: connect.Ledger, table: HostTable = ALONE) -> None:
        self.ledger = ledger
        self.silence = Silence(BlockPolicy(), None)
        self.hosts = Roster(table, Scope())
        self.hosts.go_by(ledger.connection)
        with ledger.transaction() as db:
            for host_id in range(1, len(HOSTS) + 1):
                self.hosts.know(db, host_id, STARTED)

    def host(self, host_id: int) -> Host:
        host = self.hosts.get(host_id)
        assert host is not None
        return host

    def draw(self, now: float = STARTED, **news_of: News) -> Drawn:
        """News by the first letters of hosts."""
        by_id = {"abcd".index(letter) + 1: news for letter, news in news_of.items()}
        with self.ledger.transaction() as db:
            return feedback.draw(db, self.hosts, self.silence, by_id, now)

    def saved(self, column: str) -> list[Any]:
        return [row[0] for row in self.ledger.connection.execute(f"SELECT {column} FROM host_rows ORDER BY host_id")]


def troubled(failure: Failure, n: int = 1, **more: Any) -> News:
    news = News(**more)
    for _ in range(n):
        news.trouble(failure)
    return news


# When a host has last answered: by that, a host that cannot be reached is given up after a day or after a week


@pytest.mark.parametrize("news", [troubled(SILENT), troubled(SILENT, 5), News(n_unasked=1), News(retry_after_s=60.0)], ids=str)
def test_a_host_that_has_not_answered_leaves_no_answer_in_the_ledger(ledger: connect.Ledger, news: News) -> None:
    run = Run(ledger)
    run.draw(a=News(n_ok=1))
    before = run.saved("last_answer_at")
    assert before == [int(STARTED), None, None, None]
    run.draw(STARTED + 100, a=news, b=news)
    assert run.saved("last_answer_at") == before
    assert run.silence.answered_at == STARTED


@pytest.mark.parametrize("news", [News(n_ok=1), troubled(LATE), troubled(BUSY), troubled(SILENT, n_ok=1)], ids=str)
def test_a_host_that_has_answered_in_any_way_has_its_answer_in_the_ledger_and_no_other_host_has(
    ledger: connect.Ledger, news: News
) -> None:
    run = Run(ledger)
    run.draw(STARTED + 100, b=news)
    assert run.saved("last_answer_at") == [None, int(STARTED) + 100, None, None]
    assert run.silence.answered_at == STARTED + 100


def test_an_outage_takes_back_what_it_has_cost_and_is_nobodys_answer(ledger: connect.Ledger) -> None:
    """All hosts that were silent get their pace back, those that another host's news has shown to be innocent among them."""
    run = Run(ledger)
    for second in range(4):
        run.draw(STARTED + second, a=troubled(SILENT, 2), b=troubled(SILENT, 2))
    assert min(level for level in run.saved("block_level")[:2]) == 1
    drawn = run.draw(STARTED + 15, c=troubled(SILENT))
    assert run.silence.outage.down_since is not None
    assert run.saved("block_level") == [0, 0, 0, 0]
    assert run.saved("blocked_until") == [None] * 4
    assert run.saved("last_answer_at") == [None] * 4
    assert {host.host_id for host in drawn.stirred} == {1, 2, 3}
    assert not drawn.blocked, "nobody is notified of a host that is open"


# Who is notified that a host is left alone


def test_a_block_is_told_once(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    drawn = run.draw(a=troubled(TURNED_AWAY, 10), b=News(n_ok=10))
    assert [host.host_id for host in drawn.blocked] == [1]
    assert run.saved("blocked_until")[:2] == [int(STARTED) + 60, None]
    again = run.draw(STARTED + 1, a=troubled(TURNED_AWAY))
    assert not again.blocked, "it was under way"
    assert run.saved("blocked_until")[:2] == [int(STARTED) + 60, None]


def test_a_host_that_a_probe_opens_is_not_told_as_blocked(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    run.draw(a=troubled(TURNED_AWAY, 10))
    drawn = run.draw(STARTED + 61, a=News(n_ok=1, is_probe=True))
    assert run.host(1).pace.blocked_until is None
    assert run.saved("blocked_until")[0] is None
    assert not drawn.blocked
    assert {host.host_id for host in drawn.stirred} == {1}, "it is worth a look"


def test_a_probe_in_vain_is_told_anew(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    run.draw(a=troubled(TURNED_AWAY, 10))
    drawn = run.draw(STARTED + 61, a=troubled(TURNED_AWAY, is_probe=True))
    assert [host.host_id for host in drawn.blocked] == [1]
    assert run.saved("blocked_until")[0] == int(STARTED) + 61 + 120


def test_a_wait_that_is_longer_than_the_one_that_holds_is_told_and_a_shorter_one_is_not(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    assert run.draw(a=News(n_ok=1, retry_after_s=100.0)).blocked
    assert not run.draw(STARTED + 10, a=News(n_ok=1, retry_after_s=90.0)).blocked
    assert run.draw(STARTED + 10, a=News(n_ok=1, retry_after_s=91.0)).blocked
    assert run.saved("blocked_until")[0] == int(STARTED) + 101


def test_troubles_of_one_host_are_no_words_about_another(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    run.draw(a=troubled(BUSY), b=News(n_ok=1))
    assert [run.host(number).words for number in (1, 2)] == ["http 429", ""]
    run.draw(a=News(n_ok=1))
    assert run.host(1).words == "http 429", "the latest trouble"


# Waits of a group


def test_a_wait_of_one_host_holds_its_group_and_no_host_alone(ledger: connect.Ledger) -> None:
    run = Run(ledger, GROUPED)
    run.draw(a=News(n_ok=1, retry_after_s=100.5))
    group = run.host(2).group
    assert group.held_until == STARTED + 100.5
    assert pacing.load_groups(ledger.connection)["shared"].held_until == int(STARTED) + 101
    assert group.held_why == "a.example.org asked for 100 s"
    alone = Run(ledger, ALONE)
    alone.draw(a=News(n_ok=1, retry_after_s=100.0))
    assert [alone.host(number).group.held_until for number in (1, 2)] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("later_s", "wait_s", "until_s"), [(10, 80.0, 100.0), (10, 90.0, 100.0), (10, 90.5, 100.5), (200, 1.0, 201.0)]
)
def test_a_wait_of_a_group_is_never_cut_short(ledger: connect.Ledger, later_s: float, wait_s: float, until_s: float) -> None:
    run = Run(ledger, GROUPED)
    run.draw(a=News(n_ok=1, retry_after_s=100.0))
    run.draw(STARTED + later_s, b=News(n_ok=1, retry_after_s=wait_s))
    group = run.host(1).group
    assert group.held_until == STARTED + until_s
    assert group.held_why == (f"b.example.org asked for {wait_s:.0f} s" if until_s != 100.0 else "a.example.org asked for 100 s")


# Speed, weight, pace


def test_an_overload_at_one_host_narrows_its_group_once(ledger: connect.Ledger) -> None:
    run = Run(ledger, GROUPED)
    run.host(1).group.speed = Speed(8.0)
    run.draw(a=troubled(BUSY), b=troubled(BUSY))
    assert run.host(3).group.width == 4
    speed = pacing.load_groups(ledger.connection)["shared"].speed
    assert speed is not None
    assert (speed.width, speed.narrowed_at) == (4.0, int(STARTED))
    assert run.saved("width") == [None] * 4, "hosts of a group have no width of their own"


def test_a_host_alone_keeps_its_own_width(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    drawn = run.draw(a=News(n_ok=2, n_success=2, success_s=0.2, received_bytes=20))
    assert run.saved("width") == [2.0, None, None, None]
    assert [group.name for group in drawn.widened] == ["a.example.org"]
    assert not run.draw(STARTED + 1, a=troubled(BUSY)).widened
    assert run.saved("width")[0] == 1.0
    assert pacing.load_groups(ledger.connection) == {}


def test_the_weight_of_a_picture_comes_near_the_mean_of_those_that_came(ledger: connect.Ledger) -> None:
    run, weights = Run(ledger), []
    for second in range(200):
        run.draw(STARTED + second, a=News(n_ok=3, n_success=2, success_s=0.2, received_bytes=2000))
        weights.append(run.host(1).group.image_bytes)
    assert weights == sorted(weights)
    assert weights[0] == 1000 / 16
    assert weights[-1] == pytest.approx(1000, rel=1e-3)
    run.draw(STARTED + 300, a=troubled(LATE, received_bytes=10**9))
    assert run.host(1).group.image_bytes == weights[-1], "what is no picture says nothing of their weight"
    assert run.host(2).group.image_bytes == 0.0


def test_bytes_are_paid_for_from_now_on_and_never_less_long(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    run.draw(a=News(n_ok=1, rest_s=30.0))
    run.draw(STARTED + 10, a=News(n_ok=1, rest_s=5.0))
    assert run.host(1).group.paid_until == STARTED + 30
    run.draw(STARTED + 10, a=News(n_ok=1, rest_s=25.0))
    assert run.host(1).group.paid_until == STARTED + 35


def test_an_interval_holds_until_an_answer_asks_for_another_one(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    run.draw(a=News(n_ok=1, interval_s=4.0))
    run.draw(STARTED + 1, a=troubled(SILENT))
    assert [run.host(number).group.interval_s for number in (1, 2)] == [4.0, 0.0]
    run.draw(STARTED + 2, a=News(n_ok=1, interval_s=2.0))
    assert run.host(1).group.interval_s == 2.0


def test_bytes_of_a_day_are_added_to_their_hour(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    hour = int(STARTED) // 3600
    run.draw(a=News(n_ok=1, received_bytes=5))
    assert run.host(1).group.by_hour is None, "nobody has asked for them"
    run.host(1).group.by_hour = {hour: 100}
    run.draw(a=News(n_ok=1, received_bytes=5))
    run.draw(STARTED + 3600, a=News(n_ok=1, received_bytes=7))
    assert run.host(1).group.by_hour == {hour: 105, hour + 1: 7}


def test_a_pace_that_has_not_changed_is_not_written(ledger: connect.Ledger) -> None:
    run = Run(ledger)
    ledger.connection.execute("UPDATE host_rows SET recent_ok = 77")
    run.draw(a=News(), b=News(n_ok=1))
    assert run.saved("recent_ok") == [77, 1.0, 77, 77]


# Limits that people change


def test_a_day_that_was_over_may_go_on_by_other_limits_and_other_waits_stay(ledger: connect.Ledger) -> None:
    ledger.connection.execute("INSERT INTO wanted_limits (host, limits) VALUES ('*', '{\"connections\": 3}')")
    run = Run(ledger)
    full = HostPace(5.0, 1.0, blocked_until=STARTED + 5000, blocked_why=DAY_IS_OVER)
    named = HostPace(5.0, 1.0, blocked_until=STARTED + 5000, blocked_why="asked for 5000 s")
    with ledger.transaction() as db:
        for host_id, pace in ((1, full), (2, named)):
            run.host(host_id).pace = pace
            pacing.save_pace(db, host_id, pace)
        db.execute("UPDATE wanted_limits SET limits = '{\"connections\": 4}'")
        changed = feedback.go_by_limits(db, run.hosts, STARTED)
    assert {host.host_id for host in changed} == {1, 2, 3, 4}
    assert run.host(1).pace == HostPace(5.0, 1.0)
    assert run.host(2).pace == named
    assert run.saved("blocked_until")[:2] == [None, int(STARTED) + 5000]
    assert {run.host(number).group.limits.connections for number in (1, 2, 3, 4)} == {4}


@pytest.mark.parametrize(("why", "stays"), [(DAY_IS_OVER, False), ("a.example.org asked for 5000 s", True)])
def test_a_group_whose_day_was_over_may_go_on_and_one_that_was_asked_to_wait_may_not(
    ledger: connect.Ledger, why: str, stays: bool
) -> None:
    run = Run(ledger, GROUPED)
    group = run.host(1).group
    group.held_until, group.held_why = STARTED + 5000, why
    with ledger.transaction() as db:
        pacing.save_hold(db, "shared", STARTED + 5000, why)
        feedback.go_by_limits(db, run.hosts, STARTED)
    assert group.held_until == (STARTED + 5000 if stays else 0.0)
    assert pacing.load_groups(ledger.connection)["shared"].held_until == (int(STARTED) + 5000 if stays else None)
