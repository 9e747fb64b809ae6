"""Variants of one photo, wherever their rows stand: in any order, in any number of inits, in transactions of any size."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_images import ingest as ingest_module
from d4c_images import stating
from tests.archives import audubon
from tests.downloads import ask, check_sound, load_all

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
        patch.setattr(stating, "SPAN_ROWS", span_rows)
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


MANY = 60
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


@settings(max_examples=MANY, deadline=None)
@given(rows=tables(), seed=SEED, n_parts=st.integers(1, 4), per_transaction=st.integers(1, 9), span=st.integers(1, 4))
def test_the_order_of_rows_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Cells], seed: int, n_parts: int, per_transaction: int, span: int
) -> None:
    """Any order, any number of inits, any size of transactions: the same images, candidates, evidence and links."""
    folder = tmp_path_factory.mktemp("joining")
    load_all(folder / "sorted", *archives(folder, [sorted(rows)]))
    chance = random.Random(seed)
    chance.shuffle(rows)
    parts: list[list[Cells]] = [[] for _ in range(n_parts)]
    for one in rows:
        chance.choice(parts).append(one)
    with pieces(per_transaction, span):
        load_all(folder / "mixed", *archives(folder, parts))
    assert partition(folder / "mixed") == partition(folder / "sorted")
