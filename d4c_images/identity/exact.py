"""The default rule, for everything without a better one: the normalised URL is the key. Merges nothing else."""

from __future__ import annotations

from d4c_images.identity.rule import Example, Rank, Rule
from d4c_images.identity.url import Url
from d4c_images.model import Image

NAME = "exact"
VERSION = 1


def image_of(url: Url) -> Image:
    return Image(url.text, (url.text,), url.host, NAME, VERSION)


def rank_of(url: Url) -> Rank:
    return (0,)


RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Everything else",
    match=image_of,
    rank=rank_of,
    source="RFC 3986 section 6.2",
    examples=(
        Example(
            "https://rdu.unc.edu.ar/bitstream/handle/11086/22322/CORD00002686.jpg",
            "https://rdu.unc.edu.ar/bitstream/handle/11086/22322/CORD00002686.jpg",
        ),
        Example(
            "HTTPS://Photos.example.org:443/a.jpg",
            "https://photos.example.org/a.jpg",
            "https://photos.example.org/a.jpg",
        ),
        Example(
            "http://photos.example.org/155/820/Trichobius parasparsus Male Slide Venezuela SVP9390 HT.jpg",
            "http://photos.example.org/155/820/Trichobius%20parasparsus%20Male%20Slide%20Venezuela%20SVP9390%20HT.jpg",
            "http://photos.example.org/155/820/Trichobius%20parasparsus%20Male%20Slide%20Venezuela%20SVP9390%20HT.jpg",
        ),
    ),
)
