"""From a file to "may be stored, as this": sniffed, decoded, judged, shrunk if requested. Sends no request.

Runs in the worker's threads, one image at a time. Work that would delay others there is returned as `Slow`, and done elsewhere.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from d4c_images.model import Blob, Claim, ErrorType, PublishedHash, Reply, Status, Unfolding, Verdict
from d4c_images.policy.judge import MAX_DETAIL, judge_decoded
from d4c_images.policy.sniff import Sniffed
from d4c_images.stores import Partial, Store
from d4c_images.stores.reading import sniff_file, sniff_stored
from d4c_images.worker import iiif_documents
from d4c_images.worker.threads import Slow

if TYPE_CHECKING:
    from d4c_images.decode import Decoder, Reduced
    from d4c_images.decode.memory_budget import MemoryBudget

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image that may be stored, or is stored already (then its blob has a path)."""

    verdict: Verdict
    blob: Blob
    extension: str
    hash_matches: bool | None = None  # None: no published hash


class Examiner:
    """Verifies for a worker, in any of its threads. The decoder is imported at first use: that takes longer than a request."""

    def __init__(self, max_edge: int | None = None) -> None:
        """`max_edge`: longest edge of the smaller JPEG to be stored instead of an original; None stores originals."""
        self._max_edge = max_edge
        self._loading = threading.Lock()
        self._decoder: Decoder | None = None
        self._room: MemoryBudget | None = None

    def decoder(self) -> Decoder:
        with self._loading:
            if self._decoder is None:
                from d4c_images.decode import Decoder
                from d4c_images.decode.memory_budget import MemoryBudget

                self._room = MemoryBudget()
                self._decoder = Decoder(max_edge=self._max_edge, room=self._room)
            return self._decoder

    def examine(self, reply: Reply, partial: Partial, published: PublishedHash | None = None) -> FoundImage | Verdict | Slow:
        return _quickly(examine, self.decoder(), reply, partial, published)

    def read(self, reply: Reply, verdict: Verdict, asked: str, url_no: int) -> Unfolding | Verdict | Slow:
        """As `iiif_documents.read`, within the memory budget for images."""
        self.decoder()
        room = self._room
        assert room is not None
        needed = iiif_documents.need_bytes(reply, room.common_bytes)
        taken_bytes = needed if isinstance(needed, int) else 0  # not parsed in that case

        def act() -> Unfolding | Verdict:
            with room.taken(taken_bytes):
                return iiif_documents.read(reply, verdict, asked, url_no, needed)

        return act() if taken_bytes <= room.own_bytes else Slow(act)

    def look(self, store: Store, claim: Claim) -> FoundImage | Slow | None:
        return _quickly(look, self.decoder(), store, claim)


def _quickly(act: Callable[..., T], decoder: Decoder, *args: Any) -> T | Slow:
    """The result of `act`, or all the remaining work if it takes long."""
    from d4c_images.decode import TakesLong

    try:
        return act(decoder, *args, may_take_long=False)
    except TakesLong:
        return Slow(functools.partial(act, decoder, *args, may_take_long=True))


def examine(
    decoder: Decoder, reply: Reply, partial: Partial, published: PublishedHash | None = None, *, may_take_long: bool
) -> FoundImage | Verdict:
    """What the body of a good reply is; a `Verdict` if it is not an image. Shrinks the partial file if the decoder is set to.

    `published` is the hash that the bytes should have; a different one is reported, and decides nothing.
    """
    if reply.sha256 is None:
        raise ValueError("a reply without a stored body")
    sniffed = sniff_file(partial.path, reply.head, reply.tail, reply.size_bytes)
    found = _open(decoder, partial.path, sniffed, reply.size_bytes, reply.sha256, may_take_long)
    if isinstance(found, Verdict):
        return found
    if published is not None:
        found = _compared(found, published, reply.sha256, partial.path)
    if decoder.max_edge is None:
        return found
    reduced = _smaller(decoder, partial.path, reply.sha256, found, may_take_long)
    if isinstance(reduced, FoundImage):
        return replace(reduced, blob=replace(found.blob, original_sha256=reply.sha256))
    partial.rewrite(reduced.body)
    blob = Blob("", len(reduced.body), reduced.sha256, "image/jpeg", reduced.width, reduced.height, reply.sha256)
    return FoundImage(found.verdict, blob, "jpg", found.hash_matches)


def _smaller(decoder: Decoder, path: Path, sha256: bytes, found: FoundImage, may_take_long: bool) -> Reduced | FoundImage:
    """A smaller JPEG of the original; or `found`, to be stored: flagged, unless it is such a JPEG already, or camera raw."""
    from d4c_images.decode import NotReduced

    try:
        reduced = decoder.reduce(path, sha256, found.blob.media_type, may_take_long=may_take_long)
    except NotReduced as error:
        said = found.verdict
        detail = "; ".join(filter(None, (f"kept as it came: {error}", said.detail)))
        flag = said.error_type or ErrorType.PARTLY_READ
        return replace(found, verdict=replace(said, error_type=flag, detail=detail[:MAX_DETAIL]))
    return reduced or found


def _compared(found: FoundImage, published: PublishedHash, sha256: bytes, path: Path) -> FoundImage:
    digest = sha256.hex()
    if published.function != "sha256":
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, published.function).hexdigest()
    if digest == published.value:
        return replace(found, hash_matches=True)
    verdict = found.verdict
    if verdict.error_type is None:
        told = f"published {published.function} {published.value}, received {digest}"
        verdict = replace(verdict, error_type=ErrorType.HASH_MISMATCH, detail="; ".join(filter(None, (told, verdict.detail))))
    return replace(found, verdict=verdict, hash_matches=False)


def look(decoder: Decoder, store: Store, claim: Claim, *, may_take_long: bool) -> FoundImage | None:
    """The file that a dead lease stored for this claim, verified; None if there is none. All other leftovers are removed."""
    adopted = None
    for relative in store.find(claim.gbif_id, claim.image_no, claim.revision):
        found = None if adopted else _open_stored(decoder, store.path_of(relative), may_take_long)
        if found is None or not relative.endswith("." + found.extension):
            store.remove(relative)
            continue
        place = store.confirm(relative, found.blob)
        adopted = replace(found, blob=replace(found.blob, path=place.path, offset=place.offset))
    store.clear_partials(claim.gbif_id, claim.image_no, claim.revision)
    return adopted


def verified(decoder: Decoder, path: Path) -> FoundImage | None:
    """What a file is that nobody knows anything about, read to its end; None if it may not be stored.

    If it is a smaller JPEG of this program, its blob has the hash of the original, too.
    """
    from d4c_images.decode import original_sha256_of

    found = _open_file(decoder, path, may_take_long=True)
    if isinstance(found, Verdict):
        return None
    return replace(found, blob=replace(found.blob, original_sha256=original_sha256_of(path, found.blob.media_type)))


def _open_stored(decoder: Decoder, path: Path, may_take_long: bool) -> FoundImage | None:
    found = _open_file(decoder, path, may_take_long)
    if isinstance(found, Verdict):
        return None
    from d4c_images.decode import original_sha256_of

    original = original_sha256_of(path, found.blob.media_type)
    if decoder.max_edge is None:
        return found if original is None else None  # a smaller JPEG from a run with `--max-edge`: this run wants originals
    if original is None:
        kept = _smaller(decoder, path, found.blob.sha256, found, may_take_long)
        if not isinstance(kept, FoundImage):
            return None  # an original from an earlier run: this run wants smaller JPEGs
        found = kept
    return replace(found, blob=replace(found.blob, original_sha256=original or found.blob.sha256))


def _open_file(decoder: Decoder, path: Path, may_take_long: bool) -> FoundImage | Verdict:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").digest()
        size_bytes = file.seek(0, os.SEEK_END)
    return _open(decoder, path, sniff_stored(path), size_bytes, sha256, may_take_long)


def _open(
    decoder: Decoder, path: Path, sniffed: Sniffed, size_bytes: int, sha256: bytes, may_take_long: bool
) -> FoundImage | Verdict:
    result = decoder.check(path, sniffed, may_take_long=may_take_long)
    verdict = judge_decoded(result)
    if verdict.status is not Status.SUCCESS:
        return verdict
    return FoundImage(verdict, Blob("", size_bytes, sha256, sniffed.media_type, result.width, result.height), sniffed.extension)
