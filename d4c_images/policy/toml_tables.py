"""Reads a TOML file written by people, and reports unknown names in it. Judges no value; opens no file."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable
from typing import Any

from d4c_images.errors import UsageError


def toml_tables(text: str, file: str, known: Collection[str], unknown_table: str) -> dict[str, Any]:
    """The tables of a file, limited to the names in `known`.

    Raises `UsageError` that begins with `file` and names the offending line; `unknown_table` is the message about an unknown
    `{name}`.
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
    """Raise `UsageError` for the first unknown name in an entry."""
    known = list(known)
    for name in names:
        if name not in known:
            raise UsageError(f"{where}: unknown name {name!r}; known names: {', '.join(known)}")
