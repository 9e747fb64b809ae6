"""Files that a check ignores: those of systems and desktops, and a user's own."""

from __future__ import annotations

import json

import pytest

from d4c_images.collection.ignored import Ignored
from d4c_images.errors import UsageError
from tests.collection.test_check import collection, run_check
from tests.support.program import Collection

__all__ = ["collection"]


@pytest.mark.parametrize(
    "name", [".DS_Store", "._1000000001-00.jpg", "Thumbs.db", "desktop.ini", "Desktop.ini", ".nfs000000001234", ".fuse_hidden00a1"]
)
def test_files_of_systems_are_always_ignored(name: str) -> None:
    assert Ignored().has_file("123/456/", name)


@pytest.mark.parametrize("name", ["@eaDir", "$RECYCLE.BIN", "lost+found", "System Volume Information"])
def test_folders_of_systems_are_always_ignored(name: str) -> None:
    assert Ignored().has_folder("123/", name)
    assert not Ignored().has_file("123/", name), "a file of that name is somebody's"


@pytest.mark.parametrize("name", ["1000000001-00.jpg", "thumbs.db.jpg", "nfs1", "DS_Store", ".1000-00.4.part", "packs"])
def test_other_names_are_not(name: str) -> None:
    assert not Ignored().has_file("123/456/", name)
    assert not Ignored().has_folder("123/", name)


@pytest.mark.parametrize(
    ("pattern", "path", "is_ignored"),
    [
        ("*.xmp", "123/a.xmp", True),
        ("*.xmp", "a.xmp.jpg", False),
        ("*.XMP", "a.xmp", False),
        ("note?.txt", "note1.txt", True),
        ("note[12].txt", "note3.txt", False),
        ("100/readme.txt", "100/readme.txt", True),
        ("/100/readme.txt", "100/readme.txt", True),
        ("100/readme.txt", "200/100/readme.txt", False),
        ("readme.txt", "200/100/readme.txt", True),
        ("100/*", "100/000/a", True),
        ("notes/", "notes", False),
        ("a.b", "aXb", False),
    ],
)
def test_patterns_are_those_of_the_shell(pattern: str, path: str, is_ignored: bool) -> None:
    folder, slash, name = path.rpartition("/")
    assert Ignored([pattern]).has_file(folder + slash, name) is is_ignored


def test_a_pattern_of_a_folder_holds_at_any_depth_or_for_one_path() -> None:
    assert Ignored(["notes/"]).has_folder("123/", "notes")
    assert Ignored(["123/notes/"]).has_folder("123/", "notes")
    assert not Ignored(["123/notes/"]).has_folder("", "notes")
    assert Ignored(["notes"]).has_folder("", "notes"), "without a slash, a file or a folder"


@pytest.mark.parametrize("pattern", ["", "/", "//"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="is not a pattern of file names"):
        Ignored([pattern])


def test_a_check_counts_what_it_ignores(collection: Collection) -> None:
    for path in (".DS_Store", "100/._x", "100/000/Thumbs.db", "@eaDir/1000000001-00.jpg", "notes/a", "100/b.xmp", "100/000/c"):
        (collection.root / path).parent.mkdir(exist_ok=True)
        (collection.root / path).write_bytes(b"")
    code, output, _ = run_check(collection, "--json", "--ignore", "*.xmp", "--ignore", "notes/")
    stray, summary = map(json.loads, output.splitlines())
    assert (code, stray["subject"]) == (1, "100/000/c")
    assert summary["n_ignored"] == 4
