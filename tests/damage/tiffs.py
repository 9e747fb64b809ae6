"""TIFFs by a writer of our own: packings, strips, tiles, planes, byte orders, pages, any order of what stands in the file."""

from __future__ import annotations

import io
import lzma
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from tests.damage.jpegs import segment, segments
from tests.damage.whole import Make, Whole, garbage, saved, scene, some_size, trailers

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, IFD, LONG8 = 1, 2, 3, 4, 5, 7, 13, 16
_CODES = {SHORT: "H", LONG: "I", IFD: "I", LONG8: "Q"}
Value = tuple[int, bytes | tuple[int, ...]]  # type, and bytes as they stand or numbers
ARRANGEMENTS = ("data first", "directories first", "directories last", "backwards")


@dataclass(frozen=True, slots=True)
class Page:
    tags: dict[int, Value]
    pieces: list[bytes]
    is_tiled: bool
    subs: tuple[Page, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """What a pixel is: samples, bits of each, photometric interpretation, and what else must be said."""

    samples: int
    bits: int
    photometric: int
    more: dict[int, Value] = field(default_factory=dict)
    mode: str = ""  # Pillow's, of the scene that it shows; else smooth noise


_ALPHA: dict[int, Value] = {338: (SHORT, (2,))}
_FLOAT: dict[int, Value] = {339: (SHORT, (3,))}
_SIGNED: dict[int, Value] = {339: (SHORT, (2,))}
KINDS = {
    "grey": Kind(1, 8, 1, mode="L"),
    "white-is-zero": Kind(1, 8, 0, mode="L"),
    "bilevel": Kind(1, 1, 1, mode="1"),
    "bilevel-white-is-zero": Kind(1, 1, 0, mode="1"),
    "grey-4": Kind(1, 4, 1),
    "grey-16": Kind(1, 16, 1),
    "white-is-zero-16": Kind(1, 16, 0),
    "grey-32": Kind(1, 32, 1),
    "signed-16": Kind(1, 16, 1, _SIGNED),
    "float": Kind(1, 32, 1, _FLOAT),
    "float-64": Kind(1, 64, 1, _FLOAT),
    "grey-alpha": Kind(2, 8, 1, _ALPHA),
    "grey-alpha-16": Kind(2, 16, 1, _ALPHA),
    "rgb": Kind(3, 8, 2, mode="RGB"),
    "rgb-16": Kind(3, 16, 2),
    "rgb-float": Kind(3, 32, 2, {339: (SHORT, (3, 3, 3))}),
    "rgba": Kind(4, 8, 2, _ALPHA, mode="RGBA"),
    "five-channels": Kind(5, 8, 2, {338: (SHORT, (0, 0))}),
    "palette": Kind(1, 8, 3, {320: (SHORT, tuple(range(0, 65536, 257)) * 3)}, mode="L"),
    "palette-4": Kind(1, 4, 3, {320: (SHORT, tuple(range(0, 65536, 4369)) * 3)}),
    "cmyk": Kind(4, 8, 5, mode="CMYK"),
    "cmyk-16": Kind(4, 16, 5),
    "lab": Kind(3, 8, 8, mode="RGB"),
}
# Packings --------------------------------------------------------------------------------------------------------------------


def lzw(data: bytes) -> bytes:
    """TIFF 6.0, section 13."""
    out, n_out = 0, 0
    parts: list[bytes] = []
    table: dict[bytes, int] = {}
    width, word = 9, b""

    def put(code: int) -> None:
        nonlocal out, n_out
        out, n_out = out << width | code, n_out + width
        while n_out >= 8:
            n_out -= 8
            parts.append(bytes((out >> n_out & 0xFF,)))
        out &= (1 << n_out) - 1

    def code_of(word: bytes) -> int:
        return word[0] if len(word) == 1 else table[word]

    put(256)
    for number in data:
        longer = word + bytes((number,))
        if len(longer) == 1 or longer in table:
            word = longer
            continue
        put(code_of(word))
        table[longer] = 258 + len(table)
        word = longer[-1:]
        last = 257 + len(table)
        width = 9 if last < 511 else 10 if last < 1023 else 11 if last < 2047 else 12
        if last == 4093:
            put(256)
            table.clear()
            width = 9
    if word:
        put(code_of(word))
        last = 258 + len(table)
        width = 9 if last < 511 else 10 if last < 1023 else 11 if last < 2047 else 12
    put(257)
    if n_out:
        parts.append(bytes((out << 8 - n_out & 0xFF,)))
    return b"".join(parts)


def packbits(data: bytes, row: int) -> bytes:
    """Each row by itself, as section 9 asks."""
    out = bytearray()
    for start in range(0, len(data), row):
        at, end = start, min(start + row, len(data))
        while at < end:
            run = 1
            while at + run < end and run < 128 and data[at + run] == data[at]:
                run += 1
            if run > 2:
                out += bytes((257 - run, data[at]))
                at += run
                continue
            stop = min(at + 128, end)
            for place in range(at + 1, stop - 2):
                if data[place] == data[place + 1] == data[place + 2]:
                    stop = place
                    break
            out += bytes((stop - at - 1,)) + data[at:stop]
            at = stop
    return bytes(out)


def _jpeg(data: bytes, size: tuple[int, int], kind: Kind) -> bytes:
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[kind.samples]
    more = {"keep_rgb": True} if kind.photometric == 2 else {}
    return saved(Image.frombytes(mode, size, data), "JPEG", quality=80, **more)


Pack = Callable[[bytes, tuple[int, int], int, Kind], bytes]
PACKINGS: dict[str, tuple[int, Pack]] = {
    "plain": (1, lambda data, size, row, kind: data),
    "lzw": (5, lambda data, size, row, kind: lzw(data)),
    "deflate": (8, lambda data, size, row, kind: zlib.compress(data)),
    "old-deflate": (32946, lambda data, size, row, kind: zlib.compress(data, 9)),
    "packbits": (32773, lambda data, size, row, kind: packbits(data, row)),
    "jpeg": (7, lambda data, size, row, kind: _jpeg(data, size, kind)),
    "lzma": (34925, lambda data, size, row, kind: lzma.compress(data)),
}
LAYOUTS = ("strips", "one-strip", "tiles", "planes")
# Pages -----------------------------------------------------------------------------------------------------------------------


def page(dice: random.Random, kind: Kind, packing: str, layout: str, size: tuple[int, int] | None = None) -> Page:
    width, height = size or some_size(dice)
    number, pack = PACKINGS[packing]
    in_planes = layout == "planes" and kind.samples > 1
    tags: dict[int, Value] = {256: (LONG, (width,)), 257: (LONG, (height,)), 258: (SHORT, (kind.bits,) * kind.samples)}
    tags |= {259: (SHORT, (number,)), 262: (SHORT, (kind.photometric,)), 277: (SHORT, (kind.samples,)), **kind.more}
    if packing == "jpeg" and kind.samples == 3 and kind.photometric == 2 and not in_planes and dice.random() < 0.5:
        kind = replace(kind, photometric=6)
        tags |= {262: (SHORT, (6,)), 530: (SHORT, (2, 2))}
    drawn = dice.choice((1, 2))
    predictor = drawn if packing in ("lzw", "deflate", "old-deflate") and kind.bits in (8, 16) else 1
    if kind.more == _FLOAT and kind.bits == 32 and packing == "deflate":
        predictor = dice.choice((1, 3))
    if predictor > 1:
        tags[317] = (SHORT, (predictor,))
    across, rows = (16 * dice.randint(1, 4), 16 * dice.randint(1, 4)) if layout == "tiles" else (width, _rows(dice, layout, height))
    if packing == "jpeg" and layout != "tiles":
        rows = min(height, -(-rows // 16) * 16)
    tags |= {322: (LONG, (across,)), 323: (LONG, (rows,))} if layout == "tiles" else {278: (LONG, (rows,))}
    planes = [replace(kind, samples=1, photometric=1)] * kind.samples if in_planes else [kind]
    if in_planes:
        tags[284] = (SHORT, (2,))
    pieces = []
    for plane in planes:
        lines = _pixels(dice, plane, (width, height))
        cut = _cut(lines, plane, (width, height), (across, rows), layout == "tiles")
        pieces += [pack(data, shape, row, plane) for data, shape, row in cut]
    return Page(tags, pieces, layout == "tiles")


def _rows(dice: random.Random, layout: str, height: int) -> int:
    return height if layout == "one-strip" else dice.randint(8, 40)


def _pixels(dice: random.Random, kind: Kind, size: tuple[int, int]) -> list[bytes]:
    """Rows."""
    row = (size[0] * kind.bits * kind.samples + 7) // 8
    if kind.mode and kind.samples == len(Image.new(kind.mode, (1, 1)).getbands()):
        data = scene(dice, size, kind.mode).tobytes()
        return [data[at : at + row] for at in range(0, len(data), row)]
    step, pixel = dice.randint(1, 9), max(1, kind.bits * kind.samples // 8)
    smooth = bytes(number * step // pixel & 0x3F for number in range(row))
    return [dice.randbytes(row) if dice.random() < 0.2 else smooth for _ in range(size[1])]


def _cut(
    rows: list[bytes], kind: Kind, size: tuple[int, int], piece: tuple[int, int], is_tiled: bool
) -> Iterator[tuple[bytes, tuple[int, int], int]]:
    row = (piece[0] * kind.bits * kind.samples + 7) // 8
    for y in range(0, size[1], piece[1]):
        band = rows[y : y + piece[1]]
        if not is_tiled:
            yield b"".join(band), (size[0], len(band)), row
            continue
        for x in range(-(-size[0] // piece[0])):
            tile = b"".join(one[x * row : (x + 1) * row].ljust(row, b"\0") for one in band)
            yield tile.ljust(row * piece[1], b"\0"), piece, row


def by_libtiff(dice: random.Random, packing: str, mode: str) -> Page:
    """What is packed by libtiff, in its own strips."""
    body = saved(scene(dice, some_size(dice), mode), "TIFF", compression=packing)
    with Image.open(io.BytesIO(body)) as picture:
        found = picture.tag_v2
        pieces = [body[at : at + size] for at, size in zip(found[273], found[279], strict=True)]
        tags: dict[int, Value] = {256: (LONG, (found[256],)), 257: (LONG, (found[257],)), 258: (SHORT, tuple(found[258]))}
        tags |= {tag: (SHORT, (found.get(tag, otherwise),)) for tag, otherwise in ((259, 1), (262, 1), (277, 1))}
        tags[278] = (LONG, (found[278],))
        if 293 in found:
            tags[293] = (LONG, (found[293],))
    return Page(tags, pieces, False)


# Files -----------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Shape:
    order: str = "<"
    is_big: bool = False
    arrangement: str = "data first"

    @classmethod
    def drawn(cls, dice: random.Random) -> Shape:
        return cls(dice.choice("<>"), dice.random() < 0.2, dice.choice(ARRANGEMENTS))

    @property
    def told(self) -> str:
        return f"{'II' if self.order == '<' else 'MM'}{' BigTIFF' * self.is_big}, {self.arrangement}"


def file_of(pages: list[Page], shape: Shape) -> bytes:
    return _File(pages, shape).body()


def _whole_of(pages: list[Page], shape: Shape, **more: Any) -> Whole:
    """It needs not the byte that makes what stands last even."""
    file = _File(pages, shape)
    body = file.body()
    return Whole(body, len(body) - file.padding, **more)


class _File:
    def __init__(self, pages: list[Page], shape: Shape) -> None:
        self._shape = shape
        self._wide, self._word = (8, "Q") if shape.is_big else (4, "I")
        self._pages: list[Page] = []
        self._parents: list[int | None] = []
        for one in pages:
            self._pages.append(one)
            self._parents.append(None)
        for number, one in enumerate(pages):
            for sub in one.subs:
                self._pages.append(sub)
                self._parents.append(number)
        self._places: dict[tuple[str, int], int] = {}
        self.padding = 0  # bytes, behind what was laid out last

    def body(self) -> bytes:
        """Laid out twice: numbers take the same room whatever they say."""
        for _ in range(2):
            parts = [self._head()]
            at = len(parts[0])
            for what, number in self._sequence():
                self._places[what, number] = at
                parts.append(self._block(what, number))
                at += len(parts[-1])
        return b"".join(parts)

    def _sequence(self) -> list[tuple[str, int]]:
        numbers = range(len(self._pages))
        match self._shape.arrangement:
            case "directories first":
                return [(what, n) for n in numbers for what in ("directory", "values")] + [("data", n) for n in numbers]
            case "directories last":
                return [("data", n) for n in numbers] + [(what, n) for n in numbers for what in ("values", "directory")]
            case "backwards":
                return [(what, n) for n in reversed(numbers) for what in ("data", "values", "directory")]
        return [(what, n) for n in numbers for what in ("data", "directory", "values")]

    def _pack(self, code: str, *numbers: int) -> bytes:
        return struct.pack(f"{self._shape.order}{len(numbers)}{code}", *numbers)

    def _head(self) -> bytes:
        start = b"II" if self._shape.order == "<" else b"MM"
        first = self._places.get(("directory", 0), 0)
        return start + self._pack("H", *((43, 8, 0) if self._shape.is_big else (42,))) + self._pack(self._word, first)

    def _block(self, what: str, number: int) -> bytes:
        self.padding = 0
        if what == "data":
            self.padding = len(self._pages[number].pieces[-1]) % 2 if self._pages[number].pieces else 0
            return b"".join(one + bytes(len(one) % 2) for one in self._pages[number].pieces)
        entries, values = self._entries(number)
        if what == "values":
            return values
        self.padding = 0
        tops = [n for n, parent in enumerate(self._parents) if parent is None]
        follows = number + 1 if number in tops and number + 1 in tops else None
        next_at = 0 if follows is None else self._places.get(("directory", follows), 0)
        return self._pack("Q" if self._shape.is_big else "H", len(entries)) + b"".join(entries) + self._pack(self._word, next_at)

    def _entries(self, number: int) -> tuple[list[bytes], bytes]:
        one = self._pages[number]
        tags = dict(one.tags)
        at, starts = self._places.get(("data", number), 0), []
        for piece in one.pieces:
            starts.append(at)
            at += len(piece) + len(piece) % 2
        offsets, sizes = (324, 325) if one.is_tiled else (273, 279)
        if one.pieces:
            tags[offsets] = (LONG8 if self._shape.is_big else LONG, tuple(starts))
            tags[sizes] = (LONG, tuple(len(piece) for piece in one.pieces))
        subs = [n for n, parent in enumerate(self._parents) if parent == number]
        if subs:
            tags[330] = (LONG, tuple(self._places.get(("directory", n), 0) for n in subs))
        entries, values, values_at = [], b"", self._places.get(("values", number), 0)
        for tag in sorted(tags):
            kind, said = tags[tag]
            data = said if isinstance(said, bytes) else self._pack(_CODES[kind], *said)
            count = len(said) // (8 if kind == RATIONAL else 1)
            field = data.ljust(self._wide, b"\0")
            if len(data) > self._wide:
                field = self._pack(self._word, values_at + len(values))
                self.padding = len(data) % 2
                values += data + bytes(self.padding)
            entries.append(self._pack("H", tag) + self._pack("H", kind) + self._pack(self._word, count) + field)
        return entries, values


def _fits(packing: str, kind: Kind) -> bool:
    return packing != "jpeg" or (kind.bits == 8 and kind.samples in (1, 3, 4) and kind.photometric in (1, 2, 5))


_GROUPS = {1: "TIFF plain", 5: "TIFF LZW", 7: "TIFF JPEG", 8: "TIFF deflate", 32946: "TIFF deflate", 32773: "TIFF PackBits"}
_GROUPS |= {2: "TIFF fax", 3: "TIFF fax", 4: "TIFF fax", 34925: "TIFF LZMA", 50000: "TIFF Zstandard"}


def _finished(pages: list[Page], shape: Shape, told: str) -> Whole:
    packings = {one.tags[259][1][0] for one in pages}
    group = _GROUPS[int(packings.pop())] if len(packings) == 1 else "TIFF mixed"
    return _whole_of(pages, shape, told=f"{told}, {shape.told}", group=group)


def _made(packing: str, layout: str, kinds: tuple[str, ...], n_pages: int = 1, is_big: bool = False) -> Make:
    def make(dice: random.Random) -> Whole:
        shape = Shape.drawn(dice)
        shape = replace(shape, is_big=True) if is_big else shape
        pages, told = [], []
        for _ in range(n_pages):
            name = dice.choice([one for one in kinds if _fits(packing, KINDS[one])])
            pages.append(page(dice, KINDS[name], packing, layout))
            told.append(name)
        return _finished(pages, shape, f"{packing}, {layout}, {' + '.join(told)}")

    return make


def _of_kind(name: str) -> Make:
    def make(dice: random.Random) -> Whole:
        return _made(dice.choice(("plain", "deflate", "lzw")), dice.choice(LAYOUTS), (name,))(dice)

    return make


def _of_libtiff(packing: str, mode: str) -> Make:
    return lambda dice: _finished([by_libtiff(dice, packing, mode)], Shape.drawn(dice), packing)


def _mixed(dice: random.Random) -> Whole:
    """Pages of any kinds: the second may be one that no library decodes."""
    pages, told = [], []
    for _ in range(dice.randint(2, 4)):
        packing, name = dice.choice(("plain", "deflate", "lzw", "packbits")), dice.choice(tuple(KINDS))
        name = name if pages else dice.choice(("rgb", "grey"))
        pages.append(page(dice, KINDS[name], packing, dice.choice(LAYOUTS), some_size(dice, 70)))
        told.append(f"{name} {packing}")
    return _finished(pages, Shape.drawn(dice), " + ".join(told))


def _with_sub_ifds(dice: random.Random) -> Whole:
    kind = KINDS["rgb"]
    subs = tuple(page(dice, kind, dice.choice(("deflate", "plain", "jpeg")), "one-strip", (40, 30)) for _ in range(2))
    one = replace(page(dice, kind, "deflate", dice.choice(LAYOUTS)), subs=subs)
    return _finished([one], Shape.drawn(dice), "SubIFDs")


def _with_jpeg_tables(dice: random.Random) -> Whole:
    """Tables once for all strips, as most JPEG TIFFs have them (tag 347)."""
    one = page(dice, KINDS["grey"], "jpeg", dice.choice(("strips", "tiles")))
    tables, pieces = b"", []
    for piece in one.pieces:
        found, rest = segments(piece)
        tables = b"".join(segment(marker, said) for marker, said in found if marker in (0xDB, 0xC4))
        pieces.append(b"\xff\xd8" + b"".join(segment(marker, said) for marker, said in found if marker == 0xC0) + rest)
    tags = one.tags | {347: (UNDEFINED, b"\xff\xd8" + tables + b"\xff\xd9")}
    return _finished([replace(one, tags=tags, pieces=pieces)], Shape.drawn(dice), "JPEG tables")


def _of_halved_colours(dice: random.Random) -> Whole:
    """YCbCr as it is: four of Y, then one of each colour (section 21)."""
    width, height = some_size(dice)
    units = -(-width // 2) * -(-height // 2)
    tags: dict[int, Value] = {256: (LONG, (width,)), 257: (LONG, (height,)), 258: (SHORT, (8, 8, 8)), 259: (SHORT, (1,))}
    tags |= {262: (SHORT, (6,)), 277: (SHORT, (3,)), 278: (LONG, (height,)), 530: (SHORT, (2, 2))}
    return _finished([Page(tags, [dice.randbytes(6 * units)], False)], Shape.drawn(dice), "YCbCr")


def _of_turned_bits(dice: random.Random) -> Whole:
    """Fill order 2."""
    one = by_libtiff(dice, dice.choice(("group3", "group4")), "1")
    turned = bytes(int(f"{number:08b}"[::-1], 2) for number in range(256))
    pieces = [piece.translate(turned) for piece in one.pieces]
    return _finished([replace(one, tags=one.tags | {266: (SHORT, (2,))}, pieces=pieces)], Shape.drawn(dice), "fill order 2")


def _with_overviews(dice: random.Random) -> Whole:
    """Smaller and smaller ones behind it, directories first, as a cloud-optimised GeoTIFF has them."""
    packing = dice.choice(("deflate", "lzw"))
    pages = [page(dice, KINDS["rgb"], packing, "tiles", size) for size in ((160, 120), (80, 60), (40, 30))]
    pages = [pages[0], *(replace(one, tags=one.tags | {254: (LONG, (1,))}) for one in pages[1:])]
    return _finished(pages, Shape(dice.choice("<>"), False, "directories first"), f"overviews {packing}")


_USUAL = ("rgb", "grey", "grey-16", "rgba", "palette", "cmyk")
FAMILIES: dict[str, Make] = {
    **{f"tiff/{packing}-{layout}": _made(packing, layout, _USUAL) for packing in PACKINGS for layout in LAYOUTS},
    **{f"tiff/{packing}-pages": _made(packing, "strips", _USUAL, 3) for packing in ("plain", "lzw", "deflate", "packbits")},
    **{f"tiff/big-{packing}": _made(packing, "tiles", _USUAL, 2, is_big=True) for packing in ("plain", "lzw", "deflate")},
    **{f"tiff/kind-{name}": _of_kind(name) for name in KINDS},
    **{f"tiff/{name}": _of_libtiff(name, "1") for name in ("tiff_ccitt", "group3", "group4")},
    "tiff/zstd": _of_libtiff("zstd", "RGB"),
    "tiff/jpeg-tables": _with_jpeg_tables,
    "tiff/ycbcr": _of_halved_colours,
    "tiff/fill-order": _of_turned_bits,
    "tiff/overviews": _with_overviews,
    "tiff/mixed-pages": _mixed,
    "tiff/sub-ifds": _with_sub_ifds,
}


def odd(dice: random.Random, body: bytes) -> Iterator[tuple[str, Whole]]:
    """`body` is not used: what is odd about a TIFF stands in its directories, so a new one is made for each."""
    yield from trailers(dice, body)
    kind = KINDS["rgb"]

    def main(packing: str = "deflate") -> Page:
        return page(dice, kind, packing, dice.choice(LAYOUTS), some_size(dice, 80))

    def whole(pages: list[Page], **more: bool) -> Whole:
        shape = Shape.drawn(dice)
        return _whole_of(pages, shape, told=shape.told, **more)

    tags: dict[str, dict[int, Value]] = {
        "ICC garbage": {34675: (UNDEFINED, garbage(dice) + b"12345")},
        "ICC of 1.6 MB": {34675: (UNDEFINED, dice.randbytes(1_600_000))},
        "XMP garbage": {700: (BYTE, garbage(dice) + b"<x:x")},
        "IPTC garbage": {33723: (UNDEFINED, garbage(dice) + b"12345")},
        "Photoshop garbage": {34377: (BYTE, garbage(dice) + b"8BIM1")},
        "description of 100 kB": {270: (ASCII, b"a" * 100_000 + b"\0")},
        "description that is no text": {270: (ASCII, dice.randbytes(90))},
        "date that is none": {306: (ASCII, b"\xff\xfe\0\0\0\0\0")},
        "unknown tags": {65_000 + n: (UNDEFINED, garbage(dice) + b"12345") for n in range(9)},
        "unknown type": {50_000: (77, b"1234")},
        "resolution 1/0": {282: (RATIONAL, struct.pack("<II", 1, 0)), 283: (RATIONAL, bytes(8))},
        "orientation 99": {274: (SHORT, (99,))},
        "orientation 6": {274: (SHORT, (6,))},
        "orientation as two": {274: (SHORT, (1, 1))},
        "fill order 0": {266: (SHORT, (0,))},
        "a tag of no values": {271: (ASCII, b"")},
    }
    for name, more in tags.items():
        one = main()
        yield name, whole([replace(one, tags=one.tags | more)])
    for where, at in (("beyond the end", 0x7FFFFFF0), ("at 0", 0), ("in the header", 4)):
        name = f"EXIF directory {where}"
        one = main()
        yield name, whole([replace(one, tags=one.tags | {34665: (LONG, (at,))})], is_shown=at > 4, is_kept=at <= 4)
    for name, at in (("GPS directory beyond the end", 0x7FFFFFF0), ("SubIFD beyond the end", 0x7FFFFFF0)):
        one = main()
        tag = 34853 if name.startswith("GPS") else 330
        yield name, whole([replace(one, tags=one.tags | {tag: (LONG, (at,))})], is_shown=True)
    for name in ("grey-alpha-16", "five-channels", "float-64", "rgb-float", "cmyk-16", "grey-4"):
        yield f"second page {name}", whole([main(), page(dice, KINDS[name], "plain", "strips", (30, 20))])
    broken = page(dice, kind, "plain", "one-strip", (30, 20))
    for number in (34712, 34887, 50002, 9, 65000):  # JPEG 2000, LERC, JPEG XL, JBIG, nobody's
        tags_of = broken.tags | {259: (SHORT, (number,))}
        yield f"second page packed as {number}", whole([main(), replace(broken, tags=tags_of)])
        yield f"thumbnail packed as {number}", whole([replace(main(), subs=(replace(broken, tags=tags_of),))])
    yield "second page of no size", whole([main(), replace(broken, tags=broken.tags | {256: (LONG, (0,))})], is_kept=True)
    yield "second page without pieces", whole([main(), replace(broken, pieces=[])], is_kept=True)
    yield "second page of 3 tags", whole([main(), Page({256: (LONG, (9,)), 270: (ASCII, b"hello\0")}, [], False)], is_kept=True)
    for name, at in (("next directory at 0x7fffffff", 0x7FFFFFFF), ("next directory in a ring", -1), ("next directory at 3", 3)):
        yield name, _with_next(dice, main(), at)


def _with_next(dice: random.Random, one: Page, at: int) -> Whole:
    shape = Shape(dice.choice("<>"), False, "directories last")
    body = file_of([one], shape)
    first = int.from_bytes(body[4:8], "little" if shape.order == "<" else "big")
    told = first if at < 0 else at
    return Whole(body[:-4] + struct.pack(f"{shape.order}I", told), is_kept=True, told=shape.told)
