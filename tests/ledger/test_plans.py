"""The plan of every statement: what grows with the ledger stands here by name, with the reason why it may (docs/adr/0044)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from d4c_images import cli
from d4c_images.ledger.file import connect
from tests.publishers.client import Publishers
from tests.support import plans, statements
from tests.support.ledger import add_record
from tests.support.plans import STATISTICS, findings, ledger_with
from tests.support.program import multimedia, reach
from tests.support.statements import Statement, all_statements, normal
from tests.support.sweep import thinned

# By statement: what its plan reads, and why that is no harm. An entry that no plan needs any more is a failure too.
ALLOWED = {
    # One row is all that is looked for.
    "ledger.rows.variants.ANY_VARIANT": ("SCAN variants", "EXISTS: ends at the first row"),
    "ledger.admission.joining.ANY_PICTURE_ROW": ("SCAN picture_rows", "EXISTS: ends at the first row"),
    "ledger.admission.duplicates.ARE_THERE_PICTURE_LINKS": ("SCAN picture_links", "EXISTS: ends at the first row"),
    # What is lent at one moment: turns that are out, times their images.
    "ledger.questions.audit.LOST": ("SCAN lent", "what is lent at one moment, with a LIMIT"),
    "ledger.queue.mending.ORPHANS": ("SCAN lent", "what is lent at one moment, with a LIMIT; once by a repair"),
    "ledger.rows.lent.TAKE_ALL": ("SCAN lent", "what is lent at one moment; once for a run that died"),
    # Files and bytes that are few by nature.
    "ledger.queue.placeholders.PLACEHOLDER_STATES": ("SCAN placeholders", "one row for each that was found; once by a download"),
    "ledger.queue.placeholders.N_MARKED": ("SCAN placeholders", "one row for a placeholder that was found; once for 2,000 images"),
    "ledger.queue.mark_placeholders.COUNT_ELSEWHERE": ("SCAN placeholders", "a row for each placeholder found; once for a piece"),
    "ledger.queue.placeholders.OVERVIEW": ("SCAN placeholders", "the answer of a command that lists them"),
    "ledger.queue.placeholders.allow": ("SCAN placeholders", "one row for a placeholder that was found; once by a command"),
    "ledger.queue.placeholders.TO_SET_ASIDE": ("SCAN set_aside", "in the order of its key, with a LIMIT"),
    "ledger.queue.shards.SHARD_ENDS": ("SCAN shards", "one row for each tar file; read once by a download"),
    "ledger.queue.refetching.N_WAITING": ("SCAN refetch_hosts", "one row for each host that is asked again"),
    "ledger.queue.shut_doors.SHUT_DOORS": ("SCAN shut_doors", "hosts that show one page for everything; read once by a download"),
    "ledger.queue.shut_doors.DOORS_NAMED": ("SCAN shut_doors", "likewise, for a person's pattern"),
    # `check` reads all that it compares.
    "ledger.queue.untried.COUNT_UNTRIED": ("SCAN untried", "the lists that are compared; 512 images to a row"),
    # Counters by host: rows by the number of hosts, not of images.
    "ledger.questions.from_counters.SOME_HOSTS": ("SCAN host_rows", "names to compare a misspelt one with; with a LIMIT"),
    "ledger.questions.locations.n_stored": ("SCAN tallies", "once by a command, over counters by host"),
    "ledger.questions.tables.SMALL.failures_by_host": ("SCAN tallies", "the table is by host; streamed"),
    "ledger.questions.tables.SMALL.hosts": ("SCAN host_rows", "the table is by host; streamed"),
    "ledger.questions.tables.SMALL.images_by_status": ("SCAN tallies", "once by a command, over counters by host"),
    "ledger.questions.tables.SMALL.non_image_answers": ("SCAN tallies", "once by a command, over counters by host"),
    "ledger.queue.record_links.NAMED_IMAGES": ("SORT for ORDER BY", "what one document names; bounded when it is read"),
    # What waits to be counted for records is little, and gone with the next pieces.
    "ledger.queue.deferred.ALL_CHANGES": ("SCAN record_changes", "what waits at one moment"),
    "ledger.queue.deferred.CHANGES": ("SCAN record_changes", "what waits at one moment, with a LIMIT"),
    "ledger.queue.deferred.IS_LEFT": (
        "SCAN follower_changes, SCAN joined_images, SCAN link_changes, SCAN record_changes",
        "EXISTS: ends at the first row",
    ),
    "ledger.queue.deferred.PARENT": ("SCAN link_changes", "the first row alone"),
    "ledger.queue.deferred.FOLLOWED_IMAGE": ("SCAN follower_changes", "the first row alone"),
    "ledger.queue.same_images.SOME": ("SCAN joined_images", "what an ingest has left at its end, with a LIMIT"),
    "ledger.queue.lending.LEFT_LENT": ("BLOOM FILTER on leases", "one row for each turn that is out"),
    "ledger.questions.interrupted.LEFT_IN_STORE": ("BLOOM FILTER on leases", "likewise"),
    # Hosts: not images, and by a partial index that holds the few in question, or at a person's request.
    "ledger.questions.overview.ENDS_LAST": ("SCAN host_rows", "the host that ends last, in one pass over hosts"),
    "ledger.questions.overview.LEFT_ALONE": ("SEARCH to the end of host_rows", "hosts that are left alone just now"),
    "ledger.questions.overview.N_LEFT_ALONE": ("SEARCH to the end of host_rows", "hosts that are left alone just now"),
    "ledger.questions.from_counters.IN_TALLIES": ("SCAN tallies", "once before a ledger is deleted, over counters by host"),
    "ledger.questions.overview.N_NAMED": ("SCAN host_rows", "hosts that a person's pattern stands for"),
    "ledger.questions.overview.N_PAUSED_WITH_WORK": ("SCAN host_rows", "hosts that are paused"),
    "ledger.questions.overview.PAUSED_HOSTS": ("SCAN host_rows", "hosts that are paused, with a LIMIT"),
    "ledger.questions.overview.SOME_NAMED": ("SCAN host_rows", "hosts that a person's pattern stands for, with a LIMIT"),
    "ledger.queue.pacing.BLOCKED_FOR": ("SCAN host_rows", "only after a person has changed a limit"),
    "ledger.questions.from_counters.N_BLOCKED": ("SEARCH to the end of host_rows", "hosts that are left alone just now"),
    "ledger.questions.from_counters.BLOCKED": ("SEARCH to the end of host_rows", "hosts that are left alone just now"),
    "ledger.questions.from_counters.N_PAUSED": ("SCAN host_rows", "hosts that are paused"),
    "ledger.questions.from_counters.PAUSED": ("SCAN host_rows", "hosts that are paused"),
    # Steps in the order of a key, with a LIMIT.
    "ledger.rows.recount.LINK_PIECE": ("SCAN link_rows", "a step with a LIMIT"),
    "ledger.rows.recount.NEXT_IMAGE": ("SEARCH to the end of image_rows", "the next image alone"),
    "ledger.queue.refetching.ANYBODY": ("SCAN refetch_queue", "the first row alone"),
    "ledger.queue.refetching.FORGET_UPTO": ("SEARCH to the end of refetch_queue", "a step with a LIMIT"),
    "ledger.rows.rollup.NEXT_HOSTS": ("SORT for ORDER BY", "a step with a LIMIT, of two lists that are in order"),
    "ledger.admission.keys.KeyIndex.tell": ("SCAN image_keys", "only if the rows to come are many beside the ledger (ADR 0043)"),
    "ledger.admission.records.Records.tell": ("SCAN gbif_ids", "likewise"),
    "ledger.questions.overview.BLOCKED_HOSTS": ("SORT for ORDER BY", "hosts that are left alone just now, with a LIMIT"),
    "ledger.questions.overview.FAILURES": ("SCAN tallies", "over counters by host"),
    "ledger.questions.overview.N_FORMER": ("SCAN former_rows", "a count of all"),
    "ledger.questions.overview.NON_IMAGE_ANSWERS": ("SCAN tallies", "over counters by host, with a LIMIT"),
    "ledger.questions.overview.NOT_AGAIN": ("SCAN refetch_failures", "a count of all"),
    "ledger.questions.overview.TRAFFIC": ("SCAN host_rows", "sums over hosts"),
    "ledger.questions.overview.WORST_HOSTS": ("SCAN tallies", "over counters by host; its cost at a million hosts is in ADR 0041"),
}
LISTED = {name: set(found.split(", ")) for name, (found, _) in ALLOWED.items()}


def with_a_plan() -> list[Statement]:
    return [one for one in all_statements() if one.has_a_plan]


def found_in(statement: Statement) -> set[str]:
    return {line for statistics in STATISTICS for line in findings(ledger_with(statistics), statement)}


def test_all_statements_are_known() -> None:
    assert statements.unknown() == [], "say in tests/support/statements.py what this puts together"
    assert len(with_a_plan()) > 200


@pytest.mark.parametrize("statistics", thinned(STATISTICS, 3), ids=lambda one: one.name)
def test_no_plan_grows_with_the_ledger_unnoticed(statistics: plans.Statistics) -> None:
    db = ledger_with(statistics)
    wrong = {}
    for statement in with_a_plan():
        if found := findings(db, statement) - LISTED.get(statement.name, set()):
            wrong[statement.name] = (sorted(found), [line for _, line in plans.plan(db, statement.complete)])
    assert not wrong


def test_what_is_listed_is_still_needed() -> None:
    found: dict[str, set[str]] = {}
    for statement in with_a_plan():
        if statement.name in LISTED:
            found.setdefault(statement.name, set()).update(found_in(statement))
    assert {name: unused for name, lines in LISTED.items() if (unused := lines - found.get(name, set()))} == {}


@pytest.mark.parametrize("column", ["gbif_id", "image_id"])
def test_who_asks_for_one_record_or_one_image_searches(column: str) -> None:
    assert found_in(Statement("x", f"SELECT * FROM occurrence_images WHERE {column} = ?")) == set()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT image_id FROM image_rows WHERE urls = ?", {"SCAN image_rows"}),
        ("SELECT image_id FROM images WHERE gbif_id = ?", {"SCAN image_rows"}),
        ("SELECT k.image_id FROM image_rows AS k WHERE k.image_id > ?", {"SEARCH to the end of image_rows"}),
        ("SELECT image_id FROM image_rows WHERE image_id > ? LIMIT 9", set()),
        ("SELECT image_id FROM image_rows WHERE image_id > ? AND image_id <= ?", set()),
        (
            "SELECT count(*) FROM lent AS l CROSS JOIN set_aside AS s ON s.file_size = l.lease_id",
            {"AUTOMATIC INDEX on set_aside", "SCAN lent"},
        ),
        ("SELECT sum(n) FROM tallies WHERE status = 'success'", {"SCAN tallies"}),
        (
            "WITH few AS MATERIALIZED (SELECT value AS id FROM json_each(?)) SELECT * FROM few AS a CROSS JOIN few AS b",
            {"SCAN b for each a"},
        ),
        ("SELECT urls FROM image_rows WHERE host_id = ? AND not_before < ? ORDER BY attempts", {"SORT for ORDER BY"}),
        ("SELECT max(image_id) FROM image_rows", set()),
        ("UPDATE image_rows SET host_id = 1 WHERE gbif_id = ?", {"SCAN image_rows"}),
        ("DELETE FROM lent WHERE lease_id = ?", {"SCAN lent"}),
        ("SELECT * FROM runs", set()),
    ],
)
def test_what_a_plan_is_found_to_read(sql: str, expected: set[str]) -> None:
    assert findings(ledger_with(STATISTICS[1]), Statement("x", sql)) == expected


def test_statistics_of_an_earlier_day_are_dropped_by_the_next_writer(tmp_path: Path) -> None:
    """With those of a ledger of one image, SQLite reads all images instead of searching for one."""
    opened = connect.open_ledger(tmp_path / "ledger", create=True)
    opened.close()
    with sqlite3.connect(tmp_path / "ledger") as db:
        add_record(db, 1, 1)
        db.execute("ANALYZE")
    db.close()
    opened = connect.open_ledger(tmp_path / "ledger")
    sql = "SELECT g.n_images FROM json_each(?) AS wanted CROSS JOIN gbif_ids AS g ON g.gbif_id = wanted.value"
    plan = [line for _, line in plans.plan(opened.connection, sql)]
    left = opened.connection.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'sqlite_stat%'").fetchall()
    opened.close()
    assert (plan[1], left) == ("SEARCH g USING INTEGER PRIMARY KEY (rowid=?)", [])


class Recording(sqlite3.Connection):
    """Notes the text of each statement, as the program wrote it."""

    heard: ClassVar[set[str]] = set()

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        self.heard.add(normal(sql))
        return super().execute(sql, *parameters)

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        self.heard.add(normal(sql))
        return super().executemany(sql, *parameters)

    def executescript(self, sql: str) -> sqlite3.Cursor:
        raise AssertionError("it would commit the open transaction")

    def cursor(self, *arguments: Any) -> Any:
        raise AssertionError("a cursor whose statements nobody hears")


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The statements that this process runs until the end of the test."""
    connect_of_before = sqlite3.connect

    def recorded(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect_of_before(*arguments, **{"factory": Recording, **options})

    monkeypatch.setattr(sqlite3, "connect", recorded)
    Recording.heard = set()
    yield Recording.heard
    Recording.heard = set()


def is_known(sql: str, known: set[str], prefixes: Sequence[str]) -> bool:
    return sql in known or any(sql.startswith(prefix) for prefix in prefixes)


@pytest.mark.slow
def test_no_command_runs_a_statement_that_is_not_known(tmp_path: Path, publishers: Publishers, heard: set[str]) -> None:
    """All commands, in this process: what they send to SQLite was found in the source, so its plan is tested."""
    rows = [(n, f"http://{'ab'[n % 2]}.example.org/{n}.jpg") for n in range(1, 40)]
    rows += [(n, "http://a.example.org/same.jpg") for n in range(50, 80)] + [(90, f"http://c.example.org/{n}") for n in range(5)]
    manifest = "http://d.example.org/sheet/manifest"
    first, second = multimedia(tmp_path / "first.txt", rows), multimedia(tmp_path / "second.txt", [*rows[20:], (99, manifest)])
    publishers.behave("b.example.org=http_404 30%", "c.example.org=html_as_jpeg", "d.example.org=manifest_multi")
    ledger, root, lead = str(tmp_path / "ledger"), str(tmp_path / "images"), reach(publishers)

    def run(*words: str, codes: Sequence[int] = (0,), rooted: bool = False) -> None:
        assert cli.main([*words, "--ledger", ledger, *(["--root", root] if rooted else [])]) in codes, words

    (tmp_path / "occurrence.txt").write_text("gbifID\ttaxonKey\trecordedBy\n1\tQ2M4\tA. Collector\n", encoding="utf-8")
    run("init", str(first), "--labels")
    run("hosts", "set", "*", "connections=2")
    run("hosts", "pause", "c.example.org")
    run("download", "--limit", "5", *lead, codes=(0, 75), rooted=True)
    run("hosts", "resume", "c.example.org")
    run("init", str(second))
    run("download", *lead, "--store", "pack", codes=(0, 75), rooted=True)
    run("download", *lead, "--retry-failed", codes=(0, 75), rooted=True)
    with closing(sqlite3.connect(ledger, factory=sqlite3.Connection)) as db:
        db.execute("UPDATE image_rows SET last_attempt_at = last_attempt_at - 200000")
        db.commit()
    run("download", *lead, "--refetch", "1d", codes=(0, 75), rooted=True)
    run("init", "--finalize-only")
    for words in (["status"], ["status", "--json", "--tables", str(tmp_path / "tables")], ["hosts"]):
        run(*words)
    run("placeholders", rooted=True)
    run("check", "--sha256", "--full", codes=(0, 1), rooted=True)
    run("export", str(tmp_path / "list.csv"))
    run("unpack", "--to", str(tmp_path / "out"), rooted=True)
    run("unpack", "--to", str(tmp_path / "out"), "--gbif-id", "1", rooted=True)
    known = {normal(one.sql) for one in all_statements()}
    prefixes = [sql for sql in known if sql.endswith("VALUES")]
    assert sorted(sql for sql in heard if not is_known(sql, known, prefixes)) == []
    n_planned = len({normal(one.sql) for one in with_a_plan()} & heard)
    assert n_planned > 100, "the commands run most of what there is"
