"""How images are looked at: by one process or several, as files and in shards, by size, hash and decoding."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from d4c_images.collection import check_rows
from d4c_images.collection.check import CheckOptions, CheckReport, check
from d4c_images.collection.findings import Finding, Reason
from d4c_images.collection.image_looks import ImageLooks, ImageToSee, Trouble
from d4c_images.collection.look_pool import GROUPS_AHEAD, LookPool
from d4c_images.errors import D4CError
from d4c_images.ledger.file.reader import open_reader
from tests.collection.test_check import FIRST, SHARD, collection, missing, packed
from tests.publishers import pictures
from tests.support.program import Collection
from tests.support.sample_ledger import SAMPLES, make_files, make_ledger

__all__ = ["collection", "packed"]

N = 40


def looked(collection: Collection, **options: Any) -> tuple[CheckReport, list[Finding]]:
    found: list[Finding] = []
    with open_reader(collection.ledger) as ledger:
        return check(ledger, collection.root, CheckOptions(**options), found=found.append), found


@dataclass
class Images:
    """A group, as the pool takes it."""

    images: list[ImageToSee] = field(default_factory=list)


def image_of(folder: Path, n: int, body: bytes = b"some bytes") -> ImageToSee:
    (folder / f"{n}.jpg").write_bytes(body)
    return ImageToSee(f"{n}.jpg", None, len(body), hashlib.sha256(body).digest(), decodes=False)


@pytest.mark.parametrize("n_processes", [1, 3])
def test_results_come_in_the_order_of_the_questions(tmp_path: Path, n_processes: int) -> None:
    groups = [Images([image_of(tmp_path, 4 * n + k, bytes([n]) * n) for k in range(4)]) for n in range(1, N)]
    for n in range(1, N, 3):
        (tmp_path / f"{4 * n + 1}.jpg").write_bytes(b"x" * n)
        (tmp_path / f"{4 * n + 3}.jpg").unlink()
    with LookPool(str(tmp_path), n_processes) as pool:
        seen = list(pool.in_order(groups))
    assert [group for group, _ in seen] == groups
    for n, (_, one) in enumerate(seen, start=1):
        damaged = [(1, Reason.HASH_MISMATCH), (3, Reason.FILE_MISSING)] if n % 3 == 1 else []
        assert [(trouble.number, trouble.reason) for trouble in one.troubles] == damaged
        assert (one.n_read, one.read_bytes) == (4 - len(damaged), (4 - len(damaged)) * n)


def test_a_pool_reads_no_more_than_a_few_groups_ahead(tmp_path: Path) -> None:
    n_taken = 0

    def groups() -> Iterator[Images]:
        nonlocal n_taken
        for _ in range(N):
            n_taken += 1
            yield Images([])

    with LookPool(str(tmp_path), 2) as pool:
        for n_seen, _ in enumerate(pool.in_order(groups()), start=1):
            assert n_taken <= n_seen + 2 * GROUPS_AHEAD


def test_a_process_that_dies_ends_the_check_in_one_line(tmp_path: Path) -> None:
    groups = [Images([]) for _ in range(N)]
    with LookPool(str(tmp_path), 2) as pool:
        seen = pool.in_order(groups)
        next(seen)
        os.kill(pool.pids[1], signal.SIGKILL)
        with pytest.raises(D4CError, match=r"process of the check died \(killed by SIGKILL\): run the same command again"):
            list(seen)


def test_processes_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = f"""
import os
from d4c_images.collection.look_pool import LookPool
pool = LookPool({str(tmp_path)!r}, 2)
list(pool.in_order([]))
print(*pool.pids, flush=True)
os.kill(os.getpid(), 9)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate()  # to the end of the file: the children have it open, too
    assert process.returncode == -signal.SIGKILL
    assert len(output.split()) == 2


@pytest.mark.parametrize("store", ["collection", "packed"])
def test_findings_do_not_depend_on_the_number_of_processes(
    store: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection: Collection = request.getfixturevalue(store)
    monkeypatch.setattr(check_rows, "ALONE_UPTO_IDS", 0)
    monkeypatch.setattr(check_rows, "LOOKED_AT_ROWS", 1)
    collection.sql("UPDATE image_rows SET sha256 = x'00' WHERE image_id IN (1, 4)")
    collection.sql("UPDATE image_rows SET file_size = file_size + 1 WHERE image_id = 3")
    collection.sql("UPDATE image_rows SET file_path = 'gone.jpg' WHERE image_id = 2")
    alone, by_one = looked(collection, sha256=True)
    for n in (2, 5):
        report, found = looked(collection, sha256=True, n_processes=n)
        assert found == by_one
        assert dataclasses.replace(report, began_at=0.0, ended_at=0.0) == dataclasses.replace(alone, began_at=0.0, ended_at=0.0)
    of_images = [finding.reason for finding in by_one if finding.image_id is not None]
    assert of_images == [Reason.HASH_MISMATCH, Reason.FILE_MISSING, Reason.SIZE_MISMATCH, Reason.HASH_MISMATCH]


def test_a_pipe_or_a_folder_in_the_place_of_an_image_is_no_file_and_blocks_nothing(tmp_path: Path) -> None:
    image = image_of(tmp_path, 1)
    for make in (os.mkfifo, os.mkdir):
        for asked in (image, image._replace(sha256=None)):
            (tmp_path / "1.jpg").unlink(missing_ok=True)
            make(tmp_path / "1.jpg")
            assert ImageLooks(str(tmp_path)).see([asked]).troubles == [Trouble(0, Reason.FILE_MISSING, "is not a file")]
            if make is os.mkdir:
                (tmp_path / "1.jpg").rmdir()


def test_a_large_image_is_hashed_in_pieces(tmp_path: Path) -> None:
    body = os.urandom(5 << 19)
    image = image_of(tmp_path, 1, body)
    looks = ImageLooks(str(tmp_path))
    assert not looks.see([image]).troubles
    (tmp_path / "1.jpg").write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    assert looks.see([image]).troubles[0].reason is Reason.HASH_MISMATCH


def test_few_images_start_no_process(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        raise AssertionError("started")

    monkeypatch.setattr("d4c_images.system.child_process.start", start)
    assert looked(collection, sha256=True, n_processes=8)[0].ok


@pytest.fixture
def pictured(tmp_path: Path) -> Collection:
    """The sample collection, with pictures where its rows do not say that nothing could be decoded."""
    samples = tuple(
        dataclasses.replace(sample, body=pictures.jpeg(sample.path)) if sample.body and not sample.error_type else sample
        for sample in SAMPLES
    )
    made = Collection(tmp_path)
    make_ledger(made.ledger, samples).close()
    make_files(made.root, samples)
    return made


def test_images_are_decoded_except_those_that_never_could_be(pictured: Collection) -> None:
    report, found = looked(pictured, decode=True)
    assert not found
    assert (report.n_images, report.n_decoded, report.n_read) == (4, 2, 0)


def test_a_success_that_cannot_be_decoded_is_a_finding_though_its_hash_is_right(collection: Collection) -> None:
    """What the sample collection calls images are a few words."""
    assert looked(collection, sha256=True)[0].ok
    report, found = looked(collection, sha256=True, decode=True)
    assert report.counts == {Reason.UNDECODABLE: 2}
    assert [finding.subject for finding in found] == [FIRST, SAMPLES[3].path]
    assert found[0].remedy == "d4c-images check --repair"
    assert "\n" not in found[0].detail


def test_a_truncated_picture_with_a_hash_of_its_own_is_found_by_decoding(pictured: Collection) -> None:
    body = (pictured.root / FIRST).read_bytes()[:-2000]
    (pictured.root / FIRST).write_bytes(body)
    pictured.sql(
        f"UPDATE image_rows SET file_size = {len(body)}, sha256 = x'{hashlib.sha256(body).hexdigest()}' WHERE image_id = 1"
    )
    reasons = {finding.reason for finding in looked(pictured, sha256=True, decode=True)[1]}
    assert reasons == {Reason.UNDECODABLE, Reason.COUNTER_MISMATCH}


def test_an_image_in_a_shard_is_decoded_from_its_own_bytes(packed: Collection) -> None:
    found = looked(packed, decode=True)[1]
    assert [(finding.reason, finding.subject, finding.image_id) for finding in found] == [
        (Reason.UNDECODABLE, SHARD, 1),
        (Reason.UNDECODABLE, SHARD, 4),
    ]
    assert found[0].offset == 1536


def test_what_a_run_may_have_changed_since_the_copy_that_is_read_is_no_finding(collection: Collection) -> None:
    missing(collection)
    changed_at = int((collection.root / FIRST).parent.stat().st_mtime)
    for copied_at, n_findings, n_in_work in ((changed_at, 0, 1), (changed_at + 60, 1, 0)):
        found: list[Finding] = []
        with open_reader(collection.ledger) as ledger:
            snapshot = Path(f"{collection.ledger}.snapshot")
            os.link(collection.ledger, snapshot)
            ledger.copied_at = copied_at
            report = check(ledger, collection.root, CheckOptions(restart=True), found=found.append)
            snapshot.unlink()
        assert (len(found), report.n_in_work) == (n_findings, n_in_work)
