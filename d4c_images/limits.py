"""What a host bears, by its name: limits and the hosts file that says them. Reads no file, keeps no state."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields, replace
from typing import Any

from d4c_images.errors import UsageError


@dataclass(frozen=True, slots=True)
class HostLimits:
    """What a host bears. They hold for all processes and nodes of a run together."""

    connections: int = 2  # of one lane
    lanes: int = 1  # workers at once
    min_interval_s: float = 0.0  # between the starts of two requests of one lane
    bytes_per_s: float | None = None
    bytes_per_day: float | None = None
    group: str | None = None  # hosts of one operator that share these limits
    source: str | None = None  # who says so


@dataclass(frozen=True, slots=True)
class HostTable:
    """Limits by host name; `*.example.org` stands for every host below `example.org`."""

    default: HostLimits = field(default_factory=HostLimits)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed_default: frozenset[str] = frozenset()  # names that `[default]` sets

    def limits(self, host: str) -> HostLimits:
        """The limits of a host as `Image.host` spells it, the most particular entry first, missing values from `[default]`."""
        name = host.lower()
        bare = name if name in self.hosts else name.rpartition(":")[0] or name
        for pattern in (name, bare, *_suffixes(bare)):
            if pattern in self.hosts:
                return replace(self.default, **self.hosts[pattern])
        return self.default

    def over(self, other: HostTable) -> HostTable:
        """This table's words on top of another's: each value that it sets wins, each that it leaves open stays."""
        default = replace(other.default, **{name: getattr(self.default, name) for name in self.changed_default})
        hosts = {host: {**other.hosts.get(host, {}), **self.hosts.get(host, {})} for host in {**other.hosts, **self.hosts}}
        return HostTable(default, hosts, self.changed_default | other.changed_default)


def _suffixes(host: str) -> list[str]:
    labels = host.split(".")
    return [f"*.{'.'.join(labels[at:])}" for at in range(1, len(labels))]


def parse_hosts(toml_text: str) -> HostTable:
    """Read a hosts file: `[default]` and `[hosts."media.example.org"]` with the fields of `HostLimits`.

    Raises `UsageError` that names the line or the entry at fault.
    """
    try:
        document = tomllib.loads(toml_text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"hosts file: {error}") from error
    unknown = sorted(set(document) - {"default", "hosts"})
    if unknown:
        raise UsageError(f'hosts file: unknown table [{unknown[0]}]; known are [default] and [hosts."name"]')
    default = _checked("[default]", document.get("default", {}))
    entries = document.get("hosts", {})
    if not isinstance(entries, dict):
        raise UsageError("hosts file: [hosts] must be a table of hosts")
    hosts = {_host_name(host): _checked(f'[hosts."{host}"]', entry) for host, entry in entries.items()}
    return HostTable(replace(HostLimits(), **default), hosts, frozenset(default))


def _host_name(host: str) -> str:
    bare = host.removeprefix("*.")
    if not bare or "*" in bare or "/" in bare:
        raise UsageError(f'hosts file: "{host}" is no host name; write "media.example.org" or "*.example.org"')
    return host.lower()


_INTEGERS = ("connections", "lanes")
_TEXTS = ("group", "source")
_MOST = {"connections": 256, "lanes": 256}


def _checked(where: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise UsageError(f"hosts file: {where} must be a table (is a host name with dots written without quotes?)")
    known = [one.name for one in fields(HostLimits)]
    for name, value in entry.items():
        if name not in known:
            raise UsageError(f"hosts file: {where} has the unknown name {name!r}; known are {', '.join(known)}")
        if name in _TEXTS:
            fits, wanted = isinstance(value, str), "a text"
        elif name in _INTEGERS:
            fits, wanted = type(value) is int and 1 <= value <= _MOST[name], f"a whole number from 1 to {_MOST[name]}"
        else:
            least = 0 if name == "min_interval_s" else 1
            fits, wanted = type(value) in (int, float) and least <= value < 1e18, f"a number of at least {least}"
        if not fits:
            raise UsageError(f"hosts file: {where} {name} = {value!r} must be {wanted}")
    return dict(entry)
