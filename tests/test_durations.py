import time
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from d4c_images.durations import counted, parse_moment, parse_size, parse_span, show_clock, show_moment, show_size, show_span
from d4c_images.errors import UsageError

NOW = datetime(2026, 11, 21, 14, 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("11h30m", 41_400), ("90m", 5400), ("45s", 45), ("45", 45), ("3600", 3600), ("2d", 172_800), ("1d2h3m4s", 93_784),
        ("0.5s", 0.5), ("11:30:00", 41_400), ("0:00:05", 5), ("1-12:00:00", 129_600), ("1-02:03:04", 93_784), ("2:05", 7500),
    ],
)  # fmt: skip
def test_a_span_is_parsed_to_seconds(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "11h30", "1h1h", "-5m", "1:2:3:4", "5 minutes", "٣m"])
def test_a_text_that_is_no_span_is_refused(text: str) -> None:
    if text == "11h30":
        assert parse_span(text) == 39_630  # 11 h and 30 s, as written
        return
    with pytest.raises(UsageError, match="invalid duration"):
        parse_span(text)


def test_a_time_of_day_is_the_next_one() -> None:
    assert parse_moment("18:30", NOW) == datetime(2026, 11, 21, 18, 30)
    assert parse_moment("06:00", NOW) == datetime(2026, 11, 22, 6, 0)
    assert parse_moment("2027-01-31T18:30", NOW) == datetime(2027, 1, 31, 18, 30)


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("now", "text", "wanted"),  # all in UTC but the text: clocks go from 03:00 back to 02:00 at 01:00 UTC
    [
        ("2026-10-25T00:30", "02:45", "2026-10-25T00:45"),  # 02:30, the first time
        ("2026-10-25T00:50", "02:15", "2026-10-25T01:15"),  # 02:50, the first time: 02:15 comes again
        ("2026-10-25T01:10", "02:45", "2026-10-25T01:45"),  # 02:10, the second time
        ("2026-10-25T01:50", "02:15", "2026-10-26T01:15"),  # 02:50, the second time
        ("2026-10-25T01:10", "2026-10-25T02:45", "2026-10-25T01:45"),
        ("2026-10-25T00:50", "2026-10-25T02:15", "2026-10-25T01:15"),
        ("2026-10-25T00:10", "2026-10-25T02:15:00+01:00", "2026-10-25T01:15"),
        ("2026-10-24T20:00", "02:15", "2026-10-25T00:15"),
        ("2026-10-24T00:20", "02:15", "2026-10-25T00:15"),
        # ... and from 02:00 to 03:00 at 01:00 UTC
        ("2027-03-27T20:00", "02:30", "2027-03-28T01:30"),
        ("2027-03-27T02:00", "02:30", "2027-03-28T01:30"),
        ("2027-03-28T00:30", "02:30", "2027-03-28T01:30"),
        ("2027-03-28T00:30", "2027-03-28T02:30", "2027-03-28T01:30"),
        ("2027-03-28T01:10", "03:30", "2027-03-28T01:30"),
        ("2027-03-28T02:00", "02:30", "2027-03-29T00:30"),
    ],
)
@pytest.mark.parametrize("is_naive", [True, False])
def test_when_clocks_are_set(now: str, text: str, wanted: str, is_naive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the machine's clock, too: `datetime.now()` has no zone."""
    moment = datetime.fromisoformat(f"{now}:00Z")
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Berlin")
        time.tzset()
        here = datetime.fromtimestamp(moment.timestamp(), None if is_naive else BERLIN)
        found = parse_moment(text, here).timestamp()
    time.tzset()
    assert datetime.fromtimestamp(found, UTC).isoformat() == f"{wanted}:00+00:00"


def test_what_the_clock_has_shown_twice_is_in_the_past() -> None:
    with pytest.raises(UsageError, match="in the past"):
        parse_moment("2026-10-25T02:15", datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN))


@pytest.mark.parametrize("text", ["25:00", "tomorrow", "2020-01-01T00:00", ""])
def test_a_text_that_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_moment(text, NOW)


def test_sizes_are_decimal_unless_they_say_binary() -> None:
    """Decimal, as quotas are set and as `show_size` shows them; binary only if it says so."""
    decimal = {"1048576": 1048576, "512B": 512, "500M": 500_000_000, "20G": 20_000_000_000, "2GB": 2e9, "1.5k": 1500, "1 T": 10**12}
    binary = {"3MiB": 3 * 1024**2, "1kib": 1024, "2Gi": 2 * 1024**3, "1.5KiB": 1536, "1TiB": 1024**4}
    exact = {"4.35G": 4_350_000_000, "1.1k": 1100, "0.29M": 290_000}
    expected = decimal | binary | exact
    assert {text: parse_size(text) for text in expected} == expected


@pytest.mark.parametrize("text", ["big", "", "2iB", "2i", "-1G", "2GG", "1e9", "²G", "G"])
def test_a_text_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


def test_shown_in_two_units_at_most() -> None:
    assert [show_span(s) for s in (0, 59.6, 200, 7500, 273_600)] == ["0 s", "1 min 00 s", "3 min 20 s", "2 h 05 min", "3 d 4 h"]
    assert [show_size(s) for s in (512, 1400, 999_999, 1.44e9, 6e12)] == ["512 B", "1.4 kB", "1.0 MB", "1.4 GB", "6.0 TB"]
    assert [show_size(s) for s in (6, 999, 1000, 99_499, 99_500, 2e8)] == ["6 B", "999 B", "1.0 kB", "99.5 kB", "100 kB", "200 MB"]


def test_a_unit_begins_where_the_one_below_it_ends() -> None:
    assert [show_span(s) for s in (59, 60, 3599, 3600, 86399, 86400)] == [
        "59 s", "1 min 00 s", "59 min 59 s", "1 h 00 min", "23 h 59 min", "1 d 0 h",
    ]  # fmt: skip


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_a_moment_is_shown_in_iso_8601_with_the_offset_of_its_own_day() -> None:
    winter, summer = (datetime(2026, month, 30, 12, 0, 1, 999_000, tzinfo=UTC).timestamp() for month in (11, 7))
    assert show_moment(winter) == "2026-11-30T13:00:01+01:00"
    assert show_moment(summer) == "2026-07-30T14:00:01+02:00"
    assert datetime.fromisoformat(show_moment(winter)).timestamp() == int(winter)


@pytest.mark.usefixtures("berlin")
def test_a_moment_of_today_is_shown_without_its_date() -> None:
    now = datetime(2026, 11, 30, 12, 0, tzinfo=UTC).timestamp()
    assert show_clock(now + 60, now) == "13:01:00+01:00"
    assert show_clock(now + 11 * 3600, now) == "2026-12-01T00:00:00+01:00"


def test_a_count_has_its_noun_in_the_right_number() -> None:
    assert [counted(n, "host") for n in (0, 1, 2, 2500)] == ["0 hosts", "1 host", "2 hosts", "2,500 hosts"]
    assert [counted(n, "retry", "retries") for n in (1, 2)] == ["1 retry", "2 retries"]
