"""Finds a table in a GBIF download (zip, folder or bare file) and opens it as a byte stream. Unpacks nothing to disk."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from d4c_images.errors import SourceDamaged, SourceError, UsageError
from d4c_images.sources.header import MAX_HEADER_BYTES, Columns, read_header
from d4c_images.sources.lines import Block, blocks

READ_BYTES = 1 << 20
REQUIRED = {"multimedia": ("gbifID", "identifier"), "occurrence": ("gbifID",)}
"""The tables that can be read, each with the columns that it must have."""


@dataclass(frozen=True, slots=True)
class Source:
    """One table of a download. Pickles, so that another process can read it; opened anew for each reading."""

    name: str  # for messages and the ledger: the path as given, with the member of a zip
    kind: str  # multimedia or occurrence
    path: Path
    member: str | None  # inside a zip
    size_bytes: int  # of the unpacked stream
    fingerprint: str  # the same for the same content, wherever the file lies
    columns: Columns
    header_bytes: int

    def blocks(self, offset: int = 0, row_no: int = 1) -> Iterator[Block]:
        """The table's lines after the header, or from a place where an earlier reading has stopped.

        `offset` counts bytes of the unpacked stream; in a zip, what stands before it is inflated and thrown away. Raises
        `SourceError` where the stream turns out to be damaged, after every block before the damage.
        """
        offset = max(offset, self.header_bytes)
        with _reading(self.path, self.member, self.name) as stream:
            if self.member is None:
                stream.seek(offset)
            else:
                left = offset
                while left > 0 and (data := stream.read(min(left, READ_BYTES))):
                    left -= len(data)
            yield from blocks(stream, offset, row_no)


def open_source(path: Path, member: str = "multimedia") -> Source:
    """Find the table `member` (`multimedia` or `occurrence`) in a GBIF zip or an unpacked download; a bare file is one.

    Raises `UsageError` where there is no such file, `SourceError` where it cannot be read as a GBIF download.
    """
    path = Path(path)
    file_name = f"{member}.txt"
    if path.is_dir():
        if not (path / file_name).is_file():
            names = sorted(entry.name for entry in path.iterdir())
            raise SourceError(f"{path}: the folder has no {file_name} (it has {_some(names)})")
        return _file_source(path / file_name, member)
    if not path.exists():
        raise UsageError(f"no such file: {path}")
    if not path.is_file():
        raise UsageError(f"{path} is neither a file nor a folder")
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if start.startswith(b"PK"):
        return _zip_source(path, member, file_name)
    if path.suffix.lower() == ".zip":
        raise SourceError(f"{path} is not a zip file" + (" (it is empty)" if not start else ""))
    if member == "occurrence":
        beside = path.with_name(file_name)
        if not beside.is_file():
            raise SourceError(f"{path}: there is no {file_name} beside it")
        return _file_source(beside, member)
    return _file_source(path, member)


def _file_source(path: Path, kind: str) -> Source:
    size_bytes = path.stat().st_size
    with _reading(path, None, str(path)) as stream:
        header = stream.readline(MAX_HEADER_BYTES)
        stream.seek(0)
        digest = hashlib.sha256(stream.read(READ_BYTES))
        stream.seek(max(0, size_bytes - READ_BYTES))
        digest.update(stream.read(READ_BYTES))
    columns = read_header(header, REQUIRED[kind], str(path))
    return Source(str(path), kind, path, None, size_bytes, f"file:{size_bytes}:{digest.hexdigest()[:32]}", columns, len(header))


def _zip_source(path: Path, kind: str, file_name: str) -> Source:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            # `verbatim/multimedia.txt` holds the publisher's rows as received: only the one at the root is GBIF's.
            entry = next((entry for entry in archive.infolist() if entry.filename.removeprefix("./") == file_name), None)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise SourceError(f"{path}: the zip file is truncated or damaged ({error}): download it again") from None
    if entry is None:
        raise SourceError(
            f"{path}: the zip file has no {file_name} (it has {_some(names)}): is it a Darwin Core Archive of GBIF?"
        )
    if entry.flag_bits & 1:
        raise SourceError(f"{path}: {file_name} is encrypted")
    name = f"{path}/{entry.filename}"
    with _reading(path, entry.filename, name) as stream:
        header = stream.readline(MAX_HEADER_BYTES)
    columns = read_header(header, REQUIRED[kind], name)
    fingerprint = f"zip:{entry.file_size}:{entry.CRC:08x}"
    return Source(name, kind, path, entry.filename, entry.file_size, fingerprint, columns, len(header))


@contextmanager
def _reading(path: Path, member: str | None, name: str) -> Iterator[IO[bytes]]:
    """The byte stream; whatever goes wrong with it while it is read becomes a `SourceError`."""
    try:
        if member is None:
            with path.open("rb") as stream:
                yield stream
        else:
            with zipfile.ZipFile(path) as archive, archive.open(member) as packed:
                yield packed
    except EOFError:
        raise SourceError(f"{name}: the zip file ends too early: download it again, then run the same command") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        # A checksum stands at the end of a stream, so nobody knows how far before this place the damage began.
        raise SourceDamaged(
            f"{name}: the zip file is damaged ({error}), and the rows that were read from it may be wrong: download it again, "
            "then begin anew with it (init --reset)"
        ) from None
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {error.strerror or error}") from None


def _some(names: list[str], n: int = 8) -> str:
    if not names:
        return "nothing in it"
    more = f" and {len(names) - n:,} more" if len(names) > n else ""
    return ", ".join(names[:n]) + more
