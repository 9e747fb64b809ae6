"""PNGs of all colour types and depths, by a writer of our own; and odd things in their chunks."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache

from tests.damage.truth_png import DEPTHS, SIGNATURE, passes
from tests.damage.whole import Make, Whole, garbage, saved, scene, some_size, trailers

_COLOURS = {"grey": 0, "rgb": 2, "palette": 3, "grey-alpha": 4, "rgba": 6}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(kind: bytes, said: bytes, checksum: int | None = None) -> bytes:
    told = zlib.crc32(kind + said) if checksum is None else checksum
    return struct.pack(">I", len(said)) + kind + said + struct.pack(">I", told)


def _rows(dice: random.Random, sizes: list[tuple[int, int]]) -> bytes:
    """Filtered rows that are half smooth and half noise: as they stand, whatever pixels they make."""
    out = []
    for row, n in sizes:
        for _ in range(n):
            smooth = bytes(dice.randrange(256) for _ in range(8)) * (row // 8 + 1)
            out.append(bytes((dice.randrange(5),)) + (dice.randbytes(row - 1) if dice.random() < 0.4 else smooth[: row - 1]))
    return b"".join(out)


def _made(colour: str, depth: int, is_interlaced: bool) -> Make:
    def make(dice: random.Random) -> Whole:
        kind, (width, height) = _COLOURS[colour], some_size(dice, 100)
        rows = _rows(dice, passes(width, height, depth * _CHANNELS[kind], is_interlaced))
        packed, step = zlib.compress(rows, dice.randint(1, 9)), dice.choice((700, 8192, 1 << 20))
        parts = [chunk(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step)]
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(is_interlaced)))
        palette = chunk(b"PLTE", dice.randbytes(3 << min(depth, 8))) if colour == "palette" else b""
        return Whole(b"".join((SIGNATURE, header, palette, *parts, chunk(b"IEND", b""))))

    return make


def _film(dice: random.Random) -> Whole:
    size = some_size(dice, 90)
    pages = [scene(dice, size) for _ in range(3)]
    return Whole(saved(pages[0], "PNG", save_all=True, append_images=pages[1:], duration=100))


def _with_profile(dice: random.Random) -> Whole:
    """1.6 MB, as scanners have them."""
    profile = zlib.compress(dice.randbytes(1_600_000), 1)
    return Whole(with_chunk(saved(scene(dice, some_size(dice)), "PNG"), chunk(b"iCCP", b"scanner\0\0" + profile)))


def with_chunk(body: bytes, more: bytes) -> bytes:
    """Behind IHDR."""
    return body[:33] + more + body[33:]


FAMILIES: dict[str, Make] = {
    **{
        f"png/{colour}-{depth}{'-interlaced' * is_interlaced}": _made(colour, depth, bool(is_interlaced))
        for colour, kind in _COLOURS.items()
        for depth in DEPTHS[kind]
        for is_interlaced in (0, 1)
    },
    "png/film": _film,
    "png/profile": _with_profile,
}


@lru_cache(maxsize=1)
def _bomb() -> bytes:
    """80 MB of zeros."""
    packer = zlib.compressobj(1)
    return b"".join((*(packer.compress(bytes(1_000_000)) for _ in range(80)), packer.flush()))


def odd(dice: random.Random, body: bytes) -> Iterator[tuple[str, Whole]]:
    yield from trailers(dice, body)
    bomb = _bomb()
    said = {
        "eXIf garbage": (b"eXIf", garbage(dice)),
        "eXIf no TIFF": (b"eXIf", b"Exif\0\0" + dice.randbytes(20)),
        "eXIf with directories in a ring": (b"eXIf", b"II*\0\x08\0\0\0\0\0\x08\0\0\0"),
        "tEXt garbage": (b"tEXt", garbage(dice)),
        "tEXt of 3 MB": (b"tEXt", b"Comment\0" + b"a" * 3_000_000),
        "zTXt no zlib": (b"zTXt", b"Comment\0\0" + dice.randbytes(50)),
        "zTXt cut": (b"zTXt", b"Comment\0\0" + zlib.compress(dice.randbytes(500))[:-20]),
        "zTXt of 80 MB": (b"zTXt", b"Comment\0\0" + bomb),
        "zTXt of method 7": (b"zTXt", b"Comment\0\x07" + dice.randbytes(50)),
        "iTXt garbage": (b"iTXt", garbage(dice)),
        "iTXt packed garbage": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + dice.randbytes(40)),
        "iTXt of 80 MB": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
        "iCCP garbage": (b"iCCP", b"p\0\0" + zlib.compress(garbage(dice))),
        "iCCP no zlib": (b"iCCP", b"p\0\0" + dice.randbytes(70)),
        "iCCP of 80 MB": (b"iCCP", b"p\0\0" + bomb),
        "iCCP of method 9": (b"iCCP", b"p\0\x09" + dice.randbytes(70)),
        "iCCP empty": (b"iCCP", b""),
        "gAMA short": (b"gAMA", b"\0"),
        "gAMA 0": (b"gAMA", bytes(4)),
        "cHRM short": (b"cHRM", bytes(31)),
        "sRGB empty": (b"sRGB", b""),
        "pHYs short": (b"pHYs", bytes(3)),
        "tIME of month 77": (b"tIME", b"\7\7\x4d\1\1\1\1"),
        "tRNS odd": (b"tRNS", dice.randbytes(5)),
        "bKGD odd": (b"bKGD", dice.randbytes(3)),
        "sBIT odd": (b"sBIT", b"\x63" * 9),
        "acTL empty": (b"acTL", b""),
        "acTL of no frames": (b"acTL", bytes(8)),
        "acTL of 70000 frames": (b"acTL", struct.pack(">II", 70_000, 0)),
        "fcTL garbage": (b"fcTL", dice.randbytes(26)),
        "unknown chunk": (bytes(dice.choice(b"abcdefgh") for _ in range(2)) + b"Xy", garbage(dice)),
        "unknown chunk of 2 MB": (b"prVt", dice.randbytes(2_000_000)),
    }
    for name, (kind, what) in said.items():
        yield name, Whole(with_chunk(body, chunk(kind, what)))
    for kind in (b"tEXt", b"eXIf", b"zzZz"):
        yield f"{kind.decode()} with a wrong checksum", Whole(with_chunk(body, chunk(kind, b"Title\0a", 1234)), is_shown=True)
    end = chunk(b"IEND", b"")
    yield "text before the end", Whole(body[: -len(end)] + chunk(b"tEXt", b"Title\0" + dice.randbytes(40)) + end)
    yield "text behind the end", Whole(body + chunk(b"tEXt", b"Title\0a"), len(body))
    at = body.index(b"IDAT") - 4
    yield "empty IDAT", Whole(body[:at] + chunk(b"IDAT", b"") + body[at:])
    yield "2000 chunks", Whole(with_chunk(body, chunk(b"teSt", b"1") * 2000))
    film = struct.pack(">IIIIIHHBB", 0, 20, 20, 0, 0, 1, 10, 0, 0)
    frame = chunk(b"fcTL", film) + chunk(b"fdAT", struct.pack(">I", 1) + dice.randbytes(90))
    yield (
        "a frame that is garbage",
        Whole(with_chunk(body, chunk(b"acTL", struct.pack(">II", 1, 0)))[: -len(end)] + frame + end, is_shown=True),
    )
