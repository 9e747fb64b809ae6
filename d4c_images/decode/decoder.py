"""Says what a stored file is and reads every picture in it to its end; makes a smaller JPEG of it. Decides nothing about its fate.

`Image.verify()` sees no truncated JPEG; a decode does. A picture that fits into the worker's share of memory is decoded as a whole;
a larger one is read in another way, if its format has one: a JPEG at 1/8 scale, a PNG inflated block by block, a TIFF piece by
piece, a JPEG 2000 at a lower resolution. What takes more memory than there is, is not decoded and says so (docs/adr/0033).

Not seen, since these formats have no checksum of their picture data: damage that leaves the file its length and its structure in
WebP, JPEG 2000, AVIF, HEIC, BMP, most GIF, and TIFF unless packed with deflate; a stretch of a JPEG whose wrong bits are codes as
well; a progressive JPEG that lacks whole scans and has an end marker.
"""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from d4c_images.decode import jpeg, jpeg2000, need, png, small, tiff, tiff_pages, tiff_read
from d4c_images.decode.faults import Damaged
from d4c_images.decode.room import Room
from d4c_images.judge import DecodeFault, DecodeResult
from d4c_images.sniff import Kind, Sniffed

MAX_PIXELS = 1_000_000_000  # of one picture, and of all that are looked at in one file: a bound on time, some 10 s for a TIFF
LONG_PIXELS = 32_000_000  # more than these take longer than others should wait
HEADER_BYTES = 8_000_000  # that a file may have before its picture
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
# What Pillow's plug-ins let through where a file is damaged.
_DAMAGE = (
    OSError, SyntaxError, EOFError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, AttributeError,
    AssertionError, struct.error, zlib.error,
)  # fmt: skip
_SAYS_SHORT = ("truncated", "premature", "unexpected end", "not enough", "end of file", "end of data", "not processed")


class _TooManyPixels(ValueError):
    pass


class TakesLong(Exception):
    """Takes more time or memory than others should wait for; ask again where that does not matter."""


class TooLarge(ValueError):
    """Takes more memory than a run has."""


@dataclass(frozen=True, slots=True)
class Reduced:
    """A smaller JPEG in place of an image."""

    body: bytes
    sha256: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Read:
    """What reading a file to its end has shown."""

    width: int | None
    height: int | None
    oddity: str | None = None
    unread: str | None = None  # why something in it was not decoded


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

    def __init__(self, max_edge: int | None = None, room: Room | None = None, max_pixels: int = MAX_PIXELS) -> None:
        """`max_edge`: of the JPEG that `reduce` makes, in pixels."""
        self.max_edge = max_edge
        self._room = room or Room()
        self._max_pixels = max_pixels
        self._loading = threading.Lock()
        Image.MAX_IMAGE_PIXELS = None  # our own limit instead
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters of them is an error on loading

    def check(self, path: Path, sniffed: Sniffed, *, may_take_long: bool = True) -> DecodeResult:
        """Read a file that `sniffed` tells the type of to its end. Raises `OSError` only where the disk fails, and `TakesLong`.

        `detail` of a picture that is `ok`: what libjpeg found odd in it, now and then the only trace of a damage; or what of it
        was not decoded, and why.
        """
        if sniffed.kind is Kind.RAW:
            return _check_raw(path, sniffed)
        if sniffed.media_type not in _FORMATS:
            return DecodeResult(False, DecodeFault.UNDECODABLE, f"no decoder for {sniffed.media_type}")
        form = _FORMATS[sniffed.media_type]
        try:
            read = self._read(path, form, may_take_long)
        except _TooManyPixels as error:
            return DecodeResult(False, DecodeFault.TOO_MANY_PIXELS, str(error))
        except (Damaged, jpeg.DamagedJpeg) as error:
            return DecodeResult(False, DecodeFault.TRUNCATED, str(error))
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            return DecodeResult(False, _fault(error), f"{type(error).__name__}: {error}")
        if read.unread and sniffed.truncated:
            return DecodeResult(False, DecodeFault.TRUNCATED, f"cut off, and {read.unread}")
        fault = DecodeFault.UNREAD if read.unread else None
        detail = "; ".join(filter(None, (read.unread, read.oddity))) or None
        return DecodeResult(True, fault, detail, read.width, read.height, sniffed.media_type, sniffed.extension)

    def reduce(self, path: Path, original_sha256: bytes, media_type: str, *, may_take_long: bool = True) -> Reduced | None:
        """A JPEG of at most `max_edge`, upright, RGB or grey, ICC profile kept; the comment has the original's hash.

        None where the file is to be kept as it is: it is such a JPEG already, or no picture that can be decoded (camera raw).
        Raises `TooLarge` where memory does not suffice, and `TakesLong`.
        """
        if self.max_edge is None or media_type not in _FORMATS:
            return None
        head = tiff_pages.head_of_main(path) if media_type == "image/tiff" else b""
        with self._opened(path, _FORMATS[media_type], head) as picture:
            if media_type == "image/jpeg" and max(picture.size) <= self.max_edge and not small.is_turned(picture):
                return None
            made = self._shrunk(picture, path, self.max_edge, may_take_long)
        file = io.BytesIO()
        comment, profile = small.COMMENT + original_sha256.hex().encode(), made.info.get("icc_profile")
        made.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True, icc_profile=profile, comment=comment)
        body = file.getvalue()
        return Reduced(body, hashlib.sha256(body).digest(), *made.size)

    @contextmanager
    def _opened(self, path: Path, form: str, head: bytes = b"") -> Iterator[ImageFile.ImageFile]:
        """`head`: in place of the file's first bytes."""
        need_bytes = need.of_opening(form, path)
        if not self._fits(2 * need_bytes):  # for two threads at once
            raise TooLarge(f"not decoded: the file alone takes {need_bytes // 1_000_000} MB")
        if form == "HEIF":
            with self._loading:
                import pillow_heif  # libheif, that most workers never need

                pillow_heif.register_heif_opener()
        with _Sparing(path, HEADER_BYTES, head) as file, Image.open(file, formats=[form]) as picture:
            file.left_bytes = None
            yield picture

    def _room_for(self, need_bytes: int, may_take_long: bool) -> AbstractContextManager[None]:
        if need_bytes > self._room.own_bytes and not may_take_long:
            raise TakesLong
        return self._room.taken(need_bytes)

    def _fits(self, need_bytes: int) -> bool:
        return need_bytes <= self._room.own_bytes

    def _unread(self, picture: Image.Image, need_bytes: int) -> str:
        return (
            f"not decoded: {picture.width} x {picture.height} pixels take {need_bytes // 1_000_000} MB,"
            f" more than {self._room.common_bytes // 1_000_000}"
        )

    # reading to the end

    def _read(self, path: Path, form: str, may_take_long: bool) -> _Read:
        if form == "TIFF":
            return self._read_tiff(path, may_take_long)
        try:
            with self._opened(path, form) as picture:
                if isinstance(picture, JpegImageFile):
                    return self._read_jpeg(picture, path, may_take_long)
                return self._read_all(picture, path, may_take_long)
        except TooLarge as error:
            return _Read(None, None, unread=str(error))

    def _weigh(self, pixels: int, may_take_long: bool) -> None:
        if pixels > self._max_pixels:
            raise _TooManyPixels(f"{pixels} pixels, more than {self._max_pixels}")
        if pixels > LONG_PIXELS and not may_take_long:
            raise TakesLong

    def _read_all(self, picture: ImageFile.ImageFile, path: Path, may_take_long: bool) -> _Read:
        """Width and height of the first picture; every picture has been read."""
        read, total = _Read(*picture.size), 0
        for number in range(MAX_FRAMES + 1):
            try:
                picture.seek(number)
            except EOFError:
                break
            pixels = picture.width * picture.height
            if number and (number == MAX_FRAMES or total + pixels > self._max_pixels):
                return replace(read, unread=f"not decoded: what follows the first {number} pictures")
            total += pixels
            self._weigh(total, may_take_long)
            unread = self._read_picture(picture, path, may_take_long)
            if unread:
                return replace(read, unread=unread)
        return read

    def _read_jpeg(self, picture: JpegImageFile, path: Path, may_take_long: bool) -> _Read:
        """What libjpeg finds odd but harmless; then, and where simplejpeg cannot read such a JPEG, Pillow has the last word."""
        width, height = picture.size
        self._weigh(width * height, may_take_long)
        with jpeg.opened(path) as body:
            frame = jpeg.frame_of(body)
            need_bytes = frame.need_bytes(width * height) if frame else 0
            if need_bytes > self._room.common_bytes:
                jpeg.check_scans(body)
                return _Read(width, height, unread=self._unread(picture, need_bytes))
            with self._room_for(need_bytes, may_take_long):
                oddity = jpeg.complaint(body)
                if oddity is not None:
                    picture.draft(None, (max(1, width // 8), max(1, height // 8)))
                    picture.load()
        return _Read(width, height, oddity)

    def _read_picture(self, picture: ImageFile.ImageFile, path: Path, may_take_long: bool) -> str | None:
        """Why it was not decoded; None where it was."""
        need_bytes = need.of_whole(picture, path)
        if not self._fits(need_bytes):
            if picture.format == "PNG":
                png.read(path)
                return None
            if picture.format == "JPEG2000":
                need_bytes = jpeg2000.shrink(picture, path, self._room.own_bytes)
            if need_bytes > self._room.common_bytes:
                return self._unread(picture, need_bytes)
        with self._room_for(need_bytes, may_take_long):
            picture.load()
            if picture.format == "PNG":  # loading passes over the checksums of chunks and a missing end
                with Image.open(path, formats=["PNG"]) as again:
                    again.verify()
        return None

    def _read_tiff(self, path: Path, may_take_long: bool) -> _Read:
        means = tiff_read.Means(
            weigh=lambda pixels: self._weigh(pixels, may_take_long),
            memory=tiff_read.Memory(
                lambda need_bytes: self._room_for(need_bytes, may_take_long), self._room.own_bytes, self._room.common_bytes
            ),
            opened=lambda head: self._opened(path, "TIFF", head),
            most_pixels=self._max_pixels,
            most_pictures=MAX_FRAMES,
        )
        found = tiff_read.read(path, means)
        return _Read(found.width, found.height, found.oddity, found.unread)

    # making smaller

    def _shrunk(self, picture: ImageFile.ImageFile, path: Path, max_edge: int, may_take_long: bool) -> Image.Image:
        if isinstance(picture, JpegImageFile):
            need_bytes = self._draft(picture, path, 2 * max_edge)
        elif picture.format == "JPEG2000":
            need_bytes = 2 * jpeg2000.shrink(picture, path, self._room.own_bytes // 2, max_edge)
        else:
            need_bytes = need.of_whole(picture, path) + 4 * picture.width * picture.height  # in other colours
            if not self._fits(need_bytes) and small.comes_in_pieces(picture, path):
                return self._shrunk_by_pieces(picture, path, max_edge, may_take_long)
        if need_bytes > self._room.common_bytes:
            raise TooLarge(self._unread(picture, need_bytes))
        with self._room_for(need_bytes, may_take_long):
            return small.made(picture, max_edge)

    def _draft(self, picture: JpegImageFile, path: Path, edge: int) -> int:
        """Have a JPEG decoded no larger than it is of use. Returns the bytes that it will take."""
        (width, height), by = picture.size, 8
        while by > 1 and max(width, height) < edge * by:
            by //= 2
        if by < 8 and not self._fits(4 * (width // by) * (height // by)) and max(width, height) >= edge * by:
            by *= 2
        with jpeg.opened(path) as body:
            frame = jpeg.frame_of(body)
        picture.draft(None, (width // by, height // by))
        return 8 * picture.width * picture.height + (frame.need_bytes(0) if frame else 0)  # and what is made of it

    def _shrunk_by_pieces(self, picture: ImageFile.ImageFile, path: Path, max_edge: int, may_take_long: bool) -> Image.Image:
        by = small.factor(picture, max_edge)
        if by < small.MOST_FACTOR and 8 * picture.width * picture.height // by**2 > self._room.common_bytes // 2:
            by *= 2
        need_bytes = tiff.PIECE_BYTES + 8 * (picture.width // by + 1) * (picture.height // by + 1)
        if need_bytes > self._room.common_bytes:
            raise TooLarge(self._unread(picture, need_bytes))
        if picture.width * picture.height > LONG_PIXELS and not may_take_long:
            raise TakesLong
        with self._room_for(need_bytes, may_take_long), path.open("rb") as file:
            try:
                return small.made_of_pieces(picture, file, by, max_edge)
            except tiff.Uncut as error:
                raise TooLarge(str(error)) from error


def _check_raw(path: Path, sniffed: Sniffed) -> DecodeResult:
    """Whether LibRaw opens the file: its structure and sizes, not its pixels."""
    import rawpy  # LibRaw, that most workers never need

    found = DecodeResult(True, media_type=sniffed.media_type, extension=sniffed.extension, raw=True)
    try:
        with rawpy.imread(str(path)) as raw:
            return replace(found, width=raw.sizes.width, height=raw.sizes.height)
    except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
        return replace(found, ok=False, reason=DecodeFault.RAW_UNOPENED, detail=_said(error))


def _said(error: Exception) -> str:
    text = error.args[0] if error.args else ""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text) or type(error).__name__


def _fault(error: Exception) -> DecodeFault:
    short = isinstance(error, EOFError | struct.error) or any(sign in str(error).lower() for sign in _SAYS_SHORT)
    return DecodeFault.TRUNCATED if short else DecodeFault.UNDECODABLE
