"""Names of this program's own files other than images, and the removal of those that a killed run leaves. Knows no ledger.

    <root>/.d4c-images.<token>.<random>.sign    exists while a coordinator runs: its workers look for it
    <root>/.d4c-images.<pid>.probe              exists for a moment: tests whether the root is writable
    .<name>.csv.<pid>.part                      a table being written (export.files)
    .d4c-images.<pid>.lock-probe                exists for a moment, in the folder of the ledger
    .d4c-images.<pid>.clock-probe               exists for a moment, in either: tells the file server's time
    .d4c-images.<pid>.log-probe                 exists for a moment, in the folder of the ledger, with SQLite's files next to it

The token is that of the ledger: collections that share a root never touch each other's files.
"""

from __future__ import annotations

import fcntl
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from d4c_images.errors import StoreError
from d4c_images.stores.partial import PARTS_FOLDER, ImageNumbers, names_in, naming, numbers_of

SIGN = re.compile(r"\.d4c-images\.(?:([0-9a-f]{8})\.)?[0-9a-f]{8,16}\.sign")  # without a token: as early commits wrote it
PROBE = re.compile(r"\.d4c-images\.\d+\.(?:(?:lock-|clock-)?probe|log-probe(?:-wal|-shm|-journal)?)")
DRAFT = re.compile(r"\..+\.(?:csv|parquet)\.\d+\.part")
PART = re.compile(r"\.(\d{1,18}-\d{1,9}(?:-r\d{1,9})?)\.(\d+)\.part")
MARKS_AT_ONCE = 1_000

IsOurs = Callable[[Sequence[ImageNumbers]], Sequence[bool]]


def is_mark(name: str) -> bool:
    """Whether a file of this name is one of ours, and not a partial."""
    return name.startswith(".") and any(kind.fullmatch(name) for kind in (SIGN, PROBE, DRAFT))


@contextmanager
def signed(root: Path, token: str) -> Iterator[str]:
    """The name of a file in the root by which workers on other nodes verify that they see the same root."""
    sign = root / f".d4c-images.{token}.{secrets.token_hex(4)}.sign"
    with naming(sign):
        sign.touch()
    try:
        yield sign.name
    finally:
        _remove(sign)


def sweep(folder: Path, token: str) -> None:
    """Remove the marks that killed runs of this ledger left, in its root or next to it. For its owner, before it creates one."""
    for name in names_in(folder):
        found = SIGN.fullmatch(name)
        if PROBE.fullmatch(name) or (found and found[1] in (None, token)):
            _remove(folder / name)


def sweep_drafts(folder: Path, of: str = "") -> None:
    """Remove half-written tables of killed processes, all or those `of` one name: those on which nobody holds a lock."""
    try:
        names = names_in(folder)
    except StoreError:
        return  # the next write there fails with an error that says why
    for name in names:
        if DRAFT.fullmatch(name) and name.startswith(f".{of}"):
            with suppress(OSError), (folder / name).open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (folder / name).unlink()


def sweep_parts(root: Path, token: str, is_ours: IsOurs) -> None:
    """Remove partials that killed workers left on their way into shards, whatever store is used now.

    `is_ours` says which images this ledger has: partials of programs before the first release are in a folder shared by all
    ledgers. For the ledger's owner, while no worker has anything to do. Partials on their way into files are next to those files
    (`local.sweep_part`).
    """
    for name in names_in(root / PARTS_FOLDER / token):
        if PART.fullmatch(name):
            _remove(root / PARTS_FOLDER / token / name)
    old = [(name, numbers_of(found[1])) for name in names_in(root / PARTS_FOLDER) if (found := PART.fullmatch(name))]
    for at in range(0, len(old), MARKS_AT_ONCE):
        some = old[at : at + MARKS_AT_ONCE]
        for (name, _), goes in zip(some, is_ours([numbers for _, numbers in some]), strict=True):
            if goes:
                _remove(root / PARTS_FOLDER / name)


def _remove(path: Path) -> None:
    """A stray mark is harmless: failing to remove it must not end a run."""
    with suppress(OSError):
        path.unlink()
