"""Writes TIFFs of every packing and layout, also such as no library here writes, so that tests can say where each byte belongs."""

from __future__ import annotations

import functools
import io
import itertools
import lzma
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy
from PIL import Image

from tests.publishers import pictures

Pixels = numpy.ndarray  # rows, columns, samples
PACKINGS = {
    "plain": 1, "modified huffman": 2, "group 3": 3, "group 4": 4, "lzw": 5, "jpeg": 7, "deflate": 8, "packbits": 32773,
    "old deflate": 32946, "lzma": 34925, "zstd": 50000,
}  # fmt: skip
FAXES = ("modified huffman", "group 3", "group 4")
_BY_PILLOW = {
    "lzw": "tiff_lzw", "packbits": "packbits", "zstd": "zstd", "modified huffman": "tiff_ccitt", "group 3": "group3",
    "group 4": "group4",
}  # fmt: skip
_LETTERS = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 16: "Q"}


@dataclass(frozen=True)
class Layout:
    """How a page is stored."""

    packing: str = "plain"
    rows: int = 16  # of a strip or tile
    tile_width: int = 0  # 0: strips
    in_planes: bool = False
    tags: tuple[tuple[int, int, tuple[int, ...]], ...] = ()  # more of them, or others: tag, type, values


@dataclass(frozen=True)
class File:
    order: str = "<"
    is_big: bool = False
    reverses_tags: bool = False
    directories_first: bool = False


@dataclass
class Written:
    body: bytes
    directories: list[tuple[int, int]] = field(default_factory=list)  # start and end of each
    data: list[tuple[int, int]] = field(default_factory=list)  # of each strip or tile of the first page
    next_at: list[int] = field(default_factory=list)  # where each directory has the offset of the next


@functools.cache
def scene(width: int = 96, height: int = 80, seed: str = "a sheet") -> Pixels:
    return numpy.asarray(Image.open(io.BytesIO(pictures.jpeg(seed, (width, height)))))


def bitonal(pixels: Pixels) -> Pixels:
    return (pixels[:, :, :1] > 127).astype(numpy.uint8)


def written(pages: list[tuple[Pixels, Layout]], file: File = File()) -> Written:
    """All pages, one after the other: data, then directory, or all directories and then the data."""
    offset_size, count_size, entry_size = (8, 8, 20) if file.is_big else (4, 2, 12)
    head = {"<": b"II", ">": b"MM"}[file.order] + struct.pack(file.order + "H", 43 if file.is_big else 42)
    head += struct.pack(file.order + "HHQ", 8, 0, 0) if file.is_big else bytes(4)
    prepared = [(_tags(pixels, layout), _pieces(pixels, layout), layout) for pixels, layout in pages]
    out = Written(b"")
    body = bytearray(head)
    link_at = 8 if file.is_big else 4

    def directory_bytes(tags: dict[int, tuple[int, tuple[int, ...]]]) -> int:
        inner = count_size + entry_size * len(tags) + offset_size
        return inner + sum(n for kind, values in tags.values() if (n := _size(kind, values)) > offset_size)

    starts = []
    at = len(body)
    for tags, pieces, layout in prepared:
        n = len(pieces)
        kind = 16 if file.is_big else 4
        offsets, sizes = (324, 325) if layout.tile_width else (273, 279)
        tags[offsets], tags[sizes] = (kind, (0,) * n), (kind, tuple(map(len, pieces)))
        for tag, kind, values in layout.tags:
            tags[tag] = (kind, values)
        starts.append((at, directory_bytes(tags)))
        at += starts[-1][1]
    data_at = at if file.directories_first else len(body)
    for number, (tags, pieces, layout) in enumerate(prepared):
        offsets = 324 if layout.tile_width else 273
        places = list(itertools.accumulate(map(len, pieces[:-1]), initial=data_at))
        if any(tag == offsets for tag, _, _ in layout.tags):
            places = list(tags[offsets][1])
        tags[offsets] = (tags[offsets][0], tuple(places))
        if number == 0:
            out.data = [(place, place + len(piece)) for place, piece in zip(places, pieces, strict=False)]
        end = data_at + sum(map(len, pieces))
        directory_at = starts[number][0] if file.directories_first else end
        struct.pack_into(file.order + ("Q" if file.is_big else "I"), body, link_at, directory_at)
        directory, link_at = directory_of(tags, directory_at, file)
        if file.directories_first:
            body += directory
            data_at = end
        else:
            body += b"".join(pieces) + directory
            data_at = len(body)
        out.directories.append((directory_at, directory_at + len(directory)))
        out.next_at.append(link_at)
    if file.directories_first:
        body += b"".join(piece for _, pieces, _ in prepared for piece in pieces)
    out.body = bytes(body)
    return out


def _size(kind: int, values: tuple[int, ...]) -> int:
    return struct.calcsize("<" + _LETTERS[kind]) * len(values)


def directory_of(tags: dict[int, tuple[int, tuple[int, ...]]], at: int, file: File) -> tuple[bytes, int]:
    """The bytes of a directory that is put at `at`, with its values behind it; and where it has the offset of the next."""
    letter, offset_size = ("Q", 8) if file.is_big else ("I", 4)
    count = struct.pack(file.order + ("Q" if file.is_big else "H"), len(tags))
    values_at = at + len(count) + len(tags) * (4 + 2 * offset_size) + offset_size
    entries, behind = b"", b""
    for tag, (kind, values) in sorted(tags.items(), reverse=file.reverses_tags):
        data = struct.pack(f"{file.order}{len(values)}{_LETTERS[kind]}", *values)
        if len(data) > offset_size:
            place = struct.pack(file.order + letter, values_at + len(behind))
            behind += data
        else:
            place = data.ljust(offset_size, b"\0")
        entries += struct.pack(file.order + "HH" + letter, tag, kind, len(values)) + place
    return count + entries + bytes(offset_size) + behind, at + len(count) + len(entries)


def _tags(pixels: Pixels, layout: Layout) -> dict[int, tuple[int, tuple[int, ...]]]:
    height, width, samples = pixels.shape
    bits = 1 if layout.packing in FAXES else 8 * pixels.dtype.itemsize
    photometric = 6 if layout.packing == "jpeg" and samples == 3 else 2 if samples >= 3 else 1
    kinds = {"u": 1, "i": 2, "f": 3}
    tags: dict[int, tuple[int, tuple[int, ...]]] = {
        256: (3, (width,)), 257: (4, (height,)), 258: (3, (bits,) * samples), 259: (3, (PACKINGS.get(layout.packing, 1),)),
        262: (3, (photometric,)), 277: (3, (samples,)), 284: (3, (2 if layout.in_planes else 1,)),
        339: (3, (kinds[pixels.dtype.kind],) * samples),
    }  # fmt: skip
    if layout.tile_width:
        tags |= {322: (3, (layout.tile_width,)), 323: (3, (layout.rows,))}
    else:
        tags[278] = (3, (layout.rows,))
    if layout.packing == "jpeg":
        tags[530] = (3, (1, 1))
    return tags


def _pieces(pixels: Pixels, layout: Layout) -> list[bytes]:
    return _pieces_of(pixels.tobytes(), pixels.dtype.str, pixels.shape, replace(layout, tags=()))


@functools.lru_cache(maxsize=256)  # packing takes most of the time of many tests
def _pieces_of(data: bytes, kind: str, shape: tuple[int, ...], layout: Layout) -> list[bytes]:
    pixels = numpy.frombuffer(data, kind).reshape(shape)
    planes = [pixels[:, :, n : n + 1] for n in range(pixels.shape[2])] if layout.in_planes else [pixels]
    return [_packed(piece, layout.packing) for plane in planes for piece in _cut(plane, layout)]


def _cut(plane: Pixels, layout: Layout) -> Iterator[Pixels]:
    height, width, samples = plane.shape
    across = layout.tile_width or width
    for y, x in itertools.product(range(0, height, layout.rows), range(0, width, across)):
        piece = plane[y : y + layout.rows, x : x + across]
        if layout.tile_width:
            whole = numpy.zeros((layout.rows, across, samples), plane.dtype)
            whole[: piece.shape[0], : piece.shape[1]] = piece
            piece = whole
        yield piece


def _packed(piece: Pixels, packing: str) -> bytes:
    if packing == "jpeg":
        return saved(Image.fromarray(piece if piece.shape[2] == 3 else piece[:, :, 0]), "JPEG", quality=90, subsampling=0)
    if packing in FAXES:
        return strip_of(Image.fromarray(piece[:, :, 0] * 255).convert("1"), _BY_PILLOW[packing])
    data = numpy.ascontiguousarray(piece).tobytes()
    if packing in ("deflate", "old deflate"):
        return zlib.compress(data)
    if packing == "lzma":
        return lzma.compress(data, preset=1)
    if packing == "plain":
        return data
    return strip_of(Image.frombytes("L", (len(data) // len(piece), len(piece)), data), _BY_PILLOW[packing])


def strip_of(picture: Image.Image, compression: str) -> bytes:
    body = saved(picture, "TIFF", compression=compression, strip_size=1 << 28)
    with Image.open(io.BytesIO(body)) as stored:
        assert isinstance(stored.tag_v2[273], tuple)
        at, size = stored.tag_v2[273][0], stored.tag_v2[279][0]
    return body[at : at + size]


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()
