"""What checks have found is taken over once, whoever is killed when; and what it says of the collection, by blocks of numbers."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from d4c_images.ledger.file import connect, owner
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.file.reader import Reader, open_reader
from d4c_images.ledger.questions import verified
from d4c_images.ledger.queue import verifications
from d4c_images.model import Verification
from tests.support import old_ledgers
from tests.support.program import PROJECT

NOW = 1_800_000_000
DAY_S = 86400
BLOCKS = 60  # of a thousand numbers, each with 900 stored images

ALL = Verification(
    check_id="all",
    began_at=NOW - 3600,
    ended_at=NOW - 60,
    root="/images",
    last_image_id=1000 * BLOCKS,
    part=1,
    n_parts=1,
    block_ids=1000,
    with_sha256=True,
    with_decode=False,
    sample=None,
    sample_turn=0,
    n_images=900 * BLOCKS,
    n_read=900 * BLOCKS,
    n_decoded=0,
    n_findings=2,
    n_ledger_findings=0,
)
BY_SIZE = {"with_sha256": False, "n_read": 0}
DECODED = {"with_decode": True, "n_decoded": 900 * BLOCKS}
LEDGER_ALONE = {"root": None, "last_image_id": 0, "n_images": 0, **BY_SIZE}


def later(**more: Any) -> Verification:
    """The same check once more, which finds nothing."""
    return replace(ALL, **{"check_id": f"later {more}", "ended_at": NOW, "n_findings": 0, **more})


def part(number: int, of: int, days_ago: float, **more: Any) -> Verification:
    """One of so many parts, which divides the blocks evenly."""
    at, n = int(NOW - days_ago * DAY_S), 900 * BLOCKS // of
    cells = {"check_id": f"{number}/{of} of {at} {more}", "began_at": at - 60, "ended_at": at, "part": number, "n_parts": of}
    return replace(ALL, **{**cells, "n_images": n, "n_read": n, "n_findings": 0, **more})


def sample(turn: int, days_ago: float, **more: Any) -> Verification:
    """A tenth of all images, read."""
    cells = {"sample": 10, "sample_turn": turn, "n_read": 90 * BLOCKS}
    return later(**{"check_id": f"sample {turn} {days_ago} {more}", "ended_at": int(NOW - days_ago * DAY_S), **cells, **more})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(connect.open_ledger(tmp_path / "ledger.sqlite", create=True)) as opened:
        yield opened


@pytest.fixture
def reader(ledger: Ledger) -> Iterator[Reader]:
    with open_reader(ledger.path) as reader:
        yield reader


def newest_first(*found: Verification) -> list[Verification]:
    return sorted(found, key=lambda one: -one.ended_at)


def n_sha256(reader: Reader, *found: Verification, now: float = NOW) -> int:
    """In blocks."""
    return verified.last_verified(reader, found, now).n_sha256 // 900


def test_a_result_is_recorded_as_it_is_and_once(ledger: Ledger, reader: Reader) -> None:
    found = [ALL, sample(3, 0.5, n_ledger_findings=1), part(3, 30, 1, **DECODED), part(1, 2, 2, **LEDGER_ALONE)]
    assert verifications.take_over(ledger, found[:2], NOW) == 2
    assert verifications.take_over(ledger, found, NOW) == 2
    assert verifications.take_over(ledger, found, NOW) == verifications.take_over(ledger, [], NOW) == 0
    assert verified.verifications(reader) == found


def test_who_finds_nothing_new_writes_nothing(ledger: Ledger, reader: Reader) -> None:
    """Each start of a command comes here."""
    verifications.take_over(ledger, [ALL], NOW)
    before = ledger.connection.total_changes
    statements: list[str] = []
    ledger.connection.set_trace_callback(statements.append)
    verifications.take_over(ledger, [ALL], NOW)
    ledger.connection.set_trace_callback(None)
    assert (ledger.connection.total_changes, [one.split()[0] for one in statements]) == (before, ["SELECT"])


def test_many_results_are_recorded_in_pieces(ledger: Ledger, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifications, "MOST_AT_ONCE", 3)
    parts = [part(number, 10, number) for number in range(1, 11)]
    assert verifications.take_over(ledger, parts, NOW) == 10
    assert verified.verifications(reader) == parts


def test_results_of_another_year_are_dropped(ledger: Ledger, reader: Reader) -> None:
    verifications.take_over(ledger, [replace(ALL, ended_at=NOW - 399 * DAY_S)], NOW)
    verifications.take_over(ledger, [part(1, 2, 0)], NOW + 2 * DAY_S)
    assert verified.verifications(reader) == [part(1, 2, 0)]


@pytest.mark.parametrize(("point", "n_left"), [("verifications.before_commit", 0), ("verifications.after_commit", 1)])
def test_who_is_killed_while_he_takes_a_result_over_neither_loses_nor_doubles_it(
    point: str, n_left: int, ledger: Ledger, reader: Reader
) -> None:
    code = (
        "import sys; from pathlib import Path; from d4c_images.ledger.file import connect; "
        "from d4c_images.ledger.queue import verifications; from tests.ledger.test_verifications import ALL, NOW; "
        "verifications.take_over(connect.open_ledger(Path(sys.argv[1])), [ALL], NOW)"
    )
    words = [sys.executable, "-c", code, str(ledger.path)]
    assert subprocess.run(words, cwd=PROJECT, env={"D4C_CRASH_AT": point, "PATH": ""}, check=False).returncode == -9
    assert len(verified.verifications(reader)) == n_left
    assert verifications.take_over(ledger, [ALL], NOW) == 1 - n_left
    assert verified.verifications(reader) == [ALL]


def test_a_ledger_that_nobody_has_checked(reader: Reader) -> None:
    assert verified.last_verified(reader, [], NOW) == verified.LastVerified(None, 30, 0, 0, 0, 0)


def test_a_ledger_of_the_version_before_counts_what_stands_in_files(tmp_path: Path) -> None:
    path = old_ledgers.unpack(3, tmp_path)
    with closing(sqlite3.connect(path)) as db:
        assert not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'verifications'").fetchall()
    with open_reader(path) as reader:
        assert verified.last_verified(reader, [], NOW).last_at is None
        assert n_sha256(reader, ALL) == BLOCKS


def test_a_result_in_the_ledger_and_in_its_file_counts_once(ledger: Ledger, reader: Reader) -> None:
    verifications.take_over(ledger, [ALL], NOW)
    found = verified.last_verified(reader, [ALL], NOW)
    assert found == verified.LastVerified(NOW - 60, 30, 900 * BLOCKS, 900 * BLOCKS, 0, n_findings=2)


def test_a_month_of_nights_covers_all_images(ledger: Ledger, reader: Reader) -> None:
    verifications.take_over(ledger, [part(number, 20, 20 - number) for number in range(1, 21)], NOW)
    assert n_sha256(reader) == BLOCKS
    assert n_sha256(reader, now=NOW + 15 * DAY_S) == 16 * BLOCKS // 20, "the first four are of more than 30 days ago"


@pytest.mark.parametrize(
    ("found", "n_blocks"),
    [
        ([ALL, part(1, 4, 1), part(4, 4, 2)], BLOCKS),
        ([part(1, 2, 1), part(1, 2, 2)], BLOCKS // 2),
        ([part(1, 2, 1), part(1, 4, 2), part(3, 4, 2)], BLOCKS // 2),
        ([part(1, 2, 1), part(2, 4, 2)], BLOCKS * 3 // 4),
        ([part(1, 2, 1), part(1, 3, 2)], BLOCKS * 4 // 6),
        ([part(1, 2, 1), part(2, 2, 31)], BLOCKS // 2),
        ([part(1, 2, 1, block_ids=500), part(2, 2, 1)], BLOCKS // 2),
        ([replace(ALL, block_ids=500)], BLOCKS),
        ([replace(ALL, last_image_id=30_000, n_read=30 * 900)], 30),
        ([replace(ALL, **LEDGER_ALONE)], 0),
        ([later(**BY_SIZE)], 0),
        ([later(**BY_SIZE, **DECODED)], 0),
        ([], 0),
    ],
    ids=str,
)
def test_images_that_several_checks_have_read_count_once(found: list[Verification], n_blocks: int, reader: Reader) -> None:
    assert n_sha256(reader, *found) == n_blocks


def test_each_kind_of_look_counts_by_itself(reader: Reader) -> None:
    half, third = part(1, 2, 1, with_decode=True, n_decoded=450 * BLOCKS), part(1, 3, 1, n_decoded=300 * BLOCKS, with_decode=True)
    found = verified.last_verified(reader, [later(**BY_SIZE), half, replace(third, **BY_SIZE)], NOW)
    assert (found.n_size, found.n_sha256, found.n_decode) == (900 * BLOCKS, 450 * BLOCKS, 600 * BLOCKS)


def test_samples_add_up_if_they_are_not_the_same_one(reader: Reader) -> None:
    n = BLOCKS // 10
    assert n_sha256(reader, sample(1, 1), sample(2, 2), sample(2, 3)) == 2 * n
    assert n_sha256(reader, sample(1, 1), part(1, 2, 2)) == 30 + n // 2, "half of it was read anyway"
    assert n_sha256(reader, sample(1, 1), ALL) == BLOCKS
    assert verified.last_verified(reader, [sample(1, 1)], NOW).n_size == 900 * BLOCKS, "the size of all was looked at"


@pytest.mark.parametrize(
    ("found", "n_open"),
    [
        ([ALL], 2),
        ([later(), ALL], 0),
        ([later(**BY_SIZE), ALL], 2),
        ([later(**DECODED), ALL], 0),
        ([later(**BY_SIZE, **DECODED), ALL], 2),
        ([sample(1, 0, n_findings=1), ALL], 3),
        ([sample(1, 0), later(check_id="size", ended_at=NOW - 90, **BY_SIZE, n_findings=1)], 0),
        ([part(1, 2, 0), part(2, 2, 0, n_findings=1), ALL], 1),
        ([part(1, 2, 0), ALL], 2),
        ([later(**LEDGER_ALONE), ALL], 2),
        ([later(**LEDGER_ALONE), replace(ALL, n_ledger_findings=2)], 0),
        ([part(2, 2, 0), replace(ALL, n_ledger_findings=2)], 2),
        ([part(1, 2, 0, n_findings=1, n_ledger_findings=1), replace(ALL, n_ledger_findings=2)], 1),
        ([], 0),
    ],
    ids=str,
)
def test_findings_count_until_a_check_as_close_has_seen_the_same_again(found: list[Verification], n_open: int) -> None:
    assert verified.n_open(sorted(found, key=lambda one: -one.ended_at)) == n_open


@pytest.mark.parametrize(("command", "ending", "n_findings"), [
    ("check --repair", "ended", 0),
    ("check --repair", "ended: 2 images will be fetched again", 0),
    ("check --repair", "died: a disk error", 2),
    ("check --repair", None, 2),
    ("download", "ended", 2),
])  # fmt: skip
def test_a_repair_that_has_ended_well_leaves_no_findings(
    command: str, ending: str | None, n_findings: int, ledger: Ledger, reader: Reader
) -> None:
    verifications.take_over(ledger, [ALL], NOW)
    owner.take(ledger, command, owner.this_process(), NOW)
    if ending is not None:
        owner.give_back(ledger, ending, NOW + 60)
    found = verified.last_verified(reader, [], NOW + 60)
    assert (found.n_findings, found.n_sha256) == (n_findings, 900 * BLOCKS)
    assert verified.last_verified(reader, [later(ended_at=NOW + 120, n_findings=1)], NOW + 120).n_findings == 1
