"""`kill -9` of a download while documents become images: the next one ends with the same images, numbers and links as if nothing
had been."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.publishers.client import Publishers
from tests.support.downloads import check_sound
from tests.support.program import Collection, kill_all, multimedia, reach

ID = 6_100_000_000
N_HOSTS, N_CANVASES = 3, 12
ROUNDS = 12
COLLECTION = f"http://k{N_HOSTS}.example.org/iiif/collection/drawer"

pytestmark = pytest.mark.slow


def rows() -> list[tuple[int, str]]:
    """Manifests, each on two records beside other images; a collection; and a picture that stands in a row of its own."""
    sheets = [f"http://k{host}.example.org/{sheet}/manifest" for host in range(N_HOSTS) for sheet in range(4)]
    found = [(ID + number, sheet) for number, sheet in enumerate(sheets)]
    found += [(ID + 100 + number, f"http://x.example.org/{number}.jpg") for number in range(len(sheets))]
    found += [(ID + 100 + number, sheet) for number, sheet in enumerate(sheets)]
    return [*found, (ID + 200, COLLECTION), (ID + 300, "http://k0.example.org/image-api/0/3/full/200,/0/default.jpg")]


@pytest.fixture
def servers(publishers: Publishers) -> Publishers:
    publishers.behave(
        *(f"k{host}.example.org=manifest_multi:{N_CANVASES}" for host in range(N_HOSTS)), f"k{N_HOSTS}.example.org=collection:5"
    )
    return publishers


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    collection = Collection(tmp_path)
    collection.load(multimedia(tmp_path / "multimedia.txt", rows()))
    return collection


def options(publishers: Publishers) -> list[object]:
    return [*reach(publishers), "--processes", 2, "--retry-wait", "1s", "--no-progress"]


def finish(collection: Collection, publishers: Publishers) -> None:
    """To the end, from wherever it is; then what each record shows is what it would be without a kill."""
    collection.run("download", *options(publishers))
    collection.check_invariants()
    check_sound(collection.ledger)
    collection.run("check", "--sha256")
    assert collection.rows("SELECT DISTINCT status, error_type FROM images") == [("success", None)]
    assert collection.rows("SELECT DISTINCT status FROM gbif_ids") == [("done",)]
    assert len(collection.files()) == N_HOSTS * 4 * (N_CANVASES + 1) + 5 * 2
    for number in range(N_HOSTS * 4):
        host, sheet = divmod(number, 4)
        service = f"iiif:k{host}.example.org/image-api/{sheet}"
        others = [f"{service}/{canvas}" for canvas in range(2, N_CANVASES + 1)]
        here = f"iiif:k{host}.example.org/{sheet}"
        assert shown(collection, ID + number) == [here, *others]
        assert shown(collection, ID + 100 + number) == [f"http://x.example.org/{number}.jpg", here, *others]
    assert len(shown(collection, ID + 200)) == 10
    assert shown(collection, ID + 300) == ["iiif:k0.example.org/image-api/0/3"]


def shown(collection: Collection, gbif_id: int) -> list[object]:
    found = collection.rows(
        "SELECT image_key FROM occurrence_images JOIN images USING (image_id) WHERE occurrence_images.gbif_id = ?"
        " ORDER BY occurrence_images.image_no",
        gbif_id,
    )
    return [key for (key,) in found]


@pytest.mark.parametrize(
    "point",
    [
        *("unfold.images_written", "unfold.images_written:5", "unfold.links_written", "unfold.links_written:9"),
        *("unfold.committed", "unfold.committed:3", "settle.before_commit:2"),
    ],
)
def test_killed_around_the_settlement_that_expands(collection: Collection, servers: Publishers, point: str) -> None:
    collection.run("download", *options(servers), code=-9, crash_at=point)
    collection.check_invariants()
    check_sound(collection.ledger)
    finish(collection, servers)


def test_killed_at_any_moment_and_ingested_again_between(collection: Collection, servers: Publishers) -> None:
    servers.behave("*.example.org/image-api/*=slow_first_byte:0.02")
    chance = random.Random(20261121)
    for number in range(ROUNDS):
        process = collection.start("download", *options(servers))
        try:
            process.wait(timeout=chance.uniform(0.3, 1.2))
        except Exception:
            pass
        kill_all(process)
        if number == ROUNDS // 2:
            collection.load(multimedia(collection.folder / "again.txt", rows()))
        collection.check_invariants()
        check_sound(collection.ledger)
    finish(collection, servers)
