"""Starts `d4c-images work`, as a job on another node does. Here all nodes are this machine; the connections are real."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.patience import PATIENCE_S
from tests.support.program import PROGRAM, PROJECT


def start_workers(folder: Path, *arguments: object, environ: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """One job of worker processes; in a process group of its own."""
    words = [*PROGRAM, "work", "--cluster", str(folder), *map(str, arguments)]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=PROJECT,
        env={**os.environ, **(environ or {})}, start_new_session=True,
    )  # fmt: skip


@contextmanager
def workers_at(folder: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """One worker process, unless `arguments` say otherwise, until the end of the block."""
    job = start_workers(folder, "--processes", 1, "--grace", "1s", *arguments)
    try:
        yield job
    finally:
        job.send_signal(signal.SIGTERM)
        print(job.communicate(timeout=PATIENCE_S)[0])
