"""`Retry-After` of a host: how long it is, and that no request is sent before it is over."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from d4c_images.fetch import Fetcher
from d4c_images.model import Claim, FetchOptions, Limits, Orders, Outcome, Report, Turn
from d4c_images.policy.judge import CodePolicy
from d4c_images.policy.waits import MAX_RETRY_AFTER_S, retry_after_s
from d4c_images.stores.local import LocalStore
from d4c_images.worker.lanes import Clock
from d4c_images.worker.loop import work
from d4c_images.worker.verify import Examiner
from tests.publishers import pictures
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, multimedia
from tests.support.scripted import Answer, Asked, Scripted, answer

NOW = 784111777.0 - 60  # a minute before RFC 9110's example date
HOST = "example.org"


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        ("99999999999999", MAX_RETRY_AFTER_S),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 60.0),
        ("Sun Nov  6 08:49:37 1994", 60.0),
        ("Sun, 06 Nov 1994 10:49:37 +0200", 60.0),
        ("Sat, 05 Nov 1994 08:49:37 GMT", 0.0),
        ("Sun, 06 Nov 2994 08:49:37 GMT", MAX_RETRY_AFTER_S),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("soon", None),
        ("1e5", None),
        ("٣", None),
        ("", None),
        ("2, 30", 30.0),
        ("-3, 0.5", 0.5),
        ("5, Sun, 06 Nov 1994 08:49:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT, 99", 99.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str, wait_s: float | None) -> None:
    assert retry_after_s({"retry-after": value}, NOW) == wait_s
    assert retry_after_s({}, NOW) is None


@pytest.mark.parametrize(
    ("retry_after", "date", "wait_s"),
    [
        ("Sun, 06 Nov 1994 09:48:39 GMT", "Sun, 06 Nov 1994 09:48:37 GMT", 2.0),  # an hour ahead
        ("Sun, 06 Nov 1994 07:48:39 GMT", "Sun, 06 Nov 1994 07:48:37 GMT", 2.0),  # an hour behind
        ("Sun, 06 Nov 1994 09:00:00 GMT", "Sun, 06 Nov 1994 09:48:37 GMT", 0.0),  # over, by its own clock
        ("Thu, 01 Jan 1970 00:10:00 GMT", "Thu, 01 Jan 1970 00:05:00 GMT", 300.0),  # a clock that was never set
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", 60.0),  # no clock's: it makes no sense of the other
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 2094 08:49:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "yesterday", 60.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 99 Nov 1994 08:49:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "", 60.0),
        ("7", "Sun, 06 Nov 2094 08:49:37 GMT", 7.0),
    ],
)
def test_a_date_is_measured_by_the_clock_of_the_server(retry_after: str, date: str, wait_s: float) -> None:
    assert retry_after_s({"retry-after": retry_after, "date": date}, NOW) == wait_s


# At a worker


@contextmanager
def worker_at(answers: Answer, root: Path, clock: Clock | None = None) -> Iterator[tuple[Scripted, Callable[..., list[Outcome]]]]:
    """A server, and a worker that is given orders, one after the other: the next once all turns of those before have ended."""
    with Scripted(answers) as server:
        fetcher = Fetcher(FetchOptions(Limits(connect_s=4.0, total_s=20.0, stall_s=4.0), connect_to=(server.connect_to,)))
        store = LocalStore(root)

        def outcomes(
            *orders: Orders | Callable[[], Orders],
            heard: Callable[[Outcome], object] = lambda outcome: None,
            reported: Callable[[Report], object] = lambda report: None,
        ) -> list[Outcome]:
            waiting, ended, told = list(orders), [0, 0], list[Outcome]()

            def feed(wait_s: float) -> Orders:
                if ended[0] < ended[1]:
                    return Orders()
                if not waiting:
                    return Orders(closed=True)
                now = waiting.pop(0)
                now = now if isinstance(now, Orders) else now()
                ended[1] += len(now.turns)
                return now

            for report in work(feed, store, fetcher, Examiner(), CodePolicy(), clock or Clock()):
                ended[0] += report.finished
                told += report.outcomes
                reported(report)
                for outcome in report.outcomes:
                    heard(outcome)
            return told

        try:
            yield server, outcomes
        finally:
            store.close()
            fetcher.close()


def claim(number: int, url: str = "") -> Claim:
    return Claim(number, 1_000_000_000 + number, 0, (url or f"http://{HOST}/{number}.jpg",), attempt=1)


def turn(lease_id: int, *claims: Claim, **more: object) -> Turn:
    given = {"host": HOST, "lane": 0, "connections": 1, "min_interval_s": 0.0, "expires_at": 9e12, **more}
    return Turn(lease_id, claims=claims, **given)  # type: ignore[arg-type]


def is_untried(outcome: Outcome) -> bool:
    return outcome.verdict is None and outcome.move is None and outcome.requests == 0


JPEG = pictures.jpeg("a")
PEACE = [
    answer(429, "Retry-After: 600"),
    answer(503, "Retry-After: 600", body=b"later"),
    answer(500, "Retry-After: 600"),
    answer(403, "Retry-After: 600"),
    answer(404, "Retry-After: 600"),
    answer(408, "Retry-After: 600"),
    answer(429, "Retry-After: 600", length=500, body=b"later"),  # breaks off
    answer(200, "Retry-After: 600", "Content-Type: image/jpeg", body=JPEG),
    answer(202, "Retry-After: 600"),
    answer(206, "Retry-After: 600", "Content-Type: image/jpeg", "Content-Range: bytes 0-99/2000", body=JPEG[:100]),
    answer(304, "Retry-After: 600"),
    answer(412, "Retry-After: 600"),
    answer(
        200, "Retry-After: 600", "Content-Type: application/json", body=b'{"@context": "http://iiif.io/api/image/2/context.json"}'
    ),
    answer(302, "Retry-After: 600", "Location: /elsewhere.jpg"),
    answer(429, "Retry-After: 2", "Retry-After: 600"),
    answer(200, "RateLimit-Remaining: 0", "RateLimit-Reset: 600", "Content-Type: image/jpeg", body=JPEG),
]


@pytest.mark.parametrize("first", PEACE)
def test_a_turn_that_arrives_during_a_named_wait_is_given_back_untried(first: bytes, tmp_path: Path) -> None:
    """Whatever the answer was: the lane's next turn, another lane, and another host of the group were on their way."""
    said = list[float]()
    with worker_at(lambda asked: first, tmp_path) as (server, outcomes):
        shared = {"group": "shared"}
        other = turn(4, claim(5, "http://other.org/5.jpg"), host="other.org", **shared)
        told = outcomes(
            Orders((turn(1, claim(1), **shared),)),
            Orders((turn(2, claim(2), claim(3), **shared),)),
            Orders((turn(3, claim(4), lane=1, **shared), other)),
            reported=lambda report: said.append(report.hold_s),
        )
        assert server.paths == ["/1.jpg"]
    assert 599.0 < said[0] <= 600.0
    assert not any(said[1:])
    assert all(is_untried(outcome) for outcome in told[1:])
    assert sorted(outcome.image_id for outcome in told[1:]) == [2, 3, 4, 5]
    assert all(590.0 < outcome.hold_s <= 599.0 for outcome in told), "whoever lends them is told again how long"


def test_hosts_of_other_groups_are_asked_meanwhile(tmp_path: Path) -> None:
    def answers(asked: Asked) -> bytes:
        return answer(429, "Retry-After: 600") if asked.host == HOST else answer(404)

    with worker_at(answers, tmp_path) as (server, outcomes):
        outcomes(Orders((turn(1, claim(1)),)), Orders((turn(2, claim(2, "http://other.org/2.jpg"), host="other.org"),)))
        assert server.paths == ["/1.jpg", "/2.jpg"]


def test_a_wait_is_over_when_it_is(tmp_path: Path) -> None:
    """By the monotonic clock: what the wall clock does meanwhile is of no account."""
    times = {"monotonic": 1000.0, "wall": 1_800_000_000.0}
    clock = Clock(lambda: times["monotonic"], lambda: times["wall"])

    def jump(asked: Asked) -> bytes:
        times["wall"] += 86400.0
        return answer(503, "Retry-After: 0.5")

    def later(lease_id: int, at: float) -> Callable[[], Orders]:
        def orders() -> Orders:
            times["monotonic"] = at
            return Orders((turn(lease_id, claim(lease_id)),))

        return orders

    with worker_at(jump, tmp_path, clock) as (server, outcomes):
        told = outcomes(later(1, 1000.0), later(2, 1000.4), later(3, 1000.499), later(4, 1000.501))
        assert server.paths == ["/1.jpg", "/4.jpg"]
    assert [is_untried(outcome) for outcome in told] == [False, True, True, False]


@pytest.mark.parametrize(
    "late",
    [
        answer(302, "Location: /elsewhere.jpg"),
        answer(302, "Location: /elsewhere.jpg", body=bytes(400_000)),
        answer(404),  # the next candidate would be asked
        answer(200, "Content-Type: image/jpeg", 'ETag: "a"', "Accept-Ranges: bytes", body=bytes(1_200_000), length=2_000_000),
    ],
)
def test_what_comes_in_during_a_named_wait_leads_to_no_request(late: bytes, tmp_path: Path) -> None:
    """One request was under way when another one's answer named the wait: where it leads on, it waits as well."""
    is_named = threading.Event()

    def answers(asked: Asked) -> bytes:
        if asked.path == "/1.jpg":
            assert is_named.wait(PATIENCE_S)
            return late
        return answer(429, "Retry-After: 600")

    with worker_at(answers, tmp_path) as (server, outcomes):
        first = Claim(1, 1, 0, (f"http://{HOST}/1.jpg", f"http://{HOST}/1b.jpg"), attempt=1)
        given = Orders((turn(1, first, claim(2), claim(3), connections=2),))
        told = outcomes(given, reported=lambda report: report.hold_s and is_named.set())
        assert sorted(server.paths) == ["/1.jpg", "/2.jpg"]
    assert sorted(outcome.image_id for outcome in told) == [1, 2, 3]


def test_a_redirect_to_another_host_says_when_it_may_be_followed(tmp_path: Path) -> None:
    with worker_at(lambda asked: answer(307, "Retry-After: 30", "Location: http://other.org/1.jpg"), tmp_path) as (_, outcomes):
        (told,) = outcomes(Orders((turn(1, claim(1)),)))
    assert told.move is not None
    assert (told.move.host, told.move.wait_s) == ("other.org", 30.0)
    assert 20.0 < told.hold_s <= 29.0


def test_a_named_wait_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the rest of the turn has come to an end, and before the next report is due: other workers ask that host, too."""
    monkeypatch.setattr("d4c_images.worker.loop.REPORT_S", 1e9)
    is_told = threading.Event()

    def answers(asked: Asked) -> bytes:
        if asked.path == "/1.jpg":
            assert is_told.wait(PATIENCE_S)
        return answer(429, "Retry-After: 600") if asked.path == "/9.jpg" else answer(404)

    with worker_at(answers, tmp_path) as (_, outcomes):
        turn_9 = turn(1, claim(1), *(claim(number) for number in range(5, 15)), connections=2)
        outcomes(Orders((turn_9,)), reported=lambda report: is_told.set() if report.hold_s else None)
    assert is_told.is_set()


@pytest.mark.parametrize(
    ("code", "names", "more"),
    [
        (200, "Retry-After: 600", ()),
        (206, "Retry-After: 600", ("Content-Range: bytes 0-9999/20000",)),
        (200, "RateLimit-Remaining: 0", ("RateLimit-Reset: 600",)),
        (404, "retry-after: 600", ()),
        (302, "RETRY-AFTER: 600", ("Location: http://other.org/1.jpg",)),
        (503, "Retry-After: 600", ()),
    ],
)
def test_a_wait_is_reported_with_the_head_of_its_answer(code: int, names: str, more: tuple[str, ...], tmp_path: Path) -> None:
    """The body comes only when it has been, and nothing else is asked meanwhile, on whatever connection."""
    is_reported, said = threading.Event(), list[tuple[int, float, int]]()

    def answers(asked: Asked) -> bytes | Iterator[bytes]:
        if asked.path == "/2.jpg":
            assert is_reported.wait(PATIENCE_S)
            return answer(404)
        return in_two(answer(code, names, *more, "Content-Type: image/jpeg", body=JPEG))

    def in_two(whole: bytes) -> Iterator[bytes]:
        head, end, body = whole.partition(b"\r\n\r\n")
        yield head + end + body[:10]
        assert is_reported.wait(PATIENCE_S)
        yield body[10:]

    def reported(report: Report) -> None:
        if report.hold_s:
            said.append((report.lease_id, report.hold_s, sum(outcome.requests for outcome in report.outcomes)))
            is_reported.set()

    with worker_at(answers, tmp_path) as (server, outcomes):
        told = outcomes(Orders((turn(1, *(claim(number) for number in range(1, 6)), connections=2),)), reported=reported)
        assert sorted(server.paths) == ["/1.jpg", "/2.jpg"]
    [(lease_id, hold_s, n_requests)] = said
    assert (lease_id, n_requests) == (1, 0), "before any image has an outcome"
    assert 590.0 < hold_s <= 600.0
    assert all(outcome.hold_s <= 599.0 for outcome in told), "it is said again as one that is known"


def test_a_wait_in_a_head_that_breaks_off_counts(tmp_path: Path) -> None:
    said = list[float]()
    with worker_at(lambda asked: b"HTTP/1.1 503 So\r\nRetry-After: 600\r\nServ", tmp_path) as (server, outcomes):
        outcomes(Orders((turn(1, claim(1), claim(2)),)), reported=lambda report: said.append(report.hold_s))
        assert server.paths == ["/1.jpg"]
    assert any(hold_s > 590.0 for hold_s in said)


def test_what_an_interim_answer_names_is_no_wait(tmp_path: Path) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nRetry-After: 600\r\n\r\n"
    with worker_at(lambda asked: early + answer(404), tmp_path) as (server, outcomes):
        outcomes(Orders((turn(1, claim(1), claim(2)),)))
        assert server.paths == ["/1.jpg", "/2.jpg"]


@pytest.mark.slow
def test_a_kill_while_the_body_is_on_its_way_loses_no_wait(tmp_path: Path) -> None:
    is_over, collection = threading.Event(), Collection(tmp_path)

    def answers(asked: Asked) -> Iterator[bytes]:
        yield answer(200, "Retry-After: 3600", "Content-Type: image/jpeg", body=JPEG[:-10], length=len(JPEG))
        is_over.wait(PATIENCE_S)

    with Scripted(answers) as server:
        rows = [(number, f"http://{HOST}/{number}.jpg") for number in range(1, 9)]
        collection.load(multimedia(tmp_path / "multimedia.txt", rows))
        download = ("download", "--connect-to", server.connect_to, "--processes", "1", "--max-idle", "1s")
        process, asked_at = collection.start(*download), time.time()
        end_at = time.monotonic() + PATIENCE_S
        while collection.rows("SELECT blocked_until FROM hosts") == [(None,)]:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < end_at
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        n_asked = len(server.asked)
        collection.run(*download, code=75)
        assert len(server.asked) == n_asked == 1
        [(until,)] = collection.rows("SELECT blocked_until FROM hosts")
        assert float(str(until)) >= asked_at + 3600
        is_over.set()


# Chains of redirects


def test_a_gate_that_wants_its_cookie_back_lets_us_through(tmp_path: Path) -> None:
    def gate(asked: Asked) -> bytes:
        if "pass=1" in asked.headers.get("cookie", ""):
            return answer(200, "Content-Type: image/jpeg", body=JPEG)
        return answer(302, f"Location: http://{HOST}{asked.path}", "Set-Cookie: pass=1")

    with worker_at(gate, tmp_path) as (server, outcomes):
        told = outcomes(Orders((turn(1, claim(1), claim(2)),)))
    assert [outcome.requests for outcome in told] == [2, 2], "the next image has a chain of its own"
    assert all(outcome.blob for outcome in told)
    assert len(server.asked) == 4


def test_cookies_go_along_where_the_chain_leads_to_another_host(tmp_path: Path) -> None:
    """Which of them are sent there is for the rules of cookies to say."""
    sets = answer(302, f"Location: http://www.{HOST}/1.jpg", "Set-Cookie: all=1; Path=/; Domain=example.org", "Set-Cookie: mine=1")
    with worker_at(lambda asked: sets if asked.host == HOST else answer(404), tmp_path) as (server, outcomes):
        (moved,) = outcomes(Orders((turn(1, claim(1)),)))
        assert moved.move is not None
        assert len(moved.move.cookies) == 2
        there = replace(claim(1), redirect_url=moved.move.redirect_url, hops=1, cookies=moved.move.cookies)
        outcomes(Orders((turn(2, there, host=f"www.{HOST}"),)))
        assert server.asked[-1].headers["cookie"] == "all=1"


@pytest.mark.parametrize("value", ["1\xe4", "\xff\xfe", "\xc3\xa4"])
def test_a_cookie_may_have_any_bytes(tmp_path: Path, value: str) -> None:
    """They come back as they were sent, and end no worker."""

    def gate(asked: Asked) -> bytes:
        if f"pass={value}" in asked.headers.get("cookie", ""):
            return answer(200, "Content-Type: image/jpeg", body=JPEG)
        return answer(302, f"Location: http://{HOST}{asked.path}", f"Set-Cookie: pass={value}")

    with worker_at(gate, tmp_path) as (_, outcomes):
        (told,) = outcomes(Orders((turn(1, claim(1)),)))
    assert told.blob
    assert told.requests == 2


def test_the_next_candidate_and_the_next_attempt_have_no_cookies(tmp_path: Path) -> None:
    with worker_at(lambda asked: answer(404, "Set-Cookie: seen=1"), tmp_path) as (server, outcomes):
        first = Claim(1, 1, 0, (f"http://{HOST}/1.jpg", f"http://{HOST}/1b.jpg"), attempt=1)
        outcomes(Orders((turn(1, first),)), Orders((turn(2, first),)))
    assert [asked.headers.get("cookie") for asked in server.asked] == [None] * 4


def test_a_redirect_whose_body_is_large_or_torn_is_followed(tmp_path: Path) -> None:
    def answers(asked: Asked) -> bytes:
        if asked.path == "/there.jpg":
            return answer(200, "Content-Type: image/jpeg", body=JPEG)
        return answer(302, "Location: /there.jpg", body=bytes(500_000), length=800_000)

    with worker_at(answers, tmp_path) as (_, outcomes):
        (told,) = outcomes(Orders((turn(1, claim(1)),)))
    assert told.blob is not None


@pytest.mark.parametrize(
    ("retry_after", "date", "wait_s"),
    [
        ("Tue, 08 Nov 1994 08:48:37 GMT", "Tue, 08 Nov 1994 08:48:37 GMT", 0.0),  # now, by a clock that is two days ahead
        ("Tue, 15 Nov 1994 08:48:37 GMT", "Tue, 08 Nov 1994 08:48:37 GMT", MAX_RETRY_AFTER_S),  # a week, by that clock
        ("Tue, 15 Nov 1994 08:48:38 GMT", "Tue, 08 Nov 1994 08:48:37 GMT", MAX_RETRY_AFTER_S),  # more: that is no sense
        ("Tue, 08 Nov 1994 08:48:36 GMT", "Tue, 08 Nov 1994 08:48:37 GMT", 2 * 86400.0 - 1),  # over: nor is that
        ("Mon, 07 Nov 1994 08:48:30 GMT", "Mon, 07 Nov 1994 08:48:37 GMT", 0.0),  # over, by a clock that is a day ahead at most
        ("Mon, 07 Nov 1994 08:48:31 GMT", "Mon, 07 Nov 1994 08:48:38 GMT", 86394.0),
    ],
)
def test_at_the_boundaries_of_what_makes_sense_of_a_clock(retry_after: str, date: str, wait_s: float) -> None:
    assert retry_after_s({"retry-after": retry_after, "date": date}, NOW) == wait_s


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 05 Jan 99999999999999999999 10:00:00 GMT",
        "Mon, 99999999999999999999 Jan 2015 10:00:00 GMT",
        "Mon, 05 Jan 2015 99999999999999999999:00:00 GMT",
        "Mon, 05 Jan 2015 10:00:00 +99999999999999999999",
        "Mon, 05 Jan 0000 10:00:00 GMT",
        "Mon, , ,",
    ],
)
def test_a_date_that_no_calendar_has_names_no_wait_and_no_clock(date: str) -> None:
    assert retry_after_s({"retry-after": date}, NOW) in (None, 0.0, MAX_RETRY_AFTER_S)
    assert retry_after_s({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT", "date": date}, NOW) == 60.0
