"""Pictures larger than a worker's share of memory, in small: what reads or shrinks them must agree with what Pillow decodes."""

from __future__ import annotations

import hashlib
import io
import itertools
import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy
import pytest
import tifffile
from PIL import Image, ImageChops

from d4c_images.decode import Decoder, TakesLong, TooLarge, jpeg, mapped, png, tiff
from d4c_images.decode.faults import Damaged
from d4c_images.decode.memory_budget import MemoryBudget
from d4c_images.model import ErrorType, Status
from d4c_images.policy.judge import DecodeFault, DecodeResult, judge_decoded
from d4c_images.stores.reading import sniff_file
from tests.decode.test_decode import check, halved, saved, sniffed
from tests.publishers import pictures, rawfiles
from tests.support.made import Made
from tests.support.sweep import thinned
from tests.support.tiffs import Layout, scene
from tests.support.tiffs import written as written_tiff

SIZE = (1300, 900)  # more than two pieces
SCENE = Image.open(io.BytesIO(pictures.jpeg("a sheet", SIZE)))


def tight(max_edge: int | None = None, most_bytes: int = tiff.PIECE_MEMORY_BYTES) -> Decoder:
    """For which everything here is large."""
    return Decoder(max_edge, MemoryBudget(own_bytes=tiff.PIECE_MEMORY_BYTES, common_bytes=most_bytes))


# TIFF in pieces


def of_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(numpy.asarray(SCENE.convert("L")).astype(numpy.uint16) * 257)
    return SCENE if mode == "RGB" else SCENE.convert(mode)


def packed(mode: str, packing: str, strip_size: int) -> bytes:
    return saved(of_mode(mode), "TIFF", compression=packing, strip_size=strip_size)


def written(n_pages: int = 1, *, bigtiff: bool = False, byteorder: str = "<", **options: object) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=bigtiff, byteorder=byteorder) as writer:
        for _ in range(n_pages):
            writer.write(numpy.asarray(SCENE), photometric="rgb", **options)
    return file.getvalue()


def in_planes() -> bytes:
    file = io.BytesIO()
    planes = numpy.asarray(SCENE).transpose(2, 0, 1)
    tifffile.imwrite(file, planes, photometric="rgb", planarconfig="separate", compression="zlib", rowsperstrip=64)
    return file.getvalue()


def tiffs() -> dict[str, Callable[[], bytes]]:
    found: dict[str, Callable[[], bytes]] = {}
    modes = ("RGB", "L", "1", "CMYK", "P", "RGBA", "I;16")
    for mode, packing in itertools.product(modes, ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4")):
        if (packing == "jpeg" and mode not in ("RGB", "L")) or (packing == "group4" and mode != "1"):
            continue
        for strip_size in (1, 65536, 1 << 28):  # a row, some rows, the whole
            if packing in ("raw", "tiff_adobe_deflate") or (strip_size == 65536 and mode != "1"):
                found[f"{mode} {packing} {strip_size}"] = partial(packed, mode, packing, strip_size)
    return found | {
        "tiles": partial(written, tile=(256, 256)),
        "packed tiles": partial(written, tile=(128, 64), compression="zlib", predictor=True),
        "big-endian": partial(written, byteorder=">", rowsperstrip=7),
        "BigTIFF": partial(written, bigtiff=True, tile=(256, 256), compression="zlib"),
        "two pages": partial(written, 2, rowsperstrip=32),
        "planes": in_planes,
    }


TIFFS = Made(tiffs())


@pytest.mark.parametrize("name", thinned(sorted(TIFFS), 3))
def test_the_pieces_of_a_tiff_are_its_picture(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sheet.tif"
    path.write_bytes(TIFFS[name])
    with Image.open(path) as picture, path.open("rb") as file:
        parts = [(piece.x, piece.y, Image.open(io.BytesIO(piece.body))) for piece in tiff.pieces(picture, file, 4)]
        together = Image.new(picture.mode, picture.size)
        for x, y, part in parts:
            together.paste(part, (x, y))
        if tiff.lies_in_planes(picture):
            assert len(parts) % 3 == 0
        else:
            picture.load()
            assert together.tobytes() == picture.tobytes()
    assert len(parts) > 1
    assert check(tmp_path, TIFFS[name], tight()) == DecodeResult(True, None, None, *SIZE, "image/tiff", "tif")


@pytest.mark.parametrize("name", thinned(sorted(TIFFS), 3))
@pytest.mark.parametrize("share", thinned([0.4, 0.9], 2))
def test_a_cut_tiff_is_never_whole(tmp_path: Path, name: str, share: float) -> None:
    body = TIFFS[name]
    cut = body[: int(len(body) * share)]
    found = check(tmp_path, cut, tight(), of=body)
    assert (found.ok, found.reason) in ((False, DecodeFault.TRUNCATED), (False, DecodeFault.UNDECODABLE)) or sniffed(cut).truncated


def test_a_packed_tiff_with_a_wrong_bit_is_noticed(tmp_path: Path) -> None:
    for name in ("RGB tiff_adobe_deflate 65536", "RGB tiff_adobe_deflate 268435456", "packed tiles"):
        body = bytearray(TIFFS[name])
        body[len(body) // 2] ^= 1
        assert not check(tmp_path, bytes(body), tight()).ok, name


def test_a_strip_that_is_too_large_is_not_decoded_and_says_so(tmp_path: Path) -> None:
    assert check(tmp_path, saved(SCENE, "TIFF", compression="tiff_lzw", strip_size=1 << 28), tight()).reason is None
    found = check(tmp_path, saved(SCENE, "TIFF", compression="zstd", strip_size=1 << 28), tight())
    assert (found.ok, found.reason) == (True, DecodeFault.UNREAD)
    told = judge_decoded(found)
    assert (told.status, told.error_type) == (Status.SUCCESS, ErrorType.PARTLY_READ)
    assert str(told.detail).startswith("not decoded: 1300 x 900 pixels take")


# PNG in blocks

PNGS = Made(
    {mode: partial(lambda mode: saved(of_mode(mode), "PNG"), mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")}
    | {
        "16-bit": lambda: pictures.png("a sheet", SIZE, kind="16bit"),
        "4 bits": lambda: saved(SCENE.quantize(16), "PNG", bits=4),
    }
)


def png_of(header: bytes, rows: bytes) -> bytes:
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def interlaced(width: int, height: int) -> bytes:
    """Of one colour, in Adam7's seven passes."""
    passes = ((8, 8, 0, 0), (8, 8, 4, 0), (4, 8, 0, 4), (4, 4, 2, 0), (2, 4, 0, 2), (2, 2, 1, 0), (1, 2, 0, 1))
    rows = b"".join(
        (b"\0" + bytes(3 * -(-(width - x) // step_x))) * -(-(height - y) // step_y) for step_x, step_y, x, y in passes
    )  # fmt: skip
    return png_of(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1), rows)


@pytest.mark.parametrize("name", thinned(sorted(PNGS), 3))
def test_the_bands_of_a_png_are_its_picture(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sheet.png"
    path.write_bytes(PNGS[name])
    png.read(path)
    with Image.open(path) as picture, path.open("rb") as file:
        together = Image.new(picture.mode, picture.size)
        for y, band in png.bands(picture, file, 4):
            together.paste(band, (0, y))
        picture.load()
        assert together.tobytes() == picture.tobytes()


@pytest.mark.parametrize(
    ("most_rows", "multiple", "heights"), [(10, 4, [8] * 5 + [3]), (10, 1, [10] * 4 + [3]), (1, 4, [4] * 10 + [3])]
)
def test_a_band_has_as_many_rows_as_fit_and_a_multiple_of_what_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_rows: int, multiple: int, heights: list[int]
) -> None:
    path = tmp_path / "sheet.png"
    path.write_bytes(pictures.png("a sheet", (64, 43)))
    monkeypatch.setattr(png, "BAND_PIXELS", most_rows * 64 + 63)
    with Image.open(path) as picture, path.open("rb") as file:
        assert [band.height for _, band in png.bands(picture, file, multiple)] == heights


@pytest.mark.parametrize("name", thinned(sorted(PNGS), 3))
def test_a_large_png_is_read_to_its_end(tmp_path: Path, name: str) -> None:
    body = PNGS[name]
    assert check(tmp_path, body, Decoder(room=MemoryBudget(1000, 1000))).ok
    for end in (len(body) // 2, len(body) - 20, len(body) - 12, len(body) - 1):
        assert check(tmp_path, body[:end], Decoder(room=MemoryBudget(1000, 1000)), of=body).reason is DecodeFault.TRUNCATED
    for at in range(40, len(body), len(body) // 7):
        wrong = bytearray(body)
        wrong[at] ^= 1
        assert not check(tmp_path, bytes(wrong), Decoder(room=MemoryBudget(1000, 1000)), of=body).ok


def test_a_large_png_may_be_interlaced(tmp_path: Path) -> None:
    body = interlaced(203, 101)
    with Image.open(io.BytesIO(body)) as picture:
        picture.load()
    assert check(tmp_path, body, Decoder(room=MemoryBudget(1000, 1000))).ok
    lacking = interlaced(203, 102).replace(struct.pack(">II", 203, 102), struct.pack(">II", 203, 190), 1)
    crc = struct.pack(">I", zlib.crc32(lacking[12:29]))
    assert not check(tmp_path, lacking[:29] + crc + lacking[33:], Decoder(room=MemoryBudget(1000, 1000))).ok


def test_what_is_packed_behind_a_png_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(struct.pack(">IIBBBBB", 10, 10, 8, 0, 0, 0, 0), bytes(50_000_000)))
    with path.open("rb") as file:
        assert sum(map(len, png.inflated(file, png.header_of(file).size_bytes()))) <= 110 + png.READ_AT_ONCE_BYTES


def test_a_header_may_be_as_large_as_a_body(tmp_path: Path) -> None:
    body = PNGS["L"]
    text = b"iTXtk\0\0\0\0\0" + bytes(9_000_000)
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    assert check(tmp_path, body[:33] + chunk + body[33:]) == DecodeResult(True, None, None, *SIZE, "image/png", "png")


# JPEG in several scans


def scans_of(body: bytes) -> list[int]:
    """Where the headers of its scans begin."""
    at, found = 2, []
    while True:
        at = body.find(b"\xff\xda", at)
        if at < 0:
            return found
        found.append(at)
        at += 2


def test_a_progressive_jpeg_that_is_too_large_is_not_decoded_and_says_so(tmp_path: Path) -> None:
    body = pictures.jpeg("a sheet", SIZE, kind="progressive")
    small = Decoder(room=MemoryBudget(1_000_000, 3_000_000))
    found = check(tmp_path, body, small)
    assert (found.ok, found.reason, found.width) == (True, DecodeFault.UNREAD, 1300)
    scans = scans_of(body)
    assert len(scans) > 5
    for cut in (body[: scans[3]] + b"\xff\xd9", body[: scans[-1]] + b"\xff\xd9", body[: len(body) * 2 // 3]):
        assert check(tmp_path, cut, small, of=body).reason is DecodeFault.TRUNCATED


def test_how_much_a_jpeg_takes_depends_on_its_scans() -> None:
    pixels = SIZE[0] * SIZE[1]
    for kind, bytes_per_pixel in (("baseline", 0), ("progressive", 3), ("grey", 0), ("cmyk", 0)):
        frame = jpeg.frame_of(pictures.jpeg("a sheet", SIZE, kind=kind))
        assert frame is not None
        assert abs(frame.need_bytes(0) - bytes_per_pixel * pixels) <= pixels / 5
    baseline = pictures.jpeg("a sheet", SIZE)
    at = baseline.index(b"\xff\xda")
    apart = jpeg.frame_of(baseline[:at] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + baseline[at + 14 :])  # one colour in the first scan
    assert apart is not None
    assert apart.need_bytes(0) > 3 * pixels
    assert jpeg.frame_of(b"\xff\xd8\xff\xd9") is None


def test_a_large_jpeg_is_read_from_a_mapped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "MAPPED_BYTES", 1000)
    monkeypatch.setattr(mapped, "GIVE_BACK_S", 0.0001)
    body = pictures.jpeg("a sheet", SIZE)
    for _ in range(20):
        assert check(tmp_path, body) == DecodeResult(True, None, None, *SIZE, "image/jpeg", "jpg")
    assert check(tmp_path, halved(body)).reason is DecodeFault.TRUNCATED


def test_a_jpeg_2000_is_read_at_a_lower_resolution(tmp_path: Path) -> None:
    body = pictures.jp2("a sheet", SIZE)
    small = Decoder(room=MemoryBudget(2_000_000, 2_000_000))
    assert check(tmp_path, body, small) == DecodeResult(True, None, None, *SIZE, "image/jp2", "jp2")
    for share in (0.3, 0.6, 0.9):
        cut = body[: int(len(body) * share)]
        assert not check(tmp_path, cut, small, of=body).ok or sniffed(cut).truncated


def test_a_film_is_read_as_far_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d4c_images.decode.picture_reader.MAX_FRAMES", 3)
    assert check(tmp_path, pictures.gif("a film", frames=3)).reason is None
    found = check(tmp_path, pictures.gif("a film", frames=4))
    assert (found.ok, found.reason, found.detail) == (True, DecodeFault.UNREAD, "not decoded: what follows the first 3 pictures")


# made smaller


@pytest.mark.parametrize(
    ("bodies", "name"),
    [(TIFFS, name) for name in ("RGB tiff_lzw 65536", "L raw 1", "P raw 65536", "CMYK raw 65536", "packed tiles", "1 raw 1")]
    + [(PNGS, name) for name in PNGS],
    ids=lambda value: ("tiff" if value is TIFFS else "png") if isinstance(value, Made) else value,
)
def test_what_is_made_of_pieces_is_what_pillow_makes_of_the_whole(tmp_path: Path, bodies: Made, name: str) -> None:
    body = bodies[name]
    path = tmp_path / "large"
    path.write_bytes(body)
    made = []
    for decoder in (Decoder(150), tight(150, 10_000_000)):
        reduced = decoder.reduce(path, hashlib.sha256(body).digest(), sniffed(body).media_type)
        assert reduced is not None
        made.append(Image.open(io.BytesIO(reduced.body)))
    assert made[0].size == made[1].size == (150, 104)
    assert made[0].mode == made[1].mode
    difference = ImageChops.difference(*made).convert("L").histogram()
    assert sum(n * value for value, n in enumerate(difference)) / (150 * 104) < 4, name


def test_what_cannot_be_made_smaller_in_little_memory_says_so(tmp_path: Path) -> None:
    path = tmp_path / "large.webp"
    path.write_bytes(pictures.webp("a picture", SIZE))
    with pytest.raises(TooLarge, match="not decoded: 1300 x 900 pixels take"):
        tight(150).reduce(path, bytes(32), "image/webp")


# Room


def test_what_takes_long_is_told_before(tmp_path: Path) -> None:
    body = pictures.jpeg("a sheet", SIZE, kind="progressive")
    path = tmp_path / "sheet.jpg"
    path.write_bytes(body)
    decoder = Decoder(room=MemoryBudget(1_000_000, 10_000_000))
    with pytest.raises(TakesLong):
        decoder.check(path, sniffed(body), may_take_long=False)
    assert decoder.check(path, sniffed(body)).ok


def test_decodes_wait_for_room() -> None:
    room, order = MemoryBudget(10, 100), []

    def take(need_bytes: int) -> None:
        with room.taken(need_bytes):
            order.append(need_bytes)

    with room.taken(6):
        with room.taken(4):
            waiting = threading.Thread(target=take, args=(5,))
            waiting.start()
            with room.taken(0):
                order.append(0)
        waiting.join(0.05)
        assert order == [0]
    waiting.join()
    assert order == [0, 5]


def test_one_at_a_time_has_the_common_share() -> None:
    rooms, order = (MemoryBudget(10, 100), MemoryBudget(10, 100)), []

    def take() -> None:
        with rooms[1].taken(50):
            order.append("second")

    with rooms[0].taken(100):
        waiting = threading.Thread(target=take)
        waiting.start()
        waiting.join(0.05)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
    with pytest.raises(ValueError), rooms[0].taken(101):
        pass


# What no test of whole pictures enters


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_png_whose_picture_data_end_too_early_is_damaged_however_right_its_checksums_are(tmp_path: Path, share: float) -> None:
    """The deflate stream lacks its end, and the chunk that holds it is whole."""
    path, rows = tmp_path / "short.png", numpy.random.default_rng(1).bytes(SIZE[1] * (1 + 3 * SIZE[0]))
    filtered = bytearray(rows)
    filtered[:: 1 + 3 * SIZE[0]] = bytes(SIZE[1])
    packed = zlib.compress(bytes(filtered), 1)
    header = struct.pack(">IIBBBBB", *SIZE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packed[: int(len(packed) * share)]), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ))  # fmt: skip
    with path.open("rb") as file:
        blocks = itertools.islice(png.inflated(file, png.header_of(file).size_bytes()), 1000)
        with pytest.raises(Damaged, match="end too early"):
            assert sum(map(len, blocks)) < 0, "it goes on for ever"
    assert check(tmp_path, path.read_bytes(), tight()).reason is DecodeFault.TRUNCATED
    with path.open("rb") as file, pytest.raises(Damaged, match="end too early"), Image.open(path) as picture:
        list(png.bands(picture, file, 1))


def test_a_png_with_a_row_less_than_it_declares_is_damaged(tmp_path: Path) -> None:
    """Its deflate stream is whole."""
    header = struct.pack(">IIBBBBB", 10, 20, 8, 0, 0, 0, 0)
    for n_rows, is_whole in ((20, True), (19, False)):
        body = png_of(header, bytes(11 * n_rows))
        assert check(tmp_path, body, tight()).ok is is_whole
    path = tmp_path / "short.png"
    path.write_bytes(body)
    with path.open("rb") as file, pytest.raises(Damaged, match="end too early"), Image.open(path) as picture:
        list(png.bands(picture, file, 1))


ODD_SHEETS = {
    "JPEG as TIFF 6.0 had it at first": Layout("plain", tags=((259, 3, (6,)),)),
    "plain and subsampled": Layout("plain", tags=((262, 3, (6,)), (530, 3, (2, 2)))),
    "as many lengths as strips but for one": Layout("plain", tags=((279, 4, (96 * 3 * 16,) * 4),)),
}


@pytest.mark.parametrize("name", ODD_SHEETS)
def test_a_tiff_that_is_stored_in_an_unusual_way_is_not_cut(tmp_path: Path, name: str) -> None:
    path = tmp_path / "odd.tif"
    path.write_bytes(written_tiff([(scene(), ODD_SHEETS[name])]).body)
    with Image.open(path) as picture, path.open("rb") as file, pytest.raises(tiff.Uncut, match="unusual"):
        list(tiff.pieces(picture, file))


def test_a_tiff_that_is_stored_as_usual_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "usual.tif"
    for layout in (Layout("plain"), Layout("deflate"), Layout("plain", tags=((262, 3, (2,)), (530, 3, (2, 2))))):
        path.write_bytes(written_tiff([(scene(), layout)]).body)
        with Image.open(path) as picture, path.open("rb") as file:
            assert list(tiff.pieces(picture, file))


def test_what_promises_more_than_it_holds_is_cut_off_whatever_a_decoder_makes_of_it(tmp_path: Path) -> None:
    """Camera raw above all: its pixels are not decoded, and it opens without its end."""
    raw = rawfiles.RAW_FILES["dng"][1]("a")
    for body in (raw, saved(SCENE, "JPEG"), saved(SCENE, "TIFF")):
        path = tmp_path / "file"
        path.write_bytes(body)
        whole = sniff_file(path, body[:65536], body[-1024:], len(body))
        assert not whole.truncated
        assert Decoder().check(path, whole).ok
        cut = Decoder().check(path, replace(whole, truncated=True))
        assert (cut.ok, cut.reason) == (False, DecodeFault.TRUNCATED)


@pytest.mark.parametrize(
    ("max_pixels", "reason"), [(SIZE[0] * SIZE[1], None), (SIZE[0] * SIZE[1] - 1, DecodeFault.TOO_MANY_PIXELS)]
)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP"])
def test_a_picture_may_have_as_many_pixels_as_there_may_be_and_not_one_more(
    tmp_path: Path, form: str, max_pixels: int, reason: DecodeFault | None
) -> None:
    found = check(tmp_path, saved(SCENE, form), Decoder(max_pixels=max_pixels))
    assert (found.ok, found.reason) == (reason is None, reason)


def test_an_odd_jpeg_that_pillow_cannot_decode_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = saved(SCENE, "JPEG")
    monkeypatch.setattr(jpeg, "complaint", lambda body: "something odd")
    found = check(tmp_path, body)
    assert (found.ok, found.detail) == (True, "something odd"), "Pillow decodes it"

    def fails(*_: object, **__: object) -> None:
        raise OSError("broken data stream when reading image file")

    monkeypatch.setattr("d4c_images.decode.picture_reader.Image.open", fails)
    found = check(tmp_path, body)
    assert (found.ok, found.reason) == (False, DecodeFault.TRUNCATED)
