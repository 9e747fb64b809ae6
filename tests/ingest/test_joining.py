"""Variants of one photo, wherever their rows stand: in any order, in any number of inits, in transactions of any size."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_images.identity.archive_variants import StatedUrl, Statement, read, written
from d4c_images.ingest import ingest as ingest_module
from d4c_images.ingest import publisher_rows
from d4c_images.ledger.admission import joining
from tests.ledger.test_expand_documents import M, Steward, manifest, steward, view
from tests.support.archives import OCCURRENCES, audubon, meta, table, text
from tests.support.downloads import ask, bare, check_sound, load, load_all, row, zipped
from tests.support.sweep import thinned

HOST = "https://media.example.org"
TERMS = ["accessURI", "thumbnailAccessURI", "variant", "providerManagedID", "derivedFrom", "license"]
UUID = "3228b6fd-6d68-4cb0-9962-bcd0e51b4fb"

Cells = list[str]


def media(record: str, name: str, *, variant: str = "", guid: str = "", thumb: str = "", derived: str = "") -> Cells:
    return [record, f"{HOST}/{name}", f"{HOST}/{thumb}" if thumb else "", variant, guid, derived and f"{HOST}/{derived}", "by"]


def archives(folder: Path, parts: Sequence[Sequence[Cells]]) -> list[Path]:
    return [audubon(folder / f"{number}.zip", TERMS, rows) for number, rows in enumerate(parts)]


@contextmanager
def pieces(rows: int, span_rows: int = 2_000) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest_module, "ROWS_PER_TRANSACTION", rows)
        patch.setattr(publisher_rows, "SPAN_ROWS", span_rows)
        yield


def names(urls: object) -> tuple[str, ...]:
    return tuple(str(urls).replace(f"{HOST}/", "").split("\n"))


def partition(ledger: Path) -> list[tuple[object, ...]]:
    """Each image by its key: its URLs best first, what is said of them, and the records that show it."""
    check_sound(ledger)
    images = ask(ledger, "SELECT image_id, image_key, urls, host FROM images WHERE error_type IS NOT 'same_image'")
    said = ask(ledger, "SELECT image_id, url, role, edge, width FROM variants ORDER BY url")
    links = ask(ledger, "SELECT image_id, record_id, license FROM occurrence_images ORDER BY 2")
    return sorted(
        (
            names(key),
            names(urls),
            host,
            tuple((*names(one[1]), *one[2:]) for one in said if one[0] == image_id),
            tuple(one[1:] for one in links if one[0] == image_id),
        )
        for image_id, key, urls, host in images
    )


# Two sizes and a thumbnail of one photo, in rows of their own; another photo; one whose rows have a UUID; one by derivedFrom.
RECORD = [
    media("1", "a.jpg", variant="ac:BestQuality", guid="p1"),
    media("1", "a-m.jpg", variant="ac:MediumQuality", guid="p1", thumb="a-t2.jpg"),
    media("1", "a-t.jpg", variant="ac:Thumbnail", guid="p1"),
    media("1", "b.jpg", guid="p2"),
    media("1", "c.jpg", guid=UUID + "1"),
    media("1", "c-2.jpg", guid=UUID + "1"),
    media("1", "d.jpg", variant="ac:BestQuality"),
    media("1", "d-t.jpg", variant="ac:Thumbnail", derived="d.jpg"),
    media("1", "a-t.jpg"),  # says no more than a URL
]
ONE_IMAGE_EACH = [("a.jpg", "a-m.jpg", "a-t.jpg", "a-t2.jpg"), ("b.jpg",), ("c-2.jpg", "c.jpg"), ("d.jpg", "d-t.jpg")]


def urls_of(ledger: Path) -> list[tuple[str, ...]]:
    return [one[1] for one in partition(ledger)]  # type: ignore[misc]


def test_rows_of_one_photo_apart_in_a_table_are_one_image(tmp_path: Path) -> None:
    others = [media(str(number), f"{number}.jpg") for number in range(2, 9)]
    mixed = [cells for pair in zip(RECORD, others, strict=False) for cells in pair] + RECORD[len(others) :]
    load_all(tmp_path / "ledger", *archives(tmp_path, [mixed]))
    assert [urls for urls in urls_of(tmp_path / "ledger") if not urls[0][0].isdigit()] == ONE_IMAGE_EACH


def test_rows_of_one_photo_in_several_inits_are_one_image(tmp_path: Path) -> None:
    for order in (RECORD, RECORD[::-1]):
        ledger = tmp_path / order[0][1].rpartition("/")[2] / "ledger"
        ledger.parent.mkdir()
        load_all(ledger, *archives(tmp_path, [[cells] for cells in order]))
        assert urls_of(ledger) == ONE_IMAGE_EACH
        assert ask(ledger, "SELECT count(*) FROM occurrence_images") == [(4,)]


# -- any rows that do not contradict each other

PHOTOS = st.tuples(st.integers(1, 3), st.integers(1, 3))  # record, photo
ROLES = ("ac:BestQuality", "ac:GoodQuality", "ac:MediumQuality", "ac:Thumbnail")


SEED = st.integers(0, 2**32)


@st.composite
def tables(draw: st.DrawFn) -> list[Cells]:
    rows = []
    for record, photo in draw(st.lists(PHOTOS, min_size=1, max_size=5, unique=True)):
        name, guid = f"{record}-{photo}", f"p{record}{photo}"
        for role in draw(st.lists(st.sampled_from(ROLES), min_size=1, unique=True)):
            one = f"{name}-{role[3:7].lower()}.jpg"
            thumb = draw(st.sampled_from(["", "", f"{name}-tiny.jpg", "nothing-yet.jpg"]))
            rows += [media(str(record), one, variant=role, guid=guid, thumb=thumb)] * draw(st.integers(1, 2))
            if draw(st.booleans()):
                rows.append(media(str(record), one))
    return rows


tables_in_pieces = given(
    rows=tables(), seed=SEED, n_parts=st.integers(1, 4), per_transaction=st.integers(1, 9), span=st.integers(1, 4)
)


def order_does_not_matter(
    folders: pytest.TempPathFactory, rows: list[Cells], seed: int, n_parts: int, per_transaction: int, span: int
) -> None:
    """Any order, any number of inits, whole or in two runs, any size of transactions: the same images, evidence and links."""
    folder = folders.mktemp("joining")
    load_all(folder / "sorted", *archives(folder, [sorted(rows)]))
    chance = random.Random(seed)
    chance.shuffle(rows)
    parts: list[list[Cells]] = [[] for _ in range(n_parts)]
    for one in rows:
        chance.choice(parts).append(one)
    with pieces(per_transaction, span):
        for path, part in zip(archives(folder, parts), parts, strict=True):
            load_all(folder / "mixed", path, limit=chance.randint(0, len(part)))
            load_all(folder / "mixed", path)
    assert partition(folder / "mixed") == partition(folder / "sorted")


@settings(max_examples=2, deadline=None)
@tables_in_pieces
def test_the_order_of_rows_does_not_matter(tmp_path_factory: pytest.TempPathFactory, **how: Any) -> None:
    order_does_not_matter(tmp_path_factory, **how)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@tables_in_pieces
def test_the_order_of_rows_does_not_matter_many_times(tmp_path_factory: pytest.TempPathFactory, **how: Any) -> None:
    order_does_not_matter(tmp_path_factory, **how)


# -- plain rows of GBIF, rows of other records

STEPS = ("a publisher's rows", "plain rows of the record", "a plain row of another record")


def with_gbif_ids(path: Path, rows: Sequence[Cells]) -> Path:
    files = {
        "meta.xml": meta(OCCURRENCES, table(["gbifID", *TERMS])),
        "occurrence.txt": b"id,occurrenceID,scientificName\n",
        "multimedia.txt": text([[cells[0], *cells] for cells in rows], header=[["coreid", "gbifID", *TERMS]]).encode(),
    }
    return zipped(path, files)


@pytest.mark.parametrize("order", thinned(list(permutations(STEPS)), 5), ids=", ".join)
def test_plain_rows_of_the_record_show_the_same_image_and_those_of_others_their_own(order: Sequence[str], tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    best, good = (media("7", f"{role[0].lower()}.jpg", variant=f"ac:{role}Quality", guid="p") for role in ("Best", "Good"))
    for step in order:
        if step == STEPS[0]:
            load_all(ledger, with_gbif_ids(tmp_path / "a.zip", [good, best]))
        else:
            rows = [row(7, f"{HOST}/g.jpg"), row(7, f"{HOST}/b.jpg")] if step == STEPS[1] else [row(8, f"{HOST}/g.jpg")]
            load(ledger, bare(tmp_path / f"{len(rows)}.txt", rows))
    assert urls_of(ledger) == [("b.jpg", "g.jpg"), ("g.jpg",)]
    links = ask(ledger, "SELECT o.gbif_id, i.image_key FROM occurrence_images AS o JOIN images AS i USING (image_id)")
    assert {(7, f"{HOST}/b.jpg"), (8, f"{HOST}/g.jpg")} <= set(links)
    assert (8, f"{HOST}/b.jpg") not in links


def test_two_records_that_both_say_so_share_the_one_image(tmp_path: Path) -> None:
    """Sorted by the variant: both thumbnails first. The image of these is given up, since nobody means anything else by it."""
    rows = [media(r, name, variant=v, guid="p") for v, name in (("Thumbnail", "t.jpg"), ("BestQuality", "b.jpg")) for r in "12"]
    for number, n in enumerate((1, 2, 9)):
        ledger = tmp_path / f"ledger{number}"
        with pieces(n, 1):
            load_all(ledger, *archives(tmp_path, [rows]))
        assert urls_of(ledger) == [("b.jpg", "t.jpg")]
        assert [one[-1] for one in partition(ledger)] == [(("1", "by"), ("2", "by"))]


@pytest.mark.parametrize("order", thinned(permutations(range(4)), 5), ids=str)
def test_a_file_that_stands_for_many_photos_joins_none_of_them(order: Sequence[int], tmp_path: Path) -> None:
    """Two photos with one thumbnail, such as "no preview": in any order of inits, neither gets the URL of the other."""
    rows = [
        media("1", "a.jpg", variant="BestQuality", guid="p1"),
        media("1", "none.jpg", variant="Thumbnail", guid="p1"),
        media("2", "b.jpg", variant="BestQuality", guid="p2"),
        media("2", "none.jpg", variant="Thumbnail", guid="p2"),
    ]
    load_all(tmp_path / "ledger", *archives(tmp_path, [[rows[at]] for at in order]))
    images = partition(tmp_path / "ledger")
    assert {one[1] for one in images} - {("none.jpg",)} == {("a.jpg", "none.jpg"), ("b.jpg", "none.jpg")}
    shown = {one[1][0]: [name for name, _ in one[-1]] for one in images}  # type: ignore[index, attr-defined]
    assert (shown["a.jpg"], shown["b.jpg"]) == (["1"], ["2"])


@pytest.mark.parametrize("order", thinned(permutations(range(3)), 5), ids=str)
def test_rows_that_contradict_each_other_never_share_an_image(order: Sequence[int], tmp_path: Path) -> None:
    names = ("a.jpg", "b.jpg", "t.jpg")
    rows = [media("1", name, variant="Thumbnail" if name == "t.jpg" else "BestQuality", guid="p") for name in names]
    load_all(tmp_path / "ledger", *archives(tmp_path, [[rows[at]] for at in order]))
    assert not any({"a.jpg", "b.jpg"} <= set(urls) for urls in urls_of(tmp_path / "ledger"))


def test_a_record_with_too_many_rows_is_left_as_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "MAX_REMEMBERED", 2)
    ledger = tmp_path / "ledger"
    load_all(ledger, *archives(tmp_path, [[cells] for cells in RECORD]))
    check_sound(ledger)
    assert ask(ledger, "SELECT count(*) FROM picture_rows") == [(3,)]


# -- with what has been asked for in between

LESSER, BETTER = (media("1", f"{name}.jpg", variant=f"ac:{name}Quality", guid="p") for name in ("Medium", "Best"))
STATES = "SELECT image_id, urls, status, error_type, file_path FROM images ORDER BY 1"


def in_turn(folder: Path, first: Sequence[Cells], happens: Callable[[Steward], None], second: Sequence[Cells]) -> list[Any]:
    """The images of two inits, with something between them; URLs by their names."""
    ledger = folder / "ledger"
    one, other = archives(folder, [first, second])
    load_all(ledger, one)
    with steward(ledger) as opened:
        happens(opened)
    load_all(ledger, other)
    check_sound(ledger)
    return [(image_id, names(urls), *more) for image_id, urls, *more in ask(ledger, STATES)]


def test_a_lesser_variant_comes_to_the_stored_image(tmp_path: Path) -> None:
    images = in_turn(tmp_path, [BETTER], lambda opened: opened.store(BETTER[1]), [LESSER])
    assert [one[:4] for one in images] == [(1, ("Best.jpg", "Medium.jpg"), "success", None)]


def test_a_stored_lesser_variant_stays_and_the_better_one_is_asked_for(tmp_path: Path) -> None:
    images = in_turn(tmp_path, [LESSER], lambda opened: opened.store(LESSER[1]), [BETTER])
    assert [one[:4] for one in images] == [
        (1, ("Medium.jpg",), "success", None),
        (2, ("Best.jpg", "Medium.jpg"), "pending", None),
    ]
    assert ask(tmp_path / "ledger", "SELECT n_images, n_success, status FROM gbif_ids") == [(2, 1, "partial")]


def test_a_failed_variant_gets_a_new_chance_with_the_other_one(tmp_path: Path) -> None:
    for number, (first, second) in enumerate(((LESSER, BETTER), (BETTER, LESSER))):
        folder = tmp_path / str(number)
        folder.mkdir()
        images = in_turn(folder, [first], lambda opened, first=first: opened.fail(first[1]), [second])  # type: ignore[misc]
        assert [one[:4] for one in images] == [(1, ("Best.jpg", "Medium.jpg"), "pending", None)]


BY_THEMSELVES = [media("1", "Best.jpg"), media("1", "Medium.jpg")]  # rows that do not say that they are one picture


def test_of_two_images_for_one_picture_one_shows_the_file_of_the_other(tmp_path: Path) -> None:
    images = in_turn(tmp_path, BY_THEMSELVES, lambda opened: opened.store(BETTER[1]), [LESSER, BETTER])
    (_, urls, *best), (_, _, *medium) = images
    assert urls == ("Best.jpg", "Medium.jpg")
    assert (best[:2], medium[:2], best[2]) == (["success", None], ["success", "same_image"], medium[2])
    assert ask(tmp_path / "ledger", "SELECT n_images, n_success, status FROM gbif_ids") == [(2, 2, "done")]


def test_of_two_images_for_one_picture_one_waits_for_the_other(tmp_path: Path) -> None:
    images = in_turn(tmp_path, BY_THEMSELVES, lambda opened: None, [LESSER, BETTER])
    assert [one[2:4] for one in images] == [("pending", None), ("failed_transient", "same_image")]
    with steward(tmp_path / "ledger") as opened:
        opened.store(BETTER[1])
    assert [one[2] for one in ask(tmp_path / "ledger", STATES)] == ["success", "success"]
    assert len(ask(tmp_path / "ledger", "SELECT DISTINCT file_path FROM images")) == 1
    assert ask(tmp_path / "ledger", "SELECT n_success, status FROM gbif_ids") == [(2, "done")]


def test_two_stored_images_keep_their_files(tmp_path: Path) -> None:
    def happens(opened: Steward) -> None:
        for cells in BY_THEMSELVES:
            opened.store(cells[1])

    images = in_turn(tmp_path, BY_THEMSELVES, happens, [LESSER, BETTER])
    assert [one[2:4] for one in images] == [("success", None)] * 2
    assert len({one[4] for one in images}) == 2


def test_an_image_that_was_a_document_stays(tmp_path: Path) -> None:
    manifest_row = [*media("1", "x.jpg", variant="ac:GoodQuality", guid="p")]
    manifest_row[1] = M

    def happens(opened: Steward) -> None:
        opened.unfold(M, manifest("a", "b"))

    images = in_turn(tmp_path, [manifest_row], happens, [BETTER, [*BETTER[:1], view("a"), *BETTER[2:3], "", "", "", ""]])
    assert [one[3] for one in images] == [None] * 3
    assert images[0][1][0] == M
    assert [one[2] for one in images] == ["pending"] * 3


def test_what_an_ingest_has_joined_is_settled_by_the_next_one_if_it_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = tmp_path / "ledger"
    one, other = archives(tmp_path, [BY_THEMSELVES, [LESSER, BETTER]])
    load_all(ledger, one)
    with monkeypatch.context() as patch:
        patch.setattr(ingest_module.deferred, "drain", lambda *_: None)
        load_all(ledger, other)
    assert ask(ledger, "SELECT image_id, same_as FROM joined_images") == [(2, 1)]
    with steward(ledger):
        pass
    assert ask(ledger, "SELECT error_type FROM images WHERE image_id = 2") == [("same_image",)]


# -- what is remembered


def test_a_statement_is_read_as_it_was_written() -> None:
    variants = (StatedUrl("https://a/1", "access", True, 4, 3, "md5", "0" * 32), StatedUrl("https://a/2", "good", False))
    said = Statement(variants, frozenset({"https://a/1", UUID + "1"}), "https://a/0", "best", ("", "a title"))
    found = read(written(said) or "")
    assert found._replace(words=()) == said._replace(words=())
    assert any(found.words)
    long = said._replace(guids=frozenset({"x" * 5_000}), derived_from="x" * 5_000, words=("y" * 5_000,))
    found = read(written(long) or "")
    assert found.derived_from in found.guids
    assert len(written(long) or "") < 500


def test_what_cannot_be_joined_is_not_remembered() -> None:
    plain = StatedUrl("https://a/1", "access", True)
    assert written(Statement((plain,), frozenset({plain.url}), words=("a title",))) is None
    assert written(Statement((plain._replace(url="x" * 10_000),), frozenset({UUID + "1"}))) is None


def test_an_init_of_plain_rows_remembers_nothing(tmp_path: Path) -> None:
    load(tmp_path / "ledger", bare(tmp_path / "multimedia.txt", [row(1, f"{HOST}/a.jpg"), row(1, f"{HOST}/b.jpg")]))
    assert ask(tmp_path / "ledger", "SELECT count(*) FROM picture_rows") == [(0,)]
