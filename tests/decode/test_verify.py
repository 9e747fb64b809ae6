"""What is kept, what is fetched again, what is refused for good: cut and damaged files, and odd but whole ones (docs/adr/0051)."""

from __future__ import annotations

import errno
import hashlib
import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from d4c_images.decode import Decoder, boxes, gif, jpeg2000, png
from d4c_images.decode.faults import Damaged, Unread, counted
from d4c_images.decode.memory_budget import MemoryBudget
from d4c_images.model import Claim, ErrorType, Reply, Status
from d4c_images.policy.judge import CodePolicy, DecodeFault, DecodeResult, judge, judge_decoded
from d4c_images.stores import Keep
from d4c_images.stores.pack import PackSettings, open_store
from d4c_images.stores.reading import sniff_file
from d4c_images.worker.verify import FoundImage, examine, look
from tests.decode.test_decode import behind_the_start, check, sampled, saved, segment
from tests.publishers import pictures
from tests.support.properties import examples
from tests.support.sweep import thinned

SCENE = Image.open(io.BytesIO(pictures.jpeg("a sheet", (640, 480))))
SMALL = SCENE.resize((160, 120))
BIG_SEGMENTS = b"".join(segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes([n]) * 65_000) for n in range(140))


def verdict_of(found: DecodeResult) -> str:
    verdict = judge_decoded(found)
    if verdict.detail is not None:
        assert is_for_people(verdict.detail), verdict.detail
    if verdict.status is Status.SUCCESS:
        return "flagged" if verdict.error_type is ErrorType.PARTLY_READ else "kept"
    return "again" if (verdict.status, verdict.error_type) == (Status.FAILED_TRANSIENT, ErrorType.TRUNCATED) else "never"


def is_for_people(detail: str) -> bool:
    return not any(sign in detail for sign in ("Error", "<", "0x7f", "PIL", "/tmp", "object at", "b'", "_", "{"))


def told(tmp_path: Path, body: bytes, decoder: Decoder | None = None) -> str:
    """As a body that has been fetched is judged, and as one that lies in the store already: the same."""
    stored = verdict_of(check(tmp_path, body, decoder))
    reply = Reply(200, "http://h/1", "http://h/1", size_bytes=len(body), head=body[:65536], tail=body[-1024:])
    if judge(reply, CodePolicy(), 0.0).status is not Status.SUCCESS:
        assert stored == "again"
    return stored


# PNG


def chunk(kind: bytes, data: bytes, *, wrong_by: int = 0) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ wrong_by)


def png_parts(body: bytes) -> list[bytes]:
    """The signature, then the chunks."""
    parts, at = [body[:8]], 8
    while at < len(body):
        end = at + 12 + int.from_bytes(body[at : at + 4], "big")
        parts.append(body[at:end])
        at = end
    return parts


PNG = saved(SMALL, "PNG")
SIGNATURE, IHDR, *IDATS, IEND = png_parts(PNG)
PIXELS = zlib.decompress(b"".join(idat[8:-4] for idat in IDATS))


def png_with(*before: bytes, idat: bytes = b"".join(IDATS), behind: bytes = b"") -> bytes:
    return SIGNATURE + IHDR + b"".join(before) + idat + IEND + behind


def animated_png(*, broken: bool) -> bytes:
    file = io.BytesIO()
    SMALL.save(file, "PNG", save_all=True, append_images=[SMALL.rotate(n) for n in (10, 20)])
    parts = png_parts(file.getvalue())
    if broken:
        parts = [chunk(b"fdAT", part[8:12] + b"no deflate stream") if part[4:8] == b"fdAT" else part for part in parts]
    return b"".join(parts)


PNGS: dict[str, tuple[bytes, str]] = {
    "as it should be": (PNG, "kept"),
    "zeros behind the end": (saved(SCENE, "PNG") + bytes(1100), "kept"),
    "anything behind the end": (png_with(behind=b"\xff\xd8<html>" * 5000), "kept"),
    "another picture behind the end": (PNG + PNG[: len(PNG) // 2], "kept"),
    "a profile of 1.6 MB": (png_with(chunk(b"iCCP", b"scanner\0\0" + zlib.compress(bytes(range(256)) * 6250))), "kept"),
    "a text of 9 MB": (png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"x" * 9_000_000)), "kept"),
    "a packed text of 100 MB": (png_with(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(100_000_000), 1))), "kept"),
    "a profile that is none": (png_with(chunk(b"iCCP", b"x\0\0no deflate stream")), "kept"),
    "EXIF that is none": (png_with(chunk(b"eXIf", b"no tiff at all")), "kept"),
    "an empty text": (png_with(chunk(b"tEXt", b"")), "kept"),
    "an unknown part": (png_with(chunk(b"prVt", b"\0" * 99)), "kept"),
    "an animation": (animated_png(broken=False), "kept"),
    "an animation, later pictures broken": (animated_png(broken=True), "kept"),
    "Apple's own kind": (SIGNATURE + chunk(b"CgBI", bytes(4)) + IHDR + b"".join(IDATS) + IEND, "flagged"),
    "Apple's own kind, cut": ((SIGNATURE + chunk(b"CgBI", bytes(4)) + IHDR + b"".join(IDATS) + IEND)[:-200], "again"),
    "a wrong checksum in a text": (png_with(chunk(b"tEXt", b"Title\0a sheet", wrong_by=1)), "again"),
    "a wrong checksum in the header": (SIGNATURE + chunk(b"IHDR", IHDR[8:-4], wrong_by=1) + b"".join(IDATS) + IEND, "again"),
    "no picture data": (png_with(idat=b""), "again"),
    "zeros instead of the end": (png_with()[: -len(IEND)] + bytes(5000), "again"),
    "zeros from the middle to the end": (PNG[: len(PNG) // 2] + bytes(len(PNG)), "again"),
    "a wrong Adler-32": (png_with(idat=chunk(b"IDAT", zlib.compress(PIXELS)[:-1] + b"\0")), "again"),
    "no Adler-32": (png_with(idat=chunk(b"IDAT", zlib.compress(PIXELS)[:-4])), "again"),
    "a row too few": (png_with(idat=chunk(b"IDAT", zlib.compress(PIXELS[:-481]))), "again"),
    "no pixels": (SIGNATURE + chunk(b"IHDR", bytes(4) + IHDR[12:-4]) + b"".join(IDATS) + IEND, "never"),
}


@pytest.mark.parametrize("name", PNGS)
def test_a_png_is_kept_refused_or_fetched_again(tmp_path: Path, name: str) -> None:
    body, right = PNGS[name]
    assert told(tmp_path, body) == right
    assert told(tmp_path, body, Decoder(room=MemoryBudget(1000, 1000))) == right


# JPEG

JPEG = saved(SCENE, "JPEG", quality=85)
PROGRESSIVE = saved(SCENE, "JPEG", progressive=True)
NO_ROOM = Decoder(room=MemoryBudget(30_000, 30_000))  # in which no progressive JPEG is decoded


def two_pictures() -> bytes:
    return saved(SCENE, "MPO", save_all=True, append_images=[SMALL])


def clip() -> bytes:
    """The boxes of a phone's film clip."""
    return b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + struct.pack(">I4s", 3008, b"mdat") + bytes(range(250)) * 12


def phones_trailer() -> bytes:
    """As Samsung's: blocks, and a directory of them at the very end."""
    block = b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1614556800000"
    return block + b"SEFH" + struct.pack("<IIHHII", 106, 1, 0, 0x0A01, len(block), len(block)) + struct.pack("<I", 24) + b"SEFT"


JPEGS: dict[str, tuple[bytes, str]] = {
    "zeros behind the end": (JPEG + bytes(5000), "kept"),
    "a phone's trailer": (JPEG + phones_trailer(), "kept"),
    "a film clip": (JPEG + clip(), "kept"),
    "a film clip, cut": (JPEG + clip()[:-500], "again"),
    "two pictures": (two_pictures(), "kept"),
    "two pictures with zeros between": (JPEG + bytes(300) + saved(SMALL, "JPEG") + bytes(40), "kept"),
    "the second picture cut": (two_pictures()[:-300], "again"),
    "what behind the end looks like picture data": (JPEG + b"\xff\0\x12\x34" * 20_000, "kept"),
    "the second picture broken": (JPEG + saved(SMALL, "JPEG")[:200] + bytes(3000) + b"\xff\xd9", "kept"),
    "the end marker missing": (JPEG[:-2], "again"),
    "half the end marker missing": (JPEG[:-1], "again"),
    "the end marker missing, zeros behind": (JPEG[:-2] + bytes(3000), "again"),
    "zeros from the middle on": (JPEG[: len(JPEG) // 2] + bytes(len(JPEG)), "again"),
    "9 MB of metadata": (behind_the_start(JPEG, BIG_SEGMENTS), "kept"),
    "9 MB of metadata, progressive": (behind_the_start(PROGRESSIVE, BIG_SEGMENTS), "kept"),
    "9 MB of metadata, which only Pillow reads": (behind_the_start(sampled(JPEG, 0x31), BIG_SEGMENTS), "kept"),
    "metadata that make no sense, which only Pillow reads": (
        behind_the_start(sampled(JPEG, 0x31), segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff") + segment(0xE2, b"MPF\0xx")),
        "kept",
    ),
    "metadata that make no sense": (
        behind_the_start(
            JPEG, segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff") + segment(0xE2, b"MPF\0xx") + segment(0xED, b"8BIM")
        ),
        "kept",
    ),
    "no tables of quantisation": (JPEG.replace(b"\xff\xdb", b"\xff\xec"), "again"),
    "tables and no picture": (b"\xff\xd8" + segment(0xDB, bytes(1) + bytes(range(1, 65))) + b"\xff\xd9", "never"),
    "an end marker made by a wrong bit": (JPEG[:20] + b"\xff\xd9" + JPEG[22:], "again"),
    "two bytes more than a start": (b"\xff\xd8\xff\xe0", "again"),
}


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_is_kept_refused_or_fetched_again(tmp_path: Path, name: str) -> None:
    body, right = JPEGS[name]
    assert told(tmp_path, body) == right


def of_another_kind(body: bytes) -> bytes:
    """Lossless, 12 bits for each sample: nothing here decodes that."""
    at = body.index(b"\xff\xc0")
    return body[:at] + b"\xff\xc5\0\x11\x0c" + body[at + 5 :]


def test_a_jpeg_of_a_kind_that_nobody_decodes_is_kept(tmp_path: Path) -> None:
    body = of_another_kind(JPEG)
    assert told(tmp_path, body) == "flagged"
    for share in range(1, 100, 7):
        assert told(tmp_path, body[: len(body) * share // 100]) == "again"


@pytest.mark.parametrize("kind", ["baseline", "progressive"])
def test_a_jpeg_with_much_metadata_is_cut_anywhere(tmp_path: Path, kind: str) -> None:
    """However it is read: decoded, or only its structure."""
    whole = JPEG if kind == "baseline" else PROGRESSIVE
    body = behind_the_start(whole, BIG_SEGMENTS)
    found = check(tmp_path, body)
    assert (found.ok, found.reason, found.width, found.height) == (True, None, 640, 480)
    assert told(tmp_path, body, NO_ROOM) == ("kept" if kind == "baseline" else "flagged")
    for share in (1, 3, 10, 40, 70, 95):
        end = len(body) - len(whole) + len(whole) * share // 100
        assert told(tmp_path, body[:end]) == "again", share
        assert told(tmp_path, body[:end], NO_ROOM) == "again", share
    assert told(tmp_path, body[: len(BIG_SEGMENTS) // 2]) == "again"


# GIF

GIF = saved(SMALL.quantize(64), "GIF")


def film() -> bytes:
    return saved(SMALL.quantize(64), "GIF", save_all=True, append_images=[SMALL.rotate(n).quantize(64) for n in (90, 180)], loop=0)


def with_broken_second_picture() -> bytes:
    """Codes that are none, in blocks that are whole."""
    body = bytearray(film())
    at = body.index(b"\x2c", body.index(b"\x21\xf9", len(body) // 3)) + 12
    flags = body[at - 3]
    at += 3 * (2 << (flags & 7)) if flags & 0x80 else 0
    while at < len(body) and body[at] < 255:
        at += 1
    body[at + 1 : at + 256] = b"\xff" * 255
    return bytes(body)


def short_gif() -> bytes:
    """Its codes stop, with an end code, in the middle of the picture: all lengths are right."""
    whole = saved(SMALL.quantize(64), "GIF")
    taller = bytearray(whole)
    at = taller.index(b"\x2c\0\0\0\0")
    taller[at + 7 : at + 9] = struct.pack("<H", 240)
    taller[8:10] = struct.pack("<H", 240)
    return bytes(taller)


GIFS: dict[str, tuple[bytes, str]] = {
    "as it should be": (GIF, "kept"),
    "no trailer": (GIF[:-1], "kept"),
    "no trailer, zeros behind": (GIF[:-1] + bytes(50), "kept"),
    "a film without trailer": (film()[:-1], "kept"),
    "anything behind the trailer": (GIF + b"\x12junk" * 500, "kept"),
    "zeros behind the trailer": (GIF + bytes(4000), "kept"),
    "the last block cut": (GIF[:-2], "again"),
    "zeros from the middle on": (GIF[: len(GIF) // 2] + bytes(len(GIF)), "again"),
    "codes that end too early": (short_gif(), "again"),
    "a film": (film(), "kept"),
    "a film, a later picture broken": (with_broken_second_picture(), "flagged"),
    "a film, cut in a later picture": (film()[:-400], "again"),
    "no picture": (GIF[:10] + b"\0\0\0;", "again"),
}


@pytest.mark.parametrize("name", GIFS)
def test_a_gif_is_kept_refused_or_fetched_again(tmp_path: Path, name: str) -> None:
    body, right = GIFS[name]
    assert told(tmp_path, body) == right


# WebP, BMP


def riff(body: bytes, size: int) -> bytes:
    return body[:4] + struct.pack("<I", size) + body[8:]


WEBP = saved(SMALL, "WEBP", quality=80)
LOSSLESS = saved(SMALL, "WEBP", lossless=True)
WITH_EXIF = saved(SMALL, "WEBP", quality=80, exif=b"Exif\0\0II*\0" + bytes(2000) + b"x")
FILM_WEBP = saved(SMALL, "WEBP", save_all=True, append_images=[SMALL.rotate(180), SMALL.rotate(90)])
BMP = saved(SMALL, "BMP")

WEBPS: dict[str, tuple[bytes, str]] = {
    "as it should be": (WEBP, "kept"),
    "a length that is one too much": (riff(WEBP, len(WEBP) - 7), "kept"),
    "a length without the header": (riff(WEBP, len(WEBP) - 16), "kept"),
    "no length": (riff(WEBP, 0), "kept"),
    "a length of nobody knows": (riff(WEBP, 0xFFFFFFFF), "kept"),
    "zeros behind the end": (WEBP + bytes(4000), "kept"),
    "zeros over its last parts": (WITH_EXIF[:-2020] + bytes(2020), "again"),
    "metadata that make no sense": (WITH_EXIF, "kept"),
    "another size in its two headers": (WITH_EXIF[:26] + b"\x04" + WITH_EXIF[27:], "again"),
    "a film": (FILM_WEBP, "kept"),
    "a film whose frame has no picture": (FILM_WEBP.replace(b"VP8 ", b"\0\0\0\0", 1), "again"),
    "metadata lost": (WITH_EXIF[: len(WITH_EXIF) - 2012], "again"),
    "metadata cut": (WITH_EXIF[:-100], "again"),
    "a byte lost": (LOSSLESS[:-2], "again"),
    "broken codes": (LOSSLESS[:60] + bytes(len(LOSSLESS) - 60), "again"),
    "zeros from the middle on": (riff(WEBP[: len(WEBP) // 2] + bytes(len(WEBP)), len(WEBP) - 8)[: len(WEBP) // 2], "again"),
    "9 MB of metadata": (saved(SMALL, "WEBP", exif=b"Exif\0\0II*\0" + bytes(9_000_000)), "kept"),
    "9 MB of metadata, cut": (saved(SMALL, "WEBP", exif=b"Exif\0\0II*\0" + bytes(9_000_000))[:-1000], "again"),
}


def with_length_of(bmp: bytes) -> bytes:
    return bmp[:2] + struct.pack("<I", len(bmp)) + bmp[6:]


def with_a_dark_palette() -> bytes:
    """Four bits for each pixel, and greys that are none of those that four bits have by themselves."""
    greys = b"".join(bytes((n, n, n, 0)) for n in range(16))
    rows = bytes(range(32)) * 40
    header = struct.pack("<IiiHHIIiiII", 40, 64, 40, 1, 4, 0, len(rows), 0, 0, 0, 0)
    return with_length_of(b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + len(greys)) + header + greys + rows)


def run_lengths(rows: int, *, bits: int = 8, width: int = 64, is_ended: bool = True) -> bytes:
    """Forty rows of 64 pixels by their header, of which some are there: each a run, literal pixels and the mark of its end."""
    n_literal = 5 if bits == 8 else 3
    row = bytes((width - n_literal, 7, 0, n_literal)) + bytes(range(n_literal + n_literal % 2)) + b"\0\0"
    codes = row * rows + (b"\0\1" if is_ended else b"")
    greys = bytes(4 << bits)
    header = struct.pack("<IiiHHIIiiII", 40, 64, 40, 1, bits, 1 if bits == 8 else 2, 0, 0, 0, 0, 0)
    return with_length_of(b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + len(greys)) + header + greys + codes)


PALETTE = with_a_dark_palette()
BMPS: dict[str, tuple[bytes, str]] = {
    "as it should be": (BMP, "kept"),
    "no length": (BMP[:2] + bytes(4) + BMP[6:], "kept"),
    "a length that is too much": (BMP[:2] + struct.pack("<I", 10**9) + BMP[6:], "kept"),
    "the last row's padding missing": (with_length_of(saved(SMALL.crop((0, 0, 7, 7)), "BMP")[:-3]), "kept"),
    "the last row's padding lost": (saved(SMALL.crop((0, 0, 7, 7)), "BMP")[:-3], "again"),
    "the last pixel missing": (saved(SMALL.crop((0, 0, 7, 7)), "BMP")[:-4], "again"),
    "zeros behind the end": (BMP + bytes(4000), "kept"),
    "a palette that Pillow does not decode": (PALETTE, "kept"),
    "a palette larger than any": (PALETTE[:46] + struct.pack("<I", 1_700_000_000) + PALETTE[50:], "again"),
    "a palette larger than it needs": (PALETTE[:46] + struct.pack("<I", 300) + PALETTE[50:], "kept"),
    "of a kind that nobody decodes": (BMP[:30] + struct.pack("<I", 4) + BMP[34:], "flagged"),
    "of bits that there are not": (BMP[:28] + struct.pack("<H", 23) + BMP[30:], "again"),
    "packed as nothing is": (BMP[:30] + struct.pack("<I", 1 << 20) + BMP[34:], "again"),
    "run lengths": (run_lengths(40), "kept"),
    "run lengths of four bits": (run_lengths(40, bits=4), "kept"),
    "run lengths, the mark of their end missing": (run_lengths(40, is_ended=False), "kept"),
    "run lengths, the last row missing": (run_lengths(39, is_ended=False), "again"),
    "run lengths too long for their rows, the last rows missing": (run_lengths(38, width=90, is_ended=False), "again"),
    "no pixels": (BMP[:18] + bytes(8) + BMP[26:], "again"),
}


@pytest.mark.parametrize("name", WEBPS)
def test_a_webp_is_kept_refused_or_fetched_again(tmp_path: Path, name: str) -> None:
    body, right = WEBPS[name]
    assert told(tmp_path, body) == right


@pytest.mark.parametrize("name", BMPS)
def test_a_bmp_is_kept_refused_or_fetched_again(tmp_path: Path, name: str) -> None:
    body, right = BMPS[name]
    assert told(tmp_path, body) == right
    assert told(tmp_path, body, NO_ROOM) == right


# JPEG 2000, AVIF, HEIC

JP2, J2K = saved(SMALL, "JPEG2000"), saved(SMALL, "JPEG2000", no_jp2=True, tile_size=(64, 64))
AVIF, HEIC = saved(SMALL, "AVIF"), pictures.heic("a picture")


def as_signed(body: bytes) -> bytes:
    """Components of a kind that Pillow has no mode for."""
    at = body.index(b"\xff\x51") + 40
    return body[:at] + bytes([0x1F, 1, 1, 0x1F, 2, 2, 0x1F, 2, 2]) + body[at + 9 :]


def with_odd_blocks(body: bytes) -> bytes:
    """Code-blocks of 2^17 samples' width, in a file of a usual kind (ISO 15444-1, table A.18)."""
    at = body.index(b"\xff\x52") + 10
    return body[:at] + b"\x0f" + body[at + 1 :]


BOXES: dict[str, tuple[bytes, str]] = {
    "JP2": (JP2, "kept"),
    "JP2, junk behind the end": (JP2 + b"junkjunkjunkjunkjunk", "kept"),
    "JP2, another one behind the end": (JP2 + JP2, "kept"),
    "JP2, zeros behind the end": (JP2 + bytes(3000), "kept"),
    "JP2, a box behind the picture": (JP2 + b"\0\0\0\x20uuid" + bytes(24), "kept"),
    "JP2, a box behind the picture cut": (JP2 + b"\0\0\0\x20uuid" + bytes(20), "again"),
    "JP2, a box of a kind that nobody knows": (JP2.replace(b"\0\0\0\x2djp2h", b"\0\0\0\x10abcd12345678\0\0\0\x2djp2h"), "kept"),
    "J2K": (J2K, "kept"),
    "J2K, zeros behind the end": (J2K + bytes(3000), "kept"),
    "J2K, no end": (J2K[:-2], "again"),
    "J2K, a tile missing": (J2K[: J2K.rindex(b"\xff\x90\0\x0a")] + b"\xff\xd9", "again"),
    "J2K of a kind that nobody decodes": (as_signed(J2K), "flagged"),
    "J2K, blocks of an impossible size": (with_odd_blocks(J2K), "again"),
    "JP2, blocks of an impossible size": (with_odd_blocks(JP2), "again"),
    "JP2, a wrong bit in the kind of its header": (JP2.replace(b"jp2h", b"jp2x"), "again"),
    "AVIF": (AVIF, "kept"),
    "AVIF, junk behind the end": (AVIF + b"junkjunkjunkjunkjunk", "kept"),
    "AVIF, zeros in its boxes": (AVIF[:60] + bytes(40) + AVIF[100:], "again"),
    "AVIF, another kind of box around its data": (AVIF.replace(b"mdat", b"\0\0\0\0"), "again"),
    "AVIF, zeros in its data": (AVIF[:-1000] + bytes(1000), "kept"),
    "HEIC": (HEIC, "kept"),
    "HEIC, nothing coded in it": (HEIC.replace(b"hvc1", b"mime"), "flagged"),
    "HEIC, zeros behind the end": (HEIC + bytes(3000), "kept"),
    "HEIC, zeros in its boxes": (HEIC[:60] + bytes(40) + HEIC[100:], "again"),
}


def test_a_codestream_without_sizes_makes_no_sense(tmp_path: Path) -> None:
    at = J2K.index(b"\xff\x51")
    path = tmp_path / "a.j2k"
    path.write_bytes(J2K[:at] + J2K[at + 2 + int.from_bytes(J2K[at + 2 : at + 4], "big") :])
    with path.open("rb") as file, pytest.raises(Damaged, match="makes no sense"):
        boxes.walk_jpeg_2000(file, path.stat().st_size)


@pytest.mark.parametrize("name", BOXES)
def test_a_file_of_boxes_is_kept_refused_or_fetched_again(tmp_path: Path, name: str) -> None:
    body, right = BOXES[name]
    assert told(tmp_path, body) == right


def test_width_and_height_of_what_nobody_decodes_are_known(tmp_path: Path) -> None:
    body = as_signed(saved(SCENE.resize((130, 70)), "JPEG2000", no_jp2=True))
    path = tmp_path / "picture"
    path.write_bytes(body)
    found = Decoder().check(path, sniff_file(path, body[:65536], body[-1024:], len(body)))
    assert (found.reason, found.width, found.height) == (DecodeFault.UNREAD, 130, 70)


def test_the_levels_of_a_jpeg_2000_are_found_if_its_first_bytes_have_them(tmp_path: Path) -> None:
    body = saved(SMALL, "JPEG2000", no_jp2=True, num_resolutions=6)
    at = body.index(b"\xff\x52") + 9
    path = tmp_path / "cut.j2k"
    for end in range(at - 12, at + 30):
        path.write_bytes(body[:end])
        assert jpeg2000.lower_of(SMALL.size, path, 1) == (5 if end > at else 0), end
    path.write_bytes(body)
    assert jpeg2000.lower_of(SMALL.size, path, 1) == 5


@pytest.mark.parametrize("edges", [(641, 480), (642, 483), (645, 497)])
def test_jpeg_2000_of_any_size_is_read_at_a_lower_resolution(tmp_path: Path, edges: tuple[int, int]) -> None:
    """Halved three times: Pillow and OpenJPEG do not round alike."""
    body = saved(SCENE.resize(edges), "JPEG2000", num_resolutions=6)
    most_bytes = 3 * len(body) + 20 * edges[0] * edges[1] // 50
    decoder = Decoder(max_edge=50, room=MemoryBudget(2 * most_bytes, 2 * most_bytes))
    assert told(tmp_path, body, Decoder(room=MemoryBudget(most_bytes, most_bytes))) == "kept"
    path = tmp_path / "whole.jp2"
    path.write_bytes(body)
    reduced = decoder.reduce(path, bytes(32), "image/jp2")
    assert reduced is not None
    assert (reduced.width, abs(reduced.height - 50 * edges[1] / edges[0]) < 1) == (50, True)


# all of them

WHOLE: dict[str, bytes] = {
    "jpeg": JPEG, "progressive": PROGRESSIVE, "two pictures": two_pictures(), "png": PNG,
    "animated png": animated_png(broken=False), "gif": GIF, "film": film(), "webp": WEBP, "lossless webp": LOSSLESS,
    "webp with metadata": WITH_EXIF, "bmp": BMP, "jp2": JP2, "j2k": J2K, "avif": AVIF, "heic": HEIC,
}  # fmt: skip


@pytest.mark.parametrize("name", thinned(WHOLE, 3))
def test_a_file_cut_anywhere_is_fetched_again(tmp_path: Path, name: str) -> None:
    """At every hundredth, and at each of the last bytes. A GIF may lack its trailer, a WebP the byte that makes its length even."""
    body = WHOLE[name]
    ends = {len(body) * share // 100 for share in range(3, 100)} | set(range(len(body) - 8, len(body)))
    found = {end - len(body): said for end in sorted(ends) if (said := told(tmp_path, body[:end])) != "again"}
    assert found == ({-1: "kept"} if name in ("gif", "film", "webp with metadata") else {})


@pytest.mark.parametrize("name", WHOLE)
@given(data=st.data())
@settings(max_examples=examples(12), deadline=None)
def test_what_stands_behind_the_end_does_no_harm(tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject) -> None:
    """Zeros or text of any length; the films and pictures that phones put there have tests of their own."""
    more = data.draw(st.one_of(st.integers(1, 70_000).map(bytes), st.text("junk <>\n\r\0", min_size=1).map(str.encode)))
    assert told(tmp_path_factory.mktemp("odd"), WHOLE[name] + more) == "kept"


@pytest.mark.parametrize("name", WHOLE)
@given(data=st.data())
@settings(max_examples=examples(12), deadline=None)
def test_no_damage_is_refused_for_good(tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject) -> None:
    """Zeros over any stretch behind the first bytes, by which a file is known."""
    body = WHOLE[name]
    start = data.draw(st.integers(16, len(body) - 1))
    hole = bytes(min(data.draw(st.integers(1, 3000)), len(body) - start))
    damaged = body[:start] + hole + body[start + len(hole) :]
    path = tmp_path_factory.mktemp("damaged") / "file"
    path.write_bytes(damaged)
    sniffed = sniff_file(path, damaged[:65536], damaged[-1024:], len(damaged))
    found = Decoder().check(path, sniffed)
    assert verdict_of(found) in ("kept", "flagged", "again")
    if name.endswith("png") and damaged != body:
        assert not found.ok


def test_the_parts_of_a_file_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(counted(range(3), 3)) == [0, 1, 2]
    with pytest.raises(Unread, match="more than 2 parts"):
        list(counted(range(3), 2))
    monkeypatch.setattr(gif, "MOST_BLOCKS", 5)
    assert told(tmp_path, film()) == "flagged"


def test_no_exception_of_a_reader_gets_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the disk fails."""

    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(png, "read", broken)
    error: Exception = IndexError("index out of range")
    assert told(tmp_path, PNG) == "again"
    error = OSError(errno.EINVAL, "Invalid argument")  # an offset in the file
    assert told(tmp_path, PNG) == "again"
    error = OSError(errno.EIO, "Input/output error")
    with pytest.raises(OSError, match="Input/output"):
        told(tmp_path, PNG)


# on every way to the store


@pytest.mark.parametrize(("packed", "max_edge"), [(False, None), (True, 100)])
@pytest.mark.parametrize(
    "name",
    thinned(
        ["baseline with much metadata", "progressive with much metadata", "png", "film", "webp with metadata", "jp2", "avif"], 3
    ),
)
def test_a_cut_file_is_never_kept(tmp_path: Path, name: str, packed: bool, max_edge: int | None) -> None:
    """Fetched, or found in the store as a dead lease has left it."""
    whole = {
        "baseline with much metadata": behind_the_start(JPEG, BIG_SEGMENTS),
        "progressive with much metadata": behind_the_start(PROGRESSIVE, BIG_SEGMENTS),
    }.get(name) or WHOLE[name]
    cut = whole[:-1000]
    store = open_store(tmp_path, PackSettings("0123abcd") if packed else None)
    decoder = Decoder(max_edge, room=MemoryBudget(30_000, 30_000) if name.startswith("progressive") else None)
    partial = store.begin(1, 1, 7)
    for body in (cut, whole):
        partial.rewrite(body)
        sha256 = hashlib.sha256(body).digest()
        partial.flush()
        said = {"path": partial.path, "size_bytes": len(body), "sha256": sha256, "head": body[:65536], "tail": body[-1024:]}
        reply = Reply(200, "http://h/1", "http://h/1", **said)  # type: ignore[arg-type]
        found = examine(decoder, reply, partial, may_take_long=True)
        if body is whole:
            assert isinstance(found, FoundImage)
        else:
            assert (found.status, found.error_type) == (Status.FAILED_TRANSIENT, ErrorType.TRUNCATED)  # type: ignore[union-attr]
    partial.abort()
    extension = {"png": "png", "film": "gif", "jp2": "jp2", "avif": "avif"}.get(name, "webp" if "webp" in name else "jpg")
    files = open_store(tmp_path, None)  # what a shard's store has not packed yet is a file
    left = files.begin(1, 1, 7)
    left.write(cut)
    assert files.put([Keep(left, extension)]) != [None]
    assert look(decoder, store, Claim(1, 1, 1, ("http://h/1",), 1, may_be_stored=True), may_take_long=True) is None
    assert store.find(1, 1) == []


@pytest.mark.parametrize("name", ["of a kind that nobody decodes", "much metadata"])
def test_what_pillow_cannot_open_is_adopted(tmp_path: Path, name: str) -> None:
    body = of_another_kind(JPEG) if name != "much metadata" else behind_the_start(JPEG, BIG_SEGMENTS)
    store = open_store(tmp_path, None)
    left = store.begin(1, 1, 7)
    left.write(body)
    store.put([Keep(left, "jpg")])
    found = look(Decoder(), store, Claim(1, 1, 1, ("http://h/1",), 1, may_be_stored=True), may_take_long=True)
    assert found is not None
    assert found.blob.path is not None
