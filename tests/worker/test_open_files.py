"""A low limit of open files means fewer connections; a limit that is too low is refused in one line."""

from __future__ import annotations

import itertools
import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from d4c_images.errors import UsageError
from d4c_images.model import FetchOptions, Limits
from d4c_images.runners.worker_setup import WorkerSetup
from d4c_images.system import open_files
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, multimedia, reach

HOSTS, N = 60, 120


def test_more_files_are_never_fewer_connections() -> None:
    budgets = [open_files.budget(n) for n in range(3_000)]
    for fewer, more in itertools.pairwise(budgets):
        assert fewer.connections <= more.connections <= fewer.connections + 1
        used = more.waiting + more.connections * open_files.PER_CONNECTION
        assert open_files.FILES_FOR_OTHERS + used + min(more.connections, open_files.OPENING) * open_files.PER_OPENING <= max(
            more.n_files, open_files.FILES_FOR_OTHERS
        )
    assert budgets[64].connections >= 3
    assert budgets[1024].connections >= 200
    assert open_files.budget(4096).connections >= 256


@pytest.mark.parametrize(
    ("n_files", "n_processes", "words"),
    [
        (20, 1, "1 worker process needs 37 open files, but the limit is 20: raise it (ulimit -n)"),
        (64, 40, "40 worker processes need 152 open files, but the limit is 64: raise it (ulimit -n), or use --processes 10"),
    ],
)
def test_too_few_are_refused_with_what_is_needed(n_files: int, n_processes: int, words: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(words)}$"):
        open_files.check(n_files, n_processes)


@pytest.fixture
def few() -> Iterator[int]:
    """This process may open no more than 200 files for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    yield 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_worker_on_a_node_with_fewer_says_so(few: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "raise_limit", open_files.granted)
    setup = WorkerSetup(tmp_path, FetchOptions(Limits(1, 1, 1, 1), "a test"), None, connections=256)
    with pytest.raises(UsageError, match="may open only 200 files, enough for 18 of 256 connections"):
        setup()


@pytest.mark.slow
@pytest.mark.parametrize("n_files", [64, 128])
@pytest.mark.parametrize("store", ["files", "pack"])
def test_a_download_with_few(n_files: int, store: str, tmp_path: Path, publishers: Publishers) -> None:
    collection = Collection(tmp_path)
    rows = [(7_300_000_000 + n, f"http://few{n % HOSTS}.example.org/photos/{n}.jpg") for n in range(N)]

    def run(*arguments: object) -> str:
        limited = ["sh", "-c", f'ulimit -n {n_files}; exec "$@"', "sh", *collection.command(*map(str, arguments))]
        done = subprocess.run(limited, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("init", multimedia(tmp_path / "multimedia.txt", rows))
    assert f"open files are limited to {n_files}" in run("download", *reach(publishers), "--processes", 2, "--store", store)
    assert collection.rows("SELECT status, attempts, count(*) FROM images GROUP BY 1, 2") == [("success", 1, N)]
    run("check")
    run("export", tmp_path / "all.parquet")
    collection.check_invariants()
