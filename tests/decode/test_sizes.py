"""Sizes, headers and memory of decoders, where a fault left all other tests green (`make campaign-mutants`)."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from d4c_images.decode import Decoder, TooLarge, bounds, gif, jpeg, riff
from d4c_images.decode.faults import Damaged
from tests.decode.test_decode import saved
from tests.publishers import pictures
from tests.support.counted_budget import CountedBudget

SIZE = (70, 40)
PICTURE = Image.open(io.BytesIO(pictures.jpeg("a sheet", SIZE)))


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("exif", [b"", b"Exif\0\0II*\0" + bytes(100)])
def test_the_size_of_a_webp_is_read_from_its_picture(lossless: bool, exif: bytes) -> None:
    body = saved(PICTURE, "WEBP", lossless=lossless, exif=exif)
    shape = riff.walk(io.BytesIO(body), len(body))
    assert (shape.width, shape.height) == SIZE


@pytest.mark.parametrize("n_components", [0, 1, 2])
def test_a_jpeg_whose_header_ends_before_its_components_is_damaged(n_components: int) -> None:
    components = bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])[: 3 * n_components]
    header = b"\x08" + SIZE[1].to_bytes(2, "big") + SIZE[0].to_bytes(2, "big") + b"\x03" + components
    body = b"\xff\xd8\xff\xc0" + (2 + len(header)).to_bytes(2, "big") + header + b"\xff\xd9"
    with pytest.raises(Damaged, match="scans of its picture are missing"):
        jpeg.check_scans(body)


@pytest.mark.parametrize("form", ["WEBP", "PNG", "JPEG"])
def test_a_smaller_copy_is_made_in_room_that_was_taken_for_all_its_pixels(tmp_path: Path, form: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(saved(PICTURE, form))
    room = CountedBudget(1_000_000, 10_000_000)
    Decoder(20, room).reduce(path, bytes(32), f"image/{form.lower()}")
    assert max(room.taken_bytes) >= 4 * SIZE[0] * SIZE[1]


@pytest.mark.parametrize("size", [None, -1, 1001])
def test_no_more_is_read_of_a_header_than_it_may_have(tmp_path: Path, size: int | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1001))
    with bounds._Sparing(path, 1000) as file, pytest.raises(TooLarge):
        file.read(size)
    path.write_bytes(bytes(1000))
    with bounds._Sparing(path, 1000) as file:
        assert len(file.read(size)) == 1000


@pytest.mark.parametrize("n_bytes", [6, 10, 11, 12, 13])
def test_a_gif_that_ends_within_its_header_is_damaged(n_bytes: int) -> None:
    with pytest.raises(Damaged):
        list(gif.pictures((b"GIF89a" + bytes(7))[:n_bytes]))


def test_a_jpeg_without_an_end_is_said_to_be_cut_and_not_to_lack_a_header() -> None:
    body = saved(PICTURE, "JPEG")
    jpeg.check_structure(body)
    for cut in (body[:-2], body[:4]):
        with pytest.raises(Damaged, match="no end"):
            jpeg.check_structure(cut)
