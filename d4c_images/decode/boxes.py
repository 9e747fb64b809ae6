"""Walks through the boxes of JPEG 2000, AVIF and HEIF files and through the tile-parts of a JPEG 2000 codestream. Decodes nothing.

ISO 14496-12 (boxes, items), ISO 15444-1 annexes A and I (JPEG 2000). Anything after the last box is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from d4c_images.decode.faults import Damaged, counted
from d4c_images.decode.shape import Shape
from d4c_images.policy.sniff import TOP_BOXES, IsoBox, boxes_of

_MOST_META_BYTES = 4_000_000
_MOST_BOXES = 10_000  # in one box
_MOST_TILES = 65_535
_START_OF_CODESTREAM, _START_OF_TILE, _END = b"\xff\x4f", 0xFF90, 0xFFD9
_LEAST_TILE_BYTES = 14
_MOST_HEADER_BYTES = 8_000_000
_TAIL_BYTES = 1 << 16
_NONSENSE = "The JPEG 2000 file is damaged: its header makes no sense."
_SIZES, _OF_HIGH_THROUGHPUT = 0xFF51, 0xFF50  # SIZ; CAP, which announces a part of the standard that few libraries support
_CODED = frozenset((b"av01", b"hvc1"))
_AROUND = frozenset((b"grid", b"iovl", b"iden", b"Exif", b"mime", b"uri ", b"tmap"))  # derived from coded pictures, or about them


@dataclass(slots=True)
class _File:
    file: BinaryIO
    size_bytes: int

    def read_at(self, at: int, length: int) -> bytes:
        self.file.seek(at)
        return self.file.read(length)

    def number_at(self, at: int, length: int = 2) -> int:
        return int.from_bytes(self.read_at(at, length), "big")

    def boxes(self, at: int, end: int) -> Iterator[IsoBox]:
        return counted(boxes_of(self.read_at, at, end))

    def top_boxes(self) -> Iterator[IsoBox]:
        """The file's boxes. A cut one ends the walk: if its kind is unknown, it may not be a box at all, but something after the
        end."""
        for box in self.boxes(0, self.size_bytes):
            if box.end > self.size_bytes:
                if box.kind in TOP_BOXES:
                    raise Damaged("The file is cut off within a box.")
                return
            yield box


# JPEG 2000


def walk_jpeg_2000(file: BinaryIO, size_bytes: int) -> Shape:
    """A JP2 file or a bare codestream."""
    body = _File(file, size_bytes)
    if body.read_at(0, 2) == _START_OF_CODESTREAM:
        return _walk_codestream(body, 0, size_bytes, has_box=False)
    picture, kinds = None, set()
    for box in body.top_boxes():
        kinds.add(box.kind)
        if box.kind == b"jp2c" and picture is None:
            picture = box
            if kinds.isdisjoint((b"jp2h", b"jpch")):  # ISO 15444-1, I.5.3; 15444-2, M.11.6
                raise Damaged("The JPEG 2000 file is damaged: it has no header.")
    if picture is None:
        raise Damaged("The JPEG 2000 file is cut off or damaged: there is no picture in it.")
    return replace(_walk_codestream(body, picture.start, picture.end, has_box=True), end=picture.end)


def _walk_codestream(body: _File, start: int, end: int, *, has_box: bool) -> Shape:
    """`has_box`: a box gives its end, and the end marker may be missing."""
    header = _header_of(body, start, end)
    tiles, at, has_end = set(), header.end, False
    for tile, length in counted(_tile_parts(body, header.end, end)):
        tiles.add(tile)
        at += length
    if at < end:
        has_end = body.number_at(at) == _END
    if at > end or not (has_end or has_box):
        raise Damaged("The JPEG 2000 file is cut off within its picture data.")
    if len(tiles) < header.n_tiles or max(tiles) >= header.n_tiles:
        raise Damaged("The JPEG 2000 file is cut off or damaged: not all tiles of its picture are there.")
    if not header.width or not header.height:
        raise Damaged("The JPEG 2000 file is damaged: it declares a picture of no pixels.")
    return Shape(header.width, header.height, min(end, at + 2), header.is_usual)


def _tile_parts(body: _File, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Tile number and length of each tile-part (ISO 15444-1, A.4.2), up to the end marker or the end."""
    while at < end and (marker := body.number_at(at)) != _END:
        length = body.number_at(at + 6, 4)
        if marker != _START_OF_TILE or 0 < length < _LEAST_TILE_BYTES:
            raise Damaged("The JPEG 2000 file is damaged: its parts are not where it says that they are.")
        if not length:  # the last one extends to the end marker; anything may follow that
            tail_at = max(at, end - _TAIL_BYTES)
            marker_at = body.read_at(tail_at, end - tail_at).rfind(b"\xff\xd9")
            length = (end if marker_at < 0 else tail_at + marker_at) - at
        yield body.number_at(at + 4), length
        at += length


@dataclass(slots=True)
class _Header:
    end: int
    width: int = 0
    height: int = 0
    n_tiles: int = 0
    is_usual: bool = True


def _header_of(body: _File, start: int, end: int) -> _Header:
    """The segments before the first tile-part (ISO 15444-1, A.4 and A.5)."""
    header = _Header(start + 2)
    while (marker := body.number_at(header.end)) != _START_OF_TILE:
        length = body.number_at(header.end + 2)
        if header.end + 2 + length > end:
            raise Damaged("The JPEG 2000 file is cut off within its header.")
        if marker < 0xFF00 or length < 2 or header.end > start + _MOST_HEADER_BYTES:
            raise Damaged(_NONSENSE)
        if marker == _SIZES:
            _note_sizes(header, body.read_at(header.end + 4, length - 2))
        header.is_usual = header.is_usual and marker != _OF_HIGH_THROUGHPUT
        header.end += 2 + length
    if not header.n_tiles:
        raise Damaged(_NONSENSE)
    return header


def _note_sizes(header: _Header, said: bytes) -> None:
    """Usual is what Pillow decodes: at most 4 components, all of the same resolution and depth, none signed."""
    x_end, y_end, x, y, tile_width, tile_height, tile_x, tile_y = (int.from_bytes(said[n : n + 4], "big") for n in range(2, 34, 4))
    components = said[36:]
    if not tile_width or not tile_height or len(components) < 3:
        raise Damaged(_NONSENSE)
    header.n_tiles = -(-(x_end - tile_x) // tile_width) * -(-(y_end - tile_y) // tile_height)
    if not 0 < header.n_tiles <= _MOST_TILES:
        raise Damaged(_NONSENSE)
    header.width, header.height = max(0, x_end - x), max(0, y_end - y)
    depths, steps = set(components[::3]), {*components[1::3], *components[2::3]}
    header.is_usual = header.is_usual and len(components) // 3 <= 4 and steps == {1} and len(depths) == 1 and max(depths) < 16


# AVIF and HEIF


def walk_items(file: BinaryIO, size_bytes: int) -> Shape:
    """Whether everything that the boxes and the item table promise is inside the file. Does not look for width and height."""
    body = _File(file, size_bytes)
    meta, has_film, end = None, False, 0
    for box in body.top_boxes():
        end = box.end
        has_film = has_film or box.kind == b"moov"
        if box.kind == b"meta" and meta is None:
            meta = box
    if meta is None or meta.end - meta.start > _MOST_META_BYTES:
        if meta is None and not has_film:
            raise Damaged("The file is cut off or damaged: it does not say which pictures are in it.")
        return Shape()
    inner = _tiled(body, meta.start + 4, meta.end)
    if not {b"pitm", b"iloc", b"iinf", b"iprp"} <= inner.keys():
        raise Damaged("The file is damaged: it does not say where its pictures are.")
    properties = _tiled(body, inner[b"iprp"].start, inner[b"iprp"].end).get(b"ipco")
    if properties is None or not _tiled(body, properties.start, properties.end):
        raise Damaged("The file is damaged: it does not say what its pictures are like.")
    items, kinds = (body.read_at(box.start, box.end - box.start) for box in (inner[b"iloc"], inner[b"iinf"]))
    if max(_ends_of_items(items), default=0) > end:
        raise Damaged("The file is cut off or damaged: its pictures are not in its boxes.")
    found = set(_kinds_of_items(kinds))
    return Shape(is_usual=bool(found & _CODED) and found <= _CODED | _AROUND)


def _tiled(body: _File, start: int, end: int) -> dict[bytes, IsoBox]:
    """The boxes inside a box, by kind; there must be no gap between them."""
    boxes = list(counted(body.boxes(start, end), _MOST_BOXES))
    if not boxes or boxes[-1].end != end:
        raise Damaged("The file is damaged: its boxes do not fit into each other.")
    return {box.kind: box for box in boxes}


def _ends_of_items(said: bytes) -> Iterator[int]:
    """The ends of the items' extents in the file (ISO 14496-12, 8.11.3)."""
    if len(said) < 8:
        return
    numbers = _Numbers(said)
    version = numbers.take(1)
    numbers.take(3)
    sizes = numbers.take(2)
    offset_bytes, length_bytes, base_bytes, index_bytes = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(numbers.take(2 if version < 2 else 4)):
        numbers.take(2 if version < 2 else 4)  # item number
        method = numbers.take(2) & 15 if version else 0
        numbers.take(2)
        base = numbers.take(base_bytes)
        for _ in range(numbers.take(2)):
            numbers.take(index_bytes if version else 0)
            offset, length = numbers.take(offset_bytes), numbers.take(length_bytes)
            if not method:
                yield base + offset + length
        if numbers.at > len(said):
            raise Damaged("The file is damaged: its table of pictures is too short.")


def _kinds_of_items(said: bytes) -> Iterator[bytes]:
    """ISO 14496-12, 8.11.6."""
    start = 6 if said[:1] == b"\0" else 8
    for box in boxes_of(lambda at, length: said[at : at + length], start, len(said)):
        version = said[box.start : box.start + 1]
        yield said[box.start + (8 if version == b"\2" else 10) :][:4]


@dataclass(slots=True)
class _Numbers:
    data: bytes
    at: int = 0

    def take(self, size: int) -> int:
        self.at += size
        return int.from_bytes(self.data[self.at - size : self.at], "big")
