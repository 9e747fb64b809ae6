"""What a run reports that reaches nobody: one line about the node as soon as it is certain, and none about a node that is well."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from d4c_images.ledger.file import connect
from d4c_images.model import Outcome, Status, Turn, Verdict
from d4c_images.policy.limits import HostTable
from d4c_images.policy.preflight import reached_nobody
from d4c_images.report.announce import Announcer
from d4c_images.steward.steward import Steward
from d4c_images.steward.terms import Ending, Plan, Watcher
from tests.steward.test_steward import ByHand, all_gone, not_reached
from tests.support.simulation import ledger_of

DNS = "dns: Could not resolve host"


class Heard(Watcher):
    """What was reported about hosts and the network, in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[object, ...]] = []

    def host_blocked(self, host: str, until: float, why: str) -> None:
        self.lines.append(("blocked", host))

    def network_down(self, is_down: bool) -> None:
        self.lines.append(("down", is_down))

    def no_way_out(self, n_hosts: int, why: str) -> None:
        self.lines.append(("no way out", n_hosts, why))

    def idle(self, until: float, host: str, why: str) -> None:
        self.lines.append(("idle", why))


def heard(
    answer: Callable[[Turn], list[Outcome] | None], n_hosts: int = 5, plan: Plan | None = None, lasts_s: float = 1e6
) -> tuple[list[tuple[object, ...]], Ending]:
    """Of a run over so many hosts with five images each."""
    watcher, runner = Heard(), ByHand(answer)
    end_at = runner.now + lasts_s
    with hosts(n_hosts) as ledger:
        steward = Steward(ledger, runner, plan or Plan(HostTable()), watcher, runner.clock, lambda: runner.now > end_at)
        return watcher.lines, steward.run()


def hosts(n: int) -> AbstractContextManager[connect.Ledger]:
    return ledger_of({f"{letter}.example.org": 5 for letter in "abcdefghij"[:n]}, time.time(), shuffled=False)


def test_a_node_without_a_way_out_gets_one_line() -> None:
    lines, ending = heard(not_reached)
    assert lines == [("no way out", 5, DNS), ("idle", "")], "no line for each host, none for the outage, none at each new try"
    assert ending is Ending.OUTAGE


def test_it_does_not_wait_until_an_outage_is_certain() -> None:
    lines, ending = heard(not_reached, plan=Plan(HostTable(), max_idle_s=0.0))
    assert lines == [("no way out", 5, DNS), ("idle", "")]
    assert ending is Ending.OUTAGE, "not that all has to wait"


@pytest.mark.parametrize("plan", [Plan(HostTable(), max_tries=1), Plan(HostTable(), max_tries=1, max_idle_s=0.0)])
def test_a_limit_is_not_reached_where_nobody_is(plan: Plan) -> None:
    lines, ending = heard(not_reached, plan=plan)
    assert ending is Ending.OUTAGE
    assert not [line for line in lines if line[0] == "no way out"], "one host says nothing of the node"


def test_one_or_two_dead_hosts_are_reported_as_such() -> None:
    lines, ending = heard(not_reached, n_hosts=2, plan=Plan(HostTable(), max_idle_s=0.0))
    assert {line for line in lines if line[0] != "idle"} == {("blocked", "a.example.org"), ("blocked", "b.example.org")}
    assert ending is Ending.WAITING


def test_dead_hosts_beside_a_living_one_are_reported_once_that_answers() -> None:
    """It takes its time: the others are known to be unreachable by then."""
    late: list[Turn] = []

    def answer(turn: Turn) -> list[Outcome] | None:
        if turn.host != "e.example.org":
            return not_reached(turn)
        if seen:
            return all_gone(turn)
        late.append(turn)
        return None

    runner, watcher = ByHand(answer), Heard()
    seen: list[list[tuple[object, ...]]] = []

    def answers() -> None:
        seen.append(list(watcher.lines))
        for turn in late:
            runner.say(turn, all_gone(turn))

    runner.at = {8: answers}
    with hosts(5) as ledger:
        plan = Plan(HostTable(), max_idle_s=0.0)
        assert Steward(ledger, runner, plan, watcher, runner.clock, lambda: False).run() is Ending.WAITING
    assert seen == [[]], "nothing is said while one may still answer"
    assert {line for line in watcher.lines if line[0] != "idle"} == {("blocked", f"{letter}.example.org") for letter in "abcd"}


def test_a_network_that_comes_back_is_reported() -> None:
    runner = ByHand(lambda turn: not_reached(turn) if runner.now < end_at else all_gone(turn))
    watcher, end_at = Heard(), runner.now + 200
    with hosts(5) as ledger:
        assert Steward(ledger, runner, Plan(HostTable()), watcher, runner.clock, lambda: False).run() is Ending.DONE
    assert watcher.lines == [("no way out", 5, DNS), ("idle", ""), ("down", False)]


def test_a_network_that_goes_down_later_is_an_outage() -> None:
    runner = ByHand(lambda turn: all_gone(turn) if len(runner.turns) < 5 else not_reached(turn))
    watcher = Heard()
    with ledger_of({f"{letter}.example.org": 300 for letter in "abcde"}, time.time(), shuffled=False) as ledger:
        assert Steward(ledger, runner, Plan(HostTable()), watcher, runner.clock, lambda: False).run() is Ending.OUTAGE
    assert ("down", True) in watcher.lines
    assert not [line for line in watcher.lines if line[0] == "no way out"], "it had one"


def test_hosts_whose_certificates_fail_have_been_reached() -> None:
    verdict = Verdict(Status.FAILED_TRANSIENT, "tls", "certificate has expired", host_trouble=True, unreachable=True)

    def answer(turn: Turn) -> list[Outcome]:
        first, *rest = turn.claims
        return [Outcome(first.image_id, verdict, http_status=-5, requests=1), *(Outcome(claim.image_id) for claim in rest)]

    lines, _ = heard(answer, plan=Plan(HostTable(), max_idle_s=0.0))
    assert {line for line in lines if line[0] != "idle"} == {("blocked", f"{letter}.example.org") for letter in "abcde"}


def test_the_line() -> None:
    assert reached_nobody(10, "dns: Could not resolve host: a.org") == (
        "none of 10 hosts could be reached (dns: Could not resolve host: a.org): this node seems to have no way out; "
        "see 'd4c-images preflight'"
    )


def test_a_person_is_told() -> None:
    sent: list[str] = []
    Announcer(sent.append, "herbarium", 1000).no_way_out(4, DNS)
    assert sent == [f":no_entry: herbarium: {reached_nobody(4, DNS)}"]
