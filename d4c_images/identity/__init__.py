"""Which image is this row about? Pure: sends nothing, remembers nothing.

`identify` turns the identifier of a row into an `Image`: a key that is the same for every URL of one photo and different for any
two photos, and the URLs to try, best first. A false merge loses a photo for good, a missed merge costs one request; so the default
is the exact normalised URL, and only an explicit rule merges more.

The table is `registry.RULES`; docs/how-to/add-a-publisher.md says how to add to it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from d4c_images.identity.cells import split_cell
from d4c_images.identity.iiif import names_document
from d4c_images.identity.manifest import Document, DocumentKind, Fault, read_document
from d4c_images.identity.rule import Example, Rank, Rule
from d4c_images.identity.url import Url, parts, unusable_reason, usable_url

if TYPE_CHECKING:
    from d4c_images.identity.naming import Images, Origin, identify, identify_all, merge
    from d4c_images.identity.registry import RULES

__all__ = [
    "RULES",
    "Document",
    "DocumentKind",
    "Example",
    "Fault",
    "Images",
    "Origin",
    "Rank",
    "Rule",
    "Url",
    "identify",
    "identify_all",
    "merge",
    "names_document",
    "parts",
    "read_document",
    "split_cell",
    "unusable_reason",
    "usable_url",
]

_OF_NAMING = ("Images", "Origin", "identify", "identify_all", "merge")
_WITH_ALL_RULES = {**dict.fromkeys(_OF_NAMING, "naming"), "RULES": "registry"}


def __getattr__(name: str) -> Any:
    """Lazy import (PEP 562) of what needs all publishers' rules: most of a download does not use it."""
    if name not in _WITH_ALL_RULES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_WITH_ALL_RULES[name]}"), name)
