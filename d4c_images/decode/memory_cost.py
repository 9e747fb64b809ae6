"""How much memory a decode takes: bytes per pixel, as measured for each format (docs/adr/0033). Decodes nothing."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

_BYTES_PER_PIXEL = {"PNG": 5, "GIF": 2, "TIFF": 8, "WEBP": 20, "BMP": 5, "JPEG2000": 20, "AVIF": 12, "HEIF": 12}
_BYTES_PER_PIXEL_OF_FILMS = {"GIF": 14, "AVIF": 24}
_READ_AS_A_WHOLE = {"WEBP": 1, "AVIF": 1, "HEIF": 2, "JPEG2000": 3, "TIFF": 1}  # multiples of the file size


def of_whole(picture: Image.Image, path: Path) -> int:
    """For a picture as Pillow decodes it; all formats but JPEG."""
    form = picture.format or ""
    is_film = getattr(picture, "is_animated", False)
    per_pixel = (_BYTES_PER_PIXEL_OF_FILMS if is_film else {}).get(form) or _BYTES_PER_PIXEL[form]
    return picture.width * picture.height * per_pixel + of_file(form, path)


def of_pixels(form: str, size: tuple[int, int]) -> int:
    """For one picture of a format, without the part that does not depend on the pixels."""
    return size[0] * size[1] * _BYTES_PER_PIXEL[form]


def of_opening(form: str, path: Path) -> int:
    """Before anything is known about the picture: some formats are read into memory when opened."""
    return of_file(form, path) if form in ("WEBP", "AVIF", "HEIF") else 0


def of_file(form: str, path: Path) -> int:
    """The part that does not depend on the pixels."""
    return _READ_AS_A_WHOLE.get(form, 0) * path.stat().st_size
