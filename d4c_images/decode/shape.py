"""What the structure of a file shows of its picture, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """A file whose structure is whole."""

    width: int | None = None
    height: int | None = None
    end: int | None = None  # of the bytes that belong to the picture and its metadata, if that is known
    is_usual: bool = False
    """Of a kind that the libraries here are known to decode: if one cannot, the data are damaged. Of any other kind that says
    nothing about the data."""
    is_plain: bool = False  # its pixels are not packed: no decoder could find anything wrong in them
