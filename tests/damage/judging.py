"""Compares the program's verdict on a file with the truth. Starts no process and prints no table."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from PIL import Image, ImageFile

from tests.damage import truth
from tests.damage.cases import Case, Truth
from tests.damage.seen import Seen
from tests.damage.truth_jpeg import STRICT

Outcome = Mapping[str, Any]
MAGIC = 18  # bytes by which a file is known; of a BMP the size of its header is among them
KEPT = ("kept", "flagged")
MOST_FRAMES, MOST_PIXELS = 8, 1 << 22  # that are compared
_IN_BLOCKS = ("gif", "jp2", "avif", "heic")  # and nothing says how many there are
_FOR_MACHINES = re.compile(r"<[\w.]+ object|\b0x[0-9a-f]{6,}|/tmp/|\.part\b|\b\w+(?:Error|Exception|Warning): |_io\.|Traceback")


NOTHING = Seen()


class Fault(StrEnum):
    """What must not be."""

    FALSE_CUT = "false successes of cuts"
    FALSE_DAMAGE = "false successes of visible damage"
    FALSE_LIBRARY = "false successes of what a library alone refuses"
    WHOLE_FOR_GOOD = "whole pictures refused for good"
    WHOLE_NEVER = "whole pictures never stored (transient at each attempt)"
    CUT_FOR_GOOD = "cut pictures refused for good"
    DAMAGE_FOR_GOOD = "damaged pictures refused for good"
    DIED = "files of which the process died or hung"
    READER = "faults of the campaign's own readers"


class Note(StrEnum):
    """What is counted."""

    CUT_HIDDEN = "cuts between two blocks or boxes, that no format shows, as a success"

    WHOLE_FLAGGED = "whole pictures flagged"
    SIDE_KEPT = "damage of further pictures or metadata, kept without a flag"
    LIBRARY_FLAGGED = "what a library alone refuses, kept with a flag"
    LITTLE_FLAGGED = "visible damage where memory is too small to decode, kept with a flag"
    STRICTER = "damage of JPEGs that libjpeg passes over and a stricter reader sees, as a success"
    FALSELY_LARGE = "damaged pictures refused as too large"
    CRASH = "exceptions out of the examination"
    FOR_MACHINES = "details that are not for people"


class Fate(StrEnum):
    """Of a damaged file, freshly fetched with enough memory."""

    FOUND = "found"
    MISSED = "missed"
    HARMLESS = "harmless"  # the picture is the same


@dataclass(frozen=True, slots=True)
class Judgement:
    faults: tuple[tuple[Fault, str], ...]  # and the mode
    notes: tuple[tuple[Note, str], ...]
    fate: Fate | None = None
    is_visible: bool = False
    seen: Seen = NOTHING


def judged(case: Case, outcomes: Mapping[str, Outcome]) -> Judgement:
    faults: list[tuple[Fault, str]] = []
    notes: list[tuple[Note, str]] = []
    seen = truth.seen(case.form, case.body) if case.truth is not Truth.CUT or case.form in _IN_BLOCKS else NOTHING
    if case.truth is Truth.WHOLE and (seen.picture or (seen.side and not case.whole.is_kept)):
        faults.append((Fault.READER, "whole"))
    for mode, outcome in outcomes.items():
        if outcome["as"] == "crash":
            notes.append((Note.CRASH, mode))
        elif _FOR_MACHINES.search(outcome.get("detail") or ""):
            notes.append((Note.FOR_MACHINES, mode))
        found = _of_whole(case, mode, outcome, outcomes) if case.truth in (Truth.WHOLE, Truth.ODD) else None
        if case.truth is Truth.CUT:
            found = _of_cut(case, outcome, seen)
        elif case.truth is Truth.DAMAGED:
            found = _of_damaged(case, mode, outcome, seen)
        if isinstance(found, Fault):
            faults.append((found, mode))
        elif isinstance(found, Note):
            notes.append((found, mode))
    is_visible = bool(seen.picture) or case.truth is Truth.CUT
    return Judgement(tuple(faults), tuple(notes), _fate(case, outcomes), is_visible, seen)


def _of_cut(case: Case, outcome: Outcome, seen: Seen) -> Fault | Note | None:
    if outcome["as"] == "permanent":
        return Fault.CUT_FOR_GOOD
    if outcome["as"] not in KEPT:
        return None
    is_hidden = case.form in _IN_BLOCKS and not seen.picture and not seen.side and seen.trace != "a box goes beyond the end"
    return Note.CUT_HIDDEN if is_hidden else Fault.FALSE_CUT


def _of_whole(case: Case, mode: str, outcome: Outcome, outcomes: Mapping[str, Outcome]) -> Fault | Note | None:
    if outcome["as"] == "permanent":
        return Fault.WHOLE_FOR_GOOD
    if outcome["as"] == "flagged":
        return Note.WHOLE_FLAGGED if mode == "fresh" else None
    if outcome["as"] == "kept" or case.truth is Truth.ODD:
        return None
    if outcome["as"] == "gone":  # what was to be made smaller is fetched again
        return Fault.WHOLE_NEVER if mode == "adopted" and outcomes.get("fresh", {}).get("as") in KEPT else None
    return Fault.WHOLE_NEVER


def _of_damaged(case: Case, mode: str, outcome: Outcome, seen: Seen) -> Fault | Note | None:
    if outcome["as"] == "permanent":
        if outcome.get("type") == "too_large":
            return Note.FALSELY_LARGE
        return Fault.DAMAGE_FOR_GOOD if case.body[:MAGIC] == case.whole.body[:MAGIC] else None
    if outcome["as"] not in KEPT:
        return None
    if seen.picture:
        return Note.LITTLE_FLAGGED if mode.startswith("little") and outcome["as"] == "flagged" else Fault.FALSE_DAMAGE
    if seen.side:
        return Note.SIDE_KEPT if outcome["as"] == "kept" else None
    if (seen.trace or "").startswith(STRICT):
        return Note.STRICTER
    if case.form != "raw" and _pixels(case.body) is None and _pixels(case.whole.body) is not None:
        return Note.LIBRARY_FLAGGED if outcome["as"] == "flagged" else Fault.FALSE_LIBRARY
    return None


def _fate(case: Case, outcomes: Mapping[str, Outcome]) -> Fate | None:
    if case.truth is not Truth.DAMAGED or "fresh" not in outcomes:
        return None
    if outcomes["fresh"]["as"] not in KEPT:
        return Fate.FOUND
    before = _pixels(case.whole.body)
    return Fate.HARMLESS if before is not None and before == _pixels(case.body) else Fate.MISSED


_KNOWN: dict[bytes, bytes | None] = {}


def _pixels(body: bytes) -> bytes | None:
    """A hash of all pictures in a file, as Pillow decodes them; None where it refuses the first."""
    key = hashlib.sha256(body).digest()
    if key not in _KNOWN:
        if len(_KNOWN) > 64:
            _KNOWN.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _KNOWN[key] = _hashed(body)
    return _KNOWN[key]


def _hashed(body: bytes) -> bytes | None:
    digest, n_read = hashlib.sha256(), 0
    if body[:4] == b"RIFF" and int.from_bytes(body[4:8], "little") + 8 == len(body) + 1:
        body += b"\0"  # that fills the last chunk up: Pillow asks for it
    try:
        with Image.open(io.BytesIO(body)) as picture:
            assert isinstance(picture, ImageFile.ImageFile)
            for number in range(MOST_FRAMES):
                picture.seek(number)
                if picture.width * picture.height > MOST_PIXELS:
                    break
                picture.load()
                digest.update(f"{picture.mode} {picture.size} {picture.getpalette()}".encode() + picture.tobytes())
                n_read += 1
    except EOFError:
        pass  # no more of them; or the end of the file, which the number of pictures shows
    except Exception as error:  # whatever a plug-in raises
        digest.update(type(error).__name__.encode())
    return digest.digest() if n_read else None
