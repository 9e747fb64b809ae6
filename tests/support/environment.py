"""Environments of Python as users make them, beside the one that runs the tests. Asks no index."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def bare_environment(folder: Path) -> Path:
    """A new environment that sees this project and the packages that are installed here; its interpreter."""
    return _environment(folder, [str(PROJECT), *_packages()])


def installed_environment(folder: Path, wheel: Path) -> Path:
    """A new environment in which pip has installed a wheel of the project; it sees the other packages that are installed here."""
    python = _environment(folder, _packages())
    install = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--no-warn-script-location", wheel]
    if importlib.util.find_spec("ensurepip"):  # Debian leaves it out, and has a pip that may be pointed elsewhere instead
        subprocess.run([python, "-m", "ensurepip"], check=True, capture_output=True)
        pip = [python, "-m", "pip"]
    else:
        pip = [sys._base_executable, "-m", "pip", "--python", python]
    subprocess.run([*pip, *install], check=True)
    return python


def _environment(folder: Path, seen: list[str]) -> Path:
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    purelib = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    (purelib / "seen.pth").write_text("".join(f"{path}\n" for path in seen))
    return python


def _packages() -> list[str]:
    return [path for path in sys.path if path.endswith("-packages")]
