"""Wikimedia Commons and the other wikis' own uploads: the file's name is its identity, thumbnails are in a folder of that name.

The folder `a/ab` is the beginning of the name's MD5 and adds nothing. The page of a file on Commons (`wiki/File:X`) leads to
the file through `Special:FilePath/X`. Ignored: other web pages, earlier versions (`/archive/`) and frames of videos.

Thumbnails are served in fixed widths only; other widths get a 400. So a row's own thumbnail of another width is requested in
the next greater one, after the original. For a drawing (SVG) and for pages of a PDF, DjVu or TIFF beyond the first, the
original is not that picture, so only their thumbnails are requested.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url, parts
from d4c_images.model import Image

NAME = "wikimedia"
VERSION = 2

_PICTURE = r"[^/?]+\.(?i:jpe?g|png|gif|tiff?|webp)"
_FOLDER = r"(?P<wiki>[a-z-]+/[a-z-]+)/(?P<thumb>thumb/)?(?P<folder>[0-9a-f]/[0-9a-f]{2})"
_WIDTH = r"(?:lossy-page1-|lossless-page1-)?(?P<width>[0-9]{1,5})px-[^/?]+"
_UPLOAD = re.compile(rf"/{_FOLDER}/(?P<name>{_PICTURE})(?:/{_WIDTH})?(?:\?[0-9]+)?").fullmatch
_FILE_PATH = re.compile(
    rf"/wiki/Special:(?:FilePath|Filepath|Redirect/file)/(?P<name>{_PICTURE})(?:\?width=(?P<width>[0-9]+)(?:px)?)?"
).fullmatch

_FILE_PAGE = re.compile(rf"/wiki/(?:[^/?#]+#/media/)?File:(?P<name>{_PICTURE})(?:\?uselang=[a-z-]+)?").fullmatch
_DOCUMENT = r"[^/?]+\.(?i:svg|pdf|djvu|tiff?)"
_RENDERED = re.compile(
    rf"/{_FOLDER}/(?P<name>{_DOCUMENT})/(?:(?:lossy-|lossless-)?(?P<page>page[0-9]{{1,5}})-)?(?P<width>[0-9]{{1,5}})px-[^/?]+"
).fullmatch
_WIDTH_OF_THUMB = re.compile(r"(?<=[/-])([0-9]{1,5})(?=px-[^/]+\Z)")
_WIDTHS = (20, 40, 60, 120, 250, 330, 500, 960, 1280, 1920, 3840)
"""What https://www.mediawiki.org/wiki/Common_thumbnail_sizes lists for Wikimedia ($wgThumbnailSteps)."""

_UPLOADS = ("upload.wikimedia.org", "thumb.wikimedia.org")  # the second has only thumbnails, since 2026
_ORIGINAL, _REDIRECT, _SMALLER, _SMALLER_REDIRECT, _WEB_PAGE = range(5)


def _file(url: Url) -> re.Match[str] | None:
    text = url.path + url.query
    if url.host not in _UPLOADS:
        return _FILE_PATH(text.replace("%3A", ":", 1))
    found = _UPLOAD(text)
    return found if found and bool(found["thumb"]) == bool(found["width"]) else None


def _read(url: Url) -> Variant | None:
    file = _file(url)
    if file is None:
        return _read_page(url) if url.host not in _UPLOADS else _read_rendered(url)
    is_redirect = url.host not in _UPLOADS
    wiki = "commons" if is_redirect else file["wiki"].removeprefix("wikipedia/")
    photo = f"{wiki}/{_title(file)}"
    if file["width"] is None:
        return Variant(photo, (_REDIRECT if is_redirect else _ORIGINAL, 0, len(url.text)))
    folder = "wiki/Special:FilePath" if is_redirect else f"{file['wiki']}/{file['folder']}"
    rank = (_SMALLER_REDIRECT if is_redirect else _SMALLER, -int(file["width"]), len(url.text))
    root = url.root.replace("thumb.", "upload.")
    return Variant(photo, rank, f"{root}/{folder}/{file['name']}")


def _title(file: re.Match[str]) -> str:
    name = unquote(file["name"], errors="surrogateescape").replace(" ", "_")
    return quote(name[0].upper() + name[1:], errors="surrogateescape")


def _read_page(url: Url) -> Variant | None:
    """The page of a file on Commons."""
    page = _FILE_PAGE((url.path + url.query).replace("File%3A", "File:", 1))
    if page is None:
        return None
    return Variant(f"commons/{_title(page)}", (_WEB_PAGE, 0, len(url.text)), f"{_COMMONS_WIKI}/Special:FilePath/{page['name']}")


def _read_rendered(url: Url) -> Variant | None:
    """A thumbnail whose original is not a picture, or shows another one."""
    drawn = None if url.query else _RENDERED(url.path)
    if drawn is None or not drawn["thumb"]:
        return None
    photo = "/".join(filter(None, (drawn["wiki"].removeprefix("wikipedia/"), _title(drawn), drawn["page"])))
    return Variant(photo, (_SMALLER, -int(drawn["width"]), len(url.text)))


def _match(url: Url) -> Image | None:
    image = _VARIANTS.match(url)
    if image is None or url.host not in _UPLOADS:
        return image
    served = _WIDTH_OF_THUMB.sub(_next_width, url.text)
    if served == url.text:
        return image
    urls = (*image.urls[:-1], served, url.text)
    return image._replace(urls=urls, host=parts(urls[0]).host)


def _next_width(found: re.Match[str]) -> str:
    width = int(found[1])
    return str(next((one for one in _WIDTHS if one >= width), width))


_VARIANTS = Variants(NAME, VERSION, _read)
_COMMONS_WIKI = "https://commons.wikimedia.org/wiki"
_COMMONS = "http://upload.wikimedia.org/wikipedia/commons"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Wikimedia Commons",
    hosts=frozenset({*_UPLOADS, "commons.wikimedia.org", "commons.m.wikimedia.org"}),
    match=_match,
    rank=_VARIANTS.rank,
    source="https://www.mediawiki.org/wiki/Manual:$wgHashedUploadDirectory, https://commons.wikimedia.org/wiki/Help:FilePath and "
    "https://www.mediawiki.org/wiki/Common_thumbnail_sizes",
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
            "wikimedia:commons/Flora.pdf/page7",
            f"{_COMMONS}/thumb/d/dd/Flora.pdf/page7-960px-Flora.pdf.jpg",
        ),
        Example(f"{_COMMONS}/thumb/d/dd/Flora.pdf/page7-4000px-Flora.pdf.jpg", "wikimedia:commons/Flora.pdf/page7"),
        Example(f"{_COMMONS}/thumb/d/dd/Flora.pdf/page7-960px-Flora.pdf.jpg", "wikimedia:commons/Flora.pdf/page7"),
        Example(
            f"{_COMMONS}/thumb/e/ec/Leaf_shape.svg/200px-Leaf_shape.svg.png",
            "wikimedia:commons/Leaf_shape.svg",
            f"{_COMMONS}/thumb/e/ec/Leaf_shape.svg/250px-Leaf_shape.svg.png",
        ),
        Example(
            f"{_COMMONS_WIKI}/File:Gleditsia_triacanthos_only_seeds.jpg",
            "wikimedia:commons/Gleditsia_triacanthos_only_seeds.jpg",
            f"{_COMMONS_WIKI}/Special:FilePath/Gleditsia_triacanthos_only_seeds.jpg",
        ),
        Example(
            f"{_COMMONS_WIKI}/Category:Gleditsia#/media/File:Gleditsia_triacanthos_only_seeds.jpg",
            "wikimedia:commons/Gleditsia_triacanthos_only_seeds.jpg",
            f"{_COMMONS_WIKI}/Special:FilePath/Gleditsia_triacanthos_only_seeds.jpg",
        ),
        Example(
            "https://commons.m.wikimedia.org/wiki/File%3AOld_plate.tif?uselang=de",
            "wikimedia:commons/Old_plate.tif",
            f"{_COMMONS_WIKI}/Special:FilePath/Old_plate.tif",
        ),
        Example(f"{_COMMONS_WIKI}/Category:Gleditsia", f"{_COMMONS_WIKI}/Category:Gleditsia"),
    ),
    traps=(
        (f"{_COMMONS}/d/dd/Orava.jpg", "http://upload.wikimedia.org/wikipedia/en/d/dd/Orava.jpg"),
        (f"{_COMMONS}/d/dd/Orava.jpg", f"{_COMMONS}/a/ab/Orava.JPG"),
        (f"{_COMMONS}/d/dd/%E8.jpg", f"{_COMMONS}/a/ab/%E9.jpg"),
        (f"{_COMMONS}/d/dd/Orava.jpg", f"{_COMMONS}/archive/d/dd/20080101120000%21Orava.jpg"),
        (f"{_COMMONS_WIKI}/File:Orava.jpg", f"{_COMMONS_WIKI}/File:Orava.JPG"),
        (f"{_COMMONS_WIKI}/File:Orava.jpg", f"{_COMMONS_WIKI}/File_talk:Orava.jpg"),
        (
            f"{_COMMONS}/thumb/d/dd/Flora.pdf/page7-800px-Flora.pdf.jpg",
            f"{_COMMONS}/thumb/d/dd/Flora.pdf/page8-800px-Flora.pdf.jpg",
        ),
        (
            f"{_COMMONS}/thumb/d/dd/Flora.tif/lossy-page1-800px-Flora.tif.jpg",
            f"{_COMMONS}/thumb/d/dd/Flora.tif/lossy-page2-800px-Flora.tif.jpg",
        ),
    ),
)
