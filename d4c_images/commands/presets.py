"""The lists in the package, overridden by the user's own files. Knows nothing of their content."""

from __future__ import annotations

from pathlib import Path

from d4c_images.errors import UsageError, of_a_named_path
from d4c_images.policy.limits import HostTable, parse_hosts
from d4c_images.policy.placeholder_list import PlaceholderList, parse_placeholders
from d4c_images.system.small_files import text_of

PRESETS_FOLDER = Path(__file__).parents[1]


def host_table(path: Path | None) -> HostTable:
    """The package's presets, overridden by the user's own file."""
    presets = parse_hosts((PRESETS_FOLDER / "hosts.toml").read_text(encoding="utf-8"))
    if path is None:
        return presets
    try:
        text = text_of(path)
    except OSError as error:
        raise of_a_named_path(UsageError, f"cannot read the hosts file {path}: {error.strerror}", error) from None
    except ValueError as error:
        raise UsageError(f"cannot read the hosts file {path}: {error}") from None
    try:
        return parse_hosts(text).over(presets)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def placeholder_list(path: Path | None) -> PlaceholderList:
    """The package's list together with the user's own file."""
    presets = parse_placeholders((PRESETS_FOLDER / "placeholders.toml").read_text(encoding="utf-8"))
    if path is None:
        return presets
    try:
        return parse_placeholders(text_of(path)).over(presets)
    except OSError as error:
        raise of_a_named_path(UsageError, f"cannot read the placeholders file {path}: {error.strerror}", error) from None
    except ValueError as error:
        raise UsageError(f"cannot read the placeholders file {path}: {error}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
