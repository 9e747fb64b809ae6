"""Documents in the ledger: which images their pictures become, whom they are linked to, and that doing it again changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from d4c_images.errors import LedgerError
from d4c_images.identity import identify
from d4c_images.ledger.admission.recovery import catch_up
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import Ledger, open_ledger
from d4c_images.ledger.queue import expand_documents, lending, record_links, settling
from d4c_images.ledger.queue.requeue import requeue_failed
from d4c_images.ledger.rows import hashes
from d4c_images.model import Blob, Failure, Image, Outcome, Report, Status, Turn, Unfolding, Verdict
from tests.support.downloads import NOW, ask, bare, check_sound, load, row
from tests.support.ledger_dump import dump

M = "https://m.example.org/sheet/manifest"
RETRY = settling.RetryTerms(3, lambda attempts: 60.0)
NOTHING = Verdict(Status.FAILED_PERMANENT, "manifest_error", "nothing")


def service(name: str, host: str = "i.example.org") -> str:
    return f"https://{host}/iiif/3/{name}"


def view(name: str) -> str:
    return f"{service(name)}/full/max/0/default.jpg"


def picture(name: str) -> Image:
    image = identify(f"{service(name)}/info.json")
    assert image is not None
    return image._replace(urls=(view(name), f"{service(name)}/info.json"))


def document(url: str) -> Image:
    image = identify(url)
    assert image is not None
    return image


def manifest(*names: str, n_named: int | None = None, url_no: int = 0) -> Unfolding:
    pictures = tuple(picture(name) for name in names)
    return Unfolding(M, url_no, "manifest", pictures, n_named or len(names), NOTHING)


def collection(url: str, *urls: str, url_no: int = 0) -> Unfolding:
    return Unfolding(url, url_no, "collection", tuple(map(document, urls)), len(urls), NOTHING)


class Steward:
    """What a download does to a ledger, one claim at a time."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.now = NOW
        owner.take(ledger, "download", owner.Process("here", 1, "boot/1"), NOW)
        catch_up(ledger)

    def lend(self, url: str) -> Turn:
        """The image that asks for this URL next, and nothing else."""
        rows = self.ledger.connection.execute("SELECT image_id, host_id, urls, url_no FROM image_rows").fetchall()
        [(image_id, host_id)] = [(i, h) for i, h, urls, no in rows if urls.split("\n")[no] == url]
        others = []
        while (turn := self._lend(host_id)).claims[0].image_id != image_id:
            others.append(turn)
        for other in others:
            self._settle(other, Outcome(other.claims[0].image_id))
        return turn

    def unfold(self, url: str, unfolding: Unfolding) -> settling.Settled:
        turn = self.lend(url)
        return self._settle(turn, Outcome(turn.claims[0].image_id, unfolding=unfolding, http_status=200, requests=1))

    def store(self, url: str) -> None:
        turn = self.lend(url)
        claim = turn.claims[0]
        blob = Blob(f"1/{claim.gbif_id}-{claim.image_no:02d}.jpg", 7, bytes(32), "image/jpeg", 3, 2)
        self._settle(turn, Outcome(claim.image_id, Verdict(Status.SUCCESS), blob=blob, http_status=200, url_no=claim.url_no))

    def fail(self, url: str, error_type: str = "http_404") -> None:
        turn = self.lend(url)
        claim = turn.claims[0]
        self._settle(turn, Outcome(claim.image_id, Verdict(Status.FAILED_PERMANENT, error_type), url_no=claim.url_no))

    def _lend(self, host_id: int) -> Turn:
        with self.ledger.transaction() as db:
            terms = lending.TurnTerms(0, 2, 0.0, 1, self.now + 60)
            turn = lending.lend(db, self.ledger.run_id or 0, host_id, "", terms, 3, self.now)
        assert turn is not None
        return turn

    def _settle(self, turn: Turn, outcome: Outcome) -> settling.Settled:
        self.now += 1
        with self.ledger.transaction() as db:
            return settling.settle(db, [Report(turn.lease_id, (outcome,), finished=True)], RETRY, self.now)


@contextmanager
def steward(path: Path) -> Iterator[Steward]:
    with closing(open_ledger(path)) as ledger:
        found = Steward(ledger)
        yield found
        owner.give_back(ledger, "ended", NOW)
    check_sound(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def ingest(path: Path, *rows: tuple[int, str], name: str = "1.txt", **cells: str) -> None:
    load(path, bare(path.parent / name, [row(gbif_id, url, **cells) for gbif_id, url in rows]))


def shown(path: Path, gbif_id: int) -> list[str]:
    """The keys of a record's images, in the order of their numbers."""
    rows = ask(
        path,
        """SELECT o.image_no, i.image_key FROM occurrence_images AS o JOIN images AS i USING (image_id)
           WHERE o.gbif_id = ? ORDER BY o.image_no""",
        gbif_id,
    )
    assert [no for no, _ in rows] == list(range(len(rows)))
    return [str(key) for _, key in rows]


def key(name: str) -> str:
    return picture(name).key


M_KEY = document(M).key


def test_each_canvas_is_an_image_behind_the_records_last(path: Path) -> None:
    ingest(path, (1, M), (1, "https://x.example.org/1.jpg"), license="CC0")
    with steward(path) as run:
        settled = run.unfold(M, manifest("a", "b", "c"))
    assert (settled.n_unfolded, settled.totals.n_settled, settled.totals.n_late) == (1, 0, 0)
    assert shown(path, 1) == [M_KEY, "https://x.example.org/1.jpg", key("b"), key("c")]
    assert ask(path, "SELECT urls, host, url_no, status, attempts FROM images WHERE image_id = 1") == [
        (f"{M}\n{view('a')}\n{service('a')}/info.json", "i.example.org", 1, "pending", 0)
    ]
    assert ask(path, "SELECT DISTINCT license FROM occurrence_images") == [("CC0",)]
    assert ask(path, "SELECT gbif_id, image_no FROM images WHERE image_key = ?", key("c")) == [(1, 3)]
    assert ask(path, "SELECT kind, n_named, n_taken FROM documents") == [("manifest", 3, 3)]
    assert ask(path, "SELECT status, n_images FROM gbif_ids") == [("pending", 4)]


def test_every_record_that_shows_the_document_shows_its_pictures(path: Path) -> None:
    ingest(path, (1, M), (2, "https://x.example.org/1.jpg"), (2, M), (3, M))
    with steward(path) as run:
        run.unfold(M, manifest("a", "b"))
        for name in "ab":
            run.store(view(name))
    assert shown(path, 1) == [M_KEY, key("b")]
    assert shown(path, 2) == ["https://x.example.org/1.jpg", M_KEY, key("b")]
    assert shown(path, 3) == [M_KEY, key("b")]
    assert ask(path, "SELECT gbif_id, status, n_success FROM gbif_ids") == [(1, "done", 2), (2, "partial", 2), (3, "done", 2)]


def test_a_picture_that_is_a_row_already_is_linked_and_not_doubled(path: Path) -> None:
    ingest(path, (1, M), (7, f"{service('b')}/full/300,/0/default.jpg"))
    with steward(path) as run:
        run.store(view("b"))
        run.unfold(M, manifest("b", "a"))
    assert shown(path, 1) == [M_KEY, key("b")]
    assert shown(path, 7) == [key("b")]
    assert ask(path, "SELECT url_no, urls FROM images WHERE image_id = 1")[0][1] == f"{M}\n{view('a')}\n{service('a')}/info.json"
    assert ask(path, "SELECT status, n_images, n_success FROM gbif_ids WHERE gbif_id = 1") == [("partial", 2, 1)]
    with steward(path) as run:
        run.store(view("a"))
    assert ask(path, "SELECT DISTINCT status FROM gbif_ids") == [("done",)]


@pytest.mark.parametrize("bits", [63, 1])
def test_a_row_that_names_the_picture_later_finds_it(path: Path, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all hashes collide."""
    monkeypatch.setattr(hashes, "HASH_MASK", (1 << bits) - 1)
    ingest(path, (1, M))
    with steward(path) as run:
        run.unfold(M, manifest("a", "b", "c"))
    ingest(path, (1, f"{service('a')}/full/300,/0/default.jpg"), (4, view("a")), (4, view("c")), (4, view("d")), name="2.txt")
    assert shown(path, 1) == [M_KEY, key("b"), key("c")]
    assert shown(path, 4) == [M_KEY, key("c"), key("d")]
    assert len(ask(path, "SELECT * FROM images")) == 4
    ingest(path, (4, M), name="3.txt")
    assert shown(path, 4) == [M_KEY, key("c"), key("d"), key("b")], "now it shows the document"
    check_sound(path)


def test_numbers_stay_when_the_archive_comes_again_with_more_rows(path: Path) -> None:
    ingest(path, (1, M), (2, "https://x.example.org/2.jpg"))
    with steward(path) as run:
        run.unfold(M, manifest("a", "b"))
    before = shown(path, 1)
    ingest(path, (1, "https://x.example.org/new.jpg"), (1, M), (2, "https://x.example.org/2.jpg"), name="2.txt")
    assert shown(path, 1) == [*before, "https://x.example.org/new.jpg"]
    check_sound(path)


def test_a_record_that_comes_later_shows_all_pictures(path: Path) -> None:
    ingest(path, (1, "https://m.example.org/iiif/collection/top"))
    top = "https://m.example.org/iiif/collection/top"
    with steward(path) as run:
        run.unfold(top, collection(top, M, f"{M}2"))
        run.unfold(M, manifest("a", "b", url_no=1))
        run.unfold(f"{M}2", manifest("c", "d"))
        for name in "abcd":
            run.store(view(name))
    everything = [top, document(f"{M}2").key, key("b"), key("d")]
    assert shown(path, 1) == everything
    ingest(path, (8, "https://x.example.org/8.jpg"), (8, top), (9, f"{M}2"), name="2.txt")
    assert shown(path, 8)[:2] == ["https://x.example.org/8.jpg", top]
    assert sorted(shown(path, 8)[1:]) == sorted(everything)
    assert shown(path, 9) == [document(f"{M}2").key, key("d")]
    assert ask(path, "SELECT gbif_id, status FROM gbif_ids") == [(1, "done"), (8, "partial"), (9, "done")]
    ledger = dump(path)
    with closing(open_ledger(path)) as opened:
        with opened.transaction() as db:
            record_links.leave_links(db, 1, -1, 10)
        catch_up(opened)
    assert dump(path) == ledger, "doing it again changes nothing"
    check_sound(path)


def test_reading_a_document_again_adds_what_is_new_and_changes_nothing_else(path: Path) -> None:
    ingest(path, (1, M), (2, M))
    with steward(path) as run:
        run.unfold(M, manifest("b", "c"))
        run.fail(view("b"))
        before = shown(path, 1)
        requeue_failed(run.ledger, lambda done, total: None, permanent=True)
        run.unfold(M, manifest("a", "b", "c", "d"))
        assert ask(path, "SELECT urls FROM images WHERE image_id = 1") == [(f"{M}\n{view('b')}\n{service('b')}/info.json",)]
    assert shown(path, 1) == shown(path, 2) == [*before, key("a"), key("d")]
    with steward(path) as run:
        run.fail(view("b"))
        requeue_failed(run.ledger, lambda done, total: None, permanent=True)
        ledger = {name: rows for name, rows in dump(path).items() if name in ("link_rows", "gbif_ids", "image_keys", "unfolded")}
        run.unfold(M, manifest("a", "b", "c", "d"))
        again = dump(path)
        assert {name: again[name] for name in ledger} == ledger


def test_a_late_worker_changes_nothing(path: Path) -> None:
    ingest(path, (1, M))
    with steward(path) as run:
        turn = run.lend(M)
        with run.ledger.transaction() as db:
            lending.take_back(db, [turn.lease_id])
        before = dump(path)
        outcome = Outcome(turn.claims[0].image_id, unfolding=manifest("a", "b"), http_status=200)
        with run.ledger.transaction() as db:
            settled = settling.settle(db, [Report(turn.lease_id, (outcome,), finished=True)], RETRY, NOW)
        assert (settled.totals.n_late, settled.n_unfolded) == (1, 0)
        assert dump(path) == before


def test_a_record_that_gains_an_image_in_the_transaction_that_stores_it_counts_it_once(path: Path) -> None:
    ingest(path, (1, M), (2, view("a")))
    with steward(path) as run:
        one, other = run.lend(M), run.lend(view("a"))
        blob = Blob("1/2-00.jpg", 7, bytes(32), "image/jpeg", 3, 2)
        reports = [
            Report(one.lease_id, (Outcome(1, unfolding=manifest("a", "b"), http_status=200),), finished=True),
            Report(other.lease_id, (Outcome(2, Verdict(Status.SUCCESS), blob=blob, http_status=200),), finished=True),
        ]
        with run.ledger.transaction() as db:
            settling.settle(db, reports, RETRY, NOW)
    assert ask(path, "SELECT n_images, n_success, status FROM gbif_ids WHERE gbif_id = 1") == [(2, 1, "partial")]


# Nothing is left for the document's own image to be


def test_a_manifest_of_other_rows_pictures_takes_over_the_file(path: Path) -> None:
    ingest(path, (1, M), (1, view("a")), (2, view("b")))
    with steward(path) as run:
        run.store(view("a"))
        run.unfold(M, manifest("a", "b"))
    assert ask(path, "SELECT status, error_type, error_detail, file_path FROM images WHERE image_id = 1") == [
        ("success", "same_image", "image 2", "1/1-01.jpg")
    ]
    assert shown(path, 1) == [M_KEY, key("a"), key("b")]
    assert ask(path, "SELECT n_images, n_success, status FROM gbif_ids WHERE gbif_id = 1") == [(3, 2, "partial")]


def test_or_waits_until_that_one_is_there(path: Path) -> None:
    ingest(path, (1, M), (1, view("a")), (5, f"{M}2"))
    with steward(path) as run:
        run.unfold(M, manifest("a"))
        run.unfold(f"{M}2", collection(f"{M}2", M))
        assert ask(path, "SELECT status, error_type, error_detail, not_before FROM images WHERE image_id IN (1, 3)") == [
            ("failed_transient", "same_image", "image 2", None),
            ("failed_transient", "same_image", "image 1", None),
        ]
        run.fail(view("a"))
        assert ask(path, "SELECT gbif_id, status FROM gbif_ids") == [(1, "failed"), (5, "failed")]
        requeue_failed(run.ledger, lambda done, total: None, permanent=True)
        run.unfold(M, manifest("a"))
        run.store(view("a"))
        assert ask(path, "SELECT status, file_path FROM images WHERE image_id = 1") == [("success", "1/1-01.jpg")]
        run.unfold(f"{M}2", collection(f"{M}2", M))
    assert ask(path, "SELECT DISTINCT status, file_path FROM images") == [("success", "1/1-01.jpg")]
    assert ask(path, "SELECT DISTINCT status FROM gbif_ids") == [("done",)]


def test_a_row_with_further_candidates_goes_on_with_them(path: Path) -> None:
    """By its rule the image is more than its manifest."""
    here = "https://h.example.org/iiif/3/s"
    ingest(path, (1, f"{here}/manifest"), (1, f"{here}/full/max/0/default.jpg"), (2, view("a")))
    with steward(path) as run:
        run.unfold(f"{here}/manifest", manifest("a"))
        run.store(f"{here}/full/max/0/default.jpg")
    assert shown(path, 1) == [document(f"{here}/manifest").key, key("a")]


def test_what_failed_before_the_document_stands_where_it_names_nothing_new(path: Path) -> None:
    ingest(path, (1, M))
    otherwise = Verdict(Status.FAILED_PERMANENT, "http_410", "gone")
    with steward(path) as run:
        turn = run.lend(M)
        unfolding = Unfolding(M, 0, "manifest", (document(M),), 1, otherwise)
        run._settle(turn, Outcome(1, unfolding=unfolding, http_status=200))
    assert ask(path, "SELECT status, error_type, attempts FROM images") == [("failed_permanent", "http_410", 1)]


def test_a_failure_of_the_same_attempt_goes_along(path: Path) -> None:
    ingest(path, (1, M))
    busy = Failure(Verdict(Status.FAILED_TRANSIENT, "server_error", "busy"), 500, 0)
    with steward(path) as run:
        run.unfold(M, replace(manifest("a"), failure=busy))
        assert run.lend(view("a")).claims[0].failure == busy


# Limits


def test_collections_that_name_each_other_come_to_an_end(path: Path) -> None:
    a, b = "https://m.example.org/iiif/collection/a", "https://m.example.org/iiif/collection/b"
    ingest(path, (1, a), (2, b))
    with steward(path) as run:
        run.unfold(a, collection(a, a, b))
        run.unfold(b, collection(b, a, b))
    assert ask(path, "SELECT image_id, status, error_type FROM images") == [
        (1, "failed_transient", "same_image"), (2, "failed_transient", "same_image"),
    ]  # fmt: skip


def test_documents_one_in_another_come_to_an_end(path: Path) -> None:
    urls = [f"https://m.example.org/iiif/collection/{n}" for n in range(9)]
    ingest(path, (1, urls[0]))
    with steward(path) as run:
        for n in range(expand_documents.MAX_DEPTH):
            run.unfold(urls[n], collection(urls[n], urls[n + 1], f"{urls[n + 1]}x", url_no=n))
        assert ask(path, "SELECT status FROM images WHERE image_id = 1") == [("pending",)]
        last = urls[expand_documents.MAX_DEPTH]
        run.unfold(last, collection(last, urls[expand_documents.MAX_DEPTH + 1], url_no=expand_documents.MAX_DEPTH))
        last += "x"
        run.unfold(last, collection(last, urls[expand_documents.MAX_DEPTH + 1]))
    assert ask(path, "SELECT image_id, error_type FROM images WHERE status = 'failed_permanent'") == [
        (1, "manifest_error"), (expand_documents.MAX_DEPTH + 1, "manifest_error"),
    ]  # fmt: skip


def test_what_is_beyond_the_limit_is_left_out_and_noted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expand_documents, "MAX_MADE", 3)
    ingest(path, (1, M))
    with steward(path) as run:
        run.unfold(M, manifest("a", "b", "c", "d", "e", "f", n_named=900))
    assert len(shown(path, 1)) == 4
    assert ask(path, "SELECT n_named, n_taken FROM documents") == [(900, 4)]


def test_a_chain_of_candidates_comes_to_an_end(path: Path) -> None:
    """Pictures that are manifests again, each with another picture that is there."""
    ingest(path, (1, M))
    with steward(path) as run:
        run.unfold(M, manifest(*"a"))
        asked = view("a")
        for number in range(expand_documents.MAX_CANDIDATES):
            info = Unfolding(asked, 1 + number, "info", (picture(f"a{number}"),), 1, NOTHING)
            run.unfold(asked, info)
            [(status, urls)] = ask(path, "SELECT status, urls FROM images")
            if status != "pending":
                break
            asked = str(urls).split("\n")[2 + number]
    assert status == "failed_permanent"


def test_a_locked_ledger_takes_no_part_of_a_document(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(path, (1, M))

    def fails(*args: Sequence[object]) -> None:
        raise sqlite3.OperationalError("database is locked")

    with steward(path) as run:
        turn, before = run.lend(M), dump(path)
        monkeypatch.setattr(record_links.Linking, "write", fails)
        with pytest.raises(LedgerError):
            run._settle(turn, Outcome(1, unfolding=manifest("a", "b"), http_status=200))
        monkeypatch.undo()
        assert dump(path) == before
        run._settle(turn, Outcome(1, unfolding=manifest("a", "b"), http_status=200))
    assert shown(path, 1) == [M_KEY, key("b")]
