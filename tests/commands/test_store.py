"""`store convert`: files become shards and shards files, a collection moves to another root, and no kill loses anything."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import d4c_images
from d4c_images import cli
from d4c_images.collection import moved
from d4c_images.ledger.file import connect
from d4c_images.ledger.rows.rollup import finalize
from d4c_images.stores import Keep, reading
from d4c_images.stores import partial as system
from d4c_images.stores.pack import PackSettings, PackStore
from d4c_images.system import disk_room
from tests.support.ledger import add_image
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection
from tests.support.sample_ledger import HOSTS, SAMPLES, Sample, add_sample, make_files, make_ledger

KILLED = -9
MANY = tuple(Sample(2_000_000_000 + n // 2, n % 2, HOSTS[0], "success", body=f"image {n}".encode() * (n + 1)) for n in range(450))
FORMER, FOLLOWER, PLACEHOLDER = b"before its publisher changed it", 101, b"a page's logo"
OF_FIRST = "UPDATE image_rows SET file_path = ?, file_size = ?, sha256 = ? WHERE image_id = 1"


def made(folder: Path, samples: tuple[Sample, ...] = SAMPLES) -> Collection:
    """A collection of files, with a former image, an image that shows another one's file, and a placeholder in quarantine."""
    collection = Collection(folder)
    ledger = make_ledger(collection.ledger, samples)
    make_files(collection.root, samples)
    first, second = samples[0], samples[1]
    assert first.body is not None
    assert second.body is not None
    newer = first.path.replace("-00.", "-00-r1.")
    (collection.root / newer).write_bytes(first.body)
    (collection.root / first.path).write_bytes(FORMER)
    kept = collection.root / ".placeholders" / f"{hashlib.sha256(PLACEHOLDER).hexdigest()}.png"
    kept.parent.mkdir()
    kept.write_bytes(PLACEHOLDER)
    with ledger.transaction() as db:
        db.execute(OF_FIRST, (newer, len(first.body), hashlib.sha256(first.body).digest()))
        db.execute(
            "INSERT INTO former_rows (image_id, revision, replaced_at, file_path, file_size, sha256) VALUES (1, 0, 5, ?, ?, ?)",
            (first.path, len(FORMER), hashlib.sha256(FORMER).digest()),
        )
        add_sample(ledger, len(samples) + 1, Sample(FOLLOWER, 0, HOSTS[0], "success", "same_image", "image 2", body=second.body))
        db.execute("UPDATE image_rows SET file_path = ? WHERE gbif_id = ?", (second.path, FOLLOWER))
        db.execute(
            "INSERT INTO unfolded (parent_id, image_id, position, is_made, depth, root_id) VALUES (?, 2, 0, 0, 0, ?)",
            (len(samples) + 1, len(samples) + 1),
        )
        db.execute("UPDATE caught_up SET keyed_image_id = ?, recorded_image_id = ?", (len(samples) + 1, len(samples) + 1))
    finalize(ledger, lambda progress: None)
    ledger.close()
    return collection


@pytest.fixture
def collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """One that takes several chunks."""
    monkeypatch.setattr(moved, "MOVED_AT_ONCE", 2)
    return made(tmp_path)


def at(collection: Collection, root: Path) -> Collection:
    """The same ledger, with another image root."""
    return replace(collection, images=str(root.relative_to(collection.folder)))


def bodies(collection: Collection) -> dict[tuple[object, ...], bytes]:
    """The bytes that rows name, found as anybody may find them."""
    places = collection.rows(
        """SELECT image_id, -1, file_path, file_offset, file_size FROM image_rows WHERE status = 'success'
           UNION ALL SELECT image_id, revision, file_path, file_offset, file_size FROM former_rows"""
    )
    return {(image_id, revision): collection.body(*place) for image_id, revision, *place in places}


def on_disk(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def convert(collection: Collection, *arguments: object, code: int = 0) -> str:
    return collection.call("store", "convert", *arguments, "--no-progress", code=code)


def check(collection: Collection) -> dict[str, int]:
    report: dict[str, int] = json.loads(collection.call("check", "--sha256", "--json"))
    return report


# Files and shards


def test_files_become_shards_and_the_same_files_again(collection: Collection) -> None:
    files, images = on_disk(collection.root), bodies(collection)
    assert "5 images packed (" in convert(collection, "--to", "pack")
    assert bodies(collection) == images
    assert collection.rows("SELECT count(*) FROM images WHERE status = 'success' AND file_offset IS NULL") == [(0,)]
    assert [name for name in collection.files() if not name.startswith(("packs/", ".placeholders/"))] == []
    assert check(collection)["n_unused"] == 0
    assert "5 images stored as files" in convert(collection, "--to", "files")
    assert on_disk(collection.root) == files
    assert check(collection)["n_packed"] == 0
    assert collection.rows("SELECT * FROM shards") == collection.rows("SELECT * FROM set_aside") == []


def test_who_reads_the_collection_finds_it_converted(collection: Collection) -> None:
    images = bodies(collection)
    convert(collection, "--to", "pack")
    with d4c_images.open_collection(collection.ledger, collection.root) as opened:
        assert opened.read(1000000001, 0) == images[1, -1]
    collection.call("unpack", "--to", collection.folder / "out")
    assert (collection.folder / "out" / SAMPLES[3].path).read_bytes() == SAMPLES[3].body
    collection.call("export", collection.folder / "list.csv")
    assert (collection.folder / "list.csv").read_text(encoding="utf-8").count("packs/") == 5


def test_the_next_download_stores_images_in_the_same_way(collection: Collection) -> None:
    convert(collection, "--to", "pack")
    assert collection.rows("SELECT kind FROM store") == [("pack",)]
    convert(collection, "--to", "files")
    assert collection.rows("SELECT kind FROM store") == [("files",)]


def test_what_is_converted_already_is_not_touched(collection: Collection) -> None:
    convert(collection, "--to", "pack")
    before = on_disk(collection.root)
    assert "0 images packed" in convert(collection, "--to", "pack")
    assert on_disk(collection.root) == before


def truncated(path: Path) -> None:
    os.truncate(path, 3)


def flipped(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"!")


@pytest.mark.parametrize("damage", [Path.unlink, truncated, flipped])
def test_a_damaged_file_is_reported_and_left(collection: Collection, damage: Callable[[Path], None]) -> None:
    path = collection.root / SAMPLES[2].path
    damage(path)
    left = path.read_bytes() if path.exists() else None
    output = convert(collection, "--to", "pack", code=1)
    assert "4 images packed" in output
    assert f"\t{SAMPLES[2].path}\t" in output
    assert "check --repair" in output
    assert (path.read_bytes() if path.exists() else None) == left
    assert collection.rows("SELECT file_path, file_offset FROM image_rows WHERE image_id = 3") == [(SAMPLES[2].path, None)]


def test_a_damaged_image_in_a_shard_is_reported_and_its_shard_left(collection: Collection) -> None:
    convert(collection, "--to", "pack")
    ((path, offset),) = collection.rows("SELECT file_path, file_offset FROM image_rows WHERE image_id = 3")
    with (collection.root / str(path)).open("r+b") as shard:
        shard.seek(int(str(offset)))
        shard.write(b"!")
    before = (collection.root / str(path)).read_bytes()
    output = convert(collection, "--to", "files", code=1)
    assert "4 images stored as files" in output
    assert "1 image left" in output
    assert (collection.root / str(path)).read_bytes() == before
    assert collection.rows("SELECT file_path FROM image_rows WHERE image_id = 3") == [(path,)]


def test_images_behind_a_broken_header_are_found_by_their_rows(collection: Collection) -> None:
    convert(collection, "--to", "pack")
    images = bodies(collection)
    ((path,),) = set(collection.rows("SELECT file_path FROM image_rows WHERE file_offset IS NOT NULL"))
    with (collection.root / str(path)).open("r+b") as shard:  # of the first JSON: a walk ends there
        shard.write(bytes(512))
    output = convert(collection, "--to", "files", code=1)
    assert "5 images stored as files" in output
    assert "1 tar file kept" in output
    assert bodies(collection) == images


def test_a_file_that_no_row_names_is_not_overwritten(collection: Collection) -> None:
    convert(collection, "--to", "pack")
    path = collection.root / SAMPLES[3].path
    path.parent.mkdir()
    path.write_bytes(b"somebody else's")
    assert "1 image left" in convert(collection, "--to", "files", code=1)
    assert path.read_bytes() == b"somebody else's"


def test_a_shard_with_an_image_that_is_nowhere_else_stays(collection: Collection) -> None:
    """As after the ledger was restored from a backup."""
    convert(collection, "--to", "pack")
    ((token,),) = collection.rows("SELECT token FROM store")
    store = PackStore(collection.root, PackSettings(str(token)))
    part = store.begin(9_999_999, 0, 1)
    part.write(b"of tomorrow")
    store.put([Keep(part, "jpg")])
    store.close()
    output = convert(collection, "--to", "files", code=1)
    assert "1 tar file removed" in output
    assert "1 tar file kept, with images that are nowhere else" in output
    assert [name for name in collection.files() if name.startswith("packs/")] == [f"packs/{token}-000001.tar"]


def test_an_image_that_many_show_takes_them_along(collection: Collection) -> None:
    """Also those that show it because another one does."""
    ledger_rows = "INSERT INTO unfolded (parent_id, image_id, position, is_made, depth, root_id) VALUES "
    with connect.open_ledger(collection.ledger).transaction() as db:
        for n in range(200, 230):
            cells = db.execute("SELECT file_path, file_size, sha256 FROM image_rows WHERE image_id = 2").fetchone()
            stored = dict(zip(("file_path", "file_size", "sha256"), cells, strict=True))
            add_image(db, n, n, 0, host_id=1, urls=f"u{n}", status="success", error_type="same_image", **stored)
            db.execute(f"{ledger_rows} (?, ?, 0, 0, 0, ?)", (n, 2 if n < 210 else n - 10, n))
    convert(collection, "--to", "pack")
    places = collection.rows(
        "SELECT DISTINCT file_path, file_offset FROM image_rows WHERE image_id = 2 OR error_type = 'same_image'"
    )
    assert len(places) == 1
    assert str(places[0][0]).startswith("packs/")


def test_a_file_that_is_shown_without_a_link_stays(collection: Collection) -> None:
    collection.sql("DELETE FROM unfolded")
    assert "an image without a link to it shows it, too" in convert(collection, "--to", "pack", code=1)
    assert (collection.root / SAMPLES[1].path).read_bytes() == SAMPLES[1].body


# Another root


def test_a_collection_moves_to_another_root(collection: Collection) -> None:
    files, images, new = on_disk(collection.root), bodies(collection), collection.folder / "new" / "images"
    output = convert(collection, "--to-root", new)
    assert "5 images copied" in output
    assert f"{new} is the image root now" in output
    assert on_disk(new) == on_disk(collection.root) == files
    assert check(at(collection, new))["n_images"] == 5
    assert "already the image root" in convert(collection, "--to-root", new)
    output = convert(collection, "--to-root", new, "--remove-old")
    assert "5 images removed from the old image root" in output
    assert not collection.root.exists()
    assert bodies(at(collection, new)) == images


def test_the_old_root_is_refused_after_the_move(collection: Collection) -> None:
    new = collection.folder / "new"
    convert(collection, "--to-root", new)
    assert "it was replaced by that one" in collection.call("placeholders", code=2)


@pytest.mark.parametrize("to", ["pack", "files"])
def test_it_is_packed_before_it_moves_and_unpacked_after(collection: Collection, to: str) -> None:
    files, images, new = on_disk(collection.root), bodies(collection), collection.folder / "new"
    if to == "files":
        convert(collection, "--to", "pack")
    output = convert(collection, "--to", to, "--to-root", new, "--remove-old")
    order = ["packed (", "copied ("] if to == "pack" else ["copied (", "stored as files ("]
    assert sorted(order, key=output.index) == order
    assert bodies(at(collection, new)) == images
    assert check(at(collection, new))["n_unused"] == 0
    if to == "files":
        assert on_disk(new) == files
    assert not collection.root.exists()


def test_strangers_stay_at_the_old_root(collection: Collection) -> None:
    (collection.root / "notes.txt").write_text("mine", encoding="utf-8")
    output = convert(collection, "--to-root", collection.folder / "new", "--remove-old")
    assert "contains other files, too: those stay" in output
    assert on_disk(collection.root) == {"notes.txt": b"mine"}


def test_a_damaged_file_keeps_the_old_root(collection: Collection) -> None:
    truncated(collection.root / SAMPLES[2].path)
    new = collection.folder / "new"
    output = convert(collection, "--to-root", new, "--remove-old", code=1)
    assert f"{collection.root} is still the image root" in output
    assert not (new / SAMPLES[2].path).exists()
    assert (collection.root / SAMPLES[3].path).exists()
    (collection.root / SAMPLES[2].path).write_bytes(SAMPLES[2].body or b"")  # mended
    assert "1 image copied" in convert(collection, "--to-root", new, "--remove-old")


def test_a_copy_that_somebody_has_taken_away_keeps_the_old_root(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    new, images = collection.folder / "new", bodies(collection)
    rename = system.rename

    def rename_after_a_thief(old: Path, to: Path) -> None:
        if to == new.absolute() / SAMPLES[3].path:
            old.unlink()
        rename(old, to)

    monkeypatch.setattr(system, "rename", rename_after_a_thief)
    output = convert(collection, "--to-root", new, code=1)
    assert "1 image left" in output
    assert "another process has taken its copy" in output
    assert "is still the image root" in output
    assert bodies(collection) == images
    monkeypatch.setattr(system, "rename", rename)
    assert "1 image copied" in convert(collection, "--to-root", new)
    assert bodies(at(collection, new)) == images


def test_a_copy_that_was_made_by_other_means_is_verified(collection: Collection) -> None:
    new = collection.folder / "new"
    shutil.copytree(collection.root, new)
    flipped(new / SAMPLES[2].path)
    output = convert(collection, "--to-root", new)
    assert "1 image copied" in output
    assert "4 already there" in output
    assert check(at(collection, new))["n_images"] == 5


def test_a_shard_that_was_copied_badly_is_copied_again(collection: Collection) -> None:
    convert(collection, "--to", "pack")
    new = collection.folder / "new"
    shutil.copytree(collection.root, new)
    for shard in (new / "packs").glob("*.tar"):
        flipped_at = shard.read_bytes().index(b"a raw file")
        with shard.open("r+b") as file:
            file.seek(flipped_at)
            file.write(b"!")
    convert(collection, "--to-root", new)
    assert check(at(collection, new))["n_images"] == 5


def test_a_folder_that_was_never_the_root_is_not_emptied(collection: Collection) -> None:
    new, other = collection.folder / "new", collection.folder / "other"
    convert(collection, "--to-root", new)
    shutil.copytree(new, other)
    output = convert(at(collection, other), "--to-root", new, "--remove-old", code=2)
    assert "was never the image root of this ledger" in output
    assert on_disk(other) == on_disk(new)


# Options


def test_a_dry_run_counts_and_changes_nothing(collection: Collection) -> None:
    before, ledger = on_disk(collection.root), collection.ledger.read_bytes()
    found = json.loads(convert(collection, "--to", "pack", "--to-root", collection.folder / "new", "--dry-run", "--json"))
    assert (found["n_files"], found["n_packed"], found["n_to_convert"], found["n_to_copy"]) == (5, 0, 5, 5)
    assert found["bytes_to_convert"] == found["bytes_to_copy"] == found["file_bytes"] == sum(map(len, bodies_of_five(collection)))
    assert "5 images to be packed" in convert(collection, "--to", "pack", "--dry-run")
    assert (on_disk(collection.root), collection.ledger.read_bytes()) == (before, ledger)
    assert not (collection.folder / "new").exists()


def bodies_of_five(collection: Collection) -> list[bytes]:
    return [body for name, body in on_disk(collection.root).items() if not name.startswith(".")]


def test_a_disk_that_is_too_small_is_said_before_anything_is_copied(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_room, "room", lambda path: disk_room.DiskRoom(1000, 1))
    new = collection.folder / "new"
    assert "needed, but" in convert(collection, "--to-root", new, code=1)
    assert on_disk(new) == {}


def test_the_summary_for_scripts(collection: Collection) -> None:
    found = json.loads(convert(collection, "--to", "pack", "--json"))
    assert (found["ok"], found["packed"]["n_images"], found["packed"]["n_left"]) == (True, 5, 0)


def test_a_run_says_what_it_did(collection: Collection) -> None:
    convert(collection, "--to", "pack")
    assert collection.rows("SELECT command, n_done, ending FROM runs ORDER BY run_id DESC LIMIT 1") == [
        ("store convert", 5, "ended")
    ]


# Kills


PACK_POINTS = ("put.appended", "convert.put", "convert.settled", "convert.removed")
UNPACK_POINTS = ("put.written", "put.named", "convert.put", "convert.settled", "convert.forgotten")
MOVE_POINTS = ("convert.copied", "convert.verified", "convert.switched", "convert.old_removed")


@pytest.mark.slow
@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("point", PACK_POINTS)
def test_killed_while_packing_it_goes_on(tmp_path: Path, point: str, passes: int) -> None:
    collection = made(tmp_path, MANY)
    images, files = bodies(collection), on_disk(collection.root)
    collection.run("store", "convert", "--to", "pack", code=KILLED, crash_at=f"{point}:{passes}")
    assert bodies(collection) == images
    collection.run("store", "convert", "--to", "pack")
    assert bodies(collection) == images
    report = check(collection)
    assert (report["n_unused"], report["n_packed"]) == (0, len(MANY) + 1)
    collection.run("store", "convert", "--to", "files")
    assert on_disk(collection.root) == files


@pytest.mark.slow
@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("point", UNPACK_POINTS)
def test_killed_while_unpacking_it_goes_on(tmp_path: Path, point: str, passes: int) -> None:
    collection = made(tmp_path, MANY)
    images, files = bodies(collection), on_disk(collection.root)
    collection.run("store", "convert", "--to", "pack", "--shard-size", "100k")
    collection.run("store", "convert", "--to", "files", code=KILLED, crash_at=f"{point}:{passes}")
    assert bodies(collection) == images
    collection.run("store", "convert", "--to", "files")
    assert bodies(collection) == images
    assert on_disk(collection.root) == files
    assert check(collection)["n_packed"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("point", [*MOVE_POINTS, "convert.shard_copied"])
def test_killed_while_moving_one_of_the_roots_is_whole(tmp_path: Path, point: str, packed: bool) -> None:
    collection, new = made(tmp_path, MANY), tmp_path / "new"
    images = bodies(collection)
    if packed:
        collection.run("store", "convert", "--to", "pack")
    elif point == "convert.shard_copied":
        return
    words = ("store", "convert", "--to-root", new, "--remove-old")
    collection.run(*words, code=KILLED, crash_at=point)
    whole = new if point in ("convert.switched", "convert.old_removed") else collection.root
    assert bodies(at(collection, whole)) == images
    check(at(collection, whole))
    collection.run(*words)
    assert bodies(at(collection, new)) == images
    check(at(collection, new))
    assert not collection.root.exists() or [*on_disk(collection.root)] == []


@pytest.mark.slow
def test_killed_between_the_row_and_the_file_any_command_goes_on(tmp_path: Path) -> None:
    """The old file is listed in the ledger, as those of placeholders are: `check` knows it, and the next owner removes it."""
    collection = made(tmp_path, MANY)
    collection.run("store", "convert", "--to", "pack", code=KILLED, crash_at="convert.settled")
    assert check(collection)["n_to_set_aside"] == 200
    collection.run("placeholders")
    report = check(collection)
    assert (report["n_to_set_aside"], report["n_packed"], report["n_unused"]) == (0, 200, 0)


# A disk and a machine that fail


def failing_after(n: int, code: int, act: Callable[..., int]) -> Callable[..., int]:
    calls = iter(range(n))

    def call(*arguments: Any) -> int:
        if next(calls, None) is None:
            raise OSError(code, os.strerror(code))
        return act(*arguments)

    return call


@pytest.mark.parametrize("words", [("--to", "pack"), ("--to", "files"), ("--to-root", "new")], ids=lambda words: " ".join(words))
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_disk_that_is_full_ends_it_in_order(
    collection: Collection, words: tuple[str, str], call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if words == ("--to", "files"):
        convert(collection, "--to", "pack")
    images = bodies(collection)
    for n in range(1, 8):
        with monkeypatch.context() as broken:
            broken.setattr(system, call, failing_after(n, errno.ENOSPC, getattr(system, call)))
            code = cli_code(collection, *words)
        assert bodies(collection) == images
        if not code:
            break
    assert code == 0 or words[0] != "--to" or call != "rename"
    convert(collection, *words)
    done = at(collection, collection.folder / "new") if words[0] == "--to-root" else collection
    assert bodies(done) == images
    assert not list(done.root.rglob(".*.part"))
    assert check(done)["n_unused"] == 0


def cli_code(collection: Collection, *words: str) -> int:
    """The exit code, which is 0 or 1: with 1 one line says that the disk is full."""
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output), chdir(collection.folder):
        code = cli.main([*collection.command("store", "convert", *words, "--no-progress")[3:]])
    assert code in (0, 1)
    assert not code or output.getvalue().count(os.strerror(errno.ENOSPC)) == 1, output.getvalue()
    return code


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ESTALE])
def test_an_error_that_says_nothing_about_an_image_ends_it(
    collection: Collection, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Any:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(reading, "pieces", fail)
    output = convert(collection, "--to", "pack", code=1)
    assert re.search(rf"d4c-images: {collection.root}/\S+: {os.strerror(code)}$", output, re.M), output
    assert "left" not in output


def test_an_unreadable_part_of_a_shard_costs_its_own_image_alone(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is copied with zeros in its place, so that a move is possible once the image is queued again."""
    convert(collection, "--to", "pack")
    ((path, offset),) = collection.rows("SELECT file_path, file_offset FROM image_rows WHERE image_id = 3")
    pread = os.pread

    def broken(fd: int, n: int, at: int) -> bytes:
        if Path(f"/proc/self/fd/{fd}").readlink().name == Path(str(path)).name and at <= int(str(offset)) < at + n and n > 512:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(fd, n, at)

    monkeypatch.setattr("d4c_images.collection.move_root.os.pread", broken)
    monkeypatch.setattr("d4c_images.collection.move_root.HOLE_BYTES", 1024)
    convert(collection, "--to-root", "new", code=1)
    assert collection.rows("SELECT count(*) FROM checkpoints WHERE name = 'move'") == [(0,)]


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--to", "pack"), ("--to-root", "new")], ids=lambda words: " ".join(words))
def test_a_signal_stops_it_after_a_chunk_and_it_goes_on(tmp_path: Path, words: tuple[str, str]) -> None:
    collection = made(tmp_path, MANY)
    images = bodies(collection)
    process = collection.start("store", "convert", *words, "--no-progress")
    process.send_signal(signal.SIGTERM)  # at whatever moment: it may not listen yet
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (75, 0, -signal.SIGTERM), output
    assert "internal error" not in output
    collection.run("store", "convert", *words)
    assert bodies(at(collection, tmp_path / "new") if words[0] == "--to-root" else collection) == images


def test_a_signal_is_heeded_between_two_chunks(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    images, settled = bodies(collection), []

    def point(name: str) -> None:
        if name == "convert.removed" and not settled:
            settled.append(name)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("d4c_images.crash.point", point)
    output = convert(collection, "--to", "pack", code=75)
    assert "SIGTERM: stopped; nothing is lost, run the same command again to resume" in output
    assert "2 images packed" in output
    assert bodies(collection) == images
    assert "3 images packed" in convert(collection, "--to", "pack")
