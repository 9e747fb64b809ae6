"""The copy of a placeholder that is kept out of the way: durable before its name is there, made once, whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from d4c_images.errors import StoreError
from d4c_images.stores import Place
from d4c_images.stores import quarantine as module
from d4c_images.stores.quarantine import QUARANTINE_FOLDER, Aside

BODY = b"no picture is available" * 10_000
SHA256 = hashlib.sha256(BODY).digest()
PLACE = Place("123/456/1234567890-00.jpg")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / PLACE.path
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    return tmp_path


def copies(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / QUARANTINE_FOLDER).iterdir()}


def test_a_copy_is_kept_under_its_hash_and_the_image_stays(root: Path) -> None:
    aside = Aside(root)
    assert aside.find(SHA256) is None
    aside.keep(PLACE, len(BODY), SHA256)
    assert copies(root) == {f"{SHA256.hex()}.jpg": BODY}
    assert aside.find(SHA256) == root / QUARANTINE_FOLDER / f"{SHA256.hex()}.jpg"
    assert (root / PLACE.path).read_bytes() == BODY


def test_its_bytes_are_on_the_disk_before_it_has_its_name_and_its_name_is_before_it_counts(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str, int]] = []

    def watch(fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        seen.append(("fsync", str(path.relative_to(root)), path.stat().st_size if path.is_file() else 0))
        os.fsync(fd)

    monkeypatch.setattr(module, "os", type("Watched", (), {"fsync": staticmethod(watch)}))
    monkeypatch.setattr(module, "sync_path", lambda path: seen.append(("folder", str(path.relative_to(root)), len(copies(root)))))
    Aside(root).keep(PLACE, len(BODY), SHA256)
    part = f"{QUARANTINE_FOLDER}/.{SHA256.hex()}.jpg.part"
    assert seen == [("fsync", part, len(BODY)), ("folder", QUARANTINE_FOLDER, 1), ("folder", ".", 1)]


def test_a_copy_that_is_there_is_not_made_again(root: Path) -> None:
    Aside(root).keep(PLACE, len(BODY), SHA256)
    before = (root / QUARANTINE_FOLDER / f"{SHA256.hex()}.jpg").stat()
    Aside(root).keep(PLACE, len(BODY), SHA256)
    after = (root / QUARANTINE_FOLDER / f"{SHA256.hex()}.jpg").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_of_a_file_that_is_gone_there_is_no_copy_and_one_that_is_too_short_raises(root: Path) -> None:
    aside = Aside(root)
    aside.keep(Place("123/456/1234567890-01.jpg"), len(BODY), SHA256)
    assert not (root / QUARANTINE_FOLDER).exists()
    with pytest.raises(StoreError):
        aside.keep(PLACE, len(BODY) + 1, SHA256)
    assert aside.find(SHA256) is None, "half a copy is none"
