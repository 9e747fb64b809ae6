"""Has calls of a command fail, one in each run, and judges what follows. Prints nothing."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from d4c_images.ledger.questions import last_root
from d4c_images.stores.own_files import is_mark
from tests.disk import disturbance
from tests.disk.calls import SHORT, Fault, Kind, faults_of, place_of
from tests.disk.disturbance import Heard, Ran
from tests.disk.jobs import Job, Scene
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import PROJECT, Collection

# What SQLite makes of an error of the system, in the words of the program.
Stored = tuple[str, int | None, int, str]  # path, offset, size, SHA-256
POINTER = "see the line above"  # of a program whose worker process has said why
LEDGER_WORDS = ("disk I/O error", "is full", "unable to open", "cannot open", "locking protocol", "its disk reports an error")


@dataclass(slots=True)
class Verdict:
    """Of one run with a fault."""

    fault: Fault
    fired: str | None  # the call that failed; None: the command has ended before its turn came
    code: int
    line: str  # that the program has said
    output: str
    wrong: list[str] = field(default_factory=list)


class Stage:
    """Sets the scene of one job again and again, always in the same folder: ledgers know theirs."""

    def __init__(self, job: Job, folder: Path, publishers: Publishers) -> None:
        self.job = job
        self._case, self._kept, self._cwd = folder / "case", folder / f"kept-{job.name}", folder / "cwd"
        self.scene = Scene(Collection(self._case), publishers)
        self._cwd.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._case, ignore_errors=True)
        self.scene.collection.root.mkdir(parents=True)
        (self._case / "tmp").mkdir()
        job.prepare(self.scene)
        shutil.rmtree(self._kept, ignore_errors=True)
        shutil.copytree(self._case, self._kept)
        self.command = job.command(self.scene)
        self._before = _hashes(self._case)
        self._n_stored, self._damaged = 0, set[Stored]()
        if self.scene.collection.ledger.exists():
            with closing(sqlite3.connect(self.scene.collection.ledger)) as db:
                self._n_stored, self._damaged = len(_successes(db)), _without_bytes(db, self.scene.collection.root)
        heard = self.run(None).heard
        self.heard: Heard = heard
        self._leaves = _places(self._case)

    def run(self, fault: Fault | None) -> Ran:
        shutil.rmtree(self._case)
        shutil.copytree(self._kept, self._case)
        with self.job.beside(self.scene):
            ran = disturbance.run(self.command, self._case, fault, self._environ(), self._cwd, PATIENCE_S)
        if fault is None and (ran.code != 0 or not self.job.is_done(self.scene)):
            raise RuntimeError(f"{self.job.name} does not end well without any fault: {ran.code}\n{ran.output}")
        return ran

    def judge(self, fault: Fault) -> Verdict:
        """Run the command with a fault, then again without one."""
        try:
            ran = self.run(fault)
        except TimeoutError as error:
            return Verdict(fault, "?", -1, "", str(error), ["does not end"])
        lines = [line for line in ran.output.splitlines() if line.startswith("d4c-images: ") and POINTER not in line]
        verdict = Verdict(fault, ran.heard.fired, ran.code, lines[-1] if lines else "", ran.output)
        if ran.heard.fired is not None:
            verdict.wrong = [*self._said_wrong(ran, lines, fault), *self._lost(), *self._goes_on()]
        return verdict

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("D4C_", "SLACK_", "COV_"))}
        ours = {"PYTHONPATH": str(PROJECT), "TMPDIR": str(self._case / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
        return kept | ours | dict(self.job.environ)

    def _said_wrong(self, ran: Ran, lines: list[str], fault: Fault) -> Iterator[str]:
        if ran.code not in self.job.codes:
            yield f"exit code {ran.code}"
        if "Traceback" in ran.output and not (self.job.has_dask and " - distributed." in ran.output):
            yield "traceback"
        if "internal error" in ran.output or "a bug in this program" in ran.output:
            yield "internal error"
        if fault.error == SHORT and ran.code:
            yield "a short write is no error"
        if ran.code != 1 or (self.job.reports and not lines):
            return
        if not 1 <= len(lines) <= self.job.most_lines:
            yield f"{len(lines)} lines say why"
            return
        words = [os.strerror(fault.error), *LEDGER_WORDS]
        if not any(word in lines[0] for word in words):
            yield "the line does not say what the system said"
        if str(self._case) not in lines[0] and fault.kind is not Kind.SOCKET and fault.error != errno.EMFILE:
            yield "the line names no path"

    def _lost(self) -> Iterator[str]:
        """What must hold at once, before anything else runs."""
        ledger = self.scene.collection.ledger
        if ledger.exists() and ledger.stat().st_size:
            try:
                with closing(sqlite3.connect(ledger)) as db:
                    if db.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
                        yield "the ledger is damaged"
                    if not self.job.moves_files and len(_successes(db)) < self._n_stored:
                        yield "a success that is none any more"
                    if _without_bytes(db, self.scene.collection.root) - self._damaged:
                        yield "a success without its bytes"
            except sqlite3.Error as error:
                yield f"the ledger cannot be read: {error}"
        elif "ledger.sqlite" in self._before:
            yield "the ledger is gone"
        if not self.job.holds(self.scene):
            yield "what must hold at any moment does not"
        after = _hashes(self._case)
        for name, digest in self._before.items():
            if after.get(name) != digest and not self._may_change(name, after):
                yield f"lost or changed: {place_of(str(self._case / name), str(self._case))}"

    def _may_change(self, name: str, after: dict[str, bytes]) -> bool:
        if name.startswith(("ledger.sqlite", "tmp/", "cluster/")) or ".tar" in name or fnmatch(name, self.job.removes):
            return True
        if self.job.moves_files and self._before[name] in after.values():
            return True
        return name in after and name.endswith((".csv", ".parquet")) and "." not in Path(name).name[0]

    def _goes_on(self) -> Iterator[str]:
        with self.job.beside(self.scene):
            again = subprocess.run(
                self.command, check=False, capture_output=True, text=True, cwd=self._cwd, env=self._environ(), timeout=PATIENCE_S
            )
        if again.returncode != 0 or not self.job.is_done(self.scene):
            yield f"the same command again: exit code {again.returncode}: {(again.stderr or again.stdout)[-300:]}"
            return
        strangers = {place for place in _places(self._case) - self._leaves if not (self.job.has_dask and place.startswith("tmp/"))}
        if strangers:
            yield f"leftovers: {', '.join(sorted(strangers))}"
        try:
            Collection(self._case, images=self.job.images).call("check", "--sha256")
        except AssertionError as error:
            yield f"check --sha256: {str(error)[:300]}"


def _without_bytes(db: sqlite3.Connection, usual_root: Path) -> set[Stored]:
    """Successes whose bytes are not where the ledger says that they are."""
    stored = _successes(db)
    has_roots = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'checkpoints'").fetchone()  # not in old versions
    known = last_root.known(db.execute) if stored and has_roots else None
    root = usual_root if known is None else Path(known.path)
    return {one for one in stored if _hash_of(root / one[0], *one[1:3]) != one[3]}


def _successes(db: sqlite3.Connection) -> list[Stored]:
    columns = {name for _, name, *_ in db.execute("PRAGMA table_info(images)")}
    if not {"file_offset", "sha256"} <= columns:
        return []
    return db.execute("SELECT file_path, file_offset, file_size, sha256 FROM images WHERE status = 'success'").fetchall()


def _hash_of(path: Path, offset: int | None, size: int) -> str | None:
    try:
        body = path.read_bytes()
    except OSError:
        return None
    return hashlib.sha256(body if offset is None else body[offset : offset + size]).hexdigest()


def _hashes(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()
    }


def _places(folder: Path) -> set[str]:
    """Kinds of files, without marks that the next download sweeps. The second one of a second has a number behind its time."""
    files = (path for path in folder.rglob("*") if path.is_file() and not is_mark(path.name))
    return {place_of(str(path), str(folder)).replace("NTNZ-N", "NTNZ") for path in files}


def all_faults(heard: Heard) -> list[Fault]:
    """Every call that a command has made, with everything that it can fail with."""
    return [fault for kind in Kind for nth in range(1, heard.counts[kind] + 1) for fault in faults_of(kind, nth)]


def some_faults(heard: Heard, n: int, dice: random.Random) -> list[Fault]:
    """A sample: as many places and kinds of calls as possible, so that one that is seldom called comes as often as the others."""
    by_place: dict[tuple[Kind, str], list[int]] = defaultdict(list)
    for kind, nth, place in heard.places:
        by_place[kind, place].append(nth)
    chosen: list[Fault] = []
    while len(chosen) < n:
        groups = sorted(by_place)
        dice.shuffle(groups)
        for kind, place in groups[: n - len(chosen)]:
            chosen.append(dice.choice(faults_of(kind, dice.choice(by_place[kind, place]))))
    return list(dict.fromkeys(chosen))
