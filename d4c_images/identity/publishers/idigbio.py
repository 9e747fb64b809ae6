"""iDigBio's media store: the MD5 of the original's bytes names the image on three hosts, whatever the size.

`api.idigbio.org/v2/media/<md5>` leads to the original, `?size=fullsize` to a JPEG of the same size, `webview` and `thumbnail` to
smaller ones; the buckets of `s.idigbio.org` hold the same files. The UUID of a media record is another name; the URL alone
does not link it to the MD5. `storage.idigbio.org` is a plain folder of Symbiota portals.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "idigbio"
VERSION = 1

_SIZES = ("", "fullsize", "webview", "thumbnail")
_SIZE = r"(?:\?(?:size|deriv)=(fullsize|webview|thumbnail))?"
_LOOKUP = re.compile(
    r"(?:api\.idigbio\.org/v2/media|media\.idigbio\.org/lookup/images)"
    rf"/([0-9a-f]{{32}}|[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}){_SIZE}"
).fullmatch
_BUCKET = re.compile(r"s\.idigbio\.org/idigbio-images-prod(?:-(fullsize|webview|thumbnail))?/([0-9a-f]{32})(?:\.jpg)?").fullmatch


def _read(url: Url) -> Variant | None:
    address = url.host + url.path + url.query
    if found := _LOOKUP(address):
        name, size = found[1], found[2] or ""
        return Variant(name, (_SIZES.index(size), 0, int(url.host.startswith("media."))), url.root + url.path if size else "")
    if found := _BUCKET(address):
        name, size = found[2], found[1] or ""
        return Variant(name, (_SIZES.index(size), 1, 0), f"https://api.idigbio.org/v2/media/{name}" if size else "")
    return None


_VARIANTS = Variants(NAME, VERSION, _read)

_MD5 = "7a15a535bf37eeb4675bd50e65b1a609"
_KEY = f"idigbio:{_MD5}"
_BEST = f"https://api.idigbio.org/v2/media/{_MD5}"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="iDigBio",
    hosts=frozenset({"api.idigbio.org", "media.idigbio.org", "s.idigbio.org"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/iDigBio/idb-backend, idb/data_api/v2_media.py (buckets, derivatives, lookup by etag and by UUID)",
    examples=(
        Example(_BEST, _KEY),
        Example(f"{_BEST}?size=fullsize", _KEY, _BEST),
        Example(f"{_BEST}?size=webview", _KEY, _BEST),
        Example(f"https://s.idigbio.org/idigbio-images-prod-webview/{_MD5}.jpg", _KEY, _BEST),
        Example(f"https://s.idigbio.org/idigbio-images-prod/{_MD5}", _KEY),
        Example(
            f"http://media.idigbio.org/lookup/images/{_MD5}?size=thumbnail",
            _KEY,
            f"http://media.idigbio.org/lookup/images/{_MD5}",
        ),
        Example(
            "https://api.idigbio.org/v2/media/38939bca-353b-4160-a1ee-a77e8c0a401a",
            "idigbio:38939bca-353b-4160-a1ee-a77e8c0a401a",
        ),
        Example(
            f"https://s.idigbio.org/idigbio-sounds-prod/{_MD5}",
            f"https://s.idigbio.org/idigbio-sounds-prod/{_MD5}",
        ),
    ),
    traps=(
        (_BEST, "https://api.idigbio.org/v2/media/14d17d8b5552d5d12df5efcd4da7f511"),
        (f"{_BEST}?size=webview", "https://api.idigbio.org/v2/media/14d17d8b5552d5d12df5efcd4da7f511?size=webview"),
        (_BEST, f"https://api.idigbio.org/v2/media/{_MD5}?page=2"),
    ),
)
