"""Who is lent what, in simulated runs: limits of groups, room of workers, turns for everybody. The workers are the test's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_images.ledger.questions import from_counters
from d4c_images.ledger.queue import giving_up, lending, pacing, refetching, settling, untried, wishes
from d4c_images.model import Failure, Orders, Outcome, OwnCode, Report, Status, Turn, Verdict
from d4c_images.policy import pace
from d4c_images.policy.limits import HostTable, parse_hosts
from d4c_images.steward.terms import Ending, Event, Plan, Reported
from tests.support.properties import examples
from tests.support.simulation import STARTED, Simulation, counts, ledger_of, run

GONE = Verdict(Status.FAILED_PERMANENT, "http_404")
TABLE = parse_hosts(
    """
    [default]
    connections = 3
    [hosts."*.group.org"]
    group = "shared"
    connections = 5
    [hosts."b.group.org"]
    connections = 20
    [hosts."wide.org"]
    connections = 20
    [hosts."*.calm.org"]
    group = "calm"
    connections = 4
    min_interval_s = 0.1
    """
)
MOST = {"shared": 5, "wide.org": 20, "calm": 4}
HOSTS = ("a.group.org", "b.group.org", "c.group.org", "wide.org", "a.calm.org", "b.calm.org", "x.org", "y.org")


@settings(max_examples=examples(12), deadline=None)
@given(
    st.dictionaries(st.sampled_from(HOSTS), st.integers(1, 60)),
    st.integers(1, 3),
    st.integers(1, 24),
    st.frozensets(st.sampled_from(["x.org", "c.group.org"])),
)
def test_limits_hold_at_every_moment(images: dict[str, int], n_workers: int, room: int, hanging: frozenset[str]) -> None:
    runner = Simulation(n_workers, 0.3, hanging)
    images = {"a.group.org": 30, "b.group.org": 30, "a.calm.org": 8, "b.calm.org": 8} | images

    def look() -> None:
        """By all turns that are out, each lane counted with the widest of them."""
        lanes: dict[tuple[str, int, int], int] = {}
        for worker, turn in runner.under_way.values():
            key = (turn.host, turn.lane, worker)
            lanes[key] = max(lanes.get(key, 0), turn.connections)
        workers = {(host, lane) for host, lane, _ in lanes}
        assert len(workers) == len(lanes), "a lane is one worker's"
        by_group: dict[str, list[int]] = {}
        for (host, *_), n in lanes.items():
            by_group.setdefault(TABLE.limits(host).group or host, []).append(n)
        for group, mine in by_group.items():
            assert sum(mine) <= MOST.get(group, 3), group
            assert group != "calm" or len(mine) == 1, "an interval is kept by one lane"
        for worker in range(n_workers):
            assert sum(n for key, n in lanes.items() if key[2] == worker) <= room

    runner.after_each = look
    with ledger_of(images) as ledger:
        run(ledger, runner, Plan(TABLE, max_connections=room, max_idle_s=5.0))
        well = sum(n for host, n in images.items() if host not in hanging)
        assert counts(ledger).get("success", 0) == well, "nobody is forgotten"


def test_hosts_that_hang_leave_room_for_others() -> None:
    """There are more of them than there is room, and each holds what it has for half a minute."""
    images = {f"dead{n}.org": 50 for n in range(20)} | {"well.org": 300}
    runner = Simulation(1, 0.1, frozenset(images) - {"well.org"})
    with ledger_of(images) as ledger:
        run(ledger, runner, Plan(HostTable(), max_connections=8, max_idle_s=5.0), patience_s=60.0)
        assert counts(ledger)["success"] == 300
    dead = [at for at, turn in runner.turns if turn.host != "well.org"]
    assert 2 <= sum(at < STARTED + 29 for at in dead) <= 2, "a quarter of the room"


def test_a_host_that_has_not_answered_gets_one_connection_then_what_it_bears() -> None:
    runner = Simulation(1, 0.3)
    with ledger_of({"a.org": 200}) as ledger:
        assert run(ledger, runner, Plan(parse_hosts("[default]\nconnections = 8"))) is Ending.DONE
        first, second, *_ = (turn for _, turn in runner.turns)
        assert (first.connections, first.at_first) == (1, None)
        assert (second.connections, second.at_first) == (8, 2), "the worker makes it wider as pictures come"
        assert runner.now < STARTED + 200 * 0.3 / 8 + 3
        width, latency_s = ledger.connection.execute("SELECT width, latency_s FROM hosts").fetchone()
        assert (width, round(latency_s, 3)) == (8, 0.3)


def test_the_width_outlasts_a_run() -> None:
    runner = Simulation(1, 0.3)
    with ledger_of({"a.org": 100}) as ledger:
        plan = Plan(parse_hosts("[default]\nconnections = 8"), max_tries=60)
        assert run(ledger, runner, plan) is Ending.LIMIT
        again = Simulation(1, 0.3)
        again.now = runner.now
        assert run(ledger, again, Plan(parse_hosts("[default]\nconnections = 8"))) is Ending.DONE
        assert [turn.connections for _, turn in again.turns[:2]] == [1, 8]


def test_a_wait_that_one_host_asks_for_is_one_of_its_group() -> None:
    """What is under way at its other names is ended, also at another worker; and the next run keeps to it."""
    runner = Simulation(2, 0.3)
    table = parse_hosts('[hosts."*.group.org"]\ngroup = "shared"\nconnections = 8\n')
    real = runner._report

    def report(turn: Turn, image_id: int, number: int, took_s: float) -> Report:
        if turn.host == "a.group.org" and runner.now > STARTED + 2 and not runner.ended:
            busy = Verdict(Status.FAILED_TRANSIENT, "rate_limited", wait_s=600.0, host_trouble=True)
            outcome = Outcome(image_id, busy, http_status=429, requests=1, elapsed_s=took_s)
            return Report(turn.lease_id, (outcome,), finished=number + 1 == len(turn.claims))
        return real(turn, image_id, number, took_s)

    runner._report = report  # type: ignore[method-assign]
    with ledger_of({"a.group.org": 400, "b.group.org": 400, "c.org": 20}) as ledger:
        assert run(ledger, runner, Plan(table, max_idle_s=60.0)) is Ending.WAITING
        assert any(turn.host == "b.group.org" for _, turn in runner.turns if turn.lease_id in runner.ended)
        held = dict(ledger.connection.execute("SELECT host, blocked_until FROM hosts WHERE blocked_until IS NOT NULL"))
        assert set(held) == {"a.group.org", "b.group.org"}
        assert min(held.values()) > STARTED + 600
        again = Simulation(1, 0.3)
        again.now = runner.now
        assert run(ledger, again, Plan(table, max_idle_s=60.0)) is Ending.WAITING
        assert again.turns == []


def test_bytes_per_second_are_paid_for_between_turns() -> None:
    runner = Simulation(2, 0.01, size_bytes=10_000)
    with ledger_of({"a.org": 100}) as ledger:
        table = parse_hosts("[default]\nconnections = 4\nbytes_per_s = 20000\n")
        assert run(ledger, runner, Plan(table)) is Ending.DONE
    assert all(turn.bytes_per_s == 20_000 for _, turn in runner.turns)
    last = runner.turns[-1]
    before = sum(len(turn.claims) for _, turn in runner.turns[:-1]) - len(runner.turns[-2][1].claims)
    assert last[0] - STARTED >= 0.9 * before * 10_000 / 20_000, "in this simulation, workers do not wait"


def test_bytes_per_day_are_counted_over_restarts_and_over_the_group() -> None:
    table = parse_hosts('[hosts."*.group.org"]\ngroup = "shared"\nbytes_per_day = 400000\n')
    with ledger_of({"a.group.org": 30, "b.group.org": 30}) as ledger:
        runner = Simulation(1, 0.1, size_bytes=10_000)
        assert run(ledger, runner, Plan(table, max_tries=25)) is Ending.LIMIT
        again = Simulation(1, 0.1, size_bytes=10_000)
        again.now = STARTED + 3600
        assert run(ledger, again, Plan(table)) is Ending.WAITING
        assert 40 <= counts(ledger)["success"] <= 42, "what was under way when the last byte came"
        why, until = ledger.connection.execute("SELECT DISTINCT blocked_why, blocked_until FROM hosts").fetchone()
        assert "daily byte limit" in why
        assert STARTED + 24 * 3600 <= until <= STARTED + 25 * 3600 + 1
        later = Simulation(1, 0.1, size_bytes=10_000)
        later.now = float(until)
        run(ledger, later, Plan(table))
        assert counts(ledger)["success"] == 60


def test_in_no_24_hours_more_than_a_day() -> None:
    with ledger_of({"a.org": 1}) as ledger, ledger.transaction() as db:
        for hour in range(4):
            pacing.count_bytes(db, [(1, 100)], STARTED + hour * 3600)
        at = (STARTED // 3600) * 3600
        by_hour = dict(pacing.bytes_by_hour(db, 1, STARTED + 4 * 3600))
        assert pacing.day_bytes(by_hour, 500, STARTED + 4 * 3600).left == 100
        full = pacing.day_bytes(by_hour, 400, STARTED + 4 * 3600)
        assert full == (0, at + 25 * 3600)
        assert pacing.day_bytes(by_hour, 150, STARTED + 4 * 3600).again_at == at + 27 * 3600
        assert pacing.day_bytes(by_hour, 400, at + 25 * 3600).left == 100
        pacing.forget_old_bytes(db, at + 25 * 3600)
        assert db.execute("SELECT count(*) FROM host_bytes").fetchone() == (3,)


def test_a_paused_host_is_left_alone_until_somebody_resumes_it() -> None:
    """While the run goes on: its turns end; the other host is not disturbed."""
    runner = Simulation(1, 0.3)
    with ledger_of({"a.org": 300, "b.org": 120}) as ledger:
        moments = {
            3.0: wishes.Wish(wishes.PAUSE, ("a.org",)),
            15.0: wishes.Wish(wishes.RESUME, ("a.org",)),
        }

        def look() -> None:
            for moment in [moment for moment in moments if runner.now > STARTED + moment]:
                wishes.leave(ledger.path, moments.pop(moment))

        runner.after_each = look
        assert run(ledger, runner, Plan(HostTable())) is Ending.DONE
        assert counts(ledger) == {"success": 420}
    starts = [at - STARTED for at, turn in runner.turns if turn.host == "a.org"]
    assert not [at for at in starts if 6 < at < 15]
    assert runner.ended
    assert any(6 < at - STARTED < 15 for at, turn in runner.turns if turn.host == "b.org")


def test_a_run_with_nothing_but_paused_hosts_ends() -> None:
    with ledger_of({"a.org": 5}) as ledger:
        wishes.leave(ledger.path, wishes.Wish(wishes.PAUSE, ("a.org",)))
        assert run(ledger, Simulation(1, 0.3), Plan(HostTable())) is Ending.WAITING
        assert ledger.connection.execute("SELECT paused_at IS NULL FROM hosts").fetchone() == (0,)
        timed = wishes.Wish(wishes.PAUSE, ("a.org",), until=STARTED + 300)
        wishes.leave(ledger.path, timed)
        runner = Simulation(1, 0.3)
        assert run(ledger, runner, Plan(HostTable())) is Ending.DONE
        assert runner.turns[0][0] >= STARTED + 300


def test_limits_that_are_set_while_a_run_goes_on() -> None:
    runner = Simulation(1, 0.3)
    with ledger_of({"a.org": 400}) as ledger:

        def look() -> None:
            if len(runner.turns) == 5:
                wishes.leave(ledger.path, wishes.Wish(wishes.SET, ("a.org",), limits={"connections": 1, "min_interval_s": 0.1}))

        runner.after_each = look
        assert run(ledger, runner, Plan(parse_hosts("[default]\nconnections = 8"))) is Ending.DONE
        assert [turn.connections for _, turn in runner.turns][3] == 8
        assert {(turn.connections, turn.min_interval_s) for _, turn in runner.turns[8:]} == {(1, 0.1)}
        assert ledger.connection.execute("SELECT connections, min_interval_s FROM hosts").fetchone() == (1, 0.1)
        assert wishes.take_all(ledger, STARTED) == [], "it was taken"


def test_an_image_has_one_lease_at_a_time() -> None:
    """Lent again, it is in nobody else's hands: no other turn gets it, and whoever held it before settles nothing (I3)."""
    with ledger_of({"a.org": 2}) as ledger, ledger.transaction() as db:
        terms = lending.TurnTerms(0, 1, 0.0, 1, STARTED + 60)
        turns = [lending.lend(db, 1, 1, "a.org", terms, 4, STARTED)]
        assert turns[0] is not None
        lending.take_back(db, [turns[0].lease_id])
        turns += [lending.lend(db, 1, 1, "a.org", terms, 4, STARTED) for _ in range(2)]
        assert [turn.claims[0].image_id for turn in turns if turn is not None] == [1, 1, 2]
        late = Report(turns[0].lease_id, (Outcome(1, GONE, http_status=404),), finished=True)
        assert settling.settle(db, [late], settling.RetryTerms(4, lambda attempts: 1.0), STARTED).totals.n_late == 1
        assert db.execute("SELECT status, count(*) FROM images GROUP BY 1").fetchall() == [("leased", 2)]


def test_what_is_lent_is_not_given_up_with_its_host() -> None:
    """Not where it has been in the queue before, either: its row still says so."""
    failure = Failure(Verdict(Status.FAILED_TRANSIENT, "dns"), OwnCode.DNS, 0)
    with ledger_of({"a.org": 3}) as ledger, ledger.transaction() as db:
        terms = lending.TurnTerms(0, 1, 0.0, 1, STARTED + 60)
        for _ in range(2):
            turn = lending.lend(db, 1, 1, "a.org", terms, 4, STARTED)
            assert turn is not None
            assert [claim.image_id for claim in turn.claims] == [1]
            if not turn.claims[0].may_be_stored:
                lending.take_back(db, [turn.lease_id])
        assert giving_up.give_up(db, 1, "a.org", failure, 10, STARTED).n_failed == 2
        assert db.execute("SELECT image_id FROM images WHERE status = 'leased'").fetchall() == [(1,)]
        assert db.execute("SELECT n FROM tallies WHERE status = 'leased'").fetchall() == [(1,)]


QUESTIONS: list[tuple[str, tuple[object, ...]]] = [
    (from_counters.N_LEFT, (True, "[1, 2]")),
    (from_counters.HOST_AVAILABILITY, ("[1, 2]",)),
    (from_counters.N_BLOCKED, (0,)),
    (from_counters.N_PAUSED, (0,)),
    (from_counters.PAUSED, (0,)),
    (from_counters.IMAGE_TOTALS, ()),
    (untried.ANY_UNTRIED, (1,)),
    (untried.OF_HOST, (1,)),
    (refetching.ANY_TO_REFETCH, (1,)),
    (refetching.N_WAITING, ()),
    (refetching.NEXT, (1, 10)),
    (lending.EARLIEST, (1,)),
    (lending.CANDIDATES, (1, 0, 10)),
    (pacing.HOST, (1,)),
    (pacing.HOSTS_AT_START, (True, 0.5, 0, 100)),
    (pacing.GROUPS, ()),
    (pacing.BYTES_BY_HOUR, (1, 0)),
    (pacing.BLOCKED_FOR, ("a reason",)),
    (pacing.PAUSES, (0, 100)),
    (pacing.PAUSE_OF, ("a.org",)),
]
SMALL = {"image_totals", "politeness_groups", "host_rows", "one", "refetch_hosts", "q"}  # counters and hosts, by their names there


@pytest.mark.parametrize(("sql", "parameters"), QUESTIONS)
def test_what_a_run_asks_reads_no_image_but_those_it_lends(sql: str, parameters: tuple[object, ...]) -> None:
    """Nothing of it grows with the images that wait: it is answered from counters, by hosts, or from the front of a queue."""
    with ledger_of({"a.org": 1}) as ledger:
        plan = [row[3] for row in ledger.connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    assert {line.split()[1] for line in plan if line.startswith("SCAN") and "CONSTANT" not in line} <= SMALL, plan


@pytest.mark.parametrize("text", ["", "{}", '{"what": "pause"}', "[1]"])
def test_a_file_that_is_no_wish_holds_nobody_up(text: str) -> None:
    with ledger_of({"a.org": 1}) as ledger:
        wishes.leave(ledger.path, wishes.Wish(wishes.PAUSE, ("a.org",)))
        (wishes.folder_of(ledger.path) / "0.json").write_text(text)
        assert wishes.take_all(ledger, STARTED) != []
        assert not list(wishes.folder_of(ledger.path).iterdir())
        assert ledger.connection.execute("SELECT paused_at FROM hosts").fetchone() == (int(STARTED),)


class Spaced(Simulation):
    """Remembers how long after the last request to a group its next lane began. Each image fails twice for the time being."""

    def __init__(self, asks_for_s: float = 0.0) -> None:
        super().__init__(n_workers=2, latency_s=0.3)
        self.distances: list[float] = []
        self._asks_for_s, self._last_at, self._of = asks_for_s, dict[str, float](), dict[int, Turn]()

    def send(self, worker: int, orders: Orders) -> None:
        for turn in orders.turns:
            group = turn.group or turn.host
            is_new = (turn.host, turn.lane) not in {(one.host, one.lane) for _, one in self.under_way.values()}
            if is_new and group in self._last_at:
                self.distances.append(self.now - self._last_at[group])
            self._of[turn.lease_id] = turn
        super().send(worker, orders)

    def receive(self, timeout_s: float) -> list[Event]:
        events = super().receive(timeout_s)
        for event in events:
            if isinstance(event, Reported) and event.report.outcomes:
                turn = self._of[event.report.lease_id]
                self._last_at[turn.group or turn.host] = self.now - self._latency_s
        return events

    def _told(self, turn: Turn, outcome: Outcome, number: int) -> Report:
        (attempt,) = (claim.attempt for claim in turn.claims if claim.image_id == outcome.image_id)
        if attempt < 3:
            outcome = replace(outcome, verdict=Verdict(Status.FAILED_TRANSIENT, "truncated"), blob=None)
        return super()._told(turn, replace(outcome, interval_s=self._asks_for_s), number)


@pytest.mark.parametrize(
    ("interval_s", "asks_for_s"), [(5.0, 0.0), (0.0, 5.0), (5.0, 2.0), (2.0, 5.0)],
    ids=["by a limit", "by its answers", "by a limit above its answers", "by its answers above a limit"],
)  # fmt: skip
@pytest.mark.parametrize(("group", "n"), [("", 1), ('group = "calm"\n', 3)], ids=["alone", "in a group"])
def test_between_two_lanes_an_interval_is_kept(interval_s: float, asks_for_s: float, group: str, n: int) -> None:
    """Whoever has the next one, of whichever host: a worker keeps it only from one request of its own lane to the next."""
    table = parse_hosts(f'[hosts."*.calm.org"]\nmin_interval_s = {interval_s}\nconnections = 1\n{group}')
    runner = Spaced(asks_for_s)
    with ledger_of({"a.calm.org": n, "b.calm.org": n, "c.calm.org": n}) as ledger:
        assert run(ledger, runner, Plan(table, retry_base_s=1.0, retry_cap_s=1.0)) is Ending.DONE
        assert counts(ledger) == {"success": 3 * n}
    assert len(runner.distances) >= 6
    assert min(runner.distances) >= 5.0
    assert min(runner.distances) < 5.0 + 2.0, "and not much more"


def test_lanes_of_a_host_without_an_interval_wait_for_none() -> None:
    runner = Spaced()
    with ledger_of({"a.org": 1, "b.org": 1}) as ledger:
        assert run(ledger, runner, Plan(HostTable(), retry_base_s=1.0, retry_cap_s=1.0)) is Ending.DONE
    assert len(runner.distances) >= 4
    assert max(runner.distances) < 4.0


@pytest.mark.parametrize("width", [1, 2, 3, 8])
def test_a_turn_begins_no_wider_than_its_group_is(width: int) -> None:
    """However wide it may grow: pictures come in first."""
    runner = Simulation(1, 0.3)
    runner._report = lambda turn, image_id, number, took_s: runner._told(  # type: ignore[method-assign]
        turn, Outcome(image_id, GONE, http_status=404, requests=1, elapsed_s=took_s), number
    )  # what is no picture makes nothing wider
    with ledger_of({"a.org": 60}) as ledger:
        with ledger.transaction() as db:
            pacing.save_speed(db, 1, pace.Speed(float(width)))
        assert run(ledger, runner, Plan(parse_hosts("[default]\nconnections = 8"))) is Ending.DONE
    first, *others = [turn for _, turn in runner.turns]
    assert (first.connections, first.at_first) == (1, None), "it has not answered yet"
    assert {turn.connections if turn.at_first is None else turn.at_first for turn in others if len(turn.claims) >= 8} == {width}
    assert max(turn.connections for turn in others) == 8


def test_a_host_that_was_in_trouble_is_made_wider_by_nobody_but_the_steward() -> None:
    runner = Simulation(1, 0.3)
    with ledger_of({"a.org": 40}) as ledger:
        with ledger.transaction() as db:
            pacing.save_speed(db, 1, pace.Speed(2.0, 0.3, STARTED - 3600))
        assert run(ledger, runner, Plan(parse_hosts("[default]\nconnections = 8"))) is Ending.DONE
    assert runner.turns[1][1].connections == 2
    assert max(turn.connections for _, turn in runner.turns) > 2
    assert {turn.at_first for _, turn in runner.turns} == {None}
