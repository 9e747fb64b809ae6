"""What a reader has seen in a file, and what it raises as soon as it can read no further."""

from __future__ import annotations

from dataclasses import dataclass


class Broken(Exception):
    """The format itself shows that something is wrong here."""


@dataclass(frozen=True, slots=True)
class Seen:
    picture: str | None = None
    side: str | None = None
    trace: str | None = None


def need(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)
