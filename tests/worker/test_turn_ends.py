"""What ends a worker's turn, and what happens to its remaining claims: a host gets no more requests than it allows."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from d4c_images.fetch.transfer import Transfer
from d4c_images.model import Claim, Orders, Outcome, Reply, Status, Turn
from d4c_images.worker import attempts
from d4c_images.worker.attempts import TROUBLES
from d4c_images.worker.lanes import Clock, Lane
from d4c_images.worker.loop import LANES_POLL_S
from tests.publishers import pictures
from tests.steward.test_waits import HOST, claim, is_untried, turn, worker_at
from tests.support.patience import PATIENCE_S
from tests.support.scripted import Asked, answer

JPEG = pictures.jpeg("a")
GOOD = answer(200, "Content-Type: image/jpeg", body=JPEG)


def in_order(*answers: bytes) -> Callable[[Asked], bytes]:
    """One after the other; the last one again and again."""
    left = list(answers)
    return lambda asked: left.pop(0) if len(left) > 1 else left[0]


def claims(n: int, host: str = HOST, first: int = 1) -> list[Claim]:
    return [claim(number, f"http://{host}/{number}.jpg") for number in range(first, first + n)]


def n_asked(root: Path, codes: Sequence[int]) -> int:
    """Of as many claims as there are codes, one at a time."""
    with worker_at(in_order(*(GOOD if code == 200 else answer(code) for code in codes)), root) as (server, outcomes):
        told = outcomes(Orders((turn(1, *claims(len(codes))),)))
        assert sorted(outcome.image_id for outcome in told) == list(range(1, len(codes) + 1))
        assert sum(not is_untried(outcome) for outcome in told) == len(server.asked)
        return len(server.asked)


@pytest.mark.parametrize(
    ("codes", "n"),
    [
        ([429] * 4, 1),
        ([503] * 4, 1),
        ([500] * 8, TROUBLES),
        ([500, 500, 500, 500, 404, 500, 500, 500, 500], 9),
        ([500, 500, 500, 500, 200, 500, 500, 500, 500], 9),
        ([500, 500, 404, 500, 500, 500, 500, 500, 404], 8),
        ([404] * 8, 8),
        ([200, 429, 200], 2),
    ],
    ids=str,
)
def test_how_much_trouble_ends_a_turn(tmp_path: Path, codes: list[int], n: int) -> None:
    """Too much at once at the first word of it, anything else when it has come so often in a row."""
    assert n_asked(tmp_path, codes) == n


def test_the_trouble_of_one_host_ends_no_turn_of_another(tmp_path: Path) -> None:
    other = "other.org"
    with worker_at(lambda asked: answer(503 if asked.host == HOST else 404), tmp_path) as (server, outcomes):
        outcomes(Orders((turn(1, *claims(4)), turn(2, *claims(4, other, 11), host=other))))
        hosts = [asked.host for asked in server.asked]
        assert (hosts.count(HOST), hosts.count(other)) == (1, 4)


# Named waits


def test_a_shorter_wait_that_is_named_later_does_not_end_a_longer_one(tmp_path: Path) -> None:
    """Two lanes of one group are asked at once, and the second answer comes when the first wait holds."""
    times, has_heard = {"monotonic": 1000.0}, threading.Event()

    def answers(asked: Asked) -> bytes:
        if asked.path == "/1.jpg":
            return answer(404, "Retry-After: 600")
        assert has_heard.wait(PATIENCE_S)
        return answer(404, "Retry-After: 1")

    def later() -> Orders:
        times["monotonic"] += 100.0
        return Orders((turn(3, claim(3), group="shared"),))

    with worker_at(answers, tmp_path, Clock(lambda: times["monotonic"])) as (server, outcomes):
        both = Orders((turn(1, claim(1), group="shared"), turn(2, claim(2), lane=1, group="shared")))
        told = outcomes(both, later, heard=lambda outcome: has_heard.set() if outcome.image_id == 1 else None)
        assert server.paths.count("/3.jpg") == 0
    assert is_untried(told[-1])


def test_waits_of_very_many_groups_are_remembered_as_long_as_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MOST_WAITS", 2)
    hosts = [f"h{number}.org" for number in range(6)]
    turns = [turn(number, *claims(1, host, number), host=host) for number, host in enumerate(hosts, 1)]
    again = [turn(number + 10, *claims(1, host, number + 10), host=host) for number, host in enumerate(hosts, 1)]
    with worker_at(lambda asked: answer(404, "Retry-After: 600"), tmp_path) as (server, outcomes):
        told = outcomes(*(Orders((one,)) for one in [*turns, *again]))
        assert [asked.host for asked in server.asked] == hosts
    assert [is_untried(outcome) for outcome in told] == [False] * 6 + [True] * 6


def test_what_an_attempt_has_learned_before_a_wait_goes_back_with_it(tmp_path: Path) -> None:
    """Else it would be asked for once more."""
    redirect = answer(302, "Location: /elsewhere.jpg", "Retry-After: 600")
    with worker_at(lambda asked: redirect, tmp_path) as (server, outcomes):
        (told,) = outcomes(Orders((turn(1, claim(1)),)))
        assert server.paths == ["/1.jpg"]
    assert told.move is not None
    assert (told.move.host, told.move.redirect_url, told.move.hops) == (HOST, f"http://{HOST}/elsewhere.jpg", 1)
    assert told.requests == 1


# Bytes, and the end of a turn: looked at now and then, so that requests must not follow each other at once

LOOKS_S = 4 * LANES_POLL_S


@pytest.mark.parametrize(("max_bytes", "n"), [(len(JPEG) - 1, 1), (len(JPEG), 1), (len(JPEG) + 1, 2), (2 * len(JPEG), 2)])
def test_a_turn_ends_with_the_very_byte_that_it_may_take(tmp_path: Path, max_bytes: int, n: int) -> None:
    with worker_at(lambda asked: GOOD, tmp_path) as (server, outcomes):
        told = outcomes(Orders((turn(1, *claims(4), max_bytes=max_bytes, min_interval_s=LOOKS_S),)))
        assert len(server.asked) == n
    assert sum(is_untried(outcome) for outcome in told) == 4 - n


@pytest.mark.parametrize("after", [0.0, 0.001], ids=["at its end", "behind it"])
def test_a_redirect_at_the_end_of_a_turn_is_followed_in_the_next_one(tmp_path: Path, after: float) -> None:
    now = [1000.0]

    def answers(asked: Asked) -> bytes:
        now[0] = 2000.0 + after
        return answer(302, "Location: /elsewhere.jpg")

    with worker_at(answers, tmp_path, Clock(steady=lambda: now[0])) as (server, outcomes):
        told = outcomes(Orders((turn(1, claim(1), claim(2), expires_at=2000.0, min_interval_s=LOOKS_S),)))
        assert server.paths == ["/1.jpg"]
    moved, untried = told if told[0].move else told[::-1]
    assert moved.move is not None
    assert moved.move.redirect_url == f"http://{HOST}/elsewhere.jpg"
    assert is_untried(untried)


# Bodies that break off


NOISE = random.Random(5).randbytes(1_500_000)
HEAD = ("Content-Type: image/jpeg", 'ETag: "one"', "Accept-Ranges: bytes")


@pytest.mark.parametrize("refusal", [412, 416])
def test_a_server_that_always_breaks_off_and_refuses_the_rest_is_asked_for_the_whole_once_more(
    tmp_path: Path, refusal: int
) -> None:
    def answers(asked: Asked) -> bytes:
        return answer(refusal) if "range" in asked.headers else answer(200, *HEAD, body=NOISE[:1_200_000], length=len(NOISE))

    with worker_at(answers, tmp_path) as (server, outcomes):
        (told,) = outcomes(Orders((turn(1, claim(1)),)))
        assert ["range" in asked.headers for asked in server.asked] == [False, True, False]
    assert told.verdict is not None
    assert (told.verdict.status, told.requests) == (Status.FAILED_TRANSIENT, 3)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_rest_of_a_body_is_asked_for_when_the_bytes_of_the_turn_are_used_up(tmp_path: Path) -> None:
    """The bytes before would have come in vain. Nothing new is begun."""

    def answers(asked: Asked) -> bytes:
        first = int(asked.headers["range"].removeprefix("bytes=").rstrip("-")) if "range" in asked.headers else 0
        if not first:
            return answer(200, *HEAD, body=NOISE[:1_200_000], length=len(NOISE))
        return answer(206, *HEAD, f"Content-Range: bytes {first}-{len(NOISE) - 1}/{len(NOISE)}", body=NOISE[first:])

    with worker_at(answers, tmp_path) as (server, outcomes):
        told: list[Outcome] = outcomes(Orders((turn(1, claim(1), claim(2), max_bytes=1000, min_interval_s=LOOKS_S),)))
        assert [asked.path for asked in server.asked] == ["/1.jpg", "/1.jpg"]
    assert {outcome.image_id: outcome.requests for outcome in told} == {1: 2, 2: 0}


# When the next request may go out


def test_an_interval_begins_when_a_request_goes_out_and_not_when_its_connection_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the server, requests whose connections take long would else follow each other too soon."""
    real_reply, real_started, started = Transfer._reply, Lane.has_started, list[float]()

    def slow_to_connect(self: Transfer, *args: Any) -> Reply:
        """Three seconds until the request is sent, two more until its answer is there."""
        return replace(real_reply(self, *args), elapsed_s=5.0, sent_after_s=3.0)

    def note(self: Lane, turn: Turn, at: float) -> None:
        started.append(at)
        real_started(self, turn, at)

    monkeypatch.setattr(Transfer, "_reply", slow_to_connect)
    monkeypatch.setattr(Lane, "has_started", note)
    with worker_at(lambda asked: answer(404), tmp_path, Clock(lambda: 1000.0)) as (_, outcomes):
        (outcome,) = outcomes(Orders((turn(1, claim(1), min_interval_s=10.0),)))
    assert started == [1000.0, 998.0], "when it was begun; then when it went out, by its answer"
    assert outcome.elapsed_s == 5.0


def test_bytes_are_paid_for_from_when_their_request_went_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_reply = Transfer._reply
    monkeypatch.setattr(Transfer, "_reply", lambda self, *args: replace(real_reply(self, *args), elapsed_s=5.0, sent_after_s=3.0))
    with worker_at(lambda asked: GOOD, tmp_path, Clock(lambda: 1000.0)) as (_, outcomes):
        (outcome,) = outcomes(Orders((turn(1, claim(1), bytes_per_s=len(JPEG) / 30.0),)))
    assert outcome.rest_s == pytest.approx(28.0)
