"""Camera raw files, made here byte by byte from what their formats demand. No photo, and no claim to be a camera's own file.

Only the two DNGs hold sensor data that LibRaw opens. CR2, NEF, ARW, ORF, RW2, RAF and CR3 are *synthetic headers*: magic bytes,
maker and (where the format is a TIFF) a preview in IFD0 with a CFA SubIFD, enough for whoever looks at the bytes, and no more.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL = 1, 2, 3, 4, 5, 7, 10
_CODES = {BYTE: "B", SHORT: "H", LONG: "I", UNDEFINED: "B"}

Entry = tuple[int, tuple[int, ...] | str]  # TIFF field type, values; a rational is two values

CFA_SIZE = (128, 96)
PREVIEW_SIZE = (256, 171)  # what h2non/filetype#95 reports of a real DNG
STRIP_OFFSETS, STRIP_BYTE_COUNTS, SUB_IFDS = 273, 279, 330


@dataclass(slots=True)
class Ifd:
    """One image file directory with its single strip of pixels."""

    entries: dict[int, Entry]
    strip: bytes
    sub: Ifd | None = field(default=None)

    def placed(self, offset: int) -> bytes:
        """The directory, its values, its strip and its SubIFD, as they stand at `offset` of a little-endian file."""
        entries: dict[int, Entry] = dict(self.entries)
        entries[STRIP_OFFSETS] = (LONG, (0,))
        entries[STRIP_BYTE_COUNTS] = (LONG, (len(self.strip),))
        if self.sub:
            entries[SUB_IFDS] = (LONG, (0,))
        values = {tag: _packed(entry) for tag, entry in entries.items()}
        at = offset + 2 + 12 * len(entries) + 4
        places: dict[int, int] = {}
        for tag in sorted(values):
            if len(values[tag]) > 4:
                places[tag] = at
                at += len(values[tag]) + len(values[tag]) % 2
        values[STRIP_OFFSETS] = struct.pack("<I", at)
        end = at + len(self.strip) + len(self.strip) % 2
        if self.sub:
            values[SUB_IFDS] = struct.pack("<I", end)
        out = bytearray(struct.pack("<H", len(entries)))
        for tag in sorted(entries):
            kind, given = entries[tag]
            count = len(values[tag]) if isinstance(given, str) else len(given) // (2 if kind in (RATIONAL, SRATIONAL) else 1)
            cell = struct.pack("<I", places[tag]) if tag in places else values[tag].ljust(4, b"\0")
            out += struct.pack("<HHI", tag, kind, count) + cell
        out += bytes(4)  # no next IFD
        for tag in sorted(places):
            out += values[tag] + bytes(len(values[tag]) % 2)
        out += self.strip + bytes(len(self.strip) % 2)
        return bytes(out) + (self.sub.placed(end) if self.sub else b"")


def dng_with_cfa(text: str) -> bytes:
    """A DNG whose IFD0 is the sensor data: Pillow cannot open it, LibRaw can."""
    return _tiff(Ifd({**_cfa_entries(subfile=0), **_dng_entries(), **_named("d4c", "Synthetic", text)}, _cfa_strip()))


def dng_with_preview(text: str) -> bytes:
    """A DNG whose IFD0 is a 256 x 171 RGB preview: Pillow opens it as that TIFF, LibRaw finds the sensor data in the SubIFD."""
    entries = {**_preview_entries(), **_dng_entries(), **_named("d4c", "Synthetic", text)}
    return _tiff(Ifd(entries, _preview_strip(), Ifd(_cfa_entries(subfile=0), _cfa_strip())))


def cr2(text: str) -> bytes:
    return _tiff(_camera_ifd("Canon", "Canon EOS 5D", text), after_magic=b"CR\x02\x00" + bytes(4))


def nef(text: str) -> bytes:
    return _tiff(_camera_ifd("NIKON CORPORATION", "NIKON D70", text))


def arw(text: str) -> bytes:
    return _tiff(_camera_ifd("SONY", "ILCE-7M3", text))


def orf(text: str) -> bytes:
    return _tiff(_camera_ifd("OLYMPUS CORPORATION", "E-M1", text), magic=b"IIRO")


def rw2(text: str) -> bytes:
    return _tiff(_camera_ifd("Panasonic", "DMC-GH4", text), magic=b"IIU\x00")


def raf(text: str) -> bytes:
    return b"FUJIFILMCCD-RAW 0201FF383501X-T2".ljust(160, b"\0") + _comment(text) + _cfa_strip()


def cr3(text: str) -> bytes:
    ftyp = b"crx " + struct.pack(">I", 1) + b"crx isom"
    return _box(b"ftyp", ftyp) + _box(b"moov", _box(b"free", _comment(text))) + _box(b"mdat", _cfa_strip())


RAW_FILES: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "dng": ("image/x-adobe-dng", dng_with_cfa),
    "cr2": ("image/x-canon-cr2", cr2),
    "cr3": ("image/x-canon-cr3", cr3),
    "nef": ("image/x-nikon-nef", nef),
    "arw": ("image/x-sony-arw", arw),
    "raf": ("image/x-fuji-raf", raf),
    "orf": ("image/x-olympus-orf", orf),
    "rw2": ("image/x-panasonic-rw2", rw2),
}
"""By file extension: media type and maker."""


def _tiff(ifd: Ifd, *, magic: bytes = b"II*\x00", after_magic: bytes = b"") -> bytes:
    offset = 8 + len(after_magic)
    return magic + struct.pack("<I", offset) + after_magic + ifd.placed(offset)


def _camera_ifd(make: str, model: str, text: str) -> Ifd:
    sensor = Ifd(_cfa_entries(subfile=0), _cfa_strip())
    return Ifd({**_preview_entries(), **_named(make, model, text)}, _preview_strip(), sensor)


def _named(make: str, model: str, text: str) -> dict[int, Entry]:
    return {270: (ASCII, text or "-"), 271: (ASCII, make), 272: (ASCII, model)}


def _cfa_entries(subfile: int) -> dict[int, Entry]:
    width, height = CFA_SIZE
    return {
        254: (LONG, (subfile,)),
        256: (LONG, (width,)),
        257: (LONG, (height,)),
        258: (SHORT, (16,)),
        259: (SHORT, (1,)),
        262: (SHORT, (32803,)),  # colour filter array
        277: (SHORT, (1,)),
        278: (LONG, (height,)),
        284: (SHORT, (1,)),
        33421: (SHORT, (2, 2)),
        33422: (BYTE, (0, 1, 1, 2)),  # RGGB
        50714: (LONG, (0,)),
        50717: (LONG, (65535,)),
    }


def _preview_entries() -> dict[int, Entry]:
    width, height = PREVIEW_SIZE
    return {
        254: (LONG, (1,)),  # a reduced-resolution image
        256: (LONG, (width,)),
        257: (LONG, (height,)),
        258: (SHORT, (8, 8, 8)),
        259: (SHORT, (1,)),
        262: (SHORT, (2,)),
        277: (SHORT, (3,)),
        278: (LONG, (height,)),
        284: (SHORT, (1,)),
    }


def _dng_entries() -> dict[int, Entry]:
    matrix = (10000, 0, 0, 0, 10000, 0, 0, 0, 10000)
    return {
        274: (SHORT, (1,)),
        50706: (BYTE, (1, 4, 0, 0)),  # DNGVersion: the tag that makes a TIFF a DNG
        50707: (BYTE, (1, 1, 0, 0)),
        50708: (ASCII, "d4c synthetic"),
        50721: (SRATIONAL, tuple(number for value in matrix for number in (value, 10000))),
        50728: (RATIONAL, (1, 2, 1, 1, 1, 2)),
        50778: (SHORT, (21,)),
    }


def _cfa_strip() -> bytes:
    width, height = CFA_SIZE
    return struct.pack(f"<{width * height}H", *(((x * 397 + y * 211) % 60000) for y in range(height) for x in range(width)))


def _preview_strip() -> bytes:
    width, height = PREVIEW_SIZE
    return bytes(value for y in range(height) for x in range(width) for value in (x, y, (x + y) % 256))


def _packed(entry: Entry) -> bytes:
    kind, values = entry
    if isinstance(values, str):
        return values.encode("utf-8") + b"\0"
    if kind in (RATIONAL, SRATIONAL):
        return struct.pack(f"<{len(values)}{'I' if kind == RATIONAL else 'i'}", *values)
    return struct.pack(f"<{len(values)}{_CODES[kind]}", *values)


def _comment(text: str) -> bytes:
    return text.encode("utf-8")[:400].ljust(400, b"\0")


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body
