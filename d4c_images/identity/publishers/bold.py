"""BOLD Systems: a picture by its path below `/pics/`, whole or 300 pixels wide, or by an object's id in its newer store.

The `+` before the time of upload is a plus sign, not a space; `%2B` is the same.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "bold"
VERSION = 1

_PICTURE = re.compile(r"/pics/(_w[0-9]{2,4}/)?([A-Za-z0-9_-]+/[^/]+)").fullmatch
_OBJECT = re.compile(r"/api/objects/([A-Za-z0-9._-]+)(\?subunit=[0-9]+\.jpg)?").fullmatch


def _read(url: Url) -> Variant | None:
    if (thing := _OBJECT(url.path + url.query)) and url.host.startswith("caos."):
        small, photo, best = thing[2], f"object:{thing[1]}", f"{url.root}/api/objects/{thing[1]}"
    elif (thing := _PICTURE(url.path)) and not url.query:
        small, photo, best = thing[1], thing[2].replace("%2B", "+"), f"{url.root}/pics/{thing[2]}"
    else:
        return None
    return Variant(photo, (1, len(url.root)), best) if small else Variant(photo, (0, len(url.root)))


_VARIANTS = Variants(NAME, VERSION, _read)
_ANEMONE = "http://www.boldsystems.org/pics/NOBAS/DSC_0274+1410553184.JPG"
_OBJECT_ID = "caos-cloud.linode-us-east.13_191.8f600dd7-68cb-4ca7-b283-304c38846fed.jpg"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Barcode of Life Data Systems (BOLD)",
    domains=frozenset({"boldsystems.org"}),
    hosts=frozenset({"caos.boldsystems.org:31488"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://www.boldsystems.org (pictures of its data API; https://github.com/EOL/eol_php_code takes `_w300`)",
    examples=(
        Example(_ANEMONE, "bold:NOBAS/DSC_0274+1410553184.JPG"),
        Example("https://www.boldsystems.org/pics/NOBAS/DSC_0274%2B1410553184.JPG", "bold:NOBAS/DSC_0274+1410553184.JPG"),
        Example(
            "http://www.boldsystems.org/pics/_w300/FARG/INIDEP-T_0214%2B1137284736.JPG",
            "bold:FARG/INIDEP-T_0214+1137284736.JPG",
            "http://www.boldsystems.org/pics/FARG/INIDEP-T_0214%2B1137284736.JPG",
        ),
        Example(
            f"https://caos.boldsystems.org/api/objects/{_OBJECT_ID}?subunit=1024.jpg",
            f"bold:object:{_OBJECT_ID}",
            f"https://caos.boldsystems.org/api/objects/{_OBJECT_ID}",
        ),
        Example(f"https://caos.boldsystems.org:31488/api/objects/{_OBJECT_ID}", f"bold:object:{_OBJECT_ID}"),
        Example(
            "http://bins.boldsystems.org/index.php/Public_RecordView?processid=LEFIB379-10",
            "http://bins.boldsystems.org/index.php/Public_RecordView?processid=LEFIB379-10",
        ),
    ),
    traps=(
        (_ANEMONE, "http://www.boldsystems.org/pics/NOBAS/DSC_0274+1410553185.JPG"),
        (_ANEMONE, "http://www.boldsystems.org/pics/NOBAR/DSC_0274+1410553184.JPG"),
        (_ANEMONE, "http://www.boldsystems.org/pics/NOBAS/DSC_0274+1410553184.jpg"),
        (
            f"https://caos.boldsystems.org/api/objects/{_OBJECT_ID}",
            f"https://caos.boldsystems.org/api/objects/{_OBJECT_ID.replace('8f6', '8f7')}",
        ),
    ),
)
