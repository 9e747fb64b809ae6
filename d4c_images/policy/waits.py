"""How long an answer asks its client to wait (`Retry-After`), and how far away a date is that an answer names. Waits for nothing.

A date is measured by the clock of the server that names it, where the answer tells that clock's time (`Date`): with its clock an
hour ahead, a date two seconds ahead is still two seconds away.
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

    The longest, where there are several. 0 where the time has passed already; at most a week, since a mistyped year must not shut a
    host out for ever; None where there is no such header or it cannot be read. `headers` by names in lower case; `now` (unix time)
    is our own clock, for answers that do not tell theirs.
    """
    value = headers.get("retry-after")
    if value is None:
        return None
    waits = [wait_s for one in _NEXT_VALUE.split(value[:1000]) if (wait_s := _wait_s(one.strip(), headers, now)) is not None]
    return min(max(0.0, *waits), MAX_RETRY_AFTER_S) if waits else None


def seconds_until(when: float, headers: Mapping[str, str], now: float) -> float:
    """From the answer's own `Date` until `when` (unix time); negative where that has passed.

    From `now` where there is no such header or it cannot be read, and where it is more than a day off and makes no sense of `when`.
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
    """Of a date as HTTP has it; None where it is none, or one that no calendar has."""
    try:
        parsed = email.utils.parsedate_tz(date)
        if parsed is None:
            return None
        year, month, day, hour, minute, second = parsed[:6]
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp() - (parsed[9] or 0)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
