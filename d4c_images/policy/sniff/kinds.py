"""What bytes may be: an image, camera raw, a page, or none of these. Looks at no bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

ReadAt = Callable[[int, int], bytes]
"""(offset, length) -> the bytes there; fewer, or none, if not available."""


class Kind(StrEnum):
    IMAGE = "image"  # to be decoded
    RAW = "raw"  # camera raw: stored as received
    HTML = "html"
    JSON = "json"
    XML = "xml"
    TEXT = "text"
    EMPTY = "empty"
    OTHER = "other"  # PDF, SVG, audio, video, archives, and unknown formats


@dataclass(frozen=True, slots=True)
class Sniffed:
    kind: Kind
    media_type: str
    extension: str = ""  # without a dot; only of what may be stored
    truncated: bool = False  # surely
    needs_ifd: bool = False  # a TIFF with directories elsewhere: `sniff_tiff` on the file decides
