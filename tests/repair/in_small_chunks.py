"""The program with chunks so small that a few images make several, and with its crash points among the moments of `site`."""

from __future__ import annotations

import os
import sys

from d4c_images import crash
from d4c_images.cli import main
from d4c_images.collection import moved, repair

MOVED_AT_ONCE, FINDINGS_AT_ONCE = 5, 2


def point(name: str) -> None:
    sys.audit("d4c_images.crash.point", os.environ.get("REPAIR_BELOW", ""))


if __name__ == "__main__":
    moved.MOVED_AT_ONCE, repair.FINDINGS_AT_ONCE = MOVED_AT_ONCE, FINDINGS_AT_ONCE
    crash.point = point
    sys.exit(main())
