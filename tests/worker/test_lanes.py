"""The lane of a worker: when its next request may start, how many may be under way, and when so many answers alike are odd."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from d4c_images.model import Claim, ErrorType, Outcome, Status, Turn, Verdict
from d4c_images.policy import shut_door
from d4c_images.worker.lanes import FEW_ALIKE, Lane, OpenTurn

HOST = "photos.example.org"
PAGE = Verdict(Status.FAILED_PERMANENT, ErrorType.INVALID_CONTENT_TYPE, "Welcome to our museum! Opening hours and tickets.")
OTHER_PAGE = Verdict(Status.FAILED_PERMANENT, ErrorType.INVALID_CONTENT_TYPE, "This picture has been removed by its author.")
GONE = Verdict(Status.FAILED_PERMANENT, "http_404", "Not found")


class Pool:
    """The connections of a lane, as far as it has to do with them."""

    def __init__(self) -> None:
        self.most = 0

    def resize(self, most: int) -> None:
        self.most = most


def turn(**more: Any) -> Turn:
    given: dict[str, Any] = {"host": HOST, "lane": 0, "connections": 4, "min_interval_s": 0.0, "expires_at": 1e12, "claims": ()}
    return Turn(1, **(given | more))


def lane_of(**more: Any) -> Lane:
    lane = Lane((HOST, 0), Pool())  # type: ignore[arg-type]
    lane.add(OpenTurn(turn(**more), deque()))
    return lane


def under_way(lane: Lane, n: int) -> None:
    lane.in_flight = dict.fromkeys(range(n))  # type: ignore[arg-type]


# When


@pytest.mark.parametrize(
    ("limit_s", "asked_s", "next_at"), [(2.0, 0.0, 102.0), (0.0, 3.0, 103.0), (2.0, 3.0, 103.0), (3.0, 2.0, 103.0)]
)
def test_the_longer_of_two_intervals_counts(limit_s: float, asked_s: float, next_at: float) -> None:
    lane = lane_of(min_interval_s=limit_s)
    lane.interval_s = asked_s
    lane.has_started(lane.jobs[0].turn, 100.0)
    assert lane.rests_until() == next_at


def test_a_request_that_is_heard_of_later_does_not_cut_a_rest_short() -> None:
    """When it went out is known only with its answer."""
    lane = lane_of(min_interval_s=5.0)
    lane.has_started(lane.jobs[0].turn, 100.0)
    lane.has_started(lane.jobs[0].turn, 98.0)
    assert lane.rests_until() == 105.0
    lane.has_started(lane.jobs[0].turn, 101.0)
    assert lane.rests_until() == 106.0


def test_bytes_are_paid_for_one_after_the_other() -> None:
    """What came while something else was being paid for comes on top; what came later begins when it came."""
    lane = lane_of(bytes_per_s=100.0)
    own = lane.jobs[0].turn
    lane.has_received(own, 200, 50.0)
    assert lane.rests_until() == 52.0
    lane.has_received(own, 100, 50.5)
    assert lane.rests_until() == 53.0
    lane.has_received(own, 100, 60.0)
    assert lane.rests_until() == 61.0
    lane.has_received(turn(), 10**9, 60.0)
    assert lane.rests_until() == 61.0, "without a limit of bytes nothing is to be paid for"


def test_the_later_of_interval_and_payment_counts() -> None:
    lane = lane_of(min_interval_s=5.0, bytes_per_s=100.0)
    own = lane.jobs[0].turn
    lane.has_started(own, 100.0)
    lane.has_received(own, 100, 100.0)
    assert lane.rests_until() == 105.0
    lane.has_received(own, 900, 100.0)
    assert lane.rests_until() == 110.0


# How many


def test_a_lane_takes_the_width_of_its_turn_and_no_more() -> None:
    lane = lane_of(connections=3)
    for n, is_full in ((2, False), (3, True), (4, True)):
        under_way(lane, n)
        assert lane.is_full is is_full
    assert lane.connections.most == 3  # type: ignore[attr-defined]


def test_a_lane_that_may_grow_begins_as_told_and_grows_by_one_with_each_picture_up_to_its_turn() -> None:
    lane, widths = lane_of(connections=4, at_first=2), []
    for _ in range(5):
        widths.append(lane.speed.width)
        lane.has_got_picture(0.1)
    assert widths == [2, 3, 4, 4, 4]


def test_the_turn_that_follows_leaves_a_lane_as_wide_as_it_has_grown() -> None:
    lane = lane_of(connections=4, at_first=1)
    for _ in range(2):
        lane.has_got_picture(0.1)
    lane.add(OpenTurn(turn(connections=8, at_first=2), deque()))
    assert lane.speed.width == 3
    lane.add(OpenTurn(turn(connections=8, at_first=5), deque()))
    assert lane.speed.width == 5
    lane.add(OpenTurn(turn(connections=2), deque()))
    assert lane.speed.width == 2, "nothing is left to grow"


def test_after_trouble_the_first_picture_makes_a_lane_no_wider() -> None:
    lane = lane_of(connections=4, at_first=1)
    lane.n_troubles = 1
    lane.has_got_picture(0.1)
    assert (lane.speed.width, lane.n_troubles) == (1, 0)
    lane.has_got_picture(0.1)
    assert lane.speed.width == 2


# Answers alike


def met(lane: Lane, n: int, verdict: Verdict = PAGE, code: int = 200, url: str = f"http://{HOST}/1.jpg") -> list[bool]:
    return [lane.has_met_page(code, verdict, url) for _ in range(n)]


def test_few_pages_alike_narrow_a_lane_to_one_and_many_have_the_steward_hear_of_it_once() -> None:
    lane = lane_of(connections=4)
    told = []
    for n in range(1, shut_door.UNSIGNED + 2):
        told += met(lane, 1)
        under_way(lane, 1)
        assert lane.is_full is (FEW_ALIKE <= n < shut_door.UNSIGNED), n
    assert told == [False] * (shut_door.UNSIGNED - 1) + [True, False]


@pytest.mark.parametrize("what", ["a picture", "another page", "a 404"])
def test_something_else_between_them_begins_anew_but_an_answer_about_the_image_does_not(what: str) -> None:
    lane = lane_of()
    met(lane, shut_door.UNSIGNED - 1)
    if what == "a picture":
        lane.has_got_picture(0.1)
    else:
        met(lane, 1, OTHER_PAGE if what == "another page" else GONE, 404 if what == "a 404" else 200)
    assert met(lane, 1) == [what == "a 404"]


def test_pages_of_a_host_that_promises_no_pictures_are_nothing_odd() -> None:
    lane = lane_of()
    assert not any(met(lane, 2 * shut_door.UNSIGNED, url=f"http://{HOST}/view?id=1"))
    lane.has_got_picture(0.1)
    assert any(met(lane, shut_door.UNSIGNED, url=f"http://{HOST}/view?id=1"))


def test_redirects_to_one_host_are_odd_when_they_are_many_unless_the_steward_knows() -> None:
    lane, to = lane_of(connections=4), "elsewhere.example.org"
    told = []
    for n in range(1, shut_door.UNSIGNED + 2):
        told.append(lane.has_been_led(to))
        under_way(lane, 1)
        assert lane.is_full is (n >= FEW_ALIKE), n
    assert told == [False] * (shut_door.UNSIGNED - 1) + [True, True]
    lane.add(OpenTurn(turn(leads_to=to), deque()))
    assert not lane.is_full
    assert not lane.has_been_led(to)


def test_redirects_to_another_host_begin_anew() -> None:
    lane = lane_of()
    for _ in range(shut_door.UNSIGNED - 1):
        lane.has_been_led("one.example.org")
    assert not lane.has_been_led("two.example.org")
    assert not lane.has_been_led("one.example.org")
    for _ in range(shut_door.UNSIGNED - 2):
        assert not lane.has_been_led("one.example.org")
    assert lane.has_been_led("one.example.org")


# What a turn reports


def claims(n: int) -> tuple[Claim, ...]:
    return tuple(Claim(number, number, 0, (f"http://{HOST}/{number}.jpg",), attempt=1) for number in range(n))


@pytest.mark.parametrize(
    ("n", "n_unstarted", "n_open", "is_half", "finished"),
    [
        (4, 3, 0, False, False),
        (4, 2, 0, True, False),
        (4, 1, 1, True, False),
        (5, 2, 1, False, False),
        (5, 2, 0, True, False),
        (4, 0, 0, True, True),
    ],
)
def test_when_a_turn_is_half_done_and_when_it_is_done(n: int, n_unstarted: int, n_open: int, is_half: bool, finished: bool) -> None:
    job = OpenTurn(turn(claims=claims(n)), deque(claims(n)[:n_unstarted]), n_open=n_open)
    assert (job.n_left, job.is_half_done, job.finished) == (n_unstarted + n_open, is_half, finished)


def test_a_report_tells_everything_once() -> None:
    job = OpenTurn(turn(), deque(), outcomes=[Outcome(1)], held_until=110.0, is_urgent=True)
    first, second = job.report(100.0), job.report(101.0, finished=True)
    assert (first.outcomes, first.hold_s, first.finished) == ((Outcome(1),), 10.0, False)
    assert (second.outcomes, second.hold_s, second.finished) == ((), 0.0, True)
    assert not job.is_urgent


def test_a_wait_that_is_over_is_reported_as_none() -> None:
    assert OpenTurn(turn(), deque(), held_until=90.0).report(100.0).hold_s == 0.0
