"""Waits that a host names: how long they are."""

from __future__ import annotations

import pytest

from d4c_images.waits import MAX_RETRY_AFTER_S, retry_after_s

NOW = 784111777.0 - 60  # a minute before RFC 9110's example date


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
def test_retry_after(value: str, wait_s: float | None) -> None:
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
