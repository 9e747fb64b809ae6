"""`kill -9` of `init`, at named points and at any moment: the same command resumes, and the ledger shows no trace of it."""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from d4c_images import crash
from d4c_images.ingest import ingest as ingest_module
from d4c_images.ledger.admission.admit import Admission, Admitted
from d4c_images.ledger.admission.chunk import Chunk
from tests.ingest.test_ingest import run, sizes
from tests.rows import big
from tests.support.ingest_model import Row, table
from tests.support.ledger_dump import differences
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection
from tests.support.sweep import thinned

N = 130_000
KILLS = 25
POINTS = (
    "admit.before_checkpoint",
    "admit.before_checkpoint:4",
    "admit.before_commit",
    "admit.before_commit:3",
    "admit.after_commit",
    "admit.after_commit:5",
    "keys.part_written",
    "keys.part_written:7",
    "records.part_written",
    "records.part_written:9",
    "ingest.before_finish",
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """A ledger whose `init` nobody has killed, and its source beside it: rows in no order, and some that come back."""
    collection = Collection(tmp_path_factory.mktemp("undisturbed"))
    text = "".join(big.chunks(N))
    rows = text.split("\n")
    (collection.folder / "multimedia.txt").write_text("\n".join([*rows[:-1], *rows[1000:6000]]) + "\n", encoding="utf-8")
    cells = ((row.partition("\t")[0], f"Name {n}", f"{n % 7}", f"Collector {n // 3}") for n, row in enumerate(rows[1:-1:3]))
    header = ("gbifID", "scientificName", "countryCode", "recordedBy")
    (collection.folder / "occurrence.txt").write_text("\n".join(map("\t".join, [header, *cells])), encoding="utf-8")
    collection.run("init", collection.folder / "multimedia.txt", "--labels")
    return collection


def arguments(undisturbed: Collection) -> list[object]:
    return [undisturbed.folder / "multimedia.txt", "--labels", "--no-progress"]


def is_the_same(collection: Collection, undisturbed: Collection) -> None:
    """After another run to the end."""
    collection.run("init", *arguments(undisturbed))
    assert differences(collection.ledger, undisturbed.ledger) == []


def fresh(folder: Path) -> Collection:
    folder.mkdir()
    return Collection(folder)


def kill(process: subprocess.Popen[str]) -> None:
    """Only the process that was started; the one that reads for it must end by itself."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert not alive, "the reading process outlives the one that started it"


@pytest.mark.slow
@pytest.mark.parametrize("point", [*POINTS, "labels.before_commit", "labels.before_commit:3"])
def test_killed_at_a_point(tmp_path: Path, undisturbed: Collection, point: str) -> None:
    collection = Collection(tmp_path)
    collection.run("init", *arguments(undisturbed), code=-9, crash_at=point)
    assert collection.rows("PRAGMA quick_check") == [("ok",)]
    is_the_same(collection, undisturbed)


@pytest.mark.slow
def test_killed_at_any_moment_again_and_again(tmp_path: Path, undisturbed: Collection) -> None:
    """The moments are parts of the time that a whole `init` takes here; one that ends in between starts over."""
    collection = fresh(tmp_path / "whole")
    began = time.monotonic()
    collection.run("init", *arguments(undisturbed))
    whole_s = time.monotonic() - began
    chance = random.Random(20261121)
    killed = 0
    for attempt in range(10 * KILLS):
        process = collection.start("init", *arguments(undisturbed))
        try:
            process.wait(timeout=chance.uniform(0.2, 0.9) * whole_s)
            assert process.returncode == 0
        except subprocess.TimeoutExpired:
            killed += 1
        kill(process)
        if collection.ledger.exists() and collection.rows("SELECT name FROM sqlite_schema WHERE name = 'archives'"):
            assert collection.rows("PRAGMA quick_check") == [("ok",)]
            unlike = collection.rows("SELECT sum(new_images) FROM archives EXCEPT SELECT count(*) FROM image_rows")
            assert unlike in ([], [(None,)])
        if killed == KILLS:
            break
        if process.returncode == 0:
            assert differences(collection.ledger, undisturbed.ledger) == []
            collection = fresh(tmp_path / str(attempt))
    assert killed == KILLS
    is_the_same(collection, undisturbed)


@pytest.mark.slow
def test_the_reading_process_is_killed(tmp_path: Path, undisturbed: Collection) -> None:
    """One clear line, and the same command goes on."""
    collection = Collection(tmp_path)
    process = collection.start("init", *arguments(undisturbed))
    reader = None
    while reader is None and process.poll() is None:
        children = psutil.Process(process.pid).children()
        reader = next((child for child in children if "d4c_images.ingest.reader_process" in " ".join(child.cmdline())), None)
    assert reader is not None
    reader.kill()
    output, _ = process.communicate()
    assert process.returncode == 1
    assert re.search(r"the process reading .*multimedia\.txt died \(exit code -9\): run the same command again", output)
    assert "Traceback" not in output
    is_the_same(collection, undisturbed)


# -- the order of writes, and a mutant of it


class KilledError(BaseException):
    """Stands for a kill, within this process."""


def interrupted(folder: Path, source: Path, point: str, passes: int) -> list[str]:
    """What differs after an ingest that was interrupted at the n-th pass of a point and went on."""
    left = passes

    def die(name: str) -> None:
        nonlocal left
        left -= name == point
        if left == 0 and name == point:
            raise KilledError

    run(folder / "whole", source)
    with pytest.MonkeyPatch.context() as patch, sizes(500, 10, 40):
        patch.setattr(crash, "point", die)
        with pytest.raises(KilledError):
            run(folder / "ledger", source)
    run(folder / "ledger", source)
    return differences(folder / "ledger", folder / "whole")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [Row(n // 2, f"https://a.example.org/{n % 90}.jpg", creator=f"c{n % 7}") for n in range(2, 200)]
    (tmp_path / "multimedia.txt").write_bytes(table(rows))
    return tmp_path / "multimedia.txt"


@pytest.mark.parametrize("point", thinned([point.partition(":")[0] for point in POINTS], 4))
@pytest.mark.parametrize("passes", [1, 2])
def test_rows_and_checkpoint_are_written_together(tmp_path: Path, source: Path, point: str, passes: int) -> None:
    if point == "ingest.before_finish":
        passes = 1
    assert interrupted(tmp_path, source, point, passes) == []


def checkpoint_first(self: Admission, chunks: Sequence[Chunk], now: float) -> Admitted:
    """The mutant: the checkpoint is committed before the rows."""
    with self._ledger.transaction() as db:
        self._write_checkpoint(db, chunks[-1], Admitted(0, 0, 0))
    crash.point("admit.before_commit")
    with self._ledger.transaction() as db:
        return self._write_rows(db, chunks, int(now))


def checkpoint_later(self: Admission, chunks: Sequence[Chunk], now: float) -> Admitted:
    """The mutant: the checkpoint is committed after the rows, in a transaction of its own."""
    with self._ledger.transaction() as db:
        admitted = self._write_rows(db, chunks, int(now))
    crash.point("admit.before_commit")
    with self._ledger.transaction() as db:
        self._write_checkpoint(db, chunks[-1], admitted)
    return admitted


@pytest.mark.parametrize("mutant", [checkpoint_first, checkpoint_later])
def test_the_comparison_finds_a_checkpoint_out_of_order(tmp_path: Path, source: Path, mutant: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Admission, "admit", mutant)
        assert interrupted(tmp_path, source, "admit.before_commit", 2)
    assert ingest_module.Admission.admit is not mutant
