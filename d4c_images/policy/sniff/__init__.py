"""What do these bytes claim to be, and are they clearly cut off? Looks at first and last bytes; decodes no image.

Content-Type, file name and GBIF's `format` mean nothing here: over half of Kew's images arrive as `application/octet-stream`,
and error pages arrive as `image/jpeg`. `truncated` is set only if the first bytes prove it: a whole file may have anything after
its end, so the last bytes prove nothing. The rest is left to the decoder, which walks through the structure.

`magic` is the entry point; it calls `boxes`, `tiff` and `text` for the rest.
"""

from d4c_images.policy.sniff.boxes import TOP_BOXES, IsoBox, boxes_of, top_boxes
from d4c_images.policy.sniff.kinds import Kind, ReadAt, Sniffed
from d4c_images.policy.sniff.magic import START_OF_SCAN, segments, sniff, start_of_scan
from d4c_images.policy.sniff.text import encoding_of_mark
from d4c_images.policy.sniff.tiff import sniff_tiff

__all__ = [
    "START_OF_SCAN",
    "TOP_BOXES",
    "IsoBox",
    "Kind",
    "ReadAt",
    "Sniffed",
    "boxes_of",
    "encoding_of_mark",
    "segments",
    "sniff",
    "sniff_tiff",
    "start_of_scan",
    "top_boxes",
]
