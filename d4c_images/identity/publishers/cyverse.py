"""CyVerse's data store, read directly or through its resizing proxy: the path in the store is the identity.

`img.cyverse.org/resize?width=4000&url=<file>` gives a smaller JPEG of the file; the file itself stands first. Of the project
magnoliagrandiFLORA it is known that `X/X_l.JPG` is a smaller `X/X.JPG`; elsewhere, a letter at the end may be another photo.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from d4c_images.identity.rule import Example, Rank, Rule
from d4c_images.identity.url import Url, parts, usable_url
from d4c_images.model import Image

NAME = "cyverse"
VERSION = 1

_STORE = re.compile(
    r"https?://(?:data\.cyverse\.org/dav-anon|de\.cyverse\.org/anon-files)/{1,2}(?P<path>iplant/[^?#]+\.(?:jpe?g|png|tiff?|JPE?G|PNG|TIFF?))"
).fullmatch
_PROXY = re.compile(r"/resize\?(?:width=(?P<width>[0-9]{1,6})&)?(?:height=[0-9]{1,6}&)?url=(?P<url>[^?&#]+)").fullmatch
_MAGNOLIA = re.compile(r"(?P<file>iplant/projects/magnoliagrandiFLORA/images/specimens/([A-Z0-9]+)/\2)_l(?P<ext>\.JPG)").fullmatch
_NO_WIDTH = 0


def _inner(url: Url) -> tuple[str, str, int | None] | None:
    """The file in the store: its URL, its path, and the width that the proxy makes of it (None without a proxy)."""
    text, width = url.text, None
    if url.host == "img.cyverse.org":
        proxy = _PROXY(url.path + url.query)
        if proxy is None:
            return None
        inner = proxy["url"] if "://" in proxy["url"] else unquote(proxy["url"])
        text, width = usable_url(inner) or "", int(proxy["width"] or _NO_WIDTH)
    store = _STORE(text)
    return store and (text, store["path"], width)


def _match(url: Url) -> Image | None:
    inner = _inner(url)
    if inner is None:
        return None
    text, path, _ = inner
    urls = [url.text]
    if text != url.text:
        urls.insert(0, text)
    if small := _MAGNOLIA(path):
        path = small["file"] + small["ext"]
        urls.insert(0, text.removesuffix(f"_l{small['ext']}") + small["ext"])
    return Image(f"{NAME}:{path}", tuple(urls), parts(urls[0]).host, NAME, VERSION)


def _rank(url: Url) -> Rank | None:
    inner = _inner(url)
    if inner is None:
        return None
    _, path, width = inner
    return int(_MAGNOLIA(path) is not None), int(width is not None), -(width or 0), int(url.scheme != "https")


_PATH = "iplant/projects/magnoliagrandiFLORA/images/specimens/MISSA006504/MISSA006504"
_FILE = f"https://data.cyverse.org/dav-anon/{_PATH}"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="CyVerse data store (magnoliagrandiFLORA, SERNEC and others)",
    hosts=frozenset({"img.cyverse.org", "data.cyverse.org", "de.cyverse.org"}),
    match=_match,
    rank=_rank,
    source="https://learning.cyverse.org (anonymous WebDAV); https://github.com/poppynorthing/PERE_rotation2, multimedia.csv",
    examples=(
        Example(f"https://img.cyverse.org/resize?width=4000&url={_FILE}.JPG", f"cyverse:{_PATH}.JPG", f"{_FILE}.JPG"),
        Example(f"https://img.cyverse.org/resize?width=4000&url={_FILE}_l.JPG", f"cyverse:{_PATH}.JPG", f"{_FILE}.JPG"),
        Example(f"{_FILE}.JPG", f"cyverse:{_PATH}.JPG"),
        Example(
            f"https://img.cyverse.org/resize?url=https%3A%2F%2Fdata.cyverse.org%2Fdav-anon%2F{_PATH.replace('/', '%2F')}.JPG",
            f"cyverse:{_PATH}.JPG",
            f"{_FILE}.JPG",
        ),
        Example(
            "https://img.cyverse.org/resize?width=4000&url=https://example.org/a.JPG",
            "https://img.cyverse.org/resize?width=4000&url=https://example.org/a.JPG",
        ),
    ),
    traps=(
        (f"{_FILE}.JPG", f"{_FILE.replace('006504', '006505')}.JPG"),
        (
            f"https://img.cyverse.org/resize?width=4000&url={_FILE}.JPG",
            f"https://img.cyverse.org/resize?width=4000&url={_FILE.replace('006504', '006505')}.JPG",
        ),
        (
            "https://data.cyverse.org/dav-anon/iplant/projects/sernec/A/B1.JPG",
            "https://data.cyverse.org/dav-anon/iplant/projects/sernec/A/B1_l.JPG",
        ),
        (
            "https://data.cyverse.org/dav-anon/iplant/projects/sernec/A/B1.JPG",
            "https://data.cyverse.org/dav-anon/iplant/projects/sernec/A/b1.JPG",
        ),
    ),
)
