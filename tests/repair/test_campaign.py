"""The campaign of kills: its moments are the same each time, it sees a broken promise, and a small one of it ends well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.publishers.client import Publishers
from tests.repair import converting, damages, mending
from tests.repair.campaign import SITE, RepairCampaign
from tests.repair.commands import COMMANDS
from tests.repair.trial import Killed, Trial, Violation, copy_of, dump, must
from tests.support.patience import PATIENCE_S
from tests.support.program import figures_of
from tests.support.sample_ledger import make_ledger

SEED = 6  # a repair with strangers, in its first two trials
SEEDS = {"store convert": 34}  # into tar files
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
    campaign.templates.append(tmp_path / "template")
    lying = Killed("backup", no_preparation, lambda trial: ("backup", f"{trial.beside}/", "--no-progress"), breaks, breaks)
    found = campaign.run(1, [lying])
    assert len(found.violations) == 1
    assert found.violations[0].startswith("trial 0: backup of template, killed at [")
    assert found.violations[0].endswith("]: the moon is made of cheese")
    assert said[0].startswith("VIOLATED: trial 0")


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    campaign = RepairCampaign(SEED, tmp_path_factory.mktemp("campaign"), print)
    with Publishers() as publishers:
        campaign.prepare(publishers)
    return campaign.templates


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_small_campaign_keeps_all_promises(tmp_path: Path, templates: list[Path], command: Killed) -> None:
    said: list[str] = []
    campaign = RepairCampaign(SEEDS.get(command.name, SEED), tmp_path, said.append)
    campaign.templates += templates
    found = campaign.run(2, [command])
    assert found.violations == []
    assert found.kills[command.name] >= 2
    assert len(said) == sum(found.trials.values())


@pytest.mark.slow
def test_a_repair_that_loses_an_image_or_a_stranger_is_seen(tmp_path: Path, templates: list[Path]) -> None:
    for n, template in enumerate(templates):
        trial = copy_of(template, tmp_path / str(n), Random(SEED))
        mending.prepare(trial, [damages.stranger, damages.orphan])
        mending.after_kill(trial)
        (trial.collection.root / "notes/read me.txt").rename(tmp_path / "mine")
        with pytest.raises(Violation, match="no stranger, image or damaged file is deleted"):
            mending.after_kill(trial)
        (tmp_path / "mine").rename(trial.collection.root / "notes/read me.txt")
        trial.collection.sql("UPDATE image_rows SET file_size = file_size + 1 WHERE image_id = 1")
        with pytest.raises(Violation, match="image 1"):
            mending.after_kill(trial)
        trial.collection.sql("UPDATE image_rows SET status = 'pending' WHERE image_id = 1")
        with pytest.raises(Violation, match="the healthy image 1 is in the ledger, not pending"):
            mending.after_kill(trial)


@pytest.mark.slow
def test_a_conversion_that_loses_an_image_or_leaves_a_file_is_seen(tmp_path: Path, templates: list[Path]) -> None:
    for n, template in enumerate(templates):
        trial = copy_of(template, tmp_path / str(n), Random(SEED))
        converting.prepare(trial)
        trial.kept["words"] = ()  # as if it had been asked for what is there already
        (trial.collection.root / converting.MINE).unlink(missing_ok=True)
        converting.at_end(trial)
        (trial.collection.root / "left.jpg").write_bytes(b"left")
        with pytest.raises(Violation, match="nothing is left"):
            converting.at_end(trial)
        ((path,),) = trial.collection.rows("SELECT file_path FROM image_rows WHERE image_id = 1")
        (trial.collection.root / str(path)).unlink()
        with pytest.raises(Violation, match="the ledger names what is there: image"):
            converting.after_kill(trial)


@pytest.mark.slow
def test_it_ends_with_one_object_of_json() -> None:
    figures = figures_of("tests.repair", SEED, "--kills", "1", "--command", "unpack")
    assert (figures["campaign"], figures["seed"], figures["violations"]) == ("repair", SEED, 0)
    assert figures["kills_by_command"].keys() == {"unpack"}
