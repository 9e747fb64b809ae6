"""The repair: each kind of damage is found with its reason, mended, and gone; what it must not touch stays as it is."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from d4c_images.collection import repair, repair_looks
from d4c_images.collection.check import CheckOptions, check
from d4c_images.collection.findings import Reason
from d4c_images.commands import image_root, session
from d4c_images.ledger.file import connect, owner
from d4c_images.ledger.file.reader import open_reader
from d4c_images.ledger.file.writing import open_and_own
from d4c_images.ledger.questions import audit
from d4c_images.ledger.rows.rollup import finalize
from d4c_images.model import Blob
from d4c_images.stores import Keep, Place
from d4c_images.stores.pack import PackSettings, PackStore
from d4c_images.system import clocks
from tests.support.ledger import catch_up
from tests.support.program import Collection
from tests.support.sample_ledger import HOSTS, Sample, add_sample, make_files, make_ledger


def picture(shade: int, kind: str = "JPEG") -> bytes:
    """All JPEGs have one size in bytes, by a comment in them."""
    out = io.BytesIO()
    Image.new("RGB", (4, 3), (shade, shade, shade)).save(out, kind)
    body = out.getvalue()
    if kind != "JPEG":
        return body
    n = 1000 - len(body) - 2
    return body[:2] + b"\xff\xfe" + n.to_bytes(2, "big") + bytes(n - 2) + body[2:]


SAMPLES = (
    Sample(1000000001, 0, HOSTS[0], "success", body=picture(10)),
    Sample(1000000001, 1, HOSTS[0], "success", body=picture(80)),
    Sample(1000000002, 0, HOSTS[0], "success", body=picture(160, "PNG"), extension="png"),
    Sample(77, 0, HOSTS[0], "success", body=picture(240)),
    Sample(1000000003, 0, HOSTS[0], "pending", not_before=0, attempts=0),
    Sample(1000000004, 0, HOSTS[0], "pending", not_before=0, attempts=0),
    Sample(1000000005, 0, HOSTS[1], "failed_permanent", "http_404"),
    Sample(1000000006, 0, HOSTS[2], "failed_transient", "timeout", attempts=4),
    Sample(1000000007, 0, HOSTS[1], "failed_permanent", "placeholder"),
    Sample(1000000008, 0, HOSTS[0], "success", body=picture(40)),
    Sample(1000000009, 0, HOSTS[0], "success", body=picture(120)),
    Sample(1000000010, 0, HOSTS[0], "success", body=picture(200)),
)
A, B, PNG, SHORT = (SAMPLES[n].path for n in range(4))
OPEN, OTHER_OPEN = SAMPLES[4].path, SAMPLES[5].path
N_STORED = sum(sample.body is not None for sample in SAMPLES)
FRESH = picture(99)


def made(folder: Path) -> Collection:
    collection = Collection(folder)
    ledger = make_ledger(collection.ledger, SAMPLES)
    ledger.connection.execute("DELETE FROM leases")
    make_files(collection.root, SAMPLES)
    image_root.claim(ledger, collection.root)
    ledger.close()
    return collection


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return made(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def collection(sound: Collection, tmp_path: Path) -> Collection:
    copy = Collection(tmp_path / "copy")
    shutil.copytree(sound.folder, copy.folder)
    copy.sql(f"UPDATE checkpoints SET position = json_set(position, '$.path', '{copy.root}', '$.inode', {copy.root.stat().st_ino})")
    return copy


def found_in(collection: Collection, **options: bool) -> dict[Reason, int]:
    with open_reader(collection.ledger) as ledger:
        return check(ledger, collection.root, CheckOptions(restart=True, **options)).counts


def repaired(collection: Collection, *more: object, code: int = 0) -> str:
    return collection.call("check", "--repair", "--yes", "--sha256", "--no-progress", *more, code=code)


def assert_sound(collection: Collection) -> None:
    assert found_in(collection, sha256=True) == {}
    collection.check_invariants()


def pending(collection: Collection) -> set[str]:
    """The images to be requested, beyond those that were so before."""
    rows = collection.rows("SELECT gbif_id, image_no FROM image_rows WHERE status = 'pending' ORDER BY 1, 2")
    before = {(sample.gbif_id, sample.image_no) for sample in SAMPLES if sample.status == "pending"}
    return {f"{gbif_id}-{image_no:02d}" for gbif_id, image_no in rows if (gbif_id, image_no) not in before}


def adopted(collection: Collection) -> set[str]:
    return {str(path) for (path,) in collection.rows("SELECT file_path FROM image_rows WHERE error_type = 'adopted'")}


def away(collection: Collection, folder: str) -> dict[str, bytes]:
    top = collection.root / folder
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


# Damages ---------------------------------------------------------------------------------------------------------------------


def change(path: Path, at: int, body: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(body)


def nothing(c: Collection) -> None:
    pass


def bit_flip(c: Collection) -> None:
    change(c.root / A, 600, bytes([picture(10)[600] ^ 1]))


def zero_run(c: Collection) -> None:
    change(c.root / A, 700, bytes(200))


def truncated(c: Collection) -> None:
    os.truncate(c.root / A, 100)


def emptied(c: Collection) -> None:
    os.truncate(c.root / A, 0)


def longer(c: Collection) -> None:
    with (c.root / A).open("ab") as file:
        file.write(b"tail")


def overwritten_by_a_page(c: Collection) -> None:
    (c.root / A).write_bytes(b"<html>404</html>")


def missing(c: Collection) -> None:
    (c.root / A).unlink()


def folder_gone(c: Collection) -> None:
    shutil.rmtree((c.root / SHORT).parent)


def folder_instead_of_file(c: Collection) -> None:
    (c.root / A).unlink()
    (c.root / A).mkdir()


def swapped(c: Collection) -> None:
    (c.root / A).rename(c.root / "x")
    (c.root / B).rename(c.root / A)
    (c.root / "x").rename(c.root / B)


def rotated(c: Collection) -> None:
    """Three files, each under the name of the next."""
    first, second, third = c.root / A, c.root / B, c.root / SHORT
    bodies = [path.read_bytes() for path in (first, second, third)]
    for path, body in zip((second, third, first), bodies, strict=True):
        path.write_bytes(body)


def rotated_others(c: Collection) -> None:
    """Likewise, and none of them is the first image."""
    paths = [c.root / SAMPLES[n].path for n in (1, 3, 9)]
    bodies_of = [path.read_bytes() for path in paths]
    for path, body in zip(paths[1:] + paths[:1], bodies_of, strict=True):
        path.write_bytes(body)


def renamed(c: Collection) -> None:
    (c.root / A).rename(c.root / "100/IMG_0001.jpg")


def moved_to_another_folder(c: Collection) -> None:
    (c.root / "old").mkdir()
    (c.root / A).rename(c.root / "old" / Path(A).name)


def case_folded(c: Collection) -> None:
    (c.root / A).rename((c.root / A).with_suffix(".JPG"))


def other_extension(c: Collection) -> None:
    """The same image under two names; the row has the first."""
    (c.root / A).with_suffix(".png").write_bytes(FRESH)


def copy_in_another_folder(c: Collection) -> None:
    (c.root / "999").mkdir()
    shutil.copy(c.root / A, c.root / "999" / Path(A).name)


def stranger(c: Collection) -> None:
    (c.root / "notes").mkdir()
    (c.root / "notes/read me.txt").write_bytes(b"mine")


def dangling_link(c: Collection) -> None:
    (c.root / "link").symlink_to("nowhere")


def link_to_itself(c: Collection) -> None:
    (c.root / "100/000/link").symlink_to("link")


def link_to_the_root(c: Collection) -> None:
    (c.root / "link").symlink_to(".")


def unknown_record(c: Collection) -> None:
    (c.root / "100/000/1000000099-00.jpg").write_bytes(FRESH)


def image_of_an_open_row(c: Collection) -> None:
    (c.root / OPEN).write_bytes(FRESH)


def case_folded_image_of_an_open_row(c: Collection) -> None:
    (c.root / OPEN).with_suffix(".JPEG").write_bytes(FRESH)


def image_of_a_failure(c: Collection) -> None:
    (c.root / SAMPLES[6].path).write_bytes(FRESH)


def image_of_one_given_up(c: Collection) -> None:
    (c.root / SAMPLES[7].path).write_bytes(FRESH)


def torn_image_of_an_open_row(c: Collection) -> None:
    (c.root / OPEN).write_bytes(FRESH[:-40])


def page_of_an_open_row(c: Collection) -> None:
    (c.root / OPEN).write_bytes(b"<html>404</html>")


def placeholder_copy(c: Collection) -> None:
    (c.root / SAMPLES[8].path).write_bytes(FRESH)


def known_placeholder_of_an_open_row(c: Collection) -> None:
    c.sql(f"INSERT INTO placeholders VALUES (1, X'{hashlib.sha256(FRESH).hexdigest()}', 'placeholder', 3, 0)")
    (c.root / OPEN).write_bytes(FRESH)


def two_images_of_an_open_row(c: Collection) -> None:
    (c.root / OPEN).write_bytes(FRESH)
    (c.root / OPEN).with_suffix(".png").write_bytes(picture(98, "PNG"))


def image_of_a_manifest(c: Collection) -> None:
    c.sql("UPDATE image_rows SET urls = 'https://good.example.org/iiif/1/manifest.json' WHERE image_id = 5")
    (c.root / OPEN).write_bytes(FRESH)


def next_revision_without_a_row(c: Collection) -> None:
    (c.root / A).with_stem(f"{Path(A).stem}-r1").write_bytes(FRESH)


def of_revision(path: str, revision: int) -> str:
    return path.replace(".jpg", f"-r{revision}.jpg")


def newer_revision_of_a_lost_image(c: Collection) -> None:
    missing(c)
    next_revision_without_a_row(c)


def newer_revision_of_a_damaged_image(c: Collection) -> None:
    bit_flip(c)
    next_revision_without_a_row(c)


def newer_revision_of_an_open_row(c: Collection) -> None:
    (c.root / of_revision(OPEN, 1)).write_bytes(FRESH)


def both_revisions_of_an_open_row(c: Collection) -> None:
    (c.root / OPEN).write_bytes(picture(98))
    newer_revision_of_an_open_row(c)


def torn_newer_revision_of_an_open_row(c: Collection) -> None:
    (c.root / of_revision(OPEN, 1)).write_bytes(FRESH[:-40])


def newer_revision_of_a_placeholder(c: Collection) -> None:
    (c.root / of_revision(SAMPLES[8].path, 1)).write_bytes(FRESH)


def leftover(c: Collection) -> None:
    (c.root / "100/000/.1000000003-00.4.part").write_bytes(b"half")


def no_file_name(c: Collection) -> None:
    c.sql("UPDATE image_rows SET file_path = NULL WHERE image_id = 1")


def no_file_name_and_no_file(c: Collection) -> None:
    missing(c)
    no_file_name(c)


def wrong_counter(c: Collection) -> None:
    c.sql("UPDATE tallies SET n = n + 1 WHERE status = 'success'")


def wrong_record(c: Collection) -> None:
    c.sql("UPDATE gbif_ids SET n_success = 0 WHERE gbif_id = 1000000001")


def unlisted(c: Collection) -> None:
    c.sql("UPDATE image_rows SET not_before = NULL WHERE image_id = 5")


def listed_wrongly(c: Collection) -> None:
    c.sql("INSERT INTO untried VALUES (1, 0, X'0100'), (2, 7, X'0100')")


def lost_lease(c: Collection, image_id: int = 5) -> None:
    c.sql(f"INSERT INTO lent VALUES ({image_id}, 99); UPDATE tallies SET n = n - 1 WHERE status = 'pending' AND host_id = 1")
    c.sql("INSERT INTO tallies VALUES (1, 'leased', '', 1, 0, 0)")


def lost_lease_of_another(c: Collection) -> None:
    lost_lease(c, 6)


def two_rows_of_one_file(c: Collection) -> None:
    c.sql(f"UPDATE image_rows SET file_path = '{A}' WHERE image_id = 2")


class Case(NamedTuple):
    damage: Callable[[Collection], None]
    reasons: dict[Reason, int]
    requested: frozenset[str] = frozenset()
    adopted: frozenset[str] = frozenset()
    strangers: frozenset[str] = frozenset()
    damaged: frozenset[str] = frozenset()


def names(*some: str) -> frozenset[str]:
    return frozenset(some)


FIRST, SECOND = "1000000001-00", "1000000001-01"
CASES = (
    Case(nothing, {}),
    Case(bit_flip, {Reason.HASH_MISMATCH: 1}, names(FIRST), damaged=names(A)),
    Case(zero_run, {Reason.HASH_MISMATCH: 1}, names(FIRST), damaged=names(A)),
    Case(truncated, {Reason.SIZE_MISMATCH: 1}, names(FIRST), damaged=names(A)),
    Case(emptied, {Reason.SIZE_MISMATCH: 1}, names(FIRST), damaged=names(A)),
    Case(longer, {Reason.SIZE_MISMATCH: 1}, names(FIRST), damaged=names(A)),
    Case(overwritten_by_a_page, {Reason.SIZE_MISMATCH: 1}, names(FIRST), damaged=names(A)),
    Case(missing, {Reason.FILE_MISSING: 1}, names(FIRST)),
    Case(folder_gone, {Reason.FILE_MISSING: 1}, names("77-00")),
    Case(folder_instead_of_file, {Reason.FILE_MISSING: 1}, names(FIRST)),
    Case(swapped, {Reason.HASH_MISMATCH: 2}),
    Case(rotated, {Reason.HASH_MISMATCH: 3}),
    Case(renamed, {Reason.FILE_MISSING: 1, Reason.UNTRACKED: 1}),
    Case(moved_to_another_folder, {Reason.FILE_MISSING: 1, Reason.UNTRACKED: 1}),
    Case(case_folded, {Reason.FILE_MISSING: 1, Reason.UNTRACKED: 1}),
    Case(other_extension, {Reason.UNTRACKED: 1}, strangers=names(A.replace(".jpg", ".png"))),
    Case(copy_in_another_folder, {Reason.UNTRACKED: 1}, strangers=names(f"999/{Path(A).name}")),
    Case(stranger, {Reason.UNTRACKED: 1}, strangers=names("notes/read me.txt")),
    Case(dangling_link, {Reason.UNTRACKED: 1}),
    Case(link_to_itself, {Reason.UNTRACKED: 1}),
    Case(link_to_the_root, {Reason.UNTRACKED: 1}),
    Case(unknown_record, {Reason.UNTRACKED: 1}, strangers=names("100/000/1000000099-00.jpg")),
    Case(image_of_an_open_row, {Reason.UNTRACKED: 1}, adopted=names(OPEN)),
    Case(case_folded_image_of_an_open_row, {Reason.UNTRACKED: 1}, adopted=names(OPEN)),
    Case(image_of_a_failure, {Reason.UNTRACKED: 1}, adopted=names(SAMPLES[6].path)),
    Case(image_of_one_given_up, {Reason.UNTRACKED: 1}, adopted=names(SAMPLES[7].path)),
    Case(torn_image_of_an_open_row, {Reason.UNTRACKED: 1}, strangers=names(OPEN)),
    Case(page_of_an_open_row, {Reason.UNTRACKED: 1}, strangers=names(OPEN)),
    Case(placeholder_copy, {Reason.UNTRACKED: 1}, strangers=names(SAMPLES[8].path)),
    Case(known_placeholder_of_an_open_row, {Reason.UNTRACKED: 1}, strangers=names(OPEN)),
    Case(two_images_of_an_open_row, {Reason.UNTRACKED: 2}, adopted=names(OPEN), strangers=names(OPEN.replace(".jpg", ".png"))),
    Case(image_of_a_manifest, {Reason.UNTRACKED: 1}, strangers=names(OPEN)),
    Case(next_revision_without_a_row, {Reason.UNTRACKED: 1}, strangers=names(A.replace(".jpg", "-r1.jpg"))),
    Case(
        newer_revision_of_a_lost_image,
        {Reason.FILE_MISSING: 1, Reason.UNTRACKED: 1},
        adopted=names(A),
    ),
    Case(
        newer_revision_of_a_damaged_image,
        {Reason.HASH_MISMATCH: 1, Reason.UNTRACKED: 1},
        adopted=names(A),
        damaged=names(A),
    ),
    Case(newer_revision_of_an_open_row, {Reason.UNTRACKED: 1}, adopted=names(OPEN)),
    Case(both_revisions_of_an_open_row, {Reason.UNTRACKED: 2}, adopted=names(OPEN), strangers=names(of_revision(OPEN, 1))),
    Case(torn_newer_revision_of_an_open_row, {Reason.UNTRACKED: 1}, strangers=names(of_revision(OPEN, 1))),
    Case(newer_revision_of_a_placeholder, {Reason.UNTRACKED: 1}, strangers=names(of_revision(SAMPLES[8].path, 1))),
    Case(leftover, {Reason.LEFTOVER: 1}),
    Case(no_file_name, {Reason.NO_FILE_NAME: 1, Reason.UNTRACKED: 1}, adopted=names(A)),
    Case(no_file_name_and_no_file, {Reason.NO_FILE_NAME: 1}, names(FIRST)),
    Case(wrong_counter, {Reason.COUNTER_MISMATCH: 1}),
    Case(wrong_record, {Reason.RECORD_MISMATCH: 1}),
    Case(unlisted, {Reason.COUNTER_MISMATCH: 1}),
    Case(listed_wrongly, {Reason.COUNTER_MISMATCH: 2}),
    Case(lost_lease, {Reason.ORPHANED_LEASE: 1}),
    Case(two_rows_of_one_file, {Reason.HASH_MISMATCH: 1, Reason.UNTRACKED: 1}),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.damage.__name__)
def test_each_damage_is_found_mended_and_gone(collection: Collection, case: Case) -> None:
    case.damage(collection)
    assert found_in(collection, sha256=True) == case.reasons
    everything = bodies(collection)
    repaired(collection)
    assert_sound(collection)
    assert pending(collection) == case.requested
    assert adopted(collection) == case.adopted
    assert away(collection, ".strangers").keys() == case.strangers
    assert away(collection, ".damaged").keys() == case.damaged
    lost = {b"half"} if case.damage is leftover else set()
    assert bodies(collection) == everything - lost, "nothing is deleted"
    assert not (collection.folder / "ledger.sqlite.check.repair").exists()


def bodies(collection: Collection) -> set[bytes]:
    return {path.read_bytes() for path in collection.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", [case for case in CASES if sum(case.reasons.values()) > 1], ids=lambda case: case.damage.__name__)
def test_findings_that_belong_together_may_be_in_different_chunks(
    collection: Collection, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "FINDINGS_AT_ONCE", 1)
    case.damage(collection)
    everything = bodies(collection)
    repaired(collection)
    assert_sound(collection)
    assert (pending(collection), adopted(collection)) == (case.requested, case.adopted)
    assert away(collection, ".strangers").keys() == case.strangers
    assert bodies(collection) == everything


@pytest.mark.parametrize("n_looks", [1, 12, 16, 20])
def test_a_signal_ends_it_and_the_same_command_goes_on(
    collection: Collection, n_looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "FINDINGS_AT_ONCE", 1)
    for damage in (bit_flip, folder_gone, image_of_an_open_row, stranger, wrong_counter):
        damage(collection)
    looks = iter([False] * n_looks)
    with monkeypatch.context() as patch:
        patch.setattr(session.Stop, "__call__", lambda _: next(looks, True))
        output = repaired(collection, code=75)
    assert "run the same command again to resume" in output
    repaired(collection)
    assert_sound(collection)
    assert pending(collection) == {FIRST, "77-00"}
    assert adopted(collection) == {OPEN}


# What else it does, and what it must not do ----------------------------------------------------------------------------------


def test_it_says_what_it_would_do_and_changes_nothing(collection: Collection) -> None:
    for damage in (bit_flip, image_of_an_open_row, stranger, leftover, wrong_counter):
        damage(collection)
    ledger, files = collection.ledger.read_bytes(), bodies(collection)
    output = collection.call("check", "--repair", "--dry-run", "--sha256", "--no-progress", code=1)
    assert "check --repair would:" in output
    assert "queue 1 image (1.0 kB) for the next download, unless the bytes are found under another name" in output
    assert "verify 1 file (1.0 kB) without a success row, and adopt those that are images" in output
    assert "move 1 stranger (4 B) to .strangers" in output
    assert "remove 1 leftover (4 B) of dead workers" in output
    assert "recount all records and counters (1 mismatch)" in output
    assert (collection.ledger.read_bytes(), bodies(collection)) == (ledger, files)
    assert collection.rows("SELECT count(*) FROM runs") == [(1,)]


def test_it_says_what_it_did_and_so_does_runs(collection: Collection) -> None:
    for damage in (bit_flip, image_of_an_open_row, stranger):
        damage(collection)
    output = repaired(collection)
    assert "queued 1 image (1.0 kB) for the next download" in output
    assert "adopted 1 file (1.0 kB) as images, flagged 'adopted'" in output
    assert "moved 1 damaged file to .damaged" in output
    ran = collection.call("runs", "--limit", 1)
    assert "check --repair on" in ran
    assert "ended: queued 1 image (1.0 kB) for the next download; adopted 1 file (1.0 kB)" in ran


def test_without_a_terminal_and_without_yes_nothing_is_begun(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    bit_flip(collection)
    before = collection.ledger.read_bytes()
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    output = collection.call("check", "--repair", "--sha256", code=2)
    assert "--repair asks before it changes anything, and there is no terminal" in output
    assert len(output.splitlines()) == 1
    assert collection.ledger.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--dry-run",), "--dry-run needs --repair"),
        (("--yes",), "--yes needs --repair"),
        (("--missing-root-is-lost",), "--missing-root-is-lost needs --repair"),
    ],
)
def test_options_of_a_repair_without_one(collection: Collection, words: tuple[str, ...], complaint: str) -> None:
    assert complaint in collection.call("check", *words, code=2)


def many(c: Collection) -> list[Sample]:
    """As many further images as make a lost root."""
    samples = [Sample(2_000_000_000 + n, 0, HOSTS[0], "success", body=picture(n)) for n in range(25)]
    ledger = connect.open_ledger(c.ledger)
    with ledger.transaction() as db:
        for image_id, sample in enumerate(samples, start=len(SAMPLES) + 1):
            add_sample(ledger, image_id, sample)
        catch_up(db, len(SAMPLES) + len(samples))
    finalize(ledger, lambda progress: None)
    ledger.close()
    make_files(c.root, tuple(samples))
    return samples


def test_a_root_that_seems_not_to_be_mounted_is_refused(collection: Collection) -> None:
    many(collection)
    shutil.rmtree(collection.root / "200")
    before = collection.ledger.read_bytes()
    output = repaired(collection, code=2)
    assert "25 of 32 images are missing" in output
    assert "add --missing-root-is-lost" in output
    assert collection.ledger.read_bytes() == before
    assert "queued 25 images" in repaired(collection, "--missing-root-is-lost")
    assert_sound(collection)


def test_another_folder_than_that_of_the_last_run_is_refused(collection: Collection, tmp_path: Path) -> None:
    other = replace(collection)
    (tmp_path / "empty").mkdir()
    collection.root.rename(tmp_path / "elsewhere")
    collection.root.mkdir()
    output = repaired(other, code=2)
    assert "is not the image root of this ledger" in output
    assert other.rows("SELECT count(*) FROM image_rows WHERE status = 'success'") == [(N_STORED,)]


def test_many_files_without_a_row_stay_where_they_are(collection: Collection) -> None:
    for n in range(25):
        (collection.root / f"foreign{n}.jpg").write_bytes(b"x")
    output = repaired(collection, code=1)
    assert "leave 25 strangers where they are" in output
    assert "25 findings left to you" in output
    assert len(list(collection.root.glob("foreign*"))) == 25


def test_what_cannot_be_read_is_left_to_people(collection: Collection) -> None:
    """Here a link that leads to itself; likewise a folder without permission, or a disk with errors."""
    (collection.root / A).unlink()
    (collection.root / A).symlink_to(Path(A).name)
    assert set(found_in(collection)) == {Reason.UNREADABLE}
    output = repaired(collection, code=1)
    assert "left to you" in output
    assert "check the disk, its mount and the permissions" in output
    assert pending(collection) == set()
    assert (collection.root / A).is_symlink()
    (collection.root / A).unlink()
    (collection.root / A).write_bytes(picture(10))
    assert_sound(collection)


def test_a_file_that_cannot_be_read_any_more_is_left_to_people(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was found to be damaged, and now its disk fails: that says nothing about the bytes."""
    bit_flip(collection)

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(repair_looks, "sha256_at", broken)
        assert "1 finding left to you" in repaired(collection, code=1)
    assert pending(collection) == set()
    assert (collection.root / A).exists()


def test_a_damaged_database_is_refused(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    bit_flip(collection)
    monkeypatch.setattr(audit, "database_errors", lambda *_, full: ["a page is wrong"])
    before = collection.ledger.read_bytes()
    assert "d4c-images restore" in repaired(collection, code=1)
    assert collection.ledger.read_bytes() == before


def test_beside_a_run_nothing_is_begun(collection: Collection) -> None:
    bit_flip(collection)
    with open_and_own(collection.ledger, "download", owner.this_process(), clocks.now, lambda line: None):
        output = repaired(collection, code=1)
    assert "is in use by 'download'" in output
    assert pending(collection) == set()


def test_what_was_mended_meanwhile_is_left_as_it_is(collection: Collection) -> None:
    """The findings of a dry run are used again, and each is verified before anything is done."""
    for damage in (missing, image_of_an_open_row, stranger):
        damage(collection)
    collection.call("check", "--repair", "--dry-run", "--sha256", "--no-progress", code=1)
    (collection.root / A).write_bytes(picture(10))
    (collection.root / "notes/read me.txt").unlink()
    output = repaired(collection)
    assert "using the findings of the check of" in output
    assert "found 2 findings mended already" in output
    assert pending(collection) == set()
    assert adopted(collection) == {OPEN}
    assert_sound(collection)


def test_bytes_that_another_image_needs_are_not_taken_from_it(collection: Collection) -> None:
    """Two images with the same bytes: one is lost, the other was damaged and has been restored by hand since."""
    (collection.root / B).write_bytes(picture(10))
    collection.sql("UPDATE image_rows SET sha256 = (SELECT sha256 FROM image_rows WHERE image_id = 1) WHERE image_id = 2")
    assert_sound(collection)
    missing(collection)
    change(collection.root / B, 700, bytes(200))
    collection.call("check", "--repair", "--dry-run", "--sha256", "--no-progress", code=1)
    (collection.root / B).write_bytes(picture(10))
    repaired(collection)
    assert_sound(collection)
    assert pending(collection) == {FIRST}


def test_a_ledger_of_yesterday_beside_the_files_of_today(collection: Collection) -> None:
    """All that files can tell comes back: names, sizes, hashes, types; not what servers said."""
    yesterday = collection.ledger.read_bytes()
    today = {sample.path: picture(30 + n) for n, sample in enumerate(SAMPLES) if sample.status in ("pending", "failed_transient")}
    for path, body in today.items():
        (collection.root / path).write_bytes(body)
    collection.ledger.write_bytes(yesterday)
    repaired(collection)
    assert_sound(collection)
    rows = collection.rows(
        "SELECT file_path, file_size, sha256, media_type, width, height, etag, original_sha256, http_status FROM images "
        "WHERE error_type = 'adopted'"
    )
    assert {row[0]: row[1:] for row in rows} == {
        path: (1000, hashlib.sha256(body).hexdigest(), "image/jpeg", 4, 3, None, None, None) for path, body in today.items()
    }
    assert pending(collection) == set()


def test_of_several_revisions_that_a_ledger_of_yesterday_does_not_know_the_newest_is_adopted(collection: Collection) -> None:
    """Under the first name: the next `--refetch` that finds it changed stores it as revision 1, which must be free."""
    for revision in (1, 2, 10):
        (collection.root / of_revision(OPEN, revision)).write_bytes(picture(200 + revision))
    repaired(collection)
    assert_sound(collection)
    assert (collection.root / OPEN).read_bytes() == picture(210)
    assert away(collection, ".strangers") == {of_revision(OPEN, n): picture(200 + n) for n in (1, 2)}


def test_images_that_show_a_lost_file_wait_for_it_and_follow(collection: Collection) -> None:
    """The file comes back under another name: then both are successes again, at once."""
    collection.sql(
        f"""UPDATE image_rows SET error_type = 'same_image', error_detail = 'image 1', file_path = '{A}',
               sha256 = (SELECT sha256 FROM image_rows WHERE image_id = 1) WHERE image_id = 2;
           INSERT INTO unfolded VALUES (2, 1, 0, 0, 0, 2)"""
    )
    (collection.root / B).unlink()
    recounted(collection)
    assert_sound(collection)
    shutil.copytree(collection.folder, collection.folder.parent / "lost")
    renamed(collection)
    assert found_in(collection) == {Reason.FILE_MISSING: 2, Reason.UNTRACKED: 1}
    repaired(collection)
    assert_sound(collection)
    assert pending(collection) == set()
    states = "SELECT status, error_type, file_path FROM image_rows WHERE image_id IN (1, 2) ORDER BY image_id"
    assert collection.rows(states) == [("success", None, A), ("success", "same_image", A)]
    missing(collection)
    repaired(collection)
    assert_sound(collection)
    assert collection.rows(states) == [("pending", None, None), ("failed_transient", "same_image", None)]


def test_all_records_that_show_an_image_follow_it(collection: Collection) -> None:
    """One loses an image, another gains one; both are shown by the record 77, too."""
    collection.sql(
        """INSERT INTO link_rows (gbif_id, image_no, image_id, is_first, archive_id, row_no)
           VALUES (77, 1, 1, 0, 1, 901), (77, 2, 5, 0, 1, 902)"""
    )
    recounted(collection)
    record = "SELECT n_images, n_success, status FROM gbif_ids WHERE gbif_id = 77"
    assert collection.rows(record) == [(3, 2, "partial")]
    missing(collection)
    repaired(collection)
    assert_sound(collection)
    assert collection.rows(record) == [(3, 1, "partial")]
    (collection.root / A).write_bytes(FRESH)
    image_of_an_open_row(collection)
    repaired(collection)
    assert_sound(collection)
    assert collection.rows(record) == [(3, 3, "done")]


def test_a_lost_image_that_a_dead_run_was_asking_for_again(collection: Collection) -> None:
    collection.sql("INSERT INTO leases VALUES (5, 1, 1, 0, 1, 2); INSERT INTO lent VALUES (1, 5)")
    assert_sound(collection)
    missing(collection)
    repaired(collection)
    assert_sound(collection)
    assert pending(collection) == {FIRST}
    assert collection.rows("SELECT * FROM lent") == []


FORMER = """INSERT INTO former_rows (image_id, revision, replaced_at, file_path, file_size, sha256)
            SELECT image_id, 0, 1, file_path, file_size, sha256 FROM image_rows WHERE image_id = 1;
            UPDATE image_rows SET file_path = '{path}', sha256 = X'{sha256}' WHERE image_id = 1"""


def changed_by_its_publisher(c: Collection) -> str:
    path = A.replace(".jpg", "-r1.jpg")
    (c.root / path).write_bytes(FRESH)
    c.sql(FORMER.format(path=path, sha256=hashlib.sha256(FRESH).hexdigest()))
    return path


def test_a_lost_revision_gives_way_to_the_one_before(collection: Collection) -> None:
    (collection.root / changed_by_its_publisher(collection)).unlink()
    repaired(collection)
    assert_sound(collection)
    assert collection.rows("SELECT status, file_path FROM image_rows WHERE image_id = 1") == [("success", A)]


def test_a_lost_earlier_revision_is_given_up(collection: Collection) -> None:
    path = changed_by_its_publisher(collection)
    bit_flip(collection)
    assert "gave up 1 earlier revision" in repaired(collection)
    assert_sound(collection)
    assert away(collection, ".damaged").keys() == {A}
    assert collection.rows("SELECT status, file_path FROM image_rows WHERE image_id = 1") == [("success", path)]


def recounted(c: Collection) -> None:
    ledger = connect.open_ledger(c.ledger)
    finalize(ledger, lambda progress: None)
    ledger.close()


def test_an_image_that_does_not_decode_is_requested_again(collection: Collection) -> None:
    """Its size and hash are those of its row: an earlier version of a decoder let it pass."""
    body = picture(10)[:-100]
    (collection.root / A).write_bytes(body)
    collection.sql(
        f"UPDATE image_rows SET file_size = {len(body)}, sha256 = X'{hashlib.sha256(body).hexdigest()}' WHERE image_id = 1"
    )
    recounted(collection)
    assert found_in(collection, decode=True) == {Reason.UNDECODABLE: 1}
    repaired(collection, "--decode")
    assert_sound(collection)
    assert pending(collection) == {FIRST}
    assert away(collection, ".damaged") == {A: body}


# Shards ----------------------------------------------------------------------------------------------------------------------

SHARD = "packs/00c0ffee-000000.tar"


def put(c: Collection, *samples: Sample) -> dict[str, Place]:
    """Into a new shard; where the image of each is."""
    store = PackStore(c.root, PackSettings("00c0ffee"))
    keeps = []
    for sample in samples:
        body = sample.body or FRESH
        partial = store.begin(sample.gbif_id, sample.image_no, 1)
        partial.write(body)
        blob = Blob("", len(body), hashlib.sha256(body).digest(), "image/jpeg", 4, 3)
        keeps.append(Keep(partial, sample.extension, blob=blob))
    places = store.put(keeps)
    store.close()
    return {sample.path: place for sample, place in zip(samples, places, strict=True) if place is not None}


@pytest.fixture
def packed(collection: Collection) -> Collection:
    """The same collection, kept in a shard."""
    collection.sql("INSERT OR REPLACE INTO store VALUES (1, 'pack', '00c0ffee')")
    for path, place in put(collection, *(sample for sample in SAMPLES if sample.body)).items():
        (collection.root / path).unlink()
        collection.sql(f"UPDATE image_rows SET file_path = '{place.path}', file_offset = {place.offset} WHERE file_path = '{path}'")
    collection.sql(f"INSERT INTO shards SELECT '{SHARD}', max(file_offset + file_size) FROM image_rows WHERE file_path = '{SHARD}'")
    assert_sound(collection)
    return collection


def offset_of(c: Collection, image_id: int) -> int:
    ((offset,),) = c.rows("SELECT file_offset FROM image_rows WHERE image_id = ?", image_id)
    assert isinstance(offset, int)
    return offset


def flip_in_shard(c: Collection) -> None:
    change(c.root / SHARD, offset_of(c, 1) + 700, b"\xff\x00\xff")


def wrong_offset(c: Collection) -> None:
    c.sql("UPDATE image_rows SET file_offset = file_offset + 512 WHERE image_id = 1")


def overlapping(c: Collection) -> None:
    """Two rows with one place: one of them is right."""
    c.sql(f"UPDATE image_rows SET file_offset = {offset_of(c, 1)} WHERE image_id = 2")


def swapped_offsets(c: Collection) -> None:
    first, second = offset_of(c, 1), offset_of(c, 2)
    c.sql(f"UPDATE image_rows SET file_offset = iif(image_id = 1, {second}, {first}) WHERE image_id IN (1, 2)")


def torn_shard(c: Collection) -> None:
    with (c.root / SHARD).open("ab") as file:
        file.write(b"what a killed worker leaves")


def shard_cut_off(c: Collection) -> None:
    """In the middle of the last image."""
    os.truncate(c.root / SHARD, offset_of(c, 12) + 100)


def shard_gone(c: Collection) -> None:
    (c.root / SHARD).unlink()


def zero_run_over_an_image_header(c: Collection) -> None:
    change(c.root / SHARD, offset_of(c, 2) - 512, bytes(512 + 300))


def zero_run_over_a_json_header(c: Collection) -> None:
    change(c.root / SHARD, offset_of(c, 2) - 1536, bytes(100))


def zero_run_over_both_headers(c: Collection) -> None:
    change(c.root / SHARD, offset_of(c, 2) - 1536, bytes(1536))


def zero_run_over_two_images(c: Collection) -> None:
    change(c.root / SHARD, offset_of(c, 2) - 512, bytes(offset_of(c, 3) - offset_of(c, 2) + 512))


def foreign_shard(c: Collection) -> None:
    (c.root / "packs/12345678-000000.tar").write_bytes((c.root / SHARD).read_bytes())


@pytest.mark.parametrize(
    ("damage", "reasons", "requested", "code"),
    [
        (flip_in_shard, {Reason.HASH_MISMATCH: 1}, {FIRST}, 0),
        (wrong_offset, {Reason.FILE_MISSING: 1}, set(), 0),
        (overlapping, {Reason.HASH_MISMATCH: 1}, set(), 0),
        (swapped_offsets, {Reason.HASH_MISMATCH: 2}, set(), 0),
        (torn_shard, {Reason.TORN_SHARD: 1}, set(), 0),
        (shard_cut_off, {Reason.TORN_SHARD: 1, Reason.FILE_MISSING: 1}, {"1000000010-00"}, 0),
        (shard_gone, {Reason.FILE_MISSING: N_STORED}, {f"{s.gbif_id}-{s.image_no:02d}" for s in SAMPLES if s.body}, 0),
        (zero_run_over_an_image_header, {Reason.TORN_SHARD: 1, Reason.FILE_MISSING: 1}, {SECOND}, 0),
        (zero_run_over_a_json_header, {Reason.TORN_SHARD: 1}, set(), 0),
        (zero_run_over_both_headers, {Reason.TORN_SHARD: 1, Reason.FILE_MISSING: 1}, {SECOND}, 0),
        (zero_run_over_two_images, {Reason.TORN_SHARD: 1, Reason.FILE_MISSING: 2}, {SECOND, "1000000002-00"}, 0),
        (foreign_shard, {Reason.UNTRACKED: 1}, set(), 1),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_damage_of_a_shard(
    packed: Collection, damage: Callable[[Collection], None], reasons: dict[Reason, int], requested: set[str], code: int
) -> None:
    damage(packed)
    assert found_in(packed, sha256=True) == reasons
    repaired(packed, code=code)
    assert pending(packed) == requested
    if code:
        assert found_in(packed, sha256=True) == reasons, "another ledger's shard is not touched"
    else:
        assert_sound(packed)


def test_samples_that_a_ledger_of_yesterday_does_not_know(packed: Collection) -> None:
    places = put(packed, SAMPLES[4], SAMPLES[5], SAMPLES[8], replace(SAMPLES[0], body=picture(1)))
    change(packed.root / places[OTHER_OPEN].path, (places[OTHER_OPEN].offset or 0) + 50, b"\xff")  # a comment: it still decodes
    output = repaired(packed)
    assert "adopted 1 file" in output
    rows = packed.rows("SELECT file_path, file_offset, sha256 FROM images WHERE error_type = 'adopted'")
    assert rows == [(*places[OPEN], hashlib.sha256(FRESH).hexdigest())], "not the damaged one, and not the placeholder"
    assert pending(packed) == set()
    assert_sound(packed)
    assert packed.rows("SELECT end_offset >= ? FROM shards WHERE file_path = ?", places[OPEN].offset, places[OPEN].path) == [(1,)]


def test_a_file_for_an_open_row_of_a_packed_ledger_goes_into_a_shard(packed: Collection) -> None:
    (packed.root / OPEN).parent.mkdir(parents=True, exist_ok=True)
    image_of_an_open_row(packed)
    repaired(packed)
    ((path, offset),) = packed.rows("SELECT file_path, file_offset FROM images WHERE error_type = 'adopted'")
    assert str(path).startswith("packs/00c0ffee-")
    assert offset is not None
    assert not (packed.root / OPEN).exists()
    assert_sound(packed)
