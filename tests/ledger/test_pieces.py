"""Nothing is one long transaction, whatever the shape of the ledger: rows per transaction are counted, with small limits."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from d4c_images.identity import identify
from d4c_images.ledger.admission import keys, recovery
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import Ledger, open_ledger
from d4c_images.ledger.file.reader import open_reader
from d4c_images.ledger.queue import (
    deferred,
    expand_documents,
    followers,
    giving_up,
    lending,
    mark_placeholders,
    placeholders,
    record_links,
    refetching,
    settling,
    untried,
)
from d4c_images.ledger.queue.requeue import requeue_failed
from d4c_images.ledger.rows import bounded, rollup
from d4c_images.ledger.rows.rollup import finalize
from d4c_images.model import Blob, Failure, Outcome, Report, Status, Turn, Unfolding, Verdict
from d4c_images.policy.placeholder_list import PlaceholderList
from tests.support.downloads import NOW, ask, bare, check_sound, load, row

N = 2_000
SMALL = 100  # in place of thousands
MOST_ROWS = 6 * SMALL  # that one transaction may change: each image is a row here and there, with its record and its lease
LIMITS = (
    (rollup, "SHARED_AT_ONCE"),
    (expand_documents, "LINKS_AT_ONCE"),
    (followers, "PARENTS_AT_ONCE"),
    (deferred, "RECORDS_AT_A_TIME"),
    (bounded, "ROWS"),
    (lending, "TAKE_BACK_AT_ONCE"),
    (recovery, "RECORDS_PER_PIECE"),
    (placeholders, "MARK_CHUNK"),
)
RETRY = settling.RetryTerms(1, lambda attempts: 60.0)
GONE = Verdict(Status.FAILED_PERMANENT, "http_404")
HOST = "a.example.org"
SHARED = f"https://{HOST}/shared.jpg"
MANIFEST = "https://m.example.org/sheet/manifest"


class Killed(Exception):
    pass


class Meter:
    """The rows that each transaction changes."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def begin(self) -> None:
        self.rows.clear()

    def check(self, at_least: int) -> None:
        """There was so much to do, and it was divided."""
        assert sum(self.rows) >= at_least
        assert max(self.rows) <= MOST_ROWS, self.rows


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    for module, name in LIMITS:
        monkeypatch.setattr(module, name, SMALL)
    found = Meter()
    whole = Ledger.transaction

    @contextmanager
    def transaction(self: Ledger) -> Iterator[sqlite3.Connection]:
        with whole(self) as db:
            before = db.total_changes
            yield db
            found.rows.append(db.total_changes - before)

    monkeypatch.setattr(Ledger, "transaction", transaction)
    return found


@contextmanager
def owned(path: Path) -> Iterator[Ledger]:
    with closing(open_ledger(path)) as ledger:
        owner.take(ledger, "download", owner.Process("here", 1, f"boot/{id(ledger)}"), NOW)
        ledger.connection.execute("UPDATE runs SET host = 'elsewhere', heartbeat_at = 0")
        yield ledger


def lend(ledger: Ledger, n: int = SMALL, host: str = HOST, *, refetch: bool = False) -> Turn | None:
    with ledger.transaction() as db:
        [(host_id,)] = db.execute("SELECT host_id FROM host_rows WHERE host = ?", (host,))
        terms = lending.TurnTerms(0, 1, 0.0, n, NOW + 60.0, refetch=refetch)
        return lending.lend(db, ledger.run_id or 0, host_id, host, terms, 1, NOW)


def settle(ledger: Ledger, turn: Turn, outcomes: list[Outcome], watch: placeholders.Watch | None = None) -> None:
    """As the steward does it, but for what follows."""
    for portion in settling.portions([Report(turn.lease_id, tuple(outcomes), finished=True)]):
        with ledger.transaction() as db:
            settling.settle(db, portion, RETRY, NOW, watch)


def stored(image_id: int) -> Outcome:
    blob = Blob(f"1/{image_id}.jpg", 7, bytes(32), "image/jpeg", 3, 2)
    return Outcome(image_id, Verdict(Status.SUCCESS), blob=blob, http_status=200)


def settle_all(ledger: Ledger, outcome: Callable[[int], Outcome]) -> None:
    while (turn := lend(ledger)) is not None:
        settle(ledger, turn, [outcome(claim.image_id) for claim in turn.claims])


def one_image(folder: Path, n: int = N, url: str = SHARED, name: str = "ledger") -> Path:
    """On n records."""
    load(folder / name, bare(folder / f"{name}.txt", [row(1000 + number, url) for number in range(n)]))
    return folder / name


def many_images(folder: Path, n: int = N, records: int = N) -> Path:
    """Of one host."""
    rows = [row(1000 + number * records // n, f"https://{HOST}/{number}.jpg") for number in range(n)]
    load(folder / "ledger", bare(folder / "many.txt", rows))
    return folder / "ledger"


def statuses(path: Path) -> dict[object, object]:
    return dict(ask(path, "SELECT status, count(*) FROM gbif_ids GROUP BY 1"))


def after(n: int) -> Callable[[], None]:
    """Dies at the n-th call."""
    calls = iter(range(1, n))

    def beat() -> None:
        if next(calls, None) is None:
            raise Killed

    return beat


def stops_after(n: int) -> Callable[[], bool]:
    asked = iter([False] * n)
    return lambda: next(asked, True)


def test_an_image_on_very_many_records_is_settled_in_pieces(tmp_path: Path, meter: Meter) -> None:
    path, beats = one_image(tmp_path), []
    with owned(path) as ledger:
        turn = lend(ledger)
        assert turn is not None
        meter.begin()
        settle(ledger, turn, [stored(1)])
        assert ask(path, "SELECT status FROM images") == [("success",)]
        assert statuses(path) == {"done": 1, "pending": N - 1}, "its first record, at once"
        assert deferred.drain(ledger, lambda: beats.append(1))
    assert len(beats) >= N // SMALL
    meter.check(at_least=N)
    assert statuses(path) == {"done": N}
    check_sound(path)


def test_images_that_few_records_show_are_counted_at_once_until_there_are_many(tmp_path: Path, meter: Meter) -> None:
    rows = [row(1000 + number, f"https://{HOST}/{number // 3}.jpg") for number in range(90)]
    load(tmp_path / "ledger", bare(tmp_path / "rows.txt", rows))
    with owned(tmp_path / "ledger") as ledger:
        turn = lend(ledger)
        assert turn is not None
        settle(ledger, turn, [stored(claim.image_id) for claim in turn.claims])
        assert not deferred.is_left(ledger.connection)
    check_sound(tmp_path / "ledger")


def test_a_settlement_of_many_images_that_some_records_show_is_bounded_too(tmp_path: Path, meter: Meter) -> None:
    rows = [row(1000 + number, f"https://{HOST}/{number // 20}.jpg") for number in range(N)]
    load(tmp_path / "ledger", bare(tmp_path / "rows.txt", rows))
    with owned(tmp_path / "ledger") as ledger:
        turn = lend(ledger)
        assert turn is not None
        assert len(turn.claims) == N // 20
        meter.begin()
        settle(ledger, turn, [stored(claim.image_id) for claim in turn.claims])
        deferred.drain(ledger, lambda: None)
    meter.check(at_least=N)
    check_sound(tmp_path / "ledger")


@pytest.mark.parametrize("pieces", [1, 7])
def test_what_a_killed_process_has_left_is_done_first_by_the_next_one(tmp_path: Path, meter: Meter, pieces: int) -> None:
    path = one_image(tmp_path)
    with owned(path) as ledger:
        turn = lend(ledger)
        assert turn is not None
        settle(ledger, turn, [stored(1)])
        with pytest.raises(Killed):
            deferred.drain(ledger, after(pieces))
    [(reached,)] = ask(path, "SELECT after_gbif_id FROM record_changes")
    assert statuses(path) == {"done": reached - 999, "pending": N - (reached - 999)}
    with open_reader(path) as reader:
        assert deferred.behind(reader.rows, reached - 10, reached + 10) == set(range(reached + 1, reached + 11))
    # Records that come now are no part of it, whatever their numbers are.
    more = [row(gbif_id, SHARED) for gbif_id in (5, 1_000_000)] + [row(1000, f"https://{HOST}/other.jpg")]
    meter.begin()
    load(path, bare(tmp_path / "more.txt", more))
    meter.check(at_least=N - pieces * SMALL)
    assert statuses(path) == {"done": N + 1, "partial": 1}
    check_sound(path)
    with owned(path) as ledger:
        assert finalize(ledger, lambda progress: None).corrected == 0


def test_an_image_that_changes_again_while_its_records_wait(tmp_path: Path, meter: Meter) -> None:
    """Stored, found to be a placeholder, and given a new chance, before the first of these has reached all records."""
    path = one_image(tmp_path)
    with owned(path) as ledger:
        turn = lend(ledger)
        assert turn is not None
        settle(ledger, turn, [stored(1)])
        deferred.drain(ledger, lambda: None, stops_after(3))
        with ledger.transaction() as db:
            mark_placeholders.mark(db, [1], mark_placeholders.placeholder(1, HOST, bytes(32)), NOW, mark_placeholders.Marked())
        deferred.drain(ledger, lambda: None, stops_after(3))
        assert len(ask(path, "SELECT * FROM record_changes")) == 2
        assert requeue_failed(ledger, lambda done, total: None, permanent=True) == 1
    assert statuses(path) == {"partial": N}
    check_sound(path)


def test_what_happens_to_an_image_is_counted_in_its_order(tmp_path: Path, meter: Meter) -> None:
    """There is room for the second change at once, but not before the first one."""
    rows = [row(1000 * image + number, f"https://{HOST}/{image}.jpg") for image in (1, 2) for number in range(61)]
    load(tmp_path / "ledger", bare(tmp_path / "rows.txt", rows))
    with owned(tmp_path / "ledger") as ledger:
        turn = lend(ledger)
        assert turn is not None
        settle(ledger, turn, [stored(1), stored(2)])
        assert ask(tmp_path / "ledger", "SELECT image_id FROM record_changes") == [(2,)]
        with ledger.transaction() as db:
            mark_placeholders.mark(db, [2], mark_placeholders.placeholder(1, HOST, bytes(32)), NOW, mark_placeholders.Marked())
        assert ask(tmp_path / "ledger", "SELECT min(n_success), min(n_failed) FROM gbif_ids") == [(0, 0)]
        deferred.drain(ledger, lambda: None)
    assert statuses(tmp_path / "ledger") == {"done": 61, "failed": 61}
    check_sound(tmp_path / "ledger")


def test_the_work_of_a_shared_image_grows_with_its_records(tmp_path: Path) -> None:
    steps = []
    for n in (3_000, 6_000):
        path = one_image(tmp_path, n, name=f"ledger{n}")
        with owned(path) as ledger, pytest.MonkeyPatch.context() as patch:
            patch.setattr(deferred, "RECORDS_AT_A_TIME", SMALL)
            patch.setattr(rollup, "SHARED_AT_ONCE", SMALL)
            turn = lend(ledger)
            assert turn is not None
            calls = [0]

            def count(calls: list[int] = calls) -> int:
                calls[0] += 1
                return 0

            ledger.connection.set_progress_handler(count, 100)
            settle(ledger, turn, [stored(1)])
            deferred.drain(ledger, lambda: None)
            ledger.connection.set_progress_handler(None, 0)
            steps.append(calls[0])
    assert steps[1] <= 2.3 * steps[0], steps


def pictures(*names: str) -> Unfolding:
    images = []
    for name in names:
        image = identify(f"https://i.example.org/iiif/3/{name}/info.json")
        assert image is not None
        images.append(image)
    return Unfolding(MANIFEST, 0, "manifest", tuple(images), len(images), GONE)


def expand(ledger: Ledger, *names: str) -> None:
    turn = lend(ledger, host="m.example.org")
    assert turn is not None
    settle(ledger, turn, [Outcome(turn.claims[0].image_id, unfolding=pictures(*names), http_status=200)])


def test_a_document_on_very_many_records_is_linked_in_pieces(tmp_path: Path, meter: Meter) -> None:
    path = one_image(tmp_path, url=MANIFEST)
    with owned(path) as ledger:
        meter.begin()
        expand(ledger, "a", "b", "c", "d")
        assert ask(path, "SELECT count(*), count(DISTINCT gbif_id) FROM links") == [(N + 3, N)], "the first record, at once"
        with pytest.raises(Killed):
            deferred.drain(ledger, after(9))
    # One of the pictures is there before all records show it.
    with owned(path) as ledger:
        turn = lend(ledger, host="i.example.org")
        assert turn is not None
        settle(ledger, turn, [stored(claim.image_id) for claim in turn.claims])
        recovery.catch_up(ledger)
    meter.check(at_least=4 * N)
    assert ask(path, "SELECT count(*) FROM links") == [(4 * N,)]
    assert statuses(path) == {"done": N}
    check_sound(path)


def test_a_document_that_names_very_many_images_of_the_ledger(tmp_path: Path, meter: Meter) -> None:
    """New ones are linked at once, since their first record numbers them; the others follow."""
    names = [f"p{number}" for number in range(3 * SMALL)]
    rows = [row(5000 + number, f"https://i.example.org/iiif/3/{name}/info.json") for number, name in enumerate(names)]
    load(tmp_path / "ledger", bare(tmp_path / "rows.txt", [*rows, row(1, MANIFEST), row(2, MANIFEST)]))
    with owned(tmp_path / "ledger") as ledger:
        expand(ledger, *names, "its own", "new")
        assert ask(tmp_path / "ledger", "SELECT image_no FROM links WHERE gbif_id = 1") == [(0,), (1,)]
        deferred.drain(ledger, lambda: None)
    shown = [(identify(MANIFEST).key,), *((f"iiif:i.example.org/iiif/3/{name}",) for name in (*names, "new"))]  # type: ignore[union-attr]
    sql = "SELECT image_key FROM images JOIN links USING (image_id) WHERE links.gbif_id = ?"
    for gbif_id in (1, 2):
        assert sorted(ask(tmp_path / "ledger", sql, gbif_id)) == sorted(shown)
    check_sound(tmp_path / "ledger")


def test_very_many_documents_that_wait_for_one_picture(tmp_path: Path, meter: Meter) -> None:
    sheets = [f"https://m.example.org/{number}/manifest" for number in range(300)]
    rows = [row(1000 + number, sheet) for number, sheet in enumerate(sheets)]
    load(tmp_path / "ledger", bare(tmp_path / "rows.txt", [row(1, "https://i.example.org/iiif/3/cover/info.json"), *rows]))
    with owned(tmp_path / "ledger") as ledger:
        while (turn := lend(ledger, host="m.example.org")) is not None:
            settle(ledger, turn, [Outcome(one.image_id, unfolding=pictures("cover"), http_status=200) for one in turn.claims])
            deferred.drain(ledger, lambda: None)
        assert ask(tmp_path / "ledger", "SELECT error_type, count(*) FROM images GROUP BY 1")[1] == ("same_image", 300)
        turn = lend(ledger, host="i.example.org")
        assert turn is not None
        meter.begin()
        settle(ledger, turn, [stored(1)])
        assert sum(meter.rows) < SMALL
        with pytest.raises(Killed):
            deferred.drain(ledger, after(2))
    load(tmp_path / "ledger", bare(tmp_path / "more.txt", [row(5, "https://a.example.org/5.jpg")]))
    meter.check(at_least=300)
    assert statuses(tmp_path / "ledger") == {"done": 301, "pending": 1}
    check_sound(tmp_path / "ledger")


def test_documents_that_wait_for_one_picture_follow_by_bytes_too(tmp_path: Path, meter: Meter) -> None:
    sheets = [f"https://m.example.org/{number}/manifest?{'x' * 1_000}" for number in range(SMALL)]
    rows = [row(1000 + number, sheet) for number, sheet in enumerate(sheets)]
    path = tmp_path / "ledger"
    load(path, bare(tmp_path / "rows.txt", [row(1, "https://i.example.org/iiif/3/cover/info.json"), *rows]))
    with pytest.MonkeyPatch.context() as patch, owned(path) as ledger:
        while (turn := lend(ledger, host="m.example.org")) is not None:
            settle(ledger, turn, [Outcome(one.image_id, unfolding=pictures("cover"), http_status=200) for one in turn.claims])
            deferred.drain(ledger, lambda: None)
        patch.setattr(bounded, "BYTES", 20_000)
        turn = lend(ledger, host="i.example.org")
        assert turn is not None
        meter.begin()
        settle(ledger, turn, [stored(1)])
        deferred.drain(ledger, lambda: None)
    assert len(meter.rows) >= 5
    assert max(meter.rows) < 2 * SMALL
    assert ask(path, "SELECT count(*) FROM image_rows WHERE status = 'success'") == [(SMALL + 1,)]
    assert statuses(path) == {"done": SMALL + 1}
    check_sound(path)


def _many_that_show_one_file(folder: Path, n: int, width: int = 0) -> Path:
    """`n` images that stood for documents, whose only picture is another image; `width`: characters more in the URL of each."""
    sheets = [f"https://m.example.org/{number}/manifest{'?' * bool(width)}{'x' * width}" for number in range(n)]
    rows = [row(1000 + number, sheet) for number, sheet in enumerate(sheets)]
    path = folder / "ledger"
    load(path, bare(folder / "rows.txt", [row(1, "https://i.example.org/iiif/3/cover/info.json"), *rows]))
    with owned(path) as ledger:
        for host in ("i.example.org", "m.example.org"):
            while (turn := lend(ledger, host=host)) is not None:
                outcomes = [stored(one.image_id) for one in turn.claims]
                if host == "m.example.org":
                    outcomes = [Outcome(one.image_id, unfolding=pictures("cover"), http_status=200) for one in turn.claims]
                settle(ledger, turn, outcomes)
                deferred.drain(ledger, lambda: None)
        ledger.connection.execute("INSERT INTO placeholders VALUES (1, ?, 'placeholder', 0, 0)", (bytes(32),))
    assert ask(path, "SELECT count(*) FROM image_rows WHERE error_type = 'same_image' AND status = 'success'") == [(n,)]
    return path


PLACEHOLDERS = "SELECT count(*) FROM image_rows WHERE error_type = 'placeholder'"


def mark_cover(ledger: Ledger) -> None:
    with ledger.transaction() as db:
        placeholder = mark_placeholders.placeholder(1, "i.example.org", bytes(32))
        mark_placeholders.mark(db, [1], placeholder, NOW, mark_placeholders.Marked())


def test_very_many_images_that_show_the_file_of_a_placeholder(tmp_path: Path, meter: Meter) -> None:
    """They are marked in pieces, with a beat after each; after a kill the next run goes on where this one stopped."""
    path = _many_that_show_one_file(tmp_path, 4 * SMALL)
    with owned(path) as ledger:
        meter.begin()
        mark_cover(ledger)
        assert placeholders.to_set_aside(ledger, 1) == [], "no file goes while an image shows it"
        with pytest.raises(Killed):
            deferred.drain(ledger, after(6))  # the records that show the picture itself are counted first
    [(after_parent_id,)] = ask(path, "SELECT after_parent_id FROM follower_changes")
    assert after_parent_id > SMALL
    [(n,)] = ask(path, PLACEHOLDERS)
    assert 2 * SMALL < n < 4 * SMALL
    beats: list[int] = []
    with owned(path) as ledger:
        recovery.catch_up(ledger, lambda: beats.append(1))
        assert [file.image_id for file in placeholders.to_set_aside(ledger, 9)] == [1]
    assert len(beats) >= 1
    meter.check(at_least=4 * SMALL)
    assert ask(path, PLACEHOLDERS) == [(4 * SMALL + 1,)]
    assert ask(path, "SELECT n_marked FROM placeholders") == [(4 * SMALL + 1,)], "none twice"
    assert statuses(path) == {"failed": 4 * SMALL + 1}
    check_sound(path)


def test_very_many_images_that_show_what_another_one_shows(tmp_path: Path, meter: Meter) -> None:
    """Of a placeholder, through an image at another host: all are counted as that placeholder's."""
    n = 3 * SMALL
    path = many_images(tmp_path, n)
    with owned(path) as ledger:
        settle_all(ledger, stored)
        db = ledger.connection
        same = "UPDATE image_rows SET error_type = 'same_image', error_detail = 'image ' || ?1 WHERE image_id = ?2"
        followers = [(1, 2), *((2, image_id) for image_id in range(3, n + 1))]
        db.executemany(same, followers)
        db.executemany("INSERT INTO unfolded VALUES (?2, ?1, 0, 0, 1, ?2)", followers)
        db.execute("INSERT INTO placeholders VALUES (99, ?, 'placeholder', 0, 0)", (bytes(32),))
        finalize(ledger, lambda progress: None)
        meter.begin()
        with ledger.transaction() as writing:
            placeholder = mark_placeholders.placeholder(99, HOST, bytes(32))
            mark_placeholders.mark(writing, [1], placeholder, NOW, mark_placeholders.Marked())
        assert [row[0] for row in ask(path, "SELECT image_id FROM follower_changes")] == [2]
        deferred.drain(ledger, lambda: None)
        meter.check(at_least=n)
        assert finalize(ledger, lambda progress: None).corrected == 0
    assert ask(path, PLACEHOLDERS) == [(n,)]
    assert ask(path, "SELECT n_marked FROM placeholders") == [(n,)]
    assert ask(path, "SELECT image_id FROM set_aside") == [(1,)]
    assert statuses(path) == {"failed": n}
    check_sound(path)


def test_images_that_show_the_file_of_a_placeholder_are_marked_by_bytes_too(tmp_path: Path, meter: Meter) -> None:
    path = _many_that_show_one_file(tmp_path, SMALL, width=1_000)
    with pytest.MonkeyPatch.context() as patch, owned(path) as ledger:
        patch.setattr(bounded, "BYTES", 20_000)
        meter.begin()
        mark_cover(ledger)
        deferred.drain(ledger, lambda: None)
    assert len(meter.rows) >= 5
    assert max(meter.rows) < 2 * SMALL
    assert ask(path, PLACEHOLDERS) == [(SMALL + 1,)]
    check_sound(path)


def test_placeholders_are_marked_by_bytes_too(tmp_path: Path, meter: Meter) -> None:
    rows = [row(1000 + number, f"https://{HOST}/{number}.jpg?{'x' * 1000}") for number in range(SMALL)]
    load(tmp_path / "ledger", bare(tmp_path / "rows.txt", rows))
    with pytest.MonkeyPatch.context() as patch, owned(tmp_path / "ledger") as ledger:
        settle_all(ledger, stored)
        patch.setattr(bounded, "BYTES", 20_000)
        meter.begin()
        assert placeholders.find(ledger, PlaceholderList(), 10, NOW, lambda what, done, total: None) == SMALL
    assert len(meter.rows) >= 5
    assert max(meter.rows) <= 20 * 6
    check_sound(tmp_path / "ledger")


def test_only_records_that_come_are_linked_with_documents_of_before(tmp_path: Path, meter: Meter) -> None:
    path = one_image(tmp_path, url=MANIFEST)
    with owned(path) as ledger:
        expand(ledger, "a", "b")
        deferred.drain(ledger, lambda: None)
    meter.begin()
    load(path, bare(tmp_path / "more.txt", [row(1_000_000, MANIFEST)]))
    assert sum(meter.rows) < 2 * SMALL
    assert ask(path, "SELECT count(*) FROM links") == [(2 * N + 2,)]
    check_sound(path)


@pytest.mark.parametrize("n_records", [1, N])
def test_records_that_a_killed_process_held_are_made_in_pieces(tmp_path: Path, meter: Meter, n_records: int) -> None:
    path = many_images(tmp_path, records=n_records)
    before = ask(path, "SELECT * FROM gbif_ids")
    with owned(path) as ledger:
        for sql in ("DELETE FROM gbif_ids", "DELETE FROM record_tallies", "UPDATE caught_up SET recorded_image_id = 0"):
            ledger.connection.execute(sql)
        meter.begin()
        if n_records > 1:
            with pytest.raises(Killed):
                recovery.catch_up(ledger, after(3))
        recovery.catch_up(ledger)
        meter.check(at_least=n_records)
    assert ask(path, "SELECT * FROM gbif_ids") == before
    check_sound(path)


def test_keys_that_a_killed_process_held_are_made_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by bytes as well as by rows, with a beat after each piece; a kill costs the keys since the last flush."""
    n, width = 400, 1_000
    rows = [row(1000 + number, f"https://{HOST}/{number}.jpg?{'x' * width}") for number in range(n)]
    path = tmp_path / "ledger"
    load(path, bare(tmp_path / "rows.txt", rows))
    before = ask(path, "SELECT * FROM image_keys ORDER BY 1")
    monkeypatch.setattr(keys, "FLUSH_ROWS", SMALL)
    monkeypatch.setattr(bounded, "BYTES", 20 * width)
    read: list[int] = []
    hashes_of = keys.hashes_of

    def reading(some: Sequence[str]) -> object:
        read.append(len(some))
        return hashes_of(some)

    monkeypatch.setattr(keys, "hashes_of", reading)
    with owned(path) as ledger:
        ledger.connection.execute("DELETE FROM image_keys")
        ledger.connection.execute("UPDATE caught_up SET keyed_image_id = 0")
        with pytest.raises(Killed):
            recovery.catch_up(ledger, after(40))
    assert max(read) <= 20
    [(reached,)] = ask(path, "SELECT keyed_image_id FROM caught_up")
    assert reached >= SMALL
    read.clear()
    beats: list[int] = []
    with owned(path) as ledger:
        recovery.catch_up(ledger, lambda: beats.append(1))
    assert sum(read) == n - reached, "none is read again"
    assert len(beats) >= len(read)
    assert ask(path, "SELECT * FROM image_keys ORDER BY 1") == before


def test_one_record_of_very_many_images(tmp_path: Path, meter: Meter) -> None:
    path = many_images(tmp_path, records=1)
    with owned(path) as ledger:
        meter.begin()
        settle_all(ledger, stored)
    meter.check(at_least=N)
    assert statuses(path) == {"done": 1}
    check_sound(path)


def test_failed_images_are_queued_again_in_pieces(tmp_path: Path, meter: Meter) -> None:
    path, heard = many_images(tmp_path), []
    with owned(path) as ledger:
        settle_all(ledger, lambda image_id: Outcome(image_id, GONE, http_status=404))
        meter.begin()
        assert requeue_failed(ledger, lambda *done: heard.append(done), permanent=True) == N
    meter.check(at_least=N)
    assert len(heard) >= N // SMALL
    assert statuses(path) == {"partial": N}
    check_sound(path)


def test_a_lost_host_is_given_up_in_pieces(tmp_path: Path, meter: Meter) -> None:
    path = many_images(tmp_path)
    failure = Failure(Verdict(Status.FAILED_TRANSIENT, "dns", "x" * 2000), -4, 0)
    with owned(path) as ledger:
        meter.begin()
        n = -1
        while n:
            with ledger.transaction() as db:
                n = giving_up.give_up(db, 1, HOST, failure, SMALL, NOW).n
    meter.check(at_least=N)
    assert statuses(path) == {"failed": N}
    check_sound(path)


def test_what_earlier_runs_left_lent_comes_back_in_pieces(tmp_path: Path, meter: Meter) -> None:
    path = many_images(tmp_path)
    with owned(path) as ledger:
        while lend(ledger) is not None:
            pass
    with owned(path) as ledger:
        meter.begin()
        with pytest.raises(Killed):
            lending.take_back_left(ledger, ledger.run_id or 0, after(3))
        assert lending.take_back_left(ledger, ledger.run_id or 0, lambda: None) == N - 3 * SMALL
        with ledger.transaction() as db:
            assert lending.take_back(db, lending.leases_of_others(db, ledger.run_id or 0)) == 0
        meter.check(at_least=2 * N)
    assert ask(path, "SELECT count(*), min(dead_lease_id IS NOT NULL), min(not_before) FROM image_rows") == [(N, 1, 0)]
    assert ask(path, "SELECT count(*) FROM leases") == [(0,)]
    check_sound(path)


def test_stored_images_wait_to_be_asked_again_in_pieces(tmp_path: Path, meter: Meter) -> None:
    path = many_images(tmp_path)
    with owned(path) as ledger:
        settle_all(ledger, stored)
        meter.begin()
        for _ in range(2):  # what waits is forgotten first
            assert refetching.queue(ledger, NOW + 1, (), lambda done, total: None).n == N
        meter.check(at_least=3 * N)
        with ledger.transaction() as db:
            assert refetching.drop(db, 1, SMALL) == SMALL
    assert ask(path, "SELECT (SELECT count(*) FROM refetch_queue), n_waiting FROM refetch_hosts") == [(N - SMALL, N - SMALL)]


def test_placeholders_are_marked_and_taken_back_in_pieces(tmp_path: Path, meter: Meter) -> None:
    path = many_images(tmp_path)
    with owned(path) as ledger:
        settle_all(ledger, stored)
        meter.begin()
        assert placeholders.find(ledger, PlaceholderList(), 10, NOW, lambda what, done, total: None) == N
        meter.check(at_least=N)
        check_sound(path)

        def restore(images: object) -> list[placeholders.Restored]:
            calls.append(1)
            return [placeholders.Restored(f"1/{one.image_id}.jpg", None, 7) for one in images]  # type: ignore[attr-defined]

        calls: list[int] = []
        meter.begin()
        with pytest.raises(Killed):
            placeholders.allow(ledger, bytes(32), NOW, restore, _killing(3))
        assert placeholders.allow(ledger, bytes(32), NOW, restore) == N - 3 * placeholders.RESTORE_CHUNK
        assert len(calls) == N // placeholders.RESTORE_CHUNK, "none twice"
        meter.check(at_least=N)
    assert statuses(path) == {"done": N}
    check_sound(path)


def _killing(n: int) -> placeholders.SearchProgress:
    beat = after(n)
    return lambda what, done, total: beat() if what == "restored" else None


def test_hashes_that_are_too_many_to_be_remembered_are_looked_at_in_shares(
    tmp_path: Path, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = many_images(tmp_path, 1000)
    monkeypatch.setattr(placeholders, "CELLS", 64)  # all of them may be placeholders by their cell
    monkeypatch.setattr(placeholders, "MAX_HELD_RECORDS", SMALL)
    held: list[int] = []
    common = placeholders._common

    def seen(*args: object) -> object:
        found = common(*args)  # type: ignore[arg-type]
        held.append(0 if found is None else 1)
        return found

    monkeypatch.setattr(placeholders, "_common", seen)
    with owned(path) as ledger:

        def with_hash(image_id: int) -> Outcome:
            number = image_id // 2 if image_id <= 400 else image_id  # two images of a kind, at first
            sha256 = hashlib.sha256(str(number).encode()).digest()
            blob = Blob(f"1/{image_id}.jpg", 7, sha256, "image/jpeg", 3, 2)
            return Outcome(image_id, Verdict(Status.SUCCESS), blob=blob, http_status=200)

        settle_all(ledger, with_hash)
        n = placeholders.find(ledger, PlaceholderList(), 2, NOW, lambda what, done, total: None)
    twins = ask(path, "SELECT coalesce(sum(n), 0) FROM (SELECT count(*) AS n FROM image_rows GROUP BY sha256 HAVING n > 1)")
    assert [(n,)] == twins
    assert n >= 398
    assert held.count(0) > 3
    check_sound(path)


def test_a_turn_has_no_more_than_some_megabytes_of_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(1000 + number, f"https://{HOST}/{number}.jpg?{'x' * 1000}") for number in range(100)]
    load(tmp_path / "ledger", bare(tmp_path / "rows.txt", rows))
    monkeypatch.setattr(lending, "TURN_BYTES", 10_500)
    with owned(tmp_path / "ledger") as ledger:
        n = 0
        while (turn := lend(ledger)) is not None:
            assert 5 < len(turn.claims) <= 20
            n += 1
            image_ids = [claim.image_id for claim in turn.claims]
            settle(ledger, turn, [Outcome(one) for one in image_ids[:5]] + [stored(one) for one in image_ids[5:]])
            if n == 4:
                break
        check_sound(tmp_path / "ledger")
        with ledger.transaction() as db:
            monkeypatch.setattr(bounded, "BYTES", 10_500)
            failure = Failure(Verdict(Status.FAILED_TRANSIENT, "dns"), -4, 0)
            while (given := giving_up.give_up(db, 1, HOST, failure, 2_000, NOW).n) > 0:
                assert given <= 20
    assert ask(tmp_path / "ledger", "SELECT count(*) FROM images WHERE status = 'pending'") == [(0,)]
    check_sound(tmp_path / "ledger")


def test_images_that_were_taken_can_be_put_back(tmp_path: Path) -> None:
    path = many_images(tmp_path, 1500)
    with owned(path) as ledger, ledger.transaction() as db:
        before = db.execute("SELECT * FROM untried ORDER BY 1, 2").fetchall()
        untried.put_back(db, 1, untried.take(db, 1, 700)[3:])
        assert untried.take(db, 1, 3) == [4, 5, 6]
        untried.put_back(db, 1, [6, 1, 2, 3, 4, 5])
        assert db.execute("SELECT * FROM untried ORDER BY 1, 2").fetchall() == before


def test_a_settlement_is_divided_by_rows_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PORTION_ROWS", 50)
    monkeypatch.setattr(settling, "PORTION_BYTES", 5_000)
    plain = tuple(Outcome(number, GONE) for number in range(120))
    wordy = tuple(Outcome(200 + number, Verdict(Status.FAILED_PERMANENT, "x", "y" * 2_000)) for number in range(5))
    document = Outcome(300, unfolding=pictures(*(f"p{number}" for number in range(30))))
    reports = [Report(1, plain, finished=True), Report(2, (*wordy, document, Outcome(301)), finished=True), Report(3, (), True)]
    divided = list(settling.portions(reports))
    sizes = [sum(len(report.outcomes) for report in portion) for portion in divided]
    assert sizes == [50, 50, 22, 2, 1, 1, 1]
    for report in reports:
        parts = [part for portion in divided for part in portion if part.lease_id == report.lease_id]
        assert sum((part.outcomes for part in parts), ()) == report.outcomes
        assert [part.finished for part in parts] == [False] * (len(parts) - 1) + [True]
    assert list(settling.portions([])) == []


PLANS = (
    (rollup.SHARED, "SEARCH l USING INDEX link_shared (image_id=?)"),
    (rollup.SHOWN_BY, "SEARCH link_rows USING COVERING INDEX link_shared (image_id=? AND gbif_id>?)"),
    (rollup.WAITING_CHANGES, "SEARCH record_changes USING COVERING INDEX record_changes_by_image (image_id=?)"),
    (deferred.ALL_CHANGES, "SEARCH i USING INTEGER PRIMARY KEY (rowid=?)"),
    (deferred.NOT_REACHED, "SEARCH link_rows USING COVERING INDEX link_shared (image_id=? AND gbif_id>? AND gbif_id<?)"),
    (deferred.CHANGES, "SEARCH i USING INTEGER PRIMARY KEY (rowid=?)"),
    (record_links.LINKS_OF_HOLDER, "SEARCH l USING INDEX link_shared (image_id=? AND gbif_id>? AND gbif_id<?)"),
    (followers.PARENTS, "SEARCH u USING COVERING INDEX unfolded_image (image_id=? AND parent_id>?)"),
    (followers.FOLLOWERS, "SEARCH i USING INTEGER PRIMARY KEY (rowid=?)"),
    (deferred.FOLLOWED_IMAGE, "SEARCH i USING INTEGER PRIMARY KEY (rowid=?)"),
    (expand_documents.LINK_OF, "SEARCH link_rows USING INDEX link_shared (image_id=? AND gbif_id=?)"),
    (record_links.LINK_IN_LINE, "SEARCH l USING COVERING INDEX link_shared (image_id=? AND gbif_id=?)"),
    (record_links.SHOWN_BY_RECORD, "SEARCH l USING COVERING INDEX link_shared (image_id=? AND gbif_id=?)"),
    (record_links.BEHIND, "SEARCH c USING INDEX record_changes_by_image (image_id=?)"),
    (record_links.IS_PARENT, "SEARCH unfolded USING PRIMARY KEY (parent_id=?)"),
    (refetching.ANYBODY, "SCAN refetch_queue"),  # from its beginning, as far as the limit
    (refetching.FORGET_UPTO, "SEARCH refetch_queue USING PRIMARY KEY ((host_id,image_id)<(?,?))"),
    (lending.LEFT_LENT, "SEARCH t USING INTEGER PRIMARY KEY (rowid>?)"),
    (recovery.ROWS_AFTER, "SEARCH image_rows USING INTEGER PRIMARY KEY (rowid>?)"),
)


@pytest.mark.parametrize(("sql", "step"), PLANS)
@pytest.mark.parametrize("has_statistics", [False, True])
def test_pieces_are_found_by_an_index_and_never_sorted(tmp_path: Path, sql: str, step: str, *, has_statistics: bool) -> None:
    names = {name: 1 for name in ("image_id",) if f":{name}" in sql}
    with closing(open_ledger(tmp_path / "ledger", create=True)) as ledger:
        db = ledger.connection
        if has_statistics:
            db.execute("ANALYZE")
            statistics = [("image_rows", None, "50000000"), ("link_rows", "link_shared", "900000 900 1 1"), ("lent", None, "90000")]
            db.executemany("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", statistics)
            db.execute("ANALYZE sqlite_schema")
        plan = [line[3] for line in db.execute(f"EXPLAIN QUERY PLAN {sql}", names or (1,) * sql.count("?"))]
    assert any(step in line for line in plan), plan
    assert not any("TEMP B-TREE FOR ORDER BY" in line or "AUTOMATIC" in line or "BLOOM" in line for line in plan), plan
