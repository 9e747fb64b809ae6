"""`check --repair` of the campaign: what a seed has damaged, and what is left of each image, stranger and row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.repair.damages import Damage, Harm
from tests.repair.trial import Trial, dump, leftovers, must
from tests.support.program import Collection

ROWS = "SELECT image_id, status, file_path, file_offset, file_size, lower(hex(sha256)), error_type FROM image_rows"
MOST_DAMAGES = 6


def prepare(trial: Trial, chosen: Sequence[Damage] = ()) -> None:
    """`chosen`: instead of some that the seed draws."""
    harm = Harm(trial.collection, trial.dice)
    done = harm.do(chosen or harm.draw(trial.dice.randint(2, MOST_DAMAGES)))
    trial.kept |= {"variant": " ".join(done), "harm": harm}
    trial.kept["bytes"] = hashes_of_files(trial.collection.root) - harm.may_go


def rows(collection: Collection) -> dict[Any, Any]:
    return {image_id: row for image_id, *row in collection.rows(ROWS)}


def hashes_of_files(root: Path) -> set[str]:
    """Of everything that is not a tar file, hidden folders included."""
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".tar")
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def is_at(collection: Collection, place: tuple[Any, Any, Any], sha256: str) -> bool:
    path, offset, size = place
    if path is None or not (collection.root / path).is_file():
        return False
    body = collection.body(path, offset, size)
    return len(body) == size and hashlib.sha256(body).hexdigest() == sha256


def after_kill(trial: Trial) -> None:
    """The ledger is sound, each healthy image is in it and on disk, and no stranger or damaged file was deleted."""
    collection, harm = trial.collection, trial.kept["harm"]
    dump(trial.ledger)
    on_disk, now = hashes_of_files(collection.root), rows(collection)
    named = {row[4] for row in now.values() if row[0] == "success" and is_at(collection, row[1:4], row[4])}
    for image_id, (sha256, place) in harm.healthy.items():
        status, *at, of_row, _ = now[image_id]
        must((status, of_row) == ("success", sha256), f"the healthy image {image_id} is in the ledger, not {status}")
        must(sha256 in on_disk or sha256 in named or is_at(collection, place, sha256), f"image {image_id} is on disk")
        if image_id not in harm.touched:
            must(is_at(collection, tuple(at), sha256), f"image {image_id}, which nobody harmed, is where its row says")
    for image_id in harm.lost:
        must(now[image_id][0] in ("success", "pending"), f"the lost image {image_id} is queued or not yet")
    for image_id, sha256 in harm.adoptable.items():
        status, of_row = now[image_id][0], now[image_id][4]
        must((status, of_row) in (("success", sha256), ("pending", "")), f"image {image_id} is adopted, or not yet")
    gone = trial.kept["bytes"] - on_disk - named
    must(not gone, f"no stranger, image or damaged file is deleted: {gone}")


def at_end(trial: Trial) -> None:
    after_kill(trial)
    collection, harm = trial.collection, trial.kept["harm"]
    now = rows(collection)
    for image_id, (sha256, _) in harm.healthy.items():
        must(is_at(collection, now[image_id][1:4], sha256), f"the healthy image {image_id} is where its row says")
    for image_id in harm.lost:
        must(now[image_id][0] == "pending", f"the lost image {image_id} waits in the queue, not {now[image_id][0]}")
    for image_id, sha256 in harm.adoptable.items():
        must(is_at(collection, now[image_id][1:4], sha256), f"the image {image_id} is adopted")
        must(now[image_id][5] == "adopted", f"the image {image_id} is flagged")
    for path, sha256 in harm.strangers.items():
        moved = collection.root / ".strangers" / path
        must(moved.is_file() and hashlib.sha256(moved.read_bytes()).hexdigest() == sha256, f"{path} is in .strangers")
    must(not leftovers(collection.root), f"nothing is left: {leftovers(collection.root)}")
    must(not trial.ledger.with_name(f"{trial.ledger.name}.check.repair").exists(), "the list of findings is gone")
    collection.check_invariants()
    collection.call("check", "--sha256", "--no-progress")
