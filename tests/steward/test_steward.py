"""The steward with a runner and a clock in the test's hands: what it lends, takes back and counts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from d4c_images.errors import LedgerLocked
from d4c_images.ledger.file import connect, owner
from d4c_images.ledger.queue import deferred, pacing, refetching, settling
from d4c_images.ledger.queue.requeue import requeue_failed
from d4c_images.ledger.rows import rollup
from d4c_images.model import Blob, Claim, Move, Orders, Outcome, Report, Status, Turn, Verdict
from d4c_images.policy.limits import HostTable, parse_hosts
from d4c_images.policy.pace import BlockPolicy, HostPace, Speed
from d4c_images.policy.shut_door import UNSIGNED
from d4c_images.report.progress import summary
from d4c_images.steward.steward import Steward
from d4c_images.steward.terms import Died, Drain, Ending, Event, Hurry, Joined, Leaving, Plan, Reported, Snapshot, Watcher
from d4c_images.system import clocks
from tests.support.program import Collection, multimedia
from tests.support.simulation import counts, ledger_of, run

GONE = Verdict(Status.FAILED_PERMANENT, "http_404")
Answer = Callable[[Turn], list[Outcome] | None]


class ByHand:
    """One worker, whose answer to a turn is that of a function: outcomes, or None for silence. Each `receive` takes a second."""

    def __init__(self, answer: Answer) -> None:
        self.now = time.time()
        self.turns: list[Turn] = []
        self.told: list[tuple[int, Orders]] = []
        self._answer = answer
        self.events: list[Event] = [Joined(0)]
        self.n_received = 0
        self.at: dict[int, Callable[[], None]] = {}  # what happens at the n-th `receive`

    def clock(self) -> float:
        return self.now

    def send(self, worker: int, orders: Orders) -> None:
        self.told.append((worker, orders))
        for turn in orders.turns:
            self.turns.append(turn)
            outcomes = self._answer(turn)
            if outcomes is not None:
                self.say(turn, outcomes)

    def say(self, turn: Turn, outcomes: list[Outcome]) -> None:
        self.events.append(Reported(0, Report(turn.lease_id, tuple(outcomes), finished=True)))

    def happens(self, *events: Event) -> None:
        self.events += events

    def sleep(self) -> None:
        self.now += 7200

    def receive(self, timeout_s: float) -> list[Event]:
        self.now += 1
        self.n_received += 1
        self.at.get(self.n_received, lambda: None)()
        events, self.events = self.events, []
        return events

    def kill(self, worker: int) -> None:
        self.events += [Died(worker, "killed by SIGKILL"), Joined(worker + 1)]

    def close(self) -> None: ...


@pytest.fixture
def ledger() -> Iterator[connect.Ledger]:
    """Ten images at each of two hosts. Made in this process: nothing depends on how busy the machine is."""
    with ledger_of({"a.example.org": 10, "b.example.org": 10}, time.time(), shuffled=False) as opened:
        yield opened


def all_gone(turn: Turn) -> list[Outcome]:
    return [Outcome(claim.image_id, GONE, requests=1) for claim in turn.claims]


def test_a_turn_that_never_ends_does_not_hold_the_run_up(ledger: connect.Ledger) -> None:
    """A worker that sits on a turn long after its end is killed; its images are lent anew."""
    runner = ByHand(lambda turn: None if turn is runner.turns[0] else all_gone(turn))
    started = runner.now
    assert run(ledger, runner, Plan(HostTable(), hang_s=300.0)) is Ending.DONE
    assert counts(ledger) == {"failed_permanent": 20}
    assert 120 + 300 < runner.now - started < 120 + 300 + 60, "neither sooner than a slow request may take, nor much later"


def test_a_job_that_was_suspended_goes_on(ledger: connect.Ledger) -> None:
    """Schedulers stop and continue whole jobs: afterwards every turn is long past its end, and every worker well."""
    deaths = []
    runner = ByHand(lambda turn: None if turn is runner.turns[0] else all_gone(turn))
    runner.kill = deaths.append  # type: ignore[method-assign]
    runner.at = {5: runner.sleep, 10: lambda: runner.say(runner.turns[0], all_gone(runner.turns[0]))}
    assert run(ledger, runner, Plan(HostTable(), hang_s=300.0), patience_s=9000) is Ending.DONE
    assert deaths == []


def test_an_image_that_goes_on_at_another_host_counts_once_towards_the_limit(ledger: connect.Ledger) -> None:
    def answer(turn: Turn) -> list[Outcome]:
        return all_gone(turn) if turn.host == "c.example.org" else [_moved(claim) for claim in turn.claims]

    assert run(ledger, ByHand(answer), Plan(HostTable(), max_tries=7)) is Ending.LIMIT
    assert counts(ledger) == {"failed_permanent": 7, "pending": 13}


@pytest.mark.parametrize("n", [1, 4, 9, 10])
def test_a_limit_of_stored_images_is_kept_to_the_image_whatever_fails(ledger: connect.Ledger, n: int) -> None:
    """Of each two images one is gone."""
    runner = ByHand(every_second_one)
    assert run(ledger, runner, Plan(HostTable(), max_stored=n)) is Ending.LIMIT
    assert counts(ledger)["success"] == n


def test_a_limit_beyond_what_can_be_had_ends_when_nothing_is_left(ledger: connect.Ledger) -> None:
    assert run(ledger, ByHand(every_second_one), Plan(HostTable(), max_stored=11)) is Ending.DONE
    assert counts(ledger) == {"success": 10, "failed_permanent": 10}


def every_second_one(turn: Turn) -> list[Outcome]:
    return [
        Outcome(claim.image_id, GONE, requests=1)
        if claim.image_id // 2 % 2
        else Outcome(claim.image_id, Verdict(Status.SUCCESS), blob=_jpeg(claim.image_id), requests=1)
        for claim in turn.claims
    ]


def _jpeg(number: int) -> Blob:
    return Blob(f"{number}.jpg", 10, number.to_bytes(32), "image/jpeg", 1, 1)


class Seen(Watcher):
    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []

    def started(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    def ended(self, snapshot: Snapshot, ending: Ending) -> None:
        self.snapshots.append(snapshot)


def _seen(ledger: connect.Ledger, plan: Plan) -> tuple[Snapshot, Snapshot]:
    runner, seen = ByHand(every_second_one), Seen()
    Steward(ledger, runner, plan, seen, runner.clock, lambda: False).run()
    first, last = seen.snapshots
    return first, last


def test_those_who_watch_a_run_for_one_host_see_the_numbers_of_that_host(ledger: connect.Ledger) -> None:
    ledger.connection.execute("UPDATE host_rows SET paused_at = 1, blocked_until = 9e9 WHERE host = 'b.example.org'")
    first, last = _seen(ledger, Plan(HostTable(), only_hosts=frozenset({"a.example.org"})))
    assert (first.images.total, first.images.left, first.n_done, first.n_in_all) == (10, 10, 0, 10)
    assert [host.host for host in first.hosts] == ["a.example.org"]
    assert (first.n_blocked, first.n_paused, str(first.scope)) == (0, 0, " of a.example.org")
    assert (first.paused, first.blocked) == (frozenset(), {})
    assert (last.images.success, last.images.left, last.n_done, last.n_in_all) == (5, 0, 10, 10)
    assert summary(last, Ending.DONE).endswith("5 of 10 images of a.example.org stored, 0 left")


def test_those_who_watch_a_run_with_a_limit_see_how_far_it_is_towards_that(ledger: connect.Ledger) -> None:
    first, last = _seen(ledger, Plan(HostTable(), max_stored=4))
    assert (first.n_done, first.n_in_all) == (0, 4)
    assert (last.n_done, last.n_in_all, last.images.success) == (4, 4, 4)
    first, last = _seen(ledger, Plan(HostTable(), max_tries=3))
    assert (first.n_done, first.n_in_all, last.n_done, last.n_in_all) == (0, 3, 3, 3)


def test_the_rest_is_what_a_limit_can_still_get(ledger: connect.Ledger) -> None:
    first, last = _seen(ledger, Plan(HostTable(), max_stored=100))
    assert (first.n_done, first.n_in_all) == (0, 20)
    assert (last.n_done, last.n_in_all) == (10, 10)


class SeenToDrain(Watcher):
    def __init__(self) -> None:
        self.drains: list[tuple[Drain, dict[str, int]]] = []
        self.ticks: list[Snapshot] = []

    def draining(self, drain: Drain, in_flight: Mapping[str, int]) -> None:
        self.drains.append((drain, dict(in_flight)))

    def ticked(self, snapshot: Snapshot) -> None:
        self.ticks.append(snapshot)


@pytest.mark.parametrize("presses_again", [False, True])
def test_a_drain_waits_for_its_grace_or_until_somebody_presses_ctrl_c_again(
    ledger: connect.Ledger,
    *,
    presses_again: bool,
) -> None:
    """What is dropped costs no attempt. Two hosts that have not answered yet have one request each in flight."""
    runner, seen = ByHand(lambda turn: None), SeenToDrain()
    hurry = Hurry(lambda: "Ctrl-C", lambda: True, lambda: presses_again and runner.n_received >= 5)
    started = runner.now
    steward = Steward(
        ledger, runner, Plan(HostTable(), grace_s=40.0), seen, runner.clock, lambda: runner.n_received >= 2, hurry=hurry
    )
    assert steward.run() is Ending.SIGNAL
    (first, n_first), (then, n_then) = seen.drains
    both = {"a.example.org": 1, "b.example.org": 1}
    assert (first.why, first.drops, first.is_attended, n_first) == ("Ctrl-C", None, True, both)
    assert (then.drops, n_then) == ("Ctrl-C again" if presses_again else "40 s are over", both)
    assert runner.now - started < (20 if presses_again else 60)
    assert any(orders.drain and orders.closed for _, orders in runner.told)
    draining = [snapshot for snapshot in seen.ticks if snapshot.drain is not None]
    assert {snapshot.n_in_flight for snapshot in draining} == {2}
    assert len(draining) >= 2, "the seconds are counted"
    assert ledger.connection.execute("SELECT DISTINCT status, attempts FROM images").fetchall() == [("pending", 0)]


def _moved(claim: Claim) -> Outcome:
    return Outcome(claim.image_id, move=Move("c.example.org", 0, "http://c.example.org/photo.jpg", 1), requests=1)


def test_what_a_worker_told_in_its_last_moment_counts_once(ledger: connect.Ledger) -> None:
    """Its death gives back all that it held when last heard of, what it has just told among it: both come in one transaction."""

    def answer(turn: Turn) -> list[Outcome] | None:
        if len(runner.turns) > 1:
            return all_gone(turn)
        told = all_gone(turn)[:4]
        runner.events += [Reported(0, Report(turn.lease_id, tuple(told))), Died(0, "killed by SIGKILL"), Joined(1)]
        return None

    runner = ByHand(answer)
    assert run(ledger, runner, Plan(HostTable())) is Ending.DONE
    assert counts(ledger) == {"failed_permanent": 20}
    assert ledger.connection.execute("SELECT sum(attempts), max(attempts) FROM images").fetchone() == (20, 1)
    assert ledger.connection.execute("SELECT sum(n_requests) FROM hosts").fetchone() == (20,)


def test_hosts_of_one_group_take_turns(ledger: connect.Ledger) -> None:
    """One of them has more than it can ever finish; the other is not left waiting until it has."""
    hosts = parse_hosts('[default]\nconnections = 1\n[hosts."*.example.org"]\ngroup = "one operator"\n')
    runner = ByHand(all_gone)
    assert run(ledger, runner, Plan(hosts)) is Ending.DONE
    assert len({turn.host for turn in runner.turns[:2]}) == 2


def test_a_run_ends_with_its_last_image(ledger: connect.Ledger) -> None:
    """And not after one more wait for news that cannot come."""
    runner = ByHand(all_gone)
    real, waited_for_nothing = runner.receive, []

    def receive(timeout_s: float) -> list[Event]:
        events = real(timeout_s)
        waited_for_nothing.append(not events)
        return events

    runner.receive = receive  # type: ignore[method-assign]
    assert run(ledger, runner, Plan(HostTable())) is Ending.DONE
    assert not any(waited_for_nothing)


def not_reached(turn: Turn) -> list[Outcome]:
    """The first one finds nobody there; the worker gives the rest back."""
    verdict = Verdict(Status.FAILED_TRANSIENT, "dns", "Could not resolve host", host_trouble=True, unreachable=True)
    first, *rest = turn.claims
    return [Outcome(first.image_id, verdict, http_status=-4, requests=1), *(Outcome(claim.image_id) for claim in rest)]


def test_a_short_outage_costs_no_image_an_attempt(ledger: connect.Ledger) -> None:
    """Both hosts are silent for a quarter of an hour, with four attempts for each image and waits of seconds between them."""
    runner = ByHand(lambda turn: not_reached(turn) if runner.now < end_at else all_gone(turn))
    end_at = runner.now + 900
    assert run(ledger, runner, Plan(HostTable(), retry_base_s=1.0, max_idle_s=3600.0)) is Ending.DONE
    assert ledger.connection.execute("SELECT status, attempts, count(*) FROM images GROUP BY 1, 2").fetchall() == [
        ("failed_permanent", 1, 20)
    ]
    assert len(runner.turns) < 30, "one probe at a time, more and more seldom"


def test_a_host_that_stays_away_is_given_up(ledger: connect.Ledger) -> None:
    """With all its images, among them those that were never tried; what the next host holds goes on there."""
    db = ledger.connection
    elsewhere = "urls || char(10) || 'http://b.example.org/again/' || image_id"
    db.execute(f"UPDATE image_rows SET urls = {elsewhere} WHERE image_id = 1")
    runner = ByHand(lambda turn: not_reached(turn) if turn.host == "a.example.org" else all_gone(turn))
    plan = Plan(HostTable(), max_idle_s=7200.0, breaker=BlockPolicy(give_up_s=1.0, give_up_alone_s=3600.0))
    assert run(ledger, runner, plan, patience_s=20_000.0) is Ending.DONE
    rows = db.execute("SELECT host, status, error_type, not_before IS NULL, count(*) FROM images GROUP BY 1, 2, 3, 4").fetchall()
    assert rows == [
        ("a.example.org", "failed_transient", "dns", 1, 9),
        ("b.example.org", "failed_permanent", "http_404", 1, 11),
    ]
    assert "http://b.example.org/again/1" in {
        claim.urls[claim.url_no] for turn in runner.turns if turn.host == "b.example.org" for claim in turn.claims
    }
    assert db.execute("SELECT n_failed, status, count(*) FROM gbif_ids GROUP BY 1, 2").fetchall() == [(1, "failed", 20)]
    assert db.execute("SELECT blocked_until FROM hosts WHERE host LIKE 'a.%'").fetchone()[0] > runner.now, "no wait for nothing"
    assert ledger.n_done >= 20, "a round that gives a host up has got something done"


def test_a_host_that_was_given_up_is_asked_again_when_somebody_wants_it(ledger: connect.Ledger) -> None:
    """At once, as if nothing had happened: it is not given up on its first failure to answer."""
    policy = BlockPolicy(give_up_s=0.0, give_up_alone_s=0.0)
    run(ledger, ByHand(not_reached), Plan(HostTable(), max_idle_s=7200.0, breaker=policy))
    assert counts(ledger) == {"failed_transient": 20}
    requeue_failed(ledger, lambda done, total: None, permanent=False)
    runner = ByHand(all_gone)
    started = runner.now
    assert run(ledger, runner, Plan(HostTable())) is Ending.DONE
    assert runner.now - started < 30
    assert counts(ledger) == {"failed_permanent": 20}


def test_new_attempts_for_the_images_of_one_host(ledger: connect.Ledger) -> None:
    """What somebody says of one host is no reason to ask the others for what they have refused."""
    run(ledger, ByHand(all_gone), Plan(HostTable()))
    n = requeue_failed(ledger, lambda done, total: None, permanent=True, only_hosts={"a.example.org"})
    waiting = ledger.connection.execute("SELECT host, count(*) FROM images WHERE status = 'pending' GROUP BY 1").fetchall()
    assert waiting == [("a.example.org", 10)]
    assert n == 10


def test_an_outage_of_our_own_network_ends_the_run_and_counts_nothing(tmp_path: Path) -> None:
    rows = [(1_000_000 + n, f"http://{'abcd'[n % 4]}.example.org/{n}.jpg") for n in range(40)]
    Collection(tmp_path).load(multimedia(tmp_path / "multimedia.txt", rows))
    with closing(connect.open_ledger(tmp_path / "ledger.sqlite")) as ledger:
        owner.take(ledger, "download", owner.this_process(), time.time())
        runner = ByHand(not_reached)
        started = runner.now
        plan = Plan(HostTable(), max_idle_s=600.0)
        assert run(ledger, runner, plan) is Ending.OUTAGE
        assert 600 < runner.now - started < 1200
        asked = ledger.connection.execute("SELECT max(block_level), sum(attempts) FROM hosts, images").fetchone()
        assert asked == (0, 0)
        assert counts(ledger) == {"pending": 40}


def test_a_ledger_that_stays_locked_loses_nothing(ledger: connect.Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's transaction lasts longer than we wait: the run ends as one that is to be run again."""
    ledger.connection.execute("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
        runner = ByHand(all_gone)
        runner.at = {1: lambda: other.execute("BEGIN IMMEDIATE")}
        with pytest.raises(LedgerLocked, match="run the same command again") as caught:
            run(ledger, runner, Plan(HostTable()))
        assert caught.value.exit_code == 75
        other.execute("ROLLBACK")
    owner.give_back(ledger, "died", time.time())
    owner.take(ledger, "download", owner.this_process(), time.time())
    assert run(ledger, ByHand(all_gone), Plan(HostTable())) is Ending.DONE
    assert counts(ledger) == {"failed_permanent": 20}


def test_a_host_with_one_image_takes_one_connection(ledger: connect.Ledger) -> None:
    """Hosts that may have a worker's every connection, and have one image to ask for: both are asked at once."""
    ledger.connection.execute("DELETE FROM image_rows WHERE image_id > 2")
    n_at_once = []

    def answer(turn: Turn) -> list[Outcome] | None:
        n_at_once.append(len(runner.turns))
        return None

    runner = ByHand(answer)
    runner.at = {2: lambda: [runner.say(turn, all_gone(turn)) for turn in runner.turns] and None}
    hosts = parse_hosts("[default]\nconnections = 40\n")
    assert run(ledger, runner, Plan(hosts, max_connections=64)) in (Ending.DONE, Ending.WAITING)
    assert n_at_once == [1, 2]


def test_who_watches_hears_why_nothing_happens(ledger: connect.Ledger) -> None:
    class Listener(Watcher):
        def __init__(self) -> None:
            self.heard: list[tuple[float, str]] = []

        def idle(self, until: float, host: str, why: str) -> None:
            self.heard.append((until - runner.now, why))

    runner, listener = ByHand(not_reached), Listener()
    started = runner.now
    Steward(ledger, runner, Plan(HostTable(), max_idle_s=300.0), listener, runner.clock, lambda: runner.now > started + 60).run()
    wait_s, why = listener.heard[0]
    assert 5 <= wait_s <= 60
    assert "dns (Could not resolve host)" in why


def wait_of(turn: Turn) -> list[Outcome]:
    """The host wants no request for ten minutes."""
    busy = Verdict(Status.FAILED_TRANSIENT, "rate_limited", wait_s=600.0, host_trouble=True)
    return [Outcome(claim.image_id, busy, http_status=429, requests=1, hold_s=600.0) for claim in turn.claims]


@pytest.mark.parametrize("may_leave", [True, False])
def test_a_run_that_is_not_started_again_later_waits_itself(may_leave: bool, ledger: connect.Ledger) -> None:
    """It asks once for each wait, and notes at its end until when nothing may be asked for."""
    asked = list[float]()

    def ask(due_at: float) -> bool:
        asked.append(due_at)
        return may_leave

    started = time.time()
    runner = ByHand(lambda turn: wait_of(turn) if runner.now < started + 700 else all_gone(turn))
    plan = Plan(HostTable(), max_idle_s=60.0, may_leave=ask)
    assert run(ledger, runner, plan) is (Ending.WAITING if may_leave else Ending.DONE)
    assert asked == sorted(set(asked))
    assert 500 < asked[0] - started < 700
    ((due_at, n_failed, goes_on_at),) = ledger.connection.execute("SELECT due_at, n_failed, goes_on_at FROM run_ends").fetchall()
    assert goes_on_at is None, "that is for others to say"
    if may_leave:
        assert len(asked) == 1
        assert 0 <= due_at - asked[0] < 1
        assert n_failed == 0
    else:
        assert (due_at, n_failed) == (None, 20)
        assert runner.now > asked[-1]


@pytest.mark.parametrize(("deadline_s", "noted"), [(300.0, True), (5.0, False)])
def test_a_run_whose_time_is_up_notes_a_wait_only_if_everything_waits(
    deadline_s: float, noted: bool, ledger: connect.Ledger
) -> None:
    started = time.time()
    runner = ByHand(lambda turn: wait_of(turn) if noted else None)
    plan = Plan(HostTable(), max_idle_s=60.0, grace_s=1.0, deadline=started + deadline_s, may_leave=lambda due_at: False)
    assert run(ledger, runner, plan) is Ending.TIME
    ((due_at,),) = ledger.connection.execute("SELECT due_at FROM run_ends").fetchall()
    assert (due_at is not None and 500 < due_at - started < 700) == noted
    assert (due_at is None) == (not noted)


def test_other_workers_hear_of_a_named_wait_before_it_is_written_down(
    ledger: connect.Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit may take long, or wait for more to write down: meanwhile they would go on asking."""
    runner = ByHand(lambda turn: None if turn.host.startswith("a") else wait_of(turn))
    real, ended_then = settling.settle, list[frozenset[int]]()

    def settle(*args: Any) -> settling.Settled:
        ended_then.append(frozenset().union(*(orders.end for _, orders in runner.told)))
        return real(*args)

    monkeypatch.setattr(settling, "settle", settle)
    table = parse_hosts('[hosts."*.example.org"]\ngroup = "shared"\nconnections = 8\n')
    with ledger.transaction() as db:
        pacing.save_group_speed(db, "shared", Speed(8.0))
    run(ledger, runner, Plan(table, max_idle_s=60.0), patience_s=30.0)
    (mine,) = {turn.lease_id for turn in runner.turns if turn.host.startswith("a")}
    assert mine in ended_then[0]
    assert {turn.group for turn in runner.turns} == {"shared"}


def test_what_is_given_back_tells_of_a_wait_that_still_holds(ledger: connect.Ledger) -> None:
    """A worker knows of it, and this run may not: nothing is lent there in vain again and again."""
    runner = ByHand(lambda turn: [Outcome(claim.image_id, hold_s=599.0) for claim in turn.claims])
    assert run(ledger, runner, Plan(HostTable(), max_idle_s=60.0)) is Ending.WAITING
    assert [turn.host for turn in runner.turns] == ["a.example.org", "b.example.org"]
    assert counts(ledger) == {"pending": 20}


def blocks(ledger: connect.Ledger) -> dict[str, float | None]:
    return dict(ledger.connection.execute("SELECT host, blocked_until FROM hosts").fetchall())


def test_a_wait_is_written_down_before_its_image_has_an_outcome(ledger: connect.Ledger) -> None:
    """For all of the group; and told to all of its turns. What comes of the image later prolongs nothing."""
    table = parse_hosts('[hosts."*.example.org"]\ngroup = "shared"\nconnections = 8\n')
    with ledger.transaction() as db:
        pacing.save_group_speed(db, "shared", Speed(8.0))
    named_at: list[float] = []

    def answer(turn: Turn) -> None:
        if turn.host.startswith("a") and not named_at:
            named_at.append(runner.now)
            runner.happens(Reported(0, Report(turn.lease_id, (), hold_s=600.0)))

    def look() -> None:
        seen.append(blocks(ledger))
        for turn in runner.turns:
            runner.say(turn, [Outcome(claim.image_id, hold_s=590.0) for claim in turn.claims])

    runner, seen = ByHand(answer), list[dict[str, float | None]]()  # type: ignore[arg-type]
    runner.at = {4: look}
    assert run(ledger, runner, Plan(table, max_idle_s=60.0), patience_s=30.0) is Ending.WAITING
    [before] = seen
    assert before == blocks(ledger)
    assert all(named_at[0] + 600 <= (until or 0) <= named_at[0] + 603 for until in before.values())
    assert {turn.lease_id for turn in runner.turns} == frozenset().union(*(orders.end for _, orders in runner.told))


@pytest.mark.parametrize("hold_s", [0.0, 600.0])
def test_on_a_shared_disk_only_a_named_wait_is_committed_at_once(
    ledger: connect.Ledger, monkeypatch: pytest.MonkeyPatch, hold_s: float
) -> None:
    """What else the workers have to say is gathered for a second."""
    monkeypatch.setattr(ledger, "guard", Mock())
    monkeypatch.setattr("d4c_images.steward.steward.GATHER_S", 4.5)
    real, n_gathered, said_at = settling.settle, list[int](), list[int]()

    def settle(*args: Any) -> settling.Settled:
        n_gathered.append(runner.n_received - said_at[0])
        return real(*args)

    def answer(turn: Turn) -> None:
        said_at.append(runner.n_received)
        runner.happens(Reported(0, Report(turn.lease_id, tuple(all_gone(turn)[:1]), hold_s=hold_s)))

    monkeypatch.setattr(settling, "settle", settle)
    runner = ByHand(answer)  # type: ignore[arg-type]
    run(ledger, runner, Plan(HostTable(), only_hosts=("a.example.org",)), patience_s=30.0)
    assert (n_gathered[0] == 1) == (hold_s > 0)


def test_a_probe_whose_answer_names_a_wait_opens_the_host_and_the_wait_is_kept(ledger: connect.Ledger) -> None:
    """The wait is written down first. The picture is no late one for that, and does not do away with the wait."""
    sick = HostPace(block_level=3, blocked_until=time.time() - 1, blocked_why="it is in trouble")
    with ledger.transaction() as db:
        pacing.save_pace(db, 1, sick)
    lent: list[tuple[float, int]] = []

    def answer(turn: Turn) -> list[Outcome] | None:
        lent.append((runner.now, len(turn.claims)))
        if len(lent) > 1:
            return all_gone(turn)
        runner.happens(Reported(0, Report(turn.lease_id, (), hold_s=600.0)))
        runner.at = {runner.n_received + 5: lambda: runner.say(turn, [replace(all_gone(turn)[0], hold_s=590.0)])}
        return None

    runner = ByHand(answer)
    assert run(ledger, runner, Plan(HostTable(), only_hosts=("a.example.org",))) is Ending.DONE
    (first, n_first), (second, n_second) = lent[:2]
    assert n_first == 1, "a probe"
    assert n_second > 1, "the host works"
    assert 600 <= second - first <= 610


def test_a_redirect_to_a_host_that_waits_is_followed_when_it_may_be_asked(ledger: connect.Ledger) -> None:
    def answer(turn: Turn) -> list[Outcome]:
        if turn.host == "a.example.org":
            return [Outcome(claim.image_id, move=Move("b.example.org", 0, "http://b.example.org/", 1)) for claim in turn.claims]
        asked_at.append(runner.now)
        return wait_of(turn) if len(asked_at) == 1 else all_gone(turn)

    asked_at: list[float] = []
    runner = ByHand(answer)
    assert run(ledger, runner, Plan(HostTable())) is Ending.DONE
    assert asked_at[1] - asked_at[0] >= 600


def test_a_wait_is_never_cut_on_its_way_into_the_ledger(ledger: connect.Ledger) -> None:
    """The next run knows whole seconds: it asks later than was named, and never earlier."""
    runner = ByHand(lambda turn: wait_of(turn) if turn.host.startswith("a") else all_gone(turn))
    runner.now = 1_800_000_000.8
    run(ledger, runner, Plan(HostTable(), max_idle_s=60.0))
    said_at = max(turn.expires_at - 120.0 for turn in runner.turns if turn.host.startswith("a"))
    with ledger.transaction() as db:
        pacing.pause(db, ["b.example.org"], runner.now, 1_900_000_000.3)
        pacing.save_hold(db, "shared", 1_900_000_000.3, "it says so")
    rows = dict(ledger.connection.execute("SELECT host, coalesce(paused_until, blocked_until) FROM host_rows"))
    assert said_at + 600 <= rows["a.example.org"] <= said_at + 603
    assert rows["b.example.org"] == 1_900_000_001
    assert pacing.load_groups(ledger.connection)["shared"].held_until == 1_900_000_001
    with ledger.transaction() as db:
        pacing.pause_many(db, "*", 0, 100, runner.now, 1_900_000_000.3)
    assert {until for _, until in pacing.pauses(ledger.connection, 0, 100)} == {1_900_000_001}


def test_a_move_waits_as_long_as_the_redirect_has_asked(ledger: connect.Ledger) -> None:
    def answer(turn: Turn) -> list[Outcome]:
        if turn.host == "c.example.org":
            return all_gone(turn)
        moved = Move("c.example.org", 0, "http://c.example.org/", 1, wait_s=100.5)
        return [Outcome(claim.image_id, move=moved, requests=1) for claim in turn.claims]

    runner = ByHand(answer)
    assert run(ledger, runner, Plan(HostTable())) is Ending.DONE
    there = [turn.expires_at for turn in runner.turns if turn.host == "c.example.org"]
    assert min(there) - min(turn.expires_at for turn in runner.turns) >= 100.5


def test_a_move_waits_by_the_later_of_two_clocks(ledger: connect.Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock was set forward by an hour in mid-run; the next run begins by it, and has to keep the wait as well."""
    monkeypatch.setattr(clocks.now, "for_others", lambda moment: moment + 3600.0)
    moved = Move("c.example.org", 0, "http://c.example.org/", 1, wait_s=100.5)
    runner = ByHand(lambda turn: [Outcome(claim.image_id, move=moved, requests=1) for claim in turn.claims])
    run(ledger, runner, Plan(HostTable(), max_idle_s=60.0), patience_s=60.0)
    [(not_before,)] = ledger.connection.execute("SELECT min(not_before) FROM image_rows WHERE redirect_url IS NOT NULL")
    asked_at = min(turn.expires_at for turn in runner.turns) - 120.0
    assert not_before >= asked_at + 3600.0 + 100.5


@pytest.mark.parametrize("group", ["", 'group = "shared"'])
def test_what_is_shown_of_a_wait_is_when_it_ends(ledger: connect.Ledger, monkeypatch: pytest.MonkeyPatch, group: str) -> None:
    """However the wall clock was set when it was named; the ledger has it for the next run, which begins by that clock."""
    monkeypatch.setattr(clocks.now, "for_others", lambda moment: moment + 86400.0)
    shown: list[Snapshot] = []

    class Screen(Watcher):
        def ended(self, snapshot: Snapshot, ending: Ending) -> None:
            shown.append(snapshot)

    runner = ByHand(lambda turn: wait_of(turn) if turn.host.startswith("a") else all_gone(turn))
    table = parse_hosts(f'[hosts."*.example.org"]\nconnections = 2\n{group}')
    named_at = runner.now
    Steward(ledger, runner, Plan(table, max_idle_s=60.0), Screen(), runner.clock, lambda: False).run()
    [snapshot] = shown
    assert snapshot.blocked["a.example.org"] == pytest.approx(named_at + 600, abs=10)
    assert set(snapshot.blocked) == ({"a.example.org", "b.example.org"} if group else {"a.example.org"})
    assert (blocks(ledger)["a.example.org"] or 0.0) > named_at + 86400


def test_an_image_that_is_only_passed_on_is_no_answer(ledger: connect.Ledger) -> None:
    """No request was sent: a blocked host has still to be probed."""
    with ledger.transaction() as db:
        pacing.save_pace(db, 1, HostPace(block_level=3, blocked_until=time.time() - 1, blocked_why="it is in trouble"))
    passed_on = Move("c.example.org", 0, "http://c.example.org/", 1)
    runner = ByHand(lambda turn: [Outcome(claim.image_id, move=passed_on) for claim in turn.claims])
    run(ledger, runner, Plan(HostTable(), only_hosts=("a.example.org",)), patience_s=60.0)
    assert {len(turn.claims) for turn in runner.turns} == {1}
    assert pacing.load(ledger.connection, 1).pace.block_level == 3


def test_a_move_of_a_stored_image_waits_as_long_as_the_redirect_has_asked(ledger: connect.Ledger) -> None:
    """In the queue of the host that has named the wait; then it is passed on without another request there."""
    jpeg = Blob("1.jpg", 10, bytes(32), "image/jpeg", 1, 1)
    moved = Move("c.example.org", 0, "http://c.example.org/", 1, wait_s=100.5, cookies=("pass=1",))

    def answer(turn: Turn) -> list[Outcome]:
        if turn.host == "c.example.org" or turn.claims[0].stored is None:
            blob = None if turn.host == "c.example.org" else jpeg
            return [Outcome(claim.image_id, Verdict(Status.SUCCESS), blob=blob, requests=1) for claim in turn.claims]
        return [
            Outcome(claim.image_id, move=replace(moved, wait_s=0.0))
            if claim.redirect_url
            else Outcome(claim.image_id, move=moved, requests=1, hold_s=100.5)
            for claim in turn.claims
        ]

    assert run(ledger, ByHand(answer), Plan(HostTable())) is Ending.DONE
    refetching.queue(ledger, time.time() + 86400, (), lambda done, total: None)
    runner = ByHand(answer)
    assert run(ledger, runner, Plan(HostTable(), refetch=True, max_idle_s=3600.0)) is Ending.DONE
    asked = {claim.image_id: turn.expires_at for turn in reversed(runner.turns) for claim in turn.claims if not claim.redirect_url}
    there = {claim.image_id: (turn, claim) for turn in runner.turns for claim in turn.claims if turn.host == "c.example.org"}
    assert asked.keys() == there.keys()
    assert len(there) == 20
    assert min(turn.expires_at - asked[image_id] for image_id, (turn, _) in there.items()) >= 100.5
    assert {(claim.redirect_url, claim.cookies) for _, claim in there.values()} == {("http://c.example.org/", ("pass=1",))}
    assert refetching.n_waiting(ledger.connection.execute) == 0


def test_a_host_whose_redirects_lead_to_one_that_nobody_knows_is_asked_no_further() -> None:
    """What its workers still have of it is taken back: all of it would end at a page, if the other host is a log-in."""

    def to_log_in(claim: Claim) -> Outcome:
        return Outcome(claim.image_id, move=Move("login.example.org", 0, "http://login.example.org/", 1), requests=1)

    def answer(turn: Turn) -> list[Outcome] | None:
        return every_second_one(turn) if len(runner.turns) == 1 else None

    def open_turns() -> list[Turn]:
        return [turn for turn in runner.turns[1:] if turn.host == "a.example.org"]

    def some_are_redirected() -> None:
        for turn in open_turns():
            runner.happens(Reported(0, Report(turn.lease_id, tuple(map(to_log_in, turn.claims[:-1])))))

    runner = ByHand(answer)
    runner.at = {20: some_are_redirected}
    with ledger_of({"a.example.org": 300}) as ledger:
        run(ledger, runner, Plan(parse_hosts("[default]\nconnections = 16\n")), patience_s=25.0)
    assert sum(len(turn.claims) - 1 for turn in open_turns()) >= UNSIGNED
    assert {lease_id for _, orders in runner.told for lease_id in orders.end} == {turn.lease_id for turn in open_turns()}


def test_cookies_of_a_chain_go_along_to_the_next_host_and_no_further(ledger: connect.Ledger) -> None:
    """Also where the claim is given back there at first; not into the ledger; not to another attempt, nor to another image."""

    def answer(turn: Turn) -> list[Outcome]:
        if turn.host != "c.example.org":
            return [
                Outcome(
                    claim.image_id, move=Move("c.example.org", 0, "http://c.example.org/", 1, cookies=(f"key={claim.image_id}",))
                )
                for claim in turn.claims
            ]
        if len([turn for turn in runner.turns if turn.host == "c.example.org"]) == 1:
            return [Outcome(claim.image_id) for claim in turn.claims]
        busy = Verdict(Status.FAILED_TRANSIENT, "timeout")
        return [Outcome(claim.image_id, GONE if claim.attempt > 1 else busy, requests=1) for claim in turn.claims]

    runner = ByHand(answer)
    assert run(ledger, runner, Plan(HostTable(), retry_base_s=1.0, retry_cap_s=1.0)) is Ending.DONE
    there = [claim for turn in runner.turns if turn.host == "c.example.org" for claim in turn.claims]
    assert {claim.cookies == (f"key={claim.image_id}",) for claim in there if claim.attempt == 1} == {True}
    again = [claim for turn in runner.turns for claim in turn.claims if claim.attempt > 1]
    assert again
    assert {claim.cookies for claim in again if claim.redirect_url is None} <= {()}
    assert "key=" not in "".join(ledger.connection.iterdump())


def lent_to(runner: ByHand, worker: int) -> list[Turn]:
    return [turn for to, orders in runner.told if to == worker for turn in orders.turns]


def test_hosts_of_a_worker_that_may_still_be_asking_are_lent_only_later(ledger: connect.Ledger) -> None:
    """They share their limits with another host: that one must rest as well, though nobody was asking it."""
    names = ("a.example.org", "b.example.org")
    hosts = parse_hosts("".join(f"[hosts.'{name}']\ngroup = 'one'\nsource = 'a test'\n" for name in names))
    lent_at: list[float] = []

    def answer(turn: Turn) -> list[Outcome] | None:
        lent_at.append(runner.now)
        return None if len(lent_at) == 1 else all_gone(turn)

    runner = ByHand(answer)
    runner.at = {3: lambda: runner.happens(Died(0, "node1 is out of touch", may_ask_s=30.0), Joined(1))}
    assert run(ledger, runner, Plan(hosts)) is Ending.DONE
    assert lent_at[1] - lent_at[0] >= 30
    assert {turn.host for turn in lent_to(runner, 0)} == {"a.example.org"}
    assert {turn.host for turn in lent_to(runner, 1)} == {"a.example.org", "b.example.org"}


def test_a_worker_that_leaves_gets_no_more_turns(ledger: connect.Ledger) -> None:
    """It is told that none follows, gives back what it has not begun, and another worker has it."""
    runner = ByHand(lambda turn: None if len(runner.turns) <= 2 else all_gone(turn))

    def gives_back() -> None:
        for turn in lent_to(runner, 0):
            runner.say(turn, [Outcome(claim.image_id) for claim in turn.claims])

    runner.at = {2: lambda: runner.happens(Leaving(0)), 4: gives_back, 9: lambda: runner.happens(Joined(1))}
    assert run(ledger, runner, Plan(HostTable())) is Ending.DONE
    assert len(lent_to(runner, 0)) == 2
    assert [orders for worker, orders in runner.told if worker == 0][-1] == Orders(drain=True)
    assert sum(len(turn.claims) for turn in lent_to(runner, 1)) == 20
    assert counts(ledger) == {"failed_permanent": 20}


def test_without_workers_a_run_waits_for_them(ledger: connect.Ledger) -> None:
    """Also where other images have to wait for longer than a run may be idle."""
    runner = ByHand(all_gone)
    runner.receive(0)  # nobody has joined
    runner.at = {1000: lambda: runner.happens(Joined(5))}
    ledger.connection.execute("UPDATE host_rows SET blocked_until = ? WHERE host = 'a.example.org'", (int(runner.now) + 3000,))
    assert run(ledger, runner, Plan(HostTable(), max_idle_s=60)) is Ending.WAITING
    assert counts(ledger) == {"failed_permanent": 10, "pending": 10}


def test_hosts_of_a_cluster_whose_coordinator_died_rest_at_first(ledger: connect.Ledger) -> None:
    """Its workers may have been cut off: they end by themselves, but not at once."""
    for command, wait_s in (("download", 0), (owner.CLUSTER, 30)):
        owner.give_back(ledger, "died", time.time())
        owner.take(ledger, command, owner.this_process(), time.time())
        dies = ByHand(lambda turn: None)
        dies.at = {3: lambda: (_ for _ in ()).throw(LedgerLocked("as if killed"))}
        with pytest.raises(LedgerLocked):
            run(ledger, dies, Plan(HostTable()))
        owner.give_back(ledger, "died", time.time())
        owner.take(ledger, "download", owner.this_process(), time.time())
        lent_at: list[float] = []
        runner = ByHand(lambda turn: lent_at.append(runner.now) or [Outcome(claim.image_id) for claim in turn.claims])  # noqa: B023
        started = runner.now
        run(ledger, runner, Plan(HostTable()), patience_s=40)
        assert wait_s <= lent_at[0] - started < wait_s + 3


@pytest.mark.parametrize("how", ["ends in good order", "is killed", "gets no answer"])
def test_hosts_of_a_lost_worker_rest_in_the_next_run_too(how: str, ledger: connect.Ledger) -> None:
    """The run ends within the half minute in which a worker that lost contact may still send requests."""
    owner.give_back(ledger, "ended", time.time())
    owner.take(ledger, owner.CLUSTER, owner.this_process(), time.time())
    loses = ByHand(lambda turn: None)
    if how != "gets no answer":
        loses.at[3] = lambda: loses.happens(Died(0, "node1 is out of touch", may_ask_s=30.0))
    if how == "is killed":
        loses.at[5] = lambda: (_ for _ in ()).throw(LedgerLocked("as if killed"))
        with pytest.raises(LedgerLocked):
            run(ledger, loses, Plan(HostTable()))
    else:
        assert run(ledger, loses, Plan(HostTable(), grace_s=1.0), patience_s=5) is Ending.SIGNAL
    assert {turn.host for turn in loses.turns} == {"a.example.org", "b.example.org"}
    lost_at = loses.now
    lent = []
    for begins_s in (0, 10, 45):  # the runs after it are of this node alone, and each is told to end after some seconds
        owner.give_back(ledger, "ended", time.time())
        owner.take(ledger, "download", owner.this_process(), time.time())
        runner = ByHand(all_gone)
        runner.now = lost_at + begins_s
        run(ledger, runner, Plan(HostTable()), patience_s=8)
        lent.append(bool(runner.turns))
    assert lent == [False, False, True]


def test_the_records_of_a_shared_image_follow_between_settlements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And on a signal only when all that workers have brought is written down."""
    shared = "http://a.example.org/shared.jpg"
    rows = [(1_000_000 + n, shared) for n in range(300)] + [(2_000_000 + n, f"http://a.example.org/{n}.jpg") for n in range(5)]
    Collection(tmp_path).load(multimedia(tmp_path / "multimedia.txt", rows))
    monkeypatch.setattr(rollup, "SHARED_AT_ONCE", 20)
    monkeypatch.setattr(deferred, "RECORDS_AT_A_TIME", 20)
    has_stopped = [False]

    def fail(turn: Turn) -> list[Outcome]:
        has_stopped[0] = True
        return [Outcome(claim.image_id, GONE, http_status=404) for claim in turn.claims]

    with closing(connect.open_ledger(tmp_path / "ledger.sqlite")) as opened:
        owner.take(opened, "download", owner.this_process(), time.time())
        runner = ByHand(fail)
        steward = Steward(opened, runner, Plan(hosts=parse_hosts("")), Watcher(), runner.clock, lambda: has_stopped[0])
        drained: list[bool] = []
        drain = deferred.drain

        def watched(*args: object) -> bool:
            drained.append(drain(*args))  # type: ignore[arg-type]
            return drained[-1]

        monkeypatch.setattr(deferred, "drain", watched)
        assert steward.run() == Ending.SIGNAL
        assert drained == [False, True]
        counts = dict(opened.connection.execute("SELECT status, count(*) FROM gbif_ids GROUP BY 1"))
        assert counts["failed"] >= 300, "all records of the shared image"
        assert not deferred.is_left(opened.connection)
