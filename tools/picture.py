"""Makes docs/status.svg, the picture in the README, from the ledger of the last `make run`. `make picture` runs it."""

from __future__ import annotations

import io
import os
import re
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from d4c_images.ledger.file.reader import open_reader
from d4c_images.report.render import show_status
from d4c_images.report.status import status_report

PROJECT = Path(__file__).parent.parent


def main() -> None:
    console = Console(record=True, width=104, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    os.chdir(PROJECT)  # the picture shows the ledger's path as it is given
    with open_reader(Path("demo-run/ledger.sqlite")) as ledger:
        show_status(status_report(ledger, time.time()), console)
    svg = console.export_svg(title="d4c-images status", theme=MONOKAI, unique_id="status")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # a picture must load nothing from elsewhere
    svg = re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)
    (PROJECT / "docs/status.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
