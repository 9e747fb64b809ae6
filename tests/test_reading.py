"""The process that reads, apart from what it reads."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from d4c_images.errors import SourceError
from d4c_images.reading import Reader
from d4c_images.sources import open_media
from d4c_images.stating import Assignment


def readers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "d4c_images.reading" in " ".join(child.cmdline())]


def test_a_reader_that_gets_no_work_goes_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    reader = Reader()
    assert len(readers()) == 1
    reader.close()
    assert readers() == []
    assert capfd.readouterr().err == ""


def test_a_reader_that_died_before_its_work_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "multimedia.txt"
    path.write_text("gbifID\tidentifier\n1\thttps://x.example.org/1.jpg\n")
    reader = Reader()
    readers()[0].kill()
    with pytest.raises(SourceError, match="has died"):
        list(reader.chunks(Assignment(open_media(path)[0]), None))
    assert readers() == []
