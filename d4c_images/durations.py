"""Parses and formats durations, times, sizes and counts as people write them. Reads no clock: `now` is a parameter."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from d4c_images.errors import UsageError

_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d\d)(?::(\d\d))?", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i)?)?b?", re.ASCII | re.IGNORECASE)


def parse_span(text: str) -> float:
    """Seconds of `11h30m`, `2d`, `90m`, `45s`, `3600`, and of the schedulers' `11:30:00` and `1-12:00:00`.

    Two clock numbers are hours and minutes, as in SGE's and Slurm's day form. Raises `UsageError`.
    """
    text = text.strip().lower()
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return float(days * 86400 + hours * 3600 + minutes * 60 + seconds)
    span = _SPAN.fullmatch(text)
    if not span or not text:
        raise UsageError(f"invalid duration '{text}': use e.g. 11h30m, 90m, 45s or 11:30:00")
    days_s, hours_s, minutes_s, seconds_s = span.groups()
    return int(days_s or 0) * 86400 + int(hours_s or 0) * 3600 + int(minutes_s or 0) * 60 + float(seconds_s or 0)


def parse_moment(text: str, now: datetime) -> datetime:
    """The time of `18:30` (the next time the clock shows it) or of an ISO date and time; local time. Raises `UsageError`.

    If the clock shows it twice, because it is set back, it is the first of them still to come.
    """
    text = text.strip()
    if re.fullmatch(r"\d{1,2}:\d\d", text, re.ASCII):
        try:
            hour, minute = map(int, text.split(":"))
            today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        except ValueError:
            raise UsageError(f"invalid time of day '{text}'") from None
        return _next(today, now) or today + timedelta(days=1)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"invalid time '{text}': use e.g. 18:30 or 2027-01-31T18:30") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=now.tzinfo)
    coming = _next(moment, now)
    if coming is None:
        raise UsageError(f"the time '{text}' is in the past")
    return coming


def _next(shown: datetime, now: datetime) -> datetime | None:
    """The first time after `now` at which the clock shows this; None if it will not show it again.

    A time skipped when the clock is set forward is taken as the same length of time after midnight.
    """
    first, second = shown.replace(fold=0), shown.replace(fold=1)
    for one in (first, second) if first.timestamp() < second.timestamp() else (first,):
        if one.timestamp() > now.timestamp():
            return one
    return None


def parse_size(text: str) -> int:
    """Bytes of `1048576`, `500M` and `2GB` (powers of 1000, as in `show_size`), `2GiB` and `2Gi` (1024). Raises `UsageError`."""
    size = _SIZE.fullmatch(text.strip())
    if not size:
        raise UsageError(f"invalid size '{text}': use e.g. 500M or 2G")
    base = 1024 if size[3] else 1000
    return round(float(size[1]) * float(base ** " kmgt".index((size[2] or " ").lower())))


def show_span(seconds: float) -> str:
    """`3 d 4 h`, `2 h 05 min`, `3 min 20 s`, `12 s`: two units at most."""
    whole = max(0, round(seconds))
    if whole >= 86400:
        return f"{whole // 86400} d {whole % 86400 // 3600} h"
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole} s"


def show_size(size_bytes: float) -> str:
    """`1.4 GB`, powers of 1000, as disks are sold and quotas are set."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size_bytes) < 999.5:
            return f"{size_bytes:.0f} {unit}" if unit == "B" or size_bytes >= 99.5 else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def show_moment(unix_time: float) -> str:
    """`2026-11-30T18:40:01+01:00`: ISO 8601, local time with its offset, in whole seconds."""
    return datetime.fromtimestamp(int(unix_time)).astimezone().isoformat()


def show_clock(unix_time: float, now: float) -> str:
    """As `show_moment`, without the date if that is today: `18:40:01+01:00`."""
    moment = show_moment(unix_time)
    date, _, time_of_day = moment.partition("T")
    return time_of_day if date == show_moment(now).partition("T")[0] else moment


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """`1 host`, `2,500 hosts`, `0 hosts`; the plural if it is not the noun with an `s`: `counted(2, "entry", "entries")`."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"
