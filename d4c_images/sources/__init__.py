"""Streams of rows from GBIF downloads and publishers' archives. Reads and filters; does not know what an image is.

`open_media` finds the media tables in a download, `open_labels` the one that names its records. GBIF's own table is read in blocks
of lines (`Source.blocks`, filtered by `media.Sieve`), since it has up to 10^8 rows; a publisher's row by row (`Source.records`,
parsed by `media_table.MediaReader`), since it may be written in any way.
"""

from d4c_images.sources.archive import open_labels, open_media, open_source
from d4c_images.sources.formats import path_of
from d4c_images.sources.lines import Block
from d4c_images.sources.source import Source

__all__ = ["Block", "Source", "open_labels", "open_media", "open_source", "path_of"]
