"""Makes the picture of a small upright JPEG from a large one, as a whole or piece by piece. Decides nothing about memory.

Pieces are reduced by a power of two, which tile and most strip borders are multiples of, and put together; the rest is done to the
whole. Problems that only decoding reveals raise `NotReduced`, too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, ImageCms, ImageFile, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from d4c_images.decode import png, tiff
from d4c_images.decode.samples import UNREADABLE, NotReduced, Samples, samples_of
from d4c_images.policy.sniff import segments

COMMENT = b"d4c-images original-sha256="
MOST_FACTOR = 16  # tile sides are multiples of it (TIFF 6.0, section 15)
_MOST_SEGMENTS = 1000
_COMMENT_MARKER = 0xFE
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class ReducePlan:
    """What to make of a picture."""

    samples: Samples
    orientation: int
    max_edge: int


def original_sha256_of(path: Path, media_type: str) -> bytes | None:
    """The hash that `Decoder.reduce` stored in a JPEG."""
    if media_type != "image/jpeg":
        return None
    size_bytes = len(COMMENT) + 64
    with path.open("rb") as file:

        def read_at(at: int, length: int) -> bytes:
            file.seek(at)
            return file.read(length)

        for marker, at, end in islice(segments(read_at), _MOST_SEGMENTS):
            if marker == _COMMENT_MARKER and end - at == 4 + size_bytes:
                comment = read_at(at + 4, size_bytes)
                if comment.startswith(COMMENT):
                    return _from_hex(comment.removeprefix(COMMENT))
    return None


def _from_hex(digits: bytes) -> bytes | None:
    try:
        digest = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return None
    return digest if len(digest) == 32 else None


def orientation_of(picture: Image.Image, path: Path) -> int:
    """1 to 8 (TIFF 6.0, section 8), for a picture not yet loaded. 1 if the orientation cannot be read."""
    if picture.format == "PNG" and "exif" not in picture.info:
        with path.open("rb") as file:
            exif = png.notes(file).get(b"eXIf")  # may come after the picture
        if exif:
            picture.info["exif"] = b"Exif\0\0" + exif
    try:
        said = int(_orientation_tag(picture))
    except UNREADABLE:
        return 1
    return said if said in _UPRIGHT else 1


def _orientation_tag(picture: Image.Image) -> Any:
    if isinstance(picture, TiffImageFile) and _ORIENTATION in picture.tag_v2:
        return picture.tag_v2[_ORIENTATION]
    return Image.Image.getexif(picture).get(_ORIENTATION, 1)  # a PNG's own `getexif` would load the picture


def plan_of(picture: ImageFile.ImageFile, path: Path, max_edge: int) -> ReducePlan:
    """For a picture not yet loaded. Raises `NotReduced`."""
    return ReducePlan(samples_of(picture, path), orientation_of(picture, path), max_edge)


def made(picture: Image.Image, plan: ReducePlan) -> Image.Image:
    """In RGB or grey, upright; with its ICC profile, if that matches its colours. Raises `NotReduced`."""
    transparency = picture.info.get("transparency")
    orientation = plan.orientation
    if isinstance(picture, TiffImageFile):  # Pillow rotates these on loading, by their EXIF
        picture._exif = _exif_of(orientation)
        picture.info.pop("xmp", None)
        orientation = 1
    picture.load()
    picture.info = {} if transparency is None else {"transparency": transparency}  # dropping all else
    return _finished(_plain(picture, plan.samples), plan, orientation)


def _exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    exif._loaded = True
    return exif


def _finished(picture: Image.Image, plan: ReducePlan, orientation: int) -> Image.Image:
    """From a picture in 8-bit grey or RGB, with or without alpha."""
    samples = plan.samples
    picture.thumbnail((plan.max_edge, plan.max_edge), Image.Resampling.LANCZOS, reducing_gap=3.0)
    if samples.is_deep and not _reaches_upper_half(picture):
        raise NotReduced("its 16-bit samples stay in the lower half: it may be dark, or of 12 bits, and nothing says which")
    if samples.is_white_zero:
        picture = ImageOps.invert(picture)
    if picture.mode in ("LA", "RGBA"):
        picture = _on_white(picture, samples)
    if orientation != 1:
        picture = picture.transpose(_UPRIGHT[orientation])
    picture.info = {}
    if samples.profile is not None and samples.profile[16:20] == {"L": b"GRAY", "RGB": b"RGB "}[picture.mode]:
        picture.info["icc_profile"] = samples.profile  # not one used for its conversion
    return picture


def _reaches_upper_half(picture: Image.Image) -> bool:
    n_colours = 1 if picture.mode in ("L", "LA") else 3
    return any(any(picture.getchannel(n).histogram()[128:]) for n in range(n_colours))


def _on_white(picture: Image.Image, samples: Samples) -> Image.Image:
    alpha = picture.getchannel("A")
    lowest, highest = alpha.getextrema()
    if highest == 0:
        raise NotReduced("it is transparent everywhere")
    if lowest != 255 and not samples.alpha_is_named:
        raise NotReduced("it has a fourth channel, and nothing says whether that is an alpha channel")
    mode = picture.mode.removesuffix("A")
    white = Image.new(mode, picture.size, "white")
    white.paste(picture.convert(mode), mask=alpha)
    return white


def comes_in_pieces(picture: Image.Image, path: Path) -> bool:
    if isinstance(picture, TiffImageFile):
        return not tiff.lies_in_planes(picture)
    if picture.format != "PNG":
        return False
    with path.open("rb") as file:
        return png.comes_in_bands(file)


def factor(picture: Image.Image, max_edge: int) -> int:
    """By how much to reduce pieces: the result is at least twice the final size."""
    by = 1
    while by < MOST_FACTOR and max(picture.size) >= 4 * max_edge * by:
        by *= 2
    return by


def made_of_pieces(picture: ImageFile.ImageFile, file: BinaryIO, by: int, plan: ReducePlan) -> Image.Image:
    """As `made`; the file's pieces are decoded one after the other and reduced `by` on the fly. Raises `tiff.Uncut`."""
    size = (int(picture.tag_v2[256]), int(picture.tag_v2[257])) if isinstance(picture, TiffImageFile) else picture.size
    whole: Image.Image | None = None
    for x, y, piece in _pieces(picture, file, by):
        part = _plain(piece, plan.samples).reduce(by)
        if whole is None:
            whole = Image.new(part.mode, (-(-size[0] // by), -(-size[1] // by)))
        whole.paste(part, (x // by, y // by))
    if whole is None:
        raise ValueError("no picture")
    return _finished(whole, plan, plan.orientation)


def _pieces(picture: ImageFile.ImageFile, file: BinaryIO, multiple: int) -> Iterator[tuple[int, int, Image.Image]]:
    if not isinstance(picture, TiffImageFile):
        yield from ((0, y, band) for y, band in png.bands(picture, file, multiple))
        return
    for piece in tiff.pieces(picture, file, multiple):
        with Image.open(io.BytesIO(piece.body), formats=["TIFF"]) as part:
            yield piece.x, piece.y, part


def _plain(picture: Image.Image, samples: Samples) -> Image.Image:
    """In 8-bit grey or RGB, with alpha if anything may be transparent; not inverted."""
    mode = picture.mode
    if mode.startswith("I;16"):
        scale = 255 / samples.white
        return picture.convert("I").point(lambda value: value * scale + 0.5).convert("L")
    if mode in ("CMYK", "LAB"):
        return _from_inks(picture, samples.profile)
    if mode == "1":
        return picture.convert("L")
    if samples.is_grey and mode == "RGBA":  # Pillow's mode for 16-bit grey with alpha
        return Image.merge("LA", (picture.getchannel(0), picture.getchannel(3)))
    if not picture.has_transparency_data:
        return picture if mode in ("L", "RGB") else picture.convert("RGB")
    return picture if mode in ("LA", "RGBA") else picture.convert("LA" if mode in ("L", "La") else "RGBA")


def _from_inks(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """In sRGB: by the picture's own profile; without one, as inks that each absorb their own light."""
    if picture.mode == "CMYK" and profile is None:
        return picture.convert("RGB")
    try:
        is_lab = picture.mode == "LAB"
        own = ImageCms.createProfile("LAB") if is_lab else ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        made = ImageCms.profileToProfile(picture, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise NotReduced("its colour profile cannot be used") from error
    if made is None:
        raise ValueError("no picture")
    return made
