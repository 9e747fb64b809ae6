"""CyVerse's data store, read directly or through its resizing proxy: the path in the store is the identity.

`img.cyverse.org/resize?width=4000&url=<file>` gives a smaller JPEG of the file; the file itself is first. In the project
magnoliagrandiFLORA, `X/X_l.JPG` is known to be a smaller `X/X.JPG`; elsewhere, a letter at the end may be another photo.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url, usable_url

NAME = "cyverse"
VERSION = 1

_STORE = re.compile(
    r"https?://(?:data\.cyverse\.org/dav-anon|de\.cyverse\.org/anon-files)/{1,2}(?P<path>iplant/[^?#]+\.(?:jpe?g|png|tiff?|JPE?G|PNG|TIFF?))"
).fullmatch
_SIZE = r"(?:width|height)=[0-9]{1,6}"
_PROXY = re.compile(rf"/resize\?(?P<before>(?:{_SIZE}&)*)url=(?P<url>[^?&#]+)(?P<after>(?:&{_SIZE})*)").fullmatch
_WIDTH = re.compile(r"width=([0-9]+)").search
_MAGNOLIA = re.compile(r"(?P<file>iplant/projects/magnoliagrandiFLORA/images/specimens/([A-Z0-9]+)/\2)_l(?P<ext>\.JPG)").fullmatch


def _read(url: Url) -> Variant | None:
    text, width = url.text, None
    if url.host == "img.cyverse.org":
        proxy = _PROXY(url.path + url.query)
        if proxy is None:
            return None
        inner = proxy["url"] if "://" in proxy["url"] else unquote(proxy["url"])
        stated = _WIDTH(proxy["before"] + proxy["after"])
        text, width = usable_url(inner) or "", int(stated[1]) if stated else 0
    store = _STORE(text)
    if store is None:
        return None
    path = store["path"]
    small = _MAGNOLIA(path)
    if small is not None:
        path = small["file"] + small["ext"]
        text = text.removesuffix(store["path"]) + path
    rank = (int(small is not None), int(width is not None), -(width or 0))
    return Variant(path, rank, "" if text == url.text else text)


_VARIANTS = Variants(NAME, VERSION, _read)

_PATH = "iplant/projects/magnoliagrandiFLORA/images/specimens/MISSA006504/MISSA006504"
_FILE = f"https://data.cyverse.org/dav-anon/{_PATH}"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="CyVerse data store (magnoliagrandiFLORA, SERNEC and others)",
    hosts=frozenset({"img.cyverse.org", "data.cyverse.org", "de.cyverse.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://learning.cyverse.org (anonymous WebDAV); https://github.com/poppynorthing/PERE_rotation2, multimedia.csv",
    examples=(
        Example(f"https://img.cyverse.org/resize?width=4000&url={_FILE}.JPG", f"cyverse:{_PATH}.JPG", f"{_FILE}.JPG"),
        Example(f"https://img.cyverse.org/resize?width=4000&url={_FILE}_l.JPG", f"cyverse:{_PATH}.JPG", f"{_FILE}.JPG"),
        Example(f"https://img.cyverse.org/resize?url={_FILE}.JPG&width=300", f"cyverse:{_PATH}.JPG", f"{_FILE}.JPG"),
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
