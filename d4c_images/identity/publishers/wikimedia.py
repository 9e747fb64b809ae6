"""Wikimedia Commons and the other wikis' own uploads: the file's name is its identity, thumbnails stand in a folder of that name.

The folder `a/ab` is the beginning of the name's MD5 and says nothing more. Left alone: web pages, earlier versions (`/archive/`),
pages of books and frames of videos, and files whose original is no picture.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from d4c_images.identity.rule import Example, Rule
from d4c_images.identity.url import Url
from d4c_images.identity.variant import Variant, Variants

NAME = "wikimedia"
VERSION = 1

_PICTURE = r"[^/?]+\.(?i:jpe?g|png|gif|tiff?|webp)"
_FOLDER = r"(?P<wiki>[a-z-]+/[a-z-]+)/(?P<thumb>thumb/)?(?P<folder>[0-9a-f]/[0-9a-f]{2})"
_WIDTH = r"(?:lossy-page1-|lossless-page1-)?(?P<width>[0-9]{1,5})px-[^/?]+"
_UPLOAD = re.compile(rf"/{_FOLDER}/(?P<name>{_PICTURE})(?:/{_WIDTH})?(?:\?[0-9]+)?").fullmatch
_FILE_PATH = re.compile(
    rf"/wiki/Special:(?:FilePath|Filepath|Redirect/file)/(?P<name>{_PICTURE})(?:\?width=(?P<width>[0-9]+)(?:px)?)?"
).fullmatch

_UPLOADS = ("upload.wikimedia.org", "thumb.wikimedia.org")  # the second has thumbnails alone, since 2026
_ORIGINAL, _REDIRECT, _SMALLER, _SMALLER_REDIRECT = range(4)


def _file(url: Url) -> re.Match[str] | None:
    text = url.path + url.query
    if url.host not in _UPLOADS:
        return _FILE_PATH(text.replace("%3A", ":", 1))
    found = _UPLOAD(text)
    return found if found and bool(found["thumb"]) == bool(found["width"]) else None


def _read(url: Url) -> Variant | None:
    file = _file(url)
    if file is None:
        return None
    is_redirect = url.host not in _UPLOADS
    wiki = "commons" if is_redirect else file["wiki"].removeprefix("wikipedia/")
    name = unquote(file["name"], errors="surrogateescape").replace(" ", "_")
    photo = f"{wiki}/{quote(name[0].upper() + name[1:], errors='surrogateescape')}"
    if file["width"] is None:
        return Variant(photo, (_REDIRECT if is_redirect else _ORIGINAL, 0, len(url.text)))
    folder = "wiki/Special:FilePath" if is_redirect else f"{file['wiki']}/{file['folder']}"
    rank = (_SMALLER_REDIRECT if is_redirect else _SMALLER, -int(file["width"]), len(url.text))
    root = url.root.replace("thumb.", "upload.")
    return Variant(photo, rank, f"{root}/{folder}/{file['name']}")


_VARIANTS = Variants(NAME, VERSION, _read)
_COMMONS = "http://upload.wikimedia.org/wikipedia/commons"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Wikimedia Commons",
    hosts=frozenset({*_UPLOADS, "commons.wikimedia.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://www.mediawiki.org/wiki/Manual:$wgHashedUploadDirectory and https://commons.wikimedia.org/wiki/Help:FilePath",
    examples=(
        Example(
            f"{_COMMONS}/thumb/d/dd/MattiParkkonen_Orava.jpg/729px-MattiParkkonen_Orava.jpg",
            "wikimedia:commons/MattiParkkonen_Orava.jpg",
            f"{_COMMONS}/d/dd/MattiParkkonen_Orava.jpg",
        ),
        Example(
            "https://thumb.wikimedia.org/wikipedia/commons/thumb/a/a9/Common_Blackbird.jpg/960px-Common_Blackbird.jpg",
            "wikimedia:commons/Common_Blackbird.jpg",
            "https://upload.wikimedia.org/wikipedia/commons/a/a9/Common_Blackbird.jpg",
        ),
        Example(f"{_COMMONS}/d/dd/MattiParkkonen_Orava.jpg", "wikimedia:commons/MattiParkkonen_Orava.jpg"),
        Example(
            "https://commons.wikimedia.org/wiki/Special:FilePath/MattiParkkonen%20Orava.jpg?width=600",
            "wikimedia:commons/MattiParkkonen_Orava.jpg",
            "https://commons.wikimedia.org/wiki/Special:FilePath/MattiParkkonen%20Orava.jpg",
        ),
        Example(
            f"{_COMMONS}/thumb/a/a1/Old_plate.tif/lossy-page1-800px-Old_plate.tif.jpg",
            "wikimedia:commons/Old_plate.tif",
            f"{_COMMONS}/a/a1/Old_plate.tif",
        ),
        Example(
            "https://commons.wikimedia.org/wiki/Special:FilePath/eurasian%20magpie%202024.jpg",
            "wikimedia:commons/Eurasian_magpie_2024.jpg",
        ),
        Example("https://upload.wikimedia.org/wikipedia/en/d/dd/MattiParkkonen_Orava.jpg", "wikimedia:en/MattiParkkonen_Orava.jpg"),
        Example(
            f"{_COMMONS}/thumb/d/dd/Flora.pdf/page7-800px-Flora.pdf.jpg",
            f"{_COMMONS}/thumb/d/dd/Flora.pdf/page7-800px-Flora.pdf.jpg",
        ),
        Example(
            "https://commons.wikimedia.org/wiki/File:Gleditsia_triacanthos_only_seeds.jpg",
            "https://commons.wikimedia.org/wiki/File:Gleditsia_triacanthos_only_seeds.jpg",
        ),
    ),
    traps=(
        (f"{_COMMONS}/d/dd/Orava.jpg", "http://upload.wikimedia.org/wikipedia/en/d/dd/Orava.jpg"),
        (f"{_COMMONS}/d/dd/Orava.jpg", f"{_COMMONS}/a/ab/Orava.JPG"),
        (f"{_COMMONS}/d/dd/%E8.jpg", f"{_COMMONS}/a/ab/%E9.jpg"),
        (f"{_COMMONS}/d/dd/Orava.jpg", f"{_COMMONS}/archive/d/dd/20080101120000%21Orava.jpg"),
        (
            f"{_COMMONS}/thumb/d/dd/Flora.tif/lossy-page1-800px-Flora.tif.jpg",
            f"{_COMMONS}/thumb/d/dd/Flora.tif/lossy-page2-800px-Flora.tif.jpg",
        ),
    ),
)
