"""TIFFs of every packing and layout, whole, cut and damaged; odd directories and side pictures; which picture is the main one."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import tifffile
from PIL import Image

from d4c_images.decode import Decoder, tiff, tiff_codes, tiff_data, tiff_fax, tiff_pages
from d4c_images.decode.memory_budget import MemoryBudget
from d4c_images.model import ErrorType, Status
from d4c_images.policy.judge import DecodeFault, DecodeResult, judge_decoded
from tests.decode.test_decode import check, sniffed
from tests.publishers import pictures
from tests.support import tiffs
from tests.support.counted_budget import CountedBudget
from tests.support.sweep import crossed, thinned
from tests.support.tiffs import FAXES, PACKINGS, File, Layout, Pixels, Written, bitonal, saved, scene, written

KEPT = (Status.SUCCESS, ErrorType.PARTLY_READ)
AGAIN = (Status.FAILED_TRANSIENT, ErrorType.TRUNCATED)
DEFLATES = ("deflate", "old deflate")
FILES = [File(*options) for options in itertools.product("<>", (False, True), (False, True), (False, True))]
FILES = [file for file in FILES if not (file.order == ">" and file.is_big)]  # which Pillow does not read
SOME_FILES = FILES[::5]  # each option is on in some of them, and off in others
LAYOUTS = {
    "strips": Layout(rows=16), "one strip": Layout(rows=80), "tiles": Layout(rows=32, tile_width=32),
    "planes": Layout(rows=16, in_planes=True), "planes of tiles": Layout(rows=32, tile_width=32, in_planes=True),
}  # fmt: skip


NO_ROOM = Decoder(room=MemoryBudget(10_000, tiff.PIECE_MEMORY_BYTES))  # in which a picture is decoded piece by piece


def layouts(packing: str) -> dict[str, Layout]:
    only_whole = packing in FAXES or packing == "jpeg"
    return {name: replace(layout, packing=packing) for name, layout in LAYOUTS.items() if not (layout.in_planes and only_whole)}


def pixels_for(packing: str) -> Pixels:
    return bitonal(scene()) if packing in FAXES else scene()


def told(tmp_path: Path, body: bytes, of: bytes | None = None) -> tuple[Status, ErrorType | None]:
    """What is written down of a body whose head has been looked at, as every body's is."""
    verdict = judge_decoded(check(tmp_path, body, of=of))
    return (*AGAIN,) if sniffed(body).truncated else (verdict.status, verdict.error_type)


def sample(packing: str, name: str, n_pages: int = 1, *, number: int = 0) -> Written:
    return written([(pixels_for(packing), layouts(packing)[name])] * n_pages, FILES[number % len(FILES)])


CASES = [(packing, name) for packing in PACKINGS for name in layouts(packing)]
SOME_CASES = thinned([pytest.param(*case) for case in CASES], 3)


@pytest.mark.parametrize(("packing", "name"), SOME_CASES)
@pytest.mark.parametrize("is_tight", thinned([True, False], 2))
@pytest.mark.parametrize("files", [SOME_FILES, pytest.param(FILES, marks=pytest.mark.slow)], ids=["some", "all"])
def test_a_whole_tiff_is_read_to_its_end(tmp_path: Path, packing: str, name: str, is_tight: bool, files: list[File]) -> None:
    decoder = Decoder(room=MemoryBudget(tiff.PIECE_MEMORY_BYTES, tiff.PIECE_MEMORY_BYTES)) if is_tight else Decoder()
    for number, file in enumerate(files):
        body = sample(packing, name, 1 + number % 2, number=number).body
        assert check(tmp_path, body, decoder) == DecodeResult(True, None, None, 96, 80, "image/tiff", "tif"), file


def cuts_that_pass(tmp_path: Path, case: tuple[str, str], percents: range, files: list[File]) -> list[tuple[int, File]]:
    passed = []
    for number, file in enumerate(files):
        body = written([(pixels_for(case[0]), layouts(case[0])[case[1]])] * (1 + number % 3), file).body
        ends = {len(body) * percent // 100 for percent in percents} | {len(body) - 1, len(body) - 5}
        passed += [(end, file) for end in ends if told(tmp_path, body[:end], of=body) != AGAIN]
    return passed


@pytest.mark.parametrize(("packing", "name"), SOME_CASES)
def test_a_cut_tiff_is_to_be_fetched_again(tmp_path: Path, packing: str, name: str) -> None:
    assert cuts_that_pass(tmp_path, (packing, name), range(7, 100, 23), SOME_FILES) == []


@pytest.mark.slow
@pytest.mark.parametrize(("packing", "name"), CASES)
def test_a_tiff_that_is_cut_at_any_percent_is_to_be_fetched_again(tmp_path: Path, packing: str, name: str) -> None:
    assert cuts_that_pass(tmp_path, (packing, name), range(1, 100), FILES) == []


def with_zeros(body: bytes, at: int, n: int) -> bytes:
    return body[:at] + bytes(n) + body[at + n :]


def with_swap(body: bytes, at: int, n: int) -> bytes:
    return body[:at] + body[at + n : at + 2 * n] + body[at : at + n] + body[at + 2 * n :]


def damaged(sheet: Written, n_places: int) -> list[bytes]:
    """Runs of 50 zeros, and blocks of 32 bytes exchanged with their neighbours, evenly over the data of the first picture."""
    start, end = sheet.data[0][0], sheet.data[-1][1]
    places = [start + (end - start - 64) * n // n_places for n in range(n_places)]
    return [make(sheet.body, at, n) for at in places for make, n in ((with_zeros, 50), (with_swap, 32))]


@pytest.mark.parametrize(("packing", "name"), thinned([pytest.param(*case) for case in CASES if case[0] in (*DEFLATES, "lzma")], 3))
def test_damage_that_a_checksum_shows_is_to_be_fetched_again(tmp_path: Path, packing: str, name: str) -> None:
    sheet = sample(packing, name)
    for body in damaged(sheet, 20):
        assert body == sheet.body or told(tmp_path, body) == AGAIN
    for body in damaged(sheet, 4):
        assert body == sheet.body or not check(tmp_path, body, NO_ROOM).ok


@pytest.mark.parametrize(("packing", "name"), [case for case in CASES if case[0] == "lzw"])
def test_damage_to_lzw_shows_in_its_codes(tmp_path: Path, packing: str, name: str) -> None:
    sheet = sample(packing, name)
    bodies = [body for body in damaged(sheet, 20) if body != sheet.body]
    assert sum(told(tmp_path, body) != AGAIN for body in bodies) <= len(bodies) // 20  # there is no checksum


@pytest.mark.parametrize("name", ["strips", "one strip", "tiles"])
def test_a_torn_deflate_tiff_is_to_be_fetched_again(tmp_path: Path, name: str) -> None:
    """libtiff makes a picture of it all the same."""
    sheet = sample("deflate", name)
    start, end = sheet.data[0][0], sheet.data[-1][1]
    for n in range(60):
        at = start + (end - start - 50) * n // 60
        assert told(tmp_path, with_zeros(sheet.body, at, 50)) == AGAIN, n


@pytest.mark.parametrize("packing", ["lzw", "modified huffman", "group 4"])
def test_zeros_in_codes_are_to_be_fetched_again(tmp_path: Path, packing: str) -> None:
    sheet = sample(packing, "one strip")
    start, end = sheet.data[0]
    for n in range(20):
        body = with_zeros(sheet.body, start + (end - start - 50) * n // 20, 50)
        assert body == sheet.body or told(tmp_path, body) == AGAIN, n


def test_a_jpeg_in_a_tiff_is_checked_as_any_jpeg(tmp_path: Path) -> None:
    sheet = sample("jpeg", "strips")
    start, end = sheet.data[2]
    for cut in (100, (end - start) // 2, end - start - 2):
        assert told(tmp_path, with_zeros(sheet.body, start + cut, end - start - cut)) == AGAIN, cut
    n_passed = sum(told(tmp_path, with_zeros(sheet.body, start + 350 + 20 * n, 50)) != AGAIN for n in range(20))
    assert n_passed <= 10  # whose wrong bits are codes as well


def test_directories_that_lost_bytes_are_to_be_fetched_again(tmp_path: Path) -> None:
    for number, file in enumerate(FILES[:3]):
        sheet = sample("deflate", "strips", 3, number=number)
        for n, (start, end) in enumerate(sheet.directories):
            for at in range(start, start + 150, 15):
                found = told(tmp_path, with_zeros(sheet.body, at, min(50, end - at)))
                assert found == AGAIN or (n > 0 and found == KEPT), (file, n, at)


def test_a_strip_that_is_shorter_than_its_rows_is_to_be_fetched_again(tmp_path: Path) -> None:
    for sizes in ((96 * 3 * 16,) * 4 + (96 * 3 * 16 - 1,), (96 * 3 * 16,) * 4 + (0,)):
        assert told(tmp_path, written([(scene(), Layout(tags=((279, 4, sizes),)))]).body) == AGAIN


def test_a_further_page_without_pixels_does_not_cost_the_main_one(tmp_path: Path) -> None:
    for tag in (256, 257, 258, 278):
        nothing = (scene(20, 20), Layout(tags=((tag, 3, (0,)),)))
        for file in FILES:
            body = written([(scene(), Layout()), nothing], file).body
            assert told(tmp_path, body) == KEPT
            assert told(tmp_path, body[:-10], of=body) == AGAIN
        assert told(tmp_path, written([nothing]).body) == AGAIN


# pages


def lzw_pages() -> bytes:
    pages = [Image.fromarray(scene(seed=seed)) for seed in ("one", "two", "three")]
    return saved(pages[0], "TIFF", compression="tiff_lzw", save_all=True, append_images=pages[1:])


def first_directory_end(body: bytes) -> int:
    with Image.open(io.BytesIO(body)) as picture:
        at, n_tags = picture._frame_pos[0], len(picture.tag_v2)
        values = max(values[0] for tag, values in picture.tag_v2.items() if tag in (273,))
    assert values < at
    return at + 2 + 12 * n_tags + 4


def test_pages_that_lie_behind_the_end_were_cut_off(tmp_path: Path) -> None:
    body = lzw_pages()
    end = first_directory_end(body)
    assert check(tmp_path, body).ok
    for lost in range(0, len(body) - end, len(body) // 20):
        cut = body[: end + lost]
        assert told(tmp_path, cut, of=body) == AGAIN
    assert told(tmp_path, body[:end]) == AGAIN


def test_a_deflate_tiff_that_lacks_its_last_bytes_was_cut_off(tmp_path: Path) -> None:
    for file in FILES:
        body = written([(scene(), Layout("deflate", 80))], replace(file, directories_first=True)).body
        for lost in (1, 2, 4, 16):
            assert told(tmp_path, body[:-lost], of=body) == AGAIN


GREY_WITH_ALPHA = (scene(20, 20)[:, :, :2].astype(numpy.uint16) * 257, Layout(tags=((262, 3, (1,)), (338, 3, (2,)))))
FLOAT = (scene(20, 20).astype(numpy.float32) / 255, Layout("lzw"))


@pytest.mark.parametrize("side", [GREY_WITH_ALPHA, FLOAT])
@pytest.mark.parametrize("file", thinned(FILES, 5))
def test_a_side_picture_that_nobody_can_decode_does_not_cost_the_main_one(
    tmp_path: Path, side: tuple[Pixels, Layout], file: File
) -> None:
    body = written([(scene(), Layout("deflate")), side, (scene(20, 20), Layout())], file).body
    found = check(tmp_path, body)
    assert (found.width, found.height) == (96, 80)
    assert (judge_decoded(found).status, judge_decoded(found).error_type) == KEPT
    assert str(found.detail).startswith("not decoded: 20 x 20 pixels of")
    for end in range(8, len(body), 523):
        assert told(tmp_path, body[:end], of=body) == AGAIN


@pytest.mark.parametrize("next_at", [0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0x77777777, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_an_impossible_next_directory_does_not_cost_the_picture(tmp_path: Path, next_at: int, order: str) -> None:
    sheet = written([(scene(), Layout())], File(order))
    body = bytearray(sheet.body)
    struct.pack_into(order + "I", body, sheet.next_at[0], next_at)
    found = check(tmp_path, bytes(body))
    assert (found.ok, found.reason, found.width, found.height) == (True, DecodeFault.UNREAD, 96, 80)
    assert "directory" in str(found.detail)
    assert told(tmp_path, bytes(body)) == KEPT


def test_directories_may_lead_back_or_into_picture_data(tmp_path: Path) -> None:
    sheet = sample("plain", "strips", 3)
    for place in (sheet.directories[0][0], sheet.directories[1][0], sheet.directories[2][0], sheet.data[1][0] + 20):
        body = bytearray(sheet.body)
        struct.pack_into("<I", body, sheet.next_at[2], place)
        assert told(tmp_path, bytes(body)) == KEPT


def test_directories_beyond_reason_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = sample("plain", "strips", 5).body
    assert told(tmp_path, body) == (Status.SUCCESS, None)
    monkeypatch.setattr(tiff_pages, "_MOST_DIRECTORIES", 2)
    found = check(tmp_path, body)
    assert (found.ok, found.reason) == (True, DecodeFault.UNREAD)
    assert "more directories, strips or tiles than are looked at" in str(found.detail)


def test_a_main_picture_that_can_never_have_been_there_is_damage(tmp_path: Path) -> None:
    body = written([(scene(), Layout("plain", 80, tags=((273, 4, (0xFFFFFF00,)),)))]).body
    found = check(tmp_path, body, of=sample("plain", "one strip").body)
    assert (found.ok, found.reason) == (False, DecodeFault.TRUNCATED)
    assert "its picture would lie far beyond the end" in str(found.detail)


def test_a_next_directory_that_may_have_been_cut_off_was(tmp_path: Path) -> None:
    sheet = sample("plain", "strips")
    for beyond in (0, 1, 2, 1000, 20 * len(sheet.body), 900 * len(sheet.body)):
        body = bytearray(sheet.body)
        struct.pack_into("<I", body, sheet.next_at[0], len(sheet.body) + beyond)
        assert told(tmp_path, bytes(body)) == AGAIN


def test_metadata_that_lead_nowhere_do_not_cost_the_picture(tmp_path: Path) -> None:
    for tag in (330, 34665, 34853, 700, 37500):
        for kind, n, at in ((4, 1, 0xFFFFFFF0), (4, 1000, 0xFFFFFFF0), (4, 1, 12)):
            sheet = written([(scene(), Layout(tags=((tag, 4, (7,)),)))])
            body = bytearray(sheet.body)
            entry = body.index(struct.pack("<HH", tag, 4), sheet.directories[0][0])
            struct.pack_into("<HHII", body, entry, tag, kind, n, at)
            assert told(tmp_path, bytes(body))[0] is Status.SUCCESS, (tag, n, at)


def test_without_its_colours_or_tables_the_picture_is_to_be_fetched_again(tmp_path: Path) -> None:
    for tag in (258, 320, 339, 347, 530):
        sheet = written([(scene(), Layout(tags=((tag, 4, (7,)),)))])
        body = bytearray(sheet.body)
        entry = body.index(struct.pack("<HH", tag, 4), sheet.directories[0][0])
        struct.pack_into("<HHII", body, entry, tag, 3, 768, 0xFFFFFFF0)
        assert told(tmp_path, bytes(body)) == AGAIN, tag


def test_a_tag_of_no_type_is_not_passed_over(tmp_path: Path) -> None:
    """By libtiff neither: but a picture whose data are checked is not always decoded."""
    sheet = written([(scene()[:, :, :1], Layout("packbits", rows=16))])
    body = bytearray(sheet.body)
    entry = body.index(struct.pack("<HH", 277, 3), sheet.directories[0][0])
    struct.pack_into("<H", body, entry + 2, 131)
    for decoder in (Decoder(), NO_ROOM):
        assert check(tmp_path, bytes(body), decoder).reason is DecodeFault.UNREAD


def test_a_jpeg_whose_header_is_damaged_is_not_taken_for_read(tmp_path: Path) -> None:
    sheet = sample("jpeg", "one strip")
    start = sheet.data[0][0]
    body = with_zeros(sheet.body, start + sheet.body[start:].index(b"\xff\xc0") + 9, 10)
    for decoder in (Decoder(), NO_ROOM):
        assert not check(tmp_path, body, decoder).ok


# which is the main one

FULL, REDUCED, MASK = ((254, 4, (0,)),), ((254, 4, (1,)),), ((254, 4, (4,)),)


@pytest.mark.parametrize(("file", "packing"), crossed(FILES, ["plain", "deflate", "lzw", "jpeg"]))
def test_a_thumbnail_or_mask_is_not_the_main_picture(tmp_path: Path, packing: str, file: File) -> None:
    for before in (REDUCED, MASK, ((255, 3, (2,)),)):
        thumbnail = (scene(24, 20), Layout(tags=before))
        body = written([thumbnail, (scene(), Layout(packing, tags=FULL)), (scene(200, 100), Layout())], file).body
        assert check(tmp_path, body) == DecodeResult(True, None, None, 96, 80, "image/tiff", "tif")
    odd = (GREY_WITH_ALPHA[0], replace(GREY_WITH_ALPHA[1], tags=(*GREY_WITH_ALPHA[1].tags, *REDUCED)))
    found = check(tmp_path, written([odd, (scene(), Layout(packing))], file).body)
    assert (found.ok, found.reason, found.width, found.height) == (True, DecodeFault.UNREAD, 96, 80)


def test_if_all_are_reduced_the_largest_is_the_main_picture(tmp_path: Path) -> None:
    body = written([(scene(24, 20), Layout(tags=REDUCED)), (scene(), Layout(tags=REDUCED))]).body
    assert check(tmp_path, body) == DecodeResult(True, None, None, 96, 80, "image/tiff", "tif")


def test_the_main_picture_may_be_in_a_sub_directory(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(scene(24, 20), photometric="rgb", subfiletype=1, subifds=1)
        writer.write(scene(), photometric="rgb", compression="zlib", rowsperstrip=16)
    body = out.getvalue()
    assert check(tmp_path, body) == DecodeResult(True, None, None, 96, 80, "image/tiff", "tif")
    for end in range(8, len(body), 511):
        assert told(tmp_path, body[:end], of=body) == AGAIN


def test_a_smaller_one_is_made_of_the_main_picture(tmp_path: Path) -> None:
    path = tmp_path / "sheet.tif"
    path.write_bytes(written([(scene(24, 20), Layout(tags=REDUCED)), (scene(), Layout("deflate"))]).body)
    made = Decoder(max_edge=48).reduce(path, bytes(32), "image/tiff")
    assert made is not None
    assert (made.width, made.height) == (48, 40)


# what nobody here can decode

ODD: dict[str, tuple[Pixels, Layout]] = {
    "RGB of floating point": (scene().astype(numpy.float32), Layout()),
    "RGB of floating point, LZW": (scene().astype(numpy.float32), Layout("lzw")),
    "RGB of floating point, deflate in tiles": (scene().astype(numpy.float32), Layout("deflate", 32, 32)),
    "RGB of floating point, LZMA": (scene().astype(numpy.float32), Layout("lzma")),
    "grey with alpha of 16 bits": (scene()[:, :, :2].astype(numpy.uint16), Layout("zstd", tags=((262, 3, (1,)), (338, 3, (2,))))),
    "signed RGB": (scene().astype(numpy.int16), Layout("packbits")),
    "floating point of 64 bits": (scene()[:, :, :1].astype(numpy.float64), Layout("deflate")),
    "nine samples": (numpy.concatenate([scene()] * 3, 2), Layout("lzw", tags=((338, 3, (0,) * 6),))),
    "a packing that nobody knows": (scene(), Layout(tags=((259, 3, (50002,)),))),
    "JPEG 2000": (scene(), Layout(tags=((259, 3, (34712,)),))),
    "no photometric interpretation that is known": (scene(), Layout("deflate", tags=((262, 3, (4711,)),))),
}


@pytest.mark.parametrize("name", thinned(ODD, 3))
def test_what_nobody_can_decode_is_kept_and_says_so(tmp_path: Path, name: str) -> None:
    for file in FILES[::5]:
        sheet = written([ODD[name]], file)
        found = check(tmp_path, sheet.body)
        assert (found.ok, found.reason, found.width, found.height) == (True, DecodeFault.UNREAD, 96, 80), found
        detail = str(found.detail)
        assert detail.startswith("not decoded: 96 x 80 pixels of")
        assert not any(sign in detail for sign in ("Error", "<", "0x", str(tmp_path), "unknown pixel mode"))
        assert told(tmp_path, sheet.body) == KEPT
        for end in range(8, len(sheet.body), len(sheet.body) // 9):
            assert told(tmp_path, sheet.body[:end], of=sheet.body) == AGAIN


@pytest.mark.parametrize(
    "name", ["RGB of floating point, LZW", "RGB of floating point, LZMA", "floating point of 64 bits", "nine samples"]
)
def test_also_what_nobody_can_decode_is_unpacked(tmp_path: Path, name: str) -> None:
    sheet = written([ODD[name]])
    assert "were read to their end" in str(check(tmp_path, sheet.body).detail)
    start, end = sheet.data[1]
    assert told(tmp_path, with_zeros(sheet.body, start + (end - start) // 3, 50)) == AGAIN


def test_what_nobody_can_decode_is_unpacked_in_memory_that_was_asked_for(tmp_path: Path) -> None:
    pixels, layout = ODD["RGB of floating point, LZW"]
    room = CountedBudget(100_000_000, 100_000_000)
    check(tmp_path, written([ODD["RGB of floating point, LZW"]]).body, Decoder(room=room))
    assert max(room.taken_bytes) >= 3 * pixels[: layout.rows].nbytes
    too_small = Decoder(room=MemoryBudget(max(room.taken_bytes) - 1, max(room.taken_bytes) - 1))
    assert "were read to their end" not in str(check(tmp_path, written([ODD["RGB of floating point, LZW"]]).body, too_small).detail)


@pytest.mark.parametrize("tag", [273, 279])
def test_a_picture_whose_place_is_no_number_is_none(tmp_path: Path, tag: int) -> None:
    """Signed where a TIFF has unsigned numbers only (TIFF 6.0, section 8)."""
    body = written([(scene(), Layout("lzw"))]).body
    directory = int.from_bytes(body[4:8], "little")
    at = next(at for at in range(directory + 2, len(body), 12) if body[at : at + 2] == tag.to_bytes(2, "little"))
    found = check(tmp_path, body[: at + 2] + b"\x09\0" + body[at + 4 :], of=body)
    assert (found.ok, found.reason) == (False, DecodeFault.TRUNCATED), found


def test_webp_in_a_tiff_is_decoded_piece_by_piece(tmp_path: Path) -> None:
    tiles = [saved(Image.fromarray(scene(seed=seed)), "WEBP") for seed in ("one", "two")]
    data = b"".join(tile + bytes(len(tile) % 2) for tile in tiles)
    places = (8, 8 + len(tiles[0]) + len(tiles[0]) % 2)
    tags = {
        256: (3, (96,)), 257: (3, (160,)), 258: (3, (8, 8, 8)), 259: (3, (50001,)), 262: (3, (2,)), 277: (3, (3,)),
        273: (4, places), 278: (3, (80,)), 279: (4, tuple(map(len, tiles))),
    }  # fmt: skip
    directory, _ = tiffs.directory_of(tags, 8 + len(data), File())
    body = struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory
    found = check(tmp_path, body)
    assert (found.ok, found.reason, found.width, found.height) == (True, DecodeFault.UNREAD, 96, 160)
    assert "were read to their end" in str(found.detail)
    assert told(tmp_path, with_zeros(body, places[1] + 10, 200)) == AGAIN


def test_a_stored_length_beyond_the_end_is_that_of_a_cut(tmp_path: Path) -> None:
    for packing in ("plain", *DEFLATES, "jpeg", "lzw"):
        one = written([(pixels_for(packing), Layout(packing, 80))], File(directories_first=True))
        too_large = Layout(packing, 80, tags=((279, 4, (one.data[0][1] - one.data[0][0] + 1000,)),))
        assert told(tmp_path, written([(pixels_for(packing), too_large)], File(directories_first=True)).body) == AGAIN


def test_only_data_without_packing_need_no_stored_length(tmp_path: Path) -> None:
    for packing in ("plain", "deflate", "packbits"):
        body = bytearray(sample(packing, "one strip").body)
        struct.pack_into("<H", body, body.index(struct.pack("<HH", 279, 4)), 65000)
        assert told(tmp_path, bytes(body)) == ((Status.SUCCESS, None) if packing == "plain" else AGAIN)


def test_a_jpeg_larger_than_its_strip_is_damage(tmp_path: Path) -> None:
    sheet = sample("jpeg", "strips")
    for at, value in ((5, 0x1010), (7, 0x2060)):  # rows, columns
        body = bytearray(sheet.body)
        struct.pack_into(">H", body, sheet.body.index(b"\xff\xc0", sheet.data[1][0]) + at, value)
        assert told(tmp_path, bytes(body)) == AGAIN


@pytest.mark.parametrize("n", [1, 2, 7])
def test_pieces_are_wrapped_as_the_rows_of_a_grey_picture(n: int) -> None:
    rows = [bytes(range(at, at + 50)) for at in range(n)]
    for number, pack in ((1, bytes), (8, zlib.compress)):
        with Image.open(io.BytesIO(tiff_data._grey(number, 50, [pack(row) for row in rows]))) as picture:
            assert (picture.size, picture.tobytes()) == ((50, n), b"".join(rows))


def test_strips_may_share_their_data(tmp_path: Path) -> None:
    body = pictures.tiff_large(8000, 20)  # more than 5,000 bytes for each that is stored
    assert check(tmp_path, body).reason is None
    assert told(tmp_path, with_zeros(body, 3000, 50)) == AGAIN


def test_a_picture_larger_than_its_data_can_be_is_to_be_fetched_again(tmp_path: Path) -> None:
    for packing in ("deflate", "lzw", "packbits", "jpeg"):
        size = ((256, 4, (30_000,)), (257, 4, (30_000,)), (278, 4, (30_000,)))
        assert told(tmp_path, written([(pixels_for(packing), Layout(packing, 80, tags=size))]).body) == AGAIN
    assert told(tmp_path, written([(bitonal(scene()), Layout("group 4", 80, tags=((258, 3, (9,)),)))]).body) == AGAIN


@pytest.mark.parametrize("orientation", thinned(range(1, 9), 4))
def test_width_and_height_are_those_of_the_stored_picture_in_every_format(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(scene())
    bodies = [saved(picture, form, exif=exif) for form in ("JPEG", "PNG", "WEBP")]
    for packing, file in itertools.product(("plain", "deflate", "lzw", "jpeg"), FILES):
        bodies.append(written([(scene(), Layout(packing, tags=((274, 3, (orientation,)),)))], file).body)
    for body in bodies:
        found = check(tmp_path, body)
        assert (found.ok, found.reason, found.width, found.height) == (True, None, 96, 80)


def test_what_takes_too_much_time_or_memory_is_bounded(tmp_path: Path) -> None:
    sheet = sample("deflate", "strips")
    decoder = Decoder(max_pixels=96 * 80)
    found = check(tmp_path, written([(scene(), Layout()), (scene(), Layout())]).body, decoder)
    assert (found.ok, found.detail) == (True, "not decoded: what follows the first 1 pictures")
    assert check(tmp_path, sheet.body, Decoder(max_pixels=96 * 80 - 1)).reason is DecodeFault.TOO_MANY_PIXELS
    deep = written([(scene().astype(numpy.float64), Layout("deflate"))]).body
    found = check(tmp_path, deep, decoder)
    assert (found.ok, found.reason) == (True, DecodeFault.UNREAD)
    assert "too much" in str(found.detail)
    stored = written([(scene(), Layout("deflate"))]).data[0]
    n = 16_000
    shared = ((257, 4, (n,)), (278, 4, (1,)), (273, 4, (stored[0],) * n), (279, 4, (5000,) * n))
    found = check(tmp_path, written([(scene(), Layout("deflate", tags=shared))]).body)
    assert (found.ok, found.reason) == (True, DecodeFault.UNREAD)
    assert "too much" in str(found.detail)


# counting what codes hold


def lzw_strips() -> dict[str, tuple[bytes, int]]:
    """Packed data and how many bytes they hold."""
    random = numpy.random.default_rng(7)
    made = {
        "nothing but zeros": bytes(300_000),
        "noise": random.integers(0, 256, 60_000, numpy.uint8).tobytes(),
        "few values": random.integers(0, 3, 200_000, numpy.uint8).tobytes(),
        "a picture": scene(400, 300).tobytes(),
        "one byte": b"a",
    }
    rows = {name: Image.frombytes("L", (len(data), 1), data) for name, data in made.items()}
    return {name: (tiffs.strip_of(row, "tiff_lzw"), row.width) for name, row in rows.items()}


@pytest.mark.parametrize("name", ["nothing but zeros", "noise", "few values", "a picture", "one byte"])
def test_lzw_codes_are_counted(name: str) -> None:
    packed, n = lzw_strips()[name]
    assert tiff_codes.lzw(packed, 1 << 20) == tiff_codes.Counted(n, True)
    without_end = tiff_codes.lzw(packed[:-3], 1 << 20)
    assert without_end is not None
    assert not without_end.is_ended
    assert without_end.n_bytes < n or name == "one byte"
    stopped = tiff_codes.lzw(packed, 1000)
    assert stopped is not None
    assert stopped.n_bytes == n or stopped.n_bytes > 1000


def test_codes_that_are_none_are_found() -> None:
    assert tiff_codes.lzw(bytes.fromhex("80503fe0"), 100) is not None  # clear, 65, 508, ...
    assert tiff_codes.lzw(bytes.fromhex("8010ff80"), 100) == tiff_codes.Counted(1, False, False)  # clear, 32, 511
    assert tiff_codes.lzw(b"\0\1", 100) is None
    assert tiff_codes.lzw(b"", 100) == tiff_codes.Counted(0, False)


def test_pack_bits_are_counted() -> None:
    packed = bytes((2, 1, 2, 3, 0xFE, 9, 0x80, 0, 7))  # three bytes, three times 9, nothing, one byte
    assert tiff_codes.pack_bits(packed, 7) == tiff_codes.Counted(7, True)
    assert tiff_codes.pack_bits(packed + bytes(2), 7) == tiff_codes.Counted(7, True)
    assert tiff_codes.pack_bits(packed + bytes(9), 7) == tiff_codes.Counted(7, False)
    assert tiff_codes.pack_bits(packed[:-1], 7).is_ended is False


def sheet_of_runs(width: int = 6000, height: int = 40) -> Image.Image:
    """In which every length of a run occurs that has a code of its own."""
    random = numpy.random.default_rng(11)
    lengths = [*range(64), *range(64, 2561, 64)]
    rows = numpy.zeros((height, width), bool)
    for colour in (False, True):
        for row in rows[colour::2]:
            at, is_black = 0, colour
            for length in random.permutation(lengths):
                row[at : at + length] = is_black
                at, is_black = at + int(length), not is_black
    rows[5], rows[6], rows[8, 3:] = False, True, rows[7, :-3]
    return Image.fromarray(rows)


@pytest.mark.parametrize(("packing", "options"), [("tiff_ccitt", {}), ("group3", {}), ("group3", {292: 1}), ("group4", {})])
@pytest.mark.parametrize("fill_order", [1, 2])
def test_fax_codes_are_walked_through(packing: str, options: dict[int, int], fill_order: int) -> None:
    picture = sheet_of_runs()
    body = saved(picture, "TIFF", compression=packing, tiffinfo=options | {266: fill_order}, strip_size=1 << 28)
    with Image.open(io.BytesIO(body)) as stored:
        at, size = stored.tag_v2[273][0], stored.tag_v2[279][0]
        written_order = stored.tag_v2.get(266, 1)
    kind = tiff_fax.FaxPacking(6000, packing == "group4", packing == "group3", bool(options), written_order == 2)
    packed = body[at : at + size]
    tiff_fax.check(packed, kind, 40, 40)
    tiff_fax.check(packed, kind, 39, 40)
    for wrong in (packed[: size // 2], packed[: size // 2] + bytes(size - size // 2), replaced(packed, size // 3)):
        with pytest.raises((tiff_fax.Wrong, tiff_fax.Unknown)):
            tiff_fax.check(wrong, kind, 40, 40)
    with pytest.raises(tiff_fax.Wrong):
        tiff_fax.check(packed, replace(kind, width=5000), 40, 40)


def replaced(packed: bytes, at: int) -> bytes:
    return packed[:at] + packed[at + 40 : at + 80] + packed[at : at + 40] + packed[at + 80 :]
