"""Small ledgers of each version and of each early shape, as `tests/ledgers/` keeps them. Asserts nothing."""

from __future__ import annotations

import gzip
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

from d4c_images.ledger.file import identify

LEDGERS = Path(__file__).parents[1] / "ledgers"
EARLY = sorted((LEDGERS / "early").glob("*.sqlite.gz"))
VERSIONS = {int(path.name.partition(".")[0][1:]): path for path in LEDGERS.glob("v*.tar.gz")}

Rows = dict[str, list[tuple[object, ...]]]


def unpack(version: int, folder: Path) -> Path:
    """The ledger of a version, with `images` and `multimedia.txt` beside it."""
    with tarfile.open(VERSIONS[version]) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # Debian 12's Python 3.11.2 has no filters yet
        tar.extractall(folder)
    return folder / "ledger.sqlite"


def unpack_early(kept: Path, folder: Path) -> Path:
    path = folder / "ledger.sqlite"
    path.write_bytes(gzip.decompress(kept.read_bytes()))
    return path


def objects(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as db:
        return identify.objects(db)


def user_version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def rows(path: Path, left_out: tuple[str, ...] = ("runs", "owner", "ledger_migrations")) -> Rows:
    """Every row of every table, whichever tables there are, except who has written when, and counts of nothing."""
    with closing(sqlite3.connect(path)) as db:
        names = [
            name
            for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
            if name not in left_out
        ]
        counted = {name: " WHERE n <> 0" if name in ("tallies", "record_tallies") else "" for name in names}
        return {name: sorted(db.execute(f"SELECT * FROM {name}{counted[name]}").fetchall(), key=repr) for name in names}


def labels(path: Path) -> list[tuple[object, ...]]:
    """What the table `labels` of version 1 had, as a later ledger shows it."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            """SELECT gbif_id, scientific_name, taxon_key, accepted_taxon_key, kingdom_key, phylum_key, class_key, order_key,
                   family_key, genus_key, species_key, family, basis_of_record, dataset_key, institution_code, collection_code,
                   catalog_number
               FROM labels ORDER BY gbif_id"""
        ).fetchall()
