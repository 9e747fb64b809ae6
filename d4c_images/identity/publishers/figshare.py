"""Figshare: the number of a file, at two addresses of its download service. Ignores articles and private links."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "figshare"
VERSION = 1

_DOWNLOAD = re.compile(r"/ndownloader/files/([0-9]+)").fullmatch
_FILE = re.compile(r"/files/([0-9]+)").fullmatch
_SERVICE = "ndownloader.figshare.com"


def _read(url: Url) -> Variant | None:
    file = None if url.query else _FILE(url.path) if url.host == _SERVICE else _DOWNLOAD(url.path)
    return file and Variant(file[1], (int(url.host != _SERVICE),))


_VARIANTS = Variants(NAME, VERSION, _read)

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Figshare",
    hosts=frozenset({_SERVICE, "figshare.com", "www.figshare.com", "api.figshare.com", "plus.figshare.com"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://docs.figshare.com (download_url of a file)",
    examples=(
        Example("https://ndownloader.figshare.com/files/13612760", "figshare:13612760"),
        Example("https://figshare.com/ndownloader/files/24539828", "figshare:24539828"),
        Example("https://plus.figshare.com/ndownloader/files/35773219", "figshare:35773219"),
        Example(
            "https://figshare.com/ndownloader/files/42088389?private_link=84ae808ce6999fafd192",
            "https://figshare.com/ndownloader/files/42088389?private_link=84ae808ce6999fafd192",
        ),
        Example("https://figshare.com/articles/figure/Figure_1/1234567", "https://figshare.com/articles/figure/Figure_1/1234567"),
    ),
    traps=(
        ("https://ndownloader.figshare.com/files/13612760", "https://ndownloader.figshare.com/files/13612761"),
        ("https://figshare.com/ndownloader/files/24539828", "https://figshare.com/ndownloader/articles/24539828"),
    ),
)
