"""Environments of Python as users make them, beside the one that runs the tests. Asks no index."""

from __future__ import annotations

import sys
import sysconfig
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def bare_environment(folder: Path) -> Path:
    """A new environment that sees this project and the packages that are installed here; its interpreter."""
    return _environment(folder, [str(PROJECT), *_packages()])


def _environment(folder: Path, seen: list[str]) -> Path:
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    purelib = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    (purelib / "seen.pth").write_text("".join(f"{path}\n" for path in seen))
    return python


def _packages() -> list[str]:
    return [path for path in sys.path if path.endswith("-packages")]
