"""Which image root a ledger used last, and a sample of what should be in it. Looks at no file."""

from __future__ import annotations

import json
from typing import NamedTuple

from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.rows.extent import Ask, top_image

LAST_ROOT = "SELECT position FROM checkpoints WHERE name = 'root'"
NOTE_ROOT = """
INSERT INTO checkpoints (name, run_id, position) VALUES ('root', ?, ?)
ON CONFLICT (name) DO UPDATE SET run_id = excluded.run_id, position = excluded.position
"""
STORED_SAMPLE = """
SELECT file_path FROM image_rows WHERE image_id > ? AND image_id <= ? AND status = 'success' AND file_path IS NOT NULL LIMIT ?
"""
WINDOWS, WINDOW_ROWS, WINDOW_SAMPLES = 32, 1_000, 2


class KnownRoot(NamedTuple):
    path: str
    inode: int  # of the folder; the same on all nodes that share its file system, different if that is not mounted
    code: str  # with which an operator confirms a new root
    left: tuple[int, ...] = ()  # inodes of folders that were replaced on purpose


def known(ask: Ask) -> KnownRoot | None:
    """None if no run has noted any: the ledger is new, or of an earlier version."""
    row = next(iter(ask(LAST_ROOT, ())), None)
    if row is None:
        return None
    values = json.loads(row[0])
    return KnownRoot(values["path"], values["inode"], values["code"], tuple(values["left"]))


def note(ledger: Ledger, root: KnownRoot) -> None:
    with ledger.transaction() as db:
        db.execute(NOTE_ROOT, (ledger.run_id or 0, json.dumps(root._asdict())))


def sample(ledger: Ledger) -> list[str]:
    """Paths of some stored images, spread over the ledger; looks at all rows of a small one and at a fixed number of a big one."""
    top = top_image(ledger.connection.execute)
    step = max(1, -(-top // WINDOWS))
    paths: list[str] = []
    for low in range(0, top, step):
        window = (low, low + min(step, WINDOW_ROWS), WINDOW_SAMPLES)
        paths += [path for (path,) in ledger.connection.execute(STORED_SAMPLE, window)]
    return paths
