"""`download --store pack` as its users meet it: killed, at the end of a disk, with placeholders, and unpacked again."""

from __future__ import annotations

import hashlib
import json
import random
import re
import resource
import tarfile
from collections import Counter
from pathlib import Path

import psutil
import pytest

import d4c_images
from d4c_images.stores import shard
from tests.commands.test_download_kill import await_true, requests_by_url, workers
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, kill_all, multimedia, reach

N = 160
HOSTS = 4
FIRST_ID = 7_000_000_000
FORMATS = ("jpg", "png", "gif", "tif", "webp")
ROUNDS = 4

pytestmark = pytest.mark.slow


def url_of(number: int) -> str:
    return f"http://pack{number % HOSTS}.example.org/photos/{number}.{FORMATS[number % 5]}"


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """Two images for each record."""
    collection = Collection(tmp_path)
    collection.load(multimedia(tmp_path / "multimedia.txt", [(FIRST_ID + n // 2, url_of(n)) for n in range(N)]))
    (tmp_path / "hosts.toml").write_text("[default]\nconnections = 4\nsource = 'a test'\n")
    return collection


def url_of_stem(stem: str) -> str:
    """The URL of the image that is called so."""
    gbif_id, image_no = map(int, stem.split("-"))
    return url_of(2 * (gbif_id - FIRST_ID) + image_no)


def options(collection: Collection, publishers: Publishers, *more: object) -> list[object]:
    hosts = collection.folder / "hosts.toml"
    return [*reach(publishers), "--hosts-file", hosts, "--processes", 2, "--retry-wait", "1s", "--no-progress", *more]


def packed(collection: Collection) -> Counter[str]:
    """Names of the images in all shards, as a reader of tar files sees them: each of them is a whole tar file."""
    names: Counter[str] = Counter()
    for path in sorted((collection.root / "packs").glob("*.tar")):
        with tarfile.open(path) as tar:
            names.update(member.name for member in tar if not member.name.endswith(".json"))
    return names


def check(collection: Collection) -> dict[str, int]:
    found: dict[str, int] = json.loads(collection.run("check", "--sha256", "--json").splitlines()[-1])
    return found


def finish(collection: Collection, publishers: Publishers) -> None:
    """All are there, each in a shard, and no file is left of what was done twice; killed twice, it goes on without `--store`."""
    collection.run("download", *options(collection, publishers))
    collection.check_invariants()
    assert collection.rows("SELECT status, count(*), count(file_offset) FROM images GROUP BY 1") == [("success", N, N)]
    report = check(collection)
    assert (report["n_images"], report["n_packed"] - report["n_unused"]) == (N, N)
    assert all(re.fullmatch(r"packs/[0-9a-f]{8}-\d+\.tar", name) for name in collection.files())
    assert not list(collection.root.rglob(".*.part"))
    assert sum(packed(collection).values()) == report["n_packed"]


def test_a_run_into_shards_stores_all_images_in_few_files(collection: Collection, publishers: Publishers, tmp_path: Path) -> None:
    collection.run("download", *options(collection, publishers, "--store", "pack", "--shard-size", "1M"))
    finish(collection, publishers)
    assert set(packed(collection).values()) == {1}
    n_inodes = sum(1 for path in collection.root.rglob("*"))
    assert n_inodes < N / 6
    with d4c_images.open_collection(collection.ledger, collection.root) as images:
        (sha256,) = collection.rows("SELECT sha256 FROM images WHERE gbif_id = ? AND image_no = 1", FIRST_ID + 5)[0]
        assert hashlib.sha256(images.read(FIRST_ID + 5, 1)).hexdigest() == sha256
        with pytest.raises(KeyError):
            images.read(FIRST_ID + 5, 2)
    record = FIRST_ID + 7
    collection.run("unpack", "--to", tmp_path / "some", "--gbif-id", record)
    assert {path.name.partition(".")[0] for path in (tmp_path / "some/700/000").iterdir()} == {f"{record}-00", f"{record}-01"}
    is_unpacked(collection, tmp_path / "all", json.loads(collection.run("unpack", "--to", tmp_path / "all", "--json")))
    assert "--to" in collection.run("unpack", "--to", collection.root / "all", code=2)


def is_unpacked(collection: Collection, folder: Path, summary: dict[str, int]) -> None:
    """Every image is a file with its own bytes, under the name that a store of files gives."""
    assert (summary["n_written"] + summary["n_there"], summary["n_troubles"]) == (N, 0)
    files = {path.stem: path for path in folder.rglob("*") if path.is_file()}
    assert len(files) == N
    for gbif_id, image_no, sha256 in collection.rows("SELECT gbif_id, image_no, sha256 FROM images"):
        path = files[f"{gbif_id}-{image_no:02}"]
        assert path.parent == folder / str(gbif_id)[:3] / str(gbif_id)[3:6]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def test_unpacking_is_killed_and_finds_what_is_damaged(collection: Collection, publishers: Publishers, tmp_path: Path) -> None:
    collection.run("download", *options(collection, publishers, "--store", "pack"))
    collection.run("unpack", "--to", tmp_path / "all", code=-9, crash_at="unpack.put:3")
    assert len([path for path in (tmp_path / "all").rglob("*.*") if path.is_file() and path.name[0] != "."]) == 96 < N
    (tmp_path / "ids.txt").write_text(f"{FIRST_ID}\n{FIRST_ID + 1}\n")
    summary = json.loads(collection.run("unpack", "--to", tmp_path / "all", "--json", "--ids", tmp_path / "ids.txt"))
    assert summary["n_written"] + summary["n_there"] == 4
    summary = json.loads(collection.run("unpack", "--to", tmp_path / "all", "--json"))
    assert summary["n_there"] >= 96
    is_unpacked(collection, tmp_path / "all", summary)
    path, offset = collection.rows("SELECT file_path, file_offset FROM images WHERE image_id = 9")[0]
    with (collection.root / str(path)).open("r+b") as shard:
        shard.seek(int(str(offset)) + 99)
        shard.write(b"!damage!")
    summary = json.loads(collection.run("unpack", "--to", tmp_path / "again", "--json", code=1))
    assert (summary["n_written"], summary["n_troubles"]) == (N - 1, 1)
    assert "image 9" in summary["troubles"][0]
    assert len([path for path in (tmp_path / "again").rglob("*.*") if path.is_file()]) == N - 1
    assert json.loads(collection.run("check", "--sha256", "--json", code=1).splitlines()[-1])["counts"] == {"hash_mismatch": 1}


@pytest.mark.parametrize("point", ["put.appended:2", "put.synced:2", "put.done:2"])
def test_killed_at_a_point_of_a_worker(collection: Collection, publishers: Publishers, point: str) -> None:
    """The worker dies at the point, its second group told to nobody; then everything is killed."""
    process = collection.start("download", *options(collection, publishers, "--store", "pack"), crash_at=point)
    assert process.stdout is not None
    assert any("a worker process died" in line for line in process.stdout)
    kill_all(process)
    collection.check_invariants()
    there, asked = behind_all_rows(collection), requests_by_url(publishers)
    assert there
    finish(collection, publishers)
    assert not (requests_by_url(publishers) - asked).keys() & there


def behind_all_rows(collection: Collection) -> set[str]:
    """The URLs of the whole images behind the last that a row names, shard by shard: what mending looks at."""
    ends = dict(collection.rows("SELECT file_path, end_offset FROM shards"))
    urls: set[str] = set()
    for path in (collection.root / "packs").glob("*.tar"):
        with path.open("rb") as file:
            end = ends.get(f"packs/{path.name}", 0)
            assert isinstance(end, int)
            urls.update(url_of_stem(one.stem) for one in shard.samples(file.fileno(), shard.up(end), path.stat().st_size))
    return urls


def test_killed_in_a_settlement_and_in_the_mending_of_it(collection: Collection, publishers: Publishers) -> None:
    for n in range(2, N):
        crash_at = f"settle.before_commit:{n}"
        collection.run("download", *options(collection, publishers, "--store", "pack"), code=-9, crash_at=crash_at)
        collection.check_invariants()
        if behind_all_rows(collection):
            break
    collection.run("download", *options(collection, publishers, "--store", "pack"), code=-9, crash_at="mend.laid_out")
    collection.check_invariants()
    there, asked = {url_of_stem(path.stem) for path in collection.root.glob("[0-9]*/*/[0-9]*")}, requests_by_url(publishers)
    assert there
    finish(collection, publishers)
    assert not (requests_by_url(publishers) - asked).keys() & there


def test_killed_at_any_moment(collection: Collection, publishers: Publishers) -> None:
    """Many kills in a row; each time, every row has its bytes, and what was in a row is not asked for again."""
    chance = random.Random(20261128)
    answered = N // (ROUNDS + 1)
    for _ in range(ROUNDS):
        asked = requests_by_url(publishers)
        done = {url for (url,) in collection.rows("SELECT urls FROM images WHERE status = 'success'")}
        publishers.behave_well()
        publishers.behave(f"*.example.org=slow_first_byte:0.01 x{answered}", "*.example.org=hang_before_headers")
        process = collection.start("download", *options(collection, publishers, "--store", "pack", "--shard-size", "200K"))
        moment = sum(asked.values()) + chance.randrange(answered + 1)
        await_true(lambda: publishers.counters()["requests"] >= moment, process)  # noqa: B023
        kill_all(process)
        collection.check_invariants()
        assert not (requests_by_url(publishers) - asked).keys() & done
    publishers.behave_well()
    finish(collection, publishers)


@pytest.mark.parametrize("store", ["files", "pack"])
def test_a_disk_that_is_full(collection: Collection, publishers: Publishers, store: str) -> None:
    """For real, by a limit of the system on what the workers may write. One line says so, and nothing is lost."""
    publishers.behave("*.example.org=slow_first_byte:0.15")
    process = collection.start("download", *options(collection, publishers, "--store", store))
    await_true(lambda: publishers.counters()["requests"] >= 20, process)
    limit = 2_000 if store == "files" else 50_000
    for worker in workers(process.pid):
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (limit, limit))
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert re.search(r"^d4c-images: .*images/(packs|\d).*: File too large$", output, re.MULTILINE), output
    assert "Traceback" not in output
    collection.check_invariants()
    publishers.behave_well()
    collection.run("download", *options(collection, publishers))
    collection.check_invariants()
    assert collection.rows("SELECT status, count(*) FROM images GROUP BY 1") == [("success", N)]
    check(collection)


def test_a_worker_is_killed_and_the_run_goes_on(collection: Collection, publishers: Publishers) -> None:
    publishers.behave("*.example.org=slow_first_byte:0.05")
    process = collection.start("download", *options(collection, publishers, "--store", "pack"))
    await_true(lambda: publishers.counters()["requests"] >= N // 2, process)
    psutil.Process(workers(process.pid)[0].pid).kill()
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    finish(collection, publishers)


def test_a_collection_of_files_goes_on_in_packs_and_back(collection: Collection, publishers: Publishers) -> None:
    for store, limit in (("files", 50), ("pack", 50), ("files", N)):
        collection.run("download", *options(collection, publishers, "--limit", limit, "--store", store))
    collection.check_invariants()
    check(collection)
    assert collection.rows("SELECT count(*), count(file_offset) FROM images WHERE status = 'success'") == [(N, 50)]


def test_placeholders_in_packs(tmp_path: Path, publishers: Publishers) -> None:
    publishers.behave("none.example.org/none/*=one_picture")
    collection = Collection(tmp_path)
    rows = [(6_000_000_000 + n, f"http://none.example.org/{'none' if n < 30 else 'good'}/{n}.jpg") for n in range(40)]
    collection.load(multimedia(tmp_path / "multimedia.txt", rows))
    collection.run("download", *reach(publishers), "--store", "pack", "--placeholder-records", 20)
    collection.check_invariants()
    (kept,) = (collection.root / ".placeholders").iterdir()
    sha256 = hashlib.sha256(kept.read_bytes()).hexdigest()
    assert kept.name == f"{sha256}.jpg"
    assert check(collection)["n_unused"] == 30
    assert collection.rows("SELECT count(*) FROM images WHERE error_type = 'placeholder' AND file_offset IS NULL") == [(30,)]
    collection.run("placeholders", "--allow", sha256)
    collection.check_invariants()
    assert collection.rows("SELECT count(*), count(file_offset) FROM images WHERE status = 'success'") == [(40, 40)]
    assert check(collection)["n_unused"] == 30
