"""Crash recovery of shards: repairs what a killed writer left. For the ledger's owner alone, while none of its workers lives.

A worker that was wrongly taken for dead writes into a shard that nobody else appends to, and its reports no longer count: so
nothing that a row refers to can be cut off here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from pathlib import Path

from d4c_images import crash
from d4c_images.stores import Keep, partial, shard
from d4c_images.stores.local import LocalStore
from d4c_images.stores.pack import PACKS_FOLDER, shard_names
from d4c_images.stores.partial import ImageNumbers, naming, numbers_of, write_all
from d4c_images.stores.reading import CHUNK_BYTES
from d4c_images.stores.shard import Sample

Wanted = Callable[[Sequence[ImageNumbers]], Sequence[bool]]

SHARDS_AT_ONCE = 32


def mend(root: Path, token: str, ends: Mapping[str, int], wanted: Wanted) -> int:
    """Truncate torn ends of a ledger's shards, and extract complete samples that were not settled as files.

    `ends` gives the end of the last image that a row refers to, by shard path; nothing before it is touched. Of the complete
    samples after it, `wanted` says by its numbers which to extract, for the next holder of their lease to verify and adopt. Others
    stay in the shard: a ledger restored from a backup may not know them. Returns the number of files created. Raises `StoreError`.
    It can be called again after a kill.
    """
    n = 0
    for name in shard_names(root, token):
        path = root / PACKS_FOLDER / name
        with naming(path):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                n += _mend(root, path, fd, shard.up(ends.get(f"{PACKS_FOLDER}/{name}", 0)), wanted)
            finally:
                os.close(fd)
    return n


def _mend(root: Path, path: Path, fd: int, end: int, wanted: Wanted) -> int:
    size = os.fstat(fd).st_size
    if size < end or shard.is_ended(fd, end, size):
        return 0  # in order, or damaged by something else: that is up to `check`
    whole = list(shard.samples(fd, end, size))
    is_wanted = wanted([numbers_of(sample.stem) for sample in whole]) if whole else []
    chosen = list(compress(whole, is_wanted))
    if chosen:
        _lay_out(root, fd, chosen)
        crash.point("mend.laid_out")
    end = max((sample.end for sample, goes in zip(whole, is_wanted, strict=True) if not goes), default=end)
    _cut(path, fd, end)
    return len(chosen)


def _cut(path: Path, fd: int, end: int) -> None:
    if not end:
        path.unlink()
    elif not shard.is_ended(fd, end, os.fstat(fd).st_size):
        os.ftruncate(fd, end)
        os.lseek(fd, end, os.SEEK_SET)
        write_all(fd, shard.END)
        partial.fsync(fd)


def cut_copies(root: Path, token: str, ends: Mapping[str, int], are_copies: Callable[[str, Sequence[Sample]], bool]) -> int:
    """Cut off what a killed conversion has appended and no row names, if all of it is stored elsewhere; returns how many images.

    `are_copies` says so of the samples of a shard, by its path. Otherwise nothing is cut: `mend` is to decide. As `mend`, for the
    ledger's owner alone.
    """
    n = 0
    for name in shard_names(root, token):
        path, relative = root / PACKS_FOLDER / name, f"{PACKS_FOLDER}/{name}"
        with naming(path), path.open("r+b", buffering=0) as file:
            fd, end = file.fileno(), shard.up(ends.get(relative, 0))
            size = os.fstat(fd).st_size
            if size < end or shard.is_ended(fd, end, size):
                continue
            samples = list(shard.samples(fd, end, size))
            if samples and are_copies(relative, samples):
                _cut(path, fd, end)
                n += len(samples)
    return n


def _lay_out(root: Path, fd: int, samples: Sequence[Sample]) -> None:
    store = LocalStore(root)
    try:
        for at in range(0, len(samples), SHARDS_AT_ONCE):
            keeps = []
            for sample in samples[at : at + SHARDS_AT_ONCE]:
                numbers = numbers_of(sample.stem)
                part = store.begin(numbers.gbif_id, numbers.image_no, 0, numbers.revision)
                for at_byte in range(0, sample.size_bytes, CHUNK_BYTES):
                    part.write(os.pread(fd, min(CHUNK_BYTES, sample.size_bytes - at_byte), sample.offset + at_byte))
                keeps.append(Keep(part, sample.extension, may_replace=True))
            store.put(keeps)
    finally:
        store.close()
