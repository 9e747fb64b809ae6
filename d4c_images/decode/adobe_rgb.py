"""The ICC profile of the colour space that cameras name in EXIF without embedding a profile. Reads no samples.

DCF 2.0 (JEITA CP-3461B) marks such files, whose names begin with an underscore, by the interoperability index "R03".
"""

from __future__ import annotations

import functools
import struct

from PIL import Image
from PIL.ExifTags import IFD

_INDEX, _COLOUR_SPACE, _SRGB = 1, 0xA001, 1
_GAMMA = 0x0233  # 2.19921875 (Adobe RGB (1998), section 4.3.4.2), in 1/256
_WHITE, _PRIMARIES = (0.95045, 1.0, 1.08905), {
    b"r": (0.60974, 0.31111, 0.01947), b"g": (0.20528, 0.62567, 0.06087), b"b": (0.14919, 0.06322, 0.74457),
}  # fmt: skip


def is_meant(exif: Image.Exif) -> bool:
    """Whether EXIF means this colour space. May raise whatever a broken EXIF block makes Pillow raise."""
    return str(exif.get_ifd(IFD.Interop).get(_INDEX)).startswith("R03") and exif.get_ifd(IFD.Exif).get(_COLOUR_SPACE) != _SRGB


@functools.cache
def profile() -> bytes:
    """Built after ICC.1:2001-04: a display with three primaries, under D50, and one curve."""
    name = b"compatible with Adobe RGB (1998)\0"
    blocks = {
        b"desc": b"desc" + struct.pack(">II", 0, len(name)) + name + bytes(78),
        b"cprt": b"text" + bytes(4) + b"no copyright\0",
        b"wtpt": _xyz(_WHITE),
    }
    for channel, xyz in _PRIMARIES.items():
        blocks[channel + b"XYZ"] = _xyz(xyz)
        blocks[channel + b"TRC"] = b"curv" + struct.pack(">IIH", 0, 1, _GAMMA)
    table, body = struct.pack(">I", len(blocks)), b""
    for tag, block in blocks.items():
        table += struct.pack(">4sII", tag, 128 + 4 + 12 * len(blocks) + len(body), len(block))
        body += block + bytes(-len(block) % 4)
    head = struct.pack(">I4sI", 128 + len(table) + len(body), bytes(4), 0x02400000) + b"mntrRGB XYZ "
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz((0.9642, 1.0, 0.8249))[8:]
    return head.ljust(128, b"\0") + table + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in values))
