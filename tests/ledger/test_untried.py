"""The lists of untried images, against a dictionary that does the same."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.ledger.admission import new_untried
from d4c_images.ledger.file.connect import open_ledger
from d4c_images.ledger.queue import untried


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    ledger = open_ledger(tmp_path_factory.mktemp("untried") / "ledger", create=True)
    yield ledger.connection
    ledger.close()


Act = tuple[str, int, int]
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 1500), st.integers(1, 2**32)),
        st.tuples(st.just("take"), st.integers(1, 4), st.integers(1, 900)),
        st.tuples(st.just("move"), st.integers(1, 3000), st.integers(1, 4)),
    ),
    min_size=1,
    max_size=8,
)


@given(ACTS)
def test_lists_are_what_a_dictionary_says(db: sqlite3.Connection, acts: list[Act]) -> None:
    db.execute("DELETE FROM untried")
    model: defaultdict[int, list[int]] = defaultdict(list)
    next_id = 1
    for act, a, b in acts:
        if act == "add":
            image_ids = np.arange(next_id, next_id + a)
            host_ids = np.random.default_rng(b).integers(1, 5, a)
            new_untried.add(db, image_ids, host_ids)
            for image_id, host_id in zip(image_ids.tolist(), host_ids.tolist(), strict=True):
                model[host_id].append(image_id)
            next_id += a
        elif act == "take":
            assert untried.take(db, a, b) == model[a][:b]
            del model[a][:b]
        else:
            host_id = next((host_id for host_id, image_ids in model.items() if a in image_ids), 1)
            untried.move(db, a, host_id, b)
            if a in model[host_id]:
                model[host_id].remove(a)
                model[b] = sorted([*model[b], a])
        assert dict(db.execute(untried.COUNT_UNTRIED)) == {host_id: len(ids) for host_id, ids in model.items() if ids}
        assert [untried.any_of(db, host_id) for host_id in range(1, 5)] == [bool(model[host_id]) for host_id in range(1, 5)]


def test_where_a_transaction_ends_is_not_to_be_seen(db: sqlite3.Connection) -> None:
    host_ids = np.random.default_rng(1).integers(1, 20, 3000)
    rows = []
    for step in (1, 7, 512, 1000, 3000):
        db.execute("DELETE FROM untried")
        for start in range(0, 3000, step):
            end = min(3000, start + step)
            new_untried.add(db, np.arange(start + 1, end + 1), host_ids[start:end])
        rows.append(db.execute("SELECT * FROM untried ORDER BY 1, 2").fetchall())
    assert all(row == rows[0] for row in rows)
    assert {type(places) for _, _, places in rows[0]} == {bytes}
