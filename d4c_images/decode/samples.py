"""What the samples of a picture mean: how they become 8-bit grey or RGB, or why that is unknown. Decodes no picture.

Pillow returns numbers and not their meaning: it ignores ranges, signs, inks, transfer curves and some storage forms
(docs/adr/0052). Anything not known to come out right raises `NotReduced`.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from d4c_images.decode import adobe_rgb, png
from d4c_images.policy.sniff import boxes_of

# What Pillow raises for broken metadata.
UNREADABLE = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, struct.error)
_HEAD_BYTES = 1 << 16
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N"})


class NotReduced(ValueError):
    """No smaller JPEG can be made that certainly shows what the original shows. The message gives the reason, for people."""


@dataclass(frozen=True, slots=True)
class Samples:
    white: int = 65535  # the largest value of a sample in Pillow's 16-bit modes
    is_white_zero: bool = False  # and Pillow has not inverted it
    is_deep: bool = False  # 16 bits, not all of them necessarily used
    is_grey: bool = False  # although Pillow's mode has colours
    alpha_is_named: bool = True  # the file says that the last channel is an alpha channel
    profile: bytes | None = None  # ICC, matching the picture's channels


def samples_of(picture: ImageFile.ImageFile, path: Path) -> Samples:
    """For a picture that is opened, but not yet loaded. Raises `NotReduced`."""
    if picture.mode in ("I", "F"):
        raise NotReduced("its samples are signed, 32-bit or floating-point numbers: which are black and white is not certain")
    if isinstance(picture, TiffImageFile):
        return _of_tiff(picture)
    if isinstance(picture, JpegImageFile):
        if picture.mode == "CMYK" and "adobe" not in picture.info:
            raise NotReduced("it has four channels, and nothing says whether they are inks or inverted inks")
        return Samples(profile=_profile_of(picture, _channels(picture.mode)) or _named_by_exif(picture))
    of = {"PNG": _of_png, "JPEG2000": _of_jpeg_2000, "AVIF": _of_heif, "HEIF": _of_heif, "BMP": _of_bmp}.get(picture.format or "")
    if of is not None:
        return of(picture, path)
    if picture.format == "GIF" and "transparency" not in picture.info and picture.tile[0].extents != (0, 0, *picture.size):
        raise NotReduced("its first frame covers only a part of it")
    return Samples(profile=_profile_of(picture, _channels(picture.mode)))


def _channels(mode: str) -> bytes:
    """In the terms of an ICC profile (ICC.1, table 19)."""
    return b"GRAY" if mode in _GREY_MODES else {"CMYK": b"CMYK", "LAB": b"Lab "}.get(mode, b"RGB ")


def _profile_of(picture: Image.Image, channels: bytes) -> bytes | None:
    """By its header (ICC.1, 7.2). A broken one, or one for other channels than the picture's, is ignored."""
    return _sound(picture.info.get("icc_profile"), channels)


def _sound(profile: object, channels: bytes) -> bytes | None:
    if not isinstance(profile, bytes) or len(profile) < 132 or int.from_bytes(profile[:4], "big") > len(profile):
        return None
    return profile if profile[36:40] == b"acsp" and profile[16:20] == channels and profile[12:16] not in _NO_DEVICE else None


def _named_by_exif(picture: JpegImageFile) -> bytes | None:
    if picture.mode != "RGB" or "icc_profile" in picture.info:
        return None
    try:
        return adobe_rgb.profile() if adobe_rgb.is_meant(picture.getexif()) else None
    except UNREADABLE:
        return None


_NO_DEVICE = (b"link", b"abst", b"nmcl")  # profile classes that describe no picture's colours


# TIFF 6.0; its sections in brackets

_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES = 254, 258, 259, 262, 266, 277
_LEAST, _MOST, _PLANAR, _WHITE_POINT, _COLOUR_MAP, _INK_SET, _INKS = 280, 281, 284, 318, 320, 332, 334
_DOT_RANGE, _EXTRA, _FORMAT, _COEFFICIENTS, _SUBSAMPLING, _REFERENCE = 336, 338, 339, 529, 530, 532
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_PLAIN, _OLD_JPEG, _JPEG = 1, 6, 7
_D50 = (0.3457, 0.3585)


def _of_tiff(picture: TiffImageFile) -> Samples:
    tags = _Tags(picture)
    bits, photometric, compression = tags.first(_BITS, 1), tags.first(_PHOTOMETRIC), tags.first(_COMPRESSION, _PLAIN)
    if photometric is None and compression != _OLD_JPEG:
        raise NotReduced("the file does not say what its samples are")
    if tags.first(_SUBFILE, 0) & 5:  # reduced in size, or a mask
        raise NotReduced("the first picture in the file is a preview or a mask of another one")
    if set(tags.all(_FORMAT, (1,))) != {1}:
        raise NotReduced("its samples are signed or floating-point numbers: which are black and white is not certain")
    in_planes = tags.first(_PLANAR, 1) == 2 and tags.first(_SAMPLES, 1) > 1
    misread = photometric not in (_RGB, _SEPARATED) or (bits != 8 and compression == _PLAIN)  # if planar
    if (in_planes and misread) or (bits > 1 and tags.first(_FILL_ORDER, 1) != 1):
        raise NotReduced("its samples are stored in an unusual order")
    _check_photometric(tags, photometric, compression)
    extra = tags.all(_EXTRA, ())
    return Samples(
        white=4095 if bits == 12 else 65535,
        is_white_zero=photometric == _WHITE_IS_ZERO and picture.mode.startswith("I;16"),
        is_deep=bits == 16 and photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB),
        alpha_is_named=not (photometric == _RGB and tags.first(_SAMPLES, 1) > 3 and (not extra or extra[0] > 2)),
        profile=_profile_of(picture, _channels(picture.mode)),
    )


def _check_photometric(tags: _Tags, photometric: int, compression: int) -> None:
    bits = tags.first(_BITS, 1)
    least, most = tags.first(_LEAST, 0), tags.first(_MOST, 2**bits - 1)
    if bits > 8 and (least, most) != (0, 2**bits - 1):
        raise NotReduced(f"its samples are said to go from {least} to {most}, and nothing says whether these are black and white")
    if photometric == _PALETTE and max(tags.all(_COLOUR_MAP, (0,))) < 256:  # a common mistake: libtiff corrects it, Pillow does not
        raise NotReduced("the colours of its palette are in 8 bits where 16 are meant, or nearly black")
    if photometric == _RGB and tags.all(_REFERENCE, (0, 2**bits - 1) * 3) != (0, 2**bits - 1) * 3:  # [20]
        raise NotReduced("its black and white are not the ends of its samples' range")
    if photometric == _SEPARATED:  # [16]
        are_inks = tags.first(_INK_SET, 1) == 1 and tags.first(_INKS, 4) == 4
        if not are_inks or set(tags.all(_DOT_RANGE, (0,))) - {0, 2**bits - 1} or tags.first(_DOT_RANGE, 0) or compression == _JPEG:
            raise NotReduced("its channels are no plain cyan, magenta, yellow and black")
    if photometric == _YCBCR and compression == _PLAIN:  # [21]; otherwise libtiff reads it
        is_usual = tags.all(_REFERENCE, _FULL_RANGE) == _FULL_RANGE and tags.all(_COEFFICIENTS, _REC_601) == _REC_601
        if tags.all(_SUBSAMPLING, (2, 2)) != (1, 1) or not is_usual:
            raise NotReduced("its luminance and colour differences are stored in an unusual way")
    if photometric == _LAB:  # [23]
        point = tags.all(_WHITE_POINT, _D50)
        if len(point) != 2 or any(abs(a - b) > 0.002 for a, b in zip(point, _D50, strict=True)):
            raise NotReduced("its L*a*b* colours have an unusual white point")


_FULL_RANGE, _REC_601 = (0, 255, 128, 255, 128, 255), (0.299, 0.587, 0.114)
_MOST_VALUES = 768  # of a tag: the palette of 8 bits


class _Tags:
    """The tags of the current TIFF page, whatever number and type of values the file has for them."""

    def __init__(self, picture: TiffImageFile) -> None:
        self._tags = picture.tag_v2

    def all(self, tag: int, default: tuple[Any, ...]) -> tuple[Any, ...]:
        value = self._tags.get(tag)
        value = value if isinstance(value, tuple) else () if value is None else (value,)
        return tuple(round(float(number), 4) for number in value[:_MOST_VALUES]) if value else default

    def first(self, tag: int, default: int | None = None) -> Any:
        value = self.all(tag, ())
        return int(value[0]) if value else default


# PNG specification, third edition; its sections in brackets

_SRGB_GAMMA, _SRGB_CHROMATICITIES = 45455, (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_CICP_OF_SRGB = b"\x01\x0d\x00\x01"


def _of_png(picture: Image.Image, path: Path) -> Samples:
    with path.open("rb") as file:
        said = png.notes(file)
    depth, colour = said[b"IHDR"][8], said[b"IHDR"][9]
    is_grey = colour in (0, 4)
    profile = _profile_of(picture, b"GRAY" if is_grey else b"RGB ")
    if said.get(b"cICP", _CICP_OF_SRGB) != _CICP_OF_SRGB:  # [11.3.2.6] overrides all others
        raise NotReduced("its colours are in a space that a cICP chunk names")
    if profile is None and b"sRGB" not in said:
        _check_curve(said)
    if b"tRNS" in said and colour != 3 and depth != 8:  # which Pillow compares with 8-bit samples
        raise NotReduced(f"one of its {depth}-bit colours is transparent")
    return Samples(is_deep=depth == 16, is_grey=is_grey, profile=profile)


def _check_curve(said: dict[bytes, bytes]) -> None:
    gamma = int.from_bytes(said.get(b"gAMA", b""), "big")
    if gamma and abs(gamma - _SRGB_GAMMA) > 0.05 * _SRGB_GAMMA:  # the threshold of libpng
        raise NotReduced(f"its gAMA chunk asks for a gamma of {gamma / 100000:g}, not that of sRGB")
    points = [int.from_bytes(said.get(b"cHRM", b"")[at : at + 4], "big") for at in range(0, 32, 4)]
    if any(points) and any(abs(a - b) > 1000 for a, b in zip(points, _SRGB_CHROMATICITIES, strict=True)):
        raise NotReduced("its cHRM chunk names other primary colours than those of sRGB")


# The others

_MOST_BOXES, _MOST_BOX_BYTES = 1000, 4_000_000


def _of_jpeg_2000(picture: Image.Image, path: Path) -> Samples:
    """By the boxes of its header (ISO 15444-1, annex I). Pillow reads none of its profiles."""
    with path.open("rb") as file:
        said = _header_of_jpeg_2000(file, path.stat().st_size)
    bits, colour, profile = said[b"ihdr"][10], said.get(b"colr", b""), None
    if bits & 0x80:
        raise NotReduced("its samples are signed, or of several depths")
    if b"pclr" in said:  # Pillow merges equal palette entries
        raise NotReduced("its colours are those of a palette within a JPEG 2000 file")
    if colour[:1] in (b"\x02", b"\x03"):
        profile = _sound(colour[3:], _channels(picture.mode))
        if profile is None:
            raise NotReduced("its colours are described by a profile that does not fit them")
    elif colour and (colour[:1] != b"\x01" or int.from_bytes(colour[3:7], "big") not in (16, 17, 18)):  # sRGB, grey, sYCC
        raise NotReduced("its colours are in a space that is not read")
    has_alpha = picture.mode in ("LA", "RGBA", "PA")
    return Samples(is_deep=bits > 7, alpha_is_named=not has_alpha or b"cdef" in said, profile=profile)


def _header_of_jpeg_2000(file: BinaryIO, size_bytes: int) -> dict[bytes, bytes]:
    """Its boxes by type, the first of each; for a bare codestream only the equivalent of an image header (A.5.1)."""
    start = file.read(43)
    if start[:4] == b"\xff\x4f\xff\x51":
        return {b"ihdr": bytes(10) + start[42:43]}
    found: dict[bytes, bytes] = {}
    for kind, body in _boxes(file, 0, size_bytes):
        found.setdefault(kind, body)
    return found


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Boxes up to the picture, including those in the header. Large ones without their content."""

    def read_at(at: int, length: int) -> bytes:
        file.seek(at)
        return file.read(length)

    for box in itertools.islice(boxes_of(read_at, at, end), _MOST_BOXES):
        if box.end > end or box.kind == b"jp2c":
            return
        if box.kind == b"jp2h":
            yield from _boxes(file, box.start, box.end)
        else:
            n_bytes = box.end - box.start
            yield box.kind, read_at(box.start, n_bytes) if n_bytes <= _MOST_BOX_BYTES else b""


_NCLX = re.compile(rb"colrnclx(..)(..)", re.DOTALL)
_PRIMARIES, _CURVES = {1, 2, 5, 6}, {1, 2, 6, 13, 14, 15}  # ITU-T H.273, tables 2 and 3: those of a usual screen, or unspecified


def _of_heif(picture: Image.Image, path: Path) -> Samples:
    """AVIF as well. A profile overrides numeric colour values (ISO 23000-22, 7.3.6.4)."""
    profile = _profile_of(picture, _channels(picture.mode))
    if profile is None:
        with path.open("rb") as file:
            for primaries, curve in _NCLX.findall(file.read(_HEAD_BYTES)):
                if int.from_bytes(primaries, "big") not in _PRIMARIES or int.from_bytes(curve, "big") not in _CURVES:
                    raise NotReduced("its colours are of a wide gamut or a high dynamic range, and it has no ICC profile")
    return Samples(profile=profile)


def _of_bmp(picture: Image.Image, path: Path) -> Samples:
    with path.open("rb") as file:
        head = file.read(138)
    if int.from_bytes(head[14:18], "little") >= 108 and head[70:74] in (b"DEBM", b"KNIL"):  # PROFILE_EMBEDDED, PROFILE_LINKED
        raise NotReduced("it has a colour profile, which is not read")
    return Samples()
