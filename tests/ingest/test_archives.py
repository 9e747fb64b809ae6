"""Publishers' archives, from meta.xml to the ledger: however a table is written, its images are the same; or one clear line."""

from __future__ import annotations

import csv
import hashlib
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from d4c_images.errors import SourceError
from d4c_images.identity import identify, usable_url
from d4c_images.ingest import publisher_rows
from d4c_images.sources import open_media
from d4c_images.sources.layout import term
from d4c_images.sources.media_table import number_of
from tests.publishers.client import Publishers
from tests.support import archives
from tests.support.archives import DWC, EML, OCCURRENCES, SIMPLE, audubon, meta, table
from tests.support.downloads import Rows, ask, check_sound, load_all, zipped
from tests.support.ledger_dump import differences
from tests.support.program import Collection, reach
from tests.support.sweep import thinned

PUBLISHERS = Path(__file__).parents[1] / "rows" / "publishers"
URLS = "SELECT urls FROM image_rows ORDER BY image_id"
RECORDS = "SELECT record_id, count(*) FROM occurrence_images GROUP BY 1 ORDER BY 1"
HOST = "https://media.example.org"


def urls_of(ledger: Path) -> list[list[str]]:
    return [str(urls).split("\n") for (urls,) in ask(ledger, URLS)]


# -- ground truth: rows of which one knows that all URLs show one picture


PAGES = ("/HiResZoomDisplay.aspx", "inaturalist.org/observations/", "/MediaSearch.cfm", "/ImageFullView.aspx")
"""What a look at the rows shows to be pages."""


def true_rows(path: Path) -> Iterator[tuple[int, set[str]]]:
    """Row numbers with the URLs that lead to the row's picture: all but pages beside files, and logos."""
    lines = path.read_text(encoding="utf-8").split("\n")
    columns = [at for at, name in enumerate(lines[0].split(",")) if term(name).endswith("accessuri")]
    for row_no, cells in enumerate((row for row in csv.reader(lines[1:]) if row), start=1):
        urls = {url for at in columns if (url := usable_url(cells[at])) is not None}
        urls = {url for url in urls if "Logo" not in url}
        pictures = {url for url in urls if not any(page in url for page in PAGES)}
        yield row_no, pictures or urls


SHOWN_AGAIN = {"symbiota.csv": 2, "idigbio.csv": 0}
"""Rows that show a photo of their record again: Tropicos names photo 101065934 in three ways."""


@pytest.mark.parametrize(("name", "n_rows", "n_several"), [("symbiota.csv", 138, 96), ("idigbio.csv", 24, 24)])
def test_the_columns_of_a_row_are_one_image_and_no_two_photos_are(name: str, n_rows: int, n_several: int, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    load_all(ledger, PUBLISHERS / name)
    images = urls_of(ledger)
    truth = dict(true_rows(PUBLISHERS / name))
    found = {row_no: [at for at, urls in enumerate(images) if leads_to(pictures, urls)] for row_no, pictures in truth.items()}
    assert [row_no for row_no, places in found.items() if len(places) != 1] == [], "misses"
    assert len(truth) == n_rows
    assert sum(len(urls) > 1 for urls in truth.values()) >= n_several
    assert len({places[0] for places in found.values()}) == len(images) == n_rows - SHOWN_AGAIN[name], "false merges"
    assert not [urls for urls in images if "Logo" in str(urls)]
    check_sound(ledger)


def leads_to(pictures: set[str], urls: list[str]) -> bool:
    """Whether all of the pictures are among the candidates, or are what a rule has made better ones of."""
    return all({url, *identify_all(url)} & set(urls) for url in pictures)


def identify_all(url: str) -> tuple[str, ...]:
    image = identify(url)
    return () if image is None else image.urls


# -- every way to write a table

ROWS = [
    ["1", f"{HOST}/a,b.jpg", f"{HOST}/1-small.jpg", "Å. Öberg"],
    ["2", f"{HOST}/2.jpg", "", "one; or | two"],
    ["2", f"{HOST}/3.jpg", f"{HOST}/3-small.jpg", ""],
]
TERMS = ["accessURI", "thumbnailAccessURI", "creator"]


def said(ledger: Path) -> tuple[Rows, list[list[str]], Rows]:
    creators = ask(ledger, "SELECT creator FROM occurrence_images ORDER BY row_no")
    return ask(ledger, RECORDS), urls_of(ledger), creators


EXPECTED = (
    [("1", 1), ("2", 2)],
    [[f"{HOST}/a,b.jpg", f"{HOST}/1-small.jpg"], [f"{HOST}/2.jpg"], [f"{HOST}/3.jpg", f"{HOST}/3-small.jpg"]],
    [("Å. Öberg",), ("one; or | two",), (None,)],
)
FORMS = {
    "comma": {},
    "tab without quotes": {"delimiter": "\t", "quote": ""},
    "tab with quotes": {"delimiter": "\t"},
    "semicolon": {"delimiter": ";"},
    "pipe": {"delimiter": "|"},
    "single quotes": {"quote": "'"},
    "CRLF": {"line_end": "\r\n"},
    "CR": {"line_end": "\r"},
    "Latin-1": {"encoding": "ISO-8859-1"},
    "Windows": {"encoding": "windows-1252", "line_end": "\r\n"},
    "UTF-16": {"encoding": "UTF-16"},
    "UTF-16 with tabs": {"encoding": "UTF-16LE", "delimiter": "\t", "quote": ""},
    "byte order mark": {"encoding": "utf-8-sig"},
    "no header": {"header_lines": "0"},
    "no header and a mark": {"header_lines": "0", "encoding": "utf-8-sig"},
    "three header lines": {"header_lines": "3"},
}


def files_of(form: dict[str, str], rows: Sequence[Sequence[str]] = ROWS, prefix: str = "") -> dict[str, bytes]:
    header_lines = int(form.get("header_lines", "1"))
    encoding = form.get("encoding", "utf-8")
    text = archives.text(
        rows,
        form.get("delimiter", ","),
        form.get("quote", '"'),
        form.get("line_end", "\n"),
        header=[["made by hand"]] * (header_lines - 1) + [["coreid", *TERMS]] * (header_lines > 0),
    )
    element = table(
        TERMS,
        "media.txt",
        delimiter=form.get("delimiter", ",").replace("\t", "\\t"),
        quote=form.get("quote", '"'),
        line_end=form.get("line_end", "\n").replace("\r", "\\r").replace("\n", "\\n"),
        encoding="UTF-8" if encoding == "utf-8-sig" else encoding,
        header_lines=header_lines,
    )
    files = {
        "meta.xml": meta(OCCURRENCES, element),
        "occurrence.txt": b"id,occurrenceID,scientificName\n",
        "media.txt": text.encode(encoding),
        "eml.xml": EML.format("a-dataset", 1).encode(),
    }
    return {prefix + name: data for name, data in files.items()}


@pytest.mark.parametrize("form", thinned(FORMS, 3))
def test_a_table_may_be_written_in_any_way(form: str, tmp_path: Path) -> None:
    archives.folder(tmp_path / "archive", files_of(FORMS[form]))
    load_all(tmp_path / "ledger.sqlite", tmp_path / "archive")
    assert said(tmp_path / "ledger.sqlite") == EXPECTED
    check_sound(tmp_path / "ledger.sqlite")


@pytest.mark.parametrize("form", ["comma", "UTF-16", "tab without quotes", "Latin-1"])
def test_in_a_zip_and_in_a_folder_of_a_zip(form: str, tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip", files_of(FORMS[form]))
    zipped(tmp_path / "b.zip", {"__MACOSX/in/meta.xml": b"x", **files_of(FORMS[form], prefix="in/")})
    for name in ("a", "b"):
        load_all(tmp_path / f"{name}.sqlite", tmp_path / f"{name}.zip")
        assert said(tmp_path / f"{name}.sqlite") == EXPECTED


@pytest.mark.parametrize("form", thinned(FORMS, 4))
def test_a_limit_at_each_row_leaves_the_rest_for_later(form: str, tmp_path: Path) -> None:
    """So every byte offset that a checkpoint can hold is a place to go on from."""
    archives.folder(tmp_path / "archive", files_of(FORMS[form]))
    load_all(tmp_path / "whole.sqlite", tmp_path / "archive")
    for limit in (1, 2, 3):
        load_all(tmp_path / "parts.sqlite", tmp_path / "archive", limit=limit)
        assert ask(tmp_path / "parts.sqlite", "SELECT rows_done FROM archives") == [(limit,)]
    load_all(tmp_path / "parts.sqlite", tmp_path / "archive")
    assert differences(tmp_path / "parts.sqlite", tmp_path / "whole.sqlite") == []


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_a_bare_table_says_by_its_header_how_it_is_written(delimiter: str, tmp_path: Path) -> None:
    quote = "" if delimiter == "\t" else '"'
    text = archives.text(ROWS, delimiter, quote, header=[["coreid", "ac:accessURI", "ac:thumbnailAccessURI", "dc:creator"]])
    for name, data in {"m.csv": text.encode(), "u.txt": text.encode("utf-16"), "b.txt": b"\xef\xbb\xbf" + text.encode()}.items():
        (tmp_path / name).write_bytes(data)
        load_all(tmp_path / f"{name}.sqlite", tmp_path / name)
        assert said(tmp_path / f"{name}.sqlite") == EXPECTED


def test_several_files_of_one_table_and_defaults(tmp_path: Path) -> None:
    element = table(["identifier"], ["a.txt", "b.txt"], SIMPLE, defaults=[("license", "CC0"), ("type", "StillImage")])
    header = "coreid,identifier\n"
    files = {"a.txt": f"{header}1,{HOST}/1.jpg\n", "b.txt": f"{header}2,{HOST}/2.jpg\n", "occurrence.txt": "id\n"}
    zipped(tmp_path / "a.zip", {"meta.xml": meta(OCCURRENCES, element), **{name: text.encode() for name, text in files.items()}})
    load_all(tmp_path / "ledger.sqlite", tmp_path / "a.zip")
    assert urls_of(tmp_path / "ledger.sqlite") == [[f"{HOST}/1.jpg"], [f"{HOST}/2.jpg"]]
    assert ask(tmp_path / "ledger.sqlite", "SELECT license FROM occurrence_images") == [("CC0",), ("CC0",)]


def test_quotes_as_people_write_them(tmp_path: Path) -> None:
    lines = [
        "coreid,accessURI,creator,description",
        f'1,{HOST}/1.jpg,"A ""nick"" B","two\nlines, and a comma"',
        f'2,{HOST}/2.jpg,6" wide,plain',
        f'3,{HOST}/3.jpg,"escaped \\"so\\", with a comma",x',
        f'4,{HOST}/4.jpg,"never closed,x',
        f"5,{HOST}/5.jpg,after it,x",
        f'6,{HOST}/6.jpg,"last","x"',
        "",
        f"7,{HOST}/7.jpg,x",
        f"8,{HOST}/8.jpg,x,y,z",
        f"9,{HOST}/9.jpg,one more separator,x,,",
    ]
    (tmp_path / "m.csv").write_text("\n".join(lines), encoding="utf-8")
    load_all(tmp_path / "ledger.sqlite", tmp_path / "m.csv")
    assert ask(tmp_path / "ledger.sqlite", "SELECT record_id, creator FROM occurrence_images ORDER BY row_no") == [
        ("1", 'A "nick" B'),
        ("2", '6" wide'),
        ("3", 'escaped "so", with a comma'),
        ("5", "after it"),
        ("6", "last"),
        ("9", "one more separator"),
    ]
    assert ask(tmp_path / "ledger.sqlite", "SELECT reason, row_no, row_start FROM rejected_rows ORDER BY row_no") == [
        ("unbalanced_quotes", 4, lines[4]),
        ("too_few_cells", 7, lines[8]),
        ("too_many_cells", 8, lines[9]),
    ]
    (offset,) = ask(tmp_path / "ledger.sqlite", "SELECT byte_offset FROM rejected_rows WHERE row_no = 7")[0]
    assert (tmp_path / "m.csv").read_bytes()[offset:].startswith(b"7,")  # type: ignore[misc]


# -- what cannot be read

GOOD = {"occurrence.txt": b"id,occurrenceID,scientificName\n", "multimedia.txt": b"coreid,accessURI\n1,https://a.org/1.jpg\n"}
BAD = {
    "no XML": ({**GOOD, "meta.xml": b"<archive><core>"}, "not well-formed XML"),
    "other XML": ({**GOOD, "meta.xml": b"<eml/>"}, "not the meta.xml of a Darwin Core Archive (its root is <eml>)"),
    "no core": ({**GOOD, "meta.xml": meta(table(["accessURI"]))}, "no core table"),
    "no file": ({**GOOD, "meta.xml": meta(OCCURRENCES, table(["accessURI"], ""))}, "names no file"),
    "a file that is not there": (
        {**GOOD, "meta.xml": meta(OCCURRENCES, table(["accessURI"], "ac.csv"))},
        "names ac.csv, which is missing (found: ",
    ),
    "no media": ({**GOOD, "meta.xml": meta(OCCURRENCES)}, "describes no media table (only Occurrence)"),
    "an unknown encoding": (
        {**GOOD, "meta.xml": meta(OCCURRENCES, table(["accessURI"], encoding="utf-99"))},
        "unknown encoding 'utf-99'",
    ),
    "not a text encoding": (
        {**GOOD, "meta.xml": meta(OCCURRENCES, table(["accessURI"], encoding="rot13"))},
        "'rot13', which is no",
    ),
    "not UTF-16": (
        {**GOOD, "meta.xml": meta(OCCURRENCES, table(["accessURI"], encoding="UTF-16"))},
        "declares the encoding UTF-16, but it has another",
    ),
    "UTF-16 after all": (
        {**GOOD, "meta.xml": meta(OCCURRENCES, table(["accessURI"])), "multimedia.txt": "coreid,accessURI\n".encode("utf-16")},
        "declares the encoding UTF-8, but it is UTF-16",
    ),
    "another separator": (
        {**GOOD, "meta.xml": meta(OCCURRENCES, table(["accessURI"], delimiter=";"))},
        "separated by ';', but there is a line of 1 cell",
    ),
    "more columns": (
        {**GOOD, "meta.xml": meta(OCCURRENCES, table(["accessURI", "", "", "format"]))},
        "meta.xml says that column 4 is http://purl.org/dc/terms/format",
    ),
    "no record": ({**GOOD, "meta.xml": meta(OCCURRENCES, table(["accessURI"], id_index=None))}, "which column holds the record"),
    "no number": (
        {**GOOD, "meta.xml": meta(OCCURRENCES, table(["accessURI"]).replace('coreid index="0"', 'coreid index="x"'))},
        "the index of its id is 'x', not a number",
    ),
    "two characters": (
        {**GOOD, "meta.xml": meta(OCCURRENCES, table(["accessURI"], delimiter="||"))},
        "unsupported delimiters: fieldsTerminatedBy '||', fieldsEnclosedBy '\"'",
    ),
    "columns that have been shifted": (
        {
            **GOOD,
            "meta.xml": meta(OCCURRENCES, table(["accessURI", "thumbnailAccessURI"])),
            "multimedia.txt": b"coreid,thumbnailAccessURI,accessURI\n1,https://a.org/t.jpg,https://a.org/1.jpg\n",
        },
        "its header calls it 'thumbnailAccessURI': one of the two is wrong",
    ),
    "two archives": ({"a/meta.xml": b"x", "b/meta.xml": b"x"}, "several archives ("),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "folder"])
def test_a_bad_archive_gets_one_clear_line(case: str, as_zip: bool, tmp_path: Path) -> None:
    files, says = BAD[case]
    path = zipped(tmp_path / "a.zip", files) if as_zip else archives.folder(tmp_path / "a", files)
    with pytest.raises(SourceError) as refusal:
        open_media(path)
    assert says in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_verbatim_is_only_in_downloads_of_gbif(tmp_path: Path) -> None:
    for path in (zipped(tmp_path / "a.zip", files_of({})), PUBLISHERS / "symbiota.csv"):
        with pytest.raises(SourceError, match="--verbatim"):
            open_media(path, verbatim=True)


# -- records


def test_numbers_of_records_are_for_ever() -> None:
    """Files are named by them: a change would orphan collections."""
    assert number_of("a-dataset", "1") == 952102969869575863
    assert number_of("", "urn:uuid:3228b6fd-6d68-4cb0-9962-bcd0e51b4fb3") == 770467495238068286
    numbers = {number_of("a", str(n)) for n in range(10_000)}
    assert len(numbers) == 10_000
    assert all(len(str(number)) == 18 for number in numbers)
    assert len({str(number)[:3] for number in numbers}) == 900, "folders fill evenly"


def test_ids_are_those_of_a_dataset_or_of_the_world(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    rows = [["17", f"{HOST}/1.jpg"], ["urn:catalog:A:1", f"{HOST}/2.jpg"]]
    others = [["17", f"{HOST}/3.jpg"], ["urn:catalog:A:1", f"{HOST}/4.jpg"]]
    load_all(ledger, audubon(tmp_path / "one.zip", ["accessURI"], rows, "one"))
    load_all(ledger, audubon(tmp_path / "two.zip", ["accessURI"], others, "two"))
    assert ask(ledger, "SELECT dataset, record_id, n_images FROM record_names JOIN gbif_ids USING (gbif_id) ORDER BY 1, 2") == [
        ("", "urn:catalog:A:1", 2),
        ("one", "17", 1),
        ("two", "17", 1),
    ]
    check_sound(ledger)
    more = audubon(tmp_path / "next version.zip", ["accessURI"], [*rows, ["17", f"{HOST}/5.jpg"]], "one")
    load_all(ledger, more)
    assert ask(ledger, "SELECT n_images FROM record_names JOIN gbif_ids USING (gbif_id) WHERE dataset = 'one'") == [(2,)]
    check_sound(ledger)


def test_a_core_of_gbif_gives_its_numbers(tmp_path: Path) -> None:
    core = table(["scientificName"], "occurrence.txt", DWC + "Occurrence", core=True).replace(
        "<field index", '<field index="0" term="http://rs.gbif.org/terms/1.0/gbifID"/><field index', 1
    )
    media = f"coreid,accessURI\n1019692255,{HOST}/1.jpg\nx,{HOST}/2.jpg\n".encode()
    files = {"meta.xml": meta(core, table(["accessURI"], "m.txt")), "occurrence.txt": b"id,n\n", "m.txt": media}
    load_all(tmp_path / "ledger.sqlite", zipped(tmp_path / "a.zip", files))
    assert ask(tmp_path / "ledger.sqlite", "SELECT gbif_id, record_id FROM occurrence_images") == [(1019692255, None)]
    assert ask(tmp_path / "ledger.sqlite", "SELECT reason, n FROM reject_counts") == [("bad_gbif_id", 1)]
    assert ask(tmp_path / "ledger.sqlite", "SELECT note, n FROM note_counts") == []


def test_a_column_of_gbif_ids_is_enough_beside_another_core(tmp_path: Path) -> None:
    """The core has ids of its publisher; the table of media names GBIF's number in a column."""
    media = f"coreid,gbifID,accessURI\no1,1019692255,{HOST}/1.jpg\n".encode()
    core = table(["scientificName"], "occurrence.txt", DWC + "Occurrence", core=True)
    files = {"meta.xml": meta(core, table(["gbifID", "accessURI"], "m.txt")), "occurrence.txt": b"id,n\n", "m.txt": media}
    load_all(tmp_path / "ledger.sqlite", zipped(tmp_path / "a.zip", files))
    assert ask(tmp_path / "ledger.sqlite", "SELECT gbif_id, record_id FROM occurrence_images") == [(1019692255, None)]


def test_two_records_of_one_number_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d4c_images.sources.media_table.N_NUMBERS", 1)
    with pytest.raises(SourceError, match="get the same number, 100000000000000000"):
        load_all(
            tmp_path / "ledger.sqlite",
            audubon(tmp_path / "a.zip", ["accessURI"], [["1", f"{HOST}/1.jpg"]], "a"),
            audubon(tmp_path / "b.zip", ["accessURI"], [["1", f"{HOST}/2.jpg"]], "b"),
        )


def test_labels_from_the_core(tmp_path: Path) -> None:
    files = files_of({}) | {
        "meta.xml": meta(
            table(["scientificName", "family", "catalogNumber"], "occurrence.txt", DWC + "Occurrence", core=True),
            table(TERMS, "media.txt"),
        ),
        "occurrence.txt": b'id,sn,f,c\n1,"Carex ""alba"", Scop.",Cyperaceae,W 1\n2,Poa,,\n3,None of ours,x,x\n',
    }
    load_all(tmp_path / "ledger.sqlite", zipped(tmp_path / "a.zip", files), labels=True)
    assert ask(
        tmp_path / "ledger.sqlite",
        "SELECT record_id, scientific_name, family, catalog_number FROM labels JOIN record_names USING (gbif_id) ORDER BY 1",
    ) == [("1", 'Carex "alba", Scop.', "Cyperaceae", "W 1"), ("2", "Poa", None, None)]


# -- what GBIF drops

VERBATIM = {
    "multimedia.txt": f"gbifID\ttype\tformat\tidentifier\n9\tStillImage\timage/jpeg\t{HOST}/1.jpg\n9\tStillImage\t\t{HOST}/2.jpg\n",
    "verbatim/audubon.txt": "gbifID\tdatasetKey\tidentifier\t"
    "accessURI\tthumbnailAccessURI\thashFunction\thashValue\tPixelXDimension\n"
    f"9\tx\t1\t{HOST}/1.jpg\t{HOST}/1-s.jpg\tMD5\t{'a' * 32}\t4000\n9\tx\t2\t{HOST}/3.jpg\t\t\t\t\n",
    "verbatim/identification.txt": "gbifID\tidentifier\n9\tnobody\n",
    "occurrence.txt": "gbifID\n9\n",
}


def test_verbatim_rows_come_to_the_images_of_gbif(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {name: text.encode() for name, text in VERBATIM.items()})
    ledger = tmp_path / "ledger.sqlite"
    load_all(ledger, path)
    assert urls_of(ledger) == [[f"{HOST}/1.jpg"], [f"{HOST}/2.jpg"]]
    load_all(ledger, path, verbatim=True)
    assert urls_of(ledger) == [[f"{HOST}/1.jpg", f"{HOST}/1-s.jpg"], [f"{HOST}/2.jpg"], [f"{HOST}/3.jpg"]]
    assert ask(ledger, "SELECT gbif_id, image_no, image_id, record_id FROM occurrence_images ORDER BY 2") == [
        (9, 0, 1, None),
        (9, 1, 2, None),
        (9, 2, 3, None),
    ]
    assert ask(ledger, "SELECT url, role, edge, hash_value FROM variants ORDER BY url") == [
        (f"{HOST}/1-s.jpg", "thumbnail", 200, None),
        (f"{HOST}/1.jpg", "access", 4000, "a" * 32),
    ]
    check_sound(ledger)
    with pytest.raises(SourceError, match="only on request"):
        open_media(zipped(tmp_path / "b.zip", {"multimedia.txt": VERBATIM["multimedia.txt"].encode()}), verbatim=True)


def test_labels_of_a_bare_table_and_of_short_rows(tmp_path: Path) -> None:
    (tmp_path / "multimedia.csv").write_text(f"coreid,accessURI\n1,{HOST}/1.jpg\n2,{HOST}/2.jpg\n")
    rows = ["id,occurrenceID,scientificName,family", '1,urn:x:1,"Carex, alba"', "2,urn:x:2,Poa,Poaceae"]
    (tmp_path / "occurrences.csv").write_text("\n".join(rows))
    for dataset in (None, "mine"):
        ledger = tmp_path / f"{dataset}.sqlite"
        load_all(ledger, tmp_path / "multimedia.csv", labels=True, dataset=dataset)
        assert ask(ledger, "SELECT scientific_name, family FROM labels ORDER BY 1") == [("Carex, alba", None), ("Poa", "Poaceae")]


# -- killed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """A ledger whose `init` nobody has killed, and its archive beside it: line ends in cells, records of several rows, Latin-1."""
    chance = random.Random(7)
    rows = []
    for n in range(27_000):
        record, picture = f"rec {n // 3}", f"{HOST}/{chance.randrange(20_000)}"
        rows.append([record, f"{picture}.jpg", f"{picture}-s.jpg", 'two\nlines, "so"' if n % 5 == 0 else "A. Nobody"])
    collection = Collection(tmp_path_factory.mktemp("undisturbed"))
    zipped(collection.folder / "a.zip", files_of({"encoding": "ISO-8859-1"}, rows))
    collection.run("init", collection.folder / "a.zip", "--no-progress")
    return collection


@pytest.mark.slow
@pytest.mark.parametrize(
    "point", ["admit.before_checkpoint", "admit.before_commit:2", "admit.after_commit", "ingest.before_finish"]
)
def test_killed_at_a_point(point: str, undisturbed: Collection, tmp_path: Path) -> None:
    collection = Collection(tmp_path)
    source = undisturbed.folder / "a.zip"
    collection.run("init", source, "--no-progress", code=-9, crash_at=point)
    collection.run("init", source, "--no-progress")
    assert differences(collection.ledger, undisturbed.ledger) == []
    check_sound(collection.ledger)


def test_where_a_span_ends_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run goes on from the end of a span; rows of one record stay together."""
    variants = ("ac:BestQuality", "Good Quality", "Thumbnail", "LowerQuality")
    rows = [[str(n // 4), f"{HOST}/{n}.jpg", variants[n % 4], f"g{n // 4}"] for n in range(40)]
    path = audubon(tmp_path / "a.zip", ["accessURI", "variant", "providerManagedID"], rows)
    load_all(tmp_path / "one.sqlite", path)
    monkeypatch.setattr(publisher_rows, "SPAN_ROWS", 1)
    load_all(tmp_path / "many.sqlite", path)
    assert differences(tmp_path / "one.sqlite", tmp_path / "many.sqlite") == []
    assert len(urls_of(tmp_path / "one.sqlite")) == 10


# -- published hashes


@pytest.mark.slow
def test_a_published_hash_is_compared_and_decides_nothing(tmp_path: Path, publishers: Publishers) -> None:
    publishers.behave("gone.example.org=http_404")
    urls = [f"http://media.example.org/photos/{n}.jpg" for n in range(5)]
    first = Collection(archives.folder(tmp_path / "first", {"empty": b""}))
    (tmp_path / "first.csv").write_text("coreid,accessURI\n" + "".join(f"r{n},{url}\n" for n, url in enumerate(urls)))
    first.load(tmp_path / "first.csv")
    first.run("download", *reach(publishers), "--processes", 1)
    body = [
        (first.root / str(path)).read_bytes()
        for (path,) in first.rows("SELECT file_path FROM images WHERE status = 'success' ORDER BY urls")
    ]
    rows = [
        ["r0", urls[0], "", "MD5", hashlib.md5(body[0]).hexdigest().upper()],
        ["r1", urls[1], "", "http://id.loc.gov/vocabulary/hashes#sha-1", hashlib.sha1(body[1]).hexdigest()],
        ["r2", urls[2], "", "SHA-256", hashlib.sha256(b"another picture").hexdigest()],
        ["r3", urls[3], "", "CRC32", "0a0b0c0d"],
        ["r4", "http://gone.example.org/4.jpg", urls[4], "md5", hashlib.md5(body[4]).hexdigest()],
    ]
    terms = ["accessURI", "goodQualityAccessURI", "hashFunction", "hashValue"]
    second = Collection(archives.folder(tmp_path / "second", {"empty": b""}))
    second.load(audubon(tmp_path / "a.zip", terms, rows))
    second.run("download", *reach(publishers), "--processes", 1)
    assert second.rows("SELECT url_no, status, error_type FROM images ORDER BY image_id") == [
        (0, "success", None),
        (0, "success", None),
        (0, "success", "hash_mismatch"),
        (0, "success", None),
        (1, "success", None),
    ]
    assert second.rows("SELECT image_id, hash_function, hash_matches FROM variants WHERE hash_value IS NOT NULL ORDER BY 1") == [
        (1, "md5", 1),
        (2, "sha1", 1),
        (3, "sha256", 0),
        (5, "md5", None),
    ]
    told = second.rows("SELECT error_detail FROM images WHERE image_id = 3")[0][0]
    assert told == f"published sha256 {rows[2][4]}, received {hashlib.sha256(body[2]).hexdigest()}"
    second.check_invariants()


# -- what rows say


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"accessURI": "/mnt/target-images/CASTYPE1503_h.jpg"}, "relative_url"),
        ({"accessURI": "pictures/1.jpg"}, "relative_url"),
        ({"accessURI": "1.jpg", "identifier": "17"}, "relative_url"),
        ({"accessURI": "see the drawer"}, "not_http"),
        ({"accessURI": "mailto:a@b.org"}, "not_http"),
        ({"accessURI": "http://"}, "malformed_url"),
        ({"accessURI": "\\N"}, "no_identifier"),
        ({"identifier": "17"}, "no_identifier"),
        ({"accessURI": f"{HOST}/1.mp3", "type": "http://purl.org/dc/dcmitype/Sound"}, "type_sound"),
        ({"accessURI": f"{HOST}/1.mp4", "format": "video/mp4"}, "type_moving_image"),
        ({"accessURI": f"{HOST}/1.html", "type": "Text"}, "type_other"),
        ({"accessURI": f"{HOST}/1.tif", "variant": "ac:Offline"}, "not_online"),
        ({"coreid": "", "accessURI": f"{HOST}/1.jpg"}, "bad_record_id"),
        ({"accessURI": f"{HOST}/1.jpg", "type": "image/jpeg", "format": "StillImage"}, None),
        ({"accessURI": "/t/1.jpg", "goodQualityAccessURI": f"{HOST}/1.jpg"}, None),
        ({"identifier": f"{HOST}/1.jpg"}, None),
        ({"thumbnailAccessURI": f"{HOST}/1.jpg"}, None),
        ({"accessURI": f"{HOST}/1.jpg", "identifier": f"{HOST}/page"}, None),
    ],
)
def test_rows_that_show_no_picture_are_counted_by_reason(cells: dict[str, str], reason: str | None, tmp_path: Path) -> None:
    names = ["identifier", "accessURI", "goodQualityAccessURI", "thumbnailAccessURI", "variant", "type", "format"]
    row = [cells.get("coreid", "1"), *(cells.get(name, "") for name in names)]
    load_all(tmp_path / "ledger.sqlite", audubon(tmp_path / "a.zip", names, [row]))
    assert ask(tmp_path / "ledger.sqlite", "SELECT reason, n FROM reject_counts") == ([(reason, 1)] if reason else [])
    assert urls_of(tmp_path / "ledger.sqlite") == ([] if reason else [[f"{HOST}/1.jpg"]])


@pytest.mark.parametrize(
    ("cell", "found", "note"),
    [
        (f"{HOST}/1.jpg | {HOST}/2.jpg", ["1.jpg", "2.jpg"], "several_urls"),
        (f"{HOST}/1.jpg;{HOST}/2.jpg", ["1.jpg", "2.jpg"], "several_urls"),
        (f"{HOST}/1.jpg, {HOST}/2.mp3", ["1.jpg"], None),
        (f"{HOST}/a b.jpg|{HOST}/2.jpg|https://med", ["a%20b.jpg", "2.jpg"], "unusable_url_among_several"),
        (f"https://img.example.org/resize?url={HOST}/1.jpg", ["https://img.example.org/resize?url=" + f"{HOST}/1.jpg"], None),
        ("1.jpg; 2.jpg", [], None),
        ("http://[no host/1.jpg | http://[no host/2.jpg", [], None),
        ("", [], None),
    ],
)
def test_lists_of_associated_media(cell: str, found: list[str], note: str | None, tmp_path: Path) -> None:
    core = table(["occurrenceID", "associatedMedia"], "occurrence.txt", DWC + "Occurrence", core=True)
    text = archives.text([["urn:1", "o1", cell]], header=[["id", "occurrenceID", "associatedMedia"]])
    load_all(tmp_path / "ledger.sqlite", zipped(tmp_path / "a.zip", {"meta.xml": meta(core), "occurrence.txt": text.encode()}))
    assert urls_of(tmp_path / "ledger.sqlite") == [[name if "://" in name else f"{HOST}/{name}"] for name in found]
    notes = [name for (name,) in ask(tmp_path / "ledger.sqlite", "SELECT note FROM note_counts")]
    assert note is None or note in notes
    assert found or not notes, "nothing is noted of a row that is rejected"


def test_an_archive_without_meta_xml_is_read_by_its_headers(tmp_path: Path) -> None:
    files = {
        "in/occurrence.csv": "id,catalogNumber,associatedMedia\n" + f"1,x,{HOST}/3.jpg\n",
        "in/multimedia.csv": "coreid,identifier,type\n" + f"1,{HOST}/1.jpg,StillImage\n",
        "in/audubon.tsv": "coreid\taccessURI\n" + f"1\t{HOST}/2.jpg\n",
        "in/references.csv": "coreid,identifier,type\n1,doi:10.1/x,Text\n",
        "in/readme.txt": "nothing\n",
    }
    zipped(tmp_path / "a.zip", {name: text.encode() for name, text in files.items()})
    load_all(tmp_path / "ledger.sqlite", tmp_path / "a.zip")
    assert urls_of(tmp_path / "ledger.sqlite") == [[f"{HOST}/2.jpg"], [f"{HOST}/1.jpg"], [f"{HOST}/3.jpg"]]
    assert ask(tmp_path / "ledger.sqlite", RECORDS) == [("1", 3)]


def test_a_download_of_gbif_that_was_zipped_again_as_a_folder(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {f"0012345/{name}": text.encode() for name, text in VERBATIM.items()})
    assert [source.kind for source in open_media(path)] == ["multimedia"]
    assert [source.kind for source in open_media(path, verbatim=True)] == ["multimedia", "media"]


def test_a_folder_of_images_beside_a_download_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives.folder(tmp_path / "a", files_of({}) | {f"images/100/{n}/x.jpg": b"" for n in range(5)} | {"100/200/x.jpg": b""})
    scanned: list[str] = []
    scandir = "d4c_images.sources.container.os.scandir"
    monkeypatch.setattr(scandir, lambda path, scan=os.scandir: scanned.append(str(path)) or scan(path))
    open_media(tmp_path / "a")
    assert [Path(path).name for path in scanned] == ["a", "images"]


# Rows of two lines, and a table beside its meta.xml


@pytest.mark.parametrize("n_lines", [2, 3, 4])
@pytest.mark.parametrize("end", ['"', 'closes",x,y,z', '" closes,x'], ids=["too few cells", "too many cells", "a stray quote"])
def test_a_quote_that_is_closed_by_a_later_row_costs_its_own_row_only(n_lines: int, end: str, tmp_path: Path) -> None:
    """With it, exactly so many lines become one row; each of them is a row of its own."""
    rows = [f'1,{HOST}/1.jpg,"never closed,x', *(f"{n},{HOST}/{n}.jpg,plain,x" for n in range(2, n_lines))]
    rows.append(f"{n_lines},{HOST}/last.jpg,{end}")
    rows += [f"{n},{HOST}/{n}.jpg,after it,x" for n in range(n_lines + 1, n_lines + 3)]
    (tmp_path / "m.csv").write_text("\n".join(["coreid,accessURI,creator,description", *rows, ""]), encoding="utf-8")
    load_all(tmp_path / "ledger.sqlite", tmp_path / "m.csv")
    shown = ask(tmp_path / "ledger.sqlite", "SELECT record_id FROM occurrence_images ORDER BY row_no")
    kept = [int(str(record)) for (record,) in shown]
    bad = [row_no for (row_no,) in ask(tmp_path / "ledger.sqlite", "SELECT row_no FROM rejected_rows ORDER BY row_no")]
    assert sorted([*kept, *bad]) == list(range(1, n_lines + 3)), "each row is kept or counted as rejected"
    assert 1 in bad
    assert set(range(2, n_lines)) | {n_lines + 1, n_lines + 2} <= set(kept)


@pytest.mark.parametrize("n_lines", [1, 2, 3, 200])
def test_a_good_row_may_have_many_lines(n_lines: int, tmp_path: Path) -> None:
    cell = "\n".join(f"line {n}" for n in range(n_lines))
    text = f'coreid,accessURI,creator\n1,{HOST}/1.jpg,"{cell}"\n2,{HOST}/2.jpg,"{cell}"\n'
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    load_all(tmp_path / "ledger.sqlite", tmp_path / "m.csv")
    assert ask(tmp_path / "ledger.sqlite", "SELECT record_id, row_no FROM occurrence_images ORDER BY 1") == [("1", 1), ("2", 2)]
    assert ask(tmp_path / "ledger.sqlite", "SELECT count(*) FROM rejected_rows") == [(0,)]


def test_a_table_that_is_named_by_itself_is_read_as_its_meta_xml_says(tmp_path: Path) -> None:
    """By its separator, its columns and its defaults; and none of the other tables beside it is read."""
    media = table(["identifier"], ["a.txt", "b.txt"], SIMPLE, delimiter=";", defaults=[("license", "CC0"), ("type", "StillImage")])
    files = {"meta.xml": meta(OCCURRENCES, media), "occurrence.txt": b"id\n"}
    files |= {f"{name}.txt": f"coreid;identifier\n{name};{HOST}/{name}.jpg\n".encode() for name in "ab"}
    folder = archives.folder(tmp_path / "a", files)
    assert [source.path.name for source in open_media(folder)] == ["a.txt", "b.txt"]
    for name in "ab":
        (source,) = open_media(folder / f"{name}.txt")
        assert source.path.name == f"{name}.txt"
        assert source.layout is not None
        assert (source.layout.delimiter, source.layout.defaults["license"]) == (";", "CC0")


def test_a_table_that_meta_xml_does_not_name_is_read_by_its_header(tmp_path: Path) -> None:
    files = {"meta.xml": meta(OCCURRENCES, table(["accessURI"], "named.txt", delimiter=";")), "occurrence.txt": b"id\n"}
    files["named.txt"] = f"coreid;accessURI\n1;{HOST}/1.jpg\n".encode()
    files["more.txt"] = f"coreid,accessURI\n2,{HOST}/2.jpg\n".encode()
    folder = archives.folder(tmp_path / "a", files)
    (source,) = open_media(folder / "more.txt")
    assert source.path.name == "more.txt"
    assert source.layout is not None
    assert source.layout.delimiter == ","
