"""What every runner does; and the runner of processes: workers that hang, die or end are told apart."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from d4c_images.errors import D4CError
from d4c_images.model import Orders
from d4c_images.runners.dask import DaskRunner
from d4c_images.runners.inline import InlineRunner
from d4c_images.runners.pipe_worker import Work
from d4c_images.runners.processes import ProcessRunner
from d4c_images.runners.rendezvous import MeetingPlace
from d4c_images.steward.terms import Died, Event, Joined, Reported, Runner
from tests.cluster.nodes import workers_at
from tests.support.patience import PATIENCE_S
from tests.support.works import long_turn, set_up_breaker, set_up_failure, set_up_sleeper, set_up_talker


@pytest.fixture
def start() -> Iterator[Callable[..., ProcessRunner]]:
    runners = []

    def started(n: int, setup: Callable[[], Work]) -> ProcessRunner:
        runners.append(ProcessRunner(n, setup))
        return runners[-1]

    yield started
    for runner in runners:
        runner.close()


@contextmanager
def for_at_most(seconds: int) -> Iterator[None]:
    """The mistake would be to wait for ever."""

    def give_up(*_: object) -> None:
        raise TimeoutError

    old = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def received(runner: Runner, enough: Callable[[list[Event]], bool]) -> list[Event]:
    events: list[Event] = []
    end_at = time.monotonic() + PATIENCE_S
    while not enough(events):
        assert time.monotonic() < end_at, events
        events += runner.receive(0.5)
    return events


@pytest.fixture(params=["inline", "processes", pytest.param("dask", marks=pytest.mark.slow)])
def start_one(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Callable[[], Work]], tuple[Runner, int]]]:
    """Each kind of runner, with one worker and its number. Dask's worker is a process of its own, as on another node."""
    with ExitStack() as stack:

        def started(setup: Callable[[], Work]) -> tuple[Runner, int]:
            runner: Runner
            if request.param == "inline":
                runner = InlineRunner(setup())
            elif request.param == "processes":
                runner = ProcessRunner(1, setup)
            else:
                stack.enter_context(workers_at(tmp_path / "cluster"))
                runner = DaskRunner(MeetingPlace(tmp_path / "cluster"), "a ledger", setup, print)
            stack.enter_context(closing(runner))
            (event,) = received(runner, bool)
            assert isinstance(event, Joined)
            return runner, event.worker

        yield started


def test_what_a_worker_raises_is_raised_to_the_steward(start_one: Callable[[Callable[[], Work]], tuple[Runner, int]]) -> None:
    runner, worker = start_one(set_up_breaker)
    runner.send(worker, Orders(turns=(long_turn(1),)))
    with pytest.raises(D4CError, match="the disk is full"):
        received(runner, lambda events: False)


def test_long_orders_and_long_reports_pass_each_other(start_one: Callable[[Callable[[], Work]], tuple[Runner, int]]) -> None:
    """The steward sends several turns before it listens again; the worker meanwhile waits to be listened to."""
    runner, worker = start_one(set_up_talker)
    with for_at_most(int(PATIENCE_S)):
        for lease_id in range(6):
            runner.send(worker, Orders(turns=(long_turn(lease_id),)))
    events = received(runner, lambda events: len(events) == 6)
    assert [event.report.lease_id for event in events if isinstance(event, Reported)] == list(range(6))


@pytest.mark.slow
def test_a_worker_that_hangs_is_killed_and_replaced(start: Callable[..., ProcessRunner]) -> None:
    """Orders to it pile up without holding anybody up."""
    runner = start(2, set_up_sleeper)
    assert runner.receive(0) == [Joined(0), Joined(1)]
    for lease_id in range(6):
        runner.send(0, Orders(turns=(long_turn(lease_id),)))
    received(runner, lambda events: bool(events))
    runner.kill(0)
    assert received(runner, bool) == [Died(0, "killed by SIGKILL"), Joined(2)]
    runner.send(2, Orders(turns=(long_turn(7),)))
    (event,) = received(runner, bool)
    assert isinstance(event, Reported)
    for worker in (1, 2):  # else their end is waited for
        runner.kill(worker)


@pytest.mark.slow
def test_a_worker_that_was_told_to_end_has_not_died(start: Callable[..., ProcessRunner]) -> None:
    runner = start(2, set_up_talker)
    runner.send(0, Orders(drain=True, closed=True))
    runner.send(1, Orders(turns=(long_turn(1),)))
    events = received(runner, lambda events: any(isinstance(event, Reported) for event in events))
    runner.send(1, Orders(drain=True, closed=True))
    while runner._seats:
        events += runner.receive(PATIENCE_S)
    assert [event.worker for event in events if isinstance(event, Reported)] == [1]
    assert len(events) == 3, "two have joined, and none has died"


def test_what_a_worker_raises_reaches_the_steward(start: Callable[..., ProcessRunner]) -> None:
    runner = start(1, set_up_failure)
    with pytest.raises(D4CError, match="the disk is full"):
        received(runner, lambda events: False)
