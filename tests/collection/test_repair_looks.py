"""What a repair remembers of stray files and of shards, and that it does not remember more than it may."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest

from d4c_images.collection import repair_looks
from d4c_images.collection.findings import Finding, Reason
from d4c_images.collection.repair_decisions import FileRole
from d4c_images.collection.repair_looks import LostFile, ShardContents, Strays
from d4c_images.ledger.queue.mending import StoredImage
from d4c_images.stores import shard

ASK = sqlite3.connect(":memory:").execute
SHARDS = ("packs/a.tar", "packs/b.tar", "packs/c.tar")
BODY = b"the bytes of an image"


def strays(root: Path, n: int, n_missing: int = 0) -> Strays:
    """`n` files with wrong bytes, and findings for `n_missing` others that are gone."""
    for number in range(n):
        (root / f"{number}.jpg").write_bytes(b"x" * (number + 1))
    found = Strays(root)
    found.learn(Finding(Reason.HASH_MISMATCH, f"{number}.jpg", "", 100 + number) for number in range(n + n_missing))
    return found


def find(found: Strays, number: int) -> str | None:
    """The file, as bytes of another image than the one that it is named after."""
    found._image_of.clear()
    return found.find(ASK, number + 1, hashlib.sha256(b"x" * (number + 1)).digest())


def test_as_many_strays_as_may_be_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_looks, "MOST_STRAYS", 4)
    found = strays(tmp_path, 4)
    assert [find(found, number) for number in range(4)] == [f"{number}.jpg" for number in range(4)]


def test_of_more_strays_nothing_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_looks, "MOST_STRAYS", 4)
    found = strays(tmp_path, 5)
    assert (found._by_size, found._size_of, found._image_of) == ({}, {}, {})
    assert find(found, 0) is None


def test_files_that_are_gone_take_no_place_among_the_strays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_looks, "MOST_STRAYS", 4)
    assert find(strays(tmp_path, 3, n_missing=100), 2) == "2.jpg"


def shards(root: Path, n_samples: int) -> None:
    (root / "packs").mkdir()
    for path in SHARDS:
        with (root / path).open("wb") as file:
            for number in range(n_samples):
                head = shard.head(f"{number}-00", "jpg", len(BODY), 0, b"{}")
                file.write(head + BODY + shard.padding(len(BODY)))


def offset_of(contents: ShardContents, path: str, gbif_id: int) -> int | None:
    image = StoredImage(1, gbif_id, 0, 1, None, None, path, -1, len(BODY), hashlib.sha256(BODY).digest(), "")
    return contents.find(LostFile(Finding(Reason.FILE_MISSING, path, "", 1, -1), FileRole.IMAGE, image))


def test_shards_are_remembered_up_to_a_number_of_samples_and_all_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_looks, "MOST_SAMPLES", 7)
    shards(tmp_path, 3)
    contents = ShardContents(tmp_path)
    first = offset_of(contents, SHARDS[0], 2)
    assert first
    assert [offset_of(contents, path, 2) for path in (*SHARDS[1:], *SHARDS)] == [first] * 5
    assert list(contents._shards) == list(SHARDS[1:]), "the shard that came first is forgotten"
    assert contents._n_samples == dict.fromkeys(SHARDS[1:], 3)


def test_a_shard_with_more_samples_is_remembered_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_looks, "MOST_SAMPLES", 2)
    shards(tmp_path, 3)
    contents = ShardContents(tmp_path)
    assert [offset_of(contents, path, 2) is None for path in SHARDS] == [False] * 3
    assert list(contents._shards) == [SHARDS[2]]
