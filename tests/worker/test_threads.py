"""The threads beside a worker's loop, with a clock in the test's hands: what waits for company, for how long, and in what order."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from d4c_images.stores import Keep, Place
from d4c_images.worker import threads as module
from d4c_images.worker.threads import ERRANDS, ERRANDS_S, GROUP_S, PUTS_AT_ONCE, Beside
from tests.support.patience import PATIENCE_S


class Shelf:
    """A store that remembers its groups; a put lasts until `may_end` is set."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.may_end = threading.Event()
        self.may_end.set()

    def put(self, keeps: Sequence[Keep]) -> list[Place | None]:
        self.groups.append(len(keeps))
        assert self.may_end.wait(PATIENCE_S)
        return [Place(f"{keep.extension}") for keep in keeps]


class Loop:
    """The loop that a worker has, step by step."""

    def __init__(self) -> None:
        self.now = 100.0
        self.shelf = Shelf()
        self.rang = threading.Event()
        self.beside = Beside(self.shelf, lambda: self.now, self.rang.set)  # type: ignore[arg-type]
        self.ran: list[int] = []
        self.told: list[int] = []
        self.kept: list[Place | None] = []

    def run(self, number: int, act: Any = None) -> None:
        def done(future: Future[Any]) -> None:
            self.told.append(number)

        self.beside.run(act or (lambda: self.ran.append(number)), done)

    def keep(self, number: int) -> None:
        self.beside.keep(Keep(None, str(number)), self.kept.append)  # type: ignore[arg-type]

    def step(self, *, more_may_come: bool = True) -> None:
        self.beside.step(more_may_come=more_may_come)

    def until_rung(self, *, more_may_come: bool = True) -> None:
        """What the threads have come to is told."""
        assert self.rang.wait(PATIENCE_S)
        self.rang.clear()
        self.step(more_may_come=more_may_come)


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.shelf.may_end.set()
    made.beside.close()


def quick(loop: Loop) -> None:
    """As far as is known, a picture takes a millisecond."""
    loop.beside._examine_s = 0.001


# Errands


def test_short_errands_wait_for_company_and_no_longer_than_they_may(loop: Loop) -> None:
    """Another answer may hang: what is there is looked at all the same."""
    quick(loop)
    loop.run(1)
    loop.now += ERRANDS_S / 2
    loop.run(2)
    loop.step()
    assert (loop.ran, loop.beside.wait_s(loop.now)) == ([], pytest.approx(ERRANDS_S / 2))
    loop.now += ERRANDS_S / 2
    assert loop.beside.wait_s(loop.now) == pytest.approx(0.0, abs=1e-9)
    loop.now = 100.0 + ERRANDS_S
    loop.step()
    while len(loop.told) < 2:
        loop.until_rung()
    assert sorted(loop.told) == sorted(loop.ran) == [1, 2]


def test_enough_errands_wait_no_longer(loop: Loop) -> None:
    quick(loop)
    for number in range(ERRANDS - 1):
        loop.run(number)
    loop.step()
    assert loop.ran == []
    loop.run(ERRANDS - 1)
    loop.step()
    while len(loop.told) < ERRANDS:
        loop.until_rung()
    assert sorted(loop.ran) == list(range(ERRANDS))


def test_the_last_errands_wait_for_nobody(loop: Loop) -> None:
    quick(loop)
    loop.run(1)
    loop.step(more_may_come=False)
    loop.until_rung(more_may_come=False)
    assert loop.told == [1]


def test_long_errands_wait_for_nobody(loop: Loop) -> None:
    loop.beside._examine_s = ERRANDS_S
    loop.run(1)
    loop.step()
    loop.until_rung()
    assert loop.told == [1]


def test_an_error_in_a_thread_is_told_to_whoever_waits_for_the_result_and_stops_no_other(loop: Loop) -> None:
    errors: list[BaseException | None] = []

    def fail() -> None:
        raise OSError("broken")

    loop.beside.run(fail, lambda future: errors.append(future.exception()))
    loop.run(2)
    loop.step(more_may_come=False)
    while len(loop.told) + len(errors) < 2:
        loop.until_rung(more_may_come=False)
    assert [str(error) for error in errors] == ["broken"]
    assert loop.ran == [2]


def test_slow_work_has_a_thread_of_its_own_and_is_told_by_the_loop(loop: Loop) -> None:
    may_end, told = threading.Event(), list[int]()
    loop.beside.run_slowly(lambda: may_end.wait(PATIENCE_S), lambda future: told.append(1))
    loop.run(2)
    loop.step(more_may_come=False)
    loop.until_rung(more_may_come=False)
    assert (loop.told, told) == ([2], [])
    may_end.set()
    assert loop.rang.wait(PATIENCE_S)
    assert told == [], "not before the loop looks"
    loop.step()
    assert told == [1]


# Groups that are made durable together


def test_the_first_image_is_kept_at_once_and_the_next_ones_as_a_group(loop: Loop) -> None:
    loop.keep(0)
    loop.step()
    loop.until_rung()
    assert loop.kept == [Place("0")]
    loop.keep(1)
    loop.now += GROUP_S / 2
    loop.keep(2)
    loop.step()
    assert loop.shelf.groups == [1]
    assert loop.beside.wait_s(loop.now) == pytest.approx(GROUP_S / 2)
    loop.now = 100.0 + GROUP_S
    loop.step()
    loop.until_rung()
    assert loop.shelf.groups == [1, 2]
    assert loop.kept == [Place("0"), Place("1"), Place("2")]


def test_a_full_group_waits_no_longer(loop: Loop) -> None:
    loop.keep(0)
    loop.step()
    loop.until_rung()
    for number in range(1, PUTS_AT_ONCE):
        loop.keep(number)
    loop.step()
    assert loop.shelf.groups == [1]
    loop.keep(PUTS_AT_ONCE)
    loop.step()
    loop.until_rung()
    assert loop.shelf.groups == [1, PUTS_AT_ONCE]


def test_the_last_group_waits_for_nobody_but_for_what_is_in_the_threads(loop: Loop) -> None:
    may_end = threading.Event()
    loop.keep(0)
    loop.step()
    loop.until_rung()
    loop.run(1, lambda: may_end.wait(PATIENCE_S))
    loop.keep(1)
    loop.step(more_may_come=False)
    assert loop.shelf.groups == [1], "what is being decoded may be kept with it"
    may_end.set()
    loop.until_rung(more_may_come=False)
    loop.until_rung(more_may_come=False)
    assert loop.shelf.groups == [1, 1]


def test_one_group_at_a_time_and_what_comes_meanwhile_is_the_next_one(loop: Loop) -> None:
    loop.shelf.may_end.clear()
    loop.keep(0)
    loop.step()
    loop.now += 10 * GROUP_S
    for number in range(1, PUTS_AT_ONCE + 5):
        loop.keep(number)
        loop.step()
    assert loop.kept == []
    assert loop.beside.wait_s(loop.now) == float("inf"), "the end of the put rings"
    loop.shelf.may_end.set()
    loop.until_rung()
    loop.until_rung()
    assert loop.shelf.groups == [1, PUTS_AT_ONCE + 4]
    assert loop.kept == [Place(str(number)) for number in range(PUTS_AT_ONCE + 5)]


def test_nothing_to_do_waits_for_ever(loop: Loop) -> None:
    assert loop.beside.wait_s(loop.now) == float("inf")
    loop.step()
    loop.step(more_may_come=False)
    assert (loop.shelf.groups, loop.told) == ([], [])


def test_an_error_of_the_store_is_raised_in_the_loop_and_nothing_is_told_as_kept(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(keeps: Sequence[Keep]) -> list[Place | None]:
        raise OSError("No space left on device")

    monkeypatch.setattr(loop.shelf, "put", full)
    loop.keep(0)
    loop.step()
    with pytest.raises(OSError, match="No space left"):
        loop.until_rung()
    assert loop.kept == []


# Room for more


@pytest.mark.parametrize(("examine_s", "n_soon"), [(0.001, 500), (0.1, 5), (10.0, 4)])
def test_no_more_is_fetched_than_is_decoded_soon(loop: Loop, examine_s: float, n_soon: int) -> None:
    loop.beside._examine_s, loop.beside._max_waiting = examine_s, 10_000
    for number in range(n_soon):
        assert loop.beside.has_room(), number
        loop.run(number)
    assert not loop.beside.has_room()
    assert n_soon >= 2 * module.DECODE_THREADS


def test_no_more_is_fetched_than_there_may_be_files_open(loop: Loop) -> None:
    """Images in the threads, those that wait to be kept, and those that are being kept count alike."""
    quick(loop)
    loop.beside._max_waiting = 3
    loop.shelf.may_end.clear()
    loop.keep(0)
    loop.step()
    loop.keep(1)
    assert loop.beside.has_room()
    loop.run(2)
    assert not loop.beside.has_room()
    loop.shelf.may_end.set()
    loop.until_rung()
    assert loop.beside.has_room()


def test_what_an_image_takes_to_decode_comes_near_the_mean(loop: Loop) -> None:
    def act() -> None:
        loop.now += 0.5

    for number in range(100):
        loop.run(number, act)
        loop.step(more_may_come=False)
        loop.until_rung(more_may_come=False)
    assert loop.beside._examine_s == pytest.approx(0.5, rel=0.02)
