"""Cost of an image in each store: inodes, time until it is durable, time to read it back. One process, no network.

    python -m bench.stores [--images 10000] [--size 50000] [--root FOLDER] [--quick]

gbifIDs lie as densely as 50 M of them do among the 4 * 10^9 numbers of GBIF. The stores take turns, so that a disk that is slow
for a while is slow for both. Prints a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from d4c_images.stores import Keep, Place, Store
from d4c_images.stores.pack import PackSettings, open_store
from d4c_images.stores.reading import pieces
from d4c_images.worker.threads import PUTS_AT_ONCE

FIRST_ID = 2_000_000_000
IDS_PER_IMAGE = 80
ROUNDS = 10


@dataclass(slots=True)
class Contestant:
    name: str
    root: Path
    store: Store
    put_s: float = 0.0
    read_s: float = 0.0
    places: list[Place] = field(default_factory=list)

    def put(self, gbif_ids: list[int], body: bytes) -> None:
        start = time.perf_counter()
        for at in range(0, len(gbif_ids), PUTS_AT_ONCE):
            keeps = []
            for gbif_id in gbif_ids[at : at + PUTS_AT_ONCE]:
                partial = self.store.begin(gbif_id, 0, 1)
                partial.write(body)
                keeps.append(Keep(partial, "jpg"))
            self.places += [place for place in self.store.put(keeps) if place is not None]
        self.put_s += time.perf_counter() - start

    def read(self, body: bytes) -> None:
        start = time.perf_counter()
        for place in random.Random(2).sample(self.places, len(self.places)):
            assert b"".join(pieces(self.root, place, len(body))) == body
        self.read_s += time.perf_counter() - start

    def inodes(self) -> int:
        return sum(1 for _ in self.root.rglob("*"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="in each store")
    parser.add_argument("--size", type=int, default=50_000, help="bytes of an image")
    parser.add_argument("--root", type=Path, help="a folder on the disk in question; by default the system's temporary one")
    parser.add_argument("--quick", action="store_true", help="few images, to see that it works")
    args = parser.parse_args()
    n = 320 if args.quick else args.images
    with tempfile.TemporaryDirectory(dir=args.root) as folder:
        print(json.dumps({"bench": "stores", "images": n} | race(Path(folder), n, args.size)))


def race(folder: Path, n: int, size: int) -> dict[str, float]:
    contestants = []
    for name, packing in (("files", None), ("pack", PackSettings("00c0ffee"))):
        root = folder / name
        root.mkdir()
        contestants.append(Contestant(name, root, open_store(root, packing)))
    gbif_ids, body = random.Random(1).sample(range(FIRST_ID, FIRST_ID + IDS_PER_IMAGE * n), n), os.urandom(size)
    for number in range(ROUNDS):
        for one in contestants:
            one.put(gbif_ids[number::ROUNDS], body)
    result: dict[str, float] = {}
    print(f"{'store':<8}{'inodes per 10,000':>20}{'put per s':>12}{'read per s':>12}")
    for one in contestants:
        one.read(body)
        one.store.close()
        figures = one.inodes() * 10_000 / n, n / one.put_s, n / one.read_s
        print(f"{one.name:<8}{figures[0]:>20,.0f}{figures[1]:>12,.0f}{figures[2]:>12,.0f}")
        for what, figure in zip(("inodes_per_10k", "put_per_s", "read_per_s"), figures, strict=True):
            result[f"{what}_{one.name}"] = round(figure)
    return result | {"put_ratio_pack_to_files": round(result["put_per_s_pack"] / result["put_per_s_files"], 2)}


if __name__ == "__main__":
    main()
