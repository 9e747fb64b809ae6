"""Opens stored bytes and says what they are, reading every picture in them to its end, in little memory. Decides no image's fate.

`decoder`  the entry point: checks a file, makes a smaller JPEG of it
`picture_reader`, `reduce`   how it does the one and the other, within `bounds`
`memory_cost`     how much memory a decode takes
`memory_budget`   how much there is, for all concurrent decodes
`samples`  what a picture's numbers mean, and whether a smaller one can be made of them
`adobe_rgb`  the one profile that pictures name without embedding it
`faults`, `shape`   what may be wrong with a file, and what its structure shows
`bmp`, `boxes`, `gif`, `jpeg`, `png`, `riff`   walk through the structure of a format
`jpeg2000`, `tiff`, `downscale`   what Pillow alone cannot do, or not in little memory
`window`   the first bytes of a file as a file
`tiff_read`   all pictures of a TIFF; `tiff_pages` finds them, `tiff_data`, `tiff_codes` and `tiff_fax` check their data
"""

from d4c_images.decode.bounds import TakesLong, TooLarge
from d4c_images.decode.decoder import Decoder
from d4c_images.decode.downscale import original_sha256_of
from d4c_images.decode.reduce import Reduced
from d4c_images.decode.samples import NotReduced

__all__ = ["Decoder", "NotReduced", "Reduced", "TakesLong", "TooLarge", "original_sha256_of"]
