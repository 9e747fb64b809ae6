"""The memory of `init` does not grow with the file. Measures all its processes; says nothing of speed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.patience import PATIENCE_S
from tests.program import Collection
from tests.rows import big

MAX_BYTES = 200_000_000


class Watch:
    """The most memory that a process and its children have had together; pages that they share count once for each."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.most_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            self.most_bytes = max(self.most_bytes, sum(self._sizes()))

    def _sizes(self) -> Iterator[int]:
        try:
            for process in (self._process, *self._process.children(recursive=True)):
                yield process.memory_info().rss
        except psutil.NoSuchProcess:
            pass  # it has ended meanwhile


def peak_bytes(folder: Path, rows: int) -> int:
    folder.mkdir()
    big.write(folder / "multimedia.txt", rows)
    process = Collection(folder).start("init", folder / "multimedia.txt")
    with Watch(process.pid) as watch:
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    return watch.most_bytes


@pytest.mark.slow
def test_memory_stays_small(tmp_path: Path) -> None:
    peak = peak_bytes(tmp_path / "many", 300_000)
    print(f"{peak / 1e6:.0f} MB at most")
    assert 20_000_000 < peak < MAX_BYTES
