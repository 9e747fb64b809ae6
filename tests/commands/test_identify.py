"""`d4c-images identify`: what it says of URLs, and what it counts in tables of any kind."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from d4c_images.cli import main
from d4c_images.errors import SourceError, UsageError
from d4c_images.identity import RULES, identify, usable_url
from d4c_images.identity.explain import Role, changes, explain
from d4c_images.model import RejectReason
from d4c_images.report.identities import IdentitySurvey
from d4c_images.report.reject_reasons import IN_WORDS
from d4c_images.sources.identifiers import identifier_cells
from tests.support.archives import OCCURRENCES, SIMPLE, meta, table
from tests.support.tabular import rows

ROWS = Path(__file__).parents[1] / "rows"
MEDIUM = "https://static.inaturalist.org/photos/22295/medium.JPG"
ORIGINAL = "https://static.inaturalist.org/photos/22295/original.JPG"


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["identify", *arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def test_it_says_rule_key_and_candidates_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, MEDIUM)
    assert "inat:22295" in text
    assert "inat, version 1 (iNaturalist)" in text
    assert text.index(f"1. {ORIGINAL}  (derived)") < text.index(f"2. {MEDIUM}  (given)")
    assert "https://github.com/inaturalist/inaturalist-open-data" in text


def test_each_url_of_a_cell_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "--json", f"{MEDIUM} | http://example.org/a b.jpg;", "nothing", ""))
    assert [one.get("key", one.get("reason")) for one in found] == [
        "inat:22295",
        "http://example.org/a%20b.jpg",
        "not_http",
        "no_identifier",
    ]
    assert found[0]["candidates"] == [{"url": ORIGINAL, "role": "derived"}, {"url": MEDIUM, "role": "given"}]
    assert found[1]["changes"] == ["percent-encoding made regular"]


def test_a_text_that_is_no_url_is_rejected_with_a_reason_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "notaurl").splitlines() == ["notaurl", "  rejected    not_http (not an http or https URL)"]


def test_each_reason_for_rejecting_a_row_has_words() -> None:
    assert IN_WORDS.keys() == set(RejectReason)


@pytest.mark.parametrize(
    ("url", "roles"),
    [
        ("https://iiif.rbge.org.uk/herb/iiif/E00010016/manifest", [Role.MANIFEST]),
        ("https://swbiodiversity.org/imglib/a/b_tn.jpg", [Role.DERIVED, Role.THUMB]),
        ("https://swbiodiversity.org/imglib/a/b_med.jpg", [Role.DERIVED, Role.GIVEN]),
        ("https://example.org/thumb/b.jpg", [Role.GIVEN]),
    ],
)
def test_candidates_have_roles(url: str, roles: list[Role]) -> None:
    assert [one.role for one in explain(url)[0].candidates] == roles


def test_what_is_explained_is_what_is_done() -> None:
    for rule in RULES:
        for one in rule.examples:
            (explanation,) = explain(one.identifier)
            assert explanation.image == identify(one.identifier)
            assert tuple(candidate.url for candidate in explanation.candidates) == explanation.image.urls  # type: ignore[union-attr]
            roles = [candidate.role for candidate in explanation.candidates]
            assert sum(role in (Role.GIVEN, Role.THUMB, Role.MANIFEST) for role in roles) >= 1


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("https://example.org/a.jpg", ()),
        (" https://example.org/a.jpg", ("blanks, quotes or control characters removed",)),
        ("www.example.org/a.jpg", ("scheme added",)),
        ("//example.org/a.jpg", ("scheme added",)),
        ("https://Example.org/a.jpg", ("scheme and host in lower case",)),
        ("https://example.org:443/a.jpg", ("default port or trailing dot dropped",)),
        ("https://example.org/a.jpg#top", ("fragment dropped",)),
        ("https://example.org/AB #12.jpg", ("# of the name encoded", "percent-encoding made regular")),
        ("https://example.org/x?a=1&amp;b=2", ("entities such as &amp; undone",)),
        ("https://example.org/x?a=1&#38;b=2", ("entities such as &amp; undone",)),
        ("https://example.org/x?a=1&utm_source=gbif", ("tracking parameters dropped",)),
        ("https://example.org/a/../b.jpg", ("dot segments resolved",)),
        ("https://example.org/%7eb%2f.jpg", ("percent-encoding made regular",)),
        ("https://bücher.example/a.jpg", ("host in its ASCII form",)),
        ("https://example.org", ()),
        ("https://example.org?id=5", ()),
    ],
)
def test_changes_are_named(cell: str, wanted: tuple[str, ...]) -> None:
    assert changes(cell, str(usable_url(cell))) == wanted


def test_every_change_in_the_table_of_urls_is_named() -> None:
    for cell, url in rows("urls.tsv"):
        if usable_url(cell) is not None and cell not in (url, url.removesuffix("/")) and "?id=" not in cell:
            assert changes(cell, url), cell


def test_no_cell_paints_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    evil = "\x1b[31mred\udcff"
    text = said(capsys, f"{evil}", f"https://example.org/{evil}.jpg")
    assert text.isascii() or "\ufffd" in text
    assert "\x1b" not in text
    table = tmp_path / "table.txt"
    table.write_bytes(b"id\turl\n1\t\x1b[31mred\xff\n")
    assert "\x1b" not in said(capsys, "--file", str(table), "--verbose")


def test_a_download_is_counted_by_rule(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = ROWS / "multimedia.txt"
    counted = json.loads(said(capsys, "--file", str(table), "--json"))
    assert (counted["cells"], counted["rows"]) == (465, 465 - 28)
    assert counted["no_image"] == {"no_identifier": 25, "type_sound": 3}
    assert sum(rule["rows"] for rule in counted["rules"].values()) == 465 - 28
    assert counted["rules"]["inat"]["rows"] == sum("inaturalist" in cell.text for cell in identifier_cells(table))
    with zipfile.ZipFile(tmp_path / "download.zip", "w") as archive:
        archive.write(table, "multimedia.txt")
    assert json.loads(said(capsys, "--file", str(tmp_path / "download.zip"), "--json")) == counted
    assert json.loads(said(capsys, "--file", str(ROWS), "--json")) == counted


def test_sizes_of_one_photo_count_as_merged(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = tmp_path / "list.txt"
    table.write_text(f"{MEDIUM}\n{ORIGINAL}\n{ORIGINAL}\nhttps://example.org/a.jpg\n", encoding="utf-8")
    counted = json.loads(said(capsys, "--file", str(table), "--json"))
    assert counted["rules"]["inat"] == {"rows": 3, "urls": 2, "images": 1, "merged": 1}
    text = said(capsys, "--file", str(table), "--verbose", "--limit", "2")
    assert f"1\tinat\tinat:22295\t{ORIGINAL}" in text
    assert "example.org" not in text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("gbifID\tidentifier\n7\thttp://a.org/1.jpg\n8\n", [("7", "http://a.org/1.jpg"), ("8", "")]),
        ('coreid,ac:accessURI,type\n7,"http://a.org/1,2.jpg",StillImage\n', [("7", "http://a.org/1,2.jpg")]),
        ('\ufeffid;"http://rs.tdwg.org/ac/terms/accessURI"\r\n7;"http://a.org/1.jpg"\r\n', [("7", "http://a.org/1.jpg")]),
        ("identifier\nhttp://a.org/1.jpg\n", [("", "http://a.org/1.jpg")]),
        ("http://a.org/1.jpg\n\nhttp://a.org/2,3.jpg\n", [("", "http://a.org/1.jpg"), ("", "http://a.org/2,3.jpg")]),
        ("record\turl\n7\thttp://a.org/1.jpg|http://a.org/2.jpg\n", [("7", "http://a.org/1.jpg"), ("7", "http://a.org/2.jpg")]),
    ],
)
def test_any_table_is_read(text: str, wanted: list[tuple[str, str]], tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text(text, encoding="utf-8", newline="")
    assert [(cell.record, cell.text) for cell in identifier_cells(path)] == wanted


def test_the_first_row_of_a_table_without_a_header_is_whole(tmp_path: Path) -> None:
    path, element = tmp_path / "a.zip", table(["identifier"], "media.txt", SIMPLE, header_lines=0)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.xml", meta(OCCURRENCES, element))
        archive.writestr("media.txt", "17,http://a.org/1.jpg\n18,http://a.org/2.jpg\n")
        archive.writestr("occurrence.txt", "id\n")
    assert [(cell.record, cell.text) for cell in identifier_cells(path)] == [
        ("17", "http://a.org/1.jpg"), ("18", "http://a.org/2.jpg")
    ]  # fmt: skip


def test_what_is_no_table_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        list(identifier_cells(tmp_path / "nowhere.txt"))
    for name in ("html_page.txt", "empty.txt", "no_identifier.txt"):
        with pytest.raises(SourceError):
            list(identifier_cells(ROWS / "bad" / name))
    assert "identify needs either URLs or --file" in said(capsys, code=2)
    assert "identify needs either URLs or --file" in said(capsys, MEDIUM, "--file", "x", code=2)


def test_rows_without_a_picture_are_counted_by_reason(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    kinds = ("Sound", "http://purl.org/dc/dcmitype/MovingImage", "StillImage", "", "Text")
    lines = [f"7,{kind},https://example.org/{at}.jpg\n" for at, kind in enumerate(kinds)]
    for header in ("coreid,type,accessURI\n", "whose,type,accessURI\n"):
        table.write_text(header + "".join(lines), encoding="utf-8")
        survey = IdentitySurvey()
        survey.take(identifier_cells(table))
        assert survey.cells == 5
        assert dict(survey.reasons) == {"type_sound": 1, "type_moving_image": 1, "type_other": 1}
        assert survey.counts()[0].images == 2


def test_the_variants_of_a_row_are_read_on_request() -> None:
    table = ROWS / "variants.tsv"
    best, every = list(identifier_cells(table)), list(identifier_cells(table, every=True))
    assert len(best) == 105
    assert len(every) > 2 * len(best)
    assert {cell.row_no for cell in every} == set(range(1, 106))
    assert [cell for cell in every if "_tn" in cell.text]
    assert not [cell for cell in best if "_tn" in cell.text]
