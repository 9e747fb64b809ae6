"""What tables of occurrences say of records: read right, stored once, bounded, and filled in where a ledger has less of it."""

from __future__ import annotations

import dataclasses
import random
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d4c_images.cli import main
from d4c_images.errors import Stopped
from d4c_images.ingest.ingest import ingest_labels
from d4c_images.ledger.admission import labels
from d4c_images.ledger.file import connect, migration_steps, migrations, owner, views
from d4c_images.model import Labels, OwnCells, SharedCells, TaxonCells
from d4c_images.sources import open_labels, open_source
from d4c_images.sources.occurrence import LabelReader
from tests.support import old_ledgers
from tests.support.archives import DWC, meta, table
from tests.support.downloads import ask, bare, load, row, zipped
from tests.support.plans import STATISTICS, findings, ledger_with
from tests.support.properties import examples
from tests.support.sample_ledger import BACKBONE, COL, LABELS, make_ledger
from tests.support.statements import Statement
from tests.support.sweep import thinned

FIELDS = (*TaxonCells._fields, *SharedCells._fields, *OwnCells._fields)

# A row as GBIF's downloads have it, by the names of its columns. The order there is another one.
CARD = {
    "scientificName": "Quercus robur L.",
    "taxonKey": "Q2M4",
    "acceptedTaxonKey": "5WZLF",
    "kingdomKey": "P",
    "phylumKey": "TP",
    "classKey": "MG",
    "orderKey": "3WF",
    "familyKey": "623QT",
    "genusKey": "63YR4",
    "speciesKey": "Q2M4",
    "family": "Fagaceae",
    "checklistKey": COL,
    "basisOfRecord": "PRESERVED_SPECIMEN",
    "datasetKey": "85714c48-f762-11e1-a439-00145eb45e9a",
    "institutionCode": "B",
    "collectionCode": "Herbarium Berolinense",
    "license": "CC_BY_SA_4_0",
    "countryCode": "DE",
    "country": "Germany",
    "geodeticDatum": "WGS84",
    "typeStatus": "Isotype",
    "sex": "FEMALE",
    "lifeStage": "Adult",
    "catalogNumber": "B 10 0000001",
    "occurrenceID": "https://herbarium.example.org/object/B100000001",
    "eventDate": "1885-06/1885-07",
    "decimalLatitude": "52.457",
    "decimalLongitude": "-13.305",
    "coordinateUncertaintyInMeters": "250",
    "recordedBy": "A. Botanist|B. Botanist",
    "informationWithheld": "Coordinates are withheld",
    "dataGeneralizations": "Rounded to 0.001 degrees",
}
READ = [*list(CARD.values())[:26], 52.457, -13.305, 250.0, *list(CARD.values())[-3:]]

Init = Callable[..., str]


def occurrences(folder: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    """occurrence.txt of records 1, 2, ..., with the columns of the first row."""
    rows = list(rows)
    names = list(rows[0])
    random.Random(1).shuffle(names)
    lines = ["\t".join(["issue", "gbifID", *names])]
    lines += ["\t".join(["X;Y", str(no), *(one.get(name, "") for name in names)]) for no, one in enumerate(rows, start=1)]
    path = folder / "occurrence.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def download(folder: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    """A folder as GBIF's, each record with an image."""
    folder.mkdir(exist_ok=True)
    rows = list(rows)
    occurrences(folder, rows)
    return bare(folder / "multimedia.txt", [row(no, f"https://a.example.org/{no}.jpg") for no in range(1, len(rows) + 1)])


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Init:
    """Runs the command within this process; gives its output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, code: int = 0) -> str:
        assert main(["init", *map(str, arguments), "--ledger", str(tmp_path / "ledger.sqlite")]) == code
        told = capsys.readouterr()
        return told.out + told.err

    return run


# -- keys


def test_taxon_keys_are_text(tmp_path: Path, init: Init) -> None:
    """Also those that look like numbers: `6E4` is none, and `0012` is not 12."""
    keys = ["Q2M4", "5WZLF", "6E4", "0012", "2878688", "P"]
    init(download(tmp_path, ({"taxonKey": key, "genusKey": key, "kingdomKey": key} for key in keys)), "--labels")
    for name in ("taxon_key", "genus_key", "kingdom_key"):
        assert ask(tmp_path / "ledger.sqlite", f"SELECT {name}, typeof({name}) FROM labels ORDER BY gbif_id") == [
            (key, "text") for key in keys
        ]


def test_a_ledger_of_both_taxonomies(tmp_path: Path, init: Init) -> None:
    """The checklist is what a row says, else what the command says; a record without a key of a taxon has none."""
    rows = [{"taxonKey": "Q2M4", "checklistKey": COL}, {"taxonKey": "2878688"}, {"scientificName": "Quercus"}]
    source = download(tmp_path, rows)
    words = "has taxon keys, but no checklist that they belong to: name it with --checklist-key"
    assert f"  1  checklist_unknown ({words})\n" in init(source, "--labels")
    assert ask(tmp_path / "ledger.sqlite", "SELECT n_done FROM runs") == [(2 * len(rows),)], "rows of both tables"
    question = "SELECT taxon_key, checklist_key FROM labels ORDER BY gbif_id"
    assert ask(tmp_path / "ledger.sqlite", question) == [("Q2M4", COL), ("2878688", None), (None, None)]
    assert "checklist_unknown" not in init(source, "--labels", "--checklist-key", BACKBONE)
    assert ask(tmp_path / "ledger.sqlite", question) == [("Q2M4", COL), ("2878688", BACKBONE), (None, None)]
    assert "needs --labels" in init(source, "--checklist-key", BACKBONE, code=2)


@pytest.mark.parametrize("key", ["", "Catalogue of Life", "\udce4"])
def test_what_is_no_key_of_a_checklist(key: str, init: Init, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        init("multimedia.txt", "--labels", "--checklist-key", key)
    assert "is not a checklist key" in capsys.readouterr().err


def test_the_checklist_of_a_table_is_given_once(tmp_path: Path) -> None:
    """Also when the table is read again, since there are more records."""
    source, ledger = download(tmp_path, [{"taxonKey": "2878688"}, {"taxonKey": "2878688"}]), tmp_path / "ledger.sqlite"
    occurrence = open_source(source, "occurrence")
    for limit, key, said in ((1, BACKBONE, BACKBONE), (2, None, BACKBONE), (2, "a:b", "a:b"), (2, None, "a:b")):
        load(ledger, source, limit)
        with closing(connect.open_ledger(ledger)) as opened:
            ingest_labels(opened, occurrence, lambda progress: None, lambda: 1.0, checklist_key=key)
        assert ask(ledger, "SELECT count(*), count(DISTINCT checklist_key), max(checklist_key) FROM labels") == [(limit, 1, said)]


# -- all that a table says


def test_every_cell_comes_by_the_name_of_its_column(tmp_path: Path, init: Init) -> None:
    assert "labels of 2 records\n" in init(download(tmp_path, [CARD, {}]), "--labels")
    named = ", ".join(FIELDS)
    assert ask(tmp_path / "ledger.sqlite", f"SELECT {named} FROM labels WHERE gbif_id = 1") == [tuple(READ)]
    assert ask(tmp_path / "ledger.sqlite", f"SELECT {named} FROM labels WHERE gbif_id = 2") == [(None,) * len(FIELDS)]
    assert set(FIELDS) == {name for (name,) in ask(tmp_path / "ledger.sqlite", "SELECT name FROM pragma_table_info('labels')")} - {
        "gbif_id"
    }


def test_every_cell_comes_by_its_term(tmp_path: Path) -> None:
    """In a publisher's archive, as meta.xml says; also what holds for all rows, and one term in two columns."""
    constant = ("institutionCode", "license", "geodeticDatum")
    terms = [name for name in CARD if name not in constant]
    files = {
        "meta.xml": meta(
            table(
                [*(DWC + name for name in terms), "http://purl.org/dc/elements/1.1/license", "http://purl.org/dc/terms/license"],
                "occurrence.txt",
                DWC + "Occurrence",
                core=True,
                delimiter="\t",
                quote="",
                defaults=[(DWC + name, CARD[name]) for name in constant],
            ),
            table(["accessURI"], "media.txt"),
        ),
        "media.txt": b"id,u\n1,https://a.example.org/1.jpg\n",
        "occurrence.txt": "\n".join(
            "\t".join([no, *(CARD[name] for name in terms), *licences])
            for no, licences in (("0", ("", "")), ("1", ("", "")), ("2", ("of dc", "")), ("3", ("of dc", "of dcterms")))
        ).encode(),
    }
    reader = LabelReader(open_labels(zipped(tmp_path / "a.zip", files)))
    found = [reader.labels(cells) for _, _, rows in reader.rows(0, 0) for _, cells in rows]
    assert [*found[0].taxon, *found[0].shared, *found[0].own] == READ
    assert [one.shared.license for one in found] == ["CC_BY_SA_4_0", "of dc", "of dcterms"], "the first line is a header"


def test_short_rows_and_rows_without_a_record(tmp_path: Path) -> None:
    path = tmp_path / "occurrence.txt"
    path.write_text("gbifID\tfamily\tsex\n1\tPoaceae\n\nx\tPoaceae\tmale\n\tPoaceae\n2\n")
    reader = LabelReader(open_source(tmp_path / "occurrence.txt", "occurrence"))
    found = {no: reader.labels(cells) for _, _, rows in reader.rows(0, 0) for no, cells in rows}
    assert found == {1: Labels(TaxonCells(family="Poaceae")), 2: Labels()}
    assert reader.take_notes() == {"bad_gbif_id": 2}


@pytest.mark.parametrize("name", ["occurrence.txt", "occurrence.csv"])
def test_rows_that_are_not_what_they_were(tmp_path: Path, name: str) -> None:
    """A stray tab shifts all cells behind it: nothing is taken from the wrong column. Empty cells beyond the last are harmless."""
    lines = [b"gbifID\tfamily\tscientificName\tsex", b"1\tPoa\tceae\tPoa\tmale", b"2\tPoaceae\tPo\xe4\tmale"]
    (tmp_path / name).write_bytes(b"\n".join([*lines, b"3\tPoaceae\tPoa\tmale\t\t"]))
    reader = LabelReader(open_source(tmp_path / name, "occurrence") if name.endswith(".txt") else open_labels(tmp_path))
    found = {no: reader.labels(cells) for _, _, rows in reader.rows(0, 0) for no, cells in rows}
    assert {no: (one.taxon.family, one.taxon.scientific_name, one.shared.sex) for no, one in found.items()} == {
        2: ("Poaceae", "Po\ufffd", "male"),
        3: ("Poaceae", "Poa", "male"),
    }
    assert reader.take_notes() == {"too_many_cells": 1, "broken_utf8": 1}


# -- numbers


@pytest.fixture
def reader(tmp_path: Path) -> LabelReader:
    names = ["decimalLatitude", "decimalLongitude", "coordinateUncertaintyInMeters"]
    return LabelReader(open_source(occurrences(tmp_path, [dict.fromkeys(names, "")]), "occurrence"))


def numbers(reader: LabelReader, latitude: str = "", longitude: str = "", uncertainty: str = "") -> tuple[object, ...]:
    at = reader._source.columns
    row = ["1"] * at.width
    row[at["decimalLatitude"]], row[at["decimalLongitude"]] = latitude, longitude
    row[at["coordinateUncertaintyInMeters"]] = uncertainty
    return reader.labels(row).own[3:6]


@pytest.mark.parametrize(
    ("cell", "value"),
    [("90", 90), ("-90", -90), ("0", 0), (" 52.4571 ", 52.4571), ("+5.", 5), ("-.5", -0.5), ("1.2e1", 12), ("5E-7", 5e-7)],
)
def test_numbers_that_can_be_read(reader: LabelReader, cell: str, value: float) -> None:
    assert numbers(reader, cell, cell, "") == (value, value, None)
    assert reader.take_notes() == {}


UNREADABLE = ["abc", "52,3", "52.3 N", "52°27'", "nan", "inf", "1e999", "1_0", "٥٢", "--5", "0x10", "1e", ".", "NA", "\\N"]


@pytest.mark.parametrize("cell", [*UNREADABLE, "1" * 3_000])
def test_a_cell_that_cannot_be_read_is_counted_and_left_out(reader: LabelReader, cell: str) -> None:
    assert numbers(reader, cell, cell, cell) == (None, None, None) or cell == "1" * 3_000
    assert reader.take_notes().keys() >= {"decimal_latitude_unreadable", "decimal_longitude_unreadable"}


def test_numbers_that_can_not_be(reader: LabelReader) -> None:
    for latitude, longitude, uncertainty in (("95", "181", "0"), ("-90.01", "-180.5", "-1")):
        assert numbers(reader, latitude, longitude, uncertainty) == (None, None, None)
    assert numbers(reader, "95", "180", "0.1") == (None, 180.0, 0.1)
    assert reader.take_notes() == {
        "decimal_latitude_unreadable": 3,
        "decimal_longitude_unreadable": 2,
        "coordinate_uncertainty_in_meters_unreadable": 2,
    }


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # one reader will do for all
@given(value=st.floats(-90, 90))
def test_a_number_stays_what_it_was(reader: LabelReader, value: float) -> None:
    assert numbers(reader, repr(value), f" {value!r}") == (value, value, None)


def test_init_says_what_it_could_not_read(tmp_path: Path, init: Init) -> None:
    rows = [{"decimalLatitude": cell, "family": "Poaceae"} for cell in ("abc", "95", "5", "")]
    output = init(download(tmp_path, rows), "--labels")
    assert output.endswith(
        "labels of 4 records\n             2  decimal_latitude_unreadable (not a number, or not a possible one: left empty)\n"
    )
    assert ask(tmp_path / "ledger.sqlite", "SELECT decimal_latitude FROM labels ORDER BY gbif_id") == [
        (None,), (None,), (5.0,), (None,)
    ]  # fmt: skip
    assert ask(tmp_path / "ledger.sqlite", "SELECT note, n FROM note_counts") == [("decimal_latitude_unreadable", 2)]
    of_labels = ask(
        tmp_path / "ledger.sqlite", "SELECT rows_admitted, new_images, new_links FROM archives ORDER BY archive_id DESC LIMIT 1"
    )
    assert of_labels == [(4, 0, 0)], "labels are no images"


# -- how they are stored


def test_what_records_share_is_stored_once(tmp_path: Path, init: Init) -> None:
    rows = [CARD | {"catalogNumber": str(no), "taxonKey": f"K{no % 3}", "countryCode": "DA"[no % 2] + "E"} for no in range(50)]
    init(download(tmp_path, rows), "--labels")
    ledger = tmp_path / "ledger.sqlite"
    counts = "SELECT (SELECT count(*) FROM label_taxa), (SELECT count(*) FROM label_shared), (SELECT count(*) FROM texts)"
    before = ask(ledger, counts)
    assert before[0][:2] == (3, 2)
    init(tmp_path / "multimedia.txt", "--labels", "--checklist-key", BACKBONE)  # reads all of it again
    assert ask(ledger, counts) == before
    assert ask(ledger, "SELECT count(*), count(DISTINCT catalog_number), count(DISTINCT recorded_by) FROM labels") == [(50, 50, 1)]


def test_the_same_cells_have_the_same_digest_for_good(tmp_path: Path) -> None:
    """Ledgers hold them: with another one every taxon would come a second time."""
    ledger = connect.open_ledger(tmp_path / "ledger", create=True)
    with ledger.transaction() as db:
        labels.write_labels(db, {1: Labels(TaxonCells('Ståhlia monosperma "Urb."', "Q2M4"), SharedCells(sex="♀"))})
    ledger.close()
    question = "SELECT lower(hex(t.digest)), lower(hex(s.digest)) FROM label_taxa AS t, label_shared AS s"
    assert ask(tmp_path / "ledger", question) == [("9477167d63dd606eeabc81f84ad6ffcb", "e2b9afda7accaaa156dcc0ad9bab4d6f")]


def test_the_view_costs_what_is_asked_of_it() -> None:
    """Also in a LEFT JOIN, where a view of several tables would be made whole for each question."""
    for sql in (
        "SELECT taxon_key, recorded_by FROM labels WHERE gbif_id = ?",
        "SELECT o.image_id, l.* FROM occurrence_images AS o LEFT JOIN labels AS l ON l.gbif_id = o.gbif_id WHERE o.gbif_id = ?",
        "SELECT l.license FROM images AS i JOIN occurrence_images AS o USING (image_id) JOIN labels AS l ON l.gbif_id = o.gbif_id "
        "WHERE i.image_id = ?",
    ):
        for statistics in STATISTICS:
            assert findings(ledger_with(statistics), Statement("x", sql)) == set()


words = st.sampled_from([None, None, "a", "A", "é", "a\0b", "null", '"'])
degrees = st.none() | st.floats(-90, 90, allow_subnormal=False)
cards = st.tuples(
    st.tuples(words, words, words).map(lambda some: TaxonCells(*some[:2], checklist_key=some[2])),
    st.tuples(words, words).map(lambda some: SharedCells(some[0], license=some[1])),
    st.tuples(words, words, words, degrees, degrees, st.none() | st.just(5.0), words, words, words).map(OwnCells._make),
).map(Labels._make)


@pytest.fixture(scope="module")
def one_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[connect.Ledger]:
    with closing(connect.open_ledger(tmp_path_factory.mktemp("labels") / "ledger", create=True)) as ledger:
        yield ledger


@settings(deadline=None, max_examples=examples(30))
@given(batches=st.lists(st.lists(st.tuples(st.integers(1, 6), cards), max_size=12), max_size=4))
def test_the_view_shows_what_was_said_last(one_ledger: connect.Ledger, batches: list[list[tuple[int, Labels]]]) -> None:
    """In a ledger that has met many of the cells before, and holds each group of them once."""
    with one_ledger.transaction() as db:
        db.execute("DELETE FROM label_rows")
        for batch in batches:
            held = labels.HeldLabels()
            held.add(batch)
            for some in held.take():
                labels.write_labels(db, some)
    last = {gbif_id: card for batch in batches for gbif_id, card in batch}
    question = f"SELECT gbif_id, {', '.join(FIELDS)} FROM labels ORDER BY gbif_id"
    assert one_ledger.connection.execute(question).fetchall() == [
        (gbif_id, *card.taxon, *card.shared, *card.own) for gbif_id, card in sorted(last.items())
    ]
    n_taxa, n_different = one_ledger.connection.execute(
        """SELECT (SELECT count(*) FROM label_taxa),
               (SELECT count(*) FROM (SELECT DISTINCT scientific_name, taxon_key, checklist_key FROM label_taxa))"""
    ).fetchone()
    assert n_taxa == n_different


def cells_of(no: int, length: int) -> Labels:
    """All of it different from what other records have."""
    name, family, licence, number, occurrence = (f"{no} {kind}{'x' * length}" for kind in "abcde")
    return Labels(
        TaxonCells(name, family=family), SharedCells(license=licence), OwnCells(number, occurrence, decimal_latitude=no / 7)
    )


@pytest.mark.parametrize("length", thinned([5, 100, 2_000], 3))
@pytest.mark.parametrize("is_shared", [True, False])
def test_what_is_held_is_known_in_bytes(length: int, is_shared: bool) -> None:
    taxon, shared, _ = cells_of(0, length)
    tracemalloc.start()
    held = labels.HeldLabels()
    for no in range(2_000):
        one = cells_of(no, length)
        held.add([(no, Labels(taxon, shared, one.own) if is_shared else one)])
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 0.8 * taken < held.size_bytes < 1.5 * taken


def test_a_transaction_ends_by_rows_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "ROWS_PER_TRANSACTION", 100)
    monkeypatch.setattr(labels, "BYTES_PER_TRANSACTION", 100_000)

    def rows(length: int) -> list[int]:
        held = labels.HeldLabels()
        held.add((no, cells_of(no, length)) for no in range(250))
        return [len(some) for some in held.take()]

    assert rows(1) == [100, 100, 50]
    assert 5 < max(rows(2_000)) < 10


# -- ledgers of version 1


def old_ledger(folder: Path, ids: Iterable[int] = range(1_000_000_000, 1_000_000_004)) -> Path:
    """With numbers for keys, as version 1 had them."""
    path = old_ledgers.unpack(1, folder)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM labels")
        db.executemany(
            """INSERT INTO labels (gbif_id, scientific_name, taxon_key, genus_key, family, dataset_key, catalog_number)
               VALUES (?1, 'Quercus robur L.', 2878688, 1000 + ?1 % 2, 'Fagaceae', 'a-key', 'C' || ?1)""",
            [(one,) for one in ids],
        )
        db.commit()
    return path


OLD = "SELECT gbif_id, scientific_name, taxon_key, genus_key, family, dataset_key, catalog_number, checklist_key FROM labels"


def as_text(gbif_id: int) -> tuple[object, ...]:
    return gbif_id, "Quercus robur L.", "2878688", str(1000 + gbif_id % 2), "Fagaceae", "a-key", f"C{gbif_id}", None


def test_keys_of_an_older_ledger_become_text(tmp_path: Path) -> None:
    path = old_ledger(tmp_path)
    assert main(["init", "--finalize-only", "--ledger", str(path)]) == 0, "a few rows are migrated without a word"
    assert sorted(ask(path, OLD)) == [as_text(one) for one in range(1_000_000_000, 1_000_000_004)]
    assert ask(path, "SELECT count(*) FROM label_taxa") == [(2,)]


def test_labels_of_an_older_ledger_are_filled(tmp_path: Path, init: Init) -> None:
    """By the same command with the same table, which the old one had read to its end."""
    path = old_ledger(tmp_path)
    rows = [CARD | {"catalogNumber": str(no)} for no in range(3)]
    names = list(CARD)
    lines = ["\t".join(["gbifID", *names])]
    lines += ["\t".join([str(1_000_000_000 + no), *(one[name] for name in names)]) for no, one in enumerate(rows)]
    (tmp_path / "occurrence.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    source = open_source(tmp_path / "multimedia.txt", "occurrence")
    with closing(sqlite3.connect(path)) as db:  # as version 1 notes that it has read it
        n = db.execute("SELECT sum(n) FROM record_tallies").fetchone()[0]
        db.execute("DELETE FROM archives WHERE kind = 'occurrence'")
        db.execute(
            "INSERT INTO archives (kind, source, fingerprint, finished_at, rows_done, offset_bytes) VALUES (?, ?, ?, 1, 3, ?)",
            ("occurrence", "occurrence.txt", f"{source.fingerprint}:{n}", source.size_bytes),
        )
        db.commit()
    assert "labels of 3 records" in init(tmp_path / "multimedia.txt", "--labels")
    found = ask(path, "SELECT license, decimal_latitude, catalog_number, taxon_key, checklist_key FROM labels ORDER BY gbif_id")
    assert found[:3] == [("CC_BY_SA_4_0", 52.457, str(no), "Q2M4", COL) for no in range(3)]
    assert found[3:] == [(None, None, "C1000000003", "2878688", None)], "the table says nothing of it"


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walks of three rows at a time."""
    steps = [
        dataclasses.replace(step, chunk_rows=3) if isinstance(step, migrations.Walk) else step
        for step in migrations.MIGRATIONS[0].steps
    ]
    monkeypatch.setattr(migrations, "MIGRATIONS", (migration_steps.Migration(2, tuple(steps)),))


@pytest.mark.usefixtures("short_chunks")
def test_many_labels_are_migrated_by_request_in_chunks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [7, 8, 1_000, 5_000, 6_000, 7_000, 8_000]
    path = old_ledger(tmp_path, ids)
    before = path.read_bytes()
    for command in (["init", "--finalize-only"], ["download"]):
        assert main([*command, "--ledger", str(path)]) == 1
        assert "which changes its rows: run 'd4c-images migrate --ledger" in capsys.readouterr().err
        assert path.read_bytes() == before
    n_calls = 0
    while True:
        n_calls += 1
        with closing(connect.open_ledger(path)) as ledger:
            owner.take(ledger, "migrate", owner.this_process(), 1.0)
            try:
                migrations.migrate(ledger, migrations.MigrationTerms(no_backup=True, stop=lambda: True), lambda: 2.0, print)
            except Stopped:
                pass
            else:
                break
            finally:
                owner.give_back(ledger, "ended", 3.0)
        left = ask(path, "SELECT count(*) FROM labels")
        assert left == [(7 - min(3 * n_calls, 7),)], "what is moved is gone, so that there is little to drop at the end"
    assert n_calls == 4, "seven rows in three chunks, and the end"
    assert ask(path, OLD) == [as_text(one) for one in ids]


def test_an_older_ledger_without_labels_is_migrated_by_itself(tmp_path: Path) -> None:
    path = old_ledger(tmp_path, [])
    assert main(["init", "--finalize-only", "--ledger", str(path)]) == 0
    assert ask(path, OLD) == []


def test_somebodys_view_of_labels_goes_on(tmp_path: Path) -> None:
    path = old_ledger(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE VIEW mine AS SELECT gbif_id, family FROM labels")
    assert main(["migrate", "--ledger", str(path)]) == 0
    assert len(ask(path, "SELECT * FROM mine")) == 4


# -- what goes out


def test_they_go_out_with_their_types(tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger.sqlite").close()
    assert main(["export", str(tmp_path / "list.parquet"), "--ledger", str(tmp_path / "ledger.sqlite")]) == 0
    found = pq.read_table(tmp_path / "list.parquet")
    types = {field.name: str(field.type) for field in found.schema}
    assert {types[name] for name in TaxonCells._fields} == {"string"}
    assert types["decimal_latitude"] == types["coordinate_uncertainty_in_meters"] == "double"
    card = LABELS[1000000001]
    expected = {**card.taxon._asdict(), **card.shared._asdict(), **card.own._asdict()}
    expected["record_license"] = expected.pop("license")  # `license` is the image's
    rows = [one for one in found.to_pylist() if one["gbif_id"] == 1000000001]
    assert rows
    assert all({name: one[name] for name in expected} == expected for one in rows)


def test_columns_of_the_view_and_of_the_list_are_those_of_labels() -> None:
    assert set(" ".join([views.TAXON, views.COLLECTION_LABELS, views.RECORDED]).split()) == {
        *TaxonCells._fields, *SharedCells._fields
    } - {"checklist_key"}  # fmt: skip
