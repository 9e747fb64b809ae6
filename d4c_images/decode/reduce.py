"""Makes a smaller JPEG of a stored file, decoding only what fits into memory at a time. Decides nothing about the file's fate."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from d4c_images.decode import downscale, jpeg, jpeg2000, mapped, memory_cost, tiff, tiff_pages
from d4c_images.decode.bounds import LONG_PIXELS, DecodeBounds, TakesLong, TooLarge

JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Reduced:
    """A smaller JPEG instead of the original."""

    body: bytes
    sha256: bytes
    width: int
    height: int


class Reducer:
    """Thread-safe."""

    def __init__(self, bounds: DecodeBounds) -> None:
        self._bounds = bounds

    def reduced(self, path: Path, original_sha256: bytes, form: str, max_edge: int, may_take_long: bool) -> Reduced | None:
        head = tiff_pages.head_of_main(path) if form == "TIFF" else b""
        with self._bounds.opened(path, form, head) as picture:
            is_small = form == "JPEG" and max(picture.size) <= max_edge
            if is_small and downscale.orientation_of(picture, path) == 1:
                return None
            made = self._shrunk(picture, path, max_edge, may_take_long)
        file = io.BytesIO()
        comment, profile = downscale.COMMENT + original_sha256.hex().encode(), made.info.get("icc_profile")
        made.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True, icc_profile=profile, comment=comment)
        body = file.getvalue()
        return Reduced(body, hashlib.sha256(body).digest(), *made.size)

    def _shrunk(self, picture: ImageFile.ImageFile, path: Path, max_edge: int, may_take_long: bool) -> Image.Image:
        plan = downscale.plan_of(picture, path, max_edge)
        if isinstance(picture, JpegImageFile):
            need_bytes = self._draft(picture, path, 2 * max_edge)
        elif picture.format == "JPEG2000":
            need_bytes = 2 * jpeg2000.shrink(picture, path, self._bounds.room.own_bytes // 2, max_edge)
        else:
            need_bytes = memory_cost.of_whole(picture, path) + 4 * picture.width * picture.height  # converted colours
            if not self._bounds.fits(need_bytes) and downscale.comes_in_pieces(picture, path):
                made = self._shrunk_by_pieces(picture, path, plan, may_take_long)
                if made is not None:
                    return made
        if need_bytes > self._bounds.room.common_bytes:
            raise TooLarge(self._bounds.unread(picture.size, need_bytes))
        with self._bounds.room_for(need_bytes, may_take_long):
            return downscale.made(picture, plan)

    def _draft(self, picture: JpegImageFile, path: Path, edge: int) -> int:
        """Have a JPEG decoded no larger than useful. Returns the bytes that it will take."""
        (width, height), by = picture.size, 8
        while by > 1 and max(width, height) < edge * by:
            by //= 2
        if by < 8 and not self._bounds.fits(4 * (width // by) * (height // by)) and max(width, height) >= edge * by:
            by *= 2
        with mapped.opened(path) as body:
            frame = jpeg.frame_of(body)
        picture.draft(None, (width // by, height // by))
        return 8 * picture.width * picture.height + (frame.need_bytes(0) if frame else 0)  # plus the result

    def _shrunk_by_pieces(
        self, picture: ImageFile.ImageFile, path: Path, plan: downscale.ReducePlan, may_take_long: bool
    ) -> Image.Image | None:
        """None if it cannot be split."""
        by = downscale.factor(picture, plan.max_edge)
        if by < downscale.MOST_FACTOR and 8 * picture.width * picture.height // by**2 > self._bounds.room.common_bytes // 2:
            by *= 2
        need_bytes = tiff.PIECE_MEMORY_BYTES + 8 * (picture.width // by + 1) * (picture.height // by + 1)
        if need_bytes > self._bounds.room.common_bytes:
            raise TooLarge(self._bounds.unread(picture.size, need_bytes))
        if picture.width * picture.height > LONG_PIXELS and not may_take_long:
            raise TakesLong
        with self._bounds.room_for(need_bytes, may_take_long), path.open("rb") as file:
            try:
                return downscale.made_of_pieces(picture, file, by, plan)
            except tiff.Uncut:
                return None
