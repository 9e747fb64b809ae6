"""`store convert` of the campaign: files into tar files and back, and to another root, in turns that the seed draws."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from tests.repair.trial import Trial, dump, leftovers, must
from tests.support.program import Collection

MINE = "notes/read me.txt"
STORED = """SELECT image_id, file_path, file_offset, file_size, lower(hex(sha256)) FROM image_rows WHERE status = 'success'"""
SMALL_SHARD = "40k"
NEW = "new"
MOVES = (("--to-root", NEW), ("--to-root", NEW, "--remove-old"))
TURNS = {
    "pack": (("--to", "pack"), ("--to", "pack", "--shard-size", SMALL_SHARD), *MOVES, ("--to", "pack", *MOVES[1])),
    "files": (("--to", "files"), *MOVES, ("--to", "files", *MOVES[1])),
}


def current(trial: Trial) -> Collection:
    """The same ledger with the image root that it has at this moment."""
    ((position,),) = trial.collection.rows("SELECT position FROM checkpoints WHERE name = 'root'")
    return replace(trial.collection, images=json.loads(str(position))["path"])


def prepare(trial: Trial) -> None:
    """Somebody's own file at a root that is left must stay there."""
    is_packed = bool(trial.collection.rows("SELECT 1 FROM image_rows WHERE file_offset IS NOT NULL LIMIT 1"))
    words = trial.dice.choice(TURNS["files" if is_packed else "pack"])
    trial.kept |= {"words": words, "variant": " ".join(words)}
    if "--to-root" in words:
        mine = trial.collection.root / MINE
        mine.parent.mkdir()
        mine.write_bytes(b"mine")
    trial.kept["images"] = named(trial.collection)
    trial.kept["old"] = contents(trial.collection.root)


def named(collection: Collection) -> dict[object, object]:
    """The images that rows name, each by the SHA-256 of the bytes that are there."""
    found: dict[object, object] = {}
    for image_id, path, offset, size, sha256 in collection.rows(STORED):
        place = f"image {image_id} at {path}, {offset}"
        must((collection.root / str(path)).is_file(), f"the ledger names what is there: {place} of {collection.root}")
        must(hashlib.sha256(collection.body(path, offset, size)).hexdigest() == sha256, f"it has its bytes: {place}")
        found[image_id] = sha256
    return found


def contents(root: Path) -> dict[str, str]:
    """All files that are not marks of the program."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def after_kill(trial: Trial) -> None:
    dump(trial.ledger)
    must(named(current(trial)) == trial.kept["images"], "no image is lost")
    if "--to-root" in trial.kept["words"]:
        must((trial.collection.root / MINE).read_bytes() == b"mine", "a stranger stays where it is")


def at_end(trial: Trial) -> None:
    after_kill(trial)
    words, collection = trial.kept["words"], current(trial)
    must(collection.root == trial.folder / (NEW if "--to-root" in words else "images"), "it is at the root that was asked for")
    paths = {str(path) for (path,) in collection.rows("SELECT file_path FROM image_rows WHERE status = 'success'")}
    must(contents(collection.root).keys() == paths, "each file is an image's, and nothing is left")
    if "--to" in words:
        is_packed = {offset is not None for (offset,) in collection.rows(f"SELECT file_offset FROM ({STORED})")}
        must(is_packed == {"pack" in words}, "all images are stored as it was asked for")
    if "--to-root" in words:
        left = {MINE: trial.kept["old"][MINE]} if "--remove-old" in words else trial.kept["old"]
        must(contents(trial.collection.root) == left, "the old root has what it should have")
    must(not leftovers(trial.folder), f"nothing is left: {leftovers(trial.folder)}")
    must(not collection.rows("SELECT 1 FROM set_aside LIMIT 1"), "nothing is left to be removed")
    collection.check_invariants()
    collection.call("check", "--sha256", "--no-progress")
