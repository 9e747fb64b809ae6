"""Reads a JPEG to its end and tells what libjpeg finds odd in it; Pillow passes over that (docs/adr/0016). Keeps no picture.

A JPEG is decoded at 1/8 scale: the whole entropy stream is read at a quarter of the cost. Where it comes in several scans, as a
progressive one does, libjpeg keeps all coefficients, two bytes each: then it needs as much memory as it has pixels.
"""

from __future__ import annotations

import mmap
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import simplejpeg

from d4c_images.sniff import start_of_scan

MAPPED_BYTES = 4_000_000  # from there on a file is not read into memory, but mapped ...
GIVE_BACK_S = 0.02  # ... and what has been read of it is given back so often
# What libjpeg says of damaged picture data. Whole pictures have the rest of what it warns of: bytes before a marker (drones,
# scanners), an unknown version of JFIF, a bad ICC profile.
_DAMAGE = re.compile(r"premature end|bad huffman code|bad arithmetic code|instead of RST", re.IGNORECASE)
_BYTES_LEFT = re.compile(r"([0-9]+) extraneous bytes before marker 0xd[0-9]")  # a restart or the end: behind picture data
_HOLE = re.compile(rb"\0{1024}\0*+(?!\xff)")
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_START_OF_SCAN, _END = 0xDA, 0xD9


class DamagedJpeg(ValueError):
    pass


Body = bytes | mmap.mmap


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands before the first scan."""

    coefficients: int  # of all components together
    components: int
    is_progressive: bool
    n_scanned: int  # components in the first scan

    def need_bytes(self, pixels: int) -> int:
        """Memory of a decode at 1/8 scale."""
        in_one_scan = not self.is_progressive and self.n_scanned == self.components
        return pixels // 16 + (0 if in_one_scan else 2 * self.coefficients)


@contextmanager
def opened(path: Path) -> Iterator[Body]:
    """The bytes of a file. Of a large one, those that have been looked at do not stay in this process's memory."""
    size_bytes = path.stat().st_size
    if size_bytes <= MAPPED_BYTES:
        yield path.read_bytes()
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as body:
        done = threading.Event()
        keeper = threading.Thread(target=_give_back, args=(body, done), daemon=True)
        keeper.start()
        try:
            yield body
        finally:
            done.set()
            keeper.join()


def _give_back(body: mmap.mmap, done: threading.Event) -> None:
    while not done.wait(GIVE_BACK_S):
        body.madvise(mmap.MADV_DONTNEED)  # who looks again finds them in the page cache


def frame_of(body: Body) -> Frame | None:
    """None where there is none before the first scan: nobody can decode that."""
    at, frame = 2, None
    scan = start_of_scan(body)
    while at < scan:
        marker, length = body[at + 1], int.from_bytes(body[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
            continue
        if marker in _FRAMES:
            frame = marker, body[at + 4 : at + 2 + length]
        at += 2 + length
    n_scanned = body[scan + 4 : scan + 5]
    if frame is None or not n_scanned or len(frame[1]) < 6 + 3 * frame[1][5]:
        return None
    marker, said = frame
    factors = [(said[at] >> 4, said[at] & 15) for at in range(7, 6 + 3 * said[5], 3)]
    widest, highest = max((x for x, _ in factors), default=1) or 1, max((y for _, y in factors), default=1) or 1
    rows, columns = (-(-int.from_bytes(said[at : at + 2], "big") // 8) for at in (1, 3))
    blocks = sum((x - (-columns * x // widest)) * (y - (-rows * y // highest)) for x, y in factors)
    return Frame(64 * blocks, said[5], marker in _PROGRESSIVE, n_scanned[0])


def complaint(body: Body) -> str | None:
    """libjpeg's first warning, or the error that it ended with. Decodes all of the file. Damage raises `DamagedJpeg`."""
    try:
        simplejpeg.decode_jpeg(body, "gray", min_height=1, min_width=1)
    except ValueError as error:
        oddity = str(error)
        if _DAMAGE.search(oddity) or _has_hole(body, oddity):
            raise DamagedJpeg(oddity) from error
        return oddity
    return None


def _has_hole(body: Body, oddity: str) -> bool:
    """Whether a JPEG's picture data have 1 kB of zeros in them and, as then happens, bytes left over.

    Zeros among the bytes left over are harmless, and so are zeros alone: a plain surface may be packed into them.
    """
    left = _BYTES_LEFT.search(oddity)
    if left is None:
        return False
    start = start_of_scan(body)
    return _HOLE.search(body, start, body.find(b"\xff\xd9", start) - int(left[1])) is not None


def check_scans(body: Body) -> None:
    """Whether all scans are there, by their headers alone: each coefficient of each component, to its last bit.

    Raises `DamagedJpeg`. What the scans hold is not decoded.
    """
    missing: dict[int, dict[int, int]] = {}  # component -> coefficient -> bits that are still to come (or 16: all)
    at = 2
    while found := _MARKER.search(body, at):
        marker, at = found[1][0], found.end()
        if marker == _END:
            break
        if marker in (0x01, 0xD8):
            continue
        said = body[at + 2 : at + int.from_bytes(body[at : at + 2], "big")]
        at += 2 + len(said)
        if marker in _FRAMES and not missing:
            missing = {said[n]: dict.fromkeys(range(64), 16) for n in range(6, 6 + 3 * said[5], 3)}
        elif marker == _START_OF_SCAN:
            first, last, bits = said[-3:]
            for n in range(1, 1 + 2 * said[0], 2):
                missing.get(said[n], {}).update(dict.fromkeys(range(first, min(last, 63) + 1), bits & 15))
    else:
        raise DamagedJpeg("no end marker")
    if not missing or any(left for coefficients in missing.values() for left in coefficients.values()):
        raise DamagedJpeg("scans are missing")
