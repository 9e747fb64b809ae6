"""`unpack` of selected records: unknown ones are reported, and distinguished from those whose images are not stored yet."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.publishers.client import Publishers
from tests.support.program import Collection, multimedia, reach


@pytest.fixture
def collection(tmp_path: Path, publishers: Publishers) -> Collection:
    """Two records, of which one is stored."""
    publishers.behave("gone.example.org=http_404")
    made = Collection(tmp_path)
    rows = [(800, "http://a.example.org/1.jpg"), (801, "http://gone.example.org/1.jpg")]
    made.load(multimedia(tmp_path / "multimedia.txt", rows))
    made.run("download", *reach(publishers), "--processes", 1, code=0)
    return made


def test_unknown_records_are_named_and_told_from_those_that_are_not_stored(collection: Collection) -> None:
    ids = collection.folder / "ids.txt"
    ids.write_text("800\n5\n801 7\n", encoding="utf-8")
    output = collection.call("unpack", "--to", collection.folder / "out", "--ids", ids, code=2)
    assert re.search(r"^1 image written \(\d\d\.\d kB\), 0 already there$", output, re.MULTILINE), output
    assert "2 gbifIDs not in the ledger: 5, 7" in output
    assert "1 gbifID with images that are not stored: 801" in output
    assert [path.name for path in (collection.folder / "out").rglob("*.jpg")] == ["800-00.jpg"]


def test_a_record_whose_image_is_not_stored_is_no_error(collection: Collection) -> None:
    output = collection.call("unpack", "--to", collection.folder / "out", "--gbif-id", 801, code=0)
    assert "0 images written (0 B), 0 already there" in output
    assert "1 gbifID with images that are not stored: 801" in output


@pytest.mark.slow
def test_the_summary_for_scripts_has_them(collection: Collection) -> None:
    output = collection.call("unpack", "--to", collection.folder / "out", "--gbif-id", 800, "--gbif-id", 5, "--json", code=2)
    summary = json.loads(output)
    assert (summary["n_written"], summary["n_unknown_records"], summary["unknown_records"]) == (1, 1, [5])
    assert (summary["n_records_with_images_not_stored"], summary["records_with_images_not_stored"]) == (0, [])


@pytest.mark.slow
def test_of_many_unknown_records_the_first_are_named(collection: Collection) -> None:
    ids = collection.folder / "ids.txt"
    ids.write_text("\n".join(map(str, range(1, 7001))), encoding="utf-8")
    output = collection.call("unpack", "--to", collection.folder / "out", "--ids", ids, code=2)
    assert "6,998 gbifIDs not in the ledger: 1, 2, 3," in output
    assert "19, 20, ...\n" in output
