"""What a check has found: shown by `status` at once, recorded by the next command that writes, once, whoever is killed when."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from d4c_images.cli import main
from d4c_images.collection import check_parts, verifications
from d4c_images.collection.check_results import check_results
from d4c_images.ledger.file import connect
from d4c_images.ledger.file.reader import open_reader
from d4c_images.ledger.questions import verified
from d4c_images.ledger.questions.verified import LastVerified
from d4c_images.model import Verification
from tests.support.program import PROJECT
from tests.support.sample_ledger import make_files, make_ledger

FINALIZE = ("init", "--finalize-only", "--no-progress")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collection of four stored images, one of which is lost."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("D4C_LEDGER", "ledger.sqlite")
    make_ledger(Path("ledger.sqlite")).close()
    make_files(Path("images"))
    next(Path("images").rglob("*.dng")).unlink()
    return tmp_path


def check(*words: str) -> int:
    return main(["check", "--ledger", "ledger.sqlite", "--root", "images", "--no-progress", "--processes", "1", *words])


def finalize() -> int:
    return main([*FINALIZE, "--ledger", "ledger.sqlite"])


def recorded() -> list[Verification]:
    with open_reader(Path("ledger.sqlite")) as reader:
        return verified.verifications(reader)


def shown(capsys: pytest.CaptureFixture[str]) -> LastVerified:
    capsys.readouterr()
    assert main(["status", "--json", "--ledger", "ledger.sqlite"]) == 0
    return LastVerified(**json.loads(capsys.readouterr().out)["verified"])


def test_blocks_are_those_of_the_check() -> None:
    assert verified.BLOCK_IDS == check_parts.BLOCK_IDS


def test_status_shows_a_result_before_and_after_it_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--sha256") == 1
    before = shown(capsys)
    assert (before.n_size, before.n_sha256, before.n_decode, before.n_findings) == (4, 3, 0, 1)
    assert recorded() == []
    assert finalize() == 0
    (row,) = recorded()
    assert (row.root, row.last_image_id, row.part, row.n_parts) == ("images", 10, 1, 1)
    assert (row.with_sha256, row.with_decode, row.sample, row.n_images, row.n_read, row.n_findings) == (True, False, None, 4, 3, 1)
    assert shown(capsys) == before
    assert main(["status", "--ledger", "ledger.sqlite"]) == 0
    text = "75 % of the stored images within 30 days by SHA-256 (100 % by size); 1 finding: d4c-images check --repair"
    assert f"verified  {text}\n" in capsys.readouterr().out


def test_a_result_is_recorded_once_and_its_file_stays_for_a_week(capsys: pytest.CaptureFixture[str]) -> None:
    assert check() == 1
    finalize()
    finalize()
    (row,) = recorded()
    (file,) = check_results(Path("ledger.sqlite"))
    assert check("--summary") == 1, "its findings can be read"
    with closing(connect.open_ledger(Path("ledger.sqlite"))) as ledger:
        verifications.record_checks(ledger, file.ended_at + verifications.FILES_STAY_S - 1)
        assert file.path.exists()
        verifications.record_checks(ledger, file.ended_at + verifications.FILES_STAY_S + 1)
        assert not file.path.exists()
    assert recorded() == [row]


def test_the_same_check_again_is_another_result_and_the_newer_one_counts(capsys: pytest.CaptureFixture[str]) -> None:
    make_files(Path("images"))
    check("--sha256")
    finalize()
    next(Path("images").rglob("*.dng")).unlink()
    check("--sha256")
    finalize()
    assert [row.n_findings for row in recorded()] == [1, 0]
    assert shown(capsys).n_findings == 1


def test_findings_in_the_ledger_itself_are_gone_once_it_is_checked_alone(capsys: pytest.CaptureFixture[str]) -> None:
    make_files(Path("images"))
    with closing(connect.open_ledger(Path("ledger.sqlite"))) as ledger:
        ledger.connection.execute("UPDATE record_tallies SET n = n + 1")
    assert check("--sha256") == 1
    assert shown(capsys).n_findings > 0
    assert finalize() == 0
    assert recorded()[0].n_ledger_findings == recorded()[0].n_findings > 0
    assert main(["check", "--ledger-only", "--ledger", "ledger.sqlite", "--no-progress"]) == 0
    found = shown(capsys)
    assert (found.n_findings, found.n_sha256) == (0, 4)


@pytest.mark.parametrize("point", ["verifications.before_commit", "verifications.after_commit"])
def test_a_command_that_is_killed_while_it_records_neither_loses_nor_doubles_a_result(
    point: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check("--sha256")
    before = shown(capsys)
    words = [sys.executable, "-m", "d4c_images", *FINALIZE, "--ledger", "ledger.sqlite"]
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "D4C_CRASH_AT": point}
    assert subprocess.run(words, env=environ, check=False, capture_output=True).returncode == -9
    assert shown(capsys) == before
    assert finalize() == 0
    assert len(recorded()) == 1
    assert shown(capsys) == before


def test_a_reset_ledger_knows_nothing_of_the_checks_of_the_old_one(capsys: pytest.CaptureFixture[str]) -> None:
    check()
    Path("multimedia.txt").write_text("gbifID\tidentifier\n1\thttps://a.example.org/1.jpg\n", encoding="utf-8")
    assert main(["init", "multimedia.txt", "--reset", "--yes", "--ledger", "ledger.sqlite", "--no-progress"]) == 0
    assert recorded() == []
    assert shown(capsys).last_at is None
