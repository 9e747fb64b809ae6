"""A worker revalidates stored images and looks for files of dead leases: what it requests, keeps and leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from d4c_images.model import Claim, ErrorType, Orders, Outcome, Status, Stored
from tests.publishers import pictures
from tests.steward.test_waits import HOST, claim, turn, worker_at
from tests.support.scripted import Answer, Asked, answer

OLD, NEW = pictures.jpeg("old"), pictures.jpeg("new")
NAME, REVISED = "100/000/1000000001-00.jpg", "100/000/1000000001-00-r1.jpg"
ETAG = '"one"'
DATE = "Mon, 05 Jan 2015 10:00:00 GMT"


def jpeg(body: bytes = NEW, *headers: str) -> bytes:
    return answer(200, "Content-Type: image/jpeg", *headers, body=body)


def stored(**more: Any) -> Claim:
    given = {"path": NAME, "offset": None, "size_bytes": len(OLD), "received_sha256": hashlib.sha256(OLD).digest()}
    known = Stored(**(given | {"etag": ETAG, "last_modified": DATE} | more))
    return replace(claim(1), stored=known, revision=1)


def left(root: Path, name: str = NAME, body: bytes = OLD) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(body)


def worked(root: Path, one: Claim, answers: Answer) -> tuple[Outcome, list[Asked]]:
    with worker_at(answers, root) as (server, outcomes):
        (outcome,) = outcomes(Orders((turn(1, one),)))
    return outcome, server.asked


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def status(outcome: Outcome) -> tuple[Status, str | None]:
    assert outcome.verdict is not None
    return outcome.verdict.status, outcome.verdict.error_type


GOOD = (Status.SUCCESS, None)


# Stored images


@pytest.mark.parametrize(
    ("known", "sent"),
    [
        ({}, {"if-none-match": ETAG}),
        ({"etag": None}, {"if-modified-since": DATE}),
        ({"etag": None, "last_modified": None}, {}),
    ],
)
def test_a_stored_image_is_asked_for_by_what_is_known_of_it(tmp_path: Path, known: dict[str, None], sent: dict[str, str]) -> None:
    left(tmp_path)
    _, (asked,) = worked(tmp_path, stored(**known), lambda asked: answer(304))
    conditions = {name: value for name, value in asked.headers.items() if name.startswith("if-")}
    assert conditions.items() >= sent.items()
    assert bool(conditions) == bool(sent)


def test_a_304_leaves_everything_as_it_is(tmp_path: Path) -> None:
    left(tmp_path)
    outcome, asked = worked(tmp_path, stored(), lambda asked: answer(304))
    assert (status(outcome), outcome.blob, outcome.http_status, outcome.is_lost, len(asked)) == (GOOD, None, 304, False, 1)
    assert files(tmp_path) == {NAME: OLD}


def test_a_304_that_nobody_has_asked_for_is_no_success(tmp_path: Path) -> None:
    left(tmp_path)
    outcome, _ = worked(tmp_path, stored(etag=None, last_modified=None), lambda asked: answer(304))
    assert status(outcome)[0] is not Status.SUCCESS
    assert files(tmp_path) == {NAME: OLD}


def test_the_same_bytes_are_not_kept_twice(tmp_path: Path) -> None:
    left(tmp_path)
    outcome, _ = worked(tmp_path, stored(), lambda asked: jpeg(OLD))
    assert (status(outcome), outcome.blob, outcome.http_status) == (GOOD, None, 200)
    assert files(tmp_path) == {NAME: OLD}


def test_other_bytes_are_kept_beside_those_before(tmp_path: Path) -> None:
    left(tmp_path)
    outcome, _ = worked(tmp_path, stored(), lambda asked: jpeg(NEW))
    assert outcome.blob is not None
    assert (status(outcome), outcome.blob.path, outcome.is_lost) == (GOOD, REVISED, False)
    assert files(tmp_path) == {NAME: OLD, REVISED: NEW}


@pytest.mark.parametrize("found", [None, OLD[:-1], OLD + b"x"], ids=["no file", "a shorter one", "a longer one"])
def test_an_image_whose_file_is_lost_is_asked_for_without_a_condition_and_kept_whatever_comes(
    tmp_path: Path, found: bytes | None
) -> None:
    """A 304 would be of no use, and bytes that are as before are as welcome as any."""
    if found is not None:
        left(tmp_path, NAME, found)
    outcome, (asked,) = worked(tmp_path, stored(), lambda asked: jpeg(OLD))
    assert not [name for name in asked.headers if name.startswith("if-")]
    assert outcome.blob is not None
    assert (status(outcome), outcome.blob.path, outcome.is_lost) == (GOOD, REVISED, True)
    assert files(tmp_path)[REVISED] == OLD


def test_a_server_that_misunderstands_the_condition_is_asked_once_more_without_it(tmp_path: Path) -> None:
    left(tmp_path)
    outcome, asked = worked(tmp_path, stored(), lambda asked: answer(412) if "if-none-match" in asked.headers else jpeg(NEW))
    assert (status(outcome), len(asked), outcome.requests) == (GOOD, 2, 2)
    outcome, asked = worked(tmp_path, stored(), lambda asked: answer(412))
    assert (status(outcome)[0] is Status.SUCCESS, len(asked)) == (False, 2), "and not for ever"


@pytest.mark.parametrize(
    "refusal",
    [
        answer(404),
        answer(500),
        answer(200, "Content-Type: text/html", body=b"<html><body>Gone, all of it</body></html>"),
        jpeg(NEW[:-50]),
    ],
    ids=["404", "500", "a page", "a picture that is cut"],
)
def test_what_is_no_picture_touches_no_stored_one(tmp_path: Path, refusal: bytes) -> None:
    left(tmp_path)
    outcome, _ = worked(tmp_path, stored(), lambda asked: refusal)
    assert status(outcome)[0] is not Status.SUCCESS
    assert outcome.blob is None
    assert files(tmp_path) == {NAME: OLD}


def test_a_document_in_the_place_of_a_stored_image_is_not_unfolded(tmp_path: Path) -> None:
    left(tmp_path)
    document = answer(200, "Content-Type: application/json", body=b'{"@context": "http://iiif.io/api/image/2/context.json"}')
    outcome, _ = worked(tmp_path, stored(), lambda asked: document)
    assert outcome.unfolding is None
    assert status(outcome)[0] is not Status.SUCCESS


# What a dead lease has left


def may_be_stored(one: Claim) -> Claim:
    return replace(one, may_be_stored=True)


def never(asked: Asked) -> bytes:
    raise AssertionError("nobody is to be asked")


def test_a_whole_file_that_a_dead_lease_has_left_is_taken_over_without_a_request(tmp_path: Path) -> None:
    left(tmp_path)
    outcome, asked = worked(tmp_path, may_be_stored(claim(1)), never)
    assert outcome.blob is not None
    assert (status(outcome), outcome.adopted, outcome.blob.path, asked) == (GOOD, True, NAME, [])
    assert outcome.blob.sha256 == hashlib.sha256(OLD).digest()


def test_a_file_is_looked_for_only_where_a_dead_lease_may_have_left_one(tmp_path: Path) -> None:
    """And it is not removed: it may be somebody's."""
    left(tmp_path, NAME.replace(".jpg", ".png"), b"theirs")
    outcome, asked = worked(tmp_path, claim(1), lambda asked: jpeg(NEW))
    assert (status(outcome), outcome.adopted, len(asked)) == (GOOD, False, 1)
    assert files(tmp_path) == {NAME: NEW, NAME.replace(".jpg", ".png"): b"theirs"}


def test_what_a_dead_lease_has_left_and_is_no_picture_makes_way_for_what_comes(tmp_path: Path) -> None:
    left(tmp_path, NAME.replace(".jpg", ".png"), b"torn")
    outcome, _ = worked(tmp_path, may_be_stored(claim(1)), lambda asked: jpeg(NEW))
    assert (status(outcome), outcome.adopted) == (GOOD, False)
    assert files(tmp_path) == {NAME: NEW}


def test_the_new_bytes_of_a_stored_image_that_a_dead_lease_has_left_are_taken_over(tmp_path: Path) -> None:
    """Those, and not the stored ones."""
    left(tmp_path)
    left(tmp_path, REVISED, NEW)
    outcome, asked = worked(tmp_path, may_be_stored(stored()), never)
    assert outcome.blob is not None
    assert (outcome.adopted, outcome.blob.path, asked) == (True, REVISED, [])
    assert files(tmp_path) == {NAME: OLD, REVISED: NEW}


# From one request to the next


def two(*urls: str) -> Claim:
    return replace(claim(1), urls=urls)


def test_a_candidate_after_a_chain_of_redirects_has_all_its_hops_and_no_cookies(tmp_path: Path) -> None:
    def answers(asked: Asked) -> bytes:
        number = int(asked.path.rpartition("/")[2].removesuffix(".jpg"))
        if asked.path.startswith("/a") and number == 8:
            return answer(404, "Set-Cookie: way=a")
        if asked.path.startswith("/b") and number == 8:
            return jpeg(NEW)
        return answer(302, f"Location: {asked.path[:2]}/{number + 1}.jpg", "Set-Cookie: way=a; path=/")

    outcome, asked = worked(tmp_path, two(f"http://{HOST}/a/0.jpg", f"http://{HOST}/b/0.jpg"), answers)
    assert (status(outcome), outcome.url_no, outcome.requests) == (GOOD, 1, 18)
    first_of_b = next(one for one in asked if one.path == "/b/0.jpg")
    assert "cookie" not in first_of_b.headers
    assert files(tmp_path) == {NAME: NEW}


def test_what_is_kept_is_the_last_candidate_alone(tmp_path: Path) -> None:
    """The one before had sent much more that was no picture."""
    junk = b"\xff\xd8\xff" + bytes(200_000)
    answers: Callable[[Asked], bytes] = lambda asked: jpeg(junk if asked.path == "/1.jpg" else NEW)  # noqa: E731
    outcome, asked = worked(tmp_path, replace(two(f"http://{HOST}/1.jpg", f"http://{HOST}/2.jpg"), last_attempt=True), answers)
    assert (status(outcome), outcome.url_no, len(asked)) == (GOOD, 1, 2)
    assert files(tmp_path) == {NAME: NEW}


@pytest.mark.parametrize(
    ("first", "second", "expected", "url_no"),
    [
        (answer(404), answer(410), (Status.FAILED_PERMANENT, "http_410"), 1),
        (answer(500), answer(404), (Status.FAILED_TRANSIENT, ErrorType.SERVER_ERROR), 0),
        (answer(404), answer(500), (Status.FAILED_TRANSIENT, ErrorType.SERVER_ERROR), 1),
        (answer(500), answer(429), (Status.FAILED_TRANSIENT, ErrorType.RATE_LIMITED), 0),
    ],
)
def test_which_of_two_failures_is_told(
    tmp_path: Path, first: bytes, second: bytes, expected: tuple[Status, str], url_no: int
) -> None:
    one = two(f"http://{HOST}/1.jpg", f"http://{HOST}/2.jpg")
    outcome, _ = worked(tmp_path, one, lambda asked: first if asked.path == "/1.jpg" else second)
    assert (status(outcome), outcome.url_no) == (expected, url_no)


def test_what_is_passed_on_takes_only_failures_along_that_may_pass(tmp_path: Path) -> None:
    one = two(f"http://{HOST}/1.jpg", "http://other.example.org/2.jpg")
    for code, carried in ((404, None), (500, 500)):
        outcome, _ = worked(tmp_path, one, lambda asked, code=code: answer(code))  # type: ignore[misc]
        assert outcome.move is not None
        assert (outcome.move.url_no, outcome.move.redirect_url, outcome.move.hops) == (1, None, 0)
        assert (outcome.move.failure and outcome.move.failure.code) == carried
        assert outcome.move.refusal is not None
        assert outcome.move.refusal.code == code
