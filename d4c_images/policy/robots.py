"""What a server tells machines in X-Robots-Tag. Pure; whether it is respected is decided elsewhere (judge.py).

`noai` and `noimageai` are DeviantArt's (https://www.deviantart.com/team/journal/A-New-Directive-for-Opting-Out-of-AI-Datasets-934500371),
the header and its forms are Google's (https://developers.google.com/search/docs/crawling-indexing/robots-meta-tag#xrobotstag).
"""

from __future__ import annotations

from collections.abc import Mapping

from d4c_images import __version__
from d4c_images.errors import printable

MAX_NOTED = 500
US = frozenset({"*", "d4c-images", f"d4c-images/{__version__}"})
_NO_AI = frozenset({"noai", "noimageai"})


def noted(headers: Mapping[str, str]) -> str | None:
    """The header as stored in the ledger: in one line, several headers joined."""
    said = " ".join(printable(headers.get("x-robots-tag", "")).split())
    return said[:MAX_NOTED] or None


def forbids_ai(headers: Mapping[str, str]) -> bool:
    """Whether the answer is not meant for training: `noai` or `noimageai`, addressed to everybody or to us.

    A name before a directive (`somebot: noai`) addresses that bot alone. It binds its own directive only, not those after the next
    comma: several headers may have been joined by a comma on the way, and in doubt the publisher's wish counts.
    """
    for directive in headers.get("x-robots-tag", "").lower().split(","):
        name, colon, what = (part.strip() for part in directive.rpartition(":"))
        if what in _NO_AI and (not colon or name in US):
            return True
    return False
