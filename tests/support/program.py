"""Runs the real program as its users do, and looks at what it left behind. Asserts the invariants, not the story of one test."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from d4c_images import cli
from d4c_images.ingest.ingest import ingest
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.writing import open_and_own
from d4c_images.ledger.queue import untried
from d4c_images.sources import open_media
from d4c_images.system import clocks
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S

PROJECT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-m", "d4c_images")
HEADER = (
    "gbifID type format identifier references title description source audience created creator contributor "
    "publisher license rightsHolder"
)

RECOUNT_IMAGES = """
SELECT host_id, CASE WHEN lease_id IS NULL OR status = 'success' THEN status ELSE 'leased' END, coalesce(error_type, ''), count(*),
       sum(status IN ('success', 'failed_permanent') OR (status = 'failed_transient' AND not_before IS NULL)),
       coalesce(sum(file_size), 0)
FROM image_rows LEFT JOIN lent USING (image_id) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def multimedia(path: Path, rows: Iterable[tuple[int, str]], **cells: str) -> Path:
    """A `multimedia.txt` of (gbifID, identifier) rows, all with the same other cells."""
    names = HEADER.split()
    cells = {"type": "StillImage", "format": "image/jpeg"} | cells
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.write("\t".join(names) + "\n")
        for gbif_id, identifier in rows:
            row = cells | {"gbifID": str(gbif_id), "identifier": identifier}
            out.write("\t".join(row.get(name, "") for name in names) + "\n")
    return path


def figures_of(campaign: str, seed: int, *words: str) -> dict[str, Any]:
    """The JSON object with which a campaign of the tests ends, if all went well; its first line names the seed."""
    done = subprocess.run(
        [sys.executable, "-m", campaign, "--seed", str(seed), *words],
        capture_output=True, text=True, cwd=PROJECT, timeout=4 * PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first == f"seed {seed}"
    figures: dict[str, Any] = json.loads(last)
    return figures


@dataclass(frozen=True, slots=True)
class Collection:
    """A ledger and an image root in one folder, and the program to work on them."""

    folder: Path
    environ: dict[str, str] | None = None
    images: str = "images"  # the image root, below the folder or absolute

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.sqlite"

    @property
    def root(self) -> Path:
        return self.folder / self.images

    def command(self, name: str, *arguments: object) -> list[str]:
        root = ["--root", str(self.root)] if name in ("download", "check", "unpack", "placeholders", "preflight", "store") else []
        return [*PROGRAM, name, *map(str, arguments), "--ledger", str(self.ledger), *root]

    def load(self, source: Path) -> None:
        """What `init` does, but within this process and without a word: for tests of what comes after it."""
        with open_and_own(self.ledger, "init", owner.this_process(), clocks.now, lambda line: None, create=True) as ledger:
            for media in open_media(source):
                ingest(ledger, media, None, lambda progress: None, clocks.now, in_process=True)

    def start(self, name: str, *arguments: object, crash_at: str | None = None) -> subprocess.Popen[str]:
        """In a process group of its own, so that all of it can be killed."""
        environ = {**os.environ, "PYTHONPATH": str(PROJECT), **(self.environ or {})} | (
            {"D4C_CRASH_AT": crash_at} if crash_at else {}
        )
        return subprocess.Popen(
            self.command(name, *arguments),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder, env=environ, start_new_session=True,
        )  # fmt: skip

    def run(self, name: str, *arguments: object, code: int | Sequence[int] = 0, crash_at: str | None = None) -> str:
        """The output, after the exit code was found as expected."""
        process = self.start(name, *arguments, crash_at=crash_at)
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode in ([code] if isinstance(code, int) else code), output
        return output

    def call(self, name: str, *arguments: object, code: int = 0) -> str:
        """As `run`, but within this process: for commands that end by themselves and start no workers."""
        output = io.StringIO()
        with redirect_stdout(output), redirect_stderr(output), chdir(self.folder):
            try:
                found = cli.main(self.command(name, *arguments)[len(PROGRAM) :])
            except SystemExit as end:  # of the parser
                found = int(end.code or 0)
        assert found == code, output.getvalue()
        return output.getvalue()

    def rows(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        with sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True) as db:
            rows = db.execute(sql, parameters).fetchall()
        db.close()
        return rows

    def sql(self, script: str) -> None:
        """Change what the ledger says, behind the program's back."""
        db = sqlite3.connect(self.ledger)
        db.executescript(script)
        db.close()

    def files(self) -> set[str]:
        """Everything under the root that wears a final name."""
        return {
            str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file() and not path.name.startswith(".")
        }

    def body(self, path: Any, offset: Any, size: Any) -> bytes:
        """All of a file, or a part of a shard, as anybody may read it who knows the ledger."""
        with (self.root / path).open("rb") as file:
            file.seek(offset or 0)
            body: bytes = file.read() if offset is None else file.read(size)
        return body

    def check_invariants(self) -> None:
        """I1, I2 and the counters; whatever was killed and when."""
        assert self.rows("PRAGMA quick_check") == [("ok",)]
        stored = self.rows(
            "SELECT file_path, file_offset, file_size, sha256, media_type, width, height, error_type FROM images "
            "WHERE status = 'success'"
        )
        for file_path, file_offset, file_size, sha256, media_type, width, height, error_type in stored:
            body = self.body(file_path, file_offset, file_size)
            assert (len(body), hashlib.sha256(body).hexdigest()) == (file_size, sha256)
            if error_type is None and str(media_type) in ("image/jpeg", "image/png", "image/gif", "image/tiff", "image/webp"):
                with Image.open(io.BytesIO(body)) as image:
                    image.load()
                    assert image.size == (width, height)
        assert self.rows("SELECT * FROM tallies WHERE n <> 0 ORDER BY 1, 2, 3") == self.rows(RECOUNT_IMAGES)
        assert self.rows("SELECT status, n FROM record_tallies WHERE n <> 0 ORDER BY 1") == self.rows(
            "SELECT status, count(*) FROM gbif_ids GROUP BY 1 ORDER BY 1"
        )
        check_lists(self.rows)


def check_lists(rows: Callable[[str], list[tuple[Any, ...]]]) -> None:
    """Every pending image that nobody was ever lent is listed once, with its host, and nothing else is."""
    listed = [
        (host_id, block * untried.BLOCK_IMAGES + int.from_bytes(places[at : at + 2], "little"))
        for host_id, block, places in rows("SELECT host_id, block, places FROM untried ORDER BY 1, 2")
        for at in range(0, len(places), 2)
    ]
    waiting = rows(
        """SELECT host_id, image_id FROM image_rows LEFT JOIN lent USING (image_id)
           WHERE status = 'pending' AND not_before IS NULL AND lease_id IS NULL ORDER BY 1, 2"""
    )
    assert listed == waiting


def reach(publishers: Publishers) -> list[str]:
    """The options that lead every URL to the publishers' server."""
    return ["--connect-to", publishers.connect_to, "--cacert", str(publishers.cacert)]


def kill_all(process: subprocess.Popen[str]) -> None:
    """As a node's power switch does it: the program with all its workers, at once."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()
