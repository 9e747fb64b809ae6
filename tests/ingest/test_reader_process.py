"""The process that reads, apart from what it reads."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from d4c_images.errors import D4CError
from d4c_images.ingest import chunks
from d4c_images.ingest.publisher_rows import Assignment
from d4c_images.ingest.reader_process import CHUNK_SLOTS, SLOT_BYTES, ReaderProcess
from d4c_images.ledger.admission.chunk import Chunk, JoinedTexts
from d4c_images.sources import open_media


def readers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "d4c_images.ingest.reader_process" in " ".join(child.cmdline())]


def test_a_reader_that_gets_no_work_goes_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    reader = ReaderProcess()
    assert len(readers()) == 1
    reader.close()
    assert readers() == []
    assert capfd.readouterr().err == ""


def test_a_reader_that_died_before_its_work_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "multimedia.txt"
    path.write_text("gbifID\tidentifier\n1\thttps://x.example.org/1.jpg\n")
    reader = ReaderProcess()
    readers()[0].kill()
    with pytest.raises(D4CError, match="died"):
        list(reader.chunks(Assignment(open_media(path)[0]), None))
    assert readers() == []


def table(path: Path, identifiers: Iterable[str]) -> Assignment:
    path.write_text("gbifID\tidentifier\n" + "".join(f"{n}\t{one}\n" for n, one in enumerate(identifiers, 1)))
    return Assignment(open_media(path)[0])


def rows_of(chunks: Iterable[Chunk]) -> list[tuple[object, ...]]:
    return [(chunk.end_row, *map(texts_of, (chunk.urls, chunk.image_keys)), chunk.gbif_ids.tolist()) for chunk in chunks]


def texts_of(column: JoinedTexts) -> tuple[bytes, list[int]]:
    return column.joined, column.lengths.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    "identifiers",
    [
        pytest.param(
            [f"https://x.example.org/{n}/{'a' * 800}.jpg" for n in range(2 * CHUNK_SLOTS * 512)],  # all slots, and some again
            marks=pytest.mark.slow,
        ),
        [
            f"https://x.example.org/iiif/2/{'a' * 2000}{n}/info.json" for n in range(1000)
        ],  # with its guesses, more than a slot holds
    ],
    ids=["many chunks", "big chunks"],
)
def test_what_arrives_is_what_was_read(tmp_path: Path, identifiers: list[str]) -> None:
    assignment = table(tmp_path / "multimedia.txt", identifiers)
    expected = list(chunks.chunks(assignment, None))
    assert len(expected) > CHUNK_SLOTS or max(len(pickle.dumps(chunk)) for chunk in expected) > SLOT_BYTES
    assert rows_of(ReaderProcess().chunks(assignment, None)) == rows_of(expected)


def test_a_reader_that_dies_at_work_is_told_of(tmp_path: Path) -> None:
    assignment = table(tmp_path / "multimedia.txt", (f"https://x.example.org/{n}/{'a' * 800}.jpg" for n in range(20_000)))
    reading = ReaderProcess().chunks(assignment, None)
    next(reading)
    readers()[0].kill()
    with pytest.raises(D4CError, match="died"):
        list(reading)
    assert readers() == []
