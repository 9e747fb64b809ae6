"""A worker against the publishers' server: what becomes of claims, turns and connections."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from d4c_images.decode import Decoder, TakesLong
from d4c_images.errors import StoreError
from d4c_images.fetch import Connections, Fetcher, Request
from d4c_images.model import Claim, ErrorType, FetchOptions, Limits, Move, Orders, Outcome, OwnCode, Report, Status, Turn
from d4c_images.policy.judge import CodePolicy
from d4c_images.policy.rate_limits import Slowdown
from d4c_images.policy.shut_door import UNSIGNED
from d4c_images.stores import Keep, Place, partial
from d4c_images.stores.local import LocalStore
from d4c_images.worker import loop as worker_module
from d4c_images.worker.attempts import TROUBLES
from d4c_images.worker.lanes import FEW_ALIKE
from d4c_images.worker.loop import Clock, work
from d4c_images.worker.verify import Examiner
from tests.publishers.breaks import large
from tests.publishers.client import Publishers
from tests.publishers.evils import BEHAVIOURS
from tests.support.patience import PATIENCE_S

LIMITS = Limits(connect_s=4.0, total_s=60.0, stall_s=2.0, max_bytes=5_000_000)
HOST = "example.org"
LARGE = 2_239_743  # bytes, of what `breaks` sends


def claim(number: int, *urls: str, **more: object) -> Claim:
    candidates = urls or (f"http://{HOST}/{number}.jpg",)
    return Claim(number, 1_000_000_000 + number, 0, candidates, attempt=1, **more)  # type: ignore[arg-type]


def turn(claims: Sequence[Claim], lease_id: int = 1, **more: object) -> Turn:
    given = {"host": HOST, "lane": 0, "connections": 2, "min_interval_s": 0.0, "expires_at": time.time() + 60, **more}
    return Turn(lease_id, claims=tuple(claims), **given)  # type: ignore[arg-type]


@dataclass
class Feed:
    """Orders that a test gives, before or while the worker runs."""

    turns: list[Turn] = field(default_factory=list)
    drain: bool = False
    closed: bool = True

    def __call__(self, wait_s: float) -> Orders:
        turns, self.turns = tuple(self.turns), []
        return Orders(turns, self.drain, self.closed)


@dataclass
class Bench:
    """All that a worker needs, on a folder of its own."""

    publishers: Publishers
    root: Path
    examiner: Examiner = field(default_factory=Examiner)
    limits: Limits = LIMITS
    clock: Clock = field(default_factory=Clock)
    policy: CodePolicy = field(default_factory=CodePolicy)

    def __post_init__(self) -> None:
        self.root.mkdir(exist_ok=True)
        self.store = LocalStore(self.root)
        server = self.publishers
        self.fetcher = Fetcher(FetchOptions(self.limits, connect_to=(server.connect_to,), cacert=server.cacert))

    def reports(self, feed: Callable[[float], Orders]) -> Iterator[Report]:
        return work(feed, self.store, self.fetcher, self.examiner, self.policy, self.clock)

    def outcomes(self, *turns: Turn) -> dict[int, Outcome]:
        """By image; each image has exactly one, and each turn ends exactly once."""
        reports = list(self.reports(Feed(list(turns))))
        assert Counter(report.lease_id for report in reports if report.finished) == Counter(one.lease_id for one in turns)
        told = [outcome for report in reports for outcome in report.outcomes]
        assert sorted(outcome.image_id for outcome in told) == sorted(one.image_id for given in turns for one in given.claims)
        return {outcome.image_id: outcome for outcome in told}

    def outcome(self, one: Claim, **more: object) -> Outcome:
        return self.outcomes(turn([one], **more))[one.image_id]

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def close(self) -> None:
        self.store.close()
        self.fetcher.close()


@pytest.fixture
def bench(publishers: Publishers, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(publishers, tmp_path)
    yield made
    made.close()


def status(outcome: Outcome) -> tuple[Status, str | None]:
    assert outcome.verdict is not None
    return outcome.verdict.status, outcome.verdict.error_type


def is_released(outcome: Outcome) -> bool:
    return outcome.verdict is None and outcome.move is None


def test_a_success_tells_what_stands_in_the_store(bench: Bench) -> None:
    outcome = bench.outcome(claim(1))
    blob = outcome.blob
    assert blob is not None
    body = (bench.root / blob.path).read_bytes()
    with Image.open(bench.root / blob.path) as picture:
        assert (blob.width, blob.height) == picture.size
    assert (blob.size_bytes, blob.sha256) == (len(body), hashlib.sha256(body).digest())
    assert (blob.media_type, blob.path) == ("image/jpeg", "100/000/1000000001-00.jpg")
    assert blob.original_sha256 is None
    assert (outcome.http_status, outcome.requests, outcome.received_bytes, outcome.url_no) == (200, 1, len(body), 0)
    assert outcome.etag is not None
    assert bench.files() == [blob.path]


def test_success_is_told_only_after_the_file_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant I1: not one report of success while `put` is still at work."""
    real_put, may_go_on, kept = bench.store.put, threading.Event(), list[str]()

    def slow_put(keeps: Sequence[Keep]) -> list[Place | None]:
        assert may_go_on.wait(10)
        places = real_put(keeps)
        kept.extend(place.path for place in places if place)
        return places

    monkeypatch.setattr(bench.store, "put", slow_put)
    threading.Timer(0.7, may_go_on.set).start()
    for report in bench.reports(Feed([turn([claim(n) for n in range(5)])])):
        for outcome in report.outcomes:
            assert outcome.blob is not None
            assert outcome.blob.path in kept


def test_the_network_loop_makes_no_file_for_a_small_body(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """To make a file may take as long as the file system is busy, and all other downloads would wait for that."""
    writers = set[str]()

    def write(fd: int, body: memoryview) -> int:
        writers.add(threading.current_thread().name)
        return os.write(fd, body)

    monkeypatch.setattr(partial, "write", write)
    bench.outcomes(turn([claim(number) for number in range(5)]))
    assert writers
    assert all(name.startswith("decode") for name in writers)


# Candidates


def urls(*behaviours: str) -> tuple[str, ...]:
    return tuple(f"http://{HOST}/{behaviour}/{number}.jpg" for number, behaviour in enumerate(behaviours))


@pytest.fixture
def by_path(publishers: Publishers) -> None:
    """The first folder of a path on HOST names its behaviour."""
    publishers.behave(*(f"{HOST}/{name}/*={name}" for name in BEHAVIOURS if not name.startswith("tls_")))


@pytest.mark.usefixtures("by_path")
@pytest.mark.parametrize(
    ("candidates", "last_attempt", "expected", "url_no", "n_requests"),
    [
        (("http_404", "ok"), False, (Status.SUCCESS, None), 1, 2),
        (("html_as_jpeg", "garbage", "ok"), False, (Status.SUCCESS, None), 2, 3),
        (("jpeg_head_garbage", "ok"), False, (Status.FAILED_TRANSIENT, ErrorType.TRUNCATED), 0, 1),
        (("http_500", "ok"), False, (Status.SUCCESS, None), 1, 2),
        (("redirect_loop", "ok"), False, (Status.SUCCESS, None), 1, 12),
        (("http_404", "http_410"), False, (Status.FAILED_PERMANENT, "http_410"), 1, 2),
        (("http_500", "http_404"), False, (Status.FAILED_TRANSIENT, ErrorType.SERVER_ERROR), 0, 2),
        (("http_404", "http_500"), False, (Status.FAILED_TRANSIENT, ErrorType.SERVER_ERROR), 1, 2),
        (("http_503", "ok"), True, (Status.FAILED_TRANSIENT, ErrorType.SERVER_ERROR), 0, 1),
        (("http_429", "ok"), True, (Status.FAILED_TRANSIENT, ErrorType.RATE_LIMITED), 0, 1),
        (("http_500", "http_429"), False, (Status.FAILED_TRANSIENT, ErrorType.RATE_LIMITED), 0, 2),
        (("close_mid_body", "ok"), False, (Status.FAILED_TRANSIENT, ErrorType.TRUNCATED), 0, 1),
        (("close_mid_body", "ok"), True, (Status.SUCCESS, None), 1, 2),
        (("truncated_matching_length", "ok"), False, (Status.FAILED_TRANSIENT, ErrorType.TRUNCATED), 0, 1),
        (("truncated_matching_length", "ok"), True, (Status.SUCCESS, None), 1, 2),
        (("close_before_answer", "ok"), False, (Status.FAILED_TRANSIENT, ErrorType.CONNECTION_BROKEN), 0, 1),
        pytest.param(("hang_before_headers", "ok"), True, (Status.SUCCESS, None), 1, 2, marks=pytest.mark.slow),  # waits for 2 s
    ],
)
def test_when_the_next_candidate_is_asked(
    bench: Bench,
    candidates: tuple[str, ...],
    last_attempt: bool,
    expected: tuple[Status, str | None],
    url_no: int,
    n_requests: int,
) -> None:
    outcome = bench.outcome(claim(1, *urls(*candidates), last_attempt=last_attempt))
    assert (status(outcome), outcome.url_no, outcome.requests) == (expected, url_no, n_requests)
    assert len(bench.files()) == (expected[0] is Status.SUCCESS)


@pytest.mark.usefixtures("by_path")
def test_an_attempt_begins_where_the_last_one_stopped(bench: Bench, publishers: Publishers) -> None:
    candidates = urls("ok", "ok", "ok")
    outcome = bench.outcome(claim(1, *candidates, url_no=1))
    assert (outcome.url_no, publishers.requests_of(candidates[0]), publishers.requests_of(candidates[1])) == (1, 0, 1)
    assert bench.outcome(claim(2, *candidates, url_no=7)).url_no == 2  # the ledger has fewer candidates by now


def test_a_candidate_on_another_host_waits_in_that_hosts_queue(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}=http_404")
    outcome = bench.outcome(claim(1, f"http://{HOST}/1.jpg", "https://other.example/1.jpg"))
    assert outcome.move == Move("other.example", 1)
    assert outcome.move.refusal is not None
    assert (outcome.move.refusal.code, outcome.move.refusal.verdict.error_type) == (404, "http_404"), "for whoever watches the host"
    assert outcome.verdict is None
    assert publishers.host("other.example")["requests"] == 0


def test_a_redirect_to_another_host_waits_in_that_hosts_queue(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}=redirect_to_host:other.example")
    outcome = bench.outcome(claim(1))
    assert outcome.move == Move("other.example", 0, "http://other.example/1.jpg", hops=1)
    assert publishers.host("other.example")["requests"] == 0
    there = bench.outcome(claim(1, redirect_url=outcome.move.redirect_url, hops=1), host="other.example")
    assert status(there) == (Status.SUCCESS, None)
    assert publishers.requests_of("http://other.example/1.jpg") == 1


def test_hops_are_counted_over_all_hosts(bench: Bench, publishers: Publishers) -> None:
    publishers.behave("other.example=redirect_chain:9")
    moved = claim(1, redirect_url="http://other.example/1.jpg", hops=5)
    outcome = bench.outcome(moved, host="other.example")
    assert outcome.http_status == OwnCode.TOO_MANY_REDIRECTS
    assert outcome.requests == 6


def test_a_claim_of_another_host_is_not_asked_here(bench: Bench, publishers: Publishers) -> None:
    outcome = bench.outcome(claim(1, "http://other.example/1.jpg"))
    assert outcome.move == Move("other.example", 0)
    assert publishers.counters()["hosts"] == {}


@pytest.mark.parametrize(("behaviour", "n"), [("manifest_multi", 3), ("manifest_v2", 1)])
def test_a_document_is_told_and_not_followed(bench: Bench, publishers: Publishers, behaviour: str, n: int) -> None:
    """What is to be asked next is for the ledger, which knows what is there already, and whose turn it is."""
    publishers.behave(f"{HOST}={behaviour}")
    outcome = bench.outcome(claim(1, f"http://{HOST}/sheet/manifest"))
    assert (outcome.verdict, outcome.move, outcome.blob) == (None, None, None)
    assert outcome.unfolding is not None
    assert (outcome.unfolding.kind, outcome.unfolding.n_named, outcome.unfolding.url_no) == ("manifest", n, 0)
    assert [image.key for image in outcome.unfolding.images] == [
        f"iiif:{HOST}/image-api/sheet/{number}" for number in range(1, n + 1)
    ]
    assert publishers.counters()["requests"] == 1
    assert bench.files() == []


def test_what_failed_before_a_document_is_remembered(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}/gone.jpg=http_410")
    outcome = bench.outcome(claim(1, f"http://{HOST}/gone.jpg", f"http://{HOST}/iiif/3/x/info.json"))
    assert outcome.unfolding is not None
    assert (outcome.unfolding.url_no, outcome.unfolding.otherwise.error_type) == (1, "http_410")
    assert outcome.unfolding.failure is None, "whatever comes is no worse"
    publishers.behave(f"{HOST}/gone.jpg=http_500")
    outcome = bench.outcome(claim(2, f"http://{HOST}/gone.jpg", f"http://{HOST}/iiif/3/x/info.json"))
    assert outcome.unfolding is not None
    assert outcome.unfolding.failure is not None
    assert outcome.unfolding.failure.verdict.error_type == ErrorType.SERVER_ERROR


@pytest.mark.parametrize(
    ("behaviour", "path", "expected"),
    [
        ("manifest_empty", "x/manifest", (Status.FAILED_PERMANENT, ErrorType.MANIFEST_ERROR)),
        ("manifest_sound", "x/manifest", (Status.FAILED_PERMANENT, ErrorType.MANIFEST_ERROR)),
        ("collection_empty", "x/collection.json", (Status.FAILED_PERMANENT, ErrorType.MANIFEST_ERROR)),
        ("manifest_truncated", "x/manifest", (Status.FAILED_TRANSIENT, ErrorType.MANIFEST_ERROR)),
        ("manifest_truncated", "x.jpg", (Status.FAILED_TRANSIENT, ErrorType.MANIFEST_ERROR)),
        ("html", "x/manifest", (Status.FAILED_TRANSIENT, ErrorType.MANIFEST_ERROR)),
        ("html", "iiif/2/x/info.json", (Status.FAILED_TRANSIENT, ErrorType.MANIFEST_ERROR)),
        ("html", "x.jpg", (Status.FAILED_PERMANENT, ErrorType.INVALID_CONTENT_TYPE)),
        ("xml_as_png", "x/manifest", (Status.FAILED_TRANSIENT, ErrorType.MANIFEST_ERROR)),
        ("access_denied_200", "x/manifest", (Status.FAILED_TRANSIENT, ErrorType.MANIFEST_ERROR)),
        ("json", "x/manifest", (Status.FAILED_PERMANENT, ErrorType.MANIFEST_ERROR)),
        ("json", "x.jpg", (Status.FAILED_PERMANENT, ErrorType.INVALID_CONTENT_TYPE)),
        ("pdf", "x/manifest", (Status.FAILED_PERMANENT, ErrorType.NOT_AN_IMAGE)),
        ("empty", "x/manifest", (Status.FAILED_TRANSIENT, ErrorType.TRUNCATED)),
        ("http_404", "x/manifest", (Status.FAILED_PERMANENT, "http_404")),
        ("http_401", "x/manifest", (Status.FAILED_PERMANENT, "http_401")),
        ("http_500", "x/manifest", (Status.FAILED_TRANSIENT, ErrorType.SERVER_ERROR)),
        ("close_mid_body", "x/manifest", (Status.FAILED_TRANSIENT, ErrorType.TRUNCATED)),
    ],
)
def test_what_stands_in_the_place_of_a_document(
    bench: Bench, publishers: Publishers, behaviour: str, path: str, expected: tuple[Status, str]
) -> None:
    """The table of docs/reference/iiif.md."""
    publishers.behave(f"{HOST}={behaviour}")
    outcome = bench.outcome(claim(1, f"http://{HOST}/{path}"))
    assert status(outcome) == expected
    assert bench.files() == []


def test_a_document_that_is_a_page_by_https_is_asked_by_http(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}/1.jpg=redirect_to_https", f"{HOST}/x/manifest=manifest_html x1", f"{HOST}/x/manifest=manifest_v2")
    outcomes = bench.outcomes(turn([claim(1), claim(2, f"http://{HOST}/x/manifest")], connections=1))
    assert outcomes[2].unfolding is not None
    assert outcomes[2].requests == 2


def test_after_a_broken_document_the_next_candidate_is_asked(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}/x/manifest=manifest_truncated")
    outcome = bench.outcome(claim(1, f"http://{HOST}/x/manifest", f"http://{HOST}/1.jpg"))
    assert (status(outcome), outcome.url_no) == ((Status.SUCCESS, None), 1)


# Politeness


@pytest.mark.parametrize("n_connections", [1, 3])
def test_a_lane_never_has_more_connections_than_its_turns_allow(bench: Bench, publishers: Publishers, n_connections: int) -> None:
    publishers.behave(f"{HOST}=slow_first_byte:0.02")
    turns = [turn([claim(number) for number in range(at, at + 12)], at + 1, connections=n_connections) for at in range(0, 36, 12)]
    bench.outcomes(*turns)
    seen = publishers.host(HOST)
    assert seen["connections_max"] == n_connections
    assert seen["in_flight_max"] == n_connections
    assert seen["connections"] == n_connections  # the next turn of the lane uses those of the last one


@pytest.mark.parametrize(("most", "n_images", "widest"), [(8, 3, 2), (8, 20, 8), (3, 20, 3)])
def test_a_lane_grows_by_one_with_each_picture(bench: Bench, publishers: Publishers, most: int, n_images: int, widest: int) -> None:
    """1, 2, 4, 8: each round twice as many, up to what the turn allows; the next turn finds the lane as wide as it was."""
    publishers.behave(f"{HOST}=slow_first_byte:0.05")
    bench.outcomes(turn([claim(number) for number in range(n_images)], connections=most, at_first=1))
    assert publishers.host(HOST)["in_flight_max"] == widest
    starts = [at for at, *_ in publishers.log()]
    assert starts[1] - starts[0] >= 0.05, "the second one waits for the first"


@pytest.mark.parametrize("behaviour", ["http_404", "html_as_jpeg", "http_500"])
def test_only_pictures_make_a_lane_wider(bench: Bench, publishers: Publishers, behaviour: str) -> None:
    publishers.behave(f"{HOST}={behaviour}")
    bench.outcomes(turn([claim(number) for number in range(TROUBLES)], connections=8, at_first=1))
    assert publishers.host(HOST)["in_flight_max"] == 1


def test_a_turn_that_leaves_no_room_to_grow_makes_the_lane_narrow_again(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}=slow_first_byte:0.02")
    wide, narrow = ([claim(number) for number in range(at, at + 12)] for at in (0, 100))
    given, ended = [turn(wide, 1, connections=4, at_first=1), turn(narrow, 2, connections=1)], list[int]()

    def feed(wait_s: float) -> Orders:
        """The narrow turn comes once the lane has grown."""
        may_give = len(given) == 2 or ended or publishers.host(HOST)["in_flight_max"] > 1
        return Orders((given.pop(0),) if given and may_give else (), closed=not given)

    for report in bench.reports(feed):
        if report.lease_id == 1 and report.finished:
            ended.append(1)
            assert publishers.host(HOST)["in_flight_max"] > 1
            publishers.reset()
    assert publishers.host(HOST)["in_flight_max"] <= 1


def test_no_connection_is_open_once_a_turn_is_told_to_be_finished(bench: Bench, publishers: Publishers) -> None:
    """Invariant I5: the next turn may go to another worker."""
    for number, scheme in enumerate(("http", "https")):
        for report in bench.reports(Feed([turn([claim(number, f"{scheme}://{HOST}/{number}.jpg")])])):
            assert report.finished
            end_at = time.monotonic() + PATIENCE_S  # for the FIN to arrive; the worker does nothing meanwhile
            while publishers.host(HOST)["connections_now"]:
                assert time.monotonic() < end_at


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When requests were handed to libcurl: a distance is kept by whoever sends, however late a busy server reads."""
    real, at = Connections.start, list[float]()

    def start(self: Connections, request: Request) -> None:
        at.append(time.monotonic())
        real(self, request)

    monkeypatch.setattr(Connections, "start", start)
    return at


def least_distance(starts: Sequence[float]) -> float:
    return min(after - before for before, after in pairwise(starts))


def test_the_interval_outlasts_a_turn(bench: Bench, starts: list[float]) -> None:
    """The turn that follows may be on its way when the worker has ended the one before: its first request waits all the same."""
    turns = [turn([claim(number)], number, min_interval_s=0.3) for number in (1, 2)]
    given: list[int] = []
    ended: list[int] = []

    def feed(wait_s: float) -> Orders:
        if given != ended:
            return Orders()
        if not turns:
            return Orders(closed=True)
        given.append(turns[0].lease_id)
        return Orders((turns.pop(0),))

    for report in bench.reports(feed):
        ended += [report.lease_id] * report.finished
    assert len(starts) == 2
    assert least_distance(starts) >= 0.3


def test_what_a_server_says_of_its_limit_ends_the_turn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on an answer that is a picture: the rest is given back, and the wait is told."""
    monkeypatch.setattr("d4c_images.policy.rate_limits.wish_of", lambda headers, now: Slowdown(30.0, 0.0))
    outcomes = bench.outcomes(turn([claim(number) for number in range(8)], connections=1))
    done = [outcome for outcome in outcomes.values() if not is_released(outcome)]
    assert [status(outcome) for outcome in done] == [(Status.SUCCESS, None)]
    assert 20.0 < done[0].hold_s <= 29.0


def test_a_server_that_says_nothing_of_a_wait_gets_none(bench: Bench) -> None:
    outcomes = bench.outcomes(turn([claim(number) for number in range(3)], connections=1))
    assert [(status(one), one.hold_s) for one in outcomes.values()] == [((Status.SUCCESS, None), 0.0)] * 3


def test_a_pace_that_a_server_asks_for_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch, starts: list[float]) -> None:
    monkeypatch.setattr("d4c_images.policy.rate_limits.wish_of", lambda headers, now: Slowdown(0.0, 0.15))
    outcomes = bench.outcomes(turn([claim(number) for number in range(4)], connections=1))
    assert {outcome.interval_s for outcome in outcomes.values()} == {0.15}
    assert least_distance(starts) >= 0.15


@pytest.mark.slow
def test_bytes_are_paid_for_before_the_next_request(bench: Bench, publishers: Publishers) -> None:
    outcomes = bench.outcomes(turn([claim(number) for number in range(4)], connections=1, bytes_per_s=40_000))
    starts = [at for at, *_ in publishers.log()]
    assert starts[-1] - starts[0] > 0.9 * sum(outcomes[number].received_bytes for number in range(3)) / 40_000


def test_a_turn_ends_with_its_bytes_and_when_it_is_told_to(bench: Bench, publishers: Publishers) -> None:
    publishers.behave("example.org=slow_first_byte:0.1")
    outcomes = bench.outcomes(turn([claim(number) for number in range(9)], connections=1, max_bytes=1))
    assert 1 <= sum(not is_released(outcome) for outcome in outcomes.values()) <= 2
    given = [Orders((turn([claim(number) for number in range(20, 29)], 2, connections=1),))]
    later = iter([*given, Orders(), Orders(), Orders(end=frozenset((2,)))])
    told = [one for report in bench.reports(lambda wait_s: next(later, Orders(closed=True))) for one in report.outcomes]
    assert 1 <= sum(not is_released(outcome) for outcome in told) <= 3


def test_lanes_of_one_host_have_connections_of_their_own(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}=slow_first_byte:0.05")
    lanes = [turn([claim(at + number) for number in range(6)], at + 1, lane=at, connections=2) for at in (0, 10)]
    bench.outcomes(*lanes)
    assert publishers.host(HOST)["in_flight_max"] == 4


def test_a_host_that_has_moved_to_https_is_asked_there_at_once(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}=redirect_to_https")
    bench.outcomes(turn([claim(number) for number in range(10)], connections=1))
    assert publishers.host(HOST)["requests"] == 11
    assert publishers.requests_of(f"https://{HOST}/9.jpg") == 1


def test_a_url_that_has_not_moved_is_asked_where_it_is(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}/0.jpg=redirect_to_https", f"{HOST}/1.jpg=http_404 x1")
    outcomes = bench.outcomes(turn([claim(number) for number in range(3)], connections=1))
    assert {status(outcome) for outcome in outcomes.values()} == {(Status.SUCCESS, None)}
    assert (outcomes[1].requests, outcomes[2].requests) == (2, 1)
    assert publishers.requests_of(f"http://{HOST}/2.jpg") == 1


def test_requests_of_a_lane_keep_their_distance_redirects_and_turns_included(
    bench: Bench, publishers: Publishers, starts: list[float]
) -> None:
    publishers.behave(f"{HOST}/1.jpg=redirect_once", f"{HOST}/2.jpg=http_404")
    first = turn([claim(0), claim(1), claim(2, f"http://{HOST}/2.jpg", f"http://{HOST}/2b.jpg")], 1, min_interval_s=0.1)
    second = turn([claim(3), claim(4)], 2, min_interval_s=0.1)
    bench.outcomes(first, second)
    assert publishers.host(HOST)["requests"] == len(starts) == 7
    assert least_distance(starts) >= 0.1


@pytest.mark.usefixtures("by_path")
@pytest.mark.parametrize("behaviour", ["http_429_seconds", "http_503", "http_503_seconds", "http_429"])
def test_a_host_that_asks_for_peace_gets_it(bench: Bench, publishers: Publishers, behaviour: str) -> None:
    """The rest of the turn, of later turns and of other lanes is given back untried."""
    bad = claim(0, f"http://{HOST}/{behaviour}/0.jpg")
    lane_0 = turn([bad, *(claim(number) for number in range(1, 30))], 1, connections=1)
    later = turn([claim(number) for number in range(30, 40)], 2, connections=1)
    lane_1 = turn([claim(number) for number in range(40, 70)], 3, connections=1, lane=1, min_interval_s=0.1)
    outcomes = bench.outcomes(lane_0, later, lane_1)
    assert outcomes[0].verdict is not None
    assert outcomes[0].verdict.host_trouble
    assert all(is_released(outcomes[number]) for number in range(1, 40))
    assert sum(is_released(outcomes[number]) for number in range(40, 70)) > 20
    assert publishers.host(HOST)["requests"] < 10


@pytest.mark.parametrize("leads_to", ["", "other.example"])
def test_many_redirects_in_a_row_end_the_turn_unless_they_are_nothing_odd(
    bench: Bench, publishers: Publishers, leads_to: str
) -> None:
    """The steward has to see first what is to be had there. The turn that was on its way ends as well."""
    publishers.behave(f"{HOST}=redirect_to_host:other.example")
    first, second = (turn([claim(n) for n in range(at, at + 40)], at + 1, connections=1, leads_to=leads_to) for at in (0, 40))
    outcomes = bench.outcomes(first, second)
    n_moved = sum(outcome.move is not None for outcome in outcomes.values())
    assert n_moved == publishers.host(HOST)["requests"] == (80 if leads_to else UNSIGNED)
    assert sum(map(is_released, outcomes.values())) == 80 - n_moved


def test_after_some_pages_alike_one_image_is_asked_for_at_a_time(bench: Bench, publishers: Publishers) -> None:
    """What is under way when the steward hears of it is in vain, if it is a shut door."""
    publishers.behave(f"{HOST}=http_403", f"{HOST}/0.jpg=slow_first_byte:0.5")
    bench.outcomes(turn([claim(n) for n in range(60)], connections=8))
    assert publishers.host(HOST)["requests"] <= 8 + FEW_ALIKE, "with those that the first few have made room for"


def test_a_dead_host_does_not_burn_claims(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}=close_before_answer")
    outcomes = bench.outcomes(turn([claim(number) for number in range(50)], connections=1))
    assert sum(is_released(outcome) for outcome in outcomes.values()) == 50 - TROUBLES
    assert publishers.host(HOST)["requests"] == TROUBLES


def test_failures_of_images_are_no_trouble_of_the_host(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}=http_404")
    outcomes = bench.outcomes(turn([claim(number) for number in range(30)]))
    assert {status(outcome) for outcome in outcomes.values()} == {(Status.FAILED_PERMANENT, "http_404")}


# The end of turns


def test_nothing_is_started_after_a_turn_has_expired(bench: Bench, publishers: Publishers) -> None:
    outcomes = bench.outcomes(turn([claim(1)], 1, expires_at=time.time() - 1), turn([claim(2)], 2))
    assert is_released(outcomes[1])
    assert status(outcomes[2]) == (Status.SUCCESS, None)
    assert publishers.host(HOST)["requests"] == 1


def test_a_drain_ends_what_is_in_flight_and_gives_back_the_rest(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}=slow_first_byte:0.3")
    claims = [claim(number) for number in range(500)]  # more than are asked for until the drain is seen, however late that is
    feed = Feed([turn(claims, expires_at=time.time() + 3600)], closed=False)
    outcomes = {}
    for report in bench.reports(lambda wait_s: _drained_once(feed, publishers)(wait_s)):
        outcomes.update({outcome.image_id: outcome for outcome in report.outcomes})
        feed.closed = report.finished
    tried = [number for number, outcome in outcomes.items() if outcome.verdict]
    assert sorted(tried) == list(range(publishers.host(HOST)["requests"]))
    assert 2 <= len(tried) < 500
    assert all(is_released(outcomes[number]) for number in range(len(tried), 500))


def _drained_once(feed: Feed, publishers: Publishers) -> Feed:
    feed.drain = feed.drain or publishers.host(HOST)["requests"] >= 2
    return feed


def test_a_closed_drain_gives_up_what_is_in_flight(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}=hang_mid_body")
    feed = Feed([turn([claim(number) for number in range(4)])], closed=False)

    def feed_and_close(wait_s: float) -> Orders:
        feed.drain = feed.closed = publishers.host(HOST)["requests"] == 2
        return feed(wait_s)

    outcomes = [outcome for report in bench.reports(feed_and_close) for outcome in report.outcomes]
    assert len(outcomes) == 4
    assert all(is_released(outcome) for outcome in outcomes)
    assert bench.files() == []


def test_what_was_learned_before_the_drain_is_not_lost(bench: Bench, publishers: Publishers) -> None:
    """The first candidate was refused; the second one had to wait for its turn."""
    publishers.behave(f"{HOST}=http_404")
    feed = Feed([turn([claim(1, f"http://{HOST}/1.jpg", f"http://{HOST}/2.jpg")], min_interval_s=30.0)], closed=False)

    def feed_and_drain(wait_s: float) -> Orders:
        feed.drain = feed.closed = publishers.host(HOST)["requests"] == 1
        return feed(wait_s)

    (outcome,) = [outcome for report in bench.reports(feed_and_drain) for outcome in report.outcomes]
    assert outcome.move in (Move(HOST, 1), None)  # None: it drained while the request was in flight
    assert publishers.host(HOST)["requests"] == 1


def test_a_turn_without_claims_is_finished(bench: Bench) -> None:
    assert bench.outcomes(turn([])) == {}


# Files of dead leases


def stored(bench: Bench, body: bytes, name: str = "1000000001-00.jpg") -> Path:
    path = bench.root / "100/000" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def good_body(bench: Bench) -> bytes:
    outcome = bench.outcome(claim(99))
    assert outcome.blob is not None
    path = bench.root / outcome.blob.path
    body = path.read_bytes()
    path.unlink()
    return body


def test_a_whole_file_of_a_dead_lease_is_adopted(bench: Bench, publishers: Publishers) -> None:
    body = good_body(bench)
    stored(bench, body)
    stored(bench, b"half", ".1000000001-00.5.part")
    outcome = bench.outcome(claim(1, may_be_stored=True))
    assert status(outcome) == (Status.SUCCESS, None)
    assert outcome.adopted
    assert outcome.blob is not None
    assert (outcome.blob.path, outcome.blob.sha256) == ("100/000/1000000001-00.jpg", hashlib.sha256(body).digest())
    assert publishers.requests_of(f"http://{HOST}/1.jpg") == 0
    assert bench.files() == ["100/000/1000000001-00.jpg"]


@pytest.mark.parametrize("name", ["1000000001-00.jpg", "1000000001-00.png"])
@pytest.mark.parametrize("damage", ["cut", "html", "wrong name"])
def test_a_file_that_is_not_what_it_seems_is_fetched_again(bench: Bench, name: str, damage: str) -> None:
    body = {"cut": good_body(bench)[:-900], "html": b"<html>sorry</html>", "wrong name": good_body(bench)}[damage]
    stored(bench, body, "1000000001-00.tif" if damage == "wrong name" else name)
    stored(bench, b"half", ".1000000001-00.5.part")
    outcome = bench.outcome(claim(1, may_be_stored=True))
    assert status(outcome) == (Status.SUCCESS, None)
    assert not outcome.adopted
    assert bench.files() == ["100/000/1000000001-00.jpg"]


def test_a_claim_without_leftovers_is_simply_fetched(bench: Bench) -> None:
    assert not bench.outcome(claim(1, may_be_stored=True)).adopted


# --max-edge


def test_a_smaller_jpeg_is_kept_with_the_hash_of_both(publishers: Publishers, tmp_path: Path) -> None:
    originals, small = Bench(publishers, tmp_path / "a"), Bench(publishers, tmp_path / "b", Examiner(max_edge=100))
    first = originals.outcome(claim(1, f"http://{HOST}/1.png"))
    second = small.outcome(claim(1, f"http://{HOST}/1.png"))
    assert first.blob is not None
    assert second.blob is not None
    assert second.blob.original_sha256 == first.blob.sha256
    body = (small.root / second.blob.path).read_bytes()
    assert (second.blob.sha256, second.blob.size_bytes) == (hashlib.sha256(body).digest(), len(body))
    assert (second.blob.media_type, max(second.blob.width or 0, second.blob.height or 0)) == ("image/jpeg", 100)
    adopted = small.outcome(claim(1, f"http://{HOST}/1.png", may_be_stored=True))
    assert adopted.adopted
    assert adopted.blob == second.blob
    for bench in (originals, small):
        bench.close()


def test_a_run_that_wants_originals_adopts_no_smaller_ones(bench: Bench, publishers: Publishers) -> None:
    small = Bench(publishers, bench.root, Examiner(max_edge=100))
    small.outcome(claim(1))
    small.close()
    outcome = bench.outcome(claim(1, may_be_stored=True), lease_id=2)
    assert outcome.blob is not None
    assert not outcome.adopted
    assert (outcome.blob.original_sha256, max(outcome.blob.width or 0, outcome.blob.height or 0) > 100) == (None, True)


# When something breaks


def test_a_store_that_breaks_ends_the_work(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(keeps: Sequence[Keep]) -> list[str | None]:
        raise StoreError("/images: No space left on device")

    monkeypatch.setattr(bench.store, "put", full)
    with pytest.raises(StoreError, match="No space left"):
        bench.outcomes(turn([claim(1)]))


def test_one_image_that_surprises_us_does_not_end_the_work_on_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real_check = bench.examiner.decoder().check

    def check(path: Path, sniffed: object, **how: bool) -> object:
        if "1000000003" in path.name:
            raise ZeroDivisionError("what is this?")
        return real_check(path, sniffed, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.examiner.decoder(), "check", check)
    outcomes = bench.outcomes(turn([claim(number) for number in range(6)]))
    assert status(outcomes[3]) == (Status.FAILED_TRANSIENT, ErrorType.OTHER)
    assert outcomes[3].verdict is not None
    detail = str(outcomes[3].verdict.detail)
    assert re.fullmatch(r"a bug in this program ended the attempt, at line \d+ of worker/verify\.py: please report it", detail)
    assert sum(status(outcome) == (Status.SUCCESS, None) for outcome in outcomes.values()) == 5
    assert len(bench.files()) == 5


def test_a_file_that_a_newer_lease_took_away_is_given_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real_put = bench.store.put

    def put(keeps: Sequence[Keep]) -> list[Place | None]:
        if any("1000000001" in keep.partial.path.name for keep in keeps):  # else it may not even have been decoded
            bench.store.clear_partials(1_000_000_001, 0)
        return real_put(keeps)

    monkeypatch.setattr(bench.store, "put", put)
    outcomes = bench.outcomes(turn([claim(1), claim(2)]))
    assert is_released(outcomes[1])
    assert status(outcomes[2]) == (Status.SUCCESS, None)


def test_work_that_is_given_up_leaves_nothing_half_done(
    bench: Bench, publishers: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image kept, one in flight, one held up in the decoder."""
    publishers.behave(f"{HOST}/1.jpg=hang_mid_body")
    real_check, given_up = bench.examiner.decoder().check, threading.Event()

    def check(path: Path, sniffed: object, **how: bool) -> object:
        assert "1000000002" not in path.name or given_up.wait(10)
        return real_check(path, sniffed, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.examiner.decoder(), "check", check)
    reports = bench.reports(Feed([turn([claim(0), claim(1), claim(2)])], closed=False))
    assert [outcome.image_id for outcome in next(reports).outcomes] == [0]
    given_up.set()
    reports.close()  # type: ignore[attr-defined]
    assert bench.files() == ["100/000/1000000000-00.jpg"]


# Large bodies that break off


def breaking(bench: Bench, name: str, **more: object) -> Outcome:
    host = f"{name.replace('_', '-')}.evil.test"
    return bench.outcome(claim(1, f"http://{host}/1.jpg"), host=host, **more)


@pytest.mark.parametrize(
    ("name", "n_requests"),
    [
        ("breaks_off", 2),
        ("breaks_off_dated", 2),
        ("breaks_off_twice", 3),
        ("breaks_then_hangs_up", 3),
        ("breaks_ignores_range", 2),
        ("breaks_changed", 2),
        ("breaks_changed_unsaid", 3),
        ("breaks_changed_etag", 3),
        ("breaks_wrong_range", 3),
        ("breaks_other_total", 3),
        ("breaks_no_content_range", 3),
        ("breaks_empty_rest", 3),
        ("breaks_416", 3),
        ("breaks_412", 3),
    ],
)
def test_a_body_that_broke_off_is_gone_on_with_in_the_same_attempt(bench: Bench, name: str, n_requests: int) -> None:
    """Whatever a server sends instead of the rest: what is kept is a whole picture."""
    outcome = breaking(bench, name)
    assert (status(outcome), outcome.http_status, outcome.requests) == ((Status.SUCCESS, None), 200, n_requests)
    assert outcome.blob is not None
    body = (bench.root / outcome.blob.path).read_bytes()
    assert body == large(2 if name == "breaks_changed" else 1)
    assert (outcome.blob.size_bytes, outcome.blob.sha256) == (len(body), hashlib.sha256(body).digest())


@pytest.mark.parametrize(
    ("name", "n_requests"),
    [
        ("breaks_without_ranges", 1),
        ("breaks_with_weak_etag", 1),
        ("breaks_off_always", 4),
        ("breaks_then_404", 2),
        ("breaks_zero_rest", 2),
    ],
)
def test_a_body_whose_rest_is_not_to_be_had_has_failed_for_now(bench: Bench, name: str, n_requests: int) -> None:
    outcome = breaking(bench, name)
    assert (status(outcome), outcome.requests) == ((Status.FAILED_TRANSIENT, ErrorType.TRUNCATED), n_requests)
    assert bench.files() == []


def test_the_rest_is_asked_for_when_the_turn_has_expired_meanwhile(bench: Bench, publishers: Publishers) -> None:
    """A large body takes longer than a turn. Nothing new is started."""
    host = "breaks-off.evil.test"
    claims = [claim(number, f"http://{host}/{number}.jpg") for number in range(1, 4)]
    expiring = turn(claims, host=host, connections=1, min_interval_s=0.5, expires_at=time.time() + 0.4)
    outcomes = bench.outcomes(expiring)
    assert (status(outcomes[1]), outcomes[1].requests) == ((Status.SUCCESS, None), 2)
    assert is_released(outcomes[2])
    assert is_released(outcomes[3])


def test_a_drain_does_not_wait_for_the_rest(bench: Bench, publishers: Publishers) -> None:
    """It has failed, so that a body that always breaks off comes to an end some day."""
    host = "breaks-off.evil.test"
    feed = Feed([turn([claim(1, f"http://{host}/1.jpg")], host=host, min_interval_s=30.0)], closed=False)

    looks: list[bool] = []

    def feed_and_drain(wait_s: float) -> Orders:
        looks.append(any(path.stat().st_size == LARGE // 2 for path in bench.root.rglob("*.part")))
        feed.drain = feed.closed = sum(looks) > 10  # looks come 50 ms apart: it has been told that it broke off
        return feed(wait_s)

    (outcome,) = [outcome for report in bench.reports(feed_and_drain) for outcome in report.outcomes]
    assert (status(outcome), outcome.requests) == ((Status.FAILED_TRANSIENT, ErrorType.TRUNCATED), 1)
    assert bench.files() == []


# X-Robots-Tag


def test_what_the_publisher_says_to_robots_is_told(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}/1.jpg=robots:noindex|noai", f"{HOST}/2.jpg=http_404")
    outcomes = bench.outcomes(turn([claim(1), claim(2)]))
    assert (status(outcomes[1]), outcomes[1].robots_tag) == ((Status.SUCCESS, None), "noindex, noai")
    assert outcomes[2].robots_tag is None


def test_who_respects_it_keeps_no_bytes(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}/1.jpg=robots:noai", f"{HOST}/2.jpg=robots:somebot:noai")
    bench.policy = CodePolicy(respects_robots_tag=True)
    outcomes = bench.outcomes(turn([claim(1, f"http://{HOST}/1.jpg", f"http://{HOST}/3.jpg"), claim(2)]))
    assert (status(outcomes[1]), outcomes[1].robots_tag) == ((Status.FAILED_PERMANENT, ErrorType.ROBOTS_TAG), "noai")
    assert outcomes[1].requests == 1, "no other candidate of the same photo is asked either"
    assert status(outcomes[2]) == (Status.SUCCESS, None)
    assert len(bench.files()) == 1


# Pictures that take long


def test_a_slow_decode_holds_up_nobody_else(bench: Bench, publishers: Publishers) -> None:
    """Two of 144 MP, whose decoding takes until all others are through."""
    publishers.behave("slow.test=tiff_large:12000")
    slow = turn([claim(number, f"http://slow.test/{number}.tif") for number in (1, 2)], lease_id=1, host="slow.test")
    others = turn([claim(number) for number in range(10, 73)], lease_id=2)
    others_are_through = threading.Event()
    real_check = bench.examiner.decoder().check

    def check(path: Path, sniffed: object, *, may_take_long: bool = True) -> object:
        if may_take_long:
            assert others_are_through.wait(PATIENCE_S)
        return real_check(path, sniffed, may_take_long=may_take_long)  # type: ignore[arg-type]

    bench.examiner.decoder().check = check  # type: ignore[method-assign]
    told: list[Outcome] = []
    for report in bench.reports(Feed([slow, others])):
        told += report.outcomes
        if len(told) == 63:
            others_are_through.set()
    assert {status(outcome) for outcome in told} == {(Status.SUCCESS, None)}
    assert {outcome.image_id for outcome in told[-2:]} == {1, 2}
    assert len(told) == 65


def test_a_host_of_slow_pictures_fetches_no_more_than_can_be_decoded(
    bench: Bench, publishers: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_check, asked = bench.examiner.decoder().check, list[int]()

    def check(path: Path, sniffed: object, *, may_take_long: bool) -> object:
        if not may_take_long:
            raise TakesLong
        if not asked:  # long enough for all of them to be fetched
            time.sleep(0.5)
            asked.append(publishers.host(HOST)["requests"])
        return real_check(path, sniffed, may_take_long=True)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.examiner.decoder(), "check", check)
    outcomes = bench.outcomes(turn([claim(number) for number in range(200)]))
    assert {status(outcome) for outcome in outcomes.values()} == {(Status.SUCCESS, None)}
    assert 0 < asked[0] < 100


# Everything at once


@pytest.mark.slow
def test_whatever_a_server_does_a_final_name_means_a_whole_image(bench: Bench, publishers: Publishers) -> None:
    """All behaviours, each on a host of its own, over two claims; moves are not followed."""
    hosts = [f"{name.replace('_', '-')}.evil.test" for name in sorted(BEHAVIOURS)]
    turns = [
        turn([claim(2 * at + n, f"https://{host}/{n}.jpg", last_attempt=bool(n % 2)) for n in range(2)], at + 1, host=host)
        for at, host in enumerate(hosts)
    ]
    bench.fetcher.close()
    limits = replace(LIMITS, connect_s=PATIENCE_S, stall_s=5.0)
    bench.fetcher = Fetcher(FetchOptions(limits, connect_to=(publishers.connect_to,), cacert=publishers.cacert))
    outcomes, left, n_open = dict[int, Outcome](), list(turns), [0]

    def feed(wait_s: float) -> Orders:
        """Some hosts at a time: with all of them at once, a busy machine needs longer for the handshakes than a stall takes."""
        given, left[:] = left[: 8 - n_open[0]], left[8 - n_open[0] :]
        n_open[0] += len(given)
        return Orders(tuple(given), closed=not left)

    for report in bench.reports(feed):
        n_open[0] -= report.finished
        outcomes |= {outcome.image_id: outcome for outcome in report.outcomes}
    assert len(outcomes) == 2 * len(hosts)
    kept = {outcome.blob.path for outcome in outcomes.values() if outcome.blob}
    assert bench.files() == sorted(kept)
    assert len(kept) > 60
    for outcome in outcomes.values():
        blob = outcome.blob
        if blob is None:
            continue
        body = (bench.root / blob.path).read_bytes()
        assert (hashlib.sha256(body).digest(), len(body)) == (blob.sha256, blob.size_bytes)
        if status(outcome)[1] != ErrorType.RAW_UNPROCESSED:
            with Image.open(bench.root / blob.path) as picture:
                picture.load()
    for host, seen in publishers.counters()["hosts"].items():
        assert seen["connections_max"] <= 2, host


def test_a_claim_may_be_worked_twice_under_two_leases(bench: Bench) -> None:
    """Schedulers and networks do that; both must end well and leave one file."""
    one, two = turn([claim(1)], 1), replace(turn([claim(1)], 2), lane=1)
    reports = list(bench.reports(Feed([one, two])))
    assert [status(outcome) for report in reports for outcome in report.outcomes] == [(Status.SUCCESS, None)] * 2
    assert bench.files() == ["100/000/1000000001-00.jpg"]


def test_urls_that_no_server_can_be_asked_for(bench: Bench) -> None:
    for url in ("ftp://example.org/1.jpg", "http://[::1", "nonsense"):
        outcome = bench.outcome(claim(1, url))
        assert (status(outcome)[0], outcome.http_status) == (Status.FAILED_PERMANENT, OwnCode.BAD_URL)


def test_half_a_turn_is_told_at_once(bench: Bench, publishers: Publishers, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the steward lends the turn that follows before the lane runs dry: not only when the next report is due."""
    monkeypatch.setattr(worker_module, "REPORT_S", 3600.0)
    publishers.behave(f"{HOST}=http_404")
    claims = [claim(number) for number in range(1, 9)]
    reports = list(bench.reports(Feed([turn(claims, connections=1)])))
    first, second = (len(report.outcomes) for report in reports)
    assert first >= 4  # more where two answers came before the worker looked again
    assert first + second == 8


def test_a_worker_asks_before_it_can_decode(bench: Bench, publishers: Publishers, monkeypatch: pytest.MonkeyPatch) -> None:
    """What decodes takes longer to load than a server takes to answer."""
    real, asked = bench.examiner.decoder, threading.Event()

    def load() -> Decoder:
        assert asked.wait(10)
        return real()

    def tell(request: Request) -> None:
        start(request)
        asked.set()

    connections = bench.fetcher.connections(1)
    start = connections.start
    monkeypatch.setattr(connections, "start", tell)
    monkeypatch.setattr(bench.fetcher, "connections", lambda most: connections)
    monkeypatch.setattr(bench.examiner, "decoder", load)
    assert status(bench.outcome(claim(1)))[0] is Status.SUCCESS


def test_a_failure_that_may_pass_goes_along_to_the_next_host(bench: Bench, publishers: Publishers) -> None:
    """500 here, then 404 there: the image may be had here tomorrow. The two hosts are asked in two turns."""
    publishers.behave(f"{HOST}=http_500", "other.example=http_404")
    urls = (f"http://{HOST}/1.jpg", "http://other.example/1.jpg")
    move = bench.outcome(claim(1, *urls)).move
    assert move is not None
    assert (move.host, move.failure and move.failure.code) == ("other.example", 500)
    there = bench.outcome(claim(1, *urls, url_no=1, failure=move.failure), host="other.example")
    assert status(there) == (Status.FAILED_TRANSIENT, ErrorType.SERVER_ERROR)
    assert (there.http_status, there.url_no) == (500, 0)


def test_a_redirect_takes_the_failure_along(bench: Bench, publishers: Publishers) -> None:
    publishers.behave(f"{HOST}/1.jpg=http_500", f"{HOST}/2.jpg=redirect_to_host:other.example")
    move = bench.outcome(claim(1, f"http://{HOST}/1.jpg", f"http://{HOST}/2.jpg")).move
    assert move is not None
    assert (move.host, move.url_no, move.failure and move.failure.code) == ("other.example", 1, 500)


def test_a_host_that_is_not_there_is_asked_once(publishers: Publishers, tmp_path: Path) -> None:
    """The rest of the turn is given back at once."""
    bench = Bench(publishers, tmp_path)
    bench.fetcher.close()
    bench.fetcher = Fetcher(FetchOptions(LIMITS, connect_to=("::127.0.0.1:9",)))
    outcomes = bench.outcomes(turn([claim(number) for number in range(1, 9)], connections=1))
    assert [outcome.verdict and outcome.verdict.unreachable for outcome in outcomes.values()] == [True, *[None] * 7]
    bench.close()


def test_from_https_back_to_http_is_no_hop(bench: Bench, publishers: Publishers) -> None:
    """The host has sent us to https for good, but does not mean all of its URLs: no loop, and no hop of the image's ten."""
    publishers.behave(f"{HOST}/0.jpg=redirect_to_https", f"{HOST}/1.jpg=redirect_to_http")
    outcomes = bench.outcomes(turn([claim(0), claim(1, hops=9)], connections=1))
    assert [status(outcome)[0] for outcome in outcomes.values()] == [Status.SUCCESS] * 2
    assert outcomes[1].requests == 2


@pytest.mark.slow
def test_what_is_fetched_waits_for_slow_decoding_only_in_small_numbers(bench: Bench, publishers: Publishers) -> None:
    """A kill costs what is fetched and not yet kept."""
    held_up, n_seen = threading.Event(), []
    real_check = bench.examiner.decoder().check

    def check(path: Path, sniffed: object, **how: bool) -> object:
        n_seen.append(path)
        if len(n_seen) > 40:
            held_up.wait(10)
        else:
            time.sleep(0.05)  # 40 a second
        return real_check(path, sniffed, **how)  # type: ignore[arg-type]

    bench.examiner.decoder().check = check  # type: ignore[method-assign]
    feed = Feed([turn([claim(number) for number in range(200)], connections=4)])
    kept = 0
    for report in bench.reports(feed):
        kept += len(report.outcomes)
        if not held_up.is_set() and kept >= 40 - 2:
            time.sleep(0)
            held_up.set()
            assert publishers.host(HOST)["requests"] <= kept + 4 + 2 + 2 * 10, "in flight, in the decoder, waiting for it"
    assert kept == 200
