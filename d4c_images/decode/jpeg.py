"""Reads a JPEG to its end and reports libjpeg's warnings, which Pillow ignores (docs/adr/0016). Keeps no picture.

A JPEG is decoded at 1/8 scale: the whole entropy stream is read at a quarter of the cost. If it has several scans, as a progressive
one does, libjpeg keeps all coefficients, two bytes each: then memory is proportional to the pixels.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import simplejpeg

from d4c_images.decode.faults import Damaged, NoPicture, Unread, counted
from d4c_images.decode.mapped import MAPPED_BYTES, FileBytes
from d4c_images.policy.sniff import START_OF_SCAN, start_of_scan, top_boxes

# libjpeg's warnings about damaged picture data. Undamaged pictures have its other warnings: bytes before a marker (drones,
# scanners), an unknown version of JFIF, a bad ICC profile.
_DAMAGE = re.compile(r"premature end|bad huffman code|bad arithmetic code|instead of RST", re.IGNORECASE)
_BYTES_LEFT = re.compile(r"([0-9]+) extraneous bytes before marker 0xd[0-9]")  # a restart or the end: after picture data
_HOLE = re.compile(rb"\0{1024}\0*+(?!\xff)")
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_USUAL = frozenset({0xC0, 0xC1, 0xC2})  # the others are lossless, hierarchical or arithmetic-coded
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_START, _END, _COMMENT = 0xD8, 0xD9, 0xFE
_NEXT_PICTURE = re.compile(rb"\0*+(?=\xff\xd8\xff)")
_METADATA = frozenset({*range(0xE1, 0xEE), 0xEF, _COMMENT})  # except JFIF's and Adobe's, which define the colours


@dataclass(frozen=True, slots=True)
class Frame:
    """The headers before the first scan."""

    width: int
    height: int
    coefficients: int  # of all components together
    components: int
    is_progressive: bool
    n_scanned: int  # components in the first scan
    is_usual: bool  # of a kind that libjpeg decodes

    def need_bytes(self, pixels: int) -> int:
        """Memory for a decode at 1/8 scale."""
        in_one_scan = not self.is_progressive and self.n_scanned == self.components
        return pixels // 16 + (0 if in_one_scan else 2 * self.coefficients)


def frame_of(body: FileBytes) -> Frame | None:
    """None if there is none before the first scan: such a file cannot be decoded."""
    frame, n_scanned = None, b""
    for marker, start, end in _segments(body, 2):
        if marker in _FRAMES and frame is None:
            frame = marker, body[start + 2 : end]
        elif marker == START_OF_SCAN:
            n_scanned = body[start + 2 : start + 3]
            break
    if frame is None or not n_scanned or len(frame[1]) < 6 or len(frame[1]) < 6 + 3 * frame[1][5]:
        return None
    marker, said = frame
    factors = [(said[at] >> 4, said[at] & 15) for at in range(7, 6 + 3 * said[5], 3)]
    widest, highest = max((x for x, _ in factors), default=1) or 1, max((y for _, y in factors), default=1) or 1
    rows, columns = (-(-int.from_bytes(said[at : at + 2], "big") // 8) for at in (1, 3))
    blocks = sum((x - (-columns * x // widest)) * (y - (-rows * y // highest)) for x, y in factors)
    height, width = (int.from_bytes(said[at : at + 2], "big") for at in (1, 3))
    is_usual = marker in _USUAL and said[0] == 8 and said[5] in (1, 3, 4) and width > 0 and height > 0
    is_usual = is_usual and all(x and y and not widest % x and not highest % y for x, y in factors)
    return Frame(width, height, 64 * blocks, said[5], marker in _PROGRESSIVE, n_scanned[0], is_usual)


def complaint(body: FileBytes) -> str | None:
    """libjpeg's first warning, or its final error. Decodes the whole file. Damage raises `Damaged`."""
    try:
        simplejpeg.decode_jpeg(body, "gray", min_height=1, min_width=1)
    except ValueError as error:
        oddity = str(error)
        if _DAMAGE.search(oddity) or _has_hole(body, oddity):
            raise Damaged(oddity) from error
        return oddity
    return None


def _has_hole(body: FileBytes, oddity: str) -> bool:
    """Whether a JPEG's picture data contain 1 kB of zeros and, as a consequence, left-over bytes.

    Zeros among the left-over bytes are harmless, and so are zeros alone: a uniform area may be coded as zeros.
    """
    left = _BYTES_LEFT.search(oddity)
    if left is None:
        return False
    start = start_of_scan(body)
    return _HOLE.search(body, start, body.find(b"\xff\xd9", start) - int(left[1])) is not None


def check_scans(body: FileBytes) -> None:
    """Whether all scans are present, judging by their headers: each coefficient of each component, to its last bit.

    Raises `Damaged`. The scans' content is not decoded.
    """
    missing: dict[int, dict[int, int]] = {}  # component -> coefficient -> bits still to come (or 16: all)
    for marker, start, end in _segments(body, 2):
        said = body[start + 2 : end] if marker in _FRAMES or marker == START_OF_SCAN else b""
        if marker in _FRAMES and not missing and len(said) > 6 and len(said) >= 6 + 3 * said[5]:
            missing = {said[n]: dict.fromkeys(range(64), 16) for n in range(6, 6 + 3 * said[5], 3)}
        elif marker == START_OF_SCAN:
            if len(said) < 6 or len(said) < 4 + 2 * said[0]:
                raise Damaged("The JPEG file is damaged: the header of a scan is too short.")
            first, last, bits = said[-3:]
            for n in range(1, 1 + 2 * said[0], 2):
                missing.get(said[n], {}).update(dict.fromkeys(range(first, min(last, 63) + 1), bits & 15))
    if not missing or any(left for coefficients in missing.values() for left in coefficients.values()):
        raise Damaged("The JPEG file is cut off or damaged: scans of its picture are missing.")
    check_end(body)


def check_end(body: FileBytes) -> None:
    """Whether the picture has its end marker, and so has anything that begins right after it: further pictures, a video clip.

    Raises `Damaged`. Anything else may follow the end. Costs nothing if the file ends with an end marker.
    """
    if body[-2:] == b"\xff\xd9":
        return
    at = _behind_end(body, 0)
    while following := _NEXT_PICTURE.match(body, at):
        at = _behind_end(body, following.end())
    rest = len(body) - at
    clip = top_boxes(lambda n, length: body[at + n : at + n + length], rest)
    if body[at + 4 : at + 8] == b"ftyp" and any(box.end > rest for box in clip):
        raise Damaged("The JPEG file is cut off within the film clip behind its picture.")


def _behind_end(body: FileBytes, start: int) -> int:
    """The position after the end marker of the picture that begins at `start`."""
    for marker, _, end in _segments(body, start + 2):
        if marker == _END:
            return end
    raise Damaged("The JPEG file is cut off: a picture in it has no end.")


def _segments(body: FileBytes, at: int) -> Iterator[tuple[int, int, int]]:
    """The markers of a picture up to its end marker, with the start and end of their segments; skips picture data."""
    return counted(_all_segments(body, at))


def _all_segments(body: FileBytes, at: int) -> Iterator[tuple[int, int, int]]:
    while found := _MARKER.search(body, at):
        marker, at = found[1][0], found.end()
        if marker in (0x01, _START):
            continue
        end = at + (0 if marker == _END else int.from_bytes(body[at : at + 2], "big"))
        yield marker, at, end
        if marker == _END:
            return
        at = end


def check_structure(body: FileBytes) -> None:
    """For a JPEG that nothing here can decode. Raises `Damaged`, or `NoPicture` if it is complete and has none."""
    markers = {marker for marker, _, _ in _segments(body, 2)}
    if _END not in markers:
        raise Damaged("The JPEG file is cut off: its picture has no end.")
    if not markers & _FRAMES and START_OF_SCAN not in markers and _is_seamless(body):
        raise NoPicture("There is no picture in the JPEG file.")
    if not markers & _FRAMES or START_OF_SCAN not in markers:
        raise Damaged("The JPEG file is damaged: its picture lacks a header.")
    check_end(body)


def _is_seamless(body: FileBytes) -> bool:
    """Whether segments follow each other without gaps from start to end marker, with nothing after it."""
    behind = 2
    for _, start, end in _segments(body, 2):
        if start != behind + 2:
            return False
        behind = end
    return behind == len(body)  # otherwise a flipped bit may have turned another marker into an end marker


class Bare(io.RawIOBase):
    """A JPEG without its metadata, which may be odd or larger than the picture; for other readers."""

    def __init__(self, body: FileBytes) -> None:
        super().__init__()
        self._body, self._scan = body, start_of_scan(body)
        kept = [(start - 2, end) for marker, start, end in _before(body, self._scan) if marker not in _METADATA]
        if sum(end - start for start, end in kept) > MAPPED_BYTES:
            raise Unread("not decoded: the tables before the picture are too large")
        self._start = b"\xff\xd8" + b"".join(body[start:end] for start, end in kept)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = (0, self._at, len(self._start) + len(self._body) - self._scan)[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        size = len(buffer)
        if self._at < len(self._start):
            data = self._start[self._at : self._at + size]
        else:
            at = self._at - len(self._start) + self._scan
            data = self._body[at : at + size]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _before(body: FileBytes, scan: int) -> Iterator[tuple[int, int, int]]:
    return itertools.takewhile(lambda segment: segment[1] <= scan, _segments(body, 2))
