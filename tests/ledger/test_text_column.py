"""A column of texts in one piece behaves like a list of them, and SQLite cuts the same texts out of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.ledger.admission.chunk import JoinedTexts
from d4c_images.ledger.admission.text_column import TextColumn

SAMPLES = ("", "a", "http://x.org/a.jpg\nhttp://x.org/b.jpg", "Grünberg", "\0", "a\0b", "𝕏" * 3)
TEXTS = st.lists(st.sampled_from(SAMPLES), min_size=1)


def joined(texts: list[str]) -> JoinedTexts:
    encoded = [text.encode() for text in texts]
    return JoinedTexts(b"\t".join(encoded), np.array(list(map(len, encoded)), np.int32))


def taken_out(column: TextColumn, positions: list[int]) -> list[str]:
    stretch = column.stretch(np.array(positions))
    with closing(sqlite3.connect(":memory:")) as db:
        places = zip(stretch.starts.tolist(), stretch.lengths.tolist(), strict=True)
        cut = "SELECT coalesce(CAST(substr(?, ?, ?) AS TEXT), '')"  # of an empty blob it is NULL
        return [db.execute(cut, (stretch.blob, *place)).fetchone()[0] for place in places]


@given(st.lists(TEXTS, min_size=1, max_size=3), st.lists(st.tuples(st.integers(0), st.text()), max_size=5), st.data())
def test_a_column_behaves_like_a_list(parts: list[list[str]], changes: list[tuple[int, str]], data: st.DataObject) -> None:
    column, expected = TextColumn([joined(part) for part in parts]), [text for part in parts for text in part]
    spread_at = data.draw(st.sampled_from([None, *range(len(changes) + 1)]))
    for n, (at, text) in enumerate([*changes, (0, expected[0])]):
        if n == spread_at:
            column.spread()
        at, text = at % len(expected), text.replace("\t", "").encode(errors="ignore").decode()
        column[at] = expected[at] = text
        assert [column[one] for one in range(len(column))] == expected
    column.settle()
    assert [column[one] for one in range(len(column))] == expected
    positions = sorted(data.draw(st.sets(st.integers(0, len(expected) - 1), min_size=1)))
    assert taken_out(column, positions) == [expected[at] for at in positions]


@pytest.mark.parametrize("again", ["new", "", "𝕏"])
def test_settled_texts_can_be_changed_again(again: str) -> None:
    column = TextColumn([joined(["a", "bb", "ccc"])])
    for text in ("longer than before", again):
        column[1] = text
        column.settle()
    assert taken_out(column, [0, 1, 2]) == ["a", again, "ccc"]
