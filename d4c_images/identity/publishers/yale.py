"""Yale's content delivery (the Peabody Museum and others): formats of one item, and its files on several servers.

`deliver.odai.yale.edu/content/.../format/1`, `2` and `3` are sizes of one item, 3 the largest. The files themselves are on
`b01`, `b02`, `b03`, in folders named by the first digits of a UUID. The newer IIIF service is left to the rule for IIIF.
"""

from __future__ import annotations

import re

from d4c_images.identity.pattern import UUID
from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "yale"
VERSION = 1

_FORMAT = re.compile(rf"(/content/(repository/[A-Z]+/id/[0-9]+|id/{UUID})/format/)([123])").fullmatch
_SERVER = re.compile(r"b[0-9]{2}\.deliver\.odai\.yale\.edu").fullmatch
_FILE = re.compile(rf"/(..)/(..)/(?=\1\2)({UUID})/([^/]+?)(-large|-med|-small|-thumb)?\.(?:jpe?g|tiff?)").fullmatch
_SIZES = (None, "-large", "-med", "-small", "-thumb")


def _read(url: Url) -> Variant | None:
    if url.query:
        return None
    if url.host == "deliver.odai.yale.edu" and (found := _FORMAT(url.path)):
        path, content, size = found.groups()
        return Variant(content, (3 - int(size),), f"{url.root}{path}3" if size != "3" else "")
    if _SERVER(url.host) and (found := _FILE(url.path)):
        return Variant(f"{found[3]}/{found[4]}", (_SIZES.index(found[5]),))
    return None


_VARIANTS = Variants(NAME, VERSION, _read)
_PEABODY = "http://deliver.odai.yale.edu/content/repository/YPM/id"
_SHEET = "5612afc4-4003-4b8e-a2b5-302c75f8cd8e"
_FILES = f"deliver.odai.yale.edu/56/12/{_SHEET}"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Yale University (Peabody Museum)",
    domains=frozenset({"deliver.odai.yale.edu"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://deliver.odai.yale.edu (format 1 is a thumbnail, 3 the largest JPEG); real URLs of its servers",
    examples=(
        Example(f"{_PEABODY}/693699/format/3", "yale:repository/YPM/id/693699"),
        Example(f"{_PEABODY}/162542/format/2", "yale:repository/YPM/id/162542", f"{_PEABODY}/162542/format/3"),
        Example(
            "http://deliver.odai.yale.edu/content/id/0fb128cd-c4bf-4984-95b5-18df1b164f49/format/1",
            "yale:id/0fb128cd-c4bf-4984-95b5-18df1b164f49",
            "http://deliver.odai.yale.edu/content/id/0fb128cd-c4bf-4984-95b5-18df1b164f49/format/3",
        ),
        Example(f"http://b02.{_FILES}/ag-obj-15224-002-rpd-med.jpg", f"yale:{_SHEET}/ag-obj-15224-002-rpd"),
        Example(f"https://b03.{_FILES}/ag-obj-15224-002-rpd-large.jpg", f"yale:{_SHEET}/ag-obj-15224-002-rpd"),
        Example(
            "https://deliver.odai.yale.edu/info/repository/YPM/object/YU.061338/type/4",
            "https://deliver.odai.yale.edu/info/repository/YPM/object/YU.061338/type/4",
        ),
        Example(f"{_PEABODY}/693699/format/6", f"{_PEABODY}/693699/format/6"),
    ),
    traps=(
        (f"{_PEABODY}/693699/format/3", f"{_PEABODY}/693700/format/3"),
        (f"{_PEABODY}/693699/format/3", f"{_PEABODY.replace('YPM', 'YCBA')}/693699/format/2"),
        (f"http://b02.{_FILES}/ag-obj-15224-002-rpd-med.jpg", f"http://b02.{_FILES}/ag-obj-15224-003-rpd-med.jpg"),
    ),
)
