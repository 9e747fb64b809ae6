"""Opens stored bytes and says what they are, reading every picture in them to its end. Decides nothing about the image's fate.

`Image.verify()` sees no truncated JPEG; a decode does. A JPEG is decoded at 1/8 scale: the whole entropy stream is read at a
quarter of the cost (a progressive one at nearly the full cost). simplejpeg does it, since libjpeg only warns of damaged picture
data and Pillow passes over its warnings (docs/adr/0016).

Not seen, since these formats have no checksum of their picture data: damage that leaves the file its length and its structure in
WebP, JPEG 2000, AVIF, HEIC, BMP, most GIF, and TIFF unless packed with deflate; a stretch of a JPEG whose wrong bits are codes as
well; a progressive JPEG that lacks whole scans and has an end marker.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pillow_heif
import simplejpeg
from PIL import Image, ImageCms, ImageFile, ImageOps

from d4c_images.judge import DecodeFault, DecodeResult
from d4c_images.sniff import Kind, Sniffed, start_of_scan

MAX_PIXELS = 200_000_000  # 800 MB as RGB in Pillow: what a job's memory should have to bear, and only once at a time
BIG_PIXELS = 25_000_000  # 100 MB; pictures above it are decoded one after the other
MAX_FRAMES = 200  # of an animation or a many-paged TIFF that are looked at
JPEG_QUALITY = 90
COMMENT = b"d4c-images original-sha256="

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
# What libjpeg says of damaged picture data. Whole pictures have the rest of what it warns of: bytes before a marker (drones,
# scanners), an unknown version of JFIF, a bad ICC profile.
_JPEG_DAMAGE = re.compile(r"premature end|bad huffman code|bad arithmetic code|instead of RST", re.IGNORECASE)
_BYTES_LEFT = re.compile(r"([0-9]+) extraneous bytes before marker 0xd[0-9]")  # a restart or the end: behind picture data
_HOLE = re.compile(rb"\0{1024}\0*+(?!\xff)")
_SAYS_SHORT = ("truncated", "premature", "unexpected end", "not enough", "end of file", "end of data", "not processed")


class _TooManyPixels(ValueError):
    pass


class _DamagedJpeg(ValueError):
    pass


@dataclass(frozen=True, slots=True)
class Reduced:
    """A smaller JPEG in place of an image."""

    body: bytes
    sha256: bytes
    width: int
    height: int


class Decoder:
    """Says what files are. Safe to use from several threads."""

    def __init__(self, max_pixels: int = MAX_PIXELS, max_edge: int | None = None) -> None:
        """`max_pixels`: of one picture as it is decoded; a JPEG may have 64 times as many, unless it is progressive, since then
        all its coefficients are in memory. `max_edge`: of the JPEG that `reduce` makes, in pixels."""
        self.max_edge = max_edge
        self._max_pixels = max_pixels
        self._one_big = threading.Lock()
        Image.MAX_IMAGE_PIXELS = None  # our own limit instead
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters of them is an error on loading
        pillow_heif.register_heif_opener()

    def check(self, path: Path, sniffed: Sniffed) -> DecodeResult:
        """Read a file that `sniffed` tells the type of to its end. Raises `OSError` only where the disk fails.

        `detail` of a JPEG that is `ok`: what libjpeg found odd in it; now and then it is the only trace of a damage.
        """
        if sniffed.kind is Kind.RAW:
            return _check_raw(path, sniffed)
        if sniffed.media_type not in _FORMATS:
            return DecodeResult(False, DecodeFault.UNDECODABLE, f"no decoder for {sniffed.media_type}")
        try:
            (width, height), oddity = self._read(path, _FORMATS[sniffed.media_type])
        except _TooManyPixels as error:
            return DecodeResult(False, DecodeFault.TOO_MANY_PIXELS, str(error))
        except _DamagedJpeg as error:
            return DecodeResult(False, DecodeFault.TRUNCATED, str(error))
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            return DecodeResult(False, _fault(error), f"{type(error).__name__}: {error}")
        return DecodeResult(True, None, oddity, width, height, sniffed.media_type, sniffed.extension)

    def reduce(self, path: Path, original_sha256: bytes, media_type: str) -> Reduced | None:
        """A JPEG of at most `max_edge`, upright, RGB or grey, ICC profile kept; the comment has the original's hash.

        None where the file is to be kept as it is: it is such a JPEG already, or no picture that can be decoded (camera raw).
        """
        if self.max_edge is None or media_type not in _FORMATS:
            return None
        with Image.open(path, formats=[_FORMATS[media_type]]) as picture:
            if media_type == "image/jpeg" and max(picture.size) <= self.max_edge and not _is_turned(picture):
                return None
            with self._room_for(picture.width * picture.height):
                small = _small(picture, self.max_edge)
        file = io.BytesIO()
        comment, profile = COMMENT + original_sha256.hex().encode(), small.info.get("icc_profile")
        small.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True, icc_profile=profile, comment=comment)
        body = file.getvalue()
        return Reduced(body, hashlib.sha256(body).digest(), *small.size)

    def _read(self, path: Path, format_name: str) -> tuple[tuple[int, int], str | None]:
        """Width and height of the first picture, and what is odd in it; every picture has been read."""
        with Image.open(path, formats=[format_name]) as picture:
            size = picture.size
            if format_name == "JPEG":
                return size, self._read_jpeg(path, picture)
            for number in range(min(getattr(picture, "n_frames", 1), MAX_FRAMES)):
                picture.seek(number)
                self._load(picture)
        if format_name == "PNG":  # loading passes over the checksums of chunks and a missing end
            with Image.open(path, formats=[format_name]) as picture:
                picture.verify()
        return size, None

    def _read_jpeg(self, path: Path, picture: Image.Image) -> str | None:
        """What libjpeg finds odd but harmless; then, and where simplejpeg cannot read such a JPEG, Pillow has the last word."""
        if not picture.info.get("progressive"):
            picture.draft(None, (max(1, picture.width // 8), max(1, picture.height // 8)))
        with self._room_for(picture.width * picture.height):
            body = path.read_bytes()
            oddity = _complaint_of_libjpeg(body)
            if oddity is not None:
                if _JPEG_DAMAGE.search(oddity) or _has_hole(body, oddity):
                    raise _DamagedJpeg(oddity)
                picture.load()
        return oddity

    def _load(self, picture: Image.Image) -> None:
        with self._room_for(picture.width * picture.height):
            picture.load()

    @contextmanager
    def _room_for(self, pixels: int) -> Iterator[None]:
        if pixels > self._max_pixels:
            raise _TooManyPixels(f"{pixels} pixels, more than {self._max_pixels}")
        with self._one_big if pixels > BIG_PIXELS else nullcontext():
            yield


def _complaint_of_libjpeg(body: bytes) -> str | None:
    """Its first warning, or the error that it ended with. Decodes all of the file, to grey and at 1/8 scale."""
    try:
        simplejpeg.decode_jpeg(body, "gray", min_height=1, min_width=1)
    except ValueError as error:
        return str(error)
    return None


def _has_hole(body: bytes, oddity: str) -> bool:
    """Whether a JPEG's picture data have 1 kB of zeros in them and, as then happens, bytes left over.

    Zeros among the bytes left over are harmless, and so are zeros alone: a plain surface may be packed into them.
    """
    left = _BYTES_LEFT.search(oddity)
    if left is None:
        return False
    start = start_of_scan(body)
    return _HOLE.search(body, start, body.find(b"\xff\xd9", start) - int(left[1])) is not None


def original_sha256_of(path: Path, media_type: str) -> bytes | None:
    """The hash that `Decoder.reduce` has left in a JPEG."""
    if media_type != "image/jpeg":
        return None
    with Image.open(path, formats=["JPEG"]) as picture:
        comment = picture.info.get("comment", b"")
    try:
        digest = bytes.fromhex(comment.removeprefix(COMMENT).decode("ascii"))
    except ValueError:
        return None
    return digest if comment.startswith(COMMENT) and len(digest) == 32 else None


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


def _is_turned(picture: Image.Image) -> bool:
    return picture.getexif().get(0x0112, 1) not in (0, 1)


def _small(picture: Image.Image, max_edge: int) -> Image.Image:
    picture.draft(None, (2 * max_edge, 2 * max_edge))  # a JPEG is decoded no larger than it is of use
    profile = picture.info.get("icc_profile")
    small = _plain(ImageOps.exif_transpose(picture), profile)
    if picture.mode in ("CMYK", "LAB"):
        profile = None  # it spoke of other channels
    small.thumbnail((max_edge, max_edge), Image.Resampling.LANCZOS, reducing_gap=3.0)
    small.info = {"icc_profile": profile} if profile else {}
    return small


def _plain(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """In RGB or 8-bit grey, on white where it is transparent."""
    mode = picture.mode
    if mode in ("L", "RGB"):
        return picture
    if mode == "1":
        return picture.convert("L")
    if mode.startswith("I"):  # 16-bit grey
        return picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if mode == "F":
        low, high = picture.getextrema()
        scale = 255 / (high - low) if high > low else 0.0  # type: ignore[operator]
        return picture.point(lambda value: value * scale - low * scale).convert("L")  # type: ignore[operator]
    if mode in ("CMYK", "LAB"):
        return _from_inks(picture, profile)
    if picture.has_transparency_data:
        colours = picture.convert("RGBA")
        white = Image.new("RGBA", colours.size, "white")
        return Image.alpha_composite(white, colours).convert("RGB")
    return picture.convert("RGB")


def _from_inks(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """By the picture's own profile where it has one that works."""
    if profile is None and picture.mode == "CMYK":
        return picture.convert("RGB")
    srgb = ImageCms.createProfile("sRGB")
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(picture, own, srgb, outputMode="RGB") or picture
    except (ImageCms.PyCMSError, OSError):
        if picture.mode == "LAB":
            return ImageCms.profileToProfile(picture, ImageCms.createProfile("LAB"), srgb, outputMode="RGB") or picture
        return picture.convert("RGB")
