"""The result of reading a file to its end, for any format. Its texts become `error_detail`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    width: int | None = None  # of the main picture as stored, whatever its orientation
    height: int | None = None
    oddity: str | None = None
    unread: str | None = None  # why a part of it was not decoded


def only_first(n: int) -> str:
    return f"not decoded: what follows the first {n} pictures"


def from_picture(number: int) -> str:
    """`number` counts from 0."""
    return f"not decoded: picture {number + 1} of this file, and what follows it"


def too_large(size: tuple[int, int], need_bytes: int, most_bytes: int) -> str:
    return f"not decoded: {size[0]} x {size[1]} pixels take {need_bytes // 1_000_000} MB, more than {most_bytes // 1_000_000}"
