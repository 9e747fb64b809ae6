"""Walks through the chunks of a WebP (RFC 9649) and extracts its first picture. Decodes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from d4c_images.decode.faults import Damaged, counted
from d4c_images.decode.shape import Shape

_PICTURES = (b"VP8 ", b"VP8L")
_FRAME, _FRAME_HEADER_BYTES = b"ANMF", 16
_EXTENDED, _IS_FILM = b"VP8X", 0x02
_TRANSPARENCY = b"ALPH"
_UNKNOWN_BYTES = 0xFFFFFFF0  # a program writing to a pipe does not know the final file size


@dataclass(frozen=True, slots=True)
class RiffChunk:
    kind: bytes
    start: int  # of its data
    end: int


def walk(file: BinaryIO, size_bytes: int) -> Shape:
    """Whether all chunks are present. A wrong length in the header is ignored if the chunks themselves are complete."""
    picture = main_picture(file, size_bytes)
    file.seek(picture.start)
    width, height = _size_of(picture.kind, file.read(10))
    if not width or not height:
        raise Damaged("The WebP file is damaged: it declares a picture of no pixels.")
    _check_canvas(file, width, height)
    return Shape(width, height, is_usual=True)


def main_picture(file: BinaryIO, size_bytes: int) -> RiffChunk:
    """The chunk of the first picture, after walking through the chunks up to the declared end, or at least up to that picture."""
    file.seek(4)
    declared = 8 + int.from_bytes(file.read(4), "little")
    end = min(declared, size_bytes) if declared < _UNKNOWN_BYTES else size_bytes
    main = None
    for chunk in _chunks(file, 12, size_bytes):
        if main is not None and chunk.start - 8 >= end:
            break
        if chunk.end > size_bytes or not chunk.kind.isascii() or not chunk.kind.decode("ascii").isprintable():
            raise Damaged("The WebP file is cut off or damaged within a chunk.")
        is_odd = (chunk.end - chunk.start) % 2 == 1
        if is_odd and chunk.end == size_bytes == declared - 1 and _ends_with_zero(file, size_bytes):
            raise Damaged("The WebP file lacks a byte.")
        picture = _picture_in(file, chunk)
        if chunk.kind == _FRAME and picture is None:
            raise Damaged("The WebP file is damaged: a frame has no picture.")
        main = main or picture
    if main is None:
        raise Damaged("The WebP file is cut off or damaged: there is no picture in it.")
    if size_bytes + 1 < declared < _UNKNOWN_BYTES:  # the last chunk's padding byte may be missing
        raise Damaged(f"The WebP file is cut off: it should have {declared} bytes and has {size_bytes}.")
    return main


def _ends_with_zero(file: BinaryIO, size_bytes: int) -> bool:
    """Whether a file that seems to lack its padding zero may have lost a byte before it."""
    file.seek(size_bytes - 1)
    return file.read(1) == b"\0"


def _picture_in(file: BinaryIO, chunk: RiffChunk) -> RiffChunk | None:
    if chunk.kind in _PICTURES:
        return chunk
    if chunk.kind != _FRAME:
        return None
    found = None
    for inner in _chunks(file, chunk.start + _FRAME_HEADER_BYTES, chunk.end):
        if inner.end > chunk.end:
            raise Damaged("The WebP file is damaged: a picture is longer than the frame that it is in.")
        if inner.kind in _PICTURES and found is None:
            found = inner
    return found


def _chunks(file: BinaryIO, at: int, end: int) -> Iterator[RiffChunk]:
    return counted(_all_chunks(file, at, end))


def _all_chunks(file: BinaryIO, at: int, end: int) -> Iterator[RiffChunk]:
    while at + 8 <= end:
        file.seek(at)
        header = file.read(8)
        length = int.from_bytes(header[4:], "little")
        yield RiffChunk(header[:4], at + 8, at + 8 + length)
        at += 8 + length + length % 2


def _size_of(kind: bytes, start: bytes) -> tuple[int, int]:
    """From the first bytes of a picture: RFC 6386, section 9.1; RFC 9649, section 3.4."""
    if kind == b"VP8 ":
        if start[3:6] != b"\x9d\x01\x2a" or start[0] & 1:  # a frame that depends on another one
            raise Damaged("The picture in the WebP file is damaged.")
        return int.from_bytes(start[6:8], "little") & 0x3FFF, int.from_bytes(start[8:10], "little") & 0x3FFF
    if start[:1] != b"\x2f":
        raise Damaged("The picture in the WebP file is damaged.")
    bits = int.from_bytes(start[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _check_canvas(file: BinaryIO, width: int, height: int) -> None:
    """Whether the picture fits an extended header (RFC 9649, section 2.7): exactly, unless it is a frame of an animation."""
    file.seek(12)
    head = file.read(18)
    if head[:4] != _EXTENDED:
        return
    canvas = 1 + int.from_bytes(head[12:15], "little"), 1 + int.from_bytes(head[15:18], "little")
    fits = width <= canvas[0] and height <= canvas[1] if head[8] & _IS_FILM else (width, height) == canvas
    if not fits:
        raise Damaged(f"The WebP file is damaged: it declares {canvas[0]} x {canvas[1]} pixels and has {width} x {height}.")


def has_more_pictures(file: BinaryIO, size_bytes: int) -> bool:
    """Whether there is something to see besides the first picture: more frames, or transparency."""
    return any(chunk.kind in (_FRAME, _TRANSPARENCY) for chunk in _chunks(file, 12, size_bytes))


def alone(file: BinaryIO, picture: RiffChunk) -> bytes:
    """A WebP of one picture and nothing else; without its transparency, if that is in a separate chunk."""
    file.seek(picture.start)
    data = file.read(picture.end - picture.start)
    data += bytes(len(data) % 2)
    chunk = picture.kind + (picture.end - picture.start).to_bytes(4, "little") + data
    return b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk
