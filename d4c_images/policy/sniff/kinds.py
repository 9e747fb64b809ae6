"""What bytes may be: an image, a camera's raw file, a page, or none of these. Looks at no bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

ReadAt = Callable[[int, int], bytes]
"""(offset, length) -> the bytes there; fewer, or none, where they are not at hand."""


class Kind(StrEnum):
    IMAGE = "image"  # to be decoded
    RAW = "raw"  # a camera's own format: kept as it came
    HTML = "html"
    JSON = "json"
    XML = "xml"
    TEXT = "text"
    EMPTY = "empty"
    OTHER = "other"  # PDF, SVG, sound, film, archives, and what nobody knows


@dataclass(frozen=True, slots=True)
class Sniffed:
    kind: Kind
    media_type: str
    extension: str = ""  # without a dot; only of what may be kept
    truncated: bool = False  # surely
    needs_ifd: bool = False  # a TIFF whose directories lie elsewhere: `sniff_tiff` on the file has the last word
