"""Files that carry their size as a word at the end of the name: `X_lg.jpg`, `X.jpg`, `X_tn.jpg`. Holds no publisher.

Which words are sizes differs between publishers (`_l` is *large* at one and *lateral* at another), so each rule names its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from d4c_images.identity.url import Url
from d4c_images.identity.variant import Variant

_EXTENSION = r"\.(?:jpe?g|png|gif|tiff?|JPE?G|PNG|GIF|TIFF?)"
_JPEG = re.compile(r"\.jpe?g", re.IGNORECASE).fullmatch
_IIIF_NAMES = ("/default.", "/native.", "/color.", "/gray.", "/bitonal.")  # such hosts also run IIIF servers


@dataclass(frozen=True, slots=True)
class SuffixSizes:
    """Reads such a URL. The photo is host and path without the size; scheme and case of `.jpg` do not count."""

    folder: str  # pattern of the path up to the last slash, without it
    sizes: tuple[tuple[str, ...], ...]  # words by rank, best first; "" is the name without a word
    derived: str | None = None  # the word of a better file that stands beside every smaller one
    _split: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        words = sorted((word for step in self.sizes for word in step), key=len, reverse=True)
        pattern = rf"(?P<base>{self.folder}/[^/]+?)(?P<size>{'|'.join(map(re.escape, words))})(?P<ext>{_EXTENSION})"
        object.__setattr__(self, "_split", re.compile(pattern))

    def read(self, url: Url) -> Variant | None:
        path = url.path
        found = None if url.query else self._split.fullmatch(path)
        if found is None or path[path.rfind("/") :].startswith(_IIIF_NAMES):
            return None
        base, size, extension = found.groups()
        step, better = self._step(size), ""
        if self.derived is not None and step > self._step(self.derived):
            other = base + self.derived + extension
            again = self._split.fullmatch(other)
            if again is not None and again["base"] == base:  # not so where the name itself ends in such a word
                better = url.root + other
        return Variant(url.host + base + (".jpg" if _JPEG(extension) else extension), (step,), better)

    def _step(self, size: str) -> int:
        return next(step for step, words in enumerate(self.sizes) if size in words)
