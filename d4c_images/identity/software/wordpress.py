"""WordPress: an uploaded picture, and copies next to it with their width and height after the name (`-300x200`).

WordPress renames an upload whose name would be that of another one's copy, so such an ending is always its own.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "wordpress"
VERSION = 1

_SIZE = r"-(scaled|[1-9][0-9]{1,3}x[1-9][0-9]{1,3})"
_UPLOAD = re.compile(rf"((?:/[^/?]+)*/wp-content/uploads/(?:[^/?]+/)*[^/?]+?)(?:{_SIZE})?(\.(?i:jpe?g|png|gif|webp))").fullmatch
_SIZE_AT_END = re.compile(rf"{_SIZE}\Z")
_SCALED = 2560  # pixels of the longer edge; the original of a bigger upload stays next to it


def _read(url: Url) -> Variant | None:
    found = None if url.query else _UPLOAD(url.path)
    if found is None:
        return None
    stem, size, extension = found.groups()
    photo = f"{url.host}{stem}{extension}"
    if size is None:
        return Variant(photo, (-9999,))
    longest = _SCALED if size == "scaled" else max(map(int, size.split("x")))
    is_of_a_copy = _SIZE_AT_END.search(stem) is not None  # `a-300x200-150x150`: an upload named like a copy
    return Variant(photo, (-longest,), "" if is_of_a_copy else f"{url.root}{stem}{extension}")


_VARIANTS = Variants(NAME, VERSION, _read)
_UPLOADS = "https://www.example.org/wp-content/uploads"
_KEY = "wordpress:www.example.org/wp-content/uploads"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="WordPress (any server)",
    hints=("/wp-content/uploads/",),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://developer.wordpress.org/reference/functions/image_make_intermediate_size/ and wp_unique_filename",
    examples=(
        Example(f"{_UPLOADS}/2020/05/IMG_1234-300x200.jpg", f"{_KEY}/2020/05/IMG_1234.jpg", f"{_UPLOADS}/2020/05/IMG_1234.jpg"),
        Example(f"{_UPLOADS}/2020/05/IMG_1234-scaled.jpg", f"{_KEY}/2020/05/IMG_1234.jpg", f"{_UPLOADS}/2020/05/IMG_1234.jpg"),
        Example(f"{_UPLOADS}/2020/05/IMG_1234.jpg", f"{_KEY}/2020/05/IMG_1234.jpg"),
        Example(f"{_UPLOADS}/2020/05/IMG_1234.jpg?resize=300", f"{_UPLOADS}/2020/05/IMG_1234.jpg?resize=300"),
        Example(f"{_UPLOADS}/2020/05/list.pdf", f"{_UPLOADS}/2020/05/list.pdf"),
    ),
    traps=(
        (f"{_UPLOADS}/2020/05/IMG_1234-300x200.jpg", f"{_UPLOADS}/2020/06/IMG_1234-300x200.jpg"),
        (f"{_UPLOADS}/2020/05/IMG_1234-300x200.jpg", f"{_UPLOADS}/2020/05/IMG_1234-1-300x200.jpg"),
        (f"{_UPLOADS}/2020/05/IMG_1234.jpg", f"{_UPLOADS}/2020/05/IMG_1234.JPG"),
        (f"{_UPLOADS}/2020/05/plate-2x3.jpg", f"{_UPLOADS}/2020/05/plate.jpg"),
    ),
)
