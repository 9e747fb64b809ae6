"""The roll-up at any size and shape: linear, in bounded steps, correct whatever was wrong before, and resumable after a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_images import cli
from d4c_images.collection.check import CheckOptions, CheckReport, check
from d4c_images.collection.findings import CheckProgress
from d4c_images.commands import session
from d4c_images.errors import Stopped
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.beside import files_of_checks
from d4c_images.ledger.file.connect import Ledger, open_ledger
from d4c_images.ledger.file.reader import open_reader
from d4c_images.ledger.file.writing import open_and_own
from d4c_images.ledger.questions import audit, counter_audit, locations
from d4c_images.ledger.rows import extent, recount, rollup
from d4c_images.ledger.rows.rollup import RollUpProgress, finalize
from tests.support.ledger import add_image, add_link, add_record, add_rule, catch_up, recount_all, recount_images
from tests.support.ledger_dump import differences
from tests.support.patience import PATIENCE_S
from tests.support.program import PROJECT, RECOUNT_IMAGES
from tests.support.properties import examples
from tests.support.sweep import thinned

RECOUNT_RECORDS = """
SELECT g.gbif_id, count(i.image_id), coalesce(sum(i.status = 'success'), 0),
       coalesce(sum(i.status = 'failed_permanent' OR (i.status = 'failed_transient' AND i.not_before IS NULL)), 0)
FROM gbif_ids AS g LEFT JOIN links AS l ON l.gbif_id = g.gbif_id LEFT JOIN image_rows AS i ON i.image_id = l.image_id
GROUP BY g.gbif_id ORDER BY g.gbif_id
"""
STATES = (
    ("pending", None, None),
    ("success", None, 1),
    ("failed_permanent", None, 1),
    ("failed_transient", None, 1),
    ("failed_transient", 5, 1),
)  # status, not_before, last_attempt_at


class Maker:
    """Writes a ledger row by row, with rows that need not be true."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = open_ledger(path, create=True)
        self.db = self.ledger.connection
        self.db.execute("BEGIN")
        self.db.execute("INSERT INTO host_rows (host) VALUES ('a.example.org'), ('b.example.org')")
        add_rule(self.db)
        self.n_images = 0

    def image(self, gbif_id: int, image_no: int, state: int = 0, host_id: int = 1) -> int:
        self.n_images += 1
        cells = dict(zip(("status", "not_before", "last_attempt_at"), STATES[state], strict=True))
        url = f"https://a.example.org/{self.n_images}"
        add_image(self.db, self.n_images, gbif_id, image_no, host_id=host_id, urls=url, **cells)
        return self.n_images

    def link(self, gbif_id: int, image_no: int, image_id: int, *, is_first: bool) -> None:
        add_link(self.db, gbif_id, image_no, image_id, is_first=is_first)

    def record(self, gbif_id: int, first_image_id: int | None, n_in_line: int, n_images: int = 0) -> None:
        add_record(self.db, gbif_id, n_images, first_image_id, n_in_line)

    def done(self) -> Ledger:
        catch_up(self.db, self.n_images)
        self.db.execute("COMMIT")
        return self.ledger


# -- shapes, each with n images


def ordinary(make: Maker, n: int) -> None:
    for at in range(n):
        make.record(5_000_000 - at, make.image(5_000_000 - at, 0), 1, 1)


def shuffled(make: Maker, n: int) -> None:
    for at in range(n):
        gbif_id = 1_000_000 + at * 2_654_435_761 % 2**32
        make.record(gbif_id, make.image(gbif_id, 0), 1, 1)


def one_record(make: Maker, n: int) -> None:
    make.record(7, 1, n, n)
    for at in range(n):
        make.image(7, at)


def one_image(make: Maker, n: int) -> None:
    make.image(1, 0)
    for gbif_id in range(1, n + 1):
        make.link(gbif_id, 0, 1, is_first=gbif_id == 1)
        make.record(gbif_id, None, 0, 1)


def all_in_links(make: Maker, n: int) -> None:
    for at in range(n):
        make.link(1000 + at // 3, at % 3, make.image(1000 + at // 3, at % 3), is_first=True)
        if at % 3 == 0:
            make.record(1000 + at // 3, None, 0, min(3, n - at))


def one_record_by_links(make: Maker, n: int) -> None:
    make.record(7, None, 0, n)
    for at in range(n):
        make.link(7, at, make.image(100 + at, 0), is_first=False)
        make.record(100 + at, at + 1, 1, 1)


def hundreds_each(make: Maker, n: int) -> None:
    for gbif_id in range(n // 250):
        make.record(gbif_id + 1, gbif_id * 250 + 1, 250, 250)
        for at in range(250):
            make.image(gbif_id + 1, at)


SHAPES = (ordinary, shuffled, one_record, one_image, all_in_links, one_record_by_links, hundreds_each)


def made(path: Path, shape: Callable[[Maker, int], None], n: int) -> Path:
    """A ledger of this shape, its counters true."""
    make = Maker(path)
    shape(make, n)
    ledger = make.done()
    recount_all(ledger.connection)
    ledger.close()
    return path


class Steps:
    """Counts SQLite's instructions, in thousands; `most` is the most between two marks."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.n = self.at_mark = self.most = 0
        connection.set_progress_handler(self._on_progress, 1000)

    def _on_progress(self) -> int:
        self.n += 1
        return 0

    def mark(self, *_: object) -> None:
        self.most = max(self.most, self.n - self.at_mark)
        self.at_mark = self.n


@pytest.mark.parametrize("shape", thinned(SHAPES, 3))
def test_the_roll_up_is_linear_and_its_steps_are_bounded(tmp_path: Path, shape: Callable[[Maker, int], None]) -> None:
    counted = []
    for n in (1500, 3000):
        ledger = open_ledger(made(tmp_path / str(n), shape, n))
        steps = Steps(ledger.connection)
        assert finalize(ledger, steps.mark, chunk=150).corrected == 0
        counted.append(steps)
        ledger.close()
    assert counted[1].n <= 2.3 * counted[0].n
    assert counted[1].most <= 1.3 * counted[0].most + 5, "no step depends on the size"


@pytest.mark.parametrize("shape", thinned(SHAPES, 3))
def test_the_check_of_a_ledger_is_linear(tmp_path: Path, shape: Callable[[Maker, int], None]) -> None:
    counted = []
    for n in (1500, 3000):
        with open_reader(made(tmp_path / str(n), shape, n)) as ledger:
            steps = Steps(ledger._connected())
            with mock.patch.object(audit, "database_errors", return_value=[]):  # which takes the connection's handler
                report = check(ledger, None, CheckOptions(ledger_only=True))
            assert report.ok, report.counts
            counted.append(steps.n)
    assert counted[1] <= 2.3 * counted[0]


# -- plans


BIG = {"image_rows", "gbif_ids", "link_rows", "untried", "former_rows", "tallies", "recounted_tallies", *"ilgrmf"}
STATISTICS = {
    "none": [],
    "no links": [("image_rows", None, "50000000"), ("gbif_ids", None, "44000000")],
    "many links": [
        ("image_rows", None, "50000000"),
        ("image_rows", "image_queue", "1000000 500 2"),
        ("gbif_ids", None, "44000000"),
        ("link_rows", "link_rows", "10000000 2 1"),
        ("link_rows", "link_shared", "10000000 1 1 1"),
        ("tallies", "tallies", "4000000 4 2 1"),
    ],
    "one image on many": [
        ("image_rows", None, "1000"),
        ("gbif_ids", None, "44000000"),
        ("link_rows", "link_rows", "44000000 1 1"),
        ("link_rows", "link_shared", "44000000 5000000 1 1"),
    ],
    "one record": [
        ("image_rows", None, "50000000"),
        ("gbif_ids", None, "10"),
        ("link_rows", "link_rows", "10000000 5000000 1"),
        ("link_rows", "link_shared", "10000000 1 1 1"),
    ],
}
STATEMENTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": sql
    for module in (extent, recount, rollup, counter_audit, audit, locations)
    for name, sql in vars(module).items()
    if name.isupper() and isinstance(sql, str) and sql.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"))
}


@pytest.mark.parametrize("statistics", STATISTICS)
def test_no_statement_scans_a_big_table_or_builds_an_index(tmp_path: Path, statistics: str) -> None:
    ledger = open_ledger(tmp_path / "ledger", create=True)
    ledger.connection.execute("ANALYZE sqlite_schema")
    ledger.connection.executemany("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", STATISTICS[statistics])
    ledger.close()
    db = sqlite3.connect(tmp_path / "ledger")  # which reads the statistics
    wrong = []
    for name, sql in STATEMENTS.items():
        if name in ("rollup.RECORDS_TO_CHANGE", "rollup.SHARED_BY"):  # of a settlement, not of a recount
            continue
        n = next(n for n in range(9) if _takes(db, sql, (None,) * n))
        for *_, line in db.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * n):
            words = line.split()
            if (words[0] == "SCAN" and words[1] in BIG and name not in EXPLAINED) or "AUTOMATIC" in line:
                wrong.append((name, line))
    db.close()
    assert wrong == []


EXPLAINED = {
    "extent.TOP_IMAGE": "the last row only",
    "counter_audit.TOP_IMAGE": "the last row only",
    "counter_audit.NOT_YET_RECORDED": "the last row only",
    "recount.LINE_PIECE": "`i` are the rows of a step",
    "recount.LINK_PIECE": "`l` are the rows of a step",
}


def _takes(db: sqlite3.Connection, sql: str, values: tuple[object, ...]) -> bool:
    try:
        db.execute(f"EXPLAIN {sql}", values)
    except sqlite3.ProgrammingError:
        return False
    return True


# -- true whatever was wrong before


@st.composite
def records(draw: st.DrawFn) -> list[tuple[int, list[tuple[str, int]]]]:
    """Records with images in line, in links of their own, and shared ones, in any order."""
    ids = draw(st.lists(st.integers(1, 60), unique=True, max_size=9))
    shown = st.lists(st.tuples(st.sampled_from(("line", "line", "link", "shared")), st.integers(0, 4)), max_size=8)
    return [(gbif_id, draw(shown)) for gbif_id in ids]


DAMAGES = (
    "UPDATE gbif_ids SET n_images = n_images + 1 WHERE gbif_id % 3 = 0",
    "UPDATE gbif_ids SET n_success = n_success - 1 WHERE gbif_id % 4 = 1",
    "UPDATE gbif_ids SET n_failed = 7 WHERE gbif_id % 5 = 0",
    "UPDATE gbif_ids SET status = 'weird' WHERE gbif_id % 7 = 0",
    "UPDATE gbif_ids SET status = 'partial'",
    "DELETE FROM tallies",
    "UPDATE tallies SET n = n + 1, size_bytes = 4 WHERE status = 'pending'",
    "INSERT OR REPLACE INTO tallies VALUES (2, 'success', 'ghost', 1, 1, 1)",
    "UPDATE record_tallies SET n = n + 2",
    "DELETE FROM record_tallies",
)


def fill(make: Maker, shape: list[tuple[int, list[tuple[str, int]]]]) -> None:
    for gbif_id, shown in shape:
        first, in_line, kinds = None, 0, set()
        for image_no, (kind, state) in enumerate(shown):
            if kind == "shared" and make.n_images and (other := 1 + state * 7 % make.n_images) not in kinds:
                make.link(gbif_id, image_no, other, is_first=False)
                kinds.add(other)
                continue
            image_id = make.image(gbif_id, image_no, state, 1 + state % 2)
            kinds.add(image_id)
            if kind == "link" or (first is not None and first + in_line != image_id):
                make.link(gbif_id, image_no, image_id, is_first=True)
            else:
                first, in_line = first or image_id, in_line + 1
        make.record(gbif_id, first, in_line)


def recounted(db: sqlite3.Connection) -> list[list[tuple[object, ...]]]:
    return [db.execute(sql).fetchall() for sql in (RECOUNT_RECORDS, RECOUNT_IMAGES)]


def kept(db: sqlite3.Connection) -> list[list[tuple[object, ...]]]:
    return [
        db.execute("SELECT gbif_id, n_images, n_success, n_failed FROM gbif_ids ORDER BY 1").fetchall(),
        db.execute("SELECT * FROM tallies WHERE n <> 0 OR n_final <> 0 OR size_bytes <> 0 ORDER BY 1, 2, 3").fetchall(),
    ]


@given(shape=records(), chunk=st.integers(1, 6), damages=st.lists(st.sampled_from(DAMAGES), max_size=3))
@settings(max_examples=examples(20), deadline=None, derandomize=True)
def test_whatever_is_wrong_is_mended_and_reported(
    tmp_path_factory: pytest.TempPathFactory, shape: list[tuple[int, list[tuple[str, int]]]], chunk: int, damages: list[str]
) -> None:
    make = Maker(tmp_path_factory.mktemp("ledger") / "ledger")
    fill(make, shape)
    ledger = make.done()
    db = ledger.connection
    db.execute("PRAGMA synchronous = OFF")
    finalize(ledger, lambda progress: None)
    statuses = dict(db.execute("SELECT gbif_id, status FROM gbif_ids"))
    assert kept(db) == recounted(db)
    for damage in damages:
        db.execute(damage)
    wrong = [row[0] for row, true in zip(kept(db)[0], recounted(db)[0], strict=True) if row != true]
    wrong = sorted({*wrong, *(row[0] for row in db.execute("SELECT gbif_id, status FROM gbif_ids") if row[1] != statuses[row[0]])})
    with open_reader(make.path) as reader:
        untrue = [one.gbif_id for step in recount.record_steps(reader.rows, recount.Position(), chunk) for one in step.untrue]
        assert untrue == wrong
        assert [gbif_id for gbif_id in statuses if audit.record_trouble(reader, gbif_id)] == [*filter(wrong.__contains__, statuses)]
    done = finalize(ledger, lambda progress: None, chunk)
    assert (done.records, done.corrected) == (len(statuses), len(wrong))
    assert kept(db) == recounted(db)
    assert dict(db.execute("SELECT gbif_id, status FROM gbif_ids")) == statuses
    assert sorted(db.execute("SELECT * FROM record_tallies")) == sorted(
        db.execute("SELECT status, count(*) FROM gbif_ids GROUP BY 1")
    )
    assert db.execute("SELECT (SELECT count(*) FROM checkpoints) + (SELECT count(*) FROM recounted_tallies)").fetchone() == (0,)
    ledger.close()


@given(shape=records())
@settings(max_examples=examples(20), deadline=None, derandomize=True)
def test_a_name_leads_to_its_image_in_every_shape(
    tmp_path_factory: pytest.TempPathFactory, shape: list[tuple[int, list[tuple[str, int]]]]
) -> None:
    make = Maker(tmp_path_factory.mktemp("ledger") / "ledger")
    fill(make, shape)
    make.db.execute("UPDATE image_rows SET file_path = image_id, sha256 = x'00', file_size = 1")
    links = {(gbif_id, no): image_id for gbif_id, no, image_id in make.db.execute("SELECT gbif_id, image_no, image_id FROM links")}
    stored = {row[0] for row in make.db.execute("SELECT image_id FROM image_rows WHERE status = 'success'")}
    make.done().close()
    with open_reader(make.path) as reader:
        names = [(gbif_id, no, 0, "", None) for gbif_id in range(62) for no in range(10)]
        found = audit.named_images(reader, names)
        assert [image.path for image in found] == [None if (i := links.get(name[:2])) is None else str(i) for name in names]
        for name in names:
            shelved, image_id = locations.shown_as(reader, *name[:2]), links.get(name[:2])
            assert (shelved.image_id if shelved else None) == (image_id if image_id in stored else None)
        with mock.patch.object(locations, "SHELF_STEP_ROWS", 2):
            for gbif_id in {gbif_id for gbif_id, _ in links}:
                shown = [image_id for (other, _), image_id in sorted(links.items()) if other == gbif_id and image_id in stored]
                assert [one.image_id for one in locations.shown_by(reader, [gbif_id])] == shown


def gaps(make: Maker, n: int) -> None:
    """Every other image of the record came with an earlier one, so no image in line stands where its number says."""
    for at in range(n // 2):
        make.record(100 + at, make.image(100 + at, 0), 1, 1)
    make.record(7, make.n_images + 1, n // 2, 2 * (n // 2))
    for at in range(n // 2):
        make.link(7, 2 * at, 1 + at, is_first=False)
        make.image(7, 2 * at + 1)


@pytest.mark.parametrize("shape", [one_record, one_record_by_links, gaps])
def test_names_of_one_record_cost_the_same_each(tmp_path: Path, shape: Callable[[Maker, int], None]) -> None:
    """Fault A8: the check of 10,000 files of one record read the record's images for each of them."""
    counted = []
    for n in (1000, 2000):
        with open_reader(made(tmp_path / str(n), shape, n)) as reader:
            steps = Steps(reader._connected())
            for low in range(0, n, 500):
                names = [(7, at, 0, "", None) for at in range(low, low + 500)]
                assert all(image.status for image in audit.named_images(reader, names))
            for at in range(0, n, 4):
                locations.shown_as(reader, 7, at)
            assert all(image.status is None for image in audit.named_images(reader, [(7, n + at, 0, "", None) for at in range(n)]))
            counted.append(steps.n)
    assert counted[1] <= 2.3 * counted[0]


def test_ranges_of_records_are_measured_once_if_they_are_like_those_before(tmp_path: Path) -> None:
    """As in GBIF's tables, more images than records. Measuring too much, again and again, took as long as all the rest."""
    make = Maker(tmp_path / "ledger")
    for at in range(0, 900, 9):
        for gbif_id in range(at, at + 8):
            n = 2 if gbif_id == at else 1
            make.record(1 + gbif_id, make.n_images + 1, n, n)
            for image_no in range(n):
                make.image(1 + gbif_id, image_no)
    make.done().close()
    with open_reader(make.path) as reader:
        asked = []

        def ask(sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
            asked.append(sql)
            return reader.rows(sql, parameters)

        n_steps = sum(1 for _ in recount.record_steps(ask, recount.Position(), 90))
    assert n_steps == 11
    assert asked.count(recount.MEASURE) == n_steps + 1, "once too much at the beginning"


# -- going on after a kill


def mixed(make: Maker, n: int) -> None:
    """Untrue records at both sides of the chunks' edges, and a record that takes several chunks."""
    for gbif_id in range(1, 8):
        make.record(gbif_id, make.image(gbif_id, 0, gbif_id % 5, 1 + gbif_id % 2), 1, gbif_id % 2)
    make.record(8, make.n_images + 1, n)
    for at in range(n):
        make.image(8, at, at % 5)
    for at in range(n):
        make.link(8, n + at, 1 + at % 7, is_first=False)
    for gbif_id in range(9, 16):
        make.record(gbif_id, make.image(gbif_id, 0, 1), 1, 1)


PROGRAM = """
import sys, time
from pathlib import Path
from typing import Any
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.beside import files_of_checks
from d4c_images.ledger.file.writing import open_and_own
from d4c_images.ledger.rows import rollup
rollup.HOSTS_PER_CHUNK = 1
with open_and_own(Path(sys.argv[1]), rollup.FINALIZE, owner.this_process(), time.time, print) as ledger:
    done = rollup.finalize(ledger, lambda progress: print("chunk", flush=True), chunk=3)
    print("before", done.records_before, "corrected", done.corrected)
"""


def roll_up(path: Path, crash_at: str | None = None) -> list[str]:
    environ = {**os.environ, "PYTHONPATH": str(PROJECT)} | ({"D4C_CRASH_AT": crash_at} if crash_at else {})
    command = [sys.executable, "-c", PROGRAM, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environ, check=False)
    assert done.returncode == (-signal.SIGKILL if crash_at else 0), done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "crash_at",
    thinned(
        [
            *(f"finalize.records_committed:{n}" for n in (4, 1, 2, 6, 8)),
            *(f"finalize.images_committed:{n}" for n in (1, 2)),
            *(f"finalize.tallies_committed:{n}" for n in (1, 2)),
        ],
        every=8,
    ),
)
def test_a_killed_roll_up_goes_on_where_it_was(tmp_path: Path, crash_at: str) -> None:
    for name in ("killed", "whole"):
        make = Maker(tmp_path / name)
        mixed(make, 10)
        make.done().close()
    whole = roll_up(tmp_path / "whole")
    first = roll_up(tmp_path / "killed", crash_at)
    second = roll_up(tmp_path / "killed")
    assert differences(tmp_path / "killed", tmp_path / "whole") == []
    assert second[-1].split()[-1] == whole[-1].split()[-1], "corrections of both runs are counted"
    assert "before None" not in second[-1]
    # The crash comes after the commit and before the word: so together they have done one chunk more than they say.
    assert first.count("chunk") + 1 + second.count("chunk") == whole.count("chunk"), "no chunk is visited twice"


def test_a_roll_up_begins_anew_if_another_run_has_had_the_ledger(tmp_path: Path) -> None:
    make = Maker(tmp_path / "ledger")
    mixed(make, 10)
    make.done().close()
    roll_up(tmp_path / "ledger", "finalize.records_committed:6")
    with open_and_own(make.path, "download", owner.this_process(), time.time, print) as ledger:
        ledger.connection.execute("UPDATE gbif_ids SET n_success = 9 WHERE gbif_id = 1")
    assert "before None" in roll_up(tmp_path / "ledger")[-1]
    with open_reader(tmp_path / "ledger") as reader:
        assert audit.record_trouble(reader, 1) is None


def test_a_roll_up_that_is_told_to_stop_says_how_to_go_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make = Maker(tmp_path / "ledger")
    mixed(make, 10)
    make.done().close()
    arguments = ["init", "--finalize-only", "--ledger", str(tmp_path / "ledger")]
    with mock.patch.object(rollup, "finalize", partial(finalize, chunk=3)):
        with mock.patch.object(session.Stop, "__call__", return_value=True):
            assert cli.main(arguments) == 75
        stopped = capfd.readouterr()
        assert "a signal came: stopped after" in stopped.err
        assert "run the same command again" in stopped.err
        assert cli.main(arguments) == 0
    assert "resuming an earlier run: 3 records" in capfd.readouterr().out
    db = sqlite3.connect(tmp_path / "ledger")
    assert kept(db) == recounted(db)
    assert db.execute("SELECT ending FROM runs ORDER BY run_id DESC LIMIT 1 OFFSET 1").fetchone()[0].startswith("a signal came")
    db.close()


class Killed(Exception):
    pass


def unkind(n: int, error: Exception) -> Callable[[object], None]:
    """Progress that kills after `n` steps."""
    calls = iter(range(n))

    def progress(step: object) -> None:
        if steps_of([step]) and next(calls, None) is None:
            raise error

    return progress


def steps_of(calls: list[object]) -> list[object]:
    """Without what is shown of the check of the database, which goes on at the same time."""
    return [step for step in calls if isinstance(step, CheckProgress) and step.what != "database"]


@pytest.fixture
def small_steps() -> Iterator[None]:
    with (
        mock.patch("d4c_images.collection.check_state.SAVE_EVERY_S", 0.0),
        mock.patch.object(recount.record_steps, "__defaults__", (3,)),
        mock.patch.object(recount.next_images, "__defaults__", (4,)),
        mock.patch.object(counter_audit, "COUNTER_STEP_ROWS", 4),
    ):
        yield


def check_ledger(path: Path, progress: Callable[[object], None] = lambda _: None) -> CheckReport:
    with open_reader(path) as reader:
        return check(reader, None, CheckOptions(ledger_only=True), progress)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("error", [Killed(), Stopped("a signal came")])
def test_a_killed_check_goes_on_where_it_was(tmp_path: Path, error: Exception) -> None:
    make = Maker(tmp_path / "ledger")
    mixed(make, 10)
    make.done().close()
    calls: list[object] = []
    whole = check_ledger(make.path, calls.append)
    assert not whole.ok
    n_steps = len(steps_of(calls))
    assert n_steps > 20
    for n in range(1, n_steps, 1 if isinstance(error, Killed) else 5):
        left: list[object] = []
        with pytest.raises(type(error)):
            check_ledger(make.path, unkind(n, error))
        again = check_ledger(make.path, left.append)
        assert (again.counts, again.n_records) == (whole.counts, whole.n_records)
        assert (again.images_by_status, again.records_by_status) == (whole.images_by_status, whole.records_by_status)
        assert n + len(steps_of(left)) <= n_steps + 1, "no step is done again"
        assert not files_of_checks(make.path, ".state")


@pytest.mark.usefixtures("small_steps")
def test_what_a_run_has_changed_meanwhile_is_counted_anew(tmp_path: Path) -> None:
    make = Maker(tmp_path / "ledger")
    mixed(make, 10)
    finalize(make.done(), lambda progress: None)
    make.ledger.close()
    make.path.with_name("ledger").touch()
    assert check_ledger(make.path).counts.keys() == {"counter_mismatch"}, "no lists of untried images were made"
    db = sqlite3.connect(make.path, isolation_level=None)
    db.execute("UPDATE image_rows SET not_before = 0 WHERE status = 'pending'")
    assert check_ledger(make.path).ok
    with pytest.raises(Killed):
        check_ledger(make.path, unkind(3, Killed()))
    # Between the two steps an image that was counted and one that was not change places.
    db.execute("UPDATE image_rows SET host_id = 2 WHERE image_id = 1")
    db.execute("UPDATE image_rows SET host_id = 1 WHERE image_id = 7")
    recount_images(db)
    db.close()
    report = check_ledger(make.path)
    assert report.ok, report.counts
    assert report.went_on is not None


@pytest.mark.usefixtures("small_steps")
def test_findings_of_an_earlier_check_do_not_outlive_a_repair(tmp_path: Path) -> None:
    make = Maker(tmp_path / "ledger")
    mixed(make, 10)
    make.db.execute("UPDATE image_rows SET not_before = 0 WHERE status = 'pending'")
    make.done().close()
    with pytest.raises(Killed):
        check_ledger(make.path, unkind(23, Killed()))
    assert files_of_checks(make.path, ".state")
    roll_up(make.path)
    report = check_ledger(make.path)
    assert report.ok, report.counts
    assert report.went_on is None


@pytest.mark.usefixtures("small_steps")
def test_a_check_that_cannot_be_kept_begins_anew_without_a_word(tmp_path: Path) -> None:
    make = Maker(tmp_path / "ledger")
    mixed(make, 10)
    make.done().close()
    with mock.patch.object(Path, "write_text", side_effect=PermissionError), pytest.raises(Killed):
        check_ledger(make.path, unkind(19, Killed()))
    assert check_ledger(make.path).went_on is None
    with mock.patch("d4c_images.collection.check_state._is_mine", return_value=False), pytest.raises(Killed):
        check_ledger(make.path, unkind(19, Killed()))
    assert check_ledger(make.path).went_on is None
    with pytest.raises(Killed):
        check_ledger(make.path, unkind(19, Killed()))
    [state] = files_of_checks(make.path, ".state")
    state.write_text('{"mark": 7')
    assert check_ledger(make.path).went_on is None


def test_progress_of_a_roll_up_tells_of_records_and_then_of_images(tmp_path: Path) -> None:
    make = Maker(tmp_path / "ledger")
    mixed(make, 10)
    seen: list[RollUpProgress] = []
    finalize(make.done(), seen.append, chunk=3)
    make.ledger.close()
    assert [one.records for one in seen] == sorted(one.records for one in seen)
    assert (seen[-1].records, seen[-1].total, seen[-1].images, seen[-1].n_images) == (15, 15, 24, 24)
    assert any(0 < one.images < one.n_images for one in seen)


@pytest.mark.parametrize(("known", "kept"), [(1_700_000_000, 1_700_000_000), (None, 1_600_000_002)])
def test_a_record_that_is_mended_has_a_date_exactly_where_it_is_done(tmp_path: Path, known: int | None, kept: int) -> None:
    """The one that it has, or that of the last attempt at its images."""
    make = Maker(tmp_path / "ledger")
    for gbif_id, states in ((1, (1, 1)), (2, (1, 0)), (3, (2, 1))):
        ids = [make.image(gbif_id, image_no, state, 1) for image_no, state in enumerate(states)]
        make.record(gbif_id, ids[0], len(ids))
    ledger = make.done()
    db = ledger.connection
    db.execute("UPDATE image_rows SET last_attempt_at = 1600000000 + gbif_id WHERE last_attempt_at IS NOT NULL")
    db.execute("UPDATE image_rows SET last_attempt_at = 1600000002 WHERE gbif_id = 1 AND image_no = 1")
    finalize(ledger, lambda progress: None)
    before = dict(db.execute("SELECT gbif_id, status FROM gbif_ids"))
    assert before[1] == "done"
    assert before[2] == "partial"
    db.execute("UPDATE gbif_ids SET n_success = n_success + 7, completed_at = ?", (known,))
    assert finalize(ledger, lambda progress: None).corrected == 3
    dates = dict(db.execute("SELECT gbif_id, completed_at FROM gbif_ids"))
    assert dates[1] == kept
    assert dates[2] is None
    assert dict(db.execute("SELECT gbif_id, status FROM gbif_ids")) == before


def test_a_record_whose_only_image_is_gone_is_reported(tmp_path: Path) -> None:
    make = Maker(tmp_path / "ledger")
    make.record(1, make.image(1, 0), 1, 1)
    make.record(2, 1 + make.n_images, 1, 1)
    make.image(3, 0)  # in the place of record 2's image
    make.record(3, 2, 1, 1)
    make.record(4, 99, 1, 1)
    make.done().close()
    with open_reader(make.path) as reader:
        found = [one for step in recount.record_steps(reader.rows, recount.Position()) for one in step.untrue]
    assert [(one.gbif_id, one.counts.links) for one in found] == [(2, 0), (4, 0)]


def test_a_check_says_what_a_counter_holds_and_what_the_rows_do(tmp_path: Path) -> None:
    make = Maker(tmp_path / "ledger")
    for gbif_id, state in enumerate((2, 2, 2, 1), 1):
        make.record(gbif_id, make.image(gbif_id, 0, state), 1, 1)
    recount_images(make.db)
    make.db.execute("UPDATE tallies SET n = n + 5, size_bytes = size_bytes + 7 WHERE status = 'failed_permanent'")
    make.done().close()
    with open_reader(make.path) as reader:
        counting = counter_audit.CounterRecount(reader.rows)
        for _ in counting.steps():
            pass
        lines = [line for line in counting.untrue() if "final images" in line]
    assert lines == [
        "a.example.org, failed_permanent, no error: images, final images and bytes: counters [8, 3, 7], rows [3, 3, 0]"
    ]
