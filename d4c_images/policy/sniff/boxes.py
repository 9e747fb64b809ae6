"""Boxes of ISO base media files (AVIF, HEIC, CR3, video) and of JP2: which format they are, and whether one is cut. Decodes none.

ISO 14496-12 section 4.2, and 4.3 for the brands.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from d4c_images.policy.sniff.kinds import Kind, ReadAt, Sniffed


def sniff_boxes(head: bytes, size_bytes: int) -> Sniffed | None:
    """ISO base media files: AVIF, HEIC, CR3, video."""
    if head[4:8] != b"ftyp":
        return None
    length = min(int.from_bytes(head[:4], "big"), 512)
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, length, 4))}
    if b"crx " in brands:
        sniffed = Sniffed(Kind.RAW, "image/x-canon-cr3", "cr3")
    elif brands & {b"avif", b"avis"}:
        sniffed = Sniffed(Kind.IMAGE, "image/avif", "avif")
    elif brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        sniffed = Sniffed(Kind.IMAGE, "image/heic", "heic")
    else:
        sound = head[8:11] in (b"M4A", b"M4B")
        return Sniffed(Kind.OTHER, "audio/mp4" if sound else "video/quicktime" if head[8:10] == b"qt" else "video/mp4")
    return replace(sniffed, truncated=boxes_are_cut(head, size_bytes))


@dataclass(frozen=True, slots=True)
class IsoBox:
    """A box of an ISO base media file or a JP2."""

    kind: bytes
    start: int  # of its content
    end: int


_BOX_KIND = re.compile(rb"[A-Za-z0-9 ]{4}|\xa9[A-Za-z]{3}")
TOP_BOXES = frozenset(
    (
        *(b"ftyp", b"meta", b"mdat", b"moov", b"moof", b"mfra", b"free", b"skip", b"wide", b"uuid", b"pdin", b"styp", b"sidx"),
        *(b"jP  ", b"jp2h", b"jp2c", b"jp2i", b"xml ", b"asoc", b"res ", b"mpvd", b"sefd"),
    )
)


def boxes_of(read_at: ReadAt, at: int, end: int) -> Iterator[IsoBox]:
    """The boxes from `at` to `end`. The last one may extend beyond that, if the file is cut. Stops at whatever is not a box."""
    while at + 8 <= end:
        header = read_at(at, 16)
        length, kind, start = int.from_bytes(header[:4], "big"), header[4:8], at + 8
        if length == 1:
            length, start = int.from_bytes(header[8:16], "big"), at + 16
        if not _BOX_KIND.fullmatch(kind) or (length and length < start - at):
            return
        box = IsoBox(kind, start, at + length if length else end)
        yield box
        at = box.end


def top_boxes(read_at: ReadAt, size_bytes: int) -> Iterator[IsoBox]:
    """The boxes of a file, up to the first of an unknown kind: anything may follow the end."""
    return itertools.takewhile(lambda box: box.kind in TOP_BOXES, boxes_of(read_at, 0, size_bytes))


def boxes_are_cut(head: bytes, size_bytes: int) -> bool:
    """Whether a box extends beyond the end of the file."""
    return any(box.end > size_bytes for box in top_boxes(lambda at, length: head[at : at + length], size_bytes))
