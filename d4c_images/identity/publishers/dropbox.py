"""Dropbox: a shared file's id and name; `dl` and `raw` choose between a page and the file.

A file in a shared folder has the folder's id and key before its path. Ignored are folders themselves (`dl=1` packs them) and
their `preview`, which names a file but gives no link to it.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "dropbox"
VERSION = 2

_PICTURE = r"[^/]+\.(?i:jpe?g|png|gif|tiff?|webp|bmp|heic|jp2|dng|cr2|nef)"
_IN_FOLDER = rf"(?:sh|scl/fo)/[a-z0-9]{{12,24}}/[A-Za-z0-9_-]{{20,40}}/(?:[^/]+/){{0,9}}{_PICTURE}"
_FILE = re.compile(rf"/((?:s|scl/fi)/[a-z0-9]{{12,24}}/[^/]+|{_IN_FOLDER})").fullmatch
_ABOUT_THE_PAGE = frozenset({"dl", "raw", "st", "e"})


def _read(url: Url) -> Variant | None:
    file, arguments = _FILE(url.path), url.arguments()
    if file is None or arguments is None or not arguments.keys() <= _ABOUT_THE_PAGE | {"rlkey"}:
        return None
    key = arguments.get("rlkey", "")
    if url.host == "dl.dropboxusercontent.com" or arguments.get("dl") == "1" or arguments.get("raw") == "1":
        return Variant(file[1], (0, int(not key), len(url.text)))
    asks = f"?rlkey={key}&dl=1" if key else "?dl=1"
    return Variant(file[1], (1, int(not key), len(url.text)), f"{url.root}{url.path}{asks}")


_VARIANTS = Variants(NAME, VERSION, _read)
_LEAF = "https://www.dropbox.com/s/4kq3l1yqz0d7v2m/leaf%201.jpg"
_FOLDER = "https://www.dropbox.com/sh/4kq3l1yqz0d7v2m/AADwv1mZ0c3jX2r8kQyTn5fEa"
_NEW = "https://www.dropbox.com/scl/fi/4kq3l1yqz0d7v2mabcdef/leaf.jpg"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Dropbox",
    hosts=frozenset({"www.dropbox.com", "dropbox.com", "dl.dropboxusercontent.com"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://help.dropbox.com/share/force-download",
    examples=(
        Example(f"{_LEAF}?dl=0", "dropbox:s/4kq3l1yqz0d7v2m/leaf%201.jpg", f"{_LEAF}?dl=1"),
        Example(_LEAF, "dropbox:s/4kq3l1yqz0d7v2m/leaf%201.jpg", f"{_LEAF}?dl=1"),
        Example(f"{_LEAF}?raw=1", "dropbox:s/4kq3l1yqz0d7v2m/leaf%201.jpg"),
        Example("https://dl.dropboxusercontent.com/s/4kq3l1yqz0d7v2m/leaf%201.jpg", "dropbox:s/4kq3l1yqz0d7v2m/leaf%201.jpg"),
        Example(
            f"{_NEW}?rlkey=o5n2ab&st=x1&dl=0",
            "dropbox:scl/fi/4kq3l1yqz0d7v2mabcdef/leaf.jpg",
            f"{_NEW}?rlkey=o5n2ab&dl=1",
        ),
        Example(
            f"{_FOLDER}/Herbarium/leaf%201.jpg?dl=0",
            f"dropbox:{_FOLDER[24:]}/Herbarium/leaf%201.jpg",
            f"{_FOLDER}/Herbarium/leaf%201.jpg?dl=1",
        ),
        Example(f"{_FOLDER}?dl=0&preview=leaf.jpg", f"{_FOLDER}?dl=0&preview=leaf.jpg"),
        Example("https://www.dropbox.com/sh/4kq3l1yqz0d7v2m/AAB?dl=0", "https://www.dropbox.com/sh/4kq3l1yqz0d7v2m/AAB?dl=0"),
    ),
    traps=(
        (f"{_FOLDER}/leaf.jpg?dl=0", f"{_FOLDER}/a/leaf.jpg?dl=0"),
        (f"{_FOLDER}/leaf.jpg?dl=0", f"{_FOLDER[:-1]}b/leaf.jpg?dl=0"),
        (f"{_LEAF}?dl=0", f"{_LEAF.replace('v2m', 'v3m')}?dl=0"),
        (f"{_LEAF}?dl=0", f"{_LEAF}?dl=0&preview=leaf%202.jpg"),
    ),
)
