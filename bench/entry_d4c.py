"""The real program, as users call it, on the task of a race. `init` comes before the clock; start-up does not."""

from __future__ import annotations

import compileall
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from bench.common import PROJECT, Run, Task, timed
from tests.support.program import multimedia

PROGRAM = (sys.executable, "-m", "d4c_images")
PROCESSES = 2


def run(task: Task, *options: object) -> Run:
    """Everything that it does in earnest: paced, decoded, hashed, made durable, written down."""
    prepare(task)
    return timed(
        command(task, *options), task.folder, lambda: n_success(task), may_fail=bool(task.dead)
    )  # 75: the dead may come back


def prepare(task: Task) -> None:
    """Ledger, hosts file and an empty folder of images; and our program compiled, as pip leaves it and the peers."""
    compileall.compile_dir(PROJECT / "d4c_images", quiet=1)
    rows = multimedia(task.folder / "multimedia.txt", enumerate(task.urls, 4_000_000_000))
    subprocess.run([*PROGRAM, "init", rows, "--ledger", ledger_of(task)], check=True, stdout=subprocess.DEVNULL, cwd=PROJECT)
    share = max(1, task.connections // len(task.hosts))
    lines = ["[default]", f"connections = {share}", "source = 'a benchmark'"]
    for host, limit in task.limits.items():
        lines += [f'[hosts."{host}"]', f"connections = {limit.connections}", f"min_interval_s = {limit.min_interval_s}"]
        lines += ["source = 'a benchmark'"]
    (task.folder / "hosts.toml").write_text("\n".join(lines) + "\n")


def command(task: Task, *options: object) -> Sequence[object]:
    """`download`, ready to be run in the task's folder."""
    words = [*PROGRAM, "download", "--ledger", ledger_of(task), "--root", task.folder / "images", "--no-progress"]
    words += ["--hosts-file", task.folder / "hosts.toml", "--processes", PROCESSES, "--cacert", task.cacert]
    words += [f"--connect-to={host}:80:127.0.0.1:1" for host in sorted(task.dead)]  # nobody listens there
    return [*words, f"--connect-to=::127.0.0.1:{task.port}", *options]


def n_success(task: Task) -> int:
    with closing(sqlite3.connect(ledger_of(task))) as db:
        n: int = db.execute("SELECT count(*) FROM images WHERE status = 'success'").fetchone()[0]
        return n


def ledger_of(task: Task) -> Path:
    return task.folder / "ledger.sqlite"
