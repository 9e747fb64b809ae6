"""Files that carry their size as a word at the end of the name: `X_lg.jpg`, `X.jpg`, `X_tn.jpg`. Holds no publisher.

Which words are sizes differs between publishers (`_l` is *large* at one and *lateral* at another), so each rule names its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from d4c_images.identity.rule import Rank
from d4c_images.identity.url import Url
from d4c_images.model import Image

_EXTENSION = r"\.(?:jpe?g|png|gif|tiff?|JPE?G|PNG|GIF|TIFF?)"
_JPEG = re.compile(r"\.jpe?g", re.IGNORECASE).fullmatch


@dataclass(frozen=True, slots=True)
class SuffixSizes:
    """`match` and `rank` of such a rule. The key is host and path without the size; scheme and case of `.jpg` do not count."""

    name: str
    version: int
    folder: str  # pattern of the path up to the last slash, without it
    sizes: tuple[tuple[str, ...], ...]  # words by rank, best first; "" is the name without a word
    derived: str | None = None  # the word of a better file that stands beside every smaller one
    _split: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        words = sorted((word for step in self.sizes for word in step), key=len, reverse=True)
        pattern = rf"(?P<base>{self.folder}/[^/]+?)(?P<size>{'|'.join(map(re.escape, words))})(?P<ext>{_EXTENSION})"
        object.__setattr__(self, "_split", re.compile(pattern))

    def match(self, url: Url) -> Image | None:
        found = None if url.query else self._split.fullmatch(url.path)
        if found is None:
            return None
        base, size, extension = found.groups()
        urls: tuple[str, ...] = (url.text,)
        if self.derived is not None and self._step(size) > self._step(self.derived):
            better = base + self.derived + extension
            again = self._split.fullmatch(better)
            if again is not None and again["base"] == base:
                urls = (url.root + better, url.text)
        extension = ".jpg" if _JPEG(extension) else extension
        return Image(f"{self.name}:{url.host}{base}{extension}", urls, url.host, self.name, self.version)

    def rank(self, url: Url) -> Rank | None:
        found = None if url.query else self._split.fullmatch(url.path)
        return None if found is None else (self._step(found["size"]), int(url.scheme != "https"))

    def _step(self, size: str) -> int:
        return next(step for step, words in enumerate(self.sizes) if size in words)
