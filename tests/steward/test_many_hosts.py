"""A million hosts, and a thousand in one group: what a run does costs as much for each of them as with few. Counts, no times."""

from __future__ import annotations

import dataclasses
import gc
import io
import json
import random
import sys
import tracemalloc
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import pytest

from d4c_images import cli
from d4c_images.ledger.file import connect
from d4c_images.ledger.file.reader import Reader, open_reader
from d4c_images.ledger.questions import overview
from d4c_images.ledger.queue import pacing, wishes
from d4c_images.policy.limits import HostTable, LimitBook, parse_hosts
from d4c_images.report.hosts import Choice, in_order, lines
from d4c_images.report.status import status_report
from d4c_images.steward import hosts
from d4c_images.steward.hosts import HOSTS_LOADED, Line, PolitenessGroup
from d4c_images.steward.steward import Steward
from d4c_images.steward.terms import Ending, Event, Plan, Snapshot, Watcher
from tests.support.counting import work_of
from tests.support.program import Collection, multimedia
from tests.support.simulation import STARTED, Simulation, counts, ledger_of, run

FLICKR = parse_hosts('[hosts."*.staticflickr.com"]\ngroup = "flickr"\nconnections = 4\n')
STEPS = 1000  # of SQLite's virtual machine, between two calls of a progress handler


@contextmanager
def counting(ledger: connect.Ledger) -> Iterator[dict[str, int]]:
    """Steps of SQLite's virtual machine, in thousands, and statements."""
    seen = {"steps": 0, "statements": 0}

    def step() -> int:
        seen["steps"] += 1
        return 0

    def statement(sql: str) -> None:
        seen["statements"] += 1

    ledger.connection.set_progress_handler(step, STEPS)
    ledger.connection.set_trace_callback(statement)
    try:
        yield seen
    finally:
        ledger.connection.set_progress_handler(None, 0)
        ledger.connection.set_trace_callback(None)


def steward(ledger: connect.Ledger, runner: Simulation, plan: Plan, patience_s: float = 10_000.0) -> Steward:
    end_at = runner.now + patience_s
    return Steward(ledger, runner, plan, Watcher(), runner.clock, lambda: runner.now > end_at)


def cost(images: dict[str, int], plan: Plan) -> dict[str, int]:
    """Of a whole run."""
    with ledger_of(images) as ledger, counting(ledger) as seen:
        assert run(ledger, Simulation(2, 0.1), plan) is Ending.DONE
        assert counts(ledger) == {"success": sum(images.values())}
    return seen


def alone(n: int) -> dict[str, int]:
    return {f"h{number}.org": 1 for number in range(n)}


def farms(n: int) -> dict[str, int]:
    return {f"farm{number}.staticflickr.com": 2 for number in range(n)}


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "table"), [(alone, HostTable()), (farms, FLICKR)])
def test_a_run_costs_as_much_for_each_host_however_many_there_are(shape: Callable[[int], dict[str, int]], table: HostTable) -> None:
    small, large = (cost(shape(n), Plan(table)) for n in (300, 600))
    for what in small:
        assert large[what] <= 2.3 * small[what], what


class LendingMeter:
    """Counts what lending takes from the first turns of a run to its end: steps and statements of SQLite, calls of Python."""

    def __init__(self, ledger: connect.Ledger, runner: Simulation, end_at: float) -> None:
        self.calls = self.n_before = 0
        self._ledger, self._runner, self._end_at = ledger, runner, end_at
        self._seen: dict[str, int] = {}
        self._stack = ExitStack()
        self._receive, runner.receive = runner.receive, self._receiving  # type: ignore[method-assign]

    def _receiving(self, timeout_s: float) -> list[Event]:
        if self._runner.turns and not self._seen:
            self.n_before = self._n_lent()
            self._seen = self._stack.enter_context(counting(self._ledger))
            sys.setprofile(self._called)
        return self._receive(timeout_s)

    def _called(self, _frame: FrameType, event: str, _what: object) -> None:
        self.calls += event in ("call", "c_call")

    def _n_lent(self) -> int:
        return sum(len(turn.claims) for _, turn in self._runner.turns)

    def is_over(self) -> bool:
        if self._runner.now > self._end_at:
            sys.setprofile(None)
            self._stack.close()
        return self._runner.now > self._end_at

    def for_an_image(self) -> dict[str, float]:
        n = self._n_lent() - self.n_before
        assert n > 100
        return {what: number / n for what, number in (*self._seen.items(), ("calls", self.calls))}


@pytest.mark.slow
def test_an_image_costs_as_much_in_a_group_of_100_000_hosts() -> None:
    costs = []
    for n in (10_000, 100_000):
        with ledger_of(farms(n)) as ledger:
            runner = Simulation(2, 0.1)
            meter = LendingMeter(ledger, runner, runner.now + 30)
            assert Steward(ledger, runner, Plan(FLICKR), Watcher(), runner.clock, meter.is_over).run() is Ending.SIGNAL
        costs.append(meter.for_an_image())
    few, many = costs
    for what in few:
        assert many[what] <= 1.1 * few[what] + 0.1, what


def test_a_run_begins_without_a_statement_for_each_host() -> None:
    """Hosts are loaded when their time comes."""
    with ledger_of(alone(400)) as ledger:
        runner = Simulation(1, 0.3)
        one = steward(ledger, runner, Plan(HostTable(), max_connections=4), patience_s=1.5)
        with counting(ledger) as seen:
            assert one.run() is Ending.SIGNAL
        assert len(runner.turns) >= 1
        assert seen["statements"] < 400, "it was some 2,000: five for each host"
        assert len(one._hosts) < 20


def test_who_is_done_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d4c_images.steward.hosts.HOSTS_LOADED", 1)
    with ledger_of(alone(100)) as ledger:
        one = steward(ledger, Simulation(1, 0.3), Plan(HostTable()))
        assert one.run() is Ending.DONE
        assert counts(ledger) == {"success": 100}
        assert len(one._hosts) == 0
        assert one._hosts.n_with_work == 0


def test_who_waits_is_not_kept_where_many_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """And comes back with what was known of it."""
    monkeypatch.setattr("d4c_images.steward.hosts.HOSTS_LOADED", 4)
    with ledger_of({f"h{number}.org": 5 for number in range(20)}) as ledger:
        one = steward(ledger, Simulation(1, 0.3), Plan(HostTable(), max_connections=6))
        one._hosts._shed_at = 4
        assert one.run() is Ending.DONE
        assert counts(ledger) == {"success": 100}
    assert HOSTS_LOADED > 1000


def test_a_wait_that_was_asked_for_holds_for_hosts_that_are_not_loaded() -> None:
    """Their group's, and their own; to the second (I8)."""
    with ledger_of({"farm1.staticflickr.com": 1, "farm2.staticflickr.com": 1, "a.org": 1}) as ledger:
        pacing.save_hold(ledger.connection, "flickr", STARTED + 100.2, "farm9 asked for 100 s")
        # that of farm2 is shorter than its group's
        own_wait = "UPDATE host_rows SET blocked_until = ? WHERE host IN ('a.org', 'farm2.staticflickr.com')"
        ledger.connection.execute(own_wait, (int(STARTED) + 50,))
        runner = Simulation(1, 0.3)
        assert run(ledger, runner, Plan(FLICKR)) is Ending.DONE
    first = {turn.host: at - STARTED for at, turn in reversed(runner.turns)}
    assert first["a.org"] >= 50
    assert min(first["farm1.staticflickr.com"], first["farm2.staticflickr.com"]) >= 100.2


def test_a_host_that_is_blocked_and_whose_group_waits_counts_once() -> None:
    with ledger_of({"farm1.staticflickr.com": 1, "farm2.staticflickr.com": 1, "a.org": 1}) as ledger:
        pacing.save_hold(ledger.connection, "flickr", STARTED + 100, "farm2 asked for 100 s")
        own_wait = "UPDATE host_rows SET blocked_until = ? WHERE host IN ('a.org', 'farm2.staticflickr.com')"
        ledger.connection.execute(own_wait, (int(STARTED) + 100,))
        runner, seen = Simulation(1, 0.3), list[Snapshot]()
        watcher = Watcher()
        watcher.started = seen.append  # type: ignore[method-assign]
        assert Steward(ledger, runner, Plan(FLICKR), watcher, runner.clock, lambda: False).run() is Ending.DONE
    assert (seen[0].n_blocked, seen[0].n_hosts) == (3, 3)


@pytest.mark.parametrize("typecode", ["i", "d"])
def test_the_greatest_of_many_are_those_of_few(typecode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = array(typecode, random.Random(1).sample(range(1_000_000), 500))
    wanted = set(sorted(range(500), key=values.__getitem__)[-7:])
    assert set(hosts._most(values, 7)) == wanted
    monkeypatch.setattr(hosts, "FEW", 100)
    assert set(hosts._most(values, 7)) == wanted


def test_all_hosts_are_paused_and_resumed_while_a_run_goes_on() -> None:
    """Also those that nobody has met yet; each wish is one, whatever it stands for."""
    runner = Simulation(1, 0.3)
    with ledger_of({f"h{number}.org": 3 for number in range(30)} | farms(10)) as ledger:
        moments = {1.0: wishes.Wish(wishes.PAUSE, ("*",)), 30.0: wishes.Wish(wishes.RESUME, ("*",))}

        def look() -> None:
            for moment in [moment for moment in moments if runner.now >= STARTED + moment]:
                wishes.leave(ledger.path, moments.pop(moment))

        real = runner.receive

        def receive(timeout_s: float) -> list[object]:
            look()
            return real(timeout_s)  # type: ignore[return-value]

        runner.receive = receive  # type: ignore[assignment, method-assign]
        assert run(ledger, runner, Plan(FLICKR, max_connections=8)) is Ending.WAITING
        lent = [at - STARTED for at, _ in runner.turns]
        assert max(lent) < 6
        again = Simulation(1, 0.3)
        again.now = runner.now
        wishes.leave(ledger.path, wishes.Wish(wishes.RESUME, ("*",)))
        assert run(ledger, again, Plan(FLICKR)) is Ending.DONE
        assert counts(ledger) == {"success": 110}


def test_a_pause_of_all_hosts_is_taken_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wishes, "HOSTS_A_STEP", 10)
    with ledger_of(alone(95)) as ledger:
        ledger.connection.execute("UPDATE host_rows SET paused_at = 5 WHERE host_id = 3")
        beats: list[int] = []
        wishes.leave(ledger.path, wishes.Wish(wishes.PAUSE, ("h*.org",)))
        assert len(wishes.take_all(ledger, STARTED, lambda: beats.append(1))) == 1
        assert len(beats) >= 10
        rows = ledger.connection.execute("SELECT paused_at, count(*) FROM host_rows GROUP BY 1").fetchall()
        assert rows == [(5, 1), (int(STARTED), 94)], "what is paused already is left as it is"


def test_a_limit_for_all_hosts_is_one_entry_and_beats_the_file() -> None:
    """Also for hosts to come; and it takes no host out of its group."""
    table = parse_hosts('[hosts."a.org"]\nconnections = 9\n[hosts."*.staticflickr.com"]\ngroup = "flickr"\nconnections = 4\n')
    wanted = HostTable(hosts={"*": {"connections": 1}, "*.b.org": {"connections": 3}, "img*.b.org": {"connections": 5}})
    book = LimitBook(table, wanted)
    hosts = ("a.org", "c.org", "x.b.org", "img7.b.org", "img7.b.org:8080")
    assert [book.limits(host).connections for host in hosts] == [1, 1, 3, 5, 5]
    assert book.shared_limits("farm1.staticflickr.com").connections == 1
    assert book.shared_limits("farm1.staticflickr.com").group == "flickr"
    exact = LimitBook(table, HostTable(hosts={"*": {"connections": 1}, "a.org": {"connections": 2}}))
    assert exact.limits("a.org").connections == 2


def test_the_limits_of_a_group_are_reckoned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand hosts of a group, with an entry each."""
    found = []
    real = LimitBook._find
    monkeypatch.setattr(LimitBook, "_find", lambda self, name: found.append(name) or real(self, name))  # type: ignore[func-returns-value]
    book = LimitBook(FLICKR, HostTable(hosts={host: {"connections": 1} for host in farms(2000)}))
    assert {book.shared_limits(host).connections for host in farms(2000)} == {1}
    assert len(found) < 5000
    found.clear()
    plain = LimitBook(FLICKR)
    assert {plain.shared_limits(host).connections for host in farms(2000)} == {4}
    assert len(found) < 10


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    rows = [(10_000 + n, f"http://farm{n}.staticflickr.com/{n}.jpg") for n in range(250)]
    Collection(tmp_path).load(multimedia(tmp_path / "multimedia.txt", rows))
    return Collection(tmp_path)


@pytest.mark.slow
def test_what_is_said_of_all_hosts_is_said_in_a_line(collection: Collection) -> None:
    output = collection.run("hosts", "set", "*", "connections=1")
    assert "set: 250 hosts (farm" in output
    assert len(output) < 1000
    assert collection.rows("SELECT host, limits FROM wanted_limits") == [("*", '{"connections": 1}')]
    text = collection.run("hosts")
    assert "150 more: use --limit N or --all" in text
    assert len([line for line in text.splitlines() if "staticflickr" in line]) == 100
    assert len([line for line in collection.run("hosts", "--limit", "7").splitlines() if "staticflickr" in line]) == 7
    assert len([line for line in collection.run("hosts", "--all").splitlines() if "staticflickr" in line]) == 250
    listed = json.loads(collection.run("hosts", "--json"))
    assert len(listed) == 250
    assert {line["connections"] for line in listed} == {1}
    assert collection.run("hosts", "list", "farm7.staticflickr.com", "--json").count('"host"') == 1
    collection.run("hosts", "unset", "*")
    assert collection.rows("SELECT count(*) FROM wanted_limits") == [(0,)]


def reports(ledger: Reader, steps: list[int]) -> None:
    connection = ledger._connected()

    def step() -> int:
        steps.append(1)
        return 0

    connection.set_progress_handler(step, STEPS)
    report = status_report(ledger, STARTED)
    assert report.images.total == report.traffic.n_hosts
    book = LimitBook(FLICKR, pacing.wanted_limits(ledger.rows))
    order = in_order(ledger, book, Choice(), STARTED)
    assert len(list(lines(ledger, book, order[:10].tolist(), STARTED))) == 10


@pytest.mark.slow
def test_reports_cost_as_much_for_each_host() -> None:
    seen, peaks = [], []
    for n in (3000, 6000):
        steps: list[int] = []
        with ledger_of(alone(n)) as ledger:
            ledger.connection.execute("UPDATE host_rows SET latency_s = 0.1 + host_id / 1e6, blocked_until = ?", (STARTED + 9,))
            with open_reader(ledger.path) as reader:
                gc.collect()
                tracemalloc.start()
                reports(reader, steps)
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
        seen.append(len(steps))
    assert seen[1] <= 2.3 * seen[0]
    assert peaks[1] <= 2.3 * peaks[0] + 200_000  # 430 bytes a host, and what the interpreter keeps for itself


class Counted(io.TextIOBase):
    """Takes text, and keeps only the numbers of its characters and lines."""

    n_characters = n_lines = 0

    def write(self, text: str) -> int:
        self.n_characters += len(text)
        self.n_lines += text.count("\n")
        return len(text)


@pytest.mark.slow
def test_a_host_costs_little_in_the_list_for_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written as it is read: a few dozen calls for each host, a line each, and memory for a step of them."""
    monkeypatch.setattr(overview, "HOSTS_A_STEP", 500)
    works = []
    for n in (1100, 2200):
        with ledger_of(alone(n)) as ledger:
            ledger.connection.execute("UPDATE host_rows SET latency_s = 0.1, images_per_s = iif(host_id % 2, 1.5, NULL)")
            words, sink = ["hosts", "--json", "--ledger", str(ledger.path)], Counted()
            monkeypatch.setattr(sys, "stdout", sink)
            if not works:
                assert cli.main(words) == 0  # loads what it needs
                sink = Counted()
                monkeypatch.setattr(sys, "stdout", sink)
            works.append(work_of(lambda words=words: cli.main(words)))  # type: ignore[misc]
            monkeypatch.undo()
            monkeypatch.setattr(overview, "HOSTS_A_STEP", 500)
        assert sink.n_lines == n + 2
        assert sink.n_characters < 400 * n
    small, large = works
    assert large.calls - small.calls <= 1100 * 60, "it was 470 for each host"
    assert large.peak_bytes - small.peak_bytes <= 1100 * 100


@pytest.mark.parametrize("n", [0, 1, 3])
def test_the_list_for_scripts_is_json(capsys: pytest.CaptureFixture[str], n: int) -> None:
    with ledger_of({"a.org": 3} | alone(n)) as ledger:
        words = ["h*.org"]
        assert cli.main(["hosts", "list", *words, "--json", "--ledger", str(ledger.path)]) == 0
        listed = json.loads(capsys.readouterr().out)
        assert [(line["host"], line["state"], line["n_left"], line["eta_s"]) for line in listed] == [
            (f"h{number}.org", "waiting", 1, None) for number in range(n)
        ]
        with open_reader(ledger.path) as reader:
            book = LimitBook(HostTable(), pacing.wanted_limits(reader.rows))
            order = in_order(reader, book, Choice(words), STARTED)
            assert listed == [dataclasses.asdict(line) for line in lines(reader, book, order.tolist(), STARTED)]


def test_a_line_keeps_its_order() -> None:
    line = Line()
    for number in range(5000):
        line.append(number)
    assert [line.pop() for _ in range(3000)] == list(range(3000))
    line.push_front(7)
    assert (len(line), line.pop(), line.pop()) == (2001, 7, 3000)
    empty = Line()
    empty.push_front(1)
    empty.push_front(2)
    assert (empty.pop(), empty.pop(), len(empty)) == (2, 1, 0)


def test_hosts_of_a_group_wait_as_numbers() -> None:
    """First come, first served; none of them is loaded before there is a connection for it."""
    with ledger_of(farms(50)) as ledger:
        runner = Simulation(1, 0.3)
        one = steward(ledger, runner, Plan(FLICKR))

        def look() -> None:
            assert len(one._hosts) <= len({turn.host for _, turn in runner.turns}) + 4
            group: PolitenessGroup = one._hosts.shared[0]
            assert group.granted == sum(lane.connections for host in one._hosts for lane in host.lanes.values())
            assert group.granted <= 4

        runner.after_each = look
        assert one.run() is Ending.DONE
        assert counts(ledger) == {"success": 100}
    first, second = [turn.host for _, turn in runner.turns[:50]], [turn.host for _, turn in runner.turns[50:]]
    assert len(set(first)) == 50, "nobody has two turns before all have had one"
    assert len(second) <= 50


def test_a_connection_that_is_kept_for_a_host_goes_to_the_next_one_when_that_is_dropped() -> None:
    """It is paused, or given up, between its call and its turn; nobody waits for it."""
    with ledger_of(farms(8)) as ledger:
        one = steward(ledger, Simulation(1, 0.3), Plan(FLICKR))
        one._survey()
        one._lender.begin(STARTED)
        group: PolitenessGroup = one._hosts.shared[0]
        assert len(group.called) == 1, "its width"
        for n in range(8):
            assert len(group.line) == 7 - n
            (called,) = group.called
            one._lender.paused(called, float("inf"), STARTED)
            assert called not in group.called
        assert not group.called
        one._lender.paused(called, None, STARTED)
        assert one._lender.agenda.pop(STARTED, may_be_new=True) == called


def test_the_totals_are_the_sums_of_the_tallies() -> None:
    sums = "SELECT status, error_type, sum(n), sum(n_final), sum(size_bytes) FROM tallies GROUP BY 1, 2 HAVING sum(n) <> 0"
    totals = "SELECT * FROM image_totals WHERE n <> 0 ORDER BY status, error_type"
    with ledger_of({"a.org": 20, "b.org": 5}) as ledger:
        run(ledger, Simulation(1, 0.3, frozenset(["b.org"])), Plan(HostTable(), max_idle_s=1.0), patience_s=60.0)
        assert ledger.connection.execute(totals).fetchall() == ledger.connection.execute(sums).fetchall()
        ledger.connection.execute("DELETE FROM tallies")
        assert ledger.connection.execute(totals).fetchall() == []
