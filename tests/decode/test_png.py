"""How many bytes a PNG inflates to, and its filters, compared with a plain reading of the specification (PNG, sections 8 and 9)."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from d4c_images.decode import png
from d4c_images.decode.faults import Damaged
from tests.support import plain_files

ADAM7 = ("16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777")  # the pass of each pixel


def inflated_bytes(width: int, height: int, bits: int) -> int:
    """Of an interlaced picture, by counting pixels: each pass has rows of its own, each with a filter type."""
    total = 0
    for number in "1234567":
        per_row = [sum(ADAM7[y % 8][x % 8] == number for x in range(width)) for y in range(height)]
        total += sum(1 + (n * bits + 7) // 8 for n in per_row if n)
    return total


@pytest.mark.parametrize("bits", [1, 2, 8, 24, 64])
def test_an_interlaced_picture_is_as_long_as_its_passes(bits: int) -> None:
    for width in range(1, 18):
        for height in range(1, 18):
            assert png.Header(width, height, bits, True).size_bytes() == inflated_bytes(width, height, bits), (width, height)


def test_a_picture_in_rows_is_as_long_as_these() -> None:
    assert png.Header(9, 5, 1, False).size_bytes() == 5 * (1 + 2)
    assert png.Header(3, 4, 48, False).size_bytes() == 4 * (1 + 18)


@pytest.mark.parametrize("filters", [b"\0\5\0", b"\5\0\0", b"\0\0\xff"])
def test_one_row_of_an_unknown_filter_is_damage(tmp_path: Path, filters: bytes) -> None:
    path = tmp_path / "a.png"

    def write(filters: bytes) -> None:
        header = (4).to_bytes(4, "big") + len(filters).to_bytes(4, "big") + b"\x08\0\0\0\0"
        rows = b"".join(bytes([one]) + b"grey" for one in filters)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(plain_files.chunk(*one) for one in chunks))

    write(bytes(range(5)))
    png.read(path)
    write(filters)
    with pytest.raises(Damaged, match="unknown filter"):
        png.read(path)
