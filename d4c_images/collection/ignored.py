"""Files that systems and desktops put anywhere, and those that a user wants to be ignored. Looks at nothing.

A pattern is one of the shell's (`*`, `?`, `[...]`), as in .gitignore: without a slash it applies to a name in any folder; with a
slash inside, to the path below the image root; with one at the end, to a folder with everything in it. There is no `!`, and `*`
matches slashes, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

from d4c_images.errors import UsageError

ALWAYS_IGNORED = (
    *(".DS_Store", "._*", ".AppleDouble/", ".localized", ".apdisk", ".com.apple.*", "Icon\r"),  # macOS
    *("Thumbs.db", "Thumbs.db:encryptable", "ehthumbs.db", "[Dd]esktop.ini", ".directory"),  # Windows, KDE
    *("$RECYCLE.BIN/", "System Volume Information/", "lost+found/"),
    *(".nfs*", ".fuse_hidden*", ".panfs*", ".__afs*"),  # removed while somebody had them open
    *("@eaDir/", "#recycle/", "#snapshot/", "@Recycle/", "@Recently-Snapshot/"),  # Synology, QNAP
)


class Ignored:
    """Says which files and folders are ignored: those of everybody, and the user's."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Raises `UsageError` if a pattern is none."""
        for pattern in patterns:
            if not pattern.strip("/"):
                raise UsageError(f"'{pattern}' is not a pattern of file names")
        everything = (*ALWAYS_IGNORED, *patterns)
        self._files = _Words([pattern for pattern in everything if not pattern.endswith("/")])
        self._folders = _Words([pattern.removesuffix("/") for pattern in everything])

    def has_file(self, prefix: str, name: str) -> bool:
        """`prefix` as in "123/456/"."""
        return self._files.match(prefix, name)

    def has_folder(self, prefix: str, name: str) -> bool:
        return self._folders.match(prefix, name)


class _Words:
    """Patterns of names, and those of paths below the root."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._name = _any_of([pattern for pattern in patterns if "/" not in pattern])
        self._path = _any_of([pattern.removeprefix("/") for pattern in patterns if "/" in pattern])

    def match(self, prefix: str, name: str) -> bool:
        return bool(self._name.match(name) or self._path.match(prefix + name))


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)")
