"""BisQue image servers (CyVerse, iPlant's bovary, UCSB): the resource `00-...` is the image, operations make renditions of it.

Without operations the server gives the file as it was uploaded. `resize`, `thumbnail`, `format` and `rotate=guess` show the whole
picture; any other operation (a slice, a region, a channel) may show something else, so such a URL is left to the exact rule.
Operations stand in the query (`?resize=1250&format=jpeg`) or in the path (`/resize:1250/format:jpeg`).
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "bisque"
VERSION = 1

_RESOURCE = re.compile(r"(?P<base>/image_service/(?:images?/)?(?P<id>00-[A-Za-z0-9]{8,40}))/?(?P<rest>.*)").fullmatch
_OPERATION = re.compile(
    r"(?P<op>resize|thumbnail)[=:](?P<size>[0-9]{1,6})?(?:,[^&/?]*)?|format[=:](?:jpeg|jpg|png|tiff)(?:,[^&/?]*)?|rotate[=:]guess"
).fullmatch
_ORIGINAL, _FULL, _RESIZED, _THUMBNAIL = range(4)


def _read(url: Url) -> Variant | None:
    found = _RESOURCE(url.path + url.query)
    if found is None:
        return None
    kind, size = _ORIGINAL, 0
    for word in re.split(r"[/?&]", found["rest"]):
        if not word:
            continue
        operation = _OPERATION(word)
        if operation is None:
            return None
        step = {"resize": _RESIZED, "thumbnail": _THUMBNAIL, None: _FULL}[operation["op"]]
        kind, size = max(kind, step), max(size, int(operation["size"] or 0))
    return Variant(f"{url.host}/{found['id']}", (kind, -size), "" if kind == _ORIGINAL else url.root + found["base"])


_VARIANTS = Variants(NAME, VERSION, _read)

_BOVARY = "http://bovary.iplantcollaborative.org/image_service/image/00-LctJstA2Wv3trnKPGL6ZwU"
_KEY = "bisque:bovary.iplantcollaborative.org/00-LctJstA2Wv3trnKPGL6ZwU"
_CYVERSE = "https://bisque.cyverse.org/image_service/image/00-ieZahoKgtcwyaSAEuRLeL7"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="BisQue image servers (CyVerse, iPlant and others)",
    hints=("/image_service/",),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/UCSB-VRL/bisque, image service; https://github.com/idigbio-api-hackathon/dedup, data/multimedia.txt",
    examples=(
        Example(_BOVARY, _KEY),
        Example(f"{_BOVARY}?resize=1250&format=jpeg", _KEY, _BOVARY),
        Example(f"{_BOVARY}?thumbnail=225,225", _KEY, _BOVARY),
        Example(f"{_BOVARY}?rotate=guess&format=jpeg,quality,100", _KEY, _BOVARY),
        Example(f"{_CYVERSE}/resize:1250/format:jpeg", "bisque:bisque.cyverse.org/00-ieZahoKgtcwyaSAEuRLeL7", _CYVERSE),
        Example(f"{_CYVERSE}?resize=1250,1250,NN,MX&format=png", "bisque:bisque.cyverse.org/00-ieZahoKgtcwyaSAEuRLeL7", _CYVERSE),
        Example(f"{_CYVERSE}?resize=4000&format=jpeg", "bisque:bisque.cyverse.org/00-ieZahoKgtcwyaSAEuRLeL7", _CYVERSE),
    ),
    traps=(
        (_BOVARY, "http://bovary.iplantcollaborative.org/image_service/image/00-htVoJoFMJJj9sJ4JBfhhkR"),
        (_BOVARY, "http://bovary.iplantcollaborative.org/image_service/image/00-lctJstA2Wv3trnKPGL6ZwU"),
        (_BOVARY, _BOVARY.replace("bovary.iplantcollaborative.org", "bisque.cyverse.org")),
        (f"{_BOVARY}?format=jpeg", f"{_BOVARY}?rotate=90&format=jpeg"),
        (f"{_BOVARY}?format=jpeg", f"{_BOVARY}?roi=1,1,100,100&format=jpeg"),
        (f"{_BOVARY}?format=jpeg", f"{_BOVARY}?slice=,,2,1&format=jpeg"),
        (
            f"{_BOVARY}?thumbnail=225,225",
            "http://bovary.iplantcollaborative.org/image_service/image/00-htVoJoFMJJj9sJ4JBfhhkR?thumbnail=225,225",
        ),
    ),
)
