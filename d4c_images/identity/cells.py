"""Several URLs in one identifier cell. Splits cells; does not judge the pieces."""

from __future__ import annotations

import re

# GBIF splits dwc:associatedMedia itself, but only if the whole cell is not a valid URI, so that `http://a/1.jpg;http://a/2.jpg`
# comes through as one identifier (gbif/pipelines, MultimediaConverter).
# Others write lists with quotes, as JSON, or with line breaks of HTML.
_SEPARATORS = re.compile(
    r"(?<![\s|;,])(?<!<br>)(?<!<br/>)(?<!<br />)"  # only from the first of them on: otherwise a cell of blanks takes quadratic time
    r"[\"']?(?:\|#DELIMITER#\||<br ?/?>|[\s|;,])++[\"']?(?=(?:https?|ftp)://)",
    re.IGNORECASE,
)
_WRAPPINGS = ('""', "''", "[]")


def split_cell(cell: str) -> list[str]:
    """The URLs of a cell, in order; nearly always the cell itself.

    A cell is split only at a separator, before a piece that begins with its own http, https or ftp scheme, so that a URL inside a
    URL stays whole (`resize?url=https://...`, `web.archive.org/web/2016/https://...`).
    """
    if cell.find("://", 6) < 0:
        return [cell]
    text = cell.strip()
    while len(text) > 1 and text[0] + text[-1] in _WRAPPINGS:
        text = text[1:-1].strip()
    pieces = _SEPARATORS.split(text)
    if len(pieces) == 1:
        return [cell]
    return [bare for piece in pieces if (bare := piece.strip().rstrip("|;,").rstrip())]
