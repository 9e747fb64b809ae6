"""What a host bears, by its name: limits and the hosts file that says them. Reads no file, keeps no state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Any

from d4c_images.errors import UsageError
from d4c_images.policy.toml_tables import check_names, toml_tables

MAX_DOMAINS = 50_000  # whose limits are remembered


@dataclass(frozen=True, slots=True)
class HostLimits:
    """What a host bears, or the hosts of a group together. They hold for all processes and nodes of a run together."""

    connections: int = 2  # requests at once
    min_interval_s: float = 0.0  # between the starts of two requests
    bytes_per_s: float | None = None  # on average
    bytes_per_day: float | None = None  # in any 24 hours
    group: str | None = None  # hosts of one operator that share these limits
    source: str | None = None  # who says so

    @property
    def is_for_one_lane(self) -> bool:
        """What is measured from one request to the next can only be kept by one worker at a time."""
        return bool(self.min_interval_s or self.bytes_per_s or self.bytes_per_day)


@dataclass(frozen=True, slots=True)
class HostTable:
    """Limits by host name, or by a pattern: `*.example.org` for every host below `example.org`, `*` for every host."""

    default: HostLimits = field(default_factory=HostLimits)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed_default: frozenset[str] = frozenset()  # names that `[default]` sets

    def limits(self, host: str) -> HostLimits:
        """What the table says of a host as `Image.host` spells it; `LimitBook` answers the same for many hosts faster.

        Each value comes from the most particular entry that has it: of the host with its port, of the host, of another pattern, of
        `*.` over what is above it, of `*`, of `[default]`.
        """
        return LimitBook(self).limits(host)

    def group_limits(self, group: str) -> HostLimits:
        """What the hosts of a group bear together: see `LimitBook.group_limits`."""
        return LimitBook(self).group_limits(group)

    def over(self, other: HostTable) -> HostTable:
        """This table's words on top of another's: each value that it sets wins, each that it leaves open stays."""
        default = replace(other.default, **{name: getattr(self.default, name) for name in self.changed_default})
        hosts = {host: {**other.hosts.get(host, {}), **self.hosts.get(host, {})} for host in {**other.hosts, **self.hosts}}
        return HostTable(default, hosts, self.changed_default | other.changed_default)


class LimitBook:
    """The limits of hosts and groups by a table, under what people want. Remembers what it has been asked.

    A value that somebody wants beats the table, however particular the table's entry is. The memory is bounded: it holds the
    domains that were asked for recently, and one `HostLimits` for each combination of entries.
    """

    def __init__(self, table: HostTable, wanted: HostTable | None = None) -> None:
        self._layers = [_Entries(table.hosts)] + ([_Entries(wanted.hosts)] if wanted is not None else [])  # the last one wins
        self._default = table.default
        self.kinds: list[HostLimits] = []  # each combination that has been met, by its number
        self._kind_of: dict[HostLimits, int] = {}
        self._by_domain: dict[str, int] = {}
        self._groups: dict[str, HostLimits] | None = None
        self._has_globs = any(layer.globs for layer in self._layers)
        self._named = frozenset(name for layer in self._layers for name in layer.entries)

    def limits(self, host: str) -> HostLimits:
        """What a host bears, if it is asked alone."""
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
        """What the hosts of a group bear together.

        Where its entries differ, the gentlest value of any of them holds for all: hosts that share a server bear no more than the
        one that is said to bear least.
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
        """The limits that hold for a host: those of its group, where it has one."""
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
    """The entries of one table, with those for patterns in the middle of names found out."""

    def __init__(self, entries: dict[str, dict[str, Any]]) -> None:
        self.entries = entries
        globs = [name for name in entries if is_pattern(name) and name != "*" and not is_domain(name)]
        self.globs = sorted(globs, key=lambda name: (-len(name.replace("*", "")), name))  # the most particular first

    def values(self, name: str) -> dict[str, Any]:
        bare = name if name in self.entries else name.rpartition(":")[0] or name
        globs = [glob for glob in self.globs if fnmatchcase(name, glob) or fnmatchcase(bare, glob)]
        values: dict[str, Any] = {}
        for pattern in reversed((name, bare, *globs, *_suffixes(bare), "*")):
            values |= self.entries.get(pattern, {})
        return values


def is_pattern(name: str) -> bool:
    """Whether it stands for hosts that have names like it (`fnmatch`), and not for the one host with that name."""
    return "*" in name or "?" in name or ("[" in name and not name.startswith("["))  # [2001:db8::1] is an address


def is_domain(name: str) -> bool:
    """Whether it stands for all hosts below a domain."""
    return name.startswith("*.") and not is_pattern(name[2:])


def gentlest(members: Iterable[HostLimits]) -> HostLimits:
    """Of each limit the gentlest value; names from the first."""
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

    Raises `UsageError` that names the line or the entry at fault.
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
    """The values of one entry, each found to be what its name asks for. Raises `UsageError` that begins with `where`."""
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
