"""Shards: tar files that anybody reads, appended to in a safe order, and made whole again wherever a writer was cut off."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from d4c_images.errors import StoreError
from d4c_images.model import Blob
from d4c_images.stores import Keep, Partial, Place, shard
from d4c_images.stores import partial as system
from d4c_images.stores.pack import PackSettings, PackStore
from d4c_images.stores.partial import ImageNumbers
from d4c_images.stores.shard_recovery import mend
from tests.stores.test_store_contract import BODY, body_at, failing, files, left_behind, put, written
from tests.support.patience import PATIENCE_S

TOKEN = "00c0ffee"
FIRST = f"packs/{TOKEN}-000000.tar"
SECOND = f"packs/{TOKEN}-000001.tar"
ID = 1234567890
PROJECT = Path(__file__).parents[2]
Wanted = Callable[[Sequence[ImageNumbers]], Sequence[bool]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PackStore]:
    opened = PackStore(tmp_path, PackSettings(TOKEN))
    yield opened
    opened.close()


def all_of(names: Sequence[ImageNumbers]) -> list[bool]:
    return [True] * len(names)


def none_of(names: Sequence[ImageNumbers]) -> list[bool]:
    return [False] * len(names)


def end_of(place: Place, body: bytes = BODY) -> int:
    assert place.offset is not None
    return place.offset + len(body)


def members(path: Path) -> dict[str, bytes]:
    """By Python's own reader, which knows nothing of us."""
    with tarfile.open(path) as tar:
        return {member.name: file.read() for member in tar if (file := tar.extractfile(member)) is not None}


# What others read.


def test_a_shard_is_a_tar_file_after_each_put(store: PackStore, tmp_path: Path) -> None:
    expected: dict[str, bytes] = {}
    for number, extension in enumerate(("jpg", "png", "dng", "jpg")):
        body = os.urandom(1000 * number + 1)
        put(store, Keep(written(store, ID, number, body=body), extension))
        expected[f"{ID}-{number:02d}.{extension}"] = body
        found = members(tmp_path / FIRST)
        assert {name: found[name] for name in found if not name.endswith(".json")} == expected
        listed = subprocess.run(["tar", "tf", tmp_path / FIRST], capture_output=True, text=True, check=True)
        assert (listed.stdout.splitlines(), listed.stderr) == (list(found), "")
        assert (tmp_path / FIRST).stat().st_size % shard.TAR_BLOCK_BYTES == 0


def test_the_members_of_an_image_are_a_sample_of_webdataset(store: PackStore, tmp_path: Path) -> None:
    """Neighbours with the same name up to its first point; keys are what stands behind it."""
    blob = Blob("", len(BODY), bytes(range(32)), "image/jpeg", 40, 30, bytes(32))
    put(store, *(Keep(written(store, ID, n), "jpg", blob=blob, url=f"https://example.org/é/{n}.jpg") for n in range(3)))
    samples: list[dict[str, bytes]] = []
    last = None
    for name, body in members(tmp_path / FIRST).items():
        key, _, extension = name.partition(".")
        if key != last:
            samples.append({})
        samples[-1][extension] = body
        last = key
    assert [set(sample) for sample in samples] == [{"json", "jpg"}] * 3
    assert json.loads(samples[1]["json"]) == {
        "gbif_id": ID,
        "image_no": 1,
        "url": "https://example.org/é/1.jpg",
        "sha256": bytes(range(32)).hex(),
        "media_type": "image/jpeg",
        "width": 40,
        "height": 30,
        "original_sha256": bytes(32).hex(),
    }


def test_a_full_shard_is_followed_by_another(tmp_path: Path) -> None:
    store = PackStore(tmp_path, PackSettings(TOKEN, shard_bytes=2 * len(BODY)))
    places = [put(store, Keep(written(store, ID, n), "jpg"))[0] for n in range(5)]
    store.close()
    assert [place.path for place in places] == [FIRST, FIRST, SECOND, SECOND, SECOND.replace("1.tar", "2.tar")]
    assert [body_at(tmp_path, place) for place in places] == [BODY] * 5
    assert files(tmp_path) == sorted({place.path for place in places})


WRITER = """
import sys
from pathlib import Path
from d4c_images.stores import Keep
from d4c_images.stores.pack import PackSettings, PackStore
root, gbif_id = Path(sys.argv[1]), int(sys.argv[2])
store = PackStore(root, PackSettings("00c0ffee", shard_bytes=5_000))
for n in range(40):
    partial = store.begin(gbif_id, n, 1)
    partial.write(b"%d-%02d" % (gbif_id, n))
    for place in store.put([Keep(partial, "jpg")]):
        print(place.path, place.offset)
"""


def test_many_writers_never_share_a_shard(tmp_path: Path) -> None:
    """Processes as on any number of nodes: nothing but the disk tells them of each other."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(n)], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        for n in (1, 2, 3)
    ]
    outputs = [writer.communicate(timeout=PATIENCE_S)[0].splitlines() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    shards = [{line.split()[0] for line in lines} for lines in outputs]
    assert sum(map(len, shards)) == len(set.union(*shards)) == len(list((tmp_path / "packs").glob("*.tar")))
    for gbif_id, lines in zip((1, 2, 3), outputs, strict=True):
        for n, line in enumerate(lines):
            path, offset = line.split()
            assert body_at(tmp_path, Place(path, int(offset)), 4) == b"%d-%02d" % (gbif_id, n)


# The order of writes (I1).


def test_bytes_then_the_end_then_fsync_then_the_folders(store: PackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []

    def watch(what: str, real: Callable[..., int]) -> None:
        def call(fd: int, *args: object) -> int:
            calls.append((what, str(Path(f"/proc/self/fd/{fd}").readlink().relative_to(tmp_path))))
            return real(fd, *args)

        monkeypatch.setattr(system, what, call)

    watch("write", os.write)
    watch("fsync", os.fsync)
    put(store, *(Keep(written(store, ID, n), "jpg") for n in range(3)))
    of_shard = [call for call in calls if ".part" not in call[1]]
    assert of_shard == [("write", FIRST)] * 4 + [("fsync", FIRST), ("fsync", "packs"), ("fsync", ".")]
    calls.clear()
    put(store, Keep(written(store, ID, 3), "jpg"))
    assert [call for call in calls if ".part" not in call[1]] == [("write", FIRST)] * 2 + [("fsync", FIRST)]


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EIO])
def test_a_shard_that_has_failed_is_not_written_any_more(
    store: PackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """What the system has kept of a failed write is not to be known."""
    (before,) = put(store, Keep(written(store), "jpg"))
    partial = written(store, image_no=1)
    with monkeypatch.context() as broken:
        broken.setattr(system, call, failing(code))
        with pytest.raises(StoreError, match=f"{FIRST}.*{os.strerror(code)}"):
            store.put([Keep(partial, "jpg")])
    partial.abort()
    (after,) = put(store, Keep(written(store, image_no=2), "jpg"))
    assert (before.path, after.path) == (FIRST, SECOND)
    assert mend(tmp_path, TOKEN, {FIRST: end_of(before), SECOND: end_of(after)}, none_of) == 0
    assert f"{ID}-00.jpg" in members(tmp_path / FIRST)
    assert files(tmp_path) == [FIRST, SECOND]


# Cut off.


def test_a_torn_end_is_cut_wherever_it_is_torn(store: PackStore, tmp_path: Path) -> None:
    """At every byte of the second image and its JSON: the first stays as it is, and the second is there whole or not at all."""
    first, second = b"first" * 200, b"second" * 90
    (kept,) = put(store, Keep(written(store, body=first), "jpg"))
    before = (tmp_path / FIRST).read_bytes()
    (late,) = put(store, Keep(written(store, image_no=1, body=second), "jpg"))
    whole = (tmp_path / FIRST).read_bytes()
    start, end = shard.up(end_of(kept, first)), shard.up(end_of(late, second))
    with (tmp_path / FIRST).open("rb") as file:
        for size in range(start, len(whole) + 1):
            assert len(list(shard.samples(file.fileno(), start, size))) == (size >= end), size
    blocks = range(start, len(whole), shard.TAR_BLOCK_BYTES)
    for size in (block + byte for block in blocks for byte in (0, 1, shard.TAR_BLOCK_BYTES - 1)):
        (tmp_path / FIRST).write_bytes(whole[:size])
        mend(tmp_path, TOKEN, {FIRST: end_of(kept, first)}, none_of)
        assert (tmp_path / FIRST).read_bytes() == (whole if size >= end else before), size


@pytest.mark.parametrize("damage", [b"\0" * 3000, b"\xff" * 3000])
def test_what_a_power_cut_has_made_of_the_end_is_cut(store: PackStore, tmp_path: Path, damage: bytes) -> None:
    """Bytes that were never made durable may be anything, also where those behind them have come to the disk."""
    (kept,) = put(store, Keep(written(store), "jpg"))
    before = (tmp_path / FIRST).read_bytes()
    put(store, *(Keep(written(store, image_no=n, body=b"x" * 900), "jpg") for n in (1, 2, 3)))
    with (tmp_path / FIRST).open("r+b") as file:
        file.seek(shard.up(end_of(kept)))
        file.write(damage)
    mend(tmp_path, TOKEN, {FIRST: end_of(kept)}, all_of)
    assert (tmp_path / FIRST).read_bytes() == before


def test_what_is_whole_but_not_written_down_is_laid_out_and_taken_over(store: PackStore, tmp_path: Path) -> None:
    (kept,) = put(store, Keep(written(store), "jpg"))
    put(store, *(Keep(written(store, image_no=n), "jpg") for n in (1, 2, 3)))
    asked: list[ImageNumbers] = []

    def wanted(names: Sequence[ImageNumbers]) -> list[bool]:
        asked.extend(names)
        return [image_no != 2 for _, image_no, _ in names]

    assert mend(tmp_path, TOKEN, {FIRST: end_of(kept)}, wanted) == 2
    assert asked == [(ID, 1, 0), (ID, 2, 0), (ID, 3, 0)]
    assert [name for name in members(tmp_path / FIRST) if "json" not in name] == [f"{ID}-0{n}.jpg" for n in (0, 1, 2)]
    other = PackStore(tmp_path, PackSettings(TOKEN))
    assert (other.find(ID, 1), other.find(ID, 2)) == ([f"123/456/{ID}-01.jpg"], [])
    place = other.confirm(f"123/456/{ID}-01.jpg", Blob("", len(BODY), bytes(32), "image/jpeg", 1, 1))
    assert (place.path, body_at(tmp_path, place)) == (SECOND, BODY)
    other.remove(f"123/456/{ID}-03.jpg")
    other.close()
    assert files(tmp_path) == [FIRST, SECOND]
    assert not (tmp_path / "123").exists(), "folders count like files"


def test_nothing_is_touched_that_a_row_names(store: PackStore, tmp_path: Path) -> None:
    """A disk may have damaged it, or lost some: that is for `check` to tell."""
    places = put(store, *(Keep(written(store, ID, n), "jpg") for n in range(3)))
    whole = (tmp_path / FIRST).read_bytes()
    damaged = whole[:600] + b"\xff" * 600 + whole[1200:]
    for state in (whole, damaged, whole[: end_of(places[1])]):
        (tmp_path / FIRST).write_bytes(state)
        assert mend(tmp_path, TOKEN, {FIRST: end_of(places[2])}, all_of) == 0
        assert (tmp_path / FIRST).read_bytes() == state


def test_the_shards_of_another_ledger_are_not_ours(store: PackStore, tmp_path: Path) -> None:
    put(store, Keep(written(store), "jpg"))
    shutil.copy(tmp_path / FIRST, tmp_path / "packs/12345678-000000.tar")
    os.truncate(tmp_path / "packs/12345678-000000.tar", 700)
    (tmp_path / "packs/mine.tar").write_bytes(b"a user's")
    mend(tmp_path, TOKEN, {}, none_of)
    assert (tmp_path / "packs/12345678-000000.tar").stat().st_size == 700
    assert (tmp_path / "packs/mine.tar").read_bytes() == b"a user's"


def test_what_others_have_put_into_a_shard_is_no_image_of_ours(store: PackStore, tmp_path: Path) -> None:
    (place,) = put(store, Keep(written(store), "jpg"))
    head = shard.head("note", "txt", 4, 0, b"{}")
    with (tmp_path / FIRST).open("r+b") as file:
        file.seek(shard.up(end_of(place)))
        file.write(head + b"note" + shard.padding(4) + shard.END)
        assert [sample.name for sample in shard.samples(file.fileno(), 0, 10**6)] == [f"{ID}-00.jpg"]


def test_whole_images_that_no_row_names_stay_and_a_shard_without_any_goes(store: PackStore, tmp_path: Path) -> None:
    """A ledger may have come from a backup: what it does not know is not thrown away."""
    put(store, Keep(written(store), "jpg"))
    before = (tmp_path / FIRST).read_bytes()
    (tmp_path / SECOND).write_bytes(before[:700])
    mend(tmp_path, TOKEN, {}, none_of)
    assert files(tmp_path) == [FIRST]
    assert (tmp_path / FIRST).read_bytes() == before


def test_a_late_writer_disturbs_nobody(store: PackStore, tmp_path: Path) -> None:
    """Taken for dead in the middle of a put, mended, and then it goes on: what a row names stays, the rest can be mended again."""
    (kept,) = put(store, Keep(written(store), "jpg"))
    before = (tmp_path / FIRST).read_bytes()
    put(store, Keep(written(store, image_no=1), "jpg"))
    mend(tmp_path, TOKEN, {FIRST: end_of(kept)}, none_of)
    os.truncate(tmp_path / FIRST, len(before))
    (late,) = put(store, Keep(written(store, image_no=2), "jpg"))
    assert late.path == FIRST
    assert body_at(tmp_path, kept) == BODY
    assert tarfile.is_tarfile(tmp_path / FIRST)
    mend(tmp_path, TOKEN, {FIRST: end_of(kept)}, none_of)
    assert list(members(tmp_path / FIRST)) == [f"{ID}-00.json", f"{ID}-00.jpg"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("which", ["json", "jpg"])
def test_a_member_that_is_no_file_is_no_image_and_no_word_about_one(tmp_path: Path, kind: bytes, which: str) -> None:
    path = tmp_path / "theirs.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for extension in ("json", "jpg"):
            member = tarfile.TarInfo(f"{ID}-00.{extension}")
            if extension == which:
                member.type, member.linkname = kind, "elsewhere.jpg"
            tar.addfile(member)
    with path.open("rb") as file:
        assert list(shard.samples(file.fileno(), 0, path.stat().st_size)) == []
        at = shard.sample_at(file.fileno(), 2 * shard.TAR_BLOCK_BYTES)
        assert (at is None) == (which == "jpg")


def test_two_writers_that_choose_the_same_number_get_shards_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have looked before either has made one."""
    monkeypatch.setattr("d4c_images.stores.pack.shard_names", lambda root, token: [])
    stores = [PackStore(tmp_path, PackSettings(TOKEN)) for _ in range(3)]
    places = [put(store, Keep(written(store, image_no=number), "jpg"))[0] for number, store in enumerate(stores)]
    assert [place.path for place in places] == [FIRST, SECOND, f"packs/{TOKEN}-000002.tar"]
    assert [body_at(tmp_path, place) for place in places] == [BODY] * 3
    for store in stores:
        store.close()


def test_a_body_that_becomes_shorter_while_it_is_packed_is_told_as_kept_by_nobody(
    store: PackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = put(store, Keep(written(store), "jpg"))
    partial = written(store, image_no=1)
    real = os.fstat

    def longer(fd: int) -> os.stat_result:
        """What it was a moment ago."""
        found = real(fd)
        return os.stat_result((*found[:6], found.st_size + 10, *found[7:]))

    with monkeypatch.context() as patch:
        patch.setattr("d4c_images.stores.pack.os.fstat", longer)
        with pytest.raises(StoreError, match="was truncated"):
            store.put([Keep(partial, "jpg")])
    (after,) = put(store, Keep(written(store, image_no=2), "jpg"))
    assert after.path == SECOND, "the shard that has failed is not appended to"
    assert [body_at(tmp_path, place) for place in (before, after)] == [BODY] * 2


# What is laid out and mended


def torn(root: Path, store: PackStore, *partials: Partial, extension: str = "jpg") -> list[Place]:
    """Whole images behind the last one that a row names, and the end of the tar file torn off."""
    places = put(store, *(Keep(partial, extension) for partial in partials))
    store.close()
    os.truncate(root / FIRST, shard.up(end_of(places[-1])))
    return places


def revised(store: PackStore, revision: int, body: bytes) -> Partial:
    partial = store.begin(ID, 0, 8, revision)
    partial.write(body)
    return partial


def test_new_bytes_of_an_image_are_laid_out_under_their_own_name(store: PackStore, tmp_path: Path) -> None:
    """Under that of the bytes before, they would take the place of these."""
    left_behind(tmp_path, "123/456/1234567890-00.jpg", b"the bytes before")
    torn(tmp_path, store, revised(store, 1, BODY))
    assert mend(tmp_path, TOKEN, {}, all_of) == 1
    assert files(tmp_path) == ["123/456/1234567890-00-r1.jpg", "123/456/1234567890-00.jpg"]
    assert (tmp_path / "123/456/1234567890-00.jpg").read_bytes() == b"the bytes before"
    assert (tmp_path / "123/456/1234567890-00-r1.jpg").read_bytes() == BODY


def test_what_is_laid_out_takes_the_place_of_what_an_earlier_lease_has_left(store: PackStore, tmp_path: Path) -> None:
    """One file of an image is there to be taken over, not two."""
    left_behind(tmp_path, "123/456/1234567890-00.png", b"torn")
    left_behind(tmp_path, "123/456/1234567890-01.png", b"another image's")
    torn(tmp_path, store, written(store))
    assert mend(tmp_path, TOKEN, {}, all_of) == 1
    assert files(tmp_path) == ["123/456/1234567890-00.jpg", "123/456/1234567890-01.png"]


def test_a_mended_end_is_on_the_disk_before_anybody_writes_on(
    store: PackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kept, *_) = torn(tmp_path, store, written(store), written(store, image_no=1))
    synced: list[bytes] = []

    def watch(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink() == tmp_path / FIRST:
            synced.append((tmp_path / FIRST).read_bytes())
        os.fsync(fd)

    monkeypatch.setattr(system, "fsync", watch)
    assert mend(tmp_path, TOKEN, {FIRST: end_of(kept)}, all_of) == 1
    assert synced == [(tmp_path / FIRST).read_bytes()], "as it is now"
    assert list(members(tmp_path / FIRST)) == [f"{ID}-00.json", f"{ID}-00.jpg"]


def test_leftovers_of_a_store_of_files_are_cleared_too(store: PackStore, tmp_path: Path) -> None:
    """A collection may be kept in another way than before, and what a shard held may have been on its way into a file."""
    left_behind(tmp_path, "123/456/.1234567890-00.8.part", b"half")
    left_behind(tmp_path, "123/456/.1234567890-01.8.part", b"another image's")
    store.clear_partials(ID, 0)
    assert files(tmp_path) == ["123/456/.1234567890-01.8.part"]


def test_a_shard_that_is_exactly_full_is_followed_by_another(tmp_path: Path) -> None:
    first = PackStore(tmp_path, PackSettings(TOKEN))
    (place,) = put(first, Keep(written(first), "jpg"))
    end = shard.up(end_of(place))
    first.close()
    for shard_bytes, n_shards in ((end, 2), (end + 1, 1)):
        root = tmp_path / str(shard_bytes)
        root.mkdir()
        store = PackStore(root, PackSettings(TOKEN, shard_bytes))
        for number in range(2):
            put(store, Keep(written(store, image_no=number), "jpg"))
        store.close()
        assert len(files(root)) == n_shards


def test_only_a_json_is_the_word_about_an_image(tmp_path: Path) -> None:
    path = tmp_path / "theirs.tar"
    for extension, n in (("json", 1), ("txt", 0), ("jpg", 0)):
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
            for name in (f"{ID}-00.{extension}", f"{ID}-00.png"):
                tar.addfile(tarfile.TarInfo(name))
        with path.open("rb") as file:
            assert len(list(shard.samples(file.fileno(), 0, path.stat().st_size))) == n, extension
