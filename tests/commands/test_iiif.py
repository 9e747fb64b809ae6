"""IIIF through the whole program: documents become images, services are asked for what they give, and a kill changes none of it."""

from __future__ import annotations

import pytest

from tests.publishers.client import Publishers
from tests.support.downloads import check_sound
from tests.support.program import Collection, multimedia, reach

pytestmark = pytest.mark.slow  # all of them look at one run of the program

ID = 6_000_000_000
SERVERS = (
    # behaviour, path of the row's URL, status and pictures of the record, width of each picture
    ("manifest_multi", "/sheet/manifest", "done", [1000, 1000, 1000]),
    ("manifest_v2", "/sheet/manifest.json", "done", [1000]),
    ("manifest_multi:60", "/iiif/manifest/1739342", "done", [1000] * 60),
    ("manifest_elsewhere:pictures.test", "/sheet/manifest", "done", [1000] * 3),
    ("manifest_encoded", "/sheet/manifest", "done", [1000, 1000]),
    ("manifest_html", "/sheet/manifest", "failed", [None]),
    ("manifest_truncated", "/sheet/manifest", "failed", [None]),
    ("manifest_empty", "/sheet/manifest", "failed", [None]),
    ("collection", "/iiif/collection/drawer", "done", [1000] * 6),
    ("collection_loop", "/iiif/collection/a", "done", [1000] * 2),
    ("collection_empty", "/iiif/collection/a", "failed", [None]),
    ("collection_endless", "/iiif/collection/a", "failed", [None] * 81),
    ("iiif_max_width", "/iiif/2/x/full/300,/0/default.jpg", "done", [357]),
    ("iiif_max_width_3", "/iiif/3/x/info.json", "done", [357]),
    ("iiif_level0:2", "/iiif/2/x/full/125,/0/default.jpg", "done", [500]),
    ("iiif_level0", "/iiif/3/ark%3A%2F1/info.json", "done", [500]),
    ("iiif_tiles_only", "/iiif/2/x/info.json", "done", [125]),
    ("ok", "/iiif/2/x/info.json", "done", [1000]),
)


def options(publishers: Publishers) -> list[object]:
    return [*reach(publishers), "--processes", 2, "--retry-wait", "1s", "--max-attempts", 2, "--no-progress"]


def host(number: int) -> str:
    return f"s{number}.example.org"


@pytest.fixture(scope="module")
def done(publishers_process: Publishers, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """One run over all servers at once, to its end."""
    publishers_process.reset()
    publishers_process.behave(*(f"{host(number)}={server[0]}" for number, server in enumerate(SERVERS)))
    collection = Collection(tmp_path_factory.mktemp("iiif"))
    rows = [(ID + number, f"http://{host(number)}{server[1]}") for number, server in enumerate(SERVERS)]
    collection.load(multimedia(collection.folder / "multimedia.txt", rows))
    collection.run("download", *options(publishers_process))
    return collection


@pytest.mark.parametrize("number", range(len(SERVERS)), ids=[server[0] for server in SERVERS])
def test_what_becomes_of_a_record(done: Collection, number: int) -> None:
    _, _, status, widths = SERVERS[number]
    gbif_id = ID + number
    found = done.rows(
        """SELECT o.image_no, i.image_no, i.width, i.file_path, i.error_type, i.error_detail
           FROM occurrence_images AS o JOIN images AS i USING (image_id) WHERE o.gbif_id = ? ORDER BY o.image_no""",
        gbif_id,
    )
    assert [row[2] for row in found] == widths, found
    assert [row[:2] for row in found] == [(image_no, image_no) for image_no in range(len(widths))]
    assert done.rows("SELECT status, n_images, n_success FROM gbif_ids WHERE gbif_id = ?", gbif_id) == [
        (status, len(widths), len(widths) - widths.count(None))
    ]
    for image_no, _, width, file_path, error_type, _ in found:
        if width is None:
            assert error_type == "manifest_error"
        else:
            assert file_path == f"600/000/{gbif_id}-{image_no:02d}.jpg"


def test_the_ledger_is_sound_and_every_file_is_known(done: Collection) -> None:
    done.check_invariants()
    check_sound(done.ledger)
    done.run("check", "--sha256")


def test_each_document_is_asked_once(done: Collection, publishers_process: Publishers) -> None:
    asked = publishers_process.counters()["urls"]
    twice = {f"http://{host(number)}{server[1]}" for number, server in enumerate(SERVERS) if server[2] == "failed"}
    for number, (behaviour, path, _, _) in enumerate(SERVERS):
        url = f"http://{host(number)}{path}"
        assert asked.get(url, 0) <= 1 + (url in twice), behaviour


def test_no_other_host_is_asked_by_the_manifests_lane(done: Collection, publishers_process: Publishers) -> None:
    """Pictures on another host wait in its queue; the ledger knows it as a host of its own."""
    assert publishers_process.host("pictures.test")["requests"] == 3
    assert done.rows("SELECT n_success FROM hosts WHERE host = 'pictures.test'") == [(3,)]
