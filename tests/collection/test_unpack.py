"""`unpack`: copies are what the ledger knows, byte for byte, whatever is in the target already and whatever fails meanwhile."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from d4c_images.collection import unpack
from d4c_images.ledger.questions.locations import Shelved
from d4c_images.stores import partial
from d4c_images.stores.local import LocalStore
from tests.support.patience import PATIENCE_S
from tests.support.program import PROJECT, Collection
from tests.support.sample_ledger import HOSTS, Sample, make_files, make_ledger

# More than are made durable together; one that does not stay in memory, and is in the first group.
BIG = bytes(range(256)) * 400
SAMPLES = tuple(
    Sample(1000000000 + n, 0, HOSTS[0], "success", body=BIG if n == 5 else b"image %02d of a record" % n) for n in range(40)
)
FIRST, SECOND, LAST = SAMPLES[0].path, SAMPLES[1].path, SAMPLES[-1].path
# As a process gets a signal while it is at work: once for each group.
SIGNALLED = """
import os, signal, sys
from d4c_images import cli, crash
crash.point = lambda name: os.kill(os.getpid(), signal.{signal}) if name == "unpack.put" else None
sys.exit(cli.main())
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    collection = Collection(tmp_path_factory.mktemp("made"))
    make_ledger(collection.ledger, SAMPLES).close()
    make_files(collection.root, SAMPLES)
    return collection


@pytest.fixture
def collection(made: Collection, tmp_path: Path) -> Collection:
    copy = Collection(tmp_path / "collection")
    shutil.copytree(made.folder, copy.folder)
    return copy


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "out"


def unpacked(collection: Collection, to: Path, code: int = 0) -> dict[str, Any]:
    """Its summary."""
    output = collection.call("unpack", "--to", to, "--json", "--no-progress", code=code)
    summary: dict[str, Any] = json.loads(output)
    return summary


def copies(to: Path) -> dict[str, bytes]:
    """All files below the target, also hidden ones."""
    return {str(path.relative_to(to)): path.read_bytes() for path in to.rglob("*") if path.is_file()}


ALL = {sample.path: sample.body for sample in SAMPLES}


def test_what_is_there_is_compared_and_not_written_again(collection: Collection, to: Path) -> None:
    assert unpacked(collection, to)["n_written"] == 40
    inodes = {path: (to / path).stat().st_ino for path in ALL}
    summary = unpacked(collection, to)
    assert (summary["n_written"], summary["n_replaced"], summary["n_there"]) == (0, 0, 40)
    assert {path: (to / path).stat().st_ino for path in ALL} == inodes
    assert copies(to) == ALL


def of_the_same_size(copy: Path) -> None:
    copy.write_bytes(b"IMAGE 00 of a record")


def shorter(copy: Path) -> None:
    copy.write_bytes(b"image 00")


def a_link_to_itself(copy: Path) -> None:
    copy.unlink()
    copy.symlink_to(copy.name)


def a_pipe(copy: Path) -> None:
    copy.unlink()
    os.mkfifo(copy)


@pytest.mark.parametrize("spoil", [of_the_same_size, shorter, a_link_to_itself, a_pipe], ids=lambda spoil: spoil.__name__)
def test_a_copy_with_other_bytes_is_made_anew(collection: Collection, to: Path, spoil: Callable[[Path], None]) -> None:
    unpacked(collection, to)
    spoil(to / FIRST)
    output = collection.call("unpack", "--to", to, "--no-progress")
    assert "1 image written (20 B), 39 already there" in output
    assert "1 copy was not what the ledger says, and was made anew" in output
    assert copies(to) == ALL
    assert not (to / FIRST).is_symlink()


def test_a_copy_that_is_missing_is_not_called_replaced(collection: Collection, to: Path) -> None:
    unpacked(collection, to)
    (to / FIRST).unlink()
    summary = unpacked(collection, to)
    assert (summary["n_written"], summary["n_replaced"], summary["n_there"]) == (1, 0, 39)


def test_damaged_images_are_reported_and_the_others_copied(collection: Collection, to: Path) -> None:
    (collection.root / FIRST).write_bytes(b"IMAGE 00 of a record")
    (collection.root / SECOND).unlink()
    collection.sql("UPDATE image_rows SET sha256 = NULL WHERE image_id = 3")
    summary = unpacked(collection, to, code=1)
    digest = hashlib.sha256(SAMPLES[0].body or b"").hexdigest()
    assert summary["troubles"] == [
        f"image 1: {FIRST}: SHA-256 is not {digest}",
        f"image 2: {SECOND}: No such file or directory",
        f"image 3: {SAMPLES[2].path}: the ledger has no path, size or SHA-256 of it",
    ]
    assert summary["n_written"] == 37
    assert copies(to).keys() == ALL.keys() - {sample.path for sample in SAMPLES[:3]}


def test_a_damaged_image_does_not_replace_a_copy(collection: Collection, to: Path) -> None:
    unpacked(collection, to)
    (to / FIRST).write_bytes(b"an earlier copy")
    (collection.root / FIRST).write_bytes(b"IMAGE 00 of a record")
    assert unpacked(collection, to, code=1)["n_troubles"] == 1
    assert copies(to) == ALL | {FIRST: b"an earlier copy"}


def test_a_folder_with_the_name_of_a_copy_costs_that_copy_alone(collection: Collection, to: Path) -> None:
    (to / FIRST).mkdir(parents=True)
    (to / FIRST / "mine.txt").write_bytes(b"mine")
    summary = unpacked(collection, to, code=1)
    assert summary["n_troubles"] == 1
    (trouble,) = list(summary["troubles"])
    assert trouble.startswith("image 1: ")
    assert trouble.endswith(": Is a directory")
    assert copies(to) == {path: body for path, body in ALL.items() if path != FIRST} | {f"{FIRST}/mine.txt": b"mine"}
    assert unpacked(collection, to, code=1)["n_there"] == 39


@pytest.mark.parametrize(
    ("call", "error", "nth"),
    [("write", errno.ENOSPC, 1), ("write", errno.ENOSPC, 20), ("fsync", errno.EIO, 7), ("rename", errno.EDQUOT, 9)],
)
def test_a_target_that_cannot_be_written_is_left_without_partials_and_the_same_command_resumes(
    collection: Collection, to: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int, nth: int
) -> None:
    real, n = getattr(partial, call), 0

    def failing(*arguments: object) -> object:
        nonlocal n
        n += 1
        if n >= nth:
            raise OSError(error, os.strerror(error))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(partial, call, failing)
        output = collection.call("unpack", "--to", to, "--no-progress", code=1)
    assert os.strerror(error) in output
    assert output.count("\n") == 1
    assert not [name for name in copies(to) if name.endswith(".part")]
    assert copies(to).items() <= ALL.items()
    assert unpacked(collection, to)["n_troubles"] == 0
    assert copies(to) == ALL


def test_a_process_without_descriptors_blames_no_image(collection: Collection, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> bool:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(unpack, "copy_if_right", exhausted)
    output = collection.call("unpack", "--to", to, "--no-progress", code=1)
    assert output == f"d4c-images: {FIRST}: Too many open files\n"


def test_a_copy_that_another_process_has_taken_is_not_counted_as_written(
    collection: Collection, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two with one target: one renames the partial of the other."""
    real = LocalStore.put
    monkeypatch.setattr(LocalStore, "put", lambda store, keeps: [None, *real(store, keeps)[1:]])
    summary = unpacked(collection, to, code=1)
    assert (summary["n_written"], summary["n_troubles"]) == (38, 2)
    assert "another process has taken its copy" in str(summary["troubles"])


def test_what_is_made_durable_together_is_bounded_in_number_and_bytes() -> None:
    def images(n: int, size_bytes: int) -> list[Shelved]:
        return [Shelved(number, number, 0, "x.jpg", None, size_bytes, b"") for number in range(n)]

    assert [len(group) for group in unpack._groups(images(70, 1))] == [32, 32, 6]
    assert [len(group) for group in unpack._groups(images(5, 30 << 20))] == [2, 2, 1]
    assert [len(group) for group in unpack._groups(images(2, 1 << 30))] == [1, 1]
    assert [len(group) for group in unpack._groups(images(3, 1) * 3)] == [3]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_with_75_and_the_same_command_resumes(collection: Collection, to: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED.format(signal=name), *collection.command("unpack", "--to", to, "--json")[3:]],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        capture_output=True, text=True, cwd=collection.folder, check=False, timeout=PATIENCE_S,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (75, ""), done.stderr
    assert done.stderr == f"d4c-images: {name}: unpacking was stopped; run the same command again to resume\n"
    assert copies(to) == {sample.path: sample.body for sample in SAMPLES[:32]}
    summary = unpacked(collection, to)
    assert (summary["n_there"], summary["n_written"], copies(to)) == (32, 8, ALL)
