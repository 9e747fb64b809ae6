"""Damage of any collection of the campaign, each to images that the seed draws, and what a repair must make of it.

Those of `tests/collection/test_repair.py` are for one small collection and its known names; these are for what was downloaded.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from PIL import Image

from d4c_images.model import Blob
from d4c_images.stores import Keep
from d4c_images.stores.local import folder_of
from d4c_images.stores.pack import PackSettings, PackStore
from tests.support.program import Collection, multimedia

STORED = """SELECT image_id, gbif_id, image_no, file_path, file_offset, file_size, lower(hex(sha256)) FROM image_rows
            WHERE status = 'success' ORDER BY image_id"""
OPEN_ID, N_OPEN = 650_000_000, 4
LEASE = 99


@dataclass(frozen=True, slots=True)
class Stored:
    image_id: int
    gbif_id: int
    image_no: int
    path: str
    offset: int | None
    size: int
    sha256: str


@dataclass(slots=True)
class Harm:
    """What was done to a collection. `healthy` and `adoptable`: SHA-256 of bytes that are there, whatever their name."""

    collection: Collection
    dice: random.Random
    healthy: dict[int, tuple[str, tuple[str, int | None, int]]] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)  # healthy, but not where the ledger says
    lost: set[int] = field(default_factory=set)
    adoptable: dict[int, str] = field(default_factory=dict)
    strangers: dict[str, str] = field(default_factory=dict)  # by path
    may_go: set[str] = field(default_factory=set)  # SHA-256 of leftovers
    victims: list[Stored] = field(default_factory=list)
    open_rows: list[tuple[int, int, int]] = field(default_factory=list)  # image_id, gbif_id, host_id
    shades: count[int] = field(default_factory=lambda: count(20))

    @property
    def root(self) -> Path:
        return self.collection.root

    def draw(self, n: int) -> list[Damage]:
        """Different damages that can be together."""
        kinds = [*BOTH, *(PACKED if self.is_packed else FILED)]
        chosen = sorted(self.dice.sample(kinds, n), key=kinds.index)  # what damages the end of a shard comes last
        if shard_gone in chosen:
            chosen = [one for one in chosen if one in BOTH] + [shard_gone]
        if sample_of_an_open_row in chosen and shard_cut_off in chosen:
            chosen.remove(shard_cut_off)  # it would cut off that sample
        return chosen

    def do(self, damages: Sequence[Damage]) -> list[str]:
        """Returns their names."""
        for damage in damages:
            damage(self)
        return [damage.__name__ for damage in damages]

    @property
    def is_packed(self) -> bool:
        return self.victims[0].offset is not None

    def __post_init__(self) -> None:
        rows = [(OPEN_ID + n * 1_000, f"http://a.example.org/open/{n}.jpg") for n in range(N_OPEN)]
        self.collection.load(multimedia(self.collection.folder / "more.txt", rows))
        self.victims = [Stored(*row) for row in self.collection.rows(STORED)]  # type: ignore[arg-type]
        self.healthy = {one.image_id: (one.sha256, (one.path, one.offset, one.size)) for one in self.victims}
        waiting = self.collection.rows("SELECT image_id, gbif_id, host_id FROM image_rows WHERE gbif_id < ?", OPEN_ID + 1_000_000)
        self.open_rows = [row for row in waiting if int(str(row[1])) >= OPEN_ID]  # type: ignore[misc]
        self.dice.shuffle(self.victims)

    def take(self) -> Stored:
        """A stored image that nobody has harmed yet."""
        one = self.victims.pop()
        self.touched.add(one.image_id)
        return one

    def lose(self, one: Stored) -> None:
        self.healthy.pop(one.image_id, None)
        self.lost.add(one.image_id)

    def write(self, path: str, body: bytes) -> str:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(body)
        return hashlib.sha256(body).hexdigest()

    def picture(self) -> bytes:
        out = io.BytesIO()
        shade = next(self.shades)
        Image.new("RGB", (40, 30), (shade, 255 - shade, 7)).save(out, "JPEG")
        return out.getvalue()


def change(path: Path, at: int, body: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(body)


def body_of(harm: Harm, one: Stored) -> bytes:
    return harm.collection.body(one.path, one.offset, one.size)


# Any collection


def stranger(harm: Harm) -> None:
    harm.strangers["notes/read me.txt"] = harm.write("notes/read me.txt", b"mine")


def image_of_an_unknown_record(harm: Harm) -> None:
    path = f"{folder_of(OPEN_ID - 5)}/{OPEN_ID - 5}-00.jpg"
    harm.strangers[path] = harm.write(path, harm.picture())


def leftover(harm: Harm) -> None:
    one = harm.open_rows[0][1]
    harm.may_go.add(harm.write(f"{folder_of(one)}/.{one}-00.4.part", b"half"))


def orphan(harm: Harm) -> None:
    image_id, gbif_id, _ = harm.open_rows.pop()
    harm.adoptable[image_id] = harm.write(f"{folder_of(gbif_id)}/{gbif_id}-00.jpg", harm.picture())


def ledger_of_yesterday(harm: Harm) -> None:
    """It does not know any of today's files."""
    while len(harm.open_rows) > 1:
        orphan(harm)


def wrong_counter(harm: Harm) -> None:
    harm.collection.sql("UPDATE tallies SET n = n + 1 WHERE status = 'success'")


def wrong_record(harm: Harm) -> None:
    harm.collection.sql(f"UPDATE gbif_ids SET n_success = 0 WHERE gbif_id = {harm.victims[0].gbif_id}")


def listed_wrongly(harm: Harm) -> None:
    harm.collection.sql("INSERT OR REPLACE INTO untried VALUES (1, 0, X'0100')")


def lost_lease(harm: Harm) -> None:
    image_id, _, host_id = harm.open_rows[0]
    harm.collection.sql(f"INSERT INTO lent VALUES ({image_id}, {LEASE})")
    harm.collection.sql(f"UPDATE tallies SET n = n - 1 WHERE status = 'pending' AND host_id = {host_id}")
    tally = f"INSERT INTO tallies VALUES ({host_id}, 'leased', '', 1, 0, 0)"
    harm.collection.sql(f"{tally} ON CONFLICT DO UPDATE SET n = n + 1")  # a download leaves a row with 0


# Files


def bit_flip(harm: Harm) -> None:
    one = harm.take()
    at = harm.dice.randrange(one.size)
    change(harm.root / one.path, at, bytes([body_of(harm, one)[at] ^ 1 << harm.dice.randrange(8)]))
    harm.lose(one)


def zero_run(harm: Harm) -> None:
    one = harm.take()
    change(harm.root / one.path, one.size // 2, bytes(one.size - one.size // 2))
    harm.lose(one)


def truncated(harm: Harm) -> None:
    one = harm.take()
    os.truncate(harm.root / one.path, harm.dice.randrange(one.size))
    harm.lose(one)


def gone(harm: Harm) -> None:
    one = harm.take()
    (harm.root / one.path).unlink()
    harm.lose(one)


def swapped(harm: Harm) -> None:
    one, other = harm.root / harm.take().path, harm.root / harm.take().path
    one.rename(harm.root / "x")
    other.rename(one)
    (harm.root / "x").rename(other)


def renamed(harm: Harm) -> None:
    path = harm.root / harm.take().path
    path.rename(path.with_name("IMG_0001.jpg"))


def moved_to_another_folder(harm: Harm) -> None:
    path = harm.root / harm.take().path
    (harm.root / "old").mkdir()
    path.rename(harm.root / "old" / path.name)


def no_file_name(harm: Harm) -> None:
    """Such an image is queued before its file is adopted."""
    one = harm.take()
    harm.collection.sql(f"UPDATE image_rows SET file_path = NULL WHERE image_id = {one.image_id}")
    harm.adoptable[one.image_id] = one.sha256
    del harm.healthy[one.image_id]


# Tar files


def sample_of_an_open_row(harm: Harm) -> None:
    ((token,),) = harm.collection.rows("SELECT token FROM store")
    image_id, gbif_id, _ = harm.open_rows.pop()
    body = harm.picture()
    store = PackStore(harm.root, PackSettings(str(token)))
    partial = store.begin(gbif_id, 0, 1)
    partial.write(body)
    sha256 = hashlib.sha256(body)
    store.put([Keep(partial, "jpg", blob=Blob("", len(body), sha256.digest(), "image/jpeg", 40, 30))])
    store.close()
    harm.adoptable[image_id] = sha256.hexdigest()


def flip_in_shard(harm: Harm) -> None:
    one = harm.take()
    at = harm.dice.randrange(one.size)
    change(harm.root / one.path, (one.offset or 0) + at, bytes([body_of(harm, one)[at] ^ 1 << harm.dice.randrange(8)]))
    harm.lose(one)


def wrong_offset(harm: Harm) -> None:
    harm.collection.sql(f"UPDATE image_rows SET file_offset = file_offset + 512 WHERE image_id = {harm.take().image_id}")


def swapped_offsets(harm: Harm) -> None:
    one, other = harm.take(), harm.take()
    for image_id, at in ((one.image_id, other), (other.image_id, one)):
        harm.collection.sql(f"UPDATE image_rows SET file_path = '{at.path}', file_offset = {at.offset} WHERE image_id = {image_id}")


def torn_shard(harm: Harm) -> None:
    last = max(harm.victims, key=lambda one: (one.path, one.offset))
    with (harm.root / last.path).open("ab") as file:
        file.write(b"what a killed worker leaves")


def shard_cut_off(harm: Harm) -> None:
    """In the middle of the last image."""
    image_id, (_, (path, offset, size)) = max(harm.healthy.items(), key=lambda item: (item[1][1][0], item[1][1][1] or 0))
    os.truncate(harm.root / path, (offset or 0) + size // 2)
    harm.lost.add(image_id)
    del harm.healthy[image_id]


def shard_gone(harm: Harm) -> None:
    path = harm.victims[0].path
    (harm.root / path).unlink()
    for image_id in [image_id for image_id, (_, place) in harm.healthy.items() if place[0] == path]:
        harm.healthy.pop(image_id)
        harm.lost.add(image_id)


Damage = Callable[[Harm], None]
BOTH: tuple[Damage, ...] = (
    stranger, image_of_an_unknown_record, leftover, orphan, ledger_of_yesterday, wrong_counter, wrong_record, listed_wrongly,
    lost_lease,
)  # fmt: skip
FILED: tuple[Damage, ...] = (bit_flip, zero_run, truncated, gone, swapped, renamed, moved_to_another_folder, no_file_name)
PACKED: tuple[Damage, ...] = (
    sample_of_an_open_row, flip_in_shard, wrong_offset, swapped_offsets, torn_shard, shard_cut_off, shard_gone,
)  # fmt: skip
