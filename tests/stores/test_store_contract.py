"""What every store promises (`d4c_images/stores/__init__.py`), run on each implementation; then what the local one adds.

What packs add is in `test_packs.py`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from d4c_images.errors import StoreError
from d4c_images.model import Blob
from d4c_images.stores import Keep, Partial, Place, Store, reading
from d4c_images.stores import partial as system
from d4c_images.stores.local import LocalStore, sweep_part
from d4c_images.stores.pack import PackSettings, open_store

BODY = b"not an image, but bytes are bytes" * 1000
Open = Callable[[Path], Store]
STORES: dict[str, Open] = {
    "files": lambda root: open_store(root, None),
    "pack": lambda root: open_store(root, PackSettings("00c0ffee")),
}


@pytest.fixture(params=STORES)
def open_one(request: pytest.FixtureRequest) -> Open:
    return STORES[request.param]


@pytest.fixture
def store(open_one: Open, tmp_path: Path) -> Iterator[Store]:
    opened = open_one(tmp_path)
    yield opened
    opened.close()


def written(store: Store, gbif_id: int = 1234567890, image_no: int = 0, lease_id: int = 7, body: bytes = BODY) -> Partial:
    partial = store.begin(gbif_id, image_no, lease_id)
    for at in range(0, len(body), 10_000):
        partial.write(body[at : at + 10_000])
    partial.flush()
    return partial


def put(store: Store, *keeps: Keep) -> list[Place]:
    """What nobody has taken away is put."""
    places = store.put(keeps)
    assert None not in places
    return [place for place in places if place is not None]


def body_at(root: Path, place: Place, size: int = len(BODY)) -> bytes:
    return b"".join(reading.pieces(root, place, size))


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def left_behind(root: Path, name: str = "123/456/1234567890-00.jpg", body: bytes = BODY) -> Path:
    """A file that a dead lease has left."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def test_what_was_put_is_there_whole(store: Store, tmp_path: Path) -> None:
    (place,) = put(store, Keep(written(store), "jpg"))
    assert body_at(tmp_path, place) == BODY
    assert reading.extension_of(tmp_path, place) == "jpg"
    with pytest.raises(OSError, match="too short"):
        body_at(tmp_path, place, 10 * len(BODY))


def test_each_of_a_group_is_there_and_stays_there(store: Store, tmp_path: Path) -> None:
    bodies = [bytes([number]) * (500 + 7 * number) for number in range(40)]
    places = []
    for at in (0, 20):
        group = [Keep(written(store, 123, at + n, body=bodies[at + n]), "png") for n in range(20)]
        places += put(store, *group)
    assert len(set(places)) == 40
    assert [body_at(tmp_path, place, len(body)) for place, body in zip(places, bodies, strict=True)] == bodies


def test_a_big_body_is_there_whole(store: Store, tmp_path: Path) -> None:
    body = os.urandom(3 * 2**20 + 5)
    (place,) = put(store, Keep(written(store, body=body), "tif"))
    assert body_at(tmp_path, place, len(body)) == body


def test_nothing_wears_a_final_name_before_it_is_put(store: Store) -> None:
    partial = written(store)
    assert store.find(1234567890, 0) == []
    assert partial.path.read_bytes() == BODY
    assert partial.path.name.startswith(".")


@pytest.mark.parametrize("body", [b"", b"x", bytes(64 * 1024), bytes(64 * 1024 + 1)])
def test_a_partial_exists_once_it_is_flushed(store: Store, tmp_path: Path, body: bytes) -> None:
    partial = store.begin(1234567890, 0, 7)
    partial.flush()
    assert files(tmp_path) == []
    for piece in (body, b"and", b"more"):
        partial.write(piece)
    partial.flush()
    assert partial.path.read_bytes() == body + b"andmore"
    partial.write(b" later")
    partial.flush()
    assert partial.path.read_bytes() == body + b"andmore later"


def test_a_body_that_was_not_flushed_is_put_as_well(store: Store, tmp_path: Path) -> None:
    partial = store.begin(1234567890, 0, 7)
    partial.write(b"small")
    (place,) = put(store, Keep(partial, "jpg"))
    assert body_at(tmp_path, place, 5) == b"small"


def test_what_was_not_flushed_is_forgotten_like_the_rest(store: Store, tmp_path: Path) -> None:
    partial = store.begin(1234567890, 0, 7)
    partial.write(b"first try")
    partial.abort()
    partial.flush()
    assert files(tmp_path) == []
    partial.write(b"second try")
    partial.rewrite(b"made smaller")
    (place,) = put(store, Keep(partial, "jpg"))
    assert body_at(tmp_path, place, 12) == b"made smaller"


def test_an_aborted_partial_leaves_nothing_and_may_begin_anew(store: Store, tmp_path: Path) -> None:
    partial = written(store)
    partial.abort()
    partial.abort()
    assert files(tmp_path) == []
    partial.write(b"second try")
    (place,) = put(store, Keep(partial, "jpg"))
    assert body_at(tmp_path, place, 10) == b"second try"


def test_abort_after_put_does_nothing_and_no_partial_is_left(store: Store, tmp_path: Path) -> None:
    partial = written(store)
    (place,) = put(store, Keep(partial, "jpg"))
    partial.abort()
    assert files(tmp_path) == [place.path]


def test_a_rewritten_partial_holds_the_new_bytes_only(store: Store, tmp_path: Path) -> None:
    partial = written(store)
    partial.rewrite(b"small")
    (place,) = put(store, Keep(partial, "jpg"))
    assert body_at(tmp_path, place, 5) == b"small"


def test_the_same_image_under_two_leases_does_not_meet_itself(store: Store, tmp_path: Path) -> None:
    early, late = written(store, lease_id=7, body=b"early"), written(store, lease_id=8, body=b"late")
    assert early.path.read_bytes() == b"early"
    (place,) = put(store, Keep(late, "jpg"))
    assert early.path.read_bytes() == b"early"
    assert body_at(tmp_path, place, 4) == b"late"


def test_an_image_that_comes_again_leaves_no_other_file(store: Store, tmp_path: Path) -> None:
    left_behind(tmp_path)
    left_behind(tmp_path, "123/456/1234567890-01.jpg")
    (place,) = put(store, Keep(written(store, body=b"png"), "png", may_replace=True))
    assert files(tmp_path) == sorted([place.path, "123/456/1234567890-01.jpg"])
    assert body_at(tmp_path, place, 3) == b"png"


def test_leftovers_of_dead_leases_are_cleared_and_nothing_else(store: Store, tmp_path: Path) -> None:
    (place,) = put(store, Keep(written(store), "jpg"))
    written(store, lease_id=7)
    written(store, lease_id=8)
    other = written(store, image_no=1, lease_id=8)
    store.clear_partials(1234567890, 0)
    assert files(tmp_path) == sorted([str(other.path.relative_to(tmp_path)), place.path])
    store.clear_partials(999, 0)  # a folder that is not there


def test_a_partial_that_was_taken_away_is_told_and_disturbs_no_other(store: Store, tmp_path: Path) -> None:
    stolen, kept = written(store), written(store, image_no=1)
    store.clear_partials(1234567890, 0)
    nowhere, place = store.put([Keep(stolen, "jpg"), Keep(kept, "jpg")])
    assert nowhere is None
    assert place is not None
    assert body_at(tmp_path, place) == BODY
    assert store.find(1234567890, 0) == []


def test_what_a_dead_lease_has_left_is_found_and_taken_over(store: Store, tmp_path: Path) -> None:
    for number in (0, 1, 10, 100):
        left_behind(tmp_path, f"123/456/1234567890-{number:02d}.jpg")
    assert store.find(1234567890, 1) == ["123/456/1234567890-01.jpg"]
    assert store.find(123456789, 1) == []
    assert store.path_of("123/456/1234567890-01.jpg").read_bytes() == BODY
    place = store.confirm("123/456/1234567890-01.jpg", Blob("", len(BODY), bytes(32), "image/jpeg", 1, 1))
    assert body_at(tmp_path, place) == BODY
    assert store.find(1234567890, 0) == ["123/456/1234567890-00.jpg"]


def test_a_removed_file_may_be_gone_already(store: Store, tmp_path: Path) -> None:
    left_behind(tmp_path)
    store.remove("123/456/1234567890-00.jpg")
    store.remove("123/456/1234567890-00.jpg")
    assert store.find(1234567890, 0) == []


TROUBLES = [errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EIO]


def failing(code: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", TROUBLES)
def test_a_disk_that_takes_no_bytes_is_a_store_error_with_the_path(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(system, "write", failing(code))
    with pytest.raises(StoreError, match=f"1234567890-00.*{os.strerror(code)}"):
        written(store, body=b"x")


@pytest.mark.parametrize("code", TROUBLES)
def test_a_put_that_cannot_be_made_durable_raises_and_loses_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (before,) = put(store, Keep(written(store), "jpg"))
    partial = written(store, image_no=1)
    with monkeypatch.context() as broken:
        broken.setattr(system, "fsync", failing(code))
        with pytest.raises(StoreError, match=os.strerror(code)):
            store.put([Keep(partial, "jpg")])
    (after,) = put(store, Keep(written(store, image_no=2), "jpg"))
    assert [body_at(tmp_path, place) for place in (before, after)] == [BODY, BODY]


def test_a_file_where_a_folder_should_be_is_a_store_error(store: Store, tmp_path: Path) -> None:
    (tmp_path / "123").write_text("in the way")
    (tmp_path / "packs").write_text("in the way")
    with pytest.raises(StoreError, match="123"):
        written(store, body=b"x")
    with pytest.raises(StoreError, match="123"):
        store.find(1234567890, 0)


def test_a_missing_root_is_told_at_once(open_one: Open, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        open_one(tmp_path / "nowhere")


def test_a_root_that_goes_away_is_not_made_anew(open_one: Open, tmp_path: Path) -> None:
    """An unmounted file system leaves an empty folder of the same name behind, on a disk that was never meant for images."""
    root = tmp_path / "images"
    root.mkdir()
    store = open_one(root)
    root.rename(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(StoreError, match="images: the image folder was moved"):
            written(store, body=b"x")
        assert not list(root.rglob("*"))
        root.mkdir(exist_ok=True)
    store.close()


def test_short_writes_are_completed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "write", lambda fd, body: os.write(fd, body[:7]))
    (place,) = put(store, Keep(written(store, body=b"more than seven bytes"), "jpg"))
    assert body_at(tmp_path, place, 21) == b"more than seven bytes"


# Files: the layout, and the order of writes (invariant I1): what was called, on which file, in which order.


@pytest.mark.parametrize(
    ("gbif_id", "image_no", "path"),
    [
        (1234567890, 0, "123/456/1234567890-00.jpg"),
        (1234567890, 99, "123/456/1234567890-99.jpg"),
        (1234567890, 100, "123/456/1234567890-100.jpg"),
        (12345, 3, "123/45/12345-03.jpg"),
        (123, 3, "123/123-03.jpg"),
        (7, 3, "7/7-03.jpg"),
    ],
)
def test_the_layout_is_that_of_existing_collections(tmp_path: Path, gbif_id: int, image_no: int, path: str) -> None:
    store = LocalStore(tmp_path)
    assert store.put([Keep(written(store, gbif_id, image_no), "jpg")]) == [Place(path)]
    assert store.find(gbif_id, image_no) == [path]
    store.close()


def test_a_put_that_gets_no_name_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    partial = written(store)
    monkeypatch.setattr(system, "rename", failing(errno.EROFS))
    with pytest.raises(StoreError, match="Read-only"):
        store.put([Keep(partial, "jpg")])
    store.close()


Call = tuple[str, str]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Call]:
    seen: list[Call] = []

    def name(fd_or_path: int | Path) -> str:
        path = Path(f"/proc/self/fd/{fd_or_path}").readlink() if isinstance(fd_or_path, int) else fd_or_path
        return str(path.relative_to(tmp_path))

    def watch(what: str, real: Callable[..., object], which: int) -> None:
        def call(*args: int | Path) -> object:
            seen.append((what, name(args[which])))
            return real(*args)

        monkeypatch.setattr(system, what, call)

    watch("write", os.write, 0)
    watch("fsync", os.fsync, 0)
    watch("rename", os.replace, 1)
    return seen


def assert_order(calls: list[Call], partials: list[str], finals: list[str], folders: list[str]) -> None:
    """All bytes, then all their fsyncs, then all names, then the folders: each is a promise about the one before."""
    last_write = {name: max(at for at, call in enumerate(calls) if call == ("write", name)) for name in partials}
    synced = {name: calls.index(("fsync", name)) for name in partials}
    named = [calls.index(("rename", name)) for name in finals]
    folders_synced = [calls.index(("fsync", name)) for name in folders]
    assert all(last_write[name] < synced[name] for name in partials)
    assert max(synced.values()) < min(named)
    assert max(named) < min(folders_synced)


def test_bytes_then_fsync_then_name_then_folder(tmp_path: Path, calls: list[Call]) -> None:
    store = LocalStore(tmp_path)
    partials = [written(store, 1234567890, number) for number in range(20)] + [written(store, 9876543210)]
    names = [str(partial.path.relative_to(tmp_path)) for partial in partials]
    places = store.put([Keep(partial, "jpg") for partial in partials])
    finals = [place.path for place in places if place]
    assert_order(calls, names, finals, ["123/456", "987/654", "123", "987", "."])
    assert calls.count(("fsync", "123/456")) == 1  # once for the group, not once per file
    store.close()


def test_parents_are_synced_by_whoever_meets_a_folder_first(tmp_path: Path, calls: list[Call]) -> None:
    """Another process may have made the folder and died before its name was on the disk."""
    (tmp_path / "123/456").mkdir(parents=True)
    store = LocalStore(tmp_path)
    store.put([Keep(written(store), "jpg")])
    assert ("fsync", "123") in calls
    calls.clear()
    store.put([Keep(written(store, image_no=1), "jpg")])
    assert ("fsync", "123") not in calls
    assert ("fsync", "123/456") in calls
    store.close()


def test_what_stands_there_already_is_made_durable_before_it_counts(tmp_path: Path, calls: list[Call]) -> None:
    store = LocalStore(tmp_path)
    final = tmp_path / "123/456/1234567890-00.jpg"
    final.parent.mkdir(parents=True)
    final.write_bytes(BODY)
    store.confirm("123/456/1234567890-00.jpg", Blob("", len(BODY), bytes(32), "image/jpeg", 1, 1))
    assert calls.index(("fsync", "123/456/1234567890-00.jpg")) < calls.index(("fsync", "123/456"))
    store.close()


def test_a_replaced_file_goes_only_after_the_new_one_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    store.put([Keep(written(store), "jpg")])
    seen: list[bool] = []

    def watch(fd: int) -> None:
        seen.append((tmp_path / "123/456/1234567890-00.jpg").exists())
        os.fsync(fd)

    monkeypatch.setattr(system, "fsync", watch)
    store.put([Keep(written(store), "png", may_replace=True)])
    assert seen == [True] * len(seen)
    assert seen
    store.close()


# What a store leaves alone


def test_a_put_that_may_not_replace_leaves_every_other_file_of_the_image(store: Store, tmp_path: Path) -> None:
    """An image that nobody has held before has no leftovers: what wears its name is somebody else's, or of an older collection."""
    others = ["1234567890-00.png", "1234567890-00.jpg.txt", "1234567890-01.jpg", "1234567890-00-r1.jpg"]
    for name in others:
        left_behind(tmp_path, f"123/456/{name}", b"theirs")
    (place,) = put(store, Keep(written(store), "jpg"))
    assert files(tmp_path) == sorted([place.path, *(f"123/456/{name}" for name in others)])
    assert all((tmp_path / "123/456" / name).read_bytes() == b"theirs" for name in others)


def test_a_put_that_may_replace_leaves_other_images_and_other_revisions(store: Store, tmp_path: Path) -> None:
    mine, others = "1234567890-00.png", ["1234567890-00-r1.jpg", "1234567890-001.jpg", "1234567890-01.jpg", ".1234567890-00.x"]
    for name in (mine, *others):
        left_behind(tmp_path, f"123/456/{name}", b"theirs")
    late = written(store, lease_id=9)
    (place,) = put(store, Keep(written(store), "jpg", may_replace=True))
    kept = [str(late.path.relative_to(tmp_path)), place.path, *(f"123/456/{name}" for name in others)]
    assert files(tmp_path) == sorted(kept)


def test_a_put_that_was_too_late_removes_nothing(store: Store, tmp_path: Path) -> None:
    """Whoever has taken its body away has put a file there, or will."""
    left_behind(tmp_path, "123/456/1234567890-00.png", b"theirs")
    partial = written(store)
    store.clear_partials(1234567890, 0)
    assert store.put([Keep(partial, "jpg", may_replace=True)]) == [None]
    assert files(tmp_path) == ["123/456/1234567890-00.png"]


def test_hidden_files_of_others_are_no_leftovers(store: Store, tmp_path: Path) -> None:
    """Nor are those of other images, whose names begin alike."""
    mine = written(store)
    folder = mine.path.parent
    stem = "1234567890-00"
    others = [f".{stem}.x", f".{stem}.8.part.bak", f".{stem}1.8.part", f".{stem}-r1.8.part", f"{stem}.8.part"]
    for name in others:
        (folder / name).write_bytes(b"theirs")
    store.clear_partials(1234567890, 0)
    assert files(folder) == sorted(others)
    written(store).abort()
    assert files(folder) == sorted(others)


def test_an_aborted_body_takes_nothing_along_that_it_has_not_written(store: Store, tmp_path: Path) -> None:
    """A body under the same lease that somebody else has written, before this one has begun its file."""
    other = written(store)
    store.begin(1234567890, 0, 7).abort()
    assert other.path.read_bytes() == BODY


def test_what_is_found_of_an_image_is_that_image_and_that_revision(store: Store, tmp_path: Path) -> None:
    for name in ("00.jpg", "00.png", "00-r1.jpg", "00-r10.jpg", "001.jpg", "0.jpg"):
        left_behind(tmp_path, f"123/456/1234567890-{name}")
    left_behind(tmp_path, "123/456/.1234567890-00.7.part")
    names = {revision: store.find(1234567890, 0, revision) for revision in (0, 1, 10, 2)}
    assert names == {
        0: ["123/456/1234567890-00.jpg", "123/456/1234567890-00.png"],
        1: ["123/456/1234567890-00-r1.jpg"],
        10: ["123/456/1234567890-00-r10.jpg"],
        2: [],
    }


def test_an_image_is_held_only_with_every_byte_of_it(store: Store) -> None:
    (place,) = put(store, Keep(written(store), "jpg"))
    assert store.holds(place, len(BODY))
    assert not store.holds(place, len(BODY) + 1)
    assert not store.holds(place, len(BODY) - 1)
    assert not store.holds(Place("123/456/other.jpg", place.offset), len(BODY))


def test_a_folder_with_the_name_of_an_image_is_none(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "123/456/1234567890-00.jpg"
    folder.mkdir(parents=True)
    assert not store.holds(Place("123/456/1234567890-00.jpg"), folder.stat().st_size)
    assert not store.holds(Place("123/456/1234567890-00.jpg/more"), 1), "nor is there one in a file"


def test_a_revision_is_put_beside_the_bytes_before_it(store: Store, tmp_path: Path) -> None:
    (first,) = put(store, Keep(written(store), "jpg"))
    partial = store.begin(1234567890, 0, 8, 1)
    partial.write(b"changed")
    (second,) = put(store, Keep(partial, "jpg", may_replace=True))
    assert body_at(tmp_path, first) == BODY
    assert body_at(tmp_path, second, 7) == b"changed"


@pytest.mark.parametrize("size", [2, 511, 512, 513, 64 * 1024, 64 * 1024 + 1])
def test_bodies_of_every_size_follow_each_other_and_each_is_whole(store: Store, tmp_path: Path, size: int) -> None:
    bodies = [bytes([number]) * (size + number - 1) for number in (0, 1, 2)]
    places = put(store, *(Keep(written(store, image_no=n, body=body), "jpg") for n, body in enumerate(bodies)))
    assert [body_at(tmp_path, place, len(body)) for place, body in zip(places, bodies, strict=True)] == bodies
    assert [store.holds(place, len(body)) for place, body in zip(places, bodies, strict=True)] == [True] * 3


def test_who_may_be_stopped_is_asked_before_it_makes_a_file(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever clears what a worker has left cannot clear what it would make later."""
    monkeypatch.setattr(system, "_guard", None)
    asked: list[list[str]] = []

    def check() -> None:
        asked.append(files(tmp_path))
        if len(asked) > 1:
            raise SystemExit("nobody needs us any more")

    system.guard(check)
    partial = written(store)
    assert asked == [[]], "before its file is there, and once"
    with pytest.raises(SystemExit):
        written(store, image_no=1)
    assert files(tmp_path) == [str(partial.path.relative_to(tmp_path))]


def test_more_folders_than_are_remembered_cost_time_and_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d4c_images.stores.local.KNOWN_FOLDERS", 2)
    store = LocalStore(tmp_path)
    for number in range(10):
        (place,) = put(store, Keep(written(store, 1000000000 + number * 1_000_000), "jpg"))
        assert body_at(tmp_path, place) == BODY
    assert len(store._durable) <= 3
    store.close()


def test_what_is_swept_of_a_dead_lease_is_its_body_and_no_other(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    mine, others = written(store, lease_id=7), [written(store, lease_id=8), written(store, image_no=1, lease_id=7)]
    sweep_part(tmp_path, system.ImageNumbers(1234567890, 0), 7)
    assert files(tmp_path) == sorted(str(one.path.relative_to(tmp_path)) for one in others)
    assert not mine.path.exists()
    sweep_part(tmp_path, system.ImageNumbers(1234567890, 0), 7)
    sweep_part(tmp_path, system.ImageNumbers(999, 0), 7)
    store.close()


@pytest.mark.parametrize(
    "before", [b"", b"longer than what takes its place", bytes(200_000)], ids=["nothing", "a small body", "a large one"]
)
@pytest.mark.parametrize("is_flushed", [True, False])
def test_what_takes_the_place_of_a_body_is_all_that_is_kept(store: Store, tmp_path: Path, before: bytes, is_flushed: bool) -> None:
    """Not a byte of the body before is left, in the file or behind it."""
    partial = store.begin(1234567890, 0, 7)
    if before:
        partial.write(before)
    if is_flushed:
        partial.flush()
    partial.rewrite(b"smaller")
    partial.flush()
    assert partial.path.read_bytes() == b"smaller"
    (place,) = put(store, Keep(partial, "jpg"))
    assert store.holds(place, 7)
    assert body_at(tmp_path, place, 7) == b"smaller"
