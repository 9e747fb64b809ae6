"""How large does a ledger become, and how many folders do the files take? No network; nothing is downloaded.

`python -m bench.sizes` makes a GBIF folder of rows like real ones (`tests.rows.big`) with an occurrence.txt that has all that
`--labels` takes, has the real `init` take in the images and then the labels, and has the real steward write down that every image
is stored (`bench.steward_only`). It prints the bytes of the ledger for each image and of labels for each record, with the budget of
these, and how many folders the files would stand in. The last line is one JSON object.
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
from dataclasses import dataclass
from pathlib import Path

from bench.common import OUT, PROJECT, machine
from bench.ingest import make

SPECIES = 3000
LABEL_BUDGET_BYTES = 160  # of a record (docs/adr/0054)
DATASETS = (  # dataset, institution, collection, kind of record
    ("50c9509d-22c7-4a22-a47d-8c48425ef4a7", "iNaturalist", "Observations", "HUMAN_OBSERVATION"),
    ("8a863029-f435-446a-821e-275f4f641165", "Observation.org", "", "HUMAN_OBSERVATION"),
    ("b5cdf794-8fa4-4a85-8b26-755d087bf531", "MNHN", "P", "PRESERVED_SPECIMEN"),
    ("d415c253-4d61-4459-9d25-4015b9084fb0", "NYBG", "NY", "PRESERVED_SPECIMEN"),
)
COUNTRIES = ("US", "GB", "FR", "DE", "BR", "MX", "ZA", "AU", "IN", "CN")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--quick", action="store_true", help="a small one that only shows that everything works")
    args = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUT, prefix="sizes-") as name:
        show(measure(Path(name), 5_000 if args.quick else args.rows))


@dataclass(frozen=True, slots=True)
class Sizes:
    images: int
    records: int
    media_bytes: int  # of the ledger after init
    labelled_bytes: int  # with labels
    stored_bytes: int  # once all images are stored
    folders: int

    @property
    def label_bytes(self) -> int:
        """Of a record."""
        return round((self.labelled_bytes - self.media_bytes) / self.records)


def measure(folder: Path, rows: int) -> Sizes:
    table, ledger = make(folder / "multimedia.txt", rows), folder / "ledger.sqlite"
    with (folder / "occurrence.txt").open("w", encoding="utf-8") as out:
        out.writelines(occurrences(table))
    run("d4c_images", "init", folder, "--no-progress", "--ledger", ledger)
    media_bytes = size(ledger)
    run("d4c_images", "init", folder, "--labels", "--no-progress", "--ledger", ledger)
    labelled_bytes = size(ledger)
    with closing(sqlite3.connect(ledger)) as db:
        n_images, n_records = db.execute("SELECT (SELECT count(*) FROM images), (SELECT count(*) FROM labels)").fetchone()
    run("bench.steward_only", ledger, "--images", n_images)
    with closing(sqlite3.connect(ledger)) as db:
        paths = [path for (path,) in db.execute("SELECT file_path FROM images")]
    folders = {parent for path in paths for parent in Path(path).parents[:-1]}
    return Sizes(n_images, n_records, media_bytes, labelled_bytes, size(ledger), len(folders))


def occurrences(table: Path) -> Iterator[str]:
    """One row for each record, as today's downloads have them: three of five are somebody's observations."""
    last, header = None, None
    with table.open(encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            gbif_id = line.partition("\t")[0]
            if gbif_id != last:
                last, cells = gbif_id, occurrence(int(gbif_id))
                if header is None:
                    header = "\t".join(["gbifID", *cells]) + "\n"
                    yield header
                yield "\t".join([gbif_id, *cells.values()]) + "\n"


def occurrence(gbif_id: int) -> dict[str, str]:
    kind, number = gbif_id % SPECIES, gbif_id * 7919 % 400_000_000
    which = (0, 0, 1, 2, 3)[gbif_id % 5]
    dataset, institution, collection, basis = DATASETS[which]
    is_observation = which < 2
    genus, family = f"Lycorma{kind // 7:04d}", f"Fulgoridae{kind // 70:03d}"
    higher = ("N", "RT", "H6", "3ZT", f"{kind // 70:X}F", f"{kind // 7:X}G", f"{kind:X}S")
    ranks = ("kingdomKey", "phylumKey", "classKey", "orderKey", "familyKey", "genusKey", "speciesKey")
    day = f"20{number % 24:02}-0{number % 9 + 1}-{number % 28 + 1:02}"
    is_obscured = which == 0 and number % 20 == 0
    return {
        "scientificName": f"{genus} delicatula{kind % 7} (White, 1845)",
        "taxonKey": f"{kind:X}S",
        "acceptedTaxonKey": f"{kind:X}S",
        **dict(zip(ranks, higher, strict=True)),
        "family": family,
        "basisOfRecord": basis,
        "datasetKey": dataset,
        "institutionCode": institution,
        "collectionCode": collection,
        "license": ("CC_BY_NC_4_0", "CC_BY_4_0", "CC0_1_0")[number % 3],
        "countryCode": COUNTRIES[number % 10],
        "typeStatus": "Holotype" if not is_observation and number % 50 == 0 else "",
        "sex": ("", "", "", "FEMALE", "MALE")[number % 5] if is_observation else "",
        "lifeStage": ("", "", "Adult", "Larva")[number % 4] if is_observation else "",
        "catalogNumber": str(number) if which == 0 else f"P{number:08}",
        "occurrenceID": (
            f"https://www.inaturalist.org/observations/{number}",
            f"https://observation.org/observation/{number}",
            f"http://coldb.mnhn.fr/catalognumber/mnhn/p/p{number:08}",
            f"{number:08x}-ac8b-4b89-a4f5-52bf3c7bf2a5",
        )[which],
        "eventDate": f"{day}T{number % 24:02}:{number % 60:02}:{number % 59:02}" if is_observation else f"19{day[2:]}",
        "decimalLatitude": f"{number * 31 % 18_000_000 / 1e5 - 90:.6f}",
        "decimalLongitude": f"{number * 37 % 36_000_000 / 1e5 - 180:.6f}",
        "coordinateUncertaintyInMeters": f"{number % 2_000 + 1}.0",
        "recordedBy": f"observer_{number % 90_007}" if is_observation else f"A. Collector {number % 20_011}|B. Botanist",
        "informationWithheld": f"Coordinate uncertainty increased to {28_000 + number % 900}m at the request of the observer"
        if is_obscured
        else "",
        "dataGeneralizations": "Coordinates rounded to 0.1 degrees" if which == 3 and number % 30 == 0 else "",
    }


def run(module: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True, cwd=PROJECT, stdout=subprocess.DEVNULL)


def size(ledger: Path) -> int:
    """With nobody at it, all is in the one file."""
    return ledger.stat().st_size


def show(sizes: Sizes) -> None:
    n = sizes.images
    figures = {
        "images": n,
        "records": sizes.records,
        "ledger_bytes_per_image_init": round(sizes.media_bytes / n),
        "ledger_bytes_per_image_labels": round(sizes.labelled_bytes / n),
        "ledger_bytes_per_image_download": round(sizes.stored_bytes / n),
        "label_bytes_per_record": sizes.label_bytes,
        "label_budget_bytes": LABEL_BUDGET_BYTES,
        "folders_per_image": round(sizes.folders / n, 3),
    }
    print(
        f"{n:,} images: the ledger takes {sizes.media_bytes / n:,.0f} B for each after init, {sizes.labelled_bytes / n:,.0f} B "
        f"with labels, {sizes.stored_bytes / n:,.0f} B once all are stored"
    )
    print(f"labels: {sizes.label_bytes} B for each of {sizes.records:,} records, of a budget of {LABEL_BUDGET_BYTES} B")
    print(f"as files: one for each image, in {sizes.folders:,} folders")
    print(machine())
    print(json.dumps({"bench": "sizes", **figures}))


if __name__ == "__main__":
    main()
