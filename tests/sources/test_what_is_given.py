"""Input that users give to `init`, however it is written or packed: the same images result, or one line says what to do."""

from __future__ import annotations

import gzip
import io
import json
import re
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from d4c_images.cli import main
from d4c_images.durations import counted
from d4c_images.errors import D4CError, SourceError, UsageError
from d4c_images.sources import open_media, path_of
from d4c_images.sources.encoding import line_end_of
from d4c_images.sources.layout import by_header
from tests.conftest import ROWS
from tests.support import archives
from tests.support.archives import DWC, OCCURRENCES, SIMPLE, meta, table
from tests.support.downloads import ask, load_all, row, zipped
from tests.support.downloads import table as gbif_table
from tests.support.sweep import crossed, thinned

HOST = "https://media.example.org"
URLS = "SELECT urls FROM image_rows ORDER BY image_id"
KEY = "0012345-250101000000000"
ONE, TWO = row(1, f"{HOST}/1.jpg"), row(2, f"{HOST}/2.jpg")
BOTH = [(f"{HOST}/1.jpg",), (f"{HOST}/2.jpg",)]
GBIF_TERM = "http://rs.gbif.org/terms/1.0/gbifID"

Init = Callable[..., tuple[int, str, str]]


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Init:
    """Runs the command within this process, in an empty folder; gives its exit code, output and complaints."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["init", *map(str, arguments), "--no-progress", "--ledger", str(tmp_path / "ledger.sqlite")])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


# -- how the lines of a table end, and in which encoding


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("a\tb\n1\tx\ry\n", "\n"),
        ("a\tb\r\n1\t2\r\n", "\n"),
        ("a\tb\r\r\n1\t2\r\r\n", "\n"),
        ("a\tb\n1\t2\r\n", "\n"),
        ("a\tb\r1\t2\r", "\r"),
        ("a\tb\r1\t2\n3\t4\r\n", "\r"),
        ("a\tb\n\r1\t2\n\r", "\n\r"),
        ("a\tb", "\n"),
        ("", "\n"),
    ],
)
def test_what_ends_lines_is_seen_in_the_text(text: str, end: str) -> None:
    assert line_end_of(text) == end


def test_what_was_declared_holds_where_the_text_allows_it() -> None:
    assert line_end_of("a\tb\n", "\r") == "\n"
    assert line_end_of("a\tb\r\n1\t2\r\n", "\r") == "\n"
    assert line_end_of('1\t"a\nb"\r2\tc\r', "\r") == "\r"
    assert line_end_of("1\ta\rb\n2\tc\n", "\n", has_header=False) == "\n"


@pytest.mark.parametrize(("end", "where"), crossed(["\r", "\n\r", "\r\n", "\r\r\n"], ["bare", "folder", "zip"]))
def test_a_table_of_gbif_with_other_ends_of_lines_has_the_same_images(end: str, where: str, tmp_path: Path) -> None:
    data = gbif_table([ONE, TWO]).replace(b"\n", end.encode())
    if where == "zip":
        source = zipped(tmp_path / "a.zip", {"multimedia.txt": data})
    else:
        archives.folder(tmp_path / "a", {"multimedia.txt": data})
        source = tmp_path / "a" / "multimedia.txt" if where == "bare" else tmp_path / "a"
    load_all(tmp_path / "ledger.sqlite", source)
    assert ask(tmp_path / "ledger.sqlite", URLS) == BOTH
    assert ask(tmp_path / "ledger.sqlite", "SELECT DISTINCT rights_holder, record_id FROM occurrence_images") == [(None, None)]


@pytest.mark.parametrize(
    ("encoding", "end"), crossed(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"], ["\n", "\r\n", "\r"])
)
def test_a_table_of_gbif_in_another_encoding_has_the_same_images(encoding: str, end: str, tmp_path: Path) -> None:
    data = gbif_table([row(1, f"{HOST}/1.jpg", creator="Å. Öberg"), TWO]).decode().replace("\n", end).encode(encoding)
    load_all(tmp_path / "ledger.sqlite", zipped(tmp_path / "a.zip", {"multimedia.txt": data}))
    assert ask(tmp_path / "ledger.sqlite", URLS) == BOTH
    assert ask(tmp_path / "ledger.sqlite", "SELECT creator FROM occurrence_images WHERE gbif_id = 1") == [("Å. Öberg",)]


@pytest.mark.parametrize("end", ["\r", "\n\r"], ids=["CR", "LF CR"])
def test_a_limit_within_a_recoded_table_leaves_the_rest_for_later(end: str, tmp_path: Path) -> None:
    (tmp_path / "multimedia.txt").write_bytes(gbif_table([ONE, TWO]).replace(b"\n", end.encode()))
    for limit in (1, None):
        load_all(tmp_path / "ledger.sqlite", tmp_path / "multimedia.txt", limit=limit)
    assert ask(tmp_path / "ledger.sqlite", URLS) == BOTH
    assert ask(tmp_path / "ledger.sqlite", "SELECT rows_done, offset_bytes = size_bytes FROM archives") == [(2, 1)]


@pytest.mark.parametrize(("declared", "end"), crossed(["\\n", "\\r\\n", "\\r"], ["\n", "\r\n", "\r", "\n\r"]))
def test_the_table_decides_how_its_lines_end_whatever_meta_xml_says(declared: str, end: str, tmp_path: Path) -> None:
    text = archives.text([["1", f"{HOST}/1.jpg"], ["2", f"{HOST}/2.jpg"]], line_end=end, header=[["coreid", "accessURI"]])
    element = table(["accessURI"], "media.txt", line_end=declared)
    files = {"meta.xml": meta(OCCURRENCES, element), "occurrence.txt": b"id\n", "media.txt": text.encode()}
    load_all(tmp_path / "ledger.sqlite", zipped(tmp_path / "a.zip", files))
    assert ask(tmp_path / "ledger.sqlite", URLS) == BOTH


# -- nothing usable is no success


@pytest.mark.parametrize(
    "rows",
    thinned(
        [[], [row(1, "")], [row(1, "see the drawer"), row(2, "", type="Sound")], [b"\x00" * 5000], [row(0, f"{HOST}/1.jpg")]], 5
    ),
    ids=["no rows", "no URL", "no picture", "zeros", "no id"],
)
def test_a_source_without_an_image_is_no_success(rows: list[str | bytes], init: Init, tmp_path: Path) -> None:
    (tmp_path / "multimedia.txt").write_bytes(gbif_table(rows))
    code, output, complaint = init("multimedia.txt")
    assert code == 1
    assert re.fullmatch(r"d4c-images: multimedia\.txt: nothing to download: [^\n]+\n", complaint)
    assert f"multimedia.txt: {counted(len(rows), 'row')}, 0 of them" in output


def test_nor_is_it_when_it_was_read_before(init: Init, tmp_path: Path) -> None:
    (tmp_path / "multimedia.txt").write_bytes(gbif_table([row(1, "")]))
    for _ in range(2):
        assert init("multimedia.txt")[0] == 1
    said = "multimedia.txt: nothing to download: no row has a usable image URL (1 no_identifier)"
    assert ask(tmp_path / "ledger.sqlite", "SELECT ending FROM runs") == [(said,), (said,)]


@pytest.mark.parametrize("header", [None, "coreid\taccessURI\tcreator"], ids=["GBIF", "publisher"])
def test_what_stands_around_a_hole_of_zeros_is_not_joined_to_a_row(header: str | None, tmp_path: Path) -> None:
    """A torn copy: the record of one row and the URL of another one stand in one line that has all its cells."""
    torn = ONE.split("https", 1)[0].encode() + bytes(500) + b"https" + TWO.split("https", 1)[1].encode()
    data = gbif_table([torn, row(3, f"{HOST}/3.jpg", creator="A\0B")])
    if header is not None:
        data = f"{header}\n1\t".encode() + bytes(500) + f"{HOST}/2.jpg\tx\n3\t{HOST}/3.jpg\tA\0B\n".encode()
    (tmp_path / "m.txt").write_bytes(data)
    load_all(tmp_path / "ledger.sqlite", tmp_path / "m.txt")
    assert ask(tmp_path / "ledger.sqlite", URLS) == [(f"{HOST}/3.jpg",)]
    assert ask(tmp_path / "ledger.sqlite", "SELECT reason, n FROM reject_counts") == [("nul_bytes", 1)]


def test_one_image_is_a_success(init: Init, tmp_path: Path) -> None:
    (tmp_path / "multimedia.txt").write_bytes(gbif_table([row(1, ""), TWO]))
    assert init("multimedia.txt")[0] == 0
    assert init("multimedia.txt")[0] == 0


# -- tables of occurrences

CORE = "occurrenceID,basisOfRecord,identifier,associatedMedia,scientificName"


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        (f"{HOST}/1.jpg", ["1.jpg"]),
        (f"{HOST}/1.jpg | {HOST}/2.jpg", ["1.jpg", "2.jpg"]),
        (f"{HOST}/1.jpg|{HOST}/2.jpg|", ["1.jpg", "2.jpg"]),
        (f"{HOST}/1.jpg,{HOST}/2.jpg", ["1.jpg", "2.jpg"]),
        (f"{HOST}/1.jpg; {HOST}/2.jpg", ["1.jpg", "2.jpg"]),
        (json.dumps([f"{HOST}/1.jpg", f"{HOST}/2.jpg"]), ["1.jpg", "2.jpg"]),
        (json.dumps({"identifier": f"{HOST}/1.jpg", "type": "StillImage"}), ["1.jpg"]),
        (json.dumps([{"identifier": f"{HOST}/1.jpg", "format": "image/jpeg"}, {"accessURI": f"{HOST}/2.jpg"}]), ["1.jpg", "2.jpg"]),
        (json.dumps([{"identifier": f"{HOST}/1.jpg"}, {"type": "Sound", "identifier": f"{HOST}/2"}]), ["1.jpg"]),
    ],
)
def test_the_images_of_a_table_of_occurrences_are_those_of_associated_media(cell: str, found: list[str], tmp_path: Path) -> None:
    text = archives.text([["urn:o:1", "PreservedSpecimen", f"{HOST}/record/1", cell, "Carex"]], header=[CORE.split(",")])
    (tmp_path / "t.csv").write_text(text)
    load_all(tmp_path / "ledger.sqlite", tmp_path / "t.csv")
    assert ask(tmp_path / "ledger.sqlite", URLS) == [(f"{HOST}/{name}",) for name in found]
    assert ask(tmp_path / "ledger.sqlite", "SELECT DISTINCT record_id FROM occurrence_images") == [("urn:o:1",)]


def test_in_an_archive_too_identifier_of_the_core_is_the_records(tmp_path: Path) -> None:
    terms = ["identifier", "accessURI", "associatedMedia"]
    core = table(terms, "occurrence.txt", "http://rs.tdwg.org/dwc/terms/occurrence", core=True)
    rows = [["o1", f"{HOST}/record/1", "", f"{HOST}/1.jpg"], ["o2", f"{HOST}/record/2", f"{HOST}/2.jpg", ""]]
    text = archives.text(rows, header=[["id", *terms]])
    zipped(tmp_path / "a.zip", {"meta.xml": meta(core), "occurrence.txt": text.encode()})
    load_all(tmp_path / "ledger.sqlite", tmp_path / "a.zip")
    assert sorted(ask(tmp_path / "ledger.sqlite", URLS)) == BOTH


def test_a_table_of_occurrences_with_links_of_both_kinds_gives_both(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"occurrenceID,accessURI,associatedMedia\nurn:o:1,{HOST}/1.jpg,{HOST}/2.jpg\n")
    load_all(tmp_path / "ledger.sqlite", tmp_path / "t.csv")
    assert ask(tmp_path / "ledger.sqlite", URLS) == BOTH


def test_how_many_images_associated_media_lists_is_said(init: Init, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"{CORE}\nurn:o:1,x,1,{HOST}/1.jpg | {HOST}/2.jpg,Carex\nurn:o:2,x,2,,Poa\n")
    code, output, _ = init("t.csv")
    assert code == 0
    assert "t.csv (associatedMedia): 2 rows, 1 of them with an image; 2 new images, 2 new links" in output
    assert re.search(r"^ +1  no_identifier \(no URL\)$", output, re.MULTILINE)


@pytest.mark.parametrize("header", ["gbifID\tdatasetKey\tbasisOfRecord\tidentifier", "gbifID\tdatasetKey\tbasisOfRecord\tprotocol"])
def test_gbifs_table_of_occurrences_names_what_to_give_instead(header: str, init: Init, tmp_path: Path) -> None:
    (tmp_path / "occurrence.txt").write_text(f"{header}\n1\tx\tHUMAN_OBSERVATION\thttps://example.org/record/1\n")
    code, output, complaint = init("occurrence.txt")
    assert (code, output, complaint.count("\n")) == (2, "", 1)
    assert "this is GBIF's occurrence table, which has no image URLs: pass the zip file or folder" in complaint
    assert not (tmp_path / "ledger.sqlite").exists()
    (tmp_path / "multimedia.txt").write_bytes(gbif_table([ONE]))
    assert "or its multimedia.txt (multimedia.txt)" in init("occurrence.txt")[2]


def test_a_table_of_occurrences_without_images_says_so(init: Init, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("occurrenceID,basisOfRecord,identifier\nurn:1,x,https://example.org/record/1\n")
    code, _, complaint = init("t.csv")
    assert (code, complaint.count("\n")) == (2, 1)
    assert "this is an occurrence table without a column associatedMedia" in complaint


# -- wherever the tables lie

GBIF = {
    "meta.xml": meta(
        table(["scientificName"], "occurrence.txt", DWC + "Occurrence", core=True, delimiter="\\t", quote="").replace(
            "<field index", f'<field index="0" term="{GBIF_TERM}"/><field index', 1
        ),
        table(["associatedMedia"], "verbatim.txt", DWC + "Occurrence", delimiter="\\t", quote=""),
        table(["identifier"], "multimedia.txt", SIMPLE, delimiter="\\t", quote=""),
    ),
    "occurrence.txt": b"gbifID\tscientificName\tassociatedMedia\n1\tCarex\thttps://media.example.org/o.jpg\n",
    "verbatim.txt": b"gbifID\tassociatedMedia\n1\thttps://media.example.org/v.jpg\n",
    "multimedia.txt": gbif_table([ONE, TWO]),
    "verbatim/multimedia.txt": gbif_table([row(3, f"{HOST}/3.jpg")]),
}


def nested(tmp_path: Path, depth: int, where: str) -> Path:
    prefix = "".join(f"{n}-of-{depth}/" for n in range(depth))
    files = {prefix + name: data for name, data in GBIF.items()}
    if where == "folder":
        return archives.folder(tmp_path / "a", files)
    (tmp_path / "in" / "it").mkdir(parents=True)
    path = zipped(tmp_path / "in" / "it" / "a.zip", {"__MACOSX/._multimedia.txt": b"x", **files})
    return path if where == "zip" else tmp_path / "in"


@pytest.mark.parametrize(("depth", "where", "has_meta"), crossed(range(6), ["folder", "zip", "zip in a folder"], [True, False]))
def test_a_download_of_gbif_is_the_same_at_every_depth(
    depth: int, where: str, has_meta: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_meta:
        monkeypatch.delitem(GBIF, "meta.xml")
    path = nested(tmp_path, depth, where)
    load_all(tmp_path / "ledger.sqlite", path, labels=True)
    assert ask(tmp_path / "ledger.sqlite", URLS) == BOTH
    assert ask(tmp_path / "ledger.sqlite", "SELECT gbif_id, scientific_name FROM labels") == [(1, "Carex")]
    assert [source.kind for source in open_media(path, verbatim=True)] == ["multimedia", "media"]


@pytest.mark.parametrize("prefix", ["./", "a\\b\\", "./a/b/"])
def test_however_a_zip_spells_its_paths(prefix: str, tmp_path: Path) -> None:
    slash = "\\" if "\\" in prefix else "/"
    zipped(tmp_path / "a.zip", {prefix + name.replace("/", slash): data for name, data in GBIF.items()})
    load_all(tmp_path / "ledger.sqlite", tmp_path / "a.zip", labels=True)
    assert ask(tmp_path / "ledger.sqlite", URLS) == BOTH
    assert [source.kind for source in open_media(tmp_path / "a.zip", verbatim=True)] == ["multimedia", "media"]


def test_verbatim_txt_is_never_read_by_itself(tmp_path: Path) -> None:
    files = {name: data for name, data in GBIF.items() if name in ("verbatim.txt", "occurrence.txt")}
    load_all(tmp_path / "ledger.sqlite", zipped(tmp_path / "a.zip", {f"a/b/{name}": data for name, data in files.items()}))
    assert ask(tmp_path / "ledger.sqlite", URLS) == [(f"{HOST}/o.jpg",)]


def test_of_several_zips_one_has_to_be_named(tmp_path: Path) -> None:
    archives.folder(tmp_path / "a", {"x/1.zip": b"PK", "2.zip": b"PK"})
    with pytest.raises(D4CError, match=r"several zip files \(2\.zip, x/1\.zip\): pass one of them"):
        open_media(tmp_path / "a")


def test_a_zip_in_a_zip_has_to_be_unpacked(tmp_path: Path) -> None:
    with pytest.raises(D4CError, match=r"contains no multimedia\.txt .*: unpack inner\.zip and pass that"):
        open_media(zipped(tmp_path / "a.zip", {"inner.zip": b"PK"}))


# -- meta.xml, as people write it

LINE_ENDS = {
    "two characters": 'linesTerminatedBy="\\n"',
    "four characters": 'linesTerminatedBy="\\r\\n"',
    "a line feed": 'linesTerminatedBy="\n"',
    "CR LF": 'linesTerminatedBy="\r\n"',
    "two line feeds": 'linesTerminatedBy="\n\n"',
    "an entity": 'linesTerminatedBy="&#10;"',
    "two entities": 'linesTerminatedBy="&#13;&#xA;"',
    "an entity and a line feed": 'linesTerminatedBy="&#13;\n"',
    "nothing": 'linesTerminatedBy=""',
    "missing": "",
}
TABS = {
    "two characters": 'fieldsTerminatedBy="\\t"',
    "a tab": 'fieldsTerminatedBy="\t"',
    "an entity": 'fieldsTerminatedBy="&#9;"',
    "another entity": 'fieldsTerminatedBy="&#x09;"',
}
COMMAS = {"written": 'fieldsTerminatedBy=","', "missing": "", "empty": 'fieldsTerminatedBy=""'}
NO_QUOTES = {"empty": 'fieldsEnclosedBy=""', "a blank": 'fieldsEnclosedBy=" "', "a line break": "fieldsEnclosedBy='\n'"}
QUOTES = {"an entity": 'fieldsEnclosedBy="&quot;"', "escaped": "fieldsEnclosedBy='\\\"'", "missing": ""}


def read_by(tmp_path: Path, attributes: str, text: str, start: str = "", encoding: str = "utf-8") -> list[tuple[object, ...]]:
    """The images and their creators of an archive whose table of media is described by some attributes."""
    element = (
        f'<extension rowType="{SIMPLE}" ignoreHeaderLines="1" {attributes}><files><location>\n media.txt </location></files>'
        f'<coreid index="0"/><field index="1" term="{archives.uri("identifier")}"/>'
        f'<field index="2" term="{archives.uri("creator")}"/></extension>'
    )
    files = {"meta.xml": start.encode() + meta(OCCURRENCES, element), "media.txt": text.encode(encoding), "occurrence.txt": b"id\n"}
    load_all(tmp_path / "ledger.sqlite", zipped(tmp_path / "a.zip", files))
    return ask(tmp_path / "ledger.sqlite", "SELECT urls, creator FROM images JOIN occurrence_images USING (image_id) ORDER BY 1")


@pytest.mark.parametrize(("lines", "cells", "quotes"), crossed(LINE_ENDS, TABS, NO_QUOTES))
def test_what_xml_does_to_tabs_and_line_breaks_is_undone(lines: str, cells: str, quotes: str, tmp_path: Path) -> None:
    text = f'coreid\tidentifier\tcreator\n1\t{HOST}/1.jpg\t6" wide\n2\t{HOST}/2.jpg\t\n'
    attributes = f"{LINE_ENDS[lines]} {TABS[cells]} {NO_QUOTES[quotes]}"
    assert read_by(tmp_path, attributes, text) == [(f"{HOST}/1.jpg", '6" wide'), (f"{HOST}/2.jpg", None)]


@pytest.mark.parametrize(("cells", "quotes"), crossed(COMMAS, QUOTES))
def test_defaults_of_the_text_guide_hold_for_what_is_missing(cells: str, quotes: str, tmp_path: Path) -> None:
    text = f'coreid,identifier,creator\n1,"{HOST}/1.jpg","A, B"\n'
    assert read_by(tmp_path, f"{COMMAS[cells]} {QUOTES[quotes]}", text) == [(f"{HOST}/1.jpg", "A, B")]


@pytest.mark.parametrize("start", ["\ufeff", "\n", "\ufeff<?xml version='1.0' encoding='utf-8'?>\n", "\n <?xml version='1.0'?>"])
def test_what_may_stand_before_meta_xml(start: str, tmp_path: Path) -> None:
    assert read_by(tmp_path, "", f"coreid,identifier,creator\n1,{HOST}/1.jpg,\n", start) == [(f"{HOST}/1.jpg", None)]


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("", "utf-8"), ("utf8", "utf-8-sig"), (" UTF-8 ", "utf-8"), ("ANSI", "cp1252"), ("latin1", "latin-1"),
        ("Unicode", "utf-16"), ("UTF-16LE", "utf-16-le"), ("macroman", "mac-roman"), ("windows-1251", "cp1251"),
        ("utf8mb4", "utf-8"),
    ],
)  # fmt: skip
def test_encodings_by_the_names_that_people_give_them(declared: str, encoding: str, tmp_path: Path) -> None:
    creator = "Ёж" if encoding == "cp1251" else "Å. Öberg"
    text = f"coreid,identifier,creator\n1,{HOST}/1.jpg,{creator}\n"
    assert read_by(tmp_path, f'encoding="{declared}"', text, encoding=encoding) == [(f"{HOST}/1.jpg", creator)]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
def test_utf_16_may_lack_its_mark(encoding: str, tmp_path: Path) -> None:
    text = f"coreid,identifier,creator\n1,{HOST}/1.jpg,x\n"
    assert read_by(tmp_path, 'encoding="UTF-16"', text, encoding=encoding) == [(f"{HOST}/1.jpg", "x")]


def test_columns_of_one_term_are_read_from_left_to_right_with_the_older_namespace_last() -> None:
    layout = by_header("coreid,dc:type,type,dcterms:type,identifier,Identifier", "utf-8", "media.csv")
    assert layout is not None
    assert (layout.cells["type"], layout.cells["identifier"]) == ((2, 3, 1), (4, 5))


def test_a_header_that_meta_xml_does_not_mention_is_no_row(tmp_path: Path) -> None:
    element = table(["identifier", "type"], "media.txt", SIMPLE, header_lines=0)
    media = f"coreid,identifier,type\n1,{HOST}/1.jpg,StillImage\n"
    zipped(tmp_path / "a.zip", {"meta.xml": meta(OCCURRENCES, element), "media.txt": media.encode(), "occurrence.txt": b"id\n"})
    load_all(tmp_path / "ledger.sqlite", tmp_path / "a.zip")
    assert ask(tmp_path / "ledger.sqlite", URLS) == BOTH[:1]
    assert ask(tmp_path / "ledger.sqlite", "SELECT reason FROM reject_counts") == []


def test_a_core_that_names_no_id_is_read_by_its_occurrence_id(tmp_path: Path) -> None:
    core = table(["occurrenceID", "associatedMedia"], "o.txt", DWC + "Occurrence", core=True, id_index=None)
    text = f"n,occurrenceID,associatedMedia\n1,urn:o:1,{HOST}/1.jpg\n"
    load_all(tmp_path / "ledger.sqlite", zipped(tmp_path / "a.zip", {"meta.xml": meta(core), "o.txt": text.encode()}))
    assert ask(tmp_path / "ledger.sqlite", "SELECT record_id FROM occurrence_images") == [("urn:o:1",)]


# -- row types and terms, as people write them


def test_a_core_without_a_row_type_holds_records_whatever_its_file_is_called(tmp_path: Path) -> None:
    core = table(["identifier"], "images.csv", "", core=True)
    files = {
        "meta.xml": meta(core, table(["accessURI"], "m.csv")),
        "images.csv": f"id,identifier\n1,{HOST}/catalogue/1\n".encode(),
        "m.csv": f"coreid,accessURI\n1,{HOST}/1.jpg\n".encode(),
    }
    load_all(tmp_path / "ledger.sqlite", zipped(tmp_path / "a.zip", files))
    assert ask(tmp_path / "ledger.sqlite", URLS) == [(f"{HOST}/1.jpg",)]


@pytest.mark.parametrize(
    ("row_type", "term"),
    crossed(
        [
            "http://rs.gbif.org/terms/1.0/multimedia", "https://rs.gbif.org/terms/1.0/Multimedia",
            "http://rs.gbif.org/terms/1.0/Image/", "gbif:Multimedia", "MULTIMEDIA", "http://rs.tdwg.org/ac/terms/Multimedia#", "",
        ],
        [
            "identifier", "http://purl.org/dc/terms/Identifier", "https://purl.org/dc/elements/1.1/identifier/", "dc:IDENTIFIER",
            "accessuri",
        ],
    ),
)  # fmt: skip
def test_row_types_and_terms_are_compared_without_case_and_namespace(row_type: str, term: str, tmp_path: Path) -> None:
    element = table([f"x:{term}" if ":" not in term else term], "multimedia.csv", row_type)
    text = f"coreid,{term}\n1,{HOST}/1.jpg\n"
    zipped(tmp_path / "a.zip", {"meta.xml": meta(OCCURRENCES, element), "multimedia.csv": text.encode(), "occurrence.txt": b"id\n"})
    load_all(tmp_path / "ledger.sqlite", tmp_path / "a.zip")
    assert ask(tmp_path / "ledger.sqlite", URLS) == BOTH[:1]


def test_the_columns_of_a_table_of_media_without_urls_are_named(tmp_path: Path) -> None:
    element = table(["references", "type"], "multimedia.txt", SIMPLE.lower())
    files = {"meta.xml": meta(OCCURRENCES, element), "multimedia.txt": b"coreid,references,type\n1,https://x.org/1,StillImage\n"}
    with pytest.raises(D4CError) as refusal:
        open_media(zipped(tmp_path / "a.zip", {**files, "occurrence.txt": b"id\n"}))
    assert str(refusal.value).endswith(
        "its table multimedia (multimedia.txt) has the columns references, type, but none with image URLs, such as "
        "identifier or accessURI"
    )


def test_a_bare_table_without_urls_shows_its_columns(tmp_path: Path) -> None:
    (tmp_path / "multimedia.txt").write_text("gbifID\ttype\treferences\n1\tStillImage\thttps://x.org/1\n")
    with pytest.raises(D4CError, match=r"no column identifier, accessURI .*begins: 'gbifID\\ttype\\treferences'"):
        open_media(tmp_path / "multimedia.txt")


# -- what is no archive and no table


def tar(mode: Literal["w", "w:gz"]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        archive.addfile(tarfile.TarInfo("multimedia.txt"), io.BytesIO())
    return out.getvalue()


def database() -> bytes:
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE TABLE t (x)")
        return db.serialize()


SIMPLE_CSV = (
    b"gbifID\tdatasetKey\toccurrenceID\tkingdom\tscientificName\tcountryCode\ttaxonKey\tspeciesKey\tbasisOfRecord\tinstitutionCode\t"
    b"catalogNumber\tlastInterpreted\tmediaType\tissue\n1\tx\turn:1\tPlantae\tCarex\tAT\t1\t1\tHUMAN_OBSERVATION\t\t\t\tStillImage\t\n"
)
SPECIES = b"taxonKey\tscientificName\tacceptedTaxonKey\tnumberOfOccurrences\ttaxonRank\n1\tCarex\t1\t5\tGENUS\n"
FILES: dict[str, tuple[bytes, str]] = {
    "a.tar.gz": (tar("w:gz"), "a tar archive, compressed with gzip: unpack it (tar -xf a.tar.gz) and pass the folder"),
    "a.tar": (tar("w"), "a tar archive: unpack it"),
    "multimedia.txt.gz": (gzip.compress(gbif_table([ONE])), "compressed with gzip: unpack it (gunzip --keep multimedia.txt.gz)"),
    "broken.gz": (b"\x1f\x8b\x08\x00\xff\xff", "compressed with gzip"),
    "a b.gz": (gzip.compress(b""), "(gunzip --keep 'a b.gz')"),
    "a.bz2": (b"BZh91AY", "compressed with bzip2"),
    "a.xz": (b"\xfd7zXZ\x00\x00", "compressed with xz"),
    "a.zst": (b"\x28\xb5\x2f\xfd\x04", "compressed with zstd"),
    "a.7z": (b"7z\xbc\xaf\x27\x1c\x00", "a 7z archive: unpack it (7z x a.7z)"),
    "a.rar": (b"Rar!\x1a\x07\x01", "a RAR archive"),
    "a.xls": (b"\xd0\xcf\x11\xe0\xa1", "an old Excel workbook"),
    "a.parquet": (b"PAR1\x15", "Parquet: write it as CSV"),
    "a.avro": (b"Obj\x01\x04", "AVRO"),
    "ledger.sqlite3": (database(), "an SQLite database"),
    "a.pdf": (b"%PDF-1.7", "a PDF"),
    "1.jpg": (b"\xff\xd8\xff\xe0", "a JPEG"),
    "a.json": (b'\xef\xbb\xbf [{"gbifID": 1}]', "JSON, not a table"),
    "search.json": (b'{"offset":0,"limit":20,"endOfRecords":false,"results":[]}', "JSON, a response of the GBIF API"),
    f"{KEY}.csv": (SIMPLE_CSV, "Simple (SIMPLE_CSV), which has no image URLs: ask GBIF for the format Darwin Core Archive"),
    "species.csv": (SPECIES, "Species list (SPECIES_LIST)"),
}
ZIPS: dict[str, tuple[dict[str, bytes], str]] = {
    "xlsx": ({"[Content_Types].xml": b"", "xl/workbook.xml": b""}, "an Excel workbook: save the sheet as CSV (UTF-8)"),
    "ods": ({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet", "content.xml": b""}, "an OpenDocument file"),
    "simple": ({f"{KEY}.csv": SIMPLE_CSV}, "Simple (SIMPLE_CSV), which has no image URLs: ask GBIF for the format Darwin Core"),
    "species": ({f"{KEY}.csv": SPECIES}, "Species list (SPECIES_LIST)"),
    "sql": ({f"{KEY}.csv": b"gbifid\tdatasetkey\n1\tx\n"}, "SQL or similar, which has no image URLs"),
    "cube": ({f"{KEY}.csv": b"specieskey\tyear\teeacellcode\toccurrences\n1\t2020\tx\t5\n"}, "SQL (a cube)"),
    "parquet": ({"occurrence.parquet/000000": b"PAR1"}, "a Parquet table (GBIF's format SIMPLE_PARQUET"),
    "avro": ({f"{KEY}.avro": b"Obj\x01"}, "an Avro table"),
    "package": ({"datapackage.json": b"{}", "media.csv": b"mediaID,filePath\n"}, "a Data Package"),
}


def is_refused(source: Path | str, says: str) -> None:
    """As something that is not read, in one line; `init` has exit code 2 for it."""
    with pytest.raises(UsageError) as refusal:
        open_media(path_of(str(source)))
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("source", ["a.tar.gz", f"{KEY}.zip", f"https://api.gbif.org/v1/occurrence/download/request/{KEY}.zip"])
def test_what_is_refused_leaves_no_ledger(source: str, init: Init, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(tar("w:gz"))
    zipped(tmp_path / f"{KEY}.zip", {f"{KEY}.csv": SIMPLE_CSV})
    code, output, complaint = init(source)
    assert (code, output) == (2, "")
    assert re.fullmatch(r"d4c-images: [^\n]+\n", complaint)
    assert source in complaint
    assert not (tmp_path / "ledger.sqlite").exists()


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_format_is_named_and_what_to_do(name: str, tmp_path: Path) -> None:
    data, says = FILES[name]
    (tmp_path / name).write_bytes(data)
    is_refused(tmp_path / name, says)


def test_a_folder_with_nothing_but_such_a_file_likewise(tmp_path: Path) -> None:
    archives.folder(tmp_path / "a", {"download.tar.gz": tar("w:gz")})
    is_refused(tmp_path / "a", "a/download.tar.gz: this is a tar archive, compressed with gzip: unpack it")


@pytest.mark.parametrize(("start", "says"), [(b"<html>", "a web page"), (b'{"error"', "an error"), (b"\x1f\x8b\x08", "but gzip")])
def test_what_is_called_a_zip_and_is_none(start: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(start)
    with pytest.raises(SourceError, match=rf"a\.zip is not a zip file .*{says}"):
        open_media(tmp_path / "a.zip")


@pytest.mark.parametrize("case", ZIPS)
def test_a_zip_of_another_format_is_named_and_what_to_do(case: str, tmp_path: Path) -> None:
    members, says = ZIPS[case]
    is_refused(zipped(tmp_path / "download.zip", members), says)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            f"https://api.gbif.org/v1/occurrence/download/request/{KEY}.zip",
            f"(curl -fLO https://api.gbif.org/v1/occurrence/download/request/{KEY}.zip), then pass {KEY}.zip",
        ),
        (
            f"https://www.gbif.org/occurrence/download/{KEY}",
            f"(curl -fLO https://api.gbif.org/v1/occurrence/download/request/{KEY}.zip)",
        ),
        (KEY, f"(curl -fLO https://api.gbif.org/v1/occurrence/download/request/{KEY}.zip)"),
        ("https://ipt.example.org/archive.do?r=plants&v=1", "(curl -fLO 'https://ipt.example.org/archive.do?r=plants&v=1')"),
        ("ftp://example.org/a.zip", "ftp://example.org/a.zip is a URL, but init reads files"),
        ("file:///home/me/a.zip", "pass the path of the file"),
        ("https://doi.org/10.15468/dl.abcdef", "is a DOI: open its page"),
        ("doi:10.15468/dl.abcdef", "is a DOI: open its page"),
    ],
)
def test_a_url_a_doi_or_a_key_says_what_to_fetch(source: str, says: str) -> None:
    is_refused(source, says)


def test_an_archive_that_also_holds_other_formats_is_an_archive(tmp_path: Path) -> None:
    data = gbif_table([ONE])
    assert open_media(zipped(tmp_path / "a.zip", {"a/multimedia.txt": data, "x.parquet": b"", "datapackage.json": b"{}"}))
    (tmp_path / f"{KEY}.csv").write_text(f"gbifID,identifier,basisOfRecord,accessURI\n1,x,y,{HOST}/1.jpg\n")
    assert open_media(tmp_path / f"{KEY}.csv")
    with pytest.raises(UsageError, match="no such file: a folder/nothing"):
        open_media(Path("a folder/nothing"))
    assert open_media(ROWS)
