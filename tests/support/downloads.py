"""Makes small GBIF downloads, brings them into ledgers within this process, and looks at what is there. Starts no program."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from d4c_images.ingest.ingest import IngestSummary, StreamProgress, ingest, ingest_labels
from d4c_images.ledger.file.connect import open_ledger
from d4c_images.sources import open_labels, open_media, open_source
from tests.support.program import HEADER, RECOUNT_IMAGES, check_lists

NAMES = tuple(HEADER.split())
NOW = 1_800_000_000
Rows = list[tuple[object, ...]]

RECOUNT_RECORDS = """
SELECT l.gbif_id, count(*), sum(i.status = 'success'),
       sum(i.status = 'failed_permanent' OR (i.status = 'failed_transient' AND i.not_before IS NULL))
FROM links AS l JOIN image_rows AS i USING (image_id) GROUP BY l.gbif_id ORDER BY l.gbif_id
"""


def row(gbif_id: object, identifier: str, names: Sequence[str] = NAMES, **cells: str) -> str:
    """A row of `multimedia.txt` without its end."""
    cells = {"type": "StillImage", "format": "image/jpeg"} | cells | {"gbifID": str(gbif_id), "identifier": identifier}
    return "\t".join(cells.get(name, "") for name in names)


def table(rows: Iterable[str | bytes], names: Sequence[str] = NAMES) -> bytes:
    """A `multimedia.txt` of such rows."""
    lines = ["\t".join(names), *rows]
    return b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)


def bare(path: Path, rows: Iterable[str | bytes]) -> Path:
    path.write_bytes(table(rows))
    return path


def zipped(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED, *, zip64: bool = False) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, body in members.items():
            with archive.open(name, "w", force_zip64=zip64) as entry:
                entry.write(body)
    return path


def load(ledger: Path, source: Path, limit: int | None = None, heard: list[StreamProgress] | None = None) -> IngestSummary:
    """Bring a download into a ledger, which is made where there is none."""
    with closing(open_ledger(ledger, create=True)) as opened:
        progress = [] if heard is None else heard
        return ingest(opened, open_source(source), limit, progress.append, lambda: NOW, in_process=True)


def load_all(
    ledger: Path, *paths: Path, limit: int | None = None, verbatim: bool = False, labels: bool = False, dataset: str | None = None
) -> None:
    """Bring all tables of media of some archives into a ledger."""
    with closing(open_ledger(ledger, create=True)) as opened:
        for path in paths:
            for source in open_media(path, verbatim=verbatim, dataset=dataset):
                ingest(opened, source, limit, lambda progress: None, lambda: NOW, in_process=True)
            if labels:
                ingest_labels(opened, open_labels(path, dataset=dataset), lambda progress: None, lambda: NOW)


def ask(ledger: Path, sql: str, *parameters: object) -> Rows:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        return db.execute(sql, parameters).fetchall()


def check_sound(ledger: Path) -> None:
    """Every count is a recount, every image belongs to a record, and the images of a record are numbered without a gap."""
    assert ask(ledger, "SELECT * FROM tallies WHERE n <> 0 ORDER BY 1, 2, 3") == ask(ledger, RECOUNT_IMAGES)
    assert ask(ledger, "SELECT status, n FROM record_tallies WHERE n <> 0 ORDER BY 1") == ask(
        ledger, "SELECT status, count(*) FROM gbif_ids GROUP BY 1 ORDER BY 1"
    )
    check_lists(lambda sql: ask(ledger, sql))
    records = ask(ledger, "SELECT gbif_id, n_images, n_success, n_failed FROM gbif_ids ORDER BY 1")
    assert records == ask(ledger, RECOUNT_RECORDS)
    links = ask(ledger, "SELECT gbif_id, image_no, image_id, is_first FROM links ORDER BY 1, 2")
    numbers: dict[object, list[object]] = {}
    for gbif_id, image_no, _, _ in links:
        numbers.setdefault(gbif_id, []).append(image_no)
    assert all(found == list(range(len(found))) for found in numbers.values())
    assert len({(gbif_id, image_id) for gbif_id, _, image_id, _ in links}) == len(links)
    first = {image_id: (gbif_id, image_no) for gbif_id, image_no, image_id, is_first in links if is_first}
    assert len(first) == sum(bool(is_first) for *_, is_first in links)
    images = ask(ledger, "SELECT image_id, gbif_id, image_no FROM image_rows")
    assert first == {image_id: (gbif_id, image_no) for image_id, gbif_id, image_no in images}
    assert len(set(ask(ledger, "SELECT image_key FROM images"))) == len(images)
