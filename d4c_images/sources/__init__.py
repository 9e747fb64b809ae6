"""Streams of rows from GBIF downloads. Reads and sorts out; does not know what an image is.

`open_source` finds the table in a download, `Source.blocks` gives its lines, `media.Sieve` makes media rows of them and
`occurrence.labels` labels.
"""

from d4c_images.sources.archive import Source, open_source
from d4c_images.sources.lines import Block

__all__ = ["Block", "Source", "open_source"]
