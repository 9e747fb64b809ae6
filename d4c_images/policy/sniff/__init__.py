"""What do these bytes claim to be, and are they plainly cut off? Looks at first and last bytes; decodes no picture.

Content-Type, file name and GBIF's `format` say nothing here: over half of Kew's images arrive as `application/octet-stream`,
and error pages arrive as `image/jpeg`. `truncated` is set only if the first bytes prove it: a whole file may have anything behind
its end, so the last bytes prove nothing. The rest is for the decoder to find, which walks through the structure.

`magic` is where to begin; it asks `boxes`, `tiff` and `text` what it does not know itself.
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
