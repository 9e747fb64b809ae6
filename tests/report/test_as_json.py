"""JSON for scripts: one form of times in all commands."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from d4c_images.cli import main
from d4c_images.report.as_json import json_text
from tests.support.sample_ledger import make_files, make_ledger

ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"


def test_times_at_any_depth_have_their_offset_and_other_numbers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    value = {"ended_at": 1796098346.9, "due_at": None, "n": 1796098346, "blocked": [{"until": 0, "at": 7}], "pair": (1, 2.5)}
    assert json.loads(json_text(value)) == {
        "ended_at": "2026-12-01T04:12:26+00:00",
        "due_at": None,
        "n": 1796098346,
        "blocked": [{"until": "1970-01-01T00:00:00+00:00", "at": 7}],
        "pair": [1, 2.5],
    }
    assert "\n" not in json_text(value, indent=None)


def times(value: Any) -> list[Any]:
    """All that a name calls a time, at any depth."""
    if isinstance(value, list):
        return [moment for one in value for moment in times(one)]
    if not isinstance(value, dict):
        return []
    own = [one for name, one in value.items() if re.search(r"(_at|until)$", name) and one is not None]
    return own + [moment for one in value.values() for moment in times(one)]


@pytest.mark.parametrize(
    "words",
    [["status"], ["runs"], ["hosts"], ["check", "--no-progress"], ["check", "--summary"], ["backup", "a copy", "--no-progress"]],
    ids=" ".join,
)
def test_each_command_writes_times_as_iso_8601(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("D4C_LEDGER", "ledger.sqlite")
    make_ledger(Path("ledger.sqlite")).close()
    make_files(Path("images"))
    assert main(["check", "--no-progress"]) == 0
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    found = times(json.loads(capsys.readouterr().out))
    assert found
    assert all(isinstance(moment, str) and re.fullmatch(ISO, moment) for moment in found), found
