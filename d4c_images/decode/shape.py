"""What a file's structure shows about its picture, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """A file with a complete structure."""

    width: int | None = None
    height: int | None = None
    end: int | None = None  # end of the picture and its metadata, if known
    is_usual: bool = False
    """Of a kind that the libraries here decode: if one fails, the data are damaged. For any other kind a failure says nothing about
    the data."""
    is_plain: bool = False  # uncompressed: no decoder could find anything wrong in its pixels
