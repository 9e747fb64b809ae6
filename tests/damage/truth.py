"""What is wrong with a file by the rules of its format alone: readers of our own, which share no code with the program.

`Seen.picture` is damage of the main picture or of the file's structure that the format itself can show: a length beyond the end,
a checksum, a code that does not exist, data that end too early. `Seen.side` is the same in further pictures and metadata.
`Seen.trace` is what whole files have as well now and then, or what common decoders pass over: it proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.damage import truth_boxes, truth_gif, truth_jpeg, truth_plain, truth_png, truth_tiff
from tests.damage.seen import Broken, Seen


def _read_raw(body: bytes) -> Seen:
    return truth_boxes.read_cr3(body) if body[4:8] == b"ftyp" else truth_tiff.read_lengths(body)


READERS: dict[str, Callable[[bytes], Seen]] = {
    "jpeg": truth_jpeg.read_mildly,
    "png": truth_png.read,
    "gif": truth_gif.read,
    "tiff": truth_tiff.read,
    "webp": truth_plain.read_webp,
    "bmp": truth_plain.read_bmp,
    "jp2": truth_boxes.read_jp2,
    "avif": truth_boxes.read_heif,
    "heic": truth_boxes.read_heif,
    "raw": _read_raw,
}


def seen(form: str, body: bytes) -> Seen:
    try:
        return READERS[form](body)
    except Broken as error:
        return Seen(picture=str(error))
