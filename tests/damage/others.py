"""WebP, BMP, JPEG 2000, AVIF, HEIC and camera raw, and odd things in their chunks and boxes."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pillow_heif

from tests.damage.whole import Make, Whole, garbage, saved, scene, some_size, trailers
from tests.publishers import rawfiles

pillow_heif.register_heif_opener()


LARGE = (401, 301)


def _by_pillow(form: str, mode: str = "RGB", size: tuple[int, int] | None = None, **options: object) -> Make:
    return lambda dice: _whole(form, saved(scene(dice, size or some_size(dice), mode), form, **options))


def _whole(form: str, body: bytes) -> Whole:
    """A WebP may lack the byte that makes its last chunk even."""
    is_padded = form == "WEBP" and body[12:16] != b"VP8X" and int.from_bytes(body[16:20], "little") % 2
    return Whole(body, len(body) - 1, is_soft=True) if is_padded else Whole(body)


def _film(form: str, **options: object) -> Make:
    def make(dice: random.Random) -> Whole:
        size = some_size(dice, 100)
        pages = [scene(dice, size) for _ in range(3)]
        return Whole(saved(pages[0], form, save_all=True, append_images=pages[1:], duration=100, **options))

    return make


# BMP -------------------------------------------------------------------------------------------------------------------------


def bmp(
    size: tuple[int, int], bits: int, rows: bytes, *, header: int = 40, packing: int = 0, masks: bytes = b"", step: int = 1
) -> bytes:
    width, height = size
    levels = range(1 << bits) if bits <= 8 else ()
    palette = bytes(number for level in levels for number in (*(level * step,) * 3, *(() if header == 12 else (0,))))
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, packing, len(rows), 2835, 2835, 0, 0)
        info += masks.ljust(header - 40, b"\0") if header > 40 else masks
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + palette + rows


def _plain_bmp(bits: int, **options: object) -> Make:
    def make(dice: random.Random) -> Whole:
        width, height = some_size(dice)
        row = (width * bits + 31) // 32 * 4
        smooth = bytes(number // 3 & 0x7F for number in range(row))
        rows = b"".join(dice.randbytes(row) if dice.random() < 0.3 else smooth for _ in range(height))
        is_upside_down = dice.random() < 0.3 and options.get("header") != 12
        body = bmp((width, -height if is_upside_down else height), bits, rows, **options)  # type: ignore[arg-type]
        return Whole(body, len(body) - row + (width * bits + 7) // 8, is_soft=True)  # what fills the last row up is no pixel

    return make


def _run_lengths(bits: int) -> Make:
    def make(dice: random.Random) -> Whole:
        width, height = some_size(dice)
        out = bytearray()
        for _ in range(height):
            left = width
            while left:
                run = min(left, dice.randint(3, 30))
                if run < 3 or dice.random() < 0.5:
                    out += bytes((run, dice.randrange(256)))
                else:
                    n_bytes = run if bits == 8 else (run + 1) // 2
                    out += bytes((0, run)) + dice.randbytes(n_bytes) + bytes(n_bytes % 2)
                left -= run
            out += b"\0\0"
        body = bmp((width, height), bits, bytes(out) + b"\0\1", packing=1 if bits == 8 else 2)
        return Whole(body, len(body) - 4, is_soft=True, group="BMP run lengths")

    return make


# HEIC ------------------------------------------------------------------------------------------------------------------------


def _heic(n_pages: int = 1, mode: str = "RGB", size: tuple[int, int] | None = None, **options: object) -> Make:
    def make(dice: random.Random) -> Whole:
        shape = size or some_size(dice, 120)
        pages = [scene(dice, shape, mode) for _ in range(n_pages)]
        more = {"save_all": True, "append_images": pages[1:]} if n_pages > 1 else {}
        return Whole(saved(pages[0], "HEIF", quality=60, **more, **options))

    return make


def _orf(text: str) -> bytes:
    """Its sensor data stand in the first directory."""
    return b"IIRO" + rawfiles.dng_with_cfa(text)[4:]


def _raw(make: object) -> Make:
    def made(dice: random.Random) -> Whole:
        return Whole(make(f"{dice.random()}"))  # type: ignore[operator]

    return made


_EXIF = b"Exif\0\0II*\0\x08\0\0\0" + bytes(6)  # of no entries
_J2K = {"no_jp2": True, "irreversible": True, "quality_mode": "rates"}
FAMILIES: dict[str, Make] = {
    "webp/lossy": _by_pillow("WEBP", quality=80),
    "webp/large": _by_pillow("WEBP", size=LARGE, quality=85),
    "webp/large-lossless": _by_pillow("WEBP", size=LARGE, lossless=True),
    "webp/alpha": _by_pillow("WEBP", "RGBA", quality=70),
    "webp/lossless": _by_pillow("WEBP", lossless=True),
    "webp/film": _film("WEBP", quality=70),
    "webp/lossless-film": _film("WEBP", lossless=True),
    "webp/metadata": _by_pillow("WEBP", exif=_EXIF, xmp=b"<x:xmpmeta/>", icc_profile=b"none of any kind"),
    **{f"bmp/{bits}": _plain_bmp(bits) for bits in (8, 24, 32)},
    "bmp/1": _plain_bmp(1, step=255),
    "bmp/4": _plain_bmp(4, step=17),
    "bmp/4-dark": _plain_bmp(4),
    "bmp/16": _plain_bmp(16),
    "bmp/565": _plain_bmp(16, packing=3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F)),
    "bmp/of-os-2": _plain_bmp(8, header=12),
    "bmp/header-124": _plain_bmp(24, header=124),
    "bmp/rle-8": _run_lengths(8),
    "bmp/rle-4": _run_lengths(4),
    "jp2/one-tile": _by_pillow("JPEG2000"),
    "jp2/large": _by_pillow("JPEG2000", size=LARGE),
    "jp2/tiles": _by_pillow("JPEG2000", tile_size=(48, 48)),
    "jp2/layers": _by_pillow("JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[40, 12, 4]),
    "jp2/tiles-layers": _by_pillow("JPEG2000", tile_size=(64, 64), irreversible=True, quality_layers=[30, 6], progression="RLCP"),
    "jp2/grey": _by_pillow("JPEG2000", "L"),
    "jp2/rgba": _by_pillow("JPEG2000", "RGBA"),
    "jp2/codestream": _by_pillow("JPEG2000", no_jp2=True),
    "jp2/codestream-tiles": _by_pillow("JPEG2000", tile_size=(64, 64), progression="CPRL", **_J2K),
    "avif/plain": _by_pillow("AVIF", quality=60, speed=10),
    "avif/large": _by_pillow("AVIF", size=LARGE, quality=80, speed=10),
    "avif/444": _by_pillow("AVIF", quality=60, speed=10, subsampling="4:4:4"),
    "avif/alpha": _by_pillow("AVIF", "RGBA", quality=60, speed=10),
    "avif/film": _film("AVIF", quality=60, speed=10),
    "avif/metadata": _by_pillow("AVIF", quality=60, speed=10, exif=_EXIF, xmp=b"<x:xmpmeta/>"),
    "heic/plain": _heic(),
    "heic/large": _heic(size=LARGE),
    "heic/alpha": _heic(mode="RGBA"),
    "heic/two-pictures": _heic(2),
    "heic/metadata": _heic(exif=_EXIF, xmp=b"<x:xmpmeta/>"),
    "raw/dng-sensor": _raw(rawfiles.dng_with_cfa),
    "raw/dng-preview": _raw(rawfiles.dng_with_preview),
    **{f"raw/{name}": _raw(rawfiles.RAW_FILES[name][1]) for name in ("cr2", "cr3", "nef", "arw")},
    "raw/orf": _raw(_orf),
}


def webp_chunk(kind: bytes, said: bytes) -> bytes:
    return kind + struct.pack("<I", len(said)) + said + bytes(len(said) % 2)


def with_webp_chunks(body: bytes, *more: bytes) -> bytes:
    inner = body[12:] + b"".join(more)
    return b"RIFF" + struct.pack("<I", 4 + len(inner)) + b"WEBP" + inner


def odd_webp(dice: random.Random, body: bytes) -> Iterator[tuple[str, Whole]]:
    yield from trailers(dice, body)
    metadata = {"exif": b"Exif\0\0" + garbage(dice), "xmp": garbage(dice), "icc_profile": garbage(dice)}
    yield "metadata garbage", Whole(saved(scene(dice, some_size(dice)), "WEBP", **metadata))
    yield "unknown chunk", Whole(with_webp_chunks(body, webp_chunk(b"d4cT", garbage(dice))))
    yield "EXIF behind a simple picture", Whole(with_webp_chunks(body, webp_chunk(b"EXIF", garbage(dice))))
    yield "unknown chunk of 2 MB", Whole(with_webp_chunks(body, webp_chunk(b"d4cT", dice.randbytes(2_000_000))))


def odd_bmp(dice: random.Random, body: bytes) -> Iterator[tuple[str, Whole]]:
    yield from trailers(dice, body)
    yield "a size of 0", Whole(body[:2] + bytes(4) + body[6:])
    yield "a size that is too small", Whole(body[:2] + struct.pack("<I", 54) + body[6:])
    yield "reserved fields", Whole(body[:6] + dice.randbytes(4) + body[10:])
    yield "picture bytes 0", Whole(body[:34] + bytes(4) + body[38:])


def box(kind: bytes, said: bytes) -> bytes:
    return struct.pack(">I", 8 + len(said)) + kind + said


def odd_boxes(dice: random.Random, body: bytes) -> Iterator[tuple[str, Whole]]:
    """Behind all others, where they move nothing."""
    for name, end in (("a free box", box(b"free", garbage(dice))), ("an unknown box", box(b"d4cx", garbage(dice)))):
        yield name, Whole(body + end, len(body), is_soft=True)
    yield "a uuid box", Whole(body + box(b"uuid", dice.randbytes(16) + garbage(dice)), len(body), is_soft=True)
    for name, whole in trailers(dice, body):
        yield name, Whole(whole.body, len(body))


def odd_heic(dice: random.Random, body: bytes) -> Iterator[tuple[str, Whole]]:
    yield from odd_boxes(dice, body)
    picture = scene(dice, some_size(dice))
    yield "metadata garbage", Whole(saved(picture, "HEIF", exif=b"Exif\0\0" + garbage(dice), xmp=garbage(dice) or b"x"))


def odd_avif(dice: random.Random, body: bytes) -> Iterator[tuple[str, Whole]]:
    yield from odd_boxes(dice, body)
    picture = scene(dice, some_size(dice))
    yield "XMP garbage", Whole(saved(picture, "AVIF", speed=10, xmp=garbage(dice) or b"x"))


def odd_raw(dice: random.Random, body: bytes) -> Iterator[tuple[str, Whole]]:
    yield from trailers(dice, body)
