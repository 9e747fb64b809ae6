"""How long an answer asks its client to wait (`Retry-After`), and how far away a date in an answer is. Waits for nothing.

A date is measured by the clock of the server that sends it, if the answer has that clock's time (`Date`): if its clock is an hour
ahead, a date two seconds ahead of it is still two seconds away.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping
from datetime import UTC, datetime

MAX_RETRY_AFTER_S = 7 * 86400.0
MOST_CLOCK_ERROR_S = 86400.0

_SECONDS = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_NEXT_VALUE = re.compile(r",\s*(?=[A-Za-z]+,|-?[0-9]+(?:\.[0-9]+)?\s*(?:,|\Z))")  # not the comma within a date


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that `Retry-After` asks to wait (RFC 9110 section 10.2.3: seconds, or a date in any of three forms).

    The longest, if there are several. 0 if the time has passed already; at most a week, since a mistyped year must not block a host
    for ever; None if there is no such header or it cannot be parsed. `headers` by lower-case names; `now` (unix time) is our own
    clock, for answers without a `Date`.
    """
    value = headers.get("retry-after")
    if value is None:
        return None
    waits = [wait_s for one in _NEXT_VALUE.split(value[:1000]) if (wait_s := _wait_s(one.strip(), headers, now)) is not None]
    return min(max(0.0, *waits), MAX_RETRY_AFTER_S) if waits else None


def seconds_until(when: float, headers: Mapping[str, str], now: float) -> float:
    """From the answer's own `Date` until `when` (unix time); negative if that has passed.

    From `now` if there is no such header, if it cannot be parsed, or if it is more than a day off and makes nonsense of `when`.
    """
    date = _unix_time(headers.get("date", ""))
    if date is None:
        return when - now
    is_sensible = abs(date - now) <= MOST_CLOCK_ERROR_S or 0.0 <= when - date <= MAX_RETRY_AFTER_S
    return when - date if is_sensible else when - now


def _wait_s(value: str, headers: Mapping[str, str], now: float) -> float | None:
    if _SECONDS.fullmatch(value):
        return float(value)
    date = _unix_time(value)
    return None if date is None else seconds_until(date, headers, now)


def _unix_time(date: str) -> float | None:
    """From an HTTP date; None if it is not one, or does not exist in the calendar."""
    try:
        parsed = email.utils.parsedate_tz(date)
        if parsed is None:
            return None
        year, month, day, hour, minute, second = parsed[:6]
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp() - (parsed[9] or 0)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
