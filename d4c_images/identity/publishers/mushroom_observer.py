"""Mushroom Observer: the image's number, in a folder for the size. Anything above 1280 pixels is for people, not programs."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "mushroom-observer"
VERSION = 1

_SIZES = ("orig", "1280", "960", "640", "320", "thumb")
_PHOTO = re.compile(r"/(?:images/)?(orig|1280|960|640|320|thumb)/([0-9]+)\.(?:jpe?g|JPE?G|png|tiff?|gif|bmp)").fullmatch


def _read(url: Url) -> Variant | None:
    photo = None if url.query else _PHOTO(url.path)
    if photo is None:
        return None
    size, number = photo.groups()
    rank = (_SIZES.index(size), len(url.text))
    if size in ("orig", "1280"):
        return Variant(number, rank)
    # Its own data for GBIF name the copy of 1280 pixels.
    best = url.path.replace(f"/{size}/", "/1280/").rpartition(".")[0]
    return Variant(number, rank, f"{url.root}{best}.jpg")


_VARIANTS = Variants(NAME, VERSION, _read)
RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Mushroom Observer",
    hosts=frozenset({"images.mushroomobserver.org", "mushroomobserver.org", "www.mushroomobserver.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/MushroomObserver/mushroom-observer (sizes of an image; the report for MyCoPortal)",
    examples=(
        Example("https://images.mushroomobserver.org/1280/1305351.jpg", "mushroom-observer:1305351"),
        Example(
            "http://images.mushroomobserver.org/320/1552315.jpg",
            "mushroom-observer:1552315",
            "http://images.mushroomobserver.org/1280/1552315.jpg",
        ),
        Example("https://images.mushroomobserver.org/orig/51.jpg", "mushroom-observer:51"),
        Example(
            "https://mushroomobserver.org/images/thumb/51.jpg",
            "mushroom-observer:51",
            "https://mushroomobserver.org/images/1280/51.jpg",
        ),
        Example("https://mushroomobserver.org/13", "https://mushroomobserver.org/13"),
    ),
    traps=(
        ("https://images.mushroomobserver.org/640/13.jpg", "https://images.mushroomobserver.org/640/14.jpg"),
        ("https://images.mushroomobserver.org/640/320.jpg", "https://images.mushroomobserver.org/320/640.jpg"),
    ),
)
