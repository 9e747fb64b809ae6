"""Skewed tables at two sizes: what each command does may grow no faster than the rows, and its memory hardly at all.

Everything runs in this process and is counted, not timed (`tests.support.counting`). What a command does on a tiny table of the
same shape is taken off first. `KNOWN_BAD` lists what does not hold yet, with the fault that says so; a row that has become good
must be struck out.
"""

from __future__ import annotations

import contextlib
import io
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bench.instant_worker import outcome
from bench.shape_rows import SHAPES, Shape
from d4c_images import cli
from d4c_images.commands import presets
from d4c_images.ingest.ingest import ingest, ingest_labels
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.writing import open_and_own
from d4c_images.model import Orders, Report
from d4c_images.settings import Settings
from d4c_images.sources import open_labels, open_media
from d4c_images.steward.steward import Steward
from d4c_images.steward.terms import Event, Joined, Plan, Reported, Watcher
from tests.support.counting import Work, work_of
from tests.support.sweep import thinned

MOST_GROWTH = 2.3
MOST_MEMORY = 1.25  # of Python's objects, for shapes whose rows are large; with others nothing is full yet at these sizes
LEAST = Work(steps=20_000, statements=200, calls=5_000)
"""Less than this beyond the start-up says nothing of growth."""
TINY = 4

ROWS = {
    "big_cells": 8, "big_cell": 8, "long_urls": 40, "group": 60, "hosts": 150, "sizes_of_an_image": 150, "sizes_in_a_record": 150,
    "urls_in_a_cell": 1_000, "publisher_record": 600, "several_urls": 80,
}  # fmt: skip
DEFAULT_ROWS = 400
FEW_ROWS = 60
FAST = ("one_record", "one_image", "chain", "late_variants")
BOUNDED = ("big_cells", "big_cell", "long_urls")


KNOWN_BAD: dict[tuple[str, str], str] = {}
KNOWN_BAD_FEW: dict[tuple[str, str], str] = {}
"""Likewise, of those that SQLite's steps show at `FEW_ROWS` already."""


class Instant:
    """A runner whose worker has done everything at once; its clock goes on only while there is nothing to do."""

    def __init__(self) -> None:
        self.now = time.time()
        self._events: list[Event] = [Joined(0)]

    def clock(self) -> float:
        return self.now

    def send(self, worker: int, orders: Orders) -> None:
        for turn in orders.turns:
            self._events.append(Reported(0, Report(turn.lease_id, tuple(map(outcome, turn.claims)), finished=True)))

    def receive(self, timeout_s: float) -> list[Event]:
        events, self._events = self._events, []
        if not events:
            self.now += 0.5
        return events

    def kill(self, worker: int) -> None: ...

    def close(self) -> None: ...


def own(path: Path, do: Callable[..., object]) -> None:
    with open_and_own(path, "test", owner.this_process(), time.time, print, disk=Settings().ledger_disk, create=True) as ledger:
        do(ledger)


def take_in(path: Path, source: Path) -> None:
    def do(ledger: object) -> None:
        for table in open_media(source):
            ingest(ledger, table, None, lambda _: None, time.time, in_process=True)  # type: ignore[arg-type]

    own(path, do)


def label(path: Path, source: Path) -> None:
    own(path, lambda ledger: ingest_labels(ledger, open_labels(source), lambda _: None, time.time))


def download(path: Path) -> None:
    runner = Instant()
    plan = Plan(presets.host_table(None), max_idle_s=5.0)
    own(path, lambda ledger: Steward(ledger, runner, plan, Watcher(), runner.clock, lambda: False).run())


class Failed(Exception):
    """A command ended with an error."""


def program(*words: object) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.main([*map(str, words)])
    if code not in (0, 1) and "no host" not in said.getvalue():
        raise Failed(said.getvalue())


def commands(shape: Shape, folder: Path, n: int, *, python: bool = True) -> dict[str, Work]:
    """What each command does at one size."""
    folder.mkdir()
    ledger, source, root = folder / "ledger.sqlite", shape.write(folder, n), folder / "images"
    root.mkdir()
    where = ("--ledger", ledger)
    counted = partial(work_of, python=python)
    done: dict[str, Work] = {}

    def count(name: str, do: Callable[[], object]) -> None:
        try:
            done[name] = counted(do)
        except (Failed, sqlite3.Error) as error:
            done[name] = Work(failure=repr(error))

    count("init", lambda: take_in(ledger, source))
    if shape.labels is not None:
        count("labels", lambda: label(ledger, source))
    count("download", lambda: download(ledger))
    later = shape.write_later(folder, n)
    count("init again", lambda: take_in(ledger, later))
    for name, words in {
        "status": ("status", "--json"),
        "check": ("check", "--root", root),
        "export": ("export", folder / "list.csv"),
        "placeholders": ("placeholders", "--root", root),
        "finalize": ("init", "--finalize-only"),
        "hosts set": ("hosts", "set", "*", "connections=1"),
        "hosts": ("hosts", "--all", "--json"),
    }.items():
        make_files(ledger, root, name)
        count(name, partial(program, *words, *where))
    return done


def make_files(ledger: Path, root: Path, name: str) -> None:
    """Empty files for `check`, which has to find the row of each: of no use is what they hold."""
    if name != "check":
        return
    db = sqlite3.connect(ledger)
    for (path,) in db.execute("SELECT file_path FROM image_rows WHERE status = 'success'"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    db.close()


def too_much(tiny: Work, small: Work, large: Work, *, bounded: bool) -> list[str]:
    """What grows too fast between the two sizes."""
    found = [large.failure] if large.failure else []
    for what in ("steps", "statements", "calls"):
        base, least = getattr(tiny, what), getattr(LEAST, what)
        at_n, at_2n = getattr(small, what) - base, getattr(large, what) - base
        if at_2n > max(least, MOST_GROWTH * max(at_n, least / 2)):
            found.append(f"{what}: {at_n:,} and {at_2n:,} beyond {base:,}")
    if bounded and large.peak_bytes > MOST_MEMORY * small.peak_bytes + 1_000_000:
        found.append(f"memory: {small.peak_bytes:,} and {large.peak_bytes:,} bytes")
    return found


def bad(shape: Shape, folder: Path, n: int, *, python: bool = True) -> dict[str, list[str]]:
    """Commands that do too much, with what."""
    if python:
        commands(shape, folder / "first", TINY)  # what is done once in a process
    tiny, small, large = (commands(shape, folder / str(size), size, python=python) for size in (TINY, n, 2 * n))
    bounded = python and shape.name in BOUNDED
    found = {name: too_much(tiny[name], small[name], large[name], bounded=bounded) for name in large}
    return {name: what for name, what in found.items() if what}


def hold(shape: Shape, found: dict[str, list[str]], known: dict[tuple[str, str], str]) -> None:
    expected = {command for name, command in known if name == shape.name}
    assert not {name: what for name, what in found.items() if name not in expected}, "this grows faster than its rows"
    assert not expected - found.keys(), "these are good now: strike them from the list"


@pytest.mark.parametrize("name", thinned(FAST, 4))
def test_sqlite_does_no_more_for_each_row_where_there_are_twice_as_many(name: str, tmp_path: Path) -> None:
    shape = SHAPES[name]
    hold(shape, bad(shape, tmp_path, FEW_ROWS, python=False), KNOWN_BAD_FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SHAPES.keys() - {"small_inits"}))
def test_work_grows_no_faster_than_the_rows(name: str, tmp_path: Path) -> None:
    shape = SHAPES[name]
    hold(shape, bad(shape, tmp_path, ROWS.get(name, DEFAULT_ROWS)), KNOWN_BAD)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_shape_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        SHAPES[name].write(folder, 4)
        SHAPES[name].write_later(folder, 4)
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {path.name: path.read_bytes() for path in other.iterdir()}
