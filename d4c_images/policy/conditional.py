"""Conditional requests: asks whether a stored image has changed. Pure: sends nothing.

RFC 9110, sections 8.8 (validators), 13.1.2 and 13.1.3 (conditions), 15.4.5 (304).
"""

from __future__ import annotations

from d4c_images.model import Stored

MOST_CHARACTERS = 1000  # of a validator: servers take some 8 KB of headers


def condition(stored: Stored) -> tuple[str, ...]:
    """Headers that ask for a body only if it has changed; empty without validators.

    Both are sent if both are known: a server that knows ETags ignores the date.
    """
    said = (("If-None-Match", stored.etag), ("If-Modified-Since", stored.last_modified))
    return tuple(f"{name}: {value}" for name, value in said if value and _can_be_sent(value))


def _can_be_sent(value: str) -> bool:
    """A server may have sent anything under that name."""
    return len(value) <= MOST_CHARACTERS and value.isascii() and value.isprintable()
