"""Flickr: the photo's number comes before a secret; a letter after it is the size. Ignores albums and videos.

A photo's page, and the short link to it (the number in base 58), are the same photo, but return HTML and do not reveal the secret.
So they are its last candidates and lead to no other: if another row has the file, the page finds it.

Sizes up to `b` share one secret; from `h` on, and for `o`, every size has its own, so those can be used but not derived. `b`
exists for photos uploaded since May 2010; before, only for very large ones. Flickr's five-billionth fell in September.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "flickr"
VERSION = 2

_BEST_FIRST = ("o", "6k", "5k", "4k", "f", "3k", "k", "h", "b", "l", "c", "z", "", "w", "n", "m", "q", "t", "s")
_PHOTO = re.compile(
    r"(/(?:[0-9]{1,3}/)?[0-9]{1,6}/)([0-9]+)_([0-9a-f]+)(?:_([3456]k|[bcfhklmnoqstwz]))?(?:_d)?\.(?:jpg|png|gif)(?:\?zz=[0-9])?"
).fullmatch
_LARGE_SINCE = 5_000_000_000
_FILES = ("staticflickr.com", "static.flickr.com")
_PAGE = re.compile(r"/photos/(?!tags/)[^/?#]+/([1-9][0-9]{2,13})(?:/(?:in/[^?#]*|sizes/[a-z0-9]{1,2}/?)?)?").fullmatch
_SHORT = re.compile(r"/p/([1-9A-HJ-NP-Za-km-z]{2,10})/?").fullmatch
_BASE_58 = "123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"


def _read(url: Url) -> Variant | None:
    if not url.host.endswith(_FILES):
        return _read_page(url)
    photo = _PHOTO(url.path + url.query)
    if photo is None:
        return None
    folder, number, secret, size = photo.groups(default="")
    place = _BEST_FIRST.index(size)
    has_large = place > _BEST_FIRST.index("l") and int(number) >= _LARGE_SINCE
    return Variant(number, (place, len(url.text)), f"{url.root}{folder}{number}_{secret}_b.jpg" if has_large else "")


def _read_page(url: Url) -> Variant | None:
    found = _SHORT(url.path) if url.host == "flic.kr" else _PAGE(url.path)
    if found is None or url.query:
        return None
    number = found[1] if url.host != "flic.kr" else str(_number(found[1]))
    return Variant(number, (len(_BEST_FIRST), len(url.text)))


def _number(short: str) -> int:
    number = 0
    for letter in short:
        number = 58 * number + _BASE_58.index(letter)
    return number


_VARIANTS = Variants(NAME, VERSION, _read)
RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Flickr",
    domains=frozenset(_FILES),
    hosts=frozenset({"www.flickr.com", "flickr.com", "m.flickr.com", "flic.kr"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://www.flickr.com/services/api/misc.urls.html",
    examples=(
        Example("http://farm4.static.flickr.com/3410/3267349965_381ec01f4c.jpg", "flickr:3267349965"),
        Example(
            "http://farm7.staticflickr.com/6220/6336919400_64fb863116_s.jpg",
            "flickr:6336919400",
            "http://farm7.staticflickr.com/6220/6336919400_64fb863116_b.jpg",
        ),
        Example("http://farm4.staticflickr.com/3359/3442178191_b4abb94788_o.jpg", "flickr:3442178191"),
        Example("https://live.staticflickr.com/65535/50000000001_1e92283336_3k.jpg", "flickr:50000000001"),
        Example(
            "https://c1.staticflickr.com/9/8123/8700000001_1e92283336_z.jpg?zz=1",
            "flickr:8700000001",
            "https://c1.staticflickr.com/9/8123/8700000001_1e92283336_b.jpg",
        ),
        Example("http://static.flickr.com/2/1418878_1e92283336_m.jpg", "flickr:1418878"),
        Example("http://www.flickr.com/photos/dracobotanicus/3267349965/", "flickr:3267349965"),
        Example("https://www.flickr.com/photos/forktail/48232240842/in/album-72157666445676491/", "flickr:48232240842"),
        Example("https://flic.kr/p/5YJ2j6", "flickr:3267349965"),
        Example(
            "https://www.flickr.com/photos/128946008@N07/albums/72157666445676491",
            "https://www.flickr.com/photos/128946008@N07/albums/72157666445676491",
        ),
        Example(
            "http://farm6.staticflickr.com/5249/buddyicons/1234@N01.jpg",
            "http://farm6.staticflickr.com/5249/buddyicons/1234@N01.jpg",
        ),
    ),
    traps=(
        ("https://flic.kr/p/5YJ2j6", "https://flic.kr/p/5YJ2j7"),
        ("http://www.flickr.com/photos/dracobotanicus/3267349965/", "http://www.flickr.com/photos/tags/3267349965/"),
        (
            "http://farm4.static.flickr.com/3410/3267349965_381ec01f4c.jpg",
            "http://farm4.static.flickr.com/3410/3267349966_381ec01f4c.jpg",
        ),
        (
            "http://farm4.static.flickr.com/3410/3267349965_381ec01f4c.jpg",
            "http://farm4.static.flickr.com/3410/3267349965_381ec01f4c.swf",
        ),
    ),
)
