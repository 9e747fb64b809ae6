"""Te Papa, Museum of New Zealand: a medium by number, as `full`, `preview` (1,000 pixels) and `thumb`.

If rights are reserved, `full` is refused and only the preview is available.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "tepapa"
VERSION = 1

_SIZES = ("full", "preview", "thumb")
_MEDIUM = re.compile(r"(/collection/([0-9]+)/)(full|preview|thumb)").fullmatch


def _read(url: Url) -> Variant | None:
    found = None if url.query else _MEDIUM(url.path)
    if found is None:
        return None
    path, number, size = found.groups()
    return Variant(number, (_SIZES.index(size),), f"{url.root}{path}full" if size != "full" else "")


_VARIANTS = Variants(NAME, VERSION, _read)
_MEDIA = "https://media.tepapa.govt.nz/collection"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Museum of New Zealand Te Papa Tongarewa",
    hosts=frozenset({"media.tepapa.govt.nz"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://data.tepapa.govt.nz/docs (contentUrl, previewUrl and thumbnailUrl of a medium)",
    examples=(
        Example(f"{_MEDIA}/758497/full", "tepapa:758497"),
        Example(f"{_MEDIA}/758497/preview", "tepapa:758497", f"{_MEDIA}/758497/full"),
        Example(f"{_MEDIA}/758497/thumb", "tepapa:758497", f"{_MEDIA}/758497/full"),
        Example(f"{_MEDIA}/758497", f"{_MEDIA}/758497"),
    ),
    traps=(
        (f"{_MEDIA}/758497/full", f"{_MEDIA}/758498/full"),
        (f"{_MEDIA}/758497/preview", f"{_MEDIA}/75849/preview"),
    ),
)
