"""What are these bytes? Real encoders' files, whole and cut; raw files and their lookalikes; pages in every disguise."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from d4c_images.policy.sniff import Kind, Sniffed, sniff, sniff_tiff
from tests.publishers import pictures, rawfiles
from tests.support.tabular import rows

HEAD, TAIL = 65536, 1024


def look(body: bytes, head: int = HEAD) -> Sniffed:
    return sniff(body[:head], body[-TAIL:], len(body))


def look_at_file(body: bytes) -> Sniffed:
    return sniff_tiff(lambda at, length: body[at : at + length], len(body))


PICTURES: list[tuple[str, str, Callable[[], bytes]]] = [
    ("image/jpeg", "jpg", lambda: pictures.jpeg("a")),
    ("image/jpeg", "jpg", lambda: pictures.jpeg_of_about(300_000)),
    ("image/png", "png", lambda: pictures.png("a")),
    ("image/gif", "gif", lambda: pictures.gif("a")),
    ("image/tiff", "tif", lambda: pictures.tiff("a")),
    ("image/webp", "webp", lambda: pictures.webp("a")),
    ("image/bmp", "bmp", lambda: pictures.bmp("a")),
    ("image/jp2", "jp2", lambda: pictures.jp2("a")),
    ("image/avif", "avif", lambda: pictures.avif("a")),
    ("image/heic", "heic", lambda: pictures.heic("a")),
]


@pytest.mark.parametrize(("media_type", "extension", "make"), PICTURES, ids=lambda x: x if isinstance(x, str) else "")
def test_pictures_are_known_and_whole(media_type: str, extension: str, make: Callable[[], bytes]) -> None:
    assert look(make()) == Sniffed(Kind.IMAGE, media_type, extension)


# What only the structure of a whole file shows is for the decoder to find (test_verify). A TIFF's lost directory is tested below.
@pytest.mark.parametrize(("media_type", "make"), [PICTURES[n][::2] for n in (0, 7, 8, 9)])
def test_cut_pictures_are_told(media_type: str, make: Callable[[], bytes]) -> None:
    body = make()
    for kept in (len(body) // 3, len(body) // 2, len(body) - 200):
        cut = look(body[:kept])
        assert (cut.media_type, cut.truncated) == (media_type, True), kept


@pytest.mark.parametrize(
    "trailer", [b"\0" * 3000, b"\n", b"\xff" * 2000, b"ftypmp42" + Random(1).randbytes(5000), b"junk"], ids=len
)
@pytest.mark.parametrize("size_bytes", [20_000, 300_000])
def test_bytes_after_a_jpeg_do_no_harm(trailer: bytes, size_bytes: int) -> None:
    assert not look(pictures.jpeg_of_about(size_bytes) + trailer).truncated


def test_a_thumbnail_inside_a_cut_jpeg_is_no_end() -> None:
    """EXIF holds a whole JPEG with an end marker of its own."""
    picture = Image.new("RGB", (64, 64), "red")
    small = io.BytesIO()
    picture.save(small, "JPEG")
    exif = b"\xff\xe1" + struct.pack(">H", len(small.getvalue()) + 2) + small.getvalue()
    body = pictures.jpeg("a")
    cut = body[:2] + exif + body[2 : len(body) // 2]
    assert b"\xff\xd9" in cut
    assert look(cut).truncated


def test_a_gif_may_end_in_a_few_bytes_more() -> None:
    assert not look(pictures.gif("a") + b"\0\0\r\n").truncated


# TIFF and raw -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", rawfiles.RAW_FILES)
def test_raw_files_are_known(extension: str) -> None:
    media_type, make = rawfiles.RAW_FILES[extension]
    body = make("a")
    sniffed = look(body)
    if sniffed.needs_ifd:
        sniffed = look_at_file(body)
    assert sniffed == Sniffed(Kind.RAW, media_type, extension)


def test_a_dng_with_a_preview_first_is_no_tiff() -> None:
    """Pillow would open it as a TIFF of 256 x 171 without complaint."""
    body = rawfiles.dng_with_preview("a")
    assert Image.open(io.BytesIO(body)).format == "TIFF"
    assert kind_of(look(body)) == (Kind.RAW, "dng")
    assert look_at_file(body) == Sniffed(Kind.RAW, "image/x-adobe-dng", "dng")


Tags = dict[int, tuple[int, int, int]]  # tag: type, count, value or offset


def tiff(*directories: Tags, order: str = "<", first: int = 8, big: bool = False, extra: bytes = b"") -> bytes:
    """A TIFF of directories that stand one after the other at `first`; each ends with no next one."""
    mark = b"II" if order == "<" else b"MM"
    head = mark + (struct.pack(order + "HHHQ", 43, 8, 0, first) if big else struct.pack(order + "HI", 42, first))
    body = head.ljust(first, b"\0")
    for tags in directories:
        body += struct.pack(order + ("Q" if big else "H"), len(tags))
        for tag, (kind, count, value) in sorted(tags.items()):
            cell = struct.pack(order + {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind, "I"), value)
            body += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, count) + cell.ljust(8 if big else 4, b"\0")
        body += bytes(8 if big else 4)
    return body + extra


RGB: Tags = {256: (3, 1, 10), 257: (3, 1, 10), 262: (3, 1, 2), 273: (4, 1, 0), 279: (4, 1, 10)}
CFA: Tags = {**RGB, 262: (3, 1, 32803)}
DNG: Tags = {50706: (1, 4, 1)}


def with_maker(name: bytes, tags: Tags, *others: Tags, first: int = 8) -> bytes:
    """The maker's name stands behind the directories."""
    probe = {**tags, 271: (2, len(name), 0)}
    at = len(tiff(probe, *others, first=first))
    return tiff({**tags, 271: (2, len(name), at)}, *others, first=first, extra=name)


def second_at(tags: Tags, first: int = 8) -> int:
    return len(tiff(tags, first=first))


def kind_of(sniffed: Sniffed) -> tuple[Kind, str]:
    return sniffed.kind, sniffed.extension


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_dng_by_its_version_tag_in_any_byte_order(order: str, big: bool) -> None:
    first = 16 if big else 8
    assert kind_of(look(tiff({**RGB, **DNG}, order=order, big=big, first=first))) == (Kind.RAW, "dng")
    assert kind_of(look(tiff(RGB, order=order, big=big, first=first))) == (Kind.IMAGE, "tif")


def test_a_film_scanners_tiff_is_a_tiff() -> None:
    """Nikon's and Sony's names alone say nothing: a LS-9000 scans to a plain TIFF."""
    for name in (b"Nikon\0", b"NIKON CORPORATION\0", b"SONY\0"):
        assert kind_of(look(with_maker(name, RGB))) == (Kind.IMAGE, "tif")


@pytest.mark.parametrize(
    ("maker", "extension"), [(b"NIKON CORPORATION\0", "nef"), (b"SONY \0", "arw"), (b"PENTAX\0", "raw"), (b"x\0", "raw")]
)
def test_sensor_data_makes_it_raw(maker: bytes, extension: str) -> None:
    assert kind_of(look(with_maker(maker, CFA))) == (Kind.RAW, extension)
    tags = {**RGB, 271: (2, len(maker), 0), 330: (4, 1, 0)}
    in_sub = with_maker(maker, {**RGB, 330: (4, 1, second_at(tags))}, CFA)
    assert kind_of(look(in_sub)) == (Kind.RAW, extension)


@pytest.mark.parametrize(
    ("compression", "maker", "extension"), [(34713, b"NIKON CORPORATION\0", "nef"), (32767, b"SONY \0", "arw")]
)
def test_a_compression_that_only_cameras_use_makes_it_raw_whatever_the_colours_say(
    compression: int, maker: bytes, extension: str
) -> None:
    """A picture of such a file is a preview at best: it must not be stored as a TIFF."""
    assert kind_of(look(with_maker(maker, {**RGB, 259: (3, 1, compression)}))) == (Kind.RAW, extension)
    assert kind_of(look(with_maker(maker, {**RGB, 259: (3, 1, 5)}))) == (Kind.IMAGE, "tif"), "LZW"


def test_a_directory_beyond_the_head_is_read_from_the_file() -> None:
    far = tiff({**RGB, **DNG}, first=200_000, extra=bytes(100_000))
    assert look(far) == Sniffed(Kind.IMAGE, "image/tiff", "tif", needs_ifd=True)
    assert look_at_file(far) == Sniffed(Kind.RAW, "image/x-adobe-dng", "dng")
    at_the_end = tiff({**RGB, **DNG}, first=200_000)
    assert look(at_the_end) == Sniffed(Kind.RAW, "image/x-adobe-dng", "dng"), "the tail holds it"


def test_a_sub_directory_beyond_the_head_leaves_it_open() -> None:
    tags = {**RGB, 330: (4, 1, 150_000)}
    body = tiff(tags).ljust(150_000, b"\0") + tiff(CFA)[8:] + bytes(100_000)
    assert look(body).needs_ifd
    assert look_at_file(body).kind is Kind.RAW
    assert not look_at_file(body).needs_ifd


def test_lost_directories_and_picture_data_are_told() -> None:
    body = tiff(RGB, first=5000)
    for kept in (6, 4000, 5001, 5030, len(body) - 6):
        assert look(body[:kept]).truncated, kept
        assert look_at_file(body[:kept]).truncated, kept
    assert look(tiff({**RGB, 273: (4, 1, 99_999)})).truncated
    raw = tiff({**RGB, **DNG, 279: (4, 1, 50_000)})
    assert look(raw).truncated, "nothing decodes a raw file, so its lengths must be believed"
    assert not look(raw + bytes(60_000)).truncated
    assert not look(tiff({**RGB, 279: (4, 1, 50_000)})).truncated, "some writers get the lengths of a TIFF wrong"


@pytest.mark.parametrize("extension", ["dng", "nef", "arw", "cr2"])
def test_cut_raw_files_are_told(extension: str) -> None:
    body = rawfiles.RAW_FILES[extension][1]("a")
    assert not look_at_file(body).truncated
    assert look_at_file(body[: len(body) - 100]).truncated


@pytest.mark.parametrize("extension", ["orf", "cr3"])
def test_cut_raw_files_of_other_kinds_are_told(extension: str) -> None:
    body = rawfiles.RAW_FILES[extension][1]("a")
    assert not look(body).truncated
    assert look(body[: len(body) // 2]).truncated
    assert look(body[:85]).truncated  # within the first directory, or what stands in its place


def test_a_cut_raf_is_told() -> None:
    spans = struct.pack(">6I", 160, 1000, 1160, 100, 1260, 5000)
    body = b"FUJIFILMCCD-RAW 0201FF383501".ljust(84, b"\0") + spans + bytes(6260 - 108)
    assert not look(body).truncated
    assert look(body[:-1]).truncated


STARTS = [
    b"II*\0",
    b"MM\0*",
    b"II+\0\x08\0\0\0",
    b"IIRO",
    b"FUJIFILMCCD-RAW",
    b"\xff\xd8\xff",
    b"\0\0\0\x1cftypavif",
    b"RIFF",
    b"BM",
]


@given(st.sampled_from([*STARTS, b"<?xml", b"\xff\xfe<\0", b""]), st.binary(max_size=300))
def test_no_bytes_raise(start: bytes, rest: bytes) -> None:
    body = start + rest
    sniffed = look(body)
    assert (sniffed.kind is Kind.EMPTY) == (not body)
    assert sniffed.extension or sniffed.kind not in (Kind.IMAGE, Kind.RAW)
    look_at_file(body)


# Text -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "kind", "media_type"), rows("texts.tsv"))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_pages_in_every_disguise(text: str, kind: str, media_type: str, encoding: str) -> None:
    body = text.encode(encoding)
    assert look(body) == Sniffed(Kind(kind), media_type)


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"%PDF-1.4\n", "application/pdf"),
        (b"ID3\x03" + bytes(100), "audio/mpeg"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "video/mp4"),
        (b"\0\0\0\x18ftypM4A \0\0\0\0mp42isom", "audio/mp4"),
        (b"PK\x03\x04" + bytes(30), "application/zip"),
        (b"\x1f\x8b\x08" + bytes(30), "application/gzip"),
        (b"OggS" + bytes(30), "application/ogg"),
        (b"\x00\x01\x02\x03" * 10, "application/octet-stream"),
        (b"BM" + b"\x07" * 100, "application/octet-stream"),
    ],
)
def test_a_body_that_is_no_picture_is_other(body: bytes, media_type: str) -> None:
    assert look(body) == Sniffed(Kind.OTHER, media_type)


def test_older_encodings_read_as_text() -> None:
    assert look("Größe nicht gefunden".encode("latin-1")).kind is Kind.TEXT
    assert look(("x" * 1023 + "é").encode()).kind is Kind.TEXT, "a character cut by the window is no reason"


def test_a_body_without_a_byte_is_empty() -> None:
    assert look(b"").kind is Kind.EMPTY


@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*"])
def test_canons_mark_makes_a_tiff_a_raw_file_and_nothing_else_one(start: bytes) -> None:
    """Other files may have the two letters at the same place."""
    assert look(start + b"\x10\0\0\0CR\x02\0" + bytes(100)).extension == "cr2"
    for other in (b"IIRO", b"IIRS", b"II+\0", b"MM\0+", start[:2] + b"U\0", start[:2] + b"\0\0"):
        assert look(other + b"\x10\0\0\0CR\x02\0" + bytes(100)).media_type != "image/x-canon-cr2", other
    assert look(start + b"\x10\0\0\0CX\x02\0" + bytes(100)).media_type == "image/tiff"


@pytest.mark.parametrize("header_size", [12, 40, 52, 56, 64, 108, 124])
def test_a_bmp_may_have_a_header_of_any_version(header_size: int) -> None:
    body = b"BM" + bytes(8) + (14 + header_size).to_bytes(4, "little") + header_size.to_bytes(4, "little") + bytes(200)
    found = sniff(body, body[-1024:], len(body))
    assert (found.kind, found.extension) == (Kind.IMAGE, "bmp")
    odd = body[:14] + (header_size + 1).to_bytes(4, "little") + body[18:]
    assert sniff(odd, odd[-1024:], len(odd)).kind is not Kind.IMAGE
