"""Makes a small upright JPEG's picture of a large one, as a whole or piece by piece. Decides nothing about memory.

Pieces are reduced by a power of two, at which tiles and most strips begin and end, and put together; the rest is done to the whole.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageCms, ImageFile, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from d4c_images.decode import jpeg, png, tiff

COMMENT = b"d4c-images original-sha256="
MOST_FACTOR = 16  # the sides of a tile are multiples of it (TIFF 6.0, section 15)
_ORIENTATION = 0x0112


def original_sha256_of(path: Path, media_type: str) -> bytes | None:
    """The hash that `Decoder.reduce` has left in a JPEG."""
    if media_type != "image/jpeg":
        return None
    with jpeg.opened(path) as body:
        comment = jpeg.comment_of(body)
    try:
        digest = bytes.fromhex(comment.removeprefix(COMMENT).decode("ascii"))
    except ValueError:
        return None
    return digest if comment.startswith(COMMENT) and len(digest) == 32 else None


def is_turned(picture: Image.Image) -> bool:
    return _orientation(picture) not in (0, 1)


def _orientation(picture: Image.Image) -> int:
    return int(Image.Image.getexif(picture).get(_ORIENTATION, 1))  # that of a PNG would load the picture


def made(picture: Image.Image, max_edge: int) -> Image.Image:
    """In RGB or grey, upright, of at most `max_edge`; with its ICC profile, if that is of its colours."""
    profile = picture.info.get("icc_profile")
    picture.load()
    small = _plain(ImageOps.exif_transpose(picture) if is_turned(picture) else picture, profile)
    if picture.mode in ("CMYK", "LAB"):
        profile = None  # it spoke of other channels
    small.thumbnail((max_edge, max_edge), Image.Resampling.LANCZOS, reducing_gap=3.0)
    small.info = {"icc_profile": profile} if profile else {}
    return small


def comes_in_pieces(picture: Image.Image, path: Path) -> bool:
    if isinstance(picture, TiffImageFile):
        return not tiff.lies_in_planes(picture) and picture.mode != "F"  # whose scale is that of the whole
    if picture.format != "PNG":
        return False
    with path.open("rb") as file:
        return png.comes_in_bands(file)


def factor(picture: Image.Image, max_edge: int) -> int:
    """By how much pieces are to be reduced: what is left is at least twice as large as it shall be."""
    by = 1
    while by < MOST_FACTOR and max(picture.size) >= 4 * max_edge * by:
        by *= 2
    return by


def made_of_pieces(picture: ImageFile.ImageFile, file: BinaryIO, by: int, max_edge: int) -> Image.Image:
    """As `made`; the file's pieces are decoded one after the other, and reduced `by` as they come. Raises `tiff.Uncut`."""
    size = (int(picture.tag_v2[256]), int(picture.tag_v2[257])) if isinstance(picture, TiffImageFile) else picture.size
    profile = picture.info.get("icc_profile")
    whole: Image.Image | None = None
    for x, y, piece in _pieces(picture, file, by):
        part = _plain(piece, profile).reduce(by)
        if whole is None:
            whole = Image.new(part.mode, (-(-size[0] // by), -(-size[1] // by)))
        whole.paste(part, (x // by, y // by))
    if whole is None:
        raise ValueError("no picture")
    whole.getexif()[_ORIENTATION] = _orientation(picture)
    whole.info = {"icc_profile": profile} if profile and picture.mode not in ("CMYK", "LAB") else {}
    return made(whole, max_edge)


def _pieces(picture: ImageFile.ImageFile, file: BinaryIO, multiple: int) -> Iterator[tuple[int, int, Image.Image]]:
    if not isinstance(picture, TiffImageFile):
        yield from ((0, y, band) for y, band in png.bands(picture, file, multiple))
        return
    for piece in tiff.pieces(picture, file, multiple):
        with Image.open(io.BytesIO(piece.body), formats=["TIFF"]) as part:
            yield piece.x, piece.y, part


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
