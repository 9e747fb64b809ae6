"""Walks the directories of a TIFF or BigTIFF and locates the data of its pictures. Decodes nothing.

Tags may be in any order, directories and data anywhere in the file (TIFF 6.0, section 2). All that a directory points to must
exist: a file that ends before it was cut, whichever picture it belongs to. What cannot be the trace of a cut is a fault of the
writer and is listed in `oddities`: an offset too far beyond the end (`TiffFile.is_there`), a chain of directories that leads back
or into the data of a picture.

The main picture is the first in the chain of directories, else the first in their SubIFDs, whose NewSubfileType says neither
"reduced version" nor "mask"; if there is none, it is the largest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from d4c_images.decode.faults import Damaged


class Tag(IntEnum):
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
    STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_SIZES, PLANAR = 273, 277, 278, 279, 284
    TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 322, 323, 324, 325
    T4_OPTIONS, JPEG_TABLES, OLD_JPEG_AT, OLD_JPEG_SIZE, SUBSAMPLING = 292, 347, 513, 514, 530
    NEW_SUBFILE_TYPE, SUBFILE_TYPE, SUB_IFDS, EXIF, GPS = 254, 255, 330, 34665, 34853


_COLOUR_MAP, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 320, 338, 339
_OF_THE_PICTURE = frozenset({*Tag, _COLOUR_MAP, _EXTRA_SAMPLES, _SAMPLE_FORMAT}) - {Tag.SUB_IFDS, Tag.EXIF, Tag.GPS}


class Compression(IntEnum):
    """Values of the tag Compression."""

    PLAIN, MODIFIED_HUFFMAN, GROUP_3, GROUP_4, LZW, OLD_JPEG, JPEG, DEFLATE = 1, 2, 3, 4, 5, 6, 7, 8
    PACKBITS, OLD_DEFLATE, LZMA, ZSTD, WEBP = 32773, 32946, 34925, 50000, 50001


_REDUCED_OR_MASK, _OLD_REDUCED, _YCBCR = 0b101, 2, 6

LARGEST_BYTES = 2_000_000_000  # of a file: the default of `download --max-size`
_MOST_TIMES, _NEAR_BYTES = 1000, 64_000_000
_MOST_ENTRIES, _MOST_ENTRIES_OF_ALL, _MOST_DIRECTORIES = 1000, 200_000, 5000
_MOST_PIECES = 1_000_000  # strips and tiles of all pictures together
_MOST_SAMPLES = 4096  # of a pixel
_BLOCK = 4096  # numbers read at a time
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # by type
_UNSIGNED = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


class _NoDirectory(ValueError):
    """There is no directory at this offset."""


class _NoPicture(ValueError):
    """A directory describes an impossible picture."""


@dataclass(frozen=True, slots=True)
class Values:
    """The values of a tag, and their position in the file."""

    kind: int
    count: int
    at: int


Tags = dict[int, Values]


@dataclass(frozen=True, slots=True)
class TiffPage:
    """A picture and how it is stored: in strips or tiles, both called pieces here."""

    at: int  # offset of its directory
    tags: Tags
    width: int
    height: int
    bits: tuple[int, ...]  # per sample
    compression: int
    n_planes: int  # 1: a pixel's samples are stored together
    piece_width: int
    piece_height: int
    is_tiled: bool
    is_full: bool  # neither a reduced version nor a mask
    subsampling: tuple[int, int] | None = None  # for YCbCr stored in blocks of pixels

    @property
    def has_pieces(self) -> bool:
        """False if the data are one old-style JPEG."""
        return (Tag.TILE_OFFSETS if self.is_tiled else Tag.STRIP_OFFSETS) in self.tags

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def n_pieces(self) -> int:
        return self.n_planes * -(-self.width // self.piece_width) * -(-self.height // self.piece_height)

    @property
    def size_bytes(self) -> int:
        return self.n_pieces * self.piece_bytes(0, padded=True)

    def row_bytes(self, plane: int) -> int:
        """Of an unpacked piece."""
        bits = sum(self.bits) if self.n_planes == 1 else self.bits[plane]
        return (self.piece_width * bits + 7) // 8

    def __str__(self) -> str:
        samples = f"{len(self.bits)} samples of {self.bits[0]} bits" if len(self.bits) > 1 else f"{self.bits[0]} bits"
        return f"{self.width} x {self.height} pixels of {samples}, compression {self.compression}"

    def piece_bytes(self, number: int, *, padded: bool = False) -> int:
        """Of an unpacked piece. The last strip has only the remaining rows, unless it is `padded`."""
        in_plane = self.n_pieces // self.n_planes
        rows = self.piece_height
        if not (self.is_tiled or padded):
            rows = min(rows, self.height - number % in_plane * rows)
        if self.subsampling:
            across, down = self.subsampling
            return -(-self.piece_width // across) * -(-rows // down) * (across * down + 2) * self.bits[0] // 8
        return rows * self.row_bytes(number // in_plane)


@dataclass(frozen=True, slots=True)
class Pages:
    """The pictures of a file, the main one first; and oddities of its directories, in sentences."""

    pictures: tuple[TiffPage, ...]
    oddities: tuple[str, ...]


class TiffFile:
    """A file and its directories. Trusts no number that it reads."""

    def __init__(self, file: BinaryIO) -> None:
        self.size_bytes = file.seek(0, 2)
        self._file = file
        head = self.read(0, 16)
        self._is_big = head[2:4] in (b"+\0", b"\0+")
        self._order = ">" if head[:2] == b"MM" else "<"
        self._seen: set[int] = set()
        self._used: list[tuple[int, int]] = []  # starts and ends of directories, and of their tags' values
        self._pages: list[TiffPage] = []
        self._n_entries = self._n_pieces = 0
        self._oddities: dict[str, None] = {}
        self._first = self._number(head[8:16] if self._is_big else head[4:8])

    def read(self, at: int, size_bytes: int) -> bytes:
        self._file.seek(min(at, self.size_bytes))
        return self._file.read(size_bytes)

    def header_for(self, page: TiffPage) -> bytes:
        """The file's header as if this picture were its first."""
        head = self.read(0, 8 if self._is_big else 4)
        return head + struct.pack(self._order + ("Q" if self._is_big else "I"), page.at)

    def is_there(self, at: int, size_bytes: int, what: str) -> bool:
        """Whether the file has these bytes. Raises `Damaged` if it may have had them before it was cut.

        It never had anything beyond the largest file that is fetched, or a thousand times its own length (otherwise it would have
        lost 99.9 % of its bytes, and yet none of those found so far).
        """
        end = at + size_bytes
        if end <= self.size_bytes:
            return True
        if end > LARGEST_BYTES > self.size_bytes or end > max(_NEAR_BYTES, _MOST_TIMES * self.size_bytes):
            self._note(f"{what} would lie far beyond the end of the file")
            return False
        raise Damaged(f"The file ends after {self.size_bytes} bytes, before {what}.")

    def numbers(self, values: Values) -> Iterator[int]:
        """Unsigned numbers, read lazily."""
        if values.kind not in _UNSIGNED:
            raise _NoPicture("a directory has something else where a number belongs")
        size, letter = _SIZES[values.kind], _UNSIGNED[values.kind]
        for start in range(0, values.count, _BLOCK):
            n = min(_BLOCK, values.count - start)
            data = self.read(values.at + start * size, n * size)
            if len(data) < n * size:
                raise Damaged("The file ends within a directory.")
            yield from struct.unpack(f"{self._order}{n}{letter}", data)

    def number(self, page: TiffPage, tag: int) -> int:
        """The first value of a tag, or 0."""
        return self._one(page.tags, tag, 0)

    def spans(self, page: TiffPage) -> Iterator[tuple[int, int | None]]:
        """Offset and stored size of each piece; None if no size is stored."""
        offsets, sizes = (Tag.TILE_OFFSETS, Tag.TILE_SIZES) if page.is_tiled else (Tag.STRIP_OFFSETS, Tag.STRIP_SIZES)
        stored = self.numbers(page.tags[sizes]) if sizes in page.tags else iter(())
        for at in islice(self.numbers(page.tags[offsets]), page.n_pieces):
            yield at, next(stored, None)

    def walk(self) -> Pages:
        """Raises `Damaged` if the file is cut, according to its directories, or none of them describes a picture."""
        inner: list[TiffPage] = []
        chain: list[TiffPage] = []
        at = self._first
        while at:
            try:
                tags, following = self._tags(at)
            except _NoDirectory as error:
                self._note_or_raise(at, error, "what should be its next directory is none")
                break
            chain += self._picture(at, tags)
            inner += self._inner_pictures(tags)
            at = self._next(following)
        pages = chain + inner
        if not pages:
            raise Damaged("No directory describes a picture.")
        main = next((page for page in pages if page.is_full), None) or max(pages, key=lambda page: page.pixels)
        return Pages((main, *(page for page in pages if page is not main)), tuple(self._oddities))

    def _next(self, at: int) -> int:
        """The offset of the next directory to read, 0 if there is none."""
        if at in self._seen:
            self._note("its directories lead back to an earlier one")
        elif at and self._has_enough():
            self._note("it has more directories, strips or tiles than are looked at")
        elif at and self.is_there(at, 2, "its next directory"):
            return at
        return 0

    def _has_enough(self) -> bool:
        return len(self._seen) > _MOST_DIRECTORIES or self._n_entries > _MOST_ENTRIES_OF_ALL or self._n_pieces > _MOST_PIECES

    def _note(self, oddity: str) -> None:
        self._oddities[oddity] = None

    def _note_or_raise(self, at: int, error: Exception, oddity: str) -> None:
        """If an offset leads to no directory, its writer is to blame if there can never have been one: in the header, in other
        directories, or in the data of a picture. Elsewhere there was one."""
        is_used = at < 8 or any(start <= at < end for start, end in self._used)
        if not is_used and not any(
            start <= at < start + (size or 1) for page in self._pages if page.has_pieces for start, size in self.spans(page)
        ):
            raise Damaged(f"The file is damaged: {error}.") from error
        self._note(oddity)

    def _number(self, data: bytes) -> int:
        return int.from_bytes(data, "big" if self._order == ">" else "little")

    def _tags(self, at: int) -> tuple[Tags, int]:
        """The tags of a directory, and the offset of the next. All that they point to is there, or noted as an oddity."""
        self._seen.add(at)
        count_size, entry_size, value_at = (8, 20, 12) if self._is_big else (2, 12, 8)
        n = self._number(self.read(at, count_size))
        if at + count_size > self.size_bytes:
            raise Damaged("The file ends before a directory.")
        if not 0 < n <= _MOST_ENTRIES:
            raise _NoDirectory(f"a directory has {n} entries")
        self._n_entries += n
        at += count_size
        data = self.read(at, n * entry_size + entry_size - value_at)
        kinds = [self._number(data[start + 2 : start + 4]) for start in range(0, min(n * entry_size, len(data) - 3), entry_size)]
        if 0 in kinds or sum(kind in _SIZES for kind in kinds) < len(kinds) / 2:
            raise _NoDirectory("a directory has entries without a type")
        if len(data) < n * entry_size + entry_size - value_at:
            raise Damaged("The file ends within a directory.")
        self._used.append((at - count_size, at + len(data)))
        tags: Tags = {}
        for start, kind in zip(range(0, n * entry_size, entry_size), kinds, strict=True):
            tag, field = self._number(data[start : start + 2]), data[start + value_at : start + entry_size]
            values = Values(kind, self._number(data[start + 4 : start + value_at]), at + start + value_at)
            size_bytes = _SIZES.get(kind, 0) * values.count
            if size_bytes > len(field):
                values = Values(kind, values.count, self._number(field))
                if not self.is_there(values.at, size_bytes, f"the value of tag {tag}"):
                    if at - count_size == self._first and tag in _OF_THE_PICTURE:
                        raise Damaged(f"The value of tag {tag} would lie far beyond the end of the file.")
                    continue
                self._used.append((values.at, values.at + size_bytes))
            if kind in _SIZES:
                tags.setdefault(tag, values)
            elif tag in _OF_THE_PICTURE:
                self._note("what describes a picture is of a type that there is not")
        return tags, self._number(data[n * entry_size :])

    def _inner_pictures(self, tags: Tags) -> list[TiffPage]:
        """The pictures in a directory's SubIFDs. Its metadata directories are walked too, to find data beyond the end."""
        found: list[TiffPage] = []
        for tag in (Tag.SUB_IFDS, Tag.EXIF, Tag.GPS):
            for at in self.numbers(tags[tag]) if tag in tags and tags[tag].kind in _UNSIGNED else ():
                if at in self._seen or self._has_enough():
                    break
                if not self.is_there(at, 2, "a directory within a directory"):
                    continue
                try:
                    inner, _ = self._tags(at)
                except _NoDirectory as error:
                    oddity = "what should be a directory of a side picture or of metadata is none"
                    if tag == Tag.SUB_IFDS:
                        self._note_or_raise(at, error, oddity)
                    self._note(oddity)
                    break
                found += self._picture(at, inner) if tag == Tag.SUB_IFDS else []
        return found

    def _picture(self, at: int, tags: Tags) -> list[TiffPage]:
        """The picture that a directory describes, if any."""
        try:
            found = self._described(at, tags)
        except _NoPicture as error:
            if at == self._first:
                raise Damaged(f"The file is damaged: {error}.") from error
            self._note(str(error))
            self._look_for_data(tags)
            return []
        self._pages += found
        self._n_pieces += sum(page.n_pieces for page in found)
        return found

    def _look_for_data(self, tags: Tags) -> None:
        """For an impossible picture: its data may have been cut off, too."""
        for offsets, sizes in ((Tag.STRIP_OFFSETS, Tag.STRIP_SIZES), (Tag.TILE_OFFSETS, Tag.TILE_SIZES)):
            if all(tag in tags and tags[tag].kind in _UNSIGNED for tag in (offsets, sizes)):
                self._n_pieces += tags[offsets].count
                for at, size in islice(zip(self.numbers(tags[offsets]), self.numbers(tags[sizes]), strict=False), _MOST_PIECES):
                    if not self.is_there(at, size, "the data of a side picture"):
                        return

    def _described(self, at: int, tags: Tags) -> list[TiffPage]:
        is_tiled = Tag.TILE_OFFSETS in tags
        is_old_jpeg = Tag.OLD_JPEG_AT in tags and self._one(tags, Tag.COMPRESSION, Compression.PLAIN) == Compression.OLD_JPEG
        if (Tag.WIDTH not in tags and Tag.HEIGHT not in tags) or not (is_tiled or Tag.STRIP_OFFSETS in tags or is_old_jpeg):
            return []
        page = self._page(at, tags, is_tiled)
        if not page.bits or min(page.width, page.height, page.piece_width, page.piece_height, *page.bits) < 1:
            raise _NoPicture("a picture is described without pixels")
        offsets, sizes = (Tag.TILE_OFFSETS, Tag.TILE_SIZES) if is_tiled else (Tag.STRIP_OFFSETS, Tag.STRIP_SIZES)
        if any(tag in tags and tags[tag].kind not in _UNSIGNED for tag in (offsets, sizes)):
            raise _NoPicture("a picture is described without a place")
        if page.has_pieces and tags[offsets].count < page.n_pieces:
            raise _NoPicture("a picture is described with fewer strips or tiles than it needs")
        if page.has_pieces and page.compression != Compression.PLAIN and (sizes not in tags or tags[sizes].count < page.n_pieces):
            raise _NoPicture("a picture is described without the sizes of its strips or tiles")
        return [page]

    def _page(self, at: int, tags: Tags, is_tiled: bool) -> TiffPage:
        width, height = self._one(tags, Tag.WIDTH, 0), self._one(tags, Tag.HEIGHT, 0)
        samples = self._one(tags, Tag.SAMPLES, 1)
        if samples > _MOST_SAMPLES:
            raise _NoPicture(f"a picture is described with {samples} samples for each pixel")
        bits = tuple(islice(self.numbers(tags[Tag.BITS]), samples)) if Tag.BITS in tags else (1,)
        bits += bits[-1:] * (samples - len(bits))
        in_planes = samples > 1 and self._one(tags, Tag.PLANAR, 1) == 2
        is_in_blocks = self._one(tags, Tag.PHOTOMETRIC, 0) == _YCBCR and samples == 3 and not in_planes
        factors = (*(islice(self.numbers(tags[Tag.SUBSAMPLING]), 2) if Tag.SUBSAMPLING in tags else ()), 2, 2)
        if is_tiled:
            piece_width, piece_height = self._one(tags, Tag.TILE_WIDTH, 0), self._one(tags, Tag.TILE_HEIGHT, 0)
        else:
            piece_width, piece_height = width, min(self._one(tags, Tag.ROWS_PER_STRIP, height), height)
        is_reduced_or_mask = self._one(tags, Tag.NEW_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK
        return TiffPage(
            at, tags, width, height, bits[:samples],
            compression=self._one(tags, Tag.COMPRESSION, Compression.PLAIN),
            n_planes=samples if in_planes else 1,
            piece_width=piece_width,
            piece_height=piece_height,
            is_tiled=is_tiled,
            is_full=not is_reduced_or_mask and self._one(tags, Tag.SUBFILE_TYPE, 0) != _OLD_REDUCED,
            subsampling=(max(1, factors[0]), max(1, factors[1])) if is_in_blocks else None,
        )  # fmt: skip

    def _one(self, tags: Tags, tag: int, default: int) -> int:
        return next(self.numbers(tags[tag]), default) if tag in tags else default


def head_of_main(path: Path) -> bytes:
    """The file's header as if its main picture were its first. Raises `Damaged`."""
    with path.open("rb") as file:
        structure = TiffFile(file)
        return structure.header_for(structure.walk().pictures[0])
