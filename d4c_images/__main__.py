"""The way into the program: `d4c-images`, or `python -m d4c_images`. Loads nothing by itself.

Every process that the program starts (a reader, a worker) loads the module that the program was started by; what it needs
besides, it loads itself. So the reader of an ingest is 21 MB smaller than with all commands in it.
"""

import sys


def main() -> int:
    from d4c_images.system import signals

    signals.note()  # before what takes long to load
    from d4c_images.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
