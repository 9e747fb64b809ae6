"""Every behaviour of the publishers' server, through the whole program: what each must become in the ledger and on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.publishers.client import Publishers
from tests.publishers.expected import LIMITS, MAX_ATTEMPTS, Expected, expected
from tests.support.program import Collection, multimedia, reach

TABLE = expected()
FIRST_ID = 5_000_000_000


@pytest.fixture(scope="module")
def hostile(publishers_process: Publishers, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """One run over all behaviours at once, to its end."""
    publishers_process.reset()
    collection = Collection(tmp_path_factory.mktemp("hostile"))
    rows = [(FIRST_ID + number, line.url) for number, line in enumerate(TABLE)]
    collection.load(multimedia(collection.folder / "multimedia.txt", rows))
    collection.run(
        "download", *reach(publishers_process), "--processes", 2, "--max-attempts", MAX_ATTEMPTS, "--retry-wait", "1s",
        "--give-up-after", "0s", "--connect-timeout", LIMITS.connect_s, "--timeout", LIMITS.total_s,
        "--stall-timeout", LIMITS.stall_s, "--max-size", LIMITS.max_bytes,
    )  # fmt: skip
    return collection


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(TABLE)), ids=[f"{line.behaviour}-{n}" for n, line in enumerate(TABLE)])
def test_each_misbehaviour_becomes_what_its_row_says(hostile: Collection, number: int) -> None:
    line: Expected = TABLE[number]
    [(status, error_type, http_status, media_type, file_path, detail)] = hostile.rows(
        "SELECT status, error_type, http_status, media_type, file_path, error_detail FROM images"
        " WHERE gbif_id = ? AND image_no = 0",
        FIRST_ID + number,
    )
    assert status == line.status, detail
    assert error_type in line.error_types, detail
    assert http_status in line.http_statuses
    assert media_type == line.media_type
    if line.extension is None:
        assert file_path is None
    else:
        assert str(file_path).endswith(f"/{FIRST_ID + number}-00.{line.extension}")
    assert detail is None or len(str(detail)) <= 2000


@pytest.mark.slow
def test_nothing_else_is_on_disk(hostile: Collection) -> None:
    hostile.check_invariants()
    named = {str(path) for (path,) in hostile.rows("SELECT file_path FROM images WHERE status = 'success'")}
    assert hostile.files() == named
    assert not list(hostile.root.rglob(".*.part"))


@pytest.mark.slow
def test_no_more_requests_than_promised(hostile: Collection, publishers_process: Publishers) -> None:
    """Of the row's own URL; where its redirects lead, other rows go too."""
    asked = publishers_process.counters()["urls"]
    for line in TABLE:
        assert asked.get(line.url, 0) <= line.requests, line.behaviour


@pytest.mark.slow
def test_every_record_has_come_to_an_end(hostile: Collection) -> None:
    assert {status for (status,) in hostile.rows("SELECT status FROM gbif_ids")} <= {"done", "failed"}


def test_the_table_is_large_enough() -> None:
    assert len({line.behaviour for line in TABLE}) >= 40


def test_rows_of_the_table_differ() -> None:
    assert len({Path(line.url) for line in TABLE}) == len(TABLE)
