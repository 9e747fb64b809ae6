"""California Academy of Sciences: its own branch of Specify's asset server, where a UUID names the file.

Originals are `static/<collection>/originals/ab/cd/<uuid>.jpg`, in folders named by the first digits of the UUID; copies are in
`thumbnails/`, with their size after the name; `fileget` gives either. (Older photos on `monarch.calacademy.org` have one URL each:
see `single`.)
"""

from __future__ import annotations

import re

from d4c_images.identity.pattern import UUID
from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "calacademy"
VERSION = 1

_ORIGINAL = re.compile(rf"/static/[a-z_]+/originals/(..)/(..)/(?=\1\2)({UUID})\.[A-Za-z]+").fullmatch
_COPY = re.compile(rf"/static/[a-z_]+/thumbnails/(..)/(..)/(?=\1\2)({UUID})_([0-9]{{1,5}})\.[A-Za-z]+").fullmatch
_FILE = re.compile(rf"({UUID})\.[A-Za-z]+").fullmatch
_SCALE = re.compile(r"[0-9]{1,5}").fullmatch
_FILEGET = frozenset({"coll", "filename", "type", "scale", "token", "downloadname"})


def _read(url: Url) -> Variant | None:
    if url.path == "/fileget":
        return _read_fileget(url)
    if url.query:
        return None
    if found := _ORIGINAL(url.path):
        return Variant(found[3], (0, 0))
    found = _COPY(url.path)
    return found and Variant(found[3], (1, -int(found[4])))


def _read_fileget(url: Url) -> Variant | None:
    arguments = url.arguments()
    if arguments is None or not arguments.keys() <= _FILEGET:
        return None
    file, collection = _FILE(arguments.get("filename", "")), arguments.get("coll", "")
    if file is None or not collection:
        return None
    if arguments.get("type", "O") != "T":
        return Variant(file[1], (0, 1))
    scale = arguments.get("scale", "")
    rank = (1, -int(scale) if _SCALE(scale) else 0)
    return Variant(file[1], rank, f"{url.root}/fileget?coll={collection}&type=O&filename={file[0]}")


_VARIANTS = Variants(NAME, VERSION, _read)
_LEAF = "be990872-82ef-450e-ba57-cb784cbfdffb"
_FISH = "4c498a67-c484-40fb-96d9-925684dd4c72"
_SERVER = "https://ibss-images.calacademy.org"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="California Academy of Sciences",
    hosts=frozenset({"ibss-images.calacademy.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/calacademy-research/cas-web-asset-server (server.py: get_rel_path, resolve_file)",
    examples=(
        Example(f"{_SERVER}/static/botany/originals/be/99/{_LEAF}.JPG", f"calacademy:{_LEAF}"),
        Example(
            f"http://ibss-images.calacademy.org:80/static/ichthyology/originals/4c/49/{_FISH}.JPG",
            f"calacademy:{_FISH}",
            f"http://ibss-images.calacademy.org/static/ichthyology/originals/4c/49/{_FISH}.JPG",
        ),
        Example(
            f"{_SERVER}/fileget?coll=Botany&type=T&filename={_LEAF}.JPG&scale=800",
            f"calacademy:{_LEAF}",
            f"{_SERVER}/fileget?coll=Botany&type=O&filename={_LEAF}.JPG",
        ),
        Example(f"{_SERVER}/fileget?coll=Botany&type=O&filename={_LEAF}.JPG", f"calacademy:{_LEAF}"),
        Example(f"{_SERVER}/static/botany/thumbnails/be/99/{_LEAF}_200.png", f"calacademy:{_LEAF}"),
        Example(f"{_SERVER}/static/botany/originals/be/98/{_LEAF}.JPG", f"{_SERVER}/static/botany/originals/be/98/{_LEAF}.JPG"),
    ),
    traps=(
        (
            f"{_SERVER}/static/botany/originals/be/99/{_LEAF}.JPG",
            f"{_SERVER}/static/ichthyology/originals/4c/49/{_FISH}.JPG",
        ),
        (
            f"{_SERVER}/fileget?coll=Botany&type=T&filename={_LEAF}.JPG&scale=800",
            f"{_SERVER}/fileget?coll=Botany&type=T&filename={_LEAF.replace('990872', '990873')}.JPG&scale=800",
        ),
    ),
)
