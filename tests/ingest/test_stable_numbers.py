"""Ingested again with other rows, in another order, after downloads: what has a number or a file keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_images.identity import Images, identify
from d4c_images.ingest import chunks
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import open_ledger
from d4c_images.ledger.queue import lending, settling
from d4c_images.ledger.rows import hashes
from d4c_images.model import Blob, Outcome, Report, Status, Verdict
from tests.ingest.test_ingest import NOW, query, run, write
from tests.publishers.client import Publishers
from tests.support.downloads import check_sound
from tests.support.ingest_model import Row
from tests.support.program import Collection, multimedia, reach
from tests.support.properties import examples

SIZES = ("original", "large", "medium", "square")
URLS = tuple(f"https://inaturalist-open-data.s3.amazonaws.com/photos/{n}/{size}.jpg" for n in range(1, 6) for size in SIZES)
URLS += tuple(f"https://a.example.org/{n}.jpg" for n in range(8))
row = st.builds(Row, gbif_id=st.integers(1, 5), identifier=st.sampled_from(URLS), license=st.sampled_from(("", "by")))
VERDICTS = (Verdict(Status.SUCCESS), Verdict(Status.FAILED_PERMANENT, "http_404"), Verdict(Status.FAILED_TRANSIENT, "timeout"))


def download(ledger: Path, verdicts: list[Verdict]) -> None:
    """Settle all that can be lent; a file has the name that the store gives it."""
    opened = open_ledger(ledger)
    run_id = owner.take(opened, "download", owner.this_process(), NOW)
    with opened.transaction() as db:
        for host_id, host in db.execute("SELECT host_id, host FROM host_rows").fetchall():
            turn = lending.lend(db, run_id, host_id, host, lending.TurnTerms(0, 2, 0.0, 100, NOW + 60), 4, NOW)
            if turn is None:
                continue
            outcomes = []
            for claim in turn.claims:
                verdict = verdicts[claim.image_id % len(verdicts)]
                path = f"{claim.gbif_id}-{claim.image_no:02d}.jpg"
                blob = Blob(path, 9, claim.image_id.to_bytes(32, "big"), "image/jpeg", 1, 1)
                outcomes.append(Outcome(claim.image_id, verdict, blob=blob if verdict.status is Status.SUCCESS else None))
            settling.settle(db, [Report(turn.lease_id, tuple(outcomes), True)], settling.RetryTerms(1, lambda n: 60.0), NOW)
    owner.give_back(opened, "ended", NOW)
    opened.close()


def numbers(ledger: Path) -> dict[object, object]:
    """Of each link, of each image, and of each file."""
    links = query(ledger, "SELECT gbif_id, image_id, image_no FROM links")
    images = query(ledger, "SELECT image_id, gbif_id, image_no FROM images")
    files = query(ledger, "SELECT image_id, file_path, sha256 FROM images WHERE status = 'success'")
    found: dict[object, object] = {("link", gbif_id, image_id): no for gbif_id, image_id, no in links}
    found |= {("image", image_id): (gbif_id, no) for image_id, gbif_id, no in images}
    return found | {("file", image_id): (path, sha256) for image_id, path, sha256 in files}


def stays(before: dict[object, object], ledger: Path) -> None:
    now = numbers(ledger)
    assert {what: now.get(what) for what in before} == before
    for image_id, gbif_id, no, path in query(ledger, "SELECT image_id, gbif_id, image_no, file_path FROM images"):
        assert path in (None, f"{gbif_id}-{int(str(no)):02d}.jpg"), image_id
    names = query(ledger, "SELECT gbif_id, image_no FROM images")
    assert len(set(names)) == len(names), "two images of one name"
    check_sound(ledger)


@settings(max_examples=examples(15))
@given(
    first=st.lists(row, min_size=1, max_size=20),
    more=st.lists(row, max_size=20),
    verdicts=st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=3),
    bits=st.sampled_from((63, 2)),
    data=st.data(),
)
def test_more_rows_in_any_order_after_a_download(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[Row],
    more: list[Row],
    verdicts: list[Verdict],
    bits: int,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("stable")
    ledger = folder / "ledger"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashes, "HASH_MASK", (1 << bits) - 1)
        run(ledger, write(folder / "1.txt", first))
        download(ledger, verdicts)
        before = numbers(ledger)
        run(ledger, write(folder / "2.txt", data.draw(st.permutations([*first, *more]))))
        stays(before, ledger)
        download(ledger, [VERDICTS[0]])
        before |= numbers(ledger)
        run(ledger, write(folder / "3.txt", data.draw(st.permutations([*more, *first, *first]))))
        stays(before, ledger)


def test_a_rule_that_learns_better_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of a rule stays; candidates that it comes to know are added, and a file that is there stays as it is."""
    ledger = tmp_path / "ledger"
    urls = [f"https://a.example.org/{n}.jpg" for n in range(3)]
    run(ledger, write(tmp_path / "1.txt", [Row(1, urls[0]), Row(1, urls[1]), Row(2, urls[1]), Row(2, urls[2])]))
    download(ledger, [VERDICTS[1], VERDICTS[0]])
    before = numbers(ledger)

    def learned(identifiers: Sequence[bytes]) -> tuple[Images, list[int]]:
        images = Images([], [], [])
        for one in filter(None, map(identify, map(bytes.decode, identifiers))):
            images.add(one._replace(urls=(one.urls[0].replace("a.example.org", "best.example.org"), *one.urls)))
        return images, []

    monkeypatch.setattr(chunks, "identify_all", learned)
    run(ledger, write(tmp_path / "2.txt", [Row(2, urls[2]), Row(2, urls[1]), Row(1, urls[0]), Row(3, urls[0])]))
    stays(before, ledger)
    assert all("best.example.org" in str(urls) for (urls,) in query(ledger, "SELECT urls FROM images"))


@pytest.mark.slow
def test_with_files_on_the_disk(tmp_path: Path, publishers: Publishers) -> None:
    """The program itself: the archive comes again, longer and the other way round, between two downloads."""
    collection = Collection(tmp_path)
    rows = [(5_000_000 + n // 3, f"http://a.example.org/{n}.jpg") for n in range(12)]
    collection.load(multimedia(tmp_path / "multimedia.txt", rows))
    collection.run("download", *reach(publishers), "--limit", 7)
    before = {file: (collection.root / file).read_bytes() for file in collection.files()}
    more = [(5_000_000 + n // 5, f"http://a.example.org/{n}.jpg") for n in range(20)]
    collection.load(multimedia(tmp_path / "again.txt", [*reversed(rows), *more]))
    collection.run("download", *reach(publishers))
    assert {file: (collection.root / file).read_bytes() for file in before} == before
    assert len(collection.files()) == 20
    assert publishers.counters()["requests"] == 20
    check_sound(collection.ledger)
    collection.check_invariants()
    collection.run("check", "--sha256")
