"""Muséum national d'Histoire naturelle, Paris: three photo servers, and `imager` with smaller copies of each.

`imager/` shows files of `dsiphoto`, `imager2/` of `sonneratphoto`, `imager3/` of `mediaphoto`; `w400` and `v25` are sizes.
Names are case-sensitive.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Shortcut, Variant, Variants
from d4c_images.identity.url import Url

NAME = "mnhn"
VERSION = 1

_COPY = re.compile(r"/(imager[23]?)/[vw]([0-9]{1,4})(/.+)").fullmatch
_SERVER_OF = {"imager": "dsiphoto.mnhn.fr", "imager2": "sonneratphoto.mnhn.fr", "imager3": "mediaphoto.mnhn.fr"}
_PHOTO = {
    "dsiphoto.mnhn.fr": re.compile(r"/(.+\.(?:jpe?g|JPE?G))").fullmatch,
    "sonneratphoto.mnhn.fr": re.compile(r"/(.+\.(?:jpe?g|JPE?G))").fullmatch,
    "mediaphoto.mnhn.fr": re.compile(r"/(media/[0-9]+[A-Za-z0-9]*)").fullmatch,
}


def _read(url: Url) -> Variant | None:
    if url.query:
        return None
    server, path, rank, better = url.host, url.path, (0, 0), ""
    if copy := _COPY(path) if url.host == "imager.mnhn.fr" else None:
        imager, size, path = copy.groups()
        server, rank = _SERVER_OF[imager], (1, -int(size))
        better = f"{url.scheme}://{server}{path}"
    found = _PHOTO[server](path) if server in _PHOTO else None
    return found and Variant(f"{server.removesuffix('photo.mnhn.fr')}/{found[1].removeprefix('media/')}", rank, better)


_VARIANTS = Variants(NAME, VERSION, _read)

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Muséum national d'Histoire naturelle, Paris",
    hosts=frozenset({"imager.mnhn.fr", *_PHOTO}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    shortcuts=(Shortcut("http://mediaphoto.mnhn.fr/media/", r"([0-9]+[A-Za-z0-9]*)", "media/", "mediaphoto.mnhn.fr"),),
    source="https://science.mnhn.fr (both sizes of a photo); Récolnat's code derives the imagers from them",
    examples=(
        Example("http://mediaphoto.mnhn.fr/media/1441373398150jx5DMS5gNYJfLGkR", "mnhn:media/1441373398150jx5DMS5gNYJfLGkR"),
        Example("https://mediaphoto.mnhn.fr/media/1441373398150jx5DMS5gNYJfLGkR", "mnhn:media/1441373398150jx5DMS5gNYJfLGkR"),
        Example(
            "http://imager.mnhn.fr/imager3/w400/media/1427463506459UAeHPJw9jXoET1sF",
            "mnhn:media/1427463506459UAeHPJw9jXoET1sF",
            "http://mediaphoto.mnhn.fr/media/1427463506459UAeHPJw9jXoET1sF",
        ),
        Example("http://sonneratphoto.mnhn.fr/2012/11/05/4/P06844472.jpg", "mnhn:sonnerat/2012/11/05/4/P06844472.jpg"),
        Example(
            "http://imager.mnhn.fr/imager2/v25/2012/11/05/4/P06844472.jpg",
            "mnhn:sonnerat/2012/11/05/4/P06844472.jpg",
            "http://sonneratphoto.mnhn.fr/2012/11/05/4/P06844472.jpg",
        ),
        Example("http://imager.mnhn.fr/imager9/v25/a.jpg", "http://imager.mnhn.fr/imager9/v25/a.jpg"),
    ),
    traps=(
        (
            "http://mediaphoto.mnhn.fr/media/1441373398150jx5DMS5gNYJfLGkR",
            "http://mediaphoto.mnhn.fr/media/1441373398150Jx5DMS5gNYJfLGkR",
        ),
        (
            "http://imager.mnhn.fr/imager2/w400/2012/11/20/6/P00048663.jpg",
            "http://imager.mnhn.fr/imager/w400/2012/11/20/6/P00048663.jpg",
        ),
        (
            "http://imager.mnhn.fr/imager2/w400/2012/11/20/6/P00048663.jpg",
            "http://sonneratphoto.mnhn.fr/2012/11/20/6/P00048664.jpg",
        ),
    ),
)
