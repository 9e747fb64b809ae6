"""The rule for everything without a better one: the normalised URL is the key. Merges nothing else."""

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
        Example("http://www.kew.org/herbcatimg/606755.jpg", "http://www.kew.org/herbcatimg/606755.jpg"),
        Example(
            "https://monarch.calacademy.org:443/mnt/target-images/CASTYPE1503_h.jpg",
            "https://monarch.calacademy.org/mnt/target-images/CASTYPE1503_h.jpg",
            "https://monarch.calacademy.org/mnt/target-images/CASTYPE1503_h.jpg",
        ),
        Example(
            "http://fm-digital-assets.fieldmuseum.org/155/820/Trichobius parasparsus Male Slide Venezuela SVP9390 HT.jpg",
            "http://fm-digital-assets.fieldmuseum.org/155/820/Trichobius%20parasparsus%20Male%20Slide%20Venezuela%20SVP9390%20HT.jpg",
            "http://fm-digital-assets.fieldmuseum.org/155/820/Trichobius%20parasparsus%20Male%20Slide%20Venezuela%20SVP9390%20HT.jpg",
        ),
    ),
)
