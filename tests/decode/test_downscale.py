"""What `--max-edge` makes of pictures whose samples are known, compared with arithmetic on these samples; and what it leaves."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from d4c_images.decode import Decoder, NotReduced, original_sha256_of
from d4c_images.decode.memory_budget import MemoryBudget
from d4c_images.model import Claim, ErrorType, PublishedHash, Reply, Status
from d4c_images.stores import Keep, Partial
from d4c_images.stores.local import LocalStore
from d4c_images.worker.verify import FoundImage, examine, look
from tests.decode.test_decode import saved, sniffed
from tests.publishers import pictures
from tests.support import plain_files
from tests.support.plain_files import Array, Tags
from tests.support.properties import examples
from tests.support.sweep import thinned

WIDTH, HEIGHT, BLOCK = 64, 48, 16  # blocks of one colour each, that a JPEG keeps as they are
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TURNS: dict[int, Any] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}
"""By orientation: an upright picture of the rows and columns as they are stored (TIFF 6.0, section 8)."""


def blocks(seed: int, channels: int, bits: int, scale: int = 1) -> Array:
    """The first block is of the largest sample, the last of the smallest."""
    coarse = numpy.random.default_rng(seed).integers(0, 2**bits, (HEIGHT // BLOCK, WIDTH // BLOCK, channels))
    coarse[0, 0], coarse[-1, -1] = 2**bits - 1, 0
    return coarse.repeat(BLOCK * scale, 0).repeat(BLOCK * scale, 1)


def smaller(path: Path, body: bytes, decoder: Decoder | None = None) -> Array:
    """Rows x columns x channels of what is made."""
    path.write_bytes(body)
    made = (decoder or Decoder(max_edge=WIDTH)).reduce(path, bytes(32), sniffed(body).media_type)
    assert made is not None
    with Image.open(io.BytesIO(made.body)) as picture:
        assert picture.size == (made.width, made.height)
        assert picture.getexif().get(0x0112, 1) == 1
        found = numpy.asarray(picture).astype(int)
    return found.reshape(*found.shape[:2], -1)


def assert_shows(found: Array, expected: Array, tolerance: int = 6) -> None:
    """Compares the middles of the blocks."""
    if found.shape[2] == 3 and expected.shape[2] == 1:
        expected = expected.repeat(3, 2)
    assert found.shape == expected.shape
    middle = slice(BLOCK // 2, None, BLOCK)
    difference = numpy.abs(found[middle, middle] - expected[middle, middle])
    assert difference.max() <= tolerance, (found[middle, middle], expected[middle, middle])


# From samples to what is seen: TIFF 6.0 and the PNG specification in arithmetic


def of_grey(samples: Array, bits: int, *, white_is_zero: bool = False) -> Array:
    light = samples / (2**bits - 1)
    return numpy.asarray(255 * (1 - light if white_is_zero else light))


def on_white(light: Array, alpha: Array, *, is_associated: bool = False) -> Array:
    return numpy.asarray((light if is_associated else light * alpha) + 255 * (1 - alpha))


def of_inks(samples: Array, bits: int) -> Array:
    inks = samples / (2**bits - 1)
    return numpy.asarray(255 * (1 - inks[..., :3]) * (1 - inks[..., 3:]))


def lab_of(colours: Array) -> Array:
    """sRGB (IEC 61966-2-1) as 8-bit CIE L*a*b* under D50, a* and b* in two's complement."""
    light = colours / 255
    linear = numpy.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    to_d50 = [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
    xyz = linear @ numpy.array(to_d50).T / [0.9642, 1, 0.8249]
    f = numpy.where(xyz > 0.008856, numpy.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = numpy.stack([(116 * f[..., 1] - 16) * 2.55, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)
    return lab.round().astype(int) & 255


# Whatever the depth, the order of bytes and the orientation

FILES = settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
stored = {
    "order": st.sampled_from("<>"),
    "packing": st.sampled_from((1, 8)),
    "rows": st.sampled_from((5, 16, 1 << 30)),
    "turn": st.sampled_from(sorted(TURNS)),
    "seed": st.integers(0, 9),
}


def turned(turn: int) -> Tags:
    return {274: ("H", [turn])}


@FILES
@given(bits=st.sampled_from((1, 2, 4, 8, 12, 16)), white_is_zero=st.booleans(), **stored)
def test_a_grey_tiff_of_any_depth_keeps_its_greys(
    tmp_path: Path, bits: int, white_is_zero: bool, order: str, packing: int, rows: int, turn: int, seed: int
) -> None:
    samples = blocks(seed, 1, bits)
    tags: Tags = {262: ("H", [int(not white_is_zero)])} | turned(turn)
    body = plain_files.tiff(samples, bits, tags, order, packing, rows)
    if (white_is_zero and bits == 16 and order == ">") or (bits == 12 and (white_is_zero or order == ">")):  # Pillow knows no such
        with pytest.raises(NotReduced, match="could not be decoded"):
            smaller(tmp_path / "a.tif", body)
        return
    assert_shows(smaller(tmp_path / "a.tif", body), TURNS[turn](of_grey(samples, bits, white_is_zero=white_is_zero)))


@FILES
@given(bits=st.sampled_from((8, 16)), alpha=st.sampled_from((None, 0, 1, 2)), colours=st.sampled_from((1, 3)), **stored)
def test_colours_with_other_channels(
    tmp_path: Path, bits: int, alpha: int | None, colours: int, order: str, packing: int, rows: int, turn: int, seed: int
) -> None:
    """`alpha`: of TIFF's ExtraSamples, 0 is said of any channel that is none, 1 of colours multiplied by it, 2 of others."""
    samples = blocks(seed, colours + (alpha is not None), bits)
    if alpha is not None:
        samples[:BLOCK, :BLOCK, -1] //= 3
    if alpha == 1:
        samples[..., :-1] = samples[..., :-1] * samples[..., -1:] // (2**bits - 1)
        samples[-BLOCK:, :BLOCK] = 2**bits - 1
    tags: Tags = {262: ("H", [1 if colours == 1 else 2])} | turned(turn) | ({338: ("H", [alpha])} if alpha is not None else {})
    body = plain_files.tiff(samples, bits, tags, order, packing, rows)
    if colours == 1 and bits == 16 and alpha is not None:
        with pytest.raises(NotReduced, match="could not be decoded"):
            smaller(tmp_path / "a.tif", body)
        return
    light = of_grey(samples[..., :colours], bits)
    expected = on_white(light, samples[..., colours:] / (2**bits - 1), is_associated=alpha == 1) if alpha else light
    assert_shows(smaller(tmp_path / "a.tif", body), TURNS[turn](expected))


@FILES
@given(bits=st.sampled_from((1, 2, 4, 8)), alpha=st.sampled_from((None, 0, 2)), **stored)
def test_a_palette_of_16_bits(
    tmp_path: Path, bits: int, alpha: int | None, order: str, packing: int, rows: int, turn: int, seed: int
) -> None:
    alpha = alpha if bits == 8 else None
    samples = blocks(seed, 1 if alpha is None else 2, bits)
    palette = numpy.random.default_rng(seed).integers(0, 65536, (3, 2**bits))
    tags: Tags = {262: ("H", [3]), 320: ("H", palette.ravel().tolist())} | turned(turn)
    tags |= {} if alpha is None else {338: ("H", [alpha])}
    expected = palette.T[samples[..., 0]] / 257
    if alpha == 2:
        expected = on_white(expected, samples[..., 1:] / 255)
    assert_shows(smaller(tmp_path / "a.tif", plain_files.tiff(samples, bits, tags, order, packing, rows)), TURNS[turn](expected))


@FILES
@given(bits=st.sampled_from((8, 16)), is_lab=st.booleans(), **stored)
def test_inks_and_lab(tmp_path: Path, bits: int, is_lab: bool, order: str, packing: int, rows: int, turn: int, seed: int) -> None:
    if is_lab:
        expected = 60 + blocks(seed, 3, 8) // 2  # not at the edge of sRGB, where a step of a* is large
        samples, bits, tags = lab_of(expected), 8, {262: ("H", [8]), 34675: ("Q", list(SRGB))}  # which says nothing of L*a*b*
    else:
        samples, tags = blocks(seed, 4, bits), {262: ("H", [5])}
        expected = of_inks(samples, bits)
    body = plain_files.tiff(samples, bits, tags | turned(turn), order, packing, rows)
    assert_shows(smaller(tmp_path / "a.tif", body), TURNS[turn](expected), 10 if is_lab else 6)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("bits", "compression"), [(8, None), (8, "zlib"), (16, "zlib")])
def test_colours_in_planes(tmp_path: Path, bits: int, compression: str | None, order: str) -> None:
    for channels in (3, 4):
        samples = blocks(1, channels, bits)
        expected = of_grey(samples, bits) if channels == 3 else of_inks(samples, bits)
        body = planes(samples.astype(f"u{bits // 8}"), compression, order)
        assert_shows(smaller(tmp_path / "a.tif", body), expected)


def of_ycbcr(samples: Array) -> Array:
    """TIFF 6.0, section 21, with the weights of Rec. 601 and the full range."""
    luminance, blue, red = samples[..., 0], samples[..., 1] - 128.0, samples[..., 2] - 128.0
    green = luminance - 0.344136 * blue - 0.714136 * red
    return numpy.stack([luminance + 1.402 * red, green, luminance + 1.772 * blue], -1).clip(0, 255)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packing", [1, 8])
def test_luminance_and_colour_differences(tmp_path: Path, packing: int, order: str) -> None:
    tags: Tags = {262: ("H", [6]), 530: ("H", [1, 1]), 532: ("R", [(0, 1), (255, 1), (128, 1), (255, 1), (128, 1), (255, 1)])}
    assert_shows(smaller(tmp_path / "a.tif", plain_files.tiff(THREE, 8, tags, order, packing)), of_ycbcr(THREE))
    picture = Image.fromarray(THREE.astype(numpy.uint8))
    assert_shows(smaller(tmp_path / "a.tif", saved(picture, "TIFF", compression="jpeg", quality=95)), THREE.astype(float))


PNG_KINDS = [(bits, 0) for bits in (1, 2, 4, 8, 16)] + [(bits, 3) for bits in (1, 2, 4, 8)] + [
    (bits, colour) for bits in (8, 16) for colour in (2, 4, 6)
]  # fmt: skip


@FILES
@given(
    kind=st.sampled_from(PNG_KINDS), seed=st.integers(0, 9), turn=st.sampled_from(sorted(TURNS)), is_behind=st.booleans(),
    has_holes=st.booleans(),
)  # fmt: skip
def test_a_png_of_any_kind_keeps_its_colours(
    tmp_path: Path, kind: tuple[int, int], seed: int, turn: int, is_behind: bool, has_holes: bool
) -> None:
    bits, colour = kind
    samples = blocks(seed, {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour], bits)
    most, exif = 2**bits - 1, (b"eXIf", exif_of(turn))
    before: list[tuple[bytes, bytes]] = []
    if colour == 3:
        palette = numpy.random.default_rng(seed).integers(0, 256, (2**bits, 3))
        before.append((b"PLTE", palette.astype(numpy.uint8).tobytes()))
        expected = palette[samples[..., 0]].astype(float)
        if has_holes:
            alpha = numpy.random.default_rng(seed + 1).integers(1, 256, 2**bits)
            before.append((b"tRNS", alpha.astype(numpy.uint8).tobytes()))
            expected = on_white(expected, alpha[samples] / 255)
    elif colour in (4, 6):
        samples[:BLOCK, :BLOCK, -1] //= 3
        expected = on_white(of_grey(samples[..., :-1], bits), samples[..., -1:] / most)
    else:
        expected = of_grey(samples, bits)
        if has_holes and bits == 8:
            before.append((b"tRNS", samples[BLOCK, BLOCK].astype(">u2").tobytes()))
            expected = numpy.where((samples == samples[BLOCK, BLOCK]).all(2, keepdims=True), 255, expected)
    before, behind = (before, [exif]) if is_behind else ([*before, exif], [])
    assert_shows(smaller(tmp_path / "a.png", plain_files.png(samples, bits, colour, before, behind)), TURNS[turn](expected))


def exif_of(turn: int, order: str = ">") -> bytes:
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    return head + struct.pack(order + "HHHIHHI", 1, 0x0112, 3, 1, turn, 0, 0)


# What nobody can know, or Pillow does not read rightly, stays as it is

TWO, THREE, FOUR = blocks(1, 2, 8), blocks(1, 3, 8), blocks(1, 4, 8)
GREY_8, GREY_12, GREY_16, THREE_16 = blocks(1, 1, 8), blocks(1, 1, 12), blocks(1, 1, 16), blocks(1, 3, 16)
FLOATS = GREY_16.astype(numpy.float32)
WITH_NAN = numpy.where(GREY_16 == 0, numpy.nan, FLOATS / 65535)


def tagged(samples: Array, bits: int, photometric: int, order: str = "<", **more: tuple[str, list[Any]]) -> bytes:
    tags: Tags = {int(name[1:]): values for name, values in more.items()}
    return plain_files.tiff(samples, bits, {262: ("H", [photometric])} | tags, order)


def planes(samples: Array, compression: str | None, order: str = "<") -> bytes:
    file = io.BytesIO()
    options: dict[str, Any] = {"compression": compression, "byteorder": order}
    photometric = "rgb" if samples.shape[2] == 3 else "separated"
    tifffile.imwrite(file, samples.transpose(2, 0, 1), photometric=photometric, planarconfig="separate", **options)
    return file.getvalue()


def without_adobe_marker(body: bytes) -> bytes:
    at = body.index(b"\xff\xee")
    return body[:at] + body[at + 2 + int.from_bytes(body[at + 2 : at + 4], "big") :]


def jp2_of(colr: bytes, more: bytes = b"") -> bytes:
    body = pictures.jp2("a picture")
    old = struct.pack(">I", 15) + b"colr\x01\0\0" + struct.pack(">I", 16)
    new = struct.pack(">I", 8 + len(colr)) + b"colr" + colr + more
    at = body.index(b"jp2h") - 4
    longer = struct.pack(">I", int.from_bytes(body[at : at + 4], "big") + len(new) - len(old))
    assert old in body
    return body[:at] + longer + body[at + 4 :].replace(old, new, 1)


def bmp_with_profile() -> bytes:
    rows = THREE.astype(numpy.uint8)[::-1, :, ::-1].tobytes()
    header = struct.pack("<IiiHHIIiiII", 124, WIDTH, HEIGHT, 1, 24, 0, len(rows), 0, 0, 0, 0) + bytes(16) + b"DEBM" + bytes(48)
    header += struct.pack("<IIII", 4, 124 + len(rows), len(SRGB), 0)
    return b"BM" + struct.pack("<IHHI", 14 + 124 + len(rows) + len(SRGB), 0, 0, 138) + header + rows + SRGB


def gif_whose_first_frame_is_a_part() -> bytes:
    body = bytearray(saved(Image.fromarray(THREE.astype(numpy.uint8)).quantize(8), "GIF"))
    body[6:10] = struct.pack("<HH", 2 * WIDTH, 2 * HEIGHT)
    return bytes(body)


def png_16(*chunks: tuple[bytes, bytes], samples: Array = GREY_16, colour: int = 0) -> bytes:
    return plain_files.png(samples, 16, colour, chunks)


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"a\0\0" + zlib.compress(profile)


def png_8(*chunks: tuple[bytes, bytes]) -> bytes:
    return plain_files.png(THREE, 8, 2, chunks)


P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
LEFT = {
    "floating point": tagged(FLOATS, 32, 1, _339=("H", [3])),
    "floating point, one of them none": tagged(WITH_NAN, 32, 1, ">", _339=("H", [3])),
    "floating point, all the same": tagged(numpy.ones_like(FLOATS), 32, 1, _339=("H", [3])),
    "signed, 8 bits": tagged(GREY_8 - 128, 8, 1, _339=("H", [2])),
    "signed, 16 bits": tagged(GREY_16 - 32768, 16, 1, ">", _339=("H", [2])),
    "signed, 32 bits": tagged(GREY_16 - 32768, 32, 1, _339=("H", [2])),
    "32 bits": tagged(GREY_16.astype(numpy.uint32) * 65537, 32, 1),
    "12 bits in 16": tagged(GREY_12, 16, 1),
    "12 bits in 16, from the other end": tagged(GREY_12, 16, 0),
    "12 bits in 16, big-endian": tagged(GREY_12, 16, 1, ">"),
    "12 bits in 16, in colours": tagged(blocks(1, 3, 12), 16, 2),
    "12 bits in 16, with an alpha channel": tagged(
        numpy.concatenate([blocks(1, 3, 12), numpy.full((HEIGHT, WIDTH, 1), 65535)], 2), 16, 2, _338=("H", [2])
    ),
    "12 bits in 16, in a PNG": png_16(samples=GREY_12),
    "12 bits in 16, in colours, in a PNG": png_16(samples=blocks(1, 3, 12), colour=2),
    "15 bits in 16": tagged(GREY_16 // 2, 16, 1),
    "16 bits that end elsewhere": tagged(GREY_16, 16, 1, _281=("H", [40000])),
    "16 bits that begin elsewhere": tagged(GREY_16, 16, 1, _280=("H", [300])),
    "16 bits, each byte from its lowest bit": tagged(GREY_16, 16, 1, _266=("H", [2])),
    "16 bits in planes": planes(THREE_16.astype(numpy.uint16), None),
    "8 bits, each byte from its lowest bit": tagged(THREE, 8, 2, _266=("H", [2])),
    "no photometric interpretation": plain_files.tiff(GREY_8, 8, {}),
    "a preview": tagged(THREE, 8, 2, _254=("I", [1])),
    "a mask": tagged(blocks(1, 1, 1), 1, 1, _254=("I", [4])),
    "a palette of 8 bits": tagged(GREY_8, 8, 3, _320=("H", list(range(256)) * 3)),
    "other inks": tagged(FOUR, 8, 5, _332=("H", [2])),
    "inks of a JPEG": saved(Image.fromarray(FOUR.astype(numpy.uint8), "CMYK"), "TIFF", compression="jpeg"),
    "inks that begin elsewhere": tagged(FOUR, 8, 5, _336=("H", [16, 235])),
    "YCbCr that may be subsampled": tagged(THREE, 8, 6),
    "YCbCr of other weights": tagged(THREE, 8, 6, _530=("H", [1, 1]), _529=("R", [(2126, 10000), (7152, 10000), (722, 10000)])),
    "black and white elsewhere": tagged(THREE, 8, 2, _532=("R", [(16, 1), (235, 1)] * 3)),
    "L*a*b* under another light": tagged(THREE, 8, 8, _318=("R", [(3127, 10000), (3290, 10000)])),
    "ICC's L*a*b*": tagged(THREE, 8, 9),
    "a fourth channel": tagged(FOUR, 8, 2),
    "four channels without Adobe's marker": without_adobe_marker(pictures.jpeg("a picture", kind="cmyk")),
    "gamma 1": png_8((b"gAMA", struct.pack(">I", 100000))),
    "gamma 5 % above that of sRGB": png_8((b"gAMA", struct.pack(">I", 43182))),
    "gamma 5 % below that of sRGB": png_8((b"gAMA", struct.pack(">I", 47728))),
    "gamma 1.8": png_8((b"gAMA", struct.pack(">I", 55556))),
    "primary colours of P3": png_8((b"gAMA", struct.pack(">I", 45455)), (b"cHRM", P3)),
    "P3 by cICP": png_8((b"cICP", b"\x0c\x0d\0\1")),
    "P3 by cICP, whatever a profile says": png_8((b"cICP", b"\x09\x10\0\1"), iccp(SRGB)),
    "a transparent grey of 16 bits": png_16((b"tRNS", b"\0\0")),
    "a transparent grey of 2 bits": plain_files.png(blocks(1, 1, 2), 2, 0, [(b"tRNS", b"\0\1")]),
    "transparent everywhere": plain_files.png(numpy.where(numpy.arange(4) == 3, 0, FOUR), 8, 6),
    "a GIF of parts": gif_whose_first_frame_is_a_part(),
    "JPEG 2000 in L*a*b*": jp2_of(b"\x01\0\0" + struct.pack(">I", 14)),
    "JPEG 2000 in another space of low bits": jp2_of(b"\x01\0\0" + struct.pack(">I", 0x100 + 16)),
    "JPEG 2000 with a profile of other channels": jp2_of(b"\x02\0\0" + SRGB.replace(b"RGB ", b"CMYK", 1)),
    "JPEG 2000 with a palette": jp2_of(b"\1\0\0\0\0\0\x10", struct.pack(">I4sHBBB", 13, b"pclr", 1, 1, 7, 0)),
    "AVIF in P3": pictures.avif("a picture").replace(b"colrnclx\0\1", b"colrnclx\0\x0c", 1),
    "AVIF of a high dynamic range": pictures.avif("a picture").replace(b"colrnclx\0\1\0\x0d", b"colrnclx\0\x09\0\x10", 1),
    "BMP with a profile": bmp_with_profile(),
}


@pytest.mark.parametrize("name", sorted(LEFT))
def test_what_cannot_be_known_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / "original"
    with pytest.raises(NotReduced) as caught:
        smaller(path, LEFT[name])
    assert path.read_bytes() == LEFT[name]
    assert str(caught.value).startswith(("it", "one of its", "the first picture", "the colours of its", "the file does not"))
    assert not any(word in str(caught.value) for word in ("Error", "<", str(tmp_path)))


# Metadata never cost the picture

LARGE = saved(Image.fromarray(blocks(1, 3, 8, scale=2).astype(numpy.uint8)), "JPEG", quality=95, subsampling=0)
MINUS_ONE_BY_ZERO = (
    b"Exif\0\0MM\0*" + struct.pack(">I", 8)
    + struct.pack(">HHHIHHHHIII", 2, 0x0112, 3, 1, 6, 0, 0x011A, 10, 1, 38, 0) + struct.pack(">ii", -1, 0)
)  # fmt: skip
HUGE_COUNTS = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 0x0112, 3, 0xFFFFFFFF, 8) * 50
XMP = b'<rdf:Description tiff:Orientation="%s"/>'


def segment(marker: int, body: bytes, jpeg: bytes = LARGE) -> bytes:
    return jpeg[:2] + bytes((0xFF, marker)) + struct.pack(">H", 2 + len(body)) + body + jpeg[2:]


def icc(profile: bytes, jpeg: bytes = LARGE) -> bytes:
    return segment(0xE2, b"ICC_PROFILE\0\x01\x01" + profile, jpeg)


def changed(profile: bytes, at: int, value: bytes) -> bytes:
    return profile[:at] + value + profile[at + len(value) :]


ODD: dict[str, tuple[bytes, int]] = {
    "PNG, eXIf that is no TIFF": (png_8((b"eXIf", b"no directory here")), 1),
    "PNG, empty eXIf": (png_8((b"eXIf", b"")), 1),
    "PNG, eXIf that is no TIFF, behind": (plain_files.png(THREE, 8, 2, (), [(b"eXIf", b"\xff" * 99)]), 1),
    "PNG, XMP without a number": (png_8((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % b"x")), 1),
    "PNG, raw profile that is no hex": (png_8((b"tEXt", b"Raw profile type exif\0\nexif\n  9\nxyz")), 1),
    "PNG, broken profile": (png_8((b"iCCP", b"a\0\0nothing that was packed")), 1),
    "JPEG, -1/0": (segment(0xE1, MINUS_ONE_BY_ZERO), 6),
    "JPEG, huge counts": (segment(0xE1, HUGE_COUNTS), 1),
    "JPEG, EXIF that is no TIFF": (segment(0xE1, b"Exif\0\0" + b"\xfe" * 40), 1),
    "JPEG, EXIF cut off": (segment(0xE1, MINUS_ONE_BY_ZERO[:24]), 1),
    "JPEG, orientation 9": (segment(0xE1, b"Exif\0\0" + exif_of(9)), 1),
    "JPEG, XMP of another kind": (segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP % b"\xff"), 1),
    "JPEG, a comment that is no UTF-8": (segment(0xFE, b"\xff\xfe\0caf\xe9"), 1),
    "TIFF, EXIF beyond the end": (tagged(THREE, 8, 2, _34665=("I", [0x7FFFFFFF]), _274=("H", [8])), 8),
    "TIFF, orientation as text": (tagged(THREE, 8, 2, _274=("s", list(b"6\0"))), 6),
    "TIFF, two orientations": (tagged(THREE, 8, 2, _274=("H", [6, 6])), 6),
    "TIFF, XMP as numbers": (tagged(THREE, 8, 2, _700=("H", [1, 2, 3]), _274=("H", [6])), 6),
    "TIFF, profile as numbers": (tagged(THREE, 8, 2, _34675=("H", [1, 2, 3])), 1),
    "TIFF, resolution -1/0": (tagged(THREE, 8, 2, _282=("S", [(-1, 0)]), _274=("H", [3])), 3),
    "TIFF, orientation as a fraction": (tagged(THREE, 8, 2, _274=("R", [(6, 1)])), 6),
}


@pytest.mark.parametrize("name", sorted(ODD))
def test_metadata_never_cost_the_picture(tmp_path: Path, name: str) -> None:
    body, turn = ODD[name]
    assert_shows(smaller(tmp_path / "a", body), TURNS[turn](THREE.astype(float)))


def shows_it_in_some_orientation(found: Array) -> bool:
    for turn in TURNS.values():
        try:
            assert_shows(found, turn(THREE.astype(float)))
        except AssertionError:
            continue
        return True
    return False


junk = st.one_of(
    st.binary(max_size=300),
    st.builds(changed, st.just(MINUS_ONE_BY_ZERO[6:]), st.integers(0, 50), st.binary(max_size=9)),
)


@FILES
@given(body=junk, kind=st.sampled_from((b"eXIf", b"tEXt", b"iTXt", b"vpAg", b"pHYs", b"tIME")), is_behind=st.booleans())
def test_no_chunk_costs_the_picture(tmp_path: Path, body: bytes, kind: bytes, is_behind: bool) -> None:
    body = {b"tEXt": b"exif\0", b"iTXt": b"XML:com.adobe.xmp\0\0\0\0\0", b"pHYs": bytes(9), b"tIME": bytes(7)}.get(kind, b"") + body
    chunks = [(kind, body)]
    png = plain_files.png(THREE, 8, 2, () if is_behind else chunks, chunks if is_behind else ())
    assert shows_it_in_some_orientation(smaller(tmp_path / "a.png", png))


STARTS = (b"", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0", b"ICC_PROFILE\0\x01\x01")


@FILES
@given(body=junk, start=st.sampled_from(STARTS))
def test_no_segment_costs_the_picture(tmp_path: Path, body: bytes, start: bytes) -> None:
    marker = {b"": 0xFE, b"P": 0xED, b"I": 0xE2}.get(start[:1], 0xE1)
    assert shows_it_in_some_orientation(smaller(tmp_path / "a.jpg", segment(marker, start + body)))


TAGS = (270, 282, 296, 305, 306, 315, 330, 700, 33432, 33723, 34377, 34665, 34675, 34853, 37724)
LIMITS = {"B": (0, 255), "s": (0, 255), "Q": (0, 255), "b": (-128, 127), "H": (0, 65535), "h": (-32768, 32767), "I": (0, 2**32 - 1)}


@FILES
@given(
    tag=st.sampled_from(TAGS), kind=st.sampled_from("BsHIRbQhSf"), turn=st.sampled_from((1, 6)),
    values=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=5),
)  # fmt: skip
def test_no_tag_costs_the_picture(tmp_path: Path, tag: int, kind: str, turn: int, values: list[int]) -> None:
    least, most = LIMITS.get(kind, (-(2**31), 2**31 - 1))
    numbers: list[Any] = [max(least, min(most, value)) for value in values]
    if kind in "RS":
        numbers = [(abs(value), n) if kind == "R" else (value, n) for n, value in enumerate(values)]
    tags: Tags = {262: ("H", [2]), 274: ("H", [turn]), tag: (kind, numbers)}
    assert_shows(smaller(tmp_path / "a.tif", plain_files.tiff(THREE, 8, tags)), TURNS[turn](THREE.astype(float)))


# What describes colours stays, or is applied

GREY_PROFILE = changed(SRGB, 16, b"GRAY")
# The L* (in 8 bits) of all mixtures of full and empty inks. To no ink and all ink lcms fits the white and black of the screen.
INK_CORNERS = numpy.array([255, *(numpy.random.default_rng(5).permutation(14) * 17 + 17), 0])


def ink_profile() -> bytes:
    """Of a printer whose inks are greys, by a table of their 16 corners (ICC.1:2001, 6.5.7: lut8Type)."""
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + struct.pack(">9i", *(65536 * (n % 4 == 0) for n in range(9)))
    corners = b"".join(bytes((int(light), 128, 128)) for light in INK_CORNERS)
    lut = table + bytes(range(256)) * 4 + corners + bytes(range(256)) * 3
    head = struct.pack(">I4sI", 128 + 16 + len(lut), b"none", 0x02400000) + b"prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 63190, 65536, 54061)  # D50
    return head.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(lut)) + lut


def grey_of_lightness(lab: Array) -> Array:
    """sRGB of CIE L*, given in 8 bits."""
    f = (lab / 2.55 + 16) / 116
    light = numpy.where(lab / 2.55 > 8, f**3, lab / 2.55 / 903.3)
    return 255 * numpy.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


FULL_OR_EMPTY = blocks(3, 4, 1) * 255
BY_PROFILE = grey_of_lightness(INK_CORNERS[(FULL_OR_EMPTY // 255) @ [8, 4, 2, 1]])[..., None]


def inks_of(form: str, profile: bytes | None) -> bytes:
    picture = Image.fromarray(FULL_OR_EMPTY.astype(numpy.uint8), "CMYK").resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.NEAREST)
    return saved(picture, form, icc_profile=profile) if form == "TIFF" else saved(picture, form, icc_profile=profile, quality=95)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_inks_are_seen_as_their_profile_says(tmp_path: Path, form: str) -> None:
    assert_shows(smaller(tmp_path / "a", inks_of(form, ink_profile())), BY_PROFILE, 8)
    assert profile_of(tmp_path / "a", inks_of(form, ink_profile())) is None  # what was made is in sRGB
    for nothing in (None, SRGB, b"no profile", ink_profile()[:100]):
        assert_shows(smaller(tmp_path / "a", inks_of(form, nothing)), of_inks(FULL_OR_EMPTY, 8), 8)
    cut = struct.pack(">I", 600) + ink_profile()[4:600]  # its header is sound, its table is not
    with pytest.raises(NotReduced, match="its colour profile cannot be used"):
        smaller(tmp_path / "a", inks_of(form, cut))


def profile_of(path: Path, body: bytes) -> bytes | None:
    path.write_bytes(body)
    made = Decoder(max_edge=WIDTH).reduce(path, bytes(32), sniffed(body).media_type)
    assert made is not None
    with Image.open(io.BytesIO(made.body)) as picture:
        profile = picture.info.get("icc_profile")
    assert isinstance(profile, bytes | None)
    return profile


def test_a_profile_of_the_pictures_own_channels_stays(tmp_path: Path) -> None:
    wide = changed(SRGB, 60, b"wide gamut")
    in_grey = plain_files.png(GREY_8, 8, 0, [iccp(GREY_PROFILE)])
    for body, profile in {
        png_8(iccp(wide)): wide,
        plain_files.png(FOUR, 8, 6, [iccp(wide)]): wide,
        plain_files.png(blocks(1, 2, 16), 16, 4, [iccp(GREY_PROFILE)]): GREY_PROFILE,
        plain_files.png(GREY_8, 8, 0, [iccp(GREY_PROFILE), (b"tRNS", b"\0\7")]): GREY_PROFILE,
        tagged(THREE_16, 16, 2, _34675=("Q", list(wide))): wide,
        tagged(GREY_16, 16, 0, _34675=("Q", list(GREY_PROFILE))): GREY_PROFILE,
        icc(wide): wide,
        jp2_of(b"\x02\0\0" + wide): wide,
        pictures.webp("a picture", (64, 48)): None,
        saved(Image.fromarray(THREE.astype(numpy.uint8)), "WEBP", icc_profile=wide): wide,
        saved(Image.fromarray(THREE.astype(numpy.uint8)), "AVIF", icc_profile=wide): wide,
        in_grey: GREY_PROFILE,
        tagged(lab_of(THREE), 8, 8, _34675=("Q", list(wide))): None,
        png_8(iccp(GREY_PROFILE)): None,
        icc(changed(SRGB, 16, b"CMYK")): None,
        icc(changed(SRGB, 36, b"none")): None,
        icc(changed(SRGB, 12, b"link")): None,
        icc(SRGB[:300]): None,
        icc(b""): None,
    }.items():
        assert profile_of(tmp_path / "a", body) == profile


def dcf_exif(index: bytes, colour_space: int) -> bytes:
    """EXIF with a directory for the camera, and in that one for interoperability."""
    directories = [(0x8769, 4, 26), (0xA001, 3, colour_space << 16), (0xA005, 4, 56), (1, 2, int.from_bytes(index, "big"))]
    first, colour, link, inner = (struct.pack(">HHII", tag, kind, 4 if kind == 2 else 1, value) for tag, kind, value in directories)
    return b"MM\0*" + struct.pack(">IH", 8, 1) + first + bytes(4) + b"\0\2" + colour + link + bytes(4) + b"\0\1" + inner + bytes(4)


def in_srgb(picture: Image.Image) -> Array:
    """As a viewer shows it."""
    own = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
    shown = ImageCms.profileToProfile(picture, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return numpy.asarray(shown).astype(int)


def of_adobe_rgb(colours: Array) -> Array:
    """In sRGB: by the primaries of both, under D65 (Adobe RGB (1998), section 4.3.5.3; IEC 61966-2-1)."""
    to_xyz = [[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]]
    to_srgb = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    light = ((colours / 255) ** 2.19921875 @ numpy.array(to_xyz).T @ numpy.array(to_srgb).T).clip(0, 1)
    return numpy.asarray(255 * numpy.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


def test_adobe_rgb_of_a_camera_gets_its_profile(tmp_path: Path) -> None:
    path = tmp_path / "_IMG.jpg"
    path.write_bytes(segment(0xE1, b"Exif\0\0" + dcf_exif(b"R03\0", 0xFFFF)))
    made = Decoder(max_edge=WIDTH).reduce(path, bytes(32), "image/jpeg")
    assert made is not None
    with Image.open(io.BytesIO(made.body)) as picture:
        assert_shows(in_srgb(picture), of_adobe_rgb(THREE), 8)
    for body in (
        segment(0xE1, b"Exif\0\0" + dcf_exif(b"R98\0", 1)),
        segment(0xE1, b"Exif\0\0" + dcf_exif(b"R03\0", 1)),
        segment(0xE1, b"Exif\0\0" + dcf_exif(b"R03\0", 0xFFFF)[:60]),
    ):
        assert profile_of(path, body) is None
    assert profile_of(path, icc(SRGB, segment(0xE1, b"Exif\0\0" + dcf_exif(b"R03\0", 0xFFFF)))) == SRGB


@pytest.mark.parametrize("is_bare", [False, True])
def test_jpeg_2000_of_any_depth(tmp_path: Path, is_bare: bool) -> None:
    for samples, bits, mode in ((GREY_8, 8, "L"), (GREY_16, 16, "I;16"), (THREE, 8, "RGB"), (FOUR // 2, 8, "RGBA")):
        picture = Image.frombytes(mode, (WIDTH, HEIGHT), samples.astype(f"<u{bits // 8}").tobytes())
        body = saved(picture, "JPEG2000", no_jp2=is_bare)
        if is_bare and mode == "RGBA":
            with pytest.raises(NotReduced, match="nothing says whether that is an alpha channel"):
                smaller(tmp_path / "a.jp2", body)
            continue
        expected = of_grey(samples[..., :3], bits)
        expected = on_white(expected, samples[..., 3:] / 255) if mode == "RGBA" else expected
        assert_shows(smaller(tmp_path / "a.jp2", body), expected)
    body = saved(Image.frombytes("I;16", (WIDTH, HEIGHT), GREY_12.astype("<u2").tobytes()), "JPEG2000", no_jp2=is_bare)
    with pytest.raises(NotReduced, match="stay in the lower half"):
        smaller(tmp_path / "a.jp2", body)


def test_an_approximate_srgb_of_jpeg_2000_is_srgb(tmp_path: Path) -> None:
    """The third byte says how good the approximation is, not which space it is (ISO 15444-1, I.5.3.3)."""
    smaller(tmp_path / "a.jp2", jp2_of(b"\x01\0\x02" + struct.pack(">I", 16)))


def test_curves_that_are_as_good_as_those_of_srgb_are_no_reason(tmp_path: Path) -> None:
    srgb = struct.pack(">8I", 31269, 32899, 63999, 33001, 30000, 60000, 15000, 5999)
    for chunks in (
        [(b"gAMA", struct.pack(">I", 45455)), (b"cHRM", srgb)],
        [(b"gAMA", struct.pack(">I", 100000)), (b"sRGB", b"\0")],
        [(b"cHRM", P3), iccp(SRGB)],
        [(b"gAMA", bytes(4))],
        [(b"gAMA", struct.pack(">I", 43183))],
        [(b"gAMA", struct.pack(">I", 47727))],
        [(b"cICP", b"\1\x0d\0\1")],
    ):
        assert_shows(smaller(tmp_path / "a.png", png_8(*chunks)), THREE.astype(float))


def test_a_jpeg_of_red_green_and_blue_is_no_ycbcr(tmp_path: Path) -> None:
    picture = Image.fromarray(blocks(1, 3, 8, scale=2).astype(numpy.uint8))
    assert_shows(smaller(tmp_path / "a.jpg", saved(picture, "JPEG", keep_rgb=True, quality=95)), THREE.astype(float))


def test_a_gif_that_covers_its_screen_in_part_is_seen_on_white(tmp_path: Path) -> None:
    body = bytearray(saved(Image.fromarray(THREE.astype(numpy.uint8)).quantize(16), "GIF", transparency=15))
    body[6:10] = struct.pack("<HH", WIDTH, HEIGHT + BLOCK)
    found = smaller(tmp_path / "a.gif", bytes(body), Decoder(max_edge=HEIGHT + BLOCK))
    assert found[-BLOCK // 2 :].min() >= 253


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_of_several_pictures_the_first_is_made_smaller(tmp_path: Path, form: str) -> None:
    first = blocks(1, 3, 1, scale=2) * 255  # so large that a JPEG of several pictures does not stay as it is
    pages = [Image.fromarray(page.astype(numpy.uint8)) for page in (first, 255 - first, first // 2)]
    body = saved(pages[0], form, save_all=True, append_images=pages[1:], lossless=True, quality=100)
    assert_shows(smaller(tmp_path / "a", body), first[::2, ::2], 10)


# In pieces

ROOMY, TIGHT = Decoder(max_edge=WIDTH), Decoder(WIDTH, MemoryBudget(own_bytes=1000, common_bytes=12_000_000))
IN_STRIPS = [(bits, 0) for bits in (1, 2, 4, 8, 16)] + [(bits, 1) for bits in (1, 2, 4, 8, 12, 16)] + [
    (8, 2), (16, 2), (4, 3), (8, 3), (8, 5), (16, 5), (8, 8),
]  # fmt: skip


def large(channels: int, bits: int) -> Array:
    return blocks(2, channels, bits, scale=16)


@pytest.mark.parametrize(("bits", "photometric"), thinned([pytest.param(*case) for case in IN_STRIPS], 3))
def test_a_tiff_in_pieces_is_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int, photometric: int) -> None:
    samples = large({5: 4, 2: 3, 8: 3}.get(photometric, 1), bits)
    tags: Tags = {262: ("H", [photometric]), 274: ("H", [6])}
    if photometric == 3:
        tags[320] = ("H", numpy.random.default_rng(2).integers(0, 65536, 3 * 2**bits).tolist())
    body = plain_files.tiff(samples, bits, tags, packing=8, rows=48)
    at_once = smaller(tmp_path / "a.tif", body)
    monkeypatch.delattr("d4c_images.decode.downscale.made")
    assert_shows(smaller(tmp_path / "a.tif", body, TIGHT), at_once)


@pytest.mark.parametrize("associated", [1, 2])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_tiff_in_pieces_is_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int, associated: int
) -> None:
    samples = large(4, bits)
    samples[..., :3] = samples[..., :3] * samples[..., 3:] // (2**bits - 1)
    body = plain_files.tiff(samples, bits, {262: ("H", [2]), 274: ("H", [3]), 338: ("H", [associated])}, rows=48)
    at_once = smaller(tmp_path / "a.tif", body)
    monkeypatch.delattr("d4c_images.decode.downscale.made")
    assert_shows(smaller(tmp_path / "a.tif", body, TIGHT), at_once)


@pytest.mark.parametrize("kind", thinned(PNG_KINDS, 3))
def test_a_png_in_bands_is_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: tuple[int, int]) -> None:
    bits, colour = kind
    samples = large({0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour], bits)
    before: list[tuple[bytes, bytes]] = []
    if colour == 3:
        before = [(b"PLTE", numpy.random.default_rng(2).integers(0, 256, 3 * 2**bits).astype(numpy.uint8).tobytes())]
    if colour == 3 or (bits == 8 and colour in (0, 2)):
        before.append((b"tRNS", b"\0\x50\xa0\xff"[: 2**bits] if colour == 3 else samples[0, -1].astype(">u2").tobytes()))
    body = plain_files.png(samples, bits, colour, before, [(b"eXIf", exif_of(8))])
    at_once = smaller(tmp_path / "a.png", body)
    if (bits, colour) not in ((16, 2), (16, 6)):
        monkeypatch.delattr("d4c_images.decode.downscale.made")
    assert_shows(smaller(tmp_path / "a.png", body, TIGHT), at_once)


def test_a_tiff_that_cannot_be_cut_is_made_as_a_whole_if_that_fits(tmp_path: Path) -> None:
    body = saved(Image.fromarray(large(3, 8).astype(numpy.uint8)), "TIFF", compression="tiff_lzw", strip_size=1 << 28)
    assert_shows(smaller(tmp_path / "a.tif", body, TIGHT), blocks(2, 3, 8).astype(float))
    with pytest.raises(NotReduced, match="not decoded: 1024 x 768 pixels take 9 MB, more than 9"):
        smaller(tmp_path / "a.tif", body, Decoder(WIDTH, MemoryBudget(own_bytes=1000, common_bytes=9_000_000)))


def test_pieces_are_made_smaller_than_needed_rather_than_left(tmp_path: Path) -> None:
    """Reduced by two, what is put together would take 10.6 MB beside the 8 MB of a piece."""
    body = saved(Image.new("RGB", (2300, 2300), (90, 120, 60)), "TIFF", compression="tiff_deflate")
    found = smaller(tmp_path / "a.tif", body, Decoder(300, MemoryBudget(own_bytes=1000, common_bytes=12_000_000)))
    assert found.shape[:2] == (300, 300)
    with pytest.raises(NotReduced, match="more than 10"):
        smaller(tmp_path / "a.tif", body, Decoder(300, MemoryBudget(own_bytes=1000, common_bytes=10_000_000)))


def test_what_only_its_samples_say_is_seen_in_pieces_too(tmp_path: Path) -> None:
    hidden = large(4, 8)
    hidden[..., 3] = 0
    for body in (
        plain_files.tiff(large(1, 12), 16, {262: ("H", [0])}, rows=48),
        plain_files.png(large(1, 12), 16, 0),
        plain_files.png(hidden, 8, 6),
        plain_files.tiff(large(4, 8), 8, {262: ("H", [2])}, rows=48),
    ):
        with pytest.raises(NotReduced):
            smaller(tmp_path / "a", body, TIGHT)


# The hash of the original


def test_a_comment_is_found_without_a_decoder(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(segment(0xE1, b"Exif\0\0junk", segment(0xFE, b"another one", LARGE)))
    made = ROOMY.reduce(path, bytes(range(32)), "image/jpeg")
    assert made is not None
    for body, found in {
        made.body: bytes(range(32)),
        segment(0xFE, b"d4c-images original-sha256=" + b"\xff" * 64): None,
        segment(0xFE, b"d4c-images original-sha256=" + b" " * 64): None,
        LARGE[:30]: None,
        b"\xff\xd8\xff\xfe": None,
        b"\xff\xd8\xff\xfe\0\0" * 2000: None,
        b"": None,
    }.items():
        path.write_bytes(body)
        assert original_sha256_of(path, "image/jpeg") == found


# Whatever goes wrong, the original is there


SURPRISES = [ValueError("x"), ZeroDivisionError(), KeyError(1), OSError("broken"), SystemError(), OSError(22, "Invalid argument")]


@pytest.mark.parametrize("error", SURPRISES)
def test_a_decoder_that_fails_leaves_the_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("d4c_images.decode.downscale.made", fail)
    with pytest.raises(NotReduced, match=r"^it could not be decoded to make it smaller$"):
        smaller(tmp_path / "a.png", png_8())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError()])
def test_a_machine_that_fails_is_no_word_about_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("d4c_images.decode.downscale.made", fail)
    with pytest.raises(type(error)):
        smaller(tmp_path / "a.png", png_8())


def partial_of(store: LocalStore, body: bytes) -> tuple[Partial, Reply]:
    partial = store.begin(1000000001, 0, 1)
    partial.write(body)
    partial.flush()
    sha256 = hashlib.sha256(body).digest()
    head, tail = body[:65536], body[-1024:]
    return partial, Reply(200, "u", "u", path=partial.path, size_bytes=len(body), sha256=sha256, head=head, tail=tail)


@pytest.mark.parametrize("name", ["PNG, eXIf that is no TIFF", "JPEG, -1/0", "TIFF, resolution -1/0"])
def test_what_was_made_is_an_ordinary_success(tmp_path: Path, name: str) -> None:
    store = LocalStore(tmp_path)
    body, turn = ODD[name]
    partial, reply = partial_of(store, body)
    found = examine(ROOMY, reply, partial, may_take_long=True)
    assert isinstance(found, FoundImage)
    assert (found.verdict.status, found.verdict.error_type, found.extension) == (Status.SUCCESS, None, "jpg")
    assert found.blob.original_sha256 == reply.sha256
    assert (found.blob.width, found.blob.height) == ((HEIGHT, WIDTH) if turn == 6 else (WIDTH, HEIGHT))
    with Image.open(partial.path) as picture:
        assert picture.size == (found.blob.width, found.blob.height)
    partial.abort()
    store.close()


def test_what_is_left_as_it_is_is_flagged_and_says_why(tmp_path: Path) -> None:
    body = LEFT["floating point, one of them none"]
    store = LocalStore(tmp_path)
    partial, reply = partial_of(store, body)
    for published, flag in ((None, ErrorType.PARTLY_READ), (PublishedHash(0, "sha256", "00" * 32), ErrorType.HASH_MISMATCH)):
        found = examine(ROOMY, reply, partial, published, may_take_long=True)
        assert isinstance(found, FoundImage)
        assert (found.verdict.status, found.verdict.error_type) == (Status.SUCCESS, flag)
        assert str(found.verdict.detail).startswith("kept as it came: its samples are signed, 32-bit or floating-point numbers")
        assert (found.extension, found.blob.sha256, found.blob.original_sha256) == ("tif", reply.sha256, reply.sha256)
        assert partial.path.read_bytes() == body
    store.put([Keep(partial, "tif")])
    adopted = look(ROOMY, store, Claim(1, 1000000001, 0, ("u",), 1, may_be_stored=True), may_take_long=True)
    assert adopted is not None
    assert adopted.verdict.error_type is ErrorType.PARTLY_READ
    assert str(adopted.verdict.detail).startswith("kept as it came: its samples are signed, 32-bit or floating-point numbers")
    store.close()
