"""The commands that the campaign kills, one entry each: what is there before, what must hold after a kill, and what at the end.

A new command is a new entry of `COMMANDS`; the campaign knows nothing else of it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from d4c_images.collection.backup import verify
from tests.repair import converting, mending
from tests.repair.trial import Killed, Trial, dump, leftovers, must

# backup -----------------------------------------------------------------------------------------------------------------------

KEEP = 2


def prepare_backup(trial: Trial) -> None:
    trial.beside.mkdir()
    trial.kept["ledger"] = dump(trial.ledger)
    for _ in range(trial.dice.randrange(KEEP + 2)):
        trial.collection.call("backup", trial.beside)


def named_backups_are_whole(trial: Trial) -> None:
    for path in trial.beside.glob("*.sqlite"):
        must(verify(path, lambda step: None)[1] is not None, f"{path.name} has a note")
        must(dump(path) == trial.kept["ledger"], f"{path.name} is the ledger of its moment")
    must(dump(trial.ledger) == trial.kept["ledger"], "the ledger is unchanged")


def backups_at_end(trial: Trial) -> None:
    named_backups_are_whole(trial)
    named = sorted(path.name for path in trial.beside.glob("*.sqlite"))
    must(1 <= len(named) <= KEEP, f"{KEEP} backups are kept: {named}")
    others = {path.name for path in trial.beside.iterdir()} - set(named) - {f"{name}.sha256" for name in named}
    must(not others, f"nothing is left: {sorted(others)}")


# restore ----------------------------------------------------------------------------------------------------------------------


def prepare_restore(trial: Trial) -> None:
    trial.collection.call("backup", trial.beside)
    trial.kept["backup"] = dump(trial.beside)
    trial.collection.sql("INSERT INTO texts (text) VALUES ('written after the backup')")
    trial.kept["old"] = dump(trial.ledger)
    if trial.dice.random() < 0.3:
        trial.ledger.unlink()
        for name in ("-wal", "-shm"):
            trial.ledger.with_name(f"{trial.ledger.name}{name}").write_bytes(b"of a ledger that is lost")
        trial.kept["is lost"] = "yes"


def one_ledger_or_the_other(trial: Trial) -> None:
    if trial.ledger.exists():
        must(dump(trial.ledger) in (trial.kept["backup"], trial.kept["old"]), "the ledger is the old one or the new one")
    else:
        must("is lost" in trial.kept, "there is a ledger under the name at every moment")
    if "is lost" not in trial.kept:
        must(trial.kept["old"] in [dump(path) for path in (trial.ledger, *kept_ledgers(trial))], "the old ledger is there")


def restored_at_end(trial: Trial) -> None:
    one_ledger_or_the_other(trial)
    must(dump(trial.ledger) == trial.kept["backup"], "the ledger is the backup")
    must(all(path.stat().st_nlink == 1 for path in (trial.ledger, *kept_ledgers(trial))), "no ledger has two names")
    must(not leftovers(trial.folder), f"nothing is left: {leftovers(trial.folder)}")


def kept_ledgers(trial: Trial) -> list[Path]:
    return [path for path in trial.folder.glob("*.replaced-*") if not path.name.endswith(("-wal", "-shm", "-journal"))]


# unpack -----------------------------------------------------------------------------------------------------------------------


def prepare_unpack(trial: Trial) -> None:
    trial.kept["ledger"] = dump(trial.ledger)
    trial.kept["images"] = tree(trial.folder / "images")


def copies_are_whole(trial: Trial) -> None:
    hashes = {sha256 for (sha256,) in trial.collection.rows("SELECT sha256 FROM images WHERE status = 'success'")}
    for path in trial.beside.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            must(hashlib.sha256(path.read_bytes()).hexdigest() in hashes, f"{path.name} is whole")
    must(dump(trial.ledger) == trial.kept["ledger"], "the ledger is unchanged")
    must(tree(trial.folder / "images") == trial.kept["images"], "the collection is unchanged")


def unpacked_at_end(trial: Trial) -> None:
    copies_are_whole(trial)
    wanted = sorted(str(sha256) for (sha256,) in trial.collection.rows("SELECT sha256 FROM images WHERE status = 'success'"))
    found = [path for path in trial.beside.rglob("*") if path.is_file() and not path.name.startswith(".")]
    must(sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in found) == wanted, "every image is there, once")
    must(not leftovers(trial.beside), f"nothing is left: {leftovers(trial.beside)}")


def tree(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in files)).hexdigest()


COMMANDS = (
    Killed(
        "backup",
        prepare_backup,
        lambda trial: ("backup", str(trial.beside), "--keep", str(KEEP), "--no-progress"),
        named_backups_are_whole,
        backups_at_end,
    ),
    Killed(
        "restore",
        prepare_restore,
        lambda trial: ("restore", str(trial.beside), "--replace", "--no-progress"),
        one_ledger_or_the_other,
        restored_at_end,
    ),
    Killed(
        "unpack",
        prepare_unpack,
        lambda trial: ("unpack", "--to", str(trial.beside), "--no-progress"),
        copies_are_whole,
        unpacked_at_end,
        with_root=True,
    ),
    Killed(
        "check --repair",
        mending.prepare,
        lambda trial: ("check", "--repair", "--yes", "--sha256", "--missing-root-is-lost", "--processes", "1", "--no-progress"),
        mending.after_kill,
        mending.at_end,
        with_root=True,
        module="tests.repair.in_small_chunks",
    ),
    Killed(
        "store convert",
        converting.prepare,
        lambda trial: ("store", "convert", *trial.kept["words"], "--no-progress"),
        converting.after_kill,
        converting.at_end,
        with_root=True,
        module="tests.repair.in_small_chunks",
    ),
)
