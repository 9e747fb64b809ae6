"""Checks every file below the root, and every image in shards, against the ledger's rows. Does not see rows without a file.

A folder is read before the rows that its files refer to, and a file without a row is looked at again before it becomes a finding,
since a run may have changed both in between.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from pathlib import Path

from d4c_images.collection.check_parts import FOLDERS_DEEP, Part
from d4c_images.collection.check_rows import is_newer_than_copy
from d4c_images.collection.findings import CheckProgress, Finding, Findings, Reason
from d4c_images.collection.ignored import Ignored
from d4c_images.ledger.file import backup_note
from d4c_images.ledger.file.backup_note import NOTE_SUFFIX
from d4c_images.ledger.file.beside import names_beside
from d4c_images.ledger.file.drafts import DRAFT_SUFFIX
from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.questions import audit
from d4c_images.ledger.queue import wishes
from d4c_images.ledger.rows.named import FileName
from d4c_images.stores import own_files, shard
from d4c_images.stores.own_files import PART
from d4c_images.stores.pack import PACKS_FOLDER as PACKS
from d4c_images.stores.pack import SHARD_NAME
from d4c_images.stores.partial import numbers_of
from d4c_images.stores.shard import Sample

DEEPEST_STORE_FOLDER = 4  # levels of folders; the layout has two
STORE_FOLDER = re.compile(rf"\d{{1,3}}(?:/\d{{1,3}})?|{PACKS}")

FINAL_NAME = re.compile(r"((?:[1-9]\d{0,17}|0)-\d{2,9}(?:-r[1-9]\d{0,8})?)\.[A-Za-z0-9]+")


class Standing(Enum):
    """What a file is, unless it is simply a success row's file."""

    UNKNOWN = auto()
    LEFTOVER = auto()  # a temporary file of a lease that has ended
    IN_WORK = auto()  # of an active lease
    TO_ADOPT = auto()  # left by a dead lease: the next worker that is lent the image verifies it
    TO_SET_ASIDE = auto()  # a placeholder's


@dataclass(frozen=True, slots=True)
class FilesAgainstRows:
    ledger: Reader
    root: Path
    part: Part
    ignored: Ignored
    findings: Findings
    progress: Callable[[CheckProgress], None]  # within a step

    def steps(self, after: str | None) -> Iterator[tuple[CheckProgress, str]]:
        """Check all folders of the part, or those after `after`. Yields after each one, with its name."""
        for prefix, names in self._walk("", 0, None if after is None else _parts(after)):
            for some in names:
                self._check_files(prefix, some)
                self.progress(self._progress())
            yield self._progress(), prefix

    def _progress(self) -> CheckProgress:
        return CheckProgress("files", self.findings.n_files, None)

    def _check_files(self, prefix: str, names: list[str]) -> None:
        """Some files of one folder."""
        shards = []
        if prefix == f"{PACKS}/":
            shards = [name for name in names if SHARD_NAME.fullmatch(name) and self.part.has_shard(prefix + name)]
            names = [name for name in names if not SHARD_NAME.fullmatch(name)]
        names = self._not_ours(prefix, names) if self.part.has_folder(prefix) else []
        n_files = len(shards) + len(names)
        for name in shards:
            self._check_shard(prefix + name)
        for name, standing in self._look(prefix, names).items():
            self._note(prefix, name, standing)
        self.findings.n_files += n_files

    def _not_ours(self, prefix: str, names: list[str]) -> list[str]:
        """Without the ledger, the files next to it, and the marks of runs: those are neither images nor foreign files."""
        ledger, folder = self.ledger.path.absolute(), (self.root / prefix).absolute()
        if folder == wishes.folder_of(ledger):
            return []
        backups = self._backups(folder, names)
        names = [name for name in names if not (own_files.is_mark(name) or name.endswith(DRAFT_SUFFIX) or name in backups)]
        if folder == ledger.parent:
            own = names_beside(ledger)
            names = [name for name in names if not own.fullmatch(name)]
        theirs = [name for name in names if not self.ignored.has_file(prefix, name)]
        self.findings.n_ignored += len(names) - len(theirs)
        return theirs

    def _backups(self, folder: Path, names: list[str]) -> set[str]:
        """Backups of ledgers, by their notes, and these notes."""
        noted = (name.removesuffix(NOTE_SUFFIX) for name in names if name.endswith(NOTE_SUFFIX))
        return {one for name in noted if _is_noted(folder / name) for one in (name, f"{name}{NOTE_SUFFIX}")}

    def _note(self, prefix: str, name: str, standing: Standing) -> None:
        if standing is Standing.IN_WORK or is_newer_than_copy(self.ledger, self.root / prefix / name):
            self.findings.n_in_work += 1
        elif standing is Standing.TO_ADOPT:
            self.findings.n_to_adopt += 1
        elif standing is Standing.TO_SET_ASIDE:
            self.findings.n_to_set_aside += 1
        elif os.path.lexists(self.root / prefix / name):  # a run may have moved on since the folder was read
            if standing is Standing.LEFTOVER:
                self.findings.add(Finding(Reason.LEFTOVER, prefix + name, "temporary file of a worker that is dead"))
            else:
                self.findings.add(Finding(Reason.UNTRACKED, prefix + name, "no row refers to this file"))

    def _check_shard(self, path: str) -> None:
        """Every image of a shard against the ledger, in file order."""
        try:
            with (self.root / path).open("rb", buffering=0) as file:
                end = self._check_samples(path, file.fileno())
                if self._is_torn(file.fileno(), end) and not audit.live_leases(self.ledger):
                    # A run may have continued and ended since the last image was read.
                    for sample in shard.samples(file.fileno(), end, os.fstat(file.fileno()).st_size):
                        end = sample.end
                    if self._is_torn(file.fileno(), end) and not is_newer_than_copy(self.ledger, self.root / path):
                        detail = f"torn after byte {end}: left by a killed worker"
                        self.findings.add(Finding(Reason.TORN_SHARD, path, detail, offset=end))
        except FileNotFoundError:
            pass  # it was empty, and a run has removed it
        except OSError as error:
            self.findings.add(Finding(Reason.UNREADABLE, path, error.strerror or str(error)))

    def _check_samples(self, path: str, fd: int) -> int:
        """Check the samples; returns the end of the last one."""
        n_unused, n, end = self.findings.n_unused, 0, 0
        samples = shard.samples(fd, 0, os.fstat(fd).st_size)
        while some := list(islice(samples, audit.AUDIT_STEP_ROWS)):
            self._note_samples(path, some)
            n, end = n + len(some), some[-1].end
            self.progress(CheckProgress("packed images", self.findings.n_packed, None))
        if 0 < n == self.findings.n_unused - n_unused and not path.startswith(f"{PACKS}/{audit.token(self.ledger)}-"):
            detail = f"no row refers to any of its {n} images; it belongs to another ledger"
            self.findings.add(Finding(Reason.UNTRACKED, path, detail))
        return end

    def _note_samples(self, path: str, samples: Sequence[Sample]) -> None:
        self.findings.n_packed += len(samples)
        is_new = is_newer_than_copy(self.ledger, self.root / path)
        keys = [FileName(*numbers_of(sample.stem), path, sample.offset) for sample in samples]
        for sample, image in zip(samples, audit.named_images(self.ledger, keys), strict=True):
            if image.is_at(path, sample.offset):
                continue
            if image.is_leased or is_new:
                self.findings.n_in_work += 1
            elif image.is_to_adopt:
                self.findings.n_to_adopt += 1
            else:
                self.findings.n_unused += 1
                self.findings.unused_bytes += sample.size_bytes

    def _is_torn(self, fd: int, end: int) -> bool:
        return not shard.is_ended(fd, end, os.fstat(fd).st_size)

    def _look(self, prefix: str, names: list[str]) -> dict[str, Standing]:
        """What files are that are not simply those of a success row."""
        parts = {name: match for name in names if (match := PART.fullmatch(name))}
        finals = {name: match for name in names if (match := FINAL_NAME.fullmatch(name))}
        standings = {name: Standing.UNKNOWN for name in names if name not in parts and name not in finals}
        if parts:
            leases = audit.live_leases(self.ledger)
            keys = [FileName(*numbers_of(match[1]), prefix + name, None) for name, match in parts.items()]
            for (name, match), image in zip(parts.items(), audit.named_images(self.ledger, keys), strict=True):
                dead = Standing.TO_ADOPT if image.is_to_adopt else Standing.LEFTOVER
                standings[name] = Standing.IN_WORK if int(match[2]) in leases else dead
        keys = [FileName(*numbers_of(match[1]), prefix + name, None) for name, match in finals.items()]
        for name, image in zip(finals, audit.named_images(self.ledger, keys), strict=True):
            if image.is_at(prefix + name, None):
                continue
            if image.is_leased:
                standings[name] = Standing.IN_WORK
            elif image.is_to_adopt:
                standings[name] = Standing.TO_ADOPT
            elif image.is_to_set_aside:
                standings[name] = Standing.TO_SET_ASIDE
            else:
                standings[name] = Standing.UNKNOWN
        return standings

    def _walk(self, prefix: str, depth: int, after: tuple[str, ...] | None) -> Iterator[tuple[str, Iterator[list[str]]]]:
        """Each folder under the root, as "123/456/", in order, with the names of its files in batches.

        `after` is the last folder to skip, with all that come before it. A record with a million images has as many files in one
        folder, so names come in directory order, and are sorted only within a batch.
        """
        parts = _parts(prefix)
        if depth >= FOLDERS_DEEP and not self.part.has_folder(prefix):
            return  # nor is anything below it
        if after is not None and parts < after[: len(parts)]:
            return  # including everything below it
        folders: list[str] = []
        names = self._files(prefix, folders)
        if after is None or parts > after:
            yield prefix, names
        for _ in names:  # exhausted, to get the folders
            pass
        for name in sorted(folders):
            if depth < DEEPEST_STORE_FOLDER and not _is_hidden(name) and not self.ignored.has_folder(prefix, name):
                yield from self._walk(f"{prefix}{name}/", depth + 1, after)

    def _files(self, prefix: str, folders: list[str]) -> Iterator[list[str]]:
        """The names of a folder's files, in batches; subfolders are added to `folders`."""
        names: list[str] = []
        try:
            with os.scandir(self.root / prefix) as entries:
                for entry in entries:
                    try:
                        (folders if self._is_folder(prefix, entry) else names).append(entry.name)
                    except OSError as error:
                        self._note_unreadable(prefix, entry.name, error)
                    if len(names) == audit.AUDIT_STEP_ROWS:
                        yield sorted(names)
                        names = []
        except FileNotFoundError:
            pass  # removed meanwhile
        except OSError as error:
            self._note_unreadable(prefix, "", error)
        yield sorted(names)

    def _note_unreadable(self, prefix: str, name: str, error: OSError) -> None:
        if self.part.has_folder(prefix):
            self.findings.add(Finding(Reason.UNREADABLE, f"{prefix}{name}" or ".", error.strerror or str(error)))

    def _is_folder(self, prefix: str, entry: os.DirEntry[str]) -> bool:
        """Whether to look into it. A link that leads to no folder is a file: it has a row, or is a stranger."""
        if not entry.is_symlink():
            return entry.is_dir(follow_symlinks=False)
        try:
            return entry.is_dir() and self._is_followed(prefix, entry.name)
        except OSError:  # it leads to itself, or to where nobody may look
            return False

    def _is_followed(self, prefix: str, name: str) -> bool:
        """Whether a link to a folder is one of the collection's: it has a folder there, and does not walk this one otherwise.

        Through any other link, images would be found a second time, under names that no row has.
        """
        if _is_hidden(name) or self.ignored.has_folder(prefix, name):
            return True  # like a folder, which is not looked into
        if not STORE_FOLDER.fullmatch(prefix + name):
            return False
        target = (self.root / prefix / name).resolve()
        for walked in (self.root.resolve(), (self.root / prefix).resolve()):
            if walked.is_relative_to(target):
                return False
            if target.is_relative_to(walked) and not any(map(_is_hidden, target.relative_to(walked).parts)):
                return False
        return True


def _is_noted(backup: Path) -> bool:
    try:
        return backup_note.read(backup) is not None
    except OSError:  # a link to itself, or somebody else's file
        return False


def _is_hidden(name: str) -> bool:
    """Hidden folders belong to the file system, for example its snapshots."""
    return name.startswith(".")


def _parts(prefix: str) -> tuple[str, ...]:
    """The parts of "123/456/"; in walking order a folder comes before its subfolders, like a tuple before a longer one."""
    return tuple(prefix.split("/")[:-1])
