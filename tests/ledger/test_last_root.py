"""The image root: a different one than in the last run is refused, unless it is chosen on purpose."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from d4c_images import cli
from d4c_images.commands import image_root
from d4c_images.errors import UsageError
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.questions import last_root
from d4c_images.ledger.queue.shards import store_kind
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, multimedia, reach
from tests.support.sample_ledger import HOSTS, Sample, make_files, make_ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """With stored images in `images`."""
    (tmp_path / "images").mkdir()
    make_files(tmp_path / "images")
    ledger = make_ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


def refusal(ledger: Ledger, root: Path, code: str | None = None) -> str:
    before = sorted(root.rglob("*"))
    with pytest.raises(UsageError) as refused:
        image_root.claim(ledger, root, code)
    assert sorted(root.rglob("*")) == before, "nothing was made there"
    return str(refused.value)


def code_in(refusal: str) -> str:
    return refusal.rpartition(" ")[2]


def test_another_folder_is_refused_until_it_is_meant(ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "images", tmp_path / "new"
    image_root.claim(ledger, old)
    image_root.claim(ledger, old)
    assert capsys.readouterr().out == ""
    said = refusal(ledger, new)
    assert str(old) in said
    assert str(new) in said
    assert not new.exists()
    assert refusal(ledger, new, "00000000") == said
    image_root.claim(ledger, new, code_in(said))
    assert f"new images will be stored in {new};" in capsys.readouterr().out
    image_root.claim(ledger, new)
    assert str(new) in refusal(ledger, old, code_in(said)), "the code was good once"
    assert code_in(refusal(ledger, old)) != code_in(said)


def test_an_old_copy_is_not_the_collection(ledger: Ledger, tmp_path: Path) -> None:
    """It lacks what was stored since."""
    image_root.claim(ledger, tmp_path / "images")
    shutil.copytree(tmp_path / "images", tmp_path / "copied")
    for path in (tmp_path / "copied/100").rglob("*.*"):
        path.unlink()
    assert "3 of 4 stored images missing there" in refusal(ledger, tmp_path / "copied")


def test_the_sample_is_spread_over_a_large_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_root, "WINDOWS", 4)
    monkeypatch.setattr(last_root, "WINDOW_ROWS", 2)
    samples = [Sample(1_000_000_000 + number, 0, HOSTS[0], "success", body=b"x") for number in range(40)]
    ledger = make_ledger(tmp_path / "large.sqlite", samples)
    found = last_root.sample(ledger)
    ledger.close()
    places = [next(number for number, one in enumerate(samples) if one.path == path) for path in found]
    assert {place // 10 for place in places} == {0, 1, 2, 3}
    assert len(places) <= 8


def test_a_disk_that_is_not_mounted(ledger: Ledger, tmp_path: Path) -> None:
    """Its empty mount point has the right name. A job script that still has the code of a move is refused as well."""
    root, code = tmp_path / "images", store_kind(ledger, None).token
    image_root.claim(ledger, root, code)
    root.rename(tmp_path / "unmounted")
    assert "mounted" in refusal(ledger, root, code)
    root.mkdir()
    assert "mounted" in refusal(ledger, root, code)
    root.rmdir()
    (tmp_path / "unmounted").rename(root)
    image_root.claim(ledger, root, code)


def test_a_ledger_of_an_earlier_version_knows_its_root_by_the_images(ledger: Ledger, tmp_path: Path) -> None:
    assert last_root.known(ledger.connection.execute) is None
    assert "4 of 4 stored images missing there" in refusal(ledger, tmp_path / "new")
    image_root.claim(ledger, tmp_path / "images")
    assert last_root.known(ledger.connection.execute) is not None


def test_a_collection_that_was_moved_is_the_same(ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its images, whether it was renamed or copied."""
    image_root.claim(ledger, tmp_path / "images")
    (tmp_path / "images").rename(tmp_path / "moved")
    image_root.claim(ledger, tmp_path / "moved")
    assert "the same images were found" in capsys.readouterr().out
    shutil.copytree(tmp_path / "moved", tmp_path / "copied", ignore=shutil.ignore_patterns(".*"))
    image_root.claim(ledger, tmp_path / "copied")
    assert "the same images were found" in capsys.readouterr().out


def test_two_collections_in_one_root(ledger: Ledger, tmp_path: Path) -> None:
    other = make_ledger(tmp_path / "other.sqlite")
    for _ in range(2):
        image_root.claim(ledger, tmp_path / "images")
        image_root.claim(other, tmp_path / "images")
    other.close()


def test_an_empty_ledger_takes_what_it_is_given_and_then_stays(tmp_path: Path) -> None:
    from d4c_images.ledger.file.connect import open_ledger

    ledger = open_ledger(tmp_path / "ledger.sqlite", create=True)
    image_root.claim(ledger, tmp_path / "images")
    assert "has not been used before" in refusal(ledger, tmp_path / "new")
    ledger.close()


def test_placeholders_are_not_looked_for_elsewhere(ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["placeholders", "--ledger", str(tmp_path / "ledger.sqlite"), "--root"]
    assert cli.main([*arguments, str(tmp_path / "images")]) == 0
    assert cli.main([*arguments, str(tmp_path / "new")]) == 2
    assert "download --new-root" in capsys.readouterr().err


@pytest.mark.slow
def test_a_download_asks_nobody_before_it_is_sure(tmp_path: Path, publishers: Publishers) -> None:
    collection = Collection(tmp_path)
    rows = [(7_200_000_000 + n, f"http://root.example.org/photos/{n}.jpg") for n in range(8)]
    collection.load(multimedia(tmp_path / "multimedia.txt", rows))
    collection.run("download", *reach(publishers), "--limit", 3)
    before = publishers.counters()["requests"]
    elsewhere = [*collection.command("download", *reach(publishers)), "--root", str(tmp_path / "new")]
    refused = subprocess.run(elsewhere, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE_S)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert publishers.counters()["requests"] == before
    assert not (tmp_path / "new").exists()
    found = re.search(r"--new-root (\S+)", refused.stderr)
    assert found is not None
    subprocess.run([*elsewhere, "--new-root", found[1]], check=True, cwd=tmp_path, timeout=PATIENCE_S)
    assert len(list((tmp_path / "new").rglob("*.jpg"))) == 5
