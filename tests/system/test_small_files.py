"""Small files (our own, operators' lists, archive descriptions) of any size and depth: read, or refused in one line."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from d4c_images.commands import presets
from d4c_images.errors import SourceError, UsageError
from d4c_images.ledger.file import filesystem
from d4c_images.ledger.queue import wishes
from d4c_images.runners.rendezvous import INVITATION, MeetingPlace
from d4c_images.sources.archive import open_media
from d4c_images.sources.metafile import MAX_ELEMENTS, MAX_META_BYTES, dataset_of, read_meta
from d4c_images.system.small_files import SMALL_FILE_BYTES, json_of, text_of

DEEP = "[" * 200_000


def sparse(path: Path, size_bytes: int = 1 << 31) -> Path:
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path


def test_what_is_small_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text('{"ä": 1}', encoding="utf-8")
    assert text_of(path) == '{"ä": 1}'
    assert json_of(path) == {"ä": 1}


@pytest.mark.parametrize("body", [b"\xff", b"{", DEEP.encode(), b"9" * 5000])
def test_whatever_is_wrong_is_a_value_error(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(body)
    with pytest.raises(ValueError):
        json_of(path)


def test_what_is_large_is_not_read(tmp_path: Path) -> None:
    path = sparse(tmp_path / "a")
    tracemalloc.start()
    with pytest.raises(ValueError, match="larger than 1 MiB"):
        text_of(path, 1 << 20)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    for list_of in (presets.host_table, presets.placeholder_list):
        with pytest.raises(UsageError, match=f"larger than {SMALL_FILE_BYTES >> 20} MiB"):
            list_of(path)


def test_files_of_ours_that_are_none(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    filesystem.reservation_of(ledger).write_text(DEEP, encoding="utf-8")
    assert filesystem.holder(ledger) is None
    wish = tmp_path / "00000000000000000001-1.json"
    wish.write_text(DEEP, encoding="utf-8")
    assert wishes._read(wish) is None
    (tmp_path / INVITATION).write_text(DEEP, encoding="utf-8")
    with pytest.raises(Exception, match="was not written by d4c-images"):
        MeetingPlace(tmp_path)._values()


def test_a_description_of_many_elements_is_none(tmp_path: Path) -> None:
    body = b"<archive>" + b"<a/>" * (MAX_ELEMENTS * 3) + b"</archive>"
    assert len(body) < MAX_META_BYTES
    assert dataset_of(body) is None
    tracemalloc.start()
    with pytest.raises(SourceError, match="more than 100,000 elements"):
        read_meta(body, "meta.xml")
    assert tracemalloc.get_traced_memory()[1] < 60_000_000
    tracemalloc.stop()


def test_a_deep_description_is_none() -> None:
    with pytest.raises(SourceError):
        read_meta(b"<archive>" + b"<a>" * 90_000, "meta.xml")


def test_a_description_in_a_folder_is_sized_before_it_is_read(tmp_path: Path) -> None:
    sparse(tmp_path / "meta.xml")
    table = tmp_path / "multimedia.csv"
    table.write_text("id,accessURI\n1,http://a.org/1.jpg\n", encoding="utf-8")
    with pytest.raises(SourceError, match="larger than 4 MiB"):
        open_media(table)
