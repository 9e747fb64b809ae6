"""A small ledger with a bit of everything, written row by row with plain SQL, and the files that belong to it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from d4c_images.ledger.admission import labels
from d4c_images.ledger.file import connect
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.rows.rollup import finalize
from d4c_images.model import Labels, OwnCells, SharedCells, TaxonCells
from tests.support.ledger import add_image, add_link, add_record, add_rule, catch_up
from tests.support.patience import PATIENCE_S

NOW = 1_800_000_000
HOSTS = ("good.example.org", "pages.example.org", "dead.example.org")
LICENCES = ("http://creativecommons.org/licenses/by/4.0/legalcode", "CC0")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image row. `body` are the bytes of its file, for a success."""

    gbif_id: int
    image_no: int
    host: str
    status: str = "pending"
    error_type: str | None = None
    detail: str | None = None
    not_before: int | None = None
    body: bytes | None = None
    extension: str = "jpg"
    lease_id: int | None = None
    dead_lease_id: int | None = None
    attempts: int = 1

    @property
    def path(self) -> str:
        digits = str(self.gbif_id)
        folder = "/".join(part for part in (digits[:3], digits[3:6]) if part)
        return f"{folder}/{digits}-{self.image_no:02d}.{self.extension}"


SAMPLES = (
    Sample(1000000001, 0, HOSTS[0], "success", body=b"first image"),
    Sample(1000000001, 1, HOSTS[0], "success", body=b"second image", error_type="partly_read"),
    Sample(1000000002, 0, HOSTS[0], "success", body=b"a raw file", extension="dng", error_type="raw_unprocessed"),
    Sample(77, 0, HOSTS[0], "success", body=b"short id", extension="png"),
    Sample(1000000003, 0, HOSTS[0], "pending", not_before=0, attempts=0),
    Sample(1000000004, 0, HOSTS[0], "pending", not_before=0, lease_id=5),
    Sample(1000000005, 0, HOSTS[1], "failed_permanent", "invalid_content_type", "Log in \x1b[31mfirst\nplease"),
    Sample(1000000005, 1, HOSTS[1], "failed_permanent", "http_404"),
    Sample(1000000006, 0, HOSTS[2], "failed_transient", "timeout", not_before=NOW + 60),
    Sample(1000000006, 1, HOSTS[2], "failed_transient", "timeout", attempts=4),
)

COL, BACKBONE = "7ddf754f-d193-4cc9-b351-99906754a03b", "d7dddbf4-2cf0-4f39-9b2a-bb099caae36c"
OAK = TaxonCells("Quercus robur L.", family="Fagaceae")
LABELS = {
    1000000001: Labels(
        OAK._replace(taxon_key="4RW7G", species_key="4RW7G", checklist_key=COL),
        SharedCells("PRESERVED_SPECIMEN", license="CC_BY_4_0", country_code="DE", type_status="Isotype"),
        OwnCells("B 10 1", "urn:catalog:B:10:1", "1885-06/1885-07", 52.457, 13.305, 250.0, "A. Botanist"),
    ),
    77: Labels(
        OAK._replace(taxon_key="2878688", species_key="2878688", checklist_key=BACKBONE),
        SharedCells("HUMAN_OBSERVATION", license="CC_BY_NC_4_0", country_code="FR"),
        OwnCells(None, "https://www.example.org/observations/77", "2019-07-01T14:20:00", 48.1, 2.2, 28_888.0, "B. Watcher",
                 "Coordinate uncertainty increased to 28888m at the request of the observer"),
    ),
}  # fmt: skip


def make_ledger(path: Path, samples: tuple[Sample, ...] = SAMPLES) -> Ledger:
    """A ledger with these images, its counters true to them, open for writing."""
    ledger = connect.open_ledger(path, create=True)
    with ledger.transaction() as db:
        db.execute(
            """INSERT INTO runs (command, host, pid, started_at, heartbeat_at, ended_at, ending)
               VALUES ('init', 'node1', 4711, ?, ?, ?, 'ended')""",
            (NOW - 900, NOW - 800, NOW - 800),
        )
        db.executemany(
            "INSERT INTO host_rows (host, n_requests, n_retries, received_bytes, busy_s) VALUES (?, ?, ?, ?, ?)",
            [(host, 10 + n, n, 1000 * n, 1.5 * n) for n, host in enumerate(HOSTS)],
        )
        db.execute("UPDATE host_rows SET blocked_until = ?, blocked_why = '503' WHERE host = ?", (NOW + 3600, HOSTS[2]))
        add_rule(db)
        db.executemany("INSERT INTO texts (text) VALUES (?)", [(text,) for text in LICENCES])
        db.execute(
            """INSERT INTO archives (kind, source, fingerprint, size_bytes, rows_done, offset_bytes, finished_at)
               VALUES ('multimedia', 'download.zip', 'x', 1000, 14, 1000, ?)""",
            (NOW - 800,),
        )
        db.executemany("INSERT INTO reject_counts VALUES (1, ?, ?)", [("no_identifier", 3), ("not_an_image_type", 1)])
        db.execute("INSERT INTO rejected_rows VALUES (1, 7, 420, 'no_identifier', '1000000009\t\tStillImage', 1000000009)")
        db.execute(
            "INSERT INTO leases (lease_id, run_id, host_id, lane, lent_at, expires_at) VALUES (5, 1, 1, 0, ?, ?)",
            (NOW, NOW + 60),
        )
        for image_id, sample in enumerate(samples, start=1):
            add_sample(ledger, image_id, sample)
        db.execute(
            "INSERT INTO page_samples SELECT host_id, 'invalid_content_type', 7, ?, ? FROM host_rows WHERE host = ?",
            (NOW, "Log in \x1b[31mfirst\nplease", HOSTS[1]),
        )
        labels.write_labels(db, LABELS)
        catch_up(db, len(samples))
    finalize(ledger, lambda progress: None)
    return ledger


def add_sample(ledger: Ledger, image_id: int, sample: Sample) -> None:
    """Insert one image with its record and link; counters are left to `finalize`."""
    body = sample.body
    db = ledger.connection
    stored = {} if body is None else {
        "file_path": sample.path, "file_size": len(body), "sha256": hashlib.sha256(body).digest(),
        "media_type": "image/jpeg", "width": 4, "height": 3,
    }  # fmt: skip
    add_image(
        db,
        image_id,
        sample.gbif_id,
        sample.image_no,
        host_id=db.execute("SELECT host_id FROM host_rows WHERE host = ?", (sample.host,)).fetchone()[0],
        urls=f"https://{sample.host}/{sample.gbif_id}/{sample.image_no}",
        status=sample.status,
        not_before=sample.not_before,
        dead_lease_id=sample.dead_lease_id,
        attempts=sample.attempts,
        error_type=sample.error_type,
        error_detail=sample.detail,
        last_attempt_at=NOW if sample.attempts else None,
        **stored,
    )
    if sample.lease_id is not None:
        db.execute("INSERT INTO lent (image_id, lease_id) VALUES (?, ?)", (image_id, sample.lease_id))
    if not db.execute("SELECT 1 FROM gbif_ids WHERE gbif_id = ?", (sample.gbif_id,)).fetchone():
        add_record(db, sample.gbif_id, 0)
    add_link(
        db, sample.gbif_id, sample.image_no, image_id, row_no=image_id,
        license_id=(1, 1, 1, 2, None)[image_id % 5], references_url="https://example.org/page",
    )  # fmt: skip


def make_files(root: Path, samples: tuple[Sample, ...] = SAMPLES) -> None:
    """The files of the successes."""
    for sample in samples:
        if sample.body is not None:
            path = root / sample.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sample.body)


WRITES = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("INSERT INTO texts (text) VALUES (?)", (sys.argv[2],))
db.commit()
db.close()
"""


def write_elsewhere(ledger: Path, text: str) -> None:
    """In a process that has no other connection: as a download does when it ends."""
    subprocess.run([sys.executable, "-c", WRITES, str(ledger), text], check=True, timeout=PATIENCE_S)
