"""What a download is stored in (a zip, a folder, a file), and byte streams from it. Knows no tables; unpacks nothing to disk."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from d4c_images.errors import D4CError, SourceDamaged, SourceError, UsageError, of_a_named_path
from d4c_images.sources.rows import Recoded

MEMBER_READ_BYTES = 1 << 20
DEEPEST_SOURCE_FOLDER = 8  # levels of folders searched ...
MAX_FILES = 20_000  # ... for up to this many files
MAX_FOLDERS = 2_000  # ... in up to this many folders
_OF_NO_USE = re.compile(r"/$|^__MACOSX/|(?:^|/)\._[^/]*$")
_NOT_ENTERED = re.compile(r"\.|[0-9]{1,3}\Z")  # hidden, or a folder of an image root


class Container:
    """A zip, a folder or a file, and its content. Raises as `open_source` does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_zip = False
        self._names: list[str] | None = None
        self._members: dict[str, str] = {}  # for a zip: path inside -> the zip's own spelling
        if path.is_dir():
            self.is_file = False
            return
        self.is_file = True
        if not path.exists():
            raise UsageError(f"no such file: {path}")
        if not path.is_file():
            raise UsageError(f"{path} is neither a file nor a folder")
        try:
            with path.open("rb") as stream:
                start = stream.read(4)
        except OSError as error:
            raise of_a_named_path(UsageError, f"{path} cannot be read: {error.strerror}", error) from None
        if start.startswith(b"PK"):
            self.is_file, self.is_zip = False, True
        elif path.suffix.lower() == ".zip":
            raise SourceError(f"{path} is not a zip file{_seems(start)}")

    @property
    def names(self) -> list[str]:
        """All files, by their paths inside, except for what macOS adds to a zip."""
        if self._names is None:
            if self.is_zip:
                try:
                    with zipfile.ZipFile(self.path) as archive:
                        # Old Windows programs write backslashes instead of the format's slashes.
                        spelled = {name.replace("\\", "/").removeprefix("./"): name for name in archive.namelist()}
                    self._members = {name: member for name, member in spelled.items() if not _OF_NO_USE.search(name)}
                    self._names = list(self._members)
                except OSError as error:
                    if error.errno not in (None, errno.EINVAL):  # of the disk; otherwise an offset in the zip is wrong
                        raise _unread(str(self.path), error) from None
                    raise SourceError(f"{self.path}: the zip file is truncated or damaged ({error}): download it again") from None
                except (zipfile.BadZipFile, ValueError) as error:
                    raise SourceError(f"{self.path}: the zip file is truncated or damaged ({error}): download it again") from None
            else:
                self._names = sorted(islice(_files(self.path), MAX_FILES))
        return self._names

    def has(self, name: str) -> bool:
        """Whether there is such a file; if possible, without listing all others."""
        return name in self.names if self.is_zip else (self.path / name).is_file()

    def where(self, name: str) -> tuple[Path, str | None]:
        """The file, and the member in it."""
        if self.is_zip:
            return self.path, self._members.get(name, name)
        return (self.path / name if name else self.path), None

    def title(self, name: str) -> str:
        return f"{self.path}/{name}" if self.is_zip else str(self.where(name)[0])

    def start(self, name: str, n_bytes: int) -> bytes:
        path, member = self.where(name)
        with reading(path, member, self.title(name)) as stream:
            return stream.read(n_bytes)

    def size_and_print(self, name: str) -> tuple[int, str]:
        """Size and fingerprint of a file."""
        path, member = self.where(name)
        if member is None:
            size_bytes = path.stat().st_size
            with reading(path, None, str(path)) as stream:
                digest = hashlib.sha256(stream.read(MEMBER_READ_BYTES))
                stream.seek(max(0, size_bytes - MEMBER_READ_BYTES))
                digest.update(stream.read(MEMBER_READ_BYTES))
            return size_bytes, f"file:{size_bytes}:{digest.hexdigest()[:32]}"
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(member)
        return entry.file_size, f"zip:{entry.file_size}:{entry.CRC:08x}"


def _seems(start: bytes) -> str:
    """What was found in place of a zip."""
    if not start:
        return " (it is empty)"
    if start.startswith((b"<", b"{")):
        return " but a web page or an error message: download it again"
    return " but gzip: rename it to .gz and unpack it" if start.startswith(b"\x1f\x8b") else ""


def _files(top: Path) -> Iterator[str]:
    """Paths of the files below a folder, the nearest first. An image root may have millions."""
    waiting = deque([("", 1)])
    n_folders = 0
    while waiting and n_folders < MAX_FOLDERS:
        prefix, level = waiting.popleft()
        n_folders += 1
        for entry in _entries(top / prefix, is_top=not prefix):
            if entry.is_file():
                yield prefix + entry.name
            elif level < DEEPEST_SOURCE_FOLDER and entry.is_dir() and not _NOT_ENTERED.match(entry.name):
                waiting.append((f"{prefix}{entry.name}/", level + 1))


def _entries(folder: Path, *, is_top: bool) -> list[os.DirEntry[str]]:
    """The content of a folder; empty if a subfolder is unreadable."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError:
        if is_top:
            raise
        return []


def as_utf8(stream: IO[bytes], encoding: str, line_end: str) -> IO[bytes]:
    """The stream as UTF-8 with line feeds."""
    if encoding == "utf-8" and line_end == "\n":
        return io.BufferedReader(stream, MEMBER_READ_BYTES)  # type: ignore[type-var]
    return io.BufferedReader(Recoded(stream, encoding, line_end), MEMBER_READ_BYTES)


@contextmanager
def reading(path: Path, member: str | None, name: str) -> Iterator[IO[bytes]]:
    """The byte stream; any error while reading becomes a `SourceError`."""
    try:
        if member is None:
            with path.open("rb") as stream:
                yield stream
        else:
            with zipfile.ZipFile(path) as archive, archive.open(member) as packed:
                yield packed
    except EOFError:
        raise SourceError(f"{name}: the zip file is truncated: download it again, then run the same command") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        # A checksum is at the end of a stream, so the damage may be anywhere before this place.
        raise SourceDamaged(
            f"{name}: the zip file is damaged ({error}), and rows imported from it may be wrong: download it again, "
            "then start over with it (init --reset)"
        ) from None
    except OSError as error:
        raise _unread(name, error) from None
    except RuntimeError as error:
        if "encrypted" not in str(error):
            raise
        raise SourceError(f"{name} is encrypted") from None


def _unread(name: str, error: OSError) -> D4CError:
    return of_a_named_path(SourceError, f"{name} cannot be read: {error.strerror or error}", error)


def some(names: list[str], n: int = 8) -> str:
    """The first names, for a message."""
    if not names:
        return "nothing"
    more = f" and {len(names) - n:,} more" if len(names) > n else ""
    return ", ".join(names[:n]) + more
