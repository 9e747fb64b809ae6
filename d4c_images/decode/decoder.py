"""Says what a stored file is, and makes a smaller JPEG of it: the entry point of this package. Decides nothing about its fate.

What is read, and how: `picture_reader`. What no format can reveal: docs/explanation/damage.md.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageFile, PngImagePlugin

from d4c_images.decode.bounds import MAX_PIXELS, MOST_HEADER_BYTES, DecodeBounds, TakesLong, TooManyPixels
from d4c_images.decode.faults import DECODE_ERRORS, Damaged, NoPicture, Unread, raise_if_of_disk
from d4c_images.decode.memory_budget import MemoryBudget
from d4c_images.decode.picture_reader import PictureReader
from d4c_images.decode.read_result import Reading
from d4c_images.decode.reduce import Reduced, Reducer
from d4c_images.decode.samples import NotReduced
from d4c_images.policy.judge import DecodeFault, DecodeResult
from d4c_images.policy.sniff import Kind, Sniffed

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


class Decoder:
    """Says what files are. Thread-safe."""

    def __init__(self, max_edge: int | None = None, room: MemoryBudget | None = None, max_pixels: int = MAX_PIXELS) -> None:
        """`max_edge`: the longest edge of the JPEG that `reduce` makes, in pixels."""
        self.max_edge = max_edge
        bounds = DecodeBounds(room or MemoryBudget(), max_pixels)
        self._reader, self._reducer = PictureReader(bounds), Reducer(bounds)
        Image.MAX_IMAGE_PIXELS = None  # replaced by our own limit
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        PngImagePlugin.MAX_TEXT_CHUNK = MOST_HEADER_BYTES  # for scanners' profiles
        PngImagePlugin.MAX_TEXT_MEMORY = 2 * MOST_HEADER_BYTES
        warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters is an error when loading

    def check(self, path: Path, sniffed: Sniffed, *, may_take_long: bool = True) -> DecodeResult:
        """Read a file, of the type given by `sniffed`, to its end. Raises `OSError` only if the disk fails, and `TakesLong`.

        `detail` of a picture that is `ok`: what libjpeg warned about, sometimes the only trace of damage; or what was not decoded,
        and why.
        """
        if sniffed.truncated:
            return DecodeResult(False, DecodeFault.TRUNCATED, "The file is cut off: it promises more than it holds.")
        if sniffed.kind is Kind.RAW:
            return _check_raw(path, sniffed)
        if sniffed.media_type not in _FORMATS:
            return DecodeResult(False, DecodeFault.UNDECODABLE, f"no decoder for {sniffed.media_type}")
        try:
            read = self._reader.read(path, _FORMATS[sniffed.media_type], may_take_long)
        except TooManyPixels as error:
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
        """A JPEG of at most `max_edge`, upright, RGB or grey, ICC profile kept; its comment contains the original's hash.

        None if the file is to be stored as it is: it is such a JPEG already, or not a decodable picture (camera raw). Raises
        `NotReduced` if no correct one can be made; `OSError` only if the disk fails; and `TakesLong`.
        """
        if self.max_edge is None or media_type not in _FORMATS:
            return None
        try:
            return self._reducer.reduced(path, original_sha256, _FORMATS[media_type], self.max_edge, may_take_long)
        except (TakesLong, NotReduced, MemoryError):
            raise
        except Exception as error:  # from a decoder, an encoder or a metadata reader: the original is there anyway
            raise_if_of_disk(error)
            raise NotReduced("it could not be decoded to make it smaller") from error


def _check_raw(path: Path, sniffed: Sniffed) -> DecodeResult:
    """Whether LibRaw opens the file: its structure and sizes, not its pixels."""
    import rawpy  # LibRaw, which most workers never need

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
