"""Limits of a decode: pixels, memory, time, and bytes before the picture; opens files within them. Reads no picture."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from PIL import Image, ImageFile

from d4c_images.decode import memory_cost
from d4c_images.decode.memory_budget import MemoryBudget
from d4c_images.decode.read_result import too_large
from d4c_images.decode.samples import NotReduced

MAX_PIXELS = 1_000_000_000  # of one picture, and of all that are read in one file: a time limit, some 10 s for a TIFF
LONG_PIXELS = 32_000_000  # beyond this, a decode takes longer than others should wait
MOST_HEADER_BYTES = 8_000_000  # allowed in a file before its picture


class TooManyPixels(Exception):
    pass


class TakesLong(Exception):
    """Takes more time or memory than others should wait for; retry where that does not matter."""


class TooLarge(NotReduced):
    """Takes more memory than a run has."""


class _Sparing(io.BufferedReader):
    """A file of which at most `left_bytes` may be read, since a header can be as large as a body. None lifts the limit.

    Its first bytes are replaced by `head`.
    """

    def __init__(self, path: Path, left_bytes: int | None, head: bytes = b"") -> None:
        super().__init__(io.FileIO(path))
        self.left_bytes = left_bytes
        self._head = head

    def read(self, size: int | None = -1, /) -> bytes:
        at = self.tell() if self._head else 0
        data = self._read(size)
        return self._head[at : at + len(data)] + data[max(0, len(self._head) - at) :]

    def _read(self, size: int | None) -> bytes:
        if self.left_bytes is not None:
            data = super().read(self.left_bytes + 1 if size is None or size < 0 else min(size, self.left_bytes + 1))
            self.left_bytes -= len(data)
            if self.left_bytes < 0:
                raise TooLarge("not decoded: what stands before the picture is too large")
            return data
        return super().read(size)


class DecodeBounds:
    """Thread-safe."""

    def __init__(self, room: MemoryBudget, max_pixels: int) -> None:
        self.room = room
        self.max_pixels = max_pixels
        self._loading = threading.Lock()

    @contextmanager
    def opened(self, path: Path, form: str, head: bytes = b"") -> Iterator[ImageFile.ImageFile]:
        """The file opened by Pillow, as format `form`. `head` replaces its first bytes. Raises `TooLarge`."""
        need_bytes = memory_cost.of_opening(form, path)
        if not self.fits(2 * need_bytes):  # two threads may open at once
            raise TooLarge(f"not decoded: the file alone takes {need_bytes // 1_000_000} MB")
        if form == "HEIF":
            with self._loading:
                import pillow_heif  # libheif, which most workers never need

                pillow_heif.register_heif_opener()
        with _Sparing(path, MOST_HEADER_BYTES, head) as file, Image.open(file, formats=[form]) as picture:
            file.left_bytes = None
            yield picture

    def room_for(self, need_bytes: int, may_take_long: bool) -> AbstractContextManager[None]:
        """Waits until that much memory is free. Raises `TakesLong`. Do not ask for more than `room.common_bytes`."""
        if need_bytes > self.room.own_bytes and not may_take_long:
            raise TakesLong
        return self.room.taken(need_bytes)

    def fits(self, need_bytes: int) -> bool:
        """Whether it is available without waiting for other workers."""
        return need_bytes <= self.room.own_bytes

    def unread(self, size: tuple[int, int], need_bytes: int) -> str:
        """Why a picture of this size is not decoded, for `Reading.unread`."""
        return too_large(size, need_bytes, self.room.common_bytes)

    def weigh(self, pixels: int, may_take_long: bool) -> None:
        """Raises `TooManyPixels` or `TakesLong`."""
        if pixels > self.max_pixels:
            raise TooManyPixels(f"The picture has {pixels} pixels, more than {self.max_pixels}.")
        if pixels > LONG_PIXELS and not may_take_long:
            raise TakesLong
