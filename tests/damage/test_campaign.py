"""The campaign of damage: its own readers see what a format shows and nothing else, it judges rightly, a small one ends well."""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import sys
import zlib
from typing import Any

import pytest
from PIL import Image

from tests.damage import harm, tiffs, truth, truth_jpeg
from tests.damage.cases import FAMILIES, FORMATS, ODDS, Case, Scale, Truth, family_cases
from tests.damage.judging import Fate, Fault, Note, judged
from tests.damage.pngs import chunk, with_chunk
from tests.damage.seen import Broken
from tests.damage.truth_png import SIGNATURE
from tests.damage.whole import Whole, saved, scene
from tests.support.program import PROJECT

pytestmark = pytest.mark.slow  # 7 s of readers that only the campaign goes by

SEED = 11
MODES = ("fresh", "fresh-small", "adopted", "adopted-small", "little", "little-small")


def made(family: str, seed: int = SEED) -> bytes:
    return FAMILIES[family](random.Random(f"{seed} {family}")).body


# The readers


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_wrong_with_a_whole_picture(family: str) -> None:
    found = truth.seen(family.partition("/")[0], made(family))
    assert (found.picture, found.side, found.trace) == (None, None, None)


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_is_wrong_with_what_is_odd_and_harmless(form: str) -> None:
    family = next(name for name in FAMILIES if name.startswith(f"{form}/"))
    for name, odd in ODDS[form](random.Random(SEED), made(family)):
        found = truth.seen(form, odd.body)
        assert found.picture is None, name
        assert found.side is None or odd.is_shown or odd.is_kept, name


@pytest.mark.parametrize("family", [name for name in FAMILIES if not name.startswith(("tiff/kind-", "png/"))])
def test_a_reader_sees_a_picture_that_is_cut(family: str) -> None:
    """Also where no length of the file's own header says so."""
    body, form = made(family), family.partition("/")[0]
    for share in (0.3, 0.6, 0.9):
        found = truth.seen(form, body[: int(len(body) * share)])
        assert found.picture or found.side or family == "avif/film", share


def test_a_jpeg_shows_what_its_codes_are() -> None:
    body = made("jpeg/grey")
    start = body.index(b"\xff\xda")
    middle = start + (len(body) - start) // 2
    assert truth.seen("jpeg", body[:middle] + b"\xff\xd9").picture == "picture data end too early"
    assert truth.seen("jpeg", body[:-2]).picture == "no end of image"
    strange = body[:middle] + b"\xff\x00" * 20 + body[middle:]
    with pytest.raises(Broken, match="a Huffman code that does not exist"):
        truth_jpeg.read(strange)
    assert truth.seen("jpeg", body[:middle] + b"\xff\xd0" + body[middle:]).picture == "a restart marker that does not belong there"
    assert truth.seen("jpeg", body[:-2] + bytes(5) + body[-2:]).trace == "bytes left over"


def test_a_progressive_jpeg_is_read_scan_by_scan() -> None:
    body = made("jpeg/progressive")
    scans = [at for at in range(len(body)) if body.startswith(b"\xff\xda", at)]
    assert len(scans) > 5
    assert truth.seen("jpeg", body[: scans[-1]] + b"\xff\xd9").trace == "coefficients were not sent"
    with pytest.raises(Broken):
        truth_jpeg.read(body[: scans[3] - 40] + body[scans[3] :])


def test_restart_markers_have_their_order() -> None:
    body = made("jpeg/restarts")
    first = body.index(b"\xff\xd1", body.index(b"\xff\xda"))
    second = body.index(b"\xff\xd2", first)
    assert truth.seen("jpeg", body[:first] + body[second:]).picture is not None


def test_a_further_picture_of_a_phone_is_no_part_of_the_first() -> None:
    body = made("jpeg/phone")
    found = truth.seen("jpeg", body[: len(body) * 9 // 10])
    assert (found.picture, found.side) == (None, "a further picture: no end of image")


def test_a_png_shows_every_byte_before_its_end() -> None:
    dice, body = random.Random(SEED), made("png/rgb-8")
    for at in dice.sample(range(len(body)), 200):
        assert truth.seen("png", body[:at] + bytes((body[at] ^ 1 << dice.randrange(8),)) + body[at + 1 :]).picture, at
    assert truth.seen("png", body[:-1]).picture
    assert truth.seen("png", with_chunk(body, chunk(b"tEXt", b"Title\0a", 1))).side == "the checksum of b'tEXt'"
    short = zlib.compress(bytes(40))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 0, 0, 0, 0))
    assert truth.seen("png", SIGNATURE + header + chunk(b"IDAT", short) + chunk(b"IEND", b"")).picture == "too few picture data"


def test_deflate_in_a_tiff_shows_a_run_of_zeros() -> None:
    """That libtiff passes over."""
    page = tiffs.page(random.Random(SEED), tiffs.KINDS["rgb"], "deflate", "one-strip")
    body = tiffs.file_of([page], tiffs.Shape())
    middle = len(body) // 2
    found = truth.seen("tiff", body[:middle] + bytes(64) + body[middle + 64 :])
    assert found.picture is not None
    assert "incorrect data check" in found.picture or "invalid" in found.picture


SHAPES = [tiffs.Shape(order, is_big, where) for order in "<>" for is_big in (False, True) for where in tiffs.ARRANGEMENTS]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.told)
def test_further_pages_of_a_tiff_are_no_part_of_its_first(shape: tiffs.Shape) -> None:
    pages = [tiffs.page(random.Random(n), tiffs.KINDS["rgb"], "deflate", "strips", (40, 30)) for n in range(2)]
    body = bytearray(tiffs.file_of(pages, shape))
    at = body.index(pages[1].pieces[0]) + 20
    body[at : at + 30] = bytes(30)
    found = truth.seen("tiff", bytes(body))
    assert (found.picture, found.side is None) == (None, False)


@pytest.mark.parametrize(("packing", "layout"), [(packing, layout) for packing in tiffs.PACKINGS for layout in tiffs.LAYOUTS])
def test_the_packings_of_our_own_tiffs_are_those_of_libtiff(packing: str, layout: str) -> None:
    """Pillow, whose codecs are libtiff's, sees the same picture as without a packing; but for JPEG, which loses some of it."""
    n_compared = 0
    for number in range(8):
        pages = [tiffs.page(random.Random(number), tiffs.KINDS["rgb"], one, layout, (70, 50)) for one in (packing, "plain")]
        found = []
        for page in pages:
            with Image.open(io.BytesIO(tiffs.file_of([page], tiffs.Shape()))) as picture:
                found.append(picture.tobytes())
        if 317 not in pages[0].tags and packing != "jpeg":  # differences of pixels are other pixels
            assert found[0] == found[1]
            n_compared += 1
    assert n_compared or packing == "jpeg"


def test_a_gif_shows_what_its_codes_are() -> None:
    body = made("gif/plain")
    assert truth.seen("gif", body[:-1]).trace == "no trailer"
    assert truth.seen("gif", body[:-2]).picture == "a block goes beyond the end"
    film = made("gif/film")
    assert truth.seen("gif", film[: len(film) * 9 // 10]).side is not None


def test_a_bmp_and_a_webp_show_their_length() -> None:
    assert truth.seen("bmp", made("bmp/24")[:-1]).picture == "the file is shorter than it says"
    assert truth.seen("webp", made("webp/lossy")[:-3]).picture is not None
    runs = made("bmp/rle-8")
    start = int.from_bytes(runs[10:14], "little")
    assert truth.seen("bmp", runs[:start] + b"\xff\x01" * 200 + runs[start + 400 :]).trace == "a run goes beyond its row"


def test_what_is_packed_behind_the_pictures_of_a_heic_is_not_part_of_them() -> None:
    body = made("heic/plain")
    assert truth.seen("heic", body + b"<!-- a text -->").trace == "a box goes beyond the end"
    assert truth.seen("heic", body[:-1]).picture is not None


# The harm


def test_cuts_are_at_each_per_cent_and_at_the_end() -> None:
    found = harm.cuts(10_000, 1)
    assert {100 * share for share in range(1, 100)} | set(range(9_984, 10_000)) == set(found)
    assert min(harm.cuts(500, 1)) >= 32


@pytest.mark.parametrize("name", harm.HARMS)
def test_harm_changes_bytes_and_leaves_the_magic(name: str) -> None:
    body = made("bmp/24")
    found = list(harm.harmed("a seed", name, body, 5))
    assert len(found) == 5
    assert all(one != body and one[: harm.FIRST] == body[: harm.FIRST] for one in found)
    assert found == list(harm.harmed("a seed", name, body, 5))
    assert len({tuple(harm.harmed(seed, name, body, 5)) for seed in "abcdefgh"}) > 1


def test_a_seed_makes_the_same_cases() -> None:
    scale = Scale(every=20, times=1, odd_families=99)
    cases = list(family_cases("jpeg/grey", SEED, scale))
    assert cases == list(family_cases("jpeg/grey", SEED, scale))
    assert len({case.name for case in cases}) == len(cases)
    assert {case.truth for case in cases} == {Truth.WHOLE, Truth.CUT, Truth.DAMAGED}
    other = list(family_cases("jpeg/grey", SEED + 1, scale))
    assert cases[0].body != other[0].body


# The judgement

PNG = saved(scene(random.Random(1), (40, 30)), "PNG")
BMP = saved(scene(random.Random(1), (40, 30)), "BMP")


def case_of(truth_of_it: Truth, body: bytes, whole: bytes | None = None, form: str = "png") -> Case:
    return Case("png/x:kind:0", form, truth_of_it, body, Whole(whole or body))


def said(what: str, kind: str | None = None, detail: str | None = None) -> dict[str, dict[str, Any]]:
    return {mode: {"as": what, "type": kind, "detail": detail, "cpu_s": 0.0} for mode in MODES}


def faults(case: Case, outcomes: dict[str, dict[str, Any]]) -> set[Fault]:
    return {fault for fault, _ in judged(case, outcomes).faults}


def test_a_cut_is_to_be_transient() -> None:
    cut = case_of(Truth.CUT, PNG[:-5], PNG)
    assert faults(cut, said("transient", "truncated")) == set()
    assert faults(cut, said("kept")) == {Fault.FALSE_CUT}
    assert faults(cut, said("flagged", "partly_read")) == {Fault.FALSE_CUT}
    assert faults(cut, said("permanent", "not_an_image")) == {Fault.CUT_FOR_GOOD}


def test_a_whole_picture_is_to_be_kept() -> None:
    whole = case_of(Truth.WHOLE, PNG)
    assert faults(whole, said("kept")) == set()
    assert faults(whole, said("transient", "truncated")) == {Fault.WHOLE_NEVER}
    assert faults(whole, said("crash")) == {Fault.WHOLE_NEVER}
    assert faults(whole, said("permanent", "not_an_image")) == {Fault.WHOLE_FOR_GOOD}
    flagged = judged(whole, said("flagged", "partly_read", "not decoded: it has a profile of 3 MB"))
    assert (flagged.faults, flagged.notes) == ((), ((Note.WHOLE_FLAGGED, "fresh"),))
    assert faults(case_of(Truth.WHOLE, PNG[:-3]), said("kept")) == {Fault.READER}


def test_what_breaks_a_rule_beside_the_picture_may_be_asked_for_again_but_not_refused() -> None:
    odd = case_of(Truth.ODD, with_chunk(PNG, chunk(b"tEXt", b"Title\0a", 1)))
    for what in ("kept", "flagged", "transient"):
        assert faults(odd, said(what)) == set()
    assert faults(odd, said("permanent", "not_an_image")) == {Fault.WHOLE_FOR_GOOD}


def test_visible_damage_is_no_success() -> None:
    body = PNG[:60] + bytes((PNG[60] ^ 1,)) + PNG[61:]
    damaged = case_of(Truth.DAMAGED, body, PNG)
    assert faults(damaged, said("transient", "truncated")) == set()
    assert faults(damaged, said("kept")) == {Fault.FALSE_DAMAGE}
    assert faults(damaged, said("permanent", "not_an_image")) == {Fault.DAMAGE_FOR_GOOD}
    assert judged(damaged, said("permanent", "too_large")).notes[0] == (Note.FALSELY_LARGE, "fresh")


def test_hidden_damage_is_missed_and_counted() -> None:
    body = BMP[:200] + b"\x01\x02" + BMP[202:]
    missed = judged(case_of(Truth.DAMAGED, body, BMP, "bmp"), said("kept"))
    assert (missed.faults, missed.fate, missed.is_visible) == ((), Fate.MISSED, False)
    harmless = judged(case_of(Truth.DAMAGED, BMP[:6] + b"\x01" + BMP[7:], BMP, "bmp"), said("kept"))
    assert (harmless.faults, harmless.fate) == ((), Fate.HARMLESS)
    assert judged(case_of(Truth.DAMAGED, body, BMP, "bmp"), said("transient")).fate is Fate.FOUND


def test_details_are_for_people() -> None:
    cut = case_of(Truth.CUT, PNG[:-5], PNG)
    for detail in ("OSError: broken data stream", "cannot identify <_Sparing name='/tmp/a.part'>", "<_io.BytesIO object at 0x7f>"):
        assert Note.FOR_MACHINES in {note for note, _ in judged(cut, said("transient", "truncated", detail)).notes}
    assert judged(cut, said("transient", "truncated", "image/png, cut off after 300 bytes")).notes == ()


# The whole of it


def test_a_small_campaign_ends_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.damage", "--quick", "--seed", str(SEED)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["campaign"] == "damage"
    assert {fault: figures[fault.name.lower()] for fault in Fault} == dict.fromkeys(Fault, 0), done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
