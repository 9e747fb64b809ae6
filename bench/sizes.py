"""How big does a ledger become, and in how many folders do files stand? No network; nothing is downloaded.

`python -m bench.sizes` makes a GBIF folder of rows like real ones (`tests.rows.big`) with names for each record, has the real
`init` take it in with `--labels`, and has the real steward write down that every image is stored (`bench.instant`). It prints the
bytes of the ledger for each image after both, and how many folders the files would stand in. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bench.contest import OUT, PROJECT, machine
from bench.ingest import make

SPECIES = 3000
COLUMNS = ("gbifID", "scientificName", "kingdom", "class", "family", "genus", "species", "countryCode", "basisOfRecord")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--quick", action="store_true", help="a small one that only shows that everything works")
    args = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUT, prefix="sizes-") as name:
        show(*measure(Path(name), 5_000 if args.quick else args.rows))


def measure(folder: Path, rows: int) -> tuple[int, int, int, int]:
    """Distinct images, bytes of the ledger after init and after the download, and folders of files."""
    table, ledger = make(folder / "multimedia.txt", rows), folder / "ledger.sqlite"
    with (folder / "occurrence.txt").open("w", encoding="utf-8") as out:
        out.writelines(occurrences(table))
    run("d4c_images", "init", folder, "--labels", "--no-progress", "--ledger", ledger)
    with closing(sqlite3.connect(ledger)) as db:
        (n,) = db.execute("SELECT count(*) FROM images").fetchone()
    at_first = size(ledger)
    run("bench.instant", ledger, "--images", n)
    with closing(sqlite3.connect(ledger)) as db:
        paths = [path for (path,) in db.execute("SELECT file_path FROM images")]
    folders = {parent for path in paths for parent in Path(path).parents[:-1]}
    return n, at_first, size(ledger), len(folders)


def occurrences(table: Path) -> Iterator[str]:
    """One row for each record, with a name of usual length."""
    yield "\t".join(COLUMNS) + "\n"
    last = None
    with table.open(encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            gbif_id = line.partition("\t")[0]
            if gbif_id != last:
                last, kind = gbif_id, int(gbif_id) % SPECIES
                genus, family = f"Lycorma{kind // 7:04d}", f"Fulgoridae{kind // 70:03d}"
                names = (f"{genus} delicatula (White, 1845)", "Animalia", "Insecta", family, genus, f"{genus} delicatula")
                yield "\t".join((gbif_id, *names, "NO", "HUMAN_OBSERVATION")) + "\n"


def run(module: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True, cwd=PROJECT, stdout=subprocess.DEVNULL)


def size(ledger: Path) -> int:
    """With nobody at it, all is in the one file."""
    return ledger.stat().st_size


def show(n: int, at_first: int, at_last: int, folders: int) -> None:
    figures = {
        "images": n,
        "ledger_bytes_per_image_init": round(at_first / n),
        "ledger_bytes_per_image_download": round(at_last / n),
        "folders_per_image": round(folders / n, 3),
    }
    print(f"{n:,} images: the ledger takes {at_first / n:,.0f} B for each after init, {at_last / n:,.0f} B once all are stored")
    print(f"as files: one for each image, in {folders:,} folders")
    print(machine())
    print(json.dumps({"bench": "sizes", **figures}))


if __name__ == "__main__":
    main()
