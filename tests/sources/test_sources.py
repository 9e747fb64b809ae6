"""Tables of downloads: found, opened, cut into lines, or refused in one clear line."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.errors import D4CError, SourceError, UsageError
from d4c_images.sources import Source, lines, open_source
from d4c_images.sources.header import read_header
from d4c_images.sources.lines import Block, blocks
from tests.rows import big

ROWS = Path(__file__).parents[1] / "rows"
BAD = ROWS / "bad"
HEADER = b"gbifID\tidentifier\n"


def content(source: Source) -> bytes:
    return b"".join(block.data for block in source.blocks())


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


# -- lines


@given(data=st.binary(max_size=300).map(lambda data: data.replace(b"\x00", b"\n")), size=st.integers(1, 40))
def test_lines_are_cut_at_line_feeds_and_nowhere_else(data: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", size)
        found = list(blocks(io.BytesIO(data), 0, 1))
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert b"".join(block.data for block in found) == data
    row_no = 1
    for block in found:
        assert block.row_no == row_no
        assert data[block.offset : block.end] == block.data
        text, (_, broken) = block.text(), block.lines()
        rows = text.split("\n")
        here = expected[row_no - 1 : row_no - 1 + block.n_lines]
        assert rows == [line.removesuffix(b"\r").decode(errors="replace") for line in here]
        assert broken == [at for at, line in enumerate(here) if line.decode(errors="replace").encode() != line]
        assert [data[offset:].startswith(line) for offset, line in zip(block.offsets(), here, strict=False)] == [True] * len(here)
        row_no += block.n_lines
    assert row_no == len(expected) + 1


def test_the_head_of_a_block() -> None:
    block = Block(5, 100, 3, b"a\nbb\nccc")
    assert block.head(2) == Block(5, 100, 2, b"a\nbb\n")
    assert block.head(3) == block


# -- headers


def test_columns_are_found_by_name_only() -> None:
    columns = read_header(b'\xef\xbb\xbf"identifier"\t type \tGBIFID\r\n', ["gbifID", "identifier"], "x")
    assert (columns.width, columns["gbifID"], columns["identifier"], columns.get("type")) == (3, 2, 0, 1)
    assert columns.get("license") is None


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ((BAD / "empty.txt").read_bytes(), "the file is empty"),
        ((BAD / "html_page.txt").read_bytes(), "this is an HTML page"),
        ((BAD / "lfs_pointer.txt").read_bytes(), "this is a git-LFS pointer"),
        ((BAD / "no_gbif_id.txt").read_bytes(), "the header has no column gbifID (it begins"),
        ((BAD / "no_identifier.txt").read_bytes(), "the header has no column identifier (it begins"),
        (b"some words\nand more\n", "the header has no column gbifID and identifier"),
        (b"<?xml version='1.0'?><archive/>", "this is XML"),
        (b'{"media": []}', "this is JSON"),
        (b"\x1f\x8b\x08\x00", "this is a binary file"),
        (b"\xff\xfeg\x00b\x00i\x00f\x00", "the header has no column gbifID and identifier (it begins: 'gbif')"),
    ],
)
def test_what_a_file_without_a_usable_header_seems_to_be(tmp_path: Path, start: bytes, says: str) -> None:
    path = tmp_path / "multimedia.txt"
    path.write_bytes(start)
    with pytest.raises(SourceError) as refusal:
        open_source(path)
    assert says in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_download_without_media_is_a_download(tmp_path: Path) -> None:
    assert list(open_source(ROWS / "header_only.txt").blocks()) == []
    (tmp_path / "m.txt").write_bytes(HEADER.strip())
    assert list(open_source(tmp_path / "m.txt").blocks()) == []


# -- where a table is


def test_the_same_table_in_a_zip_in_a_folder_and_bare(tmp_path: Path) -> None:
    data = HEADER + b"".join(b"%d\thttps://a.example.org/%d\n" % (n, n) for n in range(5000))
    (tmp_path / "multimedia.txt").write_bytes(data)
    archive = zipped(
        tmp_path / "download.zip",
        {
            "occurrence.txt": b"gbifID\n1\n",
            "verbatim/multimedia.txt": b"wrong\n",
            "multimedia.txt": data,
            "meta.xml": b"<archive/>",
        },
    )
    sources = [open_source(tmp_path), open_source(tmp_path / "multimedia.txt"), open_source(archive)]
    for source in sources:
        assert content(source) == data[len(HEADER) :]
        assert source.size_bytes == len(data)
        offset = data.index(b"\n4000\t") + 1
        rest = list(source.blocks(offset, 4001))
        assert (rest[0].row_no, rest[0].offset) == (4001, offset)
        assert b"".join(block.data for block in rest) == data[offset:]
    assert sources[0].fingerprint == sources[1].fingerprint
    assert open_source(archive, "occurrence").kind == "occurrence"
    moved = archive.rename(tmp_path / "moved.zip")
    assert open_source(moved).fingerprint == sources[2].fingerprint


def test_other_content_has_another_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "multimedia.txt"
    prints = set()
    for data in (HEADER + b"1\ta\n", HEADER + b"1\tb\n", HEADER + b"1\ta\n2\tb\n"):
        path.write_bytes(data)
        prints.add(open_source(path).fingerprint)
        prints.add(open_source(zipped(tmp_path / "z.zip", {"multimedia.txt": data})).fingerprint)
    assert len(prints) == 6


def test_a_zip_written_as_a_stream(tmp_path: Path) -> None:
    """Entries with data descriptors and zip64 fields, as GBIF's builder writes them."""

    class Pipe(io.RawIOBase):
        def __init__(self, path: Path) -> None:
            self.file = path.open("wb")

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            return self.file.write(data)

    pipe = Pipe(tmp_path / "stream.zip")
    data = HEADER + b"1\thttps://a.example.org/1\n" * 1000
    with (
        zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("multimedia.txt", "w", force_zip64=True) as entry,
    ):
        entry.write(data)
    pipe.file.close()
    pipe.close()
    assert content(open_source(tmp_path / "stream.zip")) == data[len(HEADER) :]


def test_a_big_zip_is_read_inside_the_archive(tmp_path: Path) -> None:
    size = big.write(tmp_path / "big.zip", 20_000, as_zip=True)
    source = open_source(tmp_path / "big.zip")
    assert source.size_bytes == size
    assert sum(block.n_lines for block in source.blocks()) == 20_000
    assert [path.name for path in tmp_path.iterdir()] == ["big.zip"]


# -- what cannot be read


def refusal(path: Path, member: str = "multimedia") -> tuple[type[D4CError], str]:
    with pytest.raises(D4CError) as caught:
        open_source(path, member)
    assert "\n" not in str(caught.value)
    return type(caught.value), str(caught.value)


def test_files_that_are_no_download(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.zip") == (UsageError, f"no such file: {tmp_path / 'none.zip'}")
    (tmp_path / "fake.zip").write_bytes(b"not at all")
    assert refusal(tmp_path / "fake.zip") == (SourceError, f"{tmp_path / 'fake.zip'} is not a zip file")
    (tmp_path / "empty.zip").write_bytes(b"")
    assert "is not a zip file (it is empty)" in refusal(tmp_path / "empty.zip")[1]
    other = zipped(tmp_path / "other.zip", {f"f{n}.txt": b"" for n in range(10)} | {"verbatim/multimedia.txt": b""})
    kind, text = refusal(other)
    assert kind is SourceError
    assert "contains no multimedia.txt (it has f0.txt, f1.txt," in text
    assert "and 3 more" in text
    (tmp_path / "folder").mkdir()
    assert "contains no multimedia.txt (it has nothing)" in refusal(tmp_path / "folder")[1]
    assert refusal(Path("/dev/null"))[0] is UsageError


def test_a_truncated_zip(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "whole.zip", {"multimedia.txt": HEADER + b"1\thttps://a.example.org/1\n" * 1000})
    (tmp_path / "cut.zip").write_bytes(whole.read_bytes()[:-200])
    kind, text = refusal(tmp_path / "cut.zip")
    assert kind is SourceError
    assert "truncated or damaged" in text


def damaged(tmp_path: Path) -> Path:
    """A zip whose list of entries is whole, with a hole in the middle of the data."""
    path = tmp_path / "damaged.zip"
    big.write(path, 30_000, as_zip=True)
    data = bytearray(path.read_bytes())
    middle = len(data) * 2 // 3
    data[middle : middle + 5000] = bytes(5000)
    path.write_bytes(data)
    return path


def test_damage_that_shows_only_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 1 << 16)
    source = open_source(damaged(tmp_path))
    reading = source.blocks()
    for _ in range(5):
        next(reading)
    with pytest.raises(SourceError, match=r"is damaged .*: download it again"):
        for _ in reading:
            pass


def zip_that_ends_early(path: Path, entry: str, data: bytes, share: float) -> None:
    """A zip that promises all of `data` and holds the beginning of it."""
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(data[: int(len(data) * share)]) + packer.flush(zlib.Z_SYNC_FLUSH)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(entry, packed)
    whole = bytearray(path.read_bytes())
    promised = struct.pack("<LLL", zlib.crc32(data), len(packed), len(data))
    for signature, method_at, sizes_at in ((b"PK\x03\x04", 8, 14), (b"PK\x01\x02", 10, 16)):
        at = whole.index(signature)
        whole[at + method_at : at + method_at + 2] = struct.pack("<H", zipfile.ZIP_DEFLATED)
        whole[at + sizes_at : at + sizes_at + 12] = promised
    path.write_bytes(whole)


def test_a_zip_that_ends_early_is_the_same_archive(tmp_path: Path) -> None:
    data = HEADER + b"".join(b"%d\thttps://a.example.org/%d\n" % (n, n) for n in range(50_000))
    zip_that_ends_early(tmp_path / "early.zip", "multimedia.txt", data, 0.7)
    source = open_source(tmp_path / "early.zip")
    assert source.fingerprint == open_source(zipped(tmp_path / "whole.zip", {"multimedia.txt": data})).fingerprint
    with pytest.raises(SourceError, match="is damaged"):
        content(source)


def test_a_wrong_checksum(tmp_path: Path) -> None:
    data = HEADER + b"1\thttps://a.example.org/1\n" * 1000
    path = tmp_path / "stored.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("multimedia.txt", data)
    path.write_bytes(path.read_bytes().replace(b"/1\n1\t", b"/2\n1\t", 1))
    with pytest.raises(SourceError, match="Bad CRC-32"):
        content(open_source(path))
