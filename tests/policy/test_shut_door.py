"""The table: status class, the same page, pictures before or between, signs. And what tells one page from another."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest

from d4c_images.model import ErrorType, Reply, Sign, Status, Turn, Verdict
from d4c_images.policy import page_signs
from d4c_images.policy.judge import CodePolicy, judge
from d4c_images.policy.shut_door import (
    SIGNED,
    SIGNED_AT_FIRST,
    SUSPECTS_KEPT,
    UNSIGNED,
    Answer,
    AnswerKind,
    Door,
    in_words,
    kind_of,
    names_picture,
    page_of,
)
from d4c_images.worker.lanes import Lane, OpenTurn

SIGNS = Path(__file__).parents[1] / "tables" / "signs.tsv"
ROWS = [line.split("\t") for line in SIGNS.read_text(encoding="utf-8").splitlines()[1:]]


@pytest.mark.parametrize(("wanted", "text"), ROWS, ids=[text[:40] for _, text in ROWS])
def test_signs_in_texts(wanted: str, text: str) -> None:
    assert page_signs.in_text(text) == (Sign(wanted) if wanted else None)


def test_a_long_page_may_speak_of_anything() -> None:
    assert page_signs.in_text("Quercus robur " + 200 * "label " + "protected by captcha") is None
    assert page_signs.in_text("Just a moment... " + 200 * "label ") == Sign.BOT_CHECK


@pytest.mark.parametrize(
    ("headers", "sign"),
    [
        ({"cf-mitigated": "challenge"}, Sign.BOT_CHECK),
        ({"x-amzn-waf-action": "captcha"}, Sign.BOT_CHECK),
        ({"x-vercel-mitigated": "deny"}, Sign.BLOCKED),
        ({"server": "cloudflare", "cf-ray": "8f1"}, None),
        ({"cf-mitigated": ""}, None),
    ],
)
def test_signs_in_headers(headers: dict[str, str], sign: Sign | None) -> None:
    assert page_signs.in_headers(headers) == sign


def test_a_certain_sign_fails_no_image_for_good() -> None:
    reply = Reply(403, "http://a/", "http://a/", {"cf-mitigated": "challenge"}, head=b"<html>no", tail=b"<html>no", size_bytes=8)
    verdict = judge(reply, CodePolicy(), 0.0)
    assert (verdict.status, verdict.error_type, verdict.sign) == (Status.FAILED_TRANSIENT, "http_403", Sign.BOT_CHECK)
    assert (verdict.host_trouble, verdict.try_next) == (True, False)


# Status class, sign: how many in a row show that the host is shut, where it has never given a picture and where it has.
TABLE = [
    (403, None, UNSIGNED, UNSIGNED),
    (401, None, UNSIGNED, UNSIGNED),
    (451, None, UNSIGNED, UNSIGNED),
    (200, None, None, UNSIGNED),
    (404, None, None, None),
    (410, None, None, None),
    (404, Sign.BOT_CHECK, UNSIGNED, UNSIGNED),
    (403, Sign.BOT_CHECK, SIGNED_AT_FIRST, SIGNED),
    (200, Sign.BOT_CHECK, SIGNED_AT_FIRST, SIGNED),
    (503, Sign.MAINTENANCE, SIGNED_AT_FIRST, SIGNED),
    (200, Sign.QUOTA, SIGNED_AT_FIRST, SIGNED),
    (429, Sign.QUOTA, UNSIGNED, UNSIGNED),
    (200, Sign.LOG_IN, UNSIGNED, SIGNED),
    (403, Sign.TERMS, UNSIGNED, SIGNED),
]


def answer(image_id: int, code: int, sign: Sign | None = None, text: str = "No access") -> Answer:
    error = ErrorType.INVALID_CONTENT_TYPE if code == 200 else ErrorType.SERVER_ERROR if code >= 500 else f"http_{code}"
    return Answer(image_id, 0, code, Verdict(Status.FAILED_PERMANENT, error, text, sign=sign))


def test_a_page_for_what_its_url_calls_a_picture_is_no_answer_about_an_image() -> None:
    """Also of a host that has never given one; by other URLs, pages are what is there."""
    for of_picture, n in ((True, UNSIGNED), (False, None)):
        door = Door(has_given=False)
        shut = [door.met(answer(at, 200)._replace(is_of_picture=of_picture), 1000.0) for at in range(1, 200)]
        assert (shut.index(True) + 1 if True in shut else None) == n


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("http://a.org/1.jpg", True),
        ("http://a.org/1.JPEG?size=large", True),
        ("https://a.org/x/y.tif#top", True),
        ("http://a.org/specimen/17", False),
        ("http://a.org/show.php?file=1.jpg", False),
        ("http://a.org/1.jpg/view", False),
        ("http://jpg.org/", False),
        ("http://a.org/1.html", False),
    ],
)
def test_which_urls_name_pictures(url: str, names: bool) -> None:
    assert names_picture(url) is names


def met(door: Door, first: int, n: int, code: int, sign: Sign | None = None, text: str = "No access") -> int | None:
    """After how many pages the host is shut."""
    return next((at + 1 for at in range(n) if door.met(answer(first + at, code, sign, text), 1000.0)), None)


@pytest.mark.parametrize(("code", "sign", "never", "before"), TABLE)
def test_how_many_in_a_row(code: int, sign: Sign | None, never: int | None, before: int | None) -> None:
    assert met(Door(has_given=False), 1, 500, code, sign) == never
    assert met(Door(has_given=True), 1, 500, code, sign) == before


@pytest.mark.parametrize(("code", "sign"), [(403, None), (200, None), (403, Sign.BOT_CHECK), (200, Sign.LOG_IN)])
def test_a_page_between_pictures_is_about_images(code: int, sign: Sign | None) -> None:
    """And then only a row that is longer than any of missing images shows that the host is shut."""
    door, image_id = Door(has_given=True), 0
    for _ in range(100):
        for _ in range(2):
            image_id += 1
            assert not door.met(answer(image_id, code, sign), 1000.0)
        door.picture()
    assert door.is_mixed
    assert met(door, image_id, 500, code, sign) == 101
    assert len(door.suspects) == SUSPECTS_KEPT


def test_the_same_image_again_is_no_other_image() -> None:
    door = Door(has_given=True)
    assert not any(door.met(answer(1, 403), 1000.0) for _ in range(50))


def test_late_pictures_hide_nothing() -> None:
    """Those that were under way when the host was shut come between its first pages."""
    door = Door(has_given=True)
    for image_id in range(1, 7):
        assert not door.met(answer(image_id, 403), 1000.0)
        door.picture()
    assert met(door, 7, 50, 403) == UNSIGNED
    assert len(door.suspects) == 6 + UNSIGNED


@pytest.mark.parametrize(
    ("one", "other", "is_like"),
    [
        ((403, "Access Denied id 17"), (403, "Access Denied id 4711"), True),
        ((403, "<Code>AccessDenied</Code><Id>0A1B2C</Id>"), (403, "<Code>AccessDenied</Code><Id>FF00</Id>"), True),
        ((403, "/media/quercus_robur.jpg is forbidden"), (403, "/media/abies_alba.jpg is forbidden"), True),
        ((403, "Sorry, abies.jpg is not for you"), (403, "Sorry, quercus.jpg is not for you"), True),
        ((403, "Forbidden"), (200, "Forbidden"), False),
        ((403, "Forbidden"), (401, "Forbidden"), True),
        ((403, "You may not see this picture of a beetle"), (403, "Come back after the museum has opened its doors"), False),
        ((403, None), (403, None), True),
        ((403, None), (403, "Forbidden"), False),
        ((403, "with a body of image/png, 912 bytes"), (403, "with a body of image/png, 7 bytes"), False),
        ((299, None), (300, None), False),
        ((300, None), (301, None), True),
        ((299, "Forbidden"), (300, "Forbidden"), False),
        ((200, "Quercus robur L. Herbarium sheet of Smith"), (200, "Abies alba Mill. Herbarium sheet taken by Jones"), False),
    ],
)  # fmt: skip
def test_which_pages_are_alike(one: tuple[int, str | None], other: tuple[int, str | None], is_like: bool) -> None:
    assert page_of(*one).is_like(page_of(*other)) is is_like


@pytest.mark.parametrize(
    ("code", "verdict", "kind"),
    [
        (200, Verdict(Status.SUCCESS), AnswerKind.PICTURE),
        (403, Verdict(Status.FAILED_PERMANENT, "http_403"), AnswerKind.PAGE),
        (200, Verdict(Status.FAILED_PERMANENT, ErrorType.INVALID_CONTENT_TYPE), AnswerKind.PAGE),
        (403, Verdict(Status.FAILED_TRANSIENT, ErrorType.RATE_LIMITED), AnswerKind.NEITHER),
        (429, Verdict(Status.FAILED_TRANSIENT, ErrorType.RATE_LIMITED, sign=Sign.QUOTA), AnswerKind.PAGE),
        (429, Verdict(Status.FAILED_TRANSIENT, ErrorType.RATE_LIMITED, sign=Sign.BOT_CHECK), AnswerKind.PAGE),
        (503, Verdict(Status.FAILED_TRANSIENT, ErrorType.SERVER_ERROR), AnswerKind.NEITHER),
        (503, Verdict(Status.FAILED_TRANSIENT, ErrorType.SERVER_ERROR, sign=Sign.MAINTENANCE), AnswerKind.PAGE),
        (-1, Verdict(Status.FAILED_TRANSIENT, ErrorType.TIMEOUT), AnswerKind.NEITHER),
        (200, Verdict(Status.FAILED_PERMANENT, ErrorType.NOT_AN_IMAGE), AnswerKind.NEITHER),
        (200, Verdict(Status.FAILED_PERMANENT, ErrorType.ROBOTS_TAG), AnswerKind.NEITHER),
    ],
)
def test_what_counts_as_a_page(code: int, verdict: Verdict, kind: AnswerKind) -> None:
    assert kind_of(code, verdict) is kind


def test_a_host_that_opens_soon_may_have_been_open_all_the_time() -> None:
    """The next row has to be longer; if the host was shut for long, the count starts over."""
    door = Door(has_given=True)
    assert met(door, 1, 50, 403) == UNSIGNED
    door.picture()
    assert not door.is_shut
    assert met(door, 100, 50, 403) == 3 * UNSIGNED
    door.n_probes = 5
    door.picture()
    assert met(door, 200, 50, 403) == UNSIGNED


@pytest.mark.parametrize("sign", [None, *Sign])
def test_one_sentence_says_what_it_says_and_what_helps(sign: Sign | None) -> None:
    door = Door(has_given=True)
    met(door, 1, 10, 403, sign, "Words " * 100)
    sentence = in_words(door, "a.org")
    assert sentence.startswith("it ")
    assert '(http 403: "Words Words' in sentence
    assert sentence.endswith("`hosts resume a.org` retries it at once")
    assert len(sentence) < 400


@pytest.mark.parametrize(
    ("code", "sign", "gives_back"),
    [(403, None, True), (403, Sign.BOT_CHECK, True), (404, None, False), (200, None, False), (200, Sign.LOG_IN, True)],
)
def test_a_worker_gives_the_rest_of_a_turn_back_once_in_a_row(code: int, sign: Sign | None, gives_back: bool) -> None:
    """It does not decide; it asks no more until the steward has."""
    lane = Lane(("a.org", 0), None)  # type: ignore[arg-type]
    verdict = answer(1, code, sign).verdict
    page, picture = "http://a.org/1", "http://a.org/1.jpg"
    assert [lane.has_met_page(code, verdict, page) for _ in range(30)].count(True) == gives_back
    lane.jobs = [OpenTurn(Turn(1, "a.org", 0, 1, 0.0, 0.0, ()), deque())]
    lane.has_got_picture(0.1)
    assert [lane.has_met_page(code, verdict, page) for _ in range(30)].count(True) == (gives_back or code == 200)
    lane = Lane(("a.org", 0), None)  # type: ignore[arg-type]
    assert [lane.has_met_page(code, verdict, picture) for _ in range(30)].count(True) == (gives_back or code == 200)


# At the boundaries


@pytest.mark.parametrize(
    ("code", "kind"), [(399, AnswerKind.NEITHER), (400, AnswerKind.PAGE), (499, AnswerKind.PAGE), (500, AnswerKind.NEITHER)]
)
def test_which_codes_refuse(code: int, kind: AnswerKind) -> None:
    assert kind_of(code, Verdict(Status.FAILED_PERMANENT, f"http_{code}")) is kind


@pytest.mark.parametrize(("code", "n"), [(299, None), (300, UNSIGNED), (400, UNSIGNED)])
def test_a_page_that_is_no_good_answer_promises_nothing_and_is_counted_all_the_same(code: int, n: int | None) -> None:
    assert met(Door(has_given=False), 1, 50, code) == n


def test_stored_images_show_that_a_host_is_shut_and_are_none_that_could_come_back() -> None:
    door = Door(has_given=True)
    shut = [door.met(answer(at, 403)._replace(is_stored=at % 2 == 0), 1000.0) for at in range(1, UNSIGNED + 1)]
    assert shut[-1]
    assert [suspect.image_id for suspect in door.suspects] == list(range(1, UNSIGNED + 1, 2))


@pytest.mark.parametrize(("n_probes", "has_been_open"), [(0, True), (2, True), (3, False)])
def test_how_soon_a_host_must_open_to_have_been_open_all_the_time(n_probes: int, has_been_open: bool) -> None:
    """Then its row counts as one of missing images: the images of it are not failed anew, and the next row must be longer."""
    door = Door(has_given=True)
    met(door, 1, 50, 403)
    door.n_probes = n_probes
    assert len(door.suspects) == UNSIGNED
    door.picture()
    assert not door.is_shut
    assert (door.n_rows, door.longest) == ((1, UNSIGNED) if has_been_open else (0, 0))
    assert not door.suspects
    assert (door.page is None) is not has_been_open


def test_another_page_begins_another_row_with_other_images() -> None:
    door = Door(has_given=True)
    met(door, 1, UNSIGNED - 1, 403)
    assert met(door, 50, 1, 403, text="The museum is closed today because of a storm") is None
    assert (door.n_row, [suspect.image_id for suspect in door.suspects]) == (1, [50])


@pytest.mark.parametrize(
    ("code", "sign", "text", "is_about_images"),
    [
        (200, None, "This sheet is on loan to another herbarium", True),
        (404, None, "There is no such picture in here", True),
        (410, None, "There is no such picture in here", True),
        (403, None, "You may not see this one of all pictures", False),
        (500, None, "Something is broken on our side", False),
        (200, None, "No access", True),
        (404, Sign.BOT_CHECK, "Please show that you are human", False),
        (200, Sign.LOG_IN, "Please log in to see this very sheet", True),
        (403, None, "No access", False),
    ],
)
def test_what_a_shut_host_says_of_an_image(code: int, sign: Sign | None, text: str, is_about_images: bool) -> None:
    """A bot check in another guise says nothing of any."""
    door = Door(has_given=True)
    met(door, 1, 50, 403)
    assert door.is_about_images(answer(99, code, sign, text)) is is_about_images


def test_the_longest_row_counts_and_not_the_latest() -> None:
    door, image_id = Door(has_given=True), 0
    for n in (5, 2):
        for _ in range(n):
            image_id += 1
            assert not door.met(answer(image_id, 403), 1000.0)
        door.picture()
    assert (door.n_rows, door.longest, door.n_row) == (2, 5, 0)
    assert met(door, 100, 50, 403) == 15


@pytest.mark.parametrize("n_shared", [7, 8])
def test_how_many_words_make_two_pages_alike(n_shared: int) -> None:
    words = ["oak", "elm", "ash", "fir", "yew", "box", "fig", "bay", "gum", "may"]
    others = [*words[:n_shared], *("red", "blue", "green")[: 10 - n_shared]]
    assert page_of(403, " ".join(words)).is_like(page_of(403, " ".join(others))) is (n_shared == 8)


@pytest.mark.parametrize(("code", "n"), [(429, UNSIGNED), (500, UNSIGNED), (503, UNSIGNED), (403, SIGNED)])
def test_a_quota_that_may_be_one_of_pace_is_no_shut_door_at_once(code: int, n: int) -> None:
    assert met(Door(has_given=True), 1, 50, code, Sign.QUOTA) == n


def test_a_door_is_remembered_from_the_second_page_on_that_could_show_it_shut() -> None:
    door = Door(has_given=True)
    kept = [door.is_to_keep]
    for image_id in (1, 2):
        door.met(answer(image_id, 403), 1000.0)
        kept.append(door.is_to_keep)
    assert kept == [False, False, True]
    missing = Door(has_given=True)
    for image_id in range(20):
        missing.met(answer(image_id, 404), 1000.0)
    assert not missing.is_to_keep, "it never could"
