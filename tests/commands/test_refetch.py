"""`download --refetch`: what publishers have changed and removed since, what is kept of it, and that nothing stored is lost."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.commands.test_download_kill import requests_by_url
from tests.publishers.client import Publishers
from tests.support.program import Collection, kill_all, multimedia, reach

FIRST_ID = 6_000_000_000
HOST = "refetch.example.org"
DAY_S = 86_400
SAME, CHANGED, GONE = "same", "changed", "gone"

pytestmark = pytest.mark.slow

# What a server does at first and later, what that makes of the image, and how many requests it takes.
SERVERS = (
    ("ok", "ok", SAME, 1),
    ("weak_etag", "weak_etag", SAME, 1),
    ("last_modified", "last_modified", SAME, 1),
    ("new_etag", "new_etag", SAME, 1),
    ("no_validator", "no_validator", SAME, 1),
    ("odd_etag", "odd_etag", SAME, 1),
    ("other_etag_304", "other_etag_304", SAME, 1),
    ("precondition_failed", "precondition_failed", SAME, 2),
    ("redirect_once", "redirect_once", SAME, 2),
    ("ok", "changed:1", CHANGED, 1),
    ("no_validator", "changed:1", CHANGED, 1),
    ("last_modified", "changed:1", CHANGED, 1),
    ("ok", "http_404", GONE, 1),
    ("ok", "http_410", GONE, 1),
    ("ok", "html_as_jpeg", GONE, 1),
    ("ok", "truncated_matching_length", GONE, 1),
    ("ok", "png_bomb", GONE, 1),
    ("ok", "empty", GONE, 1),
    ("ok", "close_mid_body", GONE, 1),
    ("no_validator", "always_304", GONE, 1),
)


def url_of(number: int) -> str:
    return f"http://r{number}.example.org/photos/{number}.jpg"


def download(collection: Collection, publishers: Publishers, *options: object, **terms: object) -> str:
    wanted = ("--processes", 1, "--retry-wait", "1s", "--max-attempts", 1, "--no-progress")
    return collection.run("download", *reach(publishers), *wanted, *options, **terms)  # type: ignore[arg-type]


def stored(tmp_path: Path, publishers: Publishers, urls: list[str], *options: object) -> Collection:
    """A collection that has them all, since half a year."""
    collection = Collection(tmp_path)
    collection.load(multimedia(tmp_path / "multimedia.txt", [(FIRST_ID + n, url) for n, url in enumerate(urls)]))
    download(collection, publishers, *options)
    assert collection.rows("SELECT status, count(*) FROM images GROUP BY 1") == [("success", len(urls))]
    pass_days(collection, 180)
    return collection


def pass_days(collection: Collection, n: int) -> None:
    with closing(sqlite3.connect(collection.ledger)) as db, db:
        db.execute("UPDATE image_rows SET last_attempt_at = last_attempt_at - ?", (n * DAY_S,))
        db.execute("UPDATE refetch_failures SET asked_at = asked_at - ?", (n * DAY_S,))


def check(collection: Collection) -> dict[str, int]:
    """Every stored file is what the ledger says, and so is each from before its publisher changed it; nothing else is there."""
    collection.check_invariants()
    former = collection.rows("SELECT file_path, file_offset, file_size, sha256 FROM former_images WHERE file_path IS NOT NULL")
    for path, offset, size_bytes, sha256 in former:
        assert hashlib.sha256(collection.body(path, offset, size_bytes)).hexdigest() == sha256
    assert collection.rows("SELECT host_id, n_waiting FROM refetch_hosts WHERE n_waiting <> 0 ORDER BY 1") == collection.rows(
        "SELECT host_id, count(*) FROM refetch_queue GROUP BY 1 ORDER BY 1"
    )
    found: dict[str, int] = json.loads(collection.run("check", "--sha256", "--json").splitlines()[-1])
    return found


def waiting(collection: Collection) -> object:
    return collection.rows("SELECT count(*) FROM refetch_queue")[0][0]


class Refetched(NamedTuple):
    """What the rows were, how many requests each server got for its image, and what the program said."""

    collection: Collection
    before: list[tuple[object, ...]]
    requests: list[int]
    output: str


@pytest.fixture(scope="module")
def refetched(publishers_process: Publishers, tmp_path_factory: pytest.TempPathFactory) -> Refetched:
    """One re-fetch over all of them."""
    publishers = publishers_process
    publishers.reset()
    for number, (first, _, _, _) in enumerate(SERVERS):
        publishers.behave(f"r{number}.example.org={first}")
    collection = stored(tmp_path_factory.mktemp("servers"), publishers, [url_of(n) for n in range(len(SERVERS))])
    before = collection.rows("SELECT * FROM image_rows ORDER BY image_id")
    asked = publishers.counters()["hosts"]
    for number, (_, later, _, _) in enumerate(SERVERS):
        publishers.behave(f"r{number}.example.org={later}")
    output = download(collection, publishers, "--refetch", "90d")
    asked_again = publishers.counters()["hosts"]
    publishers.reset()
    hosts = [f"r{number}.example.org" for number in range(len(SERVERS))]
    return Refetched(collection, before, [asked_again[host]["requests"] - asked[host]["requests"] for host in hosts], output)


@pytest.mark.parametrize("number", range(len(SERVERS)), ids=[f"{first}-{later}" for first, later, _, _ in SERVERS])
def test_what_becomes_of_a_stored_image(refetched: Refetched, number: int) -> None:
    collection, before, requests, _ = refetched
    _, later, what, n_requests = SERVERS[number]
    names = [row[1] for row in collection.rows("PRAGMA table_info(image_rows)")]
    was = dict(zip(names, before[number], strict=True))
    now = dict(zip(names, collection.rows("SELECT * FROM image_rows WHERE image_id = ?", number + 1)[0], strict=True))
    former = collection.rows("SELECT file_path, sha256 FROM former_rows WHERE image_id = ?", number + 1)
    failed = collection.rows("SELECT status, error_type, http_status FROM refetch_failures WHERE image_id = ?", number + 1)
    assert requests[number] == n_requests
    differs = {name for name in names if was[name] != now[name]}
    if what == SAME:
        assert "last_attempt_at" in differs
        assert differs - {"last_attempt_at"} <= ({"etag"} if later == "new_etag" else set())
        assert (former, failed) == ([], [])
    elif what == CHANGED:
        assert now["file_path"] == str(was["file_path"]).replace("-00.jpg", "-00-r1.jpg")
        assert {"sha256", "etag"} <= differs
        assert (now["status"], now["last_modified"]) == ("success", None)
        assert (former, failed) == ([(was["file_path"], was["sha256"])], [])
    else:
        assert not differs
        assert (former, len(failed)) == ([], 1)


def test_all_is_in_order_after_it(refetched: Refetched) -> None:
    collection, output = refetched.collection, refetched.output
    report = check(collection)
    n = {what: sum(one[2] == what for one in SERVERS) for one in SERVERS for what in (SAME, CHANGED, GONE)}
    assert (report["n_images"], report["n_former"], report["n_files"]) == (len(SERVERS), n[CHANGED], len(SERVERS) + n[CHANGED])
    assert f"{len(SERVERS)} stored images to revalidate, 4 of them in full" in output
    assert f"refetched: {n[SAME]} unchanged, {n[CHANGED]} changed, {n[GONE]} failed" in output
    assert waiting(collection) == 0
    statuses = collection.rows("SELECT error_type, status FROM refetch_failures ORDER BY image_id")
    assert {("http_404", "failed_permanent"), ("http_304", "failed_permanent"), ("truncated", "failed_transient")} <= set(statuses)


def test_what_was_asked_lately_is_not_asked_again(publishers: Publishers, tmp_path: Path) -> None:
    """A refusal is an answer; what may pass is asked again. An image that is back is no failure any more."""
    collection = stored(tmp_path, publishers, [url_of(n) for n in range(4)])
    publishers.behave("r1.example.org=http_404", "r2.example.org=html_as_jpeg", "r3.example.org=truncated_matching_length")
    assert "4 stored images to revalidate\n" in download(collection, publishers, "--refetch", "90d")
    publishers.behave_well()
    before = publishers.counters()["requests"]
    assert "1 stored image to revalidate\n" in download(collection, publishers, "--refetch", "90d")
    assert publishers.counters()["requests"] == before + 1
    assert collection.rows("SELECT image_id FROM refetch_failures ORDER BY 1") == [(2,), (3,)]
    pass_days(collection, 100)
    assert "4 stored images to revalidate\n" in download(collection, publishers, "--refetch", "90d")
    assert collection.rows("SELECT * FROM refetch_failures") == []
    assert "at least 1d" in download(collection, publishers, "--refetch", "1h", code=2)


def test_a_file_that_was_lost_comes_back(publishers: Publishers, tmp_path: Path) -> None:
    """No condition is set for what is not there; and a later change does not meet the name of what came back."""
    collection = stored(tmp_path, publishers, [url_of(0), url_of(1)])
    paths = [collection.root / str(path) for (path,) in collection.rows("SELECT file_path FROM images ORDER BY image_id")]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    assert "2 changed" in download(collection, publishers, "--refetch", "90d")
    assert collection.rows("SELECT image_id, revision, file_path FROM former_images") == [(1, 0, None), (2, 0, None)]
    collection.check_invariants()
    paths[1].unlink()
    assert check(collection)["n_former"] == 0
    pass_days(collection, 100)
    publishers.behave("r0.example.org=changed:1")
    download(collection, publishers, "--refetch", "90d")
    assert check(collection)["n_former"] == 1
    assert [str(path)[-7:] for (path,) in collection.rows("SELECT file_path FROM images")] == ["-r2.jpg", "-r1.jpg"]


def test_new_images_go_first_and_only_the_host_that_is_named_is_asked(publishers: Publishers, tmp_path: Path) -> None:
    urls = [f"http://{HOST}/photos/{n}.jpg" for n in range(6)]
    collection = stored(tmp_path, publishers, [*urls[:3], "http://other.example.org/photos/1.jpg"])
    collection.load(multimedia(tmp_path / "more.txt", [(FIRST_ID + 10 + n, url) for n, url in enumerate(urls[3:])]))
    n_before = len(publishers.log())
    download(collection, publishers, "--refetch", "90d", "--host", HOST)
    asked = [url for _, _, url, _ in publishers.log()[n_before:]]
    assert (set(asked[:3]), set(asked[3:])) == (set(urls[3:]), set(urls[:3]))
    assert waiting(collection) == 0


def test_a_redirect_to_another_host_is_followed_in_its_queue(publishers: Publishers, tmp_path: Path) -> None:
    publishers.behave("r0.example.org=redirect_to_host:r7.example.org")
    collection = stored(tmp_path, publishers, [url_of(0)])
    host = collection.rows("SELECT host, url_no FROM images")
    before = publishers.counters()["requests"]
    download(collection, publishers, "--refetch", "90d")
    assert publishers.counters()["requests"] == before + 2
    assert publishers.log()[-1][2] == "http://r7.example.org/photos/0.jpg"
    assert collection.rows("SELECT host, url_no FROM images") == host
    check(collection)


def test_a_placeholder_replaces_nothing(publishers: Publishers, tmp_path: Path) -> None:
    """Neither a known one, nor one that is known for it only after some images had it."""
    n = 5
    collection = stored(tmp_path, publishers, [f"http://{HOST}/photos/{n}.jpg" for n in range(n)])
    sha256 = dict(collection.rows("SELECT file_path, sha256 FROM images"))
    publishers.behave(f"{HOST}=one_picture")
    options = ("--refetch", "90d", "--placeholder-records", 3)
    download(collection, publishers, *options)
    assert dict(collection.rows("SELECT file_path, sha256 FROM images WHERE status = 'success'")) == sha256
    assert collection.rows("SELECT * FROM former_rows") == []
    assert collection.files() == set(map(str, sha256))
    assert check(collection)["n_files"] == n


POINTS = (
    *(("files", point) for point in ("lend.committed", "settle.before_commit", "settle.committed", "put.named", "put.done")),
    *(("pack", point) for point in ("settle.before_commit", "put.appended", "put.synced")),
)
N = 12


@pytest.fixture(scope="module")
def half_a_year_old(
    request: pytest.FixtureRequest, publishers_process: Publishers, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A collection's folder, by how its images are kept."""
    publishers_process.reset()
    folder = tmp_path_factory.mktemp(request.param)
    stored(folder, publishers_process, [url_of(n) for n in range(N)], "--store", request.param)
    return folder


@pytest.mark.parametrize(("half_a_year_old", "point"), POINTS, indirect=["half_a_year_old"], ids=map("-".join, POINTS))
def test_killed_at_a_point(half_a_year_old: Path, publishers: Publishers, tmp_path: Path, point: str) -> None:
    """Nothing is lost, nothing that is through is asked for again, and the plain command leaves the rest alone."""
    collection = Collection(Path(shutil.copytree(half_a_year_old, tmp_path / "copy")))
    publishers.behave("*.example.org=changed:1")
    if point.startswith("put"):
        process = collection.start("download", *reach(publishers), "--refetch", "90d", "--no-progress", crash_at=point)
        assert process.stdout is not None
        assert any("a worker process died" in line for line in process.stdout)
        kill_all(process)
    else:
        download(collection, publishers, "--refetch", "90d", code=-9, crash_at=point)
    through = {image_id for (image_id,) in collection.rows("SELECT image_id FROM former_rows")}
    asked = requests_by_url(publishers)
    check(collection)
    if point in ("put.done", "put.synced"):
        download(collection, publishers)
        assert requests_by_url(publishers) == asked
        check(collection)
    output = download(collection, publishers, "--refetch", "90d")
    report = check(collection)
    assert (report["n_images"], report["n_former"], report["n_to_adopt"]) == (N, N, 0)
    assert len(collection.rows("SELECT sha256 FROM images UNION SELECT sha256 FROM former_images")) == 2 * N
    asked_now = requests_by_url(publishers) - asked
    assert not asked_now.keys() & {url_of(image_id - 1) for image_id in through}
    adopted = re.search(r"\((\d+) found on disk\)", output)
    assert asked_now.total() == N - len(through) - (int(adopted[1]) if adopted else 0)
    assert not list(collection.root.rglob(".*.part"))
