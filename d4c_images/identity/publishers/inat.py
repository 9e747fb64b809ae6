"""iNaturalist: one photo in six sizes on two hosts (one of them under two names). Ignores its sounds and pages."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rank, Rule, Shortcut
from d4c_images.identity.url import Url
from d4c_images.model import Image

NAME = "inat"
VERSION = 1

# Longest edge in pixels: original 2048, large 1024, medium 500, small 240, thumb 100, square 75 (cropped).
_SIZES = ("original", "large", "medium", "small", "thumb", "square")
# A query of digits alone is the time of the last change, a cache buster.
_PHOTO = re.compile(
    r"/photos/([0-9]+)/(original|large|medium|small|thumb|square)(\.(?:jpe?g|png|gif|JPE?G|PNG|GIF))?(?:\?[0-9]*)?"
).fullmatch


def _match(url: Url) -> Image | None:
    photo = _PHOTO(url.path + url.query)
    if photo is None:
        return None
    number, size, extension = photo.groups()
    urls: tuple[str, ...] = (url.text,)
    if size != "original":
        # The host stays as given: the open bucket holds only photos under open licences.
        urls = (f"{url.root}/photos/{number}/original{extension or ''}", url.text)
    return Image(f"inat:{number}", urls, url.host, NAME, VERSION)


_OPEN_HOST = "inaturalist-open-data.s3.amazonaws.com"


def _rank(url: Url) -> Rank | None:
    photo = _PHOTO(url.path + url.query)
    if photo is None:
        return None
    # The open bucket first: it is there for bulk readers.
    return (_SIZES.index(photo[2]), url.host.startswith("static."), url.scheme != "https")


RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="iNaturalist",
    hosts=frozenset({_OPEN_HOST, "inaturalist-open-data.s3.us-east-1.amazonaws.com", "static.inaturalist.org"}),
    match=_match,
    rank=_rank,
    shortcuts=(
        # More than half of all rows of GBIF have this form.
        Shortcut(
            f"https://{_OPEN_HOST}/photos/",
            r"([0-9]+)/original\.(?:jpe?g|png|gif|JPE?G|PNG|GIF)(?:\?[0-9]*)?",
            "",
            _OPEN_HOST,
        ),
        Shortcut(
            "https://static.inaturalist.org/photos/",
            r"([0-9]+)/original\.(?:jpe?g|png|gif|JPE?G|PNG|GIF)(?:\?[0-9]*)?",
            "",
            "static.inaturalist.org",
        ),
    ),
    source="https://github.com/inaturalist/inaturalist-open-data (photo ids are one series on both hosts)",
    examples=(
        Example(
            "https://inaturalist-open-data.s3.amazonaws.com/photos/115052415/original.jpeg?1615126761",
            "inat:115052415",
        ),
        Example("https://static.inaturalist.org/photos/12346363/original.jpg?1513102694", "inat:12346363"),
        Example(
            "https://static.inaturalist.org/photos/22295/medium.JPG",
            "inat:22295",
            "https://static.inaturalist.org/photos/22295/original.JPG",
        ),
        Example(
            "https://inaturalist-open-data.s3.us-east-1.amazonaws.com/photos/22295/medium.jpg",
            "inat:22295",
            "https://inaturalist-open-data.s3.us-east-1.amazonaws.com/photos/22295/original.jpg",
        ),
        Example(
            "https://static.inaturalist.org/sounds/83996.wav?1585681371",
            "https://static.inaturalist.org/sounds/83996.wav?1585681371",
        ),
    ),
    traps=(
        ("https://static.inaturalist.org/photos/22295/medium.JPG", "https://static.inaturalist.org/photos/22296/medium.JPG"),
        ("https://static.inaturalist.org/sounds/83996.wav", "https://static.inaturalist.org/photos/83996/original.jpg"),
        (
            "https://static.inaturalist.org/photos/2229/medium.jpg",
            "https://static.inaturalist.org/observation_photos/2229/medium.jpg",
        ),
        (
            "https://inaturalist-open-data.s3.amazonaws.com/photos/1/original.jpg",
            "https://other-open-data.s3.amazonaws.com/photos/1/original.jpg",
        ),
    ),
)
