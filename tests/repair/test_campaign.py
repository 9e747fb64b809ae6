"""The campaign of kills: its moments are the same each time, it sees a broken promise, and a small one of it ends well."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.publishers.client import Publishers
from tests.repair.campaign import SITE, RepairCampaign
from tests.repair.commands import COMMANDS, Killed, Trial, Violation, dump, must
from tests.support.patience import PATIENCE_S
from tests.support.program import PROJECT
from tests.support.sample_ledger import make_ledger

SEED = 1
WORK = """
import os, sys
folder = sys.argv[1]
open(folder + "/a", "w").close()
os.rename(folder + "/a", folder + "/b")
open("/dev/null").close()
os.remove(folder + "/b")
os.mkdir(folder + "/c")
"""


def worked(folder: Path, kill_at: int | None) -> tuple[int, set[str]]:
    folder.mkdir()
    environ = {**os.environ, "PYTHONPATH": str(SITE), "REPAIR_BELOW": f"{folder}/", "REPAIR_AT": str(kill_at or "")}
    environ["REPAIR_COUNT"] = f"{folder}.count"
    done = subprocess.run([sys.executable, "-c", WORK, folder], env=environ, timeout=PATIENCE_S, check=False)
    return done.returncode, {path.name for path in folder.iterdir()}


def test_a_process_dies_before_the_n_th_thing_that_it_does_to_files_of_the_trial(tmp_path: Path) -> None:
    killed = [worked(tmp_path / str(n), n) for n in range(1, 5)]
    assert killed == [(-signal.SIGKILL, set()), (-signal.SIGKILL, {"a"}), (-signal.SIGKILL, {"b"}), (-signal.SIGKILL, set())]
    assert worked(tmp_path / "whole", None) == (0, {"c"})
    assert (tmp_path / "whole.count").read_text() == "4"


def test_a_ledger_that_differs_or_is_damaged_is_seen(tmp_path: Path) -> None:
    made = make_ledger(tmp_path / "ledger")
    before = dump(tmp_path / "ledger")
    with made.transaction() as db:
        db.execute("UPDATE runs SET n_done = 7")
    assert dump(tmp_path / "ledger") == before, "who has written is not compared"
    with made.transaction() as db:
        db.execute("UPDATE image_rows SET attempts = attempts + 1 WHERE image_id = 1")
    made.close()
    assert dump(tmp_path / "ledger") != before
    with (tmp_path / "ledger").open("r+b") as file:
        file.seek(3 * 8192)
        file.write(b"\xff" * 500)
    with pytest.raises(Violation, match="is sound"):
        dump(tmp_path / "ledger")


def test_a_broken_promise_is_reported_with_its_moments(tmp_path: Path) -> None:
    def breaks(trial: Trial) -> None:
        must(False, "the moon is made of cheese")

    def no_preparation(trial: Trial) -> None:
        make_ledger(trial.ledger).close()

    said: list[str] = []
    campaign = RepairCampaign(SEED, tmp_path, said.append)
    (tmp_path / "template").mkdir()
    campaign._templates.append(tmp_path / "template")
    lying = Killed("backup", no_preparation, lambda trial: ("backup", f"{trial.beside}/", "--no-progress"), breaks, breaks)
    found = campaign.run(1, [lying])
    assert len(found.violations) == 1
    assert found.violations[0].startswith("trial 0: backup of template, killed at [")
    assert found.violations[0].endswith("]: the moon is made of cheese")
    assert said[0].startswith("VIOLATED: trial 0")


@pytest.mark.slow
def test_a_small_campaign_keeps_all_promises(tmp_path: Path, publishers: Publishers) -> None:
    said: list[str] = []
    campaign = RepairCampaign(SEED, tmp_path, said.append)
    campaign.prepare(publishers)
    found = campaign.run(2 * len(COMMANDS))
    assert found.violations == []
    assert set(found.kills) == {one.name for one in COMMANDS}
    assert len(said) == sum(found.trials.values())


@pytest.mark.slow
def test_it_ends_with_one_object_of_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.repair", "--seed", str(SEED), "--kills", "1", "--command", "unpack"],
        capture_output=True, text=True, cwd=PROJECT, timeout=4 * PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    first, *_, last = done.stdout.splitlines()
    figures = json.loads(last)
    assert first == f"seed {SEED}"
    assert (figures["campaign"], figures["seed"], figures["violations"]) == ("repair", SEED, 0)
    assert figures["kills_by_command"].keys() == {"unpack"}
