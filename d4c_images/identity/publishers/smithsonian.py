"""Smithsonian Institution: the image id of its delivery service, also as a persistent ARK.

`n2t.net/ark:/65665/m3<uuid>` and `ids.si.edu/.../ark:/65665/m3<the same without dashes>` are one image (its metadata has both, as
`guid` and `idsId`). ARKs that begin with `3` are specimens, which are pages. A number at the end of the path, or `max`, `max_w`,
`max_h` in the query, is a size; without it the service gives the whole image.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "smithsonian"
VERSION = 1

_M3 = r"m3[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}"
_NUMBER = rf"ark:/65665/{_M3}|[A-Za-z0-9][A-Za-z0-9_.-]*"
_NUMBER_ALONE = re.compile(_NUMBER).fullmatch
_ARK = re.compile(rf"/ark:/?65665/({_M3})").fullmatch
_BY_PATH = re.compile(rf"/ids/deliveryService/id/({_NUMBER})(?:/([0-9]{{1,5}}))?").fullmatch
_BY_QUERY = re.compile(r"/ids/deliveryService\?(.+)").fullmatch
_SIZE = re.compile(r"max(?:_[wh])?=([0-9]{1,6})").fullmatch
_IDS, _RESOLVER = range(2)
_ALL = -1_000_000  # the rank of a URL without a size


def _read(url: Url) -> Variant | None:
    if url.host == "n2t.net":
        ark = None if url.query else _ARK(url.path)
        return ark and _variant(f"ark:/65665/{ark[1]}", _RESOLVER, None)
    if by_path := None if url.query else _BY_PATH(url.path):
        return _variant(by_path[1], _IDS, by_path[2])
    if by_query := _BY_QUERY(url.path + url.query):
        number, size = "", None
        for word in by_query[1].split("&"):
            if word.startswith("id=") and not number:
                number = word[3:].replace("%2F", "/").replace("%3A", ":")
            elif found := _SIZE(word):
                size = found[1]
            else:
                return None
        return _variant(number, _IDS, size)
    return None


def _variant(number: str, server: int, size: str | None) -> Variant | None:
    if not _NUMBER_ALONE(number):
        return None
    number = number.replace("-", "") if number.startswith("ark:") else number
    rank = (server, _ALL if size is None else -int(size))
    middle = "/id/" if number.startswith("ark:") else "?id="
    best = f"https://ids.si.edu/ids/deliveryService{middle}{number}"
    return Variant(number, rank, "" if rank == (_IDS, _ALL) else best)


_VARIANTS = Variants(NAME, VERSION, _read)

_ID = "m3642ca13b63774a5c9f907938471ad74f"
_KEY = f"smithsonian:ark:/65665/{_ID}"
_BEST = f"https://ids.si.edu/ids/deliveryService/id/ark:/65665/{_ID}"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Smithsonian Institution (delivery service and ARKs)",
    hosts=frozenset({"n2t.net", "ids.si.edu"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://ids.si.edu/ids/documentation (deliveryService); metadata of https://edan.si.edu: guid and idsId of one image",
    examples=(
        Example("http://n2t.net/ark:/65665/m3642ca13b-6377-4a5c-9f90-7938471ad74f", _KEY, _BEST),
        Example(f"{_BEST}/1200", _KEY, _BEST),
        Example(f"{_BEST}/90", _KEY, _BEST),
        Example(f"https://ids.si.edu/ids/deliveryService?id=ark:/65665/{_ID}&max=500", _KEY, _BEST),
        Example(
            "https://ids.si.edu/ids/deliveryService?max_w=800&id=NMAH-2008-10155",
            "smithsonian:NMAH-2008-10155",
            "https://ids.si.edu/ids/deliveryService?id=NMAH-2008-10155",
        ),
        Example(
            "http://n2t.net/ark:/65665/38efcc6d2-4f2b-4de1-81a2-0cdfcb182f8c",
            "http://n2t.net/ark:/65665/38efcc6d2-4f2b-4de1-81a2-0cdfcb182f8c",
        ),
    ),
    traps=(
        (
            "http://n2t.net/ark:/65665/m3642ca13b-6377-4a5c-9f90-7938471ad74f",
            "http://n2t.net/ark:/65665/m3791eab7f-b380-45e6-9970-eb6003fb3d8b",
        ),
        (
            "http://n2t.net/ark:/65665/m3642ca13b-6377-4a5c-9f90-7938471ad74f",
            "http://n2t.net/ark:/65665/3642ca13b-6377-4a5c-9f90-7938471ad74f",
        ),
        (
            "https://ids.si.edu/ids/deliveryService?id=NPG-86T0028A_1&max=500",
            "https://ids.si.edu/ids/deliveryService?id=NPG-86T0028A_2&max=500",
        ),
        (
            "https://ids.si.edu/ids/deliveryService?id=NMNH-1200",
            "https://ids.si.edu/ids/deliveryService?id=NMNH-1201",
        ),
    ),
)
