"""Reads a file that people write in TOML, and says what in it nobody knows. Judges no value; opens no file."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable
from typing import Any

from d4c_images.errors import UsageError


def toml_tables(text: str, file: str, known: Collection[str], unknown_table: str) -> dict[str, Any]:
    """The tables of a file, of which `known` are all that there may be.

    Raises `UsageError` that begins with `file` and names the line at fault; `unknown_table` is what it says of a `{name}` that is
    not known.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{file}: {error}") from error
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise UsageError(f"{file}: {unknown_table.format(name=unknown[0])}")
    return document


def check_names(where: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raises `UsageError` for the first of the names of an entry that is not known."""
    known = list(known)
    for name in names:
        if name not in known:
            raise UsageError(f"{where}: unknown name {name!r}; known names: {', '.join(known)}")
