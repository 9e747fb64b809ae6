"""Google Drive: a file's id in several shapes of link, most of them web pages. Leaves folders and documents alone."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rank, Rule
from d4c_images.identity.url import Url
from d4c_images.model import Image

NAME = "drive"
VERSION = 1

_FILE = re.compile(r"/file/d/([A-Za-z0-9_-]{20,60})(?:/(?:view|edit|preview))?/?").fullmatch
_ID = re.compile(r"[A-Za-z0-9_-]{20,60}").fullmatch
_OTHER = frozenset({"export", "id", "usp", "authuser", "resourcekey", "confirm", "sz"})
_DOWNLOAD, _THUMBNAIL, _PAGE = range(3)


def _file(url: Url) -> tuple[str, str, int] | None:
    """The file's id, its key of access where the link holds one, and what the link shows."""
    arguments = url.arguments()
    if arguments is None or not arguments.keys() <= _OTHER:
        return None
    file_id, shows = arguments.get("id", ""), _DOWNLOAD
    if page := _FILE(url.path):
        file_id, shows = page[1], _PAGE
    elif url.path == "/open":
        shows = _PAGE
    elif url.path == "/thumbnail":
        shows = _THUMBNAIL
    elif url.path != "/uc":
        return None
    access = f"&resourcekey={arguments['resourcekey']}" if arguments.get("resourcekey") else ""
    return (file_id, access, shows) if _ID(file_id) else None


def _match(url: Url) -> Image | None:
    file = _file(url)
    if file is None:
        return None
    file_id, access, shows = file
    best = f"https://drive.google.com/uc?export=download&id={file_id}{access}"
    return Image(f"drive:{file_id}", (url.text,) if shows == _DOWNLOAD else (best, url.text), "drive.google.com", NAME, VERSION)


def _rank(url: Url) -> Rank | None:
    file = _file(url)
    return file and (file[2], not file[1], url.scheme != "https", "export=download" not in url.query, len(url.text))


_ID_EXAMPLE = "1qLS6t1a5R3hk5PtpvUxuQQjAHnDcUFeU"
_BEST = f"https://drive.google.com/uc?export=download&id={_ID_EXAMPLE}"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Google Drive",
    hosts=frozenset({"drive.google.com"}),
    match=_match,
    rank=_rank,
    source="https://developers.google.com/drive/api/guides/about-files (file id, resource key, web content link)",
    examples=(
        Example(f"https://drive.google.com/file/d/{_ID_EXAMPLE}/view?usp=sharing", f"drive:{_ID_EXAMPLE}", _BEST),
        Example(f"https://drive.google.com/open?id={_ID_EXAMPLE}", f"drive:{_ID_EXAMPLE}", _BEST),
        Example(f"https://drive.google.com/thumbnail?id={_ID_EXAMPLE}&sz=w1000", f"drive:{_ID_EXAMPLE}", _BEST),
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
