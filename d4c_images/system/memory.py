"""How much memory this process and its children may still take, according to Linux, for the machine and their control groups.

Takes none.
"""

from __future__ import annotations

from pathlib import Path

CGROUPS = Path("/proc/self/cgroup")
MACHINE = Path("/proc/meminfo")
MOUNT = Path("/sys/fs/cgroup")


def available(machine: Path = MACHINE, groups: Path = CGROUPS, mount: Path = MOUNT) -> int | None:
    """Bytes; None if unknown."""
    found = [n for n in (_of_machine(machine), *_of_groups(groups, mount)) if n is not None]
    return min(found, default=None)


def _of_machine(path: Path) -> int | None:
    for line in _lines(path):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _of_groups(groups: Path, mount: Path) -> list[int | None]:
    """What is left of the limit of each control group of this process; a job's limit may belong to an outer one."""
    found = []
    for line in _lines(groups):
        _, controllers, name = line.split(":", 2)
        folder = mount / (name.lstrip("/") if not controllers else f"memory{name}")
        limit, used = ("memory.max", "memory.current") if not controllers else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        if controllers and "memory" not in controllers.split(","):
            continue
        while folder.is_relative_to(mount) and folder != mount:
            found.append(_left(folder / limit, folder / used))
            folder = folder.parent
    return found


def _left(limit: Path, used: Path) -> int | None:
    try:
        return max(0, int(limit.read_text()) - int(used.read_text()))
    except (OSError, ValueError):  # "max": there is no limit
        return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
