"""`init` from a user's view: real-world downloads, bad input, several imports in a row, and `--reset`."""

from __future__ import annotations

import errno
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from d4c_images.cli import main
from d4c_images.errors import UsageError
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import open_ledger
from d4c_images.sources import lines, open_source
from tests.conftest import ROWS
from tests.publishers.client import Publishers
from tests.rows import big
from tests.support.downloads import ask, bare, check_sound, load, row, table, zipped
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, reach
from tests.support.sweep import thinned

REAL = (ROWS / "multimedia.txt").read_bytes()
VERBATIM = b"gbifID\tidentifier\n1\thttps://media.example.org/as-received.jpg\n"
URLS = "SELECT urls FROM image_rows ORDER BY image_id"
ONE, TWO, THREE = (row(number, f"https://media.example.org/{number}.jpg") for number in (1, 2, 3))
ALL_THREE = [(f"https://media.example.org/{number}.jpg",) for number in (1, 2, 3)]

Init = Callable[..., tuple[int, str, str]]


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Init:
    """Runs the command within this process, in an empty folder; gives its exit code, output and complaints."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["init", *map(str, arguments), "--ledger", str(tmp_path / "ledger.sqlite")])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


# -- lines and cells


@pytest.mark.parametrize(
    "data",
    thinned(
        [
            table([ONE, TWO, THREE]),
            b"\xef\xbb\xbf" + table([ONE, TWO, THREE]),
            table([ONE, TWO, THREE]).replace(b"\n", b"\r\n"),
            table([ONE, TWO, THREE]).removesuffix(b"\n"),
            table([ONE, TWO, THREE]).replace(b"\n", b"\r\n").removesuffix(b"\n"),
            b"\xef\xbb\xbf" + table([ONE, TWO, THREE]).replace(b"\n", b"\r\n").removesuffix(b"\r\n"),
        ],
        3,
    ),
    ids=["plain", "byte order mark", "CRLF", "no last line feed", "CR at the end", "all at once"],
)
@pytest.mark.parametrize("limit", [None, 1, 2])
def test_ends_of_lines_belong_to_no_cell(data: bytes, limit: int | None, tmp_path: Path) -> None:
    source, ledger = tmp_path / "multimedia.txt", tmp_path / "ledger.sqlite"
    source.write_bytes(data)
    if limit is not None:
        assert load(ledger, source, limit=limit).rows == limit
    summary = load(ledger, source)
    assert (summary.rows, summary.admitted, summary.rejects) == (3, 3, {})
    assert ask(ledger, URLS) == ALL_THREE
    assert ask(ledger, "SELECT DISTINCT rights_holder FROM occurrence_images") == [(None,)]


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\r", "\x00"])
def test_what_python_takes_for_the_end_of_a_line_is_none(character: str, tmp_path: Path) -> None:
    odd = row(1, "https://media.example.org/1.jpg", title=f"one{character}two", creator=f"A{character}B")
    summary = load(tmp_path / "ledger.sqlite", bare(tmp_path / "multimedia.txt", [odd, TWO, THREE]))
    assert (summary.rows, summary.admitted) == (3, 3)
    assert ask(tmp_path / "ledger.sqlite", "SELECT creator FROM occurrence_images WHERE gbif_id = 1") == [(f"A{character}B",)]
    assert ask(tmp_path / "ledger.sqlite", URLS) == ALL_THREE


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        ('6" wide', '6" wide'), ('"', '"'), ('""', None), ('"A ""nick"" B"', 'A "nick" B'), ('"begins only', '"begins only'),
        ("  blanks around  ", "blanks around"), ("' single '", "' single '"),
    ],
)  # fmt: skip
def test_quotes_are_characters_like_others(cell: str, kept: str | None, tmp_path: Path) -> None:
    """A stray quote must not swallow the lines that follow; what a small download has doubled is undone."""
    rows = [row(1, "https://media.example.org/1.jpg", title=cell, creator=cell, references=cell, license=cell), TWO, THREE]
    load(tmp_path / "ledger.sqlite", bare(tmp_path / "multimedia.txt", rows))
    found = ask(tmp_path / "ledger.sqlite", "SELECT creator, references_url, license FROM occurrence_images ORDER BY gbif_id")
    assert found == [(kept, kept, kept), (None, None, None), (None, None, None)]


def test_broken_bytes_cost_their_own_cell_only(tmp_path: Path) -> None:
    rows = [
        ONE.encode(),
        row(2, "https://media.example.org/2.jpg", creator="M?ller").encode().replace(b"?", b"\xfc"),
        row(3, "https://media.example.org/3.jpg").encode() + b"\xe2\x80",  # begins a character that the line feed must not end
        row(4, "https://media.example.org/4.jpg", creator="Müller").encode(),
        row(5, "", title="?").encode().replace(b"?", b"\xff"),  # rejected: not among the admitted
    ]
    summary = load(tmp_path / "ledger.sqlite", bare(tmp_path / "multimedia.txt", rows))
    assert (summary.admitted, summary.notes, summary.rejects) == (4, {"broken_utf8": 2}, {"no_identifier": 1})
    assert ask(tmp_path / "ledger.sqlite", "SELECT creator, rights_holder FROM occurrence_images ORDER BY gbif_id") == [
        (None, None), ("M\ufffdller", None), (None, "\ufffd"), ("Müller", None),
    ]  # fmt: skip


def test_rows_of_another_table_do_not_shift_cells(tmp_path: Path) -> None:
    """17 cells, as rows of `verbatim/multimedia.txt` have that were seen in the processed table; and what it leads back to."""
    leaked = "\t".join(["9", "50c9509d-22c7-4a22-a47d-8c48425ef4a7", "StillImage", "image/jpeg", "https://x.org/9.jpg", *[""] * 12])
    short, long = row(4, "https://x.org/4.jpg").rpartition("\t")[0], row(5, "https://x.org/ü.jpg") + "\t"
    rows = [ONE, leaked, long, short, "", TWO, "\t" * 14, "no tab at all", THREE]
    source = bare(tmp_path / "multimedia.txt", rows)
    load(tmp_path / "ledger.sqlite", source)
    assert ask(tmp_path / "ledger.sqlite", URLS) == ALL_THREE
    kept = ask(tmp_path / "ledger.sqlite", "SELECT row_no, reason, gbif_id, byte_offset, row_start FROM rejected_rows ORDER BY 1")
    assert [cells[:3] for cells in kept] == [
        (2, "too_many_cells", 9), (3, "too_many_cells", 5), (4, "too_few_cells", 4), (5, "too_few_cells", None),
        (7, "bad_gbif_id", None), (8, "too_few_cells", None),
    ]  # fmt: skip
    data = source.read_bytes()
    for row_no, _, _, offset, start in kept:
        assert rows[int(str(row_no)) - 1] == start
        assert data[int(str(offset)) :].startswith(str(start).encode() + b"\n")


def test_too_few_and_too_many_cells_do_not_make_up_for_each_other(tmp_path: Path) -> None:
    """In sum they are as many as they should be."""
    load(tmp_path / "ledger.sqlite", bare(tmp_path / "multimedia.txt", [ONE.rpartition("\t")[0], TWO + "\t", THREE]))
    assert ask(tmp_path / "ledger.sqlite", URLS) == ALL_THREE[2:]


def test_a_row_of_megabytes_is_read_and_an_endless_one_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 2 << 20)  # longer than what is read at once
    long = row(1, "https://media.example.org/1.jpg", description="x" * 1_500_000)
    assert load(tmp_path / "ledger.sqlite", bare(tmp_path / "multimedia.txt", [long, TWO, THREE])).images == 3
    endless = bare(tmp_path / "endless.txt", [ONE, TWO + "\t" * (5 << 19), THREE])
    summary = load(tmp_path / "other.sqlite", endless)
    assert (summary.images, summary.rejects) == (2, {"row_too_long": 1})


# -- what cannot be read


def bad(name: str) -> Callable[[Path], Path]:
    return lambda folder: ROWS / "bad" / name


def written(name: str, data: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def truncated(share: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        whole = zipped(folder / "whole.zip", {"occurrence.txt": b"gbifID\n" * 1000, "multimedia.txt": REAL}).read_bytes()
        (folder / "download.zip").write_bytes(whole[: int(len(whole) * share)] if share < 1 else whole[:-1])
        return folder / "download.zip"

    return make


def encrypted(folder: Path) -> Path:
    path = zipped(folder / "download.zip", {"multimedia.txt": REAL})
    data = bytearray(path.read_bytes())
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


def folder_of(*names: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "download").mkdir()
        for name in names:
            (folder / "download" / name).write_bytes(b"x\n")
        return folder / "download"

    return make


def zip_of(**members: bytes) -> Callable[[Path], Path]:
    return lambda folder: zipped(folder / "download.zip", {name.replace("_", "/") + ".txt": data for name, data in members.items()})


BAD: dict[str, tuple[Callable[[Path], Path], int, str]] = {
    "no such file": (lambda folder: folder / "nothing.zip", 2, "no such file"),
    "a device": (lambda folder: Path("/dev/null"), 2, "neither a file nor a folder"),
    "unreadable": (lambda folder: Path("/proc/self/mem"), 1, "cannot be read: Input/output error"),
    "empty": (bad("empty.txt"), 2, "the file is empty"),
    "an empty zip": (written("download.zip", b""), 2, "not a zip file (it is empty)"),
    "not a zip": (written("download.zip", b"<html><title>504 Gateway"), 2, "is not a zip file"),
    "zip without multimedia": (zip_of(occurrence=b""), 2, "no multimedia.txt (it has occurrence.txt)"),
    "zip of nothing": (zip_of(), 2, "no multimedia.txt (it has nothing)"),
    "only verbatim": (zip_of(verbatim_multimedia=VERBATIM), 2, "(it has verbatim/multimedia.txt)"),
    "encrypted": (encrypted, 2, "multimedia.txt is encrypted"),
    "a zip cut at 1 %": (truncated(0.01), 2, "truncated or damaged"),
    "a zip cut at 50 %": (truncated(0.5), 2, "truncated or damaged"),
    "a zip cut at 99 %": (truncated(0.99), 2, "truncated or damaged"),
    "a zip without its last byte": (truncated(1), 2, "truncated or damaged"),
    "a page": (bad("html_page.txt"), 2, "this is an HTML page"),
    "JSON": (written("m.txt", b'{"error": "gone"}'), 2, "this is JSON"),
    "an LFS pointer": (bad("lfs_pointer.txt"), 2, "git lfs pull"),
    "no identifier": (bad("no_identifier.txt"), 2, "no column identifier"),
    "no gbifID": (bad("no_gbif_id.txt"), 2, "no record id (gbifid,"),
    "a header longer than any": (written("m.txt", b"x" * 100_000), 2, "no column gbifID and identifier"),
    "a folder without multimedia": (folder_of("occurrence.txt"), 2, "no multimedia.txt (it has occurrence.txt)"),
    "an empty folder": (folder_of(), 2, "it has nothing"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("options", thinned([(), ("--reset", "--yes")], 2), ids=["", "reset"])
def test_a_bad_source_gets_one_clear_line_and_touches_nothing(
    case: str, options: tuple[str, ...], tmp_path: Path, init: Init
) -> None:
    make, code, says = BAD[case]
    source, ledger = make(tmp_path), tmp_path / "ledger.sqlite"
    if options:
        load(ledger, bare(tmp_path / "good.txt", [ONE]))
    exit_code, output, complaint = init(source, *options)
    assert (exit_code, output) == (code, "")
    assert re.fullmatch(r"d4c-images: [^\n]+\n", complaint)
    assert says in complaint
    assert str(source) in complaint
    assert ledger.exists() == bool(options)
    if options:
        assert ask(ledger, URLS) == ALL_THREE[:1]


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system's answer is played."""
    source = bare(tmp_path / "multimedia.txt", [ONE])

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UsageError, match=r"multimedia\.txt cannot be read: Permission denied"):
        open_source(source)


def test_init_without_a_source(init: Init, tmp_path: Path) -> None:
    code, _, complaint = init()
    assert (code, complaint.count("\n")) == (2, 1)
    assert "needs a SOURCE" in complaint
    assert not (tmp_path / "ledger.sqlite").exists()


def test_labels_are_asked_for_where_there_are_none(init: Init, tmp_path: Path) -> None:
    """Said before anything is read."""
    code, _, complaint = init(bare(tmp_path / "multimedia.txt", [ONE]), "--labels")
    assert (code, complaint.count("\n")) == (2, 1)
    assert "no occurrence.txt next to it" in complaint
    assert not (tmp_path / "ledger.sqlite").exists()


# -- what it says


def test_a_source_is_read_once(init: Init, tmp_path: Path) -> None:
    code, output, complaint = init(ROWS)
    assert (code, complaint) == (0, "")
    assert re.match(rf"{re.escape(str(ROWS))}/multimedia\.txt: 465 rows, \d+ of them with an image; \d+ new images, ", output)
    assert re.search(r"^ +25  no_identifier \(no URL\)$", output, re.MULTILINE)
    assert "imported before" not in output
    shutil.copytree(ROWS, tmp_path / "moved")
    assert "nothing new: this source was imported before" in init(tmp_path / "moved")[1]


@pytest.mark.slow
def test_a_newer_download_says_how_many_rows_were_known(init: Init, tmp_path: Path) -> None:
    first = init(bare(tmp_path / "one.txt", [ONE, TWO]))[1]
    assert "2 rows, 2 of them with an image; 2 new images, 2 new links between a record and an image\n" in first
    again = init(bare(tmp_path / "two.txt", [TWO, ONE, THREE]))[1]
    assert "3 rows, 3 of them with an image; 1 new image, 1 new link between a record and an image; 2 rows already known\n" in again


def test_a_download_without_media_was_not_read_before(init: Init) -> None:
    code, output, complaint = init(ROWS / "header_only.txt")
    assert (code, complaint.count("\n")) == (1, 1)
    assert "header_only.txt: nothing to download: no media rows" in complaint
    assert "0 rows" in output
    assert "imported before" not in output
    assert "it has a header but no rows" in output


def test_a_limit_is_told_and_lifted(init: Init) -> None:
    assert "the source has more rows than --limit" in init(ROWS / "multimedia.txt", "--limit", 100)[1]
    code, output, _ = init(ROWS / "multimedia.txt")
    assert code == 0
    assert "resumed after row 100, where an earlier run stopped" in output
    assert "more rows than --limit" not in output


# -- a fresh beginning


def test_reset_asks_before_it_deletes(init: Init, tmp_path: Path) -> None:
    one, two = (bare(tmp_path / f"{name}.txt", [line]) for name, line in (("one", ONE), ("two", TWO)))
    init(one)
    code, output, complaint = init(two, "--reset")
    assert (code, output) == (2, "")
    assert "--reset would delete" in complaint
    assert "(1 image, 0 stored): add --yes" in complaint
    assert ask(tmp_path / "ledger.sqlite", URLS) == ALL_THREE[:1]
    assert init(two, "--reset", "--yes")[0] == 0
    assert ask(tmp_path / "ledger.sqlite", URLS) == ALL_THREE[1:2]


@pytest.mark.parametrize(("answer", "kept"), thinned([pytest.param(*row) for row in (("n", 0), ("", 0), ("y", 1), ("YES", 1))], 4))
def test_reset_takes_an_answer(answer: str, kept: int, init: Init, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (bare(tmp_path / f"{name}.txt", [line]) for name, line in (("one", ONE), ("two", TWO)))
    init(one)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    code, _, complaint = init(two, "--reset")
    assert (code, "nothing was deleted" in complaint) == ((0, False) if kept else (1, True))
    assert ask(tmp_path / "ledger.sqlite", URLS) == ALL_THREE[kept : kept + 1]


def test_reset_takes_ctrl_d_for_a_no(init: Init, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (bare(tmp_path / f"{name}.txt", [line]) for name, line in (("one", ONE), ("two", TWO)))
    init(one)

    def ctrl_d(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", ctrl_d)
    code, _, complaint = init(two, "--reset")
    assert (code, complaint) == (1, "d4c-images: nothing was deleted\n")
    assert ask(tmp_path / "ledger.sqlite", URLS) == ALL_THREE[:1]


def test_reset_without_a_ledger_is_init(init: Init, tmp_path: Path) -> None:
    assert init(bare(tmp_path / "one.txt", [ONE]), "--reset")[0] == 0
    assert ask(tmp_path / "ledger.sqlite", URLS) == ALL_THREE[:1]


def test_reset_deletes_no_file_but_a_ledger(init: Init, tmp_path: Path) -> None:
    ledger, source = tmp_path / "ledger.sqlite", bare(tmp_path / "one.txt", [ONE])
    with closing(sqlite3.connect(ledger)) as db:
        db.execute("CREATE TABLE letters (text)")
    for body in (ledger.read_bytes(), b"Dear Sir or Madam,\n" * 100):
        ledger.write_bytes(body)
        code, _, complaint = init(source, "--reset", "--yes")
        assert (code, complaint.count("\n")) == (2, 1)
        assert "ledger" in complaint
        assert ledger.read_bytes() == body


def test_nobody_takes_the_ledger_of_a_living_run(init: Init, tmp_path: Path) -> None:
    ledger, source = tmp_path / "ledger.sqlite", bare(tmp_path / "two.txt", [TWO])
    load(ledger, bare(tmp_path / "one.txt", [ONE]))
    with closing(open_ledger(ledger)) as other:
        me = owner.this_process()
        owner.take(other, "download", me, 1_800_000_000)
        for options in ((), ("--reset", "--yes")):
            code, _, complaint = init(source, *options)
            assert (code, complaint.count("\n")) == (1, 1)
            assert f"in use by 'download' on host {me.host}, pid {me.pid}" in complaint
        owner.give_back(other, "ended", 1_800_000_000)
    assert ask(ledger, URLS) == ALL_THREE[:1]


# -- between downloads


@pytest.mark.slow
def test_a_second_archive_after_a_download(tmp_path: Path, publishers: Publishers) -> None:
    """What is stored stays, numbers and files; what is new is fetched, and only that."""
    collection = Collection(tmp_path)
    url = "http://media.example.org/{}.jpg"
    options = [*reach(publishers), "--no-progress"]
    collection.run("init", bare(tmp_path / "1.txt", [row(7, url.format(1)), row(7, url.format(2)), row(8, url.format(3))]))
    collection.run("download", *options)
    before = collection.rows("SELECT image_id, gbif_id, image_no, file_path, sha256 FROM images ORDER BY image_id")
    assert collection.rows("SELECT status, count(*) FROM gbif_ids GROUP BY 1") == [("done", 2)]
    more = [row(9, url.format(1)), row(7, url.format(4)), row(7, url.format(3)), row(7, url.format(1))]
    collection.run("init", zipped(tmp_path / "2.zip", {"multimedia.txt": table(more)}))
    check_sound(collection.ledger)
    assert collection.rows("SELECT gbif_id, status FROM gbif_ids ORDER BY 1") == [(7, "partial"), (8, "done"), (9, "done")]
    assert collection.rows("SELECT image_id, gbif_id, image_no, file_path, sha256 FROM images ORDER BY image_id")[:3] == before
    links = collection.rows("SELECT gbif_id, image_no, image_id FROM occurrence_images ORDER BY 1, 2")
    assert links == [(7, 0, 1), (7, 1, 2), (7, 2, 4), (7, 3, 3), (8, 0, 3), (9, 0, 1)]
    collection.run("download", *options)
    collection.check_invariants()
    assert publishers.counters()["requests"] == 4
    assert collection.rows("SELECT DISTINCT status FROM gbif_ids") == [("done",)]


@pytest.mark.slow
def test_a_signal_ends_it_between_two_groups(tmp_path: Path) -> None:
    """With the exit code that means run it again; what was read stays, and the same command goes on behind it."""
    collection = Collection(tmp_path)
    with (tmp_path / "multimedia.txt").open("wb") as out:
        out.writelines(text.encode() for text in big.chunks(150_000))
    process = collection.start("init", tmp_path / "multimedia.txt")
    while not (collection.ledger.exists() and is_owned(collection)):
        assert process.poll() is None
    process.terminate()
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 75, output
    assert re.search(r"SIGTERM: stopped after row [\d,]+, all committed", output)
    assert "resumed after row" in collection.run("init", tmp_path / "multimedia.txt")
    assert collection.rows("SELECT rows_done, finished_at > 0 FROM archives") == [(150_000, 1)]


def is_owned(collection: Collection) -> bool:
    """Whether the program has begun; the rows come only when it has started another process to read them."""
    try:
        return bool(collection.rows("SELECT 1 FROM owner"))
    except sqlite3.OperationalError:  # not made yet, or just being made
        return False
