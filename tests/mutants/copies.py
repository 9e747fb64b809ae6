"""A private copy of the project, in which tests run while one of its modules is changed. Judges nothing."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil

from tests.mutants import recorder
from tests.mutants.drawing import Project

NOT_COPIED = (".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "demo-run", "out", "*.egg-info", "build", "dist")
MARK = "MUTANTS_RUN"

Item = TypeVar("Item")
Result = TypeVar("Result")


class Ran(NamedTuple):
    code: int | None  # pytest's exit code; None: it did not end within its time
    output: str


class Copy:
    """Lives in a folder of its own, whose name is short: some tests make sockets with names."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.folder = Path(tempfile.mkdtemp(prefix="mut-"))
        self.folder.chmod(0o755)  # some tests run the program as another user
        self.root = self.folder / "p"
        self._mark = self.folder.name
        self._running: subprocess.Popen[bytes] | None = None
        shutil.copytree(project.root, self.root, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)
        shutil.copy(recorder.__file__, self.root / "sitecustomize.py")
        # By their hashes: a changed module of the same size and second must not be taken for the one that was compiled.
        command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", project.package]
        subprocess.run(command, cwd=self.root, check=True)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def changed(self, module: str, text: str) -> Iterator[None]:
        path = self.root / self._project.package / module
        original = path.read_text(encoding="utf-8")
        path.write_text(text, encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(original, encoding="utf-8")

    def pytest(self, arguments: Iterable[str], limit_s: float, extra: Mapping[str, str]) -> Ran:
        """Run tests here, in a process group of its own; whatever they leave running is ended."""
        temporary = self.folder / "t"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        environ = {**os.environ, "PYTHONPATH": str(self.root), "TMPDIR": str(temporary), MARK: self._mark, **extra}
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "sitecustomize", "-p", "no:cacheprovider"]
        with (self.folder / "output").open("w+b") as output:
            process = subprocess.Popen(
                [*command, *self._project.pytest, *arguments],
                cwd=self.root, env=environ, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
            self._running = process
            try:
                code: int | None = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                self._end(process)
            output.seek(0)
            return Ran(code, output.read().decode(errors="replace"))

    def interrupt(self) -> None:
        if self._running is not None and self._running.poll() is None:
            os.killpg(self._running.pid, signal.SIGKILL)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for other in psutil.process_iter():
            try:
                if other.environ().get(MARK) == self._mark:
                    other.kill()
            except psutil.Error:  # another user's, or gone
                pass


class Copies:
    """As many copies as may run at the same time; a thread takes one for as long as it needs it."""

    def __init__(self, project: Project, n: int) -> None:
        self.n = n
        self._free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        self._all: list[Copy] = []
        for _ in range(n):
            self._all.append(Copy(project))
            self._free.put(self._all[-1])

    @contextmanager
    def one(self) -> Iterator[Copy]:
        copy = self._free.get()
        try:
            yield copy
        finally:
            self._free.put(copy)

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Do some work for each item, as many at a time as there are copies, in the order in which they are ready."""
        pool = ThreadPoolExecutor(self.n)
        try:
            futures = {pool.submit(work, item): item for item in items}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:  # Ctrl-C too: do not wait for minutes of tests
            for copy in self._all:
                copy.interrupt()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        for copy in self._all:
            copy.close()
