"""The memory of `init` does not grow with the file. Measures all its processes; says nothing of speed."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest

from tests.rows import big
from tests.support.patience import WORK_S
from tests.support.program import Collection

MAX_BYTES = 200_000_000
USUAL_BYTES = 165_000_000  # what ordinary rows take: below that, nothing has grown


class Watch:
    """The most memory that a process and its children have had together; pages that they share count once for each."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.most_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            self.most_bytes = max(self.most_bytes, sum(self._sizes()))

    def _sizes(self) -> Iterator[int]:
        try:
            for process in (self._process, *self._process.children(recursive=True)):
                yield process.memory_info().rss
        except psutil.NoSuchProcess:
            pass  # it has ended meanwhile


def peak_of(collection: Collection, *arguments: object) -> int:
    with collection.start("init", *arguments) as process, Watch(process.pid) as watch:
        try:
            output, _ = process.communicate(timeout=WORK_S)
        finally:
            process.kill()  # or it would be left behind, for the next tests to find
    assert process.returncode in (0, 1), output  # 1: every row was rejected
    assert process.returncode == 0 or "no row has a usable image URL" in output, output
    return watch.most_bytes


def peak_bytes(folder: Path, rows: int) -> int:
    folder.mkdir()
    big.write(folder / "multimedia.txt", rows)
    return peak_of(Collection(folder), folder / "multimedia.txt")


@pytest.mark.slow
def test_memory_stays_small(tmp_path: Path) -> None:
    peak = peak_bytes(tmp_path / "many", 300_000)
    print(f"{peak / 1e6:.0f} MB at most")
    assert 20_000_000 < peak < MAX_BYTES


# -- rows of every shape, at two sizes

Cells = Mapping[str, str]
MB = 1_000_000


def megabyte_creators(n: int) -> Iterator[Cells]:
    return ({"identifier": f"https://a.example.org/{j}.jpg", "creator": f"{j}" + "x" * MB} for j in range(n))


def megabyte_texts(n: int) -> Iterator[Cells]:
    """In letters of three bytes, in every column."""
    text = "\u6f22" * 100_000
    names = ("references", "creator", "license", "rightsHolder", "title", "description", "type", "format")
    return ({"identifier": f"https://a.example.org/{j}.jpg", **dict.fromkeys(names, f"{j}{text}")} for j in range(n))


def megabyte_urls(n: int) -> Iterator[Cells]:
    return ({"identifier": f"https://a.example.org/{j}/" + "x" * MB} for j in range(n))


def long_urls(n: int) -> Iterator[Cells]:
    """As long as they may be; with the candidates that are made of them, several times that."""
    return ({"identifier": f"https://a.example.org/iiif/2/{j}{'x' * 8_000}/info.json"} for j in range(50 * n))


def megabyte_lists(n: int) -> Iterator[Cells]:
    return ({"identifier": "|".join(f"http://h{j}.org/{k}" for k in range(50_000))} for j in range(n // 4))


def texts_of_some_kilobytes(n: int) -> Iterator[Cells]:
    return ({"identifier": f"https://a.example.org/{j}.jpg", "creator": f"{j}" + "x" * 15_000} for j in range(60 * n))


def many_texts(n: int) -> Iterator[Cells]:
    return ({"identifier": f"https://a.example.org/{j}.jpg", "creator": f"a name, number {j}"} for j in range(2_000 * n))


def many_hosts(n: int) -> Iterator[Cells]:
    return ({"identifier": f"https://host{j}.example.org/1.jpg"} for j in range(1_500 * n))


def one_image(n: int) -> Iterator[Cells]:
    return ({"identifier": f"https://a.example.org/iiif/2/a/full/{j},/0/default.jpg"} for j in range(300 * n))


SHAPES = (
    megabyte_creators,
    megabyte_texts,
    megabyte_urls,
    long_urls,
    megabyte_lists,
    texts_of_some_kilobytes,
    many_texts,
    many_hosts,
    one_image,
)
PUBLISHERS_HEADER = "occurrenceID,identifier,type,format,references,title,description,creator,license,rightsHolder\n"


def write_rows(path: Path, rows: Iterable[Cells], *, as_publisher: bool = False) -> Path:
    """A table of GBIF, a zip with one in it, or a publisher's table with quotes."""
    names = (PUBLISHERS_HEADER.strip().split(",") if as_publisher else big.HEADER.strip().split("\t"))[1:]
    packed = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) if path.suffix == ".zip" else None
    with packed or nullcontext(), packed.open("multimedia.txt", "w", force_zip64=True) if packed else path.open("wb") as out:
        out.write((PUBLISHERS_HEADER if as_publisher else big.HEADER).encode())
        for number, row in enumerate(rows, 1):
            cells = [str(number), *({"type": "StillImage", **row}.get(name, "") for name in names)]
            line = ",".join(f'"{cell}"' for cell in cells) if as_publisher else "\t".join(cells)
            out.write(line.encode() + b"\n")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["multimedia.txt", "download.zip", "media.csv"])
@pytest.mark.parametrize("shape", SHAPES)
def test_memory_does_not_depend_on_what_the_rows_hold(tmp_path: Path, shape: Callable[[int], Iterator[Cells]], name: str) -> None:
    peaks = []
    for n in (100, 200):
        folder = tmp_path / str(n)
        folder.mkdir()
        source = write_rows(folder / name, shape(n), as_publisher=name == "media.csv")
        peaks.append(peak_of(Collection(folder), source))
        source.unlink()
    print(f"{shape.__name__} {name}: {peaks[0] / 1e6:.0f} and {peaks[1] / 1e6:.0f} MB at most")
    assert peaks[1] <= MAX_BYTES
    assert peaks[1] <= 1.1 * peaks[0] or peaks[1] < USUAL_BYTES


LABEL_NAMES = (
    *("scientificName", "taxonKey", "family", "datasetKey", "license", "country", "typeStatus", "catalogNumber", "occurrenceID"),
    *("eventDate", "recordedBy", "informationWithheld", "dataGeneralizations"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("length", "n"), [(2_000, 2_000), (100_000, 60), (0, 50_000)])
def test_memory_does_not_depend_on_what_the_labels_hold(tmp_path: Path, length: int, n: int) -> None:
    """No two records share anything; the cells are as long as they may be, or longer, or short and many."""
    peaks = []
    for times in (1, 2):
        folder = tmp_path / str(times)
        folder.mkdir()
        write_rows(folder / "multimedia.txt", ({"identifier": f"https://a.example.org/{j}.jpg"} for j in range(times * n)))
        with (folder / "occurrence.txt").open("w") as out:
            out.write("\t".join(["gbifID", *LABEL_NAMES]) + "\n")
            for j in range(1, times * n + 1):
                out.write("\t".join([str(j), *(f"{j} {name}{'x' * length}" for name in LABEL_NAMES)]) + "\n")
        peaks.append(peak_of(Collection(folder), folder, "--labels"))
        (folder / "occurrence.txt").unlink()
    print(f"labels of {length} characters: {peaks[0] / 1e6:.0f} and {peaks[1] / 1e6:.0f} MB at most")
    assert peaks[1] <= MAX_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("name", ["multimedia.txt", "download.zip", "media.csv"])
@pytest.mark.parametrize("cell", ["creator", "identifier", "quote"])
def test_one_row_of_300_megabytes(tmp_path: Path, name: str, cell: str) -> None:
    """A cell, or a file whose line ends are lost behind a quote. The rows around it are there."""
    long = {"quote": {"creator": "x" * 300 * MB}}.get(cell, {cell: "https://a.example.org/" + "x" * 300 * MB})
    rows = [{"identifier": "https://a.example.org/1.jpg"}, {"identifier": "https://a.example.org/2.jpg", **long}]
    source = write_rows(tmp_path / name, [*rows, {"identifier": "https://a.example.org/3.jpg"}], as_publisher=name == "media.csv")
    collection = Collection(tmp_path)
    assert peak_of(collection, source) <= MAX_BYTES
    n_images = 2 if name == "media.csv" or cell == "identifier" else 3
    assert collection.rows("SELECT count(*) FROM images") == [(n_images,)]
    if n_images == 2:
        ((offset, row_no, reason),) = collection.rows("SELECT byte_offset, row_no, reason FROM rejected_rows")
        assert (offset, row_no) == (len(PUBLISHERS_HEADER if name == "media.csv" else big.HEADER) + len_of_first(name), 2)
        assert reason == ("row_too_long" if name == "media.csv" else "malformed_url")
    else:
        assert collection.rows("SELECT note, n FROM note_counts") == [("creator_cut", 1)]


def len_of_first(name: str) -> int:
    """Bytes of the first row of `test_one_row_of_300_megabytes`."""
    n_cells = PUBLISHERS_HEADER.count(",") + 1 if name == "media.csv" else big.HEADER.count("\t") + 1
    texts = len("1" + "StillImage" + "https://a.example.org/1.jpg")
    return texts + n_cells + (2 * n_cells if name == "media.csv" else 0)
