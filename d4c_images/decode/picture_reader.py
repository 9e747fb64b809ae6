"""Reads every picture of a stored file to its end, each format in the way that takes little memory. Makes nothing of a picture.

The file's own structure is walked through first, whatever is decoded afterwards. If a library cannot decode something, the
structure decides what that means (docs/adr/0051).

A JPEG is decoded at 1/8 scale (`Image.verify()` would not see a cut), a GIF picture by picture. A PNG is inflated block by block,
the strips and tiles of a TIFF are unpacked one by one if they have checksums or codes. A plain BMP is proven by its size. The
others are decoded as a whole; a JPEG 2000 that does not fit into the worker's share of memory, at a lower resolution. What takes
more memory than there is, is not decoded and reported as such (docs/adr/0033).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile

from d4c_images.decode import bmp, boxes, gif, jpeg, jpeg2000, mapped, memory_cost, png, riff, tiff_read
from d4c_images.decode.bounds import DecodeBounds, TooLarge
from d4c_images.decode.faults import DECODE_ERRORS, Damaged, Unread, raise_if_of_disk
from d4c_images.decode.read_result import Reading, from_picture, only_first
from d4c_images.decode.shape import Shape

MAX_FRAMES = 200  # read from an animation or a multi-page TIFF

_WALKS: dict[str, Callable[[BinaryIO, int], Shape]] = {  # the other formats' are called directly
    "WEBP": riff.walk,
    "BMP": bmp.walk,
    "AVIF": boxes.walk_items,
    "HEIF": boxes.walk_items,
}


class _NotLoaded(Exception):
    """A library has opened a file and then failed to decode the first picture in it."""


class PictureReader:
    """Thread-safe."""

    def __init__(self, bounds: DecodeBounds) -> None:
        self._bounds = bounds

    def read(self, path: Path, form: str, may_take_long: bool) -> Reading:
        if form == "JPEG":
            return self._read_jpeg(path, may_take_long)
        if form == "PNG":
            return self._read_png(path, may_take_long)
        if form == "GIF":
            return self._read_gif(path, may_take_long)
        if form == "JPEG2000":
            return self._read_jpeg_2000(path, may_take_long)
        if form == "TIFF":
            return self._read_tiff(path, may_take_long)
        with path.open("rb") as file:
            shape = _WALKS[form](file, path.stat().st_size)
        if shape.is_plain:
            self._bounds.weigh((shape.width or 0) * (shape.height or 0), may_take_long=True)
            return Reading(shape.width, shape.height)
        try:
            with self._bounds.opened(path, form) as picture:
                return self._read_all(picture, path, may_take_long)
        except (TooLarge, _NotLoaded, *DECODE_ERRORS) as error:
            raise_if_of_disk(error)
            if form == "WEBP":
                return self._read_alone(path, shape, may_take_long)
            if isinstance(error, TooLarge):
                return Reading(shape.width, shape.height, unread=str(error))
            return _explained(shape, has_opened=isinstance(error, _NotLoaded))

    def _read_all(self, picture: ImageFile.ImageFile, path: Path, may_take_long: bool) -> Reading:
        """Width and height of the first picture, after reading every picture."""
        read, total = Reading(*picture.size), 0
        for number in range(MAX_FRAMES + 1):
            try:
                if number and not _sought(picture, number):
                    break
                pixels = picture.width * picture.height
                if number and (number == MAX_FRAMES or total + pixels > self._bounds.max_pixels):
                    return replace(read, unread=only_first(number))
                total += pixels
                self._bounds.weigh(total, may_take_long)
                unread = self._read_picture(picture, path, may_take_long)
            except DECODE_ERRORS as error:
                raise_if_of_disk(error)
                if not number:
                    raise _NotLoaded from error
                unread = from_picture(number)
            if unread:
                return replace(read, unread=unread)
        return read

    def _read_jpeg(self, path: Path, may_take_long: bool) -> Reading:
        """By simplejpeg. Pillow decides if libjpeg has a harmless warning, or if simplejpeg cannot read this kind of JPEG."""
        with mapped.opened(path) as body:
            frame = jpeg.frame_of(body)
            if frame is None or not frame.width or not frame.height:
                jpeg.check_structure(body)
                raise Unread("The JPEG file is whole by its structure, but of a kind that is not decoded here.")
            size, pixels = (frame.width, frame.height), frame.width * frame.height
            self._bounds.weigh(pixels, may_take_long)
            need_bytes = frame.need_bytes(pixels)
            if need_bytes > self._bounds.room.common_bytes:
                jpeg.check_scans(body)
                return Reading(*size, unread=self._bounds.unread(size, need_bytes))
            with self._bounds.room_for(need_bytes, may_take_long):
                oddity = jpeg.complaint(body)
                unread = None if oddity is None else _why_pillow_cannot(body, frame, oddity)
            jpeg.check_end(body)
        return Reading(*size, oddity, unread)

    def _read_png(self, path: Path, may_take_long: bool) -> Reading:
        """By the file's own checksums: nothing is decoded into memory, and metadata may be odd and large."""
        with path.open("rb") as file:
            header = png.header_of(file)
        self._bounds.weigh(header.width * header.height, may_take_long)
        png.read(path)
        return Reading(header.width, header.height)

    def _read_gif(self, path: Path, may_take_long: bool) -> Reading:
        with mapped.opened(path) as body:
            pictures: list[gif.Picture] = []
            for picture in gif.pictures(body):  # to the end of the file, however many there are
                if len(pictures) <= MAX_FRAMES:
                    pictures.append(picture)
            read = Reading(*gif.size_of(body, pictures[0]))
            total = 0
            for number, picture in enumerate(pictures):
                total += picture.width * picture.height
                if number and (number == MAX_FRAMES or total > self._bounds.max_pixels):
                    return replace(read, unread=only_first(number))
                self._bounds.weigh(total, may_take_long)
                need_bytes = picture.width * picture.height + picture.end - picture.start
                if need_bytes > self._bounds.room.common_bytes:
                    return replace(read, unread=self._bounds.unread((picture.width, picture.height), need_bytes))
                try:
                    with self._bounds.room_for(need_bytes, may_take_long):
                        gif.check(body, picture)
                except Damaged:
                    if not number:
                        raise
                    return replace(read, unread=from_picture(number))
        return read

    def _read_jpeg_2000(self, path: Path, may_take_long: bool) -> Reading:
        """At the highest resolution that fits into memory; if Pillow fails at that, at a higher one."""
        with path.open("rb") as file:
            shape = boxes.walk_jpeg_2000(file, path.stat().st_size)
        size = shape.width or 0, shape.height or 0
        self._bounds.weigh(size[0] * size[1], may_take_long)
        for lower in range(jpeg2000.lower_of(size, path, self._bounds.room.own_bytes), -1, -1):
            need_bytes = jpeg2000.need_bytes(size, path, lower)
            if need_bytes > self._bounds.room.common_bytes:
                return Reading(*size, unread=self._bounds.unread(size, need_bytes))
            try:
                with self._bounds.room_for(need_bytes, may_take_long):
                    jpeg2000.load(path, shape.end or 0, lower)
                return Reading(*size)
            except DECODE_ERRORS as error:
                raise_if_of_disk(error)
        return _explained(shape, has_opened=True)

    def _read_alone(self, path: Path, shape: Shape, may_take_long: bool) -> Reading:
        """The first picture of a WebP as if it were alone in the file; the rest may be odd or large."""
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            chunk = riff.main_picture(file, size_bytes)
            size = shape.width or 0, shape.height or 0
            read = Reading(*size)
            need_bytes = memory_cost.of_pixels("WEBP", size) + 2 * (chunk.end - chunk.start)
            if need_bytes > self._bounds.room.common_bytes:
                return replace(read, unread=self._bounds.unread(size, need_bytes))
            with self._bounds.room_for(need_bytes, may_take_long):
                try:
                    with Image.open(io.BytesIO(riff.alone(file, chunk)), formats=["WEBP"]) as picture:
                        picture.load()
                except DECODE_ERRORS as error:
                    raise Damaged("The picture data are damaged: they cannot be decoded.") from error
            if riff.has_more_pictures(file, size_bytes):
                return replace(read, unread="not decoded: what is to be seen in this file besides its first picture")
        return read

    def _read_picture(self, picture: ImageFile.ImageFile, path: Path, may_take_long: bool) -> str | None:
        """Why it was not decoded; None if it was."""
        need_bytes = memory_cost.of_whole(picture, path)
        if need_bytes > self._bounds.room.common_bytes:
            return self._bounds.unread(picture.size, need_bytes)
        with self._bounds.room_for(need_bytes, may_take_long):
            picture.load()
        return None

    def _read_tiff(self, path: Path, may_take_long: bool) -> Reading:
        means = tiff_read.Means(
            weigh=lambda pixels: self._bounds.weigh(pixels, may_take_long),
            memory=tiff_read.Memory(
                lambda need_bytes: self._bounds.room_for(need_bytes, may_take_long),
                self._bounds.room.own_bytes,
                self._bounds.room.common_bytes,
            ),
            opened=lambda head: self._bounds.opened(path, "TIFF", head),
            most_pixels=self._bounds.max_pixels,
            most_pictures=MAX_FRAMES,
        )
        return tiff_read.read(path, means)


def _sought(picture: ImageFile.ImageFile, number: int) -> bool:
    """Whether there is such a picture."""
    try:
        picture.seek(number)
        return True
    except EOFError:
        return False


def _explained(shape: Shape, *, has_opened: bool) -> Reading:
    """What it means that a library cannot decode a file. Raises `Damaged` if the file is to blame."""
    if has_opened and shape.is_usual:
        raise Damaged("The picture data are damaged: they cannot be decoded.")
    unread = "not decoded: the file is whole by its structure, but its picture is of a kind that is not decoded here"
    return Reading(shape.width, shape.height, unread=unread)


def _why_pillow_cannot(body: mapped.FileBytes, frame: jpeg.Frame, oddity: str) -> str | None:
    """None if Pillow decodes a JPEG about which libjpeg warned. Raises `Damaged` if Pillow decodes every sound JPEG of its kind."""
    try:
        with Image.open(io.BufferedReader(jpeg.Bare(body)), formats=["JPEG"]) as picture:
            picture.draft(None, (max(1, frame.width // 8), max(1, frame.height // 8)))
            picture.load()
        return None
    except DECODE_ERRORS as error:
        if frame.is_usual:
            raise Damaged(f"The JPEG file is damaged: {oddity}") from error
    jpeg.check_structure(body)
    return "not decoded: the JPEG file is whole by its structure, but of a kind that is not decoded here"
