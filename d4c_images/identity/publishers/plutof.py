"""PlutoF: a file's hash in a folder for its size. Its newer store, by UUID, has one URL per file."""

from __future__ import annotations

import re

from d4c_images.identity.pattern import UUID
from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "plutof"
VERSION = 1

_FILE = re.compile(r"/public/(orig|large)/([0-9A-F]{2}/[0-9A-F]{2})/([0-9A-F]{64})(\.[A-Za-z0-9]+)?").fullmatch
_STORED = re.compile(rf"/plutof-public/original/({UUID}\.[A-Za-z0-9]+)").fullmatch
_STORE = "s3.hpc.ut.ee"


def _read(url: Url) -> Variant | None:
    if url.query:
        return None
    if url.host == _STORE:
        stored = _STORED(url.path)
        return stored and Variant(stored[1], (0,))
    file = _FILE(url.path)
    if file is None:
        return None
    size, folder, sha256, extension = file.groups(default="")
    if size == "orig":
        return Variant(sha256, (0,))
    return Variant(sha256, (1,), f"{url.root}/public/orig/{folder}/{sha256}{extension}")


_VARIANTS = Variants(NAME, VERSION, _read)
_SHA = "E8960497A55C638D416BA56753C71194875B7DEEE5993C5CD14B518753E0481D"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="PlutoF (University of Tartu)",
    hosts=frozenset({"files.plutof.ut.ee", _STORE}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://plutof.ut.ee (files of its repository as GBIF and UNITE link them)",
    examples=(
        Example(
            f"https://files.plutof.ut.ee/public/large/E8/96/{_SHA}.jpg",
            f"plutof:{_SHA}",
            f"https://files.plutof.ut.ee/public/orig/E8/96/{_SHA}.jpg",
        ),
        Example(f"http://files.plutof.ut.ee/public/orig/E8/96/{_SHA}.jpg", f"plutof:{_SHA}"),
        Example(
            "https://s3.hpc.ut.ee/plutof-public/original/b02db549-5f04-43fc-afb6-02888b594d10.jpg",
            "plutof:b02db549-5f04-43fc-afb6-02888b594d10.jpg",
        ),
        Example(
            "https://s3.hpc.ut.ee/other/b02db549-5f04-43fc-afb6-02888b594d10.jpg",
            "https://s3.hpc.ut.ee/other/b02db549-5f04-43fc-afb6-02888b594d10.jpg",
        ),
    ),
    traps=(
        (
            "https://files.plutof.ut.ee/public/large/E8/96/E8960497A55C638D416BA56753C71194875B7DEEE5993C5CD14B518753E0481D.jpg",
            "https://files.plutof.ut.ee/public/large/9B/52/9B526D32F236E96D0EFC6928C16A36CFE26A1B939BB3C506C55C44D961AC2743.jpg",
        ),
    ),
)
