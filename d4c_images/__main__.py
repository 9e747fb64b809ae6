"""`python -m d4c_images` is the same as `d4c-images`."""

import sys

from d4c_images.cli import main

if __name__ == "__main__":
    sys.exit(main())
