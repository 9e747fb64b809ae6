"""The decoder on real encoded files, whole and damaged: what it says of each, and what it makes of them for --max-edge."""

from __future__ import annotations

import hashlib
import io
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from d4c_images.decode import Decoder, original_sha256_of
from d4c_images.model import Status
from d4c_images.policy.judge import DecodeFault, DecodeResult, judge_decoded
from d4c_images.policy.sniff import Sniffed, sniff
from d4c_images.stores.reading import sniff_file
from tests.publishers import pictures, rawfiles


def sniffed(body: bytes) -> Sniffed:
    return sniff(body[:65536], body[-1024:], len(body))


def check(tmp_path: Path, body: bytes, decoder: Decoder | None = None, of: bytes | None = None) -> DecodeResult:
    """`of`: the whole file that `body` was cut from; the sniffer has seen that one."""
    path = tmp_path / "checked"
    path.write_bytes(of or body)
    seen = sniff_file(path, (of or body)[:65536], (of or body)[-1024:], len(of or body))
    path.write_bytes(body)
    return (decoder or Decoder()).check(path, seen)


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


FORMATS = sorted(pictures.PICTURES)


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_picture_is_what_it_says(tmp_path: Path, name: str) -> None:
    media_type, make = pictures.PICTURES[name]
    body = make("a picture")
    with Image.open(io.BytesIO(body)) as picture:
        size = picture.size
    found = check(tmp_path, body)
    assert (found.ok, found.reason, found.raw) == (True, None, False)
    assert (found.media_type, found.width, found.height) == (media_type, *size)
    assert found.extension == {"jpeg": "jpg", "tiff": "tif"}.get(name, name)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_picture_is_never_whole(tmp_path: Path, name: str, share: float) -> None:
    body = pictures.PICTURES[name][1]("a picture")
    cut = body[: int(len(body) * share)]
    sniff_sees_it = sniffed(cut).truncated
    found = check(tmp_path, cut, of=body)
    assert not found.ok or sniff_sees_it
    assert found.reason in (None, DecodeFault.TRUNCATED, DecodeFault.UNDECODABLE)


@pytest.mark.parametrize("kind", ["baseline", "progressive", "grey", "cmyk", "icc", "exif_rotated"])
@pytest.mark.parametrize("lost_bytes", [2, 100, 5000])
def test_a_jpeg_that_lost_its_end_is_truncated(tmp_path: Path, kind: str, lost_bytes: int) -> None:
    body = pictures.jpeg("a picture", kind=kind)
    assert check(tmp_path, body).ok
    found = check(tmp_path, body[:-lost_bytes], of=body)
    only_the_marker_is_lost = found.ok and lost_bytes == 2  # then the sniffer knows
    assert found.reason is DecodeFault.TRUNCATED or (only_the_marker_is_lost and sniffed(body[:-lost_bytes]).truncated)


# Damage that libjpeg only warns of

BASELINE, GREY = pictures.jpeg("a picture"), pictures.jpeg("a picture", kind="grey")
THUMBNAIL = pictures.jpeg("a picture", (64, 48))


def halved(body: bytes) -> bytes:
    return body[: len(body) // 2] + b"\xff\xd9"


def lacking_its_last_tenth(body: bytes) -> bytes:
    return body[: len(body) * 9 // 10] + b"\xff\xd9"


def zeroed(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes(4096) + body[middle + 4096 :]


def lacking_4_kb(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + body[middle + 4096 :]


def with_wrong_bits(body: bytes) -> bytes:
    wrong = bytearray(body)
    for at in range(len(wrong) // 2, len(wrong) // 2 + 4000, 200):
        if 0xFF not in (wrong[at - 1], wrong[at], wrong[at] ^ 0x55):  # no marker comes or goes
            wrong[at] ^= 0x55
    return bytes(wrong)


@pytest.mark.parametrize("damaged", [halved, lacking_its_last_tenth, zeroed, lacking_4_kb, with_wrong_bits])
@pytest.mark.parametrize("kind", ["baseline", "progressive", "grey", "cmyk", "icc"])
def test_a_jpeg_damaged_within_is_truncated(tmp_path: Path, kind: str, damaged: Callable[[bytes], bytes]) -> None:
    """It has its length or its end marker, and Pillow decodes it without a word."""
    body = damaged(pictures.jpeg("a picture", kind=kind))
    with Image.open(io.BytesIO(body)) as picture:
        picture.load()
    found = check(tmp_path, body)
    assert (found.ok, found.reason) == (False, DecodeFault.TRUNCATED)
    assert found.detail in ("Corrupt JPEG data: premature end of data segment", "Corrupt JPEG data: bad Huffman code")


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:1:1"])
def test_a_jpeg_of_any_subsampling_may_be_damaged(tmp_path: Path, subsampling: str) -> None:
    body = saved(Image.effect_noise((640, 480), 40).convert("RGB"), "JPEG", subsampling=subsampling)
    assert check(tmp_path, body) == DecodeResult(True, None, None, 640, 480, "image/jpeg", "jpg")
    assert check(tmp_path, halved(body)).reason is DecodeFault.TRUNCATED


def with_restarts() -> bytes:
    return saved(Image.effect_noise((640, 480), 40), "JPEG", restart_marker_blocks=20)


def rich_in_colour() -> bytes:
    return saved(Image.merge("RGB", [Image.effect_noise((640, 480), 40)] * 3), "JPEG", subsampling="4:4:4")


@pytest.mark.parametrize("make", [with_restarts, rich_in_colour])
@pytest.mark.parametrize("length", [2048, 20_000])
def test_a_hole_is_noticed_where_it_leaves_bytes_over(tmp_path: Path, make: Callable[[], bytes], length: int) -> None:
    body = make()
    found = check(tmp_path, body[:40_000] + bytes(length) + body[40_000 + length :] + THUMBNAIL)
    assert found.reason is DecodeFault.TRUNCATED


def test_a_plain_picture_may_be_packed_into_zeros(tmp_path: Path) -> None:
    body = saved(Image.new("L", (4000, 3000)), "JPEG", optimize=True)
    assert bytes(2000) in body
    assert check(tmp_path, body).detail is None


def test_a_lost_restart_interval_is_noticed(tmp_path: Path) -> None:
    body = with_restarts()
    assert check(tmp_path, body).detail is None
    markers = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", body)]
    found = check(tmp_path, body[: markers[3]] + body[markers[4] :])
    assert found.reason is DecodeFault.TRUNCATED
    assert found.detail == "Corrupt JPEG data: found marker 0xd4 instead of RST3"


# Oddities of whole files


def before_the_scan(body: bytes, more: bytes) -> bytes:
    at = body.index(b"\xff\xda")
    return body[:at] + more + body[at:]


def behind_the_start(body: bytes, more: bytes) -> bytes:
    return body[:2] + more + body[2:]


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def without_huffman_tables(body: bytes) -> bytes:
    """As the frames of a Motion JPEG, for which the standard tables are understood."""
    kept, at = body[:2], 2
    while body[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(body[at + 2 : at + 4], "big")
        kept, at = kept + (b"" if body[at + 1] == 0xC4 else body[at:end]), end
    return kept + body[at:]


def sampled(body: bytes, factors: int) -> bytes:
    """The same data read with other sampling factors of the first component, which an odd encoder might have chosen."""
    at = body.index(b"\xff\xc0") + 11
    return body[:at] + bytes([factors]) + body[at + 1 :]


ODD_BUT_WHOLE: dict[str, tuple[bytes, str | None]] = {
    "bytes behind the end": (BASELINE + bytes(500), None),
    "two end markers": (BASELINE + b"\xff\xd9", None),
    "another picture behind the end": (BASELINE + THUMBNAIL, None),
    "a thumbnail": (behind_the_start(BASELINE, segment(0xE1, b"Exif\0\0" + THUMBNAIL)), None),
    "a byte before the end": (BASELINE[:-2] + b"\0\xff\xd9", None),
    "fill bytes": (BASELINE[:-2] + b"\xff" * 7 + b"\xff\xd9", None),
    "a density of nothing": (BASELINE[:13] + bytes(5) + BASELINE[18:], None),
    "no Huffman tables": (without_huffman_tables(BASELINE), None),
    "an unknown Adobe transform": (behind_the_start(BASELINE, segment(0xEE, b"Adobe\0\x64\0\0\0\0\x07")), None),
    "grey with sampling factors": (sampled(GREY, 0x22), None),
    "500 bytes before the end": (BASELINE[:-2] + b"\x11" * 500 + b"\xff\xd9", "extraneous bytes before marker 0xd9"),
    "70,000 bytes before the end": (BASELINE[:-2] + bytes(70_000) + b"\xff\xd9", "extraneous bytes before marker 0xd9"),
    "bytes before a segment": (before_the_scan(BASELINE, bytes(3000) + b"1"), "3001 extraneous bytes before marker 0xda"),
    "a scanner's padding": (
        re.sub(rb"(\xff[\xd0-\xd7])", b"0" * 40 + rb"\1", with_restarts()),
        "extraneous bytes before marker 0xd0",
    ),
    "a scanner's padding with zeros": (
        re.sub(rb"(\xff[\xd0-\xd7])", bytes(2000) + rb"\1", with_restarts()),
        "extraneous bytes before marker 0xd0",
    ),
    "zeros and more before the end": (
        BASELINE[:-2] + b"1" * 99 + bytes(3000) + b"2" * 99 + b"\xff\xd9" + THUMBNAIL,
        "extraneous bytes before marker 0xd9",
    ),
    "zeros in a maker's note": (
        behind_the_start(BASELINE[:-2] + b"1" * 99 + b"\xff\xd9", segment(0xE1, b"Exif\0\0" + bytes(3000) + b"note")),
        "extraneous bytes before marker 0xd9",
    ),
    "an unknown version of JFIF": (BASELINE.replace(b"JFIF\0\x01", b"JFIF\0\x09"), "unknown JFIF revision number 9.01"),
    "a bad ICC profile": (behind_the_start(BASELINE, segment(0xE2, b"ICC_PROFILE\0\x05\x02abc")), "bad ICC marker"),
}


@pytest.mark.parametrize("name", sorted(ODD_BUT_WHOLE))
def test_a_whole_jpeg_may_be_odd(tmp_path: Path, name: str) -> None:
    body, oddity = ODD_BUT_WHOLE[name]
    found = check(tmp_path, body)
    assert (found.ok, found.reason, found.width, found.height) == (True, None, 640, 480)
    assert found.detail is None if oddity is None else oddity in str(found.detail)
    told = judge_decoded(found)
    assert (told.status, told.error_type, told.detail) == (Status.SUCCESS, None, found.detail)


def test_what_only_pillow_reads_is_left_to_pillow(tmp_path: Path) -> None:
    """Sampling factors that the TurboJPEG interface has no name for."""
    body = sampled(BASELINE, 0x31)
    found = check(tmp_path, body)
    assert found.ok
    assert "subsampling" in str(found.detail)
    assert check(tmp_path, body[:-5000], of=body).reason is DecodeFault.TRUNCATED


def test_of_a_file_of_several_pictures_the_first_is_read(tmp_path: Path) -> None:
    with Image.open(io.BytesIO(BASELINE)) as first:
        body = saved(first, "MPO", save_all=True, append_images=[first.resize((320, 240))])
    assert check(tmp_path, body) == DecodeResult(True, None, None, 640, 480, "image/jpeg", "jpg")
    assert check(tmp_path, body[:10_000] + body[12_000:]).reason is DecodeFault.TRUNCATED


def test_damage_that_only_leaves_bytes_over_is_told(tmp_path: Path) -> None:
    """As a scanner's padding does; so the file is kept."""
    body = saved(Image.linear_gradient("L").resize((640, 480)), "JPEG", quality=95)
    middle = body.index(b"\xff\xda") + 1000
    found = check(tmp_path, body[:middle] + body[middle - 500 : middle] + body[middle:])
    assert found.ok
    assert "extraneous bytes before marker 0xd9" in str(found.detail)


def test_a_jpeg_is_measured_as_it_is_stored(tmp_path: Path) -> None:
    """Decoded at 1/8 scale and lying on its side."""
    body = pictures.jpeg("a picture", (640, 480), kind="exif_rotated")
    with Image.open(io.BytesIO(body)) as picture:
        size = picture.size
    assert sorted(size) == [480, 640]
    found = check(tmp_path, body)
    assert (found.width, found.height) == size


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (8, 8), (1, 500)])
def test_the_smallest_jpegs(tmp_path: Path, size: tuple[int, int]) -> None:
    found = check(tmp_path, saved(Image.new("RGB", size), "JPEG"))
    assert (found.ok, found.width, found.height) == (True, *size)


def test_a_jpeg_head_before_garbage_is_undecodable(tmp_path: Path) -> None:
    body = pictures.jpeg("a picture")
    garbage = hashlib.shake_256(b"garbage").digest(len(body) - 300)
    found = check(tmp_path, body[:100] + garbage + body[-200:], of=body)
    assert found.reason in (DecodeFault.UNDECODABLE, DecodeFault.TRUNCATED)
    assert found.detail


def test_a_png_with_one_wrong_bit_is_noticed(tmp_path: Path) -> None:
    body = bytearray(pictures.png("a picture"))
    body[len(body) // 2] ^= 1
    assert not check(tmp_path, bytes(body)).ok


def test_a_png_without_its_end_is_truncated(tmp_path: Path) -> None:
    body = pictures.png("a picture")
    assert check(tmp_path, body[:-12], of=body).reason is DecodeFault.TRUNCATED


def test_every_frame_is_read(tmp_path: Path) -> None:
    body = pictures.gif("a picture", frames=5)
    assert check(tmp_path, body).ok
    assert not check(tmp_path, body[:-500], of=body).ok


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    found = check(tmp_path, pictures.png_bomb())
    assert found.reason is DecodeFault.TOO_MANY_PIXELS


@pytest.mark.parametrize("name", sorted(rawfiles.RAW_FILES))
def test_camera_raw_is_kept_whether_or_not_it_opens(tmp_path: Path, name: str) -> None:
    media_type, make = rawfiles.RAW_FILES[name]
    found = check(tmp_path, make("a raw file"))
    assert found.raw
    assert (found.media_type, found.extension) == (media_type, name)
    assert found.ok or (found.reason is DecodeFault.RAW_UNOPENED and found.detail)


def test_a_dng_is_measured_by_its_sensor_and_not_by_its_preview(tmp_path: Path) -> None:
    found = check(tmp_path, rawfiles.dng_with_preview("a raw file"))
    with Image.open(tmp_path / "checked") as preview:
        assert (found.width, found.height) != preview.size
    assert found.ok


def test_a_lost_file_is_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Decoder().check(tmp_path / "gone", sniffed(pictures.jpeg("a picture")))


# --max-edge


def reduced(tmp_path: Path, body: bytes, max_edge: int = 256) -> Image.Image | None:
    path = tmp_path / "file"
    path.write_bytes(body)
    sha256 = hashlib.sha256(body).digest()
    made = Decoder(max_edge=max_edge).reduce(path, sha256, sniffed(body).media_type)
    if made is None:
        return None
    assert made.sha256 == hashlib.sha256(made.body).digest()
    small = tmp_path / "small.jpg"
    small.write_bytes(made.body)
    assert original_sha256_of(small, "image/jpeg") == sha256
    assert check(tmp_path, made.body).ok
    picture = Image.open(io.BytesIO(made.body))
    assert picture.size == (made.width, made.height)
    assert picture.format == "JPEG"
    return picture


@pytest.mark.parametrize("name", FORMATS)
def test_every_picture_becomes_a_small_jpeg(tmp_path: Path, name: str) -> None:
    picture = reduced(tmp_path, pictures.PICTURES[name][1]("a picture"), max_edge=50)
    assert picture is not None
    assert max(picture.size) == 50
    assert picture.mode in ("RGB", "L")


def test_a_turned_jpeg_is_set_upright(tmp_path: Path) -> None:
    body = pictures.jpeg("a picture", (640, 480), kind="exif_rotated")
    with Image.open(io.BytesIO(body)) as original:
        assert original.getexif()[0x0112] == 6  # a quarter turn
        width, height = original.size
    picture = reduced(tmp_path, body)
    assert picture is not None
    assert (picture.width > picture.height) == (height > width)
    assert picture.getexif().get(0x0112, 1) == 1


def test_a_small_upright_jpeg_is_kept_as_it_is(tmp_path: Path) -> None:
    assert reduced(tmp_path, pictures.jpeg("a picture", (200, 100))) is None
    assert reduced(tmp_path, pictures.jpeg("a picture", (200, 100), kind="exif_rotated")) is not None
    assert reduced(tmp_path, pictures.jpeg("a picture", (257, 100))) is not None


def test_a_small_picture_of_another_kind_becomes_a_jpeg_of_its_own_size(tmp_path: Path) -> None:
    picture = reduced(tmp_path, saved(Image.new("RGB", (30, 20), "red"), "PNG"))
    assert picture is not None
    assert picture.size == (30, 20)


def test_raw_files_are_kept_as_they_are(tmp_path: Path) -> None:
    assert reduced(tmp_path, rawfiles.dng_with_preview("a raw file")) is None


def test_the_profile_stays(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = reduced(tmp_path, saved(Image.new("RGB", (500, 500), "red"), "PNG", icc_profile=profile))
    assert picture is not None
    assert picture.info["icc_profile"] == profile


Make = Callable[[], Image.Image]


@pytest.mark.parametrize(
    ("make", "form", "colour"),
    [
        (lambda: Image.new("RGBA", (500, 500), (255, 0, 0, 1)), "PNG", (255, 255, 255)),
        (lambda: Image.new("RGBA", (500, 500), (255, 0, 0, 255)), "PNG", (255, 0, 0)),
        (lambda: Image.new("LA", (500, 500), (0, 1)), "PNG", (255,)),
        (lambda: Image.new("1", (500, 500), 1), "PNG", (255,)),
        (lambda: Image.new("I;16", (500, 500), 65535), "PNG", (255,)),
        (lambda: Image.new("I;16", (500, 500), 32896), "TIFF", (128,)),
        (lambda: Image.new("CMYK", (500, 500), (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
        (lambda: Image.new("LAB", (500, 500), (128, 128, 128)), "TIFF", None),
        (lambda: Image.new("RGB", (500, 500), (255, 0, 0)).quantize(4), "GIF", (255, 0, 0)),
        (lambda: Image.new("YCbCr", (500, 500), (76, 85, 255)), "TIFF", (254, 0, 0)),
    ],
)
def test_every_mode_becomes_plain(tmp_path: Path, make: Make, form: str, colour: tuple[int, ...] | None) -> None:
    picture = reduced(tmp_path, saved(make(), form))
    assert picture is not None
    assert picture.mode in ("RGB", "L")
    if colour is not None:
        found = picture.getpixel((100, 100))
        found = found if isinstance(found, tuple) else (found,)
        assert all(abs(float(a or 0) - b) < 4 for a, b in zip(found, colour, strict=True)), found


def test_a_comment_of_somebody_else_is_no_hash(tmp_path: Path) -> None:
    for comment in (b"", b"made by hand", b"d4c-images original-sha256=xyz", b"d4c-images original-sha256=00ff"):
        path = tmp_path / "a.jpg"
        path.write_bytes(saved(Image.new("RGB", (9, 9)), "JPEG", comment=comment))
        assert original_sha256_of(path, "image/jpeg") is None
    assert original_sha256_of(path, "image/png") is None
