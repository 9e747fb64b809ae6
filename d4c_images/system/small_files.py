"""Reads files that should be small, checking their size first. Knows no content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SMALL_FILE_BYTES = 16 << 20


def text_of(path: Path, most_bytes: int = SMALL_FILE_BYTES) -> str:
    """A text in UTF-8. Raises `OSError`, and `ValueError` if it is too long or not a text."""
    with path.open("rb") as file:
        body = file.read(most_bytes + 1)
    if len(body) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes >> 20} MiB")
    return body.decode("utf-8")


def json_of(path: Path, most_bytes: int = SMALL_FILE_BYTES) -> Any:
    """The content of a JSON file. Raises `OSError`, and `ValueError` if anything is wrong with it."""
    try:
        return json.loads(text_of(path, most_bytes))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
