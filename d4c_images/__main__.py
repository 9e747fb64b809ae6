"""The entry point: `d4c-images`, or `python -m d4c_images`. Imports nothing at module level.

Every process that the program starts (a reader, a worker) imports the main module; it imports by itself whatever else it needs. So
the reader process of an ingest is 21 MB smaller than with all commands in it.
"""

import sys


def main() -> int:
    from d4c_images.system import signals

    signals.note()  # before slow imports
    from d4c_images.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
