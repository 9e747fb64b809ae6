"""What a host can take, by its name: limits, and the hosts file that sets them. Reads no file, keeps no state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Any

from d4c_images.errors import UsageError
from d4c_images.policy.toml_tables import check_names, toml_tables

MAX_DOMAINS = 50_000  # whose limits are cached


@dataclass(frozen=True, slots=True)
class HostLimits:
    """The limits of a host, or of a group's hosts together. They apply across all processes and nodes of a run."""

    connections: int = 2  # concurrent requests
    min_interval_s: float = 0.0  # between the starts of two requests
    bytes_per_s: float | None = None  # on average
    bytes_per_day: float | None = None  # in any 24 hours
    group: str | None = None  # name of a group of hosts that share these limits
    source: str | None = None  # where the limits come from

    @property
    def is_for_one_lane(self) -> bool:
        """Limits from one request to the next can be kept by one worker at a time only."""
        return bool(self.min_interval_s or self.bytes_per_s or self.bytes_per_day)


@dataclass(frozen=True, slots=True)
class HostTable:
    """Limits by host name, or by a pattern: `*.example.org` for every host below `example.org`, `*` for every host."""

    default: HostLimits = field(default_factory=HostLimits)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed_default: frozenset[str] = frozenset()  # names that `[default]` sets

    def limits(self, host: str) -> HostLimits:
        """The limits of a host as `Image.host` spells it; `LimitBook` returns the same, faster for many hosts.

        The most specific entry that sets a value wins: the host with its port, the host, another pattern, `*.` with its parent
        domains, `*`, `[default]`.
        """
        return LimitBook(self).limits(host)

    def group_limits(self, group: str) -> HostLimits:
        """The limits that a group's hosts share: see `LimitBook.group_limits`."""
        return LimitBook(self).group_limits(group)

    def over(self, other: HostTable) -> HostTable:
        """This table on top of another: each value set here wins, each value left open stays."""
        default = replace(other.default, **{name: getattr(self.default, name) for name in self.changed_default})
        hosts = {host: {**other.hosts.get(host, {}), **self.hosts.get(host, {})} for host in {**other.hosts, **self.hosts}}
        return HostTable(default, hosts, self.changed_default | other.changed_default)


class LimitBook:
    """The limits of hosts and groups, from a table and operators' settings. Caches its answers.

    An operator's setting overrides the table, however specific the table's entry is. The cache is bounded: it holds recently used
    domains, and one `HostLimits` for each combination of entries.
    """

    def __init__(self, table: HostTable, wanted: HostTable | None = None) -> None:
        self._layers = [_Entries(table.hosts)] + ([_Entries(wanted.hosts)] if wanted is not None else [])  # the last one wins
        self._default = table.default
        self.kinds: list[HostLimits] = []  # each combination in use, by its number
        self._kind_of: dict[HostLimits, int] = {}
        self._by_domain: dict[str, int] = {}
        self._groups: dict[str, HostLimits] | None = None
        self._has_globs = any(layer.globs for layer in self._layers)
        self._named = frozenset(name for layer in self._layers for name in layer.entries)

    def limits(self, host: str) -> HostLimits:
        """The limits of a host by itself."""
        return self.kinds[self.kind(host)]

    def kind(self, host: str) -> int:
        """The number of a host's limits in `kinds`."""
        name = host.lower()
        domain = name.partition(".")[2]
        if self._has_globs or ":" in name or "*" in name or name in self._named:
            return self._find(name)
        kind = self._by_domain.get(domain)
        if kind is None:
            if len(self._by_domain) >= MAX_DOMAINS:
                self._by_domain.clear()
            kind = self._by_domain[domain] = self._find(name)
        return kind

    def group_limits(self, group: str) -> HostLimits:
        """The limits that the hosts of a group share.

        If its entries differ, the gentlest value of any of them applies: hosts that share a server can take no more than the
        weakest of them.
        """
        if self._groups is None:
            members: dict[str, list[HostLimits]] = {}
            for name in dict.fromkeys(["", *(name for layer in self._layers for name in layer.entries)]):
                limits = self.limits(name)
                if limits.group is not None:
                    members.setdefault(limits.group, []).append(limits)
            self._groups = {name: gentlest(some) for name, some in members.items()}
        return self._groups[group]

    def shared_limits(self, host: str) -> HostLimits:
        """The limits that apply to a host: those of its group, if it has one."""
        limits = self.limits(host)
        return limits if limits.group is None else self.group_limits(limits.group)

    def _find(self, name: str) -> int:
        values: dict[str, Any] = {}
        for layer in self._layers:
            values |= layer.values(name)
        limits = replace(self._default, **values)
        kind = self._kind_of.get(limits)
        if kind is None:
            kind = self._kind_of[limits] = len(self.kinds)
            self.kinds.append(limits)
        return kind


class _Entries:
    """The entries of one table, with the general patterns (not `*` or `*.domain`) sorted out."""

    def __init__(self, entries: dict[str, dict[str, Any]]) -> None:
        self.entries = entries
        globs = [name for name in entries if is_pattern(name) and name != "*" and not is_domain(name)]
        self.globs = sorted(globs, key=lambda name: (-len(name.replace("*", "")), name))  # the most specific first

    def values(self, name: str) -> dict[str, Any]:
        bare = name if name in self.entries else name.rpartition(":")[0] or name
        globs = [glob for glob in self.globs if fnmatchcase(name, glob) or fnmatchcase(bare, glob)]
        values: dict[str, Any] = {}
        for pattern in reversed((name, bare, *globs, *_suffixes(bare), "*")):
            values |= self.entries.get(pattern, {})
        return values


def is_pattern(name: str) -> bool:
    """Whether the name is an `fnmatch` pattern for several hosts, not one host's name."""
    return "*" in name or "?" in name or ("[" in name and not name.startswith("["))  # [2001:db8::1] is an address


def is_domain(name: str) -> bool:
    """Whether the name stands for all hosts below a domain."""
    return name.startswith("*.") and not is_pattern(name[2:])


def gentlest(members: Iterable[HostLimits]) -> HostLimits:
    """The gentlest value of each limit; names from the first."""
    first, *others = members
    all_of_them = [first, *others]
    return replace(
        first,
        connections=min(one.connections for one in all_of_them),
        min_interval_s=max(one.min_interval_s for one in all_of_them),
        bytes_per_s=min((one.bytes_per_s for one in all_of_them if one.bytes_per_s is not None), default=None),
        bytes_per_day=min((one.bytes_per_day for one in all_of_them if one.bytes_per_day is not None), default=None),
    )


def _suffixes(host: str) -> list[str]:
    labels = host.removeprefix("*.").split(".")
    return [f"*.{'.'.join(labels[at:])}" for at in range(0 if host.startswith("*.") else 1, len(labels))]


def parse_hosts(toml_text: str) -> HostTable:
    """Read a hosts file: `[default]` and `[hosts."media.example.org"]` with the fields of `HostLimits`.

    Raises `UsageError` that names the offending line or entry.
    """
    unknown = 'unknown table [{name}]; known are [default] and [hosts."name"]'
    document = toml_tables(toml_text, "hosts file", {"default", "hosts"}, unknown)
    default = _checked_entry("[default]", document.get("default", {}))
    entries = document.get("hosts", {})
    if not isinstance(entries, dict):
        raise UsageError("hosts file: [hosts] must be a table of hosts")
    hosts = {_host_name(host): _checked_entry(f'[hosts."{host}"]', entry) for host, entry in entries.items()}
    return HostTable(replace(HostLimits(), **default), hosts, frozenset(default))


def _host_name(host: str) -> str:
    bare = host.removeprefix("*.")
    if host == "*":
        return host
    if not bare or "*" in bare or "/" in bare:
        raise UsageError(f'hosts file: "{host}" is not a host name; use e.g. "media.example.org" or "*.example.org"')
    return host.lower()


_TEXTS = ("group", "source")
_MOST_CONNECTIONS = 256
_LEAST = {"min_interval_s": 0, "bytes_per_s": 1000, "bytes_per_day": 1000}


def _checked_entry(where: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise UsageError(f"hosts file: {where} must be a table (host names with dots must be quoted)")
    return checked(f"hosts file: {where}", entry)


def checked(where: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The values of one entry, each checked. Raises `UsageError` that begins with `where`."""
    known = [one.name for one in fields(HostLimits)]
    for name, value in entry.items():
        check_names(where, [name], known)
        if name in _TEXTS:
            fits, wanted = isinstance(value, str), "a string"
        elif name == "connections":
            fits, wanted = type(value) is int and 1 <= value <= _MOST_CONNECTIONS, f"a whole number from 1 to {_MOST_CONNECTIONS}"
        else:
            least = _LEAST[name]
            fits, wanted = type(value) in (int, float) and least <= value < 1e18, f"a number of at least {least}"
        if not fits:
            raise UsageError(f"{where} {name} = {value!r} must be {wanted}")
    return dict(entry)
