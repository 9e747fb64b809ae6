"""Google Drive: a file's id in several forms of link, most of them web pages. Ignores folders and documents."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "drive"
VERSION = 1

_FILE = re.compile(r"/file/d/([A-Za-z0-9_-]{20,60})(?:/(?:view|edit|preview))?/?").fullmatch
_PICTURE = re.compile(r"/d/([A-Za-z0-9_-]{20,60})(?:=[a-z0-9-]+)?").fullmatch  # `=w1200` is a width
_ID = re.compile(r"[A-Za-z0-9_-]{20,60}").fullmatch
_OTHER = frozenset({"export", "id", "usp", "authuser", "resourcekey", "confirm", "sz"})
_DOWNLOAD, _THUMBNAIL, _PAGE = range(3)
_ROOT = "https://drive.google.com"
_PICTURES = "lh3.googleusercontent.com"


def _read(url: Url) -> Variant | None:
    arguments = url.arguments()
    if arguments is None or not arguments.keys() <= _OTHER:
        return None
    file_id, shows = arguments.get("id", ""), _DOWNLOAD
    if url.host == _PICTURES:
        found = _PICTURE(url.path)
        file_id, shows = found[1] if found else "", _THUMBNAIL
    elif page := _FILE(url.path):
        file_id, shows = page[1], _PAGE
    elif url.path == "/open":
        shows = _PAGE
    elif url.path == "/thumbnail":
        shows = _THUMBNAIL
    elif url.path != "/uc":
        return None
    if not _ID(file_id):
        return None
    key = arguments.get("resourcekey", "")  # some links need it
    rank = (shows, int(not key), int("export=download" not in url.query), len(url.text))
    best = f"{_ROOT}/uc?export=download&id={file_id}{'&resourcekey=' if key else ''}{key}"
    return Variant(file_id, rank) if shows == _DOWNLOAD else Variant(file_id, rank, best)


_VARIANTS = Variants(NAME, VERSION, _read)
_ID_EXAMPLE = "1qLS6t1a5R3hk5PtpvUxuQQjAHnDcUFeU"
_BEST = f"{_ROOT}/uc?export=download&id={_ID_EXAMPLE}"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Google Drive",
    hosts=frozenset({"drive.google.com", _PICTURES}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://developers.google.com/drive/api/guides/about-files (file id, resource key, web content link)",
    examples=(
        Example(f"https://drive.google.com/file/d/{_ID_EXAMPLE}/view?usp=sharing", f"drive:{_ID_EXAMPLE}", _BEST),
        Example(f"https://drive.google.com/open?id={_ID_EXAMPLE}", f"drive:{_ID_EXAMPLE}", _BEST),
        Example(f"https://drive.google.com/thumbnail?id={_ID_EXAMPLE}&sz=w1000", f"drive:{_ID_EXAMPLE}", _BEST),
        Example(
            "https://lh3.googleusercontent.com/d/1PhI2KdRaIfbc2RxwGNpGav0ssxYXK3mF",
            "drive:1PhI2KdRaIfbc2RxwGNpGav0ssxYXK3mF",
            f"{_ROOT}/uc?export=download&id=1PhI2KdRaIfbc2RxwGNpGav0ssxYXK3mF",
        ),
        Example(f"https://lh3.googleusercontent.com/d/{_ID_EXAMPLE}=w1200", f"drive:{_ID_EXAMPLE}", _BEST),
        Example("https://lh3.googleusercontent.com/a/ACg8ocJ-x=s96-c", "https://lh3.googleusercontent.com/a/ACg8ocJ-x=s96-c"),
        Example(f"https://drive.google.com/uc?id={_ID_EXAMPLE}", f"drive:{_ID_EXAMPLE}"),
        Example(
            f"https://drive.google.com/file/d/{_ID_EXAMPLE}/view?resourcekey=0-abc",
            f"drive:{_ID_EXAMPLE}",
            f"{_BEST}&resourcekey=0-abc",
        ),
        Example(f"https://drive.google.com/drive/folders/{_ID_EXAMPLE}", f"https://drive.google.com/drive/folders/{_ID_EXAMPLE}"),
    ),
    traps=(
        (
            "https://drive.google.com/file/d/1qLS6t1a5R3hk5PtpvUxuQQjAHnDcUFeU/view",
            "https://drive.google.com/file/d/1qLS6t1a5R3hk5PtpvUxuQQjAHnDcUFeu/view",
        ),
    ),
)
