"""Says what a stored file is and reads every picture in it to its end; makes a smaller JPEG of it. Decides nothing about its fate.

The file's own structure is walked through first, whatever is decoded afterwards. What a library cannot decode is judged by that
(docs/adr/0051). What no format can show: docs/explanation/damage.md.

A JPEG is decoded at 1/8 scale (`Image.verify()` would see no cut), a GIF picture by picture. A PNG is inflated block by block, the
strips and tiles of a TIFF are unpacked one by one as far as they have checksums or codes. A plain BMP is proven by its sizes. The
others are decoded as a whole; a JPEG 2000 that does not fit into the worker's share of memory, at a lower resolution. What takes
more memory than there is, is not decoded and says so (docs/adr/0033).
"""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile, PngImagePlugin
from PIL.JpegImagePlugin import JpegImageFile

from d4c_images.decode import (
    bmp,
    boxes,
    downscale,
    gif,
    jpeg,
    jpeg2000,
    mapped,
    memory_cost,
    png,
    riff,
    tiff,
    tiff_pages,
    tiff_read,
)
from d4c_images.decode.faults import DECODE_ERRORS, Damaged, NoPicture, Unread, raise_if_of_disk
from d4c_images.decode.memory_budget import MemoryBudget
from d4c_images.decode.read_result import Reading, too_large
from d4c_images.decode.samples import NotReduced
from d4c_images.decode.shape import Shape
from d4c_images.policy.judge import DecodeFault, DecodeResult
from d4c_images.policy.sniff import Kind, Sniffed

MAX_PIXELS = 1_000_000_000  # of one picture, and of all that are looked at in one file: a bound on time, some 10 s for a TIFF
LONG_PIXELS = 32_000_000  # more than these take longer than others should wait
MOST_HEADER_BYTES = 8_000_000  # that a file may have before its picture
MAX_FRAMES = 200  # of an animation or a many-paged TIFF that are looked at
JPEG_QUALITY = 90

_FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/gif": "GIF",
    "image/tiff": "TIFF",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
    "image/jp2": "JPEG2000",
    "image/avif": "AVIF",
    "image/heic": "HEIF",
}
_WALKS: dict[str, Callable[[BinaryIO, int], Shape]] = {  # those of the other formats are called by their names
    "WEBP": riff.walk,
    "BMP": bmp.walk,
    "AVIF": boxes.walk_items,
    "HEIF": boxes.walk_items,
}


class _TooManyPixels(Exception):
    pass


class _NotLoaded(Exception):
    """A library has opened a file and then failed to decode the first picture in it."""


class TakesLong(Exception):
    """Takes more time or memory than others should wait for; ask again where that does not matter."""


class TooLarge(NotReduced):
    """Takes more memory than a run has."""


@dataclass(frozen=True, slots=True)
class Reduced:
    """A smaller JPEG in place of an image."""

    body: bytes
    sha256: bytes
    width: int
    height: int


class _Sparing(io.BufferedReader):
    """A file of which no more than `left_bytes` may be read: a header can be as large as a body. None lifts that.

    Its first bytes are those of `head`.
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


class Decoder:
    """Says what files are. Safe to use from several threads."""

    def __init__(self, max_edge: int | None = None, room: MemoryBudget | None = None, max_pixels: int = MAX_PIXELS) -> None:
        """`max_edge`: of the JPEG that `reduce` makes, in pixels."""
        self.max_edge = max_edge
        self._room = room or MemoryBudget()
        self._max_pixels = max_pixels
        self._loading = threading.Lock()
        Image.MAX_IMAGE_PIXELS = None  # our own limit instead
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        PngImagePlugin.MAX_TEXT_CHUNK = MOST_HEADER_BYTES  # profiles of scanners
        PngImagePlugin.MAX_TEXT_MEMORY = 2 * MOST_HEADER_BYTES
        warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters of them is an error on loading

    def check(self, path: Path, sniffed: Sniffed, *, may_take_long: bool = True) -> DecodeResult:
        """Read a file of the type that `sniffed` says to its end. Raises `OSError` only if the disk fails, and `TakesLong`.

        `detail` of a picture that is `ok`: what libjpeg found odd in it, sometimes the only trace of damage; or what of it was not
        decoded, and why.
        """
        if sniffed.truncated:
            return DecodeResult(False, DecodeFault.TRUNCATED, "The file is cut off: it promises more than it holds.")
        if sniffed.kind is Kind.RAW:
            return _check_raw(path, sniffed)
        if sniffed.media_type not in _FORMATS:
            return DecodeResult(False, DecodeFault.UNDECODABLE, f"no decoder for {sniffed.media_type}")
        try:
            read = self._read(path, _FORMATS[sniffed.media_type], may_take_long)
        except _TooManyPixels as error:
            return DecodeResult(False, DecodeFault.TOO_MANY_PIXELS, str(error))
        except Damaged as error:
            return DecodeResult(False, DecodeFault.TRUNCATED, str(error))
        except NoPicture as error:
            return DecodeResult(False, DecodeFault.UNDECODABLE, str(error))
        except Unread as error:
            read = Reading(unread=str(error))
        except DECODE_ERRORS as error:
            raise_if_of_disk(error)
            return DecodeResult(False, DecodeFault.TRUNCATED, "The file is damaged: its structure makes no sense.")
        fault = DecodeFault.UNREAD if read.unread else None
        detail = "; ".join(filter(None, (read.unread, read.oddity))) or None
        return DecodeResult(True, fault, detail, read.width, read.height, sniffed.media_type, sniffed.extension)

    def reduce(self, path: Path, original_sha256: bytes, media_type: str, *, may_take_long: bool = True) -> Reduced | None:
        """A JPEG of at most `max_edge`, upright, RGB or grey, ICC profile kept; the comment has the original's hash.

        None where the file is to be kept as it is: it is such a JPEG already, or no picture that can be decoded (camera raw).
        Raises `NotReduced` if no right one can be made; `OSError` only where the disk fails; and `TakesLong`.
        """
        if self.max_edge is None or media_type not in _FORMATS:
            return None
        try:
            return self._reduced(path, original_sha256, _FORMATS[media_type], self.max_edge, may_take_long)
        except (TakesLong, NotReduced, MemoryError):
            raise
        except Exception as error:  # of a decoder, an encoder or what reads metadata: the original is there all the same
            raise_if_of_disk(error)
            raise NotReduced("it could not be decoded to make it smaller") from error

    def _reduced(self, path: Path, original_sha256: bytes, form: str, max_edge: int, may_take_long: bool) -> Reduced | None:
        head = tiff_pages.head_of_main(path) if form == "TIFF" else b""
        with self._opened(path, form, head) as picture:
            is_small = form == "JPEG" and max(picture.size) <= max_edge
            if is_small and downscale.orientation_of(picture, path) == 1:
                return None
            made = self._shrunk(picture, path, max_edge, may_take_long)
        file = io.BytesIO()
        comment, profile = downscale.COMMENT + original_sha256.hex().encode(), made.info.get("icc_profile")
        made.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True, icc_profile=profile, comment=comment)
        body = file.getvalue()
        return Reduced(body, hashlib.sha256(body).digest(), *made.size)

    @contextmanager
    def _opened(self, path: Path, form: str, head: bytes = b"") -> Iterator[ImageFile.ImageFile]:
        """`head`: in place of the file's first bytes."""
        need_bytes = memory_cost.of_opening(form, path)
        if not self._fits(2 * need_bytes):  # for two threads at once
            raise TooLarge(f"not decoded: the file alone takes {need_bytes // 1_000_000} MB")
        if form == "HEIF":
            with self._loading:
                import pillow_heif  # libheif, that most workers never need

                pillow_heif.register_heif_opener()
        with _Sparing(path, MOST_HEADER_BYTES, head) as file, Image.open(file, formats=[form]) as picture:
            file.left_bytes = None
            yield picture

    def _room_for(self, need_bytes: int, may_take_long: bool) -> AbstractContextManager[None]:
        if need_bytes > self._room.own_bytes and not may_take_long:
            raise TakesLong
        return self._room.taken(need_bytes)

    def _fits(self, need_bytes: int) -> bool:
        return need_bytes <= self._room.own_bytes

    def _unread(self, size: tuple[int, int], need_bytes: int) -> str:
        return too_large(size, need_bytes, self._room.common_bytes)

    # reading to the end

    def _read(self, path: Path, form: str, may_take_long: bool) -> Reading:
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
            self._weigh((shape.width or 0) * (shape.height or 0), may_take_long=True)
            return Reading(shape.width, shape.height)
        try:
            with self._opened(path, form) as picture:
                return self._read_all(picture, path, may_take_long)
        except (TooLarge, _NotLoaded, *DECODE_ERRORS) as error:
            raise_if_of_disk(error)
            if form == "WEBP":
                return self._read_alone(path, shape, may_take_long)
            if isinstance(error, TooLarge):
                return Reading(shape.width, shape.height, unread=str(error))
            return _explained(shape, has_opened=isinstance(error, _NotLoaded))

    def _weigh(self, pixels: int, may_take_long: bool) -> None:
        if pixels > self._max_pixels:
            raise _TooManyPixels(f"The picture has {pixels} pixels, more than {self._max_pixels}.")
        if pixels > LONG_PIXELS and not may_take_long:
            raise TakesLong

    def _read_all(self, picture: ImageFile.ImageFile, path: Path, may_take_long: bool) -> Reading:
        """Width and height of the first picture; every picture has been read."""
        read, total = Reading(*picture.size), 0
        for number in range(MAX_FRAMES + 1):
            try:
                if number and not _sought(picture, number):
                    break
                pixels = picture.width * picture.height
                if number and (number == MAX_FRAMES or total + pixels > self._max_pixels):
                    return replace(read, unread=f"not decoded: what follows the first {number} pictures")
                total += pixels
                self._weigh(total, may_take_long)
                unread = self._read_picture(picture, path, may_take_long)
            except DECODE_ERRORS as error:
                raise_if_of_disk(error)
                if not number:
                    raise _NotLoaded from error
                unread = f"not decoded: picture {number + 1} of this file, and what follows it"
            if unread:
                return replace(read, unread=unread)
        return read

    def _read_jpeg(self, path: Path, may_take_long: bool) -> Reading:
        """By simplejpeg. Pillow decides if libjpeg finds something odd but harmless, or simplejpeg cannot read such a JPEG."""
        with mapped.opened(path) as body:
            frame = jpeg.frame_of(body)
            if frame is None or not frame.width or not frame.height:
                jpeg.check_structure(body)
                raise Unread("The JPEG file is whole by its structure, but of a kind that is not decoded here.")
            size, pixels = (frame.width, frame.height), frame.width * frame.height
            self._weigh(pixels, may_take_long)
            need_bytes = frame.need_bytes(pixels)
            if need_bytes > self._room.common_bytes:
                jpeg.check_scans(body)
                return Reading(*size, unread=self._unread(size, need_bytes))
            with self._room_for(need_bytes, may_take_long):
                oddity = jpeg.complaint(body)
                unread = None if oddity is None else _why_pillow_cannot(body, frame, oddity)
            jpeg.check_end(body)
        return Reading(*size, oddity, unread)

    def _read_png(self, path: Path, may_take_long: bool) -> Reading:
        """By the file's own checksums: nothing is decoded into memory, and metadata may be as odd and as large as they like."""
        with path.open("rb") as file:
            header = png.header_of(file)
        self._weigh(header.width * header.height, may_take_long)
        png.read(path)
        return Reading(header.width, header.height)

    def _read_gif(self, path: Path, may_take_long: bool) -> Reading:
        with mapped.opened(path) as body:
            pictures: list[gif.Picture] = []
            for picture in gif.pictures(body):  # to the end of the file, however many they are
                if len(pictures) <= MAX_FRAMES:
                    pictures.append(picture)
            read = Reading(*gif.size_of(body, pictures[0]))
            total = 0
            for number, picture in enumerate(pictures):
                total += picture.width * picture.height
                if number and (number == MAX_FRAMES or total > self._max_pixels):
                    return replace(read, unread=f"not decoded: what follows the first {number} pictures")
                self._weigh(total, may_take_long)
                need_bytes = picture.width * picture.height + picture.end - picture.start
                if need_bytes > self._room.common_bytes:
                    return replace(read, unread=self._unread((picture.width, picture.height), need_bytes))
                try:
                    with self._room_for(need_bytes, may_take_long):
                        gif.check(body, picture)
                except Damaged:
                    if not number:
                        raise
                    return replace(read, unread=f"not decoded: picture {number + 1} of this file, and what follows it")
        return read

    def _read_jpeg_2000(self, path: Path, may_take_long: bool) -> Reading:
        """At the highest resolution for which there is memory; if Pillow fails at that, at a higher one."""
        with path.open("rb") as file:
            shape = boxes.walk_jpeg_2000(file, path.stat().st_size)
        size = shape.width or 0, shape.height or 0
        self._weigh(size[0] * size[1], may_take_long)
        for lower in range(jpeg2000.lower_of(size, path, self._room.own_bytes), -1, -1):
            need_bytes = jpeg2000.need_bytes(size, path, lower)
            if need_bytes > self._room.common_bytes:
                return Reading(*size, unread=self._unread(size, need_bytes))
            try:
                with self._room_for(need_bytes, may_take_long):
                    jpeg2000.load(path, shape.end or 0, lower)
                return Reading(*size)
            except DECODE_ERRORS as error:
                raise_if_of_disk(error)
        return _explained(shape, has_opened=True)

    def _read_alone(self, path: Path, shape: Shape, may_take_long: bool) -> Reading:
        """The first picture of a WebP as if nothing else were in the file, which may be odd or large."""
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            chunk = riff.main_picture(file, size_bytes)
            size = shape.width or 0, shape.height or 0
            read = Reading(*size)
            need_bytes = memory_cost.of_pixels("WEBP", size) + 2 * (chunk.end - chunk.start)
            if need_bytes > self._room.common_bytes:
                return replace(read, unread=self._unread(size, need_bytes))
            with self._room_for(need_bytes, may_take_long):
                try:
                    with Image.open(io.BytesIO(riff.alone(file, chunk)), formats=["WEBP"]) as picture:
                        picture.load()
                except DECODE_ERRORS as error:
                    raise Damaged("The picture data are damaged: they cannot be decoded.") from error
            if riff.has_more_pictures(file, size_bytes):
                return replace(read, unread="not decoded: what is to be seen in this file besides its first picture")
        return read

    def _read_picture(self, picture: ImageFile.ImageFile, path: Path, may_take_long: bool) -> str | None:
        """Why it was not decoded; None where it was."""
        need_bytes = memory_cost.of_whole(picture, path)
        if need_bytes > self._room.common_bytes:
            return self._unread(picture.size, need_bytes)
        with self._room_for(need_bytes, may_take_long):
            picture.load()
        return None

    def _read_tiff(self, path: Path, may_take_long: bool) -> Reading:
        means = tiff_read.Means(
            weigh=lambda pixels: self._weigh(pixels, may_take_long),
            memory=tiff_read.Memory(
                lambda need_bytes: self._room_for(need_bytes, may_take_long), self._room.own_bytes, self._room.common_bytes
            ),
            opened=lambda head: self._opened(path, "TIFF", head),
            most_pixels=self._max_pixels,
            most_pictures=MAX_FRAMES,
        )
        return tiff_read.read(path, means)

    # making smaller

    def _shrunk(self, picture: ImageFile.ImageFile, path: Path, max_edge: int, may_take_long: bool) -> Image.Image:
        plan = downscale.plan_of(picture, path, max_edge)
        if isinstance(picture, JpegImageFile):
            need_bytes = self._draft(picture, path, 2 * max_edge)
        elif picture.format == "JPEG2000":
            need_bytes = 2 * jpeg2000.shrink(picture, path, self._room.own_bytes // 2, max_edge)
        else:
            need_bytes = memory_cost.of_whole(picture, path) + 4 * picture.width * picture.height  # in other colours
            if not self._fits(need_bytes) and downscale.comes_in_pieces(picture, path):
                made = self._shrunk_by_pieces(picture, path, plan, may_take_long)
                if made is not None:
                    return made
        if need_bytes > self._room.common_bytes:
            raise TooLarge(self._unread(picture.size, need_bytes))
        with self._room_for(need_bytes, may_take_long):
            return downscale.made(picture, plan)

    def _draft(self, picture: JpegImageFile, path: Path, edge: int) -> int:
        """Have a JPEG decoded no larger than it is of use. Returns the bytes that it will take."""
        (width, height), by = picture.size, 8
        while by > 1 and max(width, height) < edge * by:
            by //= 2
        if by < 8 and not self._fits(4 * (width // by) * (height // by)) and max(width, height) >= edge * by:
            by *= 2
        with mapped.opened(path) as body:
            frame = jpeg.frame_of(body)
        picture.draft(None, (width // by, height // by))
        return 8 * picture.width * picture.height + (frame.need_bytes(0) if frame else 0)  # and what is made of it

    def _shrunk_by_pieces(
        self, picture: ImageFile.ImageFile, path: Path, plan: downscale.ReducePlan, may_take_long: bool
    ) -> Image.Image | None:
        """None if it cannot be cut."""
        by = downscale.factor(picture, plan.max_edge)
        if by < downscale.MOST_FACTOR and 8 * picture.width * picture.height // by**2 > self._room.common_bytes // 2:
            by *= 2
        need_bytes = tiff.PIECE_MEMORY_BYTES + 8 * (picture.width // by + 1) * (picture.height // by + 1)
        if need_bytes > self._room.common_bytes:
            raise TooLarge(self._unread(picture.size, need_bytes))
        if picture.width * picture.height > LONG_PIXELS and not may_take_long:
            raise TakesLong
        with self._room_for(need_bytes, may_take_long), path.open("rb") as file:
            try:
                return downscale.made_of_pieces(picture, file, by, plan)
            except tiff.Uncut:
                return None


def _sought(picture: ImageFile.ImageFile, number: int) -> bool:
    """Whether there is such a picture."""
    try:
        picture.seek(number)
        return True
    except EOFError:
        return False


def _explained(shape: Shape, *, has_opened: bool) -> Reading:
    """What it means that a library cannot decode a file. Raises `Damaged` if that is the file's fault."""
    if has_opened and shape.is_usual:
        raise Damaged("The picture data are damaged: they cannot be decoded.")
    unread = "not decoded: the file is whole by its structure, but its picture is of a kind that is not decoded here"
    return Reading(shape.width, shape.height, unread=unread)


def _why_pillow_cannot(body: mapped.FileBytes, frame: jpeg.Frame, oddity: str) -> str | None:
    """None if Pillow decodes a JPEG that libjpeg has found odd. Raises `Damaged` if Pillow decodes any whole JPEG of its kind."""
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


def _check_raw(path: Path, sniffed: Sniffed) -> DecodeResult:
    """Whether LibRaw opens the file: its structure and sizes, not its pixels."""
    import rawpy  # LibRaw, that most workers never need

    found = DecodeResult(True, media_type=sniffed.media_type, extension=sniffed.extension, raw=True)
    try:
        with rawpy.imread(str(path)) as raw:
            return replace(found, width=raw.sizes.width, height=raw.sizes.height)
    except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
        return replace(found, ok=False, reason=DecodeFault.RAW_UNOPENED, detail=_text_of(error))


def _text_of(error: Exception) -> str:
    """LibRaw's own words."""
    text = error.args[0] if error.args else ""
    return (text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)) or "LibRaw cannot open it"
