"""The check: silent on a sound collection, one finding per kind of damage, and calm beside a running download."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from d4c_images import cli
from d4c_images.collection import check_state
from d4c_images.collection.check import CheckOptions, CheckProgress, CheckReport, check
from d4c_images.collection.check_files import FilesAgainstRows
from d4c_images.collection.findings import REMEDIES, Finding, Reason
from d4c_images.collection.look_pool import LookPool
from d4c_images.commands import session
from d4c_images.errors import Stopped, UsageError
from d4c_images.ledger.file import beside
from d4c_images.ledger.file.reader import Reader, open_reader
from d4c_images.ledger.questions import audit
from d4c_images.ledger.rows.rollup import finalize
from d4c_images.report import check_progress, progress_view
from d4c_images.stores import Keep, Place
from d4c_images.stores.pack import PackSettings, PackStore
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, multimedia
from tests.support.sample_ledger import HOSTS, SAMPLES, Sample, add_sample, make_files, make_ledger
from tests.support.sweep import thinned

FIRST = SAMPLES[0].path


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """A sound one: that of the sample ledger."""
    made = Collection(tmp_path)
    make_ledger(made.ledger).close()
    make_files(made.root)
    return made


def checked(collection: Collection, root: Path | None = None, **options: Any) -> CheckReport:
    return checked_with_findings(collection, root, **options)[0]


def checked_with_findings(collection: Collection, root: Path | None = None, **options: Any) -> tuple[CheckReport, list[Finding]]:
    found: list[Finding] = []
    with open_reader(collection.ledger) as ledger:
        return check(ledger, root or collection.root, CheckOptions(**options), found=found.append), found


def test_a_sound_collection(collection: Collection) -> None:
    before = collection.ledger.read_bytes()
    for options in ({}, {"sha256": True}, {"full": True}):
        report = checked(collection, **options)
        assert report.ok, report
        assert (report.n_images, report.n_files, report.n_records) == (4, 4, 7)
    assert collection.ledger.read_bytes() == before


def missing(c: Collection) -> None:
    (c.root / FIRST).unlink()


def folder_missing(c: Collection) -> None:
    (c.root / SAMPLES[3].path).unlink()
    (c.root / SAMPLES[3].path).parent.rmdir()


def folder_instead(c: Collection) -> None:
    (c.root / FIRST).unlink()
    (c.root / FIRST).mkdir()


def truncated(c: Collection) -> None:
    os.truncate(c.root / FIRST, 3)


def stray(c: Collection) -> None:
    (c.root / "100" / "000" / "1000000099-00.jpg").write_bytes(b"x")


def other_extension(c: Collection) -> None:
    (c.root / FIRST).with_suffix(".png").write_bytes(b"x")


def other_folder(c: Collection) -> None:
    (c.root / "999").mkdir()
    (c.root / "999" / Path(FIRST).name).write_bytes(b"first image")


def file_of_a_failure(c: Collection) -> None:
    (c.root / "100/000/1000000005-01.jpg").write_bytes(b"x")


def number_too_long_for_sqlite(c: Collection) -> None:
    (c.root / f"{10**25}-00.jpg").write_bytes(b"x")


def odd_name(c: Collection) -> None:
    (c.root / "notes.txt").write_bytes(b"x")


def dangling_link(c: Collection) -> None:
    (c.root / "link").symlink_to("nowhere")


def leftover(c: Collection) -> None:
    (c.root / "100/000/.1000000003-00.4.part").write_bytes(b"x")


def wrong_counter(c: Collection) -> None:
    c.sql("UPDATE tallies SET n = n + 1 WHERE status = 'success' AND error_type = ''")


def counter_of_nothing(c: Collection) -> None:
    c.sql("INSERT INTO tallies VALUES (1, 'pending', 'ghost', 1, 0, 0)")


def missing_counter(c: Collection) -> None:
    c.sql("DELETE FROM tallies WHERE status = 'pending'")


def wrong_bytes_counter(c: Collection) -> None:
    c.sql("UPDATE tallies SET size_bytes = size_bytes - 1 WHERE error_type = 'raw_unprocessed'")


def wrong_record_counter(c: Collection) -> None:
    c.sql("UPDATE record_tallies SET n = n + 1 WHERE status = 'done'")


def wrong_record(c: Collection) -> None:
    c.sql("UPDATE gbif_ids SET n_success = 0 WHERE gbif_id = 1000000001")


def lost_host(c: Collection) -> None:
    c.sql("UPDATE image_rows SET host_id = 99 WHERE image_id = 5; UPDATE tallies SET host_id = 99 WHERE status = 'pending'")


def lost_rule(c: Collection) -> None:
    c.sql("UPDATE image_rows SET rule_id = 99 WHERE image_id = 5")


def lost_owner(c: Collection) -> None:
    c.sql("INSERT INTO owner VALUES (1, 99)")


def unlisted_image(c: Collection) -> None:
    c.sql("UPDATE image_rows SET not_before = NULL WHERE gbif_id = 1000000003")


def lost_lease(c: Collection) -> None:
    c.sql("DELETE FROM leases")


def no_path(c: Collection) -> None:
    (c.root / SAMPLES[3].path).unlink()
    c.sql("UPDATE image_rows SET file_path = NULL WHERE gbif_id = 77")


@pytest.mark.parametrize(
    ("damage", "kind", "words"),
    [
        (missing, Reason.FILE_MISSING, FIRST),
        (folder_missing, Reason.FILE_MISSING, "77/77-00.png"),
        (folder_instead, Reason.FILE_MISSING, "is not a file"),
        (truncated, Reason.SIZE_MISMATCH, "3 bytes, but 11 in the ledger"),
        (stray, Reason.UNTRACKED, "100/000/1000000099-00.jpg"),
        (other_extension, Reason.UNTRACKED, "1000000001-00.png"),
        (other_folder, Reason.UNTRACKED, "999/1000000001-00.jpg"),
        (file_of_a_failure, Reason.UNTRACKED, "1000000005-01.jpg"),
        (number_too_long_for_sqlite, Reason.UNTRACKED, "00000-00.jpg"),
        (odd_name, Reason.UNTRACKED, "notes.txt"),
        (dangling_link, Reason.UNTRACKED, "link"),
        (leftover, Reason.LEFTOVER, ".1000000003-00.4.part"),
        (wrong_counter, Reason.COUNTER_MISMATCH, f"{HOSTS[0]}, success, no error"),
        (counter_of_nothing, Reason.COUNTER_MISMATCH, "ghost"),
        (missing_counter, Reason.COUNTER_MISMATCH, "pending"),
        (wrong_bytes_counter, Reason.COUNTER_MISMATCH, "raw_unprocessed"),
        (wrong_record_counter, Reason.COUNTER_MISMATCH, "gbifIDs that are done: counter 4, rows 3"),
        (wrong_record, Reason.RECORD_MISMATCH, "gbifID 1000000001: done, 2 images, 0 stored"),
        (unlisted_image, Reason.COUNTER_MISMATCH, f"{HOSTS[0]}: untried images: lists 0, rows 1"),
        (lost_lease, Reason.ORPHANED_LEASE, "image 6: its lease 5"),
        (no_path, Reason.NO_FILE_NAME, "image 4"),
        (lost_host, Reason.DANGLING_REFERENCE, "host 99 does not exist"),
        (lost_rule, Reason.DANGLING_REFERENCE, "a rule of 1 image does not exist"),
        (lost_owner, Reason.DANGLING_REFERENCE, "owner, row 1"),
    ],
)
def test_each_kind_of_damage(collection: Collection, damage: Callable[[Collection], None], kind: Reason, words: str) -> None:
    damage(collection)
    report, found = checked_with_findings(collection)
    assert not report.ok
    assert report.counts == {kind: 1}
    assert words in f"{found[0].subject}: {found[0].detail}"


def test_the_ledger_alone_needs_no_files_and_ends_with_counts_of_its_rows(collection: Collection) -> None:
    (collection.root / FIRST).unlink()
    shutil.rmtree(collection.root)
    code, output, complaint = run_check(collection, "--ledger-only")
    assert (code, output) == (0, "")
    assert "the ledger alone: 10 images, 7 gbifIDs" in complaint
    assert re.search(r"images +failed_transient +2\n", complaint)
    with open_reader(collection.ledger) as ledger:
        found = check(ledger, None, CheckOptions(ledger_only=True)).as_dict()
    assert found["root"] is None
    assert found["images_by_status"] == {
        "pending": 1, "leased": 1, "success": 4, "failed_transient": 2, "failed_permanent": 2,
    }  # fmt: skip
    assert found["records_by_status"] == {"pending": 1, "partial": 2, "done": 3, "failed": 1}
    wrong_record(collection)
    code, output, _ = run_check(collection, "--ledger-only", "--json")
    assert code == 1
    assert json.loads(output.splitlines()[-1])["counts"] == {"record_mismatch": 1}


def test_the_ledger_alone_and_all_hashes_do_not_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--ledger-only", "--sha256"]) == 2
    assert "--ledger-only reads no files" in capsys.readouterr().err


def test_a_signal_ends_a_check_which_then_goes_on(collection: Collection, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", "--ledger", str(collection.ledger), "--root", str(collection.root)]
    shown: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_progress.CheckProgressView, "show", lambda _, progress: shown.append(progress.what))
        patch.setattr(session.Stop, "__call__", lambda _: shown[-1:] == ["records"])
        assert cli.main(arguments) == 75
    assert "run the same command again to resume" in capsys.readouterr().err
    assert beside.files_of_checks(collection.ledger, ".state")
    assert cli.main(arguments) == 0
    assert not beside.files_of_checks(collection.ledger, ".state")
    assert "resuming an earlier check" in capsys.readouterr().err


def test_progress_in_a_job_log_has_share_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(check_progress.time, "monotonic", lambda: now[0])
    view = check_progress.CheckProgressView(live=False)
    assert view.line() is None
    view.show(CheckProgress("records", 400, 1000))  # what an earlier run has done
    now[0] += 10
    view.show(CheckProgress("records", 600, 1000))
    assert str(view.line()).endswith("checking the records: 600 of 1,000 (60.0 %), 20/s, ETA 20 s")
    view.show(CheckProgress("files", 7, None))
    now[0] += 90
    assert str(view.line()).endswith("checking the files: 7, for 1 min 30 s")


def test_progress_of_a_check_that_reads_files_has_bytes_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(check_progress.time, "monotonic", lambda: now[0])
    view = check_progress.CheckProgressView(live=False)
    view.show(CheckProgress("images", 400, 1000, n_bytes=7_000_000))
    now[0] += 10
    view.show(CheckProgress("images", 600, 1000, n_bytes=407_000_000))
    assert str(view.line()).endswith("checking the images: 600 of 1,000 (60.0 %), 20/s, 40.0 MB/s, ETA 20 s")


def test_a_job_log_gets_a_line_while_one_statement_runs(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress_view, "LOG_EVERY_S", 0.001)
    written = threading.Event()
    line = check_progress.CheckProgressView.line

    def once(self: check_progress.CheckProgressView) -> str | None:
        text = line(self)
        if text:
            written.set()
        return text

    monkeypatch.setattr(check_progress.CheckProgressView, "line", once)
    with check_progress.CheckProgressView(live=False) as view:
        view.show(CheckProgress("database", 0, 17_000, " MB"))
        assert written.wait(PATIENCE_S)
    assert "checking the database: 0 of 17,000 MB (0.0 %)" in capfd.readouterr().err


def timeless(report: CheckReport) -> CheckReport:
    """What it says, whenever and in however many turns it was made."""
    return dataclasses.replace(report, went_on=None, began_at=0.0, ended_at=0.0)


def test_a_check_of_files_goes_on_where_it_was_stopped(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_state, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(audit, "AUDIT_STEP_ROWS", 3)
    ledger_path = collection.ledger.rename(collection.root / "ledger.sqlite")
    (collection.root / "notes.txt").write_bytes(b"")
    (collection.root / SAMPLES[3].path).write_bytes(b"x")
    calls: list[CheckProgress] = []
    all_found: list[Finding] = []
    with open_reader(ledger_path) as ledger:
        whole = check(ledger, collection.root, progress=calls.append, found=all_found.append)
    assert set(whole.counts) == {Reason.SIZE_MISMATCH, Reason.UNTRACKED}
    n_rows = len(SAMPLES)
    assert [step for step in calls if step.what == "images"] == [
        CheckProgress("images", min(low + 3, n_rows), n_rows) for low in range(0, n_rows, 3)
    ]
    steps = [step for step in calls if step.what != "database"]  # which is checked at the same time as the counters
    for n in range(len(steps)):
        some = iter(steps[:n])

        def stop(step: CheckProgress, some: Iterator[CheckProgress] = some) -> None:
            if step.what != "database" and next(some, None) is None:
                raise Stopped("a signal came")

        with open_reader(ledger_path) as ledger:
            with pytest.raises(Stopped):
                check(ledger, collection.root, progress=stop)
            left, found = list[CheckProgress](), list[Finding]()
            report = check(ledger, collection.root, progress=left.append, found=found.append)
        assert timeless(report) == timeless(whole)
        assert found == all_found, "also those of the first half"
        n_left = sum(step.what != "database" for step in left)
        assert n + n_left <= len(steps) + 2, "one step is done again; the files of the check itself are in the root, too"


def test_another_question_begins_anew_and_so_does_restart(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_state, "SAVE_EVERY_S", 0.0)

    def stopped(**options: Any) -> str | None:
        def stop(progress: CheckProgress) -> None:
            if progress.what == "images":
                raise Stopped("a signal came")

        with open_reader(collection.ledger) as ledger:
            with pytest.raises(Stopped):
                check(ledger, collection.root, progress=stop)
            return check(ledger, collection.root, CheckOptions(**options)).went_on

    assert stopped() == "images: 10 of 10"
    assert stopped(restart=True) is None
    assert stopped(sha256=True) is None
    assert checked(collection).went_on == "images: 10 of 10", "another check has not disturbed it"


def test_the_files_of_checks_go_with_a_reset(collection: Collection, tmp_path: Path) -> None:
    checked(collection)
    assert len(beside.files_of_checks(collection.ledger)) == 1
    table = multimedia(tmp_path / "multimedia.txt", [(1, "https://a.example.org/1.jpg")])
    collection.call("init", table, "--reset", "--yes")
    assert not beside.files_of_checks(collection.ledger)


def test_files_of_one_record_are_checked_in_linear_time(tmp_path: Path) -> None:
    """Fault A8: twice the files of one record took four times as long."""
    counted = []
    for n in (400, 800):
        folder = tmp_path / str(n)
        folder.mkdir()
        samples = tuple(Sample(1_000_000_000, at, HOSTS[0], "success", body=b"x") for at in range(n))
        ledger = make_ledger(folder / "ledger", ())
        with ledger.transaction() as db:
            for image_id, sample in enumerate(samples, start=1):
                add_sample(ledger, image_id, sample)
            db.execute("DELETE FROM link_rows")
            db.execute("UPDATE gbif_ids SET first_image_id = 1, n_in_line = ?", (n,))
        finalize(ledger, lambda progress: None)
        ledger.close()
        (folder / "images").mkdir()
        make_files(folder / "images", samples)
        steps = [0]
        with open_reader(folder / "ledger") as reader:

            def count(steps: list[int] = steps) -> int:
                steps[0] += 1
                return 0

            reader._connected().set_progress_handler(count, 1000)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(audit, "database_errors", lambda *_, full: [])
                assert check(reader, folder / "images").ok
        counted += steps
    assert counted[1] <= 2.3 * counted[0]


def test_changed_bytes_of_the_same_size_are_found_by_hash(collection: Collection) -> None:
    (collection.root / FIRST).write_bytes(b"first imagE")
    assert checked(collection).ok
    assert checked(collection, sha256=True).counts == {Reason.HASH_MISMATCH: 1}


def test_each_reason_has_a_remedy_and_is_a_word() -> None:
    assert REMEDIES.keys() == set(Reason)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", reason) for reason in Reason)


def test_a_damaged_database_is_one_finding_and_the_end(collection: Collection) -> None:
    collection.sql("VACUUM")
    db = sqlite3.connect(collection.ledger)
    root_page, size = db.execute(
        "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_schema WHERE name = 'image_queue'"
    ).fetchone()
    db.close()
    with collection.ledger.open("r+b") as file:
        file.seek((root_page - 1) * size + 3)
        file.write(b"\0\0")  # the index says that it holds nothing
    report = checked(collection)
    assert set(report.counts) == {Reason.DATABASE_DAMAGED}
    assert report.n_files == 0


def test_all_findings_are_printed_one_per_line_with_the_command_that_mends_it(collection: Collection) -> None:
    for n in range(50):
        (collection.root / f"stray{n:02d}").write_bytes(b"")
    missing(collection)
    (collection.root / "a\tb\nc\\d\x1b[2J\udcff").write_bytes(b"")
    code, output, complaint = run_check(collection)
    rows = [line.split("\t") for line in output.splitlines()]
    assert (code, len(rows)) == (1, 52)
    assert rows[0] == ["file_missing", FIRST, "1", "image 1: there is no such file", "d4c-images check --repair"]
    assert rows[1][:3] == ["untracked", r"a\tb\nc\\d\x1b[2J\xff", ""]
    assert [row[1] for row in rows[2:]] == [f"stray{n:02d}" for n in range(50)]
    assert re.search(r"untracked +51 +d4c-images check --repair\n", complaint)


def test_json_lines_have_an_object_for_each_finding_and_a_summary_at_the_end(collection: Collection) -> None:
    missing(collection)
    (collection.root / "evil\x1b[2J\udcff").write_bytes(b"")
    code, output, complaint = run_check(collection, "--json")
    lost, stray, summary = map(json.loads, output.splitlines())
    assert (code, complaint) == (1, "")
    assert lost == {
        "type": "finding", "reason": "file_missing", "subject": FIRST, "detail": "image 1: there is no such file", "image_id": 1,
        "offset": None, "remedy": "d4c-images check --repair",
    }  # fmt: skip
    assert stray["subject"] == "evil\x1b[2J\udcff"
    assert (summary["type"], summary["ok"], summary["counts"]) == ("summary", False, {"file_missing": 1, "untracked": 1})
    assert summary["images_by_status"]["success"] == 4
    assert "\x1b" not in output


def test_what_is_in_work_or_to_be_adopted_is_no_finding(collection: Collection) -> None:
    folder = collection.root / "100/000"
    (folder / ".1000000004-00.5.part").write_bytes(b"x")
    (folder / "1000000004-00.jpg").write_bytes(b"x")
    (folder / "1000000003-00.jpg").write_bytes(b"x")
    collection.sql("UPDATE image_rows SET dead_lease_id = 4 WHERE gbif_id = 1000000003")
    report = checked(collection)
    assert report.ok, report
    assert (report.n_in_work, report.n_to_adopt) == (2, 1)


def test_the_ledger_may_lie_in_the_root_and_hidden_folders_are_not_ours(collection: Collection, tmp_path: Path) -> None:
    for sample in SAMPLES:
        if sample.body:
            (tmp_path / sample.path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "images" / sample.path).rename(tmp_path / sample.path)
    (tmp_path / ".snapshot").mkdir()
    (tmp_path / ".snapshot" / "1000000001-00.jpg").write_bytes(b"old")
    assert checked(collection, tmp_path).ok


def subjects(collection: Collection) -> dict[str, Reason]:
    return {finding.subject: finding.reason for finding in checked_with_findings(collection, restart=True)[1]}


@pytest.mark.parametrize("target", ["link", "nowhere", "/nowhere/at/all", "000/link/x"])
@pytest.mark.parametrize("folder", ["", "100/", "100/000/"])
def test_a_link_to_itself_or_to_nothing_is_one_finding_and_its_folder_is_checked(
    collection: Collection, folder: str, target: str
) -> None:
    (collection.root / folder / "link").symlink_to(target)
    (collection.root / folder / "stranger.txt").write_bytes(b"x")
    (collection.root / "100/000/stranger2.txt").write_bytes(b"x")
    strangers = (f"{folder}link", f"{folder}stranger.txt", "100/000/stranger2.txt")
    assert subjects(collection) == dict.fromkeys(strangers, Reason.UNTRACKED)


def test_a_link_to_itself_with_the_name_of_a_backup_s_note_is_a_stranger(collection: Collection) -> None:
    (collection.root / "old.sqlite.sha256").symlink_to("old.sqlite.sha256")
    assert subjects(collection) == {"old.sqlite.sha256": Reason.UNTRACKED}


def test_a_link_to_itself_with_the_name_of_an_image_is_that_image_s_finding(collection: Collection) -> None:
    (collection.root / FIRST).unlink()
    (collection.root / FIRST).symlink_to(Path(FIRST).name)
    _, (finding,) = checked_with_findings(collection)
    assert (finding.reason, finding.subject, finding.image_id) == (Reason.UNREADABLE, FIRST, 1)


@pytest.mark.parametrize("link", ["loop", "200", "100/200", "100/000/200", "200/000"])
@pytest.mark.parametrize("target", [".", "100", "100/000", "..", "../beside"])
def test_a_link_through_which_the_collection_would_be_walked_again_is_a_stranger(
    collection: Collection, link: str, target: str
) -> None:
    """One below a folder that is elsewhere, too: that is walked under the name of the link to it."""
    beside = collection.folder / "beside"
    shutil.copytree(collection.root / "100", beside)
    (collection.root / link).parent.mkdir(exist_ok=True)
    (collection.root / link).symlink_to(collection.root / target)
    if target == "../beside" and link in ("200", "100/200", "200/000"):
        n_strangers = {path for path in subjects(collection) if path.startswith(f"{link}/")}
        assert len(n_strangers) == len([path for path in beside.rglob("*") if path.is_file()])
    else:
        assert subjects(collection) == {link: Reason.UNTRACKED}


def test_a_folder_of_the_collection_may_be_a_link_to_another_disk_but_no_loop(collection: Collection) -> None:
    elsewhere = collection.folder / "disk/100"
    elsewhere.parent.mkdir()
    (collection.root / "100").rename(elsewhere)
    (collection.root / "100").symlink_to(elsewhere)
    assert subjects(collection) == {}
    for name, target in (("200", elsewhere), ("201", elsewhere / "000"), ("202", collection.root), ("203", collection.folder)):
        (elsewhere / name).symlink_to(target)
    assert subjects(collection) == {f"100/{n}": Reason.UNTRACKED for n in (200, 201, 202, 203)}


def test_a_link_that_is_hidden_or_ignored_is_no_finding(collection: Collection) -> None:
    (collection.root / ".snapshots").symlink_to(".")
    (collection.root / "notes").symlink_to(collection.folder)
    assert checked(collection, ignore=("notes/",)).counts == {}


def test_an_entry_that_cannot_be_looked_at_is_one_finding(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that does not say what its entries are."""
    real = FilesAgainstRows._is_folder

    def failing(files: FilesAgainstRows, prefix: str, entry: os.DirEntry[str]) -> bool:
        if entry.name == "000":
            raise OSError(errno.EIO, "Input/output error")
        return real(files, prefix, entry)

    monkeypatch.setattr(FilesAgainstRows, "_is_folder", failing)
    (collection.root / "100/stranger.txt").write_bytes(b"x")
    assert subjects(collection) == {"100/000": Reason.UNREADABLE, "100/stranger.txt": Reason.UNTRACKED}


@pytest.mark.parametrize("folder", ["", "backups"])
def test_a_backup_and_a_ledger_that_a_restore_kept_are_no_strangers(collection: Collection, folder: str) -> None:
    """Or a repair after a restore would move them away."""
    ledger = collection.root / "ledger.sqlite"
    make_ledger(ledger).close()
    backups = collection.root / folder
    backups.mkdir(exist_ok=True)
    assert cli.main(["backup", str(backups), "--ledger", str(ledger)]) == 0
    [backup] = backups.glob("ledger-*.sqlite")
    assert cli.main(["restore", str(backup), "--replace", "--ledger", str(ledger)]) == 0
    assert [path for path in collection.root.iterdir() if "replaced-" in path.name]
    (collection.root / ".ledger.sqlite.d4c-copy").write_bytes(b"of a process that was killed")
    found: list[Finding] = []
    with open_reader(ledger) as reader:
        check(reader, collection.root, found=found.append)
    assert found == []


SHARD = "packs/00c0ffee-000000.tar"


@pytest.fixture
def packed(collection: Collection) -> Collection:
    """The same collection, kept in a shard."""
    collection.sql("INSERT INTO store VALUES (1, 'pack', '00c0ffee')")
    places = pack(collection, *(sample for sample in SAMPLES if sample.body))
    for sample in SAMPLES:
        if sample.body:
            (collection.root / sample.path).unlink()
            name = f"gbif_id = {sample.gbif_id} AND image_no = {sample.image_no}"
            place = places[sample.path]
            collection.sql(f"UPDATE image_rows SET file_path = '{place.path}', file_offset = {place.offset} WHERE {name}")
    return collection


def pack(collection: Collection, *samples: Sample) -> dict[str, Place]:
    """Put their files into a shard; where they lie there, by the path of each."""
    store = PackStore(collection.root, PackSettings("00c0ffee"))
    keeps = []
    for sample in samples:
        partial = store.begin(sample.gbif_id, sample.image_no, 1)
        partial.write(sample.body or b"fresh")
        keeps.append(Keep(partial, sample.extension))
    places = store.put(keeps)
    store.close()
    return {sample.path: place for sample, place in zip(samples, places, strict=True) if place is not None}


def test_a_sound_collection_in_a_shard(packed: Collection) -> None:
    for options in ({}, {"sha256": True}):
        report = checked(packed, **options)
        assert report.ok, report
        assert (report.n_images, report.n_files, report.n_packed, report.n_unused) == (4, 1, 4, 0)


def shard_missing(c: Collection) -> None:
    (c.root / SHARD).unlink()


def no_image_there(c: Collection) -> None:
    c.sql("UPDATE image_rows SET file_offset = file_offset + 512 WHERE image_id = 4")


def another_size(c: Collection) -> None:
    c.sql("UPDATE image_rows SET file_size = 12 WHERE image_id = 1")
    c.sql("UPDATE tallies SET size_bytes = size_bytes + 1 WHERE status = 'success' AND error_type = ''")


def torn(c: Collection) -> None:
    with (c.root / SHARD).open("ab") as shard:
        shard.write(b"a late writer's")
    c.sql("DELETE FROM lent; DELETE FROM leases")
    c.sql("DELETE FROM tallies WHERE status = 'leased'; UPDATE tallies SET n = 2 WHERE status = 'pending'")


def of_another_ledger(c: Collection) -> None:
    (c.root / "packs/12345678-000000.tar").write_bytes((c.root / SHARD).read_bytes())


def no_shard(c: Collection) -> None:
    (c.root / "packs/mine.tar").write_bytes(b"x")


@pytest.mark.parametrize(
    ("damage", "counts", "words"),
    [
        (shard_missing, {Reason.FILE_MISSING: 4}, f"{SHARD}: image 1 at 1536: there is no such file"),
        (no_image_there, {Reason.FILE_MISSING: 1}, ": is not an image"),
        (another_size, {Reason.SIZE_MISMATCH: 1}, f"{SHARD}: image 1 at 1536: 11 bytes, but 12 in the ledger"),
        (torn, {Reason.TORN_SHARD: 1}, f"{SHARD}: torn after byte"),
        (of_another_ledger, {Reason.UNTRACKED: 1}, "no row refers to any of its 4 images"),
        (no_shard, {Reason.UNTRACKED: 1}, "packs/mine.tar"),
    ],
)
def test_each_kind_of_damage_of_a_shard(
    packed: Collection, damage: Callable[[Collection], None], counts: dict[Reason, int], words: str
) -> None:
    damage(packed)
    report, found = checked_with_findings(packed)
    assert report.counts == counts
    assert words in f"{found[0].subject}: {found[0].detail}"


def test_changed_bytes_in_a_shard_are_found_by_hash(packed: Collection) -> None:
    with (packed.root / SHARD).open("r+b") as shard:
        shard.seek(1536)
        shard.write(b"F")
    assert checked(packed).ok
    assert checked(packed, sha256=True).counts == {Reason.HASH_MISMATCH: 1}


def test_images_in_a_shard_may_be_in_work_to_be_adopted_or_of_no_use(packed: Collection) -> None:
    packed.sql("UPDATE image_rows SET dead_lease_id = 4 WHERE gbif_id = 1000000003")
    pack(packed, SAMPLES[4], SAMPLES[5], Sample(SAMPLES[0].gbif_id, 0, HOSTS[0], body=b"replaced"))
    report = checked(packed)
    assert report.ok, report
    assert (report.n_in_work, report.n_to_adopt, report.n_unused, report.unused_bytes) == (1, 1, 1, 8)


def test_a_put_that_is_under_way_is_no_finding(packed: Collection) -> None:
    os.truncate(packed.root / SHARD, (packed.root / SHARD).stat().st_size - 1000)
    assert checked(packed).ok, "a turn is out"


def test_records_that_an_init_still_holds_back_are_no_finding(collection: Collection) -> None:
    collection.sql("UPDATE record_tallies SET n = n + 2 WHERE status = 'pending'; UPDATE caught_up SET recorded_image_id = 8")
    assert checked(collection).ok
    collection.sql("UPDATE record_tallies SET n = n + 1 WHERE status = 'pending'")
    assert checked(collection).counts == {Reason.COUNTER_MISMATCH: 1}, "more than it can hold back"


def test_a_root_that_is_not_there_is_refused(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="elsewhere"):
        checked(collection, tmp_path / "elsewhere")


def settle_third(collection: Collection) -> None:
    """The image that was pending becomes a success, all in order: file first, then the row and the counters."""
    (collection.root / "100/000/1000000003-00.jpg").write_bytes(b"fresh")
    collection.sql(
        """BEGIN;
        UPDATE image_rows SET status = 'success', not_before = NULL, file_path = '100/000/1000000003-00.jpg', file_size = 5,
            sha256 = x'00' WHERE gbif_id = 1000000003;
        UPDATE gbif_ids SET status = 'done', n_success = 1 WHERE gbif_id = 1000000003;
        UPDATE record_tallies SET n = n - 1 WHERE status = 'pending';
        UPDATE record_tallies SET n = n + 1 WHERE status = 'done';
        UPDATE tallies SET n = n - 1 WHERE status = 'pending';
        UPDATE tallies SET n = n + 1, n_final = n_final + 1, size_bytes = size_bytes + 5
            WHERE status = 'success' AND error_type = '';
        COMMIT;"""
    )


def replace_first(collection: Collection) -> None:
    """A success gets another file, as a repair would do it."""
    (collection.root / "100/000/1000000001-00.png").write_bytes(b"better")
    collection.sql(
        """BEGIN;
        UPDATE image_rows SET file_path = '100/000/1000000001-00.png', file_size = 6 WHERE image_id = 1;
        UPDATE tallies SET size_bytes = size_bytes - 5 WHERE status = 'success' AND error_type = '';
        COMMIT;"""
    )
    (collection.root / FIRST).unlink()


MOST_READS = 50  # of the ledger, by a check that has to count anew


@pytest.mark.parametrize("change", [settle_third, replace_first])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("moment", thinned(range(MOST_READS), 16))
def test_calm_beside_a_running_download(
    collection: Collection, monkeypatch: pytest.MonkeyPatch, change: Callable[[Collection], None], moment: int, when: str
) -> None:
    """The change happens just before or after each single read of the ledger."""
    answer = Reader.rows
    reads = 0

    def rows(self: Reader, *question: object) -> object:
        nonlocal reads
        if self is not ledger:  # the check of the database, which is done at the same time
            return answer(self, *question)  # type: ignore[arg-type]
        reads += 1
        if (reads, when) == (moment + 1, "before"):
            change(collection)
        result = answer(self, *question)  # type: ignore[arg-type]
        if (reads, when) == (moment + 1, "after"):
            change(collection)
        return result

    with open_reader(collection.ledger) as ledger:
        monkeypatch.setattr(Reader, "rows", rows)
        report = check(ledger, collection.root)
    monkeypatch.undo()
    assert reads <= MOST_READS, "every read has been a moment"
    assert report.ok, report
    assert checked(collection).ok, "the change itself is sound"


@pytest.mark.parametrize("change", [settle_third, replace_first])
def test_calm_though_rows_are_read_long_before_their_files(
    collection: Collection, monkeypatch: pytest.MonkeyPatch, change: Callable[[Collection], None]
) -> None:
    """As with many processes: rows are read ahead, and a run changes them before the first file is looked at."""
    answer, is_changed = Reader.rows, False

    def rows(self: Reader, *question: object) -> object:
        nonlocal is_changed
        if question[0] == audit.FORMER_IMAGES and not is_changed:  # after the successes of the first step
            is_changed = True
            change(collection)
        return answer(self, *question)  # type: ignore[arg-type]

    def late(self: LookPool, groups: Iterable[Any]) -> Iterator[Any]:
        for group in list(groups):
            yield group, self._own.see(group.images)

    with open_reader(collection.ledger) as ledger:
        monkeypatch.setattr(audit, "AUDIT_STEP_ROWS", 3)
        monkeypatch.setattr(LookPool, "in_order", late)
        monkeypatch.setattr(Reader, "rows", rows)
        report = check(ledger, collection.root)
    monkeypatch.undo()
    assert is_changed
    assert report.ok, report


def test_progress_names_each_part(collection: Collection) -> None:
    seen: list[CheckProgress] = []
    with open_reader(collection.ledger) as ledger:
        check(ledger, collection.root, progress=seen.append)
    assert list(dict.fromkeys(step.what for step in seen)) == ["database", "counters", "records", "images", "files"]
    assert all(step.total is None or step.done <= step.total for step in seen)


@pytest.mark.slow
@pytest.mark.parametrize("images_of_a_record", [1, 10], ids=["many folders", "one folder"])
def test_memory_does_not_grow_with_the_collection(tmp_path: Path, images_of_a_record: int) -> None:
    """40,000 images against 12,000, each more than two steps: the peak of Python's memory is about the same."""
    import gc
    import tracemalloc

    peaks = []
    for n in (12_000, 40_000):
        folder = tmp_path / str(n)
        folder.mkdir()
        names = ((k // images_of_a_record, k % images_of_a_record) for k in range(n))
        apart = 1000 if images_of_a_record == 1 else 1
        samples = tuple(Sample(1_000_000_000 + k * apart, no, HOSTS[0], "success", body=b"x") for k, no in names)
        ledger = make_ledger(folder / "ledger", ())
        with ledger.transaction():
            for image_id, sample in enumerate(samples, start=1):
                add_sample(ledger, image_id, sample)
        finalize(ledger, lambda progress: None)
        ledger.close()
        (folder / "images").mkdir()
        make_files(folder / "images", samples)
        with open_reader(folder / "ledger") as reader:
            gc.collect()  # so that what the tests before it have left is not in the way of its own collections
            tracemalloc.start()
            report = check(reader, folder / "images")
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert report.ok, report
        assert report.n_files == n
    assert peaks[1] - peaks[0] < 4 * 2**20, peaks


def run_check(collection: Collection, *options: str) -> tuple[int, str, str]:
    """Exit code, output and complaints."""
    output, complaint = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(complaint):
        code = cli.main(["check", "--ledger", str(collection.ledger), "--root", str(collection.root), *options])
    return code, output.getvalue(), complaint.getvalue()


def test_the_command_exits_with_1_on_findings_only(collection: Collection) -> None:
    code, output, complaint = run_check(collection, "--sha256", "--full")
    assert (code, output) == (0, "")
    assert "findings  none" in complaint
    missing(collection)
    code, output, _ = run_check(collection, "--json", "--progress")
    assert code == 1
    assert json.loads(output.splitlines()[-1])["counts"] == {"file_missing": 1}


def test_the_command_says_in_one_line_what_is_wrong_with_its_arguments(collection: Collection) -> None:
    for option, words in (("--root", "no image root at /nowhere"), ("--ledger", "no ledger at /nowhere")):
        code, output, complaint = run_check(collection, option, "/nowhere")
        assert (code, output) == (2, "")
        assert complaint.count("\n") == 1
        assert words in complaint
