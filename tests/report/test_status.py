"""The status report: its figures, how it looks on a terminal and in a log, and the tables that it writes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import sqlite3
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

import d4c_images
from d4c_images.errors import D4CError, LedgerError
from d4c_images.ledger.file import connect, owner
from d4c_images.ledger.file.reader import open_reader
from d4c_images.ledger.questions import tables
from d4c_images.model import Verification
from d4c_images.report.export_tables import write_tables
from d4c_images.report.render import _whole_share, clean, show_status
from d4c_images.report.status import StatusReport, status_report
from tests.support.sample_ledger import HOSTS, LICENCES, NOW, SAMPLES, make_ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    make_ledger(path).close()
    return path


def report_of(path: Path, now: float = NOW) -> StatusReport:
    with open_reader(path) as ledger:
        return status_report(ledger, now)


def text_of(report: StatusReport, **options: object) -> str:
    console = Console(file=io.StringIO(), **options)  # type: ignore[arg-type]
    show_status(report, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_report_counts_images_records_and_failures(path: Path) -> None:
    report = report_of(path)
    images = report.images
    assert (images.total, images.success, images.pending, images.leased) == (10, 4, 1, 1)
    assert (images.raw_unprocessed, images.partly_read) == (1, 1)
    assert "of them camera raw, stored as received: 1; not fully decoded (partly_read): 1\n" in text_of(report)
    assert (images.to_retry, images.failed_exhausted, images.failed_permanent, images.left) == (1, 1, 2, 3)
    assert images.stored_bytes == sum(len(sample.body) for sample in SAMPLES if sample.body)
    assert report.records == {"pending": 1, "partial": 2, "done": 3, "failed": 1}
    assert [(row.error_type, row.n_images, row.n_final, row.n_hosts) for row in report.failures] == [
        ("timeout", 2, 1, 1),
        ("http_404", 1, 1, 1),
        ("invalid_content_type", 1, 1, 1),
    ]
    (answer,) = report.non_image_answers
    assert (answer.host, answer.error_type, answer.n_images) == (HOSTS[1], "invalid_content_type", 1)
    assert answer.sample is not None
    assert answer.sample.startswith("Log in")
    assert [(host.host, host.n_failed, host.n_left) for host in report.worst_hosts] == [(HOSTS[1], 2, 0), (HOSTS[2], 1, 1)]
    assert [(host.host, host.blocked_why) for host in report.blocked_hosts] == [(HOSTS[2], "503")]
    assert (report.traffic.n_retries, report.traffic.n_requests, report.traffic.n_blocked) == (3, 33, 1)
    assert report.rejected_rows == {"no_identifier": 3, "not_an_image_type": 1}
    assert report.run is not None
    assert (report.run.state, report.run.pid) == ("ended", 4711)


def test_a_block_that_is_over_is_none(path: Path) -> None:
    report = report_of(path, NOW + 3601)
    assert (report.blocked_hosts, report.traffic.n_blocked) == ((), 0)


def test_run_states(path: Path) -> None:
    now = time.time()
    with_owner = connect.open_ledger(path)
    with_owner.connection.execute("UPDATE runs SET heartbeat_at = started_at - 365 * 86400")  # else time went on from there
    owner.take(with_owner, "download", owner.this_process("77"), now)
    run = report_of(path, now + 1).run
    assert run is not None
    assert (run.state, run.pid, run.host, run.job_id) == ("running", os.getpid(), socket.gethostname(), "77")
    started = owner.this_process().started
    assert started is not None
    boot, _, namespace = started.split("/")
    with_owner.connection.execute("UPDATE runs SET pid_started = ? WHERE run_id = 2", (f"{boot}/1/{namespace}",))
    run = report_of(path, now + 20).run
    assert run is not None
    assert (run.state, run.heartbeat_age_s, run.is_certain) == ("dead", 20, True)
    with_owner.connection.execute("UPDATE runs SET pid_started = 'another boot/1/1' WHERE run_id = 2")
    run = report_of(path, now + 20).run
    assert run is not None
    assert (run.state, run.is_certain) == ("running", False), "on another node, whatever its name, signs of life are all there is"
    run = report_of(path, now + 3600).run
    assert run is not None
    assert run.state == "dead"
    with_owner.close()


def test_only_counters_are_read(path: Path) -> None:
    """The report stays instant: a ledger whose images are gone, but not its counters, gives the same report."""
    before = report_of(path)
    writer = sqlite3.connect(path)
    writer.executescript("DELETE FROM image_rows; DELETE FROM link_rows; DELETE FROM gbif_ids; DELETE FROM rejected_rows;")
    writer.close()
    after = report_of(path)
    assert (after.images, after.records, after.failures, after.worst_hosts) == (
        before.images,
        before.records,
        before.failures,
        before.worst_hosts,
    )


def test_an_empty_ledger(tmp_path: Path) -> None:
    connect.open_ledger(tmp_path / "new", create=True).close()
    report = report_of(tmp_path / "new")
    assert report.images.total == 0
    assert report.run is None
    assert "0 of 0 images" in text_of(report)


def test_json_is_plain(path: Path) -> None:
    values = json.loads(json.dumps(report_of(path).as_dict()))
    assert values["images"]["left"] == 3
    assert values["records"]["done"] == 3
    assert values["non_image_answers"][0]["host"] == HOSTS[1]


def test_a_log_gets_plain_lines(path: Path) -> None:
    text = text_of(report_of(path))
    assert "\x1b" not in text
    assert not [line for line in text.splitlines() if len(line) > 160]
    assert text.isascii()
    assert "  failed_permanent       2  20.0 %" in text.splitlines()
    assert "Log in [31mfirst please" in text
    assert "'init' on node1, pid 4711" in text


def test_a_terminal_gets_tables_that_fit(path: Path) -> None:
    for width in (60, 100, 200):
        text = text_of(report_of(path), force_terminal=True, width=width, color_system=None)
        assert max(len(line) for line in text.splitlines() if "d4c-images status" not in line) <= width
        assert "failed_permanent" in text
    coloured = text_of(report_of(path), force_terminal=True, width=100, color_system="truecolor")
    assert "\x1b[3" in coloured
    assert "\x1b[31mfirst" not in coloured, "a page's escape sequence is not obeyed"


def test_words_of_strangers_are_no_markup(path: Path) -> None:
    writer = sqlite3.connect(path)
    writer.execute("UPDATE page_samples SET sample = '[red]x[/red] [bold'")
    writer.commit()
    writer.close()
    assert "[red]x[/red] [bold" in text_of(report_of(path), force_terminal=True, width=120)


def test_clean_takes_control_characters_out_of_a_text() -> None:
    assert clean("a\x1b[2Jb\r\n\tc\u202ed\u200b  e") == "a [2Jb c d e"


def test_tables_as_csv_and_parquet(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "tables"
    with open_reader(path) as ledger:
        written = list(write_tables(ledger, folder))
    names = [table.name for table in tables.SMALL]
    assert [file.name for file in written] == [f"{name}.{kind}" for name in names for kind in ("csv", "parquet")]
    assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in written), "no leftovers"
    for name in names:
        parquet = pq.read_table(folder / f"{name}.parquet")
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        assert header == parquet.column_names, name
        as_text = [tuple(map(as_csv_has_it, row.values())) for row in parquet.to_pylist()]
        assert [tuple(row) for row in rows] == as_text, name
    assert [host["n_images"] for host in pq.read_table(folder / "hosts.parquet").to_pylist()] == [6, 2, 2]
    (run,) = pq.read_table(folder / "runs.parquet").to_pylist()
    assert run["started_at"] == datetime.fromtimestamp(NOW - 900, UTC)
    (row,) = csv.DictReader((folder / "runs.csv").read_text(encoding="utf-8").splitlines())
    assert row["started_at"] == "2027-01-15T07:45:00+00:00"


def as_csv_has_it(value: object) -> str:
    return "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)


def test_tables_are_made_of_counters(path: Path, tmp_path: Path) -> None:
    """They stay small and quick whatever the number of images: a ledger without its images gives the same."""
    with open_reader(path) as ledger:
        before = [file.read_bytes() for file in write_tables(ledger, tmp_path / "before")]
    writer = sqlite3.connect(path)
    writer.executescript("DELETE FROM image_rows; DELETE FROM link_rows; DELETE FROM gbif_ids; DELETE FROM texts;")
    writer.close()
    with open_reader(path) as ledger:
        assert [file.read_bytes() for file in write_tables(ledger, tmp_path / "after")] == before


def test_memory_for_tables_does_not_grow_with_hosts(tmp_path: Path) -> None:
    peaks = []
    for n in (4_000, 8_000):
        writer = connect.open_ledger(tmp_path / str(n), create=True)
        with writer.transaction() as db:
            db.executemany("INSERT INTO host_rows (host) VALUES (?)", ((f"host{n}.example.org",) for n in range(n)))
            db.execute("INSERT INTO tallies SELECT host_id, 'failed_permanent', 'not_an_image', 9, 9, 0 FROM host_rows")
            db.execute("INSERT INTO page_samples SELECT host_id, 'not_an_image', 1, 1, hex(zeroblob(200)) FROM host_rows")
        writer.close()
        with open_reader(tmp_path / str(n)) as ledger:
            tracemalloc.start()
            n_rows = sum(len(rows) for table in tables.SMALL for rows in tables.small_steps(ledger, table))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert n_rows > 3 * n
    assert peaks[1] < 1.1 * peaks[0]


def test_the_columns_of_every_table_are_those_of_its_question(path: Path) -> None:
    with open_reader(path) as ledger:
        for table in [*tables.SMALL, tables.IMAGES]:
            names, _ = ledger.table(table.sql, {"after": 0, "upto": 1} if table is tables.IMAGES else ())
            assert names == list(table.columns), table.name


def test_big_tables_are_walked_in_steps(path: Path) -> None:
    with open_reader(path) as ledger:
        steps = list(tables.image_steps(ledger, step=3))
        assert [len(rows) for rows in steps] == [3, 3, 3, 1]
        assert (
            tables.licence_counts(ledger, step=2)
            == tables.licence_counts(ledger)
            == [(LICENCES[0], 6), (None, 2), (LICENCES[1], 2)]
        )


def test_a_place_that_cannot_be_written(path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with open_reader(path) as ledger, pytest.raises(D4CError, match="cannot write the tables"):
        list(write_tables(ledger, tmp_path / "file"))


def test_frames_have_integers_that_may_be_missing(path: Path) -> None:
    with d4c_images.open_ledger(str(path)) as ledger:
        frame = ledger.frame("SELECT host, count(*) AS n, max(http_status) AS code FROM images GROUP BY host ORDER BY host")
        assert list(frame["n"]) == [2, 6, 2]
        assert frame["n"].dtype == "Int64"
        assert list(ledger.frame("SELECT ? + 1 AS x", (2**60,))["x"]) == [2**60 + 1]
        chunks = list(ledger.frame("SELECT image_id FROM images ORDER BY 1", chunksize=4))
        assert [len(chunk) for chunk in chunks] == [4, 4, 2]
        assert list(ledger.frame("SELECT host FROM images WHERE 0").columns) == ["host"]
        assert [len(chunk) for chunk in ledger.images(chunksize=6)] == [6, 4]
        assert next(ledger.images())["http_status"].dtype == "Int64"
        assert list(ledger.failures_by_host().columns) == ["host", "status", "error_type", "n_images", "n_final"]
        by_type = ledger.failures_by_type().set_index("error_type")
        assert by_type.loc["timeout", "n_images"] == 2
        assert list(ledger.licences()["n_links"]) == [6, 2, 2]
        for named in (
            ledger.records_by_status,
            ledger.images_by_status,
            ledger.non_image_answers,
            ledger.hosts,
            ledger.rejected_rows,
        ):
            assert len(named()) > 0
        with pytest.raises(LedgerError, match="no such column"):
            ledger.frame("SELECT colour FROM images")


@pytest.mark.slow
def test_instant_on_a_ledger_of_many_hosts(tmp_path: Path) -> None:
    """The counters of 10,000 hosts: far more than any download has."""
    path = tmp_path / "big"
    writer = connect.open_ledger(path, create=True)
    with writer.transaction() as db:
        db.executemany("INSERT INTO host_rows (host) VALUES (?)", ((f"host{n}.example.org",) for n in range(10_000)))
        for status, error in [
            ("success", ""),
            ("failed_permanent", "http_404"),
            ("failed_transient", "timeout"),
            ("pending", ""),
        ]:
            db.execute("INSERT INTO tallies SELECT host_id, ?, ?, 10000, 10000, 0 FROM host_rows", (status, error))
    writer.close()
    with open_reader(path) as ledger:
        ticks = []
        ledger._connected().set_progress_handler(lambda: ticks.append(1), 1000)
        assert status_report(ledger, NOW).images.total == 400_000_000
        assert 0 < len(ticks) < 5_000, "thousands of steps of SQLite, as a second's work of any machine of today"


def test_a_long_page_does_not_push_the_figures_out(path: Path) -> None:
    writer = sqlite3.connect(path)
    writer.execute("UPDATE page_samples SET sample = ?", ("words " * 80,))
    writer.commit()
    writer.close()
    for width in (80, 104):
        text = text_of(report_of(path), force_terminal=True, width=width, color_system=None)
        assert re.search(r"^pages\.example\.org +invalid_content_type +1( +words words|$)", text, re.MULTILINE), text
        assert "words words" in text
        assert "…" not in text, "nothing is cut"


def checked(n_images: int, days_ago: float, **more: Any) -> Verification:
    """A check of so many days ago, of all blocks or, with `part`, of a quarter of them."""
    at, is_read = int(NOW - 86400 * days_ago), more.get("with_sha256", True)
    cells: dict[str, Any] = {
        "check_id": f"{at}, {more}",
        "began_at": at - 60,
        "ended_at": at,
        "root": "/images",
        "last_image_id": 4000,
        "part": 1,
        "n_parts": 4 if "part" in more else 1,
        "block_ids": 1000,
        "with_sha256": True,
        "with_decode": False,
        "sample": None,
        "sample_turn": 0,
        "n_images": n_images,
        "n_read": n_images if is_read else 0,
        "n_decoded": n_images if "with_decode" in more else 0,
        "n_findings": 0,
        "n_ledger_findings": 0,
    }
    return Verification(**{**cells, **more})


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([], "never: d4c-images check --sha256"),
        ([checked(4, 1)], "100 % of the stored images within 30 days by SHA-256"),
        (
            [checked(3, 1, n_findings=1)],
            "75 % of the stored images within 30 days by SHA-256; 1 finding: d4c-images check --repair",
        ),
        ([checked(4, 1, with_sha256=False)], "100 % of the stored images within 30 days by size"),
        (
            [
                checked(4, 1, with_sha256=False),
                checked(1, 2, part=1),
                checked(1, 2, part=2, with_decode=True),
                checked(1, 2, part=4, with_decode=True),
            ],
            "75 % of the stored images within 30 days by SHA-256 (50 % decoded, 100 % by size)",
        ),
        ([checked(4, 31)], "nothing within 30 days, last on 2026-12-15T08:00:00+00:00: d4c-images check --sha256"),
        (
            [checked(4, 31, n_findings=2)],
            "nothing within 30 days, last on 2026-12-15T08:00:00+00:00; 2 findings: d4c-images check --repair",
        ),
        ([checked(0, 1, last_image_id=0, n_findings=2, n_ledger_findings=2)], "never; 2 findings: d4c-images check --repair"),
    ],
    ids=["nothing", "all", "a finding", "size", "depths", "long ago", "long ago with findings", "the ledger alone"],
)
def test_a_line_says_how_much_was_verified_recently_and_what_to_do(
    found: list[Verification], text: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    with open_reader(path) as ledger:
        report = status_report(ledger, NOW, found)
    assert f"verified  {text}\n" in text_of(report)


def test_shares_of_what_is_verified_are_rounded_down() -> None:
    assert [_whole_share(n, 1000) for n in (1000, 1003, 999, 10, 9)] == ["100 %", "100 %", "99 %", "1 %", "less than 1 %"]


def test_a_ledger_without_stored_images_says_nothing_of_verifying_them(tmp_path: Path) -> None:
    connect.open_ledger(tmp_path / "new", create=True).close()
    assert "verified" not in text_of(report_of(tmp_path / "new"))


def test_json_says_what_was_verified(path: Path) -> None:
    with open_reader(path) as ledger:
        values = json.loads(json.dumps(status_report(ledger, NOW, [checked(3, 1, n_findings=1)]).as_dict()))
    found = {"last_at": NOW - 86400, "within_days": 30, "n_size": 3, "n_sha256": 3, "n_decode": 0, "n_findings": 1}
    assert values["verified"] == found
