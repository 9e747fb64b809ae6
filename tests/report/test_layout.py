"""Tables of reports on terminals of any width and height, and in logs. No cell is truncated."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from d4c_images.report.hosts import HostLine, State
from d4c_images.report.layout import Column, Section, fitted, put, show
from d4c_images.report.render_hosts import section

WHY = "it says that we are blocked (http 200: 'Access denied'); ask its operator to admit this User-Agent or address"
NAME = "a-museum-with-a-rather-long-name.collections.example.org"


def terminal(width: int, height: int = 200) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width, height=height)


def text_of(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def host(name: str, **values: object) -> HostLine:
    plain = {
        "host": name, "group": None, "state": State.BLOCKED, "until": 4_000_000_000, "why": WHY, "n_images": 900, "n_left": 888,
        "connections": 8, "min_interval_s": 2.5, "bytes_per_s": 512_000, "bytes_per_day": 24e9, "width": 4, "images_per_s": 1.5,
        "eta_s": 592.0,
    }  # fmt: skip
    return HostLine(**(plain | values))  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 132, 200, 300])
def test_every_word_of_a_list_of_hosts_is_shown_at_every_width(width: int) -> None:
    console = terminal(width)
    show("hosts", [], [section([host(NAME), host("b.org", state=State.WORKING, until=None, why=None)])], console)
    text = text_of(console)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    said = re.sub(r"\s+", " ", text)
    for words in (NAME, WHY, "888", "9 min 52 s", "every 2.5 s", "512 kB/s", "24.0 GB/day", "4 of 8", "blocked until", "working"):
        assert words in said or words.replace(" ", "") in said.replace(" ", ""), (words, text)


def test_at_80_columns_what_has_no_room_stands_below_its_host() -> None:
    console = terminal(80)
    show("", [], [section([host("a.org", until=None), host("b.org", state=State.WORKING, until=None, why=None)])], console)
    assert text_of(console).splitlines()[2:] == [
        "host   left         ETA  images/s  connections  state",
        "a.org   888  9 min 52 s      1.50       4 of 8  blocked",
        "    every 2.5 s, 512 kB/s, 24.0 GB/day; it says that we are blocked (http 200:",
        "    'Access denied'); ask its operator to admit this User-Agent or address",
        "b.org   888  9 min 52 s      1.50       4 of 8  working",
        "    every 2.5 s, 512 kB/s, 24.0 GB/day",
    ]


def test_the_time_left_is_marked_as_long_as_no_pace_is_known() -> None:
    (row,) = section([host("a.org", images_per_s=None)]).rows
    assert row[2:4] == ("~9 min 52 s", "")


COLUMNS = (Column("kind"), Column("n", right=True))
TABLES = [
    Section(f"Table {name}, the long one", COLUMNS, [(f"{name}{n}", "7") for n in range(5)], (name, f"{name} in brief"))
    for name in "ab"
]


def test_a_wide_terminal_has_tables_side_by_side() -> None:
    console = terminal(46)
    show("title", [], TABLES, console)
    assert "Table a, the long one    Table b" in text_of(console)
    console = terminal(45)
    show("title", [], TABLES, console)
    assert text_of(console).splitlines()[2] == "Table a, the long one"


@pytest.mark.parametrize(("height", "has_tables"), [(5, ""), (12, "a"), (18, "ab")])
def test_as_many_tables_as_the_terminal_has_lines_for_and_the_others_in_brief(height: int, has_tables: str) -> None:
    console = terminal(30, height)
    put(fitted("title", [], TABLES, console, "hint"), console)
    text = text_of(console)
    assert [name for name in "ab" if f"Table {name}" in text] == list(has_tables)
    assert [name for name in "ab" if f"{name} in" in text] == [name for name in "ab" if name not in has_tables]
    assert ("hint" in text) == (has_tables != "ab")
    assert len(text.splitlines()) < height


@pytest.mark.parametrize(("height", "briefs"), [(9, "ab"), (8, "ab"), (7, "ab"), (6, "a"), (5, ""), (4, "")])
def test_what_stands_first_never_scrolls_away(height: int, briefs: str) -> None:
    """Facts of one name are folded first, then the last sections are left out."""
    facts = [("archive", "one"), ("archive", "two"), ("archive", "three"), ("left", "7 images")]
    console = terminal(40, height)
    put(fitted("title", facts, TABLES, console, "hint"), console)
    lines = text_of(console).splitlines()
    assert [name for name in "ab" if f"{name} in brief" in text_of(console)] == list(briefs)
    assert lines[0] == "title"
    assert lines[-2 - len(briefs)] == "left      7 images"
    assert ("archive   three; 2 earlier ones" in lines) == (height < 9)
    assert len(lines) < max(height, 5)


def test_a_pipe_gets_all_tables_in_lines_that_are_as_long_as_they_are() -> None:
    console = Console(file=io.StringIO(), width=20, height=5)
    put(fitted("title", [("fact", 50 * "x")], TABLES, console, "hint"), console)
    assert text_of(console).splitlines()[1:4] == ["fact      " + 50 * "x", "", "Table a, the long one"]
    assert "hint" not in text_of(console)
