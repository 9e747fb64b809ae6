"""CollectiveAccess: the number of the media representation is the picture, the word after it a size.

A file's name begins with a random number, different for each size, so no size can be derived from another.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "collectiveaccess"
VERSION = 1

_SIZES = (
    *("original", "large", "page", "mediumlarge", "medium", "small", "preview190", "preview170", "widepreview", "preview"),
    *("thumbnail", "icon", "iconlarge", "tinyicon", "tiny"),
)
_FILE = re.compile(
    r"(?P<media>(?:/[^/]+)*)/images/(?:[0-9]+/)+[0-9]+_ca_object_representations_media_(?P<number>[0-9]+)"
    rf"_(?P<size>{'|'.join(sorted(_SIZES, key=len, reverse=True))})\.(?i:jpe?g|png|gif|tiff?)"
).fullmatch


def _read(url: Url) -> Variant | None:
    file = None if url.query else _FILE(url.path)
    return file and Variant(f"{url.host}{file['media']}/{file['number']}", (_SIZES.index(file["size"]),))


_VARIANTS = Variants(NAME, VERSION, _read)
_MEDIA = "https://artgallery.gvsu.edu/admin/media/collectiveaccess"
_KEY = "collectiveaccess:artgallery.gvsu.edu/admin/media/collectiveaccess"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="CollectiveAccess",
    hints=("_ca_object_representations_media_",),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/collectiveaccess/providence (media processing: names of versions)",
    examples=(
        Example(f"{_MEDIA}/images/1/0/0/8999_ca_object_representations_media_10086_small.jpg", f"{_KEY}/10086"),
        Example(f"{_MEDIA}/images/1/0/0/45678_ca_object_representations_media_10086_original.jpg", f"{_KEY}/10086"),
        Example(
            f"{_MEDIA}/images/1/0/0/8999_ca_object_representations_media_10086_original.pdf",
            f"{_MEDIA}/images/1/0/0/8999_ca_object_representations_media_10086_original.pdf",
        ),
    ),
    traps=(
        (
            f"{_MEDIA}/images/1/0/0/8999_ca_object_representations_media_10086_small.jpg",
            f"{_MEDIA}/images/1/0/0/8999_ca_object_representations_media_10087_small.jpg",
        ),
        (
            f"{_MEDIA}/images/1/0/0/8999_ca_object_representations_media_10086_small.jpg",
            f"{_MEDIA.replace('artgallery', 'gallery')}/images/1/0/0/8999_ca_object_representations_media_10086_small.jpg",
        ),
    ),
)
