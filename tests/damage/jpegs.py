"""JPEGs of all common kinds, and unusual content in their segments."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Iterator

import numpy
import simplejpeg
from PIL import Image

from tests.damage.whole import Make, Whole, garbage, saved, scene, some_size, trailers


def _sampled(sampling: str) -> Make:
    def make(dice: random.Random) -> Whole:
        picture = numpy.asarray(scene(dice, some_size(dice))).copy()
        return Whole(simplejpeg.encode_jpeg(picture, dice.randint(60, 92), "RGB", sampling))

    return make


def _by_pillow(mode: str = "RGB", **options: object) -> Make:
    def make(dice: random.Random) -> Whole:
        body = saved(scene(dice, some_size(dice), mode), "JPEG", quality=dice.randint(60, 92), **options)
        group = "JPEG progressive" if "progressive" in options else "JPEG restarts" if "restart_marker_blocks" in options else ""
        return Whole(body, group=group)

    return make


def _large(dice: random.Random) -> Whole:
    return Whole(saved(scene(dice, (420, 300)), "JPEG", quality=92))


def segment(marker: int, said: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(said) + 2) + said


def segments(body: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """What stands before the first scan, and the rest."""
    at, found = 2, []
    while body[at + 1] != 0xDA:
        length = int.from_bytes(body[at + 2 : at + 4], "big")
        found.append((body[at + 1], body[at + 4 : at + 2 + length]))
        at += 2 + length
    return found, body[at:]


def _in_three_scans(dice: random.Random) -> Whole:
    """Each component in a scan of its own, as sequential JPEGs may have them."""
    planes = scene(dice, some_size(dice)).split()
    parts = [segments(saved(plane, "JPEG", quality=80)) for plane in planes]
    out = [b"\xff\xd8"]
    for marker, said in parts[0][0]:
        if marker == 0xC0:
            frame = said[:5] + b"\3" + b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
            out.append(segment(marker, frame))
        elif not 0xE0 <= marker <= 0xEF:
            out.append(segment(marker, said))
    out.append(segment(0xEE, b"Adobe\0\x64\0\0\0\0\0"))  # RGB
    for number, (_, rest) in enumerate(parts, 1):
        length = 2 + int.from_bytes(rest[2:4], "big")
        out.append(segment(0xDA, bytes((1, number, 0, 0, 63, 0))) + rest[length:-2])
    return Whole(b"".join(out) + b"\xff\xd9")


def _of_a_phone(dice: random.Random) -> Whole:
    """A second picture behind the first (MPF), of which the first picture's index tells."""
    pages = [scene(dice, some_size(dice)) for _ in range(2)]
    return Whole(saved(pages[0], "MPO", save_all=True, append_images=pages[1:], quality=80))


def _with_thumbnail(dice: random.Random) -> Whole:
    picture = scene(dice, some_size(dice))
    return Whole(with_segment(saved(picture, "JPEG", quality=80), 0xE1, exif_with_thumbnail(picture, dice)))


def exif_with_thumbnail(picture: Image.Image, dice: random.Random, length: int | None = None) -> bytes:
    small = saved(picture.resize((32, 24)), "JPEG")
    first = struct.pack("<H", 1) + struct.pack("<HHII", 0x0112, 3, 1, dice.randint(1, 8)) + struct.pack("<I", 26)
    told = len(small) if length is None else length
    second = struct.pack("<H", 2) + struct.pack("<HHII", 0x0201, 4, 1, 56) + struct.pack("<HHII", 0x0202, 4, 1, told) + bytes(4)
    return b"Exif\0\0II*\0\x08\0\0\0" + first + second + small


def _arithmetic(dice: random.Random) -> Whole:
    """Random bytes are decisions of an arithmetic decoder like any others; what libjpeg has no word for is a picture."""
    while True:
        size = some_size(dice)
        tables = [said for marker, said in segments(saved(scene(dice, size, "L"), "JPEG"))[0] if marker == 0xDB]
        frame = segment(0xC9, struct.pack(">BHHB", 8, size[1], size[0], 1) + b"\1\x11\0")
        data = dice.randbytes(dice.randint(300, 600)).replace(b"\xff", b"\xff\0")
        scan = segment(0xDA, b"\1\1\0\0\x3f\0") + data
        body = b"".join((b"\xff\xd8", segment(0xDB, tables[0]), frame, scan, b"\xff\xd9"))
        try:
            simplejpeg.decode_jpeg(body)
        except ValueError:
            continue
        return Whole(body, group="JPEG arithmetic")


def with_segment(body: bytes, marker: int, said: bytes) -> bytes:
    return body[:2] + segment(marker, said) + body[2:]


FAMILIES: dict[str, Make] = {
    **{f"jpeg/baseline-{sampling}": _sampled(sampling) for sampling in ("444", "422", "420", "440", "411")},
    "jpeg/large": _large,
    "jpeg/optimized": _by_pillow(optimize=True),
    "jpeg/grey": _by_pillow("L"),
    "jpeg/cmyk": _by_pillow("CMYK"),
    "jpeg/progressive": _by_pillow(progressive=True),
    "jpeg/progressive-grey": _by_pillow("L", progressive=True),
    "jpeg/progressive-cmyk": _by_pillow("CMYK", progressive=True),
    "jpeg/restarts": _by_pillow(restart_marker_blocks=3),
    "jpeg/restarts-rows": _by_pillow(restart_marker_rows=1, progressive=True),
    "jpeg/arithmetic": _arithmetic,
    "jpeg/three-scans": _in_three_scans,
    "jpeg/phone": _of_a_phone,
    "jpeg/thumbnail": _with_thumbnail,
}


def odd(dice: random.Random, body: bytes) -> Iterator[tuple[str, Whole]]:
    yield from trailers(dice, body)
    with Image.open(io.BytesIO(body)) as picture:
        thumbnail = exif_with_thumbnail(picture.convert("RGB"), dice)
    xmp = b"http://ns.adobe.com/xap/1.0/\0"
    rational = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + struct.pack(">HHII", 0x0112, 3, 1, 6 << 16)
    rational += struct.pack(">HHII", 0x829A, 10, 1, 38) + bytes(4) + struct.pack(">ii", -1, 0)
    mpf = b"MPF\0MM\0*\0\0\0\x08\0\x03" + struct.pack(">HHI4s", 0xB000, 7, 4, b"0100") + struct.pack(">HHII", 0xB001, 4, 1, 2)
    said = {
        "EXIF garbage": (0xE1, b"Exif\0\0" + garbage(dice)),
        "EXIF of a TIFF header alone": (0xE1, b"Exif\0\0II*\0\x08\0\0\0"),
        "EXIF with directories in a ring": (0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0\x08\0\0\0"),
        "EXIF with a rational -1/0": (0xE1, rational),
        "EXIF with a cut thumbnail": (0xE1, thumbnail[:-200]),
        "EXIF with a zeroed thumbnail": (0xE1, thumbnail[:-200] + bytes(200)),
        "EXIF orientation 99": (0xE1, b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 0x0112, 3, 1, 99) + bytes(4)),
        "XMP garbage": (0xE1, xmp + garbage(dice)),
        "XMP cut": (0xE1, xmp + b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF"),
        "ICC garbage": (0xE2, b"ICC_PROFILE\0\1\1" + garbage(dice)),
        "ICC second of three parts": (0xE2, b"ICC_PROFILE\0\2\3" + dice.randbytes(100)),
        "ICC part 0 of 0": (0xE2, b"ICC_PROFILE\0\0\0" + dice.randbytes(100)),
        "MPF garbage": (0xE2, b"MPF\0" + garbage(dice)),
        "MPF without entries": (0xE2, mpf),
        "MPF beyond the end": (0xE2, mpf + struct.pack(">HHII", 0xB002, 7, 32, 50) + bytes(4) + dice.randbytes(16) + b"\x7f" * 16),
        "Photoshop garbage": (0xED, b"Photoshop 3.0\x008BIM" + garbage(dice)),
        "Photoshop cut": (0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\xff\xff" + dice.randbytes(30)),
        "Adobe garbage": (0xEE, b"Adobe" + dice.randbytes(2)),
        "unknown segment": (0xE0 + dice.randint(3, 11), garbage(dice)),
        "comment of 65533": (0xFE, dice.randbytes(65_533)),
        "empty comment": (0xFE, b""),
        "JFIF of version 9": (0xE0, b"JFIF\0\x09\x09\0\0\1\0\1\0\0"),
        "JFIF cut": (0xE0, b"JFIF\0"),
        "JFXX": (0xE0, b"JFXX\0\x10" + dice.randbytes(90)),
        "FlashPix": (0xE2, b"FPXR\0" + dice.randbytes(60)),
    }
    for name, (marker, what) in said.items():
        yield name, Whole(with_segment(body, marker, what))
    part = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + dice.randbytes(65_400))
    yield "XMP in 140 segments", Whole(body[:2] + part * 140 + body[2:])
    yield "EXIF before and after", Whole(with_segment(with_segment(body, 0xE1, thumbnail), 0xE1, b"Exif\0\0"))
    yield "fill bytes", Whole(body[:2] + b"\xff" * 9 + body[2:])
    scan = len(body) - len(segments(body)[1])  # not that of a thumbnail, whose segment would become too short
    yield "bytes before the scan", Whole(body[:scan] + bytes(dice.randint(1, 40)) + body[scan:])
    yield "bytes before the end", Whole(body[:-2] + bytes(dice.randint(1, 6)) + body[-2:])
